//! Inode numbers, devices and link counts as the merged tree shows them (rules R249 to R257), and
//! which names are of one inode.

use crate::meta::Metadata;
use crate::rules::Features;

/// What decides by which node an object is known.
#[derive(Copy, Clone, Debug)]
pub(crate) struct KeyFacts {
    pub(crate) is_dir: bool,
    /// The union has an upper layer.
    pub(crate) writable: bool,
    pub(crate) features: Features,
    /// Link count of the lower that it is made of, if there is one.
    pub(crate) lower_nlink: Option<u64>,
}

/// Whether another name may lead to the same lower, and is then of the same object or is refused (rules
/// R169, R302). The names of a lower hard link part when they are copied up, so they are one only
/// where nothing is.
pub(crate) fn known_by_lower(f: KeyFacts) -> bool {
    match f.lower_nlink {
        None => false,
        Some(_) if f.is_dir => f.writable,
        Some(nlink) if f.writable => nlink == 1 && f.features.metacopy,
        Some(nlink) => nlink > 1,
    }
}

/// A node of a layer: filesystem and inode number.
pub(crate) type Node = (usize, u64);

/// The nodes of an object: its upper, and the topmost of its lowers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nodes {
    pub(crate) upper: Option<Node>,
    pub(crate) lower: Option<Node>,
}

/// Whether what was `found` is the object `known` by one of its nodes (rule R169). A directory must
/// consist of the same nodes; a file may have been copied up meanwhile, or its lower not be found
/// again.
pub(crate) fn is_same_object(known: Nodes, found: Nodes, is_dir: bool) -> bool {
    if is_dir {
        return known == found;
    }
    let agrees = |known: Option<Node>, found: Option<Node>| found.is_none() || found == known;
    agrees(known.lower, found.lower) && agrees(known.upper, found.upper)
}

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
    fn r169_r302_names_of_one_object() {
        let by_lower = |is_dir, writable, metacopy, lower_nlink| {
            let features = Features {
                metacopy,
                ..Features::DEFAULT
            };
            known_by_lower(KeyFacts {
                is_dir,
                writable,
                features,
                lower_nlink,
            })
        };
        assert!(by_lower(true, true, false, Some(3)));
        assert!(
            !by_lower(true, false, false, Some(3)),
            "nothing is copied up"
        );
        assert!(!by_lower(true, true, false, None), "pure upper");
        assert!(!by_lower(false, true, true, Some(2)), "parted by copy-up");
        assert!(by_lower(false, false, false, Some(2)));
        assert!(!by_lower(false, true, false, Some(1)), "one name");
        assert!(by_lower(false, true, true, Some(1)), "several redirects");
        let (upper, other, lower) = (Some((0, 1)), Some((0, 2)), Some((1, 1)));
        let of = |upper, lower| Nodes { upper, lower };
        let rows = [
            (of(upper, lower), of(upper, lower), [true, true]),
            (of(upper, lower), of(other, lower), [false, false]),
            (of(upper, lower), of(None, lower), [false, true]),
            (of(upper, lower), of(upper, None), [false, true]),
            (of(None, lower), of(upper, lower), [false, false]),
        ];
        for (known, found, [dir, file]) in rows {
            assert_eq!(
                is_same_object(known, found, true),
                dir,
                "{known:?} {found:?}"
            );
            assert_eq!(
                is_same_object(known, found, false),
                file,
                "{known:?} {found:?}"
            );
        }
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
