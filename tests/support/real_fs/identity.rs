//! Becoming somebody else for one system call.

use layerstack::Credentials;
use nix::sys::stat::umask;
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// This thread with the identity of somebody else, on files, until it is dropped. Only root can.
pub(super) struct Disguise {
    own: CapabilitySets,
    groups: Vec<rustix::process::Gid>,
    umask: nix::sys::stat::Mode,
}

impl Disguise {
    pub(super) fn new(as_whom: &Credentials) -> Self {
        let own = capabilities(None).expect("capabilities");
        let groups = rustix::process::getgroups().expect("groups");
        let wanted = as_whom.groups.iter().copied();
        let wanted: Vec<_> = wanted.map(rustix::process::Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&wanted).expect("set groups");
        let mode = nix::sys::stat::Mode::from_bits_truncate(as_whom.umask);
        let umask = umask(mode);
        setfsgid(Gid::from_raw(as_whom.gid));
        setfsuid(Uid::from_raw(as_whom.uid));
        // Last, as changing the user changes them.
        let caps = CapabilitySet::from_bits_retain(as_whom.capabilities.bits());
        let effective = caps & own.permitted;
        set_capabilities(None, CapabilitySets { effective, ..own }).expect("set capabilities");
        Disguise { own, groups, umask }
    }
}

impl Drop for Disguise {
    fn drop(&mut self) {
        set_capabilities(None, self.own).expect("set capabilities");
        setfsuid(Uid::from_raw(0));
        setfsgid(Gid::from_raw(0));
        rustix::thread::set_thread_groups(&self.groups).expect("set groups");
        umask(self.umask);
    }
}
