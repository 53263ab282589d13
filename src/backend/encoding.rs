//! How whiteouts lie in a layer, read and written in one place for all backends that store them
//! as overlayfs does.

use crate::meta::{DeviceId, FileType};

/// The directory in the staging directory that holds marks of what makes an upper unusable (rule R044).
pub(crate) const INCOMPAT: &str = "incompat";

/// The device number of a whiteout (rule R069).
pub(crate) const WHITEOUT_RDEV: DeviceId = DeviceId::new(0, 0);

/// True for a character device 0/0, whatever its mode and owner (rule R069). Character 0:1 and
/// block 0:0 are ordinary (rule R062).
pub(crate) const fn is_char_whiteout(file_type: FileType, rdev: DeviceId) -> bool {
    matches!(file_type, FileType::CharDevice) && rdev.is_zero()
}

/// True if the node is a whiteout provided that it has the overlay attribute `whiteout`, whatever
/// its value: a regular file of size zero (rule R070). Only such a node needs the attribute read.
pub(crate) const fn may_be_xattr_whiteout(file_type: FileType, size: u64) -> bool {
    matches!(file_type, FileType::Regular) && size == 0
}
