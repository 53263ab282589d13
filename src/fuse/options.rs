//! How a union is mounted.

use std::time::Duration;

/// How a union is mounted and served.
///
/// The defaults suit a mount whose union is changed through nothing but the mount: the kernel
/// checks permissions and keeps names and attributes cached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FuseOptions {
    pub(super) source: String,
    pub(super) threads: usize,
    pub(super) cache: Duration,
    pub(super) allow_other: Option<bool>,
    pub(super) default_permissions: bool,
    pub(super) dev: bool,
    pub(super) suid: bool,
    pub(super) exec: bool,
    pub(super) read_only: bool,
    pub(super) passthrough: bool,
}

impl Default for FuseOptions {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        FuseOptions {
            source: "layerstack".to_owned(),
            threads: cpus.clamp(4, 16),
            cache: Duration::from_secs(24 * 60 * 60),
            allow_other: None,
            default_permissions: true,
            dev: true,
            suid: true,
            exec: true,
            read_only: false,
            passthrough: true,
        }
    }
}

impl FuseOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        FuseOptions::default()
    }

    /// What the table of mounts shows as the device (default `layerstack`).
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// How many threads serve requests, at least 1 (default: the processors, at least 4 and at most
    /// 16). A copy-up of a large file occupies one of them until it is done.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How long the kernel may answer from what it knows of names and attributes (default one day).
    /// Whoever changes the union in any other way than through the mount needs a short time here, as
    /// the mount shows such a change only after it.
    #[must_use]
    pub fn cache(mut self, time: Duration) -> Self {
        self.cache = time;
        self
    }

    /// Whether other users than the one who mounts may use the mount (default: if this process is
    /// privileged). An ordinary user needs `user_allow_other` in `/etc/fuse.conf` for it.
    #[must_use]
    pub fn allow_other(mut self, on: bool) -> Self {
        self.allow_other = Some(on);
        self
    }

    /// Whether the kernel checks permissions by owner, mode and access lists (default `true`).
    /// Without, whoever may use the mount may do all that this process may.
    #[must_use]
    pub fn default_permissions(mut self, on: bool) -> Self {
        self.default_permissions = on;
        self
    }

    /// Whether device nodes work in the mount (default `true`; never for an ordinary user's mount).
    #[must_use]
    pub fn dev(mut self, on: bool) -> Self {
        self.dev = on;
        self
    }

    /// Whether set-id bits and file capabilities work in the mount (default `true`; never for an
    /// ordinary user's mount).
    #[must_use]
    pub fn suid(mut self, on: bool) -> Self {
        self.suid = on;
        self
    }

    /// Whether programs in the mount can be run (default `true`).
    #[must_use]
    pub fn exec(mut self, on: bool) -> Self {
        self.exec = on;
        self
    }

    /// Whether the mount itself is read-only, so that every change is `EROFS` whatever the union can
    /// do (default `false`).
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Whether data of files in the upper are read and written by the kernel without asking this
    /// process (default `true`). Where kernel or privilege do not permit that, the process serves
    /// them itself.
    #[must_use]
    pub fn passthrough(mut self, on: bool) -> Self {
        self.passthrough = on;
        self
    }
}
