//! The work directory and the index.

use super::{Factory, Fixture, content, listed, name};
use crate::backend::{At, RemoveKind, RenameHow};
use crate::errno::Errno;

/// The work directory is a directory, empty, and not in the tree.
pub fn work_is_empty_and_outside(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let work = f.up().work().unwrap();
    let meta = work.metadata().unwrap();
    assert!(meta.is_dir());
    assert_eq!(listed(&work), []);
    assert_eq!(listed(&f.root), []);
    let root = f.root.metadata().unwrap();
    assert_ne!(meta.ino, root.ino);
    assert_eq!(meta.dev, root.dev, "on the same filesystem");
    f.file(&work, "staged", b"x");
    assert_eq!(listed(&f.root), []);
    f.node(&f.up().work().unwrap(), "staged");
}

/// What is staged is published by a rename, and taken back by one.
pub fn work_moves_into_the_tree(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let work = f.up().work().unwrap();
    let (file, dir) = (f.file(&work, "file", b"x"), f.dir(&work, "dir"));
    f.file(&dir, "inside", b"y");
    for n in ["file", "dir"] {
        let n = name(n);
        let (from, to) = (At::new(&work, &n), At::new(&f.root, &n));
        f.up().rename(from, to, RenameHow::NoReplace).unwrap();
    }
    f.assert_is(&f.root, "file", &file);
    f.assert_is(&f.root, "dir", &dir);
    assert_eq!(listed(&work), []);
    assert_eq!(content(&f.node(&dir, "inside").0), b"y");
    if f.caps().exchange {
        let empty = f.dir(&work, "empty");
        let (from, to) = (name("empty"), name("dir"));
        let (from, to) = (At::new(&work, &from), At::new(&f.root, &to));
        f.up().rename(from, to, RenameHow::Exchange).unwrap();
        f.assert_is(&f.root, "dir", &empty);
        f.assert_is(&work, "empty", &dir);
    }
}

/// There is no index until it is asked for.
pub fn index_is_made_on_demand(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    assert!(f.up().index(false).unwrap().is_none(), "no index at first");
    let index = f.up().index(true).unwrap().expect("made");
    assert_eq!(listed(&index), []);
    let node = f.empty(&f.root, "file");
    if f.caps().hard_links {
        f.up().link(&node, At::new(&index, &name("entry"))).unwrap();
    } else {
        f.empty(&index, "entry");
    }
    for create in [false, true] {
        let again = f.up().index(create).unwrap().expect("there");
        assert_eq!(listed(&again), [name("entry")]);
    }
    assert_eq!(
        listed(&f.root),
        [name("file")],
        "the index is outside the tree"
    );
    let work = f.up().work().unwrap();
    assert_eq!(listed(&work), [], "and outside the work directory");
}

/// A backend with a tree and leftovers, opened again; `None`, printed, if it cannot be.
fn reopened(factory: &dyn Factory) -> Option<Fixture> {
    let f = Fixture::new(factory);
    let dir = f.dir(&f.root, "dir");
    let kept = f.file(&dir, "file", b"kept");
    let work = f.up().work().unwrap();
    let left = f.dir(&work, "left");
    let below = f.dir(&left, "below");
    f.file(&below, "file", b"leftover");
    f.file(&work, "file", b"leftover");
    if f.caps().whiteouts {
        f.whiteout(&work, "whiteout");
        f.whiteout(&dir, "gone");
    }
    if f.caps().hard_links {
        f.up().link(&kept, At::new(&below, &name("link"))).unwrap();
        let index = f.up().index(true).unwrap().unwrap();
        f.up().link(&kept, At::new(&index, &name("entry"))).unwrap();
    }
    let Fixture { subject, root } = f;
    drop((root, dir, kept, work, left, below));
    let again = factory.reopen(subject);
    if again.is_none() {
        println!("skipped: the factory cannot open a backend again");
    }
    again.map(Fixture::of)
}

/// Leftovers in the work directory are swept when the backend is opened.
pub fn work_is_empty_when_opened(factory: &dyn Factory) {
    let Some(f) = reopened(factory) else { return };
    assert_eq!(listed(&f.up().work().unwrap()), []);
}

/// The tree and the index are as they were.
pub fn content_survives_reopening(factory: &dyn Factory) {
    let Some(f) = reopened(factory) else { return };
    assert_eq!(listed(&f.root), [name("dir")]);
    let (dir, _) = f.node(&f.root, "dir");
    let (file, meta) = f.node(&dir, "file");
    assert_eq!(content(&file), b"kept");
    if f.caps().whiteouts {
        f.assert_whiteout(&dir, "gone");
    }
    if f.caps().hard_links {
        let index = f
            .up()
            .index(false)
            .unwrap()
            .expect("the index is still there");
        assert_eq!(listed(&index), [name("entry")]);
        assert_eq!(meta.nlink, 2, "the name in the work directory is gone");
    }
}

/// What lies in `incompat` in the work directory is not swept: it stays, or the backend is not opened.
pub fn marks_survive_reopening(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let work = f.up().work().unwrap();
    let marks = f.dir(&work, "incompat");
    let mark = f.dir(&marks, "volatile");
    f.file(&mark, "dirty", b"");
    f.file(&work, "left", b"leftover");
    let Fixture { subject, root } = f;
    drop((root, work, marks, mark));
    let again = match factory.try_reopen(subject) {
        Ok(Some(again)) => Fixture::of(again),
        Ok(None) => return println!("skipped: the factory cannot open a backend again"),
        Err(errno) => return assert_eq!(errno, Errno::EINVAL),
    };
    let work = again.up().work().unwrap();
    assert_eq!(listed(&work), [name("incompat")]);
    let (marks, _) = again.node(&work, "incompat");
    let (mark, _) = again.node(&marks, "volatile");
    assert_eq!(listed(&mark), [name("dirty")]);
    let nlink = work.metadata().unwrap().nlink;
    assert!([1, 3].contains(&nlink), "{nlink}");
    // Removed, it is gone for good, and an empty directory of marks is swept.
    for (dir, n, kind) in [
        (&mark, "dirty", RemoveKind::NonDirectory),
        (&marks, "volatile", RemoveKind::Directory),
    ] {
        again.up().remove(At::new(dir, &name(n)), kind).unwrap();
    }
    let Fixture { subject, root } = again;
    drop((root, work, marks, mark));
    let Some(again) = factory.reopen(subject) else {
        return;
    };
    assert_eq!(listed(&Fixture::of(again).up().work().unwrap()), []);
}
