//! Looking at a name without keeping it: for those who pass over a whole tree once and would only
//! push out of the cache what others use.

use std::sync::Arc;

use crate::backend::{Entry, NodeRef};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::Metadata;
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::inode::{Inode, Place, State};
use crate::overlay::lookup::Seen;
use crate::path::Name;
use crate::rules::resolve::Observed;

/// A visible object, as it was when it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Peeked {
    pub(crate) inode: Arc<Inode>,
    pub(crate) state: State,
    /// Attributes of the real object.
    pub(crate) real: Metadata,
    /// A redirect was met on the way: the object may be made of lowers with other names.
    pub(crate) redirected: bool,
}

impl Core {
    /// What `name` stands for in `dir`, not added to the cache. What is in use already answers from
    /// there, so that it shows the same numbers as to others. Call with the tree's lock held.
    pub(crate) fn peek(&self, dir: &Arc<Inode>, name: &Name) -> Res<Option<Peeked>> {
        match dir.child(name) {
            Some(inode) if dir.is_dir() => self.peek_inode(&inode).map(Some),
            _ => self.peek_layers(dir, name),
        }
    }

    /// As [`Core::peek`], but each layer is asked (at most once) in any case.
    pub(crate) fn peek_layers(&self, dir: &Arc<Inode>, name: &Name) -> Res<Option<Peeked>> {
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        if dir.is_gone() {
            return Ok(None);
        }
        let mut real = None;
        let (lookup, found) = self.lookup_layers(dir, name, &mut |seen| {
            if real.is_none() {
                real = taken(&seen);
            }
        })?;
        let Some((file_type, state)) = found else {
            return Ok(None);
        };
        let real = match real {
            Some(real) => real,
            None => self.real_metadata(&state)?,
        };
        let inode = match dir.child(name) {
            Some(inode) => inode,
            None => {
                let place = Place::At(dir.clone(), name.clone());
                let inode = Inode::new(self.new_id(), file_type, state.clone(), place);
                dir.adopt(name, &inode)
            }
        };
        Ok(Some(Peeked {
            inode,
            state,
            real,
            redirected: lookup.redirect_seen,
        }))
    }

    /// An object in use, as [`Core::peek`] answers.
    pub(crate) fn peek_inode(&self, inode: &Arc<Inode>) -> Res<Peeked> {
        let state = inode.state();
        let real = self.real_metadata(&state)?;
        Ok(Peeked {
            inode: inode.clone(),
            state,
            real,
            redirected: false,
        })
    }

    /// The node that holds a regular file's data.
    pub(crate) fn data_node(&self, state: &State) -> Res<(NodeRef, LayerId)> {
        let node = match state.lowers.last() {
            Some(lower) if state.metacopy => {
                return Ok((lower.node.clone(), LayerId::Lower(lower.layer)));
            }
            _ => state.real().ok_or(Errno::ENOENT)?,
        };
        Ok((node.clone(), self.real_layer(state)))
    }

    fn real_metadata(&self, state: &State) -> Res<Metadata> {
        let node = state.real().ok_or(Errno::ENOENT)?;
        node.metadata().in_layer(self.real_layer(state))
    }
}

/// The attributes of the first node that belongs to the answer. That node was found under its own
/// name: a redirect only concerns what comes after it.
fn taken(seen: &Seen<'_>) -> Option<Metadata> {
    match (seen.observed, seen.entry) {
        (Observed::Take, Some(Entry::Node(_, meta))) if seen.is_end() => Some(meta.clone()),
        _ => None,
    }
}
