//! File handles, and handles of nodes.

use std::sync::Arc;

use super::{Factory, Fixture, content, fails, name, new_node};
use crate::backend::{
    Access, At, AttrKey, FileHandle, NewKind, NodeRef, RemoveKind, RenameHow, SyncScope, XattrMode,
};
use crate::errno::Errno;
use crate::meta::SetAttr;
use crate::xattr_name::XattrName;

/// A fixture with file handles; `None`, printed, if the backend has none.
fn with_handles(factory: &dyn Factory) -> Option<Fixture> {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().file_handles, "file handles") {
        let handle = FileHandle {
            kind: 1,
            bytes: vec![0; 8],
        };
        assert!(f.subject.backend.by_handle(&handle).unwrap().is_none());
        return None;
    }
    Some(f)
}

#[track_caller]
fn handle(node: &NodeRef) -> FileHandle {
    node.file_handle()
        .unwrap()
        .expect("file handles are declared")
}

impl Fixture {
    fn by_handle(&self, handle: &FileHandle) -> Option<NodeRef> {
        self.subject.backend.by_handle(handle).unwrap()
    }
}

/// A handle finds its node, for every type.
pub fn handles_find_nodes(factory: &dyn Factory) {
    let Some(f) = with_handles(factory) else {
        return;
    };
    f.dir(&f.root, "x");
    for (n, node, _) in f.one_of_each(&f.root) {
        let found = f
            .by_handle(&handle(&node))
            .unwrap_or_else(|| panic!("{n} is not found"));
        assert_eq!(found.metadata().unwrap(), node.metadata().unwrap(), "{n}");
    }
    let root = f.by_handle(&handle(&f.root)).expect("the root is found");
    f.node(&root, "a-file");
    let file = f.file(&f.root, "file", b"data");
    assert_eq!(content(&f.by_handle(&handle(&file)).unwrap()), b"data");
}

/// A handle stays the same and finds the node wherever it went.
pub fn handles_survive_rename(factory: &dyn Factory) {
    let Some(f) = with_handles(factory) else {
        return;
    };
    let sub = f.dir(&f.root, "sub");
    let node = f.file(&f.root, "file", b"data");
    let before = handle(&node);
    let (from, to) = (name("file"), name("moved"));
    f.up()
        .rename(
            At::new(&f.root, &from),
            At::new(&sub, &to),
            RenameHow::Replace,
        )
        .unwrap();
    assert_eq!(handle(&node), before);
    drop(node);
    assert_eq!(content(&f.by_handle(&before).unwrap()), b"data");
}

/// All names of a node have one handle.
pub fn handles_of_links_are_equal(factory: &dyn Factory) {
    let Some(f) = with_handles(factory) else {
        return;
    };
    if f.lacks(f.caps().hard_links, "hard links") {
        return;
    }
    let node = f.empty(&f.root, "one");
    f.up().link(&node, At::new(&f.root, &name("two"))).unwrap();
    assert_eq!(handle(&node), handle(&f.node(&f.root, "two").0));
    f.up()
        .remove(At::new(&f.root, &name("one")), RemoveKind::NonDirectory)
        .unwrap();
    assert!(f.by_handle(&handle(&node)).is_some());
}

/// Two nodes never have the same handle, even one after the other under one name.
pub fn handles_of_others_differ(factory: &dyn Factory) {
    let Some(f) = with_handles(factory) else {
        return;
    };
    let mut handles = vec![handle(&f.root)];
    handles.extend(
        f.one_of_each(&f.root)
            .iter()
            .map(|(_, node, _)| handle(node)),
    );
    for _ in 0..5 {
        handles.push(handle(&f.empty(&f.root, "n")));
        f.up()
            .remove(At::new(&f.root, &name("n")), RemoveKind::NonDirectory)
            .unwrap();
    }
    for (i, a) in handles.iter().enumerate() {
        assert!(!handles[i + 1..].contains(a), "{a:?} is there twice");
    }
}

/// When the last name and the last handle are gone, so is the node.
pub fn handles_of_removed_nodes_find_nothing(factory: &dyn Factory) {
    let Some(f) = with_handles(factory) else {
        return;
    };
    for (n, node, file_type) in f.one_of_each(&f.root) {
        let old = handle(&node);
        drop(node);
        let kind = if file_type.is_dir() {
            RemoveKind::Directory
        } else {
            RemoveKind::NonDirectory
        };
        f.up().remove(At::new(&f.root, &name(n)), kind).unwrap();
        assert!(f.by_handle(&old).is_none(), "{n} is found though removed");
        f.empty(&f.root, n);
        assert!(
            f.by_handle(&old).is_none(),
            "the handle of {n} finds its successor"
        );
    }
}

/// Bytes that are no handle find nothing; that is no error.
pub fn unknown_handles_find_nothing(factory: &dyn Factory) {
    let Some(f) = with_handles(factory) else {
        return;
    };
    let good = handle(&f.empty(&f.root, "file"));
    let mut wrong = vec![
        FileHandle {
            kind: 0xfe,
            bytes: vec![0xee; 8],
        },
        FileHandle {
            kind: good.kind,
            bytes: vec![0xee; good.bytes.len()],
        },
    ];
    wrong.push(FileHandle {
        kind: good.kind,
        bytes: Vec::new(),
    });
    for handle in wrong {
        assert!(f.by_handle(&handle).is_none(), "{handle:?} finds something");
    }
}

/// A node keeps its identity through any rename, directories with what is in them.
pub fn nodes_survive_rename(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let (a, b) = (f.dir(&f.root, "a"), f.dir(&f.root, "b"));
    let file = f.file(&a, "file", b"data");
    let open = file.open(Access::ReadWrite).unwrap();
    let ino = file.metadata().unwrap().ino;
    for i in 0..6 {
        let (from, to) = if i % 2 == 0 {
            (&f.root, &b)
        } else {
            (&b, &f.root)
        };
        let n = name("a");
        f.up()
            .rename(At::new(from, &n), At::new(to, &n), RenameHow::NoReplace)
            .unwrap();
        f.assert_is(to, "a", &a);
        f.assert_is(&a, "file", &file);
        assert_eq!(file.metadata().unwrap().ino, ino);
        open.write_at(&[b'0' + i], 0).unwrap();
        assert_eq!(content(&file)[0], b'0' + i);
    }
}

/// A node of another backend is `EXDEV` everywhere.
pub fn foreign_nodes_are_exdev(factory: &dyn Factory) {
    let (f, other) = (Fixture::new(factory), Fixture::new(factory));
    let (own, foreign) = (f.empty(&f.root, "own"), other.empty(&other.root, "file"));
    let (n, x) = (name("own"), name("x"));
    let (here, there) = (At::new(&f.root, &x), At::new(&other.root, &x));
    let own_at = At::new(&f.root, &n);
    let file = new_node(NewKind::File, 0o600);
    fails(f.up().create(there, &file), Errno::EXDEV, "create");
    fails(
        f.up().remove(there, RemoveKind::NonDirectory),
        Errno::EXDEV,
        "remove",
    );
    fails(
        f.up().set_attr(&foreign, &SetAttr::mode(0)),
        Errno::EXDEV,
        "set_attr",
    );
    fails(f.up().sync(SyncScope::Node(&foreign)), Errno::EXDEV, "sync");
    for how in [RenameHow::NoReplace, RenameHow::Replace] {
        fails(
            f.up().rename(own_at, there, how),
            Errno::EXDEV,
            "rename away",
        );
        fails(f.up().rename(there, here, how), Errno::EXDEV, "rename here");
    }
    if f.caps().hard_links {
        fails(
            f.up().link(&foreign, here),
            Errno::EXDEV,
            "link of a foreign node",
        );
        fails(
            f.up().link(&own, there),
            Errno::EXDEV,
            "link to a foreign directory",
        );
    }
    if f.caps().xattrs {
        let key = XattrName::new("user.a").unwrap();
        let set = f
            .up()
            .set_xattr(&foreign, AttrKey::Raw(&key), Some(b"x"), XattrMode::Set);
        fails(set, Errno::EXDEV, "set_xattr");
    }
    if f.caps().tmpfile {
        fails(f.up().tmpfile(&other.root, &file), Errno::EXDEV, "tmpfile");
    }
    if f.caps().whiteouts {
        fails(f.up().whiteout(there), Errno::EXDEV, "whiteout");
    }
    assert!(!Arc::ptr_eq(&f.root, &other.root));
    other.assert_absent(&other.root, "x");
}
