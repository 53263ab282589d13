//! Ring 3, the engine: walks, caches, locks, asks the rules, executes their plans.

pub(crate) mod apply;
pub(crate) mod build;
pub(crate) mod caller;
pub(crate) mod changes;
pub(crate) mod composite;
pub(crate) mod copier;
pub(crate) mod copy_layer;
pub(crate) mod core;
pub(crate) mod dir;
pub(crate) mod execute;
pub(crate) mod explain;
pub(crate) mod file;
pub(crate) mod inode;
pub(crate) mod lookup;
pub(crate) mod meter;
pub(crate) mod mutate;
pub(crate) mod nested;
#[cfg(feature = "fuse")]
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod open;
pub(crate) mod opening;
pub(crate) mod ops;
pub(crate) mod options;
pub(crate) mod paths;
pub(crate) mod peek;
pub(crate) mod planning;
pub(crate) mod read;
pub(crate) mod reading;
pub(crate) mod renaming;
pub(crate) mod stack;
pub(crate) mod stats;
mod undo;
pub(crate) mod union;
pub(crate) mod walk;
pub(crate) mod watch;
