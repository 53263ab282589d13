//! Digests of metacopy files (rules R182, R192, R193). No layer can tell the digest of its data, as
//! with a kernel built without fs-verity; so a digest that is to be checked never matches.

use crate::errno::Errno;
use crate::rules::config::Verity;

/// Bytes before the digest in the overlay attribute `metacopy`: version, length, flags, algorithm.
const HEADER_BYTES: usize = 4;

/// What a metacopy's attribute says of the digest of its data; `None` if it has no room for one.
pub(crate) fn digest_of(metacopy: &[u8]) -> Option<&[u8]> {
    (metacopy.len() > HEADER_BYTES).then_some(metacopy)
}

/// Refuses the data of a metacopy file, of whose attribute [`digest_of`] is given.
///
/// # Errors
/// `EIO`: they should have a digest and have none, or cannot be shown to match it.
pub(crate) fn check(mode: Verity, digest: Option<&[u8]>) -> Result<(), Errno> {
    let named = match digest {
        None => false,
        Some([0, len, _, algorithm, ..]) if digest.map(<[u8]>::len) == Some(usize::from(*len)) => {
            *algorithm != 0
        }
        // Malformed.
        Some(_) => true,
    };
    match (mode, named) {
        (Verity::Off, _) | (Verity::On, false) => Ok(()),
        (Verity::On | Verity::Require, _) => Err(Errno::EIO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r192_r193_digests_are_checked_where_there_are_any() {
        let sha256 = [&[0, 36, 0, 1][..], &[7; 32]].concat();
        let table: [(&[u8], [bool; 3]); 6] = [
            (&[], [true, true, false]),
            (&[0, 4, 0, 0], [true, true, false]),
            (&sha256, [true, false, false]),
            (&[0, 5, 0, 0, 9], [true, true, false]),
            (&[0, 9, 0, 0, 9], [true, false, false]),
            (&[1, 5, 0, 0, 9], [true, false, false]),
        ];
        for (value, want) in table {
            let got = [Verity::Off, Verity::On, Verity::Require]
                .map(|mode| check(mode, digest_of(value)).is_ok());
            assert_eq!(got, want, "{value:?}");
        }
    }
}
