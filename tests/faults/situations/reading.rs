//! What only looks: a call that fails must not be taken for an answer, or remembered as one.

use layerstack::Op;
use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, both, low};

fn lower() -> LayerSpec {
    of([
        ("/d", dir().mode(0o750).xattr("user.d", b"d")),
        ("/d/f", file("lower").xattr("user.a", b"1")),
        ("/d/gone", file("hidden")),
        ("/d/sub/leaf", file("leaf")),
        ("/l", link("d/f")),
        ("/x", dir().opaque(b"x")),
        ("/x/gone", xgone()),
        ("/x/seen", file("seen")),
    ])
}

fn upper() -> LayerSpec {
    of([
        ("/d/g", file("upper").xattr("user.b", b"2")),
        ("/d/gone", gone()),
        ("/d/sub", opaque()),
        ("/d/sub/new", file("new")),
        ("/x/own", file("own")),
    ])
}

fn look(name: &'static str, op: Op) -> Situation {
    let bottom = of([("/d/h", file("bottom")), ("/x/gone", file("hidden"))]);
    both(name, lower(), upper(), op).below(bottom).looks()
}

pub fn all() -> Vec<Situation> {
    let get = |path: &str, name: &str| get_xattr(path, name);
    let follow = |path: &str| Op::Metadata {
        path: path.into(),
        follow: true,
    };
    vec![
        look("stat a lower file", stat("/d/f")),
        look("stat an upper file", stat("/d/g")),
        look("stat a merged directory", stat("/d")),
        look("stat through a symlink", follow("/l")),
        look("read the root", ls("/")),
        look("read a merged directory", ls("/d")),
        look("read an opaque directory", ls("/d/sub")),
        look("read a directory with attribute whiteouts", ls("/x")),
        look("read a file of the bottom layer", cat("/d/h")),
        look("read an upper file", cat("/d/sub/new")),
        look("read a file through a symlink", cat("/l")),
        look("read a symlink", read_link("/l")),
        look("read an attribute", get("/d/f", "user.a")),
        look(
            "list the attributes of a merged directory",
            list_xattrs("/d"),
        ),
        look("ask for numbers of the filesystem", Op::StatFs),
        low("read a name that was just copied up", lower(), cat("/d/f"))
            .setup([chmod("/d/f", 0o600)])
            .looks(),
        low("read a directory after a removal", lower(), ls("/d"))
            .setup([rm("/d/f")])
            .looks(),
    ]
}
