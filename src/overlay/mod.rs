//! Ring 3, the engine: walks, caches, locks, asks the rules, executes their plans.

pub(crate) mod apply;
pub(crate) mod build;
pub(crate) mod composite;
pub(crate) mod core;
pub(crate) mod execute;
pub(crate) mod file;
pub(crate) mod inode;
pub(crate) mod lookup;
pub(crate) mod mutate;
pub(crate) mod open;
pub(crate) mod ops;
pub(crate) mod options;
pub(crate) mod paths;
pub(crate) mod read;
pub(crate) mod stack;
pub(crate) mod union;
