//! Names as C wants them, without allocating.

use std::ffi::CStr;

use crate::backend::Result;
use crate::errno::Errno;
use crate::path::NAME_BYTES_MAX;

/// A name of a directory entry or an attribute (both have at most 255 bytes), with a NUL behind it.
pub(super) struct CName {
    bytes: [u8; NAME_BYTES_MAX + 1],
    len: usize,
}

impl CName {
    /// # Errors
    /// `ENAMETOOLONG`: more than 255 bytes.
    pub(super) fn new(name: &[u8]) -> Result<Self> {
        let mut bytes = [0; NAME_BYTES_MAX + 1];
        match bytes.get_mut(..name.len()) {
            Some(part) if name.len() <= NAME_BYTES_MAX => part.copy_from_slice(name),
            _ => return Err(Errno::ENAMETOOLONG.into()),
        }
        let len = name.len();
        Ok(CName { bytes, len })
    }

    /// # Errors
    /// `EINVAL`: a NUL within the name.
    pub(super) fn get(&self) -> Result<&CStr> {
        let with_nul = self.bytes.get(..=self.len).unwrap_or_default();
        CStr::from_bytes_with_nul(with_nul).map_err(|_| Errno::EINVAL.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn names_of_every_length() {
        for len in [0, 1, NAME_BYTES_MAX] {
            let name = vec![b'n'; len];
            let c = CName::new(&name).unwrap();
            assert_eq!(c.get().unwrap().to_bytes(), name);
        }
        let long = CName::new(&[b'n'; NAME_BYTES_MAX + 1]).err();
        assert_eq!(long.unwrap().errno(), Errno::ENAMETOOLONG);
        let nul = CName::new(b"a\0b").unwrap();
        assert_eq!(nul.get().unwrap_err().errno(), Errno::EINVAL);
    }
}
