//! One layer as data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::backend::WhiteoutForm;
use crate::meta::{DeviceId, FileType};
use crate::path::{Name, join};
use crate::testing::spec::{LayerSpec, NodeKind, NodeSpec, Piece};
use crate::xattr_name::OverlayAttr;

/// The nodes of one layer by path; hard links stand for the node that they name.
pub(super) struct Layer {
    nodes: BTreeMap<PathBuf, NodeSpec>,
    /// Where the node of a hard link is.
    links: BTreeMap<PathBuf, PathBuf>,
    /// Names by directory.
    names: BTreeMap<PathBuf, Vec<Name>>,
}

/// What a path of a layer holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    Absent,
    Whiteout(WhiteoutForm),
    Dir(&'a NodeSpec),
    Other(&'a NodeSpec),
}

impl<'a> Raw<'a> {
    pub(super) fn node(self) -> Option<&'a NodeSpec> {
        match self {
            Raw::Dir(node) | Raw::Other(node) => Some(node),
            Raw::Absent | Raw::Whiteout(_) => None,
        }
    }
}

impl Layer {
    pub(super) fn new(spec: &LayerSpec) -> Self {
        let (mut nodes, mut links) = (BTreeMap::new(), BTreeMap::new());
        let mut names: BTreeMap<PathBuf, Vec<Name>> = BTreeMap::new();
        for (path, node) in spec.effective() {
            if let (Some(dir), Some(name)) = (path.parent(), path.file_name())
                && let Ok(name) = Name::try_from(name)
            {
                names.entry(dir.to_path_buf()).or_default().push(name);
            }
            match node.kind {
                NodeKind::HardLink(to) => drop(links.insert(path, to)),
                _ => drop(nodes.insert(path, node)),
            }
        }
        Layer {
            nodes,
            links,
            names,
        }
    }

    /// The path under which the node of `path` is kept.
    pub(super) fn first_name<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.links.get(path).map_or(path, PathBuf::as_path)
    }

    /// Names of the node of `path`.
    pub(super) fn link_count(&self, path: &Path) -> u64 {
        let first = self.first_name(path);
        1 + self.links.values().filter(|to| *to == first).count() as u64
    }

    /// What is at `path`. Whiteouts are character devices 0/0, and empty files with the attribute
    /// (rules R069, R070).
    pub(super) fn raw(&self, path: &Path) -> Raw<'_> {
        let Some(node) = self.nodes.get(self.first_name(path)) else {
            return Raw::Absent;
        };
        match &node.kind {
            NodeKind::Whiteout(form) => Raw::Whiteout(*form),
            NodeKind::CharDevice(device) if *device == DeviceId::default() => {
                Raw::Whiteout(WhiteoutForm::CharDevice)
            }
            NodeKind::File(pieces)
                if pieces.iter().all(Piece::is_empty)
                    && node.overlay.contains_key(&OverlayAttr::Whiteout) =>
            {
                Raw::Whiteout(WhiteoutForm::Xattr)
            }
            NodeKind::Directory => Raw::Dir(node),
            _ => Raw::Other(node),
        }
    }

    /// Names in the directory `dir`, with the types that it tells.
    pub(super) fn children(&self, dir: &Path) -> Vec<(Name, FileType)> {
        let names = self.names.get(dir).into_iter().flatten();
        let listed = |name: &Name| Some((name.clone(), self.listed_type(&join(dir, name))?));
        names.filter_map(listed).collect()
    }

    /// A whiteout is listed as what it is made of.
    fn listed_type(&self, path: &Path) -> Option<FileType> {
        let node = self.nodes.get(self.first_name(path))?;
        Some(match &node.kind {
            NodeKind::Whiteout(WhiteoutForm::CharDevice) => FileType::CharDevice,
            NodeKind::Whiteout(WhiteoutForm::Xattr) => FileType::Regular,
            _ => node.file_type()?,
        })
    }

    pub(super) fn has_marked_directory(&self) -> bool {
        let opaque = |node: &NodeSpec| node.overlay.get(&OverlayAttr::Opaque).cloned();
        self.nodes
            .values()
            .any(|node| node.kind == NodeKind::Directory && opaque(node).as_deref() == Some(b"x"))
    }

    /// A directory as a layer that gives only data has it.
    pub(super) fn is_plain_dir(&self, path: &Path) -> bool {
        matches!(self.nodes.get(path), Some(node) if node.kind == NodeKind::Directory)
    }

    /// The content of a regular file, whatever its overlay attributes say.
    pub(super) fn plain_file(&self, path: &Path) -> Option<Vec<Piece>> {
        match &self.nodes.get(self.first_name(path))?.kind {
            NodeKind::File(pieces) => Some(pieces.clone()),
            NodeKind::Whiteout(WhiteoutForm::Xattr) => Some(Vec::new()),
            _ => None,
        }
    }
}
