//! Ring 2, rules: pure functions from facts to decisions.
//!
//! Nothing here reads a layer, takes a lock, asks a clock or holds a backend's handle. Each rule
//! has one home; its id is that of `docs/semantics.md`, where source, test and quirks stand.

pub(crate) mod attr;
pub(crate) mod change;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod copy_up;
pub(crate) mod cost;
pub(crate) mod create;
pub(crate) mod explain;
pub(crate) mod index;
pub(crate) mod inode;
pub(crate) mod merge;
pub(crate) mod open;
pub(crate) mod origin;
pub(crate) mod permission;
pub(crate) mod plan;
pub(crate) mod redirect;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod resolve;
pub(crate) mod verity;
pub(crate) mod warning;
pub(crate) mod whiteout;
pub(crate) mod xattr;

/// Most lower layers in one stack, data-only ones included (the kernel's `OVL_MAX_STACK`, rule R002).
/// A stack with more could not be mounted.
pub const LOWER_LAYERS_MAX: usize = 500;

/// Most layers that Docker's overlay2 driver stacks. Nothing here enforces it; tools warn.
pub const DOCKER_LAYERS_MAX: usize = 128;

/// The features of a mount that change decisions, once options that imply or exclude each other are
/// settled. The default is the running kernel's default.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches, each named after its mount option"
)]
pub(crate) struct Features {
    /// Redirects are followed (`redirect_dir` = on or follow).
    pub(crate) redirect_follow: bool,
    /// Redirects are created (`redirect_dir=on`).
    pub(crate) redirect_create: bool,
    /// Metadata-only copy-up is used and understood.
    pub(crate) metacopy: bool,
    /// Copied-up hard links are found by the index.
    pub(crate) index: bool,
    /// Everything copied up is in the index, and origins of directories are verified.
    pub(crate) nfs_export: bool,
    /// How inode numbers of several filesystems are made unique.
    pub(crate) xino: config::Xino,
    /// Where the identity of the union comes from.
    pub(crate) uuid: config::UuidMode,
    /// What is made durable when.
    pub(crate) fsync: config::Fsync,
    /// Which digests of metacopy files are asked for.
    pub(crate) verity: config::Verity,
}

impl Features {
    /// The kernel's defaults: redirects followed but not created, all else off (rule R026).
    #[cfg(test)]
    pub(crate) const DEFAULT: Features = Features {
        redirect_follow: true,
        redirect_create: false,
        metacopy: false,
        index: false,
        nfs_export: false,
        xino: config::Xino::Off,
        uuid: config::UuidMode::Auto,
        fsync: config::Fsync::Auto,
        verity: config::Verity::Off,
    };

    /// True if none of the features is on that forbid offline changes to lowers; then `mkdir` does
    /// not write opaque needlessly (rule R088).
    pub(crate) fn allow_offline_changes(self) -> bool {
        !self.redirect_create && !self.metacopy && !self.index && self.xino != config::Xino::On
    }
}
