//! Which directories may be a layer, and what opening does to the work directory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use layerstack::backend::{Access, LayerBackend, NodeRef, UpperBackend};
use layerstack::{DirLayer, DirLayerOptions, Errno, ErrorKind, XattrNamespace};
use rustix::fs::FileType as SysType;

use crate::common::*;

fn open(up: &Path, wd: &Path) -> Result<DirLayer, Errno> {
    DirLayer::open_upper(up, wd).map_err(|e| {
        println!("{e}");
        e.errno()
    })
}

#[test]
fn what_is_no_directory_is_no_layer() {
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    std::fs::write(p("file"), "").unwrap();
    mknod(&p("fifo"), SysType::Fifo, 0, 0);
    symlink(t.path(), p("link")).unwrap();
    symlink("gone", p("dangling")).unwrap();
    let lower = |name: &str| DirLayer::open_lower(p(name)).map_err(|e| e.errno());
    assert_eq!(lower("absent").unwrap_err(), Errno::ENOENT);
    assert_eq!(lower("dangling").unwrap_err(), Errno::ENOENT);
    assert_eq!(lower("file/x").unwrap_err(), Errno::ENOTDIR);
    assert_eq!(lower("file").unwrap_err(), Errno::EINVAL);
    assert_eq!(lower("fifo").unwrap_err(), Errno::EINVAL);
    let layer = lower("link").unwrap();
    assert!(layer.upper().is_none());
    assert_eq!(layer.workdir(), None);
    let error = DirLayer::open_lower(p("file")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.to_string().contains("not a directory"), "{error}");
}

#[test]
fn upper_and_work_are_apart_on_one_mount() {
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    for dir in ["up/in", "wd/in", "up2"] {
        std::fs::create_dir_all(p(dir)).unwrap();
    }
    symlink("up/in", p("link")).unwrap();
    assert_eq!(open(&p("up"), &p("up")).unwrap_err(), Errno::EINVAL);
    assert_eq!(open(&p("up"), &p("up/in")).unwrap_err(), Errno::EINVAL);
    assert_eq!(open(&p("up"), &p("link")).unwrap_err(), Errno::EINVAL);
    assert_eq!(open(&p("wd/in"), &p("wd")).unwrap_err(), Errno::EINVAL);
    assert_eq!(open(&p("up"), &p("absent")).unwrap_err(), Errno::ENOENT);
    let shm = Path::new("/dev/shm");
    if std::fs::metadata(shm).is_ok_and(|m| m.dev() != t.path().metadata().unwrap().dev()) {
        assert_eq!(open(&p("up"), shm).unwrap_err(), Errno::EINVAL);
    }
    open(&p("up"), &p("wd")).unwrap();
}

#[test]
fn one_writer_at_a_time() {
    let t = Upper::new();
    let (up, wd) = (t.path(""), t.work_path(""));
    assert_eq!(open(&up, &wd).unwrap_err(), Errno::EBUSY);
    let clone = t.layer.clone();
    let node = t.root();
    drop(t.layer);
    assert_eq!(open(&up, &wd).unwrap_err(), Errno::EBUSY);
    drop(clone);
    open(&up, &wd).unwrap();
    assert!(node.metadata().unwrap().is_dir());
}

#[test]
fn leftovers_are_swept_whatever_they_are() {
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    for dir in [
        "up",
        "wd/work/a/b/c/d/e",
        "wd/index/#3/x/y",
        "wd/index/00fb",
        "out",
        "wd/other",
    ] {
        std::fs::create_dir_all(p(dir)).unwrap();
    }
    for file in [
        "out/keep",
        "wd/work/a/b/f",
        "wd/work/a/b/c/f",
        "wd/index/#1",
        "wd/#mine",
    ] {
        std::fs::write(p(file), "x").unwrap();
    }
    std::fs::create_dir(p("wd/work/incompat")).unwrap();
    symlink(p("out"), p("wd/work/a/b/link")).unwrap();
    symlink(p("out"), p("wd/index/#2")).unwrap();
    mknod(&p("wd/work/a/fifo"), SysType::Fifo, 0, 0);
    std::fs::set_permissions(p("wd/work/a/b"), PermissionsExt::from_mode(0o0)).unwrap();

    let layer = open(&p("up"), &p("wd")).unwrap();
    assert_eq!(names(&layer.work().unwrap()), Vec::<String>::new());
    assert!(p("out/keep").exists());
    assert!(p("wd/other").exists() && p("wd/#mine").exists());
    let index = layer.index(false).unwrap().unwrap();
    assert_eq!(names(&index), ["00fb"]);
    let mode = p("wd/work").symlink_metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode, if is_root() { 0 } else { 0o700 });
}

#[test]
fn work_that_is_no_directory_is_replaced() {
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    for dir in ["up", "wd", "out"] {
        std::fs::create_dir(p(dir)).unwrap();
    }
    std::fs::write(p("out/keep"), "").unwrap();
    symlink("../out", p("wd/work")).unwrap();
    let layer = open(&p("up"), &p("wd")).unwrap();
    assert!(p("out/keep").exists());
    assert!(p("wd/work").symlink_metadata().unwrap().is_dir());
    assert!(layer.index(false).unwrap().is_none());
    assert!(layer.index(true).unwrap().is_some());
    assert!(p("wd/index").is_dir());
}

#[test]
fn a_volatile_mark_stops_and_nothing_is_swept() {
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    for dir in ["up", "wd/work/incompat/volatile", "wd/work/#1"] {
        std::fs::create_dir_all(p(dir)).unwrap();
    }
    assert_eq!(open(&p("up"), &p("wd")).unwrap_err(), Errno::EINVAL);
    assert!(p("wd/work/#1").exists());
}

#[test]
fn thousands_of_levels_are_swept() {
    let t = tempfile::tempdir().unwrap();
    std::fs::create_dir(t.path().join("up")).unwrap();
    std::fs::create_dir_all(t.path().join("wd/work")).unwrap();
    deepen(&t.path().join("wd/work"), 3000);
    let layer = open(&t.path().join("up"), &t.path().join("wd")).unwrap();
    assert_eq!(names(&layer.work().unwrap()), Vec::<String>::new());
}

#[test]
fn identity_and_namespace() {
    let t = Upper::new();
    let path = t.path("");
    let lower = DirLayerOptions::new()
        .namespace(XattrNamespace::User)
        .open_lower(&path)
        .unwrap();
    assert_eq!(lower.identity().namespace, XattrNamespace::User);
    assert_eq!(lower.identity().fs, t.layer.identity().fs);
    assert_eq!(lower.identity().uuid, t.layer.identity().uuid);
    let expected = if is_root() {
        XattrNamespace::Trusted
    } else {
        XattrNamespace::User
    };
    assert_eq!(t.layer.identity().namespace, expected);
    let statfs = lower.statfs().unwrap();
    assert!(statfs.name_bytes_max >= 255 && statfs.blocks > 0);
    println!("{:?}", t.layer.capabilities());
    println!("{:?}", t.layer.identity());
}

#[test]
fn a_mounted_overlay_keeps_its_directories() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    for dir in ["lo", "u p,x", "wd", "mnt", "ro", "elsewhere"] {
        std::fs::create_dir(p(dir)).unwrap();
    }
    std::fs::create_dir(p("ro/up")).unwrap();
    std::fs::create_dir(p("ro/wd")).unwrap();
    let root = t.path().display();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "overlay", "ovl", "-o"])
        .arg(format!(
            "lowerdir={root}/lo,upperdir={root}/u p\\,x,workdir={root}/wd"
        ))
        .arg(p("mnt"))
        .status()
        .is_ok_and(|s| s.success());
    if !mounted {
        println!("skipped: cannot mount");
        return;
    }
    let busy = open(&p("u p,x"), &p("elsewhere"));
    let over = std::fs::create_dir(p("mnt/up")).and_then(|()| std::fs::create_dir(p("mnt/wd")));
    let on_overlay = open(&p("mnt/up"), &p("mnt/wd"));
    let lower_on_overlay = DirLayer::open_lower(p("mnt")).map(drop);
    let run = |args: &[&str]| {
        let out = std::process::Command::new("mount").args(args).status();
        assert!(out.unwrap().success());
    };
    let ro = p("ro").display().to_string();
    run(&["--bind", &ro, &ro]);
    run(&["-o", "remount,bind,ro", &ro]);
    let read_only = open(&p("ro/up"), &p("ro/wd"));
    let crossed = {
        let root = DirLayer::open_lower(t.path()).unwrap().root().unwrap();
        root.lookup(&n("ro")).map(|_| ())
    };
    let covered = {
        let layer = private(t.path());
        let root = layer.root().unwrap();
        (names(&root), names(&get(&root, "mnt").0))
    };
    for mount in ["ro", "mnt"] {
        let out = std::process::Command::new("umount").arg(p(mount)).status();
        assert!(out.unwrap().success());
    }
    over.unwrap();
    assert_eq!(busy.unwrap_err(), Errno::EBUSY);
    assert_eq!(on_overlay.unwrap_err(), Errno::EINVAL);
    assert_eq!(read_only.unwrap_err(), Errno::EINVAL);
    assert_eq!(errno(crossed), Errno::EREMOTE);
    assert!(covered.0.contains(&"ro".to_owned()), "{:?}", covered.0);
    assert_eq!(covered.1, Vec::<String>::new());
    lower_on_overlay.unwrap();
    open(&p("u p,x"), &p("elsewhere")).unwrap();
}

fn private(path: &Path) -> DirLayer {
    let options = DirLayerOptions::new().private_mount(true);
    options.open_lower(path).unwrap()
}

/// Whether it is permitted or not.
#[test]
fn a_layer_on_a_private_mount_is_the_same_layer() {
    let t = tempfile::tempdir().unwrap();
    let p = |name: &str| t.path().join(name);
    std::fs::create_dir_all(p("layer/d")).unwrap();
    std::fs::create_dir(p("outside")).unwrap();
    std::fs::write(p("layer/d/f"), "x").unwrap();
    let (layer, plain) = (
        private(&p("layer")),
        DirLayer::open_lower(p("layer")).unwrap(),
    );
    assert_eq!(layer.ancestors().unwrap(), plain.ancestors().unwrap());
    assert!(!layer.ancestors().unwrap().is_empty());
    assert_eq!(layer.identity(), plain.identity());
    let roots = [layer.root().unwrap(), plain.root().unwrap()];
    assert_eq!(roots[0].metadata().unwrap(), roots[1].metadata().unwrap());
    let (d, _) = get(&roots[0], "d");
    let (f, _) = get(&d, "f");
    assert_eq!(f.open(Access::Read).unwrap().metadata().unwrap().size, 1);
    std::fs::rename(p("layer/d/f"), p("layer/d/g")).unwrap();
    assert_eq!(errno(f.open(Access::Read)), Errno::ESTALE);
    if is_root() {
        mknod(&p("layer/d/f"), SysType::CharacterDevice, 1, 3);
        assert_eq!(errno(f.open(Access::Read)), Errno::ESTALE);
    }
    // Handles find what lies in the layer, and nothing else.
    let outer = DirLayer::open_lower(t.path()).unwrap().root().unwrap();
    let handle = |node: &NodeRef| node.file_handle().unwrap().unwrap();
    if layer.capabilities().file_handles {
        let found = layer.by_handle(&handle(&d)).unwrap().unwrap();
        assert_eq!(names(&found).len(), if is_root() { 2 } else { 1 });
        let outside = handle(&get(&outer, "outside").0);
        assert!(layer.by_handle(&outside).unwrap().is_none());
    }
    drop(t);
    assert_eq!(errno(layer.root()), Errno::ESTALE);
}
