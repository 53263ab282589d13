//! Anything that executes operations on a stack of layers: the kernel, and what is compared with it.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

use layerstack::check::Report;
use layerstack::testing::mount_point::RealFs;
use layerstack::testing::{Case, SnapshotOptions, TreeSnapshot};
use layerstack::{Errno, Op, Outcome, Timestamp, XattrNamespace};

use super::checker;
use super::fs::{Fs, Mounted, Workspace};
use super::index::{IndexEntry, index_of_dir};
use super::mount::{OverlayConfig, OverlayMount};
use super::options::overlay_options;

/// A stack that is open for operations.
pub trait System {
    /// Executes one operation.
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno>;
    /// The merged tree.
    fn merged(&mut self) -> TreeSnapshot;
    /// What lies in the upper layer; an empty snapshot without one.
    fn upper(&mut self) -> TreeSnapshot;
    /// What lies in the index beside it.
    fn index(&mut self) -> Vec<IndexEntry>;
    /// Closes everything, slots too, and opens the same layers again.
    fn remount(&mut self) -> Result<(), Errno>;
    /// As `remount`, with the layers that [`Dirs::rotate`] leaves.
    fn rotate(&mut self) -> Result<(), Errno>;
    /// Closes everything, and checks what is left.
    fn check(self: Box<Self>) -> Report;
}

/// Opens a system on layers that are written already. Errors are those of opening the stack.
pub type Open<'a> = &'a (dyn Fn(&Dirs, &Rc<Stack>) -> Result<Box<dyn System>, Errno> + Sync);

/// The same as a function without environment.
pub type OpenFn = fn(&Dirs, &Rc<Stack>) -> Result<Box<dyn System>, Errno>;

/// On which filesystems the layers of a stack lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub upper: Fs,
    /// Used in turn for the lowers, topmost first.
    pub lowers: Vec<Fs>,
    /// Mount options, such as `redirect_dir=on`, for every system.
    pub options: Vec<String>,
}

impl Layout {
    /// All on one filesystem.
    pub fn same(fs: Fs) -> Self {
        Layout {
            upper: fs,
            lowers: vec![fs],
            options: Vec::new(),
        }
    }

    /// The same with mount options.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|o| String::from(*o)).collect();
        self
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
pub struct Stack {
    pub case: Case,
    pub namespace: XattrNamespace,
    /// After the layers were written, before any system was opened.
    pub started: Timestamp,
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
    /// Data-only.
    pub data: Vec<PathBuf>,
    /// All options of the mount: those of the case and those that the namespace asks for.
    pub options: Vec<String>,
    upper_space: Workspace,
    lower_spaces: Vec<(Fs, Workspace)>,
}

/// The directories of one system.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Topmost first. Those of the stack, shared with other systems, until the first rotation.
    pub lowers: Vec<PathBuf>,
    /// Data-only.
    pub data: Vec<PathBuf>,
    pub upper: Option<PathBuf>,
    pub work: Option<PathBuf>,
    /// An empty directory to mount on.
    pub mount: PathBuf,
}

impl Dirs {
    /// What the index in the work directory holds.
    pub fn index(&self, namespace: XattrNamespace) -> Vec<IndexEntry> {
        let work = self.work.as_ref();
        work.map_or_else(Vec::new, |work| index_of_dir(work, namespace))
    }

    /// Makes the upper the topmost lower, below a new empty upper with a new work directory.
    /// Nothing happens without an upper.
    pub fn rotate(&mut self) -> Result<(), Errno> {
        let Some(old) = self.upper.take() else {
            return Ok(());
        };
        let with = |suffix: &str| {
            let mut path = old.clone().into_os_string();
            path.push(suffix);
            let path = PathBuf::from(path);
            std::fs::create_dir(&path).map(|()| path)
        };
        let new = with("u").and_then(|upper| Ok((upper, with("w")?)));
        let (upper, work) = new.map_err(|e| Errno::of_io(&e))?;
        self.lowers.insert(0, old);
        (self.upper, self.work) = (Some(upper), Some(work));
        Ok(())
    }
}

impl Stack {
    /// Writes the lowers of `case`.
    pub fn new(
        mounted: &Mounted,
        layout: &Layout,
        namespace: XattrNamespace,
        case: &Case,
    ) -> Result<Self, Errno> {
        let upper_space = Workspace::new(mounted, layout.upper);
        let mut lower_spaces: Vec<(Fs, Workspace)> = Vec::new();
        let mut lowers = Vec::new();
        for (i, spec) in case.lowers.iter().chain(&case.data).enumerate() {
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
        let data = lowers.split_off(case.lowers.len());
        let mut options = case.options.clone();
        if namespace == XattrNamespace::User {
            options.push("userxattr".into());
        }
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        Ok(Stack {
            case: case.clone(),
            namespace,
            started: Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos()),
            lowers,
            data,
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
                lowers: self.lowers.clone(),
                data: self.data.clone(),
                upper: None,
                work: None,
                mount,
            });
        };
        let upper = self.upper_space.dir(&format!("{label}-u"));
        spec.write_to_dir(&upper, self.namespace)?;
        Ok(Dirs {
            lowers: self.lowers.clone(),
            data: self.data.clone(),
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
    dirs: Dirs,
    options: Vec<String>,
    merged: SnapshotOptions,
    layer: SnapshotOptions,
    namespace: XattrNamespace,
}

impl KernelSystem {
    /// Mounts the stack.
    pub fn open(dirs: &Dirs, stack: &Rc<Stack>) -> Result<Box<dyn System>, Errno> {
        KernelSystem::open_with(dirs, stack, &[])
    }

    /// Mounts the stack with more options than the case asks for.
    pub fn open_with(
        dirs: &Dirs,
        stack: &Rc<Stack>,
        more: &[&str],
    ) -> Result<Box<dyn System>, Errno> {
        let more = more.iter().map(|option| String::from(*option));
        let mut system = KernelSystem {
            fs: None,
            mount: None,
            dirs: dirs.clone(),
            options: stack.options.iter().cloned().chain(more).collect(),
            merged: stack.merged_options(),
            layer: stack.layer_options(),
            namespace: stack.namespace,
        };
        system.mount()?;
        Ok(Box::new(system))
    }

    fn mount(&mut self) -> Result<(), Errno> {
        let config = OverlayConfig {
            lowers: self.dirs.lowers.clone(),
            data: self.dirs.data.clone(),
            upper: self.dirs.upper.clone(),
            work: self.dirs.work.clone(),
            options: self.options.clone(),
        };
        let mount = OverlayMount::new(&self.dirs.mount, &config).map_err(|refused| {
            if std::env::var_os("KERNEL_LOG").is_some() {
                eprintln!("mount refused: {refused:?}");
            }
            refused.errno
        })?;
        self.mount = Some(mount);
        self.fs = Some(RealFs::new(&self.dirs.mount)?);
        Ok(())
    }

    /// Unmounts; `EBUSY` would show that something is left open.
    fn close(&mut self) -> Result<(), Errno> {
        self.fs = None;
        self.mount.take().map_or(Ok(()), OverlayMount::unmount)
    }
}

impl System for KernelSystem {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.fs.as_mut().expect("mounted").apply(op)
    }

    fn merged(&mut self) -> TreeSnapshot {
        TreeSnapshot::of_dir(&self.dirs.mount, &self.merged).expect("merged tree")
    }

    fn upper(&mut self) -> TreeSnapshot {
        upper_snapshot(&self.dirs, &self.layer)
    }

    fn index(&mut self) -> Vec<IndexEntry> {
        self.dirs.index(self.namespace)
    }

    fn remount(&mut self) -> Result<(), Errno> {
        self.close()?;
        self.mount()
    }

    fn rotate(&mut self) -> Result<(), Errno> {
        self.close()?;
        self.dirs.rotate()?;
        self.mount()
    }

    fn check(mut self: Box<Self>) -> Report {
        self.close().expect("unmount");
        checker::check(&self.dirs, self.namespace, overlay_options(&self.options))
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

/// What lies in the upper directory; an empty snapshot without one.
pub fn upper_snapshot(dirs: &Dirs, options: &SnapshotOptions) -> TreeSnapshot {
    let upper = dirs.upper.as_ref();
    upper.map_or_else(TreeSnapshot::default, |dir| {
        TreeSnapshot::of_dir(dir, options).expect("upper layer")
    })
}

/// Several systems in turn on the same directories: each remount hands over to the next, such as
/// from the kernel to another implementation and back.
pub struct HandOver {
    dirs: Dirs,
    stack: Rc<Stack>,
    systems: Vec<OpenFn>,
    turn: usize,
    /// Only between closing and opening there is none.
    current: Option<Box<dyn System>>,
}

impl HandOver {
    pub fn open(
        dirs: &Dirs,
        stack: &Rc<Stack>,
        systems: Vec<OpenFn>,
    ) -> Result<Box<dyn System>, Errno> {
        let mut hand_over = HandOver {
            dirs: dirs.clone(),
            stack: Rc::clone(stack),
            systems,
            turn: 0,
            current: None,
        };
        hand_over.next()?;
        Ok(Box::new(hand_over))
    }

    fn next(&mut self) -> Result<(), Errno> {
        let open = self.systems[self.turn % self.systems.len()];
        self.turn += 1;
        self.current = Some(open(&self.dirs, &self.stack)?);
        Ok(())
    }

    fn now(&mut self) -> &mut dyn System {
        &mut **self.current.as_mut().expect("open")
    }
}

impl System for HandOver {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.now().apply(op)
    }

    fn merged(&mut self) -> TreeSnapshot {
        self.now().merged()
    }

    fn upper(&mut self) -> TreeSnapshot {
        self.now().upper()
    }

    fn index(&mut self) -> Vec<IndexEntry> {
        self.now().index()
    }

    fn remount(&mut self) -> Result<(), Errno> {
        self.current = None;
        self.next()
    }

    fn rotate(&mut self) -> Result<(), Errno> {
        self.current = None;
        self.dirs.rotate()?;
        self.next()
    }

    fn check(mut self: Box<Self>) -> Report {
        self.current.take().expect("open").check()
    }
}
