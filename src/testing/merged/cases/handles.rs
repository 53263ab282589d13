//! Files held open.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime, Timestamp};
use crate::op::{Op, Outcome};

fn hold(slot: u8, path: &str, options: crate::op::OpenOptions) -> Op {
    Op::HandleOpen {
        slot,
        path: path.into(),
        options,
    }
}

fn get(slot: u8) -> Op {
    Op::HandleRead {
        slot,
        offset: 0,
        len: 99,
    }
}

fn set(slot: u8, data: &str) -> Op {
    Op::HandleWrite {
        slot,
        offset: 0,
        data: data.into(),
    }
}

/// Every operation on one.
pub fn empty_slots_are_ebadf(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let ops = [
        get(3),
        set(3, "x"),
        Op::HandleMetadata { slot: 3 },
        Op::HandleSetLen { slot: 3, len: 0 },
        Op::HandleSetAttr {
            slot: 3,
            attr: SetAttr::mode(0),
        },
        Op::HandleSync { slot: 3 },
        Op::HandleLink {
            slot: 3,
            to: "/x".into(),
        },
        Op::HandleClose { slot: 3 },
    ];
    for op in ops {
        fs.fails(op, Errno::EBADF);
    }
    fs.fails(hold(3, "/missing", opts().read(true)), Errno::ENOENT);
    fs.fails(get(3), Errno::EBADF);
}

/// Given ones and new ones; they get no new name.
pub fn removed_files_stay_usable(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let both = || opts().read(true).write(true);
    fs.ok(hold(0, "/file", opts().read(true)));
    fs.ok(hold(1, "/dir/inner", both()));
    fs.ok(put("/new", "new"));
    fs.ok(hold(2, "/new", both()));
    for path in ["/file", "/dir/inner", "/new"] {
        fs.ok(rm(path));
    }
    assert_eq!(fs.bytes(get(0)), b"lower");
    fs.ok(set(1, "changed"));
    assert_eq!(fs.bytes(get(1)), b"changed");
    fs.ok(set(2, "N"));
    assert_eq!(fs.bytes(get(2)), b"New");
    fs.ok(put("/file", "another"));
    assert_eq!(fs.bytes(get(0)), b"lower");
    for slot in 0..3 {
        fs.fails(
            Op::HandleLink {
                slot,
                to: "/back".into(),
            },
            Errno::ENOENT,
        );
    }
    let Outcome::Metadata(meta) = fs.ok(Op::HandleMetadata { slot: 2 }) else {
        panic!("no metadata")
    };
    assert_eq!((meta.nlink, meta.size), (0, 3));
}

/// By a rename, or by another file that is made in their place.
pub fn replaced_files_stay_usable(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(hold(0, "/file", opts().read(true)));
    fs.ok(hold(1, "/dir/inner", opts().read(true)));
    fs.ok(mv("/dir/inner", "/file"));
    assert_eq!(fs.bytes(get(0)), b"lower");
    assert_eq!(fs.bytes(get(1)), b"inner");
    fs.ok(put("/file", "IN"));
    assert_eq!(fs.bytes(get(1)), b"INner");
    assert_eq!(fs.bytes(get(0)), b"lower");
}

/// Of the file and of what it is in.
pub fn handles_survive_rename(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir("/new"));
    fs.ok(put("/new/f", "1"));
    fs.ok(hold(0, "/new/f", opts().read(true).write(true)));
    fs.ok(hold(1, "/file", opts().read(true)));
    fs.ok(mv("/new", "/dir/moved"));
    fs.ok(mv("/file", "/dir/file"));
    fs.ok(set(0, "23"));
    fs.reads("/dir/moved/f", "23");
    fs.ok(put("/dir/file", "LO"));
    assert_eq!(fs.bytes(get(1)), b"LOwer");
}

/// Also those that opened the file before anybody wrote.
pub fn readers_see_what_is_written(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(hold(0, "/file", opts().read(true)));
    fs.ok(hold(1, "/file", opts().write(true)));
    fs.ok(set(1, "LO"));
    assert_eq!(fs.bytes(get(0)), b"LOwer");
    fs.ok(truncate("/file", 2));
    assert_eq!(fs.bytes(get(0)), b"LO");
    fs.ok(hold(2, "/file", opts().append(true)));
    fs.ok(set(2, "+"));
    assert_eq!(fs.bytes(get(0)), b"LO+");
}

/// Of a reader too.
pub fn attributes_are_set_through_handles(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(hold(0, "/file", opts().read(true)));
    fs.ok(Op::HandleSetAttr {
        slot: 0,
        attr: SetAttr::mode(0o604),
    });
    let time = SetTime::At(Timestamp::new(7, 8));
    fs.ok(Op::HandleSetAttr {
        slot: 0,
        attr: SetAttr::times(SetTime::Omit, time),
    });
    let meta = fs.stat("/file");
    assert_eq!(
        (meta.mode, meta.mtime.secs, meta.mtime.nanos),
        (0o604, 7, 8)
    );
    let Outcome::Metadata(held) = fs.ok(Op::HandleMetadata { slot: 0 }) else {
        panic!("no metadata")
    };
    assert_eq!((held.mode, held.ino, held.size), (meta.mode, meta.ino, 5));
}

/// For writers.
pub fn sizes_are_set_through_handles(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(hold(0, "/file", opts().read(true).write(true)));
    fs.ok(Op::HandleSetLen { slot: 0, len: 7 });
    fs.reads("/file", b"lower\0\0");
    fs.ok(Op::HandleSetLen { slot: 0, len: 1 });
    fs.reads("/file", "l");
    fs.ok(Op::HandleSync { slot: 0 });
}

/// What was open there is closed.
pub fn slots_are_used_again(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(hold(0, "/file", opts().read(true)));
    fs.ok(hold(0, "/dir/inner", opts().read(true)));
    assert_eq!(fs.bytes(get(0)), b"inner");
    fs.fails(hold(0, "/missing", opts().read(true)), Errno::ENOENT);
    fs.fails(get(0), Errno::EBADF);
}
