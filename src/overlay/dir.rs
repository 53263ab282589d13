//! Directory handles.

use std::path::Path;
use std::sync::Arc;

use crate::errno::Errno;
use crate::error::Result;
use crate::meta::Metadata;
use crate::op::RenameFlags;
use crate::overlay::core::Core;
use crate::overlay::inode::Inode;
use crate::overlay::ops::Run;
use crate::overlay::stack::DirEntry;

/// An open directory of a union. It stays the same directory when it is renamed; paths given to its
/// methods start in it, absolute ones at the union's root.
#[derive(Clone, Debug)]
pub struct Dir {
    pub(crate) core: Arc<Core>,
    pub(crate) inode: Arc<Inode>,
}

impl Dir {
    pub(crate) fn base(&self) -> &Arc<Inode> {
        &self.inode
    }

    /// The directory's own attributes.
    ///
    /// # Errors
    /// What the layers give.
    pub fn dir_metadata(&self) -> Result<Metadata> {
        let _tree = self.core.read();
        self.core
            .metadata(&self.inode)
            .map_err(|e| e.into_error("metadata", self.inode.path()))
    }

    /// The directory's own entries in the kernel's order (rule R096).
    ///
    /// # Errors
    /// What the layers give.
    pub fn entries(&self) -> Result<Vec<DirEntry>> {
        let _tree = self.core.read();
        match self.core.list(&self.inode) {
            Ok(list) => Ok(list.into_iter().map(DirEntry::from).collect()),
            Err(e) => Err(e.into_error("read_dir", self.inode.path())),
        }
    }

    /// The path under which the directory is, or was last, visible; for messages.
    #[must_use]
    pub fn path(&self) -> std::path::PathBuf {
        self.inode.path()
    }

    /// Renames `from` in this directory to `to` in `to_dir`.
    ///
    /// # Errors
    /// As [`rename_with`](Self::rename_with); `EXDEV` if `to_dir` is of another union.
    pub fn rename_to(
        &self,
        from: impl AsRef<Path>,
        to_dir: &Dir,
        to: impl AsRef<Path>,
        flags: RenameFlags,
    ) -> Result<()> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let renamed = if self.core.is_view_of(&to_dir.core) {
            self.core
                .rename(Run::Apply, (&self.inode, &to_dir.inode), from, to, flags)
        } else {
            Err(Errno::EXDEV.into())
        };
        renamed.map_err(|e| e.into_error("rename", from).with_to(to))
    }
}
