//! Section 19: extended attributes, private names, escaping, `userxattr`.

use layerstack::testing::{LayerSpec, NodeKind, NodeSpec};
use layerstack::{Errno, OverlayAttr};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;

const NAMES: [&str; 10] = [
    "opaque", "redirect", "origin", "impure", "nlink", "upper", "uuid", "metacopy", "protattr",
    "whiteout",
];

#[test]
fn r275_one_namespace_is_private_the_other_is_inert_and_visible() {
    rule()
        .lower(of([("/d", dir().xattr("user.overlay.opaque", "y"))]))
        .lower(of([("/d/f", file(""))]))
        .lists("/d", &["f"])
        .xattrs("/d", &["user.overlay.opaque"])
        .run();
    rule()
        .userxattr()
        .lower(of([
            ("/d", dir().xattr("trusted.overlay.opaque", "y")),
            ("/e", opaque()),
        ]))
        .lower(of([("/d/f", file("")), ("/e/f", file(""))]))
        .lists("/d", &["f"])
        .lists("/e", &[])
        .xattrs("/d", &["trusted.overlay.opaque"])
        .xattrs("/e", &[])
        .run();
}

#[test]
fn r276_these_are_all_names() {
    let known: Vec<_> = OverlayAttr::ALL.iter().map(|a| a.suffix()).collect();
    assert_eq!(known, NAMES);
}

#[test]
fn r277_every_name_under_the_prefix_is_private_known_or_not() {
    let mut node = file("")
        .xattr("user.a", "1")
        .xattr("trusted.overlay.foo", "1");
    for name in ["origin", "impure", "nlink", "upper", "uuid", "opaque"] {
        node = node.xattr(format!("trusted.overlay.{name}"), "?");
    }
    rule()
        .lower(of([("/f", node)]))
        .xattrs("/f", &["user.a"])
        .fails(get_xattr("/f", "trusted.overlay.origin"), Errno::ENODATA)
        .fails(get_xattr("/f", "trusted.overlay.foo"), Errno::ENODATA)
        .fails(remove_xattr("/f", "trusted.overlay.foo"), Errno::ENODATA)
        .upper_empty()
        .run();
}

#[test]
fn r278_without_the_dot_it_is_an_ordinary_name() {
    rule()
        .lower(of([("/f", file("").xattr("trusted.overlayxxx", "1"))]))
        .xattrs("/f", &["trusted.overlayxxx"])
        .ok(set_xattr("/f", "trusted.overlayyyy", "2"))
        .xattrs("/f", &["trusted.overlayxxx", "trusted.overlayyyy"])
        .look(|s| assert_eq!(s.up("/f").xattrs[&attr("trusted.overlayyyy")], b"2"))
        .run();
}

#[test]
fn r279_names_under_the_prefix_are_stored_escaped() {
    rule()
        .lower(of([
            ("/d", dir().xattr("trusted.overlay.overlay.opaque", "y")),
            ("/d/f", file("")),
        ]))
        .xattrs("/d", &["trusted.overlay.opaque"])
        .bytes(get_xattr("/d", "trusted.overlay.opaque"), "y")
        .ok(set_xattr("/d/f", "trusted.overlay.foo", "1"))
        .look(|s| {
            assert_eq!(
                s.up("/d/f").xattrs[&attr("trusted.overlay.overlay.foo")],
                b"1"
            )
        })
        .bytes(get_xattr("/d/f", "trusted.overlay.foo"), "1")
        .ok(remove_xattr("/d/f", "trusted.overlay.foo"))
        .look(|s| assert!(s.up("/d/f").xattrs.is_empty()))
        .ok(set_xattr("/d/f", "trusted.overlay.overlay.x", "2"))
        .xattrs("/d/f", &["trusted.overlay.overlay.x"])
        .look(|s| {
            assert_eq!(
                s.up("/d/f").xattrs[&attr("trusted.overlay.overlay.overlay.x")],
                b"2"
            );
        })
        .run();
}

#[test]
fn r280_a_name_too_long_to_be_escaped_is_eopnotsupp() {
    let name = format!("trusted.overlay.{}", "n".repeat(255 - 16));
    rule()
        .lower(of([("/f", file(""))]))
        .fails(set_xattr("/f", &name, "1"), Errno::EOPNOTSUPP)
        .fails(get_xattr("/f", &name), Errno::EOPNOTSUPP)
        .upper_empty()
        .run();
}

#[test]
fn r281_all_other_names_are_listed() {
    let node = file("")
        .xattr("user.a", "")
        .xattr("trusted.b", "")
        .xattr("security.c", "");
    rule()
        .lower(of([("/f", node)]))
        .xattrs("/f", &["security.c", "trusted.b", "user.a"])
        .ok(chmod("/f", 0o600))
        .xattrs("/f", &["security.c", "trusted.b", "user.a"])
        .run();
}

#[test]
fn r283_attributes_of_a_merged_directory_are_the_topmosts() {
    rule()
        .lower(of([("/d", dir().xattr("user.top", "1"))]))
        .lower(of([("/d", dir().xattr("user.low", "2"))]))
        .xattrs("/d", &["user.top"])
        .fails(get_xattr("/d", "user.low"), Errno::ENODATA)
        .ok(set_xattr("/d", "user.new", "3"))
        .xattrs("/d", &["user.new", "user.top"])
        .run();
}

/// The form in which a whiteout reaches an outer overlay. Snapshots see the crate's union as such an
/// outer overlay would, so trees are not compared.
#[test]
fn r284_an_escaped_whiteout_is_a_plain_file_here() {
    let escaped = file("").xattr("trusted.overlay.overlay.whiteout", "");
    let parent = dir().xattr("trusted.overlay.overlay.opaque", "x");
    rule()
        .not_compared()
        .lower(of([("/d", parent), ("/d/f", escaped), ("/d/c", gone())]))
        .lower(of([("/d/c", file(""))]))
        .lists("/d", &["f"])
        .xattrs("/d/f", &["trusted.overlay.whiteout"])
        .xattrs("/d", &["trusted.overlay.opaque"])
        .run();
}

#[test]
fn r285_with_userxattr_only_files_and_directories_are_marked() {
    let fifo = NodeSpec::new(NodeKind::Fifo);
    rule()
        .userxattr()
        .lower(of([
            ("/d/p", fifo),
            ("/d/l", link("t")),
            ("/e/x", file("")),
        ]))
        .ok(mv("/d/p", "/e/p"))
        .ok(mv("/d/l", "/e/l"))
        .look(|s| {
            let marked = s.having(OverlayAttr::Origin);
            let marked: Vec<_> = marked.iter().map(|p| p.to_str().unwrap()).collect();
            assert_eq!(marked, ["/d", "/e"]);
        })
        .run();
}

/// The kernel's size counts the private names that the list then leaves out; here there is only the list.
#[test]
fn r282_the_size_of_the_list_is_an_upper_bound() {
    let file = NodeSpec::file(b"")
        .xattr(b"user.a", b"1")
        .overlay(OverlayAttr::Nlink, b"U+0");
    both(
        [LayerSpec::new().with("/a", file), LayerSpec::new()],
        |live: &Live| {
            let path = live.mount.join("a");
            let bound = rustix::fs::listxattr_query(&path).unwrap();
            let mut list = vec![0_u8; bound];
            let length = rustix::fs::listxattr(&path, &mut list[..]).unwrap();
            assert_eq!(&list[..length], b"user.a\0");
            assert_eq!(bound, length + b"trusted.overlay.nlink\0".len());
            let names = live.overlay.xattrs("/a", true).unwrap();
            assert_eq!(
                names.iter().map(|n| n.as_bytes()).collect::<Vec<_>>(),
                [b"user.a"]
            );
        },
    );
}
