//! Whiteouts of both forms.

use super::{Factory, Fixture, fails, listed, name, write_all};
use crate::backend::{
    Access, At, AttrKey, Entry, NewKind, RemoveKind, RenameHow, WhiteoutForm, XattrMode,
};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType};
use crate::xattr_name::OverlayAttr;

/// A new backend with a whiteout `gone` in the root; `None`, printed, if it can have none.
fn with_whiteout(factory: &dyn Factory) -> Option<Fixture> {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().whiteouts, "whiteouts") {
        let made = f.up().whiteout(At::new(&f.root, &name("gone")));
        fails(made, Errno::EPERM, "whiteout");
        return None;
    }
    f.whiteout(&f.root, "gone");
    Some(f)
}

/// A lookup tells a whiteout; a listing tells the device that it is.
pub fn whiteouts_are_told(factory: &dyn Factory) {
    let Some(f) = with_whiteout(factory) else {
        return;
    };
    let entry = f.entry(&f.root, "gone");
    assert!(
        matches!(entry, Some(Entry::Whiteout(WhiteoutForm::CharDevice))),
        "a whiteout made is a character device: {entry:?}"
    );
    let list = f.root.list().unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].name, name("gone"));
    assert!(matches!(
        list[0].file_type,
        None | Some(FileType::CharDevice)
    ));
}

/// No whiteout over a name that is taken, even by a whiteout.
pub fn whiteouts_take_their_name(factory: &dyn Factory) {
    let Some(f) = with_whiteout(factory) else {
        return;
    };
    f.empty(&f.root, "file");
    f.dir(&f.root, "dir");
    for n in ["gone", "file", "dir"] {
        let made = f.up().whiteout(At::new(&f.root, &name(n)));
        fails(made, Errno::EEXIST, &format!("whiteout over {n}"));
    }
    f.node(&f.root, "file");
}

/// A whiteout is removed as a non-directory.
pub fn whiteouts_are_removed_as_files(factory: &dyn Factory) {
    let Some(f) = with_whiteout(factory) else {
        return;
    };
    f.whiteout(&f.root, "other");
    let n = name("gone");
    let at = At::new(&f.root, &n);
    fails(
        f.up().remove(at, RemoveKind::Directory),
        Errno::ENOTDIR,
        "rmdir of a whiteout",
    );
    f.up().remove(at, RemoveKind::NonDirectory).unwrap();
    f.assert_absent(&f.root, "gone");
    f.assert_whiteout(&f.root, "other");
    fails(
        f.up().remove(at, RemoveKind::NonDirectory),
        Errno::ENOENT,
        "the second removal",
    );
}

/// A directory with a whiteout in it is not empty: that it shows as empty is for the rules.
pub fn whiteouts_fill_a_directory(factory: &dyn Factory) {
    let Some(f) = with_whiteout(factory) else {
        return;
    };
    let dir = f.dir(&f.root, "dir");
    f.whiteout(&dir, "w");
    let n = name("dir");
    let at = At::new(&f.root, &n);
    fails(
        f.up().remove(at, RemoveKind::Directory),
        Errno::ENOTEMPTY,
        "rmdir",
    );
    f.dir(&f.root, "from");
    let from = name("from");
    let moved = f
        .up()
        .rename(At::new(&f.root, &from), at, RenameHow::Replace);
    fails(moved, Errno::ENOTEMPTY, "rename over it");
}

/// A fixture that can store overlay attributes.
fn with_attrs(factory: &dyn Factory) -> Option<Fixture> {
    let f = Fixture::new(factory);
    (!f.lacks(f.caps().overlay_attrs, "overlay attributes")).then_some(f)
}

/// An empty file with the attribute is a whiteout of the other form, and listed as a file.
pub fn attribute_whiteouts_are_told(factory: &dyn Factory) {
    let Some(f) = with_attrs(factory) else { return };
    let file = f.empty(&f.root, "w");
    let key = AttrKey::Overlay(OverlayAttr::Whiteout);
    for value in [&b"y"[..], b""] {
        f.up()
            .set_xattr(&file, key, Some(value), XattrMode::Set)
            .unwrap();
        let entry = f.entry(&f.root, "w");
        assert!(
            matches!(entry, Some(Entry::Whiteout(WhiteoutForm::Xattr))),
            "with the value {value:?}: {entry:?}"
        );
        let plain = f.root.lookup_plain(&name("w")).unwrap();
        assert!(
            matches!(&plain, Some(Entry::Node(_, meta)) if meta.file_type == FileType::Regular),
            "plainly, with the value {value:?}: {plain:?}"
        );
    }
    let list = f.root.list().unwrap();
    assert!(matches!(list[0].file_type, None | Some(FileType::Regular)));
    f.up().set_xattr(&file, key, None, XattrMode::Set).unwrap();
    f.node(&f.root, "w");
}

/// A file with content, and a directory, are what they are in spite of the attribute.
pub fn only_empty_files_are_attribute_whiteouts(factory: &dyn Factory) {
    let Some(f) = with_attrs(factory) else { return };
    let key = AttrKey::Overlay(OverlayAttr::Whiteout);
    let (file, dir) = (f.file(&f.root, "file", b"x"), f.dir(&f.root, "dir"));
    for node in [&file, &dir] {
        f.up()
            .set_xattr(node, key, Some(b"y"), XattrMode::Set)
            .unwrap();
    }
    f.node(&f.root, "file");
    f.node(&f.root, "dir");
    file.open(Access::Write).unwrap().set_len(0).unwrap();
    f.assert_whiteout(&f.root, "file");
    write_all(&*file.open(Access::Write).unwrap(), b"x", 0);
    f.node(&f.root, "file");
}

/// Character 0/1 and block 0/0 are ordinary nodes.
pub fn similar_devices_are_nodes(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().device_nodes, "device nodes") {
        return;
    }
    f.make(&f.root, "c01", NewKind::CharDevice(DeviceId::new(0, 1)), 0);
    f.make(&f.root, "c10", NewKind::CharDevice(DeviceId::new(1, 0)), 0);
    f.make(&f.root, "b00", NewKind::BlockDevice(DeviceId::new(0, 0)), 0);
    for n in ["c01", "c10", "b00"] {
        f.node(&f.root, n);
    }
}

/// Renames take whiteouts as non-directories, at either end.
pub fn whiteouts_are_moved_and_replaced(factory: &dyn Factory) {
    let Some(f) = with_whiteout(factory) else {
        return;
    };
    let sub = f.dir(&f.root, "sub");
    let (gone, moved, file) = (name("gone"), name("moved"), name("file"));
    let (a, b) = (At::new(&f.root, &gone), At::new(&sub, &moved));
    f.up().rename(a, b, RenameHow::NoReplace).unwrap();
    f.assert_absent(&f.root, "gone");
    f.assert_whiteout(&sub, "moved");
    let node = f.file(&f.root, "file", b"x");
    f.up()
        .rename(At::new(&f.root, &file), b, RenameHow::Replace)
        .unwrap();
    f.assert_is(&sub, "moved", &node);
    f.whiteout(&f.root, "gone");
    f.up().rename(a, b, RenameHow::Replace).unwrap();
    f.assert_whiteout(&sub, "moved");
    assert_eq!(listed(&f.root), [name("sub")]);
    f.whiteout(&f.root, "gone");
    fails(
        f.up().rename(a, b, RenameHow::NoReplace),
        Errno::EEXIST,
        "whiteout onto whiteout",
    );
    f.up().rename(a, b, RenameHow::Replace).unwrap();
    f.assert_whiteout(&sub, "moved");
}
