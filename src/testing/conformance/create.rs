//! Creating and opening nodes.

use super::{Factory, Fixture, content, fails, name, new_node};
use crate::backend::{Access, At, NewKind, NewNode, RemoveKind};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, SetAttr, SetTime, Timestamp};

/// The mode is the one given, whatever the umask is.
pub fn modes_are_exact(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for mode in [
        0, 0o400, 0o622, 0o666, 0o777, 0o1777, 0o4711, 0o2755, 0o7777,
    ] {
        let file = f.make(&f.root, &format!("file-{mode:o}"), NewKind::File, mode);
        assert_eq!(file.metadata().unwrap().mode, mode, "file of mode {mode:o}");
        let dir = f.make(&f.root, &format!("dir-{mode:o}"), NewKind::Directory, mode);
        assert_eq!(
            dir.metadata().unwrap().mode,
            mode,
            "directory of mode {mode:o}"
        );
        let fifo = f.make(
            &f.root,
            &format!("fifo-{mode:o}"),
            NewKind::Fifo,
            mode & 0o777,
        );
        assert_eq!(
            fifo.metadata().unwrap().mode,
            mode & 0o777,
            "fifo of mode {mode:o}"
        );
    }
}

/// Files, directories, symlinks, fifos and sockets are made, new and empty.
pub fn every_plain_type_is_made(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, node, file_type) in f.one_of_each(&f.root) {
        let meta = node.metadata().unwrap();
        assert_eq!(meta.file_type, file_type, "{n}");
        if file_type == FileType::Regular {
            assert_eq!((meta.size, content(&node)), (0, vec![]), "{n} is empty");
        }
        if file_type == FileType::Directory {
            assert_eq!(node.list().unwrap(), [], "{n} is empty");
        }
        assert!(
            meta.rdev.is_zero()
                || matches!(file_type, FileType::CharDevice | FileType::BlockDevice),
            "{n}: only devices have a device number"
        );
    }
}

/// Device nodes have their numbers.
pub fn devices_are_made(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().device_nodes, "device nodes") {
        return;
    }
    for (major, minor) in [(1, 3), (0, 1), (8, 300), (4095, 1_048_575)] {
        let id = DeviceId::new(major, minor);
        let char = f.make(&f.root, &format!("c-{id}"), NewKind::CharDevice(id), 0o600);
        assert_eq!(char.metadata().unwrap().rdev, id);
        let block = f.make(&f.root, &format!("b-{id}"), NewKind::BlockDevice(id), 0o600);
        assert_eq!(block.metadata().unwrap().rdev, id);
    }
}

/// A character device 0/0 is a whiteout, which `create` does not make.
pub fn device_zero_is_refused(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let new = new_node(NewKind::CharDevice(DeviceId::new(0, 0)), 0o600);
    let made = f.up().create(At::new(&f.root, &name("c")), &new);
    fails(made, Errno::EPERM, "create of a character device 0/0");
    f.assert_absent(&f.root, "c");
}

/// A name that stands for anything, a whiteout too, is `EEXIST`.
pub fn taken_names_are_refused(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let mut taken: Vec<_> = f.one_of_each(&f.root).iter().map(|(n, ..)| *n).collect();
    if !f.lacks(f.caps().whiteouts, "whiteouts") {
        f.whiteout(&f.root, "a-whiteout");
        taken.push("a-whiteout");
    }
    let kinds = [
        NewKind::File,
        NewKind::Directory,
        NewKind::Symlink(b"x".to_vec()),
        NewKind::Fifo,
        NewKind::Socket,
    ];
    for n in taken {
        for kind in &kinds {
            let made = f
                .up()
                .create(At::new(&f.root, &name(n)), &new_node(kind.clone(), 0o600));
            fails(made, Errno::EEXIST, &format!("create of {kind:?} over {n}"));
        }
    }
}

/// In a directory that was removed nothing can be made: `ENOENT`.
pub fn removed_directories_take_nothing(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let dir = f.dir(&f.root, "dir");
    let file = f.empty(&f.root, "file");
    f.up()
        .remove(At::new(&f.root, &name("dir")), RemoveKind::Directory)
        .unwrap();
    let n = name("x");
    for kind in [
        NewKind::File,
        NewKind::Directory,
        NewKind::Symlink(b"t".to_vec()),
        NewKind::Fifo,
    ] {
        let made = f
            .up()
            .create(At::new(&dir, &n), &new_node(kind.clone(), 0o600));
        fails(
            made,
            Errno::ENOENT,
            &format!("create of {kind:?} in a removed directory"),
        );
    }
    if f.caps().hard_links {
        let linked = f.up().link(&file, At::new(&dir, &n));
        fails(linked, Errno::ENOENT, "link in a removed directory");
    }
    if f.caps().whiteouts {
        let made = f.up().whiteout(At::new(&dir, &n));
        fails(made, Errno::ENOENT, "whiteout in a removed directory");
    }
}

/// In what is not a directory nothing can be made: `ENOTDIR`.
pub fn parents_must_be_directories(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let file = f.empty(&f.root, "file");
    let n = name("x");
    let at = At::new(&file, &n);
    fails(
        f.up().create(at, &new_node(NewKind::File, 0o600)),
        Errno::ENOTDIR,
        "create in a file",
    );
    fails(
        f.up().remove(at, RemoveKind::NonDirectory),
        Errno::ENOTDIR,
        "remove in a file",
    );
    if f.caps().hard_links {
        fails(f.up().link(&file, at), Errno::ENOTDIR, "link in a file");
    }
    if f.caps().whiteouts {
        fails(f.up().whiteout(at), Errno::ENOTDIR, "whiteout in a file");
    }
}

/// A new node has the owner given, of any type.
pub fn owners_are_set(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().ownership, "ownership") {
        return;
    }
    let kinds = [
        NewKind::File,
        NewKind::Directory,
        NewKind::Symlink(b"t".to_vec()),
        NewKind::Fifo,
    ];
    for (i, kind) in kinds.into_iter().enumerate() {
        let new = NewNode {
            kind,
            mode: 0o6755,
            uid: Some(1000),
            gid: Some(70_000),
        };
        let n = name(format!("n{i}"));
        let meta = f
            .up()
            .create(At::new(&f.root, &n), &new)
            .unwrap()
            .metadata()
            .unwrap();
        assert_eq!((meta.uid, meta.gid), (1000, 70_000), "{:?}", new.kind);
        if !meta.is_symlink() {
            assert_eq!(
                meta.mode, 0o6755,
                "{:?}: the owner does not cost mode bits",
                new.kind
            );
        }
    }
}

/// Neither group nor set-group-id come from the directory.
pub fn groups_are_not_inherited(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let plain = f.empty(&f.root, "plain").metadata().unwrap();
    let dir = f.dir(&f.root, "dir");
    let gid = f.caps().ownership.then_some(4242);
    let attr = SetAttr {
        mode: Some(0o2777),
        gid,
        ..SetAttr::default()
    };
    f.up().set_attr(&dir, &attr).unwrap();
    let file = f
        .make(&dir, "file", NewKind::File, 0o644)
        .metadata()
        .unwrap();
    assert_eq!(
        (file.gid, file.mode),
        (plain.gid, 0o644),
        "a file in a set-group-id directory"
    );
    let sub = f
        .make(&dir, "sub", NewKind::Directory, 0o755)
        .metadata()
        .unwrap();
    assert_eq!(
        (sub.gid, sub.mode),
        (plain.gid, 0o755),
        "a directory in one"
    );
}

/// A symlink holds any bytes, 1 to 4095 of them.
pub fn symlink_targets_are_bytes(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let targets: [Vec<u8>; 5] = [
        b"/".to_vec(),
        b"../..//x/".to_vec(),
        b"\xff\n\x01".to_vec(),
        vec![b'a'; 59],
        b"ab/".repeat(1365),
    ];
    for (i, target) in targets.iter().enumerate() {
        assert!(target.len() <= 4095);
        let link = f.make(
            &f.root,
            &format!("l{i}"),
            NewKind::Symlink(target.clone()),
            0,
        );
        assert_eq!(link.read_link().unwrap(), *target);
        assert_eq!(link.metadata().unwrap().size, target.len() as u64);
    }
}

/// `read_link` of anything else is `EINVAL`.
pub fn only_symlinks_have_targets(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, node, file_type) in f.one_of_each(&f.root) {
        if file_type == FileType::Symlink {
            assert_eq!(node.read_link().unwrap(), b"nowhere");
        } else {
            fails(
                node.read_link(),
                Errno::EINVAL,
                &format!("read_link of {n}"),
            );
        }
    }
}

/// Making, linking and removing a name changes the directory's modification time.
pub fn parent_times_follow(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let dir = f.dir(&f.root, "dir");
    let old = Timestamp::new(1_000_000, 5);
    let reset = || {
        let attr = SetAttr::times(SetTime::Omit, SetTime::At(old));
        f.up().set_attr(&dir, &attr).unwrap();
        assert_eq!(dir.metadata().unwrap().mtime, old);
    };
    let moved = |what: &str| {
        assert_ne!(
            dir.metadata().unwrap().mtime,
            old,
            "mtime of the directory after {what}"
        );
    };
    reset();
    let file = f.empty(&dir, "file");
    moved("create");
    if f.caps().hard_links {
        reset();
        f.up().link(&file, At::new(&dir, &name("link"))).unwrap();
        moved("link");
    }
    reset();
    f.up()
        .remove(At::new(&dir, &name("file")), RemoveKind::NonDirectory)
        .unwrap();
    moved("remove");
    reset();
    f.node(&f.root, "dir");
    dir.list().unwrap();
    assert_eq!(
        dir.metadata().unwrap().mtime,
        old,
        "reading changes nothing"
    );
}

/// Only regular files open; for the rest the errno tells the type, at once.
pub fn opening_depends_on_the_type(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (n, node, file_type) in f.one_of_each(&f.root) {
        for access in [Access::Read, Access::Write, Access::ReadWrite] {
            let what = format!("open of {n} for {access:?}");
            match file_type {
                FileType::Regular => {
                    node.open(access).unwrap_or_else(|e| panic!("{what}: {e}"));
                }
                FileType::Directory => fails(node.open(access), Errno::EISDIR, &what),
                FileType::Symlink => fails(node.open(access), Errno::ELOOP, &what),
                _ => fails(node.open(access), Errno::ENXIO, &what),
            }
        }
    }
}

/// Opening for writing does not truncate.
pub fn opening_keeps_the_content(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let file = f.file(&f.root, "file", b"content");
    for access in [Access::Write, Access::ReadWrite, Access::Read] {
        drop(file.open(access).unwrap());
        assert_eq!(content(&file), b"content", "after opening for {access:?}");
    }
}
