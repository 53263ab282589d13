//! Content of files.

use super::Factory;
use super::fixture::*;
use crate::backend::AllocateMode;
use crate::errno::Errno;
use crate::op::{Op, Outcome};
use crate::testing::spec::{NodeKind, NodeSpec, Piece};

/// By path, in given files and in new ones.
pub fn what_is_written_is_read(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.reads("/file", "lower");
    fs.ok(put("/dir/new", "new data"));
    fs.reads("/dir/new", "new data");
    let part = |offset, len| Op::Read {
        path: "/dir/new".into(),
        offset,
        len,
    };
    assert_eq!(fs.bytes(part(4, 2)), b"da");
    assert_eq!(fs.bytes(part(6, 99)), b"ta");
    assert_eq!(fs.bytes(part(8, 1)), b"");
    assert_eq!(fs.bytes(part(1 << 40, 1)), b"");
    fs.fails(read("/dir"), Errno::EISDIR);
}

/// The rest stays.
pub fn parts_are_replaced(factory: &dyn Factory) {
    let big = NodeSpec::pieces(vec![Piece::Fill(b'a', 10_000)]);
    let mut fs = Fs::new(factory, &usual().with("/big", big));
    fs.ok(put("/file", "LO"));
    fs.reads("/file", "LOwer");
    fs.ok(put_with("/big", opts().write(true), 4095, "XY"));
    let mut expected = vec![b'a'; 10_000];
    expected[4095..4097].copy_from_slice(b"XY");
    fs.reads("/big", &expected);
    assert_eq!(
        fs.ok(put_with("/big", opts().write(true), 9, "")),
        Outcome::Count(0)
    );
    assert_eq!(fs.stat("/big").size, 10_000);
}

/// Between the old end and what is written behind it, and where there was a hole.
pub fn gaps_read_as_zeros(factory: &dyn Factory) {
    let sparse = NodeSpec::pieces(vec![Piece::Hole(8192), Piece::Bytes(b"end".to_vec())]);
    let mut fs = Fs::new(factory, &usual().with("/sparse", sparse));
    fs.ok(put_with("/file", opts().write(true), 10, "x"));
    fs.reads("/file", b"lower\0\0\0\0\0x");
    fs.ok(put_with("/sparse", opts().write(true), 1, "x"));
    let mut expected = vec![0; 8192];
    expected[1] = b'x';
    expected.extend_from_slice(b"end");
    fs.reads("/sparse", &expected);
}

/// Wherever one says.
pub fn appending_is_at_the_end(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put_with("/file", opts().append(true), 0, "+1"));
    fs.ok(put_with("/file", opts().append(true), 3, "+2"));
    fs.reads("/file", "lower+1+2");
}

/// Shorter and longer, by path and of links' targets.
pub fn sizes_are_set(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(truncate("/link", 2));
    fs.reads("/file", "lo");
    fs.ok(truncate("/file", 4));
    fs.reads("/file", b"lo\0\0");
    fs.ok(truncate("/dir/inner", 0));
    fs.reads("/dir/inner", "");
    fs.ok(truncate("/dir/inner", 1 << 40));
    assert_eq!(fs.stat("/dir/inner").size, 1 << 40);
    fs.fails(truncate("/file", u64::MAX), Errno::EINVAL);
}

/// `EISDIR`; anything else that is no file is `EINVAL`.
pub fn directories_have_no_size_to_set(factory: &dyn Factory) {
    let tree = usual().with("/fifo", NodeSpec::new(NodeKind::Fifo));
    let mut fs = Fs::new(factory, &tree);
    fs.fails(truncate("/dir", 0), Errno::EISDIR);
    fs.fails(truncate("/fifo", 0), Errno::EINVAL);
    fs.fails(truncate("/missing", 0), Errno::ENOENT);
    fs.fails(truncate("/file/", 0), Errno::ENOTDIR);
}

/// `EBADF`.
pub fn handles_may_only_do_what_they_were_opened_for(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(Op::HandleOpen {
        slot: 0,
        path: "/file".into(),
        options: opts().read(true),
    });
    fs.ok(Op::HandleOpen {
        slot: 1,
        path: "/file".into(),
        options: opts().write(true),
    });
    let write = |slot| Op::HandleWrite {
        slot,
        offset: 0,
        data: b"x".to_vec(),
    };
    let read = |slot| Op::HandleRead {
        slot,
        offset: 0,
        len: 9,
    };
    fs.fails(write(0), Errno::EBADF);
    fs.fails(read(1), Errno::EBADF);
    fs.fails(Op::HandleSetLen { slot: 0, len: 1 }, Errno::EINVAL);
    fs.ok(write(1));
    assert_eq!(fs.bytes(read(0)), b"xower");
    fs.fails(put_with("/file", opts().read(true), 0, "x"), Errno::EBADF);
}

fn allocate(path: &str, mode: AllocateMode, offset: u64, len: u64) -> Op {
    Op::Allocate {
        path: path.into(),
        mode,
        offset,
        len,
    }
}

/// The size stays; what is allocated behind the end may grow the file.
pub fn holes_are_punched(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(allocate("/file", AllocateMode::PunchHole, 1, 2));
    fs.reads("/file", b"l\0\0er");
    fs.ok(allocate("/file", AllocateMode::PunchHole, 3, 99));
    fs.reads("/file", b"l\0\0\0\0");
    fs.ok(allocate("/file", AllocateMode::AllocateKeepSize, 0, 9));
    assert_eq!(fs.stat("/file").size, 5);
    fs.ok(allocate("/file", AllocateMode::Allocate, 4, 3));
    fs.reads("/file", b"l\0\0\0\0\0\0");
    fs.fails(
        allocate("/file", AllocateMode::Allocate, 0, 0),
        Errno::EINVAL,
    );
    fs.fails(
        allocate("/dir", AllocateMode::Allocate, 0, 1),
        Errno::EISDIR,
    );
}

/// And the file grows, if asked.
pub fn ranges_are_zeroed(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.lacks(fs.declared.zeroes_ranges, "zeroing of ranges") {
        return;
    }
    fs.ok(allocate("/file", AllocateMode::ZeroRangeKeepSize, 2, 99));
    fs.reads("/file", b"lo\0\0\0");
    fs.ok(allocate("/file", AllocateMode::ZeroRange, 1, 6));
    fs.reads("/file", b"l\0\0\0\0\0\0");
}

/// What is behind moves up or back; only whole blocks, before the end of the file.
pub fn ranges_are_taken_out_and_put_in(factory: &dyn Factory) {
    const BLOCK: u64 = 4096;
    let blocks = |letters: &[u8]| -> Vec<u8> {
        let block = |letter: &u8| vec![*letter; BLOCK as usize];
        letters.iter().flat_map(block).collect()
    };
    let tail = |letters, end: &[u8]| [blocks(letters), end.to_vec()].concat();
    let tree = usual().with("/long", NodeSpec::file(tail(b"abcd", b"end")));
    let mut fs = Fs::new(factory, &tree);
    if fs.lacks(fs.declared.shifts_ranges, "shifting of ranges") {
        return;
    }
    fs.ok(allocate(
        "/long",
        AllocateMode::CollapseRange,
        BLOCK,
        2 * BLOCK,
    ));
    fs.reads("/long", tail(b"ad", b"end"));
    fs.ok(allocate("/long", AllocateMode::InsertRange, BLOCK, BLOCK));
    fs.reads("/long", tail(b"a\0d", b"end"));
    let refused = [
        (AllocateMode::CollapseRange, 1, BLOCK),
        (AllocateMode::CollapseRange, 0, 1),
        (AllocateMode::CollapseRange, 2 * BLOCK, 2 * BLOCK),
        (AllocateMode::InsertRange, 1, BLOCK),
        (AllocateMode::InsertRange, 4 * BLOCK, BLOCK),
    ];
    for (mode, offset, len) in refused {
        fs.fails(allocate("/long", mode, offset, len), Errno::EINVAL);
    }
    fs.reads("/long", tail(b"a\0d", b"end"));
}

/// Content and permission bits; the target is made, or emptied.
pub fn files_are_copied(factory: &dyn Factory) {
    let sparse = vec![Piece::Bytes(b"start".to_vec()), Piece::Hole(100_000)];
    let tree = usual().with("/sparse", NodeSpec::pieces(sparse).mode(0o4751));
    let mut fs = Fs::new(factory, &tree);
    assert_eq!(fs.ok(copy("/sparse", "/dir/copy")), Outcome::Count(100_005));
    let meta = fs.stat("/dir/copy");
    assert_eq!((meta.size, meta.mode), (100_005, 0o4751));
    let read = Op::Read {
        path: "/dir/copy".into(),
        offset: 0,
        len: 7,
    };
    assert_eq!(fs.bytes(read), b"start\0\0");
    assert_eq!(fs.ok(copy("/link", "/dir/copy")), Outcome::Count(5));
    fs.reads("/dir/copy", "lower");
    assert_eq!(fs.stat("/dir/copy").mode, 0o640);
    fs.fails(copy("/missing", "/new"), Errno::ENOENT);
    fs.gone("/new");
    fs.fails(copy("/file", "/dir"), Errno::EISDIR);
    fs.fails(copy("/dir", "/new"), Errno::EISDIR);
}

/// It would be emptied first.
pub fn copying_onto_itself_is_refused(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(copy("/file", "/file"), Errno::EINVAL);
    fs.fails(copy("/file", "/link"), Errno::EINVAL);
    fs.ok(link("/file", "/second"));
    fs.fails(copy("/second", "/file"), Errno::EINVAL);
    fs.reads("/file", "lower");
}

/// That of the file, not of its directory.
pub fn writing_moves_mtime(factory: &dyn Factory) {
    let tree = tree()
        .with("/d", NodeSpec::dir().mtime(3, 4))
        .with("/d/f", NodeSpec::file("1").mtime(5, 6));
    let mut fs = Fs::new(factory, &tree);
    fs.ok(put("/d/f", "2"));
    assert!(fs.stat("/d/f").mtime.secs > 5);
    assert_eq!(fs.stat("/d").mtime.secs, 3);
    fs.ok(put_with("/d/f", opts().write(true), 0, ""));
}

/// Also when nothing but the size is set.
pub fn capabilities_fall_when_written(factory: &dyn Factory) {
    let raw: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    let value: Vec<u8> = raw.iter().flat_map(|word| word.to_le_bytes()).collect();
    let able = |data: &str| {
        NodeSpec::file(data)
            .mode(0o755)
            .xattr("security.capability", &value)
    };
    let tree = tree()
        .with("/a", able("1"))
        .with("/b", able("2"))
        .with("/c", able("3"));
    let mut fs = Fs::new(factory, &tree);
    if fs.lacks(fs.declared.trusted_xattrs, "security attributes") {
        return;
    }
    fs.has_xattrs("/a", &["security.capability"]);
    fs.ok(chmod("/a", 0o700));
    fs.has_xattrs("/a", &["security.capability"]);
    fs.ok(put("/a", "x"));
    fs.ok(truncate("/b", 9));
    fs.ok(chown("/c", 0, 0));
    for path in ["/a", "/b", "/c"] {
        fs.has_xattrs(path, &[]);
    }
}
