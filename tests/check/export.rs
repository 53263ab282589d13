//! The index of a stack that is exported, `nfs_export=on`: it knows directories, files with one name, and what
//! is gone.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use layerstack::OverlayAttr;
use layerstack::testing::{LayerSpec, NodeSpec};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::hints::{ORIGIN, get, set, unset};
use crate::scene::{Disk, entry, in_index, on_disk};

const UPPER: &str = "trusted.overlay.upper";
const WHITEOUT: &str = "trusted.overlay.whiteout";

/// `a` and a file in `d` were changed.
fn exported(test: impl FnOnce(&mut Disk) + Send) {
    let lower = LayerSpec::new()
        .with("/a", NodeSpec::file("one"))
        .with("/b", NodeSpec::file("two"))
        .with("/d/x", NodeSpec::file("three"));
    on_disk(&["nfs_export=on"], &[lower], &LayerSpec::new(), |disk| {
        disk.kernel(|at| {
            fs::write(at.join("a"), "changed").unwrap();
            fs::write(at.join("d/x"), "changed too").unwrap();
        });
        disk.heals(&[], &[]);
        test(disk);
    });
}

fn told(kind: &str, entry: &Path) -> String {
    format!("{kind} {}", in_index(entry))
}

fn whiteout(path: &Path) {
    mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).unwrap();
}

/// The next mount takes the entry for one whose names are all gone, and puts a whiteout there.
#[test]
fn an_entry_whose_file_lost_its_only_name() {
    exported(|disk| {
        let entry = entry(disk, "a");
        fs::remove_file(disk.upper.join("a")).unwrap();
        disk.heals(&[&told("index-orphan", &entry)], &[]);
        assert!(fs::symlink_metadata(&entry).is_err());
        disk.kernel(|at| assert_eq!(fs::read(at.join("a")).unwrap(), b"one"));
    });
}

#[test]
fn a_whiteout_of_what_an_upper_file_records() {
    exported(|disk| {
        let entry = entry(disk, "a");
        fs::remove_file(&entry).unwrap();
        whiteout(&entry);
        disk.kernel(|at| assert!(fs::read(at.join("a")).is_err()));
        disk.heals(&[&told("index-of-other-type", &entry)], &[]);
        disk.kernel(|at| assert_eq!(fs::read(at.join("a")).unwrap(), b"changed"));
    });
}

#[test]
fn a_whiteout_of_a_directory_that_merges() {
    exported(|disk| {
        let entry = entry(disk, "d");
        fs::remove_dir(&entry).unwrap();
        whiteout(&entry);
        disk.kernel(|at| assert!(fs::read_dir(at.join("d")).is_err()));
        disk.heals(&[&told("index-of-other-type", &entry)], &[]);
    });
}

/// The upper directory was moved by hand: the lower one shows again where it was, and is refused.
#[test]
fn a_directory_that_its_entry_says_is_elsewhere() {
    exported(|disk| {
        let entry = entry(disk, "d");
        fs::rename(disk.upper.join("d"), disk.upper.join("moved")).unwrap();
        disk.kernel(|at| assert!(fs::read_dir(at.join("d")).is_err()));
        let report = disk.checker().run();
        let found = crate::scene::lines(&report);
        assert!(found.contains(&told("index-elsewhere", &entry)), "{report}");
        drop(report);
        for _ in 0..3 {
            let report = disk.checker().run();
            let repair = report.repair(layerstack::check::Consent::Choose);
            repair.apply().unwrap();
        }
        disk.mounts_quietly();
        disk.kernel(|at| {
            // The index has the lower file and its copy as one.
            assert_eq!(fs::read(at.join("d/x")).unwrap(), b"changed too");
            assert_eq!(fs::read(at.join("moved/x")).unwrap(), b"changed too");
        });
    });
}

/// The kernel refuses to mount.
#[test]
fn an_entry_of_a_directory_that_names_a_file() {
    exported(|disk| {
        let entry = entry(disk, "d");
        let flags = get(&entry, UPPER)[3];
        // Both layers are on one filesystem, so but for a flag the handle of a lower file is one of the upper.
        let mut handle = get(&disk.upper.join("d/x"), ORIGIN);
        handle[3] = flags;
        set(&entry, UPPER, &handle);
        assert!(disk.is_refused());
        disk.heals(&[&told("index-without-origin", &entry)], &[]);
    });
}

/// An origin that says nothing is not that of the lower directory, which is then not merged.
#[test]
fn an_origin_of_a_directory_that_says_nothing() {
    exported(|disk| {
        let entry = entry(disk, "d");
        set(&disk.upper.join("d"), ORIGIN, b"");
        let found = [
            told("index-without-origin", &entry),
            "origin-mismatch upper:/d".into(),
        ];
        disk.heals(&found.each_ref().map(String::as_str), &[]);
    });
}

/// In the index an empty file is a file, whatever its attribute says where it has other names: the kernel
/// refuses to mount until it tells its origin.
#[test]
fn an_entry_that_is_a_whiteout_elsewhere() {
    exported(|disk| {
        let entry = entry(disk, "a");
        fs::write(&entry, "").unwrap();
        set(&entry, WHITEOUT, b"y");
        unset(&entry, ORIGIN);
        assert!(disk.is_refused());
        let found = [
            told("index-without-origin", &entry),
            "whiteout-listed upper:/a".into(),
        ];
        disk.heals(&found.each_ref().map(String::as_str), &[]);
        disk.kernel(|at| assert!(fs::symlink_metadata(at.join("a")).is_err()));
    });
}

/// A redirect that is not followed shows nothing, so what lies there may be gone from the union.
#[test]
fn what_only_a_refused_redirect_leads_to_is_gone() {
    let options = ["nfs_export=on", "redirect_dir=nofollow"];
    let top = LayerSpec::new().with("/r", NodeSpec::dir().overlay(OverlayAttr::Redirect, b"/d"));
    let bottom = LayerSpec::new().with("/d/x", NodeSpec::file("three"));
    on_disk(&options, &[top, bottom], &LayerSpec::new(), |disk| {
        disk.kernel(|at| {
            assert!(fs::read_dir(at.join("r")).is_err());
            fs::write(at.join("d/x"), "changed").unwrap();
            fs::remove_file(at.join("d/x")).unwrap();
        });
        let index: Vec<_> = fs::read_dir(disk.work.join("index")).unwrap().collect();
        let whiteout = |e: &std::io::Result<fs::DirEntry>| {
            e.as_ref().unwrap().file_type().unwrap().is_char_device()
        };
        assert!(index.iter().any(whiteout), "{index:?}");
        let found = [
            "impure-superfluous upper:/d",
            "redirect-refused lower[0]:/r",
        ];
        disk.heals(&found, &[]);
    });
}
