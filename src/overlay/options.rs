//! How a union behaves.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::rules::Features;
use crate::xattr_name::XattrNamespace;

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
    pub(crate) durable: bool,
    pub(crate) copy_observer: Option<Arc<dyn CopyObserver>>,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        OverlayOptions {
            umask: 0o022,
            durable: true,
            copy_observer: None,
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

    /// Whether the data of a copied-up file are made durable before the file is published, and `sync`
    /// reaches the disk (default `true`, as on a mount without `volatile`). Switch it off where the
    /// upper is thrown away after a crash of the machine.
    #[must_use]
    pub fn durable(mut self, on: bool) -> Self {
        self.durable = on;
        self
    }

    /// Reports the progress of copy-ups to `observer`, which may cancel them.
    #[must_use]
    pub fn copy_observer(mut self, observer: Arc<dyn CopyObserver>) -> Self {
        self.copy_observer = Some(observer);
        self
    }

    /// The features of a union whose attributes are in `namespace`: without `trusted.` attributes
    /// nobody vouches for redirects, so they are not followed (rule R029).
    pub(crate) fn features(&self, namespace: XattrNamespace) -> Features {
        Features {
            redirect_follow: namespace == XattrNamespace::Trusted,
            ..Features::DEFAULT
        }
    }
}

impl fmt::Debug for OverlayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayOptions")
            .field("umask", &format_args!("{:04o}", self.umask))
            .field("durable", &self.durable)
            .field("copy_observer", &self.copy_observer.is_some())
            .finish()
    }
}
