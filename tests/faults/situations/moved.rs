//! Directories of lowers that move (`redirect_dir=on`).

use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, both, low};

fn plain() -> LayerSpec {
    of([
        ("/d", dir().mode(0o750)),
        ("/d/f", file("data")),
        ("/d/sub/leaf", file("leaf")),
        ("/e", dir().mode(0o711)),
        ("/e/g", file("g")),
    ])
}

/// `/d` and what is in it, in the upper too.
fn merged() -> LayerSpec {
    of([("/d", dir().mode(0o700)), ("/d/new", file("new"))])
}

pub fn all() -> Vec<Situation> {
    let on = |situation: Situation| situation.options(&["redirect_dir=on"]);
    let moved = || [mv("/d", "/m")];
    let all = vec![
        low("rename a lower directory", plain(), mv("/d", "/m")),
        low(
            "rename a lower directory to another one",
            plain(),
            mv("/d", "/e/m"),
        ),
        low(
            "rename a deep lower directory",
            plain(),
            mv("/d/sub", "/e/m"),
        ),
        both(
            "rename a merged directory",
            plain(),
            merged(),
            mv("/d", "/m"),
        ),
        both(
            "rename a merged directory to another one",
            plain(),
            merged(),
            mv("/d", "/e/m"),
        ),
        low("rename a directory of two lowers", plain(), mv("/d", "/m")).below(plain()),
        low("rename a moved directory again", plain(), mv("/m", "/e/m2")).setup(moved()),
        low("rename a moved directory back", plain(), mv("/m", "/d")).setup(moved()),
        both(
            "rename a lower directory over a whiteout",
            plain(),
            of([("/e", gone())]),
            mv("/d", "/e"),
        ),
        low(
            "rename a lower directory over an emptied one",
            plain(),
            mv("/d", "/e"),
        )
        .setup([rm("/e/g")]),
        low("exchange two lower directories", plain(), swap("/d", "/e")),
        low(
            "exchange a lower directory and a file",
            plain(),
            swap("/d", "/e/g"),
        ),
        low(
            "mkdir where a directory was moved away",
            plain(),
            mkdir("/d"),
        )
        .setup(moved()),
        low(
            "mkdir in a merged directory is opaque at once",
            plain(),
            mkdir("/d/new"),
        ),
        low(
            "copy a file up in a moved directory",
            plain(),
            chmod("/m/f", 0o600),
        )
        .setup(moved()),
        low("remove a file of a moved directory", plain(), rm("/m/f")).setup(moved()),
        low("remove a moved directory", plain(), rmdir("/e/m"))
            .setup([rm("/d/sub/leaf"), mv("/d/sub", "/e/m")]),
        low("look into a moved directory", plain(), ls("/m"))
            .setup(moved())
            .looks(),
        low(
            "read a file of a moved directory",
            plain(),
            cat("/m/sub/leaf"),
        )
        .setup(moved())
        .looks(),
    ];
    all.into_iter().map(on).collect()
}
