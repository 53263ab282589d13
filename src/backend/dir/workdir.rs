//! The work directory: locked, its staging directory made and swept.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno as Sys;

use super::create::temp_name;
use super::node::list_fd;
use super::resolve::{Place, open_beneath, statx_at, statx_fd};
use super::set;
use super::stat;
use super::tree::{Key, Tree, Writable, lock};
use crate::backend::encoding::INCOMPAT;
use crate::backend::{BackendError, Result};
use crate::errno::Errno;
use crate::error::{Error, LayerId};
use crate::path::Name;

/// The exclusive use of a work directory; given up when dropped.
#[derive(Debug)]
pub(super) struct WorkLock(OwnedFd);

impl WorkLock {
    pub(super) fn take(dir: OwnedFd) -> std::result::Result<Self, Errno> {
        match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(WorkLock(dir)),
            Err(Sys::AGAIN) => Err(Errno::EBUSY),
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for WorkLock {
    fn drop(&mut self) {
        // Closing would do, but a child that was just forked may still hold a copy.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Makes `work` in the work directory afresh, and removes temporary names from `index`.
pub(super) fn prepare(
    workdir: BorrowedFd<'_>,
    path: &Path,
) -> std::result::Result<(Arc<OwnedFd>, Key), Error> {
    let fail = |e: BackendError, detail: &str| {
        Error::config("open layer", path, e.errno(), LayerId::Work, detail).with_backend(e)
    };
    let work = Name::new("work").map_err(|e| fail(e.into(), "work"))?;
    if is_volatile(workdir, &work).map_err(|e| fail(e, "cannot read work/incompat"))? {
        let detail =
            "work/incompat is present: the last overlay was volatile and may be incomplete";
        return Err(fail(Errno::EINVAL.into(), detail).with_rule("R044"));
    }
    remove_work(workdir, &work).map_err(|e| fail(e, "cannot remove leftovers in work"))?;
    let made = make_private(workdir, &work).map_err(|e| fail(e, "cannot make work"))?;
    sweep_index(workdir).map_err(|e| fail(e, "cannot remove leftovers in index"))?;
    Ok(made)
}

/// As [`prepare`], with everything left as it is: what lies in `work` and `index` is to be looked at.
/// `work` is made if there is no such directory.
pub(super) fn adopt(
    workdir: BorrowedFd<'_>,
    path: &Path,
) -> std::result::Result<(Arc<OwnedFd>, Key), Error> {
    let open = || {
        let work = Name::new("work")?;
        match open_dir(workdir, &work)? {
            Some(_) => adopt_private(workdir, &work),
            None => {
                remove_simple(workdir, &work)?;
                make_private(workdir, &work)
            }
        }
    };
    open().map_err(|e: BackendError| {
        let detail = "cannot open work";
        Error::config("open layer", path, e.errno(), LayerId::Work, detail).with_backend(e)
    })
}

/// True if `work/incompat` holds anything (rules R044, R045).
fn is_volatile(workdir: BorrowedFd<'_>, work: &Name) -> Result<bool> {
    let Some(work) = open_dir(workdir, work)? else {
        return Ok(false);
    };
    match open_dir(work.as_fd(), &Name::new(INCOMPAT)?)? {
        Some(incompat) => Ok(!list_fd(incompat.as_fd())?.is_empty()),
        None => Ok(false),
    }
}

/// Opens a directory for listing, if `name` is one; an ordinary user's own unreadable directory is
/// made readable.
fn open_dir(dir: BorrowedFd<'_>, name: &Name) -> Result<Option<OwnedFd>> {
    let open = || open_beneath(dir, name.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY);
    let opened = match open() {
        Err(Sys::ACCESS) => {
            set::unlock_dir(dir, name)?;
            open()
        }
        opened => opened,
    };
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Sys::NOENT | Sys::NOTDIR | Sys::LOOP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Makes a directory that only this process uses: mode 0 (rule R042), without ACLs; for an ordinary
/// user, whom mode 0 would lock out, 0700.
fn make_private(dir: BorrowedFd<'_>, name: &Name) -> Result<(Arc<OwnedFd>, Key)> {
    rustix::fs::mkdirat(dir, name.as_bytes(), Mode::empty())?;
    adopt_private(dir, name)
}

fn adopt_private(dir: BorrowedFd<'_>, name: &Name) -> Result<(Arc<OwnedFd>, Key)> {
    let Some(fd) = open_dir(dir, name)? else {
        return Err(Errno::ENOTDIR.into());
    };
    for acl in ["system.posix_acl_default", "system.posix_acl_access"] {
        match rustix::fs::fremovexattr(&fd, acl) {
            Ok(()) | Err(Sys::NODATA | Sys::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let found = statx_fd(fd.as_fd())?;
    let mode = stat::mode(&found);
    if mode & !0o700 != 0 {
        set::chmod(Place::Held(fd.as_fd()), mode & 0o700)?;
    }
    Ok((Arc::new(fd), stat::key(&found)))
}

/// The index directory beside the staging directory; made if `create`.
pub(super) fn index(
    tree: &Tree,
    w: &Writable,
    create: bool,
) -> Result<Option<(Arc<OwnedFd>, Key)>> {
    let mut known = lock(&w.index);
    if let Some((fd, key)) = &*known {
        return Ok(Some((fd.clone(), *key)));
    }
    let name = Name::new("index")?;
    let made = match statx_at(w.workdir.as_fd(), name.as_bytes()) {
        Ok(found) => {
            tree.check_mount(&found)?;
            adopt_private(w.workdir.as_fd(), &name)?
        }
        Err(Sys::NOENT) if create => make_private(w.workdir.as_fd(), &name)?,
        Err(Sys::NOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    *known = Some((made.0.clone(), made.1));
    Ok(Some(made))
}

/// Removes temporary objects (`#...`, rule R047) from `index`, if there is one.
fn sweep_index(workdir: BorrowedFd<'_>) -> Result<()> {
    match open_dir(workdir, &Name::new("index")?)? {
        Some(index) => sweep(index.as_fd(), |name| name.as_bytes().starts_with(b"#")),
        None => Ok(()),
    }
}

/// Removes the staging directory, if there is one, with all that was left in it.
fn remove_work(workdir: BorrowedFd<'_>, work: &Name) -> Result<()> {
    if remove_simple(workdir, work)? {
        return Ok(());
    }
    if let Some(fd) = open_dir(workdir, work)? {
        sweep(fd.as_fd(), |_| true)?;
    }
    Ok(rustix::fs::unlinkat(
        workdir,
        work.as_bytes(),
        AtFlags::REMOVEDIR,
    )?)
}

/// Removes the entries of `dir` that `unwanted` picks, with everything below them, however deep:
/// without following symlinks or crossing mounts, with a bounded number of descriptors, without
/// recursion. Directories inside directories are first moved up into `dir`. Unlike the kernel,
/// which looks two levels deep (rule R043), this removes all.
fn sweep(dir: BorrowedFd<'_>, unwanted: impl Fn(&Name) -> bool) -> Result<()> {
    let mut queue: Vec<Name> = list_fd(dir)?
        .into_iter()
        .map(|entry| entry.name)
        .filter(unwanted)
        .collect();
    while let Some(name) = queue.pop() {
        if remove_simple(dir, &name)? {
            continue;
        }
        let Some(fd) = open_dir(dir, &name)? else {
            continue;
        };
        for entry in list_fd(fd.as_fd())? {
            let simple = match remove_simple(fd.as_fd(), &entry.name) {
                // A directory of an ordinary user that does not let its owner in.
                Err(e) if e.errno() == Errno::EACCES => {
                    set::unlock_dir(dir, &name)?;
                    remove_simple(fd.as_fd(), &entry.name)?
                }
                other => other?,
            };
            if !simple {
                queue.push(move_up(fd.as_fd(), &entry.name, dir)?);
            }
        }
        rustix::fs::unlinkat(dir, name.as_bytes(), AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes what one system call can remove: a non-directory or an empty directory. False if it is a
/// directory with entries.
fn remove_simple(dir: BorrowedFd<'_>, name: &Name) -> Result<bool> {
    let unlink = |flags| rustix::fs::unlinkat(dir, name.as_bytes(), flags);
    match unlink(AtFlags::empty()) {
        Ok(()) | Err(Sys::NOENT) => Ok(true),
        Err(Sys::ISDIR) => match unlink(AtFlags::REMOVEDIR) {
            Ok(()) | Err(Sys::NOENT) => Ok(true),
            Err(Sys::NOTEMPTY | Sys::EXIST) => Ok(false),
            Err(e) => Err(e.into()),
        },
        Err(e) => Err(e.into()),
    }
}

/// Moves a directory to a new name in `spare`.
fn move_up(dir: BorrowedFd<'_>, name: &Name, spare: BorrowedFd<'_>) -> Result<Name> {
    loop {
        let to = temp_name()?;
        let flags = RenameFlags::NOREPLACE;
        let call = || rustix::fs::renameat_with(dir, name.as_bytes(), spare, to.as_bytes(), flags);
        let moved = match call() {
            Err(Sys::ACCESS) => {
                set::unlock_dir(dir, name)?;
                call()
            }
            moved => moved,
        };
        match moved {
            Ok(()) => return Ok(to),
            Err(Sys::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
