//! Section 5: opaque directories.

use layerstack::OverlayAttr::{self, Opaque};
use layerstack::{Errno, RenameFlags};

use crate::ops::*;
use crate::rig::rule;

#[test]
fn r086_only_the_one_byte_y_makes_opaque() {
    let with = |value: &str| dir().opaque(value);
    rule()
        .lower(of([
            ("/y", with("y")),
            ("/x", with("x")),
            ("/yy", with("yy")),
        ]))
        .lower(of([
            ("/y/f", file("")),
            ("/x/f", file("")),
            ("/yy/f", file("")),
        ]))
        .tree_is(&["d /x", "- /x/f", "d /y", "d /yy", "- /yy/f"])
        .run();
}

#[test]
fn r086_other_values_and_no_value_do_not() {
    let with = |value: &str| dir().opaque(value);
    rule()
        .lower(of([
            ("/n", with("n")),
            ("/empty", with("")),
            ("/Y", with("Y")),
        ]))
        .lower(of([
            ("/n/f", file("")),
            ("/empty/f", file("")),
            ("/Y/f", file("")),
        ]))
        .tree_is(&["d /Y", "- /Y/f", "d /empty", "- /empty/f", "d /n", "- /n/f"])
        .run();
}

#[test]
fn r087_mkdir_over_an_upper_whiteout_is_opaque() {
    rule()
        .lower(of([("/d/old", file("must not come back"))]))
        .ok(rm("/d/old"))
        .ok(rmdir("/d"))
        .ok(mkdir("/d"))
        .look(|s| assert_eq!(s.attr("/d", Opaque), Some(&b"y"[..])))
        .tree_is(&["d /d"])
        .remount()
        .lists("/d", &[])
        .rotate()
        .lists("/d", &[])
        .run();
}

#[test]
fn r088_mkdir_in_a_merged_directory_writes_no_mark_by_default() {
    rule()
        .lower(of([("/d/f", file(""))]))
        .ok(mkdir("/d/new"))
        .look(|s| assert_eq!(s.attr("/d/new", Opaque), None))
        .run();
}

#[test]
fn r089_a_pure_directory_moved_into_a_merged_parent_becomes_opaque() {
    rule()
        .lower(of([("/merged/f", file(""))]))
        .upper(of([
            ("/merged", dir()),
            ("/pure/a", dir()),
            ("/pure/b", dir()),
        ]))
        .ok(mv("/pure/a", "/merged/a"))
        .look(|s| assert_eq!(s.attr("/merged/a", Opaque), Some(&b"y"[..])))
        .ok(mv("/pure/b", "/pure/c"))
        .look(|s| assert_eq!(s.attr("/pure/c", Opaque), None))
        .run();
}

#[test]
fn r089_an_exchange_marks_both_sides() {
    rule()
        .lower(of([("/m/f", file("")), ("/n/f", file(""))]))
        .upper(of([("/m/a", dir()), ("/n/b", dir())]))
        .ok(mv_with("/m/a", "/n/b", RenameFlags::EXCHANGE))
        .look(|s| {
            assert_eq!(s.attr("/m/a", Opaque), Some(&b"y"[..]));
            assert_eq!(s.attr("/n/b", Opaque), Some(&b"y"[..]));
        })
        .run();
}

/// The replacement is only seen where something keeps it: a rename over the cleared directory.
#[test]
fn r090_a_merged_directory_that_is_replaced_lets_nothing_through() {
    rule()
        .lower(of([("/old/f", file("")), ("/keep", file(""))]))
        .upper(of([("/new", dir())]))
        .ok(rm("/old/f"))
        .ok(mv("/new", "/old"))
        .look(|s| assert_eq!(s.attr("/old", Opaque), Some(&b"y"[..])))
        .tree_is(&["- /keep", "d /old"])
        .remount()
        .lists("/old", &[])
        .run();
}

#[test]
fn r091_mkdir_where_a_lower_has_the_whiteout_is_plain() {
    rule()
        .lower(of([("/p/d", gone())]))
        .lower(of([("/p/d/f", file(""))]))
        .fails(stat("/p/d"), Errno::ENOENT)
        .ok(mkdir("/p/d"))
        .look(|s| assert_eq!(s.attr("/p/d", Opaque), None))
        .lists("/p/d", &[])
        .run();
}

#[test]
fn r092_the_mark_is_not_copied_up() {
    rule()
        .lower(of([("/d", opaque()), ("/d/f", file(""))]))
        .lower(of([("/d/hidden", file(""))]))
        .ok(chmod("/d", 0o700))
        .look(|s| assert_eq!(s.attr("/d", Opaque), None))
        .lists("/d", &["f"])
        .remount()
        .lists("/d", &["f"])
        .run();
}

#[test]
fn r093_opaque_wins_over_redirect() {
    let both = opaque().overlay(OverlayAttr::Redirect, "other");
    rule()
        .lower(of([("/d", both)]))
        .lower(of([("/d/a", file("")), ("/other/b", file(""))]))
        .lists("/d", &[])
        .run();
}

#[test]
fn r094_an_opaque_directory_on_the_way_of_a_redirect_ends_it() {
    let far = dir().overlay(OverlayAttr::Redirect, "/way/to");
    rule()
        .lower(of([("/d", far)]))
        .lower(of([("/way", opaque()), ("/way/to/a", file(""))]))
        .lower(of([("/way/to/b", file(""))]))
        .lists("/d", &["a"])
        .run();
}

#[test]
fn r094_an_absolute_redirect_behind_an_opaque_directory_goes_on() {
    let far = |to| dir().overlay(OverlayAttr::Redirect, to);
    rule()
        .lower(of([("/d", far("/way/to"))]))
        .lower(of([
            ("/way", opaque()),
            ("/way/to", far("/other")),
            ("/way/to/a", file("")),
        ]))
        .lower(of([("/other/b", file("")), ("/way/to/c", file(""))]))
        .lists("/d", &["a", "b"])
        .run();
}
