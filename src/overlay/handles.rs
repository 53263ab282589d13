//! File handles as overlay attributes store them: encoded for a node, or decoded to one.

use std::sync::Arc;

use crate::backend::{LayerBackend, LayerNode, NodeRef};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::FileType;
use crate::overlay::core::{Fail, InLayer, LowerLayer, Res};
use crate::overlay::inode::Lower;
use crate::rules::config::UuidMode;
use crate::rules::origin::{self, Decoded, Origin};
use crate::xattr_name::OverlayAttr;

/// What handles are encoded and decoded with.
#[derive(Copy, Clone)]
pub(crate) struct Handles<'a> {
    pub(crate) lowers: &'a [LowerLayer],
    pub(crate) upper: Option<&'a Arc<dyn LayerBackend>>,
    pub(crate) uuid: UuidMode,
    /// Filesystems of which no handle is decoded (rule R268).
    pub(crate) bad_uuids: &'a [usize],
}

impl Handles<'_> {
    /// The UUID that handles of this layer bear: none if it is not to matter (`uuid=off`).
    pub(crate) fn uuid(&self, layer: &dyn LayerBackend) -> [u8; 16] {
        match self.uuid {
            UuidMode::Off => [0; 16],
            _ => layer.identity().uuid.unwrap_or_default(),
        }
    }

    /// The handle of a lower object; `None` if its filesystem has none to give.
    pub(crate) fn encode_lower(&self, lower: &Lower) -> Res<Option<Vec<u8>>> {
        let layer = self.lowers.get(lower.layer).ok_or(Errno::EIO)?;
        self.encode(&*layer.backend, &*lower.node, LayerId::Lower(lower.layer))
    }

    /// The handle of an upper object.
    ///
    /// # Errors
    /// `EIO`: its filesystem has none to give.
    pub(crate) fn encode_upper(&self, node: &NodeRef) -> Res<Vec<u8>> {
        let upper = self.upper.ok_or(Errno::EROFS)?;
        let handle = self.encode(&**upper, &**node, LayerId::Upper)?;
        handle.ok_or_else(|| no_handle(LayerId::Upper))
    }

    /// The handle of an object of this layer; `None` if its filesystem has none to give.
    pub(crate) fn encode(
        &self,
        layer: &dyn LayerBackend,
        node: &dyn LayerNode,
        id: LayerId,
    ) -> Res<Option<Vec<u8>>> {
        let handle = node.file_handle().in_layer(id)?;
        Ok(handle.map(|handle| {
            origin::encode(&Origin {
                uuid: self.uuid(layer),
                handle,
                upper: id == LayerId::Upper,
            })
        }))
    }

    /// The lower object of type `wanted` that an encoded handle names, if it can be told (rule R066).
    pub(crate) fn decode_lower(&self, handle: &[u8], wanted: FileType) -> Res<Option<Lower>> {
        let Decoded::Known(origin) = origin::decode(handle) else {
            return Ok(None);
        };
        for (i, layer) in self.lowers.iter().enumerate() {
            if self.bad_uuids.contains(&layer.fs) || origin.uuid != self.uuid(&*layer.backend) {
                continue;
            }
            let Ok(Some(node)) = layer.backend.by_handle(&origin.handle) else {
                continue;
            };
            let meta = node.metadata().in_layer(LayerId::Lower(i))?;
            return Ok((meta.file_type == wanted).then_some(Lower { layer: i, node }));
        }
        Ok(None)
    }

    /// The lower object that an upper one of type `wanted` records as its origin, if it can be told.
    pub(crate) fn origin(&self, upper: &NodeRef, wanted: FileType) -> Res<Option<Lower>> {
        let value = upper
            .overlay_attr(OverlayAttr::Origin)
            .in_layer(LayerId::Upper)?;
        match value {
            Some(value) => self.decode_lower(&value, wanted),
            None => Ok(None),
        }
    }

    /// The upper object that an encoded handle names, if there is one.
    pub(crate) fn decode_upper(&self, handle: &[u8]) -> Res<Option<NodeRef>> {
        let upper = self.upper.ok_or(Errno::EROFS)?;
        match origin::decode(handle) {
            Decoded::Known(origin) if origin.uuid == self.uuid(&**upper) => {
                upper.by_handle(&origin.handle).in_layer(LayerId::Upper)
            }
            _ => Ok(None),
        }
    }
}

/// A filesystem that has handles gives none for one of its objects.
pub(crate) fn no_handle(layer: LayerId) -> Fail {
    let fail = Fail {
        layer: Some(layer),
        ..Fail::rule(Errno::EIO, "R268")
    };
    fail.with_detail("an object without a file handle cannot be indexed")
}
