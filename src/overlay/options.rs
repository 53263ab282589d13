//! How a union behaves.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::rules::config::{Fsync, KernelDefaults, RedirectDir, Requested, UuidMode, Verity, Xino};

/// How far a copy-up has come.
#[derive(Debug)]
#[non_exhaustive]
pub struct CopyProgress<'a> {
    /// The file, by its path in the union.
    pub path: &'a Path,
    /// Bytes of its data copied so far.
    pub bytes_done: u64,
    /// Size of the file (holes included; they are skipped).
    pub size: u64,
}

/// Is told about the data that copy-ups copy; may stop them.
///
/// Called before the first byte and after each chunk, with no lock of the union held: the observer
/// may use the union. [`ControlFlow::Break`] cancels: the operation fails with `ECANCELED` and
/// leaves nothing visible.
pub trait CopyObserver: Send + Sync {
    /// Reports progress; tells whether to go on.
    fn progress(&self, progress: &CopyProgress<'_>) -> ControlFlow<()>;
}

/// How a union behaves: the choices of a mount, and those of a library.
///
/// The defaults are those of the running kernel: redirects are followed but not created, no index,
/// no metacopy; data are made durable before a copied-up file is published.
#[derive(Clone)]
#[non_exhaustive]
pub struct OverlayOptions {
    pub(crate) umask: u32,
    pub(crate) copy_observer: Option<Arc<dyn CopyObserver>>,
    /// What was asked for explicitly; what was not follows from the kernel's defaults.
    pub(crate) requested: Requested,
    pub(crate) defaults: KernelDefaults,
    pub(crate) read_only: bool,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        OverlayOptions {
            umask: 0o022,
            copy_observer: None,
            requested: Requested::default(),
            defaults: KernelDefaults::UPSTREAM,
            read_only: false,
        }
    }
}

impl OverlayOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        OverlayOptions::default()
    }

    /// Permission bits that new objects do not get, unless their directory has a default access list
    /// (default `0o022`; the process's own umask is never looked at).
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask & 0o777;
        self
    }

    /// Whether every change is `EROFS`, though there is an upper (default `false`; the option `ro`).
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Reports the progress of copy-ups to `observer`, which may cancel them.
    #[must_use]
    pub fn copy_observer(mut self, observer: Arc<dyn CopyObserver>) -> Self {
        self.copy_observer = Some(observer);
        self
    }

    /// Whether directories of lower layers can be renamed, and whether such renames are
    /// understood (default [`RedirectDir::Follow`]).
    #[must_use]
    pub fn redirect_dir(mut self, value: RedirectDir) -> Self {
        self.requested.redirect_dir = Some(value);
        self
    }

    /// Whether a change of attributes copies only attributes up, the data staying in the lower
    /// until they are written to (default `false`).
    #[must_use]
    pub fn metacopy(mut self, value: bool) -> Self {
        self.requested.metacopy = Some(value);
        self
    }

    /// Whether copied-up hard links stay one file, by an index in the work directory (default
    /// `false`).
    #[must_use]
    pub fn index(mut self, value: bool) -> Self {
        self.requested.index = Some(value);
        self
    }

    /// Whether the index also holds what exporting over NFS needs (default `false`).
    #[must_use]
    pub fn nfs_export(mut self, value: bool) -> Self {
        self.requested.nfs_export = Some(value);
        self
    }

    /// How inode numbers of several filesystems are made unique (default [`Xino::Off`]).
    #[must_use]
    pub fn xino(mut self, value: Xino) -> Self {
        self.requested.xino = Some(value);
        self
    }

    /// Where the identity of the union comes from (default [`UuidMode::Auto`]).
    #[must_use]
    pub fn uuid(mut self, value: UuidMode) -> Self {
        self.requested.uuid = Some(value);
        self
    }

    /// What is made durable when (default [`Fsync::Auto`]).
    #[must_use]
    pub fn fsync(mut self, value: Fsync) -> Self {
        self.requested.fsync = Some(value);
        self
    }

    /// What is in force without being asked for (default [`KernelDefaults::UPSTREAM`]).
    #[must_use]
    pub fn defaults(mut self, value: KernelDefaults) -> Self {
        self.defaults = value;
        self
    }

    /// Whether digests of metadata-only copies are asked for (default [`Verity::Off`]).
    #[must_use]
    pub fn verity(mut self, value: Verity) -> Self {
        self.requested.verity = Some(value);
        self
    }
}

impl fmt::Debug for OverlayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayOptions")
            .field("umask", &format_args!("{:04o}", self.umask))
            .field("copy_observer", &self.copy_observer.is_some())
            .field("read_only", &self.read_only)
            .field("requested", &self.requested)
            .finish()
    }
}
