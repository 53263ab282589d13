//! What stays in use for a while after the last handle to it is gone, so that a warm lookup asks no
//! layer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::overlay::inode::Inode;

/// Bounds memory; a larger one only helps trees whose hot set is larger.
const INODES_MAX: usize = 4096;

/// The names that were looked up last. One that is removed goes at once: a file that nobody has open
/// must not take up space in a layer, and is met as a stranger should it have other names.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    inodes: HashMap<usize, Arc<Inode>>,
    /// Keys of `inodes` by age, and of some that were released.
    order: VecDeque<usize>,
}

fn key(inode: &Arc<Inode>) -> usize {
    Arc::as_ptr(inode).addr()
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, inode: &Arc<Inode>) {
        let key = key(inode);
        let mut kept = self.kept();
        kept.inodes.insert(key, inode.clone());
        kept.order.push_back(key);
        let oldest = if kept.order.len() > INODES_MAX {
            kept.order.pop_front()
        } else {
            None
        };
        let dropped = oldest.and_then(|key| kept.inodes.remove(&key));
        // The last use of an inode may end that of its parents: not under the lock.
        drop(kept);
        drop(dropped);
    }

    pub(crate) fn release(&self, inode: &Arc<Inode>) {
        let dropped = self.kept().inodes.remove(&key(inode));
        drop(dropped);
    }
}
