//! New names: in directories of every kind, over whiteouts, with inherited attributes.

use layerstack::testing::LayerSpec;
use layerstack::{FileType, Op};

use crate::ops::*;
use crate::situation::{Situation, both, low, up};

/// A directory with a default access list, which new objects inherit.
fn with_default_acl() -> LayerSpec {
    let acl = super::acl(&super::acl_of(5, 7));
    of([("/d", dir().xattr("system.posix_acl_default", acl))])
}

fn set_gid() -> LayerSpec {
    of([("/d", dir().mode(0o2775).owner(0, 7))])
}

fn deep() -> LayerSpec {
    of([
        ("/a", dir().mode(0o711)),
        ("/a/b", dir().owner(3, 4).xattr("user.b", b"b")),
        ("/a/b/c", dir().mode(0o1777)),
        ("/a/b/c/old", file("old")),
    ])
}

fn hidden_file() -> (LayerSpec, LayerSpec) {
    (
        of([("/d/x", file("hidden")), ("/d/y", file("seen"))]),
        of([("/d/x", gone())]),
    )
}

fn hidden_dir() -> (LayerSpec, LayerSpec) {
    let lower = of([("/d/x/1", file("hidden")), ("/d/x/2/3", file("deep"))]);
    (lower, of([("/d/x", gone())]))
}

pub fn all() -> Vec<Situation> {
    let mut all = in_directories();
    all.extend(over_whiteouts());
    all.extend(inheriting());
    all.extend(composed());
    all
}

fn in_directories() -> Vec<Situation> {
    let empty = || open("/new", wr().create_new(true).mode(0o640));
    vec![
        up("create a file in an upper root", layer(), empty()),
        low(
            "create a file in a merged root",
            of([("/old", file("old"))]),
            empty(),
        ),
        low(
            "create a file in a lower directory",
            of([("/d/old", file("old"))]),
            open("/d/new", wr().create(true)),
        ),
        low(
            "create a file in a deep lower directory",
            deep(),
            open("/a/b/c/new", wr().create(true)),
        ),
        up(
            "create a file in an upper directory",
            of([("/d", dir())]),
            open("/d/new", rd().create(true)),
        ),
        low(
            "mkdir in a lower directory",
            of([("/d", dir().mode(0o700))]),
            mkdir("/d/new"),
        ),
        low(
            "mkdir in a deep lower directory",
            deep(),
            mkdir("/a/b/c/new"),
        ),
        low(
            "symlink in a lower directory",
            of([("/d", dir())]),
            symlink("to", "/d/new"),
        ),
        low(
            "mkfifo in a lower directory",
            of([("/d", dir())]),
            mknod("/d/new", FileType::Fifo, 0, 0),
        ),
        low(
            "a socket in a merged root",
            of([("/d", dir())]),
            mknod("/new", FileType::Socket, 0, 0),
        ),
        low(
            "mknod of a device in a deep lower directory",
            deep(),
            mknod("/a/b/c/new", FileType::CharDevice, 1, 3),
        ),
        low(
            "mknod of a regular file in a lower directory",
            of([("/d", dir())]),
            mknod("/d/new", FileType::Regular, 0, 0),
        ),
        both(
            "mkdir in a directory of three layers",
            of([("/d/1", file("1"))]),
            of([("/d/0", file("0"))]),
            mkdir("/d/new"),
        )
        .below(of([("/d/2", file("2"))])),
        low(
            "create in a directory of two lowers",
            of([("/d/1", file("1"))]),
            open("/d/new", wr().create(true)),
        )
        .below(of([("/d/2", file("2"))])),
    ]
}

fn over_whiteouts() -> Vec<Situation> {
    let over = |name, (lower, upper), op| both(name, lower, upper, op);
    let xattr = || {
        let marked = dir().opaque(b"x");
        (
            of([("/d", marked), ("/d/x", xgone()), ("/d/z", file("z"))]),
            of([("/d/y", file("y"))]),
        )
    };
    let (marked, upper) = xattr();
    vec![
        over(
            "create a file over a whiteout",
            hidden_file(),
            open("/d/x", wr().create(true)),
        ),
        over(
            "mkdir over a whiteout of a file",
            hidden_file(),
            mkdir("/d/x"),
        ),
        over(
            "mkdir over a whiteout of a directory",
            hidden_dir(),
            mkdir("/d/x"),
        ),
        over(
            "symlink over a whiteout",
            hidden_file(),
            symlink("to", "/d/x"),
        ),
        over(
            "symlink over a whiteout of a directory",
            hidden_dir(),
            symlink("to", "/d/x"),
        ),
        over(
            "mkfifo over a whiteout",
            hidden_file(),
            mknod("/d/x", FileType::Fifo, 0, 0),
        ),
        over(
            "mknod of a device over a whiteout",
            hidden_dir(),
            mknod("/d/x", FileType::BlockDevice, 7, 1),
        ),
        both(
            "create over an attribute whiteout of a lower",
            marked,
            upper,
            open("/d/x", wr().create(true)),
        )
        .below(of([("/d/x", file("below")), ("/d/y", file("below"))])),
        over(
            "write a new file over a whiteout",
            hidden_file(),
            create("/d/x", "new data"),
        ),
        both(
            "mkdir over a whiteout in an opaque directory",
            of([("/d/x", file("below"))]),
            of([("/d", opaque()), ("/d/x", gone())]),
            mkdir("/d/x"),
        ),
    ]
}

fn inheriting() -> Vec<Situation> {
    let whiteout = || of([("/d", dir().mode(0o2770).owner(0, 9)), ("/d/x", gone())]);
    vec![
        low(
            "mkdir in a set-group-id directory",
            set_gid(),
            mkdir("/d/new"),
        ),
        low(
            "create in a set-group-id directory",
            set_gid(),
            open("/d/new", wr().create(true)),
        ),
        low(
            "mkdir with a default access list",
            with_default_acl(),
            mkdir("/d/new"),
        ),
        low(
            "create with a default access list",
            with_default_acl(),
            open("/d/new", wr().create(true)),
        ),
        low(
            "symlink where there is a default access list",
            with_default_acl(),
            symlink("to", "/d/new"),
        ),
        up(
            "mkdir with a default access list in the upper",
            with_default_acl(),
            mkdir("/d/new"),
        ),
        both(
            "mkdir over a whiteout in a set-group-id directory",
            of([("/d/x", dir())]),
            whiteout(),
            mkdir("/d/x"),
        ),
        both(
            "create over a whiteout with a default access list",
            of([("/d/x", file("x"))]),
            with_default_acl().with("/d/x", gone()),
            open("/d/x", wr().create(true)),
        ),
    ]
}

/// Sequences.
fn composed() -> Vec<Situation> {
    let all = |path: &str| Op::CreateDirAll {
        path: path.into(),
        mode: 0o755,
    };
    vec![
        low(
            "mkdir -p below a lower directory",
            of([("/d", dir())]),
            all("/d/1/2"),
        )
        .parts(&[mkdir("/d/1"), mkdir("/d/1/2")]),
        both(
            "mkdir -p over a whiteout",
            of([("/d/1/2", file("old"))]),
            of([("/d/1", gone())]),
            all("/d/1/2"),
        )
        .parts(&[mkdir("/d/1"), mkdir("/d/1/2")]),
        low(
            "write a new file in a deep lower directory",
            deep(),
            create("/a/b/c/new", "new data"),
        ),
    ]
}
