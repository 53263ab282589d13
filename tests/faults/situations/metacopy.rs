//! Files of which only the attributes are in the upper (`metacopy=on`).

use layerstack::testing::LayerSpec;

use crate::ops::*;
use crate::situation::{Situation, low};

fn plain() -> LayerSpec {
    of([
        (
            "/d/f",
            file("lower data")
                .mode(0o640)
                .owner(3, 4)
                .xattr("user.a", b"1"),
        ),
        ("/d/g", file("other")),
        ("/e", dir().mode(0o711)),
    ])
}

/// Its attributes are in the upper already.
fn copied() -> [layerstack::Op; 1] {
    [chmod("/d/f", 0o600)]
}

pub fn all() -> Vec<Situation> {
    let on = |situation: Situation| situation.options(&["metacopy=on"]);
    let all = vec![
        low("chmod without data", plain(), chmod("/d/f", 0o600)),
        low("chown without data", plain(), chown("/d/f", 8, 9)),
        low(
            "set an attribute without data",
            plain(),
            set_xattr("/d/f", "user.b", "2"),
        ),
        low("chmod again without data", plain(), chmod("/d/f", 0o400)).setup(copied()),
        low(
            "open for writing brings the data",
            plain(),
            open("/d/f", wr()),
        )
        .setup(copied())
        .promotes(),
        low("writing brings the data", plain(), put("/d/f", "new data"))
            .setup(copied())
            .promotes(),
        low(
            "truncating by opening brings no data",
            plain(),
            open("/d/f", wr().truncate(true)),
        )
        .setup(copied())
        .promotes(),
        low("truncating brings the data", plain(), set_len("/d/f", 4))
            .setup(copied())
            .promotes(),
        low("rename without data", plain(), mv("/d/f", "/d/new")),
        low(
            "rename to another directory without data",
            plain(),
            mv("/d/f", "/e/new"),
        ),
        low("rename what has no data", plain(), mv("/d/f", "/e/new")).setup(copied()),
        low("exchange files without data", plain(), swap("/d/f", "/d/g")),
        low("unlink what has no data", plain(), rm("/d/f")).setup(copied()),
        low("link what has no data", plain(), ln("/d/f", "/e/new"))
            .setup(copied())
            .breaks_links(),
        low("read what has no data", plain(), cat("/d/f"))
            .setup(copied())
            .looks(),
    ];
    all.into_iter().map(on).collect()
}
