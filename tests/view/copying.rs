use layerstack::backend::memory::MemLayer;
use layerstack::backend::{Entry, LayerBackend, NodeRef, WhiteoutForm};
use layerstack::{
    Errno, LayerStack, Name, OverlayAttr, Timestamp, XattrNamespace, copy_layer, display_path,
};

use crate::{layer, stack, tree};

/// Everything that a layer holds, raw, one line per path.
fn raw(layer: &dyn LayerBackend) -> Vec<String> {
    fn attrs(node: &NodeRef) -> String {
        let mut out: Vec<String> = node
            .xattrs()
            .unwrap()
            .iter()
            .map(|n| format!("{n}={:?}", node.xattr(n).unwrap()))
            .collect();
        out.sort();
        out.join(",")
    }
    fn line(path: &str, node: &NodeRef) -> String {
        let m = node.metadata().unwrap();
        let link = if m.is_symlink() {
            node.read_link().unwrap()
        } else {
            Vec::new()
        };
        let links = if m.is_dir() { 0 } else { m.nlink };
        format!(
            "{path} {}{:o} {}:{} {} links {links} {} {} {} {link:?} [{}]",
            m.file_type.letter(),
            m.mode,
            m.uid,
            m.gid,
            m.size,
            m.rdev,
            m.mtime,
            m.atime,
            attrs(node)
        )
    }
    let root = layer.root().unwrap();
    let mut out = vec![line("/", &root)];
    let mut todo = vec![(String::new(), root)];
    while let Some((path, dir)) = todo.pop() {
        for entry in dir.list().unwrap() {
            let path = format!("{path}/{}", entry.name);
            match dir.lookup(&entry.name).unwrap().unwrap() {
                Entry::Whiteout(form) => out.push(format!("{path} {form:?}")),
                Entry::Node(node, meta) => {
                    out.push(line(&path, &node));
                    if meta.is_dir() {
                        todo.push((path, node));
                    }
                }
            }
        }
    }
    out.sort();
    out
}

fn full(ns: XattrNamespace) -> MemLayer {
    layer("full")
        .namespace(ns)
        .mode("/", 0o711)
        .owner("/", 3, 4)
        .file("d/f", "data")
        .mode("d/f", 0o4755)
        .owner("d/f", 1, 2)
        .xattr("d/f", "user.note", "hi")
        .xattr("d/f", format!("{}overlay.opaque", ns.prefix()), "y")
        .hard_link("d/f", "d/g")
        .hard_link("d/f", "other")
        .mtime("d/f", Timestamp::new(5, 6))
        .atime("d/f", Timestamp::new(7, 8))
        .file("sparse", "")
        .write("sparse", 10 << 20, "end")
        .whiteout("gone")
        .opaque("opaque")
        .xattr_whiteout("opaque/white")
        .symlink("s", "d/f")
        .owner("s", 9, 9)
        .fifo("fifo")
        .socket("sock")
        .char_device("tty", 4, 1)
        .block_device("disk", 8, 0)
        .dir("closed", 0o500)
        .file("closed/in", "")
        .mtime("closed", Timestamp::new(11, 0))
        .mtime("d", Timestamp::new(12, 0))
        .build()
        .unwrap()
}

#[test]
fn a_copy_holds_the_same() {
    let from = full(XattrNamespace::Trusted);
    let to = MemLayer::new();
    let report = copy_layer(&from, &to).unwrap();
    assert_eq!(raw(&to), raw(&from));
    assert_eq!(
        (
            report.directories,
            report.files,
            report.symlinks,
            report.specials
        ),
        (3, 3, 1, 4)
    );
    assert_eq!((report.whiteouts, report.hard_links), (2, 2));
    assert!(
        report.data_bytes < 1 << 20,
        "the hole is not copied: {report:?}"
    );
    let root = to.root().unwrap();
    let Some(Entry::Node(_, sparse)) = root.lookup(&Name::try_from("sparse").unwrap()).unwrap()
    else {
        panic!("sparse was copied");
    };
    assert!(sparse.blocks < 1000);
}

#[test]
fn another_namespace_shows_the_same() {
    let from = full(XattrNamespace::Trusted);
    let to = MemLayer::with_namespace(XattrNamespace::User);
    copy_layer(&from, &to).unwrap();
    let root = to.root().unwrap();
    let Some(Entry::Node(opaque, _)) = root.lookup(&Name::try_from("opaque").unwrap()).unwrap()
    else {
        panic!("opaque was copied");
    };
    let value = opaque.overlay_attr(OverlayAttr::Opaque).unwrap();
    assert_eq!(value.as_deref(), Some(&b"y"[..]));
    assert!(matches!(
        opaque.lookup(&Name::try_from("white").unwrap()).unwrap(),
        Some(Entry::Whiteout(WhiteoutForm::Xattr))
    ));
    let (a, b) = (
        LayerStack::from_top([from]).unwrap(),
        LayerStack::from_top([to]).unwrap(),
    );
    assert_eq!(tree(&a), tree(&b));
    assert_eq!(
        a.xattrs("/d/f", true).unwrap(),
        b.xattrs("/d/f", true).unwrap()
    );
}

#[test]
fn a_union_is_copied_as_one_layer() {
    let s = stack([
        layer("top")
            .file("a", "1")
            .whiteout("b")
            .opaque("c")
            .file("c/x", ""),
        layer("base")
            .file("b", "")
            .file("c/y", "")
            .file("d/z", "123"),
    ]);
    let to = MemLayer::new();
    let report = copy_layer(&s, &to).unwrap();
    assert_eq!(report.whiteouts, 0);
    let one = LayerStack::from_top([to]).unwrap();
    assert_eq!(tree(&one), tree(&s));
}

#[test]
fn refusals() {
    let from = full(XattrNamespace::Trusted);
    let used = layer("used").file("x/y", "").build().unwrap();
    let e = copy_layer(&from, &used).unwrap_err();
    assert_eq!(e.errno(), Errno::EEXIST);
    assert_eq!(display_path(e.path()).to_string(), "/x");
    assert_eq!(
        used.inode_count(),
        layer("").file("x/y", "").build().unwrap().inode_count()
    );
    let white = layer("white").whiteout("w").build().unwrap();
    assert_eq!(
        copy_layer(&from, &white).unwrap_err().errno(),
        Errno::EEXIST
    );
    let read_only = LayerStack::from_top([MemLayer::new()]).unwrap();
    let e = copy_layer(&from, &read_only).unwrap_err();
    assert_eq!(e.errno(), Errno::EROFS);
}

#[test]
fn deep_layers_and_giving_back() {
    let deep = layer("deep")
        .file(format!("{}/f", "/d".repeat(3000)), "x")
        .build()
        .unwrap();
    let to = MemLayer::new();
    assert_eq!(copy_layer(&deep, &to).unwrap().directories, 3000);
    let layers = LayerStack::from_top([deep, to]).unwrap().into_layers();
    assert!(layers.upper.is_none());
    let labels: Vec<String> = layers.lowers.iter().map(|l| l.label()).collect();
    assert_eq!(labels, ["deep", "memory"]);
    assert!(LayerStack::from_top(layers.lowers).is_ok());
}
