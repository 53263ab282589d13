//! Walking the merged tree, lazily.
//!
//! A walk holds one frame per directory on the way to where it is: the directory's handle and the
//! names in it that are still to come. It never resolves a path again, never recurses, and holds
//! the tree's lock only while it lists a directory or looks at one name.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::errno::Errno;
use crate::error::{Error, LayerId, Result};
use crate::meta::{FileType, Metadata};
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::inode::{Inode, State};
use crate::overlay::peek::Peeked;
use crate::overlay::read::Listed;
use crate::overlay::stack::LayerStack;
use crate::path::Name;
use crate::rules::permission::Mask;

const OP: &str = "walk";

/// Decides whether an entry, and what is below it, is walked.
type Filter = Box<dyn FnMut(&WalkEntry) -> bool + Send>;

/// A recursive walk of a merged tree: first configured, then iterated.
///
/// The directory itself comes first (depth 0), then what is in it; symlinks are not followed. An
/// error is an item like any other and does not end the walk. The tree may be changed meanwhile, also
/// by who walks: each directory is listed once, when the walk enters it; a directory that is gone by
/// then is an error or empty.
///
/// Takes memory for the names of one directory per level, whatever the size of the tree.
///
/// ```
/// use layerstack::{LayerStack, backend::memory::MemLayer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let base = MemLayer::builder().file("etc/hosts", b"").file("etc/old", b"").build()?;
/// let top = MemLayer::builder().file("etc/new", b"").whiteout("etc/old").build()?;
/// let stack = LayerStack::from_top([top, base])?;
/// let mut paths = Vec::new();
/// for entry in stack.walk("/").sort(true) {
///     paths.push(entry?.path().to_string_lossy().into_owned());
/// }
/// assert_eq!(paths, ["/", "/etc", "/etc/hosts", "/etc/new"]);
/// # Ok(())
/// # }
/// ```
#[must_use = "a walk is lazy: nothing happens before it is iterated"]
pub struct Walk {
    core: Arc<Core>,
    start: Option<PathBuf>,
    sort: bool,
    contents_first: bool,
    min_depth: usize,
    max_depth: usize,
    filter: Option<Filter>,
    frames: Vec<Frame>,
    /// The directory yielded last, which the next step enters.
    enter: Option<WalkEntry>,
    /// Path of the innermost frame's directory.
    path: Vec<u8>,
}

/// A directory being walked.
struct Frame {
    dir: Arc<Inode>,
    names: std::vec::IntoIter<Listed>,
    /// Length of [`Walk::path`] without this directory's name.
    parent_bytes: usize,
    /// The directory itself, if it comes after its contents.
    after: Option<WalkEntry>,
}

/// One object met by a [`Walk`].
#[derive(Clone)]
pub struct WalkEntry {
    core: Arc<Core>,
    /// The directory that holds it; `None` for where the walk starts.
    dir: Option<Arc<Inode>>,
    name: Option<Name>,
    path: PathBuf,
    depth: usize,
    file_type: FileType,
    layer: LayerId,
    /// What it is made of, if the walk had to look.
    peeked: Option<Box<Peeked>>,
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("start", &self.start)
            .field("sort", &self.sort)
            .field("contents_first", &self.contents_first)
            .field("min_depth", &self.min_depth)
            .field("max_depth", &self.max_depth)
            .field("filter", &self.filter.is_some())
            .field("depth", &self.frames.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WalkEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalkEntry")
            .field("path", &self.path)
            .field("depth", &self.depth)
            .field("file_type", &self.file_type)
            .field("layer", &self.layer)
            .finish_non_exhaustive()
    }
}

impl LayerStack {
    /// Walks the tree below `path`, `path` itself included. A symlink at `path` is followed, those
    /// met later are not. See [`Walk`].
    ///
    /// If `path` cannot be resolved, the error is the walk's one item.
    pub fn walk(&self, path: impl AsRef<Path>) -> Walk {
        Walk {
            core: self.core.clone(),
            start: Some(path.as_ref().to_path_buf()),
            sort: false,
            contents_first: false,
            min_depth: 0,
            max_depth: usize::MAX,
            filter: None,
            frames: Vec::new(),
            enter: None,
            path: Vec::new(),
        }
    }
}

impl Walk {
    /// Walks each directory's entries in the order of their names' bytes; otherwise they come in the
    /// order in which the kernel lists them (rule R096).
    pub fn sort(mut self, on: bool) -> Self {
        self.sort = on;
        self
    }

    /// Leaves out what is less deep than `depth`; the start has depth 0.
    pub fn min_depth(mut self, depth: usize) -> Self {
        self.min_depth = depth;
        self
    }

    /// Does not go deeper than `depth`.
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = depth;
        self
    }

    /// A directory comes after its contents instead of before.
    pub fn contents_first(mut self, on: bool) -> Self {
        self.contents_first = on;
        self
    }

    /// Leaves out every entry for which `keep` answers `false`, and does not enter it if it is a
    /// directory. Asked for each entry met, before its contents, whatever the smallest depth.
    pub fn filter(mut self, keep: impl FnMut(&WalkEntry) -> bool + Send + 'static) -> Self {
        self.filter = Some(Box::new(keep));
        self
    }

    /// Leaves the directory that the walk is in: after a directory was yielded its contents are
    /// left out, after anything else the rest of the directory that holds it. With
    /// [`contents_first`](Walk::contents_first) the directory that is left still comes.
    pub fn skip_current_dir(&mut self) {
        if self.enter.take().is_none()
            && let Some(frame) = self.frames.last_mut()
        {
            frame.names = Vec::new().into_iter();
        }
    }

    /// The first entry.
    fn begin(&mut self, start: &Path) -> Result<WalkEntry> {
        let core = &self.core;
        let _tree = core.read();
        let peeked = core
            .walk_path(core.root(), start, true)
            .and_then(|inode| core.peek_inode(&inode))
            .map_err(|e| e.into_error(OP, start))?;
        let path = peeked.inode.path();
        let name = path.file_name().and_then(|n| Name::try_from(n).ok());
        // The path of the frame above: the start's without its name.
        let mut above = path.as_os_str().as_bytes().to_vec();
        let name_bytes = name.as_ref().map_or(0, |n| n.as_bytes().len());
        above.truncate(above.len().saturating_sub(name_bytes.saturating_add(1)));
        self.path = above;
        Ok(WalkEntry {
            core: core.clone(),
            dir: None,
            name,
            path,
            depth: 0,
            file_type: peeked.inode.file_type,
            layer: core.real_layer(&peeked.state),
            peeked: Some(Box::new(peeked)),
        })
    }

    /// Lists a directory and makes it the innermost.
    fn enter(&mut self, entry: WalkEntry) -> Result<()> {
        let listed = self.list(&entry);
        let (dir, names, result) = match (listed, entry.peeked.as_ref()) {
            (Ok(names), Some(peeked)) => (peeked.inode.clone(), names, Ok(())),
            (Err(e), Some(peeked)) => {
                let error = e.into_error(OP, entry.path.clone());
                (peeked.inode.clone(), Vec::new(), Err(error))
            }
            (_, None) => return Ok(()),
        };
        let parent_bytes = self.path.len();
        if let Some(name) = &entry.name {
            self.path.push(b'/');
            self.path.extend_from_slice(name.as_bytes());
        }
        self.frames.push(Frame {
            dir,
            names: names.into_iter(),
            parent_bytes,
            after: self.contents_first.then_some(entry),
        });
        result
    }

    fn list(&self, entry: &WalkEntry) -> Res<Vec<Listed>> {
        let Some(peeked) = &entry.peeked else {
            return Ok(Vec::new());
        };
        let mut names = {
            let _tree = self.core.read();
            self.core.read_dir(&peeked.inode)?
        };
        if self.sort {
            names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(names)
    }

    /// Makes an entry of a listed name. The layers are asked only for what is entered, and for what
    /// has no type in the listing.
    fn entry(&self, dir: &Arc<Inode>, listed: Listed) -> Result<WalkEntry> {
        let depth = self.frames.len();
        let bytes = self.path.len() + 1 + listed.name.as_bytes().len();
        let mut path = Vec::with_capacity(bytes);
        path.extend_from_slice(&self.path);
        path.push(b'/');
        path.extend_from_slice(listed.name.as_bytes());
        let path = PathBuf::from(OsString::from_vec(path));
        let enters = listed.file_type.is_none_or(FileType::is_dir) && depth < self.max_depth;
        let peeked = if enters || listed.file_type.is_none() {
            let peeked = look(&self.core, dir, &listed.name, listed.layer)
                .map_err(|e| e.into_error(OP, path.clone()))?;
            Some(Box::new(peeked))
        } else {
            None
        };
        let known = peeked.as_ref().map(|p| p.inode.file_type);
        Ok(WalkEntry {
            core: self.core.clone(),
            dir: Some(dir.clone()),
            path,
            depth,
            file_type: known.or(listed.file_type).unwrap_or(FileType::Regular),
            layer: listed.layer,
            peeked,
            name: Some(listed.name),
        })
    }

    /// Offers an entry to the filter and decides when it comes.
    fn offer(&mut self, entry: WalkEntry) -> Option<WalkEntry> {
        if self.filter.as_mut().is_some_and(|keep| !keep(&entry)) {
            return None;
        }
        let shown = entry.depth >= self.min_depth;
        if !entry.file_type.is_dir() || entry.depth >= self.max_depth {
            return shown.then_some(entry);
        }
        self.enter = Some(entry.clone());
        (shown && !self.contents_first).then_some(entry)
    }

    /// Leaves the innermost directory.
    fn leave(&mut self) -> Option<WalkEntry> {
        let frame = self.frames.pop()?;
        self.path.truncate(frame.parent_bytes);
        frame.after.filter(|entry| entry.depth >= self.min_depth)
    }
}

impl Iterator for Walk {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(start) = self.start.take() {
            match self.begin(&start) {
                Err(e) => return Some(Err(e)),
                Ok(entry) => {
                    if let Some(entry) = self.offer(entry) {
                        return Some(Ok(entry));
                    }
                }
            }
        }
        loop {
            if let Some(entry) = self.enter.take()
                && let Err(e) = self.enter(entry)
            {
                return Some(Err(e));
            }
            let frame = self.frames.last_mut()?;
            let Some(listed) = frame.names.next() else {
                match self.leave() {
                    Some(entry) => return Some(Ok(entry)),
                    None => continue,
                }
            };
            let dir = frame.dir.clone();
            match self.entry(&dir, listed) {
                Err(e) => return Some(Err(e)),
                Ok(entry) => {
                    if let Some(entry) = self.offer(entry) {
                        return Some(Ok(entry));
                    }
                }
            }
        }
    }
}

impl std::iter::FusedIterator for Walk {}

/// Looks at a name that was listed as the layer's.
fn look(core: &Core, dir: &Arc<Inode>, name: &Name, layer: LayerId) -> Res<Peeked> {
    let _tree = core.read();
    core.allow(dir, Mask::EXECUTE)?;
    core.peek(dir, name, first(layer))?.ok_or_else(gone)
}

/// The topmost lower that can have a name listed as `layer`'s.
fn first(layer: LayerId) -> usize {
    match layer {
        LayerId::Lower(i) => i,
        LayerId::Upper | LayerId::Work => 0,
    }
}

fn gone() -> Fail {
    Fail::from(Errno::ENOENT).with_detail("listed, but not there when looked up")
}

impl WalkEntry {
    /// The path in the union, starting with `/`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path in the union.
    #[must_use]
    pub fn into_path(self) -> PathBuf {
        self.path
    }

    /// The last name of the path; `None` for the union's root.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// How many directories below the start of the walk; the start has 0.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The type, as the directory lists it.
    #[must_use]
    pub fn file_type(&self) -> FileType {
        self.file_type
    }

    /// The topmost layer that has the name: it supplies the object and its attributes.
    #[must_use]
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// The attributes. Of a directory that the walk is about to enter they are known from looking it
    /// up; otherwise the layers are asked, once per call.
    ///
    /// # Errors
    /// - `NotFound`: listed, but gone since, or a whiteout that a directory of only one layer lists
    ///   (rule R079).
    /// - What the layers give.
    pub fn metadata(&self) -> Result<Metadata> {
        let fail = |e: Fail| e.into_error("metadata", self.path.clone());
        if let (None, Some(dir), Some(name)) = (&self.peeked, &self.dir, &self.name) {
            let _tree = self.core.read();
            self.core.allow(dir, Mask::EXECUTE).map_err(fail)?;
            let found = self.core.peek_metadata(dir, name, first(self.layer));
            return found.and_then(|meta| meta.ok_or_else(gone)).map_err(fail);
        }
        let peeked = self.peeked()?;
        let meta = peeked.real;
        self.core
            .shown_metadata(&peeked.inode, &peeked.state, meta)
            .map_err(fail)
    }

    /// Every layer that contributes, topmost first: of a directory all whose entries it merges, of
    /// anything else the one that supplies it.
    ///
    /// # Errors
    /// As [`WalkEntry::metadata`].
    pub fn layers(&self) -> Result<Vec<LayerId>> {
        if !self.file_type.is_dir() {
            return Ok(vec![self.layer]);
        }
        Ok(contributing(&self.peeked()?.state))
    }

    /// The object itself.
    pub(crate) fn peeked(&self) -> Result<Peeked> {
        match (&self.peeked, &self.dir, &self.name) {
            (Some(peeked), _, _) => Ok((**peeked).clone()),
            (None, Some(dir), Some(name)) => look(&self.core, dir, name, self.layer)
                .map_err(|e| e.into_error("metadata", self.path.clone())),
            _ => Err(Error::new("metadata", self.path.clone(), Errno::ENOENT)),
        }
    }
}

/// The layers whose directories a directory merges.
pub(crate) fn contributing(state: &State) -> Vec<LayerId> {
    let upper = state.upper.iter().map(|_| LayerId::Upper);
    let lowers = state.lowers.iter().map(|l| LayerId::Lower(l.layer));
    upper.chain(lowers).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::backend::memory::MemLayer;

    #[test]
    fn a_walk_keeps_nothing_in_use() {
        let layer = || MemLayer::builder().file("d/e/f", "").build().unwrap();
        let stack = LayerStack::from_top([layer(), layer()]).unwrap();
        let name = Name::try_from("d").unwrap();
        let mut last = None;
        for entry in stack.walk("/") {
            last = Some(entry.unwrap());
        }
        assert!(
            stack.core.root().child(&name).is_some(),
            "the entry holds it"
        );
        drop(last);
        assert!(stack.core.root().child(&name).is_none());
    }
}
