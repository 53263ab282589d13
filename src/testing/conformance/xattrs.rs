//! Extended attributes, raw and of the overlay.

use super::{Factory, Fixture, fails, name};
use crate::acl;
use crate::backend::{At, AttrKey, NodeRef, RemoveKind, RenameHow, Result, XattrMode};
use crate::errno::Errno;
use crate::meta::{FileType, SetAttr};
use crate::xattr_name::{OverlayAttr, XattrName};

fn attr(n: &str) -> XattrName {
    XattrName::new(n).unwrap()
}

impl Fixture {
    fn put(&self, node: &NodeRef, n: &str, value: &[u8], mode: XattrMode) -> Result<()> {
        self.up()
            .set_xattr(node, AttrKey::Raw(&attr(n)), Some(value), mode)
    }

    fn unset(&self, node: &NodeRef, n: &str) -> Result<()> {
        self.up()
            .set_xattr(node, AttrKey::Raw(&attr(n)), None, XattrMode::Set)
    }
}

/// The value of an attribute.
#[track_caller]
fn get(node: &NodeRef, n: &str) -> Option<Vec<u8>> {
    node.xattr(&attr(n)).unwrap()
}

/// Names of the attributes in `user.`; others may be the system's own.
#[track_caller]
fn names(node: &NodeRef) -> Vec<XattrName> {
    let mut names = node.xattrs().unwrap();
    names.retain(|n| n.as_bytes().starts_with(b"user."));
    names.sort();
    names
}

/// A fixture with extended attributes; `None`, printed, if the backend has none.
fn with_xattrs(factory: &dyn Factory) -> Option<Fixture> {
    let f = Fixture::new(factory);
    if !f.lacks(f.caps().xattrs, "extended attributes") {
        return Some(f);
    }
    let node = f.empty(&f.root, "file");
    assert_eq!(get(&node, "user.a"), None);
    assert_eq!(node.xattrs().unwrap(), []);
    fails(
        f.put(&node, "user.a", b"x", XattrMode::Set),
        Errno::EOPNOTSUPP,
        "set",
    );
    None
}

/// Attributes are set, read, listed, changed and removed.
pub fn attributes_come_and_go(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    for node in [f.empty(&f.root, "file"), f.dir(&f.root, "dir")] {
        assert_eq!(names(&node), []);
        f.put(&node, "user.a", b"1", XattrMode::Set).unwrap();
        f.put(&node, "user.b", b"2", XattrMode::Set).unwrap();
        f.put(&node, "user.a", b"other", XattrMode::Set).unwrap();
        assert_eq!(names(&node), [attr("user.a"), attr("user.b")]);
        assert_eq!(get(&node, "user.a").as_deref(), Some(&b"other"[..]));
        f.unset(&node, "user.a").unwrap();
        assert_eq!(names(&node), [attr("user.b")]);
        assert_eq!(get(&node, "user.a"), None);
    }
}

/// An attribute that is not set is `None`; removing it is `ENODATA`.
pub fn unset_attributes_are_none(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    for (n, node, file_type) in f.one_of_each(&f.root) {
        assert_eq!(names(&node), [], "{n}");
        if matches!(file_type, FileType::Regular | FileType::Directory) {
            assert_eq!(get(&node, "user.a"), None, "{n}");
            fails(
                f.unset(&node, "user.a"),
                Errno::ENODATA,
                &format!("remove from {n}"),
            );
        }
    }
}

/// `Create` wants it absent (`EEXIST`), `Replace` present (`ENODATA`).
pub fn create_and_replace_are_checked(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    let node = f.empty(&f.root, "file");
    let replaced = f.put(&node, "user.a", b"1", XattrMode::Replace);
    fails(replaced, Errno::ENODATA, "Replace of nothing");
    assert_eq!(get(&node, "user.a"), None);
    f.put(&node, "user.a", b"1", XattrMode::Create).unwrap();
    let created = f.put(&node, "user.a", b"2", XattrMode::Create);
    fails(created, Errno::EEXIST, "Create over something");
    assert_eq!(get(&node, "user.a").as_deref(), Some(&b"1"[..]));
    f.put(&node, "user.a", b"3", XattrMode::Replace).unwrap();
    assert_eq!(get(&node, "user.a").as_deref(), Some(&b"3"[..]));
}

/// Names and values are bytes; a value may be empty, which is not unset.
pub fn values_are_bytes(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    let node = f.empty(&f.root, "file");
    for value in [&b""[..], b"\0", b"\xff\0\n", &[7; 1000]] {
        f.put(&node, "user.v", value, XattrMode::Set).unwrap();
        assert_eq!(get(&node, "user.v").as_deref(), Some(value));
    }
    let mut odd = b"user.\xff\n ".to_vec();
    odd.resize(255, b'x');
    let odd = XattrName::new(odd).unwrap();
    f.up()
        .set_xattr(&node, AttrKey::Raw(&odd), Some(b"1"), XattrMode::Create)
        .unwrap();
    assert_eq!(node.xattr(&odd).unwrap().as_deref(), Some(&b"1"[..]));
    assert!(node.xattrs().unwrap().contains(&odd));
}

/// More than 64 KiB is `E2BIG`.
pub fn values_have_a_limit(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    let node = f.empty(&f.root, "file");
    let set = f.put(&node, "user.v", &[0; 65_537], XattrMode::Set);
    fails(set, Errno::E2BIG, "a value of 65537 bytes");
    assert_eq!(get(&node, "user.v"), None);
}

/// `user.` attributes are only for regular files and directories: `EPERM`.
pub fn user_attributes_need_files_or_directories(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    for (n, node, file_type) in f.one_of_each(&f.root) {
        let set = f.put(&node, "user.a", b"1", XattrMode::Set);
        if matches!(file_type, FileType::Regular | FileType::Directory) {
            set.unwrap();
        } else {
            fails(set, Errno::EPERM, &format!("user attribute of {n}"));
        }
    }
}

/// A name in no namespace that there is is `EOPNOTSUPP`.
pub fn unknown_namespaces_are_refused(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    let node = f.empty(&f.root, "file");
    for n in ["foo.bar", "user", "x", "system.unknown"] {
        fails(f.put(&node, n, b"1", XattrMode::Set), Errno::EOPNOTSUPP, n);
    }
}

/// Overlay attributes hold any bytes, and are told apart.
pub fn overlay_attributes_are_raw(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.dir(&f.root, "dir");
    for a in OverlayAttr::ALL {
        assert_eq!(node.overlay_attr(a).unwrap(), None, "{a}");
    }
    if f.lacks(f.caps().overlay_attrs, "overlay attributes") {
        return;
    }
    for a in OverlayAttr::ALL {
        let value = [&b"\0\xff"[..], a.suffix().as_bytes()].concat();
        f.up()
            .set_xattr(&node, AttrKey::Overlay(a), Some(&value), XattrMode::Set)
            .unwrap();
    }
    let raw = node.xattrs().unwrap();
    let namespace = f.subject.backend.identity().namespace;
    for a in OverlayAttr::ALL {
        let value = [&b"\0\xff"[..], a.suffix().as_bytes()].concat();
        assert_eq!(node.overlay_attr(a).unwrap(), Some(value.clone()), "{a}");
        let full = a.full_name(namespace);
        if raw.contains(&full) {
            assert_eq!(node.xattr(&full).unwrap(), Some(value), "{full}");
        }
    }
}

/// Overlay attributes obey [`XattrMode`] and are removed.
pub fn overlay_attributes_are_checked(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().overlay_attrs, "overlay attributes") {
        return;
    }
    let node = f.dir(&f.root, "dir");
    let key = AttrKey::Overlay(OverlayAttr::Opaque);
    let set = |value: Option<&[u8]>, mode| f.up().set_xattr(&node, key, value, mode);
    fails(
        set(None, XattrMode::Set),
        Errno::ENODATA,
        "remove of nothing",
    );
    fails(
        set(Some(b"y"), XattrMode::Replace),
        Errno::ENODATA,
        "Replace of nothing",
    );
    set(Some(b"y"), XattrMode::Create).unwrap();
    fails(
        set(Some(b"x"), XattrMode::Create),
        Errno::EEXIST,
        "Create over something",
    );
    assert_eq!(
        node.overlay_attr(OverlayAttr::Opaque).unwrap().as_deref(),
        Some(&b"y"[..])
    );
    set(None, XattrMode::Set).unwrap();
    assert_eq!(node.overlay_attr(OverlayAttr::Opaque).unwrap(), None);
}

/// Attributes belong to the node, not to a name.
pub fn attributes_stay_with_the_node(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    let node = f.empty(&f.root, "a");
    f.put(&node, "user.v", b"1", XattrMode::Set).unwrap();
    let (a, b) = (name("a"), name("b"));
    let to = At::new(&f.root, &b);
    f.up()
        .rename(At::new(&f.root, &a), to, RenameHow::NoReplace)
        .unwrap();
    assert_eq!(
        get(&f.node(&f.root, "b").0, "user.v").as_deref(),
        Some(&b"1"[..])
    );
    f.up().remove(to, RemoveKind::NonDirectory).unwrap();
    assert_eq!(get(&node, "user.v").as_deref(), Some(&b"1"[..]));
    f.put(&node, "user.w", b"2", XattrMode::Set).unwrap();
    assert_eq!(names(&node), [attr("user.v"), attr("user.w")]);
    assert_eq!(names(&f.empty(&f.root, "a")), []);
}

/// Access control lists and mode bits follow each other as on ext4.
pub fn access_lists_and_modes_agree(factory: &dyn Factory) {
    let Some(f) = with_xattrs(factory) else {
        return;
    };
    let list = |group: u16, mask: u16| {
        let entry = |tag, perm| acl::AclEntry { tag, perm };
        let entries = vec![
            entry(acl::Tag::UserObj, 6),
            entry(acl::Tag::User(1000), 7),
            entry(acl::Tag::GroupObj, group),
            entry(acl::Tag::Mask, mask),
            entry(acl::Tag::Other, 4),
        ];
        acl::Acl { entries }.to_bytes()
    };
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let node = f.make(&f.root, "file", crate::backend::NewKind::File, 0o600);
    match f.put(&node, access, &list(1, 5), XattrMode::Set) {
        Err(e) if e.errno() == Errno::EOPNOTSUPP => {
            println!("skipped: no access control lists here");
            return;
        }
        set => set.unwrap(),
    }
    assert_eq!(
        node.metadata().unwrap().mode,
        0o654,
        "the mode shows the mask"
    );
    f.up().set_attr(&node, &SetAttr::mode(0o622)).unwrap();
    let mut changed = acl::Acl::parse(&list(1, 2)).unwrap().unwrap();
    changed.chmod(0o622);
    assert_eq!(
        get(&node, access),
        Some(changed.to_bytes()),
        "chmod changes the list"
    );
    let minimal = acl::Acl {
        entries: vec![
            acl::AclEntry {
                tag: acl::Tag::UserObj,
                perm: 7,
            },
            acl::AclEntry {
                tag: acl::Tag::GroupObj,
                perm: 4,
            },
            acl::AclEntry {
                tag: acl::Tag::Other,
                perm: 1,
            },
        ],
    };
    f.put(&node, access, &minimal.to_bytes(), XattrMode::Set)
        .unwrap();
    assert_eq!(node.metadata().unwrap().mode, 0o741);
    assert_eq!(
        get(&node, access),
        None,
        "a list that the mode tells is not stored"
    );
    fails(
        f.put(&node, access, b"bad", XattrMode::Set),
        Errno::EINVAL,
        "a malformed list",
    );
    fails(
        f.put(&node, default, &list(1, 5), XattrMode::Set),
        Errno::EACCES,
        "default of a file",
    );
    let dir = f.dir(&f.root, "dir");
    f.put(&dir, default, &list(1, 5), XattrMode::Set).unwrap();
    assert_eq!(
        dir.metadata().unwrap().mode,
        0o755,
        "a default list is no access"
    );
    let child = f.make(&dir, "child", crate::backend::NewKind::File, 0o666);
    assert_eq!(get(&child, access), None, "create applies no default list");
    assert_eq!(child.metadata().unwrap().mode, 0o666);
    let sub = f.dir(&dir, "sub");
    assert_eq!(get(&sub, default), None, "nor hands it on");
    f.unset(&dir, default).unwrap();
    assert_eq!(get(&dir, default), None);
}
