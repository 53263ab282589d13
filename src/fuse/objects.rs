//! Requests about one object: attributes, extended attributes, flags.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{FileHandle, INodeNo, Request};

use crate::backend::XattrMode;
use crate::credentials::CapabilitySet;
use crate::errno::Errno;
use crate::fuse::caller;
use crate::fuse::flags;
use crate::fuse::server::{Answer, Server};
use crate::meta::{Metadata, SetAttr};
use crate::overlay::inode::Inode;
use crate::xattr_name::XattrName;

const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC_FSGETXATTR: u32 = 0x801c_581f;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;

const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

impl Server {
    pub(super) fn metadata(&self, inode: &Inode) -> Answer<Metadata> {
        let _tree = self.core.read();
        Ok(self.core.metadata(inode)?)
    }

    pub(super) fn read_link(&self, inode: &Inode) -> Answer<Vec<u8>> {
        let _tree = self.core.read();
        Ok(self.core.read_link(inode)?)
    }

    pub(super) fn set_len(
        &self,
        req: &Request,
        inode: &Arc<Inode>,
        fh: Option<FileHandle>,
        len: u64,
    ) -> Answer<()> {
        match fh.and_then(|fh| self.files.get(fh.0)) {
            Some(handle) => handle.file.try_set_len(len)?,
            None => self.core.truncate_inode(inode, len)?,
        }
        self.drop_set_id(req, inode, false)
    }

    pub(super) fn set_attr(
        &self,
        req: &Request,
        inode: &Arc<Inode>,
        change: &SetAttr,
    ) -> Answer<()> {
        let core = match (change.uid, change.gid) {
            (None, None) => self.core.clone(),
            _ => self.for_change(req, inode, false)?,
        };
        Ok(core.set_attr(inode, change)?)
    }

    /// What is asked for by a request that names no attribute: `chown(2)` to the owners that there are, which
    /// takes set-id bits away all the same. The kernel asks in the same way before content is written by
    /// somebody who may not keep the bits, or by anybody if the file has capabilities, which go with the writing: of a
    /// file that is open it is taken for that.
    pub(super) fn keep_owner(
        &self,
        req: &Request,
        inode: &Arc<Inode>,
        is_open: bool,
    ) -> Answer<()> {
        if !is_open {
            let owner = self.metadata(inode)?.uid;
            let same = SetAttr::owner(Some(owner), None);
            self.core.set_attr(inode, &same)?;
        }
        // Those that are left may be kept by who has the right to.
        self.drop_set_id(req, inode, false)
    }

    pub(super) fn xattr(&self, ino: INodeNo, raw: &OsStr) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        let name = XattrName::new(raw.as_bytes())?;
        let _tree = self.core.read();
        match self.core.xattr(&inode, &name).map_err(Errno::from) {
            // The kernel asks for access lists before it lets anyone in: none is none.
            Err(Errno::EOPNOTSUPP) if raw.as_bytes().starts_with(b"system.posix_acl_") => {
                Err(Errno::ENODATA)
            }
            answer => answer,
        }
    }

    pub(super) fn list_xattrs(&self, req: &Request, ino: INodeNo) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        let names = {
            let _tree = self.core.read();
            self.core.xattrs(&inode)?
        };
        // The kernel keeps others from reading these, not from learning of them.
        let is_trusted = |name: &XattrName| name.as_bytes().starts_with(b"trusted.");
        let hides = names.iter().any(is_trusted) && !caller::has(req, CapabilitySet::SYS_ADMIN);
        let mut list = Vec::new();
        for name in names {
            if hides && is_trusted(&name) {
                continue;
            }
            list.extend_from_slice(name.as_bytes());
            list.push(0);
        }
        Ok(list)
    }

    pub(super) fn set_xattr(
        &self,
        req: &Request,
        ino: INodeNo,
        raw: &OsStr,
        value: Option<&[u8]>,
        flags: i32,
    ) -> Answer<()> {
        let inode = self.inode(ino)?;
        let name = XattrName::new(raw.as_bytes())?;
        let mode = match flags {
            libc::XATTR_CREATE => XattrMode::Create,
            libc::XATTR_REPLACE => XattrMode::Replace,
            _ => XattrMode::Set,
        };
        // An access list may take set-group-id away, and shows as mode bits.
        let core = match raw.as_bytes() == ACCESS_LIST {
            true => self.for_change(req, &inode, false)?,
            false => self.core.clone(),
        };
        core.set_xattr(&inode, &name, value, mode)?;
        if core.caller().is_some() {
            self.forget_attr(&inode);
        }
        Ok(())
    }

    /// Answers the requests about inode flags that `lsattr(1)` and `chattr(1)` make, and the kernel
    /// before it lets anyone set them. Who may set which the kernel has checked.
    pub(super) fn inode_flags(&self, ino: INodeNo, cmd: u32, data: &[u8]) -> Answer<Vec<u8>> {
        let inode = self.inode(ino)?;
        let shown = || {
            let _tree = self.core.read();
            Ok::<_, Errno>(self.core.shown_flags(&inode)?)
        };
        let flags = match cmd {
            FS_IOC_GETFLAGS => return Ok(flags::bits(shown()?).to_ne_bytes().to_vec()),
            FS_IOC_FSGETXATTR => return Ok(flags::extended(shown()?)),
            FS_IOC_SETFLAGS => flags::from_bits(data)?,
            FS_IOC_FSSETXATTR => flags::from_extended(data)?,
            _ => return Err(Errno::ENOTTY),
        };
        self.core.set_flags(&inode, flags)?;
        Ok(Vec::new())
    }
}
