//! Where the benchmarks work: filesystems in loop files in memory, mounted where only this process sees
//! them, and fresh directories on them; the kernel's overlay on the same directories.
#![allow(
    dead_code,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    reason = "each benchmark uses its part, and may fail by panicking"
)]

#[path = "../../tests/support/fs.rs"]
pub mod fs;
#[path = "../../tests/support/mount.rs"]
pub mod mount;
#[path = "../../tests/support/namespace.rs"]
pub mod namespace;
pub mod pairs;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use fs::{Fs, Mounted};
use layerstack::{
    DirLayer, DirLayerOptions, Fsync, LayerStack, OpenOptions, Overlay, OverlayOptions,
};
use mount::{OverlayConfig, OverlayMount};

/// Bytes of a loop file. Of ext4 all of them take memory, of the others only what is written.
const IMAGE_BYTES: u64 = 3 << 30;

/// Everything is measured, not only the quick set.
pub fn all() -> bool {
    std::env::var_os("BENCH_ALL").is_some_and(|v| v == "1")
}

/// The filesystems: without the right to mount, only what temporary directories lie on.
pub struct Stage {
    mounted: Option<Mounted>,
    dir: tempfile::TempDir,
}

/// Runs `f` where the filesystems are mounted.
pub fn on_stage(f: impl FnOnce(&Stage) + Send) {
    let temporary = || tempfile::tempdir().unwrap();
    let programs = ["mkfs.xfs", "mkfs.btrfs"];
    let missing = programs.into_iter().find(|name| !fs::is_installed(name));
    let missing = missing.map(|name| format!("{name} is not installed"));
    if let Some(reason) = namespace::no_kernel().or(missing) {
        println!("left out: everything on mounts ({reason})");
        let (mounted, dir) = (None, temporary());
        return f(&Stage { mounted, dir });
    }
    fs::IMAGE_BYTES.store(IMAGE_BYTES, Ordering::Relaxed);
    fs::IMAGE_WHOLE.store(true, Ordering::Relaxed);
    namespace::in_mount_namespace(|| {
        // Behind the mounts, so that it is still there when they have gone.
        let dir = temporary();
        let mounted = Some(Mounted::new(&[Fs::Ext4, Fs::Tmpfs, Fs::Btrfs, Fs::Xfs]));
        f(&Stage { mounted, dir });
    });
}

impl Stage {
    /// Mounts work here.
    pub fn can_mount(&self) -> bool {
        self.mounted.is_some()
    }

    /// A new directory on a filesystem of this kind.
    pub fn site(&self, kind: Fs) -> Site {
        let mounted = self.mounted.as_ref().expect("a stage with mounts");
        Site::new(mounted.path(kind))
    }

    /// The filesystems to measure on, with their names.
    pub fn places(&self) -> Vec<(&'static str, Site)> {
        match &self.mounted {
            None => vec![("here", Site::new(self.dir.path()))],
            Some(_) => [
                ("ext4", Fs::Ext4),
                ("tmpfs", Fs::Tmpfs),
                ("btrfs", Fs::Btrfs),
                ("xfs", Fs::Xfs),
            ]
            .map(|(name, kind)| (name, self.site(kind)))
            .into(),
        }
    }
}

/// A directory on the stage: lowers that stay, and an upper that is made anew for each run.
pub struct Site {
    base: tempfile::TempDir,
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
}

impl Site {
    fn new(place: &Path) -> Self {
        let base = tempfile::tempdir_in(place).unwrap();
        for name in ["upper", "work", "merged", "plain"] {
            std::fs::create_dir(base.path().join(name)).unwrap();
        }
        Site {
            base,
            lowers: Vec::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// Adds a lower below the others.
    pub fn lower(&mut self) -> PathBuf {
        let path = self.path(&format!("lower{}", self.lowers.len()));
        std::fs::create_dir(&path).unwrap();
        self.lowers.push(path.clone());
        path
    }

    /// An empty upper, work directory and plain directory; the filesystem at rest.
    pub fn fresh(&self) {
        for name in ["upper", "work", "plain"] {
            let path = self.path(name);
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
        self.rest();
    }

    /// Nothing is left to be written.
    pub fn rest(&self) {
        let dir = std::fs::File::open(self.base.path()).unwrap();
        rustix::fs::syncfs(dir).unwrap();
    }

    pub fn stack(&self) -> LayerStack {
        // As the kernel's overlay reads its lowers.
        let options = DirLayerOptions::new().private_mount(true);
        let lowers = self.lowers.iter().map(|p| options.open_lower(p).unwrap());
        LayerStack::from_top(lowers).unwrap()
    }

    pub fn overlay(&self, fsync: Fsync) -> Overlay {
        let upper = DirLayer::open_upper(self.path("upper"), self.path("work")).unwrap();
        let options = OverlayOptions::new().fsync(fsync);
        Overlay::with_options(&self.stack(), upper, options).unwrap()
    }

    /// The kernel's overlay with an upper.
    pub fn mount(&self, options: &[&str]) -> OverlayMount {
        let config = OverlayConfig {
            lowers: self.lowers.clone(),
            upper: Some(self.path("upper")),
            work: Some(self.path("work")),
            options: options.iter().map(|o| (*o).into()).collect(),
            ..OverlayConfig::default()
        };
        OverlayMount::new(&self.path("merged"), &config).unwrap()
    }

    /// The kernel's overlay of the lowers alone.
    pub fn mount_lowers(&self) -> OverlayMount {
        let config = OverlayConfig {
            lowers: self.lowers.clone(),
            ..OverlayConfig::default()
        };
        OverlayMount::new(&self.path("merged"), &config).unwrap()
    }
}

/// Opens for writing through the library: the first time copies up.
pub fn touch(overlay: &Overlay, path: &str) {
    let options = OpenOptions::new().write(true);
    overlay.open(path, &options).unwrap().close();
}

/// Opens for writing through the kernel.
pub fn touch_real(path: &Path) {
    drop(std::fs::File::options().write(true).open(path).unwrap());
}

/// A file of `size` bytes, all of them written.
pub fn write_file(path: &Path, size: u64) {
    use std::io::Write;
    let block: Vec<u8> = (0..1_usize << 20).map(|i| (i * 7 % 251) as u8).collect();
    let mut file = std::fs::File::create(path).unwrap();
    let mut left = size;
    while left > 0 {
        let n = left.min(block.len() as u64);
        file.write_all(&block[..n as usize]).unwrap();
        left -= n;
    }
    file.sync_all().unwrap();
}

/// How many pairs are to be measured instead of criterion's samples (`BENCH_PAIRS=n`).
pub fn pairs() -> Option<usize> {
    let pairs = std::env::var("BENCH_PAIRS").ok()?;
    Some(pairs.parse().expect("BENCH_PAIRS: a number"))
}

/// Runs benchmarks of criterion on the stage, with few samples: the large ones take seconds each.
pub fn with_criterion(f: impl FnOnce(&mut criterion::Criterion, &Stage) + Send) {
    if pairs().is_some() {
        println!("| Line | beside | Ratio | 95 % | layerstack | other | pairs |");
        println!("|---|---|---:|---|---:|---:|---:|");
    }
    on_stage(|stage| {
        let second = std::time::Duration::from_secs(1);
        let mut c = criterion::Criterion::default()
            .sample_size(if all() { 30 } else { 10 })
            .warm_up_time(second / 5)
            .measurement_time(second / 2)
            .configure_from_args();
        f(&mut c, stage);
        c.final_summary();
    });
}

/// One way to do something: `run` prepares what it must and answers how long the rest took.
struct Line<'a> {
    who: String,
    what: String,
    throughput: Option<criterion::Throughput>,
    run: RefCell<Box<dyn FnMut() -> Duration + 'a>>,
}

/// Lines that are measured together: by criterion, or as ratios of pairs.
pub struct Lines<'a> {
    name: String,
    throughput: Option<criterion::Throughput>,
    lines: Vec<Line<'a>>,
}

impl<'a> Lines<'a> {
    pub fn new(name: impl Into<String>) -> Self {
        Lines {
            name: name.into(),
            throughput: None,
            lines: Vec::new(),
        }
    }

    /// What the lines from here on work on.
    pub fn throughput(&mut self, throughput: criterion::Throughput) {
        self.throughput = Some(throughput);
    }

    /// Adds a line. This crate is called `layerstack`, perhaps with more behind it, and is compared with those
    /// that have the same behind their names; with the others if none has.
    pub fn add(
        &mut self,
        who: impl Into<String>,
        what: impl std::fmt::Display,
        run: impl FnMut() -> Duration + 'a,
    ) {
        self.lines.push(Line {
            who: who.into(),
            what: what.to_string(),
            throughput: self.throughput.clone(),
            run: RefCell::new(Box::new(run)),
        });
    }

    /// Measures all lines.
    pub fn measure(self, c: &mut criterion::Criterion) {
        if let Some(pairs) = pairs() {
            return self.print_pairs(pairs);
        }
        let mut group = c.benchmark_group(self.name);
        for line in self.lines {
            if let Some(throughput) = line.throughput {
                group.throughput(throughput);
            }
            let mut run = line.run.into_inner();
            group.bench_function(criterion::BenchmarkId::new(line.who, line.what), |b| {
                b.iter_custom(|n| (0..n).map(|_| run()).sum());
            });
        }
        group.finish();
    }

    fn print_pairs(&self, pairs: usize) {
        let is_ours = |line: &&Line<'_>| line.who.starts_with("layerstack");
        for theirs in self.lines.iter().filter(|line| !is_ours(line)) {
            let same = |line: &&&Line<'_>| line.what == theirs.what;
            let ours: Vec<_> = self.lines.iter().filter(is_ours).collect();
            let alike = |line: &&&Line<'_>| {
                let suffix = &line.who["layerstack".len()..];
                !suffix.is_empty() && theirs.who.ends_with(suffix)
            };
            let ours = ours.iter().filter(same);
            let ours = ours.clone().find(alike).or_else(|| ours.clone().next());
            let Some(ours) = ours else { continue };
            let mut run = (ours.run.borrow_mut(), theirs.run.borrow_mut());
            let ratio = pairs::compare(pairs, &mut *run.0, &mut *run.1);
            println!(
                "| {}: {} | {} | {ratio} |",
                self.name, theirs.what, theirs.who
            );
        }
    }
}
