//! Copying one layer as it is: whiteouts and overlay attributes included, nothing merged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::backend::{
    Access, At, AttrKey, BackendError, Entry, LayerBackend, LayerFile, NewKind, NewNode, NodeRef,
    RawEntry, UpperBackend, WhiteoutForm, XattrMode,
};
use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::meta::{DeviceId, FileType, Metadata, SetAttr, SetTime};
use crate::path::join;
use crate::rules::xattr::translate;
use crate::xattr_name::{OverlayAttr, XattrNamespace};

const OP: &str = "copy_layer";

/// Bytes of file content moved at a time where the layers cannot do it themselves.
const COPY_BYTES: usize = 1024 * 1024;

/// What [`copy_layer`] copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CopyLayerReport {
    /// Directories, the root not counted.
    pub directories: u64,
    /// Regular files; one with several names counts once.
    pub files: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Devices, fifos and sockets.
    pub specials: u64,
    /// Whiteouts of either form.
    pub whiteouts: u64,
    /// Further names of what was copied already.
    pub hard_links: u64,
    /// Bytes of file data; holes are not counted.
    pub data_bytes: u64,
    /// Of these, how many the target shares with the source instead of storing them again.
    pub shared_bytes: u64,
}

/// Copies everything that the layer `from` holds into the empty writable layer `to`: all types of
/// nodes with owner, mode, access and modification time, extended attributes, hard links and holes;
/// whiteouts of both forms; overlay attributes. The root's attributes are copied too.
///
/// It copies one layer, not a view: what the layers below would add or hide plays no part. (A
/// [`LayerStack`](crate::LayerStack) is a layer too; copying one makes a single layer of its view.)
/// Where the two keep overlay attributes in different namespaces, names are translated, so that a
/// stack shows the same with either. The source must not change meanwhile.
///
/// Nothing is made durable; [`UpperBackend::sync`] does that.
///
/// ```
/// use layerstack::{LayerStack, backend::memory::MemLayer, copy_layer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upper = MemLayer::builder().file("new", b"1").whiteout("old").build()?;
/// let copy = MemLayer::new();
/// let report = copy_layer(&upper, &copy)?;
/// assert_eq!((report.files, report.whiteouts), (1, 1));
/// let base = MemLayer::builder().file("old", b"").build()?;
/// assert!(!LayerStack::from_top([copy, base])?.exists("/old")?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// - `EROFS`: `to` is read-only.
/// - `EEXIST`: `to` is not empty; the path is that of an entry in it.
/// - What the layers give, with the path: among others `EPERM` for owners, devices or attributes that
///   `to` may not set. What was copied until then stays.
pub fn copy_layer(from: &dyn LayerBackend, to: &dyn LayerBackend) -> Result<CopyLayerReport> {
    let root = Path::new("/");
    let upper = to
        .upper()
        .ok_or_else(|| fail(root, "the target is read-only")(Errno::EROFS.into()))?;
    let from_root = from.root().map_err(fail(root, SOURCE))?;
    let to_root = to.root().map_err(fail(root, TARGET))?;
    if let Some(entry) = to_root.list().map_err(fail(root, TARGET))?.first() {
        let path = join(root, &entry.name);
        return Err(fail(&path, "the target layer is not empty")(
            Errno::EEXIST.into(),
        ));
    }
    let meta = from_root.metadata().map_err(fail(root, SOURCE))?;
    let mut copier = Copier {
        to: upper,
        from_namespace: from.identity().namespace,
        to_namespace: to.identity().namespace,
        links: HashMap::new(),
        frames: Vec::new(),
        report: CopyLayerReport::default(),
    };
    let owner = SetAttr::owner(Some(meta.uid), Some(meta.gid));
    let target = to_root.metadata().map_err(fail(root, TARGET))?;
    if (target.uid, target.gid) != (meta.uid, meta.gid) {
        upper
            .set_attr(&to_root, &owner)
            .map_err(fail(root, TARGET))?;
    }
    copier.enter(from_root, to_root, meta, root.to_path_buf())?;
    while copier.step()? {}
    Ok(copier.report)
}

const SOURCE: &str = "reading the source layer";
const TARGET: &str = "writing the target layer";

fn fail<'a>(path: &'a Path, detail: &'a str) -> impl FnOnce(BackendError) -> Error + use<'a> {
    move |e| {
        Error::new(OP, path, e.errno())
            .with_detail(detail)
            .with_backend(e)
    }
}

/// A directory being copied.
struct Frame {
    from: NodeRef,
    to: NodeRef,
    meta: Metadata,
    path: PathBuf,
    names: std::vec::IntoIter<RawEntry>,
}

struct Copier<'a> {
    to: &'a dyn UpperBackend,
    from_namespace: XattrNamespace,
    to_namespace: XattrNamespace,
    /// Copies of what has further names.
    links: HashMap<(DeviceId, u64), NodeRef>,
    frames: Vec<Frame>,
    report: CopyLayerReport,
}

impl Copier<'_> {
    fn enter(&mut self, from: NodeRef, to: NodeRef, meta: Metadata, path: PathBuf) -> Result<()> {
        let names = from.list().map_err(fail(&path, SOURCE))?.into_iter();
        self.frames.push(Frame {
            from,
            to,
            meta,
            path,
            names,
        });
        Ok(())
    }

    /// Copies one entry, or finishes the innermost directory; `false` when all is done.
    fn step(&mut self) -> Result<bool> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(false);
        };
        let Some(RawEntry { name, .. }) = frame.names.next() else {
            if let Some(frame) = self.frames.pop() {
                // Last, as making entries changes the directory's times, and its mode may forbid it.
                self.attributes(&frame.from, &frame.to, &frame.meta, &frame.path)?;
            }
            return Ok(true);
        };
        let (from, to) = (frame.from.clone(), frame.to.clone());
        let path = join(&frame.path, &name);
        let at = At::new(&to, &name);
        match from.lookup(&name).map_err(fail(&path, SOURCE))? {
            None => {}
            Some(Entry::Whiteout(form)) => {
                self.whiteout(at, form).map_err(fail(&path, TARGET))?;
                self.report.whiteouts += 1;
            }
            Some(Entry::Node(node, meta)) => self.node(&node, meta, at, path)?,
        }
        Ok(true)
    }

    fn whiteout(&self, at: At<'_>, form: WhiteoutForm) -> std::result::Result<(), BackendError> {
        if form == WhiteoutForm::CharDevice {
            return self.to.whiteout(at);
        }
        let new = NewNode {
            kind: NewKind::File,
            mode: 0,
            uid: None,
            gid: None,
        };
        let node = self.to.create(at, &new)?;
        let key = AttrKey::Overlay(OverlayAttr::Whiteout);
        self.to.set_xattr(&node, key, Some(b"y"), XattrMode::Set)
    }

    fn node(&mut self, from: &NodeRef, meta: Metadata, at: At<'_>, path: PathBuf) -> Result<()> {
        let key = (meta.dev, meta.ino);
        let linked = meta.nlink > 1 && !meta.is_dir();
        if linked && let Some(copy) = self.links.get(&key) {
            self.report.hard_links += 1;
            return self.to.link(copy, at).map_err(fail(&path, TARGET));
        }
        let kind = kind(from, &meta).map_err(fail(&path, SOURCE))?;
        let new = NewNode {
            // Entries can only be made in a directory that its owner may write to.
            mode: meta.mode | if meta.is_dir() { 0o700 } else { 0 },
            uid: Some(meta.uid),
            gid: Some(meta.gid),
            kind,
        };
        let to = self.to.create(at, &new).map_err(fail(&path, TARGET))?;
        match meta.file_type {
            FileType::Directory => {
                self.report.directories += 1;
                return self.enter(from.clone(), to, meta, path);
            }
            FileType::Regular => {
                self.data(from, &to, meta.size, &path)?;
                self.report.files += 1;
            }
            FileType::Symlink => self.report.symlinks += 1,
            _ => self.report.specials += 1,
        }
        self.attributes(from, &to, &meta, &path)?;
        if linked {
            self.links.insert(key, to);
        }
        Ok(())
    }

    /// Extended and overlay attributes, then mode and times.
    fn attributes(&self, from: &NodeRef, to: &NodeRef, meta: &Metadata, path: &Path) -> Result<()> {
        for name in from.xattrs().map_err(fail(path, SOURCE))? {
            let own = OverlayAttr::ALL
                .iter()
                .any(|attr| attr.full_name(self.from_namespace) == name);
            if own {
                continue;
            }
            let Some(value) = from.xattr(&name).map_err(fail(path, SOURCE))? else {
                continue;
            };
            let detail = format!("extended attribute {name}");
            let name = translate(&name, self.from_namespace, self.to_namespace)
                .map_err(|e| fail(path, &detail)(e.into()))?;
            let key = AttrKey::Raw(&name);
            self.to
                .set_xattr(to, key, Some(&value), XattrMode::Set)
                .map_err(fail(path, &detail))?;
        }
        for attr in OverlayAttr::ALL {
            if let Some(value) = from.overlay_attr(attr).map_err(fail(path, SOURCE))? {
                let detail = format!("overlay attribute {attr}");
                self.to
                    .set_xattr(to, AttrKey::Overlay(attr), Some(&value), XattrMode::Set)
                    .map_err(fail(path, &detail))?;
            }
        }
        let attr = SetAttr {
            mode: (!meta.is_symlink()).then_some(meta.mode),
            ..SetAttr::times(SetTime::At(meta.atime), SetTime::At(meta.mtime))
        };
        self.to.set_attr(to, &attr).map_err(fail(path, TARGET))
    }

    fn data(&mut self, from: &NodeRef, to: &NodeRef, size: u64, path: &Path) -> Result<()> {
        if size == 0 {
            return Ok(());
        }
        let source = from.open(Access::Read).map_err(fail(path, SOURCE))?;
        let target = to.open(Access::Write).map_err(fail(path, TARGET))?;
        target.set_len(size).map_err(fail(path, TARGET))?;
        let mut at = 0;
        while at < size
            && let Some(range) = source.next_to_copy(at).map_err(fail(path, SOURCE))?
        {
            let end = range.end.min(size);
            at = range.start.max(at);
            while at < end {
                let copied = self.piece(&*source, &*target, at, end - at, path)?;
                if copied == 0 {
                    let cut = BackendError::new(Errno::ESTALE);
                    return Err(fail(path, "the source file became shorter")(cut));
                }
                at += copied;
                self.report.data_bytes += copied;
            }
        }
        Ok(())
    }

    /// Copies up to `len` bytes; answers how many.
    fn piece(
        &mut self,
        source: &dyn LayerFile,
        target: &dyn LayerFile,
        at: u64,
        len: u64,
        path: &Path,
    ) -> Result<u64> {
        match target.clone_range(source, at, at, len) {
            Ok(cloned) => {
                if cloned.shared {
                    self.report.shared_bytes += cloned.bytes;
                }
                return Ok(cloned.bytes);
            }
            Err(e) if e.errno() == Errno::EOPNOTSUPP => {}
            Err(e) => return Err(fail(path, TARGET)(e)),
        }
        let mut buf = vec![0; usize::try_from(len).map_or(COPY_BYTES, |len| len.min(COPY_BYTES))];
        let read = source.read_at(&mut buf, at).map_err(fail(path, SOURCE))?;
        let mut rest = buf.get(..read).unwrap_or_default();
        let mut to = at;
        while !rest.is_empty() {
            let written = target.write_at(rest, to).map_err(fail(path, TARGET))?;
            if written == 0 {
                return Err(fail(path, TARGET)(Errno::EIO.into()));
            }
            rest = rest.get(written..).unwrap_or_default();
            to += written as u64;
        }
        Ok(read as u64)
    }
}

fn kind(from: &NodeRef, meta: &Metadata) -> std::result::Result<NewKind, BackendError> {
    Ok(match meta.file_type {
        FileType::Regular => NewKind::File,
        FileType::Directory => NewKind::Directory,
        FileType::Symlink => NewKind::Symlink(from.read_link()?),
        FileType::Fifo => NewKind::Fifo,
        FileType::Socket => NewKind::Socket,
        FileType::CharDevice => NewKind::CharDevice(meta.rdev),
        FileType::BlockDevice => NewKind::BlockDevice(meta.rdev),
    })
}
