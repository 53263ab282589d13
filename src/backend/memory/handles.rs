//! How many handles each inode has, so that an inode without names goes with its last handle.
//!
//! Lock order: the layer's lock, then one shard. A shard's lock is never held while the layer's
//! lock is taken.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Shared;

/// Shards of the table. Enough that lookups in parallel rarely meet; a power of two.
const SHARDS: usize = 16;

/// Hashes an inode number to itself, spread over the bits: numbers are given by this module, so
/// nobody can choose them to collide.
#[derive(Default)]
struct InoHasher(u64);

impl Hasher for InoHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[derive(Copy, Clone, Debug)]
struct Count {
    handles: usize,
    orphan: bool,
}

type Shard = HashMap<u64, Count, BuildHasherDefault<InoHasher>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Handles {
    shards: [Mutex<Shard>; SHARDS],
}

impl Handles {
    fn shard(&self, ino: u64) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get((ino % SHARDS as u64) as usize)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn acquire(&self, ino: u64, orphan: bool) {
        if let Some(mut shard) = self.shard(ino) {
            let count = shard.entry(ino).or_insert(Count { handles: 0, orphan });
            count.handles += 1;
        }
    }

    /// True if that was the last handle of an inode without names.
    fn release(&self, ino: u64) -> bool {
        let Some(mut shard) = self.shard(ino) else {
            return false;
        };
        let Some(count) = shard.get_mut(&ino) else {
            return false;
        };
        count.handles -= 1;
        if count.handles > 0 {
            return false;
        }
        let orphan = count.orphan;
        shard.remove(&ino);
        orphan
    }

    /// Notes that the inode has no names; false if it has no handles either.
    pub(super) fn orphan(&self, ino: u64) -> bool {
        self.mark(ino, true)
    }

    /// Notes that the inode has a name again.
    pub(super) fn adopt(&self, ino: u64) {
        self.mark(ino, false);
    }

    fn mark(&self, ino: u64, orphan: bool) -> bool {
        match self.shard(ino) {
            Some(mut shard) => match shard.get_mut(&ino) {
                Some(count) => {
                    count.orphan = orphan;
                    true
                }
                None => false,
            },
            None => false,
        }
    }

    fn is_held(&self, ino: u64) -> bool {
        self.shard(ino)
            .is_some_and(|shard| shard.contains_key(&ino))
    }
}

/// Keeps an inode from being freed.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) shared: Arc<Shared>,
    pub(super) ino: u64,
}

impl Pin {
    /// Pins an inode. The caller holds the layer's lock and has seen the inode with `nlink` names.
    pub(super) fn new(shared: &Arc<Shared>, ino: u64, nlink: u64) -> Pin {
        shared.handles.acquire(ino, nlink == 0);
        Pin {
            shared: Arc::clone(shared),
            ino,
        }
    }

    /// One more pin on the same inode.
    pub(super) fn again(&self) -> Pin {
        // The inode is pinned, so an entry exists and knows whether it is an orphan.
        Pin::new(&self.shared, self.ino, 1)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.shared.handles.release(self.ino) {
            let mut state = self.shared.write();
            if !self.shared.handles.is_held(self.ino) {
                state.free(self.ino);
            }
        }
    }
}
