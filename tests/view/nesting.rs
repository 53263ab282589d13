use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{Access, Entry, LayerBackend, WhiteoutForm};
use layerstack::{Errno, LayerStack, Name, OverlayAttr, XattrName, XattrNamespace};

use crate::{layer, stack, tree};

fn name(s: &str) -> Name {
    Name::try_from(s).unwrap()
}

#[test]
fn a_union_is_a_layer_that_shows_its_view() {
    let inner = stack([
        layer("top")
            .file("a/f", "new")
            .whiteout("gone")
            .symlink("s", "a")
            .char_device("tty", 4, 1),
        layer("base")
            .file("a/f", "old")
            .file("gone", "")
            .file("a/g", "123"),
    ]);
    let root = inner.root().unwrap();
    assert!(root.lookup(&name("gone")).unwrap().is_none());
    let Some(Entry::Node(a, meta)) = root.lookup(&name("a")).unwrap() else {
        panic!("a is shown");
    };
    assert!(meta.is_dir());
    assert_eq!(meta, inner.metadata("/a").unwrap());
    assert_eq!(a.list().unwrap().len(), 2);
    assert_eq!(a.open(Access::Read).unwrap_err().errno(), Errno::EISDIR);
    assert_eq!(a.read_link().unwrap_err().errno(), Errno::EINVAL);
    let Some(Entry::Node(f, _)) = a.lookup(&name("f")).unwrap() else {
        panic!("a/f is shown");
    };
    assert_eq!(f.open(Access::ReadWrite).unwrap_err().errno(), Errno::EROFS);
    assert_eq!(f.lookup(&name("x")).unwrap_err().errno(), Errno::ENOTDIR);
    assert_eq!(f.list().unwrap_err().errno(), Errno::ENOTDIR);
    let file = f.open(Access::Read).unwrap();
    let mut buf = [0; 8];
    assert_eq!(file.read_at(&mut buf, 1).unwrap(), 2);
    assert_eq!(&buf[..2], b"ew");
    assert_eq!(file.next_data(0).unwrap(), Some(0..3));
    assert_eq!(file.metadata().unwrap().size, 3);
    assert!(inner.upper().is_none());
    assert_eq!(inner.identity().fs, inner.clone().identity().fs);
    assert_eq!(root.file_handle().unwrap(), None);

    let outer = LayerStack::from_top([
        Arc::new(MemLayer::builder().file("a/h", "").build().unwrap()) as Arc<dyn LayerBackend>,
        Arc::new(inner.clone()),
    ])
    .unwrap();
    assert_eq!(
        tree(&outer),
        ["d/", "d/a", "-/a/f 3", "-/a/g 3", "-/a/h 0", "l/s", "c/tty"]
    );
    let same = LayerStack::from_top([inner.clone(), inner]);
    assert_eq!(same.unwrap_err().errno(), Errno::ELOOP);
}

#[test]
fn depth_three_in_memory() {
    let mut top = stack([layer("0").file("f0", "").file("common", "0")]);
    for i in 1..4 {
        let layers: [Arc<dyn LayerBackend>; 2] = [
            Arc::new(
                layer("n")
                    .file(format!("f{i}"), "")
                    .file("common", "x".repeat(i))
                    .whiteout(format!("f{}", i - 1))
                    .build()
                    .unwrap(),
            ),
            Arc::new(top),
        ];
        top = LayerStack::from_top(layers).unwrap();
    }
    assert_eq!(tree(&top), ["d/", "-/common 3", "-/f3 0"]);
    let text = top.resolve("/f2").unwrap().to_string();
    assert!(
        text.contains("lower[1] (union of 2): file, hidden by"),
        "{text}"
    );
}

#[test]
fn r279_r284_escaped_attributes_act_one_level_up() {
    for ns in [XattrNamespace::Trusted, XattrNamespace::User] {
        let escaped = |attr: &str| format!("{}overlay.{attr}", ns.prefix());
        let inner = stack([
            layer("top")
                .namespace(ns)
                .dir("opaque", 0o755)
                .xattr("opaque", escaped("opaque"), "y")
                .file("opaque/own", "")
                .dir("d", 0o755)
                .xattr("d", escaped("opaque"), "x")
                .file("d/white", "")
                .xattr("d/white", escaped("whiteout"), ""),
            layer("base").namespace(ns).file("opaque/inner", ""),
        ]);
        let white = inner.root().unwrap().lookup(&name("d")).unwrap();
        let Some(Entry::Node(d, _)) = white else {
            panic!("d is shown");
        };
        assert!(matches!(
            d.lookup(&name("white")).unwrap(),
            Some(Entry::Whiteout(WhiteoutForm::Xattr))
        ));
        assert_eq!(
            d.overlay_attr(OverlayAttr::Opaque).unwrap().as_deref(),
            Some(&b"x"[..])
        );
        let full = OverlayAttr::Opaque.full_name(ns);
        assert_eq!(d.xattr(&full).unwrap().as_deref(), Some(&b"x"[..]));
        assert_eq!(d.xattrs().unwrap(), [full]);
        assert_eq!(
            d.xattr(&XattrName::try_from("user.none").unwrap()).unwrap(),
            None
        );
        // Inside, both are ordinary.
        assert_eq!(
            tree(&inner),
            [
                "d/",
                "d/d",
                "-/d/white 0",
                "d/opaque",
                "-/opaque/inner 0",
                "-/opaque/own 0"
            ]
        );
        let base = layer("outer base")
            .namespace(ns)
            .file("opaque/hidden", "")
            .file("d/white", "1")
            .file("d/x", "");
        let outer = LayerStack::from_top([
            Arc::new(inner) as Arc<dyn LayerBackend>,
            Arc::new(base.build().unwrap()),
        ])
        .unwrap();
        assert_eq!(
            tree(&outer),
            [
                "d/",
                "d/d",
                "-/d/x 0",
                "d/opaque",
                "-/opaque/inner 0",
                "-/opaque/own 0"
            ]
        );
    }
}

#[test]
fn r079_a_stray_whiteout_is_listed_through_a_nested_union_too() {
    let inner = stack([layer("0").whiteout("d/stray").file("d/f", ""), layer("1")]);
    assert_eq!(inner.read_dir("/d").unwrap().len(), 2);
    let outer = LayerStack::from_top([inner]).unwrap();
    assert_eq!(outer.read_dir("/d").unwrap().len(), 2);
    let e = outer.metadata("/d/stray").unwrap_err();
    assert_eq!(e.errno(), Errno::ENOENT);
    assert_eq!(tree(&outer), ["d/", "d/d", "-/d/f 0"]);
}

#[test]
fn deep_trees_nest() {
    let path = "/d".repeat(3000);
    let inner = stack([layer("0").dir(&path, 0o755), layer("1").dir("d", 0o755)]);
    let outer = LayerStack::from_top([inner]).unwrap();
    assert_eq!(outer.walk("/").map(Result::unwrap).count(), 3001);
}
