//! Real trees: a plain directory, and mounts of the kernel's overlayfs in a thread with a mount
//! namespace of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use layerstack::testing::merged::cases::{Declared, Factory};
use layerstack::testing::mount_point::RealFs;
use layerstack::testing::{
    LayerSpec, MergedFs, MountPoint, SnapshotOptions, TreeSnapshot, Weakenings,
};
use layerstack::{Errno, Op, Outcome};

use crate::stack::NAMESPACE;
use crate::support::child::{is_root, scratch};
use crate::support::fs::{Fs, Mounted, Workspace, require_fs};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::in_mount_namespace;
use crate::unions::{root_of, spread};

/// Real directories without any layers.
pub struct PlainDirectory;

impl Factory for PlainDirectory {
    fn make(&self, tree: &LayerSpec) -> Box<dyn MergedFs> {
        let dir = scratch();
        tree.write_to_dir(dir.path(), NAMESPACE).unwrap();
        Box::new(InDirectory(MountPoint::new(dir.path()).unwrap(), dir))
    }

    fn declared(&self) -> Declared {
        let mut declared = Declared::full();
        // Scratch directories lie on tmpfs where there is one.
        declared.zeroes_ranges = false;
        declared.shifts_ranges = false;
        declared
    }

    fn unavailable(&self) -> Option<String> {
        (!is_root()).then(|| "not root, who alone may make owners and devices".into())
    }
}

/// Closed before its directory is removed.
struct InDirectory(MountPoint, tempfile::TempDir);

impl MergedFs for InDirectory {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.0.apply(op)
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        self.0.snapshot(options)
    }
}

/// Mounts on ext4.
pub struct Kernel {
    options: Vec<String>,
    weakenings: Weakenings,
}

impl Kernel {
    pub fn by_default() -> Self {
        Kernel {
            options: Vec::new(),
            weakenings: Weakenings::default_options(NAMESPACE),
        }
    }

    pub fn posix_profile() -> Self {
        Kernel {
            options: ["index=on", "redirect_dir=on"].map(String::from).to_vec(),
            weakenings: Weakenings::posix_profile(NAMESPACE),
        }
    }
}

impl Factory for Kernel {
    fn make(&self, tree: &LayerSpec) -> Box<dyn MergedFs> {
        let (requests, inbox) = channel();
        let (outbox, answers) = channel();
        let (layers, options) = (spread(tree), self.options.clone());
        let thread = std::thread::spawn(move || {
            in_mount_namespace(move || serve(&layers, options, inbox, outbox));
        });
        Box::new(Mount {
            requests: Some(requests),
            answers,
            thread: Some(thread),
        })
    }

    fn declared(&self) -> Declared {
        Declared::weaker(self.weakenings)
    }

    fn unavailable(&self) -> Option<String> {
        (!require_fs(&[Fs::Ext4])).then(|| "no kernel to ask".into())
    }
}

enum Request {
    Apply(Op),
    Snapshot(SnapshotOptions),
}

enum Answer {
    Applied(Result<Outcome, Errno>),
    Captured(Result<TreeSnapshot, Errno>),
}

/// A mount, and the thread that has it.
struct Mount {
    requests: Option<Sender<Request>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl Mount {
    fn ask(&self, request: Request) -> Answer {
        self.requests.as_ref().unwrap().send(request).unwrap();
        self.answers.recv().expect("the thread with the mount")
    }
}

impl MergedFs for Mount {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        match self.ask(Request::Apply(op.clone())) {
            Answer::Applied(answer) => answer,
            Answer::Captured(_) => unreachable!("asked to apply"),
        }
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        match self.ask(Request::Snapshot(options.clone())) {
            Answer::Captured(tree) => tree,
            Answer::Applied(_) => unreachable!("asked to capture"),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.requests = None;
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn serve(
    layers: &[LayerSpec],
    options: Vec<String>,
    requests: Receiver<Request>,
    answers: Sender<Answer>,
) {
    let mounted = Mounted::new(&[Fs::Ext4]);
    let space = Workspace::new(&mounted, Fs::Ext4);
    let lowers: Vec<_> = (0..)
        .zip(layers)
        .map(|(i, layer)| {
            let dir = space.dir(&format!("l{i}"));
            layer.write_to_dir(&dir, NAMESPACE).unwrap();
            dir
        })
        .collect();
    let upper = space.dir("u");
    // Its root is the root of the tree.
    root_of(&layers[0]).write_to_dir(&upper, NAMESPACE).unwrap();
    let config = OverlayConfig {
        lowers,
        upper: Some(upper),
        work: Some(space.dir("w")),
        data: Vec::new(),
        options,
    };
    let mount = OverlayMount::new(&space.dir("m"), &config).expect("mount");
    let mut tree = RealFs::new(mount.path()).unwrap();
    while let Ok(request) = requests.recv() {
        let answer = match request {
            Request::Apply(op) => Answer::Applied(tree.apply(&op)),
            Request::Snapshot(how) => Answer::Captured(TreeSnapshot::of_dir(mount.path(), &how)),
        };
        if answers.send(answer).is_err() {
            break;
        }
    }
    drop(tree);
    mount.unmount().expect("unmount");
}
