//! Inode numbers, devices and link counts as the merged tree shows them (rules R249 to R257).

use crate::meta::Metadata;

/// What decides the numbers of one object.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// All layers share one inode numbering.
    pub(crate) same_fs: bool,
    /// Attributes of the real object (the upper's if there is one).
    pub(crate) real: &'a Metadata,
    /// The filesystem of the real object: 0 is the upper's.
    pub(crate) real_fs: usize,
    /// Attributes and filesystem of the lower that an upper object came from or is merged with, if
    /// the object counts as such (rule R255).
    pub(crate) origin: Option<(&'a Metadata, usize)>,
    /// A directory of several layers.
    pub(crate) merged: bool,
    /// A number for what has none that lasts (rule R252).
    pub(crate) volatile_ino: u64,
}

/// The device that an inode number belongs to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// The union's own.
    Union,
    /// One per layer filesystem.
    Layer(usize),
}

/// Inode number, device and link count to show.
pub(crate) fn numbers(f: &Facts<'_>) -> (u64, Device, u64) {
    let is_dir = f.real.is_dir();
    let nlink = if is_dir && f.merged { 1 } else { f.real.nlink };
    if is_dir && !f.same_fs {
        return (f.volatile_ino, Device::Union, nlink);
    }
    let (ino, fs) = match f.origin {
        Some((lower, fs)) if is_dir || lower.nlink == 1 => (lower.ino, fs),
        _ => (f.real.ino, f.real_fs),
    };
    (
        ino,
        if f.same_fs {
            Device::Union
        } else {
            Device::Layer(fs)
        },
        nlink,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::FileType;

    fn meta(file_type: FileType, ino: u64, nlink: u64) -> Metadata {
        let mut m = Metadata::new(file_type, 0o644);
        (m.ino, m.nlink) = (ino, nlink);
        m
    }

    #[test]
    fn r249_to_r257_table() {
        let upper = meta(FileType::Regular, 10, 1);
        let lower = meta(FileType::Regular, 20, 1);
        let broken = meta(FileType::Regular, 20, 2);
        let dir = meta(FileType::Directory, 30, 4);
        let row = |same_fs, real, origin: Option<&Metadata>, merged| {
            numbers(&Facts {
                same_fs,
                real,
                real_fs: 0,
                origin: origin.map(|m| (m, 1)),
                merged,
                volatile_ino: 99,
            })
        };
        assert_eq!(
            row(true, &upper, Some(&lower), false),
            (20, Device::Union, 1),
            "R249"
        );
        assert_eq!(
            row(true, &upper, None, false),
            (10, Device::Union, 1),
            "R249 pure upper"
        );
        assert_eq!(
            row(true, &upper, Some(&broken), false),
            (10, Device::Union, 1),
            "R255"
        );
        assert_eq!(
            row(false, &upper, Some(&lower), false),
            (20, Device::Layer(1), 1),
            "R252"
        );
        assert_eq!(
            row(false, &dir, None, true),
            (99, Device::Union, 1),
            "R252 R257"
        );
        assert_eq!(row(true, &dir, None, false), (30, Device::Union, 4), "R257");
    }
}
