//! Section 17: inode numbers, devices, link counts. Layers on one filesystem; numbers are compared
//! with the kernel's by the names of the layers' inodes.

use std::os::unix::fs::MetadataExt;

use layerstack::{OverlayAttr, SetAttr, SetTime};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::{filesystem, rule};
use crate::support::fs::Fs;
use crate::support::system::Layout;

#[test]
fn r249_a_copy_keeps_the_number_of_its_origin() {
    let specs = [
        of([("/up", file(""))]),
        of([("/d/f", file("x")), ("/d/l", link("t"))]),
    ];
    both(specs, |live: &Live| {
        let real = |path: &str| {
            std::fs::symlink_metadata(live.lowers[0].join(path))
                .unwrap()
                .ino()
        };
        let ours = |path: &str| live.overlay.symlink_metadata(path).unwrap().ino;
        let all = || [ours("/d"), ours("/d/f"), ours("/d/l")];
        let before = all();
        assert_eq!(before, [real("d"), real("d/f"), real("d/l")]);
        live.overlay.set_permissions("/d/f", 0o600).unwrap();
        live.overlay
            .set_owner("/d/l", Some(1), None, false)
            .unwrap();
        assert_eq!(all(), before, "after copy-up");
        live.overlay.rename("/d/f", "/d/g").unwrap();
        assert_eq!(ours("/d/g"), before[1], "after rename");
        let up = std::fs::metadata(live.upper.join("up")).unwrap().ino();
        assert_eq!(ours("/up"), up, "pure upper");
    });
    let lower = of([("/d/f", file("x"))]);
    rule()
        .lower(lower)
        .ok(chmod("/d/f", 0o600))
        .remount()
        .ok(stat("/d/f"))
        .run();
}

#[test]
fn r250_the_device_is_one_and_not_a_layers() {
    let specs = [of([("/up", file(""))]), of([("/d/f", file("x"))])];
    both(specs, |live: &Live| {
        let dev = |path: &str| live.overlay.metadata(path).unwrap().dev;
        assert!(dev("/") == dev("/d/f") && dev("/d") == dev("/up"));
        let base = std::fs::metadata(&live.upper).unwrap().dev();
        let base = layerstack::DeviceId::new(rustix::fs::major(base), rustix::fs::minor(base));
        assert_ne!(dev("/"), base);
    });
}

#[test]
fn r251_the_roots_number_is_the_uppers() {
    both([of([]), of([("/f", file(""))])], |live: &Live| {
        let upper = std::fs::metadata(&live.upper).unwrap().ino();
        assert_eq!(live.overlay.metadata("/").unwrap().ino, upper);
        let kernel = std::fs::metadata(&live.mount).unwrap().ino();
        assert_eq!(kernel, std::fs::metadata(&live.kernel_upper).unwrap().ino());
    });
}

/// Over two filesystems only non-directories keep the real number; numbers of directories are any.
#[test]
fn r252_on_several_filesystems_files_show_their_real_number() {
    let layout = Layout {
        upper: Fs::Ext4,
        lowers: vec![Fs::Xfs, Fs::Ext4],
        options: Vec::new(),
    };
    rule()
        .on(layout)
        .lower(of([("/d/f", file("xfs")), ("/d/g", link_to("/d/f"))]))
        .lower(of([("/d/h", file("ext4"))]))
        .ok(chmod("/d/h", 0o600))
        .look(|s| {
            let ino = |path: &str| s.node(path).meta.ino;
            assert_eq!(ino("/d/f"), ino("/d/g"));
            assert_eq!(s.node("/d/f").meta.dev, s.node("/d/g").meta.dev);
            assert_ne!(
                (s.node("/d/f").meta.dev, ino("/d/f")),
                (s.node("/d/h").meta.dev, ino("/d/h")),
            );
        })
        .run();
}

#[test]
fn r255_a_broken_hard_link_takes_a_new_number() {
    rule()
        .lower(of([("/a", file("same")), ("/b", link_to("/a"))]))
        .look(|s| assert_eq!(s.node("/a").meta.ino, s.node("/b").meta.ino))
        .ok(open("/a", wr()))
        .look(|s| {
            let (a, b) = (&s.node("/a").meta, &s.node("/b").meta);
            assert_ne!((a.dev, a.ino), (b.dev, b.ino));
        })
        .run();
}

#[test]
fn r256_names_of_one_lower_inode_show_one_number_and_its_link_count() {
    rule()
        .lower(of([
            ("/a", file("")),
            ("/b", link_to("/a")),
            ("/d/c", link_to("/a")),
        ]))
        .look(|s| {
            let inos = ["/a", "/b", "/d/c"].map(|p| s.node(p).meta.ino);
            assert!(inos[0] == inos[1] && inos[1] == inos[2]);
        })
        .meta("/d/c", |m| assert_eq!(m.nlink, 3))
        .run();
}

#[test]
fn r257_a_merged_directory_has_one_link() {
    rule()
        .compare(|rules| rules.merged.dir_nlink = true)
        .lower(of([("/m/sub", dir()), ("/low/sub", dir())]))
        .upper(of([
            ("/m/own", dir()),
            ("/pure/a", dir()),
            ("/pure/b", dir()),
        ]))
        .meta("/m", |m| assert_eq!(m.nlink, 1))
        .meta("/low", |m| {
            assert!(m.nlink == 3 || filesystem() == Fs::Btrfs)
        })
        .meta("/pure", |m| {
            assert!(m.nlink == 4 || filesystem() == Fs::Btrfs)
        })
        .ok(create("/low/new", ""))
        .meta("/low", |m| assert_eq!(m.nlink, 1, "merged now"))
        .run();
}

#[test]
fn r260_size_mode_and_times_are_the_uppers() {
    rule()
        .lower(of([("/f", file("longer below").mtime(1, 1))]))
        .upper(of([("/f", file("up").mode(0o600).mtime(2, 2))]))
        .meta("/f", |m| {
            assert_eq!((m.size, m.mode, m.mtime.secs), (2, 0o600, 2))
        })
        .ok(set("/f", SetAttr::times(at(7, 0), SetTime::Omit)))
        .meta("/f", |m| assert_eq!((m.atime.secs, m.mtime.secs), (7, 2)))
        .run();
}

/// Origins, impure, nlink and their like change no name.
#[test]
fn r273_r274_hints_never_change_which_names_exist() {
    let hints = dir()
        .overlay(OverlayAttr::Impure, "y")
        .overlay(OverlayAttr::Nlink, "U+3")
        .overlay(OverlayAttr::Upper, "junk")
        .overlay(OverlayAttr::Uuid, "0123456789abcdef");
    rule()
        .lower(of([("/d/low", file(""))]))
        .upper(of([
            ("/d", hints),
            ("/d/up", file("").overlay(OverlayAttr::Nlink, "L-1")),
        ]))
        .lists("/d", &["low", "up"])
        .run();
}

/// R105 with R065: a merged directory whose upper has no origin yet is listed by the number that
/// `stat` shows, although reading does not store the origin.
#[test]
fn r105_a_merged_directory_without_origin_is_listed_by_its_own_number() {
    both([of([("/d", dir())]), of([("/d", dir())])], |live: &Live| {
        let ours = live.overlay.read_dir("/").unwrap();
        let listed = ours.iter().find(|e| e.name.as_bytes() == b"d").unwrap().ino;
        assert_eq!(listed, live.overlay.metadata("/d").unwrap().ino);
    });
}
