//! The index, made by the kernel and then damaged.

use std::fs;
use std::sync::Mutex;

use layerstack::check::Consent;
use layerstack::testing::snapshot::TimeCompare;
use layerstack::testing::{Compare, LayerSpec, NodeSpec, SnapshotOptions, TreeSnapshot};

use crate::hints::{IMPURE, ORIGIN, get, set, unset};
use crate::scene::{Disk, entry, in_index as at, on_disk, same_view};

const NLINK: &str = "trusted.overlay.nlink";
const UPPER: &str = "trusted.overlay.upper";

fn lower() -> LayerSpec {
    LayerSpec::new()
        .with("/a", NodeSpec::file("links"))
        .with("/b", NodeSpec::link_to("/a"))
        .with("/c", NodeSpec::link_to("/a"))
        .with("/d/p", NodeSpec::file("others"))
        .with("/q", NodeSpec::link_to("/d/p"))
}

/// `a` and `q` were changed, through one name each.
fn indexed(test: impl FnOnce(&mut Disk) + Send) {
    on_disk(&["index=on"], &[lower()], &LayerSpec::new(), |disk| {
        disk.kernel(|at| {
            fs::write(at.join("a"), "changed").unwrap();
            fs::write(at.join("q"), "changed too").unwrap();
        });
        disk.heals(&[], &[]);
        test(disk);
    });
}

#[test]
fn what_the_kernel_made_is_right() {
    indexed(|disk| {
        disk.kernel(|at| {
            fs::remove_file(at.join("b")).unwrap();
            fs::hard_link(at.join("c"), at.join("new")).unwrap();
            fs::rename(at.join("d/p"), at.join("d/moved")).unwrap();
        });
        disk.heals(&[], &[]);
        disk.kernel(|at| {
            for name in ["a", "c", "new"] {
                fs::remove_file(at.join(name)).unwrap();
            }
        });
        disk.heals(&[], &[]);
    });
}

#[test]
fn an_entry_that_lost_its_name() {
    indexed(|disk| {
        let right = entry(disk, "a");
        fs::rename(&right, disk.work.join("index/lost")).unwrap();
        assert!(disk.is_refused());
        disk.heals(&["index-name-malformed work:/index/lost"], &[]);
        assert!(right.exists());
    });
}

#[test]
fn a_stranger_in_the_index() {
    indexed(|disk| {
        fs::write(disk.work.join("index/stranger"), "").unwrap();
        fs::create_dir_all(disk.work.join("index/dir/below")).unwrap();
        assert!(disk.is_refused());
        let found = [
            "index-name-malformed work:/index/dir",
            "index-name-malformed work:/index/stranger",
        ];
        disk.heals(&found, &[]);
    });
}

#[test]
fn an_entry_without_its_origin() {
    indexed(|disk| {
        let entry = entry(disk, "a");
        unset(&entry, ORIGIN);
        assert!(disk.is_refused());
        disk.heals(&[&format!("index-without-origin {}", at(&entry))], &[]);
    });
}

#[test]
fn an_entry_with_another_origin() {
    indexed(|disk| {
        let (a, q) = (entry(disk, "a"), get(&disk.upper.join("q"), ORIGIN));
        set(&a, ORIGIN, &q);
        let found = [
            format!("index-mismatch {}", at(&a)),
            "index-split upper:/a".into(),
        ];
        disk.heals(&found.each_ref().map(String::as_str), &[]);
    });
}

#[test]
fn an_entry_whose_lower_is_gone() {
    indexed(|disk| {
        let entry = entry(disk, "a");
        for name in ["a", "b", "c"] {
            fs::remove_file(disk.lowers[0].join(name)).unwrap();
        }
        let found = [
            format!("index-stale {}", at(&entry)),
            "origin-stale upper:/a".into(),
        ];
        disk.heals(&found.each_ref().map(String::as_str), &[]);
    });
}

#[test]
fn an_entry_without_names_is_an_orphan() {
    indexed(|disk| {
        let entry = entry(disk, "a");
        fs::remove_file(disk.upper.join("a")).unwrap();
        set(&entry, NLINK, b"U-1");
        disk.heals(&[&format!("index-orphan {}", at(&entry))], &[]);
    });
}

#[test]
fn an_entry_of_another_type() {
    indexed(|disk| {
        let (entry, origin) = (entry(disk, "a"), get(&disk.upper.join("a"), ORIGIN));
        fs::remove_file(&entry).unwrap();
        nix::unistd::mkfifo(&entry, nix::sys::stat::Mode::S_IRUSR).unwrap();
        set(&entry, ORIGIN, &origin);
        let found = [
            format!("index-of-other-type {}", at(&entry)),
            "index-split upper:/a".into(),
        ];
        disk.heals(&found.each_ref().map(String::as_str), &[]);
    });
}

/// A whiteout says that all names are gone, but some show.
#[test]
fn a_whiteout_of_what_shows() {
    indexed(|disk| {
        let entry = entry(disk, "a");
        fs::remove_file(&entry).unwrap();
        fs::remove_file(disk.upper.join("a")).unwrap();
        let device = nix::sys::stat::makedev(0, 0);
        let (kind, mode) = (
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::empty(),
        );
        nix::sys::stat::mknod(&entry, kind, mode, device).unwrap();
        disk.kernel(|at| assert!(fs::read(at.join("b")).is_err()));
        disk.heals(&[&format!("index-of-other-type {}", at(&entry))], &[]);
    });
}

#[test]
fn a_file_that_is_not_the_indexed_one() {
    indexed(|disk| {
        let origin = get(&disk.upper.join("a"), ORIGIN);
        fs::write(disk.upper.join("copy"), "with all attributes").unwrap();
        set(&disk.upper.join("copy"), ORIGIN, &origin);
        disk.heals(&["index-split upper:/copy"], &[]);
    });
}

#[test]
fn an_entry_that_is_missing() {
    indexed(|disk| {
        fs::remove_file(entry(disk, "a")).unwrap();
        disk.heals(&["index-missing upper:/a"], &[]);
        disk.kernel(|at| {
            assert_eq!(fs::read(at.join("a")).unwrap(), b"changed");
            assert_eq!(fs::read(at.join("b")).unwrap(), b"links");
        });
    });
}

#[test]
fn link_counts_are_recorded() {
    indexed(|disk| {
        let entry = entry(disk, "a");
        for (value, kind) in [
            (&b"garbage"[..], "nlink-malformed"),
            (b"U-1", "nlink-wrong"),
            (b"L-2", "nlink-wrong"),
            (b"U+7", "nlink-wrong"),
        ] {
            set(&entry, NLINK, value);
            disk.heals(&[&format!("{kind} {}", at(&entry))], &[]);
            assert_eq!(get(&entry, NLINK), b"U+1", "a in the upper, b and c below");
        }
        unset(&entry, NLINK);
        disk.heals(&[&format!("nlink-malformed {}", at(&entry))], &[]);
    });
}

#[test]
fn leftovers_in_the_index() {
    indexed(|disk| {
        fs::write(disk.work.join("index/#5"), "half a copy").unwrap();
        fs::create_dir_all(disk.work.join("index/#6/a/b")).unwrap();
        let found = [
            "work-leftover work:/index/#5",
            "work-leftover-deep work:/index/#6",
        ];
        disk.heals(&found, &[]);
    });
}

#[test]
fn an_index_of_other_layers() {
    indexed(|disk| {
        let other = get(&disk.upper.join("a"), ORIGIN);
        set(&disk.work.join("index"), UPPER, &other);
        assert!(disk.is_refused());
        disk.heals(&["index-upper-mismatch work:/index"], &[]);
        set(&disk.upper, ORIGIN, &other);
        assert!(disk.is_refused());
        disk.heals(&["root-origin-mismatch upper:/"], &[]);
    });
}

/// With `nfs_export` directories have entries too.
#[test]
fn entries_of_directories() {
    on_disk(&["nfs_export=on"], &[lower()], &LayerSpec::new(), |disk| {
        disk.kernel(|at| fs::write(at.join("d/new"), "").unwrap());
        disk.heals(&[], &[]);
        let entry = entry(disk, "d");
        let right = get(&entry, UPPER);
        unset(&entry, UPPER);
        disk.heals(&[&format!("index-stale {}", at(&entry))], &[]);
        fs::create_dir(&entry).unwrap();
        set(&entry, UPPER, &right);
        disk.heals(&[], &[]);
        fs::remove_dir_all(disk.upper.join("d")).unwrap();
        let found = [
            "impure-superfluous upper:/".into(),
            format!("index-orphan {}", at(&entry)),
        ];
        disk.heals(&found.each_ref().map(String::as_str), &[]);
        // No whiteout is left in its place: the lower directory shows, and would be unusable.
        assert!(fs::symlink_metadata(&entry).is_err());
    });
}

/// Whoever mounts without an index never looks at it.
#[test]
fn a_mark_is_needed_only_where_the_index_makes_one_inode() {
    indexed(|disk| {
        unset(&disk.upper, IMPURE);
        disk.heals(&["impure-missing upper:/"], &[]);
    });
}

/// What a repair keeps is what the kernel shows; a mount removes some entries by itself.
#[test]
fn repairs_keep_what_the_kernel_shows_without_them() {
    type Damage = fn(&Disk);
    let damages: [(&str, Damage); 5] = [
        ("missing", |d| fs::remove_file(entry(d, "a")).unwrap()),
        ("split", |d| {
            let origin = get(&d.upper.join("a"), ORIGIN);
            fs::write(d.upper.join("copy"), "a copy").unwrap();
            set(&d.upper.join("copy"), ORIGIN, &origin);
        }),
        ("of another origin", |d| {
            let q = get(&d.upper.join("q"), ORIGIN);
            set(&entry(d, "a"), ORIGIN, &q);
        }),
        ("stale", |d| {
            for name in ["a", "b", "c"] {
                fs::remove_file(d.lowers[0].join(name)).unwrap();
            }
        }),
        ("orphan", |d| {
            let entry = entry(d, "a");
            fs::remove_file(d.upper.join("a")).unwrap();
            set(&entry, NLINK, b"U-1");
        }),
    ];
    for (name, damage) in damages {
        let shown = |repair: bool| {
            let view = Mutex::new(TreeSnapshot::default());
            indexed(|disk| {
                damage(disk);
                if repair {
                    let report = disk.checker().run();
                    let done = report.repair(Consent::Keep).apply().unwrap();
                    assert!(done.repaired > 0, "{name}: {report}");
                }
                let options = SnapshotOptions::merged();
                *view.lock().unwrap() =
                    disk.kernel(|at| TreeSnapshot::of_dir(at, &options).unwrap());
            });
            view.into_inner().unwrap()
        };
        // The two runs are not of one time.
        let rules = Compare {
            mtime: TimeCompare::Ignore,
            ..same_view()
        };
        let differences = shown(false).diff_text(&shown(true), &rules, 20);
        assert_eq!(differences, None, "{name}");
    }
}

/// What lower names show is the entry, whoever removed its names from the upper.
#[test]
fn what_an_entry_bears_decides_what_lower_names_show() {
    for (attr, value, kind, repaired) in [
        ("metacopy", &b""[..], "metacopy-refused", false),
        ("metacopy", b"abc", "metacopy-malformed", false),
        ("redirect", b"a/b", "redirect-malformed", true),
    ] {
        indexed(|disk| {
            let entry = entry(disk, "a");
            set(&entry, &format!("trusted.overlay.{attr}"), value);
            let read = |at: &std::path::Path| fs::read(at.join("b")).is_ok();
            assert!(!disk.kernel(read), "{attr}");
            let told = format!("{kind} {}", at(&entry));
            let report = disk.checker().run();
            let found = crate::scene::lines(&report);
            assert!(found.contains(&told), "{told}: {report}");
            report
                .repair(layerstack::check::Consent::Choose)
                .apply()
                .unwrap();
            assert_eq!(disk.kernel(read), repaired, "{attr}");
        });
    }
}
