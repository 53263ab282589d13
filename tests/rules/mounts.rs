//! Sections 1 and 2: which layers make a stack, and the work directory. The kernel is asked by mounts,
//! the crate by opening the same directories.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layerstack::backend::memory::MemLayer;
use layerstack::{
    DirLayerOptions, Errno, LOWER_LAYERS_MAX, LayerStack, Op, Overlay, OverlayOptions,
    XattrNamespace,
};
use nix::mount::{MsFlags, mount};

use crate::ops::*;
use crate::rig::rule;
use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::{in_mount_namespace, require_kernel};

type Opened = Result<(), Errno>;

const OK: Opened = Ok(());
const EINVAL: Opened = Err(Errno::EINVAL);
const ELOOP: Opened = Err(Errno::ELOOP);

/// Directories on one filesystem, and what opens them.
struct Place {
    space: Workspace,
    mount: PathBuf,
}

impl Place {
    /// An existing directory of this path below the place.
    fn dir(&self, name: &str) -> PathBuf {
        let path = self.space.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn config(lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> OverlayConfig {
        OverlayConfig {
            lowers: lowers.to_vec(),
            upper: upper.map(|(upper, _)| upper.to_path_buf()),
            work: upper.map(|(_, work)| work.to_path_buf()),
            options: Vec::new(),
        }
    }

    /// Mounts, asks, unmounts.
    fn kernel_shows<T>(
        &self,
        lowers: &[PathBuf],
        upper: Option<(&Path, &Path)>,
        ask: impl FnOnce(&Path) -> T,
    ) -> Result<T, Errno> {
        let mount = OverlayMount::new(&self.mount, &Place::config(lowers, upper));
        let mount = mount.map_err(|refused| refused.errno)?;
        let answer = ask(mount.path());
        mount.unmount().unwrap();
        Ok(answer)
    }

    fn kernel(&self, lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Opened {
        self.kernel_shows(lowers, upper, |_| ())
    }

    /// Both answer the same.
    fn both(&self, lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Opened {
        let kernel = self.kernel(lowers, upper);
        let ours = ours(lowers, upper).map(|_| ());
        assert_eq!(kernel, ours, "the kernel's answer and the crate's");
        ours
    }
}

/// The crate on these directories.
fn ours(lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<Overlay, Errno> {
    let options = DirLayerOptions::new().namespace(XattrNamespace::Trusted);
    let open = || -> layerstack::Result<Overlay> {
        let lowers = lowers.iter().map(|l| options.open_lower(l));
        let stack = LayerStack::from_top(lowers.collect::<layerstack::Result<Vec<_>>>()?)?;
        let Some((upper, work)) = upper else {
            return Overlay::read_only(&stack);
        };
        let upper = options.open_upper(upper, work)?;
        Overlay::with_options(&stack, upper, OverlayOptions::new().durable(false))
    };
    open().map_err(|e| e.errno())
}

/// Runs `test` in a directory on ext4, where overlays can be mounted.
fn at(test: impl FnOnce(&Place) + Send) {
    if require_kernel() {
        in_mount_namespace(|| {
            let mounted = Mounted::new(&[Fs::Ext4]);
            let space = Workspace::new(&mounted, Fs::Ext4);
            let mount = space.dir("mount");
            test(&Place { space, mount });
        });
    }
}

#[test]
fn r001_the_first_lower_is_the_topmost() {
    rule()
        .lower(of([("/f", file("first"))]))
        .lower(of([("/f", file("second"))]))
        .reads("/f", "first")
        .run();
}

#[test]
fn r002_there_are_at_most_500_lowers() {
    let many = |n: usize| LayerStack::from_top((0..n).map(|_| MemLayer::new())).map(|_| ());
    assert_eq!(LOWER_LAYERS_MAX, 500);
    many(500).unwrap();
    assert_eq!(many(501).unwrap_err().errno(), Errno::EINVAL);
    at(|place| {
        let dirs: Vec<_> = (0..501).map(|i| place.dir(&format!("l{i}"))).collect();
        assert_eq!(place.both(&dirs[..500], None), OK);
        assert_eq!(place.both(&dirs, None), EINVAL);
    });
}

#[test]
fn r003_without_lowers_there_is_no_stack() {
    let none = LayerStack::from_top(Vec::<MemLayer>::new());
    assert_eq!(none.unwrap_err().errno(), Errno::EINVAL);
    at(|place| {
        let (upper, work) = (place.dir("u"), place.dir("w"));
        assert_eq!(place.both(&[], None), EINVAL);
        assert_eq!(place.both(&[], Some((&upper, &work))), EINVAL);
    });
}

/// Deviation STACK-1: a read-only union of one layer is useful without a mount.
#[test]
fn r004_one_lower_without_an_upper_is_no_mount_but_a_stack() {
    let one = LayerStack::from_top([MemLayer::builder().file("f", b"x").build().unwrap()]).unwrap();
    assert_eq!(one.read("/f").unwrap(), b"x");
    at(|place| {
        let dirs = [place.dir("a"), place.dir("b")];
        assert_eq!(place.kernel(&dirs[..1], None), EINVAL);
        assert!(ours(&dirs[..1], None).is_ok());
        assert_eq!(place.both(&dirs, None), OK);
    });
}

/// `open_upper` takes both, so one alone cannot be said.
#[test]
fn r006_an_upper_needs_a_work_directory() {
    at(|place| {
        let mut config = Place::config(&[place.dir("l")], None);
        config.upper = Some(place.dir("u"));
        let refused = OverlayMount::new(&place.mount, &config).map(|_| ()).unwrap_err();
        assert_eq!(refused.errno, Errno::EINVAL);
    });
}

#[test]
fn r007_upper_and_work_are_under_one_mount() {
    at(|place| {
        let (lower, upper) = (place.dir("l"), place.dir("u"));
        let (other, bound) = (place.dir("w"), place.dir("bound"));
        let none: Option<&str> = None;
        mount(Some(&other), &bound, none, MsFlags::MS_BIND, none).unwrap();
        assert_eq!(place.both(std::slice::from_ref(&lower), Some((&upper, &bound))), EINVAL);
        assert_eq!(place.both(&[lower], Some((&upper, &other))), OK);
        nix::mount::umount(&bound).unwrap();
    });
}

#[test]
fn r008_upper_and_work_are_apart() {
    at(|place| {
        let lower = [place.dir("l")];
        let (upper, inside) = (place.dir("u"), place.dir("u/w"));
        assert_eq!(place.both(&lower, Some((&upper, &upper))), EINVAL);
        assert_eq!(place.both(&lower, Some((&upper, &inside))), EINVAL);
        assert_eq!(place.both(&lower, Some((&inside, &upper))), EINVAL);
        assert_eq!(place.both(&lower, Some((&upper, &place.dir("uw")))), OK);
    });
}

#[test]
fn r009_a_layer_is_an_existing_directory() {
    at(|place| {
        let (good, missing) = (place.dir("l"), place.space.path().join("missing"));
        let (plain, to_good) = (good.join("f"), place.space.path().join("link"));
        std::fs::write(&plain, "").unwrap();
        std::os::unix::fs::symlink(&good, &to_good).unwrap();
        let (upper, work) = (place.dir("u"), place.dir("w"));
        let with = |lower: &PathBuf| place.both(std::slice::from_ref(lower), Some((&upper, &work)));
        assert_eq!(with(&missing), Err(Errno::ENOENT));
        assert_eq!(with(&plain), EINVAL);
        assert_eq!(with(&plain.join("x")), Err(Errno::ENOTDIR));
        assert_eq!(with(&to_good), OK);
        let low = [good];
        assert_eq!(place.both(&low, Some((&plain, &work))), EINVAL);
        assert_eq!(place.both(&low, Some((&upper, &plain))), EINVAL);
        assert_eq!(place.both(&low, Some((&missing, &work))), Err(Errno::ENOENT));
    });
}

#[test]
fn r010_upper_and_work_are_on_a_writable_mount() {
    at(|place| {
        let (lower, both) = (place.dir("l"), place.dir("rw"));
        let (upper, work) = (place.dir("rw/u"), place.dir("rw/w"));
        let none: Option<&str> = None;
        mount(Some(&both), &both, none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(Some(&both), &both, none, read_only, none).unwrap();
        assert_eq!(place.both(&[lower], Some((&upper, &work))), EINVAL);
        nix::mount::umount(&both).unwrap();
    });
}

#[test]
fn r011_an_upper_on_overlayfs_is_refused_a_lower_is_fine() {
    at(|place| {
        let (low, up, work, outer) = (place.dir("l"), place.dir("u"), place.dir("w"), place.dir("o"));
        for name in ["u", "w", "l"] {
            std::fs::create_dir_all(low.join(name)).unwrap();
        }
        let config = Place::config(&[low], Some((&up, &work)));
        let mounted = OverlayMount::new(&outer, &config).unwrap();
        let (inner_up, inner_work) = (outer.join("u"), outer.join("w"));
        let plain = [place.dir("plain")];
        assert_eq!(place.both(&plain, Some((&inner_up, &inner_work))), EINVAL);
        let (up2, work2) = (place.dir("u2"), place.dir("w2"));
        assert_eq!(place.both(&[outer.join("l")], Some((&up2, &work2))), OK);
        mounted.unmount().unwrap();
    });
}

#[test]
fn r014_one_directory_twice_is_eloop() {
    let layer = std::sync::Arc::new(MemLayer::new());
    let twice = LayerStack::from_top([layer.clone(), layer]);
    assert_eq!(twice.unwrap_err().errno(), Errno::ELOOP);
    at(|place| {
        let (a, b) = (place.dir("a"), place.dir("b"));
        let (upper, work) = (place.dir("u"), place.dir("w"));
        assert_eq!(place.both(&[a.clone(), b, a.clone()], None), ELOOP);
        assert_eq!(place.both(&[a, upper.clone()], Some((&upper, &work))), ELOOP);
    });
}

#[test]
fn r015_a_lower_inside_another_layer_is_eloop() {
    at(|place| {
        let (outer, inner) = (place.dir("a"), place.dir("a/in"));
        let (upper, work) = (place.dir("u"), place.dir("w"));
        assert_eq!(place.kernel(&[outer, inner], None), ELOOP);
        let in_upper = place.dir("u/in");
        assert_eq!(place.kernel(&[in_upper], Some((&upper, &work))), ELOOP);
    });
}

/// A bound copy of a directory is that directory.
#[test]
fn r018_lowers_may_be_shared() {
    at(|place| {
        let lower = [place.dir("l")];
        std::fs::write(lower[0].join("f"), "shared").unwrap();
        let dirs = ["u1", "w1", "u2", "w2"].map(|d| place.dir(d));
        let one = ours(&lower, Some((&dirs[0], &dirs[1]))).unwrap();
        let two = ours(&lower, Some((&dirs[2], &dirs[3]))).unwrap();
        one.remove_file("/f").unwrap();
        assert!(!one.exists("/f").unwrap());
        assert_eq!(two.read("/f").unwrap(), b"shared");
    });
}

/// Deviation USE-1: the kernel only warns (index=off), the crate refuses.
#[test]
fn r017_directories_in_use_are_refused() {
    at(|place| {
        let lower = [place.dir("l")];
        let (upper, work, mount) = (place.dir("u"), place.dir("w"), place.dir("m2"));
        let config = Place::config(&lower, Some((&upper, &work)));
        let mounted = OverlayMount::new(&mount, &config).unwrap();
        assert_eq!(place.kernel(&lower, Some((&upper, &work))), OK);
        assert_eq!(ours(&lower, Some((&upper, &work))).map(|_| ()), Err(Errno::EBUSY));
        mounted.unmount().unwrap();
        let first = ours(&lower, Some((&upper, &work))).unwrap();
        assert_eq!(ours(&lower, Some((&upper, &work))).map(|_| ()), Err(Errno::EBUSY));
        drop(first);
        assert!(ours(&lower, Some((&upper, &work))).is_ok());
    });
}

#[test]
fn r035_statfs_shows_the_upper_with_the_longest_name_of_all() {
    rule().lower(layer()).ok(Op::StatFs).run();
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let ours = ours(&lower, Some((&upper, &work))).unwrap().statfs().unwrap();
        assert_eq!((ours.fs_type, ours.name_bytes_max), (0x794c_7630, 255));
        let ask = |at: &Path| rustix::fs::statfs(at).unwrap();
        let kernel = place.kernel_shows(&lower, Some((&upper, &work)), ask).unwrap();
        assert_eq!((kernel.f_type as u64, kernel.f_blocks), (ours.fs_type, ours.blocks));
    });
}

#[test]
fn r036_a_name_that_no_layer_can_hold_is_enametoolong() {
    let longest = format!("/{}", "n".repeat(255));
    let longer = format!("/{}", "n".repeat(256));
    rule()
        .lower(of([(longest.as_str(), file("x"))]))
        .reads(&longest, "x")
        .fails(stat(&longer), Errno::ENAMETOOLONG)
        .fails(mkdir(&longer), Errno::ENAMETOOLONG)
        .fails(mv(&longest, &longer), Errno::ENAMETOOLONG)
        .run();
}

#[test]
fn r041_other_entries_of_the_work_directory_are_left_alone() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        std::fs::write(work.join("note"), "mine").unwrap();
        assert_eq!(place.both(&lower, Some((&upper, &work))), OK);
        assert_eq!(std::fs::read(work.join("note")).unwrap(), b"mine");
    });
}

#[test]
fn r042_staging_is_a_fresh_directory_without_permissions() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let stale = place.dir("w/work").join("#1");
        std::fs::write(&stale, "left over").unwrap();
        let overlay = ours(&lower, Some((&upper, &work))).unwrap();
        let mode = std::fs::metadata(work.join("work")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0);
        assert!(!stale.exists());
        drop(overlay);
        std::fs::write(&stale, "left over").unwrap();
        let ask = |_: &Path| std::fs::metadata(work.join("work")).unwrap().mode() & 0o7777;
        let mode = place.kernel_shows(&lower, Some((&upper, &work)), ask);
        assert_eq!((mode, stale.exists()), (Ok(0), false));
    });
}

/// Deviation SWEEP-1: the kernel gives up below two levels and mounts read-only.
#[test]
fn r043_deep_leftovers_are_swept() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let deep = place.dir("w/work/#2/a/b/c");
        let ask = |at: &Path| std::fs::write(at.join("f"), "").map_err(|e| Errno::of_io(&e));
        let kernel = place.kernel_shows(&lower, Some((&upper, &work)), ask);
        assert_eq!(kernel, Ok(Err(Errno::EROFS)));
        assert!(deep.exists());
        let overlay = ours(&lower, Some((&upper, &work))).unwrap();
        assert!(!deep.exists());
        overlay.write("/f", "").unwrap();
    });
}

#[test]
fn r044_the_mark_of_an_unfinished_volatile_mount_is_refused() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        place.dir("w/work/incompat/volatile");
        assert_eq!(place.both(&lower, Some((&upper, &work))), EINVAL);
        std::fs::remove_dir_all(work.join("work/incompat")).unwrap();
        assert_eq!(place.both(&lower, Some((&upper, &work))), OK);
    });
}

#[test]
fn r047_temporary_objects_are_staged_in_the_work_directory_and_leave_it() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        std::fs::write(lower[0].join("f"), "x").unwrap();
        std::os::unix::fs::symlink("t", lower[0].join("l")).unwrap();
        let overlay = ours(&lower, Some((&upper, &work))).unwrap();
        overlay.set_permissions("/f", 0o600).unwrap();
        overlay.set_owner("/l", Some(1), None, false).unwrap();
        overlay.rename("/f", "/g").unwrap();
        overlay.create_dir("/f", 0o755).unwrap();
        let left = std::fs::read_dir(work.join("work")).unwrap().count();
        assert!(left <= 1, "at most the whiteout kept for sharing (R048): {left}");
    });
}

#[test]
fn r049_without_an_upper_nothing_is_written() {
    at(|place| {
        let lowers = [place.dir("a/d"), place.dir("b/d")];
        let lowers = lowers.map(|l| l.parent().unwrap().to_path_buf());
        let stamp = |l: &PathBuf| {
            let meta = std::fs::metadata(l.join("d")).unwrap();
            (meta.ctime(), meta.ctime_nsec(), meta.atime_nsec())
        };
        let before = [stamp(&lowers[0]), stamp(&lowers[1])];
        let overlay = ours(&lowers, None).unwrap();
        assert_eq!(overlay.read_dir("/d").unwrap().len(), 0);
        assert_eq!(overlay.write("/d/f", "x").unwrap_err().errno(), Errno::EROFS);
        assert_eq!([stamp(&lowers[0]), stamp(&lowers[1])], before);
    });
}
