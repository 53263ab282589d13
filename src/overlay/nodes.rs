//! Operations on objects in use, by inode and name in place of a path: for those who keep a table of
//! nodes themselves, as a mount does. What the VFS checks before a filesystem is asked has been
//! checked by whoever calls, permissions above all.

use std::sync::Arc;

use crate::backend::{SyncScope, XattrMode};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{InodeFlags, Metadata};
use crate::op::OpenOptions;
use crate::overlay::build::Build;
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::file::{File, access};
use crate::overlay::inode::{Inode, State};
use crate::overlay::mutate::{Spec, Target};
use crate::overlay::opening::data_to_copy;
use crate::path::Name;
use crate::rules::open;
use crate::xattr_name::XattrName;

impl Core {
    /// The visible object `name` in `dir` with its attributes.
    pub(crate) fn find(
        &self,
        dir: &Arc<Inode>,
        name: &Name,
    ) -> Res<Option<(Arc<Inode>, Metadata)>> {
        let _tree = self.read();
        let Some(found) = self.peek(dir, name, 0)? else {
            return Ok(None);
        };
        let meta = self.shown_metadata(&found.inode, &found.state, found.real)?;
        Ok(Some((found.inode, meta)))
    }

    fn free_name(&self, dir: &Arc<Inode>, name: &Name) -> Res<Target> {
        let found = self.lookup(dir, name)?;
        if found.inode().is_some() {
            return Err(Errno::EEXIST.into());
        }
        if dir.is_gone() {
            return Err(Errno::ENOENT.into());
        }
        Ok(Target {
            dir: dir.clone(),
            name: name.clone(),
            found,
        })
    }

    /// Creates whatever `spec` says as `name` in `dir`.
    pub(crate) fn create_in(&self, dir: &Arc<Inode>, name: &Name, spec: &Spec) -> Res<Arc<Inode>> {
        let (inode, _) = self.mutate(|b| b.create(&self.free_name(dir, name)?, spec))?;
        Ok(inode)
    }

    /// Gives `source` the name `name` in `dir` too. Answers what that name stands for then.
    pub(crate) fn link_in(
        &self,
        source: &Arc<Inode>,
        dir: &Arc<Inode>,
        name: &Name,
    ) -> Res<Arc<Inode>> {
        self.mutate(|b| self.link_to(b, source, dir, name.as_path()))?;
        let _tree = self.read();
        self.lookup_existing(dir, name)
    }

    /// Opens a regular file in use. Writes go where they are told even if `options` say append: the
    /// caller finds the end of the file.
    pub(crate) fn open_node(
        self: &Arc<Self>,
        inode: &Arc<Inode>,
        options: &OpenOptions,
    ) -> Res<File> {
        self.permit_open(inode, options)?;
        let options = &at_offsets(options);
        let mut opened = None;
        if open::copies_up(options) && !inode.with_state(State::has_upper_data) {
            let build = |b: &mut Build<'_>| b.upper(inode, data_to_copy(options)).map(|_| ());
            opened = self.mutate_to_open(Some(access(options)), build)?.1.opened;
        }
        let file = File::open(self.clone(), inode.clone(), options, opened)?;
        if options.truncate {
            file.truncate_opened()?;
        }
        Ok(file)
    }

    /// Creates the regular file `name` in `dir` and opens it.
    pub(crate) fn create_and_open(
        self: &Arc<Self>,
        dir: &Arc<Inode>,
        name: &Name,
        options: &OpenOptions,
    ) -> Res<File> {
        let (spec, options) = (Spec::opened(options.mode), at_offsets(options));
        let build = |b: &mut Build<'_>| b.create(&self.free_name(dir, name)?, &spec);
        let (inode, done) = self.mutate_to_open(Some(access(&options)), build)?;
        File::open(self.clone(), inode, &options, done.opened)
    }

    /// `truncate(2)` of a file in use.
    pub(crate) fn truncate_inode(&self, inode: &Arc<Inode>, len: u64) -> Res<()> {
        self.mutate(|b| b.set_len(inode, len)).map(|_| ())
    }

    /// Sets (`Some`) or removes an extended attribute of an object in use.
    pub(crate) fn set_xattr(
        &self,
        inode: &Arc<Inode>,
        name: &XattrName,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Res<()> {
        self.mutate(|b| b.set_xattr(inode, name, value, mode))
            .map(|_| ())
    }

    /// Sets the inode flags of an object in use (rule R205).
    pub(crate) fn set_flags(&self, inode: &Arc<Inode>, flags: InodeFlags) -> Res<()> {
        self.mutate(|b| b.set_flags(inode, flags)).map(|_| ())
    }

    /// `fsync(2)` of a directory: nothing to do for a lower's (rule R298), or where nothing is
    /// made durable (rule R248).
    pub(crate) fn sync_inode(&self, inode: &Inode) -> Res<()> {
        match (inode.upper(), &self.upper) {
            (Some(node), Some(upper)) if self.features.fsync.syncs() => match upper.upper() {
                Some(upper) => upper.sync(SyncScope::Node(&node)).in_layer(LayerId::Upper),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// The same, but writing where it is told.
fn at_offsets(options: &OpenOptions) -> OpenOptions {
    options.clone().write(options.writes()).append(false)
}

impl File {
    /// The size now, in bytes.
    pub(crate) fn size(&self) -> Res<u64> {
        let real = self.real()?;
        Ok(real.file.metadata().in_layer(real.layer)?.size)
    }

    /// Whether the layer has it as a file of the kernel's.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.real().is_ok_and(|real| real.file.as_fd().is_some())
    }
}
