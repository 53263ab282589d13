//! A hostile layer neither leads outside nor blocks.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use layerstack::backend::{
    Access, At, Entry, LayerBackend, NewKind, RemoveKind, RenameHow, UpperBackend, WhiteoutForm,
};
use layerstack::{DirLayer, Errno, FileType, SetAttr, XattrName};
use rustix::fs::FileType as SysType;

use crate::common::*;

#[test]
fn symlinks_are_told_and_never_followed() {
    let t = Upper::new();
    let outside = t.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    symlink(&outside, t.path("link")).unwrap();
    symlink("../outside/secret", t.path("file")).unwrap();
    symlink("loop", t.path("loop")).unwrap();

    let root = t.root();
    for name in ["link", "file", "loop"] {
        let (node, meta) = get(&root, name);
        assert_eq!(meta.file_type, FileType::Symlink);
        assert_eq!(errno(node.lookup(&n("secret"))), Errno::ENOTDIR);
        assert_eq!(errno(node.list()), Errno::ENOTDIR);
        assert_eq!(errno(node.open(Access::Read)), Errno::ELOOP);
        let attr = SetAttr::mode(0o600);
        assert_eq!(errno(t.layer.set_attr(&node, &attr)), Errno::EOPNOTSUPP);
        assert_eq!(
            node.xattr(&XattrName::try_from("user.a").unwrap()).unwrap(),
            None
        );
    }
    let (link, _) = get(&root, "link");
    assert_eq!(
        link.read_link().unwrap(),
        outside.as_os_str().as_encoded_bytes()
    );
    let (own, _) = get(&root, "file");
    let gid = rustix::process::getegid().as_raw();
    t.layer
        .set_attr(&own, &SetAttr::owner(None, Some(gid)))
        .unwrap();
}

#[test]
fn a_directory_replaced_by_a_symlink_is_stale() {
    let t = tempfile::tempdir().unwrap();
    let root_path = t.path().join("layer");
    std::fs::create_dir_all(root_path.join("a/b")).unwrap();
    std::fs::create_dir_all(t.path().join("out/b")).unwrap();
    let layer = DirLayer::open_lower(&root_path).unwrap();
    let (a, _) = get(&layer.root().unwrap(), "a");
    std::fs::rename(root_path.join("a"), t.path().join("moved")).unwrap();
    symlink(t.path().join("out"), root_path.join("a")).unwrap();
    assert_eq!(errno(a.lookup(&n("b"))), Errno::ESTALE);
    assert_eq!(errno(a.metadata()), Errno::ESTALE);
}

#[test]
fn a_removed_root_is_stale() {
    let t = tempfile::tempdir().unwrap();
    let layer = DirLayer::open_lower(t.path()).unwrap();
    let root = layer.root().unwrap();
    drop(t);
    assert_eq!(errno(layer.root()), Errno::ESTALE);
    assert!(root.list().unwrap().is_empty());
}

#[test]
fn fifos_sockets_and_devices_never_open() {
    let t = Upper::new();
    mknod(&t.path("fifo"), SysType::Fifo, 0, 0);
    mknod(&t.path("sock"), SysType::Socket, 0, 0);
    let mut all = vec!["fifo", "sock"];
    if is_root() {
        mknod(&t.path("tty"), SysType::CharacterDevice, 5, 0);
        mknod(&t.path("blk"), SysType::BlockDevice, 0, 0);
        all.extend(["tty", "blk"]);
    }
    for name in all {
        let (node, meta) = get(&t.root(), name);
        assert!(meta.file_type.is_special());
        for access in [Access::Read, Access::ReadWrite, Access::Write] {
            assert_eq!(errno(node.open(access)), Errno::ENXIO);
        }
        assert_eq!(node.xattrs().unwrap(), vec![]);
        t.layer.set_attr(&node, &SetAttr::mode(0o600)).unwrap();
        assert_eq!(node.metadata().unwrap().mode, 0o600);
    }
}

#[test]
fn a_file_swapped_for_anything_is_stale_and_does_not_block() {
    for t in Upper::with_and_without_devices() {
        let at = t.path("f");
        std::fs::write(&at, "x").unwrap();
        let (f, _) = get(&t.root(), "f");
        std::fs::rename(&at, t.path("g")).unwrap();
        let stale = || {
            for access in [Access::Read, Access::ReadWrite, Access::Write] {
                assert_eq!(errno(f.open(access)), Errno::ESTALE);
            }
            assert_eq!(errno(f.metadata()), Errno::ESTALE);
        };
        stale();
        let mut kinds = vec![SysType::Fifo, SysType::Socket, SysType::RegularFile];
        if is_root() {
            kinds.extend([SysType::CharacterDevice, SysType::BlockDevice]);
        }
        for kind in kinds {
            // Of the character devices this is one that opens.
            let minor = if kind == SysType::CharacterDevice {
                3
            } else {
                0
            };
            mknod(&at, kind, minor.min(1), minor);
            stale();
            std::fs::remove_file(&at).unwrap();
        }
        symlink("g", &at).unwrap();
        stale();
        std::fs::remove_file(&at).unwrap();
        std::fs::create_dir(&at).unwrap();
        stale();
        std::fs::remove_dir(&at).unwrap();
        std::fs::rename(t.path("g"), &at).unwrap();
        assert_eq!(f.open(Access::Read).unwrap().metadata().unwrap().size, 1);
    }
}

/// What is opened is read, and this device would give zeros.
#[test]
fn racing_swaps_of_file_and_device_never_open_the_device() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    for t in Upper::with_and_without_devices() {
        std::fs::write(t.path("f"), "x").unwrap();
        mknod(&t.path("g"), SysType::CharacterDevice, 1, 5);
        let (f, _) = get(&t.root(), "f");
        swapping(&t, || {
            for _ in 0..2000 {
                let mut byte = [9];
                match f.open(Access::Read) {
                    Ok(file) => {
                        assert_eq!(file.read_at(&mut byte, 0).unwrap(), 1);
                        assert_eq!(&byte, b"x");
                    }
                    Err(e) => assert_eq!(e.errno(), Errno::ESTALE),
                }
            }
        });
    }
}

/// Runs `f` while the names `f` and `g` change places.
fn swapping(t: &Upper, f: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    t.path("f"),
                    rustix::fs::CWD,
                    t.path("g"),
                    rustix::fs::RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        f();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn racing_swaps_of_file_and_fifo_never_block() {
    for t in Upper::with_and_without_devices() {
        std::fs::write(t.path("f"), "x").unwrap();
        mknod(&t.path("g"), SysType::Fifo, 0, 0);
        let (f, _) = get(&t.root(), "f");
        swapping(&t, || {
            for _ in 0..2000 {
                match f.open(Access::Read) {
                    Ok(file) => assert_eq!(file.metadata().unwrap().size, 1),
                    Err(e) => assert_eq!(e.errno(), Errno::ESTALE),
                }
            }
        });
    }
}

#[test]
fn a_mount_inside_the_layer_is_its_end() {
    let layer = DirLayer::open_lower("/").unwrap();
    let root = layer.root().unwrap();
    assert_eq!(errno(root.lookup(&n("proc"))), Errno::EREMOTE);
}

#[test]
fn both_forms_of_whiteouts() {
    let t = Upper::new();
    mknod(&t.path("c"), SysType::CharacterDevice, 0, 0);
    std::fs::write(t.path("empty"), "").unwrap();
    std::fs::write(t.path("full"), "x").unwrap();
    let ns = t.layer.identity().namespace;
    let attr = format!("{}whiteout", ns.prefix());
    if !t.layer.capabilities().overlay_attrs {
        println!("skipped: no overlay attributes here");
        return;
    }
    for name in ["empty", "full"] {
        xattr::set(t.path(name), &attr, b"").unwrap();
    }
    let form = |name: &str| match t.root().lookup(&n(name)).unwrap() {
        Some(Entry::Whiteout(form)) => Some(form),
        _ => None,
    };
    assert_eq!(form("c"), Some(WhiteoutForm::CharDevice));
    assert_eq!(form("empty"), Some(WhiteoutForm::Xattr));
    assert_eq!(form("full"), None);
    let listed = t.root().list().unwrap();
    let c = listed.iter().find(|e| e.name == n("c")).unwrap();
    assert_eq!(c.file_type, Some(FileType::CharDevice));
}

#[test]
fn odd_names_and_long_targets() {
    let t = Upper::new();
    let root = t.root();
    let mut odd: Vec<Vec<u8>> = (1..=255u8)
        .filter(|b| *b != b'/' && *b != b'.')
        .map(|b| vec![b])
        .collect();
    odd.push(vec![0xff; 255]);
    odd.push(b"...".to_vec());
    odd.push(b"%s\n\\".to_vec());
    for name in &odd {
        let at = n(name);
        let made = t.layer.create(At::new(&root, &at), &file()).unwrap();
        let attr = XattrName::try_from("user.x").unwrap();
        let key = layerstack::backend::AttrKey::Raw(&attr);
        let mode = layerstack::backend::XattrMode::Set;
        t.layer.set_xattr(&made, key, Some(name), mode).unwrap();
        let Some(Entry::Node(node, _)) = root.lookup(&at).unwrap() else {
            panic!("{at:?}");
        };
        assert_eq!(node.xattr(&attr).unwrap().unwrap(), *name);
    }
    assert_eq!(root.list().unwrap().len(), odd.len());
    let target = vec![b'x'; 4095];
    let link = t.make(&root, "long", &new(NewKind::Symlink(target.clone()), 0o777));
    assert_eq!(link.read_link().unwrap(), target);
    t.layer
        .remove(At::new(&root, &n("long")), RemoveKind::NonDirectory)
        .unwrap();
    assert_eq!(link.read_link().unwrap(), target);
    assert_eq!(
        t.rename((&root, "long"), (&root, "b"), RenameHow::Replace),
        Err(Errno::ENOENT)
    );
}
