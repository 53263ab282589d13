//! Mutations of resolved objects: facts for the rules, and what follows for the engine's state.
//!
//! Everything here runs while a plan is built, under the tree's lock, and touches no layer.
//!
//! One room: one short method for each change; renames and links have rooms of their own.

use std::sync::Arc;

use crate::acl::{self, Acl};
use crate::backend::{NewKind, NewNode, NodeRef, XattrMode};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{FileType, InodeFlags, SetAttr};
use crate::overlay::build::Build;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::{Inode, Place as InodePlace, State, path_of};
use crate::overlay::lookup::Found;
use crate::overlay::recent::Recent;
use crate::path::Name;
use crate::rules::attr::Change;
use crate::rules::copy_up::Data;
use crate::rules::inode::known_by_lower;
use crate::rules::permission::{self, Mask};
use crate::rules::plan::{Obj, Place, Role, Step};
use crate::rules::redirect::Form;
use crate::rules::{attr, create, remove, xattr};
use crate::xattr_name::XattrName;

/// A name in a directory and what it stands for.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) dir: Arc<Inode>,
    pub(crate) name: Name,
    pub(crate) found: Found,
}

impl Target {
    pub(crate) fn inode(&self) -> Res<&Arc<Inode>> {
        self.found.inode().ok_or_else(|| Errno::ENOENT.into())
    }
}

/// What is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) kind: NewKind,
    /// Before umask or default access list.
    pub(crate) mode: u32,
    /// The one who makes it opens it.
    pub(crate) opens: bool,
}

impl Spec {
    pub(crate) fn new(kind: NewKind, mode: u32) -> Self {
        let opens = false;
        Spec { kind, mode, opens }
    }

    /// A file that is made to be opened.
    pub(crate) fn opened(mode: u32) -> Self {
        let (kind, opens) = (NewKind::File, true);
        Spec { kind, mode, opens }
    }
}

/// Node, attributes and attributes to be born with.
type Born = (NewNode, Vec<(XattrName, Vec<u8>)>);

impl Core {
    /// The object as it will be: mode and owner by the directory's bits and lists (rules R116, R117).
    fn born(&self, dir: &Inode, spec: &Spec) -> Res<Born> {
        let state = dir.state();
        let layer = self.real_layer(&state);
        let real = state.real().ok_or(Errno::ENOENT)?;
        let meta = real.metadata().in_layer(layer)?;
        let is_dir = spec.kind.file_type().is_dir();
        let caller = self.caller.as_deref();
        let (uid, gid, mut mode) = create::inherit(&meta, caller, is_dir, spec.mode & 0o7777);
        let mut xattrs = Vec::new();
        let mut default = None;
        if spec.kind.file_type().is_symlink() {
            mode = 0o777;
        } else {
            default = real.xattr(&XattrName::new(acl::DEFAULT)?).in_layer(layer)?;
            match &default {
                None => mode &= !caller.map_or(self.options.umask, |c| c.umask),
                Some(default) => {
                    let parsed = Acl::parse(default).in_layer_errno(layer)?;
                    if let Some(acl) = parsed {
                        let inherited = acl.inherit(mode);
                        mode = inherited.mode;
                        if let Some(access) = inherited.access {
                            let name = XattrName::new(acl::ACCESS)?;
                            xattrs.push((name, access.to_bytes()));
                        }
                    }
                }
            }
        }
        if is_dir && let Some(default) = default {
            xattrs.push((XattrName::new(acl::DEFAULT)?, default));
        }
        Ok((
            NewNode {
                kind: spec.kind.clone(),
                mode,
                uid,
                gid,
            },
            xattrs,
        ))
    }
}

/// Adds the layer to a bare errno.
trait InLayerErrno<T> {
    fn in_layer_errno(self, layer: LayerId) -> Res<T>;
}

impl<T> InLayerErrno<T> for Result<T, Errno> {
    fn in_layer_errno(self, layer: LayerId) -> Res<T> {
        self.map_err(|errno| Fail {
            layer: Some(layer),
            ..errno.into()
        })
    }
}

/// Whether a directory is merged once it is in the upper, as it is when the rules look at it.
pub(crate) fn becomes_merged(dir: &Inode) -> bool {
    !dir.state().lowers.is_empty()
}

fn bound(objects: &[Option<NodeRef>], obj: Obj) -> Option<NodeRef> {
    objects.get(obj.0).cloned().flatten()
}

impl Build<'_> {
    /// Creates an object at a name that shows nothing (rules R112 to R121).
    pub(crate) fn create(&mut self, target: &Target, spec: &Spec) -> Res<Arc<Inode>> {
        let Target { dir, name, found } = target;
        self.core.upper()?;
        self.core.may_add(dir)?;
        create::may_make(self.core.caller(), &spec.kind)?;
        if let NewKind::CharDevice(rdev) = &spec.kind
            && rdev.is_zero()
        {
            return Err(Fail::rule(Errno::EPERM, "R084"));
        }
        let (node, xattrs) = self.core.born(dir, spec)?;
        let upper_dir = self.upper(dir, Data::Attributes)?;
        let temp = self.temp()?;
        let file_type = spec.kind.file_type();
        let object = self.object(LayerId::Upper, path_of(dir, name), None);
        let unnamed = spec.opens && self.core.upper()?.capabilities().tmpfile;
        self.made = unnamed.then_some(object);
        let facts = create::Facts {
            unnamed,
            place: Place {
                dir: upper_dir,
                name: name.clone(),
            },
            node,
            xattrs,
            over_whiteout: found.is_whiteout(),
            parent_merged: becomes_merged(dir),
            features: self.core.features,
            stores_overlay_attrs: self.core.stores_overlay_attrs(),
            work: temp.dir,
            temp: temp.name,
        };
        let opaque = create::is_opaque(&facts);
        let commit = create::plan(&mut self.plan, object, &facts);
        let inode = self.pure_upper(file_type, opaque);
        let (made, dir, name) = (inode.clone(), dir.clone(), name.clone());
        let recent = self.core.recent.clone();
        self.then(commit, move |objects| {
            made.update(|s| s.upper = bound(objects, object));
            made.set_place(InodePlace::At(dir.clone(), name.clone()));
            dir.set_child(&name, &made);
            recent.keep(&made);
        });
        Ok(inode)
    }

    /// An inode without lowers, for an object that a step will make.
    fn pure_upper(&self, file_type: FileType, opaque: bool) -> Arc<Inode> {
        let state = State {
            upper: None,
            lowers: Arc::from([]),
            opaque,
            impure: false,
            origin_mark: false,
            origin_recorded: true,
            xattr_whiteouts: false,
            metacopy: false,
            data: None,
            hard_linked: false,
            indexed: false,
            nlink: 0,
            redirect: None,
            digest: None,
        };
        let inode = Inode::new(self.core.new_id(), file_type, state, InodePlace::Gone(None));
        inode.set_in_upper();
        let _ = inode.origin.set(None);
        inode.set_flags(Some(InodeFlags::default()));
        inode
    }

    /// Creates an unnamed file in the upper of `dir` (rule R119). Answers its inode too.
    pub(crate) fn tmpfile(&mut self, dir: &Arc<Inode>, mode: u32) -> Res<Arc<Inode>> {
        if !self.core.upper()?.capabilities().tmpfile {
            return Err(Fail::rule(Errno::EOPNOTSUPP, "R119"));
        }
        let (node, xattrs) = self.core.born(dir, &Spec::new(NewKind::File, mode))?;
        let upper_dir = self.upper(dir, Data::Attributes)?;
        let object = self.object(LayerId::Upper, "(unnamed)".into(), None);
        let first = Step::Tmpfile {
            dir: upper_dir,
            node,
            object,
        };
        let mut last = self.plan.push(Role::Stage, first);
        for (name, value) in xattrs {
            let step = Step::SetXattr {
                object,
                name,
                value: Some(value),
                mode: XattrMode::Set,
            };
            last = self.plan.push(Role::Stage, step);
        }
        let inode = self.pure_upper(FileType::Regular, false);
        let made = inode.clone();
        self.then(last, move |objects| {
            made.update(|s| s.upper = bound(objects, object))
        });
        Ok(inode)
    }

    /// Gives `source` one more name (rules R134 to R138).
    pub(crate) fn link(&mut self, source: &Arc<Inode>, target: &Target) -> Res<()> {
        let unnamed = matches!(source.place(), InodePlace::Gone(None));
        let object = self.upper(source, Data::Attributes)?;
        let upper_dir = self.upper(&target.dir, Data::Attributes)?;
        let counted = self.count_names(source)?;
        if self.lacks_data(source) && !self.set_redirect(source, object, Form::Absolute) {
            return Ok(());
        }
        if self.will_have_origin(source)? {
            self.mark_impure(&target.dir, upper_dir);
        }
        let mut temp = self.temp()?;
        let kept = source.kept();
        if let Some(name) = &kept {
            temp.name.clone_from(name);
        }
        let facts = create::LinkFacts {
            place: Place {
                dir: upper_dir,
                name: target.name.clone(),
            },
            over_whiteout: target.found.is_whiteout(),
            temp: temp.clone(),
            kept: kept.is_some(),
        };
        let (commit, staged) = create::plan_link(&mut self.plan, object, facts);
        if let Some(step) = staged
            && unnamed
        {
            let source = source.clone();
            self.then(step, move |_| source.keep_name(Some(temp.name)));
        }
        if let Some(linked) = counted {
            self.set_union_nlink(commit, source, linked.union + 1);
        }
        let (dir, name, source) = (target.dir.clone(), target.name.clone(), source.clone());
        let objects = self.core.objects.clone();
        self.then(commit, move |nodes| {
            // From now on it can be met under several names. If its number cannot be told, which nothing
            // suggests after a link to it, the new name is of an object of its own.
            if let Some(Ok(meta)) = bound(nodes, object).map(|node| node.metadata()) {
                objects.insert(&[(0, meta.ino)], source.object());
            }
            if unnamed {
                source.keep_name(None);
                source.set_place(InodePlace::At(dir.clone(), name.clone()));
                dir.set_child(&name, &source);
            } else {
                // Looked up afresh, so that the new name finds what is below it.
                dir.forget(&name);
            }
        });
        Ok(())
    }

    /// Whether the object has an origin once it is in the upper.
    pub(crate) fn will_have_origin(&self, inode: &Inode) -> Res<bool> {
        let state = inode.state();
        match (&state.upper, state.lowers.first()) {
            (None, Some(lower)) => {
                let layer = LayerId::Lower(lower.layer);
                let nlink = lower.node.metadata().in_layer(layer)?.nlink;
                Ok(known_by_lower(self.core.key_facts(
                    inode,
                    &state,
                    Some(nlink),
                )))
            }
            _ => self.core.has_origin(inode),
        }
    }

    /// Removes a visible object (rules R122 to R130). The VFS's checks have been made.
    pub(crate) fn remove(&mut self, target: &Target) -> Res<()> {
        let inode = target.inode()?.clone();
        let (state, is_dir) = (inode.state(), inode.is_dir());
        let positive = self
            .core
            .is_lower_positive(&target.dir, &target.name, &target.found)?;
        let mut whiteouts = Vec::new();
        if is_dir && remove::checks_merged_view(positive, state.is_pure_upper()) {
            let emptiness = self.core.emptiness(&inode)?;
            if !emptiness.empty {
                return Err(Fail::rule(Errno::ENOTEMPTY, "R125"));
            }
            whiteouts = emptiness.upper_whiteouts;
        }
        let upper_dir = self.upper(&target.dir, Data::Attributes)?;
        let counted = self.count_names(&inode)?;
        let place = Place {
            dir: upper_dir,
            name: target.name.clone(),
        };
        if let Some(node) = &state.upper
            && !whiteouts.is_empty()
        {
            self.clear(&inode, node, (Some(&target.dir), place.clone()), whiteouts)?;
        }
        let temp = self.temp()?;
        let facts = remove::Facts {
            place,
            is_dir,
            in_upper: self.is_linked(&inode),
            lower_positive: positive,
            work: temp.dir,
            temp: temp.name,
        };
        let commit = remove::plan(&mut self.plan, &facts);
        self.drop_name(commit, &inode, &state, counted)?;
        let (dir, name) = (target.dir.clone(), target.name.clone());
        let recent = self.core.recent.clone();
        self.then(commit, move |_| {
            dir.forget(&name);
            unname(&inode, &dir, &name, &recent);
        });
        Ok(())
    }

    /// Replaces an upper directory of whiteouts by an empty opaque one (rule R129). Of `parent`, which holds it,
    /// the times are restored.
    pub(crate) fn clear(
        &mut self,
        inode: &Arc<Inode>,
        node: &NodeRef,
        (parent, place): (Option<&Arc<Inode>>, Place),
        whiteouts: Vec<Name>,
    ) -> Res<Obj> {
        let meta = node.metadata().in_layer(LayerId::Upper)?;
        let dir = self.object(LayerId::Upper, inode.path(), Some(node.clone()));
        let fresh = self.object(LayerId::Upper, inode.path(), None);
        let temp = self.temp()?;
        let facts = remove::ClearFacts {
            place,
            dir_times: parent.map(|parent| self.times_of(parent)).transpose()?,
            dir,
            meta: &meta,
            xattrs: self.xattrs_to_copy(node, LayerId::Upper)?,
            whiteouts,
            work: temp.dir,
            temp: temp.name,
        };
        let exchanged = remove::plan_clear(&mut self.plan, fresh, &facts);
        let inode = inode.clone();
        self.then(exchanged, move |objects| {
            inode.update(|s| {
                s.upper = bound(objects, fresh);
                s.lowers = Arc::from([]);
                s.redirect = None;
                (s.opaque, s.impure, s.origin_mark) = (true, false, false);
            });
        });
        Ok(fresh)
    }

    /// Sets attributes (rules R198, R218).
    pub(crate) fn set_attr(&mut self, inode: &Arc<Inode>, change: &SetAttr) -> Res<()> {
        if change.mode.is_some() && inode.file_type.is_symlink() {
            return Err(Errno::EOPNOTSUPP.into());
        }
        self.core.upper()?;
        if *change == attr::TOUCH {
            self.core.permit(inode, Change::Touch)?;
            if !self.core.is_owner(inode)? {
                self.core.allow(inode, Mask::WRITE)?;
            }
        } else {
            self.core.permit(inode, Change::Attributes)?;
        }
        let (_, _, meta) = self.core.real(inode)?;
        let attr = attr::normalize(&meta, change, self.core.caller())
            .map_err(|e| Fail::rule(e, "R286"))?;
        let object = self.upper(inode, Data::Attributes)?;
        self.plan.push(Role::Commit, Step::SetAttr { object, attr });
        Ok(())
    }

    /// Sets the size of a regular file by path (rule R200): all data are copied up first, and the
    /// modification time changes even if the size does not.
    pub(crate) fn set_len(&mut self, inode: &Arc<Inode>, len: u64) -> Res<()> {
        match inode.file_type {
            t if t.is_dir() => return Err(Errno::EISDIR.into()),
            t if !t.is_file() => return Err(Errno::EINVAL.into()),
            _ => {}
        }
        self.core.upper()?;
        if i64::try_from(len).is_err() {
            return Err(Errno::EINVAL.into());
        }
        self.core.allow(inode, Mask::WRITE)?;
        self.core.permit(inode, Change::Truncate)?;
        let (node, layer, meta) = self.core.real(inode)?;
        if self.will_lack_data(inode) && inode.upper().is_none() {
            // The VFS removes the capability first, which takes no data; bringing them then touches the file.
            let has_capability = match node.xattr(&XattrName::new(xattr::CAPABILITY)?) {
                // One that grants nothing.
                Err(e) if e.errno() == Errno::EINVAL => true,
                value => value.in_layer(layer)?.is_some(),
            };
            if has_capability {
                self.upper_object(inode, Data::Attributes)?;
            }
        }
        let object = self.upper(inode, Data::Full)?;
        if let Some(mode) = permission::mode_after_write(self.core.caller(), &meta) {
            let attr = SetAttr::mode(mode);
            self.plan
                .push(Role::Neutral, Step::SetAttr { object, attr });
        }
        self.plan.push(Role::Commit, Step::SetLen { object, len });
        Ok(())
    }

    /// The change of mode that comes before a change of the access list (rule R290).
    fn cleared_set_gid(&self, inode: &Inode) -> Res<Option<SetAttr>> {
        let (_, _, meta) = self.core.real(inode)?;
        let clears = permission::acl_clears_set_gid(self.core.caller(), &meta);
        Ok(clears.then(|| SetAttr::mode(meta.mode & !0o2000)))
    }

    /// Sets (`Some`) or removes an extended attribute (rules R201 to R204, R279).
    pub(crate) fn set_xattr(
        &mut self,
        inode: &Arc<Inode>,
        name: &XattrName,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Res<()> {
        self.core.upper()?;
        self.core.permit(inode, Change::Attributes)?;
        xattr::check_write(inode.file_type, name, value)?;
        self.core.may_write_xattr(inode, name)?;
        let (mut value, mut mode) = (value, mode);
        let mut clears_set_gid = None;
        if xattr::is_acl(name) {
            let parsed = value.map(Acl::parse).transpose()?.flatten();
            if parsed.is_none() {
                value = None;
            }
            if !xattr::check_acl(inode.file_type, name, parsed.is_some())? {
                return Ok(());
            }
            if !self.core.is_owner(inode)? {
                return Err(Fail::rule(Errno::EPERM, "R286"));
            }
            if let Some(acl) = parsed {
                acl.check()?;
            }
            mode = XattrMode::Set;
            if name.as_bytes() == acl::ACCESS {
                clears_set_gid = self.cleared_set_gid(inode)?;
            }
        }
        let raw = xattr::to_layer(name, self.core.namespace)?;
        let state = inode.state();
        if value.is_none() && state.upper.is_none() && clears_set_gid.is_none() {
            xattr::known(name)?;
            let layer = self.core.real_layer(&state);
            let real = state.real().ok_or(Errno::ENOENT)?;
            if real.xattr(&raw).in_layer(layer)?.is_none() {
                return Err(Fail::rule(Errno::ENODATA, "R202"));
            }
        }
        // An attribute needs neither the name nor the data in the upper (rule R262). Clearing the bit is a
        // change of its own, which links the name.
        let object = match (clears_set_gid.is_some(), self.known_upper(inode)?) {
            (false, Some(object)) => object,
            (true, Some(_)) => self.upper_object(inode, Data::Attributes)?,
            (_, None) => self.upper(inode, Data::Attributes)?,
        };
        if let Some(attr) = clears_set_gid {
            self.plan
                .push(Role::Neutral, Step::SetAttr { object, attr });
        }
        let value = value.map(<[u8]>::to_vec);
        self.plan.push(
            Role::Commit,
            Step::SetXattr {
                object,
                name: raw,
                value,
                mode,
            },
        );
        Ok(())
    }
}

/// After a removal: the object has no name here any more.
pub(crate) fn unname(inode: &Arc<Inode>, dir: &Arc<Inode>, name: &Name, recent: &Recent) {
    recent.release(inode);
    if let InodePlace::At(parent, own) = inode.place()
        && Arc::ptr_eq(&parent, dir)
        && own == *name
    {
        inode.set_place(InodePlace::Gone(Some((parent, own))));
    }
}
