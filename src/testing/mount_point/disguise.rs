//! Becoming somebody else for one operation.

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::credentials::Credentials;
use crate::errno::Errno;

/// This thread with the identity of somebody else on files, until [`Disguise::end`]. It must have the
/// rights to change, and its root and umask to itself.
pub(super) struct Disguise {
    own: Identity,
}

struct Identity {
    capabilities: CapabilitySets,
    groups: Vec<rustix::process::Gid>,
    uid: Uid,
    gid: Gid,
    umask: Mode,
}

impl Disguise {
    /// # Errors
    /// `EPERM` without the rights to change.
    pub(super) fn new(as_whom: &Credentials) -> Result<Self, Errno> {
        let capabilities = capabilities(None)?;
        let own_groups = rustix::process::getgroups()?;
        let wanted = as_whom.groups.iter().copied();
        let wanted: Vec<_> = wanted.map(rustix::process::Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&wanted)?;
        let disguise = Disguise {
            own: Identity {
                capabilities,
                groups: own_groups,
                umask: umask(Mode::from_bits_truncate(as_whom.umask)),
                gid: setfsgid(Gid::from_raw(as_whom.gid)),
                uid: setfsuid(Uid::from_raw(as_whom.uid)),
            },
        };
        // Last, as changing the user changes them.
        let wanted = CapabilitySet::from_bits_retain(as_whom.capabilities.bits());
        let effective = wanted & capabilities.permitted;
        let sets = CapabilitySets {
            effective,
            ..capabilities
        };
        match set_capabilities(None, sets) {
            Ok(()) => Ok(disguise),
            Err(e) => disguise.end().and(Err(e.into())),
        }
    }

    /// Becomes who it was.
    ///
    /// # Errors
    /// None in practice: what a thread gave up temporarily it may take back.
    pub(super) fn end(self) -> Result<(), Errno> {
        let own = self.own;
        set_capabilities(None, own.capabilities)?;
        umask(own.umask);
        setfsgid(own.gid);
        setfsuid(own.uid);
        // Again, as changing the user changes them.
        set_capabilities(None, own.capabilities)?;
        Ok(rustix::thread::set_thread_groups(&own.groups)?)
    }
}
