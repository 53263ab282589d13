//! As an ordinary user: root runs these again as user 65534.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use layerstack::backend::{
    Access, At, AttrKey, LayerBackend, NewKind, NewNode, RenameHow, UpperBackend, XattrMode,
};
use layerstack::{DirLayer, DirLayerOptions, Errno, OverlayAttr, SetAttr, XattrNamespace};

use crate::common::*;

/// True if the case is to run here; otherwise it ran in a child.
fn as_user(test: &str) -> bool {
    if is_root() && !is_child() {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::set_permissions(tmp.path(), PermissionsExt::from_mode(0o777)).unwrap();
        in_child(test, |command| {
            command.uid(65534).gid(65534).env("TMPDIR", tmp.path());
        });
        return false;
    }
    true
}

#[test]
fn unreadable_directories_are_no_layers() {
    if !as_user("user::unreadable_directories_are_no_layers") {
        return;
    }
    let t = tempfile::tempdir().unwrap();
    let locked = t.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o0)).unwrap();
    let error = DirLayer::open_lower(&locked).unwrap_err();
    assert_eq!(error.errno(), Errno::EACCES);
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn staging_works_with_any_mode() {
    if !as_user("user::staging_works_with_any_mode") {
        return;
    }
    let t = Upper::new();
    assert_eq!(t.layer.identity().namespace, XattrNamespace::User);
    let caps = t.layer.capabilities();
    assert!(caps.whiteouts && caps.overlay_attrs && !caps.ownership && !caps.device_nodes);
    assert!(!caps.file_handles);
    let root = t.root();
    for (i, mode) in [0o555, 0, 0o2755, 0o1777].into_iter().enumerate() {
        let name = format!("d{i}");
        let node = t.make(&root, &name, &new(NewKind::Directory, mode));
        assert_eq!(node.metadata().unwrap().mode, mode);
        let name = format!("f{i}");
        let node = t.make(&root, &name, &new(NewKind::File, mode));
        assert_eq!(node.metadata().unwrap().mode, mode);
    }
    // A directory staged by hand, not writable, moves all the same.
    let work = t.layer.work().unwrap();
    let staged = t.make(&work, "x", &new(NewKind::Directory, 0o500));
    t.rename((&work, "x"), (&root, "x"), RenameHow::NoReplace)
        .unwrap();
    assert_eq!(staged.metadata().unwrap().mode, 0o500);
    t.layer.whiteout(At::new(&root, &n("w"))).unwrap();
    assert!(root.file_handle().is_ok());
    drop(work);
    let leftover = t.work_path("work/deep");
    std::fs::create_dir_all(leftover.join("er/est")).unwrap();
    std::fs::set_permissions(leftover.join("er"), PermissionsExt::from_mode(0o0)).unwrap();
    std::fs::set_permissions(&leftover, PermissionsExt::from_mode(0o500)).unwrap();
    drop(t.layer);
    let dir = t.dir.path();
    let layer = DirLayer::open_upper(dir.join("up"), dir.join("wd")).unwrap();
    assert!(names(&layer.work().unwrap()).is_empty());
}

#[test]
fn owners() {
    if !as_user("user::owners") {
        return;
    }
    let t = Upper::new();
    let root = t.root();
    let foreign = NewNode {
        uid: Some(1),
        gid: Some(1),
        ..new(NewKind::File, 0o4755)
    };
    let made = t.layer.create(At::new(&root, &n("f")), &foreign);
    assert_eq!(errno(made), Errno::EPERM);
    assert!(names(&root).is_empty());
    assert!(names(&t.layer.work().unwrap()).is_empty());
    let mine = t.make(&root, "mine", &file());
    let meta = mine.metadata().unwrap();
    t.layer.set_attr(&mine, &SetAttr::like(&meta)).unwrap();
    assert_eq!(
        errno(t.layer.set_attr(&mine, &SetAttr::owner(Some(1), None))),
        Errno::EPERM
    );
    drop(t.layer);
    let dir = t.dir.path();
    let layer = DirLayerOptions::new()
        .ignore_ownership(true)
        .open_upper(dir.join("up"), dir.join("wd"))
        .unwrap();
    let root = layer.root().unwrap();
    let node = layer.create(At::new(&root, &n("f")), &foreign).unwrap();
    assert_eq!(node.metadata().unwrap().mode, 0o4755);
    assert_eq!(node.metadata().unwrap().uid, meta.uid);
}

#[test]
fn trusted_attributes_read_as_absent() {
    if !as_user("user::trusted_attributes_read_as_absent") {
        return;
    }
    let t = tempfile::tempdir().unwrap();
    for dir in ["up", "wd"] {
        std::fs::create_dir(t.path().join(dir)).unwrap();
    }
    let layer = DirLayerOptions::new()
        .namespace(XattrNamespace::Trusted)
        .open_upper(t.path().join("up"), t.path().join("wd"))
        .unwrap();
    assert!(!layer.capabilities().overlay_attrs);
    let root = layer.root().unwrap();
    assert_eq!(root.overlay_attr(OverlayAttr::Opaque).unwrap(), None);
    let key = AttrKey::Overlay(OverlayAttr::Opaque);
    let set = layer.set_xattr(&root, key, Some(b"y"), XattrMode::Set);
    assert_eq!(errno(set), Errno::EPERM);
}

/// Its maker may write a file that has no name yet; whoever is to have it open later, only as its mode says.
#[test]
fn a_file_without_a_name_opens_as_permitted() {
    if !as_user("user::a_file_without_a_name_opens_as_permitted") {
        return;
    }
    let t = Upper::new();
    let node = t.layer.tmpfile(&t.root(), &new(NewKind::File, 0o400));
    let node = node.unwrap();
    let written = node.open(Access::Write).unwrap().write_at(b"x", 0);
    assert_eq!(written.unwrap(), 1);
    for access in [Access::Write, Access::ReadWrite] {
        let opened = t.layer.open_unnamed(&node, access);
        assert_eq!(errno(opened), Errno::EACCES);
    }
    let opened = t.layer.open_unnamed(&node, Access::Read).unwrap().unwrap();
    assert_eq!(opened.metadata().unwrap().size, 1);
    // What is permitted at first may not be later.
    let node = t.layer.tmpfile(&t.root(), &new(NewKind::File, 0o600));
    let node = node.unwrap();
    let opened = t.layer.open_unnamed(&node, Access::Write).unwrap().unwrap();
    assert_eq!(opened.write_at(b"xy", 0).unwrap(), 2);
    t.layer.set_attr(&node, &SetAttr::mode(0o400)).unwrap();
    let again = t.layer.open_unnamed(&node, Access::Write);
    assert_eq!(errno(again), Errno::EACCES);
}

#[test]
fn without_the_right_to_mount_there_is_no_private_mount() {
    if !as_user("user::without_the_right_to_mount_there_is_no_private_mount") {
        return;
    }
    let t = tempfile::tempdir().unwrap();
    std::fs::write(t.path().join("f"), "x").unwrap();
    let options = DirLayerOptions::new().private_mount(true);
    let layer = options.open_lower(t.path()).unwrap();
    let (f, _) = get(&layer.root().unwrap(), "f");
    assert_eq!(f.open(Access::Read).unwrap().metadata().unwrap().size, 1);
}
