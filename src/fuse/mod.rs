//! A union as a mount point, through `/dev/fuse` (feature `fuse`).
//!
//! [`mount`] serves any [`LayerStack`] or [`Overlay`](crate::Overlay), whatever its layers are, so
//! that every program can use it. Nothing here knows a rule of unions: requests are translated
//! into operations of the engine, and its answers back.
//!
//! ```no_run
//! use layerstack::fuse::{FuseOptions, mount};
//! use layerstack::{DirLayer, LayerStack, Overlay, backend::memory::MemLayer};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lowers = LayerStack::from_top([DirLayer::open_lower("/srv/image")?])?;
//! let overlay = Overlay::new(&lowers, MemLayer::new())?;
//! let mut session = mount(&overlay, "/mnt", &FuseOptions::new())?;
//! std::fs::write("/mnt/new", "in memory only")?;
//! session.unmount()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What the mount shows
//!
//! The same as the library, and what the kernel's overlay mount of the same layers would show, as
//! far as the protocol can tell it. It cannot tell: birth times; the type of the filesystem
//! (`statfs` says FUSE); different device numbers for files of different filesystems (inode numbers
//! are told apart by their upper bits instead).
//!
//! # Who checks what
//!
//! Permissions, access lists, locks and the page cache are the kernel's. The caller's user, group
//! and umask come with each request; further groups and capabilities, which decide whether set-id bits
//! stay when a file with such bits changes, are read from `/proc`. The server's process owns every
//! access to the layers, so it needs the rights for them.
//!
//! # What the protocol does not permit
//!
//! - Unnamed files (`O_TMPFILE`): `EOPNOTSUPP`, as the library that speaks the protocol has no such
//!   request. Programs fall back to named ones.
//! - Inode flags without a name in [`InodeFlags`](crate::InodeFlags) are not shown, and cannot be set
//!   (`EOPNOTSUPP`).
//! - With an index all names of a lower file are one object, and a request does not say by which of them
//!   it was opened. So another of its names may be copied up than the kernel would take; what is shown
//!   is the same.
//! - Of what is immutable or append-only the kernel does not know; it is refused all the same, but
//!   another reason to refuse may be told first.
//! - Ranges taken out of files or put in (`fallocate(2)`), and unsharing: `EOPNOTSUPP`. Files cloned by
//!   `FICLONE`, and maps of extents (`FIEMAP`), too; `copy_file_range(2)` shares extents where the layers can.
//! - A change of owner that changes nothing is asked for as is the loss of privileges when somebody writes. Of a
//!   file that is open it is taken for that, so root's `chown : FILE` leaves it set-id bits then.
//! - The change time of a directory stays as it was while a file in it is copied up, until the kernel asks again.
//! - Files and directories have handles (`name_to_handle_at(2)`), which are good as long as the mount.

mod caller;
mod convert;
mod data;
mod device;
mod flags;
mod handles;
mod io;
mod listing;
mod names;
mod nodes;
mod objects;
mod options;
mod server;
mod session;
mod streams;

use std::path::Path;

pub use options::FuseOptions;
pub use session::{Session, Unmounter};

use crate::error::Result;
use crate::overlay::stack::LayerStack;

/// Mounts `union` at the directory `mountpoint` and serves it from threads of its own. When this
/// returns the mount is live.
///
/// As root the kernel is asked directly; otherwise the program `fusermount3` is.
///
/// # Errors
/// - `ENOENT`, `ENOTDIR`: no such directory to mount on.
/// - `ENOENT`, `EACCES`: `/dev/fuse` cannot be opened; `fusermount3` is not installed.
/// - `EPERM`: mounting is not permitted; the text has what `fusermount3` says.
pub fn mount(
    union: &LayerStack,
    mountpoint: impl AsRef<Path>,
    options: &FuseOptions,
) -> Result<Session> {
    Session::start(union.core.clone(), mountpoint.as_ref(), options)
}
