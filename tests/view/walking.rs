use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::{LayerId, LayerStack, OverlayAttr, Walk};

use crate::{layer, stack};

fn sample() -> LayerStack {
    stack([
        layer("top")
            .file("a/one", "1")
            .whiteout("a/two")
            .opaque("b")
            .file("b/x/y", ""),
        layer("base")
            .file("a/two", "")
            .file("a/three", "")
            .file("b/hidden", "")
            .symlink("link", "a")
            .file("c.d", ""),
    ])
}

fn paths(walk: Walk) -> Vec<String> {
    walk.map(|e| match e {
        Ok(e) => e.path().to_str().unwrap().to_owned(),
        Err(e) => format!("! {e}"),
    })
    .collect()
}

#[test]
fn order_depth_and_contents_first() {
    let s = sample();
    let all = [
        "/", "/a", "/a/one", "/a/three", "/b", "/b/x", "/b/x/y", "/c.d", "/link",
    ];
    assert_eq!(paths(s.walk("/").sort(true)), all);
    let mut unsorted = paths(s.walk(""));
    assert_eq!(
        unsorted.len(),
        1,
        "the empty path is an error: {unsorted:?}"
    );
    unsorted = paths(s.walk("/"));
    unsorted.sort();
    assert_eq!(unsorted, all);
    assert_eq!(
        paths(s.walk("/").sort(true).contents_first(true)),
        [
            "/a/one", "/a/three", "/a", "/b/x/y", "/b/x", "/b", "/c.d", "/link", "/"
        ]
    );
    assert_eq!(
        paths(s.walk("/").sort(true).min_depth(2).max_depth(2)),
        ["/a/one", "/a/three", "/b/x"]
    );
    assert_eq!(
        paths(
            s.walk("/")
                .sort(true)
                .min_depth(1)
                .contents_first(true)
                .max_depth(1)
        ),
        ["/a", "/b", "/c.d", "/link"]
    );
    assert_eq!(paths(s.walk("/b").sort(true)), ["/b", "/b/x", "/b/x/y"]);
    assert_eq!(
        paths(s.walk("link").sort(true)),
        ["/a", "/a/one", "/a/three"]
    );
    assert_eq!(paths(s.walk("b/x/y")), ["/b/x/y"]);
    assert_eq!(
        paths(s.walk("/b/hidden")),
        ["! walk /b/hidden: no such file or directory (ENOENT)"]
    );
}

#[test]
fn pruning() {
    let s = sample();
    assert_eq!(
        paths(
            s.walk("/")
                .sort(true)
                .filter(|e| e.path().to_str() != Some("/a"))
        ),
        ["/", "/b", "/b/x", "/b/x/y", "/c.d", "/link"]
    );
    let mut walk = s.walk("/").sort(true);
    let mut seen = Vec::new();
    while let Some(entry) = walk.next() {
        let path = entry.unwrap().into_path();
        if path.ends_with("b") || path.ends_with("one") {
            walk.skip_current_dir();
        }
        seen.push(path.to_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["/", "/a", "/a/one", "/b", "/c.d", "/link"]);
}

#[test]
fn entries_know_layer_and_attributes() {
    let s = sample();
    for entry in s.walk("/").sort(true) {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap(),
            s.symlink_metadata(entry.path()).unwrap(),
            "{entry:?}"
        );
        let (top, base) = (LayerId::Lower(0), LayerId::Lower(1));
        let expected = match entry.path().to_str().unwrap() {
            "/" | "/a" => vec![top, base],
            "/a/one" | "/b" | "/b/x" | "/b/x/y" => vec![top],
            _ => vec![base],
        };
        assert_eq!(entry.layers().unwrap(), expected, "{entry:?}");
        assert_eq!(entry.layer(), expected[0]);
    }
}

#[test]
fn errors_do_not_end_a_walk() {
    // A malformed redirect makes looking the directory up fail.
    let s = stack([
        layer("top")
            .file("a", "")
            .overlay_attr("bad", OverlayAttr::Redirect, "x/y")
            .file("bad/f", "")
            .file("c", ""),
        layer("base").file("d", ""),
    ]);
    let got = paths(s.walk("/").sort(true));
    assert_eq!(got.len(), 5, "{got:?}");
    assert!(got[2].starts_with("! walk /bad in lower[0]"), "{got:?}");
    assert_eq!(got[4], "/d");
}

#[test]
fn a_deep_tree_needs_no_stack_and_no_cache() {
    let path = "/d".repeat(4000);
    let s = stack([
        layer("0").file(format!("{path}/f"), ""),
        layer("1").dir("d/d", 0o755),
    ]);
    let mut walk = s.walk("/").contents_first(true);
    let deepest = walk.next().unwrap().unwrap();
    assert_eq!(deepest.depth(), 4001);
    drop(walk);
    assert_eq!(s.walk("/").count(), 4002);
    // The entry alone keeps its directories in use.
    assert!(deepest.metadata().unwrap().is_file());
}

#[test]
fn a_whiteout_that_only_one_layer_lists() {
    // R079: a directory of one layer lists its stray whiteout; looking it up finds nothing.
    let s = stack([
        layer("0").whiteout("d/stray").file("d/f", ""),
        layer("1").file("x", ""),
    ]);
    let entries: Vec<_> = s.walk("/d").sort(true).map(Result::unwrap).collect();
    assert_eq!(entries.len(), 3);
    assert_eq!(
        entries[2].metadata().unwrap_err().errno(),
        layerstack::Errno::ENOENT
    );
}

#[test]
fn walks_are_send() {
    fn check<T: Send>(_: T) {}
    let s = LayerStack::from_top([Arc::new(MemLayer::new())]).unwrap();
    check(s.walk("/"));
    check(s.walk("/").next().unwrap().unwrap());
}
