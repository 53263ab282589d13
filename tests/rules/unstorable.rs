//! Rule R033: an upper that cannot store overlay attributes. It is on ramfs, which has no extended
//! attributes at all (and no `RENAME_WHITEOUT`, so no rename here leaves a whiteout behind).

use layerstack::testing::{NodeKind, NodeSpec};
use layerstack::{Errno, OverlayAttr};

use crate::ops::*;
use crate::rig::{Rule, rule};
use crate::support::fs::Fs;
use crate::support::system::Layout;

fn on_ramfs() -> Rule {
    let layout = Layout {
        upper: Fs::Ramfs,
        lowers: vec![Fs::Ext4],
        options: Vec::new(),
    };
    // Memory layers store attributes.
    rule().on(layout).same_filesystem_only()
}

#[test]
fn r033_copy_up_goes_on_without_marks() {
    on_ramfs()
        .lower(of([
            ("/d/sub/f", file("data")),
            ("/d/link", link("f")),
            ("/d/fifo", NodeSpec::new(NodeKind::Fifo)),
        ]))
        .ok(chmod("/d/sub/f", 0o600))
        .ok(append("/d/sub/f", "!"))
        .ok(chown("/d/link", 7, 8))
        .ok(chmod("/d/fifo", 0o600))
        .reads("/d/sub/f", "data!")
        .upper_is(&["d /d", "p /d/fifo", "l /d/link", "d /d/sub", "- /d/sub/f"])
        .remount()
        .reads("/d/sub/f", "data!")
        .run();
}

#[test]
fn r033_what_needs_opaque_is_eio() {
    on_ramfs()
        .lower(of([
            ("/gone", file("")),
            ("/dir/f", file("")),
            ("/full/f", file("")),
            ("/other", dir()),
        ]))
        .ok(rm("/gone"))
        .fails(mkdir("/gone"), Errno::EIO)
        .ok(create("/gone", ""))
        .ok(rm("/dir/f"))
        .fails(rmdir("/dir"), Errno::EIO)
        .lists("/dir", &[])
        .ok(mkdir("/new"))
        .fails(mv("/new", "/dir"), Errno::EIO)
        .fails(set_xattr("/full/f", "user.x", "v"), Errno::EOPNOTSUPP)
        // Nothing in the upper to clear: no mark is needed.
        .ok(rmdir("/other"))
        .tree_is(&["d /dir", "d /full", "- /full/f", "- /gone", "d /new"])
        .run();
}

/// A filesystem without any attributes gets none, and is not asked. (One that takes some must take access lists
/// and `security.`: table in `rules::xattr`.)
#[test]
fn r224_where_nothing_can_be_stored_nothing_is() {
    let acl: Vec<u8> = [
        &[2, 0, 0, 0][..],
        &[1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff],
        &[2, 0, 4, 0, 7, 0, 0, 0],
        &[4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff],
        &[16, 0, 4, 0, 0xff, 0xff, 0xff, 0xff],
        &[32, 0, 4, 0, 0xff, 0xff, 0xff, 0xff],
    ]
    .concat();
    on_ramfs()
        .lower(of([
            (
                "/user",
                file("1").xattr("user.a", "v").xattr("trusted.t", "v"),
            ),
            ("/acl", file("2").xattr("system.posix_acl_access", &acl)),
            ("/security", file("3").xattr("security.s", "v")),
        ]))
        .ok(append("/user", "+"))
        .ok(append("/acl", "+"))
        .ok(append("/security", "+"))
        .xattrs("/user", &[])
        .upper_is(&["- /acl", "- /security", "- /user"])
        .reads("/acl", "2+")
        .run();
}

#[test]
fn r033_redirects_are_not_followed() {
    let redirect = dir().overlay(OverlayAttr::Redirect, "/b");
    on_ramfs()
        .lower(of([("/a", redirect), ("/c", dir())]))
        .lower(of([("/b/f", file(""))]))
        .fails(stat("/a"), Errno::EPERM)
        .ok(stat("/c"))
        .run();
}

#[test]
fn r033_renames_that_need_a_mark_are_exdev() {
    on_ramfs()
        .lower(of([("/merged/f", file("")), ("/low", dir())]))
        .ok(mkdir("/a"))
        .ok(mkdir("/a/b"))
        .fails(mv("/a", "/c"), Errno::EXDEV)
        .fails(mv("/a/b", "/merged/b"), Errno::EXDEV)
        .fails(mv("/low", "/low2"), Errno::EXDEV)
        // Into a directory that nothing is below, no mark is needed.
        .ok(mv("/a/b", "/a/c"))
        // The new parent was copied up before the mark was tried.
        .upper_is(&["d /a", "d /a/c", "d /merged"])
        .run();
}
