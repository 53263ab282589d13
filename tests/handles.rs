//! Handles to files and directories: they stay what they were opened on.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its part of it"
)]
#[path = "support/child.rs"]
mod child;

use std::io::{Read, Seek, SeekFrom, Write};

use layerstack::backend::AllocateMode;
use layerstack::backend::memory::MemLayer;
use layerstack::{
    DirLayer, Errno, FileType, LayerStack, OpenOptions, Overlay, RenameFlags, SetAttr, XattrName,
};

fn overlay() -> Overlay {
    let lower = MemLayer::builder()
        .file("d/f", b"lower data")
        .file("d/g", b"g")
        .symlink("d/l", "f")
        .dir("e", 0o755)
        .build()
        .unwrap();
    Overlay::new(&LayerStack::from_top([lower]).unwrap(), MemLayer::new()).unwrap()
}

#[test]
fn a_directory_handle_is_a_starting_point_for_everything() {
    let overlay = overlay();
    let dir = overlay.open_dir("/d").unwrap();
    assert_eq!(dir.read("f").unwrap(), b"lower data");
    assert_eq!(
        dir.read("/d/f").unwrap(),
        b"lower data",
        "absolute paths start at the root"
    );
    assert_eq!(dir.read("../d/l").unwrap(), b"lower data");
    assert_eq!(dir.read_link("l").unwrap().to_str(), Some("f"));
    assert!(dir.symlink_metadata("l").unwrap().is_symlink());
    dir.write("new", b"1").unwrap();
    dir.create_dir("sub", 0o755).unwrap();
    dir.remove_file("g").unwrap();
    let names: Vec<String> = dir
        .read_dir_sorted(".")
        .unwrap()
        .iter()
        .map(|e| e.name.to_string())
        .collect();
    assert_eq!(names, ["f", "l", "new", "sub"]);
    assert_eq!(dir.entries().unwrap().len(), 4);
    assert!(!overlay.exists("/d/g").unwrap());
}

#[test]
fn a_directory_handle_survives_rename_and_removal() {
    let overlay = overlay();
    overlay.create_dir("/x", 0o700).unwrap();
    let x = overlay.open_dir("/x").unwrap();
    overlay.rename("/x", "/e/y").unwrap();
    x.write("f", b"here").unwrap();
    assert_eq!(overlay.read("/e/y/f").unwrap(), b"here");
    assert_eq!(x.path().to_str(), Some("/e/y"));
    let e = overlay.open_dir("/e").unwrap();
    x.rename_to("f", &e, "g", RenameFlags::NO_REPLACE).unwrap();
    assert_eq!(overlay.read("/e/g").unwrap(), b"here");
    overlay.remove_dir("/e/y").unwrap();
    assert!(x.entries().unwrap().is_empty());
    assert_eq!(x.write("f", b"").unwrap_err().errno(), Errno::ENOENT);
}

#[test]
fn r293_a_handle_for_reading_sees_what_is_written_after_the_copy_up() {
    let overlay = overlay();
    let reader = overlay.open_file("/d/f").unwrap();
    let before = reader.metadata().unwrap();
    overlay
        .open("/d/f", &OpenOptions::new().append(true))
        .unwrap()
        .write_all(b"!")
        .unwrap();
    let mut buf = [0; 32];
    let n = reader.read_at(&mut buf, 0).unwrap();
    assert_eq!(buf.get(..n), Some(b"lower data!".as_slice()));
    assert_eq!(reader.metadata().unwrap().ino, before.ino, "R295");
    overlay.remove_file("/d/f").unwrap();
    assert_eq!(reader.read_at(&mut buf, 6).unwrap(), 5, "R131");
}

#[test]
fn std_reading_writing_and_seeking() {
    let overlay = overlay();
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o640);
    let mut file = overlay.open("/d/new", &options).unwrap();
    file.write_all(b"0123456789").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "456789");
    assert_eq!(file.seek(SeekFrom::End(-1)).unwrap(), 9);
    assert!(file.seek(SeekFrom::Current(-99)).is_err());
    file.allocate(AllocateMode::PunchHole, 0, 4).unwrap();
    file.set_len(20_000).unwrap();
    assert_eq!(file.next_data(8192).unwrap(), None);
    file.set_attr(&SetAttr::mode(0o600)).unwrap();
    assert_eq!(file.metadata().unwrap().mode, 0o600);
    let name = XattrName::try_from("user.a").unwrap();
    file.set_xattr(&name, Some(b"1"), Default::default())
        .unwrap();
    assert_eq!(overlay.xattr("/d/new", &name, true).unwrap(), b"1");
    file.sync(true).unwrap();
    file.close();
}

#[test]
fn an_unnamed_file_gets_a_name() {
    let overlay = overlay();
    let options = OpenOptions::new().read(true).write(true).tmpfile(true);
    let file = overlay.open("/d", &options).unwrap();
    file.write_all_at(b"staged", 0).unwrap();
    assert_eq!(overlay.read_dir("/d").unwrap().len(), 3);
    overlay.link_file(&file, "/d/published").unwrap();
    assert_eq!(overlay.read("/d/published").unwrap(), b"staged");
    assert_eq!(file.path().to_str(), Some("/d/published"));
    assert_eq!(file.metadata().unwrap().nlink, 1);
}

#[test]
fn wrong_access_is_refused() {
    let overlay = overlay();
    let reader = overlay.open_file("/d/f").unwrap();
    assert_eq!(reader.write_at(b"x", 0).unwrap_err().errno(), Errno::EBADF);
    assert_eq!(reader.set_len(0).unwrap_err().errno(), Errno::EINVAL);
    let writer = overlay
        .open("/d/f", &OpenOptions::new().write(true))
        .unwrap();
    assert_eq!(
        writer.read_at(&mut [0; 1], 0).unwrap_err().errno(),
        Errno::EBADF
    );
    overlay
        .mknod("/d/p", FileType::Fifo, 0o644, Default::default())
        .unwrap();
    assert_eq!(overlay.open_file("/d/p").unwrap_err().errno(), Errno::ENXIO);
    assert_eq!(overlay.open_file("/d").unwrap_err().errno(), Errno::EISDIR);
    assert_eq!(
        overlay.open_dir("/d/f").unwrap_err().errno(),
        Errno::ENOTDIR
    );
}

#[test]
fn a_union_is_a_layer() {
    let inner = overlay();
    inner.write("/d/f", b"inner").unwrap();
    inner.remove_file("/d/g").unwrap();
    let lowers = LayerStack::from_top([inner.clone()]).unwrap();
    let outer = Overlay::new(&lowers, MemLayer::new()).unwrap();
    assert_eq!(outer.read("/d/f").unwrap(), b"inner");
    assert!(!outer.exists("/d/g").unwrap());
    outer.write("/d/f", b"outer").unwrap();
    assert_eq!(inner.read("/d/f").unwrap(), b"inner");
    assert_eq!(outer.into_layers().lowers.len(), 1);
}

#[test]
fn planning_several_attributes_counts_the_copy_up_once() {
    let overlay = overlay();
    let attr = SetAttr {
        uid: Some(1),
        ..SetAttr::mode(0o600)
    };
    let op = layerstack::Op::SetAttr {
        path: "/d/f".into(),
        follow: true,
        attr,
    };
    let plan = overlay.plan(&op).unwrap();
    assert_eq!(plan.cost().data_bytes, 10, "{plan}");
    assert_eq!(plan.cost().files_created, 1);
    assert!(
        overlay.changes().unwrap().is_empty(),
        "planning does nothing"
    );
    overlay.apply(&op).unwrap();
    let meta = overlay.metadata("/d/f").unwrap();
    assert_eq!((meta.mode, meta.uid), (0o600, 1));
    assert_eq!(overlay.plan(&op).unwrap().cost().data_bytes, 0);
}

/// As POSIX wants it: who makes a file may write to it, whatever mode it gets; with and without a whiteout at the
/// name. Programs make files of mode 0444 so.
#[test]
fn a_new_file_is_open_as_asked_whatever_its_mode() {
    if !child::as_nobody("a_new_file_is_open_as_asked_whatever_its_mode") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let modes = [0o600, 0o444, 0o200, 0];
    for mode in modes {
        std::fs::write(dir.path().join(format!("lower/old{mode:o}")), "old").unwrap();
    }
    let lower = DirLayer::open_lower(dir.path().join("lower")).unwrap();
    let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
    let upper = DirLayer::open_upper(&upper, &work).unwrap();
    let overlay = Overlay::new(&LayerStack::from_top([lower]).unwrap(), upper).unwrap();
    for mode in modes {
        for name in ["new", "old"] {
            let path = format!("/{name}{mode:o}");
            if name == "old" {
                overlay.remove_file(&path).unwrap();
            }
            let options = OpenOptions::new().read(true).write(true).create_new(true);
            let mut file = overlay.open(&path, &options.mode(mode)).unwrap();
            file.write_all(b"data").unwrap();
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            let meta = overlay.metadata(&path).unwrap();
            assert_eq!(
                (text.as_str(), meta.mode, meta.nlink),
                ("data", mode, 1),
                "{path}"
            );
            let again = overlay.open(&path, &OpenOptions::new().write(true));
            assert_eq!(again.is_ok(), mode & 0o200 != 0, "{path}");
        }
    }
    let left = work.join("work").read_dir().unwrap();
    let left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| n == "#layerstack-whiteout"), "{left:?}");
}
