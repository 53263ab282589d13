//! What each fault does to a layer.

use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{
    Access, At, LayerBackend, LayerFile, NewKind, NewNode, NodeRef, RemoveKind, UpperBackend,
};
use layerstack::testing::{Fault, FaultLayer, Faults};
use layerstack::{Errno, Name};

struct Stage {
    inner: Arc<MemLayer>,
    layer: FaultLayer,
    faults: Faults,
    root: NodeRef,
}

fn stage() -> Stage {
    let inner = Arc::new(MemLayer::builder().file("f", b"01234567").build().unwrap());
    let faults = Faults::new();
    let layer = FaultLayer::named("disk", inner.clone(), &faults);
    let root = layer.root().unwrap();
    faults.reset();
    Stage {
        inner,
        layer,
        faults,
        root,
    }
}

fn name(n: &str) -> Name {
    Name::new(n).unwrap()
}

fn dir() -> NewNode {
    NewNode {
        kind: NewKind::Directory,
        mode: 0o700,
        uid: None,
        gid: None,
    }
}

impl Stage {
    fn make(&self, n: &str) -> Result<NodeRef, Errno> {
        let made = self.layer.create(At::new(&self.root, &name(n)), &dir());
        made.map_err(|e| e.errno())
    }

    /// Whether the layer below has the name.
    fn has(&self, n: &str) -> bool {
        let root = self.inner.root().unwrap();
        root.lookup(&name(n)).unwrap().is_some()
    }

    fn open(&self) -> Box<dyn LayerFile> {
        match self.root.lookup(&name("f")).unwrap() {
            Some(layerstack::backend::Entry::Node(node, _)) => node.open(Access::ReadWrite),
            other => panic!("{other:?}"),
        }
        .unwrap()
    }
}

/// The whole content of a file.
fn data(file: &dyn LayerFile) -> Vec<u8> {
    let mut buf = [0; 99];
    let n = file.read_at(&mut buf, 0).unwrap();
    buf[..n].to_vec()
}

#[test]
fn fail_does_nothing_once() {
    let s = stage();
    s.faults.arm(1, Fault::Fail(Errno::EDQUOT));
    assert!(s.make("a").is_ok());
    assert_eq!(s.make("b").unwrap_err(), Errno::EDQUOT);
    assert!(!s.has("b"));
    assert!(s.make("b").is_ok() && s.has("b"));
    assert_eq!(s.faults.calls(), 3);
    let fired = s.faults.fired().unwrap();
    assert_eq!(
        (fired.number, fired.method, fired.changes),
        (1, "create", true)
    );
    assert_eq!(fired.failed, Some(Errno::EDQUOT));
    s.faults.reset();
    assert_eq!((s.faults.calls(), s.faults.fired()), (0, None));
}

#[test]
fn done_is_done_and_reported_as_failed() {
    let s = stage();
    s.faults.arm(0, Fault::Done(Errno::EIO));
    assert_eq!(s.make("a").unwrap_err(), Errno::EIO);
    assert!(s.has("a"));
    // What fails by itself says why.
    s.faults.arm(1, Fault::Done(Errno::EIO));
    assert_eq!(s.make("a").unwrap_err(), Errno::EEXIST);
}

#[test]
fn writes_are_short_or_torn() {
    let s = stage();
    let file = s.open();
    s.faults.reset();
    s.faults.arm(0, Fault::Short);
    assert_eq!(file.write_at(b"abcdef", 0).unwrap(), 3);
    s.faults.arm(1, Fault::Short);
    assert_eq!(file.write_at(b"A", 0).unwrap(), 1, "never nothing");
    s.faults.arm(2, Fault::Short);
    assert_eq!(file.read_at(&mut [0; 8], 0).unwrap(), 4);
    s.faults.arm(3, Fault::Short);
    assert!(
        file.set_len(8).is_ok(),
        "what has no halves is not disturbed"
    );
    s.faults.arm(4, Fault::Torn(Errno::ENOSPC));
    let torn = file.write_at(b"XXXX", 4).unwrap_err();
    assert_eq!(torn.errno(), Errno::ENOSPC);
    assert_eq!(data(&*file), b"Abc3XX67");
    s.faults.arm(6, Fault::Torn(Errno::ENOSPC));
    assert!(file.set_len(0).is_err());
    assert_eq!(data(&*file), b"Abc3XX67");
}

#[test]
fn copies_are_torn() {
    let s = stage();
    let other = MemLayer::builder().file("f", b"ABCDEFGH").build().unwrap();
    let source = stage_of(other).open();
    let file = s.open();
    s.faults.reset();
    s.faults.arm(0, Fault::Torn(Errno::EIO));
    assert!(file.clone_range(&*source, 0, 0, 8).is_err());
    assert_eq!(data(&*file), b"ABCD4567");
    let cloned = file.clone_range(&*source, 0, 0, 8).unwrap();
    assert!(cloned.shared && cloned.bytes == 8);
}

fn stage_of(inner: MemLayer) -> Stage {
    let mut s = stage();
    s.layer = FaultLayer::new(inner, &s.faults);
    s.root = s.layer.root().unwrap();
    s
}

#[test]
fn nothing_has_an_effect_after_a_crash() {
    let s = stage();
    let file = s.open();
    s.faults.reset();
    s.faults.arm(1, Fault::CrashTorn);
    assert!(s.make("a").is_ok());
    assert!(file.write_at(b"XXXX", 0).is_err());
    for _ in 0..2 {
        assert_eq!(s.make("b").unwrap_err(), Errno::EIO);
        let a = name("a");
        let at = At::new(&s.root, &a);
        assert!(s.layer.remove(at, RemoveKind::Directory).is_err());
        assert!(s.root.list().is_err() && s.layer.statfs().is_err());
        assert!(file.write_at(b"YYYY", 4).is_err() && file.as_fd().is_none());
    }
    assert!(s.has("a") && !s.has("b"));
    s.faults.disarm();
    assert_eq!(data(&*file), b"XX234567");
    assert!(s.make("b").is_ok());
}

#[test]
fn one_count_for_several_layers_and_a_record_for_people() {
    let s = stage();
    let upper = FaultLayer::named("other", MemLayer::new(), &s.faults);
    let root = upper.root().unwrap();
    s.root.metadata().unwrap();
    s.faults.arm(2, Fault::Fail(Errno::EIO));
    let made = upper.create(At::new(&root, &name("a")), &dir());
    assert!(made.is_err());
    let report = s.faults.report();
    let expected = "   0  other: root\n   1  disk: metadata /\n   \
                    2* other: create /a: directory 0700: EIO <- Fail(EIO)";
    assert_eq!(report, expected);
    s.faults.record(false);
    s.root.list().unwrap();
    assert_eq!((s.faults.trace().len(), s.faults.calls()), (3, 4));
}

#[test]
fn nodes_of_other_layers_are_foreign() {
    let s = stage();
    let root = s.inner.root().unwrap();
    let made = s.layer.create(At::new(&root, &name("a")), &dir());
    assert_eq!(made.unwrap_err().errno(), Errno::EXDEV);
    let again = FaultLayer::new(s.inner.clone(), &s.faults);
    let made = again.create(At::new(&s.root, &name("a")), &dir());
    assert_eq!(made.unwrap_err().errno(), Errno::EXDEV);
}
