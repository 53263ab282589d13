//! Lookup: which layers contribute to a name (rules R050 to R062, R156 to R175).
//!
//! [`Lookup`] is fed layer by layer with what each shows for the name, and tells when to stop and
//! under which name or path the next layer is to be asked. It reads nothing itself: it says which
//! attributes it [wants](Lookup::wants), the engine fetches them.

use std::sync::Arc;

use crate::errno::Errno;
use crate::meta::FileType;
use crate::path::Name;
use crate::rules::Features;
use crate::rules::redirect::{self, component};
use crate::rules::whiteout::{Opacity, opacity};

/// Shortest valid value of the overlay attribute `metacopy` that is not empty (rule R171).
const METACOPY_BYTES_MIN: usize = 4;

/// Where the layer being asked stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// It is the upper.
    pub(crate) upper: bool,
    /// It is the last that can be consulted: attributes that only concern lower layers are not
    /// read (rule R059).
    pub(crate) last: bool,
}

/// What one layer shows for one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Nothing (`ENOENT` and `ENAMETOOLONG` alike, rule R056).
    Absent,
    /// A whiteout of either form.
    Whiteout,
    /// A node, with the attributes that were wanted.
    Node { file_type: FileType, attrs: Attrs },
}

/// Raw overlay attributes of a node; `None` also where they were not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attrs {
    pub(crate) opaque: Option<Vec<u8>>,
    pub(crate) redirect: Option<Vec<u8>>,
    pub(crate) metacopy: Option<Vec<u8>>,
}

/// Which attributes decide.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) opaque: bool,
    pub(crate) redirect: bool,
    pub(crate) metacopy: bool,
}

/// Why a layer's node is not part of the answer; what hid it, for explanations.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// The layer has nothing; go on.
    Absent,
    /// The node belongs to the answer (or is a component on the way to it).
    Take,
    /// A whiteout ends the search.
    Whiteout,
    /// A node of the wrong type: skipped, and the search ends (rule R054).
    WrongType,
}

/// What a layer is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The components to look up, one after the other.
    pub(crate) names: Vec<Name>,
    /// They start at the layer's root rather than in the parent's directory.
    pub(crate) absolute: bool,
    /// `names` lead to a directory that is asked for what none can hold, and this is its answer.
    pub(crate) refused: Option<Errno>,
    /// The components from the one on that no directory can hold.
    beyond: Vec<Vec<u8>>,
}

impl Way {
    /// One name in the parent's directory.
    fn of(name: &Name) -> Self {
        Way {
            names: vec![name.clone()],
            absolute: false,
            refused: None,
            beyond: Vec::new(),
        }
    }

    fn new<'a>(absolute: bool, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut parts = parts.into_iter();
        let (mut names, mut refused, mut beyond) = (Vec::new(), None, Vec::new());
        for part in parts.by_ref() {
            match component(part) {
                Ok(name) => names.push(name),
                Err(errno) => {
                    refused = Some(errno);
                    beyond.push(part.to_vec());
                    break;
                }
            }
        }
        beyond.extend(parts.map(<[u8]>::to_vec));
        Way {
            names,
            absolute,
            refused,
            beyond,
        }
    }

    /// Component `i` is the object that is looked for, not a directory before it.
    pub(crate) fn is_end(&self, i: usize) -> bool {
        self.refused.is_none() && i + 1 == self.names.len()
    }

    fn parts(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        let names = self.names.iter().map(Name::as_bytes);
        names.chain(self.beyond.iter().map(Vec::as_slice))
    }

    /// The whole way, as a redirect tells it.
    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (i, part) in self.parts().enumerate() {
            if self.absolute || i > 0 {
                text.push(b'/');
            }
            text.extend_from_slice(part);
        }
        text
    }
}

/// The state of one lookup across layers.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    features: Features,
    /// There are data-only layers.
    data_layers: bool,
    way: Arc<Way>,
    /// The object is a directory.
    pub(crate) is_dir: bool,
    /// Nothing further down matters.
    pub(crate) stop: bool,
    /// The upper is a whiteout or an opaque directory.
    pub(crate) opaque: bool,
    /// A lower directory in the stack is marked as holding xattr whiteouts.
    pub(crate) xattr_whiteouts: bool,
    /// The last file met is a metacopy.
    pub(crate) metacopy: bool,
    /// The attribute of the topmost metacopy.
    pub(crate) metacopy_value: Option<Vec<u8>>,
    /// A redirect was met anywhere.
    pub(crate) redirect_seen: bool,
    /// The last redirect attribute met is absolute.
    pub(crate) absolute_redirect: bool,
    /// The last redirect in full (prefix and rest of the path included), if one was met.
    pub(crate) redirect: Option<Vec<u8>>,
    /// The data are to be looked for in data-only layers, by `redirect`.
    pub(crate) deferred: bool,
}

impl Lookup {
    pub(crate) fn new(name: &Name, features: Features, data_layers: bool) -> Self {
        Lookup {
            features,
            data_layers,
            way: Arc::new(Way::of(name)),
            is_dir: false,
            stop: false,
            opaque: false,
            xattr_whiteouts: false,
            metacopy: false,
            metacopy_value: None,
            redirect_seen: false,
            absolute_redirect: false,
            redirect: None,
            deferred: false,
        }
    }

    /// What the next layer is to be asked for.
    pub(crate) fn way(&self) -> &Arc<Way> {
        &self.way
    }

    /// True if that starts at the layer's root.
    pub(crate) fn is_absolute(&self) -> bool {
        self.way.absolute
    }

    /// Whether the layers below may be asked for what was met above. Comes before each lower is.
    ///
    /// # Errors
    /// `EPERM`: a redirect or metacopy that the mount does not follow (rules R165, R177).
    pub(crate) fn may_descend(&self) -> Result<(), Errno> {
        let metacopy = self.metacopy && !self.features.metacopy;
        let redirect = self.redirect_seen && !self.features.redirect_follow;
        if metacopy || redirect {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// Takes in the attributes of the file in the index that stands for a lower one without an upper; true
    /// if it is a metacopy. A redirect counts here even if it is none.
    ///
    /// # Errors
    /// `EINVAL` for a malformed redirect (R162); `EIO` for a malformed metacopy (R171); `EPERM` as
    /// [`Lookup::may_descend`].
    pub(crate) fn take_indexed(
        &mut self,
        file_type: FileType,
        metacopy: Option<Vec<u8>>,
        redirect: Option<&[u8]>,
    ) -> Result<bool, Errno> {
        if let Some(value) = redirect {
            redirect::parse(value)?;
            self.redirect_seen = true;
        }
        self.metacopy = is_metacopy(file_type, metacopy.as_deref())?;
        self.may_descend()?;
        if self.metacopy {
            self.metacopy_value = metacopy;
        }
        Ok(self.metacopy)
    }

    /// Whether a lower layer is the last one that can be consulted (rule R059). `index`: its
    /// position in the stack being walked, of `count`; `bottom`: it is the bottom of the union.
    pub(crate) fn is_last(&self, index: usize, count: usize, bottom: bool) -> bool {
        if self.data_layers && !self.is_dir {
            // Its data may be in one of them.
            false
        } else if self.features.redirect_follow {
            bottom
        } else {
            index + 1 == count
        }
    }

    /// The attributes of a node of this type that decide anything here.
    pub(crate) fn wants(&self, file_type: FileType, end: bool, at: Position) -> Wants {
        if file_type.is_dir() {
            let wanted = !(at.last || end && self.metacopy);
            Wants {
                opaque: wanted,
                redirect: wanted,
                metacopy: false,
            }
        } else if end && !self.is_dir && file_type.is_file() {
            Wants {
                opaque: false,
                redirect: !at.last,
                metacopy: true,
            }
        } else {
            Wants::default()
        }
    }

    /// Takes in what a layer shows for component `i` of `way` (the [`way`](Self::way) as it was when
    /// the layer was begun; a redirect met on it changes it for the layers below).
    ///
    /// # Errors
    /// `EINVAL` for a malformed redirect (R162); `EIO` for a malformed metacopy (R171).
    pub(crate) fn observe(
        &mut self,
        way: &Way,
        i: usize,
        at: Position,
        fact: &Fact,
    ) -> Result<Observed, Errno> {
        let end = way.is_end(i);
        let (file_type, attrs) = match fact {
            Fact::Absent => return Ok(Observed::Absent),
            Fact::Whiteout => {
                self.stop = true;
                self.opaque = true;
                return Ok(Observed::Whiteout);
            }
            Fact::Node { file_type, attrs } => (*file_type, attrs),
        };
        if end && self.metacopy && !file_type.is_file() {
            self.stop = true;
            return Ok(Observed::WrongType);
        }
        if file_type.is_dir() {
            if end {
                self.is_dir = true;
            }
            if at.last {
                return Ok(Observed::Take);
            }
            match opacity(attrs.opaque.as_deref()) {
                Opacity::HoldsXattrWhiteouts if end && !at.upper => self.xattr_whiteouts = true,
                Opacity::Opaque => {
                    self.stop = true;
                    if end {
                        self.opaque = true;
                    }
                    return Ok(Observed::Take);
                }
                _ => {}
            }
        } else {
            if self.is_dir || !end {
                self.stop = true;
                return Ok(Observed::WrongType);
            }
            self.metacopy = is_metacopy(file_type, attrs.metacopy.as_deref())?;
            if self.metacopy_value.is_none() {
                self.metacopy_value = attrs.metacopy.clone();
            }
            self.stop = !self.metacopy;
            if !self.metacopy || at.last {
                return Ok(Observed::Take);
            }
        }
        self.follow(way, i, attrs.redirect.as_deref())?;
        Ok(Observed::Take)
    }

    /// Rules R156 to R161: the layers below are asked under the redirect.
    fn follow(&mut self, way: &Way, i: usize, value: Option<&[u8]>) -> Result<(), Errno> {
        self.absolute_redirect = false;
        let Some(value) = value else { return Ok(()) };
        let redirect = redirect::parse(value)?;
        let rest: Vec<&[u8]> = way.parts().skip(i + 1).collect();
        let mut parts = Vec::new();
        if redirect.absolute {
            self.absolute_redirect = true;
            // An opaque directory on the way stopped the search; an absolute redirect behind it
            // resumes it (rule R094).
            self.stop = false;
        } else {
            // Counted from the end, since redirects of this layer may have changed what is before.
            let before: Vec<&[u8]> = self.way.parts().rev().skip(rest.len() + 1).collect();
            parts.extend(before.into_iter().rev());
        }
        parts.extend(redirect.parts);
        parts.extend(rest);
        let next = Way::new(way.absolute || redirect.absolute, parts);
        self.redirect_seen = true;
        self.redirect = Some(next.text());
        self.way = Arc::new(next);
        Ok(())
    }

    /// Decides when all layers have been asked; `found`: how many lowers were taken, `upper_metacopy`:
    /// the upper is a metacopy.
    ///
    /// # Errors
    /// `EPERM`: as [`Lookup::may_descend`], unless the data are in data-only layers, which needs
    /// neither option (rule R189). `EIO`: a metacopy without data (rules R173, R174, R188).
    pub(crate) fn finish(&mut self, upper_metacopy: bool, found: usize) -> Result<(), Errno> {
        if self.metacopy && found > 0 && self.data_layers && self.absolute_redirect {
            self.metacopy = false;
            self.deferred = true;
        } else {
            self.may_descend()?;
        }
        if self.metacopy || (upper_metacopy && found == 0) {
            return Err(Errno::EIO);
        }
        Ok(())
    }
}

/// Whether a non-directory is a metacopy file (rules R170, R171).
pub(crate) fn is_metacopy(file_type: FileType, value: Option<&[u8]>) -> Result<bool, Errno> {
    match value {
        Some(value) if file_type.is_file() => {
            if !value.is_empty() && value.len() < METACOPY_BYTES_MIN {
                return Err(Errno::EIO);
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests;
