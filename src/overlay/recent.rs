//! What stays in use for a while after the last handle to it is gone, so that a warm lookup asks no
//! layer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::overlay::inode::Inode;

/// Bounds memory; a larger one only helps trees whose hot set is larger.
const INODES_MAX: usize = 4096;

/// The names that were looked up last. One that is removed goes at once: a file that nobody has open
/// must not take up space in a layer, and is met as a stranger should it have other names.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Kept>);

/// A ring; each inode knows its place.
#[derive(Debug, Default)]
struct Kept {
    ring: Vec<Option<Arc<Inode>>>,
    /// The place of the oldest, once the ring is full.
    next: usize,
}

impl Kept {
    /// The place at which `inode` is.
    fn find(&mut self, inode: &Arc<Inode>) -> Option<&mut Option<Arc<Inode>>> {
        let place = self.ring.get_mut(inode.kept_at.load(Ordering::Relaxed))?;
        let is_it = place.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, inode));
        is_it.then_some(place)
    }

    /// Keeps `inode`, and answers what goes for it.
    fn put(&mut self, inode: &Arc<Inode>) -> Option<Arc<Inode>> {
        if self.find(inode).is_some() {
            return None;
        }
        let at = if self.ring.len() < INODES_MAX {
            self.ring.push(None);
            self.ring.len() - 1
        } else {
            let oldest = self.next;
            self.next = (oldest + 1) % INODES_MAX;
            oldest
        };
        inode.kept_at.store(at, Ordering::Relaxed);
        self.ring.get_mut(at)?.replace(inode.clone())
    }
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, inode: &Arc<Inode>) {
        // The last use of an inode may end that of its parents: not under the lock.
        let dropped = self.kept().put(inode);
        drop(dropped);
    }

    pub(crate) fn release(&self, inode: &Arc<Inode>) {
        let dropped = self.kept().find(inode).and_then(Option::take);
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::FileType;
    use crate::overlay::inode::{Place, State};

    fn inode(id: u64) -> Arc<Inode> {
        Inode::new(id, FileType::Regular, State::default(), Place::Gone(None))
    }

    /// Whether anybody else holds it.
    fn is_kept(inode: &Arc<Inode>) -> bool {
        Arc::strong_count(inode) > 1
    }

    #[test]
    fn what_was_kept_last_stays() {
        let recent = Recent::default();
        let all: Vec<_> = (0..INODES_MAX as u64 * 2 + 10).map(inode).collect();
        all.iter().for_each(|inode| recent.keep(inode));
        let (old, new) = all.split_at(INODES_MAX + 10);
        assert!(!old.iter().any(is_kept));
        assert!(new.iter().all(is_kept));
    }

    #[test]
    fn what_is_released_goes_at_once() {
        let recent = Recent::default();
        let (a, b) = (inode(1), inode(2));
        recent.keep(&a);
        recent.keep(&a);
        recent.keep(&b);
        recent.release(&a);
        assert!(!is_kept(&a) && is_kept(&b));
        recent.release(&a);
        recent.keep(&a);
        assert!(is_kept(&a));
        recent.release(&b);
        assert!(!is_kept(&b) && is_kept(&a));
    }
}
