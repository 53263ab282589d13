//! Random damage of upper, work directory and index: after repair the kernel mounts what is left, and
//! shows of it what the damage had left readable.
//!
//! One room: a case, its damage, its repairs and what may differ afterwards are read together.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use layerstack::check::{Consent, FindingKind, Remedy, Report, Severity};
use layerstack::testing::snapshot::{Difference, Entry};
use layerstack::testing::strategy::{self, Profile};
use layerstack::testing::{Case, TreeSnapshot};
use layerstack::{LayerId, XattrNamespace};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::scene::{Disk, Subject, left, one_at_a_time, same_view};
use crate::support::fs::{Fs, Mounted, require_fs};
use crate::support::namespace::in_mount_namespace;
use crate::support::system::{KernelSystem, Layout, Stack};

/// Random numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

const ATTRS: [&str; 10] = [
    "opaque", "redirect", "origin", "impure", "nlink", "upper", "uuid", "metacopy", "protattr",
    "whiteout",
];

const VALUES: [&[u8]; 14] = [
    b"",
    b"y",
    b"x",
    b"n",
    b"a",
    b"b",
    b"/a",
    b"/a/b",
    b"/b",
    b"a/b",
    b"/../a",
    b"U+1",
    b"U-9",
    b"\x00\xfb\x1d\x00\x81garbage of the right len",
];

fn attr(name: &str) -> String {
    format!("trusted.overlay.{name}")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(dir).min_depth(1).sort_by_file_name();
    walk.into_iter().flatten().map(|e| e.into_path()).collect()
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device())
}

fn whiteout(path: &Path) {
    let device = makedev(0, 0);
    let _ = mknod(path, SFlag::S_IFCHR, Mode::empty(), device);
}

/// One thing that goes wrong. What is not possible does not happen.
fn damage(disk: &Disk, dice: &mut Dice) -> String {
    let all = entries(&disk.upper);
    let mut dirs: Vec<PathBuf> = all
        .iter()
        .filter(|p| p.is_dir() && !p.is_symlink())
        .cloned()
        .collect();
    dirs.push(disk.upper.clone());
    let nodes: Vec<PathBuf> = all.iter().filter(|p| !is_whiteout(p)).cloned().collect();
    let index = entries(&disk.work.join("index"));
    let somewhere = |dice: &mut Dice| {
        let name = dice.pick(&["a", "b", "c", "zz"]).unwrap();
        dice.pick(&dirs).unwrap().join(name)
    };
    match dice.below(13) {
        0 | 1 => {
            let Some(node) = dice.pick(&nodes) else {
                return String::new();
            };
            let names: Vec<OsString> = xattr::list(node).into_iter().flatten().collect();
            let names: Vec<_> = names
                .into_iter()
                .filter(|n| n.to_string_lossy().starts_with("trusted.overlay."))
                .collect();
            let Some(name) = dice.pick(&names) else {
                return String::new();
            };
            let done = xattr::remove(node, name);
            format!("remove {name:?} of {node:?}: {done:?}")
        }
        2 | 3 => {
            let node = dice.pick(&nodes).unwrap_or(&disk.upper).clone();
            let name = attr(dice.pick(&ATTRS).unwrap());
            let value = dice.pick(&VALUES).unwrap();
            let done = xattr::set(&node, &name, value);
            format!(
                "set {name} of {node:?} to {:?}: {done:?}",
                value.escape_ascii().to_string()
            )
        }
        4 => {
            let (Some(from), Some(to)) = (dice.pick(&nodes), dice.pick(&nodes)) else {
                return String::new();
            };
            let Ok(Some(value)) = xattr::get(from, attr("origin")) else {
                return String::new();
            };
            let done = xattr::set(to, attr("origin"), &value);
            format!("origin of {from:?} on {to:?}: {done:?}")
        }
        5 => {
            let at = somewhere(dice);
            whiteout(&at);
            format!("whiteout {at:?}")
        }
        6 => {
            let at = somewhere(dice);
            let made = fs::File::create_new(&at);
            if made.is_ok() {
                xattr::set(&at, attr("whiteout"), b"y").unwrap();
            }
            format!("xattr whiteout {at:?}: {:?}", made.map(|_| ()))
        }
        7 => {
            let Some(node) = dice.pick(&all) else {
                return String::new();
            };
            let done = match node.is_dir() && !node.is_symlink() {
                true => fs::remove_dir_all(node),
                false => fs::remove_file(node),
            };
            format!("remove {node:?}: {done:?}")
        }
        8 => {
            let to = somewhere(dice);
            let Some(from) = dice
                .pick(&all)
                .filter(|_| fs::symlink_metadata(&to).is_err())
            else {
                return String::new();
            };
            format!("move {from:?} to {to:?}: {:?}", fs::rename(from, &to))
        }
        9 => {
            let to = somewhere(dice);
            let files: Vec<_> = nodes
                .iter()
                .filter(|p| p.is_file() && !p.is_symlink())
                .collect();
            let Some(from) = dice
                .pick(&files)
                .filter(|_| fs::symlink_metadata(&to).is_err())
            else {
                return String::new();
            };
            let done = fs::copy(from, &to);
            for name in xattr::list(from).into_iter().flatten() {
                if let Ok(Some(value)) = xattr::get(from, &name) {
                    let _ = xattr::set(&to, &name, &value);
                }
            }
            format!("copy {from:?} to {to:?}: {done:?}")
        }
        10 => {
            let path = disk.work.join("work");
            let names = [
                "#1",
                "#2/a",
                "#3/a/b/c",
                "stranger",
                "incompat/volatile",
                "incompat",
            ];
            let at = path.join(dice.pick(&names).unwrap());
            format!("left {at:?}: {:?}", fs::create_dir_all(&at))
        }
        11 => match dice.pick(&index) {
            None => String::new(),
            Some(entry) => {
                let to = disk
                    .work
                    .join("index")
                    .join(dice.pick(&["lost", "#4", "00fb"]).unwrap());
                format!("{entry:?} to {to:?}: {:?}", fs::rename(entry, &to))
            }
        },
        _ => match dice.pick(&index) {
            None => String::new(),
            Some(entry) => {
                let done = match dice.below(3) {
                    0 => fs::remove_file(entry),
                    1 => xattr::remove(entry, attr("origin")),
                    _ => xattr::set(entry, attr("nlink"), dice.pick(&VALUES).unwrap()),
                };
                format!("index entry {entry:?}: {done:?}")
            }
        },
    }
}

/// Where a repair may have changed what shows, as something could not be used, or was chosen.
#[derive(Debug, Default)]
struct Changed {
    /// At these paths.
    at: BTreeSet<PathBuf>,
    /// Also below these.
    below: BTreeSet<PathBuf>,
}

impl Changed {
    fn add(&mut self, report: &Report) {
        use FindingKind as K;
        let subtrees = [
            K::RedirectMalformed,
            K::RedirectOutOfBounds,
            K::RedirectDuplicate,
            K::RedirectUncovered,
            K::OriginMismatch,
        ];
        for finding in report.findings() {
            let chosen = matches!(finding.remedy, Remedy::Chooses(_));
            // The view is that without an index.
            let beside =
                finding.layer == Some(LayerId::Work) || finding.kind == K::RootOriginMismatch;
            if beside || !chosen && finding.severity < Severity::Error {
                continue;
            }
            let paths = [Some(&finding.path), finding.other.as_ref()];
            let paths = paths.into_iter().flatten().cloned();
            match subtrees.contains(&finding.kind) {
                true => self.below.extend(paths),
                false => self.at.extend(paths),
            }
        }
    }

    fn paths(&self) -> BTreeSet<PathBuf> {
        self.at.union(&self.below).cloned().collect()
    }

    fn has(&self, path: &Path) -> bool {
        self.at.contains(path) || self.below.iter().any(|p| path.starts_with(p))
    }
}

/// What no lookup finds with these options: a listing may leave it out.
fn refused(report: &Report) -> impl Iterator<Item = PathBuf> {
    let refused = [FindingKind::MetacopyRefused, FindingKind::RedirectRefused];
    let findings = report.findings().iter();
    let findings = findings.filter(move |f| refused.contains(&f.kind));
    findings.map(|f| f.path.clone())
}

/// With all names in the upper of the files that these paths are.
fn with_other_names(disk: &Disk, paths: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let at = |path: &Path| disk.upper.join(path.strip_prefix("/").unwrap_or(path));
    let file = |path: &Path| fs::symlink_metadata(path).ok().filter(|m| !m.is_dir());
    let files: BTreeSet<u64> = paths
        .iter()
        .filter_map(|p| Some(file(&at(p))?.ino()))
        .collect();
    let names = entries(&disk.upper).into_iter();
    let names = names.filter(|p| file(p).is_some_and(|m| files.contains(&m.ino())));
    let shown = |p: PathBuf| Some(Path::new("/").join(p.strip_prefix(&disk.upper).ok()?));
    names
        .filter_map(shown)
        .chain(paths.iter().cloned())
        .collect()
}

fn kinds_left(report: &Report) -> BTreeSet<FindingKind> {
    report.findings().iter().map(|f| f.kind).collect()
}

/// Tells at a panic what was done to the layers.
struct Told<'a>(&'a Case, &'a [String]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{:?}\nthen {:#?}", self.0, self.1);
        }
    }
}

/// Where the kernel may show another tree after repairs that keep it.
#[derive(Debug, Default)]
struct Unsettled {
    /// What shows below these depends on what is looked up first.
    either: BTreeSet<PathBuf>,
    /// The directories of these: which of them fails decides whether the listing ends early.
    doubtful: BTreeSet<PathBuf>,
    /// Names in these cannot be looked up, so a listing may have ended early (rule R110).
    short: BTreeSet<PathBuf>,
    /// The index makes names fail, and does not tell which.
    anywhere: bool,
}

impl Unsettled {
    fn of(disk: &Disk, report: &Report) -> Self {
        use FindingKind as K;
        let mut all = Unsettled::default();
        let mut failing = BTreeSet::new();
        for f in report.findings() {
            let refused = [K::MetacopyRefused, K::RedirectRefused].contains(&f.kind);
            if f.severity < Severity::Error && !refused {
                continue;
            }
            if f.layer == Some(LayerId::Work) {
                all.anywhere = true;
                continue;
            }
            let paths = [Some(&f.path), f.other.as_ref()];
            failing.extend(paths.into_iter().flatten().cloned());
            let either = [
                K::RedirectDuplicate,
                K::RedirectUncovered,
                K::OriginDuplicate,
                K::OriginUncovered,
            ];
            if either.contains(&f.kind) {
                all.either.extend(paths.into_iter().flatten().cloned());
            }
        }
        all.either = with_other_names(disk, &all.either);
        let failing = with_other_names(disk, &failing);
        let parents = |paths: &BTreeSet<PathBuf>| {
            let parents = paths.iter().filter_map(|path| path.parent());
            parents.map(Path::to_path_buf).collect()
        };
        (all.doubtful, all.short) = (parents(&all.either), parents(&failing));
        all
    }

    fn excuses(&self, before: &TreeSnapshot, difference: &Difference) -> bool {
        let (path, left) = (&difference.path, &difference.left);
        let below = |all: &BTreeSet<PathBuf>, path: &Path| all.iter().any(|p| path.starts_with(p));
        let failed = |at: &Path| match before.entries().get(at) {
            Some(Entry::Failed(_)) => true,
            Some(Entry::Node(node)) => node.errors.contains_key("listing"),
            _ => false,
        };
        let hidden = || {
            let mut above = path.ancestors().skip(1);
            self.anywhere
                || above.any(failed)
                || path.parent().is_some_and(|dir| below(&self.short, dir))
        };
        let listing = difference.what == "error of listing";
        let ended = listing && self.doubtful.contains(path)
            || difference.right == "absent"
                && path
                    .ancestors()
                    .skip(1)
                    .any(|dir| self.doubtful.contains(dir));
        left.starts_with("listed, but")
            || ended
            || failed(path) && listing
            || left == "absent" && (difference.right.starts_with("listed, but") || hidden())
            || below(&self.either, path)
    }
}

/// Repairs what can be repaired without changing what shows: the kernel is asked whether it does.
fn keep(disk: &Disk, log: &[String]) {
    // The kernel stores some hints by itself when it looks names up.
    let _ = disk.kernels_view();
    let before = disk.kernels_view();
    let found = disk.looker().run();
    let unsettled = Unsettled::of(disk, &found);
    for _ in 0..6 {
        let report = disk.checker().run();
        let repair = report.repair(Consent::Keep);
        if repair.is_empty() {
            break;
        }
        repair.apply().unwrap();
    }
    // With such leftovers it was mounted read-only, and its index was not asked.
    let Some(before) = before.filter(|_| !found.has(FindingKind::WorkLeftoverDeep)) else {
        return;
    };
    let after = disk.kernels_view().expect("the mount was not refused");
    let mut differences = before.diff(&after, &same_view());
    differences.retain(|d| !unsettled.excuses(&before, d));
    assert!(
        differences.is_empty(),
        "{differences:#?}\n{unsettled:?}\n{}",
        log.join("\n")
    );
}

/// Repairs until nothing repairable is found, and compares.
fn repair(disk: &Disk, log: &[String]) -> BTreeSet<FindingKind> {
    let context = |report: &Report| format!("{log:#?}\n{report}");
    let mut kinds = BTreeSet::new();
    let before = disk.view();
    let mut changed = Changed::default();
    let mut others = BTreeSet::new();
    let mut rounds = 0;
    loop {
        let report = disk.checker().run();
        kinds.extend(report.findings().iter().map(|f| f.kind));
        changed.add(&report);
        others.append(&mut with_other_names(disk, &changed.paths()));
        others.extend(refused(&report));
        if left(&report).is_empty() {
            break;
        }
        rounds += 1;
        assert!(rounds < 6, "repairs do not end: {}", context(&report));
        let done = report.repair(Consent::Choose).apply();
        done.unwrap_or_else(|e| panic!("{e}: {}", context(&report)));
    }
    let after = disk.view();
    // Nothing of them was readable.
    let unlisted = before.entries().iter().filter(|(_, entry)| match entry {
        Entry::Node(node) => node.errors.contains_key("listing"),
        _ => false,
    });
    changed.below.extend(unlisted.map(|(path, _)| path.clone()));
    for difference in before.diff(&after, &same_view()) {
        // What could not be used may show now, under all its names, and its listing be mended.
        let failed = difference.left.starts_with("listed, but")
            || (difference.left == "absent" && others.contains(&difference.path));
        let absent = difference.left == "absent" && difference.right.starts_with("listed, but");
        let excused = changed.has(&difference.path);
        let log = log.join("\n");
        assert!(
            failed || absent || excused,
            "{difference}\n{changed:?}\n{log}"
        );
    }
    let report = disk.looker().run();
    let rest = kinds_left(&report);
    drop(report);
    if rest.iter().all(|k| k.severity() == Severity::Note) {
        disk.mounts_quietly();
    } else {
        disk.kernel(|at| {
            TreeSnapshot::of_dir(at, &layerstack::testing::SnapshotOptions::merged())
                .map(|_| ())
                .unwrap()
        });
    }
    kinds
}

fn run_case(
    mounted: &Mounted,
    layout: &Layout,
    case: &Case,
    dice: &mut Dice,
) -> BTreeSet<FindingKind> {
    let stack = Stack::new(mounted, layout, XattrNamespace::Trusted, case).unwrap();
    let stack = Rc::new(stack);
    let dirs = stack.dirs("a").unwrap();
    let Ok(mut kernel) = KernelSystem::open(&dirs, &stack) else {
        return BTreeSet::new();
    };
    for op in &case.ops {
        let _ = kernel.apply(op);
    }
    drop(kernel);
    let disk = Disk::of(&dirs, &layout.options);
    let log: Vec<String> = (0..=dice.below(4)).map(|_| damage(&disk, dice)).collect();
    let _told = Told(case, &log);
    if dice.below(2) == 0 {
        keep(&disk, &log);
    }
    repair(&disk, &log)
}

fn campaign(options: &[&str]) {
    if !require_fs(&[Fs::Ext4]) {
        return;
    }
    let _one = one_at_a_time();
    in_mount_namespace(|| {
        let seed = std::env::var("KERNEL_SEED")
            .ok()
            .and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.unwrap().subsec_nanos())
        });
        println!("KERNEL_SEED={seed}");
        let seconds = std::env::var("KERNEL_SECONDS")
            .ok()
            .and_then(|s| s.parse().ok());
        let time = Duration::from_secs(seconds.unwrap_or(5));
        let layout = Layout::same(Fs::Ext4).options(options);
        let mounted = Mounted::new(&layout.kinds());
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut profile = Profile::root().ops_max(15);
        profile.read_only_percent = 1;
        let strategy = strategy::case(&profile);
        let mut dice = Dice(seed);
        let (start, mut cases, mut kinds) = (Instant::now(), 0, BTreeSet::new());
        while start.elapsed() < time {
            let mut case = strategy.new_tree(&mut runner).unwrap().current();
            case.options.extend(layout.options.iter().cloned());
            if case.upper.is_none() {
                continue;
            }
            kinds.extend(run_case(&mounted, &layout, &case, &mut dice));
            cases += 1;
        }
        println!(
            "{cases} cases, {} kinds of findings: {kinds:?}",
            kinds.len()
        );
        assert!(cases > 3 && kinds.len() > 5, "the damage finds nothing");
    });
}

#[test]
fn what_is_damaged_is_repaired() {
    campaign(&[]);
}

#[test]
fn what_is_damaged_is_repaired_with_all_features() {
    campaign(&["index=on", "metacopy=on", "redirect_dir=on"]);
}

#[test]
fn what_is_damaged_is_repaired_with_nfs_export() {
    campaign(&["nfs_export=on"]);
}
