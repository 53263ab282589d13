//! Content of files.

use super::{Factory, Fixture, content, content_of, fails, write_all};
use crate::backend::{Access, AllocateMode, SyncScope};
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime, Timestamp};

/// Reads give what is there, and 0 at and behind the end.
pub fn reading_stops_at_the_end(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let file = f
        .file(&f.root, "file", b"0123456789")
        .open(Access::Read)
        .unwrap();
    let mut buf = [b'.'; 8];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 8);
    assert_eq!(&buf, b"01234567");
    assert_eq!(file.read_at(&mut buf, 7).unwrap(), 3);
    assert_eq!(&buf, b"78934567", "bytes behind the end are not touched");
    for offset in [10, 11, 4096, 1 << 40] {
        assert_eq!(
            file.read_at(&mut buf, offset).unwrap(),
            0,
            "read at {offset}"
        );
    }
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
}

/// What was written is read, in any order and with overlaps.
pub fn writes_are_read_back(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "file");
    let file = node.open(Access::ReadWrite).unwrap();
    write_all(&*file, b"world", 6);
    write_all(&*file, b"hello ", 0);
    write_all(&*file, b"W", 6);
    assert_eq!(content(&node), b"hello World");
    assert_eq!(node.metadata().unwrap().size, 11);
    for i in 0..50u64 {
        write_all(&*file, b"+", 11 + i);
    }
    assert_eq!(node.metadata().unwrap().size, 61);
    assert_eq!(content(&node)[10..], [&b"d"[..], &[b'+'; 50]].concat());
}

/// Pieces of every size at odd places come together as in one array.
pub fn writes_cross_block_borders(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "file");
    let file = node.open(Access::ReadWrite).unwrap();
    let mut model = Vec::new();
    let mut at = 0usize;
    for (i, len) in [1, 4095, 4096, 4097, 10_000, 3, 20_001, 8192]
        .into_iter()
        .enumerate()
    {
        let data: Vec<u8> = (0..len).map(|j| (i * 31 + j % 251) as u8).collect();
        let end = at + len;
        model.resize(model.len().max(end), 0);
        model[at..end].copy_from_slice(&data);
        write_all(&*file, &data, at as u64);
        at = (at + len / 2) | 1;
    }
    assert_eq!(content(&node), model);
    let mut part = vec![0; 9000];
    file.read_at(&mut part, 4000).unwrap();
    assert_eq!(part, model[4000..13_000]);
}

/// A file opened for reading is not written, and the other way round: `EBADF`.
pub fn access_modes_are_kept(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"content");
    let read = node.open(Access::Read).unwrap();
    fails(
        read.write_at(b"x", 0),
        Errno::EBADF,
        "write to a file opened for reading",
    );
    fails(
        read.set_len(0),
        Errno::EBADF,
        "set_len of a file opened for reading",
    );
    let allocate = read.allocate(AllocateMode::Allocate, 0, 1);
    fails(
        allocate,
        Errno::EBADF,
        "allocate in a file opened for reading",
    );
    let write = node.open(Access::Write).unwrap();
    let mut buf = [0];
    fails(
        write.read_at(&mut buf, 0),
        Errno::EBADF,
        "read of a file opened for writing",
    );
    assert_eq!(
        write.metadata().unwrap().size,
        7,
        "attributes need no access"
    );
    assert_eq!(content(&node), b"content");
}

/// A gap before a write reads as zeros.
pub fn gaps_read_as_zeros(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"ab");
    write_all(&*node.open(Access::Write).unwrap(), b"z", 20_000);
    let all = content(&node);
    assert_eq!(all.len(), 20_001);
    assert_eq!((&all[..2], all[20_000]), (&b"ab"[..], b'z'));
    assert!(all[2..20_000].iter().all(|b| *b == 0), "the gap is zero");
}

/// What was cut off does not come back when the file grows.
pub fn shrinking_forgets_data(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", &[7; 10_000]);
    let file = node.open(Access::ReadWrite).unwrap();
    for len in [9_000, 4096, 100, 0] {
        file.set_len(len).unwrap();
        assert_eq!(node.metadata().unwrap().size, len);
        file.set_len(10_000).unwrap();
        let all = content_of(&*file);
        let kept = len as usize;
        assert!(
            all[..kept].iter().all(|b| *b == 7),
            "the first {len} bytes stay"
        );
        assert!(
            all[kept..].iter().all(|b| *b == 0),
            "the rest is zero after {len}"
        );
    }
    file.set_len(10).unwrap();
    write_all(&*file, b"x", 20);
    assert_eq!(content(&node), [&[0; 20][..], b"x"].concat());
}

/// `set_len` beyond the end adds zeros, as a hole.
pub fn growing_adds_zeros(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let file = node.open(Access::Write).unwrap();
    file.set_len(3).unwrap();
    assert_eq!(content(&node), b"abc");
    file.set_len(8).unwrap();
    assert_eq!(content(&node), b"abc\0\0\0\0\0");
    file.set_len(1 << 33).unwrap();
    assert_eq!(node.metadata().unwrap().size, 1 << 33);
    let mut buf = [1; 3];
    let read = node
        .open(Access::Read)
        .unwrap()
        .read_at(&mut buf, (1 << 33) - 2)
        .unwrap();
    assert_eq!((read, buf), (2, [0, 0, 1]));
}

/// Writing nothing writes nothing, not even a gap.
pub fn empty_writes_change_nothing(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let file = node.open(Access::Write).unwrap();
    assert_eq!(file.write_at(&[], 100).unwrap(), 0);
    assert_eq!(node.metadata().unwrap().size, 3);
}

/// All handles of a node show one content.
pub fn open_files_see_each_other(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "file");
    let (a, b) = (
        node.open(Access::ReadWrite).unwrap(),
        node.open(Access::ReadWrite).unwrap(),
    );
    write_all(&*a, b"from a", 0);
    assert_eq!(content_of(&*b), b"from a");
    write_all(&*b, b"b", 5);
    assert_eq!(content_of(&*a), b"from b");
    b.set_len(0).unwrap();
    assert_eq!(content_of(&*a), b"");
}

/// An open file tells the attributes of its node.
pub fn file_and_node_attributes_agree(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", &[1; 5000]);
    let file = node.open(Access::Read).unwrap();
    assert_eq!(file.metadata().unwrap(), node.metadata().unwrap());
    f.up().set_attr(&node, &SetAttr::mode(0o400)).unwrap();
    assert_eq!(file.metadata().unwrap(), node.metadata().unwrap());
}

/// Writing and truncating change the modification time; reading does not.
pub fn writing_moves_mtime(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let old = Timestamp::new(1_000_000, 5);
    let attr = SetAttr::times(SetTime::Omit, SetTime::At(old));
    let file = node.open(Access::ReadWrite).unwrap();
    f.up().set_attr(&node, &attr).unwrap();
    content_of(&*file);
    assert_eq!(node.metadata().unwrap().mtime, old, "after reading");
    write_all(&*file, b"x", 0);
    assert_ne!(node.metadata().unwrap().mtime, old, "after writing");
    f.up().set_attr(&node, &attr).unwrap();
    file.set_len(1).unwrap();
    assert_ne!(node.metadata().unwrap().mtime, old, "after truncating");
}

/// A size that the backend cannot hold is `EFBIG`, and the file stays as it was.
pub fn too_large_is_efbig(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let file = node.open(Access::Write).unwrap();
    let huge = i64::MAX as u64 - 1;
    let results = [
        file.set_len(huge),
        file.write_at(b"x", huge - 1).map(|_| ()),
    ];
    if results.iter().all(|r| r.is_err()) {
        assert_eq!(content(&node), b"abc");
    }
    for result in results {
        if result.is_err() {
            fails(result, Errno::EFBIG, "a size near 2^63");
        }
    }
}

/// Making things durable succeeds, for files, nodes of every type and the whole.
pub fn sync_succeeds(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.file(&f.root, "file", b"abc");
    let file = node.open(Access::Write).unwrap();
    file.sync(true).unwrap();
    file.sync(false).unwrap();
    f.up().sync(SyncScope::Node(&node)).unwrap();
    f.up().sync(SyncScope::Node(&f.root)).unwrap();
    f.up().sync(SyncScope::All).unwrap();
}
