//! The index directory: opened and verified with the union, asked by lookups.

use crate::backend::{
    At, AttrKey, Entry as Raw, LayerBackend, NodeRef, RemoveKind, RenameHow, UpperBackend,
    XattrMode,
};
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::meta::Metadata;
use crate::overlay::core::{Fail, InLayer, Res, Shared};
use crate::overlay::handles::{Handles, no_handle};
use crate::overlay::inode::Lower;
use crate::overlay::open::Roots;
use crate::path::Name;
use crate::rules::Features;
use crate::rules::index::{self, Alone, Entry, Found, Recorded, Verdict, Verified, recorded};
use crate::rules::origin::{self, Decoded};
use crate::xattr_name::OverlayAttr;

/// Opens the index of an upper layer: makes it at the first time, checks that it belongs to the upper
/// and the upper to the topmost lower (rule R266), and clears it of what is no longer valid (rule
/// R267).
pub(crate) fn open(handles: Handles<'_>, features: Features, roots: &Roots) -> Result<NodeRef> {
    let label = handles.upper.map(|u| u.label()).unwrap_or_default();
    Opening { handles, features }
        .run(roots)
        .map_err(|e| e.into_error("open overlay", label))
}

struct Opening<'a> {
    handles: Handles<'a>,
    features: Features,
}

/// Says what is wrong where only an errno is known.
fn refused(errno: Errno, rule: &'static str, layer: LayerId, detail: &str) -> Fail {
    let fail = Fail {
        layer: Some(layer),
        ..Fail::rule(errno, rule)
    };
    fail.with_detail(detail)
}

impl Opening<'_> {
    fn upper(&self) -> Res<&dyn UpperBackend> {
        let upper = self.handles.upper.and_then(|u| u.upper());
        Ok(upper.ok_or(Errno::EROFS)?)
    }

    fn run(&self, roots: &Roots) -> Res<NodeRef> {
        let (Some(root), Some(lower)) = (&roots.upper, roots.lowers.first()) else {
            return Err(Errno::EINVAL.into());
        };
        let lower = Lower {
            layer: 0,
            node: lower.clone(),
        };
        let topmost = self.handles.encode_lower(&lower)?;
        let topmost = topmost.ok_or_else(|| no_handle(LayerId::Lower(0)))?;
        if !self.belongs(root, OverlayAttr::Origin, &topmost)? {
            let detail = "the upper layer was used with another topmost lower";
            return Err(refused(Errno::ESTALE, "R266", LayerId::Upper, detail));
        }
        let dir = self.upper()?.index(true).in_layer(LayerId::Work)?;
        let dir = dir.ok_or(Errno::EIO)?;
        let own = self.handles.encode_upper(root)?;
        // Older kernels kept the upper's handle in the other attribute.
        let old = dir
            .overlay_attr(OverlayAttr::Origin)
            .in_layer(LayerId::Work)?;
        let detail = "the index belongs to another upper layer";
        match old.map(|old| recorded(Some(&old), &own)) {
            None | Some(Recorded::Same) => {}
            Some(Recorded::Nothing) => {
                return Err(refused(Errno::ENODATA, "R266", LayerId::Work, detail));
            }
            Some(Recorded::Other) => {
                return Err(refused(Errno::ESTALE, "R266", LayerId::Work, detail));
            }
        }
        if !self.belongs(&dir, OverlayAttr::Upper, &own)? {
            return Err(refused(Errno::ESTALE, "R266", LayerId::Work, detail));
        }
        self.verify(&dir)?;
        Ok(dir)
    }

    /// Whether `node` records this handle; if it records none, it does from now on.
    fn belongs(&self, node: &NodeRef, attr: OverlayAttr, handle: &[u8]) -> Res<bool> {
        let stored = node.overlay_attr(attr).in_layer(LayerId::Upper)?;
        match recorded(stored.as_deref(), handle) {
            Recorded::Same => Ok(true),
            Recorded::Other => Ok(false),
            Recorded::Nothing => {
                let key = AttrKey::Overlay(attr);
                self.upper()?
                    .set_xattr(node, key, Some(handle), XattrMode::Set)
                    .in_layer(LayerId::Upper)?;
                Ok(true)
            }
        }
    }

    /// Rule R267.
    fn verify(&self, dir: &NodeRef) -> Res<()> {
        for raw in dir.list().in_layer(LayerId::Work)? {
            if index::is_temporary(&raw.name) {
                continue;
            }
            self.verify_entry(dir, &raw.name).map_err(|e| {
                let detail = format!("index entry {}", raw.name);
                Fail {
                    layer: Some(LayerId::Work),
                    rule: Some("R267"),
                    ..e.with_detail(detail)
                }
            })?;
        }
        Ok(())
    }

    fn verify_entry(&self, dir: &NodeRef, name: &Name) -> Res<()> {
        let handle = index::parse_entry_name(name)?;
        let entry = dir.lookup_plain(name).in_layer(LayerId::Work)?;
        let Some(entry) = entry else { return Ok(()) };
        let kind = match &entry {
            Raw::Node(_, meta) if meta.is_dir() => RemoveKind::Directory,
            _ => RemoveKind::NonDirectory,
        };
        let (upper, at) = (self.upper()?, At::new(dir, name));
        match index::verdict(self.found(&entry, &handle)?, self.features)? {
            Verdict::Keep => Ok(()),
            Verdict::Remove => upper.remove(at, kind).in_layer(LayerId::Work),
            Verdict::Whiteout => {
                let temp = Name::new("#index")?;
                let temp = At::new(dir, &temp);
                let how = match kind {
                    RemoveKind::Directory => RenameHow::Exchange,
                    RemoveKind::NonDirectory => RenameHow::Replace,
                };
                upper.whiteout(temp).in_layer(LayerId::Work)?;
                upper.rename(temp, at, how).in_layer(LayerId::Work)?;
                match kind {
                    RemoveKind::Directory => upper.remove(temp, kind).in_layer(LayerId::Work),
                    RemoveKind::NonDirectory => Ok(()),
                }
            }
        }
    }

    /// What an entry is that is named after `handle`.
    fn found(&self, entry: &Raw, handle: &[u8]) -> Res<Found> {
        let (node, meta) = match entry {
            Raw::Whiteout(_) => return Ok(Found::Whiteout),
            Raw::Node(node, meta) => (node, meta),
        };
        let attr = |node: &NodeRef, attr| node.overlay_attr(attr).in_layer(LayerId::Work);
        if meta.is_dir() {
            if !self.features.nfs_export {
                return Ok(Found::UnusedDir);
            }
            let stored = attr(node, OverlayAttr::Upper)?.unwrap_or_default();
            if !matches!(origin::decode(&stored), Decoded::Known(_)) {
                return Ok(Found::Unrelated);
            }
            let Some(upper) = self.handles.decode_upper(&stored)? else {
                return Ok(Found::Orphan);
            };
            if !upper.metadata().in_layer(LayerId::Upper)?.is_dir() {
                return Ok(Found::NotADirectory);
            }
            let origin = attr(&upper, OverlayAttr::Origin)?;
            return Ok(Found::Of {
                origin: recorded(origin.as_deref(), handle),
                alone: None,
            });
        }
        let origin = recorded(attr(node, OverlayAttr::Origin)?.as_deref(), handle);
        let mut alone = None;
        if origin == Recorded::Same && meta.nlink == 1 {
            let lower = self.handles.decode_lower(handle, meta.file_type)?;
            let nlink = match &lower {
                Some(lower) => {
                    let layer = LayerId::Lower(lower.layer);
                    lower.node.metadata().in_layer(layer)?.nlink
                }
                None => 0,
            };
            let stored = attr(node, OverlayAttr::Nlink)?;
            alone = Some(Alone {
                lower: lower.is_some(),
                union_nlink: index::union_nlink(stored.as_deref(), meta.nlink, nlink),
            });
        }
        Ok(Found::Of { origin, alone })
    }
}

/// A node of the upper layer and its attributes.
type Node = (NodeRef, Metadata);

impl Shared {
    /// What encodes and decodes file handles.
    pub(crate) fn handles(&self) -> Handles<'_> {
        Handles {
            lowers: &self.lowers,
            upper: self.upper.as_ref(),
            uuid: self.settings.uuid,
            bad_uuids: &self.bad_uuids,
        }
    }

    /// The name that the entry of a lower object has in the index.
    pub(crate) fn index_name(&self, lower: &Lower) -> Res<Name> {
        let handle = self.handles().encode_lower(lower)?;
        let handle = handle.ok_or_else(|| no_handle(LayerId::Lower(lower.layer)))?;
        Ok(index::entry_name(&handle)?)
    }

    /// Whether the index holds anything, so that a file may be in the upper without its name being there.
    pub(crate) fn has_entries(&self) -> Res<bool> {
        let Some(dir) = &self.index else {
            return Ok(false);
        };
        let raw = dir.list().in_layer(LayerId::Work)?;
        Ok(raw.iter().any(|entry| !index::is_temporary(&entry.name)))
    }

    /// Whether the lower that a lookup found first below `upper` is what that was copied up from.
    pub(crate) fn verify_origin(
        &self,
        upper: &NodeRef,
        lower: &Lower,
        is_dir: bool,
        known: bool,
    ) -> Res<Verified> {
        if !index::verifies(self.features, is_dir, known) {
            return Ok(Verified::Unchecked);
        }
        let handle = self.handles().encode_lower(lower)?;
        let handle = handle.ok_or_else(|| no_handle(LayerId::Lower(lower.layer)))?;
        let stored = upper
            .overlay_attr(OverlayAttr::Origin)
            .in_layer(LayerId::Upper)?;
        index::verified(is_dir, stored.as_deref(), &handle)
            .map_err(|e| refused(e, "R271", LayerId::Upper, "its origin is another file"))
    }

    /// The entry in the index of the object that was found as `upper` or not there, and in a lower
    /// layer as `lower` (rules R262, R269, R272).
    pub(crate) fn index_entry(
        &self,
        upper: Option<&Node>,
        lower: &Lower,
        lower_meta: &Metadata,
    ) -> Res<Option<Node>> {
        let Some(dir) = &self.index else {
            return Ok(None);
        };
        let name = self.index_name(lower)?;
        let entry = match dir.lookup_plain(&name) {
            Err(e) if e.errno() == Errno::ENOENT => None,
            answer => answer.in_layer(LayerId::Work)?,
        };
        let (entry, node) = match entry {
            None => return Ok(None),
            Some(Raw::Whiteout(_)) => (Entry::Whiteout, None),
            Some(Raw::Node(node, meta)) => {
                let of_upper = match upper {
                    Some((upper, _)) if meta.is_dir() => {
                        let stored = node
                            .overlay_attr(OverlayAttr::Upper)
                            .in_layer(LayerId::Work)?;
                        let own = self.handles().encode_upper(upper)?;
                        Some(recorded(stored.as_deref(), &own) == Recorded::Same)
                    }
                    Some((_, upper)) => Some(upper.ino == meta.ino),
                    None => None,
                };
                let file_type = meta.file_type;
                let entry = Entry::Node {
                    file_type,
                    of_upper,
                };
                (entry, Some((node, meta)))
            }
        };
        let is_entry = index::is_entry_of(entry, lower_meta.file_type).map_err(|e| {
            let detail = format!("index entry {name} is of something else");
            refused(e, "R272", LayerId::Work, &detail)
        })?;
        Ok(node.filter(|_| is_entry))
    }
}
