//! Further names.

use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, both, low, up};

fn plain() -> LayerSpec {
    of([
        ("/d", dir().mode(0o750)),
        ("/d/f", file("data").mode(0o640)),
        ("/e/h", file("third")),
        ("/l", link("to")),
    ])
}

pub fn all() -> Vec<Situation> {
    let hides_h = || of([("/e/h", gone())]);
    let linked = || of([("/d/1", file("linked")), ("/d/2", link_to("/d/1"))]);
    vec![
        up("link an upper file", plain(), ln("/d/f", "/d/new")),
        low("link a lower file", plain(), ln("/d/f", "/d/new")).breaks_links(),
        low(
            "link a lower file into another directory",
            plain(),
            ln("/d/f", "/e/new"),
        )
        .breaks_links(),
        both(
            "link a lower file over a whiteout",
            plain(),
            hides_h(),
            ln("/d/f", "/e/h"),
        )
        .breaks_links(),
        both(
            "link an upper file over a whiteout",
            plain(),
            hides_h().with("/u", file("upper")),
            ln("/u", "/e/h"),
        ),
        low("link a lower symlink", plain(), ln("/l", "/d/l")).breaks_links(),
        low("link a lower hard link", linked(), ln("/d/1", "/d/3")).breaks_links(),
        low(
            "link a file that was just copied up",
            plain(),
            ln("/d/f", "/e/new"),
        )
        .setup([chmod("/d/f", 0o600)])
        .breaks_links(),
        low(
            "link a file into a deep lower directory",
            of([("/f", file("f")), ("/a/b/c", dir())]),
            ln("/f", "/a/b/c/f"),
        )
        .breaks_links(),
        up(
            "remove the first name of a linked file",
            plain(),
            rm("/d/f"),
        )
        .setup([ln("/d/f", "/e/new")]),
        up(
            "write into a linked file",
            plain(),
            put("/e/new", "new data"),
        )
        .setup([ln("/d/f", "/e/new")]),
    ]
}
