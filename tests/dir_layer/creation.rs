//! What is created is exactly what was asked for.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use layerstack::backend::{
    Access, At, AttrKey, LayerBackend, NewKind, NewNode, SyncScope, UpperBackend, XattrMode,
};
use layerstack::{DeviceId, Errno, OverlayAttr, SetAttr, SetTime, Timestamp, XattrName};

use rustix::fs::OFlags;

use crate::common::*;

fn kinds() -> Vec<NewKind> {
    let mut kinds = vec![
        NewKind::File,
        NewKind::Directory,
        NewKind::Symlink(b"to".to_vec()),
        NewKind::Fifo,
        NewKind::Socket,
    ];
    if is_root() {
        kinds.push(NewKind::CharDevice(DeviceId::new(1, 3)));
        kinds.push(NewKind::BlockDevice(DeviceId::new(7, 300)));
    }
    kinds
}

#[test]
fn modes_owners_and_no_inheritance() {
    let t = Upper::new();
    // A parent that would pass on its group and an ACL.
    let parent = t.make(&t.root(), "p", &new(NewKind::Directory, 0o2777));
    if is_root() {
        let owner = SetAttr::owner(None, Some(4321));
        t.layer.set_attr(&parent, &owner).unwrap();
        t.layer.set_attr(&parent, &SetAttr::mode(0o2777)).unwrap();
    }
    let acl: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x07\0\x39\x05\0\0\
        \x04\0\x07\0\xff\xff\xff\xff\x10\0\x07\0\xff\xff\xff\xff\x20\0\x07\0\xff\xff\xff\xff";
    let has_acl = xattr::set(t.path("p"), "system.posix_acl_default", acl).is_ok();
    println!("default ACL: {has_acl}");
    let egid = rustix::process::getegid().as_raw();
    let work = t.layer.work().unwrap();
    for (i, kind) in kinds().into_iter().enumerate() {
        for mode in [0o777, 0o644, 0o1000, 0o6755, 0o4711, 0] {
            for (dir, tag) in [(&parent, "p"), (&work, "w")] {
                let owners: &[_] = if is_root() {
                    &[(None, None), (Some(1000), Some(1001)), (None, Some(5))]
                } else {
                    &[(None, None)]
                };
                for (j, (uid, gid)) in owners.iter().enumerate() {
                    let name = format!("{tag}{i}.{mode:o}.{j}");
                    let wanted = NewNode {
                        kind: kind.clone(),
                        mode,
                        uid: *uid,
                        gid: *gid,
                    };
                    let node = t.make(dir, &name, &wanted);
                    let meta = node.metadata().unwrap();
                    assert_eq!(meta.file_type, kind.file_type());
                    assert_eq!(meta.gid, gid.unwrap_or(egid), "{name}");
                    assert_eq!(meta.uid, uid.unwrap_or(rustix::process::geteuid().as_raw()));
                    if !meta.is_symlink() {
                        assert_eq!(meta.mode, mode, "{name}");
                    }
                    assert!(node.xattrs().unwrap().is_empty(), "{name}");
                    if let NewKind::CharDevice(dev) | NewKind::BlockDevice(dev) = &kind {
                        assert_eq!(meta.rdev, *dev);
                    }
                    let again = t.layer.create(At::new(dir, &n(&name)), &wanted);
                    assert_eq!(errno(again), Errno::EEXIST);
                }
            }
        }
    }
    assert!(names(&work).iter().all(|name| name.starts_with('w')));
}

#[test]
fn refused_kinds() {
    let t = Upper::new();
    let root = t.root();
    let at = n("x");
    let make = |kind| errno(t.layer.create(At::new(&root, &at), &new(kind, 0o600)));
    assert_eq!(make(NewKind::CharDevice(DeviceId::new(0, 0))), Errno::EPERM);
    assert_eq!(
        make(NewKind::CharDevice(DeviceId::new(4096, 0))),
        Errno::EINVAL
    );
    assert_eq!(make(NewKind::Symlink(Vec::new())), Errno::EINVAL);
    assert_eq!(
        make(NewKind::Symlink(vec![b'x'; 4096])),
        Errno::ENAMETOOLONG
    );
    assert_eq!(errno(t.layer.tmpfile(&root, &dir())), Errno::EINVAL);
    assert_eq!(names(&root), Vec::<String>::new());
    assert_eq!(names(&t.layer.work().unwrap()), Vec::<String>::new());
}

#[test]
fn whiteouts_share_an_inode() {
    let t = Upper::new();
    let root = t.root();
    let sub = t.make(&root, "sub", &dir());
    for (dir, name) in [(&root, "a"), (&root, "b"), (&sub, "c")] {
        t.layer.whiteout(At::new(dir, &n(name))).unwrap();
    }
    let meta = t.path("a").symlink_metadata().unwrap();
    assert_eq!((meta.mode(), meta.rdev(), meta.nlink()), (0o020_000, 0, 4));
    assert_eq!(
        meta.ino(),
        t.path("sub/c").symlink_metadata().unwrap().ino()
    );
    assert_eq!(
        errno(t.layer.whiteout(At::new(&root, &n("sub")))),
        Errno::EEXIST
    );
    assert_eq!(
        errno(t.layer.create(At::new(&root, &n("a")), &file())),
        Errno::EEXIST
    );
    // Somebody else cleaned up: the next one starts anew.
    std::fs::remove_file(t.work_path("work/#layerstack-whiteout")).unwrap();
    t.layer.whiteout(At::new(&root, &n("d"))).unwrap();
    assert_eq!(t.path("d").symlink_metadata().unwrap().nlink(), 2);
}

#[test]
fn tmpfiles_get_names_or_vanish() {
    let t = Upper::new();
    let root = t.root();
    let node = t.layer.tmpfile(&root, &new(NewKind::File, 0o400)).unwrap();
    assert_eq!(node.metadata().unwrap().nlink, 0);
    assert_eq!(node.metadata().unwrap().mode, 0o400);
    let open = node.open(Access::ReadWrite).unwrap();
    open.write_at(b"content", 3).unwrap();
    t.layer.set_attr(&node, &SetAttr::mode(0o6444)).unwrap();
    t.layer.link(&node, At::new(&root, &n("named"))).unwrap();
    assert_eq!(std::fs::read(t.path("named")).unwrap(), b"\0\0\0content");
    assert_eq!(get(&root, "named").1.mode, 0o6444);
    drop(t.layer.tmpfile(&root, &file()).unwrap());
    assert_eq!(names(&root), ["named"]);
    t.layer.sync(SyncScope::Node(&node)).unwrap();
    t.layer.sync(SyncScope::Node(&root)).unwrap();
    t.layer.sync(SyncScope::All).unwrap();
}

#[test]
fn times_owner_and_mode() {
    let t = Upper::new();
    let root = t.root();
    let at = |secs, nanos| SetTime::At(Timestamp::new(secs, nanos));
    for kind in kinds() {
        let node = t.make(&root, &format!("{}", kind.file_type()), &new(kind, 0o700));
        let times = SetAttr::times(at(-5, 999_999_999), at(1, 2));
        t.layer.set_attr(&node, &times).unwrap();
        let meta = node.metadata().unwrap();
        assert_eq!(meta.atime, Timestamp::new(-5, 999_999_999));
        assert_eq!(meta.mtime, Timestamp::new(1, 2));
        t.layer
            .set_attr(&node, &SetAttr::times(SetTime::Omit, SetTime::Now))
            .unwrap();
        assert_eq!(node.metadata().unwrap().atime, meta.atime);
        assert!(node.metadata().unwrap().mtime.secs > 1_000_000);
        let wrong = SetAttr::times(at(0, 1_000_000_000), SetTime::Omit);
        assert_eq!(errno(t.layer.set_attr(&node, &wrong)), Errno::EINVAL);
        let wrong = SetAttr::owner(Some(u32::MAX), None);
        assert_eq!(errno(t.layer.set_attr(&node, &wrong)), Errno::EINVAL);
        if is_root() {
            let mut like = SetAttr::like(&meta);
            like.uid = Some(77);
            like.mode = like.mode.map(|_| 0o6711);
            t.layer.set_attr(&node, &like).unwrap();
            let meta = node.metadata().unwrap();
            assert_eq!((meta.uid, meta.mtime), (77, Timestamp::new(1, 2)));
            assert!(meta.is_symlink() || meta.mode == 0o6711);
        }
    }
}

#[test]
fn attributes_of_every_size_and_their_errors() {
    let t = Upper::new();
    let root = t.root();
    let f = t.make(&root, "f", &file());
    let name = XattrName::try_from("user.big").unwrap();
    let key = AttrKey::Raw(&name);
    let set = |value: Option<&[u8]>, mode| t.layer.set_xattr(&f, key, value, mode);
    assert_eq!(f.xattr(&name).unwrap(), None);
    assert_eq!(errno(set(None, XattrMode::Set)), Errno::ENODATA);
    assert_eq!(errno(set(Some(b""), XattrMode::Replace)), Errno::ENODATA);
    set(Some(b""), XattrMode::Create).unwrap();
    assert_eq!(f.xattr(&name).unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(errno(set(Some(b""), XattrMode::Create)), Errno::EEXIST);
    for len in [1, 255, 256, 257, 2000] {
        let value = vec![7; len];
        set(Some(&value), XattrMode::Replace).unwrap();
        assert_eq!(f.xattr(&name).unwrap().unwrap(), value);
    }
    assert_eq!(f.xattrs().unwrap(), std::slice::from_ref(&name));
    set(None, XattrMode::Set).unwrap();
    assert!(f.xattrs().unwrap().is_empty());
    let link = t.make(&root, "l", &new(NewKind::Symlink(b"f".to_vec()), 0));
    let on_link = t.layer.set_xattr(&link, key, Some(b"v"), XattrMode::Set);
    assert_eq!(errno(on_link), Errno::EPERM);
    if t.layer.capabilities().overlay_attrs {
        let key = AttrKey::Overlay(OverlayAttr::Opaque);
        t.layer
            .set_xattr(&root, key, Some(b"y"), XattrMode::Set)
            .unwrap();
        let got = root.overlay_attr(OverlayAttr::Opaque).unwrap();
        assert_eq!(got.as_deref(), Some(&b"y"[..]));
        let full = OverlayAttr::Opaque.full_name(t.layer.identity().namespace);
        assert_eq!(root.xattrs().unwrap(), [full]);
    }
}

#[test]
fn index_is_made_on_demand_and_private() {
    let t = Upper::new();
    assert!(t.layer.index(false).unwrap().is_none());
    let index = t.layer.index(true).unwrap().unwrap();
    t.make(&index, "x", &file());
    assert!(t.work_path("index/x").exists() || !is_root());
    let mode = t
        .work_path("index")
        .metadata()
        .unwrap()
        .permissions()
        .mode()
        & 0o7777;
    assert_eq!(mode, if is_root() { 0 } else { 0o700 });
    assert!(std::sync::Arc::ptr_eq(
        &index,
        &t.layer.index(false).unwrap().unwrap()
    ));
}

/// The descriptor of a file that was opened before it had a name can do what was asked for, no more.
#[test]
fn an_unnamed_file_is_open_as_asked_for() {
    let t = Upper::new();
    for mode in [0o600, 0o4600, 0o200, 0o000] {
        for (access, expected) in [
            (Access::Read, OFlags::RDONLY),
            (Access::Write, OFlags::WRONLY),
            (Access::ReadWrite, OFlags::RDWR),
        ] {
            if !is_root() && mode & 0o600 != 0o600 {
                continue;
            }
            let node = t.layer.tmpfile(&t.root(), &new(NewKind::File, mode));
            let node = node.unwrap();
            let file = t.layer.open_unnamed(&node, access).unwrap().unwrap();
            let name = n(format!("{mode:o}-{access:?}"));
            t.layer.link(&node, At::new(&t.root(), &name)).unwrap();
            for _ in 0..2 {
                let fd = file.as_fd().unwrap();
                let flags = rustix::fs::fcntl_getfl(fd).unwrap();
                assert_eq!(flags & OFlags::RWMODE, expected, "{mode:o} {access:?}");
                let ino = rustix::fs::fstat(fd).unwrap().st_ino;
                assert_eq!(ino, node.metadata().unwrap().ino);
            }
        }
    }
}
