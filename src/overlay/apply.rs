//! Operations as values: [`Overlay::apply`], and [`Session`] for those on files
//! held open.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backend::{NewKind, XattrMode};
use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::op::{EntryInfo, Op, Outcome, READ_BYTES_MAX};
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::file::File;
use crate::overlay::mutate::Spec;
use crate::overlay::ops::Run;
use crate::overlay::union::{Overlay, mknod_kind};

impl Overlay {
    /// Does what `op` says. The `Handle...` operations need a [`Session`]; here they are `EBADF`.
    ///
    /// # Errors
    /// Those of the method that does the same; they name operation, path and layer.
    pub fn apply(&self, op: &Op) -> Result<Outcome> {
        Session::new(self.clone()).apply(op)
    }
}

/// The public error of an operation.
pub(crate) fn named(fail: Fail, op: &Op) -> Error {
    let (path, to) = op.paths();
    let path = path.unwrap_or_else(|| {
        Path::new(match op {
            Op::StatFs | Op::Sync => "/",
            _ => "(open file)",
        })
    });
    let error = fail.into_error(op.name(), path);
    match to {
        Some(to) => error.with_to(to),
        None => error,
    }
}

/// The operations that are one mutation of names or attributes.
pub(crate) fn mutate_op(core: &Core, run: Run<'_, '_>, op: &Op) -> Res<()> {
    let root = core.root();
    match op {
        Op::CreateDir { path, mode } => {
            let spec = Spec::new(NewKind::Directory, *mode);
            core.create(run, root, path, &spec)
        }
        Op::Symlink { target, path } => core.symlink(run, root, target, path),
        Op::HardLink { from, to } => core.hard_link(run, root, from, to),
        Op::MakeNode {
            path,
            file_type,
            mode,
            rdev,
        } => {
            let spec = Spec::new(mknod_kind(*file_type, *rdev)?, *mode);
            core.create(run, root, path, &spec)
        }
        Op::RemoveFile { path } => core.remove_file(run, root, path),
        Op::RemoveDir { path } => core.remove_dir(run, root, path),
        Op::Rename { from, to, flags } => core.rename(run, (root, root), from, to, *flags),
        Op::SetLen { path, len } => core.set_len(run, root, path, *len),
        Op::SetAttr { path, follow, attr } => core.set_attr_at(run, root, path, *follow, attr),
        Op::SetXattr {
            path,
            follow,
            name,
            value,
            mode,
        } => core.set_xattr_at(run, root, path, *follow, name, Some(value), *mode),
        Op::SetFlags { path, flags } => core.set_flags_at(run, root, path, *flags),
        Op::RemoveXattr { path, follow, name } => {
            core.set_xattr_at(run, root, path, *follow, name, None, XattrMode::Replace)
        }
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}

/// Applies operations to a union and keeps the files that they hold open.
///
/// ```
/// use layerstack::{LayerStack, Op, OpenOptions, Outcome, Overlay, Session};
/// use layerstack::backend::memory::MemLayer;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lower = MemLayer::builder().file("f", b"still here").build()?;
/// let mut session =
///     Session::new(Overlay::new(&LayerStack::from_top([lower])?, MemLayer::new())?);
/// let options = OpenOptions::new().read(true);
/// session.apply(&Op::HandleOpen { slot: 0, path: "/f".into(), options })?;
/// session.apply(&Op::RemoveFile { path: "/f".into() })?;
/// let read = session.apply(&Op::HandleRead { slot: 0, offset: 6, len: 99 })?;
/// assert_eq!(read, Outcome::Bytes(b"here".to_vec()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    overlay: Overlay,
    handles: BTreeMap<u8, File>,
}

impl Session {
    /// A session on `overlay`, with nothing open.
    #[must_use]
    pub fn new(overlay: Overlay) -> Self {
        Session {
            overlay,
            handles: BTreeMap::new(),
        }
    }

    /// The union that the session works on.
    #[must_use]
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Does what `op` says.
    ///
    /// # Errors
    /// Those of the method that does the same; `EBADF` for an empty slot.
    pub fn apply(&mut self, op: &Op) -> Result<Outcome> {
        match op {
            Op::HandleOpen {
                slot,
                path,
                options,
            } => {
                self.handles.remove(slot);
                let file = self.overlay.open(path, options)?;
                self.handles.insert(*slot, file);
                Ok(Outcome::Done)
            }
            Op::HandleClose { slot } => match self.handles.remove(slot) {
                Some(_) => Ok(Outcome::Done),
                None => Err(named(Errno::EBADF.into(), op)),
            },
            Op::As { caller, op } => {
                let own = self.overlay.clone();
                self.overlay = own.as_caller(caller);
                let done = self.apply(op);
                self.overlay = own;
                done
            }
            Op::HandleRead { slot, .. }
            | Op::HandleWrite { slot, .. }
            | Op::HandleMetadata { slot }
            | Op::HandleSetLen { slot, .. }
            | Op::HandleSetAttr { slot, .. }
            | Op::HandleAllocate { slot, .. }
            | Op::HandleSync { slot }
            | Op::HandleLink { slot, .. } => match self.handles.get(slot) {
                None => Err(named(Errno::EBADF.into(), op)),
                Some(file) => {
                    let file = file.with_core(self.overlay.core.clone());
                    file_op(&self.overlay, &file, op)
                }
            },
            _ => path_op(&self.overlay, op),
        }
    }
}

fn file_op(overlay: &Overlay, file: &File, op: &Op) -> Result<Outcome> {
    match op {
        Op::HandleRead { offset, len, .. } => read(file, *offset, *len).map(Outcome::Bytes),
        Op::HandleWrite { offset, data, .. } => file
            .write_at(data, *offset)
            .map(|n| Outcome::Count(n as u64)),
        Op::HandleMetadata { .. } => file.metadata().map(Outcome::Metadata),
        Op::HandleSetLen { len, .. } => file.set_len(*len).map(|()| Outcome::Done),
        Op::HandleSetAttr { attr, .. } => file.set_attr(attr).map(|()| Outcome::Done),
        Op::HandleAllocate {
            mode, offset, len, ..
        } => file.allocate(*mode, *offset, *len).map(|()| Outcome::Done),
        Op::HandleLink { to, .. } => overlay.link_file(file, to).map(|()| Outcome::Done),
        _ => file.sync(false).map(|()| Outcome::Done),
    }
}

/// Bytes read at a time: the length may be any number, and a file may hold more than its size says
/// (rule R176).
const READ_PIECE_BYTES: usize = 128 << 10;

/// Reads up to `len` bytes at `offset`, fewer at the end of the file.
fn read(file: &File, offset: u64, len: u64) -> Result<Vec<u8>> {
    let want = usize::try_from(len.min(READ_BYTES_MAX)).unwrap_or(0);
    let mut data = Vec::new();
    let mut done = 0;
    loop {
        data.resize(want.min(done + READ_PIECE_BYTES), 0);
        let rest = data.get_mut(done..).unwrap_or_default();
        // Once at least: a file that must not be read says so.
        match file.read_at(rest, offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    data.truncate(done);
    Ok(data)
}

fn path_op(overlay: &Overlay, op: &Op) -> Result<Outcome> {
    match op {
        Op::Metadata { path, follow: true } => overlay.metadata(path).map(Outcome::Metadata),
        Op::Metadata {
            path,
            follow: false,
        } => overlay.symlink_metadata(path).map(Outcome::Metadata),
        Op::Access { path, mode } => overlay.access(path, *mode).map(|()| Outcome::Done),
        Op::ReadLink { path } => overlay.read_link(path).map(|target| {
            use std::os::unix::ffi::OsStringExt;
            Outcome::Bytes(target.into_os_string().into_vec())
        }),
        Op::ReadDir { path } => overlay.read_dir_sorted(path).map(|list| {
            let info = |e: crate::DirEntry| EntryInfo {
                name: e.name,
                file_type: e.file_type,
                ino: e.ino,
            };
            Outcome::Entries(list.into_iter().map(info).collect())
        }),
        Op::Read { path, offset, len } => {
            let file = overlay.open_file(path)?;
            read(&file, *offset, *len).map(Outcome::Bytes)
        }
        Op::GetXattr { path, follow, name } => {
            overlay.xattr(path, name, *follow).map(Outcome::Bytes)
        }
        Op::ListXattrs { path, follow } => overlay.xattrs(path, *follow).map(Outcome::Names),
        Op::GetFlags { path } => overlay.inode_flags(path).map(Outcome::Flags),
        Op::StatFs => overlay.statfs().map(Outcome::StatFs),
        Op::Open { path, options } => overlay.open(path, options).map(|_| Outcome::Done),
        Op::Write {
            path,
            options,
            offset,
            data,
        } => {
            let file = overlay.open(path, options)?;
            file.write_at(data, *offset)
                .map(|n| Outcome::Count(n as u64))
        }
        Op::CreateDirAll { path, mode } => {
            overlay.create_dir_all(path, *mode).map(|()| Outcome::Done)
        }
        Op::RemoveDirAll { path } => overlay.remove_dir_all(path).map(|()| Outcome::Done),
        Op::Copy { from, to } => overlay.copy(from, to).map(Outcome::Count),
        Op::Allocate {
            path,
            mode,
            offset,
            len,
        } => overlay
            .allocate(path, *mode, *offset, *len)
            .map(|()| Outcome::Done),
        Op::Sync => overlay.sync().map(|()| Outcome::Done),
        _ => mutate_op(&overlay.core, Run::Apply, op)
            .map(|()| Outcome::Done)
            .map_err(|e| named(e, op)),
    }
}
