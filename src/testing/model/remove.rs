//! Taking names away.

use std::path::Path;

use super::path::Last;
use super::rights::{READ, SEARCH};
use super::{Id, ReferenceModel};
use crate::errno::Errno;
use crate::path::Name;

impl ReferenceModel {
    /// A node loses one of its names, which the caller takes away.
    pub(super) fn lose_name(&mut self, id: Id) {
        let now = self.clock;
        let (weak, node) = (self.weak, &mut self.nodes[id]);
        node.names -= 1;
        // What had one name in its layer stays there as it was; what has others is changed before.
        let single = weak.links_break || node.nlink == 1;
        if node.lower && weak.removed_lowers_freeze && single {
            return;
        }
        node.lower = false;
        node.nlink -= 1;
        node.ctime = now;
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<(), Errno> {
        let parent = self.parent(path)?;
        let Last::Name(name) = &parent.last else {
            return Err(Errno::EISDIR);
        };
        self.writable()?;
        let id = self.existing(parent.dir, name)?;
        if !parent.slash {
            self.may_take(parent.dir, id)?;
        }
        if self.is_dir(id) {
            return Err(Errno::EISDIR);
        }
        if parent.slash {
            return Err(Errno::ENOTDIR);
        }
        self.set_entry(parent.dir, &Name::new(name)?, None);
        self.lose_name(id);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> Result<(), Errno> {
        let parent = self.parent(path)?;
        let name = match &parent.last {
            Last::Name(name) => name,
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Dot => return Err(Errno::EINVAL),
            Last::Root => return Err(Errno::EBUSY),
        };
        self.writable()?;
        let id = self.existing(parent.dir, name)?;
        self.may_take(parent.dir, id)?;
        if !self.is_dir(id) {
            return Err(Errno::ENOTDIR);
        }
        if !self.entries(id).is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.set_entry(parent.dir, &Name::new(name)?, None);
        self.lose_name(id);
        Ok(())
    }

    /// As `rm -r`, which refuses the root, `.` and `..`, and follows no symlink.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> Result<(), Errno> {
        let parent = self.parent(path)?;
        let top = match &parent.last {
            Last::Name(name) => self.existing(parent.dir, name)?,
            _ => self.resolve(path, false)?,
        };
        if !self.is_dir(top) {
            return Err(Errno::ENOTDIR);
        }
        self.may(top, READ)?;
        let Last::Name(name) = &parent.last else {
            return Err(Errno::EBUSY);
        };
        self.empty(top)?;
        self.take(parent.dir, &Name::new(name)?, top)
    }

    /// Removes everything in a directory, name after name; what is in a directory before the directory.
    /// Ends at the first refusal.
    fn empty(&mut self, top: Id) -> Result<(), Errno> {
        let mut open = vec![(top, self.entries(top).clone())];
        while let Some((dir, left)) = open.last_mut() {
            let dir = *dir;
            let Some((name, id)) = left.pop_first() else {
                open.pop();
                continue;
            };
            self.may(dir, SEARCH)?;
            if self.is_dir(id) && !self.entries(id).is_empty() {
                self.may(id, READ)?;
                left.insert(name, id);
                open.push((id, self.entries(id).clone()));
                continue;
            }
            if self.is_dir(id) {
                self.may(id, READ)?;
            }
            self.take(dir, &name, id)?;
        }
        Ok(())
    }

    fn take(&mut self, dir: Id, name: &Name, id: Id) -> Result<(), Errno> {
        self.writable()?;
        self.may_take(dir, id)?;
        self.set_entry(dir, name, None);
        self.lose_name(id);
        Ok(())
    }
}
