//! Opening files, and their content.

use std::path::Path;

use super::attrs::CAPABILITY;
use super::data::Data;
use super::path::Last;
use super::rights::{READ, WRITE};
use super::{Id, Kind, ReferenceModel};
use crate::backend::AllocateMode;
use crate::errno::Errno;
use crate::op::{Op, OpenOptions, Outcome, READ_BYTES_MAX};
use crate::path::Name;

/// Largest size of a file: the largest signed offset, in whole blocks.
const FILE_BYTES_MAX: u64 = i64::MAX as u64 & !4095;

/// An open file.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFile {
    id: Id,
    read: bool,
    write: bool,
    append: bool,
}

impl ReferenceModel {
    /// The operations that open a file, and those on open files.
    pub(super) fn apply_to_file(&mut self, op: &Op) -> Result<Outcome, Errno> {
        let reading = OpenOptions::new().read(true);
        let writing = OpenOptions::new().write(true);
        match op {
            Op::Read { path, offset, len } => {
                let file = self.open(path, &reading)?;
                self.read(file, *offset, *len)
            }
            Op::Open { path, options } => self.open(path, options).map(|_| Outcome::Done),
            Op::Write {
                path,
                options,
                offset,
                data,
            } => {
                let file = self.open(path, options)?;
                self.write(file, *offset, data)
            }
            Op::SetLen { path, len } => self.truncate(path, *len),
            Op::Allocate {
                path,
                mode,
                offset,
                len,
            } => {
                let file = self.open(path, &writing)?;
                self.allocate(file, *mode, *offset, *len)
            }
            Op::Copy { from, to } => self.copy(from, to),
            Op::HandleOpen {
                slot,
                path,
                options,
            } => {
                self.slots.remove(slot);
                let file = self.open(path, options)?;
                self.slots.insert(*slot, file);
                Ok(Outcome::Done)
            }
            Op::HandleClose { slot } => {
                self.slots.remove(slot).ok_or(Errno::EBADF)?;
                Ok(Outcome::Done)
            }
            Op::HandleRead { slot, offset, len } => self.read(self.slot(*slot)?, *offset, *len),
            Op::HandleWrite { slot, offset, data } => self.write(self.slot(*slot)?, *offset, data),
            Op::HandleMetadata { slot } => {
                let node = &self.nodes[self.slot(*slot)?.id];
                Ok(Outcome::Metadata(node.metadata()))
            }
            Op::HandleSetLen { slot, len } => {
                let file = self.slot(*slot)?;
                if !file.write || i64::try_from(*len).is_err() {
                    return Err(Errno::EINVAL);
                }
                self.may_shrink(file.id)?;
                self.resize(file.id, *len)
            }
            Op::HandleSetAttr { slot, attr } => {
                let file = self.slot(*slot)?;
                self.set_attr(file.id, attr).map(|()| Outcome::Done)
            }
            Op::HandleAllocate {
                slot,
                mode,
                offset,
                len,
            } => self.allocate(self.slot(*slot)?, *mode, *offset, *len),
            Op::HandleSync { slot } => self.slot(*slot).map(|_| Outcome::Done),
            Op::HandleLink { slot, to } => {
                let file = self.slot(*slot)?;
                self.link(file.id, to).map(|()| Outcome::Done)
            }
            // An operation that the model does not know yet.
            _ => Err(Errno::ENOSYS),
        }
    }

    fn slot(&self, slot: u8) -> Result<OpenFile, Errno> {
        self.slots.get(&slot).copied().ok_or(Errno::EBADF)
    }

    /// `open(2)`.
    fn open(&mut self, path: &Path, options: &OpenOptions) -> Result<OpenFile, Errno> {
        let write = options.write || options.append;
        let create = options.create || options.create_new;
        if !options.read && !write {
            return Err(Errno::EINVAL);
        }
        let id = match (options.tmpfile, create) {
            (true, _) if !write || create => return Err(Errno::EINVAL),
            (true, _) => self.open_unnamed(path, options)?,
            (false, true) => self.open_or_create(path, options)?,
            (false, false) => {
                let id = self.resolve(path, !options.no_follow)?;
                self.open_existing(id, options)?
            }
        };
        Ok(OpenFile {
            id,
            read: options.read,
            write,
            append: options.append,
        })
    }

    fn open_unnamed(&mut self, path: &Path, options: &OpenOptions) -> Result<Id, Errno> {
        let dir = self.resolve(path, !options.no_follow)?;
        if !self.is_dir(dir) {
            return Err(Errno::ENOTDIR);
        }
        self.writable()?;
        self.may_add(dir)?;
        let id = self.make(dir, Kind::File(Data::default()), options.mode)?;
        let node = &mut self.nodes[id];
        (node.nlink, node.names, node.linkable) = (0, 0, true);
        Ok(id)
    }

    fn open_or_create(&mut self, path: &Path, options: &OpenOptions) -> Result<Id, Errno> {
        let mut hops = 0;
        let mut parent = self.start(path, &mut hops)?;
        let follow = !options.no_follow && !options.create_new;
        loop {
            let Last::Name(name) = &parent.last else {
                let taken = if options.create_new {
                    Errno::EEXIST
                } else {
                    Errno::EISDIR
                };
                return Err(taken);
            };
            if parent.slash {
                return Err(Errno::EISDIR);
            }
            let Some(id) = self.child(parent.dir, name)? else {
                self.writable()?;
                self.may_add(parent.dir)?;
                let name = Name::new(name)?;
                let id = self.make(parent.dir, Kind::File(Data::default()), options.mode)?;
                self.set_entry(parent.dir, &name, Some(id));
                return Ok(id);
            };
            match self.enter_link(parent.dir, id, &mut hops) {
                Ok(Some(target)) if follow => parent = target,
                Err(errno) if follow => return Err(errno),
                _ if options.create_new => return Err(Errno::EEXIST),
                _ => return self.open_existing(id, options),
            }
        }
    }

    fn open_existing(&mut self, id: Id, options: &OpenOptions) -> Result<Id, Errno> {
        let writes = options.write || options.append || options.truncate;
        let is_file = matches!(self.nodes[id].kind, Kind::File(_));
        match self.nodes[id].kind {
            Kind::Symlink(_) => return Err(Errno::ELOOP),
            Kind::Dir { .. } if writes || options.create => return Err(Errno::EISDIR),
            _ => {}
        }
        if writes && is_file {
            self.writable()?;
        }
        let want = if options.read { READ } else { 0 } | if writes { WRITE } else { 0 };
        self.may(id, want)?;
        // Files are regular files here.
        match self.nodes[id].kind {
            Kind::Dir { .. } => return Err(Errno::EISDIR),
            Kind::Special(..) => return Err(Errno::ENXIO),
            _ => {}
        }
        if options.truncate || (options.write && !options.append) {
            self.may_shrink(id)?;
        }
        if writes {
            self.touch(id)?;
        }
        if options.truncate {
            self.resize(id, 0)?;
        }
        Ok(id)
    }

    fn data(&self, id: Id) -> &Data {
        static EMPTY: std::sync::LazyLock<Data> = std::sync::LazyLock::new(Data::default);
        match &self.nodes[id].kind {
            Kind::File(data) => data,
            _ => &EMPTY,
        }
    }

    /// Changes content: the times are now, a capability is gone, and mostly set-id bits.
    fn change(&mut self, id: Id, change: impl FnOnce(&mut Data)) {
        let now = self.clock;
        self.nodes[id].mode = self.mode_after_write(id);
        let node = &mut self.nodes[id];
        if let Kind::File(data) = &mut node.kind {
            change(data);
        }
        (node.mtime, node.ctime) = (now, now);
        node.xattrs.remove(CAPABILITY);
    }

    fn read(&self, file: OpenFile, offset: u64, len: u64) -> Result<Outcome, Errno> {
        if i64::try_from(offset).is_err() {
            return Err(Errno::EINVAL);
        }
        if !file.read {
            return Err(Errno::EBADF);
        }
        let bytes = self.data(file.id).read(offset, len.min(READ_BYTES_MAX));
        Ok(Outcome::Bytes(bytes))
    }

    fn write(&mut self, file: OpenFile, offset: u64, bytes: &[u8]) -> Result<Outcome, Errno> {
        if i64::try_from(offset).is_err() {
            return Err(Errno::EINVAL);
        }
        if !file.write {
            return Err(Errno::EBADF);
        }
        let count = bytes.len() as u64;
        if count == 0 {
            return Ok(Outcome::Count(0));
        }
        let offset = match file.append {
            true => self.data(file.id).size(),
            false => offset,
        };
        if offset.saturating_add(count) > FILE_BYTES_MAX {
            return Err(Errno::EFBIG);
        }
        self.change(file.id, |data| data.write(offset, bytes));
        Ok(Outcome::Count(count))
    }

    /// `truncate(2)`. The times change even if the size does not; a file system may see that
    /// differently.
    fn truncate(&mut self, path: &Path, len: u64) -> Result<Outcome, Errno> {
        if i64::try_from(len).is_err() {
            return Err(Errno::EINVAL);
        }
        let id = self.resolve(path, true)?;
        match self.nodes[id].kind {
            Kind::Dir { .. } => return Err(Errno::EISDIR),
            Kind::File(_) => {}
            _ => return Err(Errno::EINVAL),
        }
        self.writable()?;
        self.may(id, WRITE)?;
        self.may_shrink(id)?;
        self.touch(id)?;
        self.resize(id, len)
    }

    /// What only grows at its end is not cut.
    fn may_shrink(&self, id: Id) -> Result<(), Errno> {
        match self.nodes[id].flags.append {
            true => Err(Errno::EPERM),
            false => Ok(()),
        }
    }

    fn resize(&mut self, id: Id, len: u64) -> Result<Outcome, Errno> {
        if len > FILE_BYTES_MAX {
            return Err(Errno::EFBIG);
        }
        self.change(id, |data| data.resize(len));
        Ok(Outcome::Done)
    }

    /// `fallocate(2)`; there is always space.
    fn allocate(
        &mut self,
        file: OpenFile,
        mode: AllocateMode,
        offset: u64,
        len: u64,
    ) -> Result<Outcome, Errno> {
        if len == 0 || i64::try_from(offset).is_err() || i64::try_from(len).is_err() {
            return Err(Errno::EINVAL);
        }
        if !file.write {
            return Err(Errno::EBADF);
        }
        let flags = self.nodes[file.id].flags;
        if flags.immutable || (flags.append && !mode.only_adds_space()) {
            return Err(Errno::EPERM);
        }
        let end = offset + len;
        if end > FILE_BYTES_MAX {
            return Err(Errno::EFBIG);
        }
        use AllocateMode::{
            Allocate, CollapseRange, InsertRange, PunchHole, UnshareRange, ZeroRange,
            ZeroRangeKeepSize,
        };
        let size = self.data(file.id).size();
        let whole = Data::in_blocks(&(offset..end));
        match mode {
            CollapseRange if !whole || end >= size => return Err(Errno::EINVAL),
            InsertRange if !whole || offset >= size => return Err(Errno::EINVAL),
            InsertRange if size + len > FILE_BYTES_MAX => return Err(Errno::EFBIG),
            _ => {}
        }
        self.change(file.id, |data| {
            match mode {
                CollapseRange => return data.collapse(offset..end),
                InsertRange => return data.insert(offset..end),
                _ => {}
            }
            if matches!(mode, PunchHole | ZeroRange | ZeroRangeKeepSize) {
                data.zero(offset..end.min(data.size().max(offset)));
            }
            if matches!(mode, Allocate | UnshareRange | ZeroRange) && end > data.size() {
                data.resize(end);
            }
        });
        Ok(Outcome::Done)
    }

    /// Data and permission bits into another file, made or emptied for it.
    fn copy(&mut self, from: &Path, to: &Path) -> Result<Outcome, Errno> {
        let source = self.open(from, &OpenOptions::new().read(true))?;
        let mode = self.nodes[source.id].mode;
        if let Ok(target) = self.resolve(to, true)
            && self.nodes[target].ino == self.nodes[source.id].ino
        {
            return Err(Errno::EINVAL);
        }
        let options = OpenOptions::new().write(true).create(true).truncate(true);
        let target = self.open(to, &options.mode(mode))?;
        let data = self.data(source.id).clone();
        let len = data.size();
        if len > 0 {
            self.change(target.id, |to| *to = data);
        }
        self.chmod(target.id, mode)?;
        Ok(Outcome::Count(len))
    }
}
