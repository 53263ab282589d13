//! What the kernel has open: files and directory streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::fuse::listing::{Listing, Placed};
use crate::overlay::inode::Inode;
use crate::overlay::read::Listed;

/// Things by number.
#[derive(Debug)]
pub(super) struct Handles<T> {
    next: AtomicU64,
    open: RwLock<HashMap<u64, Arc<T>>>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Handles {
            next: AtomicU64::new(1),
            open: RwLock::new(HashMap::new()),
        }
    }
}

impl<T> Handles<T> {
    pub(super) fn add(&self, value: T) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, Arc::new(value));
        number
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<T>> {
        self.open
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&number)
            .cloned()
    }

    pub(super) fn remove(&self, number: u64) -> Option<Arc<T>> {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number)
    }
}

/// An open directory.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) inode: Arc<Inode>,
    listing: Arc<Listing>,
    /// It was read from before.
    started: AtomicBool,
}

impl Stream {
    pub(super) fn new(inode: Arc<Inode>, listing: Arc<Listing>) -> Self {
        Stream {
            inode,
            listing,
            started: AtomicBool::new(false),
        }
    }

    /// The entries, listed anew by `list` if the stream is at its start or was never read.
    pub(super) fn entries<E>(
        &self,
        at_start: bool,
        list: impl FnOnce() -> Result<Vec<Listed>, E>,
    ) -> Result<Arc<Vec<Placed>>, E> {
        let anew = !self.started.swap(true, Ordering::Relaxed) || at_start;
        self.listing.entries(anew.then_some(list))
    }
}
