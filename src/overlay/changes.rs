//! What the upper changed: the merged tree against what the lowers alone would show.
//!
//! The comparison looks only where the two can differ: at the names that the upper's directories
//! hold, at everything below an opaque or redirected directory, and at the trees that were hidden
//! or that hide. A merged directory's other names come from the same lowers on both sides.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{Access, LayerFile};
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::meta::FileType;
use crate::overlay::core::{Core, InLayer, Res};
use crate::overlay::inode::Inode;
use crate::overlay::peek::Peeked;
use crate::overlay::stack::{LayerStack, Layers};
use crate::path::{Name, join};
use crate::rules::change::{ChangeKind, judge};

const OP: &str = "changes";

/// Bytes of file content compared at a time.
const COMPARE_BYTES: usize = 128 * 1024;

/// One path at which the merged tree differs from the lowers alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Change {
    /// The path in the union.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
    /// What the lowers show; `None` if it was added.
    pub before: Option<FileType>,
    /// What the merged tree shows; `None` if it was removed.
    pub after: Option<FileType>,
}

impl Change {
    /// The type shown, or of what was removed the type that it had.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.after.or(self.before).unwrap_or(FileType::Regular)
    }
}

impl LayerStack {
    /// What the upper changed against the lowers, sorted by the bytes of the paths; without an upper,
    /// nothing.
    ///
    /// Tells what comparing two trees would: the merged one, and that of the lowers alone. Each path
    /// that differs comes once, what is below a removed or added directory included; the root is `/`.
    /// A copy-up that changed nothing that shows is no change. Not compared: link counts, inode
    /// numbers, access and status times; of directories also size and modification time.
    ///
    /// Content is read only of two files of the same size. Changes made while the comparison runs
    /// may or may not be in it.
    ///
    /// # Errors
    /// What the layers give, with the path; also for what only the lowers alone would show.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let core = &self.core;
        if core.upper.is_none() {
            return Ok(Vec::new());
        }
        let lowers = Layers {
            upper: None,
            ..core.layers()
        };
        let below = Core::new(lowers, core.options.clone())?;
        let indexed = core.has_entries().map_err(|e| e.into_error(OP, "/"))?;
        let mut differ = Differ {
            indexed,
            shown: core.clone(),
            below,
            todo: Vec::new(),
            out: Vec::new(),
        };
        differ
            .root()
            .map_err(|e| e.into_error(OP, PathBuf::from("/")))?;
        while let Some(pair) = differ.todo.pop() {
            differ.directory(&pair)?;
        }
        let mut out = differ.out;
        out.sort_by(|a, b| bytes(&a.path).cmp(bytes(&b.path)));
        Ok(out)
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// A directory on at least one side.
struct Pair {
    path: PathBuf,
    below: Option<Arc<Inode>>,
    shown: Option<Arc<Inode>>,
    /// The shown directory may be made of other lowers than the one below of the same path.
    redirected: bool,
}

struct Differ {
    shown: Arc<Core>,
    below: Arc<Core>,
    /// Names that the upper does not have may be of files in the index, so all are compared.
    indexed: bool,
    todo: Vec<Pair>,
    out: Vec<Change>,
}

impl Differ {
    fn root(&mut self) -> Res<()> {
        let shown = self.shown.peek_inode(self.shown.root())?;
        let below = self.below.peek_inode(self.below.root())?;
        self.compare(PathBuf::from("/"), Some(below), Some(shown), false)
    }

    /// Compares what is in a directory.
    fn directory(&mut self, pair: &Pair) -> Result<()> {
        let names = self
            .names(pair)
            .map_err(|e| e.into_error(OP, pair.path.clone()))?;
        for name in names {
            let path = join(&pair.path, &name);
            self.name(pair, &name, path.clone())
                .map_err(|e| e.into_error(OP, path))?;
        }
        Ok(())
    }

    /// The names at which the two sides can differ.
    fn names(&self, pair: &Pair) -> Res<BTreeSet<Name>> {
        let mut names = BTreeSet::new();
        let all = pair.redirected || self.indexed;
        if let (Some(_), Some(shown), false) = (&pair.below, &pair.shown, all) {
            let state = shown.state();
            if let (Some(upper), false) = (&state.upper, state.opaque) {
                let raw = upper.list().in_layer(LayerId::Upper)?;
                names.extend(raw.into_iter().map(|entry| entry.name));
                return Ok(names);
            }
        }
        for (core, dir) in [(&self.below, &pair.below), (&self.shown, &pair.shown)] {
            if let Some(dir) = dir {
                let _tree = core.read();
                names.extend(core.list(dir)?.into_iter().map(|entry| entry.name));
            }
        }
        Ok(names)
    }

    fn name(&mut self, pair: &Pair, name: &Name, path: PathBuf) -> Res<()> {
        let find = |core: &Core, dir: &Option<Arc<Inode>>| match dir {
            None => Ok(None),
            Some(dir) => {
                let _tree = core.read();
                core.peek_layers(dir, name)
            }
        };
        let below = find(&self.below, &pair.below)?;
        let shown = find(&self.shown, &pair.shown)?;
        let redirected = pair.redirected || shown.as_ref().is_some_and(|s| s.redirected);
        self.compare(path, below, shown, redirected)
    }

    /// Compares two objects of one path and notes the directories to go on with.
    fn compare(
        &mut self,
        path: PathBuf,
        below: Option<Peeked>,
        shown: Option<Peeked>,
        redirected: bool,
    ) -> Res<()> {
        if let (Some(_), Some(shown)) = (&below, &shown)
            && shown.state.upper.is_none()
            && !redirected
            && !(self.indexed && shown.inode.is_dir())
        {
            return Ok(());
        }
        let kind = judge(
            below.as_ref().map(|b| &b.real),
            shown.as_ref().map(|s| &s.real),
            || self.same_content(below.as_ref(), shown.as_ref()),
            || self.same_xattrs(below.as_ref(), shown.as_ref()),
        )?;
        if let Some(kind) = kind {
            self.out.push(Change {
                path: path.clone(),
                kind,
                before: below.as_ref().map(|b| b.real.file_type),
                after: shown.as_ref().map(|s| s.real.file_type),
            });
        }
        let dir = |side: Option<Peeked>| side.map(|p| p.inode).filter(|inode| inode.is_dir());
        let (below, shown) = (dir(below), dir(shown));
        if below.is_some() || shown.is_some() {
            self.todo.push(Pair {
                path,
                below,
                shown,
                redirected,
            });
        }
        Ok(())
    }

    /// Compares data or link targets of two objects of one type and size.
    fn same_content(&self, below: Option<&Peeked>, shown: Option<&Peeked>) -> Res<bool> {
        let (Some(below), Some(shown)) = (below, shown) else {
            return Ok(false);
        };
        match shown.real.file_type {
            FileType::Symlink => {
                let a = self.below.read_link(&below.inode)?;
                Ok(a == self.shown.read_link(&shown.inode)?)
            }
            FileType::Regular => {
                let (a, layer_a) = open(&self.below, below)?;
                let (b, layer_b) = open(&self.shown, shown)?;
                same_data((&*a, layer_a), (&*b, layer_b))
            }
            _ => Ok(true),
        }
    }

    /// Compares extended attributes by the names and values that a user sees.
    fn same_xattrs(&self, below: Option<&Peeked>, shown: Option<&Peeked>) -> Res<bool> {
        let (Some(below), Some(shown)) = (below, shown) else {
            return Ok(false);
        };
        let names = self.below.xattrs(&below.inode)?;
        if names != self.shown.xattrs(&shown.inode)? {
            return Ok(false);
        }
        for name in names {
            let a = self.below.xattr(&below.inode, &name);
            match (a, self.shown.xattr(&shown.inode, &name)) {
                (Ok(a), Ok(b)) if a == b => {}
                (Err(e), _) | (_, Err(e)) if e.errno != Errno::ENODATA => return Err(e),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Opens the data of a regular file.
fn open(core: &Core, peeked: &Peeked) -> Res<(Box<dyn LayerFile>, LayerId)> {
    let (node, layer) = core.data_node(&peeked.state)?;
    Ok((node.open(Access::Read).in_layer(layer)?, layer))
}

/// Compares two files of the same size piece by piece, passing over what is a hole in both.
fn same_data(a: (&dyn LayerFile, LayerId), b: (&dyn LayerFile, LayerId)) -> Res<bool> {
    let mut at = 0;
    let (mut buf_a, mut buf_b) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let next_a = a.0.next_data(at).in_layer(a.1)?.map(|r| r.start);
        let next_b = b.0.next_data(at).in_layer(b.1)?.map(|r| r.start);
        let Some(next) = next_a.into_iter().chain(next_b).min() else {
            return Ok(true);
        };
        at = next.max(at);
        let read_a = read_full(a.0, &mut buf_a, at).in_layer(a.1)?;
        let read_b = read_full(b.0, &mut buf_b, at).in_layer(b.1)?;
        if read_a != read_b {
            return Ok(false);
        }
        if read_a.is_empty() {
            return Ok(true);
        }
        at = at.saturating_add(read_a.len() as u64);
    }
}

/// Reads until the buffer is full or the file ends.
fn read_full<'b>(
    file: &dyn LayerFile,
    buf: &'b mut [u8],
    offset: u64,
) -> crate::backend::Result<&'b [u8]> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset.saturating_add(done as u64))? {
            0 => break,
            n => done += n,
        }
    }
    Ok(buf.get(..done).unwrap_or_default())
}

#[cfg(test)]
mod tests;
