//! What the streams of a directory list, under offsets that stay.
//!
//! The kernel keeps what it was told of a directory, gives it to any stream, and may ask any stream to go
//! on from any offset of it, after entries came and went. So an entry keeps its offset as long as the kernel
//! knows the directory, and a new entry gets one behind all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::overlay::read::Listed;

/// Offsets: 0 is the start, 1 behind `.`, 2 behind `..`; then those of entries.
pub(super) const DOTS: u64 = 2;

/// An entry, and the offset behind it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) offset: u64,
    pub(super) entry: Listed,
}

/// The entries of a directory by ascending offsets, as they were when somebody last listed it.
#[derive(Debug, Default)]
pub(super) struct Listing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: Arc<Vec<Placed>>,
    /// The largest offset given.
    last: u64,
}

impl Listing {
    /// The entries; lists them anew with `list` if there is one.
    pub(super) fn entries<E>(
        &self,
        list: Option<impl FnOnce() -> Result<Vec<Listed>, E>>,
    ) -> Result<Arc<Vec<Placed>>, E> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = list {
            let fresh = list()?;
            state.replace(fresh);
        }
        Ok(state.entries.clone())
    }
}

impl State {
    fn replace(&mut self, fresh: Vec<Listed>) {
        let mut last = self.last.max(DOTS);
        let known: HashMap<_, _> = self
            .entries
            .iter()
            .map(|known| (&known.entry.name, known.offset))
            .collect();
        let mut entries: Vec<Placed> = fresh
            .into_iter()
            .map(|entry| {
                let offset = known.get(&entry.name).copied().unwrap_or_else(|| {
                    last += 1;
                    last
                });
                Placed { offset, entry }
            })
            .collect();
        entries.sort_by_key(|placed| placed.offset);
        self.entries = Arc::new(entries);
        self.last = last;
    }
}

/// The entries behind an offset.
pub(super) fn behind(entries: &[Placed], offset: u64) -> &[Placed] {
    let first = entries.partition_point(|placed| placed.offset <= offset);
    entries.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::errno::Errno;
    use crate::error::LayerId;
    use crate::path::Name;

    fn list(listing: &Listing, names: &[&str]) -> Vec<(String, u64)> {
        let fresh = || {
            let entry = |name: &&str| Listed {
                name: Name::new(name.as_bytes()).unwrap(),
                file_type: None,
                ino: 1,
                layer: LayerId::Upper,
            };
            Ok::<_, Errno>(names.iter().map(entry).collect())
        };
        let entries = listing.entries(Some(fresh)).unwrap();
        let name = |placed: &Placed| placed.entry.name.as_os_str().to_str().unwrap().to_owned();
        entries.iter().map(|p| (name(p), p.offset)).collect()
    }

    fn shown(entries: &[(&str, u64)]) -> Vec<(String, u64)> {
        entries
            .iter()
            .map(|(n, at)| ((*n).to_owned(), *at))
            .collect()
    }

    #[test]
    fn offsets_stay_while_entries_come_and_go() {
        let listing = Listing::default();
        let first = list(&listing, &["b", "a", "c"]);
        assert_eq!(first, shown(&[("b", 3), ("a", 4), ("c", 5)]));
        let second = list(&listing, &["x", "c", "b"]);
        assert_eq!(second, shown(&[("b", 3), ("c", 5), ("x", 6)]));
        // One that is back may have any offset that no other had.
        let third = list(&listing, &["a", "x"]);
        assert_eq!(third, shown(&[("x", 6), ("a", 7)]));
        let fails = || Err(Errno::EIO);
        assert_eq!(listing.entries(Some(fails)).unwrap_err(), Errno::EIO);
        let same = listing.entries(Some(fails).filter(|_| false)).unwrap();
        assert_eq!(same.len(), 2);
        assert_eq!(behind(&same, 0).len(), 2);
        assert_eq!(behind(&same, 6).len(), 1);
        assert!(behind(&same, 7).is_empty());
    }
}
