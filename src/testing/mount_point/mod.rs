//! A real directory or mount point as a merged file system, by system calls.
//!
//! The root of a thread is changed into the tree, so that paths, symlinks, `..` and trailing slashes are resolved
//! by the kernel itself exactly within the tree. That needs `CAP_SYS_CHROOT`.
//!
//! # Order of composite operations
//!
//! - `CreateDirAll`: `ENOENT` for the empty path; then as `mkdir -p` one component after the other: a
//!   directory (links followed) is passed, a missing one made, all with the same mode. Anything else as
//!   the last component is `EEXIST`, before it `ENOTDIR`.
//! - `RemoveDirAll`: `open(path, O_DIRECTORY|O_NOFOLLOW)`, else its error (`ENOTDIR` for a symlink, with a slash
//!   behind it too, `EBUSY` for the root, `.` and `..`); the names in byte order; each: `lstat`, then the same
//!   for a directory, `unlink` for all else; last `rmdir(path)`. The first error ends it.
//! - `Copy`: open `from` to read; its mode; `EINVAL` if `to` is the same file; open `to` to write, create,
//!   truncate with that mode (`0o7777`); length of `from`; its data ranges, ascending, in pieces of at most
//!   64 KiB; `ftruncate` if a hole ends it; `fchmod` to the mode. Answers the length.
//! - `SetAttr`: `chown` if uid or gid is given, `chmod` if a mode is, `utimensat` if a time is. `chmod`
//!   of a symlink that is not followed: `EOPNOTSUPP`.
//! - `As`: the thread takes the caller's user and group for files, groups, capabilities and umask; `EPERM` if it may
//!   not.
//!
//! # Freedoms
//!
//! Opening a fifo, socket or device is `ENXIO` here wherever the kernel would open it (or refuse only since
//! the mount allows no devices), and opening a directory for reading is `EISDIR`: files are regular files.

mod calls;
mod disguise;
mod real_fs;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::Mode;

use crate::errno::Errno;
use crate::op::{Op, Outcome};
use crate::testing::merged::MergedFs;
use crate::testing::snapshot::{SnapshotOptions, TreeSnapshot};

pub use real_fs::RealFs;

/// The file creation mask that operations run with.
const UMASK: u32 = 0o022;

/// A real tree, with a thread of its own whose root it is. Nothing of the calling thread changes.
///
/// Mounts that the calling thread sees when it makes this are seen by it, in a mount namespace too.
///
/// ```
/// use layerstack::Op;
/// use layerstack::testing::{MergedFs, MountPoint};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = std::env::temp_dir();
/// // Without the right to change the root of a thread there is an error.
/// if let Ok(mut tree) = MountPoint::new(&dir) {
///     let missing = Op::ReadLink { path: "/no such link".into() };
///     assert_eq!(tree.apply(&missing), Err(layerstack::Errno::ENOENT));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MountPoint {
    root: PathBuf,
    /// `None` only while this is dropped.
    ops: Option<Sender<Request>>,
    answers: Receiver<Result<Outcome, Errno>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Request {
    Apply(Op),
    CloseAll,
}

impl MountPoint {
    /// Operations will be executed in `root`, with the umask `022`.
    ///
    /// # Errors
    /// What opening `root` gives; `EPERM` without `CAP_SYS_CHROOT`; `EAGAIN` if no thread can be started.
    pub fn new(root: impl AsRef<Path>) -> Result<Self, Errno> {
        let root = root.as_ref().to_path_buf();
        let (ops, requests) = channel();
        let (sender, answers) = channel();
        let within = root.clone();
        let thread = std::thread::Builder::new()
            .name(String::from("mount point"))
            .spawn(move || work(&within, &requests, &sender))
            .map_err(|_| Errno::EAGAIN)?;
        let mount_point = MountPoint {
            root,
            ops: Some(ops),
            answers,
            thread: Some(thread),
        };
        // The first answer tells whether the root could be changed.
        mount_point.answer().map(|_| mount_point)
    }

    fn ask(&self, request: Request) -> Result<Outcome, Errno> {
        let ops = self.ops.as_ref().ok_or(Errno::EIO)?;
        ops.send(request).map_err(|_| Errno::EIO)?;
        self.answer()
    }

    fn answer(&self) -> Result<Outcome, Errno> {
        self.answers.recv().map_err(|_| Errno::EIO)?
    }
}

fn work(root: &Path, requests: &Receiver<Request>, answers: &Sender<Result<Outcome, Errno>>) {
    let started = start(root);
    let ready = match &started {
        Ok(_) => real_fs::DONE,
        Err(errno) => Err(*errno),
    };
    // Nobody listens any more: the mount point was dropped.
    let mut listening = answers.send(ready).is_ok();
    let Ok(mut tree) = started else { return };
    while listening && let Ok(request) = requests.recv() {
        let answer = match request {
            Request::Apply(op) => tree.apply_inside(&op),
            Request::CloseAll => {
                tree.close_all();
                real_fs::DONE
            }
        };
        listening = answers.send(answer).is_ok();
    }
}

fn start(root: &Path) -> Result<RealFs, Errno> {
    unshare(CloneFlags::CLONE_FS)?;
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    let tree = RealFs::new(root)?;
    tree.enter()?;
    Ok(tree)
}

impl MergedFs for MountPoint {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.ask(Request::Apply(op.clone()))
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        TreeSnapshot::of_dir(&self.root, options)
    }

    fn close_all(&mut self) -> Result<(), Errno> {
        self.ask(Request::CloseAll).map(|_| ())
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        self.ops = None;
        if let Some(thread) = self.thread.take() {
            // It ends as nobody asks any more; a panic there has been told as EIO.
            let _ = thread.join();
        }
    }
}
