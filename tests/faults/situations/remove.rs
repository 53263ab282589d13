//! Names that go.

use layerstack::Op;
use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, both, low, up};

fn plain() -> LayerSpec {
    of([
        ("/d", dir().mode(0o750)),
        ("/d/f", file("data")),
        ("/d/g", file("other")),
        ("/d/e", dir()),
    ])
}

/// A lower directory with files, and an upper that hides all of them.
fn hidden() -> (LayerSpec, LayerSpec) {
    let lower = of([
        ("/d/1", file("1")),
        ("/d/2", file("2")),
        ("/d/3/4", file("4")),
    ]);
    let over = dir().mode(0o2711).owner(5, 6).xattr("user.a", b"1");
    let upper = of([
        ("/d", over),
        ("/d/1", gone()),
        ("/d/2", gone()),
        ("/d/3", gone()),
    ]);
    (lower, upper)
}

pub fn all() -> Vec<Situation> {
    let mut all = files();
    all.extend(directories());
    all.extend(trees());
    all
}

fn files() -> Vec<Situation> {
    let linked = || of([("/d/1", file("linked")), ("/d/2", link_to("/d/1"))]);
    let deep = of([("/a/b/c/f", file("deep")), ("/a/b/c/g", file("g"))]);
    vec![
        low("unlink a lower file", plain(), rm("/d/f")),
        up("unlink an upper file", plain(), rm("/d/f")),
        both(
            "unlink a copied-up file",
            plain(),
            of([("/d/f", file("up"))]),
            rm("/d/f"),
        ),
        low("unlink a file that was just copied up", plain(), rm("/d/f"))
            .setup([chmod("/d/f", 0o600)]),
        low(
            "unlink a file in a deep lower directory",
            deep,
            rm("/a/b/c/f"),
        ),
        low("unlink a lower symlink", of([("/l", link("to"))]), rm("/l")),
        low("unlink a file of two lowers", plain(), rm("/d/f")).below(plain()),
        low("unlink a lower hard link", linked(), rm("/d/1")).breaks_links(),
        up("unlink one of two names in the upper", linked(), rm("/d/1")),
        low("unlink a file that is held open", plain(), rm("/d/f")).setup([hold(0, "/d/f", rd())]),
        low(
            "unlink a written file that is held open",
            plain(),
            rm("/d/f"),
        )
        .setup([hold(0, "/d/f", rd().write(true)), hwrite(0, "new")]),
        both(
            "unlink an upper file in an opaque directory",
            plain(),
            of([("/d", opaque()), ("/d/f", file("up"))]),
            rm("/d/f"),
        ),
    ]
}

fn directories() -> Vec<Situation> {
    let (lower, upper) = hidden();
    let whiteouts = of([
        ("/d", opaque().mode(0o700)),
        ("/d/1", gone()),
        ("/d/2", gone()),
    ]);
    let marked = of([
        ("/d", dir().opaque(b"x")),
        ("/d/f", xgone()),
        ("/d/g", file("seen")),
    ]);
    vec![
        up("rmdir an upper directory", plain(), rmdir("/d/e")),
        low("rmdir a lower directory", plain(), rmdir("/d/e")),
        both(
            "rmdir a merged directory",
            plain(),
            of([("/d/e", dir())]),
            rmdir("/d/e"),
        ),
        both(
            "rmdir a merged directory full of whiteouts",
            lower,
            upper,
            rmdir("/d"),
        ),
        both(
            "rmdir an opaque directory full of whiteouts",
            of([("/d/1", file("1"))]),
            whiteouts,
            rmdir("/d"),
        ),
        low("unlink beside an attribute whiteout", marked, rm("/d/g")).below(plain()),
        low("rmdir a directory that was emptied", plain(), rmdir("/d")).setup([
            rm("/d/f"),
            rm("/d/g"),
            rmdir("/d/e"),
        ]),
        low(
            "rmdir a new directory over a removed one",
            plain(),
            rmdir("/d/e"),
        )
        .setup([rmdir("/d/e"), mkdir("/d/e")]),
        low(
            "rmdir a lower directory in a deep one",
            of([("/a/b/c/d", dir())]),
            rmdir("/a/b/c/d"),
        ),
    ]
}

fn trees() -> Vec<Situation> {
    let all = |path: &str| Op::RemoveDirAll { path: path.into() };
    let flat = of([("/d/f", file("f")), ("/d/g", file("g"))]);
    vec![
        low("rm -r a lower tree", flat.clone(), all("/d")).parts(&[
            rm("/d/f"),
            rm("/d/g"),
            rmdir("/d"),
        ]),
        both(
            "rm -r a merged tree",
            flat,
            of([("/d/e", dir()), ("/d/e/x", file("x"))]),
            all("/d"),
        )
        .parts(&[
            rm("/d/e/x"),
            rmdir("/d/e"),
            rm("/d/f"),
            rm("/d/g"),
            rmdir("/d"),
        ]),
    ]
}
