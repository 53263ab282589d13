//! The tables of a layer: inodes by number, entries by name. All changes of links, link counts and
//! directory times are made here; the callers hold the layer's lock.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::chunks::Chunks;
use super::handles::Handles;
use crate::backend::encoding::{INCOMPAT, is_char_whiteout, may_be_xattr_whiteout};
use crate::backend::{Result, WhiteoutForm};
use crate::errno::Errno;
use crate::meta::{FileType, InodeFlags, Metadata, Timestamp};
use crate::path::Name;
use crate::xattr_name::XattrName;

/// Inode number of the root.
pub(super) const ROOT: u64 = 1;
/// Inode number of the work directory.
pub(super) const WORK: u64 = 2;
/// What a directory shows as its size: one block, whatever it holds.
const DIR_SIZE_BYTES: u64 = 4096;

/// One entry of a directory.
#[derive(Copy, Clone, Debug)]
pub(super) struct DirEntry {
    pub(super) ino: u64,
    pub(super) file_type: FileType,
}

/// A directory's own part.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    pub(super) entries: OrdMap<Name, DirEntry>,
    /// Itself for the root, the work directory and the index.
    pub(super) parent: u64,
}

/// What an inode holds besides attributes.
#[derive(Clone, Debug)]
pub(super) enum Content {
    File(Chunks),
    Directory(Directory),
    Symlink(Arc<[u8]>),
    Special,
}

/// One inode. Cloned only when it is changed while a clone of the layer still has it.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Complete but for `dev`, which each clone of a layer has for itself.
    pub(super) meta: Metadata,
    /// Number of the layer that made the inode; part of its file handle.
    pub(super) generation: u64,
    pub(super) xattrs: OrdMap<XattrName, Arc<[u8]>>,
    pub(super) content: Content,
    /// Never append-only or immutable: a layer in memory stays changeable.
    pub(super) flags: InodeFlags,
    /// An unnamed file that may still get a name.
    pub(super) tmpfile: bool,
}

impl Inode {
    /// Brings size and space in line with the content of a file.
    pub(super) fn file_changed(&mut self, now: Timestamp) {
        if let Content::File(chunks) = &self.content {
            self.meta.blocks = chunks.count() * 8;
        }
        self.meta.mtime = now;
        self.meta.ctime = now;
        self.xattrs.remove(super::attr::CAPABILITY);
    }

    /// Which whiteout this is, if any.
    pub(super) fn whiteout(&self, attr: &XattrName) -> Option<WhiteoutForm> {
        let meta = &self.meta;
        if is_char_whiteout(meta.file_type, meta.rdev) {
            Some(WhiteoutForm::CharDevice)
        } else if may_be_xattr_whiteout(meta.file_type, meta.size)
            && !self.xattrs.is_empty()
            && self.xattrs.contains_key(attr)
        {
            Some(WhiteoutForm::Xattr)
        } else {
            None
        }
    }
}

/// The tree. Cloning it is O(1).
#[derive(Clone, Debug)]
pub(super) struct State {
    inodes: OrdMap<u64, Arc<Inode>>,
    /// Inodes without a name, kept by handles.
    orphans: OrdSet<u64>,
    next_ino: u64,
    /// The index directory, once it was asked for.
    pub(super) index: Option<u64>,
}

impl State {
    /// A root and a work directory, both empty.
    pub(super) fn new(generation: u64, now: Timestamp) -> Self {
        let mut state = State {
            inodes: OrdMap::new(),
            orphans: OrdSet::new(),
            next_ino: ROOT,
            index: None,
        };
        state.add_top(generation, 0o755, now);
        state.add_top(generation, 0o700, now);
        state
    }

    /// Adds a directory that is in no other.
    pub(super) fn add_top(&mut self, generation: u64, mode: u32, now: Timestamp) -> u64 {
        let mut meta = Metadata::new(FileType::Directory, mode);
        stamp(&mut meta, now);
        let content = Content::Directory(Directory {
            entries: OrdMap::new(),
            parent: self.next_ino,
        });
        self.add(new_inode(meta, generation, content))
    }

    /// Adds an inode under a new number.
    pub(super) fn add(&mut self, mut inode: Inode) -> u64 {
        let ino = self.next_ino;
        self.next_ino += 1;
        inode.meta.ino = ino;
        if inode.meta.nlink == 0 {
            self.orphans.insert(ino);
        }
        self.inodes.insert(ino, Arc::new(inode));
        ino
    }

    /// How many inodes there are.
    pub(super) fn count(&self) -> u64 {
        self.inodes.len() as u64
    }

    /// An inode, if it exists.
    pub(super) fn get(&self, ino: u64) -> Option<&Inode> {
        self.inodes.get(&ino).map(|inode| &**inode)
    }

    /// The inode behind a handle; a handle keeps its inode, so it is there.
    pub(super) fn inode(&self, ino: u64) -> Result<&Inode> {
        self.get(ino).ok_or_else(|| Errno::ESTALE.into())
    }

    /// The same, to be changed.
    pub(super) fn inode_mut(&mut self, ino: u64) -> Result<&mut Inode> {
        match self.inodes.get_mut(&ino) {
            Some(inode) => Ok(Arc::make_mut(inode)),
            None => Err(Errno::ESTALE.into()),
        }
    }

    /// A directory.
    pub(super) fn dir(&self, ino: u64) -> Result<&Directory> {
        match &self.inode(ino)?.content {
            Content::Directory(dir) => Ok(dir),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    /// What a name in a directory stands for.
    pub(super) fn entry(&self, dir: u64, name: &Name) -> Result<Option<DirEntry>> {
        Ok(self.dir(dir)?.entries.get(name).copied())
    }

    /// Checks that `dir` is a directory in which `name` can be made.
    pub(super) fn check_free(&self, dir: u64, name: &Name) -> Result<()> {
        if self.entry(dir, name)?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        self.check_live(dir)
    }

    /// Checks that a directory was not removed.
    pub(super) fn check_live(&self, dir: u64) -> Result<()> {
        if self.inode(dir)?.meta.nlink == 0 {
            return Err(Errno::ENOENT.into());
        }
        Ok(())
    }

    /// True if `above` is `dir` or a directory that it is in.
    pub(super) fn is_within(&self, dir: u64, above: u64) -> Result<bool> {
        let mut at = dir;
        loop {
            if at == above {
                return Ok(true);
            }
            let parent = self.dir(at)?.parent;
            if parent == at {
                return Ok(false);
            }
            at = parent;
        }
    }

    /// Puts an entry in, replacing one of the same name. The count of subdirectories and the parent
    /// of a directory follow; link counts of other nodes do not.
    pub(super) fn put(
        &mut self,
        dir: u64,
        name: &Name,
        new: DirEntry,
        now: Timestamp,
    ) -> Result<()> {
        let inode = self.inode_mut(dir)?;
        let Content::Directory(content) = &mut inode.content else {
            return Err(Errno::ENOTDIR.into());
        };
        let old = content.entries.insert(name.clone(), new);
        if old.is_some_and(|old| old.file_type.is_dir()) {
            inode.meta.nlink -= 1;
        }
        if new.file_type.is_dir() {
            inode.meta.nlink += 1;
        }
        inode.meta.mtime = now;
        inode.meta.ctime = now;
        if new.file_type.is_dir()
            && let Content::Directory(moved) = &mut self.inode_mut(new.ino)?.content
        {
            moved.parent = dir;
        }
        Ok(())
    }

    /// Takes an entry out; link counts of what it named do not follow.
    pub(super) fn take(&mut self, dir: u64, name: &Name, now: Timestamp) -> Result<()> {
        let inode = self.inode_mut(dir)?;
        let Content::Directory(content) = &mut inode.content else {
            return Err(Errno::ENOTDIR.into());
        };
        if content
            .entries
            .remove(name)
            .is_some_and(|old| old.file_type.is_dir())
        {
            inode.meta.nlink -= 1;
        }
        inode.meta.mtime = now;
        inode.meta.ctime = now;
        Ok(())
    }

    /// Checks that an entry may go away, or be replaced: a directory only if it is empty.
    pub(super) fn check_empty(&self, entry: DirEntry) -> Result<()> {
        if entry.file_type.is_dir() && !self.dir(entry.ino)?.entries.is_empty() {
            return Err(Errno::ENOTEMPTY.into());
        }
        Ok(())
    }

    /// Counts one name less; the inode goes with the last name unless a handle keeps it.
    pub(super) fn drop_link(&mut self, ino: u64, handles: &Handles, now: Timestamp) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.meta.ctime = now;
        inode.meta.nlink = if inode.meta.is_dir() {
            0
        } else {
            inode.meta.nlink.saturating_sub(1)
        };
        if inode.meta.nlink == 0 {
            if handles.orphan(ino) {
                self.orphans.insert(ino);
            } else {
                self.inodes.remove(&ino);
            }
        }
        Ok(())
    }

    /// Counts one name more.
    pub(super) fn add_link(&mut self, ino: u64, handles: &Handles, now: Timestamp) -> Result<()> {
        let inode = self.inode_mut(ino)?;
        inode.meta.ctime = now;
        inode.meta.nlink += 1;
        inode.tmpfile = false;
        if self.orphans.remove(&ino).is_some() {
            handles.adopt(ino);
        }
        Ok(())
    }

    /// Frees an inode that has neither name nor handle.
    pub(super) fn free(&mut self, ino: u64) {
        if self.orphans.remove(&ino).is_some() {
            self.inodes.remove(&ino);
        }
    }

    /// Leaves only what a layer has when it is opened: nothing unnamed, nothing in the work
    /// directory but the mark `incompat`, if there is anything in it, nothing temporary in the index.
    /// Costs what there is to sweep.
    pub(super) fn sweep(&mut self, handles: &Handles, now: Timestamp) {
        for ino in std::mem::take(&mut self.orphans) {
            self.inodes.remove(&ino);
        }
        self.sweep_index(handles, now);
        let mark = self.mark();
        let mut dirs = vec![WORK];
        while let Some(dir) = dirs.pop() {
            let Ok(Inode {
                meta,
                content: Content::Directory(found),
                ..
            }) = self.inode_mut(dir)
            else {
                continue;
            };
            if dir == WORK {
                meta.nlink = 2 + u64::from(mark.is_some());
                if let Some((name, _)) = &mark {
                    found.entries.remove(name);
                }
            }
            for (_, entry) in std::mem::take(&mut found.entries) {
                if entry.file_type.is_dir() {
                    dirs.push(entry.ino);
                } else {
                    // No handle exists to a layer that is being opened.
                    let _ = self.drop_link(entry.ino, handles, now);
                }
            }
            if dir != WORK {
                self.inodes.remove(&dir);
            }
        }
        if let Some((name, entry)) = mark
            && let Ok(work) = self.inode_mut(WORK)
            && let Content::Directory(work) = &mut work.content
        {
            work.entries.insert(name, entry);
        }
    }

    /// The directory in the work directory that says that the layer must not be used as an upper
    /// (rule R044).
    fn mark(&self) -> Option<(Name, DirEntry)> {
        let name = Name::new(INCOMPAT).ok()?;
        let entry = *self.dir(WORK).ok()?.entries.get(&name)?;
        let marks = self.dir(entry.ino).ok()?;
        (!marks.entries.is_empty()).then_some((name, entry))
    }

    /// Moves what is temporary in the index to the work directory.
    fn sweep_index(&mut self, handles: &Handles, now: Timestamp) {
        let Some(index) = self.index else { return };
        let temporary = |name: &&Name| name.as_bytes().starts_with(b"#");
        let names: Vec<Name> = match self.dir(index) {
            Ok(dir) => dir.entries.keys().filter(temporary).cloned().collect(),
            Err(_) => return,
        };
        for name in names {
            let Ok(Some(entry)) = self.entry(index, &name) else {
                continue;
            };
            // The index is a directory, so is the work directory, and the entry was just found.
            let _ = self.take(index, &name, now);
            match self.entry(WORK, &name) {
                Ok(None) => {
                    let _ = self.put(WORK, &name, entry, now);
                }
                _ => {
                    let _ = self.drop_link(entry.ino, handles, now);
                }
            }
        }
    }
}

/// An inode with the numbers that its content gives.
pub(super) fn new_inode(mut meta: Metadata, generation: u64, content: Content) -> Inode {
    match &content {
        Content::Directory(_) => {
            meta.nlink = 2;
            meta.size = DIR_SIZE_BYTES;
            meta.blocks = DIR_SIZE_BYTES / 512;
        }
        Content::Symlink(target) => {
            meta.mode = 0o777;
            meta.size = target.len() as u64;
        }
        Content::File(_) | Content::Special => {}
    }
    Inode {
        meta,
        generation,
        xattrs: OrdMap::new(),
        flags: InodeFlags::default(),
        content,
        tmpfile: false,
    }
}

/// Sets all four times of a new node.
pub(super) fn stamp(meta: &mut Metadata, now: Timestamp) {
    meta.atime = now;
    meta.mtime = now;
    meta.ctime = now;
    meta.btime = Some(now);
}
