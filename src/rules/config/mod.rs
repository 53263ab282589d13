//! Mount options that shape the tree or the upper layer, and how they settle (rules R024 to R033).

pub(crate) mod conflict;
pub(crate) mod facts;
pub(crate) mod settle;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::rules::Features;

/// An option with a fixed set of values, each with the name that mount options give it.
macro_rules! values {
    ($type:ident: $($name:literal => $variant:ident),+ $(; written $as:literal: $own:ident)?) => {
        impl $type {
            /// Every value that a mount option has a name for.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The value that a mount option names so.
            #[must_use]
            pub fn from_name(name: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name().as_bytes() == name)
            }

            /// Its name in a mount option; of a value that is the crate's own, the nearest.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                    $($type::$own => $as,)?
                }
            }
        }
    };
}

/// `redirect_dir`: renames of lower and merged directories.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum RedirectDir {
    /// Redirects are created and followed.
    On,
    /// Redirects are followed, not created: such a rename is `EXDEV`.
    Follow,
    /// Redirects are neither created nor followed: an object that has one is `EPERM`.
    NoFollow,
    /// As [`RedirectDir::Follow`], unless [`KernelDefaults::redirect_always_follow`] is off
    /// (rule R026).
    Off,
}

values!(RedirectDir: "on" => On, "follow" => Follow, "nofollow" => NoFollow, "off" => Off);

/// `xino`: inode numbers where the layers are on several filesystems.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Xino {
    /// The filesystem's number goes into the high bits of inode numbers; said to be wanted.
    On,
    /// Each filesystem's numbers are shown under a device number of its own.
    Off,
    /// As on, where it can be done so that numbers last.
    Auto,
}

values!(Xino: "on" => On, "off" => Off, "auto" => Auto);

/// `uuid`: the identity of the union.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum UuidMode {
    /// A random one, stored on the upper's root.
    On,
    /// The upper filesystem's; origins are stored without, so that the layers can be copied to another
    /// filesystem.
    Off,
    /// The upper filesystem's.
    Null,
    /// As stored; a new upper gets one.
    Auto,
}

values!(UuidMode: "on" => On, "off" => Off, "null" => Null, "auto" => Auto);

/// `fsync`: what is made durable when.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fsync {
    /// Copied-up data before they are published (rule R240).
    Auto,
    /// Also the attributes of files and directories that are copied up.
    Strict,
    /// Nothing, not even when asked to (rule R248). A mark in the work directory says so: the upper is
    /// refused from then on, until somebody who knows that it is complete, or does not care, removes
    /// `work/work/incompat` (rules R044, R045).
    Volatile,
    /// Nothing, and no mark says so: for uppers in memory, and such as are thrown away after a crash
    /// of the machine. The kernel has no such option; as a mount option it is `volatile`.
    Off,
}

values!(Fsync: "auto" => Auto, "strict" => Strict, "volatile" => Volatile; written "volatile": Off);

impl Fsync {
    /// Anything is made durable.
    pub(crate) fn syncs(self) -> bool {
        matches!(self, Fsync::Auto | Fsync::Strict)
    }
}

/// `verity`: digests of metadata-only copies.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verity {
    /// Ignored.
    Off,
    /// Checked where present: as no layer can tell the digest of its data, such files are `EIO`.
    On,
    /// Demanded, and no copy is made without: files that have only attributes are `EIO`.
    Require,
}

values!(Verity: "off" => Off, "on" => On, "require" => Require);

/// What is in force without being asked for: the parameters of the kernel's module `overlay`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one switch per module parameter, under its name"
)]
pub struct KernelDefaults {
    /// `redirect_dir` is on.
    pub redirect_dir: bool,
    /// `redirect_dir=off` still follows (rule R026).
    pub redirect_always_follow: bool,
    /// `index` is on.
    pub index: bool,
    /// `nfs_export` is on.
    pub nfs_export: bool,
    /// `metacopy` is on.
    pub metacopy: bool,
    /// `xino` is auto instead of off.
    pub xino_auto: bool,
}

impl KernelDefaults {
    /// Those of a kernel that is configured as upstream proposes: all off, except that redirects are
    /// followed. The crate's own defaults.
    pub const UPSTREAM: KernelDefaults = KernelDefaults {
        redirect_dir: false,
        redirect_always_follow: true,
        index: false,
        nfs_export: false,
        metacopy: false,
        xino_auto: false,
    };
}

impl Default for KernelDefaults {
    fn default() -> Self {
        KernelDefaults::UPSTREAM
    }
}

/// What was asked for explicitly.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requested {
    pub(crate) redirect_dir: Option<RedirectDir>,
    pub(crate) metacopy: Option<bool>,
    pub(crate) index: Option<bool>,
    pub(crate) nfs_export: Option<bool>,
    pub(crate) xino: Option<Xino>,
    pub(crate) uuid: Option<UuidMode>,
    pub(crate) fsync: Option<Fsync>,
    pub(crate) verity: Option<Verity>,
}

/// The options that are in force in a union, after those that imply or exclude each other have
/// settled ([`LayerStack::settings`](crate::LayerStack::settings)).
///
/// [`Display`](fmt::Display) shows those that are not the kernel's default, as mountinfo does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Never [`RedirectDir::Off`], which stands for one of the others. Without an upper following is
    /// shown as on (rule R026).
    pub redirect_dir: RedirectDir,
    /// A change of attributes copies only attributes up.
    pub metacopy: bool,
    /// Copied-up hard links stay one file.
    pub index: bool,
    /// The index holds what exporting needs.
    pub nfs_export: bool,
    /// How inode numbers of several filesystems are made unique.
    pub xino: Xino,
    /// Where the identity of the union comes from. [`UuidMode::Auto`]: from the upper's root, where
    /// an earlier union left it.
    pub uuid: UuidMode,
    /// What is made durable when.
    pub fsync: Fsync,
    /// Digests of metadata-only copies.
    pub verity: Verity,
    /// Overlay attributes are `user.` ones.
    pub userxattr: bool,
}

impl Settings {
    /// What decisions depend on.
    pub(crate) fn features(&self) -> Features {
        Features {
            redirect_follow: self.redirect_dir != RedirectDir::NoFollow,
            redirect_create: self.redirect_dir == RedirectDir::On,
            metacopy: self.metacopy,
            index: self.index,
            nfs_export: self.nfs_export,
            xino: self.xino,
            uuid: self.uuid,
            fsync: self.fsync,
            verity: self.verity,
        }
    }

    /// As options of a mount, those left out that are the upstream kernel's default.
    #[must_use]
    pub fn to_pairs(&self) -> Vec<(&'static str, Option<&'static str>)> {
        let on = |on: bool| Some(if on { "on" } else { "off" });
        let all = [
            (
                self.redirect_dir != RedirectDir::Follow,
                "redirect_dir",
                Some(self.redirect_dir.name()),
            ),
            (self.index, "index", on(self.index)),
            (self.uuid != UuidMode::Auto, "uuid", Some(self.uuid.name())),
            (self.nfs_export, "nfs_export", on(self.nfs_export)),
            (self.xino != Xino::Off, "xino", Some(self.xino.name())),
            (self.metacopy, "metacopy", on(self.metacopy)),
            (self.fsync != Fsync::Auto, "fsync", Some(self.fsync.name())),
            (self.userxattr, "userxattr", None),
            (
                self.verity != Verity::Off,
                "verity",
                Some(self.verity.name()),
            ),
        ];
        let shown = all.into_iter().filter(|(shown, _, _)| *shown);
        shown.map(|(_, key, value)| (key, value)).collect()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.to_pairs().into_iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match value {
                Some(value) => write!(f, "{comma}{key}={value}")?,
                None => write!(f, "{comma}{key}")?,
            }
        }
        Ok(())
    }
}
