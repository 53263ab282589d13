//! On whose behalf an operation runs.

use std::fmt;
use std::ops::BitOr;

/// Capabilities of the kernel (`capabilities(7)`), as far as operations on files ask for them.
///
/// The bits are the kernel's, so that a `CapEff` of `/proc/PID/status` can be taken as it is; bits
/// without a constant here are kept and mean nothing.
///
/// ```
/// use layerstack::CapabilitySet;
/// let set = CapabilitySet::CHOWN | CapabilitySet::FOWNER;
/// assert!(set.contains(CapabilitySet::CHOWN) && !set.contains(CapabilitySet::MKNOD));
/// assert_eq!(set.to_string(), "chown,fowner");
/// ```
#[derive(Copy, Clone, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);
    /// All of them.
    pub const ALL: CapabilitySet = CapabilitySet(u64::MAX);
    /// `CAP_CHOWN`: give files to others.
    pub const CHOWN: CapabilitySet = CapabilitySet(1 << 0);
    /// `CAP_DAC_OVERRIDE`: read, write and search whatever mode and access list say; execute what
    /// anybody may execute.
    pub const DAC_OVERRIDE: CapabilitySet = CapabilitySet(1 << 1);
    /// `CAP_DAC_READ_SEARCH`: read files and directories and search directories.
    pub const DAC_READ_SEARCH: CapabilitySet = CapabilitySet(1 << 2);
    /// `CAP_FOWNER`: do what is the owner's to do.
    pub const FOWNER: CapabilitySet = CapabilitySet(1 << 3);
    /// `CAP_FSETID`: set-id bits stay when a file changes, and may be set for any group.
    pub const FSETID: CapabilitySet = CapabilitySet(1 << 4);
    /// `CAP_LINUX_IMMUTABLE`: set and clear the flags append-only and immutable.
    pub const LINUX_IMMUTABLE: CapabilitySet = CapabilitySet(1 << 9);
    /// `CAP_SYS_ADMIN`: use `trusted.` attributes, and `security.` ones other than capabilities.
    pub const SYS_ADMIN: CapabilitySet = CapabilitySet(1 << 21);
    /// `CAP_MKNOD`: make devices.
    pub const MKNOD: CapabilitySet = CapabilitySet(1 << 27);
    /// `CAP_SETFCAP`: set file capabilities.
    pub const SETFCAP: CapabilitySet = CapabilitySet(1 << 31);

    /// The set of these bits: bit `n` stands for capability number `n`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        CapabilitySet(bits)
    }

    /// The bits; see [`from_bits`](Self::from_bits).
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// True if all of `other` are in the set.
    #[must_use]
    pub const fn contains(self, other: CapabilitySet) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set without those of `other`.
    #[must_use]
    pub const fn without(self, other: CapabilitySet) -> Self {
        CapabilitySet(self.0 & !other.0)
    }
}

impl BitOr for CapabilitySet {
    type Output = CapabilitySet;
    fn bitor(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }
}

/// The capabilities with a meaning here, by their names.
const NAMES: [(CapabilitySet, &str); 9] = [
    (CapabilitySet::CHOWN, "chown"),
    (CapabilitySet::DAC_OVERRIDE, "dac_override"),
    (CapabilitySet::DAC_READ_SEARCH, "dac_read_search"),
    (CapabilitySet::FOWNER, "fowner"),
    (CapabilitySet::FSETID, "fsetid"),
    (CapabilitySet::LINUX_IMMUTABLE, "linux_immutable"),
    (CapabilitySet::SYS_ADMIN, "sys_admin"),
    (CapabilitySet::MKNOD, "mknod"),
    (CapabilitySet::SETFCAP, "setfcap"),
];

impl fmt::Display for CapabilitySet {
    /// Names without `CAP_`, in lower case, separated by commas; `all` or `none` for short.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = NAMES.iter().filter(|(cap, _)| self.contains(*cap));
        let names: Vec<&str> = held.map(|(_, name)| *name).collect();
        match names.len() {
            0 => f.write_str("none"),
            n if n == NAMES.len() => f.write_str("all"),
            _ => f.write_str(&names.join(",")),
        }
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CapabilitySet({self})")
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for CapabilitySet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// On whose behalf an operation runs; see [`Overlay::as_caller`](crate::Overlay::as_caller).
///
/// ```
/// use layerstack::{CapabilitySet, Credentials};
/// let alice = Credentials::user(1000, 1000).groups([27, 100]).umask(0o077);
/// assert!(alice.is_in_group(27) && alice.is_in_group(1000));
/// assert_eq!(alice.capabilities, CapabilitySet::EMPTY);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Credentials {
    /// User (the kernel's fsuid): owns what is created.
    pub uid: u32,
    /// Group (fsgid): that of what is created, unless the directory says otherwise.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Effective capabilities.
    pub capabilities: CapabilitySet,
    /// Permission bits that new objects do not get, unless their directory has a default access list.
    pub umask: u32,
}

impl Credentials {
    /// User 0 with all capabilities; umask `0o022`.
    #[must_use]
    pub const fn root() -> Self {
        Credentials {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            capabilities: CapabilitySet::ALL,
            umask: 0o022,
        }
    }

    /// A user without capabilities (whatever the number), in this one group; umask `0o022`.
    #[must_use]
    pub const fn user(uid: u32, gid: u32) -> Self {
        Credentials {
            uid,
            gid,
            groups: Vec::new(),
            capabilities: CapabilitySet::EMPTY,
            umask: 0o022,
        }
    }

    /// Sets the further groups (default: none).
    #[must_use]
    pub fn groups(mut self, groups: impl IntoIterator<Item = u32>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// Sets the effective capabilities.
    #[must_use]
    pub const fn capabilities(mut self, capabilities: CapabilitySet) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Sets the umask (default `0o022`).
    #[must_use]
    pub const fn umask(mut self, umask: u32) -> Self {
        self.umask = umask & 0o777;
        self
    }

    /// True if `gid` is the group or one of the further groups.
    #[must_use]
    pub fn is_in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }

    /// True if the capability is effective.
    #[must_use]
    pub const fn has(&self, capability: CapabilitySet) -> bool {
        self.capabilities.contains(capability)
    }
}
