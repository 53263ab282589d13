//! What reads the merged tree by path: the same for a union and for a directory of it.

/// Most bytes reserved for a file's content before it is read; a size is only a claim.
pub(crate) const READ_RESERVE_BYTES_MAX: usize = 64 << 20;

/// Bytes per read.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

/// Gives a type with `core` and `base()` the operations that read.
macro_rules! reading_operations {
    ($type:ty) => {
        impl $type {
            /// Opens a directory.
            ///
            /// # Errors
            /// `NotADirectory`, `NotFound`.
            pub fn open_dir(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<$crate::overlay::dir::Dir> {
                let path = path.as_ref();
                let _tree = self.core.read();
                let inode = self
                    .core
                    .walk_path(self.base(), path, true)
                    .map_err(|e| e.into_error("open_dir", path))?;
                if !inode.is_dir() {
                    return Err($crate::error::Error::new(
                        "open_dir",
                        path,
                        $crate::errno::Errno::ENOTDIR,
                    ));
                }
                self.core
                    .allow(&inode, $crate::rules::permission::Mask::READ)
                    .map_err(|e| e.into_error("open_dir", path))?;
                Ok($crate::overlay::dir::Dir {
                    core: self.core.clone(),
                    inode,
                })
            }

            /// Attributes of what `path` names, following symlinks.
            ///
            /// # Errors
            /// `NotFound`, `NotADirectory`, `Loop`, and what the layers give.
            pub fn metadata(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<$crate::meta::Metadata> {
                self.stat("metadata", path.as_ref(), true)
            }

            /// Attributes of what `path` names; a symlink's own at the end of the path.
            ///
            /// # Errors
            /// As [`metadata`](Self::metadata).
            pub fn symlink_metadata(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<$crate::meta::Metadata> {
                self.stat("symlink_metadata", path.as_ref(), false)
            }

            fn stat(
                &self,
                op: &'static str,
                path: &std::path::Path,
                follow: bool,
            ) -> $crate::error::Result<$crate::meta::Metadata> {
                let core = &self.core;
                let _tree = core.read();
                core.walk_path(self.base(), path, follow)
                    .and_then(|inode| core.metadata(&inode))
                    .map_err(|e| e.into_error(op, path))
            }

            /// Whether `path` names something (a dangling symlink does not count).
            ///
            /// # Errors
            /// Everything but `ENOENT` and `ENOTDIR`, which answer `false`.
            pub fn exists(&self, path: impl AsRef<std::path::Path>) -> $crate::error::Result<bool> {
                match self.metadata(path) {
                    Ok(_) => Ok(true),
                    Err(e)
                        if matches!(
                            e.errno(),
                            $crate::errno::Errno::ENOENT | $crate::errno::Errno::ENOTDIR
                        ) =>
                    {
                        Ok(false)
                    }
                    Err(e) => Err(e),
                }
            }

            /// Whether the caller may do this to what `path` names (`access(2)`), following symlinks. The
            /// mounter is asked as root is: refused is only what nobody may execute, and writing to a
            /// read-only union or an immutable object.
            ///
            /// # Errors
            /// `PermissionDenied` (`EACCES`), `EROFS`, `EPERM` (immutable); `NotFound` and others.
            pub fn access(
                &self,
                path: impl AsRef<std::path::Path>,
                mode: $crate::op::AccessMode,
            ) -> $crate::error::Result<()> {
                let (core, path) = (&self.core, path.as_ref());
                let mask = $crate::rules::permission::Mask::of(mode.read, mode.write, mode.execute);
                let _tree = core.read();
                core.walk_path(self.base(), path, true)
                    .and_then(|inode| core.access(&inode, mask))
                    .map_err(|e| e.into_error("access", path))
            }

            /// The target of a symlink, as stored.
            ///
            /// # Errors
            /// `EINVAL` if it is no symlink; `NotFound` and others.
            pub fn read_link(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<std::path::PathBuf> {
                use std::os::unix::ffi::OsStringExt;
                let (core, path) = (&self.core, path.as_ref());
                let _tree = core.read();
                core.walk_path(self.base(), path, false)
                    .and_then(|inode| core.read_link(&inode))
                    .map(|target| std::ffi::OsString::from_vec(target).into())
                    .map_err(|e| e.into_error("read_link", path))
            }

            /// The entries of a directory in the kernel's order (rule R096); `.` and `..` are left out.
            ///
            /// # Errors
            /// `NotADirectory`, `NotFound`, and what the layers give.
            pub fn read_dir(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<Vec<$crate::overlay::stack::DirEntry>> {
                let (core, path) = (&self.core, path.as_ref());
                let _tree = core.read();
                core.walk_path(self.base(), path, true)
                    .and_then(|inode| core.read_dir(&inode))
                    .map(|list| {
                        list.into_iter()
                            .map($crate::overlay::stack::DirEntry::from)
                            .collect()
                    })
                    .map_err(|e| e.into_error("read_dir", path))
            }

            /// As [`read_dir`](Self::read_dir), sorted by the bytes of the names.
            ///
            /// # Errors
            /// As [`read_dir`](Self::read_dir).
            pub fn read_dir_sorted(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<Vec<$crate::overlay::stack::DirEntry>> {
                let mut entries = self.read_dir(path)?;
                entries.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(entries)
            }

            /// The value of an extended attribute. Overlay attributes are not shown; those of a nested
            /// overlay appear under the name that its mount gave them (rule R279).
            ///
            /// # Errors
            /// `NoXattr`; `NotFound` and others.
            pub fn xattr(
                &self,
                path: impl AsRef<std::path::Path>,
                name: &$crate::xattr_name::XattrName,
                follow: bool,
            ) -> $crate::error::Result<Vec<u8>> {
                let (core, path) = (&self.core, path.as_ref());
                let _tree = core.read();
                core.walk_path(self.base(), path, follow)
                    .and_then(|inode| core.read_xattr(&inode, name))
                    .map_err(|e| e.into_error("get_xattr", path))
            }

            /// The names of all extended attributes, sorted.
            ///
            /// # Errors
            /// `NotFound` and others.
            pub fn xattrs(
                &self,
                path: impl AsRef<std::path::Path>,
                follow: bool,
            ) -> $crate::error::Result<Vec<$crate::xattr_name::XattrName>> {
                let (core, path) = (&self.core, path.as_ref());
                let _tree = core.read();
                core.walk_path(self.base(), path, follow)
                    .and_then(|inode| core.list_xattrs(&inode))
                    .map_err(|e| e.into_error("list_xattrs", path))
            }

            /// The inode flags of a regular file or directory, following symlinks (as `lsattr(1)` asks).
            ///
            /// # Errors
            /// `ENOTTY` for other types; `PermissionDenied` for a caller who may not read it; `NotFound` and
            /// others.
            pub fn inode_flags(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<$crate::meta::InodeFlags> {
                let (core, path) = (&self.core, path.as_ref());
                let _tree = core.read();
                core.opened_for_flags(self.base(), path)
                    .and_then(|inode| core.shown_flags(&inode))
                    .map_err(|e| e.into_error("inode_flags", path))
            }

            /// Opens a regular file for reading. It shows what is later written to the file (rule R293).
            ///
            /// # Errors
            /// `NotFound`, `IsADirectory`, `Loop`; `ENXIO` for a fifo, socket or device.
            pub fn open_file(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<$crate::overlay::file::File> {
                let path = path.as_ref();
                self.core
                    .open(
                        self.base(),
                        path,
                        &$crate::op::OpenOptions::new().read(true),
                    )
                    .map_err(|e| e.into_error("open", path))
            }

            /// The whole content of a file.
            ///
            /// # Errors
            /// As [`open_file`](Self::open_file).
            pub fn read(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<Vec<u8>> {
                let file = self.open_file(path)?;
                let size = usize::try_from(file.metadata()?.size).unwrap_or(0);
                let mut data =
                    Vec::with_capacity(size.min($crate::overlay::reading::READ_RESERVE_BYTES_MAX));
                let mut buffer = vec![0; $crate::overlay::reading::READ_BUFFER_BYTES];
                loop {
                    let n = file.read_at(&mut buffer, data.len() as u64)?;
                    if n == 0 {
                        return Ok(data);
                    }
                    data.extend_from_slice(buffer.get(..n).unwrap_or_default());
                }
            }

            /// The whole content of a file as text.
            ///
            /// # Errors
            /// As [`read`](Self::read); `EINVAL` if it is not UTF-8.
            pub fn read_to_string(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> $crate::error::Result<String> {
                let path = path.as_ref();
                String::from_utf8(self.read(path)?).map_err(|_| {
                    $crate::error::Error::new("read_to_string", path, $crate::errno::Errno::EINVAL)
                        .with_detail("not UTF-8 text")
                })
            }
        }
    };
}

pub(crate) use reading_operations;
