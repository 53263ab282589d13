//! Reading nodes of a directory layer.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{FileType as SysType, Mode, OFlags, RawDir, Statx};
use rustix::io::Errno as Sys;

use super::attr;
use super::c_name::CName;
use super::fds;
use super::file::DirFile;
use super::flags;
use super::plain;
use super::resolve::{self, Place, open_beneath, stale};
use super::stat;
use super::tree::{DirNode, Location, Origin, Tree};
use crate::backend::encoding::{is_char_whiteout, may_be_xattr_whiteout};
use crate::backend::{
    Access, Entry, FileHandle, LayerFile, LayerNode, RawEntry, Result, WhiteoutForm,
};
use crate::errno::Errno;
use crate::meta::InodeFlags;
use crate::meta::{FileType, Metadata};
use crate::path::Name;
use crate::sys;
use crate::xattr_name::{OverlayAttr, XattrName, XattrNamespace};

/// Bytes of entries read from a directory with one system call.
const LIST_BYTES: usize = 32 * 1024;

/// Longest symlink target that is read. Linux stores at most 4095 bytes.
const LINK_BYTES_GUESS: usize = 256;

/// How files are opened, so that opening anything else would not wait nor take a terminal.
const NOT_WAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

impl LayerNode for DirNode {
    fn metadata(&self) -> Result<Metadata> {
        let found = self.with_place(|place| place.statx().map_err(|e| stale(e).into()))?;
        self.tree.check(&found, self.key)?;
        stat::metadata(&found)
    }

    fn lookup(&self, name: &Name) -> Result<Option<Entry>> {
        self.find(name, true)
    }

    fn lookup_plain(&self, name: &Name) -> Result<Option<Entry>> {
        self.find(name, false)
    }

    fn plain(&self, name: &Name) -> Result<Option<Metadata>> {
        if self.tree.writable.is_some() {
            return Ok(None);
        }
        let fd = self.dir_fd()?;
        let place = Place::Named(fd.as_fd(), name);
        let Some((found, meta)) = self.tree.look(place)? else {
            return Ok(None);
        };
        let is_metacopy = || {
            let attr = OverlayAttr::Metacopy.full_name(self.tree.identity.namespace);
            let read = || attr::get(place, &attr);
            plain::metacopy(&self.tree, stat::key(&found), read).map(|value| value.is_some())
        };
        let is_plain = !meta.is_dir()
            && whiteout_form(&self.tree, &meta, place, true)?.is_none()
            && !(meta.is_file() && is_metacopy()?);
        Ok(is_plain.then_some(meta))
    }

    fn list(&self) -> Result<Vec<RawEntry>> {
        let fd = self.dir_fd()?;
        let fd = open_for_list(fd.as_fd())?;
        list_fd(fd.as_fd())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        if !self.file_type.is_symlink() {
            return Err(Errno::EINVAL.into());
        }
        self.with_place(|place| {
            let buf = Vec::with_capacity(LINK_BYTES_GUESS);
            let target = match place {
                Place::Named(dir, name) => rustix::fs::readlinkat(dir, name.as_bytes(), buf),
                Place::Held(fd) => rustix::fs::readlinkat(fd, c"", buf),
            };
            match target {
                Ok(target) => Ok(target.into_bytes()),
                // Something else has the name now.
                Err(Sys::INVAL) => Err(Errno::ESTALE.into()),
                Err(e) => Err(stale(e).into()),
            }
        })
    }

    fn xattr(&self, name: &XattrName) -> Result<Option<Vec<u8>>> {
        self.with_place(|place| attr::get(place, name))
    }

    fn xattrs(&self) -> Result<Vec<XattrName>> {
        match self.listed() {
            Some(list) => attr::names(list),
            None => attr::names(&self.with_place(attr::list)?.unwrap_or_default()),
        }
    }

    fn overlay_attr(&self, attr: OverlayAttr) -> Result<Option<Vec<u8>>> {
        let name = attr.full_name(self.tree.identity.namespace);
        let read = || match self.listed() {
            Some(list) if !attr::in_list(list).any(|n| n == name.as_bytes()) => Ok(None),
            _ => self.xattr(&name),
        };
        if attr == OverlayAttr::Metacopy && self.file_type.is_file() {
            return plain::metacopy(&self.tree, self.key, read);
        }
        read()
    }

    fn flags(&self) -> Result<InodeFlags> {
        flags::get(self)
    }

    fn file_handle(&self) -> Result<Option<FileHandle>> {
        self.with_place(|place| {
            let handle = match place {
                Place::Named(dir, name) => {
                    sys::file_handle(dir, CName::new(name.as_bytes())?.get()?)
                }
                Place::Held(fd) => sys::file_handle(fd, c""),
            };
            Ok(handle?)
        })
    }

    fn open(&self, access: Access) -> Result<Box<dyn LayerFile>> {
        match self.file_type {
            FileType::Regular => {}
            FileType::Directory => return Err(Errno::EISDIR.into()),
            FileType::Symlink => return Err(Errno::ELOOP.into()),
            _ => return Err(Errno::ENXIO.into()),
        }
        if access != Access::Read && self.tree.writable.is_none() {
            return Err(Errno::EROFS.into());
        }
        if self.origin == Origin::Handle {
            return Err(Errno::EACCES.into());
        }
        Ok(Box::new(self.open_file(access)?))
    }
}

impl DirNode {
    /// Looks a name up; a whiteout by attribute is one if `marks` say so.
    fn find(&self, name: &Name, marks: bool) -> Result<Option<Entry>> {
        let fd = self.dir_fd()?;
        let _names = self.hold_names();
        let place = Place::Named(fd.as_fd(), name);
        let Some((found, meta)) = self.tree.look(place)? else {
            return Ok(None);
        };
        if let Some(form) = whiteout_form(&self.tree, &meta, place, marks)? {
            return Ok(Some(Entry::Whiteout(form)));
        }
        let this = self.arc()?;
        let node = this.child(name, stat::key(&found), meta.file_type);
        if self.tree.writable.is_some() && matches!(*node.look_location(), Location::At(..)) {
            node.repair(&this, name, fd.as_fd())?;
        }
        Ok(Some(Entry::Node(node, meta)))
    }

    /// The list of a lower's attributes: read once, as lowers do not change, in place of asking for overlay
    /// attributes one by one. `None` where it does not tell which those are: who may not read a file is
    /// refused its `user.` attributes, but not their names.
    fn listed(&self) -> Option<&[u8]> {
        let tree = &self.tree;
        if tree.writable.is_some() || tree.identity.namespace != XattrNamespace::Trusted {
            return None;
        }
        let read = || self.with_place(attr::list).ok().flatten();
        let listed = self
            .listed
            .get_or_init(|| read().map(Vec::into_boxed_slice));
        listed.as_deref()
    }

    /// Opens this regular file.
    ///
    /// First it is opened as a mere location, and only once that is known to be the file, for access. So
    /// nothing else, such as a device put there meanwhile, is ever opened. Where the mount lets nobody open
    /// devices, it is opened at once and looked at then: whatever else it may be (a fifo, another file of
    /// the layer), opening it does not wait and changes nothing, and it is closed again.
    pub(super) fn open_file(&self, access: Access) -> Result<DirFile> {
        if let Location::Unnamed(file) = self.location() {
            // Its owner may write it whatever its mode says.
            return Ok(DirFile::lent(file.fd.clone(), access, self.tree.clone()));
        }
        let flags = access_flags(access);
        let (fd, found) = self.with_place(|place| {
            let opened;
            let fd = match place {
                Place::Held(fd) => fd,
                Place::Named(dir, name) => {
                    if self.tree.nodev
                        // An error may be of something else that has the name now.
                        && let Ok(fd) = open_without_waiting(dir, name, flags)
                    {
                        let found = resolve::statx_fd(fd.as_fd())?;
                        self.check_file(&found)?;
                        return Ok((fd, found));
                    }
                    opened = resolve::open_path(dir, name).map_err(stale)?;
                    opened.as_fd()
                }
            };
            let found = resolve::statx_fd(fd)?;
            self.check_file(&found)?;
            Ok((reopen(fd, flags)?, found))
        })?;
        let file = DirFile::new(Arc::new(fd), access, self.tree.clone());
        Ok(file.found(found))
    }

    /// `ESTALE` unless this file was found.
    fn check_file(&self, found: &Statx) -> Result<()> {
        self.tree.check(found, self.key)?;
        match stat::file_type(found)? == self.file_type {
            true => Ok(()),
            false => Err(Errno::ESTALE.into()),
        }
    }

    /// Opens a file that has no name yet as it will be opened by its name; `None` if it is not such a file.
    pub(super) fn open_unnamed(&self, access: Access) -> Result<Option<DirFile>> {
        let Location::Unnamed(file) = self.location() else {
            return Ok(None);
        };
        let tree = self.tree.clone();
        if file.is_permitted.load(Ordering::Relaxed) {
            return Ok(Some(DirFile::lent(file.fd.clone(), access, tree)));
        }
        let fd = reopen(file.fd.as_fd(), access_flags(access))?;
        Ok(Some(DirFile::new(Arc::new(fd), access, tree)))
    }

    /// A directory that turned up as `name` in `dir`, where this process did not know it to be, was
    /// moved behind our back: from now on a descriptor keeps it, whatever its name.
    fn repair(&self, dir: &Arc<DirNode>, name: &Name, fd: BorrowedFd<'_>) -> Result<()> {
        if !self.file_type.is_dir() || self.is_at(dir, name) {
            return Ok(());
        }
        let fd = resolve::open_path(fd, name).map_err(stale)?;
        let found = resolve::statx_fd(fd.as_fd())?;
        self.tree.check(&found, self.key)?;
        self.set_location(Location::Pinned(fd.into()));
        Ok(())
    }
}

impl Tree {
    /// What is at a place, if anything is; `EREMOTE` if it lies on another mount.
    fn look(&self, place: Place<'_>) -> Result<Option<(Statx, Metadata)>> {
        let found = match place.statx() {
            Ok(found) => found,
            Err(Sys::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        self.check_mount(&found)?;
        let meta = stat::metadata(&found)?;
        Ok(Some((found, meta)))
    }
}

/// In which form what was found at a place is a whiteout; the one by attribute counts if `marks` say so.
fn whiteout_form(
    tree: &Tree,
    meta: &Metadata,
    place: Place<'_>,
    marks: bool,
) -> Result<Option<WhiteoutForm>> {
    if is_char_whiteout(meta.file_type, meta.rdev) {
        return Ok(Some(WhiteoutForm::CharDevice));
    }
    if !marks || !may_be_xattr_whiteout(meta.file_type, meta.size) {
        return Ok(None);
    }
    let attr = OverlayAttr::Whiteout.full_name(tree.identity.namespace);
    let mark = attr::get(place, &attr)?;
    Ok(mark.map(|_| WhiteoutForm::Xattr))
}

fn open_without_waiting(
    dir: BorrowedFd<'_>,
    name: &Name,
    flags: OFlags,
) -> std::result::Result<OwnedFd, Sys> {
    noatime(flags | NOT_WAITING, |flags| {
        open_beneath(dir, name.as_bytes(), flags)
    })
}

pub(super) fn access_flags(access: Access) -> OFlags {
    match access {
        Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
        Access::Write => OFlags::WRONLY,
    }
}

/// Opens what a descriptor, which may be `O_PATH`, holds, without touching its access time where permitted.
pub(super) fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> std::result::Result<OwnedFd, Sys> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = flags | OFlags::CLOEXEC | NOT_WAITING;
    noatime(flags, |flags| {
        rustix::fs::open(path.as_str(), flags, Mode::empty())
    })
}

/// Opens a directory for listing.
pub(super) fn open_for_list(dir: BorrowedFd<'_>) -> std::result::Result<OwnedFd, Sys> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    noatime(flags, |flags| open_beneath(dir, b".", flags))
}

/// How a file without a name is made.
pub(super) fn make_unnamed(dir: BorrowedFd<'_>, mode: Mode) -> std::result::Result<OwnedFd, Sys> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | NOT_WAITING;
    noatime(flags, |flags| rustix::fs::openat(dir, c".", flags, mode))
}

/// Tries with `O_NOATIME`, which only owners and the privileged may use, then without.
fn noatime<T>(
    flags: OFlags,
    mut open: impl FnMut(OFlags) -> std::result::Result<T, Sys>,
) -> std::result::Result<T, Sys> {
    match fds::opening(|| open(flags | OFlags::NOATIME)) {
        Err(Sys::PERM) => fds::opening(|| open(flags)),
        other => other,
    }
}

/// All entries of a directory that was just opened for listing.
pub(super) fn list_fd(fd: BorrowedFd<'_>) -> Result<Vec<RawEntry>> {
    let mut buf = vec![MaybeUninit::uninit(); LIST_BYTES];
    let mut dir = RawDir::new(fd, &mut buf);
    let mut entries = Vec::new();
    while let Some(entry) = dir.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // The directory was removed: it has no entries.
            Err(Sys::NOENT) => break,
            Err(e) => return Err(e.into()),
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        entries.push(RawEntry {
            name: Name::new(name)?,
            file_type: match entry.file_type() {
                SysType::RegularFile => Some(FileType::Regular),
                SysType::Directory => Some(FileType::Directory),
                SysType::Symlink => Some(FileType::Symlink),
                SysType::Fifo => Some(FileType::Fifo),
                SysType::Socket => Some(FileType::Socket),
                SysType::CharacterDevice => Some(FileType::CharDevice),
                SysType::BlockDevice => Some(FileType::BlockDevice),
                SysType::Unknown => None,
            },
            ino: entry.ino(),
        });
    }
    Ok(entries)
}
