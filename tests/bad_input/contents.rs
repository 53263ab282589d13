//! Layers that hold what was put there to do harm.

use std::os::unix::fs::symlink;

use layerstack::backend::AllocateMode;
use layerstack::{
    Errno, LayerId, OpenOptions, Overlay, RenameFlags, SetTime, Timestamp, display_path,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::place::{Dirs, fails, told};

const LOWER: LayerId = LayerId::Lower(0);

fn write_only() -> OpenOptions {
    OpenOptions::new().write(true)
}

/// Symlinks of a layer mean names in the union, wherever they point.
#[test]
fn symlinks_stay_inside() {
    let dirs = Dirs::new();
    let outside = dirs.at("outside").into_os_string().into_string().unwrap();
    let up = "../".repeat(40);
    let links = [
        ("abs", outside.clone()),
        ("up", format!("{up}{}", &outside[1..])),
        ("etc", String::from("/etc")),
        ("proc", String::from("/proc/self/root/etc")),
    ];
    for layer in ["lower", "upper"] {
        for (name, target) in &links {
            symlink(target, dirs.at(layer).join(format!("{layer}-{name}"))).unwrap();
        }
    }
    let overlay = dirs.open();
    dirs.unchanged(|| {
        for layer in ["lower", "upper"] {
            for (name, _) in &links {
                let link = format!("/{layer}-{name}");
                for path in [format!("{link}/secret"), format!("{link}/passwd"), link] {
                    let want = |op| told(Errno::ENOENT, op, &path, None);
                    fails(overlay.read(&path), &want("open"));
                    fails(overlay.metadata(&path), &want("metadata"));
                    fails(overlay.read_dir(&path), &want("read_dir"));
                    fails(overlay.open(&path, &write_only()), &want("open"));
                    fails(
                        overlay.set_permissions(&path, 0o777),
                        &want("set_permissions"),
                    );
                    fails(overlay.set_len(&path, 0), &want("set_len"));
                }
                let below = format!("/{layer}-{name}/new");
                let want = |op| told(Errno::ENOENT, op, &below, None);
                fails(overlay.write(&below, "x"), &want("open"));
                fails(overlay.create_dir(&below, 0o777), &want("create_dir"));
                fails(overlay.remove_file(&below), &want("remove_file"));
                fails(overlay.remove_dir_all(&below), &want("remove_dir_all"));
            }
        }
        for entry in overlay.walk("/") {
            let entry = entry.unwrap();
            assert!(entry.depth() <= 1, "{}", display_path(entry.path()));
        }
    });
    // Removing and changing a link is about the link.
    let old = SetTime::At(Timestamp::new(1, 0));
    overlay.set_times("/lower-abs", old, old, false).unwrap();
    overlay.remove_dir_all("/lower-abs").unwrap_err();
    overlay.remove_file("/lower-abs").unwrap();
    overlay.rename("/lower-up", "/upper-up").unwrap();
    assert_eq!(std::fs::read(dirs.at("outside/secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(dirs.at("outside")).unwrap().count(), 1);
}

#[test]
fn too_many_symlinks() {
    let dirs = Dirs::new();
    dirs.file("lower/link0", "end");
    for i in 1..=41 {
        symlink(format!("link{}", i - 1), dirs.at(&format!("lower/link{i}"))).unwrap();
    }
    symlink("b", dirs.at("lower/a")).unwrap();
    symlink("a", dirs.at("lower/b")).unwrap();
    symlink("self/x", dirs.at("lower/self")).unwrap();
    let overlay = dirs.open();
    assert_eq!(overlay.read("/link40").unwrap(), b"end");
    dirs.unchanged(|| {
        for path in ["/link41", "/a", "/self", "/self/y", "/a/b/c"] {
            let want = |op| told(Errno::ELOOP, op, path, None);
            fails(overlay.read(path), &want("open"));
            fails(overlay.metadata(path), &want("metadata"));
            fails(overlay.write(path, "x"), &want("open"));
            assert!(
                overlay.resolve(path).is_ok(),
                "an explanation is no failure"
            );
        }
        let no_follow = OpenOptions::new().read(true).no_follow(true);
        let want = told(Errno::ELOOP, "open", "/link1", None);
        fails(overlay.open("/link1", &no_follow), &want);
    });
}

/// One operation on the tree; answers with data if it reads.
type Try = fn(&Overlay) -> layerstack::Result<Vec<u8>>;

/// What was looked up and is then exchanged for something else, behind the union's back.
#[test]
fn swapped_while_open() {
    let swaps: [fn(&Dirs, &str); 3] = [
        |dirs, path| symlink(dirs.at("outside"), dirs.at(path)).unwrap(),
        |dirs, path| dirs.file(path, "a file"),
        |dirs, path| mknodat(CWD, dirs.at(path), FileType::Fifo, Mode::RWXU, 0).unwrap(),
    ];
    for layer in ["lower", "upper"] {
        for swap in swaps {
            let dirs = Dirs::new();
            dirs.file(&format!("{layer}/d/secret"), "public");
            dirs.file(&format!("{layer}/d/e/f"), "public");
            let overlay = dirs.open();
            assert_eq!(overlay.read("/d/secret").unwrap(), b"public");
            assert_eq!(overlay.read("/d/e/f").unwrap(), b"public");
            let d = format!("{layer}/d");
            std::fs::rename(dirs.at(&d), dirs.at("moved-away")).unwrap();
            swap(&dirs, &d);
            // What they come to is undefined, but it is not outside, and ends.
            let tries: [Try; 8] = [
                |o| o.read("/d/secret"),
                |o| o.read("/d/e/f"),
                |o| o.write("/d/secret", "overwritten").map(|()| Vec::new()),
                |o| o.write("/d/new", "new").map(|()| Vec::new()),
                |o| o.remove_file("/d/secret").map(|()| Vec::new()),
                |o| o.set_permissions("/d", 0o777).map(|()| Vec::new()),
                |o| o.rename("/d/secret", "/got").map(|()| Vec::new()),
                |o| o.remove_dir_all("/d").map(|()| Vec::new()),
            ];
            for attempt in tries {
                match attempt(&overlay) {
                    Ok(data) => assert_ne!(data, b"secret"),
                    Err(e) => assert!(!e.op().is_empty() && e.path().starts_with("/d"), "{e}"),
                }
            }
            let secret = std::fs::read(dirs.at("outside/secret")).unwrap();
            assert_eq!(secret, b"secret");
            assert_eq!(std::fs::read_dir(dirs.at("outside")).unwrap().count(), 1);
        }
    }
}

/// The root of a layer is the directory that was opened, whatever its name means later.
#[test]
fn a_root_swapped_while_open() {
    let dirs = Dirs::new();
    dirs.file("lower/f", "public");
    dirs.file("outside/f", "secret");
    let overlay = dirs.open();
    for name in ["lower", "upper", "work"] {
        std::fs::rename(dirs.at(name), dirs.at(&format!("{name}-moved"))).unwrap();
        symlink("outside", dirs.at(name)).unwrap();
    }
    assert_eq!(overlay.read("/f").unwrap(), b"public");
    overlay.write("/f", "changed").unwrap();
    overlay.write("/new", "new").unwrap();
    assert_eq!(std::fs::read(dirs.at("outside/f")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(dirs.at("outside")).unwrap().count(), 2);
    assert_eq!(std::fs::read(dirs.at("upper-moved/f")).unwrap(), b"changed");
}

/// Sweeping the work directory follows no symlink.
#[test]
fn a_work_directory_with_symlinks() {
    for name in ["work", "index"] {
        let dirs = Dirs::new();
        symlink(dirs.at("outside"), dirs.at("work").join(name)).unwrap();
        let _ = dirs.open_upper();
        assert_eq!(std::fs::read(dirs.at("outside/secret")).unwrap(), b"secret");
    }
    let dirs = Dirs::new();
    std::fs::create_dir_all(dirs.at("work/work/deep/er")).unwrap();
    symlink(dirs.at("outside"), dirs.at("work/work/link")).unwrap();
    symlink(dirs.at("outside"), dirs.at("work/work/deep/er/link")).unwrap();
    dirs.open_upper().unwrap();
    assert_eq!(std::fs::read_dir(dirs.at("work/work")).unwrap().count(), 0);
    assert_eq!(std::fs::read(dirs.at("outside/secret")).unwrap(), b"secret");
}

/// A fifo has no content that a layer could give, and nobody waits for it.
#[test]
fn a_fifo_for_a_file() {
    for layer in ["lower", "upper"] {
        let dirs = Dirs::new();
        mknodat(
            CWD,
            dirs.at(layer).join("fifo"),
            FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        mknodat(
            CWD,
            dirs.at(layer).join("socket"),
            FileType::Socket,
            Mode::RWXU,
            0,
        )
        .unwrap();
        let overlay = dirs.open();
        for path in ["/fifo", "/socket"] {
            dirs.unchanged(|| {
                let read = OpenOptions::new().read(true);
                let want = |errno, op| told(errno, op, path, None);
                for options in [
                    read.clone(),
                    read.write(true),
                    OpenOptions::new().append(true),
                ] {
                    fails(overlay.open(path, &options), &want(Errno::ENXIO, "open"));
                }
                fails(overlay.read(path), &want(Errno::ENXIO, "open"));
                fails(overlay.copy(path, "/to"), &want(Errno::ENXIO, "copy"));
                fails(overlay.set_len(path, 1), &want(Errno::EINVAL, "set_len"));
                let got = overlay.allocate(path, AllocateMode::PunchHole, 0, 1);
                fails(got, &want(Errno::ENXIO, "open"));
                fails(overlay.read_dir(path), &want(Errno::ENOTDIR, "read_dir"));
            });
            // As an object it is one like others.
            overlay.set_permissions(path, 0o600).unwrap();
            overlay
                .rename_with(path, "/new", RenameFlags::NO_REPLACE)
                .unwrap();
            overlay.remove_file("/new").unwrap();
        }
    }
}

/// A lower that turns into a fifo under an open union is not opened either.
#[test]
fn a_file_that_becomes_a_fifo() {
    let dirs = Dirs::new();
    dirs.file("lower/f", "data");
    let overlay = dirs.open();
    overlay.metadata("/f").unwrap();
    std::fs::remove_file(dirs.at("lower/f")).unwrap();
    mknodat(CWD, dirs.at("lower/f"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    dirs.unchanged(|| {
        let error = fails(
            overlay.read("/f"),
            &told(Errno::ESTALE, "open", "/f", LOWER),
        );
        assert_eq!(error.kind(), layerstack::ErrorKind::Stale);
        let got = overlay.open("/f", &write_only());
        fails(got, &told(Errno::ESTALE, "open", "/f", LOWER));
    });
}
