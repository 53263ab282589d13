//! Building the plan of one repair.

use std::path::{Path, PathBuf};

use super::finding::Fix;
use super::objects::{LEADS_APART, leads_to_one};
use super::seen::OriginUser;
use crate::backend::{NodeRef, RemoveKind, RenameHow, XattrMode};
use crate::error::LayerId;
use crate::meta::{SetAttr, SetTime};
use crate::path::Name;
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::rules::whiteout::OPAQUE;
use crate::rules::xattr::CAPABILITY;
use crate::xattr_name::{OverlayAttr, XattrName};

/// The name under which a whiteout waits in the staging directory; such names are swept.
const TEMP_NAME: &str = "#check";

/// A plan in the making.
#[derive(Debug, Default)]
pub(super) struct FixBuilder {
    plan: Plan,
    bound: Vec<Option<NodeRef>>,
}

impl FixBuilder {
    pub(super) fn new() -> Self {
        FixBuilder::default()
    }

    /// An object that steps may speak of.
    pub(super) fn object(
        &mut self,
        layer: LayerId,
        path: impl Into<PathBuf>,
        node: &NodeRef,
    ) -> Obj {
        self.bound.push(Some(node.clone()));
        self.plan.object(layer, path.into())
    }

    /// Sets or removes an overlay attribute.
    pub(super) fn set(&mut self, object: Obj, attr: OverlayAttr, value: Option<&[u8]>) {
        let value = value.map(<[u8]>::to_vec);
        let step = Step::SetOverlay {
            object,
            attr,
            value,
        };
        self.plan.push(Role::Neutral, step);
    }

    /// Removes an attribute that is no overlay attribute here.
    pub(super) fn remove_raw(&mut self, object: Obj, name: &XattrName) {
        let step = Step::SetXattr {
            object,
            name: name.clone(),
            value: None,
            mode: XattrMode::Replace,
        };
        self.plan.push(Role::Commit, step);
    }

    /// Removes a name.
    pub(super) fn remove(&mut self, dir: Obj, name: &Name, kind: RemoveKind) {
        let at = Place {
            dir,
            name: name.clone(),
        };
        self.plan.push(Role::Neutral, Step::Remove { at, kind });
    }

    /// Moves `object` to another name of its directory, which is free.
    pub(super) fn rename(&mut self, object: Obj, dir: Obj, from: &Name, to: &Name) {
        let place = |name: &Name| Place {
            dir,
            name: name.clone(),
        };
        let step = Step::Rename {
            object: Some(object),
            from: place(from),
            to: place(to),
            how: RenameHow::NoReplace,
        };
        self.plan.push(Role::Commit, step);
    }

    /// Creates a whiteout.
    pub(super) fn whiteout(&mut self, dir: Obj, name: &Name) {
        let at = Place {
            dir,
            name: name.clone(),
        };
        self.plan.push(Role::Neutral, Step::Whiteout { at });
    }

    /// Puts a whiteout in the place of a non-directory, by way of the staging directory.
    pub(super) fn replace_by_whiteout(&mut self, work: Obj, dir: Obj, name: &Name) -> Option<()> {
        let temp = Place {
            dir: work,
            name: Name::new(TEMP_NAME).ok()?,
        };
        let at = Place {
            dir,
            name: name.clone(),
        };
        let whiteout = Step::Whiteout { at: temp.clone() };
        self.plan.push(Role::Stage, whiteout);
        let step = Step::Rename {
            object: None,
            from: temp,
            to: at,
            how: RenameHow::Replace,
        };
        self.plan.push(Role::Commit, step);
        Some(())
    }

    /// Puts the times of a directory back that changing its names changes: they show.
    pub(super) fn keep_times(&mut self, dir: Obj, node: &NodeRef) {
        let Ok(meta) = node.metadata() else { return };
        let attr = SetAttr {
            atime: SetTime::At(meta.atime),
            mtime: SetTime::At(meta.mtime),
            ..SetAttr::default()
        };
        let step = Step::SetAttr { object: dir, attr };
        self.plan.push(Role::BestEffort, step);
    }

    pub(super) fn build(self) -> Fix {
        Fix {
            plan: self.plan,
            bound: self.bound,
        }
    }

    /// Takes the redirect of an upper directory away without letting it merge with what has its name.
    pub(super) fn cut_off(path: &Path, node: &NodeRef) -> Fix {
        let mut fix = FixBuilder::new();
        let object = fix.object(LayerId::Upper, path, node);
        fix.set(object, OverlayAttr::Opaque, Some(OPAQUE));
        fix.set(object, OverlayAttr::Redirect, None);
        fix.build()
    }

    /// Makes an upper file one of its own, no longer the kernel's inode of its origin: without the origin,
    /// and a metadata-only copy with its data; an error is why there is no such repair.
    pub(super) fn set_free(user: &OriginUser) -> Result<Fix, &'static str> {
        if user.indexed {
            return Err("the index says what its origin is");
        }
        let mut fix = FixBuilder::new();
        let object = fix.object(LayerId::Upper, &user.path, &user.node);
        if let Some((layer, data)) = &user.data {
            let unreadable = |_| "it cannot be read";
            let shown = user.node.metadata().map_err(unreadable)?;
            let size = data.metadata().map_err(unreadable)?.size;
            if shown.size != size {
                return Err("its data have another size than it shows");
            }
            if !leads_to_one(&user.node, shown.nlink) {
                return Err(LEADS_APART);
            }
            let from = fix.object(*layer, &user.path, data);
            let copy = Step::CopyData {
                from,
                to: object,
                size,
                keep_size: false,
                data_bytes: None,
            };
            fix.plan.push(Role::Neutral, copy);
            fix.plan.push(Role::Neutral, Step::Sync { object });
            // What writing takes away.
            let capability = XattrName::new(CAPABILITY).map_err(|_| "it cannot be read")?;
            if let Some(value) = user.node.xattr(&capability).map_err(unreadable)? {
                let step = Step::SetXattr {
                    object,
                    name: capability,
                    value: Some(value),
                    mode: XattrMode::Set,
                };
                fix.plan.push(Role::Neutral, step);
            }
            let attr = SetAttr {
                mode: Some(shown.mode),
                ..SetAttr::default()
            };
            fix.plan.push(Role::Neutral, Step::SetAttr { object, attr });
            fix.set(object, OverlayAttr::Metacopy, None);
            fix.keep_times(object, &user.node);
        }
        fix.set(object, OverlayAttr::Origin, None);
        Ok(fix.build())
    }

    /// Removes one overlay attribute of an upper object.
    pub(super) fn without(path: &Path, node: &NodeRef, attr: OverlayAttr) -> Fix {
        FixBuilder::with(path, node, attr, None)
    }

    /// Sets or removes one overlay attribute of an upper object.
    pub(super) fn with(
        path: &Path,
        node: &NodeRef,
        attr: OverlayAttr,
        value: Option<&[u8]>,
    ) -> Fix {
        let mut fix = FixBuilder::new();
        let object = fix.object(LayerId::Upper, path, node);
        fix.set(object, attr, value);
        fix.build()
    }

    /// Removes one name from a directory of the upper, whose times stay.
    pub(super) fn without_name(path: &Path, dir: &NodeRef, name: &Name, kind: RemoveKind) -> Fix {
        let mut fix = FixBuilder::new();
        let object = fix.object(LayerId::Upper, path, dir);
        fix.remove(object, name, kind);
        fix.keep_times(object, dir);
        fix.build()
    }
}
