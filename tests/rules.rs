//! The rules of docs/semantics.md, one test each, named by the rule's id.
//!
//! Each test runs on layers in memory wherever it is started, and where overlays can be mounted on
//! the running kernel, on real directories, and in comparison. `REQUIRE_KERNEL=1` turns a kernel
//! that is missing into failure, `RULES_FS=tmpfs` (xfs, btrfs) puts the layers of cases on another
//! filesystem than ext4.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod support;

#[path = "rules/atomic.rs"]
mod atomic;
#[path = "rules/callers.rs"]
mod callers;
#[path = "rules/copy_up.rs"]
mod copy_up;
#[path = "rules/create.rs"]
mod create;
#[path = "rules/datalayers.rs"]
mod datalayers;
#[path = "rules/digests.rs"]
mod digests;
#[path = "rules/durability.rs"]
mod durability;
#[path = "rules/flags.rs"]
mod flags;
#[path = "rules/given.rs"]
mod given;
#[path = "rules/grammar.rs"]
mod grammar;
#[path = "rules/handles.rs"]
mod handles;
#[path = "rules/identity.rs"]
mod identity;
#[path = "rules/index.rs"]
mod index;
#[path = "rules/index_open.rs"]
mod index_open;
#[path = "rules/inodes.rs"]
mod inodes;
#[path = "rules/live.rs"]
mod live;
#[path = "rules/lookup.rs"]
mod lookup;
#[path = "rules/metacopy.rs"]
mod metacopy;
#[path = "rules/mounts.rs"]
mod mounts;
#[path = "rules/moved.rs"]
mod moved;
#[path = "rules/opaque.rs"]
mod opaque;
#[path = "rules/ops.rs"]
mod ops;
#[path = "rules/options_random.rs"]
mod options_random;
#[path = "rules/permission.rs"]
mod permission;
#[path = "rules/place.rs"]
mod place;
#[path = "rules/privilege.rs"]
mod privilege;
#[path = "rules/readdir.rs"]
mod readdir;
#[path = "rules/redirects.rs"]
mod redirects;
#[path = "rules/remove.rs"]
mod remove;
#[path = "rules/rename.rs"]
mod rename;
#[path = "rules/rig.rs"]
mod rig;
#[path = "rules/seen.rs"]
mod seen;
#[path = "rules/settling.rs"]
mod settling;
#[path = "rules/state.rs"]
mod state;
#[path = "rules/table.rs"]
mod table;
#[path = "rules/triggers.rs"]
mod triggers;
#[path = "rules/unstorable.rs"]
mod unstorable;
#[path = "rules/whiteouts.rs"]
mod whiteouts;
#[path = "rules/workdir.rs"]
mod workdir;
#[path = "rules/xattrs.rs"]
mod xattrs;
#[path = "rules/xino.rs"]
mod xino;
