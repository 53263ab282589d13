//! Requests about one object: attributes, extended attributes, flags.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{FileHandle, INodeNo, Request};

use crate::backend::XattrMode;
use crate::credentials::{CapabilitySet, Credentials};
use crate::errno::Errno;
use crate::fuse::server::{Answer, Server};
use crate::meta::{Metadata, SetAttr};
use crate::overlay::core::Core;
use crate::overlay::inode::Inode;
use crate::xattr_name::XattrName;

const FS_IOC_GETFLAGS: u32 = 0x8008_6601;
const FS_SYNC_FL: u32 = 0x8;
const FS_IMMUTABLE_FL: u32 = 0x10;
const FS_APPEND_FL: u32 = 0x20;
const FS_NOATIME_FL: u32 = 0x80;

impl Server {
    pub(super) fn metadata(&self, inode: &Inode) -> Answer<Metadata> {
        let _tree = self.core.read();
        Ok(self.core.metadata(inode)?)
    }

    pub(super) fn read_link(&self, inode: &Inode) -> Answer<Vec<u8>> {
        let _tree = self.core.read();
        Ok(self.core.read_link(inode)?)
    }

    /// The union for who sent a request, so that new objects are theirs. What they may do the kernel
    /// has checked.
    pub(super) fn for_caller(&self, req: &Request, umask: u32) -> Arc<Core> {
        let caller = Credentials::user(req.uid(), req.gid())
            .capabilities(CapabilitySet::ALL)
            .umask(umask);
        self.core.for_caller(Some(&caller))
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
        self.drop_set_id(req, inode)
    }

    /// After content changed: set-id bits go unless the caller may keep them.
    pub(super) fn drop_set_id(&self, req: &Request, inode: &Arc<Inode>) -> Answer<()> {
        if req.uid() == 0 {
            return Ok(());
        }
        let meta = self.metadata(inode)?;
        let mut mode = meta.mode & !0o4000;
        if mode & 0o2010 == 0o2010 {
            mode &= !0o2000;
        }
        if mode != meta.mode {
            self.core.set_attr(inode, &SetAttr::mode(mode))?;
            self.forget_attr(inode);
        }
        Ok(())
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
        let mut list = Vec::new();
        for name in names {
            // The kernel keeps others from reading these, not from learning of them.
            if name.as_bytes().starts_with(b"trusted.") && req.uid() != 0 {
                continue;
            }
            list.extend_from_slice(name.as_bytes());
            list.push(0);
        }
        Ok(list)
    }

    pub(super) fn set_xattr(
        &self,
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
        Ok(self.core.set_xattr(&inode, &name, value, mode)?)
    }

    /// Answers the requests about inode flags that `lsattr(1)` makes.
    pub(super) fn inode_flags(&self, ino: INodeNo, cmd: u32) -> Answer<Vec<u8>> {
        if cmd != FS_IOC_GETFLAGS {
            return Err(Errno::ENOTTY);
        }
        let inode = self.inode(ino)?;
        let _tree = self.core.read();
        let flags = self.core.flags(&inode)?;
        let mut bits = 0u32;
        for (on, bit) in [
            (flags.sync, FS_SYNC_FL),
            (flags.immutable, FS_IMMUTABLE_FL),
            (flags.append, FS_APPEND_FL),
            (flags.noatime, FS_NOATIME_FL),
        ] {
            if on {
                bits |= bit;
            }
        }
        Ok(bits.to_ne_bytes().to_vec())
    }
}
