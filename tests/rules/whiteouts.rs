//! Section 4: whiteouts.

use layerstack::backend::WhiteoutForm;
use layerstack::testing::snapshot::Entry;
use layerstack::testing::{NodeKind, NodeSpec};
use layerstack::{DeviceId, Errno, FileType, OverlayAttr};

use crate::ops::*;
use crate::rig::{Seen, lines_of, rule};

fn is_whiteout(seen: &Seen, path: &str) -> bool {
    matches!(seen.upper.get(path), Some(Entry::Whiteout(WhiteoutForm::CharDevice)))
}

#[test]
fn r069_a_character_device_0_0_is_a_whiteout_whatever_its_mode_and_owner() {
    let zero = NodeSpec::new(NodeKind::CharDevice(DeviceId::new(0, 0)));
    rule()
        .not_written_to_memory()
        .lower(of([("/a", zero.mode(0o600).owner(7, 8)), ("/keep", file(""))]))
        .lower(of([("/a", file(""))]))
        .fails(stat("/a"), Errno::ENOENT)
        .tree_is(&["- /keep"])
        .run();
}

#[test]
fn r070_an_empty_file_with_the_attribute_is_a_whiteout_a_longer_one_is_not() {
    let mark = |text: &str, value: &str| file(text).overlay(OverlayAttr::Whiteout, value);
    rule()
        .lower(of([
            ("/empty", mark("", "")),
            ("/value", mark("", "anything")),
            ("/long", mark("x", "")),
        ]))
        .lower(of([("/empty", file("1")), ("/value", file("1")), ("/long", file("1"))]))
        .fails(stat("/empty"), Errno::ENOENT)
        .fails(stat("/value"), Errno::ENOENT)
        .reads("/long", "x")
        .run();
}

#[test]
fn r071_lookup_knows_the_attribute_form_in_every_layer() {
    rule()
        .upper(of([("/d/u", xgone())]))
        .lower(of([("/d/a", xgone())]))
        .lower(of([("/d/u", file("")), ("/d/a", file("")), ("/d/b", xgone())]))
        .fails(stat("/d/u"), Errno::ENOENT)
        .fails(stat("/d/a"), Errno::ENOENT)
        .fails(stat("/d/b"), Errno::ENOENT)
        .run();
}

#[test]
fn r072_listing_knows_the_attribute_form_only_in_marked_directories() {
    let marked = || dir().opaque(b"x");
    rule()
        .lower(of([("/yes", marked()), ("/yes/f", xgone()), ("/no/f", xgone())]))
        .lower(of([("/yes/f", file("")), ("/no/f", file("")), ("/no/g", file(""))]))
        .lists("/yes", &[])
        .lists("/no", &["f", "g"])
        .fails(stat("/no/f"), Errno::ENOENT)
        .run();
}

#[test]
fn r073_a_mark_in_the_upper_or_the_bottom_does_not_count() {
    let marked = || dir().opaque(b"x");
    rule()
        .upper(of([("/up", marked()), ("/up/f", xgone())]))
        .lower(of([("/up", dir()), ("/bottom", dir())]))
        .lower(of([("/up/f", file("")), ("/bottom", marked()), ("/bottom/f", xgone())]))
        .lists("/up", &["f"])
        .lists("/bottom", &["f"])
        .run();
}

#[test]
fn r074_whiteouts_made_are_character_devices_with_userxattr_too() {
    let lower = || of([("/f", file("")), ("/d/x", file(""))]);
    let look = |s: &Seen| assert!(is_whiteout(s, "/f") && is_whiteout(s, "/d/x"));
    rule().lower(lower()).ok(rm("/f")).ok(rm("/d/x")).look(look).run();
    let user = rule().userxattr().lower(lower());
    user.ok(rm("/f")).ok(rm("/d/x")).look(look).run();
}

#[test]
fn r076_rename_leaves_a_whiteout() {
    rule()
        .lower(of([("/old", file("data"))]))
        .ok(mv("/old", "/new"))
        .upper_is(&["- /new", "w /old"])
        .reads("/new", "data")
        .run();
}

#[test]
fn r077_a_whiteout_in_the_upper_hides_all_lowers_and_itself() {
    rule()
        .upper(of([("/a", gone())]))
        .lower(of([("/a", file("1"))]))
        .lower(of([("/a", file("2"))]))
        .tree_is(&[])
        .fails(rm("/a"), Errno::ENOENT)
        .ok(create("/a", "new"))
        .reads("/a", "new")
        .run();
}

#[test]
fn r078_whiteouts_of_nothing_are_harmless_in_merged_directories() {
    rule()
        .lower(of([("/d/a", gone()), ("/d/f", file(""))]))
        .lower(of([("/d/b", gone())]))
        .lists("/d", &["f"])
        .fails(stat("/d/b"), Errno::ENOENT)
        .run();
}

/// Quirk: a directory of one layer is listed as it lies there.
#[test]
fn r079_a_stray_whiteout_is_listed_where_nothing_merges() {
    rule()
        .lower(of([("/low/w", gone()), ("/opq", opaque()), ("/opq/w", gone())]))
        .upper(of([("/pure/w", gone()), ("/opq", opaque()), ("/opq/w", gone())]))
        .lists("/low", &["w"])
        .lists("/pure", &["w"])
        .lists("/opq", &["w"])
        .fails(stat("/low/w"), Errno::ENOENT)
        .look(|s| assert_eq!(lines_of(&s.merged)[1], "! /low/w"))
        .run();
}

#[test]
fn r080_the_origin_mark_makes_listing_hide_whiteouts() {
    let marked = || dir().overlay(OverlayAttr::Origin, "");
    rule()
        .lower(of([("/low", marked()), ("/low/w", gone())]))
        .upper(of([("/pure", marked()), ("/pure/w", gone()), ("/pure/f", file(""))]))
        .lists("/low", &[])
        .lists("/pure", &["f"])
        .run();
}

#[test]
fn r081_a_whiteout_is_made_only_for_a_name_that_a_lower_has() {
    rule()
        .lower(of([("/d/hidden", gone()), ("/d/both", file(""))]))
        .lower(of([("/d/hidden", file(""))]))
        .upper(of([("/d/hidden", file("")), ("/d/both", file("")), ("/d/own", file(""))]))
        .ok(rm("/d/hidden"))
        .ok(rm("/d/both"))
        .ok(rm("/d/own"))
        .upper_is(&["d /d", "w /d/both"])
        .run();
}

#[test]
fn r082_an_opaque_directory_over_a_lower_one_leaves_a_whiteout() {
    rule()
        .lower(of([("/d/f", file(""))]))
        .upper(of([("/d", opaque())]))
        .ok(rmdir("/d"))
        .upper_is(&["w /d"])
        .tree_is(&[])
        .run();
}

#[test]
fn r083_a_name_of_the_upper_alone_leaves_nothing() {
    rule()
        .lower(of([("/low", file(""))]))
        .upper(of([("/f", file("")), ("/d", dir())]))
        .ok(rm("/f"))
        .ok(rmdir("/d"))
        .upper_empty()
        .run();
}

#[test]
fn r084_nobody_makes_a_whiteout_by_mknod() {
    rule()
        .lower(of([("/d", dir())]))
        .fails(mknod("/d/w", FileType::CharDevice, 0, 0), Errno::EPERM)
        .fails(mknod("/d/", FileType::CharDevice, 0, 0), Errno::EEXIST)
        .upper_empty()
        .ok(mknod("/d/c", FileType::CharDevice, 0, 1))
        .ok(mknod("/d/b", FileType::BlockDevice, 0, 0))
        .upper_is(&["d /d", "b /d/b", "c /d/c"])
        .run();
}

#[test]
fn r085_whiteouts_in_an_opaque_directory_are_tolerated() {
    rule()
        .lower(of([("/d/w", file("")), ("/d/x", file(""))]))
        .upper(of([("/d", opaque()), ("/d/w", gone()), ("/d/f", file(""))]))
        .fails(stat("/d/w"), Errno::ENOENT)
        .fails(stat("/d/x"), Errno::ENOENT)
        .reads("/d/f", "")
        .run();
}
