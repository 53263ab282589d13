//! What the index of an upper layer holds.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use layerstack::backend::{Entry, LayerBackend};
use layerstack::{OverlayAttr, XattrNamespace};

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexEntry {
    /// The handle of the lower object, in hexadecimal digits.
    pub name: String,
    /// Type letter; `w` for a whiteout.
    pub letter: char,
    /// Link count, of anything but directories and whiteouts.
    pub nlink: u64,
    /// The attribute `nlink`.
    pub count: String,
    /// It has the attribute `upper`.
    pub upper: bool,
}

impl IndexEntry {
    /// Without link counts. A file without other names may go at once or when the union is next opened.
    pub fn uncounted(mut self) -> Self {
        if self.nlink == 1 {
            self.letter = 'w';
        }
        self.nlink = 0;
        self.count.clear();
        self
    }

    /// Without the name, as where lowers differ.
    pub fn unnamed(mut self) -> Self {
        self.name.clear();
        self
    }
}

/// The entries in `work/index` of a work directory, sorted.
pub fn index_of_dir(work: &Path, namespace: XattrNamespace) -> Vec<IndexEntry> {
    let Ok(dir) = std::fs::read_dir(work.join("index")) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in dir {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('#') {
            continue;
        }
        let meta = entry.metadata().unwrap();
        let is_whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
        let get = |attr: OverlayAttr| {
            let name = attr.full_name(namespace);
            let name = std::str::from_utf8(name.as_bytes()).unwrap();
            xattr::get(entry.path(), name).unwrap()
        };
        all.push(IndexEntry {
            name,
            letter: match meta.file_type() {
                _ if is_whiteout => 'w',
                t if t.is_dir() => 'd',
                t if t.is_file() => 'f',
                t if t.is_symlink() => 'l',
                _ => 's',
            },
            nlink: match is_whiteout || meta.is_dir() {
                true => 0,
                false => meta.nlink(),
            },
            count: text(get(OverlayAttr::Nlink)),
            upper: get(OverlayAttr::Upper).is_some(),
        });
    }
    all.sort();
    all
}

/// The entries in the index of a layer, sorted.
pub fn index_of_layer(layer: &dyn LayerBackend) -> Vec<IndexEntry> {
    let index = layer.upper().and_then(|u| u.index(false).unwrap());
    let Some(index) = index else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for raw in index.list().unwrap() {
        let name = raw.name.to_string();
        if name.starts_with('#') {
            continue;
        }
        let Some(Entry::Node(node, meta)) = index.lookup(&raw.name).unwrap() else {
            all.push(IndexEntry {
                name,
                letter: 'w',
                ..IndexEntry::default()
            });
            continue;
        };
        let get = |attr: OverlayAttr| node.overlay_attr(attr).unwrap();
        all.push(IndexEntry {
            name,
            letter: match meta.file_type {
                t if t.is_dir() => 'd',
                t if t.is_file() => 'f',
                t if t.is_symlink() => 'l',
                _ => 's',
            },
            nlink: if meta.is_dir() { 0 } else { meta.nlink },
            count: text(get(OverlayAttr::Nlink)),
            upper: get(OverlayAttr::Upper).is_some(),
        });
    }
    all.sort();
    all
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8(value.unwrap_or_default()).unwrap()
}
