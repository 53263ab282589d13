//! The overlay attribute `origin`: which lower object an upper one was copied up from
//! (rules R232, R233).

use crate::backend::FileHandle;

const VERSION: u8 = 0;
const MAGIC: u8 = 0xfb;
const HEADER_BYTES: usize = 21;
const FLAG_BIG_ENDIAN: u8 = 1;
const FLAG_ANY_ENDIAN: u8 = 2;
const FLAG_UPPER: u8 = 4;
const FLAGS_ALL: u8 = FLAG_BIG_ENDIAN | FLAG_ANY_ENDIAN | FLAG_UPPER;
const FLAG_CPU_ENDIAN: u8 = if cfg!(target_endian = "big") {
    FLAG_BIG_ENDIAN
} else {
    0
};

/// A decoded origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) uuid: [u8; 16],
    pub(crate) handle: FileHandle,
    pub(crate) upper: bool,
}

/// Encodes the handle of an object on the filesystem `uuid`. The file handle of the kernel's
/// encoding is padded to whole 32-bit words, as file handles are by construction.
pub(crate) fn encode(origin: &Origin) -> Vec<u8> {
    let len = HEADER_BYTES + origin.handle.bytes.len();
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&[
        VERSION,
        MAGIC,
        u8::try_from(len).unwrap_or(u8::MAX),
        FLAG_CPU_ENDIAN | if origin.upper { FLAG_UPPER } else { 0 },
        origin.handle.kind,
    ]);
    out.extend_from_slice(&origin.uuid);
    out.extend_from_slice(&origin.handle.bytes);
    out
}

/// What a stored value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// The object was copied up from an unknown place: a zero-length value, a newer version, flags
    /// or byte order that are not understood.
    Unknown,
    /// It was copied up from this object.
    Known(Origin),
    /// The value is no origin.
    Malformed,
}

/// Decodes a stored value (rule R233).
pub(crate) fn decode(value: &[u8]) -> Decoded {
    if value.is_empty() {
        return Decoded::Unknown;
    }
    let [version, magic, len, flags, kind, rest @ ..] = value else {
        return Decoded::Malformed;
    };
    let Some((uuid, handle)) = rest.split_at_checked(16) else {
        return Decoded::Malformed;
    };
    if value.len() < usize::from(*len) || *magic != MAGIC || usize::from(*len) < HEADER_BYTES {
        return Decoded::Malformed;
    }
    if *version > VERSION
        || flags & !FLAGS_ALL != 0
        || (flags & FLAG_ANY_ENDIAN == 0 && flags & FLAG_BIG_ENDIAN != FLAG_CPU_ENDIAN)
    {
        return Decoded::Unknown;
    }
    let handle = handle
        .get(..usize::from(*len) - HEADER_BYTES)
        .unwrap_or(handle);
    let mut id = [0; 16];
    id.copy_from_slice(uuid);
    Decoded::Known(Origin {
        uuid: id,
        handle: FileHandle {
            kind: *kind,
            bytes: handle.to_vec(),
        },
        upper: flags & FLAG_UPPER != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r233_round_trip_and_length_on_ext4() {
        let origin = Origin {
            uuid: *b"0123456789abcdef",
            handle: FileHandle {
                kind: 1,
                bytes: vec![1, 2, 3, 4, 5, 6, 7, 8],
            },
            upper: false,
        };
        let raw = encode(&origin);
        assert_eq!(raw.len(), 29);
        assert_eq!(decode(&raw), Decoded::Known(origin));
    }

    #[test]
    fn r233_malformed_and_unknown_values() {
        assert_eq!(decode(b""), Decoded::Unknown);
        assert_eq!(decode(b"\0"), Decoded::Malformed);
        assert_eq!(decode(&[0; 40]), Decoded::Malformed);
        let mut newer = vec![1, 0xfb, 29, 0, 1];
        newer.resize(29, 0);
        assert_eq!(decode(&newer), Decoded::Unknown);
        let mut long = vec![0, 0xfb, 60, 0, 1];
        long.resize(29, 0);
        assert_eq!(decode(&long), Decoded::Malformed);
        let mut short = vec![0, 0xfb, 5, 0, 1];
        short.resize(29, 0);
        assert_eq!(decode(&short), Decoded::Malformed);
    }
}
