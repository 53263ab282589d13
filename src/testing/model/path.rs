//! Resolving paths as POSIX has it: component by component from the root, `..` to the real parent,
//! symlinks in the middle always followed, at the end if asked for.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::rights::SEARCH;
use super::{Id, Kind, ROOT, ReferenceModel};
use crate::errno::Errno;
use crate::path::Name;

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Symlinks followed in one resolution.
const HOPS_MAX: u32 = 40;

/// The last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Root,
    Dot,
    DotDot,
    Name(Vec<u8>),
}

/// A path without its last component.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    /// A directory.
    pub(super) dir: Id,
    pub(super) last: Last,
    /// Slashes behind the last component.
    pub(super) slash: bool,
}

impl ReferenceModel {
    /// Everything of `path` but its last component.
    pub(super) fn parent(&self, path: &Path) -> Result<Parent, Errno> {
        self.start(path, &mut 0)
    }

    /// What `path` names. `follow`: a symlink at its end too.
    pub(super) fn resolve(&self, path: &Path, follow: bool) -> Result<Id, Errno> {
        let mut hops = 0;
        let parent = self.start(path, &mut hops)?;
        self.finish(&parent, follow, &mut hops)
    }

    pub(super) fn start(&self, path: &Path, hops: &mut u32) -> Result<Parent, Errno> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() {
            return Err(Errno::ENOENT);
        }
        if bytes.contains(&0) {
            return Err(Errno::EINVAL);
        }
        self.walk(ROOT, bytes, hops)
    }

    /// Walks from the directory `from`, or from the root if the path is absolute.
    fn walk(&self, from: Id, path: &[u8], hops: &mut u32) -> Result<Parent, Errno> {
        let mut dir = if path.starts_with(b"/") { ROOT } else { from };
        let mut rest = without_slashes(path);
        loop {
            let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
            let (component, tail) = rest.split_at(end);
            rest = without_slashes(tail);
            if !component.is_empty() {
                self.may(dir, SEARCH)?;
            }
            if rest.is_empty() {
                let last = match component {
                    b"" => Last::Root,
                    b"." => Last::Dot,
                    b".." => Last::DotDot,
                    name => Last::Name(name.to_vec()),
                };
                return Ok(Parent {
                    dir,
                    last,
                    slash: !tail.is_empty(),
                });
            }
            let step = match component {
                b"." => dir,
                b".." => self.dir_parent(dir),
                name => {
                    let found = self.existing(dir, name)?;
                    self.follow(dir, found, hops)?
                }
            };
            if !self.is_dir(step) {
                return Err(Errno::ENOTDIR);
            }
            dir = step;
        }
    }

    /// What the last component names.
    fn finish(&self, parent: &Parent, follow: bool, hops: &mut u32) -> Result<Id, Errno> {
        let found = match &parent.last {
            Last::Root | Last::Dot => parent.dir,
            Last::DotDot => self.dir_parent(parent.dir),
            Last::Name(name) => {
                let found = self.existing(parent.dir, name)?;
                match follow || parent.slash {
                    true => self.follow(parent.dir, found, hops)?,
                    false => found,
                }
            }
        };
        if parent.slash && !self.is_dir(found) {
            return Err(Errno::ENOTDIR);
        }
        Ok(found)
    }

    /// Where a symlink in `dir` leads; anything else leads to itself.
    fn follow(&self, dir: Id, found: Id, hops: &mut u32) -> Result<Id, Errno> {
        match self.enter_link(dir, found, hops)? {
            None => Ok(found),
            Some(parent) => self.finish(&parent, true, hops),
        }
    }

    /// The parent of what a symlink in `dir` leads to; `None` if it is no symlink.
    pub(super) fn enter_link(
        &self,
        dir: Id,
        found: Id,
        hops: &mut u32,
    ) -> Result<Option<Parent>, Errno> {
        let Kind::Symlink(target) = &self.nodes[found].kind else {
            return Ok(None);
        };
        *hops += 1;
        if *hops > HOPS_MAX {
            return Err(Errno::ELOOP);
        }
        self.walk(dir, target, hops).map(Some)
    }

    /// What `name` in the directory `dir` names, if anything.
    pub(super) fn child(&self, dir: Id, name: &[u8]) -> Result<Option<Id>, Errno> {
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(self.entries(dir).get(name).copied())
    }

    /// As [`Self::child`]; `ENOENT` if there is none.
    pub(super) fn existing(&self, dir: Id, name: &[u8]) -> Result<Id, Errno> {
        self.child(dir, name)?.ok_or(Errno::ENOENT)
    }

    /// A name that is to be made: it must be a name and not be there; a slash behind it is only for
    /// directories.
    pub(super) fn new_name(&self, path: &Path, for_dir: bool) -> Result<(Id, Name), Errno> {
        let parent = self.parent(path)?;
        let Last::Name(name) = parent.last else {
            return Err(Errno::EEXIST);
        };
        if self.child(parent.dir, &name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        if parent.slash && !for_dir {
            return Err(Errno::ENOENT);
        }
        self.writable()?;
        Ok((parent.dir, Name::new(name)?))
    }
}

fn without_slashes(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|b| *b != b'/');
    &bytes[start.unwrap_or(bytes.len())..]
}
