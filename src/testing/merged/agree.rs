//! Runs the same operations on two merged file systems and tells where they part.

use std::fmt;

use crate::backend::AllocateMode;
use crate::errno::Errno;
use crate::meta::Timestamp;
use crate::op::{Op, Outcome};
use crate::testing::merged::MergedFs;
use crate::testing::outcome;
use crate::testing::snapshot::{Compare, SnapshotOptions};

/// How two merged file systems are compared. The first is the expected one, such as a
/// [`ReferenceModel`](crate::testing::ReferenceModel).
///
/// Not compared, besides what [`outcome`] and [`Compare`] leave out:
///
/// - whether `truncate(2)` to the size that a file has already changes its times is the file
///   system's own choice: such operations are left out;
/// - removing an access list that is not set is `ENODATA` on some objects of a union and nothing on
///   others, depending on where they lie.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Agreement {
    /// What of the trees.
    pub compare: Compare,
    /// When the run began: times from then on are "now".
    pub started: Timestamp,
    /// The second one can zero ranges of files; if not, such operations are left out.
    pub zeroes_ranges: bool,
    /// The second one can take ranges of whole blocks (of 4096 bytes) out of files, and put holes in; if
    /// not, such operations are left out.
    pub shifts_ranges: bool,
    /// The second one may answer `EEXIST` where `ENOTEMPTY` is expected (xfs).
    pub full_is_eexist: bool,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Agreed {
    /// Operations applied.
    pub ops: usize,
    /// Those that succeeded.
    pub succeeded: usize,
}

/// Where two file systems part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Divergence {
    /// Index of the operation; `None`: before the first or behind the last.
    pub step: Option<usize>,
    /// What differs: the expected side first.
    pub what: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "at operation {step}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Divergence {}

impl Agreement {
    /// Everything that users can see is compared, times by [`Compare::merged`]; `started`: now, by the
    /// clocks of both.
    #[must_use]
    pub fn since(started: Timestamp) -> Self {
        let mut compare = Compare::merged();
        compare.inode_labels = false;
        Agreement {
            compare,
            started,
            zeroes_ranges: true,
            shifts_ranges: true,
            full_is_eexist: false,
        }
    }

    /// Compares the whole trees.
    ///
    /// # Errors
    /// The differences, one per line.
    pub fn trees(
        &self,
        expected: &mut dyn MergedFs,
        got: &mut dyn MergedFs,
    ) -> Result<(), Divergence> {
        let options = SnapshotOptions::merged().started(self.started);
        let fail = |what: String| Divergence { step: None, what };
        let capture = |fs: &mut dyn MergedFs, which: &str| {
            fs.snapshot(&options)
                .map_err(|e| fail(format!("{which} tree: {e}")))
        };
        let (left, right) = (capture(expected, "expected")?, capture(got, "other")?);
        match left.diff_text(&right, &self.compare, 20) {
            None => Ok(()),
            Some(text) => Err(fail(format!("trees differ:\n{text}"))),
        }
    }

    /// Applies one operation to both. Answers whether it succeeded; `None`: it was left out.
    ///
    /// # Errors
    /// What they answered, if it differs.
    pub fn step(
        &self,
        op: &Op,
        expected: &mut dyn MergedFs,
        got: &mut dyn MergedFs,
    ) -> Result<Option<bool>, Divergence> {
        let lacking = zeroes(op) && !self.zeroes_ranges || shifts(op) && !self.shifts_ranges;
        if lacking || keeps_size(op, expected) {
            return Ok(None);
        }
        let (left, right) = (expected.apply(op), got.apply(op));
        let right = match right {
            Err(Errno::EEXIST) if self.full_is_eexist && left == Err(Errno::ENOTEMPTY) => {
                Err(Errno::ENOTEMPTY)
            }
            other => other,
        };
        if removes_acl(op) && is_nothing(&left) && is_nothing(&right) {
            return Ok(Some(false));
        }
        match outcome::differ(&left, &right, &self.compare, Some(self.started)) {
            None => Ok(Some(left.is_ok())),
            Some(what) => Err(Divergence {
                step: None,
                what: format!("{}: {what}\n{op:?}", op.name()),
            }),
        }
    }

    /// Compares the trees, applies all operations, and compares the trees again.
    ///
    /// # Errors
    /// The first difference.
    pub fn run(
        &self,
        ops: &[Op],
        expected: &mut dyn MergedFs,
        got: &mut dyn MergedFs,
    ) -> Result<Agreed, Divergence> {
        self.trees(expected, got)?;
        let mut agreed = Agreed::default();
        for (i, op) in ops.iter().enumerate() {
            let step = self.step(op, expected, got);
            let done = step.map_err(|found| Divergence {
                step: Some(i),
                ..found
            })?;
            agreed.ops += usize::from(done.is_some());
            agreed.succeeded += usize::from(done == Some(true));
        }
        self.trees(expected, got)?;
        Ok(agreed)
    }
}

/// The operation, whoever it is done for.
pub(super) fn of_anybody(op: &Op) -> &Op {
    let mut op = op;
    while let Op::As { op: inner, .. } = op {
        op = inner;
    }
    op
}

fn zeroes(op: &Op) -> bool {
    let (Op::Allocate { mode, .. } | Op::HandleAllocate { mode, .. }) = of_anybody(op) else {
        return false;
    };
    matches!(
        mode,
        AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize
    )
}

fn shifts(op: &Op) -> bool {
    let (Op::Allocate { mode, .. } | Op::HandleAllocate { mode, .. }) = of_anybody(op) else {
        return false;
    };
    matches!(
        mode,
        AllocateMode::CollapseRange | AllocateMode::InsertRange
    )
}

/// `truncate(2)` of a file to the size that it has.
fn keeps_size(op: &Op, fs: &mut dyn MergedFs) -> bool {
    let Op::SetLen { path, len } = of_anybody(op) else {
        return false;
    };
    let stat = Op::Metadata {
        path: path.clone(),
        follow: true,
    };
    matches!(fs.apply(&stat), Ok(Outcome::Metadata(meta)) if meta.size == *len)
}

/// Removing an access list, or setting none.
fn removes_acl(op: &Op) -> bool {
    let (name, empty) = match of_anybody(op) {
        Op::RemoveXattr { name, .. } => (name, true),
        // A version and no entry.
        Op::SetXattr { name, value, .. } => (name, value.len() <= 4),
        _ => return false,
    };
    empty && name.as_bytes().starts_with(b"system.posix_acl_")
}

fn is_nothing(outcome: &Result<Outcome, Errno>) -> bool {
    matches!(outcome, Ok(Outcome::Done) | Err(Errno::ENODATA))
}
