//! Whiteouts that hide nothing, or that a listing shows (rules R072, R078, R079, R085).

use super::kind::FindingKind;

/// The next thing that layers below hold under the name of a whiteout.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// No layer of the directory has the name.
    Nothing,
    /// Another whiteout, which hides what is further down by itself.
    Whiteout,
    /// An object, or something that cannot be read.
    Object,
}

/// A whiteout in one layer of a directory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whiteout {
    /// No layer above has the name.
    pub(crate) top: bool,
    /// The directory's listing leaves it out.
    pub(crate) unlisted: bool,
    /// Its layer's directory is opaque.
    pub(crate) in_opaque: bool,
    /// What it hides.
    pub(crate) below: Below,
}

/// What is wrong with it; nothing if it hides something and shows nowhere.
pub(crate) fn judge(w: Whiteout) -> Option<FindingKind> {
    if w.top && !w.unlisted {
        return Some(FindingKind::WhiteoutListed);
    }
    match (w.below, w.in_opaque) {
        (Below::Object, _) => None,
        (_, true) => Some(FindingKind::WhiteoutInOpaque),
        (_, false) => Some(FindingKind::WhiteoutRedundant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whiteout_that_hides_and_is_unlisted_is_right() {
        use Below::{Nothing, Object, Whiteout as Hidden};
        use FindingKind::{WhiteoutInOpaque, WhiteoutListed, WhiteoutRedundant};
        for (top, unlisted, in_opaque, below, expected) in [
            (true, true, false, Object, None),
            (true, true, false, Nothing, Some(WhiteoutRedundant)),
            (true, true, false, Hidden, Some(WhiteoutRedundant)),
            (true, true, true, Nothing, Some(WhiteoutInOpaque)),
            (true, false, false, Nothing, Some(WhiteoutListed)),
            (true, false, false, Object, Some(WhiteoutListed)),
            (true, false, true, Nothing, Some(WhiteoutListed)),
            (false, false, false, Object, None),
            (false, false, false, Nothing, Some(WhiteoutRedundant)),
        ] {
            let facts = Whiteout {
                top,
                unlisted,
                in_opaque,
                below,
            };
            assert_eq!(judge(facts), expected, "{facts:?}");
        }
    }
}
