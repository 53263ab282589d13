//! Section 21: files held open while the tree changes.

use layerstack::testing::NodeSpec;
use layerstack::testing::spec::Piece;
use layerstack::{DirLayer, LayerStack, Op, OverlayAttr, SetAttr};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;

#[test]
fn r293_a_reading_handle_sees_what_is_written_after_copy_up() {
    rule()
        .lower(of([("/f", file("old"))]))
        .ok(hold(0, "/f", rd()))
        .bytes(hread(0), "old")
        .ok(put("/f", "new and longer"))
        .bytes(hread(0), "new and longer")
        .ok(mv("/f", "/g"))
        .ok(append("/g", "!"))
        .bytes(hread(0), "new and longer!")
        .run();
}

#[test]
fn r295_a_handle_shows_the_attributes_of_now_and_the_same_number() {
    rule()
        .lower(of([("/f", file("old"))]))
        .ok(hold(0, "/f", rd()))
        .ok(chmod("/f", 0o600))
        .ok(append("/f", "+"))
        .handle_meta(0, |m| assert_eq!((m.mode, m.size, m.nlink), (0o600, 4, 1)))
        .run();
    both([of([]), of([("/f", file("x"))])], |live: &Live| {
        let file = live.overlay.open_file("/f").unwrap();
        let before = file.metadata().unwrap();
        live.overlay.set_len("/f", 0).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!((before.ino, before.dev), (after.ino, after.dev));
        assert_eq!((before.size, after.size), (1, 0));
    });
}

/// A lower is read without leaving a trace.
#[test]
fn r296_access_times_of_lowers_never_change() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("d");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("f");
    std::fs::write(&path, "x").unwrap();
    // Older than the modification: what `relatime` would change.
    let old = std::fs::FileTimes::new().set_accessed(std::time::SystemTime::UNIX_EPOCH);
    std::fs::File::open(&path).unwrap().set_times(old).unwrap();
    std::fs::File::open(&inner).unwrap().set_times(old).unwrap();
    let stack = LayerStack::from_top([DirLayer::open_lower(dir.path()).unwrap()]).unwrap();
    assert_eq!(stack.read("/d/f").unwrap(), b"x");
    assert_eq!(stack.read_dir("/d").unwrap().len(), 1);
    assert_eq!(std::fs::metadata(&path).unwrap().atime(), 0);
    assert_eq!(std::fs::metadata(&inner).unwrap().atime(), 0);
}

#[test]
fn r298_syncing_a_lower_file_succeeds_and_does_nothing() {
    rule()
        .lower(of([("/f", file("x"))]))
        .ok(hold(0, "/f", rd()))
        .ok(Op::HandleSync { slot: 0 })
        .upper_empty()
        .run();
}

#[test]
fn r301_data_and_holes_are_those_of_the_real_file() {
    let pieces = vec![Piece::Hole(1 << 20), Piece::Fill(1, 4096), Piece::Hole(1 << 20)];
    both([of([]), of([("/f", NodeSpec::pieces(pieces))])], |live: &Live| {
        let file = live.overlay.open_file("/f").unwrap();
        let data = (1 << 20)..(1 << 20) + 4096;
        assert_eq!(file.next_data(0).unwrap(), Some(data.clone()));
        assert_eq!(file.next_data(data.end).unwrap(), None);
        let kernel = std::fs::File::open(live.mount.join("f")).unwrap();
        let found = rustix::fs::seek(&kernel, rustix::fs::SeekFrom::Data(0)).unwrap();
        assert_eq!(found, data.start);
    });
}

/// What was merged once and lost its lower hides its whiteouts all the same.
#[test]
fn r303_a_directory_whose_lower_is_gone_is_an_ordinary_one() {
    let was_merged = dir().overlay(OverlayAttr::Origin, "");
    rule()
        .lower(of([("/other", file(""))]))
        .upper(of([("/d", was_merged), ("/d/w", gone()), ("/d/f", file("x"))]))
        .lists("/d", &["f"])
        .ok(rm("/d/f"))
        .ok(rmdir("/d"))
        .upper_empty()
        .run();
}

/// Attributes can be changed through a handle that only reads.
#[test]
fn r198_a_reading_handle_changes_attributes() {
    rule()
        .lower(of([("/f", file("x"))]))
        .ok(hold(0, "/f", rd()))
        .ok(Op::HandleSetAttr { slot: 0, attr: SetAttr::mode(0o711) })
        .meta("/f", |m| assert_eq!(m.mode, 0o711))
        .handle_meta(0, |m| assert_eq!(m.mode, 0o711))
        .bytes(hread(0), "x")
        .run();
}
