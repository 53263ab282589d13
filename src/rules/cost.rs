//! What operations create and copy: counted where it can be, bounded where it cannot.

use crate::backend::{NewKind, RenameHow};
use crate::rules::plan::Step;

/// What a plan will create and copy; see the fields.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cost {
    /// Bytes of data extents to copy (holes not counted).
    pub data_bytes: u64,
    /// Files, symlinks and special files to create.
    pub files_created: u64,
    /// Directories to create.
    pub dirs_created: u64,
    /// Extended attributes to copy.
    pub xattrs_copied: u64,
    /// Whiteouts to create (those left by a rename included).
    pub whiteouts: u64,
    /// Renames.
    pub renames: u64,
    /// Hard links, publishing of unnamed files included.
    pub links: u64,
    /// Names removed.
    pub removals: u64,
    /// Files made durable.
    pub syncs: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, o: Cost) {
        self.data_bytes += o.data_bytes;
        self.files_created += o.files_created;
        self.dirs_created += o.dirs_created;
        self.xattrs_copied += o.xattrs_copied;
        self.whiteouts += o.whiteouts;
        self.renames += o.renames;
        self.links += o.links;
        self.removals += o.removals;
        self.syncs += o.syncs;
    }
}

impl Cost {
    /// The cost of one step. Data count as far as the step tells them: its extents, else its size.
    #[must_use]
    pub fn of(step: &Step) -> Cost {
        let mut cost = Cost::default();
        match step {
            Step::Create { node, .. } if node.kind == NewKind::Directory => cost.dirs_created = 1,
            Step::Create { .. } | Step::Tmpfile { .. } => cost.files_created = 1,
            Step::Whiteout { .. } => cost.whiteouts = 1,
            Step::CopyData {
                size, data_bytes, ..
            } => {
                cost.data_bytes = data_bytes.unwrap_or(*size);
            }
            Step::CopyXattrs { names, .. } => cost.xattrs_copied = names.len() as u64,
            Step::Sync { .. } => cost.syncs = 1,
            Step::Link { .. } => cost.links = 1,
            Step::Rename { how, .. } => {
                cost.renames = 1;
                cost.whiteouts = u64::from(*how == RenameHow::LeaveWhiteout);
            }
            Step::Remove { .. } => cost.removals = 1,
            Step::SetXattr { .. }
            | Step::SetOverlay { .. }
            | Step::SetHandle { .. }
            | Step::SetAttr { .. }
            | Step::SetFlags { .. }
            | Step::SetLen { .. } => {}
        }
        cost
    }
}

impl Cost {
    /// What was spent since `earlier`, an older reading of the same counters.
    #[must_use]
    pub fn since(&self, earlier: &Cost) -> Cost {
        Cost {
            data_bytes: self.data_bytes.saturating_sub(earlier.data_bytes),
            files_created: self.files_created.saturating_sub(earlier.files_created),
            dirs_created: self.dirs_created.saturating_sub(earlier.dirs_created),
            xattrs_copied: self.xattrs_copied.saturating_sub(earlier.xattrs_copied),
            whiteouts: self.whiteouts.saturating_sub(earlier.whiteouts),
            renames: self.renames.saturating_sub(earlier.renames),
            links: self.links.saturating_sub(earlier.links),
            removals: self.removals.saturating_sub(earlier.removals),
            syncs: self.syncs.saturating_sub(earlier.syncs),
        }
    }

    /// Inodes that the upper's filesystem gives: files, directories and whiteouts. (Removals free some;
    /// whiteouts that share an inode count once each.)
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.files_created
            .saturating_add(self.dirs_created)
            .saturating_add(self.whiteouts)
    }
}

/// Whether copied data share the blocks of their source.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Reflink {
    /// No data are copied.
    #[default]
    NoData,
    /// They do: nothing is allocated for them.
    Yes,
    /// They do not.
    No,
    /// It shows when it is tried, or differs between the files.
    Unknown,
}

impl Reflink {
    /// Of two copies together.
    #[must_use]
    pub fn and(self, other: Reflink) -> Reflink {
        match (self, other) {
            (Reflink::NoData, one) | (one, Reflink::NoData) => one,
            (a, b) if a == b => a,
            _ => Reflink::Unknown,
        }
    }
}

/// A number that is known to lie between two.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Bounds {
    /// Not less than this.
    pub min: u64,
    /// Not more than this.
    pub max: u64,
}

impl Bounds {
    /// Exactly `value`.
    #[must_use]
    pub fn exactly(value: u64) -> Self {
        Bounds {
            min: value,
            max: value,
        }
    }
}

impl std::ops::AddAssign for Bounds {
    fn add_assign(&mut self, other: Bounds) {
        self.min = self.min.saturating_add(other.min);
        self.max = self.max.saturating_add(other.max);
    }
}

/// What an operation costs that cannot be counted before it is done.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Estimate {
    /// Whether the data that are copied share blocks with the lower files.
    pub reflink: Reflink,
    /// Bytes of blocks that the upper's filesystem allocates for file data, once the files are closed:
    /// from nothing (shared, compressed or stored inline) to the data rounded up to blocks.
    pub allocated_bytes: Bounds,
    /// Directories of layers that are asked for a name to resolve the operation's paths: none if
    /// everything is in the cache, else at most every layer of every directory on the way.
    pub layers_probed: Bounds,
}

impl std::ops::AddAssign for Estimate {
    fn add_assign(&mut self, other: Estimate) {
        self.reflink = self.reflink.and(other.reflink);
        self.allocated_bytes += other.allocated_bytes;
        self.layers_probed += other.layers_probed;
    }
}

/// The estimate for one copy of `data_bytes` in `extents` pieces; `same_fs`: source and target lie on
/// one filesystem; `reflink`: what the target's filesystem says; `block`: its block size in bytes.
pub(crate) fn copy_estimate(
    data_bytes: u64,
    extents: u64,
    same_fs: bool,
    reflink: Option<bool>,
    block: u64,
) -> Estimate {
    let shares = match (data_bytes, same_fs, reflink) {
        (0, _, _) => Reflink::NoData,
        (_, true, Some(true)) => Reflink::Yes,
        (_, _, Some(false)) => Reflink::No,
        // Backends may know how to share across what they call filesystems.
        _ => Reflink::Unknown,
    };
    let max = match shares {
        Reflink::NoData | Reflink::Yes => 0,
        // Each extent may begin and end within a block.
        _ => data_bytes.saturating_add(extents.saturating_mul(2).saturating_mul(block)),
    };
    Estimate {
        reflink: shares,
        allocated_bytes: Bounds { min: 0, max },
        layers_probed: Bounds::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflinks_add_up() {
        use Reflink::{No, NoData, Unknown, Yes};
        let rows = [
            (NoData, NoData, NoData),
            (NoData, Yes, Yes),
            (No, NoData, No),
            (Yes, Yes, Yes),
            (Yes, No, Unknown),
            (Unknown, Yes, Unknown),
        ];
        for (a, b, both) in rows {
            assert_eq!((a.and(b), b.and(a)), (both, both));
        }
    }

    #[test]
    fn copies_allocate_nothing_where_blocks_are_shared() {
        let of = |same, reflink| copy_estimate(5000, 1, same, reflink, 4096);
        assert_eq!(of(true, Some(true)).allocated_bytes, Bounds::exactly(0));
        assert_eq!(of(true, Some(true)).reflink, Reflink::Yes);
        assert_eq!(of(false, Some(true)).reflink, Reflink::Unknown);
        assert_eq!(of(true, None).reflink, Reflink::Unknown);
        assert_eq!(of(true, Some(false)).reflink, Reflink::No);
        assert_eq!(of(true, Some(false)).allocated_bytes.max, 5000 + 2 * 4096);
        let nothing = copy_estimate(0, 0, true, None, 4096);
        assert_eq!(nothing, Estimate::default());
    }

    #[test]
    fn counters_subtract() {
        let earlier = Cost {
            data_bytes: 5,
            renames: 1,
            ..Cost::default()
        };
        let mut later = earlier;
        later += Cost {
            renames: 2,
            whiteouts: 1,
            files_created: 3,
            ..Cost::default()
        };
        let spent = later.since(&earlier);
        assert_eq!((spent.data_bytes, spent.renames, spent.inodes()), (0, 2, 4));
    }
}
