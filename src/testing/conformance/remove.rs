//! Removing names and giving more of them.

use super::{Factory, Fixture, content, fails, listed, name, new_node, write_all};
use crate::backend::{Access, At, NewKind, RemoveKind};
use crate::errno::Errno;
use crate::meta::FileType;

/// Directories go as directories, the rest as the rest.
pub fn removal_checks_the_type(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, _, file_type) in f.one_of_each(&f.root) {
        let n = name(n);
        let at = At::new(&f.root, &n);
        if file_type == FileType::Directory {
            fails(
                f.up().remove(at, RemoveKind::NonDirectory),
                Errno::EISDIR,
                "unlink of a directory",
            );
            f.up().remove(at, RemoveKind::Directory).unwrap();
        } else {
            let what = format!("rmdir of {n}");
            fails(
                f.up().remove(at, RemoveKind::Directory),
                Errno::ENOTDIR,
                &what,
            );
            f.up().remove(at, RemoveKind::NonDirectory).unwrap();
        }
        assert!(f.root.lookup(&n).unwrap().is_none(), "{n} is gone");
    }
    assert_eq!(listed(&f.root), []);
}

/// What is not there cannot be removed.
pub fn absent_names_are_enoent(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let n = name("x");
    for kind in [RemoveKind::NonDirectory, RemoveKind::Directory] {
        fails(
            f.up().remove(At::new(&f.root, &n), kind),
            Errno::ENOENT,
            "remove of nothing",
        );
    }
}

/// A directory with anything in it stays.
pub fn full_directories_stay(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let dir = f.dir(&f.root, "dir");
    f.empty(&dir, "file");
    let n = name("dir");
    let removed = f.up().remove(At::new(&f.root, &n), RemoveKind::Directory);
    fails(removed, Errno::ENOTEMPTY, "rmdir of a full directory");
    assert_eq!(listed(&dir), [name("file")]);
}

/// Handles to a removed file read and write it, and open it again.
pub fn removed_files_stay_usable(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"content");
    let open = node.open(Access::ReadWrite).unwrap();
    f.up()
        .remove(At::new(&f.root, &name("file")), RemoveKind::NonDirectory)
        .unwrap();
    let meta = node.metadata().unwrap();
    assert_eq!((meta.nlink, meta.size), (0, 7));
    assert_eq!(content(&node), b"content");
    write_all(&*open, b"C", 0);
    assert_eq!(content(&node), b"Content");
    drop(node);
    assert_eq!(
        open.metadata().unwrap().size,
        7,
        "an open file alone keeps the node"
    );
    let link = f.symlink(&f.root, "link", "target");
    f.up()
        .remove(At::new(&f.root, &name("link")), RemoveKind::NonDirectory)
        .unwrap();
    assert_eq!(link.read_link().unwrap(), b"target", "a removed symlink");
}

/// A handle to a removed directory shows an empty one.
pub fn removed_directories_are_empty(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let dir = f.dir(&f.root, "dir");
    f.up()
        .remove(At::new(&f.root, &name("dir")), RemoveKind::Directory)
        .unwrap();
    assert!(dir.metadata().unwrap().is_dir());
    assert_eq!(dir.list().unwrap(), []);
    f.assert_absent(&dir, "x");
}

/// A new node under a name that was freed is not the old one.
pub fn reused_names_are_other_nodes(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let old = f.file(&f.root, "n", b"old");
    f.up()
        .remove(At::new(&f.root, &name("n")), RemoveKind::NonDirectory)
        .unwrap();
    let new = f.file(&f.root, "n", b"new");
    assert_eq!(
        (content(&old), content(&new)),
        (b"old".to_vec(), b"new".to_vec())
    );
    assert_ne!(old.metadata().unwrap().ino, new.metadata().unwrap().ino);
    assert_eq!(
        (old.metadata().unwrap().nlink, new.metadata().unwrap().nlink),
        (0, 1)
    );
}

/// All names of a node are equal, and it lives as long as one is left.
pub fn links_share_the_node(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().hard_links, "hard links") {
        return;
    }
    let node = f.file(&f.root, "one", b"data");
    let sub = f.dir(&f.root, "sub");
    f.up().link(&node, At::new(&sub, &name("two"))).unwrap();
    let (two, meta) = f.node(&sub, "two");
    assert_eq!(meta, node.metadata().unwrap());
    assert_eq!(meta.nlink, 2);
    write_all(&*two.open(Access::Write).unwrap(), b"D", 0);
    assert_eq!(content(&node), b"Data");
    f.up()
        .remove(At::new(&f.root, &name("one")), RemoveKind::NonDirectory)
        .unwrap();
    assert_eq!(two.metadata().unwrap().nlink, 1);
    assert_eq!(content(&node), b"Data");
    f.up()
        .link(&node, At::new(&f.root, &name("three")))
        .unwrap();
    assert_eq!(two.metadata().unwrap().nlink, 2);
    f.assert_is(&f.root, "three", &two);
}

/// No link over a name that is taken, and none to a directory.
pub fn links_are_refused(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().hard_links, "hard links") {
        return;
    }
    let node = f.empty(&f.root, "file");
    let dir = f.dir(&f.root, "dir");
    let mut taken = vec!["file", "dir"];
    if f.caps().whiteouts {
        f.whiteout(&f.root, "gone");
        taken.push("gone");
    }
    for n in taken {
        let linked = f.up().link(&node, At::new(&f.root, &name(n)));
        fails(linked, Errno::EEXIST, &format!("link over {n}"));
    }
    let linked = f.up().link(&dir, At::new(&f.root, &name("dir2")));
    fails(linked, Errno::EPERM, "link of a directory");
    assert_eq!(
        node.metadata().unwrap().nlink,
        1,
        "a failed link counts nothing"
    );
}

/// A node whose names were removed stays without.
pub fn removed_nodes_are_not_linked(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().hard_links, "hard links") {
        return;
    }
    let node = f.empty(&f.root, "file");
    f.up()
        .remove(At::new(&f.root, &name("file")), RemoveKind::NonDirectory)
        .unwrap();
    let linked = f.up().link(&node, At::new(&f.root, &name("again")));
    fails(linked, Errno::ENOENT, "link of a removed node");
    f.assert_absent(&f.root, "again");
}

/// A symlink gets a second name itself; special files do too.
pub fn symlinks_are_linked_themselves(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().hard_links, "hard links") {
        return;
    }
    let target = f.empty(&f.root, "target");
    let link = f.symlink(&f.root, "link", "target");
    f.up()
        .link(&link, At::new(&f.root, &name("link2")))
        .unwrap();
    let (second, meta) = f.node(&f.root, "link2");
    assert!(meta.is_symlink());
    assert_eq!(second.read_link().unwrap(), b"target");
    assert_eq!(target.metadata().unwrap().nlink, 1);
    let fifo = f.make(&f.root, "fifo", NewKind::Fifo, 0o600);
    f.up()
        .link(&fifo, At::new(&f.root, &name("fifo2")))
        .unwrap();
    f.assert_is(&f.root, "fifo2", &fifo);
}

/// An unnamed file has content, attributes and a mode, and gets a name by `link`.
pub fn tmpfiles_get_names(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let new = new_node(NewKind::File, 0o6640);
    if f.lacks(f.caps().tmpfile, "tmpfile") {
        fails(f.up().tmpfile(&f.root, &new), Errno::EOPNOTSUPP, "tmpfile");
        return;
    }
    let node = f.up().tmpfile(&f.root, &new).unwrap();
    assert_eq!(listed(&f.root), []);
    let meta = node.metadata().unwrap();
    assert_eq!((meta.nlink, meta.mode, meta.size), (0, 0o6640, 0));
    write_all(&*node.open(Access::Write).unwrap(), b"data", 0);
    f.up()
        .link(&node, At::new(&f.root, &name("named")))
        .unwrap();
    f.assert_is(&f.root, "named", &node);
    assert_eq!(node.metadata().unwrap().nlink, 1);
    assert_eq!(content(&f.node(&f.root, "named").0), b"data");
    f.up()
        .remove(At::new(&f.root, &name("named")), RemoveKind::NonDirectory)
        .unwrap();
}

/// Only regular files can be unnamed.
pub fn tmpfiles_are_files(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().tmpfile, "tmpfile") {
        return;
    }
    for kind in [
        NewKind::Directory,
        NewKind::Fifo,
        NewKind::Symlink(b"t".to_vec()),
    ] {
        let made = f.up().tmpfile(&f.root, &new_node(kind.clone(), 0o600));
        fails(made, Errno::EINVAL, &format!("tmpfile of {kind:?}"));
    }
}

/// What was opened before a file got its name is that file, open as it was asked for.
pub fn tmpfiles_open_before_they_have_a_name(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().tmpfile, "tmpfile") {
        return;
    }
    let new = new_node(NewKind::File, 0o644);
    let node = f.up().tmpfile(&f.root, &new).unwrap();
    let opened = f.up().open_unnamed(&node, Access::Write).unwrap();
    let named = name("named");
    f.up().link(&node, At::new(&f.root, &named)).unwrap();
    let again = f.up().open_unnamed(&node, Access::Write).unwrap();
    assert!(again.is_none(), "it has a name");
    if let Some(file) = opened {
        write_all(&*file, b"data", 0);
        fails(file.read_at(&mut [0], 0), Errno::EBADF, "reading");
        assert_eq!(content(&f.node(&f.root, "named").0), b"data");
    }
    let (file, _) = f.node(&f.root, "named");
    let opened = f.up().open_unnamed(&file, Access::Read).unwrap();
    assert!(opened.is_none(), "found by name");
}
