//! With an index: entries are made, found, counted, and removed or hidden.

use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, both, low};

fn linked() -> LayerSpec {
    of([
        ("/d", dir().mode(0o750)),
        ("/d/1", file("linked").mode(0o640)),
        ("/d/2", link_to("/d/1")),
        ("/e/3", link_to("/d/1")),
        ("/e/f", file("alone")),
        ("/full/x", file("")),
    ])
}

pub fn all() -> Vec<Situation> {
    let mut all = Vec::new();
    all.extend(links().into_iter().map(|s| s.options(&["index=on"])));
    // The index entry is one more link of the upper file, which shows after the next opening, as in the
    // kernel (rule R258).
    all.extend(
        exported()
            .into_iter()
            .map(|s| s.options(&["nfs_export=on", "index=on"]).breaks_links()),
    );
    all
}

fn links() -> Vec<Situation> {
    let copied = || [chmod("/d/1", 0o600)];
    let hides = || of([("/e/f", gone())]);
    vec![
        low(
            "change a name of an indexed file",
            linked(),
            chmod("/d/1", 0o600),
        ),
        low(
            "write to a name of an indexed file",
            linked(),
            put("/d/2", "new data"),
        ),
        low(
            "change another name of an indexed file",
            linked(),
            chmod("/e/3", 0o644),
        )
        .setup(copied()),
        low("remove a name of an indexed file", linked(), rm("/d/1")),
        low(
            "remove the copied name of an indexed file",
            linked(),
            rm("/d/1"),
        )
        .setup(copied()),
        low(
            "remove the last name of an indexed file",
            linked(),
            rm("/e/3"),
        )
        .setup([chmod("/d/1", 0o600), rm("/d/1"), rm("/d/2")]),
        low("link an indexed file", linked(), ln("/d/2", "/e/new")),
        both(
            "link an indexed file over a whiteout",
            linked(),
            hides(),
            ln("/d/2", "/e/f"),
        )
        .setup(copied()),
        low(
            "rename a name of an indexed file",
            linked(),
            mv("/d/2", "/e/new"),
        ),
        low(
            "rename over a name of an indexed file",
            linked(),
            mv("/e/f", "/d/2"),
        )
        .setup(copied()),
        low(
            "exchange a name of an indexed file",
            linked(),
            swap("/e/f", "/d/2"),
        ),
    ]
}

fn exported() -> Vec<Situation> {
    let copied = || [chmod("/e/f", 0o600)];
    vec![
        low("change a file, exported", linked(), chmod("/e/f", 0o600)),
        low(
            "write to a file, exported",
            linked(),
            put("/e/f", "new data"),
        ),
        low(
            "set an attribute, exported",
            linked(),
            set_xattr("/e/f", "user.a", "1"),
        ),
        low("link a file, exported", linked(), ln("/e/f", "/d/new")),
        low("rename a file, exported", linked(), mv("/e/f", "/d/new")),
        low("remove a file, exported", linked(), rm("/e/f")),
        low("remove a copied file, exported", linked(), rm("/e/f")).setup(copied()),
        low("rename over a file, exported", linked(), mv("/d/1", "/e/f")),
        low(
            "rename over a copied file, exported",
            linked(),
            mv("/d/1", "/e/f"),
        )
        .setup(copied()),
        low("exchange files, exported", linked(), swap("/d/1", "/e/f")),
        low(
            "change a linked file, exported",
            linked(),
            chmod("/d/1", 0o600),
        ),
        low("remove a linked file, exported", linked(), rm("/d/1")),
        low("change a directory, exported", linked(), chmod("/d", 0o700)),
        low("make a directory, exported", linked(), mkdir("/d/new")),
        low(
            "remove a copied directory, exported",
            linked(),
            rmdir("/full"),
        )
        .setup([chmod("/full", 0o700), rm("/full/x")]),
        low(
            "remove a lower directory, exported",
            linked(),
            rmdir("/full"),
        )
        .setup([rm("/full/x")]),
    ]
}
