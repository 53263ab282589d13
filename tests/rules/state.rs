//! What depends on the state of a live stack: mount points, reads that make the kernel write, changes
//! behind its back, flags of inodes, parallel copy-ups.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{AllocateMode, Cloned};
use layerstack::testing::NodeSpec;
use layerstack::{Errno, LayerStack, MountOptions, OpenOptions, Overlay, OverlayAttr};
use nix::mount::{MsFlags, mount, umount};
use rustix::fs::FallocateFlags;

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;
use crate::support::fs::Fs;
use crate::support::system::Layout;

/// Deviation MOUNT-1: the kernel shows what lies under the mount point, the crate refuses it, unless the layer is
/// read through a mount of its own.
#[test]
fn r064_a_mount_point_inside_a_layer_is_not_crossed() {
    both([of([]), of([("/d/under", file("x"))])], |live: &Live| {
        let (at, none): (_, Option<&str>) = (live.lowers[0].join("d"), None);
        mount(Some("none"), &at, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        std::fs::write(at.join("over"), "").unwrap();
        assert!(live.mount.join("d/under").exists() && !live.mount.join("d/over").exists());
        let refused = live.overlay.metadata("/d").unwrap_err();
        assert_eq!(refused.errno(), Errno::EREMOTE);
        let options = live
            .lowers
            .iter()
            .fold(MountOptions::new(), MountOptions::lower);
        let private = options.open().unwrap();
        assert!(private.exists("/d/under").unwrap() && !private.exists("/d/over").unwrap());
        umount(&at).unwrap();
        assert!(live.overlay.exists("/d/under").unwrap());
    });
}

fn stored(path: &Path, name: &str) -> Option<Vec<u8>> {
    xattr::get(path, format!("trusted.overlay.{name}")).unwrap()
}

/// Deviation READ-1: the crate's reads never write; what they found is stored by the next mutation.
#[test]
fn r065_looking_a_merged_directory_up_stores_its_origin() {
    let specs = [of([("/d", dir())]), of([("/d/f", file("x"))])];
    both(specs, |live: &Live| {
        std::fs::metadata(live.mount.join("d")).unwrap();
        let kernel = stored(&live.kernel_upper.join("d"), "origin");
        assert!(kernel.is_some());
        assert_eq!(stored(&live.kernel_upper, "impure"), Some(b"y".to_vec()));

        live.overlay.metadata("/d").unwrap();
        live.overlay.read_dir("/d").unwrap();
        assert_eq!(stored(&live.upper.join("d"), "origin"), None);
        assert_eq!(stored(&live.upper, "impure"), None);
        live.overlay.write("/d/new", "").unwrap();
        assert_eq!(stored(&live.upper.join("d"), "origin"), kernel);
        assert_eq!(stored(&live.upper, "impure"), Some(b"y".to_vec()));
    });
}

/// Deviation READ-1.
#[test]
fn r108_listing_takes_back_a_mark_that_nothing_needs() {
    let impure = dir().overlay(OverlayAttr::Impure, "y");
    both(
        [of([("/d", impure), ("/d/own", file(""))]), of([])],
        |live: &Live| {
            assert_eq!(std::fs::read_dir(live.mount.join("d")).unwrap().count(), 1);
            assert_eq!(stored(&live.kernel_upper.join("d"), "impure"), None);
            assert_eq!(live.overlay.read_dir("/d").unwrap().len(), 1);
            assert_eq!(stored(&live.upper.join("d"), "impure"), Some(b"y".to_vec()));
        },
    );
}

#[test]
fn r075_whiteouts_of_removals_are_devices_0_0_of_mode_0() {
    let specs = [
        of([]),
        of([("/a", file("")), ("/b", file("")), ("/d/x", file(""))]),
    ];
    both(specs, |live: &Live| {
        for path in ["a", "b"] {
            std::fs::remove_file(live.mount.join(path)).unwrap();
            live.overlay.remove_file(path).unwrap();
        }
        for upper in [&live.upper, &live.kernel_upper] {
            for path in ["a", "b"] {
                let meta = std::fs::symlink_metadata(upper.join(path)).unwrap();
                assert_eq!((meta.mode(), meta.rdev()), (0o020_000, 0), "{upper:?}");
            }
        }
        let shared = std::fs::symlink_metadata(live.kernel_upper.join("a")).unwrap();
        assert!(shared.nlink() > 1, "the kernel links them together (R048)");
    });
}

#[test]
fn r106_listed_numbers_over_several_filesystems_are_the_real_ones() {
    let layout = Layout {
        upper: Fs::Ext4,
        lowers: vec![Fs::Xfs],
        options: Vec::new(),
    };
    rule()
        .on(layout)
        .lower(of([("/d/f", file("")), ("/d/g", file(""))]))
        .ok(chmod("/d/f", 0o600))
        .look(|s| {
            let real = s.up("/d/f").meta.ino;
            assert_eq!(s.node("/d/f").listed_ino, Some(real), "not its origin's");
        })
        .run();
}

#[test]
fn r133_a_name_changed_behind_the_stacks_back_is_estale() {
    let specs = [
        of([("/f", file("")), ("/g", file("")), ("/d", dir())]),
        of([("/x", file(""))]),
    ];
    both(specs, |live: &Live| {
        let names = ["f", "g", "d"];
        for name in names {
            live.overlay.metadata(name).unwrap();
            std::fs::metadata(live.mount.join(name)).unwrap();
        }
        for upper in [&live.upper, &live.kernel_upper] {
            for name in names {
                std::fs::rename(upper.join(name), upper.join(format!("{name}-moved"))).unwrap();
            }
        }
        let kernel = [
            std::fs::remove_file(live.mount.join("f")),
            std::fs::rename(live.mount.join("g"), live.mount.join("h")),
            std::fs::remove_dir(live.mount.join("d")),
        ];
        let kernel = kernel.map(|r| Errno::of_io(&r.unwrap_err()));
        assert_eq!(kernel, [Errno::ESTALE; 3]);
        let ours = [
            live.overlay.remove_file("/f"),
            live.overlay.rename("/g", "/h"),
            live.overlay.remove_dir("/d"),
        ];
        let ours = ours.map(|r| r.unwrap_err().errno());
        // The crate may also find that the name is gone.
        assert!(
            ours.iter()
                .all(|e| [Errno::ESTALE, Errno::ENOENT].contains(e)),
            "{ours:?}"
        );
    });
}

fn chattr(flags: &str, path: &Path) {
    let done = Command::new("chattr")
        .arg(flags)
        .arg(path)
        .status()
        .unwrap();
    assert!(done.success(), "chattr {flags} {path:?}");
}

#[test]
fn r214_immutable_and_append_only_lowers_refuse_changes() {
    let specs = [of([]), of([("/i", file("x")), ("/a", file("x"))])];
    both(specs, |live: &Live| {
        let [i, a] = ["i", "a"].map(|n| live.lowers[0].join(n));
        chattr("+i", &i);
        chattr("+a", &a);
        let _clean = Restore(&[(&i, "-i"), (&a, "-a")]);
        let mode = std::fs::Permissions::from_mode(0o600);
        for name in ["i", "a"] {
            let kernel = std::fs::set_permissions(live.mount.join(name), mode.clone());
            assert_eq!(
                Errno::of_io(&kernel.unwrap_err()),
                Errno::EPERM,
                "kernel, {name}"
            );
            let ours = live.overlay.set_permissions(name, 0o600);
            assert_eq!(ours.unwrap_err().errno(), Errno::EPERM, "{name}");
            assert!(!live.upper.join(name).exists());
        }
        let append = OpenOptions::new().append(true);
        assert!(live.overlay.open("/i", &append).is_err());
        let ours = live.overlay.open("/a", &append).unwrap();
        assert!(live.upper.join("a").exists());
        // Space may be added, data may not change.
        let mut kernel = std::fs::OpenOptions::new();
        let kernel = kernel.append(true).open(live.mount.join("a")).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&kernel, FallocateFlags::KEEP_SIZE, 0, 9).unwrap();
        let refused = rustix::fs::fallocate(&kernel, punch, 0, 1);
        assert_eq!(refused, Err(rustix::io::Errno::PERM), "kernel");
        ours.allocate(AllocateMode::AllocateKeepSize, 0, 9).unwrap();
        let refused = ours.allocate(AllocateMode::PunchHole, 0, 1);
        assert_eq!(refused.unwrap_err().errno(), Errno::EPERM);
    });
}

/// The source is not copied up, and a handle opened before sees what its file is now.
#[test]
fn r211_copying_a_range_reads_a_lower_where_it_is() {
    let content: Vec<u8> = (0..3 << 20).map(|i: u32| (i / 5) as u8).collect();
    let specs = [of([]), of([("/src", NodeSpec::file(&content))])];
    both(specs, |live: &Live| {
        let (at, len) = (4096, 2 << 20);
        let kernel = std::fs::File::open(live.mount.join("src")).unwrap();
        let into = std::fs::File::create(live.mount.join("kernel")).unwrap();
        let (mut from, mut to) = (at, 0);
        let mut left = len;
        while left > 0 {
            let n =
                rustix::fs::copy_file_range(&kernel, Some(&mut from), &into, Some(&mut to), left);
            left -= n.unwrap();
        }
        let options = OpenOptions::new().write(true).create(true);
        let source = live
            .overlay
            .open("/src", &OpenOptions::new().read(true))
            .unwrap();
        let target = live.overlay.open("/ours", &options).unwrap();
        let copied = source.copy_range_to(at, &target, 0, len as u64).unwrap();
        assert_eq!(copied.bytes, len as u64);
        let got = std::fs::read(live.mount.join("kernel")).unwrap();
        assert!(got == content[at as usize..][..len], "kernel");
        assert!(live.overlay.read("/ours").unwrap() == got);
        assert!(!live.upper.join("src").exists());
        let errno = |copied: layerstack::Result<Cloned>| copied.unwrap_err().errno();
        assert_eq!(errno(target.copy_range_to(0, &source, 0, 1)), Errno::EBADF);
        let own = live
            .overlay
            .open("/ours", &OpenOptions::new().read(true).write(true))
            .unwrap();
        assert_eq!(errno(own.copy_range_to(0, &own, 5, 10)), Errno::EINVAL);
        let end = own.copy_range_to(len as u64, &own, 0, 10).unwrap();
        assert_eq!(end.bytes, 0, "nothing is behind the end");
    });
}

/// Takes flags away again, so that the workspace can be removed.
struct Restore<'a>(&'a [(&'a Path, &'a str)]);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        for (path, flags) in self.0 {
            let _ = Command::new("chattr").arg(flags).arg(path).status();
        }
    }
}

#[test]
fn r226_sync_and_noatime_flags_are_copied_others_are_not() {
    let specs = [of([]), of([("/f", file("x"))])];
    both(specs, |live: &Live| {
        chattr("+SAd", &live.lowers[0].join("f"));
        live.overlay.set_permissions("/f", 0o600).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(live.mount.join("f"), mode).unwrap();
        let flags = |dir: &Path| {
            let out = Command::new("lsattr").arg(dir.join("f")).output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            let flags = text.split_whitespace().next().unwrap();
            flags.replace(['-', 'e'], "")
        };
        assert_eq!(flags(&live.kernel_upper), "SA");
        assert_eq!(flags(&live.upper), "SA");
    });
}

#[test]
fn r238_parallel_copy_ups_of_one_file_all_succeed() {
    let low = MemLayer::builder()
        .file("d/f", vec![7; 1 << 20])
        .build()
        .unwrap();
    let upper = std::sync::Arc::new(MemLayer::new());
    let stack = LayerStack::from_top([low]).unwrap();
    let overlay = Overlay::new(&stack, upper.clone()).unwrap();
    std::thread::scope(|scope| {
        for i in 0..8_u64 {
            let overlay = overlay.clone();
            scope.spawn(move || {
                let file = overlay
                    .open("/d/f", &OpenOptions::new().write(true))
                    .unwrap();
                file.write_all_at(&[1], i).unwrap();
            });
        }
    });
    let data = overlay.read("/d/f").unwrap();
    assert_eq!((&data[..8], data[8], data.len()), (&[1; 8][..], 7, 1 << 20));
}

#[test]
fn r048_one_whiteout_may_be_kept_in_the_work_directory() {
    both(
        [of([]), of([("/a", file("")), ("/b", file(""))])],
        |live: &Live| {
            live.overlay.remove_file("/a").unwrap();
            live.overlay.remove_file("/b").unwrap();
            let left = std::fs::read_dir(live.work().join("work")).unwrap();
            assert!(left.count() <= 1);
        },
    );
}

#[test]
fn r227_a_file_marked_as_protected_cannot_be_changed() {
    let with = |value: &str| file("x").overlay(OverlayAttr::Protattr, value);
    rule()
        .not_written_to_memory()
        .lower(layer())
        .upper(of([("/i", with("i")), ("/a", with("a"))]))
        .fails(chmod("/i", 0o600), layerstack::Errno::EPERM)
        .fails(open("/i", wr()), layerstack::Errno::EPERM)
        .fails(rm("/i"), layerstack::Errno::EPERM)
        .fails(open("/a", wr()), layerstack::Errno::EPERM)
        .ok(append("/a", "+"))
        .reads("/a", "x+")
        .run();
}
