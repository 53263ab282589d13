//! The table of nodes: which number the kernel knows an object by.
//!
//! The library that speaks the protocol has one number for both, a node's identity and the inode
//! number that entries show. So a node is known by the inode number that the union shows for it, as
//! long as no other node in use has that number; else by a number of the table's own (from
//! [`OWN_NUMBERS`]), and then its attributes are not cached from entries but asked for, so that
//! `stat` shows the right number all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fuse::io::Io;
use crate::fuse::listing::Listing;
use crate::overlay::inode::Inode;

/// The root's number in the protocol, whatever its inode number is.
pub(super) const ROOT: u64 = 1;

/// From here on numbers are the table's own: no filesystem has that many inodes.
const OWN_NUMBERS: u64 = 1 << 63;

struct Node {
    /// `None`: the number is only held, see [`Nodes::hold`].
    inode: Option<Arc<Inode>>,
    io: Arc<Io>,
    /// Of a directory.
    listing: Arc<Listing>,
    /// How often the kernel was told of it and has not forgotten it.
    lookups: u64,
}

struct Tables {
    nodes: HashMap<u64, Node>,
    /// Numbers by the engine's id of the object.
    numbers: HashMap<u64, u64>,
    next_own: u64,
}

/// The nodes that the kernel knows.
pub(super) struct Nodes {
    root: Arc<Inode>,
    root_listing: Arc<Listing>,
    tables: Mutex<Tables>,
}

impl Nodes {
    pub(super) fn new(root: Arc<Inode>) -> Self {
        Nodes {
            root,
            root_listing: Arc::default(),
            tables: Mutex::new(Tables {
                nodes: HashMap::new(),
                numbers: HashMap::new(),
                next_own: OWN_NUMBERS,
            }),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object behind a number that the kernel was told.
    pub(super) fn get(&self, number: u64) -> Option<Arc<Inode>> {
        if number == ROOT {
            return Some(self.root.clone());
        }
        self.tables().nodes.get(&number)?.inode.clone()
    }

    /// How the open handles of a node are served.
    pub(super) fn io(&self, number: u64) -> Arc<Io> {
        match self.tables().nodes.get(&number) {
            Some(node) => node.io.clone(),
            None => Arc::default(),
        }
    }

    /// What the streams of a directory list.
    pub(super) fn listing(&self, number: u64) -> Arc<Listing> {
        if number == ROOT {
            return self.root_listing.clone();
        }
        match self.tables().nodes.get(&number) {
            Some(node) => node.listing.clone(),
            None => Arc::default(),
        }
    }

    /// The number of an object that the kernel knows, by the engine's id of it.
    pub(super) fn number(&self, id: u64) -> Option<u64> {
        if id == self.root.id {
            return Some(ROOT);
        }
        self.tables().numbers.get(&id).copied()
    }

    /// Counts one more time that the kernel is told of `inode`, whose inode number is `shown`.
    /// Answers the number to tell.
    pub(super) fn adopt(&self, inode: &Arc<Inode>, shown: u64) -> u64 {
        if inode.id == self.root.id {
            return ROOT;
        }
        let mut guard = self.tables();
        let tables = &mut *guard;
        if let Some(number) = tables.numbers.get(&inode.id)
            && let Some(node) = tables.nodes.get_mut(number)
        {
            node.lookups = node.lookups.saturating_add(1);
            return *number;
        }
        let free = shown > ROOT && shown < OWN_NUMBERS && !tables.nodes.contains_key(&shown);
        let number = if free {
            shown
        } else {
            tables.next_own += 1;
            tables.next_own
        };
        let node = Node {
            inode: Some(inode.clone()),
            io: Arc::default(),
            listing: Arc::default(),
            lookups: 1,
        };
        tables.nodes.insert(number, node);
        tables.numbers.insert(inode.id, number);
        number
    }

    /// Keeps a number from being given to a node until the kernel forgets it once: it is about to be
    /// told of it as that of an entry without attributes, and will forget it.
    pub(super) fn hold(&self, number: u64) {
        if number == ROOT {
            return;
        }
        let mut tables = self.tables();
        let node = tables.nodes.entry(number).or_insert(Node {
            inode: None,
            io: Arc::default(),
            listing: Arc::default(),
            lookups: 0,
        });
        node.lookups = node.lookups.saturating_add(1);
    }

    /// The kernel has forgotten a node `count` times.
    pub(super) fn forget(&self, number: u64, count: u64) {
        let mut tables = self.tables();
        let Some(node) = tables.nodes.get_mut(&number) else {
            return;
        };
        node.lookups = node.lookups.saturating_sub(count);
        if node.lookups > 0 {
            return;
        }
        let gone = tables.nodes.remove(&number).and_then(|node| node.inode);
        if let Some(inode) = &gone {
            tables.numbers.remove(&inode.id);
        }
        drop(tables);
        // Outside the lock: the last handle of a deep directory lets go of many others.
        drop(gone);
    }

    /// How many nodes are in use.
    pub(super) fn len(&self) -> usize {
        self.tables().nodes.len()
    }
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes").field("len", &self.len()).finish()
    }
}
