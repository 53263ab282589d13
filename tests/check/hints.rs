//! Origins and impure marks, made by the kernel and then damaged.

use std::fs;
use std::path::Path;

use layerstack::check::{Consent, FindingKind, Remedy};
use layerstack::testing::{LayerSpec, NodeSpec};

use crate::scene::{Disk, on_disk};

pub(crate) const ORIGIN: &str = "trusted.overlay.origin";
pub(crate) const IMPURE: &str = "trusted.overlay.impure";

pub(crate) fn set(path: &Path, name: &str, value: &[u8]) {
    xattr::set(path, name, value).unwrap();
}

pub(crate) fn unset(path: &Path, name: &str) {
    xattr::remove(path, name).unwrap();
}

pub(crate) fn get(path: &Path, name: &str) -> Vec<u8> {
    xattr::get(path, name).unwrap().unwrap()
}

/// Something was changed in `f` and `sub`, something is untouched.
fn copied_up(test: impl FnOnce(&mut Disk) + Send) {
    let lower = LayerSpec::new()
        .with("/d/f", NodeSpec::file("one"))
        .with("/d/other", NodeSpec::file("two"))
        .with("/d/sub/x", NodeSpec::file("three"));
    on_disk(&[], &[lower], &LayerSpec::new(), |disk| {
        disk.kernel(|at| {
            fs::write(at.join("d/f"), "changed").unwrap();
            fs::write(at.join("d/sub/x"), "changed").unwrap();
            fs::create_dir(at.join("new")).unwrap();
        });
        disk.heals(&[], &[]);
        test(disk);
    });
}

#[test]
fn what_the_kernel_made_is_right() {
    copied_up(|_| {});
}

#[test]
fn a_directory_with_copies_is_impure() {
    copied_up(|disk| {
        unset(&disk.upper.join("d"), IMPURE);
        disk.heals(&["impure-missing upper:/d"], &[]);
    });
}

/// In an impure directory the kernel looks every name up when it lists it, and ends where that fails.
#[test]
fn a_mark_waits_for_names_that_cannot_be_looked_up() {
    let lower = LayerSpec::new().with("/d/e/x", NodeSpec::file("one"));
    let options = ["redirect_dir=on"];
    on_disk(&options, &[lower], &LayerSpec::new(), |disk| {
        disk.kernel(|at| {
            fs::rename(at.join("d/e"), at.join("e")).unwrap();
            fs::create_dir(at.join("q")).unwrap();
            (0..30).for_each(|i| fs::write(at.join(format!("q/{i}")), "two").unwrap());
        });
        let second = disk.upper.join("q/e");
        fs::create_dir(&second).unwrap();
        set(&second, "trusted.overlay.redirect", b"/d/e");
        let report = disk.checker().run();
        let missing = report.findings().iter();
        let mut missing = missing.filter(|f| f.kind == FindingKind::OriginMissing);
        let missing = missing.next().unwrap();
        assert!(missing.plan.is_none() && matches!(missing.remedy, Remedy::None(_)));
        report.repair(Consent::Keep).apply().unwrap();
        drop(report);
        assert!(
            !xattr::list(disk.upper.join("q"))
                .unwrap()
                .any(|n| n == IMPURE)
        );
        let names = disk.kernel(|at| fs::read_dir(at.join("q")).unwrap().count());
        assert_eq!(names, 31);
        let found = ["origin-missing upper:/q/e", "redirect-duplicate upper:/q/e"];
        disk.heals(&found, &["/q/e"]);
    });
}

#[test]
fn a_mark_is_set_when_all_names_can_be_looked_up() {
    copied_up(|disk| {
        unset(&disk.upper.join("d"), IMPURE);
        let bad = disk.upper.join("d/bad");
        fs::write(&bad, "").unwrap();
        set(&bad, "trusted.overlay.metacopy", b"");
        disk.options = vec!["metacopy=on".into()];
        let found = [
            "impure-missing upper:/d",
            "metacopy-without-data upper:/d/bad",
        ];
        disk.heals(&found, &["/d/bad"]);
        assert_eq!(get(&disk.upper.join("d"), IMPURE), b"y");
    });
}

#[test]
fn a_directory_without_copies_need_not_be_impure() {
    copied_up(|disk| {
        set(&disk.upper.join("new"), IMPURE, b"y");
        disk.heals(&["impure-superfluous upper:/new"], &[]);
        // As the kernel leaves it.
        disk.kernel(|at| fs::remove_file(at.join("d/sub/x")).unwrap());
        disk.heals(&["impure-superfluous upper:/d/sub"], &[]);
    });
}

#[test]
fn a_malformed_origin() {
    copied_up(|disk| {
        set(&disk.upper.join("d/f"), ORIGIN, b"\x00\xfb\x05garbage");
        disk.heals(&["origin-malformed upper:/d/f"], &[]);
        set(&disk.upper.join("d"), ORIGIN, b"garbage");
        set(&disk.upper.join("new"), ORIGIN, b"garbage");
        let found = ["origin-malformed upper:/d", "origin-malformed upper:/new"];
        disk.heals(&found, &[]);
    });
}

#[test]
fn a_lower_file_that_was_replaced() {
    copied_up(|disk| {
        let file = disk.lowers[0].join("d/f");
        fs::write(disk.lowers[0].join("d/f.new"), "edited").unwrap();
        fs::rename(disk.lowers[0].join("d/f.new"), &file).unwrap();
        disk.heals(&["origin-stale upper:/d/f"], &[]);
    });
}

#[test]
fn an_origin_of_another_type() {
    copied_up(|disk| {
        let dir = get(&disk.upper.join("d"), ORIGIN);
        set(&disk.upper.join("d/f"), ORIGIN, &dir);
        disk.heals(&["origin-of-other-type upper:/d/f"], &[]);
    });
}

/// Its copy is all that is left. Whiteouts in it stay unlisted.
#[test]
fn a_lower_directory_that_was_removed() {
    copied_up(|disk| {
        disk.kernel(|at| fs::remove_file(at.join("d/other")).unwrap());
        fs::remove_dir_all(disk.lowers[0].join("d")).unwrap();
        let found = [
            "impure-superfluous upper:/",
            "impure-superfluous upper:/d",
            "impure-superfluous upper:/d/sub",
            "origin-stale upper:/d",
            "origin-stale upper:/d/f",
            "origin-stale upper:/d/sub",
            "origin-stale upper:/d/sub/x",
            "whiteout-redundant upper:/d/other",
        ];
        disk.heals(&found, &[]);
        assert_eq!(get(&disk.upper.join("d"), ORIGIN), b"");
    });
}

#[test]
fn a_lower_directory_that_was_replaced() {
    copied_up(|disk| {
        fs::remove_dir_all(disk.lowers[0].join("d/sub")).unwrap();
        fs::create_dir(disk.lowers[0].join("d/sub")).unwrap();
        fs::write(disk.lowers[0].join("d/sub/y"), "edited").unwrap();
        let found = [
            "impure-superfluous upper:/d/sub",
            "origin-mismatch upper:/d/sub",
            "origin-stale upper:/d/sub/x",
        ];
        disk.heals(&found, &[]);
    });
}

/// The kernel shows the first that it meets and refuses the other (seen on 6.18).
#[test]
fn two_files_with_one_origin() {
    copied_up(|disk| {
        let origin = get(&disk.upper.join("d/f"), ORIGIN);
        fs::write(disk.upper.join("d/g"), "a copy with all attributes").unwrap();
        set(&disk.upper.join("d/g"), ORIGIN, &origin);
        disk.kernel(|at| {
            assert_eq!(fs::read(at.join("d/f")).unwrap(), b"changed");
            assert!(fs::read(at.join("d/g")).is_err());
        });
        disk.heals(&["origin-duplicate upper:/d/g"], &[]);
    });
}

/// The kernel shows the content of the copy under both names, if it meets the copy first.
#[test]
fn a_lower_file_that_shows_beside_its_copy() {
    copied_up(|disk| {
        disk.kernel(|at| fs::rename(at.join("d/f"), at.join("d/moved")).unwrap());
        fs::remove_file(disk.upper.join("d/f")).unwrap();
        disk.kernel(|at| {
            assert_eq!(fs::read(at.join("d/moved")).unwrap(), b"changed");
            assert_eq!(fs::read(at.join("d/f")).unwrap(), b"changed", "not `one`");
        });
        disk.heals(&["origin-uncovered upper:/d/moved"], &[]);
    });
}

#[test]
fn hard_links_in_the_upper_share_an_origin_rightly() {
    copied_up(|disk| {
        disk.kernel(|at| fs::hard_link(at.join("d/f"), at.join("d/link")).unwrap());
        disk.heals(&[], &[]);
    });
}

/// A layer that was copied has other inodes: every origin is stale, and nothing else is wrong.
#[test]
fn layers_that_were_copied() {
    copied_up(|disk| {
        let copy = disk.beside("copy");
        let done = std::process::Command::new("cp")
            .arg("-a")
            .args([&disk.lowers[0], &copy])
            .status();
        assert!(done.unwrap().success());
        fs::remove_dir_all(&disk.lowers[0]).unwrap();
        disk.lowers[0] = copy;
        let found = [
            "impure-superfluous upper:/d/sub",
            "origin-mismatch upper:/d",
            "origin-mismatch upper:/d/sub",
            "origin-stale upper:/d/f",
            "origin-stale upper:/d/sub/x",
        ];
        disk.heals(&found, &[]);
    });
}
