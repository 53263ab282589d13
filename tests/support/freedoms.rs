//! What is not compared, since the kernel itself is not of one mind: the list of
//! `docs/testing.md`, as far as whole comparisons are not set by [`Rules`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use layerstack::backend::AllocateMode;
use layerstack::testing::snapshot::{Difference, Entry};
use layerstack::testing::{Case, NodeSpec, TreeSnapshot};
use layerstack::{Errno, Op, Outcome, OverlayAttr, Timestamp};

use super::runner::Rules;
use super::system::Stack;

/// POSIX allows two errnos for a rename onto a directory that is not empty. Most filesystems say
/// `ENOTEMPTY`, as backends must; xfs says `EEXIST`.
pub(super) fn plain_errno(op: &Op, errno: Errno, rules: &Rules) -> Errno {
    match (op, errno) {
        (Op::Rename { flags, .. }, Errno::EEXIST) if rules.upper_is_xfs && !flags.no_replace => {
            Errno::ENOTEMPTY
        }
        _ => errno,
    }
}

/// Without file handles the kernel has two inodes for two names of one copied-up file, so it does
/// not see that a rename of one onto the other changes nothing, and finds itself confused.
pub(super) fn is_stale_rename(
    op: &Op,
    kernel: &Result<Outcome, Errno>,
    engine: &Result<Outcome, Errno>,
) -> bool {
    let renames = matches!(op, Op::Rename { .. });
    let confused = matches!(kernel, Err(Errno::ESTALE | Errno::EINVAL));
    renames && confused && *engine == Ok(Outcome::Done)
}

/// Without file handles the kernel has two inodes for two names of one copied-up file, and one of
/// them may not know of a set-id bit that the other set, so truncating through it leaves the bit.
pub(super) fn stale_mode(d: &Difference) -> bool {
    let mode = |text: &str| u32::from_str_radix(text, 8).unwrap_or(0);
    d.what == "mode" && (mode(&d.left) ^ mode(&d.right)) & 0o1777 == 0
}

/// The same, where the mode that the other name does not know of decides what a caller may do.
pub(super) fn is_stale_access(
    op: &Op,
    kernel: &Result<Outcome, Errno>,
    engine: &Result<Outcome, Errno>,
) -> bool {
    let asks = match op {
        Op::As { op, .. } => matches!(**op, Op::Access { .. }),
        op => matches!(op, Op::Access { .. }),
    };
    let answers = [kernel, engine];
    asks && answers.contains(&&Ok(Outcome::Done)) && answers.contains(&&Err(Errno::EACCES))
}

/// A metadata-only copy of nothing but holes that gets its data where the filesystem shares: the kernel shares all
/// of the file, which touches it. Here there are no data to share.
pub(super) fn shared_holes(d: &Difference, kernel: &TreeSnapshot) -> bool {
    let holes = |entry: &Entry| match entry {
        Entry::Node(node) => node.content.as_ref().is_some_and(|c| c.data.is_empty()),
        _ => false,
    };
    d.what == "mtime" && d.left == "now" && kernel.get(&d.path).is_some_and(holes)
}

/// The same of what an operation answers: takes the set-id bits from the engine.
pub(super) fn any_set_id(
    kernel: Result<Outcome, Errno>,
    engine: &Result<Outcome, Errno>,
) -> Result<Outcome, Errno> {
    match (kernel, engine) {
        (Ok(Outcome::Metadata(mut kernel)), Ok(Outcome::Metadata(engine))) => {
            kernel.mode = kernel.mode & !0o6000 | engine.mode & 0o6000;
            Ok(Outcome::Metadata(kernel))
        }
        (kernel, _) => kernel,
    }
}

/// Removing a tree that holds a name which cannot be looked up fails, with its errno or as not empty: the
/// kernel lists it, drops it, or fails to list (rule R110).
pub(super) fn is_stuck(
    op: &Op,
    kernel: &Result<Outcome, Errno>,
    engine: &Result<Outcome, Errno>,
) -> bool {
    let removes = match op {
        Op::As { op, .. } => matches!(**op, Op::RemoveDirAll { .. }),
        op => matches!(op, Op::RemoveDirAll { .. }),
    };
    let full = |answer: &Result<Outcome, Errno>| *answer == Err(Errno::ENOTEMPTY);
    removes && kernel.is_err() && engine.is_err() && (full(kernel) || full(engine))
}

/// A name that cannot be looked up ends the kernel's listing where numbers are those of objects (rule R110):
/// with its errno if it comes first in a buffer, else silently, and in which order names come
/// depends on the filesystem's hashes. Here the name alone is left out.
pub(super) fn lists_in_part(
    op: &Op,
    kernel: &Result<Outcome, Errno>,
    engine: &Result<Outcome, Errno>,
) -> bool {
    let (lists, for_another) = match op {
        Op::As { op, .. } => (matches!(**op, Op::ReadDir { .. }), true),
        op => (matches!(op, Op::ReadDir { .. }), false),
    };
    let failed = match kernel {
        // What the options refuse (R165, R177) is `EPERM`, a redirect of dots (R162) `EACCES`, which may
        // also say that a caller may not read the directory.
        Err(Errno::EACCES) => !for_another,
        Err(errno) => matches!(
            *errno,
            Errno::EINVAL | Errno::ESTALE | Errno::EIO | Errno::ELOOP | Errno::EPERM
        ),
        Ok(_) => false,
    };
    lists && failed && matches!(engine, Ok(Outcome::Entries(_)))
}

/// A directory that the kernel's filesystem touched: ext4 does so in a rename that fails with
/// `ENOTEMPTY` although a whiteout was asked for. Directories have their times compared with the
/// engine on the same filesystem.
pub(super) fn touched_dir(d: &Difference, kernel: &TreeSnapshot) -> bool {
    d.what == "mtime" && d.left == "now" && is_dir(kernel, &d.path)
}

/// The same of what an operation answers: takes the time of such a directory from the engine.
pub(super) fn untouched(
    kernel: Result<Outcome, Errno>,
    engine: &Result<Outcome, Errno>,
    started: Timestamp,
) -> Result<Outcome, Errno> {
    match (kernel, engine) {
        (Ok(Outcome::Metadata(mut kernel)), Ok(Outcome::Metadata(engine)))
            if kernel.is_dir() && kernel.mtime >= started =>
        {
            kernel.mtime = engine.mtime;
            Ok(Outcome::Metadata(kernel))
        }
        (kernel, _) => kernel,
    }
}

fn is_dir(tree: &TreeSnapshot, path: &Path) -> bool {
    matches!(tree.get(path), Some(Entry::Node(node)) if node.meta.is_dir())
}

/// Drops the differences that come from the kernel's writing when it only reads, which the engine
/// does not do: it stores the origin of a merged directory that has none and marks the parent
/// impure (rule R065), and takes the mark of a directory without copied-up entries away (R108). The
/// mark is only a hint for listings; tests of their own show that the engine sets it.
pub(super) fn drop_hints(differences: &mut Vec<Difference>, kernel: &TreeSnapshot) {
    let stored: Vec<PathBuf> = differences
        .iter()
        .filter(|d| d.what == "overlay.origin" && d.right == "absent" && is_dir(kernel, &d.path))
        .map(|d| d.path.clone())
        .collect();
    differences.retain(|d| match d.what.as_str() {
        "overlay.origin" => !stored.contains(&d.path),
        "overlay.impure" => false,
        _ => true,
    });
}

/// Tmpfs cannot zero a range. Before the kernel's overlay learns that, it has taken set-id bits and
/// capabilities away (deviation ALLOC-1).
pub(super) fn zeroes(op: &Op) -> bool {
    let (Op::Allocate { mode, .. } | Op::HandleAllocate { mode, .. }) = op else {
        return false;
    };
    matches!(
        mode,
        AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize
    )
}

/// Punching a hole where there is one is no change on btrfs; whether there is one, as in the layer that a file was
/// copied from, depends on how its data were copied.
pub(super) fn punches(op: &Op) -> bool {
    let (Op::Allocate { mode, .. } | Op::HandleAllocate { mode, .. }) = op else {
        return false;
    };
    *mode == AllocateMode::PunchHole
}

/// The library that speaks the protocol of `/dev/fuse` has no unnamed files.
pub(super) fn makes_unnamed(op: &Op) -> bool {
    match op {
        Op::As { op, .. } => makes_unnamed(op),
        Op::Open { options, .. } | Op::Write { options, .. } | Op::HandleOpen { options, .. } => {
            options.tmpfile
        }
        _ => false,
    }
}

/// Behind `/dev/fuse` the kernel takes a file's size for its end, also of a metacopy that tells another size
/// than its data have.
pub(super) fn copies_metacopies(op: &Op, case: &Case) -> bool {
    let metacopy = |n: &NodeSpec| n.overlay.contains_key(&OverlayAttr::Metacopy);
    let layers = case.upper.iter().chain(&case.lowers);
    matches!(op, Op::Copy { .. }) && layers.flat_map(|l| l.nodes().values()).any(metacopy)
}

/// Of an immutable or append-only object the kernel's overlay says `EPERM` before it looks at anything
/// else. Behind `/dev/fuse` the kernel does not know of the flags, so other refusals come first.
pub(super) fn is_refused_first(
    stack: &Stack,
    kernel: &Result<Outcome, Errno>,
    mount: &Result<Outcome, Errno>,
) -> bool {
    *kernel == Err(Errno::EPERM) && mount.is_err() && stack.case.ops.iter().any(protects)
}

/// Sets one of the flags that forbid changes.
fn protects(op: &Op) -> bool {
    match op {
        Op::As { op, .. } => protects(op),
        Op::SetFlags { flags, .. } => flags.immutable || flags.append,
        _ => false,
    }
}

/// Behind `/dev/fuse` an object is known by a number, not by the name that was opened, and all names of
/// an indexed lower have one number. So which of them is copied up is anybody's guess; what is shown is
/// the same, as long as there is the index.
pub(super) fn any_name(lowers: &[TreeSnapshot]) -> bool {
    let several =
        |entry: &Entry| matches!(entry, Entry::Node(n) if !n.meta.is_dir() && n.meta.nlink > 1);
    lowers
        .iter()
        .any(|tree| tree.entries().values().any(several))
}

/// True if these options ask for an index.
pub(super) fn is_indexed(options: &[String]) -> bool {
    options
        .iter()
        .any(|o| o == "index=on" || o == "nfs_export=on")
}

/// Several names lead to one object of a layer, by redirects that somebody made by hand: a directory whose other name is
/// `ESTALE`, or a file under more names than it has. What operations do to the other names depends on what the
/// kernel has in its cache.
pub(super) fn is_ambiguous(tree: &TreeSnapshot) -> bool {
    let mut names = HashMap::new();
    for entry in tree.entries().values() {
        match entry {
            Entry::Failed(Errno::ESTALE) => return true,
            Entry::Node(node) => {
                let meta = &node.meta;
                let names: &mut u64 = names.entry((meta.dev, meta.ino)).or_default();
                *names += 1;
                if *names > if meta.is_dir() { 1 } else { meta.nlink } {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// In a directory that reading has marked impure, a name that cannot be looked up can end the kernel's
/// listing with its errno; the rest of the names is then missing (rule R110).
pub fn cut_short(differences: &mut Vec<Difference>) {
    let cut: Vec<PathBuf> = differences
        .iter()
        .filter(|d| d.what == "error of listing" && d.right == "none")
        .map(|d| d.path.clone())
        .collect();
    let missing = |d: &Difference| {
        let dir = cut.iter().find(|dir| d.path.starts_with(dir));
        dir.is_some_and(|dir| d.left == "absent" || d.path == *dir && d.what == "error of listing")
    };
    differences.retain(|d| !missing(d));
}

/// Without file handles the kernel has two inodes for two names of one copied-up file; here it is one. So it
/// has with metacopy, where a second name is looked up only when the file has its data and leads to its lower no more.
pub(super) fn two_inodes(d: &Difference) -> bool {
    d.what.starts_with("inode of") || d.what.starts_with("same inode as")
}
