//! Bringing data into upper files that have only attributes (rules R178 to R180).

use std::sync::Arc;

use crate::error::LayerId;
use crate::overlay::build::{Build, Segment};
use crate::overlay::core::{InLayer, Res};
use crate::overlay::inode::Inode;
use crate::overlay::watch::Copied;
use crate::rules::copy_up::{self, Data, PromoteFacts};
use crate::rules::plan::Obj;
use crate::rules::xattr;
use crate::xattr_name::XattrName;

/// Bits that a filesystem may take away when a file is written to.
const SET_ID_BITS: u32 = 0o6000;

impl Build<'_> {
    /// Whether the object, once what is planned so far is done, is a file in the upper without data.
    pub(crate) fn lacks_data(&self, inode: &Inode) -> bool {
        let planned = self.metacopy.get(&inode.id).copied();
        planned.unwrap_or_else(|| inode.with_state(|s| s.upper.is_some() && s.metacopy))
    }

    /// Whether it will be one when it is copied up without data.
    pub(crate) fn will_lack_data(&self, inode: &Inode) -> bool {
        match inode.upper() {
            Some(_) => self.lacks_data(inode),
            None => {
                let data = Data::Attributes.settle(inode.file_type, self.core.features);
                data == Data::Attributes
            }
        }
    }

    /// Appends bringing the data of `object`, the upper file of `inode`.
    pub(crate) fn promote(&mut self, inode: &Arc<Inode>, object: Obj) -> Res<()> {
        let state = inode.state();
        let (node, layer) = self.core.data_node(&state)?;
        let source = self.object(layer, inode.path(), Some(node));
        let mut facts = PromoteFacts {
            source,
            object,
            size: 0,
            capability: None,
            mode: None,
            durable: self.core.features.fsync.syncs(),
        };
        if let Some(lower) = state.lowers.first() {
            let layer = LayerId::Lower(lower.layer);
            facts.size = lower.node.metadata().in_layer(layer)?.size;
        }
        if let Some(upper) = &state.upper {
            let name = XattrName::new(xattr::CAPABILITY)?;
            let value = upper.xattr(&name).in_layer(LayerId::Upper)?;
            facts.capability = value.map(|value| (name, value));
            let mode = upper.metadata().in_layer(LayerId::Upper)?.mode;
            facts.mode = (mode & SET_ID_BITS != 0).then_some(mode);
        }
        let heavy = facts.size > 0;
        let planned = copy_up::plan_promotion(&mut self.plan, facts);
        self.segments.push(Segment {
            inode: inode.clone(),
            data: Data::Full,
            object,
            temp: None,
            steps: planned.first..planned.publish,
            // A copy-up in the same plan makes the object only then.
            heavy: heavy && state.upper.is_some(),
            staged: self.is_promoted(inode),
            lower: None,
        });
        self.metacopy.insert(inode.id, false);
        let (inode, watchers) = (inode.clone(), self.core.watchers.clone());
        self.then(planned.publish, move |_| {
            inode.update(|s| (s.metacopy, s.digest) = (false, None));
            watchers.copied_up(Copied {
                id: inode.id,
                relists: false,
            });
        });
        Ok(())
    }
}
