//! Opaque directories, and when a removal leaves a whiteout.

use crate::backend::Entry;
use crate::errno::Errno;

/// What the overlay attribute `opaque` of a directory says (rule R086).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opacity {
    /// Absent, or a value without meaning.
    None,
    /// `y`: hides everything below.
    Opaque,
    /// `x`: may hold xattr whiteouts.
    HoldsXattrWhiteouts,
}

/// Reads the raw value of the attribute. Only a value of exactly one byte has meaning.
pub(crate) fn opacity(value: Option<&[u8]>) -> Opacity {
    match value {
        Some(b"y") => Opacity::Opaque,
        Some(b"x") => Opacity::HoldsXattrWhiteouts,
        _ => Opacity::None,
    }
}

/// The value that makes a directory opaque.
pub(crate) const OPAQUE: &[u8] = b"y";

/// What one lower layer answers for a name, for [`lower_positive`].
pub(crate) enum LowerFact {
    Absent,
    Whiteout,
    Present,
}

/// Sorts a backend's answer; an error that is not absence counts as "something is there, it just
/// could not be read" (rule R081).
pub(crate) fn lower_fact(answer: Result<&Option<Entry>, Errno>) -> LowerFact {
    match answer {
        Ok(None) | Err(Errno::ENOENT | Errno::ENAMETOOLONG) => LowerFact::Absent,
        Ok(Some(Entry::Whiteout(_))) => LowerFact::Whiteout,
        Ok(Some(Entry::Node(..))) | Err(_) => LowerFact::Present,
    }
}

/// Whether removing a name from the upper must leave a whiteout (rules R081, R082): the first lower
/// of the parent's stack that knows the name decides, whatever type it has and whether or not the
/// removed object was opaque. `facts` come topmost first and are asked for only as far as needed.
pub(crate) fn lower_positive<E>(
    facts: impl Iterator<Item = Result<LowerFact, E>>,
) -> Result<bool, E> {
    for fact in facts {
        match fact? {
            LowerFact::Absent => {}
            LowerFact::Whiteout => return Ok(false),
            LowerFact::Present => return Ok(true),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r086_opaque_values() {
        for (value, expected) in [
            (None, Opacity::None),
            (Some(&b""[..]), Opacity::None),
            (Some(b"y"), Opacity::Opaque),
            (Some(b"x"), Opacity::HoldsXattrWhiteouts),
            (Some(b"yy"), Opacity::None),
            (Some(b"Y"), Opacity::None),
            (Some(b"y\0"), Opacity::None),
        ] {
            assert_eq!(opacity(value), expected, "{value:?}");
        }
    }

    #[test]
    fn r081_first_layer_that_knows_the_name_decides() {
        use LowerFact::{Absent, Present, Whiteout};
        let run = |facts: Vec<LowerFact>| {
            lower_positive(facts.into_iter().map(Ok::<_, ()>)).unwrap_or(false)
        };
        assert!(!run(vec![]));
        assert!(!run(vec![Absent, Absent]));
        assert!(run(vec![Absent, Present]));
        assert!(!run(vec![Whiteout, Present]));
        assert!(run(vec![Present, Whiteout]));
    }

    #[test]
    fn r081_errors_count_as_present() {
        assert!(matches!(lower_fact(Err(Errno::EACCES)), LowerFact::Present));
        assert!(matches!(
            lower_fact(Err(Errno::ENAMETOOLONG)),
            LowerFact::Absent
        ));
    }
}
