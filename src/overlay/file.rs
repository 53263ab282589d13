//! Open files of the merged tree.

mod ranges;

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::backend::{Access, LayerFile, SyncScope};
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::meta::{Metadata, SetAttr};
use crate::op::OpenOptions;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::execute::Opened;
use crate::overlay::inode::{Inode, State};
use crate::rules::attr::Change;
use crate::xattr_name::XattrName;

/// The real file behind a handle.
#[derive(Clone)]
pub(crate) struct Real {
    pub(crate) file: Arc<dyn LayerFile>,
    pub(crate) layer: LayerId,
}

/// An open regular file of a union.
///
/// It keeps its identity across rename, removal and copy-up: a handle opened for reading before the
/// file was copied up reads what is written later (rule R293), and a file that was removed stays
/// usable. Reading and writing at a position ([`File::read_at`], [`File::write_at`]) needs no
/// exclusive access; [`io::Read`], [`io::Write`] and [`io::Seek`] use one position per handle.
///
/// Dropping closes it; [`File::close`] does the same and says so.
pub struct File {
    pub(crate) core: Arc<Core>,
    open: Arc<Open>,
}

/// What is open; shared by the views of a file for several callers.
struct Open {
    inode: Arc<Inode>,
    real: RwLock<Real>,
    read: bool,
    write: bool,
    append: bool,
    position: Mutex<u64>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path())
            .field("read", &self.open.read)
            .field("write", &self.open.write)
            .finish_non_exhaustive()
    }
}

impl File {
    /// Opens the real file of `inode`, which is in the upper if `write`; `opened`: what may be open of it
    /// already, with that access.
    pub(crate) fn open(
        core: Arc<Core>,
        inode: Arc<Inode>,
        options: &OpenOptions,
        opened: Option<Opened>,
    ) -> Res<File> {
        let (read, write) = (options.read, options.writes());
        let is_it = |opened: &Opened| {
            let state = inode.state();
            let same = |upper| Arc::ptr_eq(upper, &opened.node);
            state.has_upper_data() && state.upper.as_ref().is_some_and(same)
        };
        let real = match opened.filter(is_it) {
            Some(opened) => Real {
                file: opened.file.into(),
                layer: LayerId::Upper,
            },
            None => open_real(&core, &inode, access(options))?,
        };
        let open = Open {
            inode,
            real: RwLock::new(real),
            read,
            write,
            append: options.append,
            position: Mutex::new(0),
        };
        Ok(File {
            core,
            open: Arc::new(open),
        })
    }

    /// The same open file in another view of its union.
    pub(crate) fn with_core(&self, core: Arc<Core>) -> File {
        File {
            core,
            open: self.open.clone(),
        }
    }

    /// Empties a file just opened with `truncate`; its times change even if it is empty already.
    pub(crate) fn truncate_opened(&self) -> Res<()> {
        let real = if self.open.write {
            self.real()?
        } else {
            open_real(&self.core, &self.open.inode, Access::Write)?
        };
        self.core.drop_privileges(&self.open.inode)?;
        real.file.set_len(0).in_layer(real.layer)
    }

    pub(crate) fn inode(&self) -> &Arc<Inode> {
        &self.open.inode
    }

    /// The path under which the file is, or was last, visible; for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.open.inode.path()
    }

    fn fail<T>(&self, op: &'static str, result: Res<T>) -> Result<T> {
        result.map_err(|e| e.into_error(op, self.path()))
    }

    /// The real file now: a lower's is exchanged for the upper's once there is one.
    pub(crate) fn real(&self) -> Res<Real> {
        let real = self
            .open
            .real
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if real.layer == LayerId::Upper || !self.open.inode.with_state(State::has_upper_data) {
            return Ok(real);
        }
        let fresh = open_real(&self.core, &self.open.inode, Access::Read)?;
        *self
            .open
            .real
            .write()
            .unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }

    fn writable(&self) -> Res<Real> {
        if self.open.write {
            self.real()
        } else {
            Err(Errno::EBADF.into())
        }
    }

    /// Reads at `offset`, in bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// `EBADF` if not opened for reading; what the layer gives.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.fail("file.read", self.try_read(buf, offset))
    }

    pub(crate) fn try_read(&self, buf: &mut [u8], offset: u64) -> Res<usize> {
        if !self.open.read {
            return Err(Errno::EBADF.into());
        }
        let real = self.real()?;
        real.file.read_at(buf, offset).in_layer(real.layer)
    }

    /// Writes at `offset`, in bytes; at the end of the file if opened to append (as `pwrite(2)` on
    /// Linux).
    ///
    /// # Errors
    /// `EBADF` if not opened for writing; `ENOSPC` and others.
    pub fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
        self.fail("file.write", self.try_write(buf, offset).map(|(n, _)| n))
    }

    /// Answers how much was written and where.
    pub(crate) fn try_write(&self, buf: &[u8], offset: u64) -> Res<(usize, u64)> {
        let real = self.writable()?;
        if !buf.is_empty() {
            self.core.drop_privileges(&self.open.inode)?;
        }
        if !self.open.append {
            return Ok((
                real.file.write_at(buf, offset).in_layer(real.layer)?,
                offset,
            ));
        }
        let _one = self
            .open
            .inode
            .append
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let end = real.file.metadata().in_layer(real.layer)?.size;
        Ok((real.file.write_at(buf, end).in_layer(real.layer)?, end))
    }

    /// Writes all of `buf` at `offset`.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> Result<()> {
        while !buf.is_empty() {
            let n = self.write_at(buf, offset)?;
            if n == 0 {
                return self.fail("file.write", Err(Errno::EIO.into()));
            }
            buf = buf.get(n..).unwrap_or_default();
            offset += n as u64;
        }
        Ok(())
    }

    /// The attributes that the merged tree shows.
    ///
    /// # Errors
    /// What the layer gives.
    pub fn metadata(&self) -> Result<Metadata> {
        self.fail("file.metadata", self.core.metadata(&self.open.inode))
    }

    /// The first range of data at or behind `offset`; `None` if only a hole follows.
    ///
    /// # Errors
    /// What the layer gives.
    pub fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        self.fail("file.seek", self.try_next_data(offset))
    }

    pub(crate) fn try_next_data(&self, offset: u64) -> Res<Option<Range<u64>>> {
        let real = self.real()?;
        real.file.next_data(offset).in_layer(real.layer)
    }

    /// Sets the size; a new part reads as zeros and is a hole. The modification time changes even if
    /// the size does not (`ftruncate(2)`).
    ///
    /// # Errors
    /// `EINVAL` if not opened for writing, or for a size that no file can have; others.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.fail("file.set_len", self.try_set_len(len))
    }

    pub(crate) fn try_set_len(&self, len: u64) -> Res<()> {
        if !self.open.write || i64::try_from(len).is_err() {
            return Err(Fail::from(Errno::EINVAL));
        }
        self.core.permit(&self.open.inode, Change::Truncate)?;
        let real = self.real()?;
        self.core.drop_privileges(&self.open.inode)?;
        real.file.set_len(len).in_layer(real.layer)
    }

    /// Sets owner, mode and times; copies the file up if it is a lower's (rule R198).
    ///
    /// # Errors
    /// `EROFS`, `EPERM`; `EEXIST` for a lower file that was removed meanwhile (rule R132).
    pub fn set_attr(&self, attr: &SetAttr) -> Result<()> {
        self.fail("file.set_attr", self.core.set_attr(&self.open.inode, attr))
    }

    /// The inode flags that the merged tree shows.
    ///
    /// # Errors
    /// What the layer gives.
    pub fn inode_flags(&self) -> Result<crate::meta::InodeFlags> {
        self.fail("file.inode_flags", self.core.shown_flags(&self.open.inode))
    }

    /// Sets the inode flags; copies the file up if it is a lower's (rule R205).
    ///
    /// # Errors
    /// As [`Overlay::set_inode_flags`](crate::Overlay::set_inode_flags).
    pub fn set_inode_flags(&self, flags: crate::meta::InodeFlags) -> Result<()> {
        let set = self.core.mutate(|b| b.set_flags(&self.open.inode, flags));
        self.fail("file.set_inode_flags", set.map(|_| ()))
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `NoXattr` and others.
    pub fn xattr(&self, name: &XattrName) -> Result<Vec<u8>> {
        self.fail(
            "file.get_xattr",
            self.core.read_xattr(&self.open.inode, name),
        )
    }

    /// Sets (`Some`) or removes an extended attribute.
    ///
    /// # Errors
    /// As [`Overlay::set_xattr`](crate::Overlay::set_xattr).
    pub fn set_xattr(
        &self,
        name: &XattrName,
        value: Option<&[u8]>,
        mode: crate::backend::XattrMode,
    ) -> Result<()> {
        let set = self
            .core
            .mutate(|b| b.set_xattr(&self.open.inode, name, value, mode))
            .map(|_| ());
        self.fail("file.set_xattr", set)
    }

    /// Makes the file durable; with `data_only`, attributes only as far as needed to read it back.
    /// Does nothing for a lower's file (rule R298), or with [`Fsync::Volatile`](crate::Fsync::Volatile) or `Off`
    /// (rule R248).
    ///
    /// # Errors
    /// `EIO` and others.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        self.fail("file.sync", self.try_sync(data_only))
    }

    pub(crate) fn try_sync(&self, data_only: bool) -> Res<()> {
        let real = self.real()?;
        if !self.core.features.fsync.syncs() {
            return Ok(());
        }
        if real.layer == LayerId::Upper {
            return real.file.sync(data_only).in_layer(real.layer);
        }
        match self.open.inode.upper() {
            // Attributes without data.
            Some(node) if !data_only => {
                let upper = self.core.upper()?;
                upper.sync(SyncScope::Node(&node)).in_layer(LayerId::Upper)
            }
            _ => Ok(()),
        }
    }

    /// A duplicate of the descriptor of the real file, where there is one. It stays on that file: what
    /// is written to the upper after a later copy-up is not seen through it.
    ///
    /// # Errors
    /// `EMFILE` and others.
    pub fn as_fd(&self) -> Result<Option<OwnedFd>> {
        let dup = || {
            let real = self.real()?;
            match real.file.as_fd() {
                None => Ok(None),
                Some(fd) => {
                    let fd = fd.as_fd().try_clone_to_owned();
                    fd.map(Some).map_err(|e| Fail::from(Errno::of_io(&e)))
                }
            }
        };
        self.fail("file.as_fd", dup())
    }

    /// Closes the file. Never fails: writing is done when `write_at` returns, and durability is
    /// [`File::sync`]'s.
    pub fn close(self) {
        drop(self);
    }
}

/// How the real file is opened for such options.
pub(crate) fn access(options: &OpenOptions) -> Access {
    match (options.read, options.writes()) {
        (true, true) => Access::ReadWrite,
        (false, true) => Access::Write,
        _ => Access::Read,
    }
}

/// Opens the file that holds the data.
fn open_real(core: &Core, inode: &Inode, access: Access) -> Res<Real> {
    let state = inode.state();
    core.check_data(&state)?;
    let (node, layer) = core.data_node(&state)?;
    if access != Access::Read && layer != LayerId::Upper {
        return Err(Errno::EROFS.into());
    }
    Ok(Real {
        file: node.open(access).in_layer(layer)?.into(),
        layer,
    })
}

impl io::Read for File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl io::Read for &File {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut position = self
            .open
            .position
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let n = self.read_at(buf, *position)?;
        *position += n as u64;
        Ok(n)
    }
}

impl io::Write for File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Write for &File {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut position = self
            .open
            .position
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let written = self.try_write(buf, *position);
        let (n, at) = self.fail("file.write", written)?;
        *position = at + n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Seek for File {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl io::Seek for &File {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let mut position = self
            .open
            .position
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = match to {
            io::SeekFrom::Start(at) => Some(at),
            io::SeekFrom::Current(by) => position.checked_add_signed(by),
            io::SeekFrom::End(by) => self.metadata()?.size.checked_add_signed(by),
        };
        let new = new.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "seek to before the start of the file",
            )
        })?;
        *position = new;
        Ok(new)
    }
}
