//! Content of files.

use std::os::unix::fs::FileExt;

use layerstack::backend::{Access, AllocateMode, Entry, LayerBackend};
use layerstack::{DirLayer, Errno, LayerStack, OpenOptions, Overlay};

use crate::common::*;

#[test]
fn reading_writing_and_holes() {
    let t = Upper::new();
    let f = t.make(&t.root(), "f", &file());
    let w = f.open(Access::ReadWrite).unwrap();
    assert_eq!(w.next_data(0).unwrap(), None);
    w.write_at(b"end", 1 << 20).unwrap();
    let mut buf = [1; 4];
    assert_eq!(w.read_at(&mut buf, 5).unwrap(), 4);
    assert_eq!(buf, [0; 4]);
    assert_eq!(w.read_at(&mut buf, 1 << 20).unwrap(), 3);
    assert_eq!(w.read_at(&mut buf, u64::MAX).unwrap(), 0);
    if t.layer.capabilities().holes {
        let data = w.next_data(0).unwrap().unwrap();
        assert!(data.start > 0 && data.contains(&(1 << 20)));
        w.allocate(AllocateMode::PunchHole, 0, 2 << 20).unwrap();
        assert_eq!(w.next_data(0).unwrap(), None);
    }
    w.set_len(10).unwrap();
    assert_eq!(w.metadata().unwrap().size, 10);
    assert_eq!(w.next_data(10).unwrap(), None);
    assert_eq!(
        errno(w.allocate(AllocateMode::Allocate, 0, 0)),
        Errno::EINVAL
    );
    assert_eq!(errno(w.set_len(u64::MAX)), Errno::EFBIG);
    assert_eq!(errno(w.write_at(b"x", u64::MAX)), Errno::EFBIG);
    w.sync(true).unwrap();
    w.sync(false).unwrap();

    let r = f.open(Access::Read).unwrap();
    assert_eq!(errno(r.write_at(b"x", 0)), Errno::EBADF);
    assert_eq!(errno(r.set_len(0)), Errno::EBADF);
    assert_eq!(
        errno(r.allocate(AllocateMode::Allocate, 0, 1)),
        Errno::EBADF
    );
    let w = f.open(Access::Write).unwrap();
    assert_eq!(errno(w.read_at(&mut buf, 0)), Errno::EBADF);
}

#[test]
fn copies_within_the_kernel() {
    let t = Upper::new();
    let root = t.root();
    let a = t.make(&root, "a", &file()).open(Access::ReadWrite).unwrap();
    let b = t.make(&root, "b", &file()).open(Access::ReadWrite).unwrap();
    a.write_at(&[7; 10_000], 0).unwrap();
    match b.clone_range(&*a, 1000, 500, 4000) {
        Ok(done) => {
            assert_eq!(done.bytes, 4000);
            assert_eq!(b.metadata().unwrap().size, 4500);
            assert_eq!(b.clone_range(&*a, 10_000, 0, 4).unwrap().bytes, 0);
            assert_eq!(b.clone_range(&*a, 0, 0, 0).unwrap().bytes, 0);
        }
        Err(e) => assert_eq!(e.errno(), Errno::EOPNOTSUPP),
    }
    let read_only = get(&root, "b").0.open(Access::Read).unwrap();
    assert_eq!(errno(read_only.clone_range(&*a, 0, 0, 1)), Errno::EBADF);
}

#[test]
fn a_lower_layer_is_never_written() {
    let t = Upper::new();
    t.make(&t.root(), "f", &file());
    let lower = DirLayer::open_lower(t.path("")).unwrap();
    let (f, _) = get(&lower.root().unwrap(), "f");
    assert_eq!(errno(f.open(Access::Write)), Errno::EROFS);
    assert_eq!(errno(f.open(Access::ReadWrite)), Errno::EROFS);
    f.open(Access::Read).unwrap();
}

/// What is to be copied of a large file is told in pieces, in as few as there are data for, and is never more than
/// the space that the file has; on tmpfs and on what temporary files lie on.
#[test]
fn what_is_to_be_copied_of_large_files() {
    const MIB: u64 = 1 << 20;
    for place in [std::env::temp_dir(), "/dev/shm".into()] {
        let below = tempfile::tempdir_in(place).unwrap();
        let make = |name: &str, size: u64, data: &[u64]| {
            let file = std::fs::File::create(below.path().join(name)).unwrap();
            file.set_len(size).unwrap();
            let block = vec![7; MIB as usize];
            for at in data {
                file.write_all_at(&block, at * MIB).unwrap();
            }
            file
        };
        let all: Vec<u64> = (0..24).collect();
        make("full", 24 * MIB - 5, &all)
            .set_len(24 * MIB - 5)
            .unwrap();
        make("sparse", 24 * MIB, &[1, 20]);
        // As much space as its size, most of it behind the end or never written to.
        let reserved = make("reserved", 24 * MIB, &[1, 20]);
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&reserved, keep, 24 * MIB, 40 * MIB).unwrap();
        let lower = DirLayer::open_lower(below.path()).unwrap();
        let told = |name: &str| {
            let found = lower.root().unwrap().lookup(&n(name)).unwrap();
            let Some(Entry::Node(node, _)) = found else {
                panic!("{found:?}")
            };
            let file = node.open(Access::Read).unwrap();
            let (mut at, mut told) = (0, Vec::new());
            while let Some(range) = file.next_to_copy(at).unwrap() {
                assert!(at <= range.start && range.start < range.end);
                at = range.end;
                told.push(range);
            }
            let bytes = told.iter().map(|r| r.end - r.start).sum::<u64>();
            let space = node.metadata().unwrap().blocks * 512;
            assert!(bytes <= space, "{name}: {bytes} of {space}, {told:?}");
            let has = |mib: u64| told.iter().any(|r| r.contains(&(mib * MIB + 9)));
            assert!(has(1) && has(20), "{name}: {told:?}");
            bytes
        };
        assert_eq!(told("full"), 24 * MIB - 5);
        assert_eq!(told("sparse"), 2 * MIB);
        assert!(told("reserved") <= 12 * MIB, "a gap of 18 MiB is skipped");
    }
}

/// Rule R229, on every machine: what is a hole below is one above.
#[test]
fn holes_survive_copying_up() {
    const HOLE: u64 = 1 << 20;
    let below = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(below.path().join("f")).unwrap();
    file.write_all_at(&[7; 4096], HOLE).unwrap();
    file.set_len(4 * HOLE).unwrap();
    let upper = Upper::new();
    let lower = DirLayer::open_lower(below.path()).unwrap();
    let data = |layer: &dyn LayerBackend| {
        let found = layer.root().unwrap().lookup(&n("f")).unwrap();
        let Some(Entry::Node(node, _)) = found else {
            panic!("{found:?}")
        };
        let file = node.open(Access::Read).unwrap();
        let first = file.next_data(0).unwrap().unwrap();
        (first.clone(), file.next_data(first.end).unwrap())
    };
    let expected = data(&lower);
    if expected.0.start == 0 {
        eprintln!("skipped: the filesystem of temporary files keeps no holes");
        return;
    }
    let stack = LayerStack::from_top([lower]).unwrap();
    let overlay = Overlay::new(&stack, upper.layer.clone()).unwrap();
    let options = OpenOptions::new().append(true);
    overlay.open("/f", &options).unwrap();
    assert_eq!(data(&upper.layer), expected);
}
