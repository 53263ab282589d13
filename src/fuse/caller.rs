//! Who sent a request, as far as the request does not say: capabilities and further groups.
//!
//! The kernel checks permissions, but leaves taking set-id bits away to whoever changes the file
//! (`FUSE_HANDLE_KILLPRIV_V2`), and that depends on both; and it does not hide the names of `trusted.`
//! attributes. So they are read where a file has such bits or names, and nowhere else.

use std::fs;
use std::sync::Arc;

use fuser::Request;

use crate::credentials::{CapabilitySet, Credentials};
use crate::fuse::server::{Answer, Server};
use crate::overlay::core::Core;
use crate::overlay::inode::Inode;

/// Set-user-id and set-group-id.
pub(super) const SET_ID_BITS: u32 = 0o6000;

/// The machine's first user namespace, as the kernel names it.
const FIRST_NAMESPACE: &str = "user:[4026531837]";

/// Capabilities that count in the first user namespace only.
const WHOLE_MACHINE: CapabilitySet =
    CapabilitySet::from_bits(CapabilitySet::FSETID.bits() | CapabilitySet::SYS_ADMIN.bits());

/// What `/proc/PID/status` says of capabilities and groups.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    effective: CapabilitySet,
    groups: Vec<u32>,
}

impl Status {
    fn parse(text: &str) -> Option<Status> {
        let field = |key: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(key));
            values.next().map(str::trim)
        };
        let groups = field("Groups:")?.split_whitespace();
        Some(Status {
            effective: CapabilitySet::from_bits(u64::from_str_radix(field("CapEff:")?, 16).ok()?),
            groups: groups.map(str::parse).collect::<Result<_, _>>().ok()?,
        })
    }

    /// Of a thread. Nothing if it cannot be read: it is gone, or of another container.
    fn of(pid: u32) -> Option<Status> {
        let mut status = Status::parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
        let namespace = fs::read_link(format!("/proc/{pid}/ns/user")).ok();
        if namespace.is_none_or(|of| of.as_os_str() != FIRST_NAMESPACE) {
            status.effective = status.effective.without(WHOLE_MACHINE);
        }
        Some(status)
    }
}

/// Whether who sent a request has a capability.
pub(super) fn has(req: &Request, capability: CapabilitySet) -> bool {
    Status::of(req.pid()).is_some_and(|status| status.effective.contains(capability))
}

impl Server {
    /// The union for who sent a request, so that new objects are theirs. What they may do the kernel
    /// has checked.
    pub(super) fn for_caller(&self, req: &Request, umask: u32) -> Arc<Core> {
        let caller = Credentials::user(req.uid(), req.gid())
            .capabilities(CapabilitySet::ALL)
            .umask(umask);
        self.core.for_caller(Some(&caller))
    }

    /// The union for a change after which set-id bits may have to go: for who sent the request, if
    /// `inode` has such bits. `incapable`: the kernel says that they lack `CAP_FSETID`.
    pub(super) fn for_change(
        &self,
        req: &Request,
        inode: &Inode,
        incapable: bool,
    ) -> Answer<Arc<Core>> {
        if self.metadata(inode)?.mode & SET_ID_BITS == 0 {
            return Ok(self.core.clone());
        }
        let status = Status::of(req.pid()).unwrap_or_default();
        let mut capabilities = CapabilitySet::ALL;
        if incapable || !status.effective.contains(CapabilitySet::FSETID) {
            capabilities = capabilities.without(CapabilitySet::FSETID);
        }
        // The kernel leaves the bits out of what it checks.
        if self.options.default_permissions && !status.effective.contains(CapabilitySet::FOWNER) {
            capabilities = capabilities.without(CapabilitySet::FOWNER);
        }
        let caller = Credentials::user(req.uid(), req.gid())
            .groups(status.groups)
            .capabilities(capabilities);
        Ok(self.core.for_caller(Some(&caller)))
    }

    /// Before content changes: set-id bits go unless the caller may keep them (rule R239).
    pub(super) fn drop_set_id(&self, req: &Request, inode: &Inode, incapable: bool) -> Answer<()> {
        let core = self.for_change(req, inode, incapable)?;
        if core.caller().is_some() {
            core.drop_privileges(inode)?;
            self.forget_attr(inode);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn status_of_a_process() {
        let text = "Name:\tsh\nGroups:\t27 100 \nCapInh:\t0000000000000000\n\
                    CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000010\n";
        let status = Status::parse(text).unwrap();
        assert_eq!(status.groups, [27, 100]);
        assert_eq!(status.effective, CapabilitySet::FSETID);
        let none = Status::parse("Groups:\t\nCapEff:\t0000000000000000\n").unwrap();
        assert_eq!(none, Status::default());
        for bad in [
            "",
            "Groups:\t\n",
            "Groups:\tx\nCapEff:\t0\n",
            "Groups:\t\nCapEff:\tz\n",
        ] {
            assert_eq!(Status::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn status_of_this_process() {
        let status = Status::of(std::process::id()).unwrap();
        let capable = rustix::thread::capabilities(None).unwrap().effective;
        let counts = CapabilitySet::ALL.without(WHOLE_MACHINE).bits();
        assert_eq!(status.effective.bits() & counts, capable.bits() & counts);
        assert_eq!(Status::of(0), None);
    }
}
