//! Requests that make, move and remove names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use fuser::{INodeNo, RenameFlags, Request};

use crate::backend::NewKind;
use crate::errno::Errno;
use crate::fuse::convert;
use crate::fuse::server::{Answer, Server, name};
use crate::meta::{FileType, Metadata};
use crate::overlay::file::File;
use crate::overlay::inode::Inode;
use crate::overlay::mutate::Spec;
use crate::overlay::ops::Run;
use crate::overlay::union::mknod_kind;

/// A new object, and what it is.
type Made = (Arc<Inode>, Metadata);

impl Server {
    fn made(&self, inode: Arc<Inode>) -> Answer<Made> {
        let meta = self.metadata(&inode)?;
        Ok((inode, meta))
    }

    fn make(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        spec: &Spec,
        umask: u32,
    ) -> Answer<Made> {
        let dir = self.inode(parent)?;
        let name = name(raw)?;
        let inode = self.for_caller(req, umask).create_in(&dir, &name, spec)?;
        self.made(inode)
    }

    pub(super) fn make_node(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
    ) -> Answer<Made> {
        let file_type = FileType::from_mode_bits(mode).ok_or(Errno::EINVAL)?;
        let kind = mknod_kind(file_type, convert::decode_device(rdev))?;
        let mode = mode & 0o7777;
        self.make(req, parent, raw, &Spec::new(kind, mode), umask)
    }

    pub(super) fn make_dir(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        mode: u32,
        umask: u32,
    ) -> Answer<Made> {
        let spec = Spec::new(NewKind::Directory, mode & 0o1777);
        self.make(req, parent, raw, &spec, umask)
    }

    pub(super) fn make_symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        raw: &OsStr,
        target: &Path,
    ) -> Answer<Made> {
        let spec = Spec::new(
            NewKind::Symlink(target.as_os_str().as_bytes().to_vec()),
            0o777,
        );
        self.make(req, parent, raw, &spec, 0)
    }

    /// Creates and opens a file; opens it if another request was faster and that is permitted.
    pub(super) fn create_file(
        &self,
        req: &Request,
        at: (INodeNo, &OsStr),
        mode: u32,
        umask: u32,
        flags: i32,
    ) -> Answer<(File, Metadata)> {
        let dir = self.inode(at.0)?;
        let name = name(at.1)?;
        let options = Server::open_options(flags).mode(mode & 0o7777);
        let core = self.for_caller(req, umask);
        let created = core.create_and_open(&dir, &name, &options);
        let file = match created.map_err(Errno::from) {
            Err(Errno::EEXIST) if flags & libc::O_EXCL == 0 => {
                let (inode, _) = self.core.find(&dir, &name)?.ok_or(Errno::ENOENT)?;
                self.core.open_node(&inode, &options)?
            }
            created => created?,
        };
        let meta = self.metadata(file.inode())?;
        Ok((file, meta))
    }

    pub(super) fn remove(&self, parent: INodeNo, raw: &OsStr, dir: bool) -> Answer<()> {
        let base = self.inode(parent)?;
        let name = name(raw)?;
        let path = name.as_path();
        match dir {
            true => self.core.remove_dir(Run::Apply, &base, path)?,
            false => self.core.remove_file(Run::Apply, &base, path)?,
        }
        Ok(())
    }

    pub(super) fn move_name(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: RenameFlags,
    ) -> Answer<()> {
        let flags = crate::op::RenameFlags {
            no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
            whiteout: flags.contains(RenameFlags::RENAME_WHITEOUT),
        };
        let bases = (self.inode(from.0)?, self.inode(to.0)?);
        let names = (name(from.1)?, name(to.1)?);
        let paths = (names.0.as_path(), names.1.as_path());
        let bases = (&bases.0, &bases.1);
        Ok(self
            .core
            .rename(Run::Apply, bases, paths.0, paths.1, flags)?)
    }

    pub(super) fn add_name(&self, ino: INodeNo, parent: INodeNo, raw: &OsStr) -> Answer<Made> {
        let source = self.inode(ino)?;
        let dir = self.inode(parent)?;
        let inode = self.core.link_in(&source, &dir, &name(raw)?)?;
        self.made(inode)
    }
}
