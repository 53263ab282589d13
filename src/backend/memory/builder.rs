//! Describing a layer with content, for tests and for trees that come from elsewhere.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Clock, Config, MemLayer, import};
use crate::backend::{
    Access, AllocateMode, At, AttrKey, BackendError, Entry, LayerBackend, NewKind, NewNode,
    NodeRef, UpperBackend, XattrMode,
};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, SetAttr, SetTime, Timestamp};
use crate::path::{Component, Name, display_path, parse};
use crate::xattr_name::{OverlayAttr, XattrName, XattrNamespace};

/// A layer could not be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} \"{}\"", display_path(.path))]
pub struct BuildError {
    what: &'static str,
    path: PathBuf,
    source: BackendError,
}

impl BuildError {
    pub(super) fn new(what: &'static str, path: &Path, source: impl Into<BackendError>) -> Self {
        BuildError {
            what,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.source.errno()
    }

    /// The path in the layer, or when a real tree is read, the path of the real node.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Keeps the errno; the path stays in the source.
impl From<BuildError> for BackendError {
    fn from(e: BuildError) -> Self {
        BackendError::with_source(e.errno(), e)
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
enum Step {
    Directory(u32),
    Make(NewKind, u32),
    Write(u64, Vec<u8>),
    Hole(Range<u64>),
    Whiteout,
    Xattr(Vec<u8>, Vec<u8>),
    Overlay(OverlayAttr, Vec<u8>),
    Attr(SetAttr),
    HardLink(PathBuf),
    Import,
}

impl Step {
    /// What to say when it fails.
    fn what(&self) -> &'static str {
        match self {
            Step::Directory(_) => "make the directory",
            Step::Make(kind, _) => match kind.file_type() {
                FileType::Regular => "make the file",
                FileType::Symlink => "make the symlink",
                _ => "make the node",
            },
            Step::Write(..) | Step::Hole(_) => "write to",
            Step::Whiteout => "make the whiteout",
            Step::Xattr(..) | Step::Overlay(..) => "set an extended attribute of",
            Step::Attr(_) => "set attributes of",
            Step::HardLink(_) => "make a link to",
            Step::Import => "read the tree",
        }
    }

    /// Times are set last, since making an entry changes those of its directory.
    fn is_time(&self) -> bool {
        matches!(self, Step::Attr(a) if a.atime != SetTime::Omit || a.mtime != SetTime::Omit)
    }
}

/// Describes a [`MemLayer`]; see [`MemLayer::builder`].
///
/// Paths are relative to the layer's root (a leading `/` means the same) and contain no `..`.
/// Parents that are missing are made as directories of mode 0755. Steps are carried out in the
/// order given, except that times are set last. The first failure is what
/// [`build`](MemLayerBuilder::build) returns.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made before `build`"]
pub struct MemLayerBuilder {
    config: Config,
    steps: Vec<(PathBuf, Step)>,
}

impl MemLayerBuilder {
    fn step(mut self, path: impl AsRef<Path>, step: Step) -> Self {
        self.steps.push((path.as_ref().to_owned(), step));
        self
    }

    /// Takes all times from `clock`. Default: [`SystemClock`](super::SystemClock).
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.config.clock = clock;
        self
    }

    /// Keeps overlay attributes in `namespace`. Default: `trusted.`.
    pub fn namespace(mut self, namespace: XattrNamespace) -> Self {
        self.config.namespace = namespace;
        self
    }

    /// Shows `label` to people. Default: `memory`.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.config.label = label.into();
        self
    }

    /// Takes this UUID; all zero stands for a filesystem without. Default: one of its own.
    pub fn uuid(mut self, uuid: [u8; 16]) -> Self {
        self.config.uuid = Some(uuid);
        self
    }

    /// A directory with this mode; one that is there already takes the mode.
    pub fn dir(self, path: impl AsRef<Path>, mode: u32) -> Self {
        self.step(path, Step::Directory(mode))
    }

    /// A regular file with this content and mode 0644.
    pub fn file(self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let made = self.step(path, Step::Make(NewKind::File, 0o644));
        match content.as_ref() {
            [] => made,
            content => made.write(path, 0, content),
        }
    }

    /// Writes into a file that is there.
    pub fn write(self, path: impl AsRef<Path>, offset: u64, content: impl AsRef<[u8]>) -> Self {
        self.step(path, Step::Write(offset, content.as_ref().to_vec()))
    }

    /// Makes a range of a file that is there a hole; a file that ends before the range does, grows.
    pub fn hole(self, path: impl AsRef<Path>, range: Range<u64>) -> Self {
        self.step(path, Step::Hole(range))
    }

    /// A symlink.
    pub fn symlink(self, path: impl AsRef<Path>, target: impl AsRef<[u8]>) -> Self {
        let kind = NewKind::Symlink(target.as_ref().to_vec());
        self.step(path, Step::Make(kind, 0o777))
    }

    /// A fifo of mode 0644.
    pub fn fifo(self, path: impl AsRef<Path>) -> Self {
        self.step(path, Step::Make(NewKind::Fifo, 0o644))
    }

    /// A socket node of mode 0644.
    pub fn socket(self, path: impl AsRef<Path>) -> Self {
        self.step(path, Step::Make(NewKind::Socket, 0o644))
    }

    /// A character device of mode 0644; 0/0 is refused, see [`Self::whiteout`].
    pub fn char_device(self, path: impl AsRef<Path>, major: u32, minor: u32) -> Self {
        let kind = NewKind::CharDevice(DeviceId::new(major, minor));
        self.step(path, Step::Make(kind, 0o644))
    }

    /// A block device of mode 0644.
    pub fn block_device(self, path: impl AsRef<Path>, major: u32, minor: u32) -> Self {
        let kind = NewKind::BlockDevice(DeviceId::new(major, minor));
        self.step(path, Step::Make(kind, 0o644))
    }

    /// A whiteout: a character device 0/0.
    pub fn whiteout(self, path: impl AsRef<Path>) -> Self {
        self.step(path, Step::Whiteout)
    }

    /// A whiteout of the other form: an empty file with the overlay attribute `whiteout`. A listing
    /// honours it only if the directory's opaque attribute is `x`; that is not set by this.
    pub fn xattr_whiteout(self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        self.step(path, Step::Make(NewKind::File, 0)).overlay_attr(
            path,
            OverlayAttr::Whiteout,
            b"y",
        )
    }

    /// Makes a directory opaque; one that is missing is made with mode 0755.
    pub fn opaque(self, path: impl AsRef<Path>) -> Self {
        self.overlay_attr(path, OverlayAttr::Opaque, b"y")
    }

    /// Sets an overlay attribute to raw bytes. A node that is missing is made as a directory.
    pub fn overlay_attr(
        self,
        path: impl AsRef<Path>,
        attr: OverlayAttr,
        value: impl AsRef<[u8]>,
    ) -> Self {
        self.step(path, Step::Overlay(attr, value.as_ref().to_vec()))
    }

    /// Sets an extended attribute of a node that is there.
    pub fn xattr(
        self,
        path: impl AsRef<Path>,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Self {
        let step = Step::Xattr(name.as_ref().to_vec(), value.as_ref().to_vec());
        self.step(path, step)
    }

    /// Sets owner and group of a node that is there.
    pub fn owner(self, path: impl AsRef<Path>, uid: u32, gid: u32) -> Self {
        self.step(path, Step::Attr(SetAttr::owner(Some(uid), Some(gid))))
    }

    /// Sets the permission bits of a node that is there.
    pub fn mode(self, path: impl AsRef<Path>, mode: u32) -> Self {
        self.step(path, Step::Attr(SetAttr::mode(mode)))
    }

    /// Sets the modification time of a node that is there, after all other steps.
    pub fn mtime(self, path: impl AsRef<Path>, mtime: Timestamp) -> Self {
        let attr = SetAttr::times(SetTime::Omit, SetTime::At(mtime));
        self.step(path, Step::Attr(attr))
    }

    /// Sets the access time of a node that is there, after all other steps.
    pub fn atime(self, path: impl AsRef<Path>, atime: Timestamp) -> Self {
        let attr = SetAttr::times(SetTime::At(atime), SetTime::Omit);
        self.step(path, Step::Attr(attr))
    }

    /// Gives the node at `from`, which is there, the second name `to`.
    pub fn hard_link(self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Self {
        self.step(from, Step::HardLink(to.as_ref().to_owned()))
    }

    /// Reads the tree under a real directory into the root: all types of nodes, owners, modes, all
    /// four times, extended attributes (those that this process may see), hard links, holes,
    /// whiteouts of both forms.
    ///
    /// Symlinks are never followed, not even `path` itself; fifos and devices are not opened. The
    /// tree is trusted not to change meanwhile, and paths longer than `PATH_MAX` are not reached.
    pub fn import(self, path: impl AsRef<Path>) -> Self {
        self.step(path, Step::Import)
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// The first step that failed, with its path: `EEXIST` for a name that is taken, `ENOTDIR` if a
    /// parent is no directory, `ENOENT` if a node should be there and is not, `EINVAL` for `..`,
    /// and what the operations of [`UpperBackend`] give.
    pub fn build(self) -> Result<MemLayer, BuildError> {
        let layer = self.config.make();
        let (times, steps): (Vec<_>, Vec<_>) =
            self.steps.into_iter().partition(|(_, step)| step.is_time());
        for (path, step) in steps.into_iter().chain(times) {
            let what = step.what();
            if matches!(step, Step::Import) {
                import::import(&layer, &path)?;
                continue;
            }
            run(&layer, &path, step).map_err(|e| BuildError::new(what, &path, e))?;
        }
        Ok(layer)
    }
}

/// Carries out one step.
fn run(layer: &MemLayer, path: &Path, step: Step) -> Result<(), BackendError> {
    match step {
        Step::Directory(mode) => {
            let dir = make_dirs(layer, &names(path)?)?;
            layer.set_attr(&dir, &SetAttr::mode(mode))
        }
        Step::Make(kind, mode) => {
            let new = NewNode {
                kind,
                mode,
                uid: None,
                gid: None,
            };
            let (dir, name) = parent(layer, path)?;
            layer.create(At::new(&dir, &name), &new).map(|_| ())
        }
        Step::Whiteout => {
            let (dir, name) = parent(layer, path)?;
            layer.whiteout(At::new(&dir, &name))
        }
        Step::Write(offset, content) => {
            let file = find(layer, &names(path)?)?.open(Access::Write)?;
            file.write_at(&content, offset).map(|_| ())
        }
        Step::Hole(range) => {
            let file = find(layer, &names(path)?)?.open(Access::Write)?;
            if file.metadata()?.size < range.end {
                file.set_len(range.end)?;
            }
            let len = range.end.saturating_sub(range.start);
            file.allocate(AllocateMode::PunchHole, range.start, len)
        }
        Step::Xattr(name, value) => {
            let node = find(layer, &names(path)?)?;
            let name = XattrName::new(name)?;
            layer.set_xattr(&node, AttrKey::Raw(&name), Some(&value), XattrMode::Set)
        }
        Step::Overlay(attr, value) => {
            let names = names(path)?;
            let node = match find(layer, &names) {
                Err(e) if e.errno() == Errno::ENOENT => make_dirs(layer, &names)?,
                found => found?,
            };
            layer.set_xattr(&node, AttrKey::Overlay(attr), Some(&value), XattrMode::Set)
        }
        Step::Attr(attr) => layer.set_attr(&find(layer, &names(path)?)?, &attr),
        Step::HardLink(to) => {
            let node = find(layer, &names(path)?)?;
            let (dir, name) = parent(layer, &to)?;
            layer.link(&node, At::new(&dir, &name))
        }
        Step::Import => Ok(()),
    }
}

/// The names on a path.
fn names(path: &Path) -> Result<Vec<Name>, Errno> {
    let components = parse(path)?.components.into_iter();
    components
        .filter(|component| *component != Component::Here)
        .map(|component| match component {
            Component::Name(name) => Ok(name),
            Component::Here | Component::Parent => Err(Errno::EINVAL),
            Component::TooLong => Err(Errno::ENAMETOOLONG),
        })
        .collect()
}

/// The node at the end of `names`.
fn find(layer: &MemLayer, names: &[Name]) -> Result<NodeRef, BackendError> {
    let mut node = layer.root()?;
    for name in names {
        node = match node.lookup(name)? {
            Some(Entry::Node(node, _)) => node,
            Some(Entry::Whiteout(_)) | None => return Err(Errno::ENOENT.into()),
        };
    }
    Ok(node)
}

/// The directory at the end of `names`, made with its parents where it is missing.
fn make_dirs(layer: &MemLayer, names: &[Name]) -> Result<NodeRef, BackendError> {
    let new = NewNode {
        kind: NewKind::Directory,
        mode: 0o755,
        uid: None,
        gid: None,
    };
    let mut node = layer.root()?;
    for name in names {
        node = match node.lookup(name)? {
            Some(Entry::Node(node, meta)) if meta.is_dir() => node,
            Some(_) => return Err(Errno::ENOTDIR.into()),
            None => layer.create(At::new(&node, name), &new)?,
        };
    }
    Ok(node)
}

/// The directory that `path` lies in, made where it is missing, and its last name.
fn parent(layer: &MemLayer, path: &Path) -> Result<(NodeRef, Name), BackendError> {
    let mut names = names(path)?;
    let name = names.pop().ok_or(Errno::EEXIST)?;
    Ok((make_dirs(layer, &names)?, name))
}
