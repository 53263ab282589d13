//! Fingerprints of layers.

use std::fmt;
use std::str::FromStr;

use crate::backend::{Access, Entry, LayerBackend, LayerFile, NodeRef, Result, WhiteoutForm};
use crate::errno::Errno;
use crate::meta::{FileType, Metadata};
use crate::path::Name;

/// Bytes of a file read at a time.
const READ_BYTES: usize = 64 * 1024;

/// What a seal covers.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum SealDepth {
    /// Names, types, sizes, modes, owners, modification times, devices, link targets, whiteouts and
    /// extended attributes: what an edit changes as a rule.
    #[default]
    Metadata,
    /// The content of files too.
    Content,
}

/// The fingerprint of a layer, to be kept beside it and compared later ([`Check::seals`](super::Check::seals)), so that
/// an edit of a lower under its upper is noticed whatever the mount options.
///
/// It notices accidents, not attackers: 128 bits that are no cryptographic hash. Not covered are inode
/// numbers, link counts, change, birth and access times, and sizes of directories, so a layer that was
/// copied faithfully keeps its seal. It depends on where overlay attributes are kept.
///
/// ```
/// use layerstack::backend::memory::MemLayer;
/// use layerstack::check::{Seal, SealDepth};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = MemLayer::builder().file("etc/hosts", b"127.0.0.1 localhost").build()?;
/// let seal = Seal::of(&layer, SealDepth::Content)?;
/// let kept: Seal = seal.to_string().parse()?;
/// assert_eq!(kept, Seal::of(&layer, SealDepth::Content)?);
/// # Ok(())
/// # }
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seal {
    depth: SealDepth,
    entries: u64,
    hash: u128,
}

impl Seal {
    /// Reads a whole layer and makes its seal.
    ///
    /// # Errors
    /// What the layer gives: a seal covers everything or is none.
    pub fn of(layer: &dyn LayerBackend, depth: SealDepth) -> Result<Seal> {
        let mut sealer = Sealer {
            depth,
            entries: 0,
            hash: Fnv::new(),
            buffer: Vec::new(),
        };
        sealer.tree(&layer.root()?)?;
        Ok(Seal {
            depth,
            entries: sealer.entries,
            hash: sealer.hash.0,
        })
    }

    /// What it covers.
    #[must_use]
    pub fn depth(&self) -> SealDepth {
        self.depth
    }

    /// How many names the layer holds, the root not counted.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// Such as `layerstack1:metadata:12:0123456789abcdef0123456789abcdef`.
impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let depth = match self.depth {
            SealDepth::Metadata => "metadata",
            SealDepth::Content => "content",
        };
        write!(f, "layerstack1:{depth}:{}:{:032x}", self.entries, self.hash)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Seal {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A text that is no seal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no seal of a layer")]
pub struct SealError;

impl FromStr for Seal {
    type Err = SealError;

    fn from_str(text: &str) -> std::result::Result<Self, SealError> {
        let parts: Vec<&str> = text.trim_end().split(':').collect();
        let ["layerstack1", depth, entries, hash] = parts.as_slice() else {
            return Err(SealError);
        };
        let depth = match *depth {
            "metadata" => SealDepth::Metadata,
            "content" => SealDepth::Content,
            _ => return Err(SealError),
        };
        if hash.len() != 32 || hash.starts_with('+') {
            return Err(SealError);
        }
        Ok(Seal {
            depth,
            entries: entries.parse().map_err(|_| SealError)?,
            hash: u128::from_str_radix(hash, 16).map_err(|_| SealError)?,
        })
    }
}

struct Sealer {
    depth: SealDepth,
    entries: u64,
    hash: Fnv,
    buffer: Vec<u8>,
}

impl Sealer {
    /// Depth first, names in the order of their bytes; what ends a directory is hashed too, so that no
    /// two trees look the same.
    fn tree(&mut self, root: &NodeRef) -> Result<()> {
        self.node(root, &root.metadata()?)?;
        let mut levels = vec![Level::of(root)?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.hash.field(b"up", &[]);
                levels.pop();
                continue;
            };
            let Some(entry) = level.dir.lookup(&name)? else {
                return Err(Errno::ESTALE.into());
            };
            self.entries += 1;
            self.hash.field(b"name", name.as_bytes());
            match entry {
                Entry::Whiteout(form) => {
                    let form: &[u8] = match form {
                        WhiteoutForm::CharDevice => b"char",
                        WhiteoutForm::Xattr => b"xattr",
                    };
                    self.hash.field(b"whiteout", form);
                }
                Entry::Node(node, meta) => {
                    self.node(&node, &meta)?;
                    if meta.is_dir() {
                        levels.push(Level::of(&node)?);
                    }
                }
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeRef, meta: &Metadata) -> Result<()> {
        let size = if meta.is_dir() { 0 } else { meta.size };
        self.hash
            .field(b"type", meta.file_type.to_string().as_bytes());
        for number in [
            u64::from(meta.mode),
            u64::from(meta.uid),
            u64::from(meta.gid),
            size,
            u64::from(meta.rdev.major),
            u64::from(meta.rdev.minor),
            meta.mtime.secs.cast_unsigned(),
            u64::from(meta.mtime.nanos),
        ] {
            self.hash.bytes(&number.to_le_bytes());
        }
        if meta.is_symlink() {
            self.hash.field(b"target", &node.read_link()?);
        }
        let mut names = node.xattrs()?;
        names.sort();
        for name in names {
            if let Some(value) = node.xattr(&name)? {
                self.hash.field(b"xattr", name.as_bytes());
                self.hash.field(b"value", &value);
            }
        }
        if self.depth == SealDepth::Content && meta.file_type == FileType::Regular {
            self.content(node)?;
        }
        Ok(())
    }

    /// Hashes the bytes that reading gives, whether they lie in data or in holes.
    fn content(&mut self, node: &NodeRef) -> Result<()> {
        let file = node.open(Access::Read)?;
        self.buffer.resize(READ_BYTES, 0);
        let mut offset = 0;
        loop {
            let n = fill(&*file, &mut self.buffer, offset)?;
            self.hash.words(self.buffer.get(..n).unwrap_or_default());
            offset += n as u64;
            if n < READ_BYTES {
                break;
            }
        }
        self.hash.field(b"end", &offset.to_le_bytes());
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends, so that pieces never depend on the backend.
fn fill(file: &dyn LayerFile, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

struct Level {
    dir: NodeRef,
    names: std::vec::IntoIter<Name>,
}

impl Level {
    fn of(dir: &NodeRef) -> Result<Level> {
        let mut names: Vec<Name> = dir.list()?.into_iter().map(|e| e.name).collect();
        names.sort_unstable();
        Ok(Level {
            dir: dir.clone(),
            names: names.into_iter(),
        })
    }
}

/// FNV-1a in 128 bits.
struct Fnv(u128);

impl Fnv {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    fn new() -> Self {
        Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn step(&mut self, word: u64) {
        self.0 = (self.0 ^ u128::from(word)).wrapping_mul(Fnv::PRIME);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.step(u64::from(*b));
        }
    }

    /// Long content, eight bytes at a time.
    fn words(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.step(u64::from_le_bytes(*word));
        }
        self.bytes(rest);
    }

    /// A field with its length, so that the next begins where this ends.
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.bytes(name);
        self.bytes(&(value.len() as u64).to_le_bytes());
        self.bytes(value);
    }
}
