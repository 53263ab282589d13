//! Section 3: lookup and merge.

use layerstack::testing::{LayerSpec, NodeKind, NodeSpec};
use layerstack::{DeviceId, Errno, FileType, OverlayAttr};

use crate::ops::*;
use crate::rig::rule;

/// A whiteout in the middle hides below, and a name that comes back below it stays hidden, since the
/// parent's own stack was cut.
#[test]
fn r050_a_directory_is_looked_up_in_the_stack_of_its_parent() {
    rule()
        .lower(of([("/d", opaque()), ("/d/top", file("1"))]))
        .lower(of([("/d/low", file("2"))]))
        .upper(of([("/d", dir()), ("/d/up", file("0"))]))
        .tree_is(&["d /d", "- /d/top", "- /d/up"])
        .fails(stat("/d/low"), Errno::ENOENT)
        .run();
}

#[test]
fn r051_first_layer_decides_type() {
    rule()
        .lower(of([("/a", file("top"))]))
        .lower(of([("/a/x", file("hidden"))]))
        .reads("/a", "top")
        .fails(stat("/a/x"), Errno::ENOTDIR)
        .tree_is(&["- /a"])
        .run();
}

#[test]
fn r052_directories_of_one_name_merge() {
    rule()
        .lower(of([("/d/one", file("1")), ("/d/both", file("1"))]))
        .lower(of([("/e", dir())]))
        .lower(of([("/d/three", file("3")), ("/d/both", file("3"))]))
        .upper(of([("/d/zero", file("0"))]))
        .lists("/d", &["both", "one", "three", "zero"])
        .reads("/d/both", "1")
        .reads("/d/three", "3")
        .run();
}

#[test]
fn r053_a_whiteout_ends_the_search() {
    rule()
        .lower(of([("/d/top", file("1")), ("/f", gone())]))
        .lower(of([("/d", gone()), ("/f", file("2"))]))
        .lower(of([("/d/low", file("3")), ("/f", file("3"))]))
        .tree_is(&["d /d", "- /d/top"])
        .fails(stat("/f"), Errno::ENOENT)
        .run();
}

#[test]
fn r054_a_non_directory_below_a_directory_hides_what_is_further_down() {
    rule()
        .lower(of([("/d/top", file("1"))]))
        .lower(of([("/d", file("in between"))]))
        .lower(of([("/d/low", file("3"))]))
        .tree_is(&["d /d", "- /d/top"])
        .run();
}

#[test]
fn r055_an_opaque_directory_is_the_last_of_its_stack() {
    rule()
        .lower(of([("/d/top", file("1"))]))
        .lower(of([("/d", opaque()), ("/d/mid", file("2"))]))
        .lower(of([("/d/low", file("3"))]))
        .lists("/d", &["mid", "top"])
        .fails(stat("/d/low"), Errno::ENOENT)
        .run();
}

#[test]
fn r056_absent_means_look_further_down() {
    rule()
        .lower(of([("/other", file(""))]))
        .lower(layer())
        .lower(of([("/a", file("found"))]))
        .reads("/a", "found")
        .fails(stat("/b"), Errno::ENOENT)
        .run();
}

#[test]
fn r057_only_names_merge_attributes_are_those_of_the_top() {
    let low = dir().mode(0o700).owner(5, 6).mtime(5, 5).xattr("user.low", "1");
    let top = dir().mode(0o751).owner(1, 2).mtime(9, 9).xattr("user.top", "1");
    rule()
        .lower(of([("/d", top), ("/", dir().xattr("user.root", "lower"))]))
        .lower(of([("/d", low)]))
        .upper(of([("/", dir().mode(0o711).owner(3, 4).mtime(7, 7))]))
        .meta("/d", |m| {
            assert_eq!((m.mode, m.uid, m.gid), (0o751, 1, 2));
            assert_eq!((m.mtime.secs, m.mtime.nanos), (9, 9));
        })
        .xattrs("/d", &["user.top"])
        .meta("/", |m| assert_eq!((m.mode, m.uid, m.gid), (0o711, 3, 4)))
        .xattrs("/", &[])
        .upper_empty()
        .run();
}

#[test]
fn r058_roots_always_merge() {
    rule()
        .lower(of([("/", opaque()), ("/one", file("1"))]))
        .lower(of([("/two", file("2"))]))
        .upper(of([("/", opaque()), ("/up", file("0"))]))
        .lists("/", &["one", "two", "up"])
        .run();
}

/// What the bottom layer says of layers below it is not read.
#[test]
fn r059_marks_in_the_bottom_layer_are_not_read() {
    let redirected = dir().overlay(OverlayAttr::Redirect, "not/valid");
    rule()
        .lower(of([("/d", dir())]))
        .lower(of([("/d", redirected), ("/d/f", file("1"))]))
        .lists("/d", &["f"])
        .run();
}

#[test]
fn r060_type_conflicts_are_no_errors() {
    rule()
        .lower(of([
            ("/file", dir()),
            ("/file/x", file("")),
            ("/link", dir()),
            ("/dir", file("")),
        ]))
        .upper(of([
            ("/file", file("up")),
            ("/link", link("nowhere")),
            ("/dir/x", file("")),
        ]))
        .tree_is(&["d /dir", "- /dir/x", "- /file", "l /link"])
        .run();
}

#[test]
fn r061_opaque_means_nothing_on_a_file() {
    rule()
        .lower(of([("/f", file("1").opaque(b"y"))]))
        .lower(of([("/f", file("2"))]))
        .reads("/f", "1")
        .xattrs("/f", &[])
        .run();
}

#[test]
fn r062_special_files_are_ordinary_non_directories() {
    let char_0_1 = NodeSpec::new(NodeKind::CharDevice(DeviceId::new(0, 1)));
    let block_0_0 = NodeSpec::new(NodeKind::BlockDevice(DeviceId::new(0, 0)));
    let special = || -> LayerSpec {
        of([
            ("/block", block_0_0.clone()),
            ("/char", char_0_1.clone()),
            ("/fifo", NodeSpec::new(NodeKind::Fifo)),
            ("/sock", NodeSpec::new(NodeKind::Socket)),
        ])
    };
    let below = ["/block", "/char", "/fifo", "/sock"].map(|p| (p, file("below")));
    rule()
        .lower(special())
        .lower(of(below))
        .tree_is(&["b /block", "c /char", "p /fifo", "s /sock"])
        .meta("/char", |m| assert_eq!(m.rdev, DeviceId::new(0, 1)))
        .meta("/block", |m| assert_eq!(m.file_type, FileType::BlockDevice))
        .run();
}

#[test]
fn r063_links_are_resolved_in_the_union_never_in_a_layer() {
    rule()
        .lower(of([("/l", link("/d/f")), ("/d/f", file("its own layer's"))]))
        .upper(of([("/d/f", file("the union's"))]))
        .bytes(read_link("/l"), "/d/f")
        .reads("/l", "the union's")
        .run();
}

/// Of an origin that names nothing (or another type), nothing comes but the upper's own attributes.
#[test]
fn r066_an_origin_that_cannot_be_decoded_is_ignored() {
    rule()
        .lower(of([("/f", file("low"))]))
        .upper(of([
            ("/f", file("up").overlay(OverlayAttr::Origin, "garbage")),
            ("/g", file("").overlay(OverlayAttr::Origin, "")),
        ]))
        .reads("/f", "up")
        .tree_is(&["- /f", "- /g"])
        .run();
}
