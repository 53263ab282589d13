//! Capture of anything that implements the backend trait.

use std::ops::Range;
use std::path::PathBuf;

use super::content::{self, Source};
use super::{Entry, NodeSnapshot, SnapshotOptions, TreeSnapshot, overlay_attr};
use crate::backend::{self, Access, LayerBackend, LayerFile, NodeRef, RawEntry};
use crate::errno::Errno;
use crate::meta::{FileType, Metadata};
use crate::path::join;
use crate::xattr_name::OverlayAttr;

impl TreeSnapshot {
    /// Captures a layer through its trait; a merged tree too, where it implements the trait.
    ///
    /// With a namespace in `options`, overlay attributes are asked for one by one, as
    /// [`overlay_attr`](crate::backend::LayerNode::overlay_attr) demands, and left out of the plain
    /// attributes; without one they are not asked for.
    ///
    /// # Errors
    /// What getting at the root gives. Failures below it are recorded in the entries.
    pub fn of_backend(
        backend: &dyn LayerBackend,
        options: &SnapshotOptions,
    ) -> Result<Self, Errno> {
        let root = backend.root().map_err(|e| e.errno())?;
        let meta = root.metadata().map_err(|e| e.errno())?;
        let mut tree = TreeSnapshot::new(options);
        let mut todo = Vec::new();
        let item = Item {
            path: PathBuf::from("/"),
            node: root,
            meta,
            listed: None,
        };
        enter(&mut tree, item, options, &mut todo);
        // Looked up in the order of a real directory's snapshot: what was looked up before can decide.
        while let Some(waiting) = todo.pop() {
            let entry = match waiting.parent.lookup(&waiting.raw.name) {
                Ok(Some(backend::Entry::Node(node, meta))) => {
                    let item = Item {
                        path: waiting.path,
                        node,
                        meta,
                        listed: Some(waiting.raw),
                    };
                    enter(&mut tree, item, options, &mut todo);
                    continue;
                }
                Ok(Some(backend::Entry::Whiteout(form))) => Entry::Whiteout(form),
                Ok(None) => Entry::Failed(Errno::ENOENT),
                Err(e) => Entry::Failed(e.errno()),
            };
            tree.entries.insert(waiting.path, entry);
        }
        Ok(tree)
    }
}

/// A name that is listed and not yet looked up.
struct Waiting {
    parent: NodeRef,
    path: PathBuf,
    raw: RawEntry,
}

struct Item {
    path: PathBuf,
    node: NodeRef,
    meta: Metadata,
    listed: Option<RawEntry>,
}

fn plain<T>(got: backend::Result<T>) -> Result<T, Errno> {
    got.map_err(|e| e.errno())
}

/// Takes in a node, and what a directory lists into `todo`.
fn enter(tree: &mut TreeSnapshot, item: Item, options: &SnapshotOptions, todo: &mut Vec<Waiting>) {
    let mut node = capture(&item, options);
    if item.meta.is_dir() {
        let mut listed = node
            .keep("listing", plain(item.node.list()))
            .unwrap_or_default();
        listed.sort_by(|a, b| b.name.cmp(&a.name));
        todo.extend(listed.into_iter().map(|raw| Waiting {
            parent: item.node.clone(),
            path: join(&item.path, &raw.name),
            raw,
        }));
    }
    tree.entries.insert(item.path, Entry::Node(Box::new(node)));
}

fn capture(item: &Item, options: &SnapshotOptions) -> NodeSnapshot {
    let mut node = NodeSnapshot::new(item.meta.clone());
    if let Some(raw) = &item.listed {
        node.listed_type = raw.file_type;
        node.listed_ino = Some(raw.ino);
    }
    read_xattrs(&mut node, &item.node, options);
    match item.meta.file_type {
        FileType::Symlink => {
            node.target = node.keep("readlink", plain(item.node.read_link()));
        }
        FileType::Regular if options.content => {
            let got = read_content(&item.node, &item.meta, options.inline_bytes_max);
            node.content = node.keep("content", got);
        }
        _ => {}
    }
    node
}

fn read_xattrs(node: &mut NodeSnapshot, from: &NodeRef, options: &SnapshotOptions) {
    let names = node.keep("listxattr", plain(from.xattrs()));
    for name in names.unwrap_or_default() {
        let known = options
            .namespace
            .and_then(|namespace| overlay_attr(name.as_bytes(), namespace));
        if known.is_some() {
            continue;
        }
        let got = plain(from.xattr(&name)).and_then(|value| value.ok_or(Errno::ENODATA));
        if let Some(value) = node.keep("getxattr", got) {
            node.xattrs.insert(name, value);
        }
    }
    if options.namespace.is_some() {
        for attr in OverlayAttr::ALL {
            let got = plain(from.overlay_attr(attr));
            if let Some(Some(value)) = node.keep("getxattr", got) {
                node.overlay.insert(attr, value);
            }
        }
    }
}

struct Opened(Box<dyn LayerFile>);

impl Source for Opened {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        plain(self.0.read_at(buf, offset))
    }
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, Errno> {
        plain(self.0.next_data(offset))
    }
}

fn read_content(node: &NodeRef, meta: &Metadata, inline_max: u64) -> Result<super::Content, Errno> {
    let file = Opened(plain(node.open(Access::Read))?);
    let mut len = meta.size;
    // A metacopy file may have fewer or more bytes than its size tells (rule R176).
    if file.read_at(&mut [0], len)? != 0 || (len > 0 && file.read_at(&mut [0], len - 1)? == 0) {
        len = end_of_data(&file)?;
    }
    content::read(&file, len, inline_max)
}

/// The end of a file, found by reading it.
fn end_of_data(file: &Opened) -> Result<u64, Errno> {
    let mut buf = vec![0u8; 65536];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buf, offset)? {
            0 => return Ok(offset),
            n => offset += n as u64,
        }
    }
}
