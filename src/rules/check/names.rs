//! Names and paths that other tools cannot handle.

use super::kind::FindingKind;

/// Longest path that a system call takes, without its NUL (`PATH_MAX` - 1).
pub(crate) const PATH_BYTES_MAX: usize = 4095;

/// The prefix by which archives of layers (OCI, AUFS) mark whiteouts.
const RESERVED_PREFIX: &[u8] = b".wh.";

/// What may go wrong with a name elsewhere.
pub(crate) fn judge(name: &[u8]) -> impl Iterator<Item = FindingKind> + use<> {
    let control = |b: &u8| b.is_ascii_control();
    [
        (std::str::from_utf8(name).is_err(), FindingKind::NameNotText),
        (name.iter().any(control), FindingKind::NameControl),
        (name.starts_with(RESERVED_PREFIX), FindingKind::NameReserved),
    ]
    .into_iter()
    .filter_map(|(found, kind)| found.then_some(kind))
}

/// True if the path of `name` in a directory whose path has `parent_bytes` is the first that is too
/// long for a system call: what is below is not told again.
pub(crate) fn crosses_path_limit(parent_bytes: usize, name: &[u8]) -> bool {
    parent_bytes <= PATH_BYTES_MAX && parent_bytes + 1 + name.len() > PATH_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_told() {
        let of = |name: &[u8]| judge(name).collect::<Vec<_>>();
        assert_eq!(of("gr\u{fc}n".as_bytes()), []);
        assert_eq!(of(b".who"), []);
        assert_eq!(of(b"\xff"), [FindingKind::NameNotText]);
        assert_eq!(of(b"a\nb"), [FindingKind::NameControl]);
        assert_eq!(
            of(b".wh.\x01\xff"),
            [
                FindingKind::NameNotText,
                FindingKind::NameControl,
                FindingKind::NameReserved
            ]
        );
    }

    #[test]
    fn only_the_first_long_path_is_told() {
        assert!(!crosses_path_limit(4000, &[b'x'; 94]));
        assert!(crosses_path_limit(4000, &[b'x'; 95]));
        assert!(!crosses_path_limit(4096, b"x"));
    }
}
