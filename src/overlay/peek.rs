//! Looking at a name without keeping it: for those who pass over a whole tree once and would only
//! push out of the cache what others use.

use std::sync::Arc;

use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::Metadata;
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::inode::{Inode, State};
use crate::overlay::lookup::Made;
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
    /// there, so that it shows the same numbers as to others. `first`: no lower above this one has the
    /// name, as a listing tells (0 if nothing is known). Call with the tree's lock held.
    pub(crate) fn peek(&self, dir: &Arc<Inode>, name: &Name, first: usize) -> Res<Option<Peeked>> {
        match dir.child(name) {
            Some(inode) if dir.is_dir() => self.peek_inode(&inode).map(Some),
            _ => self.peek_layers(dir, name, first),
        }
    }

    /// As [`Core::peek`], but each layer is asked (at most once) in any case.
    pub(crate) fn peek_layers(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
        first: usize,
    ) -> Res<Option<Peeked>> {
        match self.look_below(dir, name, first)? {
            Some((made, redirected)) => self.peeked(dir, name, made, redirected).map(Some),
            None => Ok(None),
        }
    }

    fn look_below(&self, dir: &Arc<Inode>, name: &Name, first: usize) -> Res<Option<(Made, bool)>> {
        if !dir.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        if dir.is_gone() {
            return Ok(None);
        }
        let (lookup, found) = self.lookup_layers_from(dir, name, first, &mut |_| {})?;
        Ok(found.map(|made| (made, lookup.redirect_seen)))
    }

    fn peeked(&self, dir: &Arc<Inode>, name: &Name, made: Made, redirected: bool) -> Res<Peeked> {
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
        Ok(Peeked {
            inode,
            state,
            real,
            redirected,
        })
    }

    /// The attributes that the tree shows of `name` in `dir`, as [`Core::peek`] finds it.
    pub(crate) fn peek_metadata(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
        first: usize,
    ) -> Res<Option<Metadata>> {
        let peeked = match dir.child(name) {
            Some(inode) => self.peek_inode(&inode)?,
            None => {
                if let Some(meta) = self.plain_in(dir, name, first) {
                    return Ok(Some(meta));
                }
                match self.look_below(dir, name, first)? {
                    None => return Ok(None),
                    Some((made, redirected)) => self.peeked(dir, name, made, redirected)?,
                }
            }
        };
        self.shown_metadata(&peeked.inode, &peeked.state, peeked.real)
            .map(Some)
    }

    /// The attributes shown of `name` if the lower `layer` has it, none above has, and nobody knows more of it: it
    /// cannot be in use under another name, and an index has no part in it. `None`: the layers are to be
    /// looked through, which also tells what is wrong if something is.
    fn plain_in(&self, dir: &Inode, name: &Name, layer: usize) -> Option<Metadata> {
        let writable = self.upper.is_some();
        if writable && self.features.index || dir.is_gone() {
            return None;
        }
        let meta = dir.lower_only(layer)?.plain(name).ok()??;
        let is_alone = !writable || meta.nlink == 1;
        is_alone.then(|| self.plain_metadata(LayerId::Lower(layer), meta))
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
