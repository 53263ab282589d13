//! Whole trees, as layerstack and as the kernel show them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use layerstack::{FileType, LayerStack, Timestamp};

use crate::show::Res;

/// A tree by absolute path.
pub(crate) type Tree = BTreeMap<PathBuf, Object>;

/// All that is compared of one object.
#[derive(PartialEq, Eq)]
pub(crate) struct Object {
    file_type: FileType,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: Timestamp,
    device: (u32, u32),
    /// Data of a file, target of a symlink.
    content: Vec<u8>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The tree that a stack shows.
pub(crate) fn of_union(stack: &LayerStack) -> Res<Tree> {
    let mut tree = Tree::new();
    for entry in stack.walk("/") {
        let path = entry?.path().to_path_buf();
        let meta = stack.symlink_metadata(&path)?;
        let content = match meta.file_type {
            FileType::Regular => stack.read(&path)?,
            FileType::Symlink => stack.read_link(&path)?.as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let mut attributes = BTreeMap::new();
        for name in stack.xattrs(&path, false)? {
            let value = stack.xattr(&path, &name, false)?;
            attributes.insert(name.as_bytes().to_vec(), value);
        }
        let object = Object {
            file_type: meta.file_type,
            mode: meta.mode,
            owner: (meta.uid, meta.gid),
            size: meta.size,
            mtime: meta.mtime,
            device: (meta.rdev.major, meta.rdev.minor),
            content,
            attributes,
        };
        tree.insert(path, object);
    }
    Ok(tree)
}

/// The tree below a directory of the host.
pub(crate) fn of_directory(root: &Path) -> Res<Tree> {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry?;
        let at = entry.path();
        let meta = entry.metadata()?;
        let file_type = FileType::from_mode_bits(meta.mode()).ok_or("unknown type")?;
        let content = match file_type {
            FileType::Regular => fs::read(at)?,
            FileType::Symlink => fs::read_link(at)?.as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let mut attributes = BTreeMap::new();
        for name in xattr::list(at)? {
            let value = xattr::get(at, &name)?.unwrap_or_default();
            attributes.insert(name.as_bytes().to_vec(), value);
        }
        let nanos = u32::try_from(meta.mtime_nsec())?;
        let object = Object {
            file_type,
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            size: meta.size(),
            mtime: Timestamp::new(meta.mtime(), nanos),
            device: (libc::major(meta.rdev()), libc::minor(meta.rdev())),
            content,
            attributes,
        };
        tree.insert(Path::new("/").join(at.strip_prefix(root)?), object);
    }
    Ok(tree)
}

/// What differs, a line for each path; nothing if nothing does.
pub(crate) fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let paths = ours
        .keys()
        .chain(theirs.keys().filter(|p| !ours.contains_key(*p)));
    let mut lines = Vec::new();
    for path in paths {
        let shown = path.display();
        match (ours.get(path), theirs.get(path)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => {
                lines.push(format!("{shown}: {} here, {} there", a.line(), b.line()));
            }
            (None, _) => lines.push(format!("{shown}: only there")),
            (_, None) => lines.push(format!("{shown}: only here")),
        }
    }
    lines
}

impl Object {
    fn line(&self) -> String {
        let (uid, gid) = self.owner;
        format!(
            "{} {:04o} {uid}:{gid} {} bytes, {}, attributes {:?}",
            self.file_type, self.mode, self.size, self.mtime, self.attributes
        )
    }
}
