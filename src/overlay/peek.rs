//! Looking at a name without keeping it: for those who pass over a whole tree once and would only
//! push out of the cache what others use.

use std::sync::Arc;

use crate::errno::Errno;
use crate::meta::Metadata;
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::inode::{Inode, State};
use crate::path::Name;

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
        let (lookup, found) = self.lookup_layers(dir, name, &mut |_| {})?;
        let Some(made) = found else {
            return Ok(None);
        };
        let (mut real, mut state) = (made.real.clone(), made.state.clone());
        let inode = match dir.child(name) {
            Some(inode) => inode,
            None => {
                let in_upper = state.upper.is_some();
                let inode = self.name(dir, name, made)?;
                // It may be in use under another name, and know more than the layers tell.
                state = inode.state();
                if state.upper.is_some() != in_upper {
                    real = self.real_metadata(&state)?;
                }
                inode
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

    fn real_metadata(&self, state: &State) -> Res<Metadata> {
        let node = state.real().ok_or(Errno::ENOENT)?;
        node.metadata().in_layer(self.real_layer(state))
    }
}
