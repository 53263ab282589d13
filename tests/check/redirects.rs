//! Redirects, and metadata-only copies.

use layerstack::OverlayAttr;
use layerstack::check::{Consent, FindingKind};
use layerstack::testing::spec::Piece;
use layerstack::testing::{LayerSpec, NodeSpec};

use crate::hints::{ORIGIN, get, set};
use crate::scene::{Disk, Memory, heals, heals_plain, lines, on_disk};

fn lower() -> LayerSpec {
    LayerSpec::new()
        .with("/d/f", NodeSpec::file("lower"))
        .with("/d/sub/x", NodeSpec::file("below"))
        .with("/g", NodeSpec::file("five."))
}

fn redirected(value: &str) -> NodeSpec {
    NodeSpec::dir().overlay(OverlayAttr::Redirect, value)
}

fn metacopy() -> NodeSpec {
    NodeSpec::pieces(vec![Piece::Hole(5)]).overlay(OverlayAttr::Metacopy, "")
}

const METACOPY: &[&str] = &["redirect_dir=on", "metacopy=on"];

#[test]
fn a_redirect_to_what_is_below_is_right() {
    let upper = LayerSpec::new()
        .with("/a", redirected("/d"))
        .with("/d", NodeSpec::whiteout());
    heals_plain(&[lower()], &upper, &["origin-missing upper:/a"], &[]);
}

#[test]
fn a_redirect_to_nothing_is_dangling() {
    // No directory can hold a name of 256 bytes; the kernel finds nothing (seen on 6.18).
    let long = ["x".repeat(256), format!("/d/{}", "x".repeat(256))];
    for value in ["/none", "none", "/none/d", "/g", &long[0], &long[1]] {
        let upper = LayerSpec::new()
            .with("/a/own", NodeSpec::file(""))
            .with("/a", redirected(value));
        heals_plain(&[lower()], &upper, &["redirect-dangling upper:/a"], &[]);
    }
}

/// Without the redirect the directory would merge with the lower one of its name, which it does not
/// now.
#[test]
fn a_dangling_redirect_is_taken_away_without_merging_anything() {
    let upper = LayerSpec::new().with("/d", redirected("/none"));
    heals_plain(&[lower()], &upper, &["redirect-dangling upper:/d"], &[]);
    let middle = LayerSpec::new().with("/d", redirected("/none"));
    let found = ["redirect-dangling lower[0]:/d"];
    heals_plain(&[middle, lower()], &LayerSpec::new(), &found, &[]);
}

#[test]
fn a_malformed_redirect_makes_a_directory_unusable() {
    for value in ["", "/", "d/sub", "//d", "/d/"] {
        let upper = LayerSpec::new()
            .with("/a/own", NodeSpec::file("x"))
            .with("/a", redirected(value));
        let found = ["redirect-malformed upper:/a"];
        heals_plain(&[lower()], &upper, &found, &["/a", "/a/own"]);
    }
}

#[test]
fn a_redirect_out_of_the_tree_is_refused() {
    for value in ["..", "/../d", "/d/./sub", "."] {
        let upper = LayerSpec::new().with("/a", redirected(value));
        let found = ["redirect-out-of-bounds upper:/a"];
        heals_plain(&[lower()], &upper, &found, &["/a"]);
    }
}

#[test]
fn a_long_redirect_is_told() {
    let (x, y) = ("x".repeat(200), "y".repeat(100));
    let lower = LayerSpec::new().with(format!("/{x}/{y}/f"), NodeSpec::file(""));
    let upper = LayerSpec::new()
        .with("/a", redirected(&format!("/{x}/{y}")))
        .with(format!("/{x}"), NodeSpec::whiteout());
    let found = ["origin-missing upper:/a", "redirect-too-long upper:/a"];
    heals_plain(&[lower], &upper, &found, &[]);
}

#[test]
fn two_directories_cannot_share_a_lower_one() {
    let upper = LayerSpec::new()
        .with("/a", redirected("/d"))
        .with("/b/own", NodeSpec::file(""))
        .with("/b", redirected("/d"))
        .with("/d", NodeSpec::whiteout());
    let found = [
        "origin-missing upper:/a",
        "origin-missing upper:/b",
        "redirect-duplicate upper:/b",
    ];
    // Whichever of the two was met first showed what is below.
    let changes = [
        "?/a",
        "?/a/f",
        "?/a/sub",
        "?/a/sub/x",
        "?/b",
        "?/b/own",
        "?/b/f",
        "?/b/sub",
        "?/b/sub/x",
    ];
    heals_plain(&[lower()], &upper, &found, &changes);
}

#[test]
fn a_directory_that_moved_must_be_covered_where_it_was() {
    let upper = LayerSpec::new().with("/a", redirected("/d"));
    let found = ["origin-missing upper:/a", "redirect-uncovered upper:/d"];
    let shown = ["?/a", "?/a/f", "?/a/sub", "?/a/sub/x"];
    let changes = [&shown[..], &["/d", "?/d/f", "?/d/sub", "?/d/sub/x"]].concat();
    heals_plain(&[lower()], &upper, &found, &changes);
    let upper = upper.with("/d/own", NodeSpec::file(""));
    let found = [
        "origin-missing upper:/a",
        "origin-missing upper:/d",
        "redirect-uncovered upper:/d",
    ];
    let below = ["?/d", "?/d/f", "?/d/sub", "?/d/sub/x", "?/d/own"];
    let changes = [&shown[..], &below].concat();
    heals_plain(&[lower()], &upper, &found, &changes);
}

/// Its parent is not in the upper, so nothing can be put over it.
#[test]
fn where_nothing_can_cover_it_the_redirect_goes() {
    let upper = LayerSpec::new().with("/a", redirected("/d/sub"));
    let found = ["origin-missing upper:/a", "redirect-uncovered upper:/d/sub"];
    let changes = ["?/a", "?/a/x", "?/d/sub", "?/d/sub/x"];
    heals_plain(&[lower()], &upper, &found, &changes);
}

#[test]
fn a_redirect_of_an_opaque_directory_is_ignored() {
    let upper = LayerSpec::new()
        .with("/a", redirected("/d").opaque("y"))
        .with("/d", NodeSpec::whiteout());
    heals_plain(&[lower()], &upper, &["redirect-ignored upper:/a"], &[]);
}

#[test]
fn options_may_refuse_redirects_and_metadata_only_copies() {
    let upper = LayerSpec::new()
        .with("/a", redirected("/d"))
        .with("/d", NodeSpec::whiteout());
    let found = ["origin-missing upper:/a", "redirect-refused upper:/a"];
    let options = ["redirect_dir=nofollow"];
    let memory = Memory::new(&options, &[lower()], &upper);
    assert_eq!(lines(&memory.checker().run()), found);
    on_disk(&options, &[lower()], &upper, |disk| {
        assert_eq!(lines(&disk.looker().run()), found);
        disk.kernel(|at| assert!(std::fs::metadata(at.join("a")).is_err()));
    });

    let upper = LayerSpec::new().with("/g", metacopy());
    let memory = Memory::new(&[], &[lower()], &upper);
    assert_eq!(
        lines(&memory.checker().run()),
        ["metacopy-refused upper:/g"]
    );
    on_disk(&[], &[lower()], &upper, |disk| {
        let report = disk.looker().run();
        assert!(report.has(FindingKind::MetacopyRefused), "{report}");
        disk.kernel(|at| assert!(std::fs::metadata(at.join("g")).is_err()));
    });
}

#[test]
fn a_metadata_only_copy_with_data_is_right() {
    let upper = LayerSpec::new().with("/g", metacopy());
    heals(METACOPY, &[lower()], &upper, &[], &[]);
}

#[test]
fn a_metadata_only_copy_without_data_is_lost() {
    let upper = LayerSpec::new().with("/none", metacopy());
    let found = ["metacopy-without-data upper:/none"];
    heals(METACOPY, &[lower()], &upper, &found, &["/none"]);
}

/// What it covers must not come to light when it goes.
#[test]
fn a_lost_copy_over_something_else_leaves_a_whiteout() {
    let upper = LayerSpec::new().with("/d", metacopy());
    let found = ["metacopy-without-data upper:/d"];
    heals(METACOPY, &[lower()], &upper, &found, &["/d"]);
}

#[test]
fn a_malformed_metacopy_makes_a_file_unusable() {
    let upper = LayerSpec::new().with("/g", metacopy().overlay(OverlayAttr::Metacopy, "ab"));
    let found = ["metacopy-malformed upper:/g"];
    heals(METACOPY, &[lower()], &upper, &found, &["/g"]);
    let middle = upper;
    let found = ["metacopy-malformed lower[0]:/g"];
    let memory = Memory::new(METACOPY, &[middle, lower()], &LayerSpec::new());
    assert_eq!(lines(&memory.checker().run()), found);
}

#[test]
fn a_metadata_only_copy_may_be_redirected() {
    let upper = LayerSpec::new()
        .with("/h", metacopy().overlay(OverlayAttr::Redirect, "/g"))
        .with("/g", NodeSpec::whiteout());
    heals(METACOPY, &[lower()], &upper, &[], &[]);
    let upper = LayerSpec::new().with("/g", metacopy().overlay(OverlayAttr::Redirect, "a/b"));
    let found = ["redirect-malformed upper:/g"];
    heals(METACOPY, &[lower()], &upper, &found, &["/g"]);
}

/// A copy with all attributes is a second metadata-only copy of one lower file, of which the kernel
/// shows only one. It gets its data.
#[test]
fn two_metadata_only_copies_of_one_file() {
    on_disk(METACOPY, &[lower()], &LayerSpec::new(), |disk| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        disk.kernel(|at| std::fs::set_permissions(at.join("g"), mode).unwrap());
        let done = std::process::Command::new("cp")
            .args(["-a", "--sparse=always"])
            .args([disk.upper.join("g"), disk.upper.join("g2")])
            .status();
        assert!(done.unwrap().success());
        let redirect = "trusted.overlay.redirect";
        xattr::set(disk.upper.join("g2"), redirect, b"/g").unwrap();
        disk.heals(&["origin-duplicate upper:/g2"], &["?/g", "?/g2"]);
        disk.kernel(|at| {
            assert_eq!(std::fs::read(at.join("g")).unwrap(), b"five.");
            assert_eq!(std::fs::read(at.join("g2")).unwrap(), b"five.");
        });
        // The same where the copy is beside the lower file itself.
        std::fs::remove_file(disk.upper.join("g2")).unwrap();
        std::fs::rename(disk.upper.join("g"), disk.upper.join("moved")).unwrap();
        xattr::set(disk.upper.join("moved"), redirect, b"/g").unwrap();
        disk.heals(&["origin-uncovered upper:/moved"], &["?/g", "?/moved"]);
        disk.kernel(|at| assert_eq!(std::fs::read(at.join("moved")).unwrap(), b"five."));
    });
}

/// The kernel shows the file, and fails to open it.
#[test]
fn data_may_be_missing_in_data_only_layers() {
    let file = metacopy().overlay(OverlayAttr::Redirect, "/objects/ab");
    let lower = LayerSpec::new().with("/f", file);
    on_disk(&[], &[lower], &LayerSpec::new(), |disk| {
        let data = disk.beside("data");
        std::fs::create_dir_all(data.join("objects")).unwrap();
        std::fs::write(data.join("objects/ab"), "five.").unwrap();
        disk.data = vec![data.clone()];
        assert_eq!(lines(&disk.looker().run()), [] as [&str; 0]);
        disk.kernel(|at| assert_eq!(std::fs::read(at.join("f")).unwrap(), b"five."));
        std::fs::remove_file(data.join("objects/ab")).unwrap();
        let found = ["metacopy-without-data lower[0]:/f"];
        assert_eq!(lines(&disk.looker().run()), found);
        disk.kernel(|at| {
            assert!(std::fs::metadata(at.join("f")).is_ok());
            assert!(std::fs::read(at.join("f")).is_err());
        });
    });
}

/// With options that refuse it, a metadata-only copy takes nothing from the file that it leads to.
#[test]
fn a_refused_copy_is_no_second_copy() {
    let upper = LayerSpec::new().with("/b", metacopy().overlay(OverlayAttr::Redirect, "/d/f"));
    on_disk(&["metacopy=off"], &[lower()], &upper, |disk| {
        disk.kernel(|at| {
            assert!(std::fs::read(at.join("b")).is_err());
            std::fs::write(at.join("d/f"), "changed").unwrap();
        });
        let report = disk.checker().run();
        assert_eq!(crate::scene::lines(&report), ["metacopy-refused upper:/b"]);
    });
}

/// The lower file that a metadata-only copy leads to is that beside it, and not its origin.
fn misplaced(options: &[&str], test: impl FnOnce(&mut Disk) + Send) {
    let other = NodeSpec::file("other").mode(0o644);
    let lower = lower().with("/other", other);
    on_disk(options, &[lower], &LayerSpec::new(), |disk| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        disk.kernel(|at| std::fs::set_permissions(at.join("g"), mode).unwrap());
        std::fs::rename(disk.upper.join("g"), disk.upper.join("other")).unwrap();
        test(disk);
    });
}

#[test]
fn a_metadata_only_copy_of_another_file_than_it_leads_to() {
    misplaced(METACOPY, |disk| {
        disk.heals(&["origin-mismatch upper:/other"], &[]);
    });
    misplaced(&["metacopy=on", "index=on"], |disk| {
        let stale = disk.kernel(|at| std::fs::metadata(at.join("other")).unwrap_err());
        assert_eq!(stale.raw_os_error(), Some(libc::ESTALE));
        disk.heals(&["metacopy-mismatch upper:/other"], &["?/other"]);
        disk.kernel(|at| assert_eq!(std::fs::read(at.join("other")).unwrap(), b"other"));
    });
}

/// Then no origin is right for both, and which data are meant is not known.
#[test]
fn names_of_one_metadata_only_copy_may_lead_to_two_files() {
    let indexed: &[&str] = &["metacopy=on", "index=on"];
    let cases = [
        (METACOPY, "origin-mismatch"),
        (indexed, "metacopy-mismatch"),
    ];
    for (options, kind) in cases {
        misplaced(options, |disk| {
            std::fs::hard_link(disk.upper.join("other"), disk.upper.join("g")).unwrap();
            let report = disk.checker().run();
            assert_eq!(lines(&report), [format!("{kind} upper:/other")]);
            assert!(report.repair(Consent::Choose).is_empty());
            disk.kernel(|at| assert_eq!(std::fs::read(at.join("g")).unwrap(), b"five."));
        });
    }
}

/// An absolute redirect leads all names to one file.
#[test]
fn names_of_one_metadata_only_copy_may_lead_to_one_file() {
    misplaced(&["metacopy=on", "index=on"], |disk| {
        let redirect = "trusted.overlay.redirect";
        xattr::set(disk.upper.join("other"), redirect, b"/d/f").unwrap();
        std::fs::hard_link(disk.upper.join("other"), disk.upper.join("more")).unwrap();
        let found = [
            "metacopy-mismatch upper:/more",
            "metacopy-mismatch upper:/other",
        ];
        let report = disk.checker().run();
        assert_eq!(lines(&report), found);
        report.repair(Consent::Choose).apply().unwrap();
        drop(report);
        assert!(!disk.checker().run().has(FindingKind::MetacopyMismatch));
        disk.kernel(|at| {
            let read = |name: &str| std::fs::read(at.join(name)).unwrap();
            assert_eq!([read("more"), read("other")], [b"lower", b"lower"]);
        });
    });
}

/// Copying the data to which one name leads would change those that the other shows.
#[test]
fn a_second_copy_whose_names_lead_apart_keeps_its_data_below() {
    misplaced(METACOPY, |disk| {
        let first = disk.upper.join("a");
        std::fs::write(&first, "five.").unwrap();
        set(&first, ORIGIN, &get(&disk.upper.join("other"), ORIGIN));
        std::fs::hard_link(disk.upper.join("other"), disk.upper.join("g")).unwrap();
        let report = disk.checker().run();
        let found = ["origin-duplicate upper:/g", "origin-mismatch upper:/other"];
        assert_eq!(lines(&report), found);
        assert!(report.repair(Consent::Choose).is_empty());
    });
}

/// As when the lower file was edited under its copy: origin and name are right.
#[test]
fn the_data_of_a_copy_may_have_another_size() {
    on_disk(METACOPY, &[lower()], &LayerSpec::new(), |disk| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        disk.kernel(|at| std::fs::set_permissions(at.join("g"), mode).unwrap());
        disk.heals(&[], &[]);
        std::fs::write(disk.lowers[0].join("g"), "longer").unwrap();
        let report = disk.checker().run();
        assert_eq!(lines(&report), ["metacopy-size upper:/g"]);
        assert!(report.findings()[0].kind.is_lower_modified());
        assert!(report.repair(Consent::Choose).is_empty());
    });
}
