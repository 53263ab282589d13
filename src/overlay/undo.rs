//! When a step fails: finding out what became of it, and taking back what was only prepared.

use crate::backend::{Entry, RemoveKind, RenameHow};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::overlay::execute::{Run, Temp};
use crate::rules::index;
use crate::rules::plan::{Obj, Place, Step};

impl Run<'_> {
    /// Notes what a step that was done means for taking the plan back.
    pub(super) fn note(&mut self, step: &Step) {
        match step {
            Step::Create { at, node, .. } if node.kind.file_type().is_dir() => {
                self.remember(at, RemoveKind::Directory, None);
            }
            Step::Create { at, .. } | Step::Whiteout { at } => {
                self.remember(at, RemoveKind::NonDirectory, None);
            }
            Step::Link { object, to } => {
                let link_of = (!self.makes(*object)).then_some(*object);
                self.remember(to, RemoveKind::NonDirectory, link_of);
            }
            Step::Rename {
                how: RenameHow::Exchange,
                ..
            } => {}
            Step::Rename { from: place, .. } | Step::Remove { at: place, .. } => {
                self.temps.retain(|temp| temp.place != *place);
            }
            _ => {}
        }
    }

    /// The plan itself makes the object, so nobody else holds it.
    fn makes(&self, object: Obj) -> bool {
        let is_it =
            |step: &Step| matches!(step, Step::Tmpfile { object: made, .. } if *made == object);
        self.plan.steps.iter().any(|planned| is_it(&planned.step))
    }

    /// Notes a name in the work directory, to be removed if the plan fails.
    fn remember(&mut self, place: &Place, kind: RemoveKind, link_of: Option<Obj>) {
        if self.layer(place.dir) == LayerId::Work && index::is_temporary(&place.name) {
            self.temps.push(Temp {
                place: place.clone(),
                kind,
                link_of,
            });
        }
    }

    /// Removes what a failed plan left in the work directory. What cannot be removed is swept when
    /// the directory is next opened.
    pub(super) fn undo(&mut self) {
        for temp in std::mem::take(&mut self.temps).into_iter().rev() {
            // An unnamed file that loses its first name could never get another one.
            if temp.link_of.is_some_and(|object| self.is_only_name(object)) {
                continue;
            }
            if let (Some(upper), Ok(at)) = (self.upper, self.at(&temp.place)) {
                let _ = upper.remove(at, temp.kind);
            }
        }
    }

    fn is_only_name(&self, object: Obj) -> bool {
        let meta = self.node(object).map(|node| node.metadata());
        matches!(meta, Ok(Ok(meta)) if meta.nlink == 1)
    }

    /// Asks the layer whether a step that failed was done all the same (a disk may say so late, a
    /// network may lose the answer); if so, notes it. Steps that change no names need not be known:
    /// nothing is remembered of them.
    pub(super) fn find_out(&mut self, step: &Step, errno: Errno) -> bool {
        let happened = match step {
            // Somebody else's.
            Step::Create { .. } | Step::Whiteout { .. } | Step::Link { .. }
                if errno == Errno::EEXIST =>
            {
                false
            }
            Step::Create { at, node, object } => match self.entry(at) {
                Some(Some(Entry::Node(made, meta))) => {
                    self.bind(*object, made);
                    meta.file_type == node.kind.file_type()
                }
                _ => false,
            },
            Step::Whiteout { at } => matches!(self.entry(at), Some(Some(Entry::Whiteout(_)))),
            Step::Link { object, to } => self.is_at(*object, to) == Some(true),
            Step::Rename { object, from, .. } => match object {
                Some(object) => self.is_at(*object, from) == Some(false),
                None => {
                    let entry = self.entry(from);
                    entry.is_some_and(|e| !matches!(e, Some(Entry::Whiteout(_))))
                }
            },
            Step::Remove { at, .. } => matches!(self.entry(at), Some(None)),
            _ => false,
        };
        if happened {
            self.note(step);
        }
        happened
    }

    /// What the layer has at a place; `None` if it does not say.
    fn entry(&self, place: &Place) -> Option<Option<Entry>> {
        self.node(place.dir).ok()?.lookup(&place.name).ok()
    }

    /// Whether a place holds this object; `None` if the layer does not say.
    fn is_at(&self, object: Obj, place: &Place) -> Option<bool> {
        let own = self.node(object).ok()?.metadata().ok()?;
        match self.entry(place)? {
            Some(Entry::Node(_, meta)) => Some(meta.ino == own.ino),
            _ => Some(false),
        }
    }
}
