//! Resolving paths: physically, inside the union, symlinks included.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::errno::Errno;
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::inode::Inode;
use crate::overlay::lookup::Found;
use crate::path::{self, Component, Name, SYMLINK_HOPS_MAX};
use crate::rules::permission::Mask;

/// The end of a path.
pub(crate) struct Last {
    pub(crate) dir: Arc<Inode>,
    /// `None`: the path ends in the root, `.` or `..`; then `dir` is the object itself.
    pub(crate) name: Option<Name>,
    /// Ends in a slash.
    pub(crate) wants_dir: bool,
    /// How the end was written, if it is no name.
    pub(crate) end: End,
}

/// Whether a symlink at the end of a path is followed, so that the answer is where it leads.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// It is, unless a slash behind it asks for a directory, which opening cannot create.
    ToCreate,
}

/// How a path ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Name,
    Root,
    Dot,
    DotDot,
    /// A name too long for any directory.
    TooLong,
}

impl Last {
    /// The name; `otherwise` if the path ends in something else.
    pub(crate) fn name_or(&self, otherwise: Errno) -> Res<Name> {
        match &self.name {
            Some(name) => Ok(name.clone()),
            None if self.end == End::TooLong => Err(Fail::rule(Errno::ENAMETOOLONG, "R036")),
            None => Err(otherwise.into()),
        }
    }
}

impl Core {
    /// The object that `path` names, from `base`. `follow`: a symlink at the end too (a trailing slash
    /// follows it in any case).
    pub(crate) fn walk_path(
        &self,
        base: &Arc<Inode>,
        path: &Path,
        follow: bool,
    ) -> Res<Arc<Inode>> {
        if let Some(known) = self.walk_known(base, path) {
            return Ok(known);
        }
        let follow = match follow || path::parse(path)?.wants_dir {
            true => Follow::Yes,
            false => Follow::No,
        };
        let last = self.walk_to_last(base, path, follow)?;
        let inode = match (&last.name, last.end) {
            (None, End::TooLong) => return last.name_or(Errno::ENOENT).map(|_| last.dir),
            (None, _) => last.dir.clone(),
            (Some(name), _) => self.lookup_existing(&last.dir, name)?,
        };
        if last.wants_dir && !inode.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(inode)
    }

    /// The object that `path` names if that is a matter of plain names in use, of which nobody's rights
    /// are asked: what most lookups are. Anything else is for the long way, errors included.
    fn walk_known(&self, base: &Arc<Inode>, path: &Path) -> Option<Arc<Inode>> {
        let bytes = path.as_os_str().as_bytes();
        if self.caller().is_some() || bytes.last().is_none_or(|b| *b == b'/') {
            return None;
        }
        let mut at = match bytes.first() {
            Some(b'/') => self.root().clone(),
            _ => base.clone(),
        };
        for name in bytes.split(|b| *b == b'/') {
            if name.is_empty() {
                continue;
            }
            // Neither `.` nor `..` is a child.
            at = at.known_child(name)?;
            if at.file_type.is_symlink() {
                return None;
            }
        }
        Some(at)
    }

    /// Resolves all of `path` but its last name, which need not exist; see [`Follow`].
    pub(crate) fn walk_to_last(&self, base: &Arc<Inode>, path: &Path, follow: Follow) -> Res<Last> {
        let parsed = path::parse(path)?;
        let mut wants_dir = parsed.wants_dir;
        let mut todo: VecDeque<Component> = parsed.components.into();
        let mut at = if parsed.absolute {
            self.root().clone()
        } else {
            base.clone()
        };
        let mut end = End::Root;
        let mut hops = 0;
        while let Some(component) = todo.pop_front() {
            if !at.is_dir() {
                return Err(Errno::ENOTDIR.into());
            }
            self.allow(&at, Mask::EXECUTE)?;
            let name = match component {
                Component::Parent => {
                    at = at.parent().ok_or(Errno::ENOENT)?;
                    end = End::DotDot;
                    continue;
                }
                Component::Here => {
                    end = End::Dot;
                    continue;
                }
                Component::TooLong if todo.is_empty() => {
                    end = End::TooLong;
                    continue;
                }
                Component::TooLong => {
                    return Err(Fail::rule(Errno::ENAMETOOLONG, "R036"));
                }
                Component::Name(name) => name,
            };
            let is_last = todo.is_empty();
            let find = match follow {
                Follow::No => !is_last,
                Follow::Yes => true,
                Follow::ToCreate => !is_last || !wants_dir,
            };
            let found = if find {
                self.lookup(&at, &name)?
            } else {
                Found::Nothing { whiteout: false }
            };
            match found {
                Found::Inode(inode) if inode.file_type.is_symlink() => {
                    hops += 1;
                    if hops > SYMLINK_HOPS_MAX {
                        return Err(Errno::ELOOP.into());
                    }
                    let target = self.read_link(&inode)?;
                    let parsed = path::parse(Path::new(OsStr::from_bytes(&target)))?;
                    if parsed.absolute {
                        at = self.root().clone();
                    }
                    if is_last {
                        wants_dir |= parsed.wants_dir;
                    }
                    end = if parsed.absolute { End::Root } else { End::Dot };
                    for component in parsed.components.into_iter().rev() {
                        todo.push_front(component);
                    }
                }
                _ if is_last => {
                    return Ok(Last {
                        dir: at,
                        name: Some(name),
                        wants_dir,
                        end: End::Name,
                    });
                }
                Found::Inode(inode) => {
                    at = inode;
                    end = End::Root;
                }
                Found::Nothing { .. } => return Err(Errno::ENOENT.into()),
            }
        }
        if !at.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(Last {
            dir: at,
            name: None,
            wants_dir,
            end,
        })
    }
}
