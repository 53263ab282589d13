//! What cases are written with.

use super::{Factory, Subject};
use crate::backend::{
    Access, At, Capabilities, Entry, LayerFile, NewKind, NewNode, NodeRef, Result, UpperBackend,
};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata};
use crate::path::Name;

/// What every case starts from: one new backend, and short ways to work on it.
pub(super) struct Fixture {
    pub(super) subject: Subject,
    pub(super) root: NodeRef,
}

/// A name that is known to be one.
pub(super) fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::new(bytes).expect("the suite uses valid names")
}

/// A node to create, owner left to the backend.
pub(super) fn new_node(kind: NewKind, mode: u32) -> NewNode {
    NewNode {
        kind,
        mode,
        uid: None,
        gid: None,
    }
}

/// Asserts that something fails with this errno.
#[track_caller]
pub(super) fn fails<T>(result: Result<T>, errno: Errno, what: &str) {
    match result {
        Ok(_) => panic!("{what}: succeeded instead of {errno:?}"),
        Err(e) => assert_eq!(e.errno(), errno, "{what}: wrong errno"),
    }
}

/// The whole content of a node.
#[track_caller]
pub(super) fn content(node: &NodeRef) -> Vec<u8> {
    let file = node.open(Access::Read).expect("open for reading");
    content_of(&*file)
}

/// The whole content of an open file.
#[track_caller]
pub(super) fn content_of(file: &dyn LayerFile) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 10_000];
    loop {
        let n = file.read_at(&mut buf, all.len() as u64).expect("read");
        if n == 0 {
            return all;
        }
        all.extend_from_slice(&buf[..n]);
    }
}

/// Writes all of `data`.
#[track_caller]
pub(super) fn write_all(file: &dyn LayerFile, data: &[u8], offset: u64) {
    let mut done = 0;
    while done < data.len() {
        let n = file
            .write_at(&data[done..], offset + done as u64)
            .expect("write");
        assert!(n > 0, "a write writes something");
        done += n;
    }
}

/// The names that a directory lists, sorted.
#[track_caller]
pub(super) fn listed(dir: &NodeRef) -> Vec<Name> {
    let mut names: Vec<Name> = dir
        .list()
        .expect("list")
        .into_iter()
        .map(|e| e.name)
        .collect();
    names.sort();
    names
}

impl Fixture {
    pub(super) fn new(factory: &dyn Factory) -> Self {
        Fixture::of(factory.make())
    }

    pub(super) fn of(subject: Subject) -> Self {
        let root = subject.backend.root().expect("root");
        Fixture { subject, root }
    }

    pub(super) fn up(&self) -> &dyn UpperBackend {
        self.subject
            .backend
            .upper()
            .expect("the suite needs a writable backend")
    }

    pub(super) fn caps(&self) -> &Capabilities {
        self.subject.backend.capabilities()
    }

    /// True, and says so, if the backend declares not to have something.
    pub(super) fn lacks(&self, has: bool, what: &str) -> bool {
        if !has {
            println!("skipped: the backend declares no {what}");
        }
        !has
    }

    #[track_caller]
    pub(super) fn make(&self, dir: &NodeRef, n: &str, kind: NewKind, mode: u32) -> NodeRef {
        let made = self
            .up()
            .create(At::new(dir, &name(n)), &new_node(kind, mode));
        made.unwrap_or_else(|e| panic!("create {n}: {e}"))
    }

    #[track_caller]
    pub(super) fn dir(&self, dir: &NodeRef, n: &str) -> NodeRef {
        self.make(dir, n, NewKind::Directory, 0o755)
    }

    #[track_caller]
    pub(super) fn empty(&self, dir: &NodeRef, n: &str) -> NodeRef {
        self.make(dir, n, NewKind::File, 0o644)
    }

    #[track_caller]
    pub(super) fn file(&self, dir: &NodeRef, n: &str, data: &[u8]) -> NodeRef {
        let node = self.empty(dir, n);
        write_all(
            &*node.open(Access::Write).expect("open for writing"),
            data,
            0,
        );
        node
    }

    #[track_caller]
    pub(super) fn symlink(&self, dir: &NodeRef, n: &str, target: &str) -> NodeRef {
        self.make(dir, n, NewKind::Symlink(target.into()), 0o777)
    }

    #[track_caller]
    pub(super) fn whiteout(&self, dir: &NodeRef, n: &str) {
        self.up()
            .whiteout(At::new(dir, &name(n)))
            .expect("whiteout");
    }

    #[track_caller]
    pub(super) fn entry(&self, dir: &NodeRef, n: &str) -> Option<Entry> {
        dir.lookup(&name(n)).expect("lookup")
    }

    #[track_caller]
    pub(super) fn node(&self, dir: &NodeRef, n: &str) -> (NodeRef, Metadata) {
        match self.entry(dir, n) {
            Some(Entry::Node(node, meta)) => (node, meta),
            other => panic!("{n} should be a node, and is {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn assert_absent(&self, dir: &NodeRef, n: &str) {
        let entry = self.entry(dir, n);
        assert!(entry.is_none(), "{n} should be absent, and is {entry:?}");
    }

    #[track_caller]
    pub(super) fn assert_whiteout(&self, dir: &NodeRef, n: &str) {
        let entry = self.entry(dir, n);
        let is = matches!(entry, Some(Entry::Whiteout(_)));
        assert!(is, "{n} should be a whiteout, and is {entry:?}");
    }

    #[track_caller]
    pub(super) fn assert_is(&self, dir: &NodeRef, n: &str, node: &NodeRef) {
        let (_, found) = self.node(dir, n);
        let ino = node.metadata().expect("metadata").ino;
        assert_eq!(found.ino, ino, "{n} should be another node");
    }

    /// One node of every type that the backend can make, named after it.
    pub(super) fn one_of_each(&self, dir: &NodeRef) -> Vec<(&'static str, NodeRef, FileType)> {
        let mut kinds = vec![
            ("a-file", NewKind::File),
            ("a-directory", NewKind::Directory),
            ("a-symlink", NewKind::Symlink(b"nowhere".to_vec())),
            ("a-fifo", NewKind::Fifo),
            ("a-socket", NewKind::Socket),
        ];
        if !self.lacks(self.caps().device_nodes, "device nodes") {
            kinds.push(("a-char", NewKind::CharDevice(DeviceId::new(1, 3))));
            kinds.push(("a-block", NewKind::BlockDevice(DeviceId::new(7, 200))));
        }
        let made = kinds.into_iter().map(|(n, kind)| {
            let file_type = kind.file_type();
            // An ordinary user needs to search a directory to look into it.
            let mode = if file_type.is_dir() { 0o700 } else { 0o600 };
            (n, self.make(dir, n, kind, mode), file_type)
        });
        made.collect()
    }
}
