//! A node stays the same object when it is renamed, replaced, removed.

use std::sync::Arc;

use layerstack::backend::{
    Access, At, Entry, LayerBackend, LayerFile, NewKind, RemoveKind, RenameHow, UpperBackend,
    WhiteoutForm,
};
use layerstack::{Errno, SetAttr, XattrName};

use crate::common::*;

#[test]
fn handles_follow_renames_of_themselves_and_their_parents() {
    let t = Upper::new();
    let root = t.root();
    let a = t.make(&root, "a", &dir());
    let b = t.make(&a, "b", &dir());
    let f = t.make(&b, "f", &file());
    let ino = f.metadata().unwrap().ino;
    t.rename((&a, "b"), (&root, "b"), RenameHow::NoReplace)
        .unwrap();
    t.rename((&root, "b"), (&root, "c"), RenameHow::Replace)
        .unwrap();
    t.rename((&b, "f"), (&a, "g"), RenameHow::Replace).unwrap();
    assert_eq!(f.metadata().unwrap().ino, ino);
    t.layer.set_attr(&f, &SetAttr::mode(0o600)).unwrap();
    let (again, _) = get(&a, "g");
    assert!(Arc::ptr_eq(&again, &f));
    assert!(absent(&b, "f"));
    assert_eq!(names(&root), ["a", "c"]);
}

#[test]
fn removed_and_replaced_nodes_stay_usable() {
    let t = Upper::new();
    let root = t.root();
    let f = t.make(&root, "f", &file());
    f.open(Access::Write).unwrap().write_at(b"data", 0).unwrap();
    let g = t.make(&root, "g", &file());
    t.rename((&root, "g"), (&root, "f"), RenameHow::Replace)
        .unwrap();
    assert_eq!(f.metadata().unwrap().nlink, 0);
    assert!(Arc::ptr_eq(&get(&root, "f").0, &g));
    let mut buf = [0; 8];
    assert_eq!(
        f.open(Access::Read).unwrap().read_at(&mut buf, 0).unwrap(),
        4
    );
    t.layer.set_attr(&f, &SetAttr::mode(0o640)).unwrap();
    let attr = XattrName::try_from("user.k").unwrap();
    let key = layerstack::backend::AttrKey::Raw(&attr);
    t.layer
        .set_xattr(&f, key, Some(b"v"), Default::default())
        .unwrap();
    assert_eq!(f.xattr(&attr).unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(f.xattrs().unwrap(), [attr]);

    let d = t.make(&root, "d", &dir());
    t.layer
        .remove(At::new(&root, &n("d")), RemoveKind::Directory)
        .unwrap();
    assert_eq!(names(&d), Vec::<String>::new());
    assert!(absent(&d, "x"));
    assert_eq!(
        errno(t.layer.create(At::new(&d, &n("x")), &file())),
        Errno::ENOENT
    );
    assert_eq!(errno(t.layer.whiteout(At::new(&d, &n("x")))), Errno::ENOENT);
    assert_eq!(names(&t.layer.work().unwrap()), ["#layerstack-whiteout"]);
}

#[test]
fn exchange_and_hard_links() {
    let t = Upper::new();
    let root = t.root();
    let f = t.make(&root, "f", &file());
    let d = t.make(&root, "d", &dir());
    t.rename((&root, "f"), (&root, "d"), RenameHow::Exchange)
        .unwrap();
    assert!(get(&root, "f").1.is_dir());
    t.make(&d, "in", &file());
    assert_eq!(names(&get(&root, "f").0), ["in"]);

    t.layer.link(&f, At::new(&d, &n("hard"))).unwrap();
    assert_eq!(f.metadata().unwrap().nlink, 2);
    // Two names of one node: both stay.
    t.rename((&root, "d"), (&d, "hard"), RenameHow::Replace)
        .unwrap();
    assert_eq!(f.metadata().unwrap().nlink, 2);
    assert_eq!(
        t.rename((&root, "d"), (&d, "hard"), RenameHow::NoReplace),
        Err(Errno::EEXIST)
    );
    t.layer
        .remove(At::new(&root, &n("d")), RemoveKind::NonDirectory)
        .unwrap();
    assert_eq!(f.metadata().unwrap().nlink, 1);
    assert_eq!(get(&d, "hard").1.ino, f.metadata().unwrap().ino);
    t.layer
        .remove(At::new(&d, &n("hard")), RemoveKind::NonDirectory)
        .unwrap();
    assert_eq!(errno(t.layer.link(&f, At::new(&d, &n("x")))), Errno::ENOENT);
    assert_eq!(
        errno(t.layer.link(&d, At::new(&root, &n("x")))),
        Errno::EPERM
    );
}

#[test]
fn rename_leaves_whiteouts_and_its_errors_are_exact() {
    let t = Upper::new();
    let root = t.root();
    let f = t.make(&root, "f", &file());
    t.rename((&root, "f"), (&root, "g"), RenameHow::LeaveWhiteout)
        .unwrap();
    let left = root.lookup(&n("f")).unwrap();
    assert!(matches!(
        left,
        Some(Entry::Whiteout(WhiteoutForm::CharDevice))
    ));
    assert!(Arc::ptr_eq(&get(&root, "g").0, &f));
    let d = t.make(&root, "d", &dir());
    let inner = t.make(&d, "in", &dir());
    let e = t.make(&root, "e", &dir());
    let r = |from, to, how| t.rename(from, to, how);
    use RenameHow::*;
    assert_eq!(
        r((&root, "e"), (&root, "d"), Replace),
        Err(Errno::ENOTEMPTY)
    );
    assert_eq!(r((&root, "g"), (&root, "d"), Replace), Err(Errno::EISDIR));
    assert_eq!(r((&root, "d"), (&root, "g"), Replace), Err(Errno::ENOTDIR));
    assert_eq!(r((&root, "d"), (&root, "f"), NoReplace), Err(Errno::EEXIST));
    assert_eq!(r((&root, "d"), (&inner, "x"), Replace), Err(Errno::EINVAL));
    assert_eq!(r((&root, "zz"), (&root, "y"), Replace), Err(Errno::ENOENT));
    assert_eq!(r((&root, "d"), (&root, "y"), Exchange), Err(Errno::ENOENT));
    r((&root, "d"), (&root, "f"), Exchange).unwrap();
    assert_eq!(names(&get(&root, "f").0), ["in"]);
    let rm = |name: &str, kind| errno(t.layer.remove(At::new(&root, &n(name)), kind));
    assert_eq!(rm("e", RemoveKind::NonDirectory), Errno::EISDIR);
    assert_eq!(rm("g", RemoveKind::Directory), Errno::ENOTDIR);
    assert_eq!(rm("f", RemoveKind::Directory), Errno::ENOTEMPTY);
    assert_eq!(rm("zz", RemoveKind::Directory), Errno::ENOENT);
    drop(e);
}

#[test]
fn foreign_nodes_are_refused() {
    let (t, u) = (Upper::new(), Upper::new());
    let at = n("x");
    assert_eq!(
        errno(t.layer.create(At::new(&u.root(), &at), &file())),
        Errno::EXDEV
    );
    let f = t.make(&t.root(), "f", &file());
    assert_eq!(
        errno(t.layer.create(At::new(&f, &at), &file())),
        Errno::ENOTDIR
    );
}

#[test]
fn a_directory_moved_behind_our_back_is_found_or_stale() {
    let t = Upper::new();
    let root = t.root();
    t.make(&root, "a", &dir());
    let (a, _) = get(&root, "a");
    std::fs::rename(t.path("a"), t.path("b")).unwrap();
    assert!(matches!(
        a.metadata().map_err(|e| e.errno()),
        Ok(_) | Err(Errno::ESTALE)
    ));
    let (b, _) = get(&root, "b");
    t.make(&b, "f", &file());
    assert_eq!(names(&a), ["f"]);
    assert!(absent(&root, "a"));
}

#[test]
fn racing_renames_do_not_lose_nodes() {
    let t = Upper::new();
    let root = t.root();
    let a = t.make(&root, "a", &dir());
    let b = t.make(&root, "b", &dir());
    let mid = t.make(&a, "m", &dir());
    let f = t.make(&mid, "f", &new(NewKind::File, 0o600));
    let ino = f.metadata().unwrap().ino;
    std::thread::scope(|s| {
        let worker = s.spawn(|| {
            for _ in 0..1000 {
                t.rename((&a, "m"), (&b, "m"), RenameHow::NoReplace)
                    .unwrap();
                t.rename((&mid, "f"), (&mid, "g"), RenameHow::LeaveWhiteout)
                    .unwrap();
                t.rename((&b, "m"), (&a, "m"), RenameHow::NoReplace)
                    .unwrap();
                t.rename((&mid, "g"), (&mid, "f"), RenameHow::Exchange)
                    .unwrap();
                t.layer
                    .remove(At::new(&mid, &n("g")), RemoveKind::NonDirectory)
                    .unwrap();
            }
        });
        while !worker.is_finished() {
            assert_eq!(f.metadata().unwrap().ino, ino);
            let file: Box<dyn LayerFile> = f.open(Access::Read).unwrap();
            assert_eq!(file.metadata().unwrap().ino, ino);
            mid.lookup(&n("f")).unwrap();
            mid.lookup(&n("g")).unwrap();
        }
    });
}

#[test]
fn nodes_by_handle() {
    let t = Upper::new();
    let root = t.root();
    let d = t.make(&root, "d", &dir());
    let f = t.make(&d, "f", &file());
    let Some(handle) = f.file_handle().unwrap() else {
        println!("skipped: no file handles here");
        return;
    };
    let dir_handle = d.file_handle().unwrap().unwrap();
    let outside = {
        let lower = layerstack::DirLayer::open_lower(t.dir.path()).unwrap();
        lower.root().unwrap().file_handle().unwrap().unwrap()
    };
    if !t.layer.capabilities().file_handles {
        assert!(t.layer.by_handle(&handle).unwrap().is_none());
        println!("skipped: may not open by handle");
        return;
    }
    let found = t.layer.by_handle(&handle).unwrap().unwrap();
    assert_eq!(found.metadata().unwrap().ino, f.metadata().unwrap().ino);
    drop(found);
    let found = t.layer.by_handle(&dir_handle).unwrap().unwrap();
    assert!(Arc::ptr_eq(&found, &d));
    assert!(t.layer.by_handle(&outside).unwrap().is_none());
    drop((f, found));
    t.layer
        .remove(At::new(&d, &n("f")), RemoveKind::NonDirectory)
        .unwrap();
    assert!(t.layer.by_handle(&handle).unwrap().is_none());
}
