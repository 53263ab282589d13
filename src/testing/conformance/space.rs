//! Holes, allocation and copies that share data.

use std::ops::Range;

use super::{Factory, Fixture, content, fails, write_all};
use crate::backend::{Access, AllocateMode, LayerFile, NodeRef, Result};
use crate::errno::Errno;
use crate::meta::Metadata;

/// Larger than a block of any filesystem, so that holes of this size are kept.
const MIB: u64 = 1 << 20;

/// All ranges of data of a file, checked to be in order and within the size.
fn extents(file: &dyn LayerFile) -> Vec<Range<u64>> {
    let size = file.metadata().unwrap().size;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(range) = file.next_data(at).unwrap() {
        assert!(
            at <= range.start && range.start < range.end && range.end <= size,
            "{range:?}"
        );
        at = range.end;
        found.push(range);
    }
    found
}

/// Whether `at` is within data.
fn is_data(extents: &[Range<u64>], at: u64) -> bool {
    extents.iter().any(|range| range.contains(&at))
}

/// A file with data at its start, a hole, and data at its end.
fn sparse(f: &Fixture, name: &str) -> NodeRef {
    let node = f.file(&f.root, name, &[1; 70_000]);
    write_all(&*node.open(Access::Write).unwrap(), &[2; 70_000], 2 * MIB);
    node
}

/// Runs an allocation; false, printed, if the backend has no such thing.
fn allocate(file: &dyn LayerFile, mode: AllocateMode, offset: u64, len: u64) -> bool {
    match file.allocate(mode, offset, len) {
        Ok(()) => true,
        Err(e) if e.errno() == Errno::EOPNOTSUPP => {
            println!("skipped: no {mode:?} here");
            false
        }
        Err(e) => panic!("{mode:?}: {e}"),
    }
}

/// `next_data` covers all data and ends with the file.
pub fn data_is_found(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let empty = f.empty(&f.root, "empty").open(Access::Read).unwrap();
    assert_eq!(empty.next_data(0).unwrap(), None);
    let file = f
        .file(&f.root, "file", &[1; 10_000])
        .open(Access::Read)
        .unwrap();
    assert_eq!(file.next_data(0).unwrap(), Some(0..10_000));
    assert_eq!(file.next_data(5_000).unwrap(), Some(5_000..10_000));
    assert_eq!(file.next_data(9_999).unwrap(), Some(9_999..10_000));
    for behind in [10_000, 10_001, 1 << 40] {
        assert_eq!(file.next_data(behind).unwrap(), None, "at {behind}");
    }
    let found = extents(&*sparse(&f, "sparse").open(Access::Read).unwrap());
    for at in [0, 69_999, 2 * MIB, 2 * MIB + 69_999] {
        assert!(is_data(&found, at), "{at} is in {found:?}");
    }
}

/// A large hole is no data.
pub fn holes_are_found(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().holes, "holes") {
        return;
    }
    let file = sparse(&f, "sparse").open(Access::ReadWrite).unwrap();
    let found = extents(&*file);
    assert!(!is_data(&found, MIB), "{MIB} is a hole, not in {found:?}");
    file.set_len(8 * MIB).unwrap();
    assert_eq!(
        file.next_data(4 * MIB).unwrap(),
        None,
        "grown space is a hole"
    );
    let hole = f.empty(&f.root, "hole").open(Access::Write).unwrap();
    hole.set_len(4 * MIB).unwrap();
    assert_eq!(hole.next_data(0).unwrap(), None, "a file that is all hole");
}

/// Holes are not counted as allocated.
pub fn holes_take_no_space(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().holes, "holes") {
        return;
    }
    let node = f.empty(&f.root, "file");
    node.open(Access::Write).unwrap().set_len(64 * MIB).unwrap();
    let meta = node.metadata().unwrap();
    assert_eq!(meta.size, 64 * MIB);
    assert!(meta.blocks * 512 < MIB, "{} blocks for a hole", meta.blocks);
}

/// `Allocate` behind the end grows the file with zeros and keeps data.
pub fn allocating_grows_the_file(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let file = node.open(Access::ReadWrite).unwrap();
    if allocate(&*file, AllocateMode::Allocate, 1, 9_999) {
        assert_eq!(content(&node), [b"abc".to_vec(), vec![0; 9_997]].concat());
        assert!(
            node.metadata().unwrap().blocks * 512 >= 10_000,
            "space was allocated"
        );
    }
}

/// `AllocateKeepSize` keeps the size, and the space reads as zeros when the file grows over it.
pub fn allocating_may_keep_the_size(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let file = node.open(Access::ReadWrite).unwrap();
    if allocate(&*file, AllocateMode::AllocateKeepSize, 0, 100_000) {
        assert_eq!(content(&node), b"abc");
        assert!(
            file.next_data(3).unwrap().is_none(),
            "no data behind the end"
        );
        write_all(&*file, b"z", 50_000);
        let all = content(&node);
        assert_eq!((all.len(), all[50_000]), (50_001, b'z'));
        assert!(all[3..50_000].iter().all(|b| *b == 0));
    }
}

/// `PunchHole` zeros exactly the range and keeps the size.
pub fn punching_zeros_the_range(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let ranges = [
        0..10,
        100..200,
        4_000..4_100,
        5_000..20_000,
        8_192..12_288,
        29_000..50_000,
    ];
    for (i, range) in ranges.into_iter().enumerate() {
        let node = f.file(&f.root, &format!("f{i}"), &[9; 30_000]);
        let file = node.open(Access::Write).unwrap();
        if !allocate(
            &*file,
            AllocateMode::PunchHole,
            range.start,
            range.end - range.start,
        ) {
            return;
        }
        let mut model = vec![9; 30_000];
        model[range.start as usize..(range.end as usize).min(30_000)].fill(0);
        assert_eq!(content(&node), model, "after punching {range:?}");
    }
    if f.caps().holes {
        let node = f.file(&f.root, "large", &[9; 3 << 20]);
        let file = node.open(Access::Write).unwrap();
        allocate(&*file, AllocateMode::PunchHole, 0, 2 * MIB);
        assert!(
            !is_data(&extents(&*file), MIB),
            "what was punched is a hole"
        );
    }
}

/// `ZeroRange` zeros; it grows the file unless it is to keep the size.
pub fn zeroing_grows_only_if_asked(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", &[9; 10_000]);
    let file = node.open(Access::Write).unwrap();
    if allocate(&*file, AllocateMode::ZeroRangeKeepSize, 9_000, 9_000) {
        assert_eq!(content(&node), [vec![9; 9_000], vec![0; 1_000]].concat());
    }
    if allocate(&*file, AllocateMode::ZeroRange, 5_000, 9_000) {
        assert_eq!(content(&node), [vec![9; 5_000], vec![0; 9_000]].concat());
    }
}

/// An empty range is `EINVAL`.
pub fn empty_ranges_are_refused(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let file = f.file(&f.root, "file", b"abc").open(Access::Write).unwrap();
    for mode in [
        AllocateMode::Allocate,
        AllocateMode::AllocateKeepSize,
        AllocateMode::PunchHole,
    ] {
        fails(
            file.allocate(mode, 0, 0),
            Errno::EINVAL,
            &format!("{mode:?} of nothing"),
        );
    }
}

/// Runs `clone_range` and checks bytes and content; false, printed, if these files cannot do it,
/// and then nothing was written.
fn clone(f: &Fixture, src: &NodeRef, dst: &NodeRef, (from, to, len): (u64, u64, u64)) -> bool {
    let (before, source) = (content(dst), content(src));
    let (r, w) = (
        src.open(Access::Read).unwrap(),
        dst.open(Access::Write).unwrap(),
    );
    match w.clone_range(&*r, from, to, len) {
        Err(e) => {
            assert_eq!(e.errno(), Errno::EOPNOTSUPP, "the only refusal");
            assert_ne!(f.caps().reflink, Some(true), "sharing was declared");
            assert_eq!(content(dst), before, "a refusal writes nothing");
            println!("skipped: no clone_range here");
            false
        }
        Ok(cloned) => {
            let end = source.len().min((from + len) as usize);
            let part = source.get(from as usize..end).unwrap_or(&[]);
            let bytes = cloned.bytes as usize;
            assert!(
                bytes <= part.len() && (bytes > 0 || part.is_empty()),
                "{bytes} bytes"
            );
            let (mut model, to) = (before, to as usize);
            if bytes > 0 {
                model.resize(model.len().max(to + bytes), 0);
                model[to..to + bytes].copy_from_slice(&part[..bytes]);
            }
            assert!(
                content(dst) == model,
                "the content after {from} -> {to}, {len} bytes"
            );
            true
        }
    }
}

/// Content with different bytes everywhere.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((i * 7 + i / 256 + seed * 13) % 255 + 1) as u8)
        .collect()
}

/// Whole files are copied, empty ones, small ones and sparse ones.
pub fn whole_files_are_cloned(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    for (i, len) in [0, 1, 4096, 5000, 100_000].into_iter().enumerate() {
        let src = f.file(&f.root, &format!("src{i}"), &pattern(len, 1));
        let dst = f.empty(&f.root, &format!("dst{i}"));
        let size = len as u64;
        if !clone(&f, &src, &dst, (0, 0, size)) {
            return;
        }
        clone(&f, &src, &dst, (0, 0, size + 10_000));
    }
    let src = sparse(&f, "sparse");
    let dst = f.file(&f.root, "over", &[5; 100_000]);
    clone(&f, &src, &dst, (0, 0, 2 * MIB + 70_000));
}

/// Parts of files are copied, at aligned and other places, over and behind what is there.
pub fn parts_of_files_are_cloned(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let src = f.file(&f.root, "src", &pattern(50_000, 2));
    let parts = [
        (0, 0, 4096),
        (4096, 8192, 8192),
        (4096, 0, 100_000),
        (100, 100, 30_000),
        (1, 0, 10),
        (5000, 123, 20_000),
        (45_056, 4096, 4944),
        (45_056, 36_864, 4944),
        (0, 60_000, 50_000),
        (100, 4196, 20),
        (8000, 12_096, 8384),
        (49_999, 3, 1),
    ];
    for (i, part) in parts.into_iter().enumerate() {
        let dst = f.file(&f.root, &format!("dst{i}"), &pattern(40_000, 3));
        if !clone(&f, &src, &dst, part) {
            return;
        }
    }
    let hole = sparse(&f, "sparse");
    for (i, part) in [(0, 5, 200_000), (4096, 8192, 200_000)]
        .into_iter()
        .enumerate()
    {
        let dst = f.file(&f.root, &format!("full{i}"), &pattern(300_000, 4));
        clone(&f, &hole, &dst, part);
    }
}

/// At and behind the end of the source there is nothing to copy.
pub fn cloning_behind_the_end_copies_nothing(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let src = f.file(&f.root, "src", &pattern(5000, 5));
    let dst = f.file(&f.root, "dst", b"stays");
    for from in [5000, 8192, 1 << 40] {
        clone(&f, &src, &dst, (from, 0, 4096));
        assert_eq!(content(&dst), b"stays");
    }
}

/// Writing either side does not show in the other.
pub fn clones_are_independent(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let src = f.file(&f.root, "src", &pattern(20_000, 6));
    let dst = f.empty(&f.root, "dst");
    if !clone(&f, &src, &dst, (0, 0, 20_000)) {
        return;
    }
    write_all(&*src.open(Access::Write).unwrap(), b"new in src", 5000);
    write_all(&*dst.open(Access::Write).unwrap(), b"new in dst", 9000);
    dst.open(Access::Write).unwrap().set_len(15_000).unwrap();
    let (mut a, mut b) = (pattern(20_000, 6), pattern(15_000, 6));
    a[5000..5010].copy_from_slice(b"new in src");
    b[9000..9010].copy_from_slice(b"new in dst");
    assert!(content(&src) == a, "the source has its own change only");
    assert!(content(&dst) == b, "the copy has its own change only");
}

/// A file of another backend.
#[derive(Debug)]
struct Foreign;

impl LayerFile for Foreign {
    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize> {
        Ok(0)
    }
    fn metadata(&self) -> Result<Metadata> {
        Err(Errno::EIO.into())
    }
    fn next_data(&self, _: u64) -> Result<Option<Range<u64>>> {
        Ok(None)
    }
}

/// From a file that the backend does not know it cannot copy: `EOPNOTSUPP`.
pub fn foreign_files_are_not_cloned(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let dst = f.file(&f.root, "dst", b"stays");
    let result = dst
        .open(Access::Write)
        .unwrap()
        .clone_range(&Foreign, 0, 0, 10);
    fails(result, Errno::EOPNOTSUPP, "clone_range from a foreign file");
    assert_eq!(content(&dst), b"stays");
}
