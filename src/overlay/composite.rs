//! Operations made of several atomic ones.

use std::path::Path;
use std::sync::Arc;

use crate::backend::NewKind;
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::SetAttr;
use crate::op::OpenOptions;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::Inode;
use crate::overlay::lookup::Found;
use crate::overlay::mutate::Spec;
use crate::overlay::ops::Run;
use crate::overlay::paths::Follow;
use crate::path::{self, Component, Name};
use crate::rules::permission::Mask;

/// Bytes per read when a file is copied.
const COPY_BUFFER_BYTES: usize = 128 << 10;

/// `mkdir -p`: each missing directory from the top.
pub(crate) fn create_dir_all(core: &Core, base: &Arc<Inode>, path: &Path, mode: u32) -> Res<()> {
    let parsed = path::parse(path)?;
    let mut at = if parsed.absolute {
        core.root().clone()
    } else {
        base.clone()
    };
    let count = parsed.components.len();
    for (i, component) in parsed.components.iter().enumerate() {
        let step: &Path = match component {
            // Only who may search the directory gets there.
            Component::Here => Path::new("."),
            Component::Parent => Path::new(".."),
            Component::Name(name) => name.as_path(),
            Component::TooLong => return Err(Fail::rule(Errno::ENAMETOOLONG, "R036")),
        };
        at = match descend(core, &at, step) {
            Err(e) if e.errno == Errno::ENOENT && matches!(component, Component::Name(_)) => {
                let spec = Spec::new(NewKind::Directory, mode);
                match core.create(Run::Apply, &at, step, &spec) {
                    // Another thread was faster, or it is a dangling symlink.
                    Err(e) if e.errno == Errno::EEXIST => {
                        descend(core, &at, step).map_err(|_| e)?
                    }
                    made => made.and_then(|()| descend(core, &at, step))?,
                }
            }
            Err(e) if i + 1 == count && matches!(e.errno, Errno::ENOTDIR | Errno::ELOOP) => {
                return Err(Fail {
                    errno: Errno::EEXIST,
                    ..e
                });
            }
            found => found?,
        };
    }
    Ok(())
}

fn descend(core: &Core, at: &Arc<Inode>, step: &Path) -> Res<Arc<Inode>> {
    let _tree = core.read();
    let inode = core.walk_path(at, step, true)?;
    if inode.is_dir() {
        Ok(inode)
    } else {
        Err(Errno::ENOTDIR.into())
    }
}

/// `rm -r` without recursion: a directory is entered, emptied and left.
pub(crate) fn remove_dir_all(core: &Core, base: &Arc<Inode>, path: &Path) -> Res<()> {
    let (top, target) = {
        let _tree = core.read();
        let last = core.walk_to_last(base, path, Follow::No)?;
        let name = last.name_or(Errno::EBUSY)?;
        let inode = core.lookup_existing(&last.dir, &name)?;
        if !inode.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        (inode, (last.dir, name))
    };
    let mut open = vec![Emptying::new(core, target.0, target.1, top)?];
    while let Some(level) = open.last_mut() {
        let Some(name) = level.entries.next() else {
            core.remove_dir(Run::Apply, &level.parent, level.name.as_path())?;
            open.pop();
            continue;
        };
        let dir = level.dir.clone();
        let found = {
            let _tree = core.read();
            core.allow(&dir, Mask::EXECUTE)?;
            core.lookup(&dir, &name)?
        };
        match found {
            Found::Nothing { .. } => {}
            Found::Inode(inode) if inode.is_dir() => {
                open.push(Emptying::new(core, dir, name, inode)?);
            }
            Found::Inode(_) => match core.remove_file(Run::Apply, &dir, name.as_path()) {
                Err(e) if e.errno == Errno::ENOENT => {}
                removed => removed?,
            },
        }
    }
    Ok(())
}

/// A directory being emptied.
struct Emptying {
    parent: Arc<Inode>,
    name: Name,
    dir: Arc<Inode>,
    /// What is left to be removed, by name.
    entries: std::vec::IntoIter<Name>,
}

impl Emptying {
    fn new(core: &Core, parent: Arc<Inode>, name: Name, dir: Arc<Inode>) -> Res<Self> {
        let _tree = core.read();
        let mut entries: Vec<Name> = core.read_dir(&dir)?.into_iter().map(|e| e.name).collect();
        entries.sort();
        Ok(Emptying {
            parent,
            name,
            dir,
            entries: entries.into_iter(),
        })
    }
}

/// Copies data and permission bits.
pub(crate) fn copy(core: &Arc<Core>, base: &Arc<Inode>, from: &Path, to: &Path) -> Res<u64> {
    let source = core.open(base, from, &OpenOptions::new().read(true))?;
    let meta = core.metadata(source.inode())?;
    {
        let _tree = core.read();
        if let Ok(existing) = core.walk_path(base, to, true) {
            let other = core.metadata(&existing)?;
            let same = existing.is_same(source.inode());
            if same || (other.dev, other.ino) == (meta.dev, meta.ino) {
                return Err(Errno::EINVAL.into());
            }
        }
    }
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(meta.mode);
    let target = core.open(base, to, &options)?;
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    let (from, to) = (source.real()?, target.real()?);
    // A metacopy may tell another size than its data have; their end is the real file's (rule R301).
    let len = from.file.metadata().in_layer(from.layer)?.size;
    let mut at = 0;
    while let Some(extent) = from.file.next_to_copy(at).in_layer(from.layer)? {
        core.drop_privileges(target.inode())?;
        let mut offset = extent.start;
        while offset < extent.end {
            let want = usize::try_from(extent.end - offset).unwrap_or(usize::MAX);
            let part = buffer
                .get_mut(..want.min(COPY_BUFFER_BYTES))
                .unwrap_or_default();
            let n = from.file.read_at(part, offset).in_layer(from.layer)?;
            if n == 0 {
                break;
            }
            let data = part.get(..n).unwrap_or_default();
            crate::overlay::copier::write_all(&*to.file, data, offset).in_layer(LayerId::Upper)?;
            offset += n as u64;
        }
        if offset <= at {
            break;
        }
        at = offset;
    }
    if at < len {
        to.file.set_len(len).in_layer(LayerId::Upper)?;
    }
    core.set_attr(target.inode(), &SetAttr::mode(meta.mode))?;
    Ok(len)
}
