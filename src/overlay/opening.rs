//! Opening files by path, in the order in which the VFS looks and refuses.

use std::path::Path;
use std::sync::Arc;

use crate::errno::Errno;
use crate::op::OpenOptions;
use crate::overlay::build::Build;
use crate::overlay::core::{Core, Res};
use crate::overlay::execute::Opened;
use crate::overlay::file::{File, access};
use crate::overlay::inode::{Inode, State};
use crate::overlay::lookup;
use crate::overlay::mutate::{Spec, Target};
use crate::overlay::paths::Follow;
use crate::rules::attr::Change;
use crate::rules::copy_up::Data;
use crate::rules::open;

impl Core {
    /// `open(2)` of a file. Answers the file, opened, created or truncated as asked for.
    pub(crate) fn open(
        self: &Arc<Self>,
        base: &Arc<Inode>,
        path: &Path,
        options: &OpenOptions,
    ) -> Res<File> {
        let (found, opened) = self.open_inode(None, base, path, options)?;
        let inode = match found {
            Found::Existing(inode) => inode,
            Found::New(inode) => {
                return File::open(self.clone(), inode, options, opened);
            }
        };
        if inode.is_dir() {
            return Err(Errno::EISDIR.into());
        }
        let file = File::open(self.clone(), inode, options, opened)?;
        if options.truncate {
            file.truncate_opened()?;
        }
        Ok(file)
    }

    /// What opening does to the layers, without keeping anything open.
    pub(crate) fn plan_open(
        &self,
        b: &mut Build<'_>,
        base: &Arc<Inode>,
        path: &Path,
        options: &OpenOptions,
    ) -> Res<()> {
        self.open_inode(Some(b), base, path, options).map(|_| ())
    }

    fn open_inode(
        &self,
        plan: Option<&mut Build<'_>>,
        base: &Arc<Inode>,
        path: &Path,
        options: &OpenOptions,
    ) -> Res<(Found, Option<Opened>)> {
        open::check(options)?;
        let mut known = None;
        if plan.is_none() && !options.tmpfile && !options.create && !options.create_new {
            // The common case needs no exclusive access.
            let tree = self.read();
            let inode = self.existing(base, path, options)?;
            let ready = inode.in_upper() && inode.with_state(State::has_upper_data);
            if !open::copies_up(options) || ready {
                drop(tree);
                return Ok((Found::Existing(inode), None));
            }
            known = Some((inode, self.exclusive()));
        }
        let made: std::sync::Mutex<Option<Found>> = std::sync::Mutex::new(None);
        let build = |b: &mut Build<'_>| {
            let opened = match &known {
                // It is what would be found.
                Some((inode, before)) if self.is_unchanged_since(*before) => {
                    b.upper(inode, data_to_copy(options))?;
                    Found::Existing(inode.clone())
                }
                _ => self.open_step(b, base, path, options)?,
            };
            *made
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(opened);
            Ok(())
        };
        let opened = match plan {
            Some(b) => {
                let _tree = self.read();
                build(b)?;
                None
            }
            None => self.mutate_to_open(Some(access(options)), build)?.1.opened,
        };
        let found = made
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok((found.ok_or(Errno::EIO)?, opened))
    }

    /// An existing object as `open(2)` without creating finds it.
    fn existing(&self, base: &Arc<Inode>, path: &Path, options: &OpenOptions) -> Res<Arc<Inode>> {
        let inode = self.walk_path(base, path, !options.no_follow)?;
        self.permit_open(&inode, options)?;
        Ok(inode)
    }

    /// What the VFS checks before it opens an existing object.
    pub(crate) fn permit_open(&self, inode: &Inode, options: &OpenOptions) -> Res<()> {
        open::check_type(inode.file_type, options)?;
        let writes = open::copies_up(options);
        if writes && !inode.file_type.is_special() {
            self.upper()?;
        }
        self.allow(inode, open::mask(options))?;
        open::check_content(inode.file_type)?;
        if !writes {
            return Ok(());
        }
        if options.truncate {
            self.permit(inode, Change::Truncate)?;
        }
        self.permit(
            inode,
            Change::Write {
                append: options.append || !options.writes(),
            },
        )
    }

    fn open_step(
        &self,
        b: &mut Build<'_>,
        base: &Arc<Inode>,
        path: &Path,
        options: &OpenOptions,
    ) -> Res<Found> {
        if options.tmpfile {
            let dir = self.walk_path(base, path, !options.no_follow)?;
            if !dir.is_dir() {
                return Err(Errno::ENOTDIR.into());
            }
            self.upper()?;
            self.may_add(&dir)?;
            return Ok(Found::New(b.tmpfile(&dir, options.mode)?));
        }
        if !options.create && !options.create_new {
            let inode = self.existing(base, path, options)?;
            if open::copies_up(options) {
                b.upper(&inode, data_to_copy(options))?;
            }
            return Ok(Found::Existing(inode));
        }
        let follow = match options.no_follow || options.create_new {
            true => Follow::No,
            false => Follow::ToCreate,
        };
        let last = self.walk_to_last(base, path, follow)?;
        let taken = if options.create_new {
            Errno::EEXIST
        } else {
            Errno::EISDIR
        };
        let name = last.name_or(taken)?;
        if last.wants_dir {
            return Err(Errno::EISDIR.into());
        }
        let found = self.lookup(&last.dir, &name)?;
        if let lookup::Found::Inode(inode) = &found {
            if options.create_new {
                return Err(Errno::EEXIST.into());
            }
            self.permit_open(inode, options)?;
            if open::copies_up(options) {
                b.upper(inode, data_to_copy(options))?;
            }
            return Ok(Found::Existing(inode.clone()));
        }
        if last.dir.is_gone() {
            return Err(Errno::ENOENT.into());
        }
        let target = Target {
            dir: last.dir,
            name,
            found,
        };
        let spec = Spec::opened(options.mode);
        Ok(Found::New(b.create(&target, &spec)?))
    }
}

/// How much of a file that is opened for writing is to be copied up.
pub(crate) fn data_to_copy(options: &OpenOptions) -> Data {
    match options.truncate {
        true => Data::Truncate,
        false => Data::Full,
    }
}

/// What opening found or made.
enum Found {
    Existing(Arc<Inode>),
    New(Arc<Inode>),
}
