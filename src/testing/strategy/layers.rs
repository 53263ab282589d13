//! Nodes and layers.

use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, Strategy};

use super::acl::{AclEntry, acl_bytes};
use super::{Profile, layer_path};
use crate::meta::DeviceId;
use crate::testing::spec::{LayerSpec, NodeKind, NodeSpec, Piece};
use crate::xattr_name::{OverlayAttr, XattrNamespace};

/// One layer: up to [`Profile::nodes_max`] nodes, missing parents filled in.
pub fn layer(profile: &Profile) -> BoxedStrategy<LayerSpec> {
    let nodes = vec(
        (layer_path(profile), node(profile)),
        (profile.nodes_max / 4)..=profile.nodes_max,
    );
    nodes
        .prop_map(|nodes| {
            let mut layer = LayerSpec::new();
            for (path, node) in nodes {
                layer.insert(path, node);
            }
            layer
        })
        .boxed()
}

/// One node of any kind, with attributes.
pub fn node(profile: &Profile) -> BoxedStrategy<NodeSpec> {
    let kinds = prop_oneof![
        8 => file(),
        12 => Just(NodeSpec::dir()),
        3 => target().prop_map(NodeSpec::symlink),
        4 => Just(NodeSpec::whiteout()),
        2 => special(profile.privileged),
    ];
    let plain = (kinds, attributes(profile))
        .prop_map(|(node, decorate)| decorate.into_iter().fold(node, apply))
        .boxed();
    let link = layer_path(profile).prop_map(NodeSpec::link_to).boxed();
    let marked = overlay_marks(profile);
    let others = u32::from(profile.xattr_whiteouts || profile.redirects) * 2;
    prop_oneof![28 => plain, 3 => link, 1 + others => marked].boxed()
}

/// Content of a file: mostly a few bytes, sometimes blocks with holes.
fn file() -> BoxedStrategy<NodeSpec> {
    let piece = prop_oneof![
        3 => (select(&b"xyz"[..]), select(&[1u32, 4096, 8192][..])).prop_map(|(b, n)| Piece::Fill(b, n)),
        2 => select(&[4096u32, 8192, 65536, 1 << 21][..]).prop_map(Piece::Hole),
        1 => vec(select(&b"0123"[..]), 1..9).prop_map(Piece::Bytes),
    ];
    prop_oneof![
        6 => select(vec!["lower", "1", "other data", ""]).prop_map(NodeSpec::file),
        1 => vec(piece, 0..5).prop_map(NodeSpec::pieces),
    ]
    .boxed()
}

/// Target of a symlink: relative, absolute, up, dangling, to itself, to the root.
pub(super) fn target() -> BoxedStrategy<Vec<u8>> {
    let targets: [&[u8]; 11] = [
        b"a", b"b", b"/a", b"/a/b", b"../b", b"..", b"/", b"b/c", b"none", b".", b"c/",
    ];
    select(targets.map(<[u8]>::to_vec).to_vec()).boxed()
}

fn special(privileged: bool) -> BoxedStrategy<NodeSpec> {
    let plain = select(vec![NodeKind::Fifo, NodeKind::Socket]).prop_map(NodeSpec::new);
    if !privileged {
        return plain.boxed();
    }
    let devices = vec![
        NodeKind::CharDevice(DeviceId::new(1, 3)),
        NodeKind::CharDevice(DeviceId::new(0, 1)),
        NodeKind::BlockDevice(DeviceId::new(0, 0)),
        NodeKind::BlockDevice(DeviceId::new(7, 300)),
    ];
    prop_oneof![plain, select(devices).prop_map(NodeSpec::new)].boxed()
}

/// Marks that only overlayfs gives a meaning to.
fn overlay_marks(profile: &Profile) -> BoxedStrategy<NodeSpec> {
    let mut marks = vec![NodeSpec::dir().opaque("y"), NodeSpec::dir().opaque("yy")];
    if profile.xattr_whiteouts {
        marks.push(NodeSpec::dir().opaque("x"));
        marks.push(NodeSpec::xattr_whiteout());
    }
    if profile.redirects {
        for value in ["a", "b", "/a", "/a/b", "/b/c", "a/b", "/"] {
            marks.push(NodeSpec::dir().overlay(OverlayAttr::Redirect, value));
        }
        let meta = NodeSpec::pieces(vec![Piece::Hole(5)]).overlay(OverlayAttr::Metacopy, "");
        marks.push(meta.clone().overlay(OverlayAttr::Redirect, "/a"));
        marks.push(meta);
    }
    select(marks).boxed()
}

/// One thing to change in a node.
#[derive(Clone, Debug)]
enum Decoration {
    Mode(u32),
    Owner(u32, u32),
    Mtime(i64, u32),
    Xattr(&'static str, Vec<u8>),
    AccessAcl(AclEntry),
    DefaultAcl(AclEntry),
}

fn apply(node: NodeSpec, decoration: Decoration) -> NodeSpec {
    let (dir, link, file) = match node.kind {
        NodeKind::Directory => (true, false, false),
        NodeKind::Symlink(_) => (false, true, false),
        NodeKind::File(_) => (false, false, true),
        // Theirs are not told apart.
        NodeKind::Whiteout(_) => return node,
        _ => (false, false, false),
    };
    match decoration {
        Decoration::Mode(mode) => node.mode(mode),
        Decoration::Owner(uid, gid) => node.owner(uid, gid),
        Decoration::Mtime(secs, nanos) => node.mtime(secs, nanos),
        Decoration::Xattr(name, value) => {
            let everywhere = name.starts_with("trusted.") || name.starts_with("security.sel");
            match file || everywhere || (dir && name != "security.capability") {
                true => node.xattr(name, value),
                false => node,
            }
        }
        Decoration::AccessAcl(entry) if !link => {
            let value = acl_bytes(node.mode, &[entry]);
            node.xattr("system.posix_acl_access", value)
        }
        Decoration::DefaultAcl(entry) if dir => {
            let value = acl_bytes(0o750, &[entry]);
            node.xattr("system.posix_acl_default", value)
        }
        _ => node,
    }
}

fn attributes(profile: &Profile) -> BoxedStrategy<Vec<Decoration>> {
    let mut modes = vec![
        0o644u32, 0o600, 0o755, 0o700, 0o4755, 0o2755, 0o1777, 0o6711, 0,
    ];
    if profile.callers {
        modes.extend([0o777, 0o777, 0o777, 0o2777, 0o1777, 0o770, 0o2770, 0o666]);
    }
    let ids = select(profile.ids.clone());
    let entry = (proptest::bool::ANY, ids.clone(), 0..8u16)
        .prop_map(|(group, id, perm)| AclEntry { group, id, perm });
    let acl = prop_oneof![
        entry.clone().prop_map(Decoration::AccessAcl),
        entry.prop_map(Decoration::DefaultAcl),
    ];
    let value = select(vec![b"".to_vec(), b"1".to_vec(), b"value".to_vec()]);
    let xattr = (select(xattr_names(profile)), value).prop_map(|(name, value)| match name {
        "security.capability" => Decoration::Xattr(name, capability()),
        _ => Decoration::Xattr(name, value),
    });
    let one = prop_oneof![
        6 => select(modes).prop_map(Decoration::Mode),
        3 => (ids.clone(), ids).prop_map(|(u, g)| Decoration::Owner(u, g)),
        3 => (-1000..1_500_000_000i64, 0..1_000_000_000u32).prop_map(|(s, n)| Decoration::Mtime(s, n)),
        5 => xattr,
        2 * u32::from(profile.acls) => acl,
    ];
    // An access list must agree with the final mode, so it is applied last.
    let least = usize::from(profile.callers);
    vec(one, least..3 + least)
        .prop_map(|mut all| {
            all.sort_by_key(|d| matches!(d, Decoration::AccessAcl(_)));
            all
        })
        .boxed()
}

/// `cap_net_raw=ep` as the kernel stores it (version 2).
fn capability() -> Vec<u8> {
    [0x0200_0001u32, 1 << 13, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn xattr_names(profile: &Profile) -> Vec<&'static str> {
    let mut names = vec!["user.a", "user.a", "user.a", "user.b"];
    match profile.namespace {
        XattrNamespace::Trusted => names.extend(["user.overlay.opaque", "user.overlay.x"]),
        XattrNamespace::User => names.extend(["user.overlay.overlay.x", "user.overlayxxx"]),
    }
    if profile.privileged {
        names.extend([
            "trusted.t",
            "security.selfmade",
            "security.capability",
            "trusted.overlayxxx",
        ]);
        if profile.namespace == XattrNamespace::Trusted {
            names.extend([
                "trusted.overlay.overlay.x",
                "trusted.overlay.overlay.opaque",
            ]);
        }
    }
    names
}
