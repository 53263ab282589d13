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

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

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

/// Runs benchmarks of criterion on the stage, with few samples: the large ones take seconds each.
pub fn with_criterion(f: impl FnOnce(&mut criterion::Criterion, &Stage) + Send) {
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

/// Adds a line to a group: `run` prepares what it must and answers how long the rest took.
pub fn line(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    who: &str,
    what: impl std::fmt::Display,
    mut run: impl FnMut() -> std::time::Duration,
) {
    group.bench_function(criterion::BenchmarkId::new(who, what), |b| {
        b.iter_custom(|n| (0..n).map(|_| run()).sum());
    });
}
