//! Inode flags in the two forms that programs ask for.

use crate::errno::Errno;
use crate::meta::InodeFlags;

/// One named flag.
type Field = fn(&mut InodeFlags) -> &mut bool;

/// Flags that have a name here: their bit in `FS_IOC_GETFLAGS`, and in `FS_IOC_FSGETXATTR`.
const FLAGS: [(u32, u32, Field); 5] = [
    (0x8, 0x20, |f| &mut f.sync),
    (0x10, 0x8, |f| &mut f.immutable),
    (0x20, 0x10, |f| &mut f.append),
    (0x40, 0x80, |f| &mut f.nodump),
    (0x80, 0x40, |f| &mut f.noatime),
];

/// Size of the kernel's `struct fsxattr`, which begins with the flags. The rest, about extents and
/// projects, is zero here.
const EXTENDED_BYTES: usize = 28;

/// A flag's bit in one of the forms.
type Form = fn(&(u32, u32, Field)) -> u32;

const PLAIN: Form = |flag| flag.0;
const EXTENDED: Form = |flag| flag.1;

fn to_bits(mut flags: InodeFlags, form: Form) -> u32 {
    let set = FLAGS.iter().filter(|flag| *flag.2(&mut flags));
    set.fold(0, |bits, flag| bits | form(flag))
}

fn of_bits(bits: u32, form: Form) -> Result<InodeFlags, Errno> {
    let mut flags = InodeFlags::default();
    let mut left = bits;
    for flag in &FLAGS {
        *flag.2(&mut flags) = bits & form(flag) != 0;
        left &= !form(flag);
    }
    match left {
        0 => Ok(flags),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// What `FS_IOC_GETFLAGS` tells.
pub(super) fn bits(flags: InodeFlags) -> u32 {
    to_bits(flags, PLAIN)
}

/// What `FS_IOC_SETFLAGS` asks for.
///
/// # Errors
/// `EOPNOTSUPP`: a flag without a name. `EINVAL`: too short.
pub(super) fn from_bits(data: &[u8]) -> Result<InodeFlags, Errno> {
    let bits = data.first_chunk().ok_or(Errno::EINVAL)?;
    of_bits(u32::from_ne_bytes(*bits), PLAIN)
}

/// What `FS_IOC_FSGETXATTR` tells.
pub(super) fn extended(flags: InodeFlags) -> Vec<u8> {
    let mut data = to_bits(flags, EXTENDED).to_ne_bytes().to_vec();
    data.resize(EXTENDED_BYTES, 0);
    data
}

/// What `FS_IOC_FSSETXATTR` asks for.
///
/// # Errors
/// `EOPNOTSUPP`: a flag without a name, or anything but flags. `EINVAL`: too short.
pub(super) fn from_extended(data: &[u8]) -> Result<InodeFlags, Errno> {
    let (bits, rest) = data.split_first_chunk().ok_or(Errno::EINVAL)?;
    match rest.iter().all(|byte| *byte == 0) {
        true => of_bits(u32::from_ne_bytes(*bits), EXTENDED),
        false => Err(Errno::EOPNOTSUPP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_survive_in_both_forms() {
        for plain in [0, 0x8, 0x10, 0x20, 0x40, 0x80, 0xf8] {
            let flags = from_bits(&u32::to_ne_bytes(plain));
            assert_eq!(flags.map(bits), Ok(plain));
            let flags = flags.unwrap_or_default();
            assert_eq!(from_extended(&extended(flags)), Ok(flags));
        }
    }

    #[test]
    fn what_has_no_name_is_refused() {
        assert_eq!(from_bits(&4u32.to_ne_bytes()), Err(Errno::EOPNOTSUPP));
        assert_eq!(from_bits(&[]), Err(Errno::EINVAL));
        let mut data = extended(InodeFlags::default());
        assert_eq!(data.len(), EXTENDED_BYTES);
        if let Some(last) = data.last_mut() {
            *last = 1;
        }
        assert_eq!(from_extended(&data), Err(Errno::EOPNOTSUPP));
        assert_eq!(from_extended(&[0]), Err(Errno::EINVAL));
    }
}
