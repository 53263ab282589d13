//! The writable union, and the operations that it shares with directory handles.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{AllocateMode, LayerBackend, NewKind, XattrMode};
use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::meta::{DeviceId, FileType, InodeFlags, SetAttr, SetTime};
use crate::op::{OpenOptions, RenameFlags};
use crate::overlay::composite;
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::dir::Dir;
use crate::overlay::file::File;
use crate::overlay::mutate::Spec;
use crate::overlay::ops::Run;
use crate::overlay::options::OverlayOptions;
use crate::overlay::reading::reading_operations;
use crate::overlay::stack::{LayerStack, Layers};
use crate::xattr_name::XattrName;

/// A union with a writable upper layer.
///
/// It is a [`LayerStack`] (to which it dereferences, for everything that reads) whose tree can be
/// changed: by copy-up and whiteouts in the upper; lowers are never touched. Cheap to clone; clones
/// share everything. Every single operation is atomic: the tree shows it wholly or not at all.
///
/// ```
/// use layerstack::{LayerStack, Overlay, backend::memory::MemLayer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lower = MemLayer::builder().file("a", b"old").file("b", b"").build()?;
/// let upper = MemLayer::new();
/// let overlay = Overlay::new(&LayerStack::from_top([lower.clone()])?, upper)?;
/// overlay.write("/a", b"new")?;
/// overlay.remove_file("/b")?;
/// assert_eq!(overlay.read("/a")?, b"new");
/// assert!(!overlay.exists("/b")?);
/// // The lower is as it was.
/// assert_eq!(LayerStack::from_top([lower])?.read("/a")?, b"old");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Overlay {
    stack: LayerStack,
}

impl Deref for Overlay {
    type Target = LayerStack;
    fn deref(&self) -> &LayerStack {
        &self.stack
    }
}

impl Overlay {
    /// The layers of `lowers` below `upper`, with the default options.
    ///
    /// # Errors
    /// As [`LayerStack::from_top`]; `EINVAL` if `upper` is read-only (for a real directory: opened
    /// without a work directory).
    pub fn new(lowers: &LayerStack, upper: impl LayerBackend + 'static) -> Result<Self> {
        Overlay::with_options(lowers, upper, OverlayOptions::default())
    }

    /// As [`Overlay::new`], with options.
    ///
    /// # Errors
    /// As [`Overlay::new`].
    pub fn with_options(
        lowers: &LayerStack,
        upper: impl LayerBackend + 'static,
        options: OverlayOptions,
    ) -> Result<Self> {
        crate::overlay::open::writable(&upper)?;
        let layers = Layers {
            upper: Some(Arc::new(upper)),
            ..lowers.core.layers()
        };
        let core = Core::new(layers, options)?;
        Ok(Overlay {
            stack: LayerStack { core },
        })
    }

    /// A union without upper, with the options of `lowers`: every change is `EROFS`, after the checks
    /// that come before that (rule R215).
    ///
    /// # Errors
    /// As [`LayerStack::from_top`].
    pub fn read_only(lowers: &LayerStack) -> Result<Self> {
        let layers = Layers {
            upper: None,
            ..lowers.core.layers()
        };
        let core = Core::new(layers, lowers.core.options.clone())?;
        Ok(Overlay {
            stack: LayerStack { core },
        })
    }

    pub(crate) fn of_stack(stack: LayerStack) -> Self {
        Overlay { stack }
    }

    /// The upper layer, if there is one.
    #[must_use]
    pub fn upper_layer(&self) -> Option<Arc<dyn LayerBackend>> {
        self.core.upper.clone()
    }

    /// Gives the layers back, for committing the upper, closing or stacking them otherwise. Clones of
    /// the union and files open in it go on using them.
    #[must_use]
    pub fn into_layers(self) -> Layers {
        self.stack.into_layers()
    }

    /// Makes everything written durable. Nothing is done with [`Fsync::Volatile`](crate::Fsync::Volatile)
    /// or `Off` (rule R248).
    ///
    /// # Errors
    /// What the upper's filesystem gives.
    pub fn sync(&self) -> Result<()> {
        self.core.sync().map_err(|e| e.into_error("sync", "/"))
    }
}

/// The node that `mknod(2)` makes for a type.
pub(crate) fn mknod_kind(file_type: FileType, rdev: DeviceId) -> Res<NewKind> {
    Ok(match file_type {
        FileType::Regular => NewKind::File,
        FileType::Fifo => NewKind::Fifo,
        FileType::Socket => NewKind::Socket,
        FileType::CharDevice => NewKind::CharDevice(rdev),
        FileType::BlockDevice => NewKind::BlockDevice(rdev),
        FileType::Directory => return Err(Errno::EPERM.into()),
        FileType::Symlink => return Err(Errno::EINVAL.into()),
    })
}

fn failed(op: &'static str, path: &Path) -> impl FnOnce(Fail) -> Error {
    move |e| e.into_error(op, path)
}

/// The operations that [`Overlay`] and [`Dir`] share.
macro_rules! operations {
    ($type:ty) => {
        impl $type {
            /// Opens a regular file; see [`OpenOptions`]. Opening for writing or truncating copies a
            /// lower file up, whatever is then done (rules R194, R195).
            ///
            /// # Errors
            /// `NotFound`, `IsADirectory`, `Loop`, `AlreadyExists`; `ENXIO` for a fifo, socket or
            /// device, whose content is in no layer; `EROFS`; what the layers give.
            pub fn open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File> {
                let path = path.as_ref();
                self.core
                    .open(self.base(), path, options)
                    .map_err(failed("open", path))
            }

            /// Creates or replaces a file with this content.
            ///
            /// # Errors
            /// As [`open`](Self::open) and [`File::write_at`].
            pub fn write(&self, path: impl AsRef<Path>, data: impl AsRef<[u8]>) -> Result<()> {
                let options = OpenOptions::new().write(true).create(true).truncate(true);
                self.open(path, &options)?.write_all_at(data.as_ref(), 0)
            }

            /// Creates a directory; `mode`: permission bits before umask or default access list.
            ///
            /// # Errors
            /// `AlreadyExists`, `NotFound`, `EROFS`; what the upper gives.
            ///
            /// # Effects
            /// Over a whiteout the new directory is opaque (rule R087), so nothing of what was
            /// removed shows through.
            pub fn create_dir(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
                let path = path.as_ref();
                let spec = Spec::new(NewKind::Directory, mode);
                self.core
                    .create(Run::Apply, self.base(), path, &spec)
                    .map_err(failed("create_dir", path))
            }

            /// Creates a directory and its missing parents. An existing directory is fine. Each
            /// directory is one atomic step.
            ///
            /// # Errors
            /// As [`create_dir`](Self::create_dir); `AlreadyExists` if `path` is no directory.
            pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
                let path = path.as_ref();
                composite::create_dir_all(&self.core, self.base(), path, mode)
                    .map_err(failed("create_dir_all", path))
            }

            /// Creates a symlink at `path` that points to `target`.
            ///
            /// # Errors
            /// `AlreadyExists`, `NotFound` (also for an empty target), `EROFS`.
            pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
                use std::os::unix::ffi::OsStrExt;
                let (target, path) = (target.as_ref().as_os_str().as_bytes(), path.as_ref());
                self.core
                    .symlink(Run::Apply, self.base(), target, path)
                    .map_err(failed("symlink", path))
            }

            /// Gives what `from` names one more name. A lower file is copied up; its other lower
            /// names stay what they are (rule R134).
            ///
            /// # Errors
            /// `EPERM` for a directory; `AlreadyExists`, `NotFound`, `EROFS`.
            pub fn hard_link(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
                let (from, to) = (from.as_ref(), to.as_ref());
                self.core
                    .hard_link(Run::Apply, self.base(), from, to)
                    .map_err(|e| e.into_error("hard_link", from).with_to(to))
            }

            /// Creates a regular file, fifo, socket or device; `mode` as for
            /// [`create_dir`](Self::create_dir).
            ///
            /// # Errors
            /// `EPERM` for a character device 0/0, which would be a whiteout (rule R084), and for a
            /// directory; `EINVAL` for a symlink; `AlreadyExists` and others.
            pub fn mknod(
                &self,
                path: impl AsRef<Path>,
                file_type: FileType,
                mode: u32,
                rdev: DeviceId,
            ) -> Result<()> {
                let path = path.as_ref();
                mknod_kind(file_type, rdev)
                    .and_then(|kind| {
                        let spec = Spec::new(kind, mode);
                        self.core.create(Run::Apply, self.base(), path, &spec)
                    })
                    .map_err(failed("mknod", path))
            }

            /// Removes a name of anything but a directory. If a lower shows the name, a whiteout
            /// hides it (rule R081).
            ///
            /// # Errors
            /// `NotFound`, `IsADirectory`, `EROFS`.
            pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
                let path = path.as_ref();
                self.core
                    .remove_file(Run::Apply, self.base(), path)
                    .map_err(failed("remove_file", path))
            }

            /// Removes a directory that shows no entries; whiteouts in it do not count.
            ///
            /// # Errors
            /// `NotEmpty`, `NotADirectory`, `NotFound`, `EROFS`.
            pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
                let path = path.as_ref();
                self.core
                    .remove_dir(Run::Apply, self.base(), path)
                    .map_err(failed("remove_dir", path))
            }

            /// Removes a directory and everything in it, entry by entry; symlinks are removed, not
            /// followed. Each entry is one atomic step; a failure leaves the rest.
            ///
            /// # Errors
            /// `NotADirectory` if `path` is no directory; `NotFound`, `EROFS`.
            pub fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
                let path = path.as_ref();
                composite::remove_dir_all(&self.core, self.base(), path)
                    .map_err(failed("remove_dir_all", path))
            }

            /// Renames `from` to `to`, replacing what is there.
            ///
            /// # Errors
            /// As [`rename_with`](Self::rename_with).
            pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
                self.rename_with(from, to, RenameFlags::NONE)
            }

            /// Renames as `flags` say.
            ///
            /// # Errors
            /// `CrossLayer` (`EXDEV`): a lower or merged directory, even an empty one, unless
            /// [`RedirectDir::On`](crate::RedirectDir::On) (rule R141), and then if the path to
            /// redirect to is longer than
            /// [`REDIRECT_BYTES_MAX`](crate::REDIRECT_BYTES_MAX) (R155); the tree is as it was, and the
            /// caller moves it by copying. `NotEmpty`,
            /// `IsADirectory`, `NotADirectory`, `AlreadyExists`, `NotFound`; `EINVAL` for a directory
            /// into itself and for the flag `whiteout` (rule R139); `EROFS`.
            pub fn rename_with(
                &self,
                from: impl AsRef<Path>,
                to: impl AsRef<Path>,
                flags: RenameFlags,
            ) -> Result<()> {
                let (from, to) = (from.as_ref(), to.as_ref());
                self.core
                    .rename(Run::Apply, (self.base(), self.base()), from, to, flags)
                    .map_err(|e| e.into_error("rename", from).with_to(to))
            }

            /// Copies data (holes stay holes) and permission bits of the file `from` into `to`, which
            /// is created or truncated. Answers the size in bytes. Several steps.
            ///
            /// # Errors
            /// `EINVAL` if both are one file; as [`open`](Self::open).
            pub fn copy(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
                let (from, to) = (from.as_ref(), to.as_ref());
                composite::copy(&self.core, self.base(), from, to)
                    .map_err(|e| e.into_error("copy", from).with_to(to))
            }

            /// Sets the size of a regular file, in bytes; all its data are copied up first
            /// (rule R200).
            ///
            /// # Errors
            /// `IsADirectory`; `EINVAL` for another type; `NotFound`, `EROFS`.
            pub fn set_len(&self, path: impl AsRef<Path>, len: u64) -> Result<()> {
                let path = path.as_ref();
                self.core
                    .set_len(Run::Apply, self.base(), path, len)
                    .map_err(failed("set_len", path))
            }

            /// Sets the permission bits (`0o7777`); symlinks are followed.
            ///
            /// # Errors
            /// `NotFound`, `EPERM`, `EROFS`.
            pub fn set_permissions(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
                self.change("set_permissions", path.as_ref(), true, &SetAttr::mode(mode))
            }

            /// Sets owner and group (`None`: stays); `follow`: through a symlink at the end. Drops
            /// set-id bits of what is no directory.
            ///
            /// # Errors
            /// As [`set_permissions`](Self::set_permissions).
            pub fn set_owner(
                &self,
                path: impl AsRef<Path>,
                uid: Option<u32>,
                gid: Option<u32>,
                follow: bool,
            ) -> Result<()> {
                self.change(
                    "set_owner",
                    path.as_ref(),
                    follow,
                    &SetAttr::owner(uid, gid),
                )
            }

            /// Sets access and modification time; `follow`: through a symlink at the end. Two times
            /// [`SetTime::Omit`] change nothing and copy nothing up (rule R199).
            ///
            /// # Errors
            /// As [`set_permissions`](Self::set_permissions).
            pub fn set_times(
                &self,
                path: impl AsRef<Path>,
                atime: SetTime,
                mtime: SetTime,
                follow: bool,
            ) -> Result<()> {
                self.change(
                    "set_times",
                    path.as_ref(),
                    follow,
                    &SetAttr::times(atime, mtime),
                )
            }

            /// Sets owner, then mode, then times, each if asked for and each atomic by itself.
            ///
            /// # Errors
            /// As [`set_permissions`](Self::set_permissions); `EOPNOTSUPP` for the mode of a symlink.
            pub fn set_attr(
                &self,
                path: impl AsRef<Path>,
                attr: &SetAttr,
                follow: bool,
            ) -> Result<()> {
                self.change("set_attr", path.as_ref(), follow, attr)
            }

            fn change(
                &self,
                op: &'static str,
                path: &Path,
                follow: bool,
                attr: &SetAttr,
            ) -> Result<()> {
                self.core
                    .set_attr_at(Run::Apply, self.base(), path, follow, attr)
                    .map_err(failed(op, path))
            }

            /// Sets an extended attribute. Overlay attributes of an inner union are stored escaped
            /// (rule R279).
            ///
            /// # Errors
            /// `AlreadyExists`, `NoXattr` by `mode` (after the copy-up, rule R201); `EPERM` for `user.`
            /// on what cannot have it; `Unsupported`; `EROFS`.
            pub fn set_xattr(
                &self,
                path: impl AsRef<Path>,
                name: &XattrName,
                value: impl AsRef<[u8]>,
                mode: XattrMode,
                follow: bool,
            ) -> Result<()> {
                let (path, value) = (path.as_ref(), Some(value.as_ref()));
                self.core
                    .set_xattr_at(Run::Apply, self.base(), path, follow, name, value, mode)
                    .map_err(failed("set_xattr", path))
            }

            /// Removes an extended attribute.
            ///
            /// # Errors
            /// `NoXattr` if it is not set; then nothing is copied up (rule R202).
            pub fn remove_xattr(
                &self,
                path: impl AsRef<Path>,
                name: &XattrName,
                follow: bool,
            ) -> Result<()> {
                let (path, mode) = (path.as_ref(), XattrMode::Replace);
                self.core
                    .set_xattr_at(Run::Apply, self.base(), path, follow, name, None, mode)
                    .map_err(failed("remove_xattr", path))
            }

            /// Sets the inode flags of a regular file or directory (`chattr(1)`), following symlinks.
            ///
            /// # Errors
            /// `EPERM`: not the owner, or a change of append-only or immutable without
            /// `CAP_LINUX_IMMUTABLE`; `ENOTTY` for other types; `EOPNOTSUPP` for flags that the upper's
            /// filesystem lacks; `EROFS` and others.
            ///
            /// # Effects
            /// Copies the object up (rule R205). Append-only and immutable are recorded as the overlay
            /// attribute `protattr` (rule R227).
            pub fn set_inode_flags(&self, path: impl AsRef<Path>, flags: InodeFlags) -> Result<()> {
                let path = path.as_ref();
                self.core
                    .set_flags_at(Run::Apply, self.base(), path, flags)
                    .map_err(failed("set_inode_flags", path))
            }

            /// Changes the space of a range of a file, in bytes; see [`AllocateMode`].
            ///
            /// # Errors
            /// As [`open`](Self::open) and [`File::allocate`].
            pub fn allocate(
                &self,
                path: impl AsRef<Path>,
                mode: AllocateMode,
                offset: u64,
                len: u64,
            ) -> Result<()> {
                let file = self.open(path, &OpenOptions::new().write(true))?;
                file.allocate(mode, offset, len)
            }

            /// Gives an unnamed file (opened with `tmpfile`) a name, or a named one a further name.
            ///
            /// # Errors
            /// As [`hard_link`](Self::hard_link).
            pub fn link_file(&self, file: &File, to: impl AsRef<Path>) -> Result<()> {
                let to = to.as_ref();
                self.core
                    .link_file(file, self.base(), to)
                    .map_err(|e| e.into_error("link_file", file.path()).with_to(to))
            }
        }
    };
}

operations!(Overlay);
operations!(Dir);
reading_operations!(LayerStack);
reading_operations!(Dir);
