//! Names, paths and numbers at and beyond their limits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layerstack::backend::{AllocateMode, XattrMode};
use layerstack::{Errno, FileType, LayerStack, OpenOptions, Overlay, XattrName};

use crate::place::{Dirs, fails, told};

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Every operation that takes a path fails alike at a path that cannot be one.
fn all_fail(overlay: &Overlay, bad: &Path, errno: Errno) {
    let o = overlay;
    let want = |op| told(errno, op, bad, None);
    fails(o.metadata(bad), &want("metadata"));
    fails(o.symlink_metadata(bad), &want("symlink_metadata"));
    fails(o.read_link(bad), &want("read_link"));
    fails(o.read_dir(bad), &want("read_dir"));
    fails(o.read(bad), &want("open"));
    fails(o.write(bad, ""), &want("open"));
    fails(o.open_dir(bad), &want("open_dir"));
    fails(o.create_dir(bad, 0o755), &want("create_dir"));
    fails(o.create_dir_all(bad, 0o755), &want("create_dir_all"));
    fails(o.symlink("x", bad), &want("symlink"));
    let rdev = layerstack::DeviceId::default();
    fails(o.mknod(bad, FileType::Fifo, 0o600, rdev), &want("mknod"));
    fails(o.remove_file(bad), &want("remove_file"));
    fails(o.remove_dir(bad), &want("remove_dir"));
    fails(o.remove_dir_all(bad), &want("remove_dir_all"));
    fails(o.rename(bad, "/to"), &want("rename"));
    fails(o.hard_link(bad, "/to"), &want("hard_link"));
    fails(o.copy(bad, "/to"), &want("copy"));
    fails(o.set_len(bad, 0), &want("set_len"));
    fails(o.set_permissions(bad, 0), &want("set_permissions"));
    fails(o.set_owner(bad, None, Some(1), true), &want("set_owner"));
    let name = XattrName::new("user.a").unwrap();
    fails(o.xattr(bad, &name, true), &want("get_xattr"));
    fails(
        o.set_xattr(bad, &name, "", XattrMode::Set, true),
        &want("set_xattr"),
    );
    fails(o.remove_xattr(bad, &name, true), &want("remove_xattr"));
    fails(o.walk(bad).next().unwrap(), &want("walk"));
    // The second path is told too.
    let error = fails(o.rename("/f", bad), &told(errno, "rename", "/f", None));
    assert_eq!(error.to(), Some(bad));
    let error = fails(
        o.hard_link("/f", bad),
        &told(errno, "hard_link", "/f", None),
    );
    assert_eq!(error.to(), Some(bad));
}

#[test]
fn impossible_paths() {
    let dirs = Dirs::new();
    dirs.file("lower/f", "data");
    let overlay = dirs.open();
    let long = [&b"/"[..], &[b'x'; 256]].concat();
    dirs.unchanged(|| {
        all_fail(&overlay, Path::new(""), Errno::ENOENT);
        all_fail(&overlay, &path(b"/a\0b"), Errno::EINVAL);
        all_fail(&overlay, &path(b"\0"), Errno::EINVAL);
        all_fail(&overlay, &path(&long), Errno::ENAMETOOLONG);
        all_fail(
            &overlay,
            &path(&[&long[..], b"/below"].concat()),
            Errno::ENAMETOOLONG,
        );
        all_fail(&overlay, Path::new("/f/below"), Errno::ENOTDIR);
    });
}

#[test]
fn odd_names() {
    let dirs = Dirs::new();
    let names: [&[u8]; 8] = [
        &[b'n'; 255],
        &[0xff; 255],
        b"new\nline",
        b"\x01\x7f\xc3\x28",
        b"back\\slash",
        b" ",
        b"...",
        b"-rf",
    ];
    for name in names {
        std::fs::write(dirs.at("lower").join(path(name)), name).unwrap();
    }
    let overlay = dirs.open();
    assert_eq!(overlay.read_dir("/").unwrap().len(), names.len());
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        let at = path(&[b"/", name].concat());
        assert_eq!(overlay.read(&at).unwrap(), name);
        overlay.write(&at, "changed").unwrap();
        assert_eq!(
            std::fs::read(dirs.at("upper").join(path(name))).unwrap(),
            b"changed"
        );
        // Failures name them in one line, each in a way of its own.
        let error = overlay.read_dir(&at).unwrap_err();
        assert_eq!(
            (error.errno(), error.path()),
            (Errno::ENOTDIR, at.as_path())
        );
        let line = error.to_string();
        assert!(!line.bytes().any(|b| b < b' ' || b == 0x7f), "{line:?}");
        assert!(seen.insert(line));
        overlay.create_dir("/d", 0o755).unwrap();
        overlay
            .rename(&at, Path::new("/d").join(path(name)))
            .unwrap();
        overlay.remove_dir_all("/d").unwrap();
        overlay.create_dir(&at, 0o755).unwrap();
        overlay.remove_dir(&at).unwrap();
    }
    assert_eq!(overlay.read_dir("/").unwrap().len(), 0);
}

/// Deeper than `PATH_MAX`, which is a limit of system calls and not of trees.
#[test]
fn long_paths() {
    let dirs = Dirs::new();
    let overlay = dirs.open();
    let long = "/directory".repeat(600);
    overlay.create_dir_all(&long, 0o755).unwrap();
    let file = format!("{long}/file");
    overlay.write(&file, "deep").unwrap();
    assert_eq!(overlay.read(&file).unwrap(), b"deep");
    let want = told(Errno::ENOTDIR, "read_dir", &file, None);
    fails(overlay.read_dir(&file), &want);
    overlay.remove_dir_all("/directory").unwrap();
    // A symlink's target is stored in one piece.
    let target = "x".repeat(5000);
    dirs.unchanged(|| {
        let want = told(Errno::ENAMETOOLONG, "symlink", "/link", None);
        let got = overlay.symlink(&target, "/link").map_err(|e| {
            assert!(e.layer().is_none() || e.layer() == Some(layerstack::LayerId::Upper));
            layerstack::Error::new(e.op(), e.path(), e.errno())
        });
        fails(got, &want);
    });
}

#[test]
fn impossible_numbers() {
    let dirs = Dirs::new();
    dirs.file("lower/f", "data");
    let on_disk = dirs.open();
    let memory = layerstack::backend::memory::MemLayer::builder().file("f", "data");
    let lower = LayerStack::from_top([memory.build().unwrap()]).unwrap();
    let in_memory = Overlay::new(&lower, layerstack::backend::memory::MemLayer::new()).unwrap();
    for overlay in [on_disk, in_memory] {
        let options = OpenOptions::new().read(true).write(true);
        let file = overlay.open("/f", &options).unwrap();
        let most = i64::MAX as u64;
        let mut buffer = [0; 4];
        let op = |op, errnos: &[Errno], got: layerstack::Result<()>| {
            let error = got.expect_err(op);
            assert_eq!((error.op(), error.path()), (op, Path::new("/f")), "{error}");
            assert!(errnos.contains(&error.errno()), "{error}");
        };
        let (inval, big) = (
            [Errno::EINVAL],
            [Errno::EFBIG, Errno::EINVAL, Errno::ENOSPC],
        );
        op("file.write", &big, file.write_all_at(b"x", u64::MAX));
        op("file.write", &big, file.write_all_at(b"x", most + 1));
        op("file.write", &big, file.write_all_at(b"xx", most));
        op("file.set_len", &inval, file.set_len(most + 1));
        op("set_len", &inval, overlay.set_len("/f", u64::MAX));
        // Behind the end there is nothing, however far; what is no position may be refused.
        assert_eq!(file.read_at(&mut buffer, most - 4).unwrap(), 0);
        match file.read_at(&mut buffer, u64::MAX) {
            Ok(n) => assert_eq!(n, 0),
            Err(e) => op("file.read", &inval, Err(e)),
        }
        let keep = AllocateMode::AllocateKeepSize;
        op("file.allocate", &inval, file.allocate(keep, u64::MAX, 1));
        op("file.allocate", &inval, file.allocate(keep, 0, 0));
        op("file.allocate", &big, file.allocate(keep, most, 1));
        op("file.allocate", &big, file.allocate(keep, 1, u64::MAX));
        assert_eq!(overlay.read("/f").unwrap(), b"data");
        // Without the right to write, or to read.
        let reader = overlay.open_file("/f").unwrap();
        op("file.write", &[Errno::EBADF], reader.write_all_at(b"x", 0));
        op("file.set_len", &inval, reader.set_len(0));
        let writer = overlay.open("/f", &OpenOptions::new().write(true)).unwrap();
        op(
            "file.read",
            &[Errno::EBADF],
            writer.read_at(&mut buffer, 0).map(drop),
        );
        let got = overlay.open("/f", &OpenOptions::new());
        fails(got, &told(Errno::EINVAL, "open", "/f", None));
        assert_eq!(overlay.read("/f").unwrap(), b"data");
    }
}
