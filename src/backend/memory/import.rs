//! Reading a real directory tree into a layer.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{SeekFrom, seek};
use walkdir::{DirEntry, WalkDir};

use super::node::MemNode;
use super::state::ROOT;
use super::{BuildError, MemLayer};
use crate::backend::encoding::is_char_whiteout;
use crate::backend::{
    Access, At, BackendError, LayerBackend, LayerFile, NewKind, NewNode, NodeRef, Result,
    UpperBackend,
};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Timestamp};
use crate::path::Name;
use crate::xattr_name::XattrName;

/// Bytes read at once when a file is copied.
const COPY_BYTES: usize = 1 << 20;

/// Attributes that are set once everything is there, as making entries changes directories' times.
struct Restore {
    ino: u64,
    meta: std::fs::Metadata,
    xattrs: Vec<(XattrName, Vec<u8>)>,
}

/// Reads the tree under `path` into the root of `layer`.
pub(super) fn import(layer: &MemLayer, path: &Path) -> std::result::Result<(), BuildError> {
    let mut import = Import {
        layer,
        dirs: Vec::new(),
        links: HashMap::new(),
        restore: Vec::new(),
    };
    let walk = WalkDir::new(path)
        .follow_links(false)
        .follow_root_links(false)
        .sort_by_file_name();
    for entry in walk {
        let entry = entry.map_err(|e| {
            let at = e.path().unwrap_or(path).to_owned();
            BuildError::new("read", &at, io::Error::from(e))
        })?;
        import
            .add(&entry)
            .map_err(|e| BuildError::new("read", entry.path(), e))?;
    }
    import
        .finish()
        .map_err(|e| BuildError::new("read the tree", path, e))
}

struct Import<'a> {
    layer: &'a MemLayer,
    /// The directories from the root to where the walk is.
    dirs: Vec<NodeRef>,
    /// Nodes with several names, by device and inode number.
    links: HashMap<(u64, u64), NodeRef>,
    restore: Vec<Restore>,
}

impl Import<'_> {
    fn add(&mut self, entry: &DirEntry) -> Result<()> {
        let meta = entry.path().symlink_metadata()?;
        let file_type = FileType::from_mode_bits(meta.mode()).ok_or(Errno::EINVAL)?;
        self.dirs.truncate(entry.depth());
        let ino = match self.dirs.last().cloned() {
            None if !file_type.is_dir() => return Err(Errno::ENOTDIR.into()),
            None => {
                self.dirs.push(self.layer.root()?);
                ROOT
            }
            Some(dir) => {
                let name = Name::new(entry.file_name().as_bytes())?;
                match self.make(entry.path(), At::new(&dir, &name), &meta, file_type)? {
                    Some(ino) => ino,
                    None => return Ok(()),
                }
            }
        };
        self.restore.push(Restore {
            ino,
            xattrs: read_xattrs(entry.path())?,
            meta,
        });
        Ok(())
    }

    /// Makes the node; `None` if it is one more name of a node made before.
    fn make(
        &mut self,
        path: &Path,
        at: At<'_>,
        meta: &std::fs::Metadata,
        file_type: FileType,
    ) -> Result<Option<u64>> {
        let rdev = device(meta.rdev());
        if is_char_whiteout(file_type, rdev) {
            self.layer.whiteout(at)?;
            let dir = MemNode::ino_of(at.dir, &self.layer.shared)?;
            let made = self.layer.shared.read().entry(dir, at.name)?;
            return Ok(made.map(|entry| entry.ino));
        }
        let key = (meta.dev(), meta.ino());
        if let Some(node) = self.links.get(&key) {
            self.layer.link(node, at)?;
            return Ok(None);
        }
        let kind = match file_type {
            FileType::Regular => NewKind::File,
            FileType::Directory => NewKind::Directory,
            FileType::Symlink => {
                NewKind::Symlink(std::fs::read_link(path)?.as_os_str().as_bytes().to_vec())
            }
            FileType::Fifo => NewKind::Fifo,
            FileType::Socket => NewKind::Socket,
            FileType::CharDevice => NewKind::CharDevice(rdev),
            FileType::BlockDevice => NewKind::BlockDevice(rdev),
        };
        let new = NewNode {
            kind,
            mode: meta.mode() & 0o7777,
            uid: None,
            gid: None,
        };
        let node = self.layer.create(at, &new)?;
        let ino = MemNode::ino_of(&node, &self.layer.shared)?;
        match file_type {
            FileType::Regular => copy_data(path, meta, &*node.open(Access::Write)?)?,
            FileType::Directory => self.dirs.push(NodeRef::clone(&node)),
            _ => {}
        }
        if meta.nlink() > 1 && !file_type.is_dir() {
            self.links.insert(key, node);
        }
        Ok(Some(ino))
    }

    fn finish(self) -> Result<()> {
        let mut state = self.layer.shared.write();
        for Restore { ino, meta, xattrs } in self.restore {
            let inode = state.inode_mut(ino)?;
            inode.meta.uid = meta.uid();
            inode.meta.gid = meta.gid();
            if !inode.meta.is_symlink() {
                inode.meta.mode = meta.mode() & 0o7777;
            }
            inode.meta.atime = time(meta.atime(), meta.atime_nsec());
            inode.meta.mtime = time(meta.mtime(), meta.mtime_nsec());
            inode.meta.ctime = time(meta.ctime(), meta.ctime_nsec());
            inode.meta.btime = meta.created().ok().and_then(|t| {
                let since = t.duration_since(UNIX_EPOCH).ok()?;
                let secs = i64::try_from(since.as_secs()).ok()?;
                Some(Timestamp::new(secs, since.subsec_nanos()))
            });
            for (name, value) in xattrs {
                inode.xattrs.insert(name, value.into());
            }
        }
        // Handles take the lock when they go.
        drop(state);
        Ok(())
    }
}

fn time(secs: i64, nanos: i64) -> Timestamp {
    Timestamp::new(secs, u32::try_from(nanos).unwrap_or(0))
}

fn device(rdev: u64) -> DeviceId {
    DeviceId::new(rustix::fs::major(rdev), rustix::fs::minor(rdev))
}

/// All extended attributes of a node; none where the filesystem has none.
fn read_xattrs(path: &Path) -> Result<Vec<(XattrName, Vec<u8>)>> {
    let names = match xattr::list(path) {
        Ok(names) => names,
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in names {
        if let Some(value) = xattr::get(path, &name)? {
            found.push((XattrName::new(name.as_bytes())?, value));
        }
    }
    Ok(found)
}

/// Opens a regular file for reading: without following a symlink or waiting for a fifo's writer,
/// and without changing its access time where that is permitted.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let open = |flags| File::options().read(true).custom_flags(flags).open(path);
    match open(flags | libc::O_NOATIME) {
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => open(flags),
        opened => opened,
    }
}

/// Copies the data of a file, leaving its holes.
fn copy_data(path: &Path, expected: &std::fs::Metadata, to: &dyn LayerFile) -> Result<()> {
    let file = open(path)?;
    let meta = file.metadata()?;
    if (meta.dev(), meta.ino()) != (expected.dev(), expected.ino()) {
        return Err(Errno::ESTALE.into());
    }
    let mut buf = vec![0; COPY_BYTES.min(usize::try_from(meta.len()).unwrap_or(COPY_BYTES))];
    let mut at = 0;
    while let Some((start, end)) = next_data(&file, at, meta.len())? {
        at = start;
        while at < end {
            let part = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(buf.len());
            let read = file.read_at(buf.get_mut(..part).unwrap_or(&mut []), at)?;
            if read == 0 {
                break;
            }
            to.write_at(buf.get(..read).unwrap_or(&[]), at)?;
            at += read as u64;
        }
        at = end;
    }
    to.set_len(meta.len())
}

/// The next extent of data; the whole rest where the filesystem does not know holes.
fn next_data(
    file: &File,
    at: u64,
    len: u64,
) -> std::result::Result<Option<(u64, u64)>, BackendError> {
    if at >= len {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => return Ok(Some((at, len))),
        Err(e) => return Err(e.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?.min(len);
    Ok((start < end).then_some((start, end)))
}
