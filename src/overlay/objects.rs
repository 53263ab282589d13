//! Which visible names are of one object: what the kernel's table of inodes tells.
//!
//! A key is a node of a layer, by filesystem and inode number. An object that can be met again under
//! another name is entered under its upper node, its lower one, or both; what can be met under one
//! name only need not be. An entered object keeps its nodes in use, so that no number is given to
//! another node while the entry lives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::NodeRef;
use crate::errno::Errno;
use crate::error::LayerId;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::{Inode, Object, Place, State};
use crate::overlay::lookup::Made;
use crate::path::Name;
use crate::rules::inode::{
    KeyFacts, Node as Key, Nodes, is_met_again, is_same_object, known_by_lower,
};

/// No sweep below this size.
const SWEEP_MIN: usize = 64;

/// The objects in use that can be met again. Dead entries are swept when the table has doubled, so it
/// stays within twice the number of live ones, and dropping an object need not look for its table.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    table: Mutex<Table>,
    /// Held while a directory in use gets another name by a lookup.
    moving: Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    map: HashMap<Key, Weak<Object>>,
    sweep_at: usize,
}

impl Table {
    fn get(&self, key: Key) -> Option<Arc<Object>> {
        self.map.get(&key)?.upgrade()
    }

    fn insert(&mut self, key: Key, object: &Arc<Object>) {
        if self.map.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.map.retain(|_, object| object.strong_count() > 0);
            self.sweep_at = self.map.len() * 2;
        }
        self.map.insert(key, Arc::downgrade(object));
    }
}

impl Objects {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moving(&self) -> MutexGuard<'_, ()> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object in use under the first of `keys` that has one, and true; else a new one, which is
    /// entered under all of them if it is to be, and false.
    pub(crate) fn get_or_insert(
        &self,
        keys: &[Key],
        enter: bool,
        make: impl FnOnce() -> Arc<Object>,
    ) -> (Arc<Object>, bool) {
        if keys.is_empty() {
            return (make(), false);
        }
        let mut table = self.table();
        if let Some(known) = keys.iter().find_map(|key| table.get(*key)) {
            return (known, true);
        }
        let object = make();
        if enter {
            for key in keys {
                table.insert(*key, &object);
            }
        }
        (object, false)
    }

    /// Enters an object in use: it can be met under these keys from now on.
    pub(crate) fn insert(&self, keys: &[Key], object: &Arc<Object>) {
        let mut table = self.table();
        for key in keys {
            table.insert(*key, object);
        }
    }
}

impl Core {
    /// The name in use for what a lookup found: of an object in use, if it has it already under
    /// another name. A directory has only one; found under another, it is there from now on, as in the
    /// kernel's cache (rule R169).
    ///
    /// # Errors
    /// `ESTALE`: a node of it belongs to another object in use. `ELOOP`: a directory within itself.
    pub(crate) fn name(&self, dir: &Arc<Inode>, name: &Name, made: Made) -> Res<Arc<Inode>> {
        let linked = made.in_upper;
        let object = self.object(made)?;
        let place = Place::At(dir.clone(), name.clone());
        let _moving = object.is_dir().then(|| self.objects.moving());
        if let Some(known) = object.dir()
            && let Place::At(parent, old) = known.place()
        {
            if !Arc::ptr_eq(&parent, dir) || old != *name {
                if dir.is_within(&known) {
                    return Err(Fail::rule(Errno::ELOOP, "R169"));
                }
                parent.forget(&old);
                known.set_place(place);
            }
            return Ok(dir.adopt(name, &known));
        }
        Ok(dir.adopt(name, &Inode::of(object, place, linked)))
    }

    /// What decides by which node an object in use is known; `lower_nlink`: of the lower that it is made
    /// of or came from.
    pub(crate) fn key_facts(
        &self,
        object: &Object,
        state: &State,
        lower_nlink: Option<u64>,
    ) -> KeyFacts {
        KeyFacts {
            is_dir: object.is_dir(),
            writable: self.upper.is_some(),
            features: self.features,
            in_upper: state.upper.is_some(),
            indexed: state.indexed,
            lower_nlink,
        }
    }

    /// The object in use that a lookup found, or a new one.
    ///
    /// # Errors
    /// `ESTALE`: a node of it belongs to another object in use (rule R169).
    fn object(&self, made: Made) -> Res<Arc<Object>> {
        let is_dir = made.real.is_dir();
        let lower = made.state.lowers.first().zip(made.lower.as_ref());
        let found = Nodes {
            upper: made.state.upper.as_ref().map(|_| (0, made.real.ino)),
            lower: lower.map(|(l, meta)| (self.fs_of(LayerId::Lower(l.layer)), meta.ino)),
        };
        let facts = KeyFacts {
            is_dir,
            writable: self.upper.is_some(),
            features: self.features,
            in_upper: made.state.upper.is_some(),
            indexed: made.state.indexed,
            lower_nlink: lower.map(|(_, meta)| meta.nlink),
        };
        let by_lower = known_by_lower(facts) && is_met_again(facts);
        let by_upper = if is_dir { None } else { found.upper };
        let by_lower = if by_lower { found.lower } else { None };
        // An upper file with one name is found by it, but need not be entered.
        let enter = by_lower.is_some() || made.real.nlink > 1;
        let keys: Vec<Key> = by_upper.into_iter().chain(by_lower).collect();
        let (file_type, state) = (made.real.file_type, made.state);
        let new = || Object::new(self.new_id(), file_type, state);
        let (object, known) = self.objects.get_or_insert(&keys, enter, new);
        if known {
            if !is_same_object(self.nodes(&object)?, found, is_dir) {
                return Err(Fail::rule(Errno::ESTALE, "R169"));
            }
            if enter {
                self.objects.insert(&keys, &object);
            }
        }
        Ok(object)
    }

    /// The nodes that an object is made of.
    fn nodes(&self, object: &Object) -> Res<Nodes> {
        let state = object.state();
        let number = |node: &NodeRef, layer| -> Res<(usize, u64)> {
            let meta = node.metadata().in_layer(layer)?;
            Ok((self.fs_of(layer), meta.ino))
        };
        let upper = state
            .upper
            .as_ref()
            .map(|node| number(node, LayerId::Upper));
        let lower = state.lowers.first();
        let lower = lower.map(|l| number(&l.node, LayerId::Lower(l.layer)));
        Ok(Nodes {
            upper: upper.transpose()?,
            lower: lower.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::FileType;
    use crate::overlay::inode::State;

    fn object(id: u64) -> Arc<Object> {
        Object::new(id, FileType::Regular, State::default())
    }

    #[test]
    fn names_meet_by_any_key() {
        let objects = Objects::default();
        let (a, known) = objects.get_or_insert(&[(0, 1), (1, 7)], true, || object(1));
        assert!(!known);
        let (b, known) = objects.get_or_insert(&[(1, 7)], true, || object(2));
        assert!(known && Arc::ptr_eq(&a, &b));
        objects.insert(&[(0, 9)], &a);
        let (b, _) = objects.get_or_insert(&[(0, 9)], false, || object(3));
        assert!(Arc::ptr_eq(&a, &b));
        let (c, known) = objects.get_or_insert(&[(0, 2)], false, || object(4));
        assert!(!known, "not entered");
        let (d, _) = objects.get_or_insert(&[(0, 2)], false, || object(5));
        assert!(!Arc::ptr_eq(&c, &d));
    }

    #[test]
    fn dead_entries_do_not_pile_up() {
        let objects = Objects::default();
        let (kept, _) = objects.get_or_insert(&[(0, 1)], true, || object(1));
        for id in 2..10_000 {
            let (_, known) = objects.get_or_insert(&[(0, id)], true, || object(id));
            assert!(!known);
        }
        assert!(objects.table().map.len() <= SWEEP_MIN);
        let (found, known) = objects.get_or_insert(&[(0, 1)], true, || object(2));
        assert!(known && Arc::ptr_eq(&kept, &found));
    }
}
