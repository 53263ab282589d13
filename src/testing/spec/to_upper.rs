//! Writes a layer through the backend trait.

use std::collections::BTreeMap;
use std::path::Path;

use super::{LayerSpec, NodeKind, NodeSpec, Piece, split};
use crate::backend::{
    Access, At, AttrKey, BackendError, NewKind, NewNode, NodeRef, UpperBackend, WhiteoutForm,
    XattrMode,
};
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime};
use crate::xattr_name::OverlayAttr;

impl LayerSpec {
    /// Writes this layer into the root of `upper`, which is empty; the result is what
    /// [`write_to_dir`](LayerSpec::write_to_dir) makes.
    ///
    /// # Errors
    /// What the backend gives; `EINVAL` and `ENAMETOOLONG` for impossible names. What was written
    /// until then stays.
    pub fn write_to_upper(&self, upper: &dyn UpperBackend) -> Result<(), Errno> {
        self.write(upper).map_err(|e| e.errno())
    }

    fn write(&self, upper: &dyn UpperBackend) -> Result<(), BackendError> {
        let effective = self.effective();
        let mut nodes: BTreeMap<&Path, NodeRef> = BTreeMap::new();
        nodes.insert(Path::new("/"), upper.root()?);
        for (path, node) in effective.iter().skip(1) {
            let (parent, name) = split(path)?;
            let at = At::new(nodes.get(parent).ok_or(Errno::ENOENT)?, &name);
            if let Some(made) = create(upper, at, node)? {
                nodes.insert(path, made);
            }
        }
        for (path, node) in &effective {
            if let NodeKind::HardLink(to) = &node.kind {
                let (parent, name) = split(path)?;
                let from = nodes.get(to.as_path()).ok_or(Errno::ENOENT)?;
                let dir = nodes.get(parent).ok_or(Errno::ENOENT)?;
                upper.link(from, At::new(dir, &name))?;
            }
        }
        for (path, node) in effective.iter().rev() {
            if node.kind == NodeKind::Directory {
                let dir = nodes.get(path.as_path()).ok_or(Errno::ENOENT)?;
                attributes(upper, dir, node)?;
            }
        }
        Ok(())
    }
}

fn create(
    upper: &dyn UpperBackend,
    at: At<'_>,
    node: &NodeSpec,
) -> Result<Option<NodeRef>, BackendError> {
    let kind = match &node.kind {
        NodeKind::HardLink(_) => return Ok(None),
        NodeKind::Whiteout(WhiteoutForm::CharDevice) => {
            upper.whiteout(at)?;
            return Ok(None);
        }
        NodeKind::File(_) | NodeKind::Whiteout(WhiteoutForm::Xattr) => NewKind::File,
        NodeKind::Directory => NewKind::Directory,
        NodeKind::Symlink(target) => NewKind::Symlink(target.clone()),
        NodeKind::Fifo => NewKind::Fifo,
        NodeKind::Socket => NewKind::Socket,
        NodeKind::CharDevice(device) => NewKind::CharDevice(*device),
        NodeKind::BlockDevice(device) => NewKind::BlockDevice(*device),
    };
    let new = NewNode {
        kind,
        mode: if node.kind == NodeKind::Directory {
            0o700
        } else {
            0o600
        },
        uid: None,
        gid: None,
    };
    let made = upper.create(at, &new)?;
    match &node.kind {
        NodeKind::Whiteout(_) => {
            let key = AttrKey::Overlay(OverlayAttr::Whiteout);
            upper.set_xattr(&made, key, Some(b""), XattrMode::Set)?;
            return Ok(None);
        }
        NodeKind::File(pieces) => write_file(&made, pieces)?,
        _ => {}
    }
    if node.kind != NodeKind::Directory {
        attributes(upper, &made, node)?;
    }
    Ok(Some(made))
}

fn write_file(node: &NodeRef, pieces: &[Piece]) -> Result<(), BackendError> {
    if pieces.is_empty() {
        return Ok(());
    }
    let file = node.open(Access::ReadWrite)?;
    let mut offset = 0;
    for piece in pieces {
        let filled;
        let bytes = match piece {
            Piece::Bytes(bytes) => bytes.as_slice(),
            Piece::Fill(byte, len) => {
                filled = vec![*byte; *len as usize];
                filled.as_slice()
            }
            Piece::Hole(_) => &[],
        };
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            done += file.write_at(rest, offset + done as u64)?;
        }
        offset += piece.len();
    }
    if matches!(pieces.last(), Some(Piece::Hole(_))) {
        file.set_len(offset)?;
    }
    Ok(())
}

/// Owner, mode, attributes, times, in this order: each would undo something of a later one.
fn attributes(
    upper: &dyn UpperBackend,
    made: &NodeRef,
    node: &NodeSpec,
) -> Result<(), BackendError> {
    let mut first = SetAttr::owner(Some(node.uid), Some(node.gid));
    if !matches!(node.kind, NodeKind::Symlink(_)) {
        first.mode = Some(node.mode);
    }
    upper.set_attr(made, &first)?;
    for (name, value) in &node.xattrs {
        upper.set_xattr(made, AttrKey::Raw(name), Some(value), XattrMode::Set)?;
    }
    for (attr, value) in &node.overlay {
        upper.set_xattr(made, AttrKey::Overlay(*attr), Some(value), XattrMode::Set)?;
    }
    let time = SetTime::At(node.mtime);
    upper.set_attr(made, &SetAttr::times(time, time))
}
