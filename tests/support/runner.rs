//! Runs cases on two systems and compares them after every step.
//!
//! One room: a case's run, what is compared and the campaign around it share the rules and the divergence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use layerstack::testing::case::Check;
use layerstack::testing::snapshot::{Difference, OriginCompare};
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{Case, Compare, TreeSnapshot, minimise, outcome};
use layerstack::{Errno, Op, XattrNamespace};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::checker;
use super::freedoms::{
    any_name, any_set_id, copies_metacopies, cut_short, drop_hints, is_ambiguous, is_indexed,
    is_refused_first, is_stale_access, is_stale_rename, is_stuck, lists_in_part, makes_unnamed,
    plain_errno, punches, shared_holes, stale_mode, touched_dir, two_inodes, untouched, zeroes,
};
use super::fs::{Fs, Mounted};
use super::index::IndexEntry;
use super::matrix;
use super::system::{Layout, Open, Stack, System};

/// How systems are compared.
#[derive(Clone, Debug)]
pub struct Rules {
    pub merged: Compare,
    pub upper: Compare,
    /// Compare the lowers before and after each case.
    pub check_lowers: bool,
    /// The left system is the kernel, the right one never writes when it reads.
    pub reads_write_left_only: bool,
    /// The right system keeps its upper in memory.
    pub right_in_memory: bool,
    /// The upper lies on xfs.
    pub upper_is_xfs: bool,
    /// The upper's filesystem can share data between files.
    pub upper_shares: bool,
    /// The left system is the kernel without file handles.
    pub left_without_handles: bool,
    /// Mounted with `nfs_export=on`: link counts are not compared, nor what follows from them.
    pub nfs_export: bool,
    /// Several names may lead to one lower directory. The first to be looked up has it, others are `ESTALE`
    /// (rule R169), and the kernel looks names up in the order of its directories: so all are looked up in
    /// one order beforehand.
    pub in_order: bool,
    /// The right system is behind `/dev/fuse`: the library that speaks the protocol has no unnamed
    /// files.
    pub right_is_fuse: bool,
    /// Which name of a file is copied up is not compared, nor what comes of it in upper layer and index.
    pub any_name: bool,
}

impl Rules {
    pub fn new(layout: &Layout) -> Self {
        let mut merged = Compare::merged();
        merged.inode_labels = layout.is_same();
        // The kernel against itself: links made after the first listing of an impure directory are
        // listed by their own number until the next mount (seen on 6.18).
        merged.listed_inodes = false;
        Rules {
            nfs_export: false,
            merged,
            upper: Compare::upper(),
            check_lowers: false,
            reads_write_left_only: false,
            right_in_memory: false,
            left_without_handles: false,
            in_order: false,
            right_is_fuse: false,
            any_name: false,
            upper_is_xfs: layout.upper == Fs::Xfs,
            upper_shares: matches!(layout.upper, Fs::Xfs | Fs::Btrfs),
        }
    }

    /// For `nfs_export`. The kernel against itself: for a lower with one name, which only that option
    /// indexes, the entry counts as a name once the kernel has forgotten the file (seen on 6.18).
    fn uncount_names(&mut self) {
        self.nfs_export = true;
        self.merged.nlink = false;
    }

    /// For the kernel against the engine.
    pub fn kernel_against_engine(mut self) -> Self {
        self.reads_write_left_only = true;
        // One-sided: see where merged trees are compared.
        self.merged.listed_inodes = self.merged.inode_labels;
        self
    }

    /// For systems on lowers of their own, whose origins differ.
    pub fn origins_differ(mut self) -> Self {
        self.upper.origin = OriginCompare::Presence;
        self
    }
}

/// What one case came to.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub cases: u64,
    pub ops: u64,
    /// Operations that succeeded.
    pub succeeded: u64,
    pub snapshots: u64,
    /// Cases whose layers no system would open.
    pub refused: u64,
    /// Operations under each mount option.
    pub options: BTreeMap<String, u64>,
    /// How often each operation came to each end.
    pub ends: Ends,
}

/// Counts by operation and errno (`None`: success). Not part of `Debug`, as it is long.
#[derive(Clone, Default)]
pub struct Ends(BTreeMap<&'static str, BTreeMap<Option<Errno>, u64>>);

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} operations", self.0.len())
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (op, ends) in &self.0 {
            write!(f, "{op:16}")?;
            for (errno, count) in ends {
                match errno {
                    None => write!(f, " ok {count}")?,
                    Some(errno) => write!(f, " {errno:?} {count}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Stats {
    fn add(&mut self, other: Stats) {
        self.cases += other.cases;
        self.ops += other.ops;
        self.succeeded += other.succeeded;
        self.snapshots += other.snapshots;
        self.refused += other.refused;
        for (option, ops) in other.options {
            *self.options.entry(option).or_default() += ops;
        }
        for (op, ends) in other.ends.0 {
            for (end, count) in ends {
                *self.ends.0.entry(op).or_default().entry(end).or_default() += count;
            }
        }
    }
}

/// Where two systems part.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// Index of the operation; none before the first.
    pub step: Option<usize>,
    pub what: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "at operation {step}: {}", self.what),
            None => write!(f, "before the first operation: {}", self.what),
        }
    }
}

/// Two systems to run on, the expected one first.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub left: Open<'a>,
    pub right: Open<'a>,
}

/// Runs one case on both systems.
pub fn run_case(stack: &Rc<Stack>, pair: Pair<'_>, rules: &Rules) -> Result<Stats, Divergence> {
    let diverge = |step, what: String| Divergence { step, what };
    let mut stats = Stats {
        cases: 1,
        ..Stats::default()
    };
    let lowers = lower_snapshots(stack);
    let dirs = |label| {
        stack
            .dirs(label)
            .map_err(|e| diverge(None, format!("layers: {e}")))
    };
    let (left_dirs, right_dirs) = (dirs("a")?, dirs("b")?);
    let excused = checker::excuses(&left_dirs, stack);
    let opened = (
        (pair.left)(&left_dirs, stack),
        (pair.right)(&right_dirs, stack),
    );
    let (mut left, mut right) = match opened {
        (Ok(left), Ok(right)) => (left, right),
        (Err(a), Err(b)) if a == b => {
            stats.refused = 1;
            return Ok(stats);
        }
        (a, b) => {
            return Err(diverge(
                None,
                format!("open: {:?} != {:?}", a.err(), b.err()),
            ));
        }
    };
    let mut snapshots = 0;
    let mut rotated = false;
    let mut compare = |left: &mut dyn System, right: &mut dyn System, rotated: bool| {
        snapshots += 2;
        let rules = match rotated {
            // From then on the systems have lowers of their own.
            true => &rules.clone().origins_differ(),
            false => rules,
        };
        let mut rules = rules.clone();
        rules.any_name = rules.right_is_fuse && is_indexed(&stack.options) && any_name(&lowers);
        compare_trees(stack, &lowers, left, right, &rules)
    };
    let look_up = |left: &mut dyn System, right: &mut dyn System| match rules.in_order {
        true => look_up_in_order(stack, &lowers, left, right, rules),
        false => Ok(true),
    };
    let at_start = |what| diverge(None, what);
    let clear = look_up(&mut *left, &mut *right).map_err(at_start)?;
    if !compare(&mut *left, &mut *right, false).map_err(at_start)? || !clear {
        return Ok(stats);
    }
    let mut succeeded = 0;
    let mut ends = Ends::default();
    for (i, op) in stack.case.ops.iter().enumerate() {
        let step = Some(i);
        if let Some(check) = stack.case.checks.get(&i) {
            if !compare(&mut *left, &mut *right, rotated).map_err(|what| diverge(step, what))? {
                return Ok(stats);
            }
            let reopened = match check {
                Check::Remount => (left.remount(), right.remount()),
                Check::Rotate => (left.rotate(), right.rotate()),
                _ => (Ok(()), Ok(())),
            };
            if *check == Check::Rotate {
                rotated = true;
            }
            match reopened {
                (Ok(()), Ok(())) => {}
                (a, b) if a == b => return Ok(stats),
                (a, b) => return Err(diverge(step, format!("{check:?}: {a:?} != {b:?}"))),
            }
            if *check != Check::Compare {
                let after = |what| diverge(step, format!("after {check:?}:\n{what}"));
                let clear = look_up(&mut *left, &mut *right).map_err(after)?;
                if !compare(&mut *left, &mut *right, rotated).map_err(after)? || !clear {
                    return Ok(stats);
                }
            }
        }
        let (a, b) = (left.apply(op), right.apply(op));
        succeeded += u64::from(a.is_ok());
        let end = a.as_ref().err().copied();
        *ends.0.entry(op.name()).or_default().entry(end).or_default() += 1;
        let a = a.map_err(|e| plain_errno(op, e, rules));
        let b = b.map_err(|e| plain_errno(op, e, rules));
        let a = match rules.right_in_memory || rules.right_is_fuse {
            true => untouched(a, &b, stack.started),
            false => a,
        };
        if rules.left_without_handles
            && (is_stale_rename(op, &a, &b) || is_stale_access(op, &a, &b))
        {
            continue;
        }
        if rules.in_order && (is_stuck(op, &a, &b) || lists_in_part(op, &a, &b)) {
            continue;
        }
        let a = match rules.left_without_handles {
            true => any_set_id(a, &b),
            false => a,
        };
        if rules.right_is_fuse && is_refused_first(stack, &a, &b) {
            continue;
        }
        let differ = outcome::differ(&a, &b, &rules.merged, Some(stack.started));
        if let Some(what) = differ {
            return Err(diverge(step, format!("{}: {what}", op.name())));
        }
    }
    let last = Some(stack.case.ops.len());
    compare(&mut *left, &mut *right, rotated).map_err(|what| diverge(last, what))?;
    stats.snapshots = snapshots;
    stats.ops = stack.case.ops.len() as u64;
    stats.succeeded = succeeded;
    stats.ends = ends;
    for (side, report) in [("left", left.check()), ("right", right.check())] {
        let found = checker::accusations(&report, stack, &excused);
        if !found.is_empty() {
            let found = found.join("\n");
            return Err(diverge(
                last,
                format!("the checker on the {side}:\n{found}"),
            ));
        }
    }
    if rules.check_lowers {
        // What xfs allocated ahead shows as data until it is written back.
        let compare = Compare {
            holes: false,
            ..Compare::unchanged()
        };
        for (i, (before, after)) in lowers.iter().zip(lower_snapshots(stack)).enumerate() {
            if let Some(what) = before.diff_text(&after, &compare, 5) {
                return Err(diverge(last, format!("lower[{i}] was changed:\n{what}")));
            }
        }
    }
    Ok(stats)
}

fn lower_snapshots(stack: &Stack) -> Vec<TreeSnapshot> {
    let options = stack.layer_options();
    let of = |dir| TreeSnapshot::of_dir(dir, &options).expect("lower layer");
    stack.lowers.iter().map(of).collect()
}

/// Looks up each path that a layer has, parents first. Answers whether no two lead to one directory.
fn look_up_in_order(
    stack: &Stack,
    lowers: &[TreeSnapshot],
    left: &mut dyn System,
    right: &mut dyn System,
    rules: &Rules,
) -> Result<bool, String> {
    let mut unambiguous = true;
    let upper = left.upper();
    let layers = lowers.iter().chain([&upper]);
    let paths: BTreeSet<_> = layers.flat_map(|layer| layer.entries().keys()).collect();
    for path in paths {
        let op = Op::Metadata {
            path: path.clone(),
            follow: false,
        };
        let (mut a, b) = (left.apply(&op), right.apply(&op));
        if rules.right_in_memory {
            a = untouched(a, &b, stack.started);
        }
        if let Some(what) = outcome::differ(&a, &b, &rules.merged, Some(stack.started)) {
            return Err(format!("looking up {}: {what}", path.display()));
        }
        unambiguous &= a != Err(Errno::ESTALE);
    }
    Ok(unambiguous)
}

/// Answers whether operations can go on. Upper layers first: looking at a merged tree may make the kernel write (rules R065, R108).
fn compare_trees(
    stack: &Stack,
    lowers: &[TreeSnapshot],
    left: &mut dyn System,
    right: &mut dyn System,
    rules: &Rules,
) -> Result<bool, String> {
    let (a, b) = (left.upper(), right.upper());
    let (mut c, mut d) = (left.merged(), right.merged());
    let names: Vec<String> = (0..stack.lowers.len())
        .map(|i| format!("lower[{i}]"))
        .collect();
    let labels: Vec<(&str, &TreeSnapshot)> = names.iter().map(String::as_str).zip(lowers).collect();
    c.label_inodes(&labels);
    d.label_inodes(&labels);
    // Listed numbers have a meaning only where all layers share one numbering.
    let mut compare = rules.merged.clone();
    compare.listed_inodes &= compare.inode_labels;
    let mut differences = c.diff(&d, &compare);
    if rules.reads_write_left_only {
        // In a directory that reading has marked impure the kernel drops names that cannot be
        // looked up (rule R110); in others it lists them.
        differences.retain(|d| d.left != "absent" || !d.right.starts_with("listed, but"));
        // Listed numbers of the kernel may be stale, those of the engine may not.
        differences.retain(|d| d.what != "listed inode is that of stat:" || d.right != "true");
    }
    if rules.in_order {
        cut_short(&mut differences);
        let metacopy = stack.options.iter().any(|option| option == "metacopy=on");
        differences.retain(|d| !(metacopy && two_inodes(d)));
    }
    let shares = rules.upper_shares && stack.options.iter().any(|o| o == "metacopy=on");
    differences.retain(|d| !(shares && shared_holes(d, &c)));
    if rules.right_in_memory || rules.right_is_fuse {
        differences.retain(|d| !touched_dir(d, &c));
    }
    if rules.left_without_handles {
        differences.retain(|d| !stale_mode(d) && !two_inodes(d));
    }
    report("merged trees differ", &differences)?;
    let mut differences = a.diff(&b, &rules.upper);
    differences.retain(|d| !(shares && shared_holes(d, &a)));
    if rules.right_in_memory || rules.right_is_fuse {
        differences.retain(|d| !touched_dir(d, &a));
    }
    if rules.left_without_handles {
        differences.retain(|d| !stale_mode(d));
    }
    if rules.reads_write_left_only {
        drop_hints(&mut differences, &a);
    }
    let goes_on = !rules.in_order || !is_ambiguous(&c);
    if rules.any_name {
        return Ok(goes_on);
    }
    if rules.nfs_export {
        differences.retain(|d| d.what != "overlay.nlink");
    }
    report("upper layers differ", &differences)?;
    let (mut a, mut b) = (left.index(), right.index());
    if rules.nfs_export {
        let uncounted = |all: Vec<IndexEntry>| all.into_iter().map(IndexEntry::uncounted).collect();
        (a, b) = (uncounted(a), uncounted(b));
    }
    if matches!(rules.upper.origin, OriginCompare::Presence) {
        let unnamed = |all: Vec<IndexEntry>| {
            let mut all: Vec<_> = all.into_iter().map(IndexEntry::unnamed).collect();
            all.sort();
            all
        };
        (a, b) = (unnamed(a), unnamed(b));
    }
    match a == b {
        true => Ok(goes_on),
        false => Err(format!("indexes differ:\nleft {a:#?}\nright {b:#?}")),
    }
}

fn report(what: &str, differences: &[Difference]) -> Result<(), String> {
    if differences.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = differences
        .iter()
        .take(12)
        .map(ToString::to_string)
        .collect();
    Err(format!("{what}:\n{}", lines.join("\n")))
}

/// Many generated cases on one layout.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub name: &'static str,
    pub layout: Layout,
    pub profile: Profile,
    pub rules: Rules,
    /// Each case gets random mount options.
    pub matrix: bool,
    /// No two lowers are on one filesystem.
    pub distinct_lowers: bool,
    /// Of the generator, unless `KERNEL_SEED` says another.
    pub seed: Option<u64>,
    /// Stop after so many cases.
    pub cases: u64,
    /// Stop after this time.
    pub time: Duration,
    /// The layers given hold nothing that the checker finds, so that whatever it finds was made.
    pub tidy: bool,
}

impl Campaign {
    /// As many cases as 5 seconds allow. `KERNEL_SECONDS` changes the time, `KERNEL_OPS` the most operations
    /// of a case.
    pub fn new(name: &'static str, layout: Layout, mut profile: Profile) -> Self {
        if let Some(ops) = number_from_env("KERNEL_OPS") {
            profile.ops_max = usize::try_from(ops).expect("KERNEL_OPS");
        }
        let seconds = number_from_env("KERNEL_SECONDS").unwrap_or(5);
        Campaign {
            name,
            rules: Rules::new(&layout),
            layout,
            profile,
            matrix: false,
            distinct_lowers: false,
            seed: None,
            cases: u64::MAX,
            time: Duration::from_secs(seconds),
            tidy: false,
        }
    }

    /// Runs within the calling thread, which has a mount namespace of its own. Panics with a shrunken
    /// case at the first divergence. `KERNEL_SEED` repeats a run.
    pub fn run(&self, pair: Pair<'_>) -> Stats {
        let mounted = Mounted::new(&self.layout.kinds());
        let seed = number_from_env("KERNEL_SEED").or(self.seed);
        let seed = seed.unwrap_or_else(rand_seed);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let strategy = strategy::case(&self.profile);
        let start = Instant::now();
        let mut stats = Stats::default();
        while stats.cases < self.cases && start.elapsed() < self.time {
            let mut case = strategy.new_tree(&mut runner).expect("a case").current();
            case.options.extend(self.layout.options.iter().cloned());
            if self.distinct_lowers {
                case.lowers.truncate(self.layout.lowers.len());
            }
            if self.matrix {
                let user = self.profile.namespace == XattrNamespace::User;
                case.options.extend(matrix::pick(runner.rng(), user));
            }
            if self.layout.upper == Fs::Tmpfs {
                case.ops.retain(|op| !zeroes(op));
            }
            if self.layout.upper == Fs::Btrfs {
                case.ops.retain(|op| !punches(op));
            }
            if self.rules.left_without_handles {
                // Two names of one file are not known to be one: copying empties it, and its link
                // count is wrong when it loses its last name.
                case.ops
                    .retain(|op| !matches!(op, Op::Copy { .. } | Op::HandleLink { .. }));
            }
            if self.rules.right_is_fuse {
                let copies = |op: &Op| copies_metacopies(op, &case);
                let ops = case.ops.iter();
                let ops = ops.filter(|op| !makes_unnamed(op) && !copies(op));
                case.ops = ops.cloned().collect();
                if is_indexed(&case.options) {
                    // The names that were copied up would show.
                    case.checks.retain(|_, check| *check != Check::Rotate);
                }
            }
            let count = case.ops.len();
            case.checks.retain(|at, _| *at <= count);
            if self.tidy {
                checker::tidy(&mut case, self.profile.namespace);
            }
            match self.run_one(&mounted, &case, pair) {
                Ok(mut one) => {
                    for option in &case.options {
                        *one.options.entry(option.clone()).or_default() += one.ops;
                    }
                    stats.add(one);
                }
                Err(_) => self.fail(&mounted, case, seed, pair),
            }
        }
        let took = start.elapsed().as_secs_f64();
        let rate = stats.ops as f64 / took;
        println!(
            "{}: seed {seed}, {stats:?} in {took:.1} s, {rate:.0} ops/s",
            self.name
        );
        if std::env::var_os("KERNEL_ENDS").is_some() {
            println!("{}", stats.ends);
        }
        stats
    }

    /// Runs this one case instead; panics at a divergence.
    pub fn run_case(&self, case: &Case, pair: Pair<'_>) {
        let mounted = Mounted::new(&self.layout.kinds());
        if let Err(found) = self.run_one(&mounted, case, pair) {
            panic!("{} ({:?}) {found}\n\n{case:?}\n", self.name, self.layout);
        }
    }

    fn run_one(&self, mounted: &Mounted, case: &Case, pair: Pair<'_>) -> Result<Stats, Divergence> {
        let stack = Stack::new(mounted, &self.layout, self.profile.namespace, case);
        let stack = stack.map_err(|e| Divergence {
            step: None,
            what: format!("writing layers: {e}"),
        })?;
        let mut rules = self.rules.clone();
        rules.in_order = self.profile.redirects;
        if case.options.iter().any(|o| o == "nfs_export=on") {
            rules.uncount_names();
        }
        run_case(&Rc::new(stack), pair, &rules)
    }

    fn fail(&self, mounted: &Mounted, case: Case, seed: u64, pair: Pair<'_>) -> ! {
        let end = Instant::now() + Duration::from_secs(20);
        let mut divergence = None;
        let case = minimise(case, &mut |case| {
            Instant::now() < end
                && self
                    .run_one(mounted, case, pair)
                    .map_err(|found| divergence = Some(found))
                    .is_err()
        });
        // What was found last is not always what the smallest case shows.
        let again = self.run_one(mounted, &case, pair).err();
        let note = if again.is_some() {
            ""
        } else {
            " (not found again)"
        };
        let found = again.or(divergence);
        let found = found.map_or_else(String::new, |d| d.to_string()) + note;
        let Campaign { name, layout, .. } = self;
        panic!("{name} (KERNEL_SEED={seed}, {layout:?}) {found}\n\n{case:?}\n");
    }
}

fn number_from_env(key: &str) -> Option<u64> {
    std::env::var(key).ok()?.parse().ok()
}

pub fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}
