//! Capture of a real directory, by descriptors and single names.
//!
//! Nothing but directories and regular files is ever opened, no symlink is followed, and no path
//! longer than one name goes to the kernel, so that depth does not matter. Attributes of a node that
//! must not be opened are read as `/proc/self/fd/<directory>/<name>`, so `/proc` has to be there.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, StatxFlags};

use super::content::{self, Source};
use super::{Entry, NodeSnapshot, SnapshotOptions, TreeSnapshot, overlay_attr};
use crate::backend::WhiteoutForm;
use crate::backend::encoding::{is_char_whiteout, may_be_xattr_whiteout};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata, Timestamp};
use crate::path::{Name, join};
use crate::xattr_name::{OverlayAttr, XattrName};

/// Attributes of what `path` names, seen from the directory `dir`; of `dir` itself if `path` is
/// empty. `follow`: whether a symlink as the last component is followed.
///
/// # Errors
/// What `statx(2)` gives; `EINVAL` for a node of an unknown type.
pub fn stat_at(dir: BorrowedFd<'_>, path: &Path, follow: bool) -> Result<Metadata, Errno> {
    let mut flags = AtFlags::empty();
    if path.as_os_str().is_empty() {
        flags |= AtFlags::EMPTY_PATH;
    }
    if !follow {
        flags |= AtFlags::SYMLINK_NOFOLLOW;
    }
    let want = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let s = rustix::fs::statx(dir, path, flags, want)?;
    let st_mode = u32::from(s.stx_mode);
    let file_type = FileType::from_mode_bits(st_mode).ok_or(Errno::EINVAL)?;
    let time = |t: rustix::fs::StatxTimestamp| Timestamp::new(t.tv_sec, t.tv_nsec);
    let mut meta = Metadata::new(file_type, st_mode);
    meta.uid = s.stx_uid;
    meta.gid = s.stx_gid;
    meta.nlink = u64::from(s.stx_nlink);
    meta.size = s.stx_size;
    meta.blocks = s.stx_blocks;
    meta.block_size = s.stx_blksize;
    if matches!(file_type, FileType::CharDevice | FileType::BlockDevice) {
        meta.rdev = DeviceId::new(s.stx_rdev_major, s.stx_rdev_minor);
    }
    meta.atime = time(s.stx_atime);
    meta.mtime = time(s.stx_mtime);
    meta.ctime = time(s.stx_ctime);
    if s.stx_mask & StatxFlags::BTIME.bits() != 0 {
        meta.btime = Some(time(s.stx_btime));
    }
    meta.ino = s.stx_ino;
    meta.dev = DeviceId::new(s.stx_dev_major, s.stx_dev_minor);
    Ok(meta)
}

impl TreeSnapshot {
    /// Captures the directory `path`, which may be a mount point. Other mounts below are entered
    /// like directories.
    ///
    /// Access times may change where the filesystem is mounted to record them.
    ///
    /// # Errors
    /// What opening `path` gives. Failures below it are recorded in the entries.
    pub fn of_dir(path: impl AsRef<Path>, options: &SnapshotOptions) -> Result<Self, Errno> {
        let root = Arc::new(open_dir(CWD, path.as_ref().as_os_str(), true)?);
        let mut tree = TreeSnapshot::new(options);
        let meta = stat_at(root.as_fd(), Path::new(""), false)?;
        let mut node = NodeSnapshot::new(meta);
        read_xattrs(&mut node, root.as_fd(), OsStr::new("."), options);
        let mut todo = Vec::new();
        list(&mut node, &root, Path::new("/"), &mut todo);
        tree.entries
            .insert(PathBuf::from("/"), Entry::Node(Box::new(node)));
        // A last-in-first-out list keeps directories open only while entries of theirs wait. By name: what was
        // looked up before can decide what is there.
        while let Some(item) = todo.pop() {
            let entry = capture(&item, options, &mut todo);
            tree.entries.insert(item.path, entry);
        }
        Ok(tree)
    }
}

/// One name that is listed and not yet captured.
struct Item {
    dir: Arc<OwnedFd>,
    name: Name,
    path: PathBuf,
    listed_type: Option<FileType>,
    listed_ino: u64,
}

fn open_dir(at: impl AsFd, name: &OsStr, follow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

fn list(node: &mut NodeSnapshot, dir: &Arc<OwnedFd>, path: &Path, todo: &mut Vec<Item>) {
    let got = (|| -> Result<Vec<Item>, Errno> {
        let mut items = Vec::new();
        for entry in rustix::fs::Dir::read_from(dir.as_fd())? {
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes == b"." || bytes == b".." {
                continue;
            }
            let name = Name::new(bytes)?;
            items.push(Item {
                dir: Arc::clone(dir),
                path: join(path, &name),
                name,
                listed_type: FileType::from_mode_bits(entry.file_type().as_raw_mode()),
                listed_ino: entry.ino(),
            });
        }
        Ok(items)
    })();
    let mut items = node.keep("listing", got).unwrap_or_default();
    items.sort_by(|a, b| b.name.cmp(&a.name));
    todo.extend(items);
}

fn capture(item: &Item, options: &SnapshotOptions, todo: &mut Vec<Item>) -> Entry {
    let dir = item.dir.as_fd();
    let name = item.name.as_os_str();
    let meta = match stat_at(dir, item.name.as_path(), false) {
        Ok(meta) => meta,
        Err(errno) => return Entry::Failed(errno),
    };
    if options.namespace.is_some() && is_char_whiteout(meta.file_type, meta.rdev) {
        return Entry::Whiteout(WhiteoutForm::CharDevice);
    }
    let mut node = NodeSnapshot::new(meta);
    node.listed_type = item.listed_type;
    node.listed_ino = Some(item.listed_ino);
    read_xattrs(&mut node, dir, name, options);
    if may_be_xattr_whiteout(node.meta.file_type, node.meta.size)
        && node.overlay.contains_key(&OverlayAttr::Whiteout)
    {
        return Entry::Whiteout(WhiteoutForm::Xattr);
    }
    match node.meta.file_type {
        FileType::Directory => {
            let opened = open_dir(dir, name, false);
            if let Some(fd) = node.keep("open", opened) {
                list(&mut node, &Arc::new(fd), &item.path, todo);
            }
        }
        FileType::Symlink => {
            let got = rustix::fs::readlinkat(dir, name, Vec::new());
            node.target = node
                .keep("readlink", got.map_err(Errno::from))
                .map(std::ffi::CString::into_bytes);
        }
        FileType::Regular if options.content => {
            let got = read_content(dir, name, &node.meta, options.inline_bytes_max);
            node.content = node.keep("content", got);
        }
        _ => {}
    }
    Entry::Node(Box::new(node))
}

fn read_xattrs(
    node: &mut NodeSnapshot,
    dir: BorrowedFd<'_>,
    name: &OsStr,
    options: &SnapshotOptions,
) {
    let mut bytes = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    bytes.extend_from_slice(name.as_bytes());
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    let names = node.keep("listxattr", list_xattrs(&path));
    for name in names.unwrap_or_default() {
        let Some(value) = node.keep("getxattr", get_xattr(&path, &name)) else {
            continue;
        };
        let overlay = options
            .namespace
            .and_then(|namespace| overlay_attr(name.as_bytes(), namespace));
        match overlay {
            Some(attr) => {
                node.overlay.insert(attr, value);
            }
            None => {
                node.xattrs.insert(name, value);
            }
        }
    }
}

fn list_xattrs(path: &Path) -> Result<Vec<XattrName>, Errno> {
    let size = match rustix::fs::llistxattr_query(path) {
        Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(size) => size,
        Err(errno) => return Err(errno.into()),
    };
    let mut buf = vec![0u8; size];
    let len = rustix::fs::llistxattr(path, buf.as_mut_slice())?;
    let names = buf.get(..len).unwrap_or_default().split(|b| *b == 0);
    names
        .filter(|name| !name.is_empty())
        .map(XattrName::new)
        .collect()
}

fn get_xattr(path: &Path, name: &XattrName) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0u8; 512];
    let len = match rustix::fs::lgetxattr(path, name.as_bytes(), buf.as_mut_slice()) {
        Err(rustix::io::Errno::RANGE) => {
            buf = vec![0u8; 65536];
            rustix::fs::lgetxattr(path, name.as_bytes(), buf.as_mut_slice())?
        }
        other => other?,
    };
    buf.truncate(len);
    Ok(buf)
}

struct RealFile(OwnedFd);

impl Source for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        Ok(rustix::io::pread(&self.0, buf, offset)?)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, Errno> {
        let start = match rustix::fs::seek(&self.0, SeekFrom::Data(offset)) {
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            other => other?,
        };
        let end = rustix::fs::seek(&self.0, SeekFrom::Hole(start))?;
        Ok(Some(start..end))
    }
}

fn read_content(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    meta: &Metadata,
    inline_max: u64,
) -> Result<super::Content, Errno> {
    if meta.size == 0 && meta.blocks == 0 {
        return content::read(&Nothing, 0, inline_max);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty())?,
        other => other?,
    };
    // The end of the data, which is not the size of a metacopy file.
    let len = rustix::fs::seek(&file, SeekFrom::End(0))?;
    content::read(&RealFile(file), len, inline_max)
}

/// An empty file; nothing needs to be opened for it.
struct Nothing;

impl Source for Nothing {
    fn read_at(&self, _: &mut [u8], _: u64) -> Result<usize, Errno> {
        Ok(0)
    }
    fn next_data(&self, _: u64) -> Result<Option<Range<u64>>, Errno> {
        Ok(None)
    }
}
