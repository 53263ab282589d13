//! Mount options as the kernel's overlayfs takes them: parsed, rendered, checked, opened.

mod error;
mod open;
mod parse;
mod profile;
mod render;
mod shorten;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use error::MountOptionError;
pub use profile::Profile;
pub use shorten::Shortened;

use crate::overlay::options::OverlayOptions;
use crate::rules::config::{Fsync, KernelDefaults, RedirectDir, Requested, UuidMode, Verity, Xino};
use crate::xattr_name::XattrNamespace;

/// Most bytes of options that mount(2) takes, in bytes: a page less its final NUL. What is beyond is
/// cut off without a word (rule R023).
pub const MOUNT_OPTIONS_BYTES_MAX: usize = 4095;

/// Most bytes of one option's name, and of its value, that `fsconfig(2)` takes; longer ones are
/// `EINVAL` (rule R020).
pub const FSCONFIG_BYTES_MAX: usize = 255;

/// Layers by their paths, and options: what `mount -t overlay` is told.
///
/// Paths and options may be any bytes but NUL. Nothing is looked up before
/// [`MountOptions::open`].
///
/// ```
/// use layerstack::MountOptions;
///
/// let options = MountOptions::parse(r"lowerdir=/a\:b:/base,upperdir=/u,workdir=/w,index=on")?;
/// assert_eq!(options.lowers()[0].to_str(), Some("/a:b"));
/// assert!(options.fits_one_page());
/// // Written again, with what has to be escaped.
/// let text = options.to_legacy()?;
/// assert_eq!(text, r"lowerdir=/a\:b:/base,upperdir=/u,workdir=/w,index=on");
/// // Refused with the reason that the kernel would only log.
/// let refused = MountOptions::parse("lowerdir=/a,metacopy=yes").unwrap_err();
/// assert_eq!(refused.to_string(), "option `metacopy` cannot be `yes`, only on, off");
/// # Ok::<(), layerstack::MountOptionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    lowers: Vec<PathBuf>,
    data_lowers: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    asked: Requested,
    defaults: KernelDefaults,
    userxattr: bool,
    default_permissions: bool,
    override_creds: Option<bool>,
    flags: Flags,
}

/// What the VFS takes out of the options of any filesystem.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one switch per flag, under its name"
)]
struct Flags {
    ro: bool,
    sync: bool,
    dirsync: bool,
    lazytime: bool,
    mand: bool,
}

impl MountOptions {
    /// No layers, and the kernel's defaults.
    #[must_use]
    pub fn new() -> Self {
        MountOptions::default()
    }

    /// Adds a lower layer below those so far.
    #[must_use]
    pub fn lower(mut self, path: impl Into<PathBuf>) -> Self {
        self.lowers.push(path.into());
        self
    }

    /// Adds a data-only layer below all others (rule R022).
    #[must_use]
    pub fn data_lower(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_lowers.push(path.into());
        self
    }

    /// Sets the upper layer and its work directory.
    #[must_use]
    pub fn upper(mut self, upper: impl Into<PathBuf>, work: impl Into<PathBuf>) -> Self {
        self.upper = Some(upper.into());
        self.work = Some(work.into());
        self
    }

    /// `redirect_dir=`.
    #[must_use]
    pub fn redirect_dir(mut self, value: RedirectDir) -> Self {
        self.asked.redirect_dir = Some(value);
        self
    }

    /// `metacopy=`.
    #[must_use]
    pub fn metacopy(mut self, value: bool) -> Self {
        self.asked.metacopy = Some(value);
        self
    }

    /// `index=`.
    #[must_use]
    pub fn index(mut self, value: bool) -> Self {
        self.asked.index = Some(value);
        self
    }

    /// `nfs_export=`.
    #[must_use]
    pub fn nfs_export(mut self, value: bool) -> Self {
        self.asked.nfs_export = Some(value);
        self
    }

    /// `xino=`.
    #[must_use]
    pub fn xino(mut self, value: Xino) -> Self {
        self.asked.xino = Some(value);
        self
    }

    /// `uuid=`.
    #[must_use]
    pub fn uuid(mut self, value: UuidMode) -> Self {
        self.asked.uuid = Some(value);
        self
    }

    /// `fsync=`.
    #[must_use]
    pub fn fsync(mut self, value: Fsync) -> Self {
        self.asked.fsync = Some(value);
        self
    }

    /// `verity=`.
    #[must_use]
    pub fn verity(mut self, value: Verity) -> Self {
        self.asked.verity = Some(value);
        self
    }

    /// `userxattr`: overlay attributes in the namespace `user.` (rule R029).
    #[must_use]
    pub fn userxattr(mut self, on: bool) -> Self {
        self.userxattr = on;
        self
    }

    /// `ro`: nothing can be changed, though there may be an upper.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.flags.ro = on;
        self
    }

    /// What is in force without being asked for (default [`KernelDefaults::UPSTREAM`]).
    #[must_use]
    pub fn defaults(mut self, value: KernelDefaults) -> Self {
        self.defaults = value;
        self
    }

    /// The merged lower layers, topmost first.
    #[must_use]
    pub fn lowers(&self) -> &[PathBuf] {
        &self.lowers
    }

    /// The data-only layers, topmost first.
    #[must_use]
    pub fn data_lowers(&self) -> &[PathBuf] {
        &self.data_lowers
    }

    /// The upper layer.
    #[must_use]
    pub fn upper_path(&self) -> Option<&Path> {
        self.upper.as_deref()
    }

    /// The work directory.
    #[must_use]
    pub fn work_path(&self) -> Option<&Path> {
        self.work.as_deref()
    }

    /// Whether `ro` is in force.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags.ro
    }

    /// Where overlay attributes are kept.
    #[must_use]
    pub fn namespace(&self) -> XattrNamespace {
        match self.userxattr {
            true => XattrNamespace::User,
            false => XattrNamespace::Trusted,
        }
    }

    /// The options that shape a union, for [`Overlay::with_options`](crate::Overlay::with_options).
    #[must_use]
    pub fn overlay_options(&self) -> OverlayOptions {
        self.on_top_of(OverlayOptions::default())
    }

    /// `base`, with all that mount options tell.
    fn on_top_of(&self, mut base: OverlayOptions) -> OverlayOptions {
        base.requested = self.asked;
        base.defaults = self.defaults;
        base.read_only = self.flags.ro;
        base
    }
}
