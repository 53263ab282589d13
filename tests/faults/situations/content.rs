//! Data: opening for writing, truncating, writing, files held open.

use layerstack::backend::AllocateMode;
use layerstack::testing::spec::Piece;
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{Op, RenameFlags, SetAttr};

use crate::ops::*;
use crate::situation::{Situation, both, low, up};

fn plain() -> LayerSpec {
    of([("/d/f", file("lower data").mode(0o640).owner(3, 4))])
}

/// A file with holes between data.
fn holes() -> LayerSpec {
    let pieces = vec![
        Piece::Hole(8192),
        Piece::Fill(b'a', 4096),
        Piece::Hole(12288),
        Piece::Fill(b'b', 5000),
        Piece::Hole(4096),
    ];
    of([("/d/f", NodeSpec::pieces(pieces))])
}

fn big() -> LayerSpec {
    of([("/f", NodeSpec::pieces(vec![Piece::Fill(b'z', 300_000)]))])
}

fn set_id() -> LayerSpec {
    let capability = b"\x01\0\0\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let node = file("program").mode(0o4755);
    of([("/d/f", node.xattr("security.capability", capability))])
}

pub fn all() -> Vec<Situation> {
    let mut all = opening();
    all.extend(sizes());
    all.extend(writing());
    all.extend(held_open());
    all
}

fn opening() -> Vec<Situation> {
    let copied = || (plain(), of([("/d/f", file("upper"))]));
    let (lower, upper) = copied();
    vec![
        low(
            "open a big file of a union for writing",
            big(),
            open("/f", wr()),
        )
        .nested(),
        low(
            "open a file with holes of a union for writing",
            holes(),
            open("/d/f", wr()),
        )
        .nested(),
        low(
            "append to a big file of a union",
            big(),
            append("/f", "appended"),
        )
        .nested(),
        low(
            "truncate a big file of a union",
            big(),
            set_len("/f", 200_000),
        )
        .nested(),
        low("open a lower file for writing", plain(), open("/d/f", wr())),
        low(
            "open a lower file with holes for writing",
            holes(),
            open("/d/f", wr()),
        ),
        low("open a big lower file for writing", big(), open("/f", wr())),
        low(
            "open an empty lower file for writing",
            of([("/f", file(""))]),
            open("/f", rd().write(true)),
        ),
        low(
            "truncate a lower file by opening",
            plain(),
            open("/d/f", wr().truncate(true)),
        ),
        low(
            "truncate a program by opening",
            set_id(),
            open("/d/f", wr().truncate(true)),
        ),
        low(
            "truncate an empty lower file by opening",
            of([("/f", file(""))]),
            open("/f", wr().truncate(true)),
        ),
        both(
            "truncate an upper file by opening",
            lower,
            upper,
            open("/d/f", wr().truncate(true)),
        ),
        low(
            "open through a lower symlink for writing",
            plain().with("/link", link("d/f")),
            open("/link", wr()),
        ),
        low(
            "open a file of the bottom layer for writing",
            of([("/d/other", file("other"))]),
            open("/d/f", wr()),
        )
        .below(plain()),
    ]
}

fn sizes() -> Vec<Situation> {
    let long = || of([("/f", file("0123456789").mode(0o6755))]);
    vec![
        low("truncate a lower file", long(), set_len("/f", 4)),
        low("truncate a lower file to nothing", long(), set_len("/f", 0)),
        low("lengthen a lower file", long(), set_len("/f", 9000)),
        low(
            "set the size that a lower file has",
            long(),
            set_len("/f", 10),
        ),
        up("truncate an upper file", long(), set_len("/f", 4)),
        low(
            "truncate a lower file with holes",
            holes(),
            set_len("/d/f", 10_000),
        ),
        low(
            "allocate space for a lower file",
            plain(),
            allocate("/d/f", AllocateMode::Allocate, 0, 9000),
        ),
        up(
            "punch a hole into an upper file",
            big(),
            allocate("/f", AllocateMode::PunchHole, 4096, 8192),
        ),
    ]
}

fn allocate(path: &str, mode: AllocateMode, offset: u64, len: u64) -> Op {
    Op::Allocate {
        path: path.into(),
        mode,
        offset,
        len,
    }
}

fn writing() -> Vec<Situation> {
    let into = |from: &str, to: &str| Op::Copy {
        from: from.into(),
        to: to.into(),
    };
    let data = "lower data";
    vec![
        low("write into a lower file", plain(), put("/d/f", "new data")),
        up("write into an upper file", plain(), put("/d/f", "new data")),
        low(
            "append to a lower file",
            plain(),
            append("/d/f", "appended"),
        ),
        low(
            "replace the content of a lower file",
            plain(),
            write("/d/f", wr().truncate(true), "new data"),
        ),
        low(
            "write into a new name of an upper file",
            plain(),
            write("/d/new", wr().create(true).truncate(true), "new data"),
        ),
        low(
            "copy a lower file",
            plain().with("/e", dir()),
            into("/d/f", "/e/t"),
        )
        .parts(&[
            open("/e/t", wr().create(true).mode(0o640)),
            write("/e/t", wr(), &data[..5]),
            write("/e/t", wr(), data),
            mkdir("/never"),
        ]),
        up("make everything durable", plain(), put("/d/f", "x")).setup([put("/d/f", "y")]),
    ]
}

/// What was opened before.
fn held_open() -> Vec<Situation> {
    let attr = |slot, attr| Op::HandleSetAttr { slot, attr };
    let len = |slot, len| Op::HandleSetLen { slot, len };
    let link = |slot, to: &str| Op::HandleLink {
        slot,
        to: to.into(),
    };
    let unnamed = |dir: &str| hold(0, dir, rd().write(true).tmpfile(true).mode(0o640));
    let mut torn = low("write to an open file", plain(), hwrite(0, "new data"))
        .setup([hold(0, "/d/f", rd().write(true))])
        .on_handle();
    torn.between = vec![vec![hwrite(0, "new ")]];
    vec![
        torn,
        low("truncate an open file", plain(), len(0, 3))
            .setup([hold(0, "/d/f", wr())])
            .on_handle(),
        low(
            "chmod a lower file held for reading",
            plain(),
            attr(0, SetAttr::mode(0o4700)),
        )
        .setup([hold(0, "/d/f", rd())])
        .on_handle(),
        low(
            "chmod a renamed file held for reading",
            plain(),
            attr(0, SetAttr::mode(0o700)),
        )
        .setup([hold(0, "/d/f", rd()), mv("/d/f", "/d/g")])
        .on_handle(),
        low(
            "write to a removed file held open",
            plain().with("/d/g", file("g")),
            hwrite(0, "x"),
        )
        .setup([hold(0, "/d/f", wr()), rm("/d/f")])
        .on_handle(),
        low("name an unnamed file", plain(), link(0, "/d/new"))
            .setup([unnamed("/d"), hwrite(0, "unnamed")])
            .on_handle(),
        both(
            "name an unnamed file over a whiteout",
            plain(),
            of([("/d/f", gone())]),
            link(0, "/d/f"),
        )
        .setup([unnamed("/d"), hwrite(0, "unnamed")])
        .leaves_a_name()
        .on_handle(),
        low(
            "make an unnamed file in a lower directory",
            plain(),
            unnamed("/d"),
        ),
        low(
            "open a lower file and hold it",
            plain(),
            hold(1, "/d/f", rd().write(true)),
        )
        .setup([hold(0, "/d/f", rd())]),
        low(
            "exchange files that are held open",
            plain().with("/e/g", file("other")),
            mv_with("/d/f", "/e/g", RenameFlags::EXCHANGE),
        )
        .setup([hold(0, "/d/f", rd()), hold(1, "/e/g", rd())]),
    ]
}
