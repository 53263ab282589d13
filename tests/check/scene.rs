//! A stack to damage, check and repair: in memory, and on ext4 where the kernel can judge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::check::{Check, Consent, Remedy, Report, Severity};
use layerstack::testing::snapshot::{OriginCompare, TimeCompare};
use layerstack::testing::{Compare, LayerSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{
    DirLayerOptions, LayerStack, Overlay, OverlayOptions, UuidMode, XattrNamespace, display_path,
};

use crate::hints::{ORIGIN, get};
use crate::kmsg::quiet;
use crate::support::freedoms::cut_short;
use crate::support::fs::{Fs, Mounted, Workspace, require_fs};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::in_mount_namespace;
use crate::support::options::overlay_options;
use crate::support::system::Dirs;

/// One mount at a time, so that complaints of the kernel are about it.
static ONE: Mutex<()> = Mutex::new(());

pub(crate) fn one_at_a_time() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What two views of one stack must agree in: all that repairs must not change. Inode numbers and link
/// counts are hints that repairs put right.
pub(crate) fn same_view() -> Compare {
    Compare {
        mtime: TimeCompare::Exact,
        nlink: false,
        link_groups: false,
        inode_labels: false,
        listed_inodes: false,
        origin: OriginCompare::Ignore,
        ..Compare::merged()
    }
}

/// Paths at which two views differ.
pub(crate) fn changed(before: &TreeSnapshot, after: &TreeSnapshot) -> BTreeSet<String> {
    let differences = before.diff(after, &same_view());
    let path = |d: &layerstack::testing::snapshot::Difference| display_path(&d.path).to_string();
    differences.iter().map(path).collect()
}

/// What a repair that keeps the view must not do. A name that cannot be looked up is no part of the
/// view: whether it is listed depends on hints (rule R110), and if it is one of `broken` it may be
/// usable afterwards.
pub(crate) fn lost(
    before: &TreeSnapshot,
    after: &TreeSnapshot,
    broken: &BTreeSet<PathBuf>,
) -> Vec<String> {
    let fails = |side: &str| side == "absent" || side.starts_with("listed, but");
    let differences = before.diff(after, &same_view()).into_iter();
    differences
        .filter(|d| !(fails(&d.left) && (fails(&d.right) || broken.contains(&d.path))))
        .map(|d| d.to_string())
        .collect()
}

/// One line per finding, such as `whiteout-redundant upper:/a`; sorted.
pub(crate) fn lines(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report
        .findings()
        .iter()
        .map(|f| {
            let layer = f.layer.map_or_else(|| "stack".into(), |l| l.to_string());
            format!("{} {layer}:{}", f.kind, display_path(&f.path))
        })
        .collect();
    lines.sort();
    lines
}

pub(crate) fn left(report: &Report) -> Vec<String> {
    let findings = report.findings().iter();
    let repairable: Vec<_> = findings
        .filter(|f| !matches!(f.remedy, Remedy::None(_)))
        .map(ToString::to_string)
        .collect();
    repairable
}

/// Asserts that something can be opened, checked, repaired; shared by memory and disk.
pub(crate) trait Subject {
    fn check(&self) -> Report;
    fn view(&self) -> TreeSnapshot;

    /// Finds exactly `expected`, repairs first what keeps the view, then the rest, which changes it at
    /// exactly `changes` (where one begins with `?`, perhaps: what shows may depend on what was
    /// looked up first); afterwards nothing repairable is found.
    fn heals(&self, expected: &[&str], changes: &[&str]) {
        let report = self.check();
        assert_eq!(lines(&report), expected, "{report}");
        let errors = report.findings().iter();
        let errors = errors.filter(|f| f.severity == Severity::Error);
        let broken: BTreeSet<PathBuf> = errors.map(|f| f.path.clone()).collect();
        drop(report);
        let before = self.view();
        self.check().repair(Consent::Keep).apply().unwrap();
        let kept = self.view();
        let lost = lost(&before, &kept, &broken);
        assert_eq!(lost, [] as [&str; 0], "a repair changed it");
        let report = self.check();
        let repair = report.repair(Consent::Choose);
        let plan = repair.to_string();
        repair.apply().unwrap();
        drop(report);
        let chosen = self.view();
        let mut changed = changed(&kept, &chosen);
        for path in changes.iter().filter_map(|c| c.strip_prefix('?')) {
            changed.remove(path);
        }
        let changes = changes.iter().filter(|c| !c.starts_with('?'));
        let changes: BTreeSet<String> = changes.map(|c| String::from(*c)).collect();
        let differences = kept.diff_text(&chosen, &same_view(), 20);
        assert_eq!(changed, changes, "{plan}\n{differences:?}");
        // What is right now may need hints that were wrong before.
        for _ in 0..2 {
            self.check().repair(Consent::Choose).apply().unwrap();
        }
        let again = self.view();
        let differences = chosen.diff_text(&again, &same_view(), 20);
        assert_eq!(differences, None, "a second repair changed the view");
        let report = self.check();
        assert_eq!(left(&report), [] as [&str; 0], "after repair");
    }
}

/// Layers in memory.
pub(crate) struct Memory {
    pub(crate) lowers: Vec<Arc<MemLayer>>,
    pub(crate) upper: Arc<MemLayer>,
    pub(crate) options: OverlayOptions,
}

impl Memory {
    pub(crate) fn new(options: &[&str], lowers: &[LayerSpec], upper: &LayerSpec) -> Self {
        let write = |spec: &LayerSpec| {
            let layer = MemLayer::new();
            spec.write_to_upper(&layer).unwrap();
            Arc::new(layer)
        };
        let options: Vec<String> = options.iter().map(|o| String::from(*o)).collect();
        Memory {
            lowers: lowers.iter().map(write).collect(),
            upper: write(upper),
            options: overlay_options(&options),
        }
    }

    pub(crate) fn checker(&self) -> Check {
        Check::from_top(self.lowers.clone())
            .upper(self.upper.clone())
            .options(self.options.clone())
    }
}

impl Subject for Memory {
    fn check(&self) -> Report {
        self.checker().run()
    }

    fn view(&self) -> TreeSnapshot {
        let stack = LayerStack::from_top(self.lowers.clone()).unwrap();
        let options = self.options.clone().index(false).uuid(UuidMode::Null);
        let overlay = Overlay::with_options(&stack, self.upper.clone(), options).unwrap();
        TreeSnapshot::of_backend(&*overlay, &SnapshotOptions::merged()).unwrap()
    }
}

/// Directories on ext4.
pub(crate) struct Disk {
    pub(crate) lowers: Vec<PathBuf>,
    /// Data-only layers.
    pub(crate) data: Vec<PathBuf>,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    mount: PathBuf,
    pub(crate) options: Vec<String>,
    /// Goes last: it removes everything.
    pub(crate) space: Option<Workspace>,
}

impl Disk {
    /// The directories of a system that is closed.
    pub(crate) fn of(dirs: &Dirs, options: &[String]) -> Self {
        Disk {
            lowers: dirs.lowers.clone(),
            data: dirs.data.clone(),
            upper: dirs.upper.clone().unwrap(),
            work: dirs.work.clone().unwrap(),
            mount: dirs.mount.clone(),
            options: options.to_vec(),
            space: None,
        }
    }

    /// A path beside the layers.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.space.as_ref().unwrap().path().join(name)
    }

    fn layers() -> DirLayerOptions {
        DirLayerOptions::new().namespace(XattrNamespace::Trusted)
    }

    fn opened(layers: &[PathBuf]) -> Vec<Arc<dyn LayerBackend>> {
        let open = |path: &PathBuf| -> Arc<dyn LayerBackend> {
            Arc::new(Disk::layers().open_lower(path).unwrap())
        };
        layers.iter().map(open).collect()
    }

    pub(crate) fn opened_upper(&self) -> layerstack::DirLayer {
        let options = Disk::layers().keep_work(true);
        options.open_upper(&self.upper, &self.work).unwrap()
    }

    pub(crate) fn checker(&self) -> Check {
        Check::from_top(Disk::opened(&self.lowers))
            .data_layers(Disk::opened(&self.data))
            .upper(self.opened_upper())
            .options(overlay_options(&self.options))
    }

    /// Only looks: nothing is opened for writing.
    pub(crate) fn looker(&self) -> Check {
        let open = |path: &PathBuf| Disk::layers().open_lower(path).unwrap();
        Check::from_top(Disk::opened(&self.lowers))
            .data_layers(Disk::opened(&self.data))
            .upper(open(&self.upper))
            .work(open(&self.work))
            .options(overlay_options(&self.options))
    }

    /// Mounts, does something, unmounts.
    pub(crate) fn kernel<T>(&self, act: impl FnOnce(&Path) -> T) -> T {
        let mount = OverlayMount::new(&self.mount, &self.config()).unwrap();
        let done = act(mount.path());
        mount.unmount().unwrap();
        done
    }

    pub(crate) fn config(&self) -> OverlayConfig {
        OverlayConfig {
            lowers: self.lowers.clone(),
            data: self.data.clone(),
            upper: Some(self.upper.clone()),
            work: Some(self.work.clone()),
            options: self.options.clone(),
        }
    }

    /// What a mount shows; nothing if it is refused.
    pub(crate) fn kernels_view(&self) -> Option<TreeSnapshot> {
        let mount = OverlayMount::new(&self.mount, &self.config()).ok()?;
        let view = TreeSnapshot::of_dir(mount.path(), &SnapshotOptions::merged()).unwrap();
        mount.unmount().unwrap();
        Some(view)
    }

    /// The mount is refused.
    pub(crate) fn is_refused(&self) -> bool {
        OverlayMount::new(&self.mount, &self.config()).is_err()
    }

    /// The whole of it: see [`Subject::heals`], and the kernel mounts what is left without a warning and
    /// shows the same tree.
    pub(crate) fn heals(&self, expected: &[&str], changes: &[&str]) {
        let looked = self.looker().run();
        assert_eq!(lines(&looked), expected, "looked at only\n{looked}");
        Subject::heals(self, expected, changes);
        self.mounts_quietly();
    }

    pub(crate) fn mounts_quietly(&self) {
        let options = SnapshotOptions::merged();
        let mut kernels = None;
        quiet(|| {
            kernels = Some(self.kernel(|at| TreeSnapshot::of_dir(at, &options).unwrap()));
        });
        // With the index too, where the options ask for one.
        let ours = self.snapshot(&self.work, overlay_options(&self.options));
        let mut differences = kernels.unwrap().diff(&ours, &same_view());
        cut_short(&mut differences);
        assert!(
            differences.is_empty(),
            "kernel and engine differ: {differences:#?}"
        );
    }

    /// What the engine shows with this work directory.
    fn snapshot(&self, work: &Path, options: OverlayOptions) -> TreeSnapshot {
        let stack = LayerStack::from_top(Disk::opened(&self.lowers)).unwrap();
        let stack = stack.with_data_layers(Disk::opened(&self.data)).unwrap();
        let upper = Disk::layers().open_upper(&self.upper, work).unwrap();
        let options = options.uuid(UuidMode::Null);
        let overlay = Overlay::with_options(&stack, upper, options).unwrap();
        TreeSnapshot::of_backend(&*overlay, &SnapshotOptions::merged()).unwrap()
    }
}

impl Subject for Disk {
    fn check(&self) -> Report {
        self.checker().run()
    }

    fn view(&self) -> TreeSnapshot {
        // What the index says is not asked: a broken one would be refused. With a work directory of its
        // own, what lies in the stack's is neither seen nor swept.
        let options = overlay_options(&self.options)
            .index(false)
            .nfs_export(false);
        let work = self.work.with_extension("view");
        std::fs::create_dir_all(&work).unwrap();
        self.snapshot(&work, options)
    }
}

/// Runs `test` on these layers, written to ext4; nothing where overlays cannot be mounted.
pub(crate) fn on_disk(
    options: &[&str],
    lowers: &[LayerSpec],
    upper: &LayerSpec,
    test: impl FnOnce(&mut Disk) + Send,
) {
    if !require_fs(&[Fs::Ext4]) {
        return;
    }
    let _one = one_at_a_time();
    in_mount_namespace(|| {
        let mounted = Mounted::new(&[Fs::Ext4]);
        let space = Workspace::new(&mounted, Fs::Ext4);
        let write = |name: &str, spec: &LayerSpec| {
            let dir = space.dir(name);
            spec.write_to_dir(&dir, XattrNamespace::Trusted).unwrap();
            dir
        };
        let lowers = lowers.iter().enumerate();
        let mut disk = Disk {
            lowers: lowers.map(|(i, l)| write(&format!("l{i}"), l)).collect(),
            data: Vec::new(),
            upper: write("u", upper),
            work: space.dir("w"),
            mount: space.dir("m"),
            options: options.iter().map(|o| String::from(*o)).collect(),
            space: Some(space),
        };
        test(&mut disk);
    });
}

/// A state that layers alone can show: in memory, then on disk and by the kernel.
pub(crate) fn heals(
    options: &[&str],
    lowers: &[LayerSpec],
    upper: &LayerSpec,
    expected: &[&str],
    changes: &[&str],
) {
    Memory::new(options, lowers, upper).heals(expected, changes);
    on_disk(options, lowers, upper, |disk| disk.heals(expected, changes));
}

/// As [`heals`] at default options.
pub(crate) fn heals_plain(
    lowers: &[LayerSpec],
    upper: &LayerSpec,
    expected: &[&str],
    changes: &[&str],
) {
    heals(&[], lowers, upper, expected, changes);
}

/// The index entry of what the upper has as `name`.
pub(crate) fn entry(disk: &Disk, name: &str) -> PathBuf {
    let origin = get(&disk.upper.join(name), ORIGIN);
    let hex: String = origin.iter().map(|b| format!("{b:02x}")).collect();
    disk.work.join("index").join(hex)
}

/// How a finding tells of an entry.
pub(crate) fn in_index(entry: &Path) -> String {
    format!(
        "work:/index/{}",
        entry.file_name().unwrap().to_str().unwrap()
    )
}
