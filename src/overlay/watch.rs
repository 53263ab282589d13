//! Telling others what was copied up: attributes of an object change by it although nobody asked for
//! that (change time, blocks, sometimes link count and inode number), and what directories list, which
//! matters to whoever keeps either.

#[cfg(feature = "fuse")]
use std::sync::Arc;
use std::sync::{Mutex, PoisonError, RwLock, Weak};

/// An object that was copied up, or a directory that was marked impure for what was copied up into it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "fuse"), allow(dead_code, reason = "mounts are told"))]
pub(crate) struct Copied {
    /// The object's id.
    pub(crate) id: u64,
    /// Its directory lists another number for it since.
    pub(crate) relists: bool,
}

/// Objects that were copied up since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct CopiedUp(Mutex<Vec<Copied>>);

impl CopiedUp {
    /// Takes what has come.
    #[cfg(feature = "fuse")]
    pub(crate) fn take(&self) -> Vec<Copied> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who wants to be told. Cheap where nobody does.
#[derive(Debug, Default)]
pub(crate) struct Watchers(RwLock<Vec<Weak<CopiedUp>>>);

impl Watchers {
    /// A new list that is kept as long as somebody has it.
    #[cfg(feature = "fuse")]
    pub(crate) fn watch(&self) -> Arc<CopiedUp> {
        let list = Arc::new(CopiedUp::default());
        let mut watchers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(&list));
        list
    }

    /// Notes in every list that an object was copied up.
    pub(crate) fn copied_up(&self, copied: Copied) {
        let watchers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for list in watchers.iter().filter_map(Weak::upgrade) {
            list.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(copied);
        }
    }
}
