//! Merged listings: which names a directory shows, in the kernel's order (rules R095 to R101).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use crate::backend::RawEntry;
use crate::errno::Errno;
use crate::meta::FileType;
use crate::path::Name;

/// Whether an error of a layer means that a name may not be looked at, which a listing lives with, as
/// the kernel's does with every error. Any other is an accident: a listing that went on would leave out
/// what is there, or show what is hidden (deviation LIST-1).
pub(crate) fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EREMOTE)
}

/// One name of a merged listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) name: Name,
    pub(crate) file_type: Option<FileType>,
    /// Inode number as the layer's directory tells it.
    pub(crate) ino: u64,
    /// Position, in the directory's own stack, of the topmost layer that has the name.
    pub(crate) layer: usize,
    /// It is a whiteout: hides the name below and is not shown.
    pub(crate) hidden: bool,
    /// It may be an xattr whiteout: shown only if a lookup finds it (rule R072).
    pub(crate) check: bool,
}

/// Builds a merged listing, layer by layer from the top.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    entries: Vec<Merged>,
    index: HashMap<Name, usize>,
    lowest: Vec<usize>,
}

impl Merger {
    /// Adds the names of the next layer. `lowest`: it is the last one. `xattr_whiteouts`: this layer
    /// and this directory are marked as holding xattr whiteouts (rule R073).
    ///
    /// Answers the entries that must be looked up in this layer, since only that tells whether they
    /// are whiteouts: character devices, and what has no type.
    pub(crate) fn add(
        &mut self,
        layer: usize,
        raw: Vec<RawEntry>,
        lowest: bool,
        xattr_whiteouts: bool,
    ) -> Vec<usize> {
        let mut probe = Vec::new();
        self.entries.reserve(raw.len());
        // Nothing is looked for in the index once the lowest layer is in.
        let unindexed = lowest && self.index.is_empty();
        if !lowest {
            self.index.reserve(raw.len());
        }
        for entry in raw {
            let new = self.entries.len();
            let known = match lowest {
                _ if unindexed => None,
                true => self.index.get(&entry.name).copied(),
                false => match self.index.entry(entry.name.clone()) {
                    Slot::Occupied(slot) => Some(*slot.get()),
                    Slot::Vacant(slot) => {
                        slot.insert(new);
                        None
                    }
                },
            };
            let at = match known {
                Some(at) => at,
                None => {
                    let at = new;
                    if matches!(entry.file_type, Some(FileType::CharDevice) | None) {
                        probe.push(at);
                    }
                    self.entries.push(Merged {
                        check: xattr_whiteouts
                            && matches!(entry.file_type, Some(FileType::Regular) | None),
                        name: entry.name,
                        file_type: entry.file_type,
                        ino: entry.ino,
                        layer,
                        hidden: false,
                    });
                    at
                }
            };
            if lowest {
                self.lowest.push(at);
            }
        }
        probe
    }

    /// The name of an entry to look up.
    pub(crate) fn name(&self, at: usize) -> Option<&Name> {
        self.entries.get(at).map(|e| &e.name)
    }

    /// The entry turned out to be a whiteout.
    pub(crate) fn hide(&mut self, at: usize) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.hidden = true;
        }
    }

    /// All entries, hidden ones included, in the kernel's order: the lowest layer's names first, in
    /// its order, then what is left of each layer from the top (rule R096).
    pub(crate) fn finish(self) -> Vec<Merged> {
        let mut slots: Vec<Option<Merged>> = self.entries.into_iter().map(Some).collect();
        let mut out = Vec::with_capacity(slots.len());
        for at in self.lowest {
            out.extend(slots.get_mut(at).and_then(Option::take));
        }
        out.extend(slots.into_iter().flatten());
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    fn raw(names: &[(&str, FileType)]) -> Vec<RawEntry> {
        names
            .iter()
            .enumerate()
            .map(|(i, (name, t))| RawEntry {
                name: Name::try_from(*name).unwrap(),
                file_type: Some(*t),
                ino: i as u64,
            })
            .collect()
    }

    fn names(merged: Vec<Merged>) -> Vec<String> {
        merged
            .into_iter()
            .filter(|e| !e.hidden)
            .map(|e| e.name.to_string())
            .collect()
    }

    #[test]
    fn r096_order_is_lowest_first_then_from_the_top() {
        use FileType::Regular as R;
        let mut m = Merger::default();
        m.add(0, raw(&[("u1", R), ("both", R), ("u2", R)]), false, false);
        m.add(1, raw(&[("m1", R), ("u1", R)]), false, false);
        m.add(2, raw(&[("z", R), ("both", R), ("a", R)]), true, false);
        let all = m.finish();
        assert_eq!(
            all.iter()
                .find(|e| e.name.as_bytes() == b"both")
                .unwrap()
                .layer,
            0,
            "R097"
        );
        assert_eq!(names(all), ["z", "both", "a", "u1", "u2", "m1"]);
    }

    #[test]
    fn r098_whiteouts_hide_below_and_are_probed_only_where_needed() {
        use FileType::{CharDevice as C, Regular as R};
        let mut m = Merger::default();
        assert_eq!(
            m.add(0, raw(&[("a", R), ("gone", C), ("tty", C)]), false, false),
            [1, 2]
        );
        m.hide(1);
        assert_eq!(
            m.add(1, raw(&[("gone", C), ("tty", R)]), true, false),
            [] as [usize; 0]
        );
        assert_eq!(names(m.finish()), ["tty", "a"]);
    }

    #[test]
    fn r072_regular_files_of_marked_layers_are_checked() {
        let mut m = Merger::default();
        m.add(
            0,
            raw(&[("f", FileType::Regular), ("d", FileType::Directory)]),
            false,
            true,
        );
        let checks: Vec<bool> = m.finish().iter().map(|e| e.check).collect();
        assert_eq!(checks, [true, false]);
    }
}
