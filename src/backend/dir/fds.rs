//! The pool of directory descriptors that all layers of the process share.
//!
//! A directory node keeps its descriptor in its own [`FdSlot`]; the pool only knows which slots are
//! filled and empties the least used ones (second chance), so that their number stays bounded
//! whatever the number of layers and nodes. Finding a cached descriptor touches the node alone; the
//! pool's lock is taken only when one is added.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rustix::io::Errno;

use super::tree::DirNode;

/// Descriptors kept at most. Enough for a walk (which touches the ancestors of one path) in several
/// threads, and small beside the usual limit of 1024.
const POOL_FDS_MAX: u64 = 256;

/// Descriptors kept at least, under however small a limit: without any, each operation on a
/// directory would walk from the root.
const POOL_FDS_MIN: u64 = 8;

/// The place in a node where its pooled descriptor lies.
#[derive(Debug, Default)]
pub(super) struct FdSlot {
    fd: Mutex<Option<Arc<OwnedFd>>>,
    used: AtomicBool,
}

impl FdSlot {
    /// The descriptor, if it is still cached.
    pub(super) fn get(&self) -> Option<Arc<OwnedFd>> {
        let fd = self.fd.lock().unwrap_or_else(PoisonError::into_inner);
        if fd.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        fd.clone()
    }

    fn fill(&self, fd: Arc<OwnedFd>) -> bool {
        let mut slot = self.fd.lock().unwrap_or_else(PoisonError::into_inner);
        self.used.store(true, Ordering::Relaxed);
        slot.replace(fd).is_none()
    }

    /// Empties the slot unless it was used since the last call.
    fn expire(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.empty();
        true
    }

    pub(super) fn empty(&self) {
        let fd = self
            .fd
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(fd);
    }
}

struct Pool {
    ring: Mutex<Ring>,
    capacity: usize,
}

#[derive(Default)]
struct Ring {
    slots: Vec<Weak<DirNode>>,
    hand: usize,
}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(u64::MAX);
        let capacity = (limit / 4).clamp(POOL_FDS_MIN, POOL_FDS_MAX);
        Pool {
            ring: Mutex::new(Ring::default()),
            capacity: capacity as usize,
        }
    })
}

/// Caches `fd` as the descriptor of `node`, in exchange for another one if the pool is full.
pub(super) fn keep(node: &Arc<DirNode>, fd: &Arc<OwnedFd>) {
    if !node.slot().fill(fd.clone()) {
        return; // The pool knows this node already.
    }
    let pool = pool();
    // Nodes upgraded below are dropped behind the lock: dropping the last handle of one is free of
    // locks, but may close descriptors.
    let mut seen = Vec::new();
    let mut ring = pool.ring.lock().unwrap_or_else(PoisonError::into_inner);
    if ring.slots.len() < pool.capacity {
        ring.slots.push(Arc::downgrade(node));
        return;
    }
    loop {
        let hand = ring.hand % ring.slots.len().max(1);
        ring.hand = hand + 1;
        let Some(slot) = ring.slots.get_mut(hand) else {
            return;
        };
        let free = match slot.upgrade() {
            None => true,
            Some(other) => {
                let free = other.slot().expire();
                seen.push(other);
                free
            }
        };
        if free {
            *slot = Arc::downgrade(node);
            break;
        }
    }
    drop(ring);
}

/// Gives every cached descriptor back.
fn clear() {
    let slots = {
        let mut ring = pool().ring.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut ring.slots)
    };
    for node in slots.iter().filter_map(Weak::upgrade) {
        node.slot().empty();
    }
}

/// Runs an opening system call; if the process is out of descriptors, gives back the cached ones
/// and tries once more. A call that a signal interrupted is repeated.
pub(super) fn opening<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut cleared = false;
    loop {
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::MFILE) if !cleared => {
                clear();
                cleared = true;
            }
            other => return other,
        }
    }
}
