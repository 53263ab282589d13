//! Names that move.

use layerstack::RenameFlags;
use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, both, low, up};

fn plain() -> LayerSpec {
    of([
        ("/d", dir().mode(0o750)),
        ("/d/f", file("data").mode(0o640)),
        ("/d/g", file("other")),
        ("/e/h", file("third")),
        ("/e/s", link("to")),
    ])
}

/// An upper directory with something in it.
fn new_dir() -> LayerSpec {
    of([
        ("/n", dir().mode(0o711)),
        ("/n/x", file("x")),
        ("/n/y/z", file("z")),
    ])
}

/// `/e` of [`plain`] emptied by whiteouts.
fn emptied() -> LayerSpec {
    of([
        ("/e", dir().mode(0o700)),
        ("/e/h", gone()),
        ("/e/s", gone()),
    ])
}

pub fn all() -> Vec<Situation> {
    let mut all = files();
    all.extend(directories());
    all.extend(exchanges());
    all
}

fn files() -> Vec<Situation> {
    let upper_file = || of([("/d/u", file("upper"))]);
    let hides_h = || of([("/e/h", gone())]);
    vec![
        low("rename a lower file", plain(), mv("/d/f", "/d/new")),
        low(
            "rename a lower file to another directory",
            plain(),
            mv("/d/f", "/e/new"),
        ),
        low(
            "rename a lower file over a lower file",
            plain(),
            mv("/d/f", "/d/g"),
        ),
        low(
            "rename a lower file over one elsewhere",
            plain(),
            mv("/d/f", "/e/h"),
        ),
        both(
            "rename a lower file over an upper file",
            plain(),
            upper_file(),
            mv("/d/f", "/d/u"),
        ),
        both(
            "rename an upper file",
            plain(),
            upper_file(),
            mv("/d/u", "/d/new"),
        ),
        both(
            "rename an upper file over a lower file",
            plain(),
            upper_file(),
            mv("/d/u", "/d/f"),
        ),
        both(
            "rename an upper file to a lower directory",
            plain(),
            upper_file(),
            mv("/d/u", "/e/new"),
        ),
        both(
            "rename a lower file over a whiteout",
            plain(),
            hides_h(),
            mv("/d/f", "/e/h"),
        ),
        both(
            "rename an upper file over a whiteout",
            plain(),
            hides_h().with("/d/u", file("upper")),
            mv("/d/u", "/e/h"),
        ),
        both(
            "rename a copied-up file",
            plain(),
            of([("/d/f", file("upper"))]),
            mv("/d/f", "/d/new"),
        ),
        low(
            "rename a file that was just copied up",
            plain(),
            mv("/d/f", "/e/new"),
        )
        .setup([chmod("/d/f", 0o600)]),
        low("rename a lower symlink", plain(), mv("/e/s", "/d/s")),
        low(
            "rename without replacing",
            plain(),
            mv_with("/d/f", "/d/new", RenameFlags::NO_REPLACE),
        ),
        low(
            "rename a file back to where it was",
            plain(),
            mv("/d/new", "/d/f"),
        )
        .setup([mv("/d/f", "/d/new")]),
        low(
            "rename a lower hard link",
            of([("/d/1", file("linked")), ("/e/2", link_to("/d/1"))]),
            mv("/d/1", "/e/new"),
        )
        .breaks_links(),
        up(
            "rename a hard link over another file",
            of([
                ("/1", file("linked")),
                ("/2", link_to("/1")),
                ("/3", file("3")),
            ]),
            mv("/1", "/3"),
        ),
        low(
            "rename a deep file to the root",
            of([("/a/b/c/f", file("f"))]),
            mv("/a/b/c/f", "/f"),
        ),
        low(
            "rename a file into a deep directory",
            deep(),
            mv("/f", "/a/b/c/f"),
        ),
    ]
}

fn deep() -> LayerSpec {
    of([("/f", file("f")), ("/a/b/c", dir().mode(0o1777))])
}

fn directories() -> Vec<Situation> {
    let hides_e = || new_dir().with("/e", gone());
    let mut onto_emptied = emptied();
    for (path, node) in new_dir().nodes() {
        onto_emptied.insert(path, node.clone());
    }
    vec![
        both(
            "rename an upper directory",
            plain(),
            new_dir(),
            mv("/n", "/m"),
        ),
        both(
            "rename an upper directory to a lower directory",
            plain(),
            new_dir(),
            mv("/n", "/d/n"),
        ),
        both(
            "rename an upper directory over a whiteout",
            plain(),
            hides_e(),
            mv("/n", "/e"),
        ),
        both(
            "rename a directory out of a new one over a whiteout",
            plain(),
            hides_e().with("/p/n/x", file("x")),
            mv("/p/n", "/e"),
        ),
        both(
            "rename a directory of a new one over a whiteout in it",
            plain(),
            of([("/p/n/x", file("x")), ("/p/w", gone())]),
            mv("/p/n", "/p/w"),
        ),
        low(
            "rename a directory out of one just made over a removed one",
            plain(),
            mv("/p/n", "/e"),
        )
        .setup([
            mkdir("/p"),
            mkdir("/p/n"),
            rm("/e/h"),
            rm("/e/s"),
            rmdir("/e"),
        ]),
        both(
            "rename an upper directory over an emptied one",
            plain(),
            onto_emptied,
            mv("/n", "/e"),
        ),
        both(
            "rename an upper directory over an empty lower one",
            plain().with("/empty", dir()),
            new_dir(),
            mv("/n", "/empty"),
        ),
        both(
            "rename an upper directory over an empty upper one",
            plain(),
            new_dir().with("/m", dir()),
            mv("/n", "/m"),
        ),
        both(
            "rename an upper directory out of a lower one",
            plain(),
            of([("/d/n/x", file("x"))]),
            mv("/d/n", "/n"),
        ),
        low(
            "rename a new directory over a removed one",
            plain(),
            mv("/n", "/e"),
        )
        .setup([mkdir("/n"), rm("/e/h"), rm("/e/s"), rmdir("/e")]),
    ]
}

fn exchanges() -> Vec<Situation> {
    let two = || {
        new_dir()
            .with("/m", dir())
            .with("/m/2", file("2"))
            .with("/d/u", file("upper"))
    };
    vec![
        low("exchange two lower files", plain(), swap("/d/f", "/d/g")),
        low(
            "exchange lower files of two directories",
            plain(),
            swap("/d/f", "/e/h"),
        ),
        both(
            "exchange a lower and an upper file",
            plain(),
            two(),
            swap("/d/u", "/e/h"),
        ),
        up("exchange two upper files", plain(), swap("/d/f", "/e/h")),
        both(
            "exchange two upper directories",
            plain(),
            two(),
            swap("/n", "/m"),
        ),
        both(
            "exchange an upper directory and a lower file",
            plain(),
            two(),
            swap("/n", "/e/h"),
        ),
        low(
            "exchange a lower file and a symlink",
            plain(),
            swap("/d/f", "/e/s"),
        ),
        both(
            "exchange upper directories of two directories",
            plain(),
            two().with("/e/k", dir()),
            swap("/n/y", "/e/k"),
        ),
    ]
}
