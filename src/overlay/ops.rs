//! Operations by path: what the VFS checks before a filesystem is asked, in its order, then the
//! mutation of what was resolved.

use std::path::Path;
use std::sync::Arc;

use crate::backend::{NewKind, SyncScope, XattrMode};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::SetAttr;
use crate::op::RenameFlags;
use crate::overlay::build::Build;
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::file::File;
use crate::overlay::inode::{Inode, Place};
use crate::overlay::mutate::{Spec, Target};
use crate::overlay::paths::{End, Follow, Last};
use crate::rules::attr::Change;
use crate::xattr_name::XattrName;

/// Permission bits that mkdir accepts: rwx and sticky.
const MKDIR_MODE_BITS: u32 = 0o1777;

/// Runs the same planning either for real or to be looked at.
pub(crate) enum Run<'r, 'b> {
    /// Do it.
    Apply,
    /// Add the steps here, and do nothing.
    Plan(&'r mut Build<'b>),
}

impl Core {
    /// Executes or merely plans.
    pub(crate) fn run(
        &self,
        run: Run<'_, '_>,
        build: impl Fn(&mut Build<'_>) -> Res<()>,
    ) -> Res<()> {
        match run {
            Run::Apply => self.mutate(build).map(|_| ()),
            Run::Plan(b) => {
                let _tree = self.read();
                build(b)
            }
        }
    }

    /// A name that is to be created (the VFS's `filename_create`): it must be a name, not exist, and
    /// not end in a slash unless a directory is made.
    fn new_name(&self, base: &Arc<Inode>, path: &Path, dir: bool) -> Res<Target> {
        let last = self.walk_to_last(base, path, Follow::No)?;
        let name = last.name_or(Errno::EEXIST)?;
        let found = self.lookup(&last.dir, &name)?;
        if found.inode().is_some() {
            return Err(Errno::EEXIST.into());
        }
        if (last.wants_dir && !dir) || last.dir.is_gone() {
            return Err(Errno::ENOENT.into());
        }
        Ok(Target {
            dir: last.dir,
            name,
            found,
        })
    }

    /// Creates whatever `spec` says at `path`.
    pub(crate) fn create(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        path: &Path,
        spec: &Spec,
    ) -> Res<()> {
        let is_dir = spec.kind == NewKind::Directory;
        let mut spec = spec.clone();
        if is_dir {
            spec.mode &= MKDIR_MODE_BITS;
        }
        self.run(run, |b| {
            let target = self.new_name(base, path, is_dir)?;
            b.create(&target, &spec).map(|_| ())
        })
    }

    /// `symlink(2)`.
    pub(crate) fn symlink(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        target: &[u8],
        path: &Path,
    ) -> Res<()> {
        if target.is_empty() {
            return Err(Errno::ENOENT.into());
        }
        if target.len() > SYMLINK_TARGET_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG.into());
        }
        if target.contains(&0) {
            return Err(Errno::EINVAL.into());
        }
        let spec = Spec::new(NewKind::Symlink(target.to_vec()), 0o777);
        self.create(run, base, path, &spec)
    }

    /// `link(2)`; a symlink at the end of `from` is linked, not followed.
    pub(crate) fn hard_link(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        from: &Path,
        to: &Path,
    ) -> Res<()> {
        self.run(run, |b| {
            let source = self.walk_path(base, from, false)?;
            self.link_to(b, &source, base, to)
        })
    }

    pub(crate) fn link_to(
        &self,
        b: &mut Build<'_>,
        source: &Arc<Inode>,
        base: &Arc<Inode>,
        to: &Path,
    ) -> Res<()> {
        let target = self.new_name(base, to, false)?;
        self.upper()?;
        self.may_link(source)?;
        self.may_add(&target.dir)?;
        self.permit(source, Change::Name)?;
        if source.is_dir() {
            return Err(Errno::EPERM.into());
        }
        if self.is_unlinked(source)? {
            return Err(Errno::ENOENT.into());
        }
        b.link(source, &target)
    }

    /// Whether an object has lost its last name, so that it can get no new one. (An unnamed file that
    /// never had one can.)
    fn is_unlinked(&self, inode: &Inode) -> Res<bool> {
        let Place::Gone(Some(_)) = inode.place() else {
            return Ok(false);
        };
        // A lower that lost its name here has no other, whatever links it has in its layer.
        let state = inode.state();
        match state.upper {
            None => Ok(true),
            Some(_) if state.indexed => Ok(state.nlink == 0),
            Some(upper) => Ok(upper.metadata().in_layer(LayerId::Upper)?.nlink == 0),
        }
    }

    /// Gives an open file a (further) name.
    pub(crate) fn link_file(&self, file: &File, base: &Arc<Inode>, to: &Path) -> Res<()> {
        self.mutate(|b| self.link_to(b, file.inode(), base, to))
            .map(|_| ())
    }

    /// `unlink(2)`.
    pub(crate) fn remove_file(&self, run: Run<'_, '_>, base: &Arc<Inode>, path: &Path) -> Res<()> {
        self.run(run, |b| {
            let last = self.walk_to_last(base, path, Follow::No)?;
            if last.end != End::TooLong {
                last.name_or(Errno::EISDIR)?;
            }
            self.upper()?;
            let name = last.name_or(Errno::EISDIR)?;
            let found = self.lookup(&last.dir, &name)?;
            let is_dir = found.inode().ok_or(Errno::ENOENT)?.is_dir();
            if last.wants_dir && !is_dir {
                return Err(Errno::ENOTDIR.into());
            }
            let wants_dir = last.wants_dir;
            let target = Target {
                dir: last.dir,
                name,
                found,
            };
            if !wants_dir {
                self.may_take(&target)?;
            }
            if is_dir {
                return Err(Errno::EISDIR.into());
            }
            b.remove(&target)
        })
    }

    /// `rmdir(2)`.
    pub(crate) fn remove_dir(&self, run: Run<'_, '_>, base: &Arc<Inode>, path: &Path) -> Res<()> {
        self.run(run, |b| {
            let last = self.walk_to_last(base, path, Follow::No)?;
            let otherwise = match last.end {
                End::DotDot => Errno::ENOTEMPTY,
                End::Dot => Errno::EINVAL,
                End::Root | End::Name | End::TooLong => Errno::EBUSY,
            };
            if last.end != End::TooLong {
                last.name_or(otherwise)?;
            }
            self.upper()?;
            let name = last.name_or(otherwise)?;
            let found = self.lookup(&last.dir, &name)?;
            let is_dir = found.inode().ok_or(Errno::ENOENT)?.is_dir();
            let target = Target {
                dir: last.dir,
                name,
                found,
            };
            self.may_take(&target)?;
            if !is_dir {
                return Err(Errno::ENOTDIR.into());
            }
            b.remove(&target)
        })
    }

    /// `renameat2(2)`.
    pub(crate) fn rename(
        &self,
        run: Run<'_, '_>,
        base: (&Arc<Inode>, &Arc<Inode>),
        from: &Path,
        to: &Path,
        flags: RenameFlags,
    ) -> Res<()> {
        if (flags.no_replace || flags.whiteout) && flags.exchange {
            return Err(Errno::EINVAL.into());
        }
        self.run(run, |b| {
            let old = self.walk_to_last(base.0, from, Follow::No)?;
            let new = self.walk_to_last(base.1, to, Follow::No)?;
            let wants_dir = (old.wants_dir, new.wants_dir);
            let taken = if flags.no_replace {
                Errno::EEXIST
            } else {
                Errno::EBUSY
            };
            for (last, otherwise) in [(&old, Errno::EBUSY), (&new, taken)] {
                if last.end != End::TooLong {
                    last.name_or(otherwise)?;
                }
            }
            self.upper()?;
            let old_name = old.name_or(Errno::EBUSY)?;
            let old = self.target(old, old_name)?;
            if old.found.inode().is_none() {
                return Err(Errno::ENOENT.into());
            }
            let new_name = new.name_or(taken)?;
            let new = self.target(new, new_name)?;
            if new.dir.is_gone() {
                return Err(Errno::ENOENT.into());
            }
            b.rename(&old, &new, flags, wants_dir).map(|_| ())
        })
    }

    fn target(&self, last: Last, name: crate::path::Name) -> Res<Target> {
        let found = self.lookup(&last.dir, &name)?;
        Ok(Target {
            dir: last.dir,
            name,
            found,
        })
    }

    /// `truncate(2)`.
    pub(crate) fn set_len(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        path: &Path,
        len: u64,
    ) -> Res<()> {
        if i64::try_from(len).is_err() {
            return Err(Errno::EINVAL.into());
        }
        self.run(run, |b| {
            let inode = self.walk_path(base, path, true)?;
            b.set_len(&inode, len)
        })
    }

    /// `chown`, `chmod`, `utimensat` of an object in use, in this order; each is atomic by itself.
    pub(crate) fn set_attr(&self, inode: &Arc<Inode>, attr: &SetAttr) -> Res<()> {
        for part in parts(attr) {
            self.mutate(|b| b.set_attr(inode, &part))?;
        }
        Ok(())
    }

    /// As [`Core::set_attr`], by path.
    pub(crate) fn set_attr_at(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        path: &Path,
        follow: bool,
        attr: &SetAttr,
    ) -> Res<()> {
        let parts = parts(attr);
        if parts.is_empty() {
            let _tree = self.read();
            return self.walk_path(base, path, follow).map(|_| ());
        }
        let set = |b: &mut Build<'_>, parts: &[SetAttr]| {
            let inode = self.walk_path(base, path, follow)?;
            parts.iter().try_for_each(|part| b.set_attr(&inode, part))
        };
        match run {
            // Together, since the parts share the copy-up.
            Run::Plan(_) => self.run(run, |b| set(b, &parts)),
            Run::Apply => parts
                .chunks(1)
                .try_for_each(|part| self.run(Run::Apply, |b| set(b, part))),
        }
    }

    /// `setxattr(2)` (`Some`) or `removexattr(2)`.
    #[allow(
        clippy::too_many_arguments,
        reason = "the arguments of the system call"
    )]
    pub(crate) fn set_xattr_at(
        &self,
        run: Run<'_, '_>,
        base: &Arc<Inode>,
        path: &Path,
        follow: bool,
        name: &XattrName,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Res<()> {
        self.run(run, |b| {
            let inode = self.walk_path(base, path, follow)?;
            b.set_xattr(&inode, name, value, mode)
        })
    }

    /// `syncfs(2)`.
    pub(crate) fn sync(&self) -> Res<()> {
        match &self.upper {
            Some(upper) if self.features.fsync.syncs() => match upper.upper() {
                Some(upper) => upper.sync(SyncScope::All).in_layer(LayerId::Upper),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Longest symlink target in bytes (`PATH_MAX` without the final NUL).
const SYMLINK_TARGET_BYTES_MAX: usize = 4095;

/// The atomic parts of a change of attributes, in their order.
fn parts(attr: &SetAttr) -> Vec<SetAttr> {
    let mut parts = Vec::new();
    if attr.uid.is_some() || attr.gid.is_some() {
        parts.push(SetAttr::owner(attr.uid, attr.gid));
    }
    if let Some(mode) = attr.mode {
        parts.push(SetAttr::mode(mode));
    }
    let times = SetAttr::times(attr.atime, attr.mtime);
    if !times.is_empty() {
        parts.push(times);
    }
    parts
}
