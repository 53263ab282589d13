//! A layer that is a cpio archive ("newc"), read in place: what a backend of one's own takes.
//!
//! It has names, types, attributes, data and hard links; no extended attributes (so no opaque
//! directories), times in whole seconds. A whiteout is a character device 0/0.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use layerstack::backend::{
    Access, Capabilities, Entry, FsId, FsIdentity, LayerBackend, LayerFile, LayerNode, NodeRef,
    RawEntry, Result, WhiteoutForm,
};
use layerstack::{
    DeviceId, Errno, FileType, Metadata, Name, OverlayAttr, StatFs, Timestamp, XattrName,
    XattrNamespace,
};

/// Length of a header: a magic number, and 13 numbers of 8 digits.
const HEADER_BYTES: usize = 110;

/// The name of what ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";

/// An archive and its table of contents.
#[derive(Debug)]
pub struct CpioLayer {
    index: Arc<Index>,
    identity: FsIdentity,
    capabilities: Capabilities,
}

#[derive(Debug)]
struct Index {
    archive: Vec<u8>,
    /// The first is the root.
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    meta: Metadata,
    data: Range<usize>,
    children: BTreeMap<Name, usize>,
}

impl CpioLayer {
    /// Reads the table of contents. `EINVAL`: no archive, or one that says impossible things.
    pub fn new(archive: Vec<u8>) -> Result<Self> {
        let mut members = vec![Member {
            meta: Metadata::new(FileType::Directory, 0o755),
            data: 0..0,
            children: BTreeMap::new(),
        }];
        members[0].meta.ino = 1;
        let mut by_ino = BTreeMap::new();
        let mut at = 0;
        loop {
            let (path, member, ino, next) = parse(&archive, at)?;
            if path == TRAILER {
                break;
            }
            at = next;
            if path == b"." {
                let children = std::mem::take(&mut members[0].children);
                members[0] = Member { children, ..member };
                members[0].meta.ino = 1;
                continue;
            }
            let mut dir = 0;
            let mut parts = path.split(|b| *b == b'/').peekable();
            while let Some(part) = parts.next() {
                let name = Name::new(part)?;
                if parts.peek().is_some() {
                    dir = *members[dir].children.get(&name).ok_or(Errno::EINVAL)?;
                    continue;
                }
                // A number met again is one more name of the same file.
                let id = *by_ino.entry(ino).or_insert(members.len());
                if id == members.len() {
                    members.push(Member {
                        data: member.data.clone(),
                        meta: member.meta.clone(),
                        children: BTreeMap::new(),
                    });
                }
                members[dir].children.insert(name, id);
            }
        }
        let mut capabilities = Capabilities::read_only();
        (capabilities.xattrs, capabilities.overlay_attrs) = (false, false);
        (capabilities.whiteouts, capabilities.device_nodes) = (true, true);
        Ok(CpioLayer {
            index: Arc::new(Index { archive, members }),
            identity: FsIdentity::new(FsId::unique(), XattrNamespace::Trusted),
            capabilities,
        })
    }
}

/// One member: its path, itself, its inode number, and where the next one begins.
fn parse(archive: &[u8], at: usize) -> Result<(Vec<u8>, Member, u32, usize)> {
    let header = archive.get(at..at + HEADER_BYTES).ok_or(Errno::EINVAL)?;
    if !header.starts_with(b"070701") {
        return Err(Errno::EINVAL.into());
    }
    let number = |i: usize| -> Result<u32> {
        let digits = std::str::from_utf8(&header[6 + i * 8..14 + i * 8]);
        let digits = digits.map_err(|_| Errno::EINVAL)?;
        u32::from_str_radix(digits, 16).map_err(|_| Errno::EINVAL.into())
    };
    let (ino, mode, size, name_len) = (number(0)?, number(1)?, number(6)?, number(11)?);
    let name_at = at + HEADER_BYTES;
    let name_end = name_at + name_len as usize;
    let path = archive.get(name_at..name_end.saturating_sub(1));
    let data = name_end.next_multiple_of(4);
    let data = data..data + size as usize;
    let bytes = archive.get(data.clone()).ok_or(Errno::EINVAL)?;
    let file_type = match mode >> 12 {
        0o01 => FileType::Fifo,
        0o02 => FileType::CharDevice,
        0o04 => FileType::Directory,
        0o06 => FileType::BlockDevice,
        0o10 => FileType::Regular,
        0o12 => FileType::Symlink,
        0o14 => FileType::Socket,
        // The end has no type.
        _ if path == Some(TRAILER) => FileType::Regular,
        _ => return Err(Errno::EINVAL.into()),
    };
    let mut meta = Metadata::new(file_type, mode);
    (meta.uid, meta.gid) = (number(2)?, number(3)?);
    (meta.nlink, meta.size) = (number(4)?.into(), bytes.len() as u64);
    // Seconds before 1970 are kept as the numbers of 32 bits wrap.
    meta.mtime = Timestamp::new(i64::from(number(5)?.cast_signed()), 0);
    (meta.atime, meta.ctime) = (meta.mtime, meta.mtime);
    meta.rdev = DeviceId::new(number(9)?, number(10)?);
    meta.ino = u64::from(ino) + 2;
    let next = data.end.next_multiple_of(4);
    let children = BTreeMap::new();
    let member = Member {
        meta,
        data,
        children,
    };
    Ok((path.ok_or(Errno::EINVAL)?.to_vec(), member, ino, next))
}

/// A member of an archive.
#[derive(Clone, Debug)]
struct CpioNode(Arc<Index>, usize);

impl CpioNode {
    fn member(&self) -> &Member {
        &self.0.members[self.1]
    }

    fn data(&self) -> &[u8] {
        &self.0.archive[self.member().data.clone()]
    }

    fn children(&self) -> Result<&BTreeMap<Name, usize>> {
        match self.member().meta.is_dir() {
            true => Ok(&self.member().children),
            false => Err(Errno::ENOTDIR.into()),
        }
    }
}

impl LayerBackend for CpioLayer {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    fn root(&self) -> Result<NodeRef> {
        Ok(Arc::new(CpioNode(self.index.clone(), 0)))
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs {
            name_bytes_max: 255,
            ..StatFs::default()
        })
    }
}

impl LayerNode for CpioNode {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.member().meta.clone())
    }

    fn lookup(&self, name: &Name) -> Result<Option<Entry>> {
        let Some(id) = self.children()?.get(name) else {
            return Ok(None);
        };
        let node = CpioNode(self.0.clone(), *id);
        let meta = node.member().meta.clone();
        let whiteout = meta.file_type == FileType::CharDevice && meta.rdev.is_zero();
        Ok(Some(match whiteout {
            true => Entry::Whiteout(WhiteoutForm::CharDevice),
            false => Entry::Node(Arc::new(node), meta),
        }))
    }

    fn list(&self) -> Result<Vec<RawEntry>> {
        let entry = |(name, id): (&Name, &usize)| {
            let meta = &self.0.members[*id].meta;
            RawEntry {
                name: name.clone(),
                file_type: Some(meta.file_type),
                ino: meta.ino,
            }
        };
        Ok(self.children()?.iter().map(entry).collect())
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        match self.member().meta.is_symlink() {
            true => Ok(self.data().to_vec()),
            false => Err(Errno::EINVAL.into()),
        }
    }

    fn xattr(&self, _: &XattrName) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn xattrs(&self) -> Result<Vec<XattrName>> {
        Ok(Vec::new())
    }

    fn overlay_attr(&self, _: OverlayAttr) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn open(&self, access: Access) -> Result<Box<dyn LayerFile>> {
        match (self.member().meta.file_type, access) {
            (FileType::Directory, _) => Err(Errno::EISDIR.into()),
            (FileType::Symlink, _) => Err(Errno::ELOOP.into()),
            (FileType::Regular, Access::Read) => Ok(Box::new(self.clone())),
            (FileType::Regular, _) => Err(Errno::EROFS.into()),
            _ => Err(Errno::ENXIO.into()),
        }
    }
}

impl LayerFile for CpioNode {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.data().get(start..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn metadata(&self) -> Result<Metadata> {
        LayerNode::metadata(self)
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let size = self.member().meta.size;
        Ok((offset < size).then_some(offset..size))
    }
}
