//! The reading half of the contract, for backends that cannot be written to: an archive, an image, a
//! database. They are made from a tree that is given as data.
//!
//! ```
//! use layerstack::backend::memory::MemLayer;
//! use layerstack::reader_conformance;
//! use layerstack::testing::LayerSpec;
//! use layerstack::testing::conformance::Subject;
//!
//! reader_conformance!(memory, |tree: &LayerSpec| {
//!     let layer = MemLayer::new();
//!     tree.write_to_upper(&layer).unwrap();
//!     Subject::new(layer)
//! });
//! # fn main() {}
//! ```
//!
//! The tree given leaves out what [`Capabilities`](crate::backend::Capabilities) declare to be missing
//! (an empty tree is made first, to ask), and prints it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{Subject, content, fails, listed, name};
use crate::backend::memory::MemLayer;
use crate::backend::{Access, Entry, FsId, NodeRef, Result, WhiteoutForm};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType};
use crate::overlay::stack::LayerStack;
use crate::path::Name;
use crate::testing::snapshot::{Compare, OriginCompare, SnapshotOptions, TreeSnapshot};
use crate::testing::spec::{LayerSpec, NodeKind, NodeSpec, Piece};
use crate::xattr_name::OverlayAttr;

/// Makes backends that hold a tree. Every function from a tree to a [`Subject`] is one.
pub trait Reader {
    /// A backend that holds exactly this tree.
    fn make(&self, tree: &LayerSpec) -> Subject;

    /// What of a node the backend keeps; by default all but what its capabilities lack. An archive whose
    /// times are whole seconds cuts them here, for instance.
    #[must_use]
    fn keeps(&self, node: NodeSpec) -> NodeSpec {
        node
    }
}

impl<F: Fn(&LayerSpec) -> Subject> Reader for F {
    fn make(&self, tree: &LayerSpec) -> Subject {
        self(tree)
    }
}

/// A tree with everything that a layer may hold.
fn tree() -> LayerSpec {
    let long = [b'n'; 255];
    LayerSpec::new()
        .with("/", NodeSpec::dir().mode(0o711).owner(1, 2))
        .with("/empty", NodeSpec::file(b"").mode(0o4755))
        .with("/dir/file", NodeSpec::file(b"content").owner(7, 8))
        .with("/dir/sub", NodeSpec::dir().mode(0o2750).mtime(-5, 7))
        .with("/dir/sub/deep", NodeSpec::file(b"deep"))
        .with("/dir/link", NodeSpec::symlink(b"../no/\xff\nwhere"))
        .with("/hard", NodeSpec::link_to("/dir/file"))
        .with("/fifo", NodeSpec::new(NodeKind::Fifo))
        .with("/socket", NodeSpec::new(NodeKind::Socket))
        .with(
            "/null",
            NodeSpec::new(NodeKind::CharDevice(DeviceId::new(1, 3))),
        )
        .with("/dir/gone", NodeSpec::whiteout())
        .with("/opaque", NodeSpec::dir().opaque(b"y"))
        .with(
            "/moved",
            NodeSpec::dir().overlay(OverlayAttr::Redirect, b"/dir"),
        )
        .with(
            "/attr",
            NodeSpec::file(b"")
                .xattr(b"user.a", b"\0\xff")
                .xattr(b"user.b", b""),
        )
        .with("/big", {
            NodeSpec::pieces(vec![
                Piece::Fill(b'x', 70_000),
                Piece::Hole(65_536),
                Piece::Fill(b'y', 1),
            ])
        })
        .with("/.wh.dir", NodeSpec::file(b"no whiteout"))
        .with("/\u{e4}\n b\\", NodeSpec::file(b"odd"))
        .with(
            Path::new("/").join(std::str::from_utf8(&long).unwrap_or("n")),
            NodeSpec::file(b"long"),
        )
}

struct Made {
    subject: Subject,
    tree: LayerSpec,
    root: NodeRef,
}

/// Makes a backend of the tree, without what it declares to lack.
fn made(reader: &dyn Reader) -> Made {
    made_of(reader, &tree())
}

fn made_of(reader: &dyn Reader, tree: &LayerSpec) -> Made {
    let has = reader
        .make(&LayerSpec::new())
        .backend
        .capabilities()
        .clone();
    let mut kept = LayerSpec::new();
    let mut left_out = BTreeSet::new();
    for (path, node) in tree.effective() {
        let lacks = match &node.kind {
            NodeKind::HardLink(_) => (!has.hard_links).then_some("hard links"),
            NodeKind::CharDevice(_) => (!has.device_nodes).then_some("device nodes"),
            NodeKind::Whiteout(_) => (!has.whiteouts).then_some("whiteouts"),
            _ => None,
        };
        if let Some(what) = lacks {
            left_out.insert(what);
            continue;
        }
        let mut node = node;
        if !has.xattrs && !node.xattrs.is_empty() {
            left_out.insert("xattrs");
            node.xattrs.clear();
        }
        if !has.overlay_attrs && !node.overlay.is_empty() {
            left_out.insert("overlay attributes");
            node.overlay.clear();
        }
        kept.insert(path, reader.keeps(node));
    }
    if !left_out.is_empty() {
        println!("left out, as declared: {left_out:?}");
    }
    let subject = reader.make(&kept);
    let root = subject.backend.root().expect("a root");
    Made {
        subject,
        tree: kept,
        root,
    }
}

impl Made {
    /// The same tree in memory.
    fn expected(&self) -> Arc<MemLayer> {
        let layer = MemLayer::with_namespace(self.subject.backend.identity().namespace);
        self.tree.write_to_upper(&layer).expect("a tree in memory");
        Arc::new(layer)
    }

    fn at(&self, path: &str) -> NodeRef {
        let mut node = self.root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            node = match node.lookup(&name(part)).expect("lookup") {
                Some(Entry::Node(node, _)) => node,
                other => panic!("{path}: {part} is {other:?}"),
            };
        }
        node
    }
}

/// All of the tree is shown: types, attributes, content, targets, names, hard links, whiteouts.
pub fn the_tree_is_shown(reader: &dyn Reader) {
    let made = made(reader);
    let options = SnapshotOptions::layer(made.subject.backend.identity().namespace);
    let capture = |layer: &dyn crate::backend::LayerBackend| {
        TreeSnapshot::of_backend(layer, &options).expect("a tree")
    };
    let mut compare = Compare::upper();
    (compare.origin, compare.holes) = (OriginCompare::Ignore, false);
    compare.mtime = crate::testing::snapshot::TimeCompare::Exact;
    let (left, right) = (capture(&*made.expected()), capture(&*made.subject.backend));
    assert_eq!(
        left.diff_text(&right, &compare, 20),
        None,
        "expected != shown"
    );
}

/// A union of it shows what a union of the same tree in memory shows.
pub fn a_union_shows_the_tree(reader: &dyn Reader) {
    let made = made(reader);
    let capture = |layer: Arc<dyn crate::backend::LayerBackend>| {
        let below = LayerStack::from_top([layer]).expect("a stack");
        TreeSnapshot::of_backend(&below, &SnapshotOptions::merged()).expect("a tree")
    };
    let left = capture(made.expected());
    let right = capture(made.subject.backend.clone());
    let mut compare = Compare::merged();
    compare.inode_labels = false;
    assert_eq!(
        left.diff_text(&right, &compare, 20),
        None,
        "expected != shown"
    );
}

/// A listing has each name once, and what it tells is what a lookup tells.
pub fn listing_and_lookup_agree(reader: &dyn Reader) {
    let made = made(reader);
    let mut dirs = vec![made.root.clone()];
    let mut seen = 0;
    while let Some(dir) = dirs.pop() {
        let mut names = BTreeSet::new();
        for entry in dir.list().expect("list") {
            assert!(names.insert(entry.name.clone()), "{} twice", entry.name);
            let found = dir.lookup(&entry.name).expect("lookup");
            let shown = match &found {
                Some(Entry::Node(node, meta)) => {
                    assert_eq!(*meta, node.metadata().expect("attributes"));
                    assert_eq!(entry.ino, meta.ino, "{}", entry.name);
                    if meta.is_dir() {
                        dirs.push(node.clone());
                    }
                    meta.file_type
                }
                Some(Entry::Whiteout(WhiteoutForm::CharDevice)) => FileType::CharDevice,
                Some(Entry::Whiteout(WhiteoutForm::Xattr)) => FileType::Regular,
                None => panic!("{} is listed only", entry.name),
            };
            assert!(entry.file_type.is_none_or(|t| t == shown), "{}", entry.name);
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} names");
}

/// What a backend tells of a name without making a node is what the lookup tells, and only of what its
/// attributes alone describe.
pub fn plain_attributes_are_those_of_the_lookup(reader: &dyn Reader) {
    let metacopy = |value: &[u8]| NodeSpec::file(b"old").overlay(OverlayAttr::Metacopy, value);
    let tree = tree()
        .with("/dir/metacopy", metacopy(b""))
        .with("/dir/malformed", metacopy(b"\x01"))
        .with(
            "/dir/hidden",
            NodeSpec::file(b"").overlay(OverlayAttr::Whiteout, b"y"),
        );
    let made = made_of(reader, &tree);
    // Twice: what is known from the first time must not be of something else.
    for path in ["/", "/dir", "/", "/dir"] {
        let dir = made.at(path);
        assert_eq!(dir.plain(&name("absent")).expect("plain"), None);
        for entry in dir.list().expect("list") {
            let Some(told) = dir.plain(&entry.name).expect("plain") else {
                continue;
            };
            let Some(Entry::Node(node, meta)) = dir.lookup(&entry.name).expect("lookup") else {
                panic!("{} is no node", entry.name);
            };
            assert_eq!(told, meta, "{}", entry.name);
            assert!(!meta.is_dir(), "{}", entry.name);
            let mark = node.overlay_attr(OverlayAttr::Metacopy);
            assert_eq!(mark.expect("raw"), None, "{}", entry.name);
        }
    }
}

/// Names that are not there are none, whatever they look like.
pub fn absent_names_are_none(reader: &dyn Reader) {
    let made = made(reader);
    for absent in ["nothing", "DIR", "di", "dir ", "...", ".wh.fifo"] {
        let found = made.root.lookup(&name(absent)).expect("lookup");
        assert!(found.is_none(), "{absent}: {found:?}");
    }
}

/// What only directories can be asked is `ENOTDIR`; only symlinks have targets.
pub fn methods_depend_on_the_type(reader: &dyn Reader) {
    let made = made(reader);
    for path in ["/empty", "/dir/link", "/fifo"] {
        let node = made.at(path);
        fails(node.lookup(&name("x")), Errno::ENOTDIR, path);
        fails(node.list(), Errno::ENOTDIR, path);
    }
    for path in ["/", "/empty", "/fifo"] {
        fails(made.at(path).read_link(), Errno::EINVAL, path);
    }
    let target = made.at("/dir/link").read_link().expect("a target");
    assert_eq!(target, b"../no/\xff\nwhere");
}

/// Only regular files are opened, and only for reading.
pub fn opening_depends_on_the_type(reader: &dyn Reader) {
    let made = made(reader);
    for (path, errno) in [
        ("/dir", Errno::EISDIR),
        ("/dir/link", Errno::ELOOP),
        ("/fifo", Errno::ENXIO),
        ("/socket", Errno::ENXIO),
    ] {
        fails(made.at(path).open(Access::Read), errno, path);
    }
    if made.subject.backend.upper().is_none() {
        for access in [Access::Write, Access::ReadWrite] {
            fails(
                made.at("/dir/file").open(access),
                Errno::EROFS,
                "for writing",
            );
        }
    }
}

/// Reads stop at the end, wherever they begin.
pub fn reading_stops_at_the_end(reader: &dyn Reader) {
    let made = made(reader);
    let file = made.at("/dir/file").open(Access::Read).expect("open");
    let mut buf = [0; 16];
    for (offset, want) in [
        (0, "content"),
        (3, "tent"),
        (7, ""),
        (1 << 40, ""),
        (u64::MAX, ""),
    ] {
        let n = file.read_at(&mut buf, offset).expect("read");
        assert_eq!(&buf[..n], want.as_bytes(), "from {offset}");
    }
    assert_eq!(file.read_at(&mut [], 0).expect("read"), 0);
    let big = content(&made.at("/big"));
    let want = [vec![b'x'; 70_000], vec![0; 65_536], vec![b'y']].concat();
    assert!(big == want, "{} bytes", big.len());
}

/// Data are found in order, none behind the end, and what is left out reads as zeros.
pub fn data_are_found(reader: &dyn Reader) {
    let made = made(reader);
    let file = made.at("/big").open(Access::Read).expect("open");
    let (size, all) = (135_537, content(&made.at("/big")));
    type Next<'a> = &'a dyn Fn(u64) -> Result<Option<Range<u64>>>;
    let ways: [Next<'_>; 2] = [&|at| file.next_data(at), &|at| file.next_to_copy(at)];
    for next in ways {
        let (mut end, mut found) = (0, vec![0; all.len()]);
        while let Some(range) = next(end).expect("next data") {
            assert!(range.start >= end && range.end > range.start && range.end <= size);
            let at = range.start as usize..range.end as usize;
            found[at.clone()].copy_from_slice(&all[at]);
            end = range.end;
        }
        assert!(found == all, "data lie in what is told to be holes");
        assert_eq!(next(size).expect("at the end"), None);
        assert_eq!(next(u64::MAX).expect("behind the end"), None);
    }
}

/// Opened twice, and by several threads, everything reads the same.
pub fn readers_do_not_disturb_each_other(reader: &dyn Reader) {
    let made = made(reader);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(content(&made.at("/dir/sub/deep")), b"deep");
                    assert!(listed(&made.at("/dir")).contains(&name("sub")));
                }
            });
        }
    });
}

/// What the backend says of itself stays so; without handles none are found.
pub fn identity_does_not_change(reader: &dyn Reader) {
    let made = made(reader);
    let backend = &made.subject.backend;
    assert_eq!(backend.identity(), backend.identity());
    assert_eq!(backend.capabilities(), backend.capabilities());
    let (one, two) = (
        made.root.metadata(),
        backend.root().expect("again").metadata(),
    );
    assert_eq!(one.expect("attributes"), two.expect("attributes"));
    assert!(backend.statfs().expect("statfs").name_bytes_max >= 255);
    let handle = made.at("/dir/file").file_handle().expect("handle");
    match backend.capabilities().file_handles {
        false => assert_eq!(handle, None),
        true => {
            let found = backend
                .by_handle(&handle.expect("a handle"))
                .expect("lookup");
            let ino = |node: NodeRef| node.metadata().expect("attributes").ino;
            assert_eq!(found.map(ino), Some(ino(made.at("/dir/file"))));
        }
    }
    // Directories may well lie on one filesystem.
    let fs = &backend.identity().fs;
    if !matches!(fs, FsId::Device(_)) {
        let other = reader.make(&LayerSpec::new());
        assert_ne!(&other.backend.identity().fs, fs, "another tree");
    }
}

/// Attributes are told by name, and names that are not set are none.
pub fn attributes_are_told(reader: &dyn Reader) {
    let made = made(reader);
    let node = made.at("/attr");
    let mut names = node.xattrs().expect("names");
    names.sort();
    let unset = crate::xattr_name::XattrName::new(b"user.none").expect("a name");
    assert_eq!(node.xattr(&unset).expect("unset"), None);
    for attr in OverlayAttr::ALL {
        assert_eq!(node.overlay_attr(attr).expect("unset"), None, "{attr}");
    }
    let spec = made
        .tree
        .nodes()
        .get(Path::new("/attr"))
        .expect("in the tree");
    let want: Vec<_> = spec.xattrs.keys().cloned().collect();
    assert_eq!(names, want);
    for (key, value) in &spec.xattrs {
        assert_eq!(node.xattr(key).expect("set").as_ref(), Some(value));
    }
    let spec = made
        .tree
        .nodes()
        .get(Path::new("/opaque"))
        .expect("in the tree");
    let opaque = made.at("/opaque").overlay_attr(OverlayAttr::Opaque);
    assert_eq!(
        opaque.expect("raw"),
        spec.overlay.get(&OverlayAttr::Opaque).cloned()
    );
}

/// Names of 255 bytes and of any bytes are found.
pub fn odd_names_are_found(reader: &dyn Reader) {
    let made = made(reader);
    let names: BTreeSet<Name> = listed(&made.root).into_iter().collect();
    for odd in [
        &[b'n'; 255][..],
        ".wh.dir".as_bytes(),
        "\u{e4}\n b\\".as_bytes(),
    ] {
        assert!(names.contains(&name(odd)), "{}", odd.escape_ascii());
        assert!(made.root.lookup(&name(odd)).expect("lookup").is_some());
    }
}

/// Makes every case for a read-only backend a `#[test]`.
///
/// `reader_conformance!(module, reader)`: `module` is the name of the module that holds the tests;
/// `reader` is an expression, evaluated for each test, that gives a
/// [`Reader`].
#[macro_export]
macro_rules! reader_conformance {
    (@tests ($reader:expr) $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::conformance::reading::$case(&$reader);
            }
        )+
    };
    ($module:ident, $reader:expr) => {
        mod $module {
            #[allow(unused_imports, reason = "the reader may need them")]
            use super::*;
            $crate::reader_conformance! { @tests ($reader)
                the_tree_is_shown
                a_union_shows_the_tree
                listing_and_lookup_agree
                plain_attributes_are_those_of_the_lookup
                absent_names_are_none
                methods_depend_on_the_type
                opening_depends_on_the_type
                reading_stops_at_the_end
                data_are_found
                readers_do_not_disturb_each_other
                identity_does_not_change
                attributes_are_told
                odd_names_are_found
            }
        }
    };
}
