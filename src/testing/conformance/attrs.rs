//! Mode, owner and times.

use super::{Factory, Fixture, fails, name};
use crate::backend::{At, AttrKey, NodeRef, RemoveKind, XattrMode};
use crate::errno::Errno;
use crate::meta::{FileType, SetAttr, SetTime, Timestamp};
use crate::xattr_name::XattrName;

impl Fixture {
    #[track_caller]
    fn set(&self, node: &NodeRef, attr: &SetAttr) {
        self.up()
            .set_attr(node, attr)
            .unwrap_or_else(|e| panic!("{attr:?}: {e}"));
    }
}

/// A mode is set exactly, on every type but symlinks.
pub fn modes_are_set(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, node, file_type) in f.one_of_each(&f.root) {
        if file_type == FileType::Symlink {
            continue;
        }
        for mode in [0, 0o777, 0o1640, 0o4711, 0o2755, 0o7777, 0o444] {
            f.set(&node, &SetAttr::mode(mode));
            assert_eq!(node.metadata().unwrap().mode, mode, "{n}");
        }
    }
}

/// Times are kept to the nanosecond, on every type.
pub fn times_are_exact(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let (a, m) = (
        Timestamp::new(1_234_567_890, 1),
        Timestamp::new(2_000_000_000, 999_999_999),
    );
    for (n, node, _) in f.one_of_each(&f.root) {
        f.set(&node, &SetAttr::times(SetTime::At(a), SetTime::At(m)));
        let meta = node.metadata().unwrap();
        assert_eq!((meta.atime, meta.mtime), (a, m), "{n}");
    }
}

/// Times before the epoch count forwards within their second.
pub fn times_before_1970_are_kept(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "file");
    let t = Timestamp::new(-1_000_000, 250_000_000);
    f.set(&node, &SetAttr::times(SetTime::At(t), SetTime::At(t)));
    let meta = node.metadata().unwrap();
    assert_eq!((meta.atime, meta.mtime), (t, t));
}

/// Each time can be set alone.
pub fn omitted_times_stay(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.dir(&f.root, "dir");
    let (a, m) = (Timestamp::new(1000, 1), Timestamp::new(2000, 2));
    f.set(&node, &SetAttr::times(SetTime::At(a), SetTime::At(a)));
    f.set(&node, &SetAttr::times(SetTime::Omit, SetTime::At(m)));
    let meta = node.metadata().unwrap();
    assert_eq!((meta.atime, meta.mtime), (a, m));
    f.set(&node, &SetAttr::times(SetTime::At(m), SetTime::Omit));
    assert_eq!(node.metadata().unwrap().atime, m);
    f.set(&node, &SetAttr::mode(0o700));
    let meta = node.metadata().unwrap();
    assert_eq!((meta.atime, meta.mtime), (m, m), "a chmod leaves both");
}

/// `Now` is the clock by which new nodes get their times.
pub fn now_is_now(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "file");
    let born = node.metadata().unwrap().mtime;
    let old = SetTime::At(Timestamp::new(1000, 1));
    f.set(&node, &SetAttr::times(old, old));
    f.set(&node, &SetAttr::times(SetTime::Now, SetTime::Now));
    let meta = node.metadata().unwrap();
    assert!(
        meta.mtime >= born && meta.atime >= born,
        "{} >= {born}",
        meta.mtime
    );
}

/// Owner and group are set, together and alone, on every type.
pub fn owners_are_changed(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().ownership, "ownership") {
        return;
    }
    for (n, node, _) in f.one_of_each(&f.root) {
        let owner = || {
            let meta = node.metadata().unwrap();
            (meta.uid, meta.gid)
        };
        f.set(&node, &SetAttr::owner(Some(1), Some(2)));
        assert_eq!(owner(), (1, 2), "{n}");
        f.set(&node, &SetAttr::owner(Some(70_000), None));
        assert_eq!(owner(), (70_000, 2), "{n}");
        f.set(&node, &SetAttr::owner(None, Some(4_000_000_000)));
        assert_eq!(owner(), (70_000, 4_000_000_000), "{n}");
    }
}

/// A change of owner does not take bits from the mode that is set with it, and times come last.
pub fn owner_comes_before_mode(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"x");
    let t = Timestamp::new(77, 7);
    let owner = f.caps().ownership.then_some(1234);
    let attr = SetAttr {
        mode: Some(0o6755),
        uid: owner,
        gid: owner,
        atime: SetTime::At(t),
        mtime: SetTime::At(t),
    };
    f.set(&node, &attr);
    let meta = node.metadata().unwrap();
    assert_eq!((meta.mode, meta.mtime, meta.atime), (0o6755, t, t));
    if let Some(owner) = owner {
        assert_eq!((meta.uid, meta.gid), (owner, owner));
    }
    assert_eq!(meta.size, 1);
}

/// A change of owner, be it to the same, takes a program's capability away; other changes do not.
pub fn owner_takes_the_capability(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().ownership, "owners") || f.lacks(f.caps().xattrs, "extended attributes") {
        return;
    }
    let capability = XattrName::new("security.capability").unwrap();
    // Version 2, `cap_net_raw+ep`.
    let value = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let node = f.file(&f.root, "file", b"x");
    let (uid, mode) = (node.metadata().unwrap().uid, XattrMode::Set);
    let key = AttrKey::Raw(&capability);
    match f.up().set_xattr(&node, key, Some(value), mode) {
        Err(e) if e.errno() == Errno::EPERM => {
            println!("skipped: the backend may not set capabilities");
            return;
        }
        set => set.unwrap(),
    }
    f.set(&node, &SetAttr::mode(0o755));
    f.set(&node, &SetAttr::times(SetTime::Now, SetTime::Now));
    assert!(node.xattr(&capability).unwrap().is_some());
    f.set(&node, &SetAttr::owner(Some(uid), None));
    assert_eq!(node.xattr(&capability).unwrap(), None);
}

/// Attributes of a symlink are its own.
pub fn symlinks_have_times_and_owners(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let target = f.empty(&f.root, "target");
    let before = target.metadata().unwrap();
    let link = f.symlink(&f.root, "link", "target");
    let t = Timestamp::new(5, 6);
    f.set(&link, &SetAttr::times(SetTime::At(t), SetTime::At(t)));
    assert_eq!(link.metadata().unwrap().mtime, t);
    if f.caps().ownership {
        f.set(&link, &SetAttr::owner(Some(9), Some(9)));
        assert_eq!(link.metadata().unwrap().uid, 9);
    }
    assert_eq!(
        target.metadata().unwrap(),
        before,
        "the target is untouched"
    );
    assert_eq!(link.read_link().unwrap(), b"target");
}

/// The mode of a symlink is `EOPNOTSUPP`, and then nothing else is set either.
pub fn symlinks_have_no_mode(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let target = f.make(&f.root, "target", crate::backend::NewKind::File, 0o644);
    let link = f.symlink(&f.root, "link", "target");
    let before = link.metadata().unwrap();
    let attr = SetAttr {
        mtime: SetTime::At(Timestamp::new(5, 6)),
        ..SetAttr::mode(0o600)
    };
    fails(
        f.up().set_attr(&link, &attr),
        Errno::EOPNOTSUPP,
        "chmod of a symlink",
    );
    assert_eq!(
        link.metadata().unwrap().mtime,
        before.mtime,
        "all or nothing"
    );
    assert_eq!(target.metadata().unwrap().mode, 0o644);
}

/// Setting nothing succeeds and changes nothing.
pub fn empty_changes_do_nothing(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, node, _) in f.one_of_each(&f.root) {
        let before = node.metadata().unwrap();
        f.set(&node, &SetAttr::default());
        assert_eq!(node.metadata().unwrap(), before, "{n}");
    }
}

/// Attributes of removed nodes can be set.
pub fn removed_nodes_are_changed(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let (file, dir) = (f.empty(&f.root, "file"), f.dir(&f.root, "dir"));
    f.up()
        .remove(At::new(&f.root, &name("file")), RemoveKind::NonDirectory)
        .unwrap();
    f.up()
        .remove(At::new(&f.root, &name("dir")), RemoveKind::Directory)
        .unwrap();
    let t = Timestamp::new(3, 4);
    for node in [file, dir] {
        f.set(&node, &SetAttr::mode(0o700));
        f.set(&node, &SetAttr::times(SetTime::Omit, SetTime::At(t)));
        let meta = node.metadata().unwrap();
        assert_eq!((meta.mode, meta.mtime), (0o700, t));
    }
}
