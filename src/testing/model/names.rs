//! Making and moving names.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::acl::Acl;
use super::attrs::{ACCESS_ACL, DEFAULT_ACL};
use super::data::Data;
use super::path::{Last, Parent};
use super::rights::{S_ISGID, S_IXGRP, WRITE};
use super::{Id, Kind, ReferenceModel};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType};
use crate::op::RenameFlags;
use crate::path::Name;
use crate::xattr_name::XattrName;

/// Longest target of a symlink in bytes (`PATH_MAX` less its NUL).
const TARGET_BYTES_MAX: usize = 4095;

/// Two names of a rename.
struct Pair<'a> {
    from: (Id, &'a Name),
    to: (Id, &'a Name),
}

impl ReferenceModel {
    /// A new node in `dir`, not yet under a name: owner, mode and lists as they are inherited.
    pub(super) fn make(&mut self, dir: Id, kind: Kind, mode: u32) -> Result<Id, Errno> {
        let is_dir = matches!(kind, Kind::Dir { .. });
        let is_link = matches!(kind, Kind::Symlink(_));
        let id = self.add(kind, if is_link { 0o777 } else { mode });
        (self.nodes[id].uid, self.nodes[id].gid) = (self.caller.uid, self.caller.gid);
        if !is_link {
            match self.nodes[dir].xattrs.get(DEFAULT_ACL).cloned() {
                None => self.nodes[id].mode &= !self.caller.umask,
                Some(default) => self.inherit(id, &default, is_dir)?,
            }
        }
        let (dir_mode, dir_gid) = (self.nodes[dir].mode, self.nodes[dir].gid);
        if dir_mode & S_ISGID != 0 {
            self.nodes[id].gid = dir_gid;
            let runs_as_group = mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP;
            if is_dir {
                self.nodes[id].mode |= S_ISGID;
            } else if runs_as_group && !self.may_set_gid(dir_gid) {
                self.nodes[id].mode &= !S_ISGID;
            }
        }
        Ok(id)
    }

    /// The default list of the parent becomes the access list, and that of a directory too.
    fn inherit(&mut self, id: Id, default: &[u8], is_dir: bool) -> Result<(), Errno> {
        let Some(mut acl) = Acl::parse(default)? else {
            return Ok(());
        };
        let node = &mut self.nodes[id];
        acl.inherit(node.mode);
        node.mode = node.mode & !0o777 | acl.mode();
        if !acl.is_minimal() {
            node.xattrs
                .insert(XattrName::new(ACCESS_ACL)?, acl.to_bytes());
        }
        if is_dir {
            node.xattrs
                .insert(XattrName::new(DEFAULT_ACL)?, default.to_vec());
        }
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path, mode: u32) -> Result<(), Errno> {
        let (dir, name) = self.new_name(path, true)?;
        self.may_add(dir)?;
        let kind = Kind::Dir {
            entries: BTreeMap::new(),
            parent: dir,
        };
        let id = self.make(dir, kind, mode & 0o1777)?;
        self.set_entry(dir, &name, Some(id));
        Ok(())
    }

    /// Each directory on the way, as `mkdir -p`.
    pub(super) fn create_dir_all(&mut self, path: &Path, mode: u32) -> Result<(), Errno> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(Errno::ENOENT);
        }
        if bytes.contains(&0) {
            return Err(Errno::EINVAL);
        }
        let components: Vec<&[u8]> = bytes
            .split(|b| *b == b'/')
            .filter(|c| !c.is_empty())
            .collect();
        let mut prefix = Vec::new();
        for (i, component) in components.iter().enumerate() {
            prefix.push(b'/');
            prefix.extend_from_slice(component);
            let at = Path::new(OsStr::from_bytes(&prefix));
            let is_last = i + 1 == components.len();
            match self.resolve(at, true) {
                Ok(id) if self.is_dir(id) => {}
                Ok(_) if is_last => return Err(Errno::EEXIST),
                Ok(_) => return Err(Errno::ENOTDIR),
                Err(Errno::ENOENT) if !matches!(*component, b"." | b"..") => {
                    self.create_dir(at, mode)?;
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) if is_last => return Err(Errno::EEXIST),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    pub(super) fn symlink(&mut self, target: &[u8], path: &Path) -> Result<(), Errno> {
        match target.len() {
            0 => return Err(Errno::ENOENT),
            1..=TARGET_BYTES_MAX => {}
            _ => return Err(Errno::ENAMETOOLONG),
        }
        if target.contains(&0) {
            return Err(Errno::EINVAL);
        }
        let (dir, name) = self.new_name(path, false)?;
        self.may_add(dir)?;
        let id = self.make(dir, Kind::Symlink(target.to_vec()), 0o777)?;
        self.set_entry(dir, &name, Some(id));
        Ok(())
    }

    pub(super) fn make_node(
        &mut self,
        path: &Path,
        file_type: FileType,
        mode: u32,
        rdev: DeviceId,
    ) -> Result<(), Errno> {
        let kind = match file_type {
            FileType::Directory => return Err(Errno::EPERM),
            FileType::Symlink => return Err(Errno::EINVAL),
            FileType::Regular => Kind::File(Data::default()),
            FileType::CharDevice | FileType::BlockDevice => Kind::Special(file_type, rdev),
            FileType::Fifo | FileType::Socket => Kind::Special(file_type, DeviceId::default()),
        };
        let (dir, name) = self.new_name(path, false)?;
        self.may_add(dir)?;
        let whiteout = file_type == FileType::CharDevice && rdev == DeviceId::default();
        if !whiteout && matches!(file_type, FileType::CharDevice | FileType::BlockDevice) {
            self.may_make_device()?;
        }
        if whiteout && self.weak.no_whiteouts {
            return Err(Errno::EPERM);
        }
        let id = self.make(dir, kind, mode & 0o7777)?;
        self.set_entry(dir, &name, Some(id));
        Ok(())
    }

    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> Result<(), Errno> {
        let id = self.resolve(from, false)?;
        self.link(id, to)
    }

    /// One more name for a node.
    pub(super) fn link(&mut self, id: Id, to: &Path) -> Result<(), Errno> {
        let (dir, name) = self.new_name(to, false)?;
        self.may_link(id)?;
        self.may_add(dir)?;
        self.unprotected(id)?;
        if self.is_dir(id) {
            return Err(Errno::EPERM);
        }
        let node = &self.nodes[id];
        if node.names == 0 && !node.linkable {
            return Err(Errno::ENOENT);
        }
        self.touch(id)?;
        let now = self.clock;
        let node = &mut self.nodes[id];
        node.linkable = false;
        node.nlink += 1;
        node.names += 1;
        node.ctime = now;
        self.set_entry(dir, &name, Some(id));
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: &Path,
        to: &Path,
        flags: RenameFlags,
    ) -> Result<(), Errno> {
        if flags.exchange && (flags.no_replace || flags.whiteout) {
            return Err(Errno::EINVAL);
        }
        let (old, new) = (self.parent(from)?, self.parent(to)?);
        let Last::Name(old_name) = &old.last else {
            return Err(Errno::EBUSY);
        };
        let Last::Name(new_name) = &new.last else {
            return Err(if flags.no_replace {
                Errno::EEXIST
            } else {
                Errno::EBUSY
            });
        };
        self.writable()?;
        let source = self.existing(old.dir, old_name)?;
        let target = self.child(new.dir, new_name)?;
        if !self.may_rename((&old, source), (&new, target), flags)? {
            return Ok(());
        }
        let (old_name, new_name) = (Name::new(old_name)?, Name::new(new_name)?);
        let pair = Pair {
            from: (old.dir, &old_name),
            to: (new.dir, &new_name),
        };
        self.do_rename(&pair, source, target, flags.exchange)
    }

    /// All that can be wrong with a rename, in order; `false`: there is nothing to do.
    fn may_rename(
        &self,
        (old, source): (&Parent, Id),
        (new, target): (&Parent, Option<Id>),
        flags: RenameFlags,
    ) -> Result<bool, Errno> {
        let (source_dir, target_dir) =
            (self.is_dir(source), target.is_some_and(|t| self.is_dir(t)));
        if flags.no_replace && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.exchange && target.is_none() {
            return Err(Errno::ENOENT);
        }
        if flags.exchange && !target_dir && new.slash {
            return Err(Errno::ENOTDIR);
        }
        if !source_dir && (old.slash || (new.slash && !flags.exchange)) {
            return Err(Errno::ENOTDIR);
        }
        if source_dir && self.is_within(new.dir, source) {
            return Err(Errno::EINVAL);
        }
        if target.is_some_and(|t| target_dir && self.is_within(old.dir, t)) {
            return Err(if flags.exchange {
                Errno::EINVAL
            } else {
                Errno::ENOTEMPTY
            });
        }
        if target == Some(source) {
            return Ok(false);
        }
        self.may_take(old.dir, source)?;
        match target {
            None => self.may_add(new.dir)?,
            Some(target) => self.may_take(new.dir, target)?,
        }
        if target.is_some() && !flags.exchange {
            match (source_dir, target_dir) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                _ => {}
            }
        }
        // A directory is written to as its `..` changes.
        if old.dir != new.dir && source_dir {
            self.may(source, WRITE)?;
        }
        if let Some(target) = target.filter(|_| flags.exchange && target_dir)
            && old.dir != new.dir
        {
            self.may(target, WRITE)?;
        }
        if flags.whiteout {
            return Err(Errno::EINVAL);
        }
        let stays = |id: Id| self.weak.lower_dirs_stay && self.is_dir(id) && self.nodes[id].lower;
        if stays(source) || (flags.exchange && target.is_some_and(stays)) {
            return Err(Errno::EXDEV);
        }
        if target.is_some_and(|t| !flags.exchange && !self.entries(t).is_empty()) {
            return Err(Errno::ENOTEMPTY);
        }
        Ok(true)
    }

    fn do_rename(
        &mut self,
        pair: &Pair<'_>,
        source: Id,
        target: Option<Id>,
        exchange: bool,
    ) -> Result<(), Errno> {
        self.touch(source)?;
        let left = match target {
            Some(other) if exchange => {
                self.touch(other)?;
                self.nodes[other].ctime = self.clock;
                Some(other)
            }
            Some(replaced) => {
                self.lose_name(replaced);
                None
            }
            None => None,
        };
        self.nodes[source].ctime = self.clock;
        self.set_entry(pair.from.0, pair.from.1, left);
        self.set_entry(pair.to.0, pair.to.1, Some(source));
        Ok(())
    }

    /// True if `dir` is `above` or lies in it.
    fn is_within(&self, dir: Id, above: Id) -> bool {
        let mut at = dir;
        loop {
            match at {
                at if at == above => return true,
                super::ROOT => return false,
                _ => at = self.dir_parent(at),
            }
        }
    }
}
