//! What the kernel has open: files and directory streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

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

/// An open directory: what it showed when the stream was last at its start. An offset is an index in
/// that, so it stays good however the directory changes.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) inode: Arc<Inode>,
    list: Mutex<Option<Arc<Vec<Listed>>>>,
}

impl Stream {
    pub(super) fn new(inode: Arc<Inode>) -> Self {
        Stream {
            inode,
            list: Mutex::new(None),
        }
    }

    /// The listing, taken anew by `list` if the stream is at its start or was never read.
    pub(super) fn listing<E>(
        &self,
        at_start: bool,
        list: impl FnOnce() -> Result<Vec<Listed>, E>,
    ) -> Result<Arc<Vec<Listed>>, E> {
        let mut known = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(listing) if !at_start => Ok(listing.clone()),
            _ => {
                let listing = Arc::new(list()?);
                *known = Some(listing.clone());
                Ok(listing)
            }
        }
    }
}
