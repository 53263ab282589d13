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
    /// The object is in the upper.
    pub(crate) in_upper: bool,
    /// The index has an entry for it.
    pub(crate) indexed: bool,
    /// Link count of the lower that it is made of or came from, if one is known.
    pub(crate) lower_nlink: Option<u64>,
}

/// Whether an object is known by its lower node, and keeps its number when it is copied up: then
/// whatever else leads to that node is the same object, or is refused (rules R169, R302). Not so
/// where the names of a lower hard link part when they are copied up, and where a merged directory is
/// not sure to be the only one (rule R270).
pub(crate) fn known_by_lower(f: KeyFacts) -> bool {
    let Some(nlink) = f.lower_nlink else {
        return false;
    };
    if f.indexed || !f.writable {
        return true;
    }
    let parts = (f.in_upper || !f.features.index) && !f.is_dir && nlink > 1;
    let unsure = f.features.nfs_export && f.in_upper;
    !parts && !unsure
}

/// Whether an object that is known by its lower can be met under another name at all.
pub(crate) fn is_met_again(f: KeyFacts) -> bool {
    let by_one_name = !f.features.index && !f.features.metacopy && f.lower_nlink == Some(1);
    if f.is_dir {
        f.writable
    } else {
        !by_one_name && (f.writable || f.lower_nlink != Some(1))
    }
}

/// Whether the inode number shown is that of the lower which an upper object came from or is merged
/// with (rules R249, R255).
pub(crate) fn shows_origin(f: KeyFacts) -> bool {
    let alone = f.is_dir || f.lower_nlink == Some(1);
    known_by_lower(f) && (f.indexed || !f.features.nfs_export && alone)
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

/// How inode numbers of several filesystems are kept apart.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// All layers share one inode numbering.
    OneFilesystem,
    /// Each filesystem has a device number of its own; directories have numbers that do not last
    /// (rule R252).
    PerFilesystem,
    /// The number of the filesystem goes into this many high bits (rule R253).
    Xino {
        /// At least 2. The lowest of them marks numbers that do not last.
        bits: u32,
    },
}

impl Numbering {
    /// All objects are shown under the union's device number, but for what does not fit.
    pub(crate) fn is_one_device(self) -> bool {
        self != Numbering::PerFilesystem
    }

    /// The number that the union shows for `ino` of filesystem `fs`, if the two can be put together.
    pub(crate) fn unique(self, ino: u64, fs: usize) -> Option<u64> {
        match self {
            Numbering::OneFilesystem => Some(ino),
            Numbering::PerFilesystem => None,
            Numbering::Xino { bits } => {
                let shift = u64::BITS - bits;
                let fs = u64::try_from(fs).ok()?;
                (ino >> shift == 0).then_some(ino | fs << (shift + 1))
            }
        }
    }

    /// A number for a directory that has none that lasts, away from those that do.
    fn passing(self, ino: u64) -> u64 {
        match self {
            Numbering::Xino { bits } => {
                let shift = u64::BITS - bits;
                ino & (u64::MAX >> bits) | 1 << shift
            }
            _ => ino,
        }
    }
}

/// What decides the numbers of one object.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) numbering: Numbering,
    /// Attributes of the real object (the upper's if there is one).
    pub(crate) real: &'a Metadata,
    /// The filesystem of the real object: 0 is the upper's.
    pub(crate) real_fs: usize,
    /// Attributes and filesystem of the lower that an upper object came from or is merged with, if
    /// its number is shown (see [`shows_origin`]).
    pub(crate) origin: Option<(&'a Metadata, usize)>,
    /// The link count of an indexed non-directory (rule R258).
    pub(crate) union_nlink: Option<u64>,
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
    let nlink = match f.union_nlink {
        Some(nlink) => nlink,
        None if is_dir && f.merged => 1,
        None => f.real.nlink,
    };
    let (ino, fs) = match f.origin {
        Some((lower, fs)) => (lower.ino, fs),
        None => (f.real.ino, f.real_fs),
    };
    match f.numbering.unique(ino, fs) {
        Some(ino) => (ino, Device::Union, nlink),
        None if is_dir => (f.numbering.passing(f.volatile_ino), Device::Union, nlink),
        None => (ino, Device::Layer(fs), nlink),
    }
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
        let facts = KeyFacts {
            is_dir: false,
            writable: true,
            features: Features::DEFAULT,
            in_upper: false,
            indexed: false,
            lower_nlink: Some(1),
        };
        let index = Features {
            index: true,
            ..Features::DEFAULT
        };
        let nfs_export = Features {
            nfs_export: true,
            ..index
        };
        let metacopy = Features {
            metacopy: true,
            ..Features::DEFAULT
        };
        // Known by the lower, met again, its number shown.
        type Change = fn(&mut KeyFacts);
        let rows: [(&str, Change, Features, [bool; 3]); 12] = [
            ("one name", |_| {}, Features::DEFAULT, [true, false, true]),
            ("redirects", |_| {}, metacopy, [true, true, true]),
            (
                "pure upper",
                |f| f.lower_nlink = None,
                index,
                [false, true, false],
            ),
            (
                "parted",
                |f| f.lower_nlink = Some(2),
                Features::DEFAULT,
                [false, true, false],
            ),
            (
                "will be indexed",
                |f| f.lower_nlink = Some(2),
                index,
                [true, true, false],
            ),
            (
                "is indexed",
                |f| (f.lower_nlink, f.in_upper, f.indexed) = (Some(2), true, true),
                index,
                [true, true, true],
            ),
            (
                "was not indexed",
                |f| (f.lower_nlink, f.in_upper) = (Some(2), true),
                index,
                [false, true, false],
            ),
            (
                "read-only",
                |f| (f.lower_nlink, f.writable) = (Some(2), false),
                Features::DEFAULT,
                [true, true, false],
            ),
            (
                "directory",
                |f| f.is_dir = true,
                Features::DEFAULT,
                [true, true, true],
            ),
            (
                "directory of a read-only union",
                |f| (f.is_dir, f.writable) = (true, false),
                Features::DEFAULT,
                [true, false, true],
            ),
            (
                "verified, not indexed",
                |f| (f.is_dir, f.in_upper) = (true, true),
                nfs_export,
                [false, true, false],
            ),
            (
                "verified and indexed",
                |f| (f.is_dir, f.in_upper, f.indexed) = (true, true, true),
                nfs_export,
                [true, true, true],
            ),
        ];
        for (name, change, features, expected) in rows {
            let mut f = KeyFacts { features, ..facts };
            change(&mut f);
            let got = [known_by_lower(f), is_met_again(f), shows_origin(f)];
            assert_eq!(got, expected, "{name}");
        }
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
        let dir = meta(FileType::Directory, 30, 4);
        let row = |same_fs: bool, real, origin: Option<&Metadata>, merged| {
            let numbering = match same_fs {
                true => Numbering::OneFilesystem,
                false => Numbering::PerFilesystem,
            };
            numbers(&Facts {
                numbering,
                real,
                real_fs: 0,
                origin: origin.map(|m| (m, 1)),
                union_nlink: None,
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

    #[test]
    fn r253_high_bits_tell_the_filesystem() {
        let two = Numbering::Xino { bits: 2 };
        assert_eq!(two.unique(5, 0), Some(5));
        assert_eq!(two.unique(5, 1), Some(5 | 1 << 63));
        assert_eq!(two.unique(1 << 62, 1), None, "overflow");
        assert_eq!(two.unique((1 << 62) - 1, 0), Some((1 << 62) - 1));
        let half = Numbering::Xino { bits: 32 };
        assert_eq!(half.unique(u32::MAX.into(), 3), Some(0x6_ffff_ffff));
        assert_eq!(half.unique(1 << 32, 0), None, "overflow");
        let ask = |file_type, ino| {
            let real = meta(file_type, ino, 1);
            numbers(&Facts {
                numbering: two,
                real: &real,
                real_fs: 1,
                origin: None,
                union_nlink: None,
                merged: false,
                volatile_ino: 99,
            })
        };
        let high = 1 << 62;
        let file = FileType::Regular;
        assert_eq!(ask(file, 5), (5 | 1 << 63, Device::Union, 1));
        assert_eq!(ask(file, high), (high, Device::Layer(1), 1));
        let dir = FileType::Directory;
        assert_eq!(ask(dir, 5), (5 | 1 << 63, Device::Union, 1));
        assert_eq!(ask(dir, high), (99 | 1 << 62, Device::Union, 1));
    }
}
