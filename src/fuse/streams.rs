//! Requests that read directories.

use std::ffi::OsStr;
use std::sync::Arc;

use fuser::{FileHandle, INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use crate::errno::Errno;
use crate::fuse::convert;
use crate::fuse::handles::Stream;
use crate::fuse::listing::{DOTS, Placed, behind};
use crate::fuse::server::{Answer, Server};
use crate::meta::FileType;
use crate::overlay::read::Listed;

impl Server {
    /// The stream behind a handle and the entries of its directory.
    fn listing(&self, fh: FileHandle, offset: u64) -> Answer<(Arc<Stream>, Arc<Vec<Placed>>)> {
        let stream = self.streams.get(fh.0).ok_or(Errno::EBADF)?;
        let entries = stream.entries(offset == 0, || -> Answer<Vec<Listed>> {
            let _tree = self.core.read();
            Ok(self.core.list(&stream.inode)?)
        })?;
        Ok((stream, entries))
    }

    /// The inode numbers of `.` and `..`.
    fn dots(&self, stream: &Stream) -> Answer<[(&'static str, u64); 2]> {
        let own = self.shown_number(&self.metadata(&stream.inode)?);
        let above = match stream.inode.parent() {
            Some(parent) => self.shown_number(&self.metadata(&parent)?),
            None => own,
        };
        Ok([(".", own), ("..", above)])
    }

    pub(super) fn list(
        &self,
        fh: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Answer<()> {
        let (stream, entries) = self.listing(fh, offset)?;
        let mut at = offset;
        if at < DOTS {
            for (name, ino) in self.dots(&stream)?.into_iter().skip(at as usize) {
                at += 1;
                if reply.add(INodeNo(ino), at, fuser::FileType::Directory, name) {
                    return Ok(());
                }
            }
        }
        for Placed { offset, entry } in behind(&entries, at) {
            let (ino, file_type) = self.listed(&stream, entry);
            let kind = convert::kind(file_type.unwrap_or(FileType::Regular));
            if reply.add(INodeNo(ino), *offset, kind, entry.name.as_os_str()) {
                break;
            }
        }
        Ok(())
    }

    /// Number and type of an entry, asked for where the listing does not tell what the mount shows.
    fn listed(&self, stream: &Stream, entry: &Listed) -> (u64, Option<FileType>) {
        if self.core.numbering.is_one_device() && entry.file_type.is_some() {
            return (entry.ino, entry.file_type);
        }
        match self.core.find(&stream.inode, &entry.name) {
            Ok(Some((_, meta))) => (self.shown_number(&meta), Some(meta.file_type)),
            _ => (entry.ino, entry.file_type),
        }
    }

    pub(super) fn list_with_attributes(
        &self,
        fh: FileHandle,
        offset: u64,
        reply: &mut ReplyDirectoryPlus,
    ) -> Answer<()> {
        let (stream, entries) = self.listing(fh, offset)?;
        let mut at = offset;
        if at < DOTS {
            for (name, ino) in self.dots(&stream)?.into_iter().skip(at as usize) {
                at += 1;
                // The kernel takes nothing but type and number from these two.
                let attr = convert::bare_attr(Some(FileType::Directory), ino);
                if self.add(reply, at, name.as_ref(), &attr) {
                    return Ok(());
                }
            }
        }
        for Placed { offset, entry } in behind(&entries, at) {
            if self.add_entry(reply, *offset, &stream, entry) {
                break;
            }
        }
        Ok(())
    }

    /// Adds one entry with its attributes. Answers whether there was no room for it.
    fn add_entry(
        &self,
        reply: &mut ReplyDirectoryPlus,
        at: u64,
        stream: &Stream,
        entry: &Listed,
    ) -> bool {
        let name = entry.name.as_os_str();
        if let Ok(Some((inode, meta))) = self.core.find(&stream.inode, &entry.name) {
            let shown = self.shown_number(&meta);
            let number = self.nodes.adopt(&inode, shown);
            if number == shown {
                let attr = convert::attr(&meta, number);
                let generation = fuser::Generation(inode.id);
                let time = self.attr_time(number, shown).min(self.name_time(&meta));
                let full = reply.add(attr.ino, at, name, &time, &attr, generation);
                if full {
                    self.nodes.forget(number, 1);
                }
                return full;
            }
            self.nodes.forget(number, 1);
            // Known by a number that it does not show.
            return self.add_bare(reply, at, name, Some(meta.file_type), shown);
        }
        // Listed, but not to be found: a stray whiteout, or gone since.
        self.add_bare(reply, at, name, entry.file_type, entry.ino)
    }

    /// Adds an entry of which the kernel is to take nothing but type and number.
    fn add_bare(
        &self,
        reply: &mut ReplyDirectoryPlus,
        at: u64,
        name: &OsStr,
        file_type: Option<FileType>,
        ino: u64,
    ) -> bool {
        self.nodes.hold(ino);
        let attr = convert::bare_attr(file_type, ino);
        let full = self.add(reply, at, name, &attr);
        if full {
            self.nodes.forget(ino, 1);
        }
        full
    }

    fn add(
        &self,
        reply: &mut ReplyDirectoryPlus,
        at: u64,
        name: &OsStr,
        attr: &fuser::FileAttr,
    ) -> bool {
        let time = self.attr_time(attr.ino.0, attr.ino.0);
        reply.add(attr.ino, at, name, &time, attr, fuser::Generation(0))
    }
}
