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

/// Judges the origin of an upper directory. Of one that merges with nothing it tells that whiteouts may be
/// in it (rules R080, R303), and is right if its lower directory is hidden or elsewhere.
pub(crate) fn directory(merged: bool, recorded: Recorded) -> Option<FindingKind> {
    match recorded {
        Recorded::Malformed => Some(FindingKind::OriginMalformed),
        Recorded::Absent if merged => Some(FindingKind::OriginMissing),
        Recorded::Gone | Recorded::OtherType | Recorded::Another if merged => {
            Some(FindingKind::OriginMismatch)
        }
        Recorded::Gone => Some(FindingKind::OriginStale),
        Recorded::OtherType => Some(FindingKind::OriginOfOtherType),
        Recorded::Absent | Recorded::Unknown | Recorded::Right | Recorded::Another => None,
    }
}

/// Entries of an upper directory that show another object's inode number.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Copies {
    /// It has none.
    #[default]
    None,
    /// It will have one once the origin that this one lacks is mended.
    Coming,
    /// It has one.
    Held,
}

/// Judges the mark of an upper directory with such entries.
pub(crate) fn impure(marked: bool, copies: Copies) -> Option<FindingKind> {
    match (marked, copies) {
        (false, Copies::Held) => Some(FindingKind::ImpureMissing),
        (true, Copies::None) => Some(FindingKind::ImpureSuperfluous),
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
        for recorded in [Recorded::Absent, Recorded::Right, Recorded::Unknown] {
            assert_eq!(directory(false, recorded), None);
        }
        let stale = Some(FindingKind::OriginStale);
        assert_eq!(directory(false, Recorded::Gone), stale);
        assert_eq!(
            directory(false, Recorded::Malformed),
            Some(FindingKind::OriginMalformed)
        );
    }

    #[test]
    fn r108_r234_impure_marks() {
        for marked in [false, true] {
            assert_eq!(impure(marked, Copies::Coming), None);
        }
        assert_eq!(impure(true, Copies::Held), None);
        assert_eq!(impure(false, Copies::None), None);
        let (missing, superfluous) = (FindingKind::ImpureMissing, FindingKind::ImpureSuperfluous);
        assert_eq!(impure(false, Copies::Held), Some(missing));
        assert_eq!(impure(true, Copies::None), Some(superfluous));
    }
}
