//! Sections 8 and 9: unlink, rmdir, link.

use layerstack::{Errno, OverlayAttr};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;

#[test]
fn r122_unlink_of_a_lower_file_copies_parents_only() {
    rule()
        .lower(of([("/a/b/f", file("data"))]))
        .ok(rm("/a/b/f"))
        .upper_is(&["d /a", "d /a/b", "w /a/b/f"])
        .fails(stat("/a/b/f"), Errno::ENOENT)
        .run();
}

#[test]
fn r123_unlink_of_an_upper_file_over_a_lower_one_leaves_a_whiteout() {
    rule()
        .lower(of([("/f", file("low"))]))
        .upper(of([("/f", file("up"))]))
        .ok(rm("/f"))
        .upper_is(&["w /f"])
        .remount()
        .tree_is(&[])
        .run();
}

#[test]
fn r125_rmdir_asks_the_merged_view_and_copies_nothing_when_refused() {
    rule()
        .lower(of([("/d/f", file("")), ("/w/f", gone()), ("/e", dir())]))
        .lower(of([("/w/f", file(""))]))
        .fails(rmdir("/d"), Errno::ENOTEMPTY)
        .upper_empty()
        .ok(rmdir("/w"))
        .ok(rmdir("/e"))
        .upper_is(&["w /e", "w /w"])
        .ok(rm("/d/f"))
        .ok(rmdir("/d"))
        .upper_is(&["w /d", "w /e", "w /w"])
        .run();
}

/// Quirk: listed as not empty, removed all the same.
#[test]
fn r126_a_lower_directory_with_a_stray_whiteout_can_be_removed() {
    rule()
        .lower(of([("/d/w", gone())]))
        .lists("/d", &["w"])
        .ok(rmdir("/d"))
        .upper_is(&["w /d"])
        .run();
}

/// Quirk: only the origin mark says that a pure upper directory may hold whiteouts.
#[test]
fn r127_a_pure_upper_directory_with_a_stray_whiteout_is_not_empty() {
    let marked = dir().overlay(OverlayAttr::Origin, "");
    rule()
        .lower(of([("/low", file(""))]))
        .upper(of([("/pure/w", gone()), ("/marked", marked), ("/marked/w", gone())]))
        .fails(rmdir("/pure"), Errno::ENOTEMPTY)
        .ok(rmdir("/marked"))
        .upper_is(&["d /pure", "w /pure/w"])
        .run();
}

/// Quirk: the directory lists as empty.
#[test]
fn r128_whiteouts_by_attribute_count_as_content() {
    rule()
        .lower(of([("/d", dir().opaque(b"x")), ("/d/f", xgone())]))
        .lower(of([("/d/f", file(""))]))
        .lists("/d", &[])
        .fails(rmdir("/d"), Errno::ENOTEMPTY)
        .upper_empty()
        .run();
}

#[test]
fn r129_an_upper_directory_with_whiteouts_is_cleared_first() {
    both(
        [
            of([("/d", dir()), ("/d/a", gone()), ("/d/b", gone())]),
            of([("/d/a", file("")), ("/d/b", file(""))]),
        ],
        |live: &Live| {
            live.overlay.remove_dir("/d").unwrap();
            // Neither the old directory nor its whiteouts are left where they were put aside; a
            // whiteout kept for sharing may be (rule R048).
            let left = std::fs::read_dir(live.work().join("work")).unwrap();
            for entry in left {
                use std::os::unix::fs::FileTypeExt;
                let entry = entry.unwrap();
                assert!(entry.file_type().unwrap().is_char_device(), "{entry:?}");
            }
            assert!(!live.overlay.exists("/d").unwrap());
        },
    );
    rule()
        .lower(of([("/d/a", file("")), ("/d/b", file(""))]))
        .upper(of([("/d/a", gone()), ("/d/b", gone())]))
        .ok(rmdir("/d"))
        .upper_is(&["w /d"])
        .run();
}

#[test]
fn r130_rmdir_leaves_a_whiteout_only_over_a_lower() {
    rule()
        .lower(of([("/merged", dir())]))
        .upper(of([("/merged", dir()), ("/pure", dir())]))
        .ok(rmdir("/merged"))
        .ok(rmdir("/pure"))
        .upper_is(&["w /merged"])
        .run();
}

#[test]
fn r131_an_open_file_goes_on_after_its_removal() {
    rule()
        .lower(of([("/low", file("lower data"))]))
        .upper(of([("/up", file("upper data"))]))
        .ok(hold(0, "/low", rd()))
        .ok(hold(1, "/up", rd().write(true)))
        .ok(rm("/low"))
        .ok(rm("/up"))
        .bytes(hread(0), "lower data")
        .bytes(hread(1), "upper data")
        .handle_meta(0, |m| assert_eq!(m.nlink, 1, "no inode of the upper to change"))
        .handle_meta(1, |m| assert_eq!(m.nlink, 0))
        .ok(hwrite(1, "still"))
        .bytes(hread(1), "still data")
        .upper_is(&["w /low"])
        .run();
}

#[test]
fn r132_copying_up_through_a_handle_replaces_nothing_at_the_name() {
    let mode = layerstack::SetAttr::mode(0o600);
    let set_mode = |slot| layerstack::Op::HandleSetAttr {
        slot,
        attr: mode.clone(),
    };
    rule()
        .lower(of([("/a", file("a")), ("/b", file("b"))]))
        .ok(hold(0, "/a", rd()))
        .ok(hold(1, "/b", rd()))
        .ok(rm("/a"))
        .fails(set_mode(0), Errno::EEXIST)
        .ok(rm("/b"))
        .ok(create("/b", "new"))
        .fails(set_mode(1), Errno::EEXIST)
        .bytes(hread(1), "b")
        .reads("/b", "new")
        .upper_is(&["w /a", "- /b"])
        .run();
}

#[test]
fn r134_link_copies_up_source_and_new_parent() {
    rule()
        .lower(of([("/a/f", file("data").mode(0o604)), ("/a/g", link_to("/a/f")), ("/b/x", file(""))]))
        .ok(ln("/a/f", "/b/new"))
        .upper_is(&["d /a", "- /a/f", "d /b", "- /b/new"])
        .meta("/b/new", |m| assert_eq!((m.nlink, m.mode), (2, 0o604)))
        .ok(put("/b/new", "DATA"))
        .reads("/a/f", "DATA")
        .reads("/a/g", "data")
        .run();
}

#[test]
fn r135_linking_a_file_with_origin_makes_the_directory_impure() {
    rule()
        .lower(of([("/a/f", file("")), ("/b/x", file("")), ("/c/x", file(""))]))
        .upper(of([("/new", file(""))]))
        .ok(ln("/a/f", "/b/f"))
        .ok(ln("/new", "/c/new"))
        .look(|s| {
            assert_eq!(s.attr("/b", OverlayAttr::Impure), Some(&b"y"[..]));
            assert_eq!(s.attr("/c", OverlayAttr::Impure), None, "a pure upper file");
        })
        .run();
}

#[test]
fn r137_links_to_symlinks_yes_to_directories_no_over_names_no() {
    rule()
        .lower(of([("/l", link("nowhere")), ("/d", dir()), ("/f", file("")), ("/g", file(""))]))
        .fails(ln("/d", "/new"), Errno::EPERM)
        .fails(ln("/f", "/g"), Errno::EEXIST)
        .fails(ln("/d", "/g"), Errno::EEXIST)
        .upper_empty()
        .ok(ln("/l", "/l2"))
        .upper_is(&["l /l", "l /l2"])
        .bytes(read_link("/l2"), "nowhere")
        .run();
}

#[test]
fn r138_link_over_a_whiteout_replaces_it() {
    rule()
        .lower(of([("/f", file("data")), ("/w", file("old"))]))
        .ok(rm("/w"))
        .ok(ln("/f", "/w"))
        .upper_is(&["- /f", "- /w"])
        .reads("/w", "data")
        .remount()
        .meta("/w", |m| assert_eq!(m.nlink, 2))
        .run();
}
