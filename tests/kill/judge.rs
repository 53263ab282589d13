//! Whether a tree is one that an interrupted process may leave.

use layerstack::testing::snapshot::{Difference, TimeCompare};
use layerstack::testing::{Compare, SnapshotOptions, TreeSnapshot};
use layerstack::{Errno, Op, Overlay, Session, SetAttr, Timestamp, XattrNamespace};

use crate::log::Written;
use crate::site::{Imported, Site};
use crate::{Dice, operations};

/// Sequences of which the steps are not known here are left out, and what needs an open file, as the file
/// is gone with the process.
pub fn is_judged(op: &Op) -> bool {
    !matches!(
        op,
        Op::CreateDirAll { .. } | Op::RemoveDirAll { .. } | Op::Copy { .. } | Op::StatFs | Op::Sync
    ) && !op.name().starts_with("file.")
        && !matches!(op, Op::HandleOpen { .. } | Op::As { .. })
}

/// What may have been done of `op` when it was interrupted: sequences of atomic operations.
fn parts(op: &Op) -> Vec<Vec<Op>> {
    let mut all = vec![Vec::new(), vec![op.clone()]];
    match op {
        Op::Write { path, options, .. } => all.push(vec![Op::Open {
            path: path.clone(),
            options: options.clone(),
        }]),
        Op::SetAttr { path, follow, attr } => {
            let part = |attr| Op::SetAttr {
                path: path.clone(),
                follow: *follow,
                attr,
            };
            let owner = part(SetAttr::owner(attr.uid, attr.gid));
            let mut modes = vec![owner.clone()];
            modes.extend(attr.mode.map(|mode| part(SetAttr::mode(mode))));
            all.extend([vec![owner], modes]);
        }
        _ => {}
    }
    all
}

/// The layers before a worker begins.
pub struct Judge {
    memory: Imported,
    lowers: Vec<TreeSnapshot>,
    started: Timestamp,
}

fn now() -> Timestamp {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos())
}

fn compare(site: &Site) -> Compare {
    let mut compare = Compare::merged();
    if site.options().iter().any(|o| o == "nfs_export=on") {
        // The index entry is one more link of the upper file, which shows after the next opening (rule R258).
        (compare.nlink, compare.link_groups) = (false, false);
    }
    // One filesystem here, several there.
    (compare.inode_labels, compare.listed_inodes) = (false, false);
    compare
}

fn lowers(site: &Site) -> Vec<TreeSnapshot> {
    let options = SnapshotOptions::layer(XattrNamespace::Trusted);
    let layers = site.lower_layers();
    let capture = layers.iter().map(|l| TreeSnapshot::of_backend(l, &options));
    capture.collect::<Result<_, _>>().unwrap()
}

fn text(all: &[Difference]) -> String {
    let lines: Vec<_> = all.iter().take(8).map(Difference::to_string).collect();
    lines.join("\n    ")
}

impl Judge {
    pub fn new(site: &Site) -> Self {
        Judge {
            memory: site.import(),
            lowers: lowers(site),
            started: now(),
        }
    }

    fn view(&self, overlay: &Overlay) -> TreeSnapshot {
        let options = SnapshotOptions::merged().started(self.started);
        TreeSnapshot::of_backend(&**overlay, &options).unwrap()
    }

    /// Compares what is found now with what may be found.
    pub fn judge(self, site: &Site, written: &Written, dice: &mut Dice) -> Result<(), String> {
        let ops = operations();
        let mut session = Session::new(self.memory.overlay());
        let mut touches = false;
        for expected in &written.done {
            let op = dice.pick(&ops);
            let answer = session.apply(&op).err().map(|e| e.errno());
            if answer != *expected {
                return Err(format!("{op:?}: {expected:?}, in memory {answer:?}"));
            }
            touches |= may_touch(&op, answer);
        }
        drop(session);
        let interrupted = written.begun.then(|| dice.pick(&ops));
        let sequences = interrupted.as_ref().map_or(vec![Vec::new()], parts);
        let found = {
            let overlay = site.open();
            let left = site.leftovers(&overlay);
            if !left.is_empty() {
                return Err(format!("left over: {left:?}"));
            }
            self.view(&overlay)
        };
        let mut problems = Vec::new();
        for sequence in sequences {
            let memory = self.memory.reopened();
            let mut session = Session::new(memory.overlay());
            let mut touches = touches;
            for op in &sequence {
                // It may be one that fails.
                let answer = session.apply(op).err().map(|e| e.errno());
                touches |= may_touch(op, answer);
            }
            drop(session);
            let expected = self.view(&memory.reopened().overlay());
            let mut all = found.diff(&expected, &compare(site));
            all.retain(|d| !(touches && is_touched_dir(&found, d)));
            if let Some(op) = &interrupted {
                all.retain(|d| !may_differ(op, &found, d));
            }
            if all.is_empty() {
                return self.the_kernel_agrees(site, &found);
            }
            problems.push(text(&all));
        }
        let problems = problems.join("\n  nor:\n    ");
        Err(format!("{interrupted:?}: neither\n    {problems}"))
    }

    /// The kernel shows the same, and the lowers are as they were.
    fn the_kernel_agrees(&self, site: &Site, found: &TreeSnapshot) -> Result<(), String> {
        let options = SnapshotOptions::merged().started(self.started);
        let mounted = site.mount();
        let kernel = TreeSnapshot::of_dir(mounted.path(), &options).unwrap();
        mounted.unmount().unwrap();
        let mut compare = compare(site);
        compare.mtime = TimeCompare::Exact;
        let all = kernel.diff(found, &compare);
        if !all.is_empty() {
            return Err(format!("the kernel shows:\n    {}", text(&all)));
        }
        for (before, after) in self.lowers.iter().zip(&lowers(site)) {
            if let Some(changed) = before.diff_text(after, &Compare::unchanged(), 8) {
                return Err(format!("a lower was changed:\n{changed}"));
            }
        }
        Ok(())
    }
}

/// ext4 touches the directory in a rename that leaves a whiteout and fails since the target is not empty; memory
/// does not (see `docs/testing.md`, Known freedoms).
fn may_touch(op: &Op, answer: Option<Errno>) -> bool {
    matches!(op, Op::Rename { .. }) && answer == Some(Errno::ENOTEMPTY)
}

fn is_touched_dir(found: &TreeSnapshot, d: &Difference) -> bool {
    let dir = found.node(&d.path).is_some_and(|n| n.meta.is_dir());
    dir && d.what == "mtime" && d.left == "now"
}

/// What no sequence of atomic operations tells: data of which a part was written, the time of a directory that is
/// restored in a step of its own, and names that cannot be looked up (R079) and go when their directory is
/// copied up (see `docs/testing.md`).
fn may_differ(op: &Op, found: &TreeSnapshot, d: &Difference) -> bool {
    let writes = matches!(op, Op::Write { .. } | Op::Allocate { .. });
    let content = ["content", "size", "mtime"].contains(&d.what.as_str());
    let dir = found.node(&d.path).is_some_and(|n| n.meta.is_dir());
    let stray = d.what == "is" && d.left == "absent" && d.right == "listed, but ENOENT";
    stray || (writes && content && !dir) || is_touched_dir(found, d)
}
