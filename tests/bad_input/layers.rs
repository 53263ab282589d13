//! Directories that cannot be layers.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use layerstack::backend::memory::MemLayer;
use layerstack::{DirLayer, Errno, ErrorKind, LOWER_LAYERS_MAX, LayerId, LayerStack, Overlay};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::place::{Dirs, fails, told};
use crate::support::child::as_nobody;
use crate::support::namespace::{in_mount_namespace, require_kernel};

const OPEN: &str = "open layer";
const STACK: &str = "open overlay";
const LOWER: LayerId = LayerId::Lower(0);

#[test]
fn missing() {
    let dirs = Dirs::new();
    dirs.unchanged(|| {
        let none = dirs.at("none");
        let want = |layer| told(Errno::ENOENT, OPEN, &none, layer);
        fails(DirLayer::open_lower(&none), &want(LOWER));
        fails(
            DirLayer::open_upper(&none, dirs.at("work")),
            &want(LayerId::Upper),
        );
        fails(
            DirLayer::open_upper(dirs.at("upper"), &none),
            &want(LayerId::Work),
        );
        let want = told(Errno::ENOENT, OPEN, "", LOWER);
        fails(DirLayer::open_lower(""), &want);
        let long = dirs.at(&"x".repeat(256));
        let want = told(Errno::ENAMETOOLONG, OPEN, &long, LOWER);
        fails(DirLayer::open_lower(&long), &want);
    });
}

#[test]
fn unreadable() {
    if !as_nobody("layers::unreadable") {
        return;
    }
    let dirs = Dirs::new();
    let locked = dirs.at("locked");
    std::fs::create_dir_all(locked.join("inside")).unwrap();
    let lock = |mode| std::fs::set_permissions(&locked, PermissionsExt::from_mode(mode)).unwrap();
    for (mode, path) in [
        (0o311, locked.clone()),
        (0, locked.clone()),
        (0, locked.join("inside")),
    ] {
        lock(mode);
        let want = |layer| told(Errno::EACCES, OPEN, &path, layer);
        let error = fails(DirLayer::open_lower(&path), &want(LOWER));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        fails(
            DirLayer::open_upper(&path, dirs.at("work")),
            &want(LayerId::Upper),
        );
        fails(
            DirLayer::open_upper(dirs.at("upper"), &path),
            &want(LayerId::Work),
        );
    }
    // It may be read but not written: its staging directory cannot be made.
    lock(0o555);
    let got = DirLayer::open_upper(dirs.at("upper"), &locked);
    fails(got, &told(Errno::EACCES, OPEN, &locked, LayerId::Work));
    lock(0o755);
    // A directory in a layer that may not be read.
    dirs.file("lower/d/f", "");
    let overlay = dirs.open();
    let dir = dirs.at("lower/d");
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o0)).unwrap();
    for got in [
        overlay.read_dir("/d").map(drop),
        overlay.read("/d/f").map(drop),
    ] {
        let error = got.unwrap_err();
        assert_eq!(
            (error.errno(), error.layer()),
            (Errno::EACCES, Some(LOWER)),
            "{error}"
        );
    }
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn no_directory() {
    let dirs = Dirs::new();
    dirs.file("file", "");
    symlink("file", dirs.at("link")).unwrap();
    mknodat(CWD, dirs.at("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    mknodat(CWD, dirs.at("socket"), FileType::Socket, Mode::RWXU, 0).unwrap();
    dirs.unchanged(|| {
        // Opening a fifo must not wait for who writes into it.
        for name in ["file", "link", "fifo", "socket"] {
            let path = dirs.at(name);
            let want = |layer| told(Errno::EINVAL, OPEN, &path, layer);
            let error = fails(DirLayer::open_lower(&path), &want(LOWER));
            assert_eq!(
                (error.kind(), error.rule()),
                (ErrorKind::InvalidConfig, Some("R009"))
            );
            fails(
                DirLayer::open_upper(&path, dirs.at("work")),
                &want(LayerId::Upper),
            );
            fails(
                DirLayer::open_upper(dirs.at("upper"), &path),
                &want(LayerId::Work),
            );
        }
        let below = dirs.at("file/below");
        fails(
            DirLayer::open_lower(&below),
            &told(Errno::ENOTDIR, OPEN, &below, LOWER),
        );
    });
    // A symlink to a directory is followed, here and only here.
    symlink("lower", dirs.at("to-dir")).unwrap();
    DirLayer::open_lower(dirs.at("to-dir")).unwrap();
    symlink("loop", dirs.at("loop")).unwrap();
    let path = dirs.at("loop");
    fails(
        DirLayer::open_lower(&path),
        &told(Errno::ELOOP, OPEN, &path, LOWER),
    );
}

#[test]
fn upper_and_work_overlap() {
    let dirs = Dirs::new();
    std::fs::create_dir_all(dirs.at("upper/a/in")).unwrap();
    symlink("upper", dirs.at("other-name")).unwrap();
    dirs.unchanged(|| {
        for (upper, work) in [
            ("upper", "upper"),
            ("upper", "other-name"),
            ("upper", "upper/a"),
            ("upper", "upper/a/in"),
            ("upper/a", "upper"),
            ("upper/a/in", "upper/a/../."),
        ] {
            let work = dirs.at(work);
            let got = DirLayer::open_upper(dirs.at(upper), &work);
            let error = fails(got, &told(Errno::EINVAL, OPEN, &work, LayerId::Work));
            assert_eq!(error.rule(), Some("R008"), "{error}");
        }
    });
}

#[test]
fn work_on_another_filesystem() {
    let dirs = Dirs::new();
    let other = tempfile::tempdir_in("/tmp").unwrap();
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    if device(other.path()) == device(&dirs.at("upper")) {
        eprintln!("skipped: /tmp and /dev/shm are one filesystem");
        return;
    }
    dirs.unchanged(|| {
        let got = DirLayer::open_upper(dirs.at("upper"), other.path());
        let error = fails(got, &told(Errno::EINVAL, OPEN, other.path(), LayerId::Work));
        assert_eq!(error.rule(), Some("R007"));
    });
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn work_on_another_mount() {
    if !require_kernel() {
        return;
    }
    let dirs = Dirs::new();
    std::fs::create_dir(dirs.at("bound")).unwrap();
    in_mount_namespace(|| {
        let (bind, none): (_, Option<&str>) = (nix::mount::MsFlags::MS_BIND, None);
        let (from, to) = (dirs.at("work"), dirs.at("bound"));
        nix::mount::mount(Some(&from), &to, none, bind, none).unwrap();
        let got = DirLayer::open_upper(dirs.at("upper"), &to);
        let error = fails(got, &told(Errno::EINVAL, OPEN, &to, LayerId::Work));
        assert_eq!(error.rule(), Some("R007"));
        nix::mount::umount(&to).unwrap();
    });
}

#[test]
fn too_many_lowers() {
    let layer = |i: usize| {
        let name = format!("f{i}");
        MemLayer::builder()
            .label(format!("l{i}"))
            .file(name, "")
            .build()
            .unwrap()
    };
    let most = LayerStack::from_top((0..LOWER_LAYERS_MAX).map(layer)).unwrap();
    assert_eq!(most.read_dir("/").unwrap().len(), 500);
    let got = LayerStack::from_top((0..=LOWER_LAYERS_MAX).map(layer));
    let error = fails(
        got,
        &told(Errno::EINVAL, STACK, "l500", LayerId::Lower(500)),
    );
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::InvalidConfig, Some("R002"))
    );
    let none: [MemLayer; 0] = [];
    let error = fails(
        LayerStack::from_top(none),
        &told(Errno::EINVAL, STACK, "", LOWER),
    );
    assert_eq!(error.rule(), Some("R003"));
}

#[test]
fn one_directory_twice() {
    let dirs = Dirs::new();
    symlink("lower", dirs.at("other-name")).unwrap();
    let lower = |name: &str| DirLayer::open_lower(dirs.at(name)).unwrap();
    for second in ["lower", "other-name"] {
        let got = LayerStack::from_top([lower("lower"), lower(second)]);
        let path = dirs.at(second);
        fails(got, &told(Errno::ELOOP, STACK, &path, LayerId::Lower(1)));
    }
    let stack = LayerStack::from_top([lower("upper")]).unwrap();
    let upper = dirs.open_upper().unwrap();
    dirs.unchanged(|| {
        let got = Overlay::new(&stack, upper);
        let error = fails(got, &told(Errno::ELOOP, STACK, &dirs.at("upper"), LOWER));
        assert_eq!(error.rule(), Some("R014"));
    });
}

/// Rule R015.
#[test]
fn a_lower_inside_another_layer() {
    let dirs = Dirs::new();
    std::fs::create_dir_all(dirs.at("lower/in/side")).unwrap();
    let lower = |name: &str| DirLayer::open_lower(dirs.at(name)).unwrap();
    for pair in [["lower", "lower/in/side"], ["lower/in/side", "lower"]] {
        let inside = pair.iter().position(|name| *name != "lower").unwrap();
        let got = LayerStack::from_top(pair.map(lower));
        let path = dirs.at(pair[inside]);
        let error = fails(
            got,
            &told(Errno::ELOOP, STACK, &path, LayerId::Lower(inside)),
        );
        assert_eq!(error.rule(), Some("R015"));
    }
    for (upper, work) in [("upper", "work"), ("work", "upper")] {
        let path = dirs.at("upper/in/side");
        std::fs::create_dir_all(&path).unwrap();
        let stack = LayerStack::from_top([DirLayer::open_lower(&path).unwrap()]).unwrap();
        let upper = DirLayer::open_upper(dirs.at(upper), dirs.at(work)).unwrap();
        dirs.unchanged(|| {
            let error = fails(
                Overlay::new(&stack, upper),
                &told(Errno::ELOOP, STACK, &path, LOWER),
            );
            assert_eq!(error.rule(), Some("R015"));
        });
    }
}

/// Rule R016: an upper inside a lower is not entered through the lower.
#[test]
fn an_upper_inside_a_lower() {
    let dirs = Dirs::new();
    dirs.file("lower/in/side/f", "");
    dirs.file("lower/f", "");
    std::fs::create_dir(dirs.at("lower/work")).unwrap();
    let upper = DirLayer::open_upper(dirs.at("lower/in"), dirs.at("lower/work")).unwrap();
    let lower = DirLayer::open_lower(dirs.at("lower")).unwrap();
    let overlay = Overlay::new(&LayerStack::from_top([lower]).unwrap(), upper).unwrap();
    dirs.unchanged(|| {
        for path in ["/in", "/in/side"] {
            let error = overlay.metadata(path).expect_err(path);
            assert_eq!(
                (error.errno(), error.rule()),
                (Errno::ELOOP, Some("R016")),
                "{error}"
            );
            assert_eq!((error.op(), error.path()), ("metadata", Path::new(path)));
        }
        let names = overlay.read_dir_sorted("/").unwrap();
        let names: Vec<_> = names.iter().map(|e| e.name.to_string()).collect();
        assert_eq!(names, ["f", "in", "side", "work"]);
    });
}

/// Rule R016 again: so is a work directory.
#[test]
fn a_work_directory_inside_a_lower() {
    let dirs = Dirs::new();
    std::fs::create_dir(dirs.at("lower/work")).unwrap();
    let upper = DirLayer::open_upper(dirs.at("upper"), dirs.at("lower/work")).unwrap();
    let lower = DirLayer::open_lower(dirs.at("lower")).unwrap();
    let overlay = Overlay::new(&LayerStack::from_top([lower]).unwrap(), upper).unwrap();
    let error = overlay.metadata("/work").unwrap_err();
    assert_eq!(
        (error.errno(), error.rule()),
        (Errno::ELOOP, Some("R016")),
        "{error}"
    );
}
