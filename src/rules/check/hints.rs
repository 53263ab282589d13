//! Origins and the mark `impure`: hints that decide inode numbers, and that tell when a lower was
//! modified (rules R065, R066, R108, R233, R234).

use super::kind::FindingKind;

/// What a recorded origin turned out to be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// Nothing is recorded.
    Absent,
    /// Recorded, but it cannot be told here what it names.
    Unknown,
    /// The value is no origin.
    Malformed,
    /// It names nothing in any lower.
    Gone,
    /// It names an object of another type.
    OtherType,
    /// It names the object that it should.
    Right,
    /// It names another object than the one found by name.
    Another,
}

/// Judges the origin of an upper non-directory; none is fine, as the file may be new.
pub(crate) fn file(recorded: Recorded) -> Option<FindingKind> {
    match recorded {
        Recorded::Malformed => Some(FindingKind::OriginMalformed),
        Recorded::Gone => Some(FindingKind::OriginStale),
        Recorded::OtherType => Some(FindingKind::OriginOfOtherType),
        Recorded::Another => Some(FindingKind::OriginMismatch),
        Recorded::Absent | Recorded::Unknown | Recorded::Right => None,
    }
}

/// Judges the origin of an upper directory. One that merges with nothing keeps its origin: it tells
/// that whiteouts may be in it (rules R080, R303).
pub(crate) fn directory(merged: bool, recorded: Recorded) -> Option<FindingKind> {
    match recorded {
        Recorded::Malformed => Some(FindingKind::OriginMalformed),
        Recorded::Absent if merged => Some(FindingKind::OriginMissing),
        Recorded::Gone | Recorded::OtherType | Recorded::Another if merged => {
            Some(FindingKind::OriginMismatch)
        }
        _ => None,
    }
}

/// Judges the mark of an upper directory. `needed`: an entry in it shows another object's inode
/// number.
pub(crate) fn impure(marked: bool, needed: bool) -> Option<FindingKind> {
    match (marked, needed) {
        (false, true) => Some(FindingKind::ImpureMissing),
        (true, false) => Some(FindingKind::ImpureSuperfluous),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r065_r066_origins() {
        assert_eq!(file(Recorded::Absent), None);
        assert_eq!(file(Recorded::Right), None);
        assert_eq!(file(Recorded::Gone), Some(FindingKind::OriginStale));
        assert_eq!(
            directory(true, Recorded::Absent),
            Some(FindingKind::OriginMissing)
        );
        assert_eq!(
            directory(true, Recorded::Another),
            Some(FindingKind::OriginMismatch)
        );
        for recorded in [Recorded::Absent, Recorded::Gone, Recorded::Unknown] {
            assert_eq!(directory(false, recorded), None);
        }
        assert_eq!(
            directory(false, Recorded::Malformed),
            Some(FindingKind::OriginMalformed)
        );
    }

    #[test]
    fn r108_r234_impure_marks() {
        assert_eq!(impure(true, true), None);
        assert_eq!(impure(false, false), None);
        assert_eq!(impure(false, true), Some(FindingKind::ImpureMissing));
        assert_eq!(impure(true, false), Some(FindingKind::ImpureSuperfluous));
    }
}
