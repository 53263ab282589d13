//! Section 10: rename.

use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{Errno, OverlayAttr, RenameFlags};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;

#[test]
fn r139_rename_whiteout_is_refused() {
    let both = RenameFlags {
        no_replace: true,
        whiteout: true,
        exchange: false,
    };
    let three = RenameFlags {
        whiteout: true,
        ..RenameFlags::EXCHANGE
    };
    rule()
        .lower(of([("/a", file("")), ("/b", file(""))]))
        .fails(mv_with("/a", "/n", RenameFlags::WHITEOUT), Errno::EINVAL)
        .fails(mv_with("/a", "/n", both), Errno::EINVAL)
        .fails(mv_with("/a", "/b", three), Errno::EINVAL)
        .upper_empty()
        .run();
}

#[test]
fn r140_checks_of_names_and_types_come_first() {
    rule()
        .lower(of([
            ("/d/sub/x", file("")),
            ("/f", file("")),
            ("/g", file("")),
            ("/e", dir()),
        ]))
        .ok(mv("/f", "/f"))
        .ok(mv("/d", "/d"))
        .fails(mv_with("/f", "/g", RenameFlags::NO_REPLACE), Errno::EEXIST)
        .fails(mv("/d", "/f"), Errno::ENOTDIR)
        .fails(mv("/f", "/e"), Errno::EISDIR)
        .fails(mv("/d", "/d/sub/in"), Errno::EINVAL)
        .fails(mv("/d/sub", "/d"), Errno::ENOTEMPTY)
        .fails(mv("/none", "/f"), Errno::ENOENT)
        .fails(swap("/f", "/none"), Errno::ENOENT)
        .upper_empty()
        .run();
}

#[test]
fn r141_lower_and_merged_directories_do_not_move() {
    let modes: [&[&str]; 4] = [
        &[],
        &["redirect_dir=follow"],
        &["redirect_dir=nofollow"],
        &["redirect_dir=off"],
    ];
    for mode in modes {
        rule()
            .options(mode)
            .lower(of([
                ("/low", dir()),
                ("/merged/f", file("")),
                ("/full/x", file("")),
                ("/g", file("")),
            ]))
            .upper(of([("/merged", dir()), ("/pure", dir())]))
            .fails(mv("/low", "/new"), Errno::EXDEV)
            .fails(mv("/merged", "/new"), Errno::EXDEV)
            .fails(mv("/low", "/full"), Errno::EXDEV)
            .fails(swap("/pure", "/low"), Errno::EXDEV)
            .fails(swap("/low", "/pure"), Errno::EXDEV)
            .fails(swap("/g", "/merged"), Errno::EXDEV)
            .upper_is(&["d /merged", "d /pure"])
            .run();
    }
}

#[test]
fn r142_pure_directories_and_all_files_do() {
    rule()
        .lower(of([
            ("/f", file("low")),
            ("/hidden/x", file("")),
            ("/l", link("t")),
        ]))
        .upper(of([
            ("/pure/x", file("1")),
            ("/hidden", opaque()),
            ("/u", file("up")),
        ]))
        .ok(mv("/pure", "/moved"))
        .ok(mv("/hidden", "/opaque"))
        .ok(mv("/f", "/f2"))
        .ok(mv("/l", "/l2"))
        .ok(mv("/u", "/u2"))
        .tree_is(&[
            "- /f2",
            "l /l2",
            "d /moved",
            "- /moved/x",
            "d /opaque",
            "- /u2",
        ])
        .upper_is(&[
            "w /f",
            "- /f2",
            "w /hidden",
            "w /l",
            "l /l2",
            "d /moved",
            "- /moved/x",
            "d /opaque",
            "- /u2",
        ])
        .run();
}

#[test]
fn r143_the_target_directory_must_be_empty_in_the_view() {
    rule()
        .lower(of([
            ("/full/x", file("")),
            ("/cleared/x", file("")),
            ("/empty", dir()),
        ]))
        .upper(of([("/a", dir()), ("/b", dir()), ("/cleared/x", gone())]))
        .fails(mv("/a", "/full"), Errno::ENOTEMPTY)
        .upper_is(&["d /a", "d /b", "d /cleared", "w /cleared/x"])
        .ok(mv("/a", "/cleared"))
        .ok(mv("/b", "/empty"))
        .upper_is(&["d /cleared", "d /empty"])
        .remount()
        .lists("/cleared", &[])
        .lists("/empty", &[])
        .run();
}

#[test]
fn r144_the_source_is_copied_up_then_the_new_parent() {
    rule()
        .lower(of([
            ("/a/f", file("data").mode(0o4711)),
            ("/b/x", file("x")),
            ("/c", file("c")),
        ]))
        .ok(mv("/a/f", "/b/f"))
        .upper_is(&["d /a", "w /a/f", "d /b", "- /b/f"])
        .meta("/b/f", |m| assert_eq!((m.mode, m.size), (0o4711, 4)))
        .ok(swap("/b/x", "/c"))
        .upper_is(&["d /a", "w /a/f", "d /b", "- /b/f", "- /b/x", "- /c"])
        .reads("/c", "x")
        .reads("/b/x", "c")
        .run();
}

#[test]
fn r145_a_whiteout_stays_at_a_name_that_a_lower_has() {
    rule()
        .lower(of([("/old", file("data")), ("/white", file(""))]))
        .upper(of([("/white", gone())]))
        .ok(mv("/old", "/white"))
        .upper_is(&["w /old", "- /white"])
        .reads("/white", "data")
        .ok(mv("/white", "/free"))
        .upper_is(&["- /free", "w /old", "w /white"])
        .remount()
        .tree_is(&["- /free"])
        .run();
}

#[test]
fn r146_nothing_stays_at_a_name_of_the_upper_alone() {
    rule()
        .lower(of([("/w1", file("")), ("/w2/x", file(""))]))
        .upper(of([
            ("/w1", gone()),
            ("/w2", gone()),
            ("/f", file("f")),
            ("/d", dir()),
        ]))
        .ok(mv("/f", "/w1"))
        .ok(mv("/d", "/w2"))
        .upper_is(&["- /w1", "d /w2"])
        .remount()
        .tree_is(&["- /w1", "d /w2"])
        .run();
}

/// The layers between the exchange and the removal of the whiteout (deviation RENAME-1), as a crash
/// leaves them.
#[test]
fn r146_what_a_crash_leaves_is_not_shown() {
    let left = || {
        rule()
            .lower(of([("/e/low", file(""))]))
            .upper(of([
                ("/p", dir().overlay(OverlayAttr::Origin, "")),
                ("/p/n", gone()),
                ("/e", opaque()),
                ("/e/x", file("x")),
            ]))
            .tree_is(&["d /e", "- /e/x", "d /p"])
            .fails(stat("/p/n"), Errno::ENOENT)
    };
    left()
        .ok(mv("/e", "/p/n"))
        .upper_is(&["w /e", "d /p", "d /p/n", "- /p/n/x"])
        .remount()
        .tree_is(&["d /p", "d /p/n", "- /p/n/x"])
        .run();
    left()
        .ok(mkdir("/p/n"))
        .ok(mkdir("/p/n/sub"))
        .ok(rm("/e/x"))
        .ok(rmdir("/e"))
        .ok(mv("/p/n", "/e"))
        .upper_is(&["d /e", "d /e/sub", "d /p"])
        .ok(rmdir("/p"))
        .remount()
        .tree_is(&["d /e", "d /e/sub"])
        .run();
    left().ok(rmdir("/p")).upper_is(&["d /e", "- /e/x"]).run();
}

#[test]
fn r147_a_lower_target_is_shadowed_not_copied() {
    rule()
        .lower(of([
            ("/f", file("low")),
            ("/t", file("target").mode(0o600)),
        ]))
        .upper(of([("/u", file("up"))]))
        .ok(mv("/u", "/t"))
        .upper_is(&["- /t"])
        .reads("/t", "up")
        .meta("/t", |m| assert_eq!(m.mode, 0o644))
        .run();
}

#[test]
fn r148_a_pure_directory_moved_into_a_merged_parent_is_opaque() {
    rule()
        .lower(of([("/m/old/x", file("must not merge"))]))
        .upper(of([("/pure/f", file(""))]))
        .ok(rm("/m/old/x"))
        .ok(rmdir("/m/old"))
        .ok(mv("/pure", "/m/old"))
        .look(|s| assert_eq!(s.attr("/m/old", OverlayAttr::Opaque), Some(&b"y"[..])))
        .remount()
        .lists("/m/old", &["f"])
        .run();
}

#[test]
fn r149_the_new_parent_of_a_copied_file_becomes_impure() {
    rule()
        .lower(of([
            ("/a/f", file("")),
            ("/a/g", file("")),
            ("/b/x", file("")),
            ("/c/x", file("")),
        ]))
        .upper(of([
            ("/b/own", file("")),
            ("/c/own", file("")),
            ("/d/own", file("")),
            ("/e", dir()),
        ]))
        .ok(mv("/a/f", "/b/f"))
        .look(|s| assert_eq!(s.attr("/b", OverlayAttr::Impure), Some(&b"y"[..])))
        .ok(swap("/a/g", "/d/own"))
        .look(|s| {
            assert_eq!(s.attr("/d", OverlayAttr::Impure), Some(&b"y"[..]));
            assert_eq!(s.attr("/a", OverlayAttr::Impure), Some(&b"y"[..]));
        })
        .ok(mv("/c/own", "/e/own"))
        .look(|s| {
            assert_eq!(s.attr("/e", OverlayAttr::Impure), None);
        })
        .run();
}

#[test]
fn r150_no_redirect_is_written_for_files() {
    rule()
        .lower(of([("/a/f", file("data")), ("/b/x", file(""))]))
        .ok(mv("/a/f", "/b/g"))
        .look(|s| {
            assert_eq!(
                s.having(OverlayAttr::Redirect),
                Vec::<std::path::PathBuf>::new()
            )
        })
        .run();
}

/// Quirk: POSIX would do nothing.
#[test]
fn r152_renaming_one_lower_hard_link_over_another_replaces_it() {
    rule()
        .lower(of([("/a", file("same")), ("/b", link_to("/a"))]))
        .ok(mv("/a", "/b"))
        .upper_is(&["w /a", "- /b"])
        .tree_is(&["- /b"])
        .reads("/b", "same")
        .run();
}

#[test]
fn r152_two_names_of_one_upper_file_stay() {
    rule()
        .lower(layer())
        .upper(of([("/a", file("same")), ("/b", link_to("/a"))]))
        .ok(mv("/a", "/b"))
        .upper_is(&["- /a", "- /b"])
        .run();
}

/// Out of a mount the system refuses; out of a union there is no way, `..` of its root is the root.
#[test]
fn r154_nothing_is_renamed_out_of_a_union() {
    let lower = LayerSpec::new().with("/a", NodeSpec::file(b"data"));
    both([LayerSpec::new(), lower], |live: &Live| {
        let outside = live.upper.parent().unwrap().join("outside");
        for (from, to) in [
            (live.mount.join("a"), outside.clone()),
            (live.lowers[0].join("a"), live.mount.join("in")),
        ] {
            let refused = std::fs::rename(from, to).unwrap_err();
            assert_eq!(Errno::of_io(&refused), Errno::EXDEV);
        }
        assert_eq!(std::fs::read(live.mount.join("a")).unwrap(), b"data");
        live.overlay.rename("/a", "/../../outside").unwrap();
        assert_eq!(live.overlay.read("/outside").unwrap(), b"data");
        assert!(!outside.exists());
        assert!(live.lowers[0].join("a").exists());
    });
}
