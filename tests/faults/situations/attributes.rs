//! Owner, mode, times and extended attributes of objects of every type, in lowers and in the upper.

use layerstack::testing::{LayerSpec, NodeKind, NodeSpec};
use layerstack::{DeviceId, SetAttr, SetTime};

use crate::ops::*;
use crate::situation::{Situation, both, low, up};

fn plain() -> LayerSpec {
    let node = file("data").mode(0o640).owner(3, 4);
    of([
        ("/d", dir().mode(0o750)),
        ("/d/f", node.xattr("user.a", b"1").xattr("user.b", b"2")),
    ])
}

fn program() -> LayerSpec {
    let capability = b"\x01\0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let node = file("program").mode(0o6755);
    of([("/d/f", node.xattr("security.capability", capability))])
}

/// A lower with one object of some kind.
fn special(kind: NodeKind) -> LayerSpec {
    let node = NodeSpec::new(kind).mode(0o640).owner(3, 4);
    of([("/d", dir().mode(0o750)), ("/d/x", node)])
}

fn access_list() -> Vec<u8> {
    super::acl(&super::acl_of(4, 4))
}

pub fn all() -> Vec<Situation> {
    let mut all = copying_up();
    all.extend(owner_mode_times());
    all.extend(xattrs());
    all
}

fn copying_up() -> Vec<Situation> {
    let dev = DeviceId::new(1, 3);
    let chown = || set("/d/x", SetAttr::owner(Some(8), Some(9)));
    vec![
        low("chmod a lower file", plain(), chmod("/d/f", 0o600)),
        low(
            "chmod a lower directory",
            special(NodeKind::Directory),
            chmod("/d/x", 0o700),
        ),
        low(
            "chmod a lower fifo",
            special(NodeKind::Fifo),
            chmod("/d/x", 0o600),
        ),
        low(
            "chmod a lower socket",
            special(NodeKind::Socket),
            chmod("/d/x", 0o600),
        ),
        low(
            "chmod a lower device",
            special(NodeKind::CharDevice(dev)),
            chmod("/d/x", 0o600),
        ),
        low(
            "chown a lower block device",
            special(NodeKind::BlockDevice(dev)),
            chown(),
        ),
        low(
            "chown a lower symlink",
            special(NodeKind::Symlink(b"to".to_vec())),
            chown(),
        ),
        low(
            "chmod a file in a deep lower directory",
            deep(),
            chmod("/a/b/c/f", 0o600),
        ),
        low(
            "chmod the directory above a copied-up file",
            deep(),
            chmod("/a/b", 0o700),
        )
        .setup([chmod("/a/b/c/f", 0o600)]),
        low(
            "chmod a lower hard link",
            hard_links(),
            chmod("/d/1", 0o600),
        )
        .breaks_links(),
        low("chmod the merged root", plain(), chmod("/", 0o700)),
        low(
            "chmod a file of the bottom layer",
            of([("/d/g", file("g"))]),
            chmod("/d/f", 0o600),
        )
        .below(plain()),
        low(
            "chmod a directory of two lowers",
            of([("/d/g", file("g"))]),
            chmod("/d", 0o700),
        )
        .below(plain()),
    ]
}

fn deep() -> LayerSpec {
    of([
        ("/a", dir().mode(0o711)),
        ("/a/b", dir().owner(3, 4).xattr("user.b", b"b")),
        ("/a/b/c", dir().mode(0o1777)),
        ("/a/b/c/f", file("deep")),
    ])
}

fn hard_links() -> LayerSpec {
    of([
        ("/d/1", file("linked")),
        ("/d/2", link_to("/d/1")),
        ("/e/3", link_to("/d/1")),
    ])
}

fn owner_mode_times() -> Vec<Situation> {
    let everything = SetAttr {
        mode: Some(0o4711),
        uid: Some(8),
        gid: Some(9),
        atime: at(7, 8),
        mtime: at(9, 10),
    };
    let touch = SetAttr::times(SetTime::Now, SetTime::Now);
    let copied = || (program(), of([("/d/f", file("upper"))]));
    let (lower, upper) = copied();
    vec![
        low("chown a lower program", program(), chown("/d/f", 8, 9)),
        up("chown an upper program", program(), chown("/d/f", 8, 9)),
        low(
            "set all attributes of a lower file",
            program(),
            set("/d/f", everything.clone()),
        ),
        up(
            "set all attributes of an upper file",
            program(),
            set("/d/f", everything.clone()),
        ),
        low(
            "set all attributes of a lower directory",
            plain(),
            set("/d", everything),
        ),
        low("touch a lower file", plain(), set("/d/f", touch.clone())),
        both("touch an upper file", lower, upper, set("/d/f", touch)),
        low(
            "set the times of a lower file",
            plain(),
            set("/d/f", SetAttr::times(at(1, 2), at(3, 4))),
        ),
        up("chmod an upper file", plain(), chmod("/d/f", 0o400)),
    ]
}

fn xattrs() -> Vec<Situation> {
    let list = || crate::ops::set_xattr("/d/f", "user.acl", "");
    let acl = |path: &str| layerstack::Op::SetXattr {
        path: path.into(),
        follow: true,
        name: attr("system.posix_acl_access"),
        value: access_list(),
        mode: layerstack::backend::XattrMode::Set,
    };
    let with_acl = || {
        let node = file("data").xattr("system.posix_acl_access", access_list());
        of([("/d/f", node.mode(0o640))])
    };
    vec![
        low(
            "set an attribute of a lower file",
            plain(),
            set_xattr("/d/f", "user.a", "new"),
        ),
        up(
            "set an attribute of an upper file",
            plain(),
            set_xattr("/d/f", "user.a", "new"),
        ),
        low(
            "remove an attribute of a lower file",
            plain(),
            remove_xattr("/d/f", "user.a"),
        ),
        up(
            "remove an attribute of an upper file",
            plain(),
            remove_xattr("/d/f", "user.a"),
        ),
        low(
            "set an attribute of a lower directory",
            plain(),
            set_xattr("/d", "user.a", "new"),
        ),
        low("set an empty attribute of a lower file", plain(), list()),
        low(
            "set an escaped overlay attribute",
            plain(),
            set_xattr("/d/f", "trusted.overlay.opaque", "y"),
        ),
        low(
            "copy up a file with many attributes",
            (0..8).fold(layer(), |l, i| {
                let old = l.nodes().get(std::path::Path::new("/f")).cloned();
                let node = old.unwrap_or_else(|| file("data"));
                l.with("/f", node.xattr(format!("user.{i}"), vec![i; 50]))
            }),
            chmod("/f", 0o600),
        ),
        low("set an access list on a lower file", plain(), acl("/d/f")),
        up("set an access list on an upper file", plain(), acl("/d/f")),
        low(
            "remove an access list from a lower file",
            with_acl(),
            remove_xattr("/d/f", "system.posix_acl_access"),
        ),
        low(
            "chmod a lower file with an access list",
            with_acl(),
            chmod("/d/f", 0o600),
        ),
    ]
}
