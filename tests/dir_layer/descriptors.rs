//! Descriptors stay bounded, whatever the depth and the number of layers.

use layerstack::DirLayer;
use layerstack::backend::{Access, At, Entry, LayerBackend, NodeRef, RemoveKind, UpperBackend};

use crate::common::*;

fn child(dir: &NodeRef) -> Option<NodeRef> {
    match dir.lookup(&n("d")).unwrap() {
        Some(Entry::Node(node, _)) => Some(node),
        _ => None,
    }
}

#[test]
fn three_thousand_levels() {
    let t = Upper::new();
    deepen(&t.path(""), 3000);
    let lower = DirLayer::open_lower(t.path("")).unwrap();
    for layer in [&lower, &t.layer] {
        let mut chain = vec![layer.root().unwrap()];
        while let Some(next) = child(chain.last().unwrap()) {
            chain.push(next);
        }
        assert_eq!(chain.len(), 3001);
        // All of them stay usable, in any order, from few descriptors.
        for node in chain.iter().rev().chain(chain.iter().step_by(97)) {
            assert!(node.metadata().unwrap().is_dir());
            node.lookup(&n("absent")).unwrap();
        }
        assert!(open_fds() < 600, "{}", open_fds());
        let deepest = chain.pop().unwrap();
        drop(chain);
        assert_eq!(names(&deepest), Vec::<String>::new());
    }
    let mut node = t.root();
    while let Some(next) = child(&node) {
        node = next;
    }
    let made = t.make(&node, "f", &file());
    made.open(Access::Write)
        .unwrap()
        .write_at(b"deep", 0)
        .unwrap();
    t.layer
        .remove(At::new(&node, &n("f")), RemoveKind::NonDirectory)
        .unwrap();
    flatten(&t.path(""));
}

#[test]
fn a_hundred_layers_with_few_descriptors() {
    const NAME: &str = "descriptors::a_hundred_layers_with_few_descriptors";
    if !is_child() {
        in_child(NAME, |command| {
            // sh sets the limit, then becomes the test.
            let exe = command.get_program().to_owned();
            let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut sh = std::process::Command::new("sh");
            sh.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""])
                .arg(exe)
                .args(args)
                .env("DIR_LAYER_CHILD", "1");
            *command = sh;
        });
        return;
    }
    let t = tempfile::tempdir().unwrap();
    let mut layers = Vec::new();
    for i in 0..100 {
        let path = t.path().join(i.to_string());
        std::fs::create_dir(&path).unwrap();
        deepen(&path, 200);
        layers.push(DirLayer::open_lower(&path).unwrap());
    }
    let mut walks: Vec<_> = layers.iter().map(|l| l.root().unwrap()).collect();
    let mut kept = Vec::new();
    for _ in 0..200 {
        for walk in &mut walks {
            let next = child(walk).unwrap();
            kept.push(std::mem::replace(walk, next));
        }
    }
    assert!(open_fds() < 200, "{}", open_fds());
    for node in kept.iter().step_by(13) {
        assert!(node.metadata().unwrap().is_dir());
        assert_eq!(node.list().unwrap().len(), 1);
    }
}

#[test]
fn nodes_of_many_files_need_no_descriptors() {
    let t = Upper::new();
    let root = t.root();
    let before = open_fds();
    let nodes: Vec<_> = (0..500)
        .map(|i| {
            let node = t.layer.tmpfile(&root, &file()).unwrap();
            let name = n(i.to_string());
            t.layer.link(&node, At::new(&root, &name)).unwrap();
            node
        })
        .collect();
    assert!(open_fds() < before + 300, "{before} {}", open_fds());
    assert!(nodes.iter().all(|node| node.metadata().unwrap().nlink == 1));
}
