//! Anything that executes operations on a stack of layers: the kernel, and what is compared with it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use layerstack::testing::{Case, SnapshotOptions, TreeSnapshot};
use layerstack::{Errno, Op, Outcome, Timestamp, XattrNamespace};

use super::fs::{Fs, Mounted, Workspace};
use super::mount::{OverlayConfig, OverlayMount};
use super::real_fs::RealFs;

/// A stack that is open for operations.
pub trait System {
    /// Executes one operation.
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno>;
    /// The merged tree.
    fn merged(&mut self) -> TreeSnapshot;
    /// What lies in the upper layer; an empty snapshot without one.
    fn upper(&mut self) -> TreeSnapshot;
    /// Closes everything, slots too, and opens the same layers again.
    fn remount(&mut self) -> Result<(), Errno>;
}

/// Opens a system on layers that are written already. Errors are those of opening the stack.
pub type Open<'a> = &'a dyn Fn(&Dirs, &Stack<'_>) -> Result<Box<dyn System>, Errno>;

/// On which filesystems the layers of a stack lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub upper: Fs,
    /// Used in turn for the lowers, topmost first.
    pub lowers: Vec<Fs>,
}

impl Layout {
    /// All on one filesystem.
    pub fn same(fs: Fs) -> Self {
        Layout {
            upper: fs,
            lowers: vec![fs],
        }
    }

    /// Every kind of filesystem in it.
    pub fn kinds(&self) -> Vec<Fs> {
        let mut kinds = self.lowers.clone();
        kinds.push(self.upper);
        kinds
    }

    /// True if all layers lie on one filesystem.
    pub fn is_same(&self) -> bool {
        self.lowers.iter().all(|fs| *fs == self.upper)
    }
}

/// The lower layers of a case, written once and shared by the systems under comparison.
pub struct Stack<'a> {
    pub case: &'a Case,
    pub namespace: XattrNamespace,
    /// After the layers were written, before any system was opened.
    pub started: Timestamp,
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
    /// All options of the mount: those of the case and those that the namespace asks for.
    pub options: Vec<String>,
    upper_space: Workspace,
    lower_spaces: Vec<(Fs, Workspace)>,
}

/// The directories of one system.
pub struct Dirs {
    pub upper: Option<PathBuf>,
    pub work: Option<PathBuf>,
    /// An empty directory to mount on.
    pub mount: PathBuf,
}

impl<'a> Stack<'a> {
    /// Writes the lowers of `case`.
    pub fn new(
        mounted: &Mounted,
        layout: &Layout,
        namespace: XattrNamespace,
        case: &'a Case,
    ) -> Result<Self, Errno> {
        let upper_space = Workspace::new(mounted, layout.upper);
        let mut lower_spaces: Vec<(Fs, Workspace)> = Vec::new();
        let mut lowers = Vec::new();
        for (i, spec) in case.lowers.iter().enumerate() {
            let fs = layout.lowers[i % layout.lowers.len()];
            let name = format!("l{i}");
            let dir = if fs == layout.upper {
                upper_space.dir(&name)
            } else if let Some((_, space)) = lower_spaces.iter().find(|(kind, _)| *kind == fs) {
                space.dir(&name)
            } else {
                lower_spaces.push((fs, Workspace::new(mounted, fs)));
                lower_spaces[lower_spaces.len() - 1].1.dir(&name)
            };
            spec.write_to_dir(&dir, namespace)?;
            lowers.push(dir);
        }
        let mut options = case.options.clone();
        if namespace == XattrNamespace::User {
            options.push("userxattr".into());
        }
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        Ok(Stack {
            case,
            namespace,
            started: Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos()),
            lowers,
            options,
            upper_space,
            lower_spaces,
        })
    }

    /// Directories for one more system, with the case's upper layer written.
    pub fn dirs(&self, label: &str) -> Result<Dirs, Errno> {
        let mount = self.upper_space.dir(&format!("{label}-m"));
        let Some(spec) = &self.case.upper else {
            return Ok(Dirs {
                upper: None,
                work: None,
                mount,
            });
        };
        let upper = self.upper_space.dir(&format!("{label}-u"));
        spec.write_to_dir(&upper, self.namespace)?;
        Ok(Dirs {
            upper: Some(upper),
            work: Some(self.upper_space.dir(&format!("{label}-w"))),
            mount,
        })
    }

    /// Options for snapshots of merged trees.
    pub fn merged_options(&self) -> SnapshotOptions {
        SnapshotOptions::merged().started(self.started)
    }

    /// Options for snapshots of layers.
    pub fn layer_options(&self) -> SnapshotOptions {
        SnapshotOptions::layer(self.namespace).started(self.started)
    }
}

/// The running kernel: a real overlay mount.
pub struct KernelSystem {
    fs: Option<RealFs>,
    mount: Option<OverlayMount>,
    config: OverlayConfig,
    at: PathBuf,
    merged: SnapshotOptions,
    layer: SnapshotOptions,
}

impl KernelSystem {
    /// Mounts the stack.
    pub fn open(dirs: &Dirs, stack: &Stack<'_>) -> Result<Box<dyn System>, Errno> {
        KernelSystem::open_with(dirs, stack, &[])
    }

    /// Mounts the stack with more options than the case asks for.
    pub fn open_with(
        dirs: &Dirs,
        stack: &Stack<'_>,
        more: &[&str],
    ) -> Result<Box<dyn System>, Errno> {
        let more = more.iter().map(|option| String::from(*option));
        let config = OverlayConfig {
            lowers: stack.lowers.clone(),
            upper: dirs.upper.clone(),
            work: dirs.work.clone(),
            options: stack.options.iter().cloned().chain(more).collect(),
        };
        let mut system = KernelSystem {
            fs: None,
            mount: None,
            config,
            at: dirs.mount.clone(),
            merged: stack.merged_options(),
            layer: stack.layer_options(),
        };
        system.mount()?;
        Ok(Box::new(system))
    }

    fn mount(&mut self) -> Result<(), Errno> {
        let mount = OverlayMount::new(&self.at, &self.config).map_err(|refused| {
            if std::env::var_os("KERNEL_LOG").is_some() {
                eprintln!("mount refused: {refused:?}");
            }
            refused.errno
        })?;
        self.mount = Some(mount);
        self.fs = Some(RealFs::new(&self.at)?);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Errno> {
        self.fs = None;
        self.mount.take().map_or(Ok(()), OverlayMount::unmount)
    }

    /// The real tree under test, for operations that no [`Op`] says.
    pub fn path(&self) -> &Path {
        &self.at
    }
}

impl System for KernelSystem {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.fs.as_mut().expect("mounted").apply(op)
    }

    fn merged(&mut self) -> TreeSnapshot {
        TreeSnapshot::of_dir(&self.at, &self.merged).expect("merged tree")
    }

    fn upper(&mut self) -> TreeSnapshot {
        let upper = self.config.upper.as_ref();
        upper.map_or_else(TreeSnapshot::default, |dir| {
            TreeSnapshot::of_dir(dir, &self.layer).expect("upper layer")
        })
    }

    fn remount(&mut self) -> Result<(), Errno> {
        self.close()?;
        self.mount()
    }
}

impl Drop for KernelSystem {
    fn drop(&mut self) {
        let closed = self.close();
        if !std::thread::panicking() {
            closed.expect("unmount");
        }
    }
}
