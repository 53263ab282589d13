//! Lookup, listing and names.

use std::sync::Arc;

use super::{Factory, Fixture, fails, listed, name, new_node};
use crate::backend::{At, Entry, NewKind, NodeRef, RemoveKind, RenameHow};
use crate::errno::Errno;
use crate::meta::FileType;

/// The root is an empty directory.
pub fn root_is_a_directory(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    assert!(
        f.root.metadata().unwrap().is_dir(),
        "the root is a directory"
    );
    assert_eq!(f.root.list().unwrap(), [], "a new backend is empty");
    let again = f.subject.backend.root().unwrap();
    assert_eq!(
        again.metadata().unwrap().ino,
        f.root.metadata().unwrap().ino,
        "the root is always the same node"
    );
}

/// A name that is not there is `None`, not an error.
pub fn absent_names_are_none(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.assert_absent(&f.root, "nothing");
    let sub = f.dir(&f.root, "sub");
    f.assert_absent(&sub, "nothing");
}

/// A lookup tells the attributes that the node has.
pub fn lookup_tells_the_attributes(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.file(&f.root, "file", b"12345");
    for (n, made, file_type) in f.one_of_each(&f.root) {
        let (node, meta) = f.node(&f.root, n);
        assert_eq!(meta.file_type, file_type, "{n}: type");
        assert_eq!(meta, node.metadata().unwrap(), "{n}: lookup and metadata");
        assert_eq!(meta, made.metadata().unwrap(), "{n}: what create returned");
    }
    let (_, meta) = f.node(&f.root, "file");
    assert_eq!((meta.size, meta.nlink), (5, 1));
    let (_, meta) = f.node(&f.root, "a-symlink");
    assert_eq!(
        meta.size, 7,
        "the size of a symlink is the length of its target"
    );
}

/// `lookup` and `list` of anything else fail with `ENOTDIR`.
pub fn directory_methods_need_a_directory(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, node, file_type) in f.one_of_each(&f.root) {
        if file_type != FileType::Directory {
            fails(
                node.lookup(&name("x")),
                Errno::ENOTDIR,
                &format!("lookup in {n}"),
            );
            fails(node.list(), Errno::ENOTDIR, &format!("list of {n}"));
        }
    }
}

/// A listing has every name once, and neither `.` nor `..`.
pub fn listing_has_each_name_once(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let mut expected: Vec<_> = f
        .one_of_each(&f.root)
        .iter()
        .map(|(n, ..)| name(n))
        .collect();
    expected.sort();
    assert_eq!(listed(&f.root), expected);
}

/// What a listing tells about a name is what a lookup tells.
pub fn listing_and_lookup_agree(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.one_of_each(&f.root);
    for entry in f.root.list().unwrap() {
        let Some(Entry::Node(_, meta)) = f.root.lookup(&entry.name).unwrap() else {
            panic!("{} is listed and not found", entry.name);
        };
        if let Some(told) = entry.file_type {
            assert_eq!(told, meta.file_type, "type of {}", entry.name);
        }
        assert_eq!(entry.ino, meta.ino, "inode number of {}", entry.name);
    }
}

/// Any 1 to 255 bytes without `/` and NUL are a name for every operation.
pub fn odd_names_work_everywhere(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let sub = f.dir(&f.root, "sub");
    let names: [&[u8]; 11] = [
        b"x",
        &[b'n'; 255],
        &[0xff; 255],
        b"new\nline",
        b"\x01",
        b" ",
        b"...",
        b"-rf",
        b".wh.x",
        b"\xc3\x28",
        b"back\\slash",
    ];
    for bytes in names {
        let n = name(bytes);
        let at = At::new(&f.root, &n);
        let node = f.up().create(at, &new_node(NewKind::File, 0o600)).unwrap();
        assert!(listed(&f.root).contains(&n), "{n} is listed");
        let moved = At::new(&sub, &n);
        f.up().rename(at, moved, RenameHow::NoReplace).unwrap();
        assert_eq!(listed(&sub), std::slice::from_ref(&n), "{n} was moved");
        let Some(Entry::Node(found, _)) = sub.lookup(&n).unwrap() else {
            panic!("{n} is not found");
        };
        assert_eq!(found.metadata().unwrap().ino, node.metadata().unwrap().ino);
        f.up().remove(moved, RemoveKind::NonDirectory).unwrap();
        assert!(sub.lookup(&n).unwrap().is_none(), "{n} was removed");
    }
}

/// Names that look alike are different.
pub fn names_differ_by_bytes(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let names = ["a", "A", "\u{e9}", "e\u{301}", "a ", "a."];
    for n in names {
        f.file(&f.root, n, n.as_bytes());
    }
    for n in names {
        assert_eq!(super::content(&f.node(&f.root, n).0), n.as_bytes());
    }
}

/// A listing does not end early.
pub fn many_entries_are_listed(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let mut expected = Vec::new();
    for i in 0..700 {
        let n = format!("entry-with-a-longer-name-to-fill-buffers-{i:05}");
        f.empty(&f.root, &n);
        expected.push(name(n));
    }
    assert_eq!(listed(&f.root), expected);
}

/// Nodes are addressed by handle and name, so no path is ever too long.
pub fn depth_is_not_limited_by_path_length(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let long = "d".repeat(255);
    let mut dirs: Vec<NodeRef> = vec![Arc::clone(&f.root)];
    for _ in 0..40 {
        let next = f.dir(dirs.last().unwrap(), &long);
        dirs.push(next);
    }
    let deepest = dirs.last().unwrap();
    f.file(deepest, "file", b"deep");
    assert_eq!(super::content(&f.node(deepest, "file").0), b"deep");
    assert_eq!(listed(deepest), [name("file")]);
    // Leave a tree that ordinary tools can remove.
    f.up()
        .remove(At::new(deepest, &name("file")), RemoveKind::NonDirectory)
        .unwrap();
    dirs.pop();
    while let Some(dir) = dirs.pop() {
        f.up()
            .remove(At::new(&dir, &name(&long)), RemoveKind::Directory)
            .unwrap();
    }
}

/// Capabilities and identity stay; two backends made one after the other are told apart or share
/// a filesystem, and then they share its namespace.
pub fn identity_does_not_change(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let (caps, identity) = (f.caps().clone(), f.subject.backend.identity().clone());
    f.one_of_each(&f.root);
    assert_eq!(*f.caps(), caps);
    assert_eq!(*f.subject.backend.identity(), identity);
    assert!(
        !f.subject.backend.label().is_empty(),
        "a label tells people something"
    );
    let other = Fixture::new(factory);
    assert_eq!(
        other.subject.backend.identity().namespace,
        identity.namespace
    );
}

/// `statfs` gives usable numbers.
pub fn statfs_answers(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let numbers = f.subject.backend.statfs().unwrap();
    assert!(numbers.block_size > 0, "blocks have a size");
    assert!(
        numbers.blocks >= numbers.blocks_free,
        "free blocks are some of all"
    );
    assert!(numbers.name_bytes_max >= 255, "the suite's names fit");
}

/// A backend never resolves a symlink.
pub fn symlinks_are_not_followed(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.dir(&f.root, "target");
    let link = f.symlink(&f.root, "link", "target");
    assert!(f.node(&f.root, "link").1.is_symlink());
    fails(
        link.lookup(&name("x")),
        Errno::ENOTDIR,
        "lookup through a symlink",
    );
    fails(link.list(), Errno::ENOTDIR, "list through a symlink");
    let made = f
        .up()
        .create(At::new(&link, &name("x")), &new_node(NewKind::File, 0o600));
    fails(made, Errno::ENOTDIR, "create through a symlink");
}
