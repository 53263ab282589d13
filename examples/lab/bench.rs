//! The lab's folder: lowers, upper, work, and a stack opened on them.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use filetime::FileTime;
use layerstack::backend::LayerBackend;
use layerstack::{
    CopyObserver, CopyProgress, DirLayer, LayerStack, Op, OpenOptions, Overlay, OverlayOptions,
    XattrNamespace,
};
use tempfile::TempDir;

use crate::show::{Res, text};

/// The lowers of the second half of the lab, topmost first.
pub(crate) const ALL: [&str; 3] = ["lower2", "lower1", "lower0"];

/// Space that the lab needs.
const SPACE_BYTES: u64 = 300 << 20;

/// When the files of the lowers were last written.
pub(crate) const OLD_SECONDS: i64 = 1_000_000_000;

/// Where the lab works.
pub(crate) struct Bench {
    pub(crate) root: PathBuf,
    /// Where this process keeps overlay attributes.
    pub(crate) namespace: XattrNamespace,
    copied: Arc<Copied>,
    _dir: TempDir,
}

/// Counts the bytes that copy-ups copy.
#[derive(Default)]
struct Copied(AtomicU64);

impl CopyObserver for Copied {
    fn progress(&self, progress: &CopyProgress<'_>) -> ControlFlow<()> {
        self.0.store(progress.bytes_done, Ordering::Relaxed);
        ControlFlow::Continue(())
    }
}

/// What something did cost.
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

impl Bench {
    /// An empty bench in the first temporary folder that can hold an upper layer. (The root of a
    /// container cannot: it is an overlay itself.)
    pub(crate) fn new() -> Res<Self> {
        let mut reasons = String::new();
        let places = [std::env::temp_dir(), "/var/tmp".into(), "/dev/shm".into()];
        for place in places {
            match Bench::new_in(&place) {
                Ok(bench) => return Ok(bench),
                Err(e) => reasons += &format!("\n  {}: {e}", place.display()),
            }
        }
        Err(format!("set TMPDIR to a folder that can hold an upper layer{reasons}").into())
    }

    fn new_in(place: &Path) -> Res<Self> {
        let dir = tempfile::Builder::new()
            .prefix("layerstack-lab-")
            .tempdir_in(place)?;
        let root = dir.path().canonicalize()?;
        for name in ["lower0", "lower1", "lower2", "upper", "work", "merged"] {
            fs::create_dir(root.join(name))?;
        }
        let upper = DirLayer::open_upper(root.join("upper"), root.join("work"))?;
        let lacks = upper.capabilities();
        if !lacks.overlay_attrs || !lacks.whiteouts {
            return Err("no extended attributes or no whiteouts here".into());
        }
        let free = upper.statfs()?;
        if free.blocks_available.saturating_mul(free.block_size) < SPACE_BYTES {
            return Err("less than 300 MiB free".into());
        }
        let namespace = upper.identity().namespace;
        Ok(Bench {
            root,
            namespace,
            copied: Arc::default(),
            _dir: dir,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file of the year 2001 and its missing parents.
    pub(crate) fn write(&self, name: &str, content: &str) -> Res {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        let old = FileTime::from_unix_time(OLD_SECONDS, 123_456_789);
        Ok(filetime::set_file_times(&path, old, old)?)
    }

    /// The layers opened anew: `upper` above `lowers`, topmost first.
    pub(crate) fn open(&self, lowers: &[&str]) -> Res<Overlay> {
        let mut layers = Vec::new();
        for name in lowers {
            layers.push(DirLayer::open_lower(self.path(name))?);
        }
        let upper = DirLayer::open_upper(self.path("upper"), self.path("work"))?;
        let options = OverlayOptions::new().copy_observer(self.copied.clone());
        let lowers = LayerStack::from_top(layers)?;
        Ok(Overlay::with_options(&lowers, upper, options)?)
    }

    /// Runs `f` and tells how many bytes were copied up, and how long it took.
    pub(crate) fn measure(&self, f: impl FnOnce() -> Res) -> Res<Measured> {
        self.copied.0.store(0, Ordering::Relaxed);
        let start = Instant::now();
        f()?;
        Ok(Measured {
            bytes: self.copied.0.load(Ordering::Relaxed),
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    /// All that is not a directory below `name`, sorted.
    pub(crate) fn files_in(&self, name: &str) -> Res<Vec<String>> {
        let base = self.path(name);
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(&base).sort_by_file_name() {
            let entry = entry?;
            if !entry.file_type().is_dir() {
                let path = entry.path().strip_prefix(&base)?;
                found.push(path.display().to_string());
            }
        }
        Ok(found)
    }

    /// Prints the files of some layers.
    pub(crate) fn show_layers(&self, names: &[&str]) -> Res {
        for name in names {
            text(&format!("{name:<8} {}", self.files_in(name)?.join("  ")));
        }
        Ok(())
    }

    /// Prints a directory as `ls -l` does, as far as it matters here.
    pub(crate) fn list(&self, name: &str) -> Res {
        for entry in walkdir::WalkDir::new(self.path(name))
            .min_depth(1)
            .sort_by_file_name()
        {
            let entry = entry?;
            let meta = entry.metadata()?;
            let is_device = meta.file_type().is_char_device();
            let (letter, size) = match meta.file_type() {
                t if t.is_dir() => ('d', String::new()),
                t if t.is_symlink() => ('l', meta.len().to_string()),
                _ if is_device => {
                    let rdev = meta.rdev();
                    let (major, minor) = (libc::major(rdev), libc::minor(rdev));
                    ('c', format!("{major}, {minor}"))
                }
                _ => ('-', meta.len().to_string()),
            };
            let name = entry.file_name().display();
            text(&format!(
                "{letter} {:04o} {size:>10}  {name}",
                meta.mode() & 0o7777
            ));
        }
        Ok(())
    }
}

/// Writes one byte into the middle of a file that exists.
pub(crate) fn write_one_byte(path: &str, offset: u64) -> Op {
    Op::Write {
        path: path.into(),
        options: OpenOptions::new().write(true),
        offset,
        data: b"!".to_vec(),
    }
}
