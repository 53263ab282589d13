//! What all cases use.

use std::path::{Path, PathBuf};

use layerstack::backend::{
    At, Entry, LayerBackend, NewKind, NewNode, NodeRef, RenameHow, UpperBackend,
};
use layerstack::{DirLayer, Errno, Metadata, Name};

/// An upper layer in a temporary directory.
pub struct Upper {
    pub dir: tempfile::TempDir,
    pub layer: DirLayer,
    /// What it lies on, if that was mounted for it.
    _mount: Option<Memory>,
}

/// A filesystem in memory, mounted at a temporary directory.
pub struct Memory(tempfile::TempDir);

impl Memory {
    fn mounted(options: &str) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let done = std::process::Command::new("mount")
            .args(mount)
            .arg(at.path())
            .status();
        done.is_ok_and(|done| done.success()).then_some(Memory(at))
    }
}

impl Drop for Memory {
    /// Nodes of the layer may still be in use.
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

impl Upper {
    pub fn new() -> Self {
        Upper::with(tempfile::tempdir().unwrap(), None)
    }

    /// One where other temporary files are and, where mounting is permitted, one on a mount that lets nobody open devices.
    pub fn with_and_without_devices() -> Vec<Self> {
        let mut all = vec![Upper::new()];
        if let Some(mount) = Memory::mounted("nodev") {
            let dir = tempfile::tempdir_in(mount.0.path()).unwrap();
            all.push(Upper::with(dir, Some(mount)));
        } else {
            assert!(!is_root() || std::env::var_os("REQUIRE_KERNEL").is_none());
            println!("skipped: mounting is not permitted");
        }
        all
    }

    fn with(dir: tempfile::TempDir, mount: Option<Memory>) -> Self {
        std::fs::create_dir(dir.path().join("up")).unwrap();
        std::fs::create_dir(dir.path().join("wd")).unwrap();
        let layer = DirLayer::open_upper(dir.path().join("up"), dir.path().join("wd")).unwrap();
        Upper {
            dir,
            layer,
            _mount: mount,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("up").join(name)
    }

    pub fn work_path(&self, name: &str) -> PathBuf {
        self.dir.path().join("wd").join(name)
    }

    pub fn root(&self) -> NodeRef {
        self.layer.root().unwrap()
    }

    pub fn make(&self, dir: &NodeRef, name: &str, new: &NewNode) -> NodeRef {
        self.layer.create(At::new(dir, &n(name)), new).unwrap()
    }

    pub fn rename(
        &self,
        from: (&NodeRef, &str),
        to: (&NodeRef, &str),
        how: RenameHow,
    ) -> Result<(), Errno> {
        let (a, b) = (n(from.1), n(to.1));
        self.layer
            .rename(At::new(from.0, &a), At::new(to.0, &b), how)
            .map_err(|e| e.errno())
    }
}

pub fn n(name: impl AsRef<[u8]>) -> Name {
    Name::new(name).unwrap()
}

pub fn new(kind: NewKind, mode: u32) -> NewNode {
    NewNode {
        kind,
        mode,
        uid: None,
        gid: None,
    }
}

pub fn file() -> NewNode {
    new(NewKind::File, 0o644)
}

pub fn dir() -> NewNode {
    new(NewKind::Directory, 0o755)
}

/// The node called `name`; panics if there is none.
pub fn get(dir: &NodeRef, name: &str) -> (NodeRef, Metadata) {
    match dir.lookup(&n(name)).unwrap() {
        Some(Entry::Node(node, meta)) => (node, meta),
        other => panic!("{name}: {other:?}"),
    }
}

pub fn absent(dir: &NodeRef, name: &str) -> bool {
    dir.lookup(&n(name)).unwrap().is_none()
}

pub fn names(dir: &NodeRef) -> Vec<String> {
    let mut names: Vec<_> = dir
        .list()
        .unwrap()
        .into_iter()
        .map(|e| e.name.to_string())
        .collect();
    names.sort();
    names
}

pub fn errno<T: std::fmt::Debug>(r: layerstack::backend::Result<T>) -> Errno {
    r.unwrap_err().errno()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Descriptors that this process has open.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs the named test of this binary again, in a child process prepared by `prepare`.
pub fn in_child(test: &str, prepare: impl FnOnce(&mut std::process::Command)) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("DIR_LAYER_CHILD", "1");
    prepare(&mut command);
    let out = command.output().unwrap();
    assert!(
        out.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

pub fn is_child() -> bool {
    std::env::var_os("DIR_LAYER_CHILD").is_some()
}

pub fn mknod(path: &Path, kind: rustix::fs::FileType, major: u32, minor: u32) {
    let dev = rustix::fs::makedev(major, minor);
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, dev).unwrap();
}

/// Makes a chain of `depth` directories called `d`, deeper than a path can tell.
pub fn deepen(top: &Path, depth: usize) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = rustix::fs::open(top, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
}

/// Removes such a chain: what removes temporary directories may not reach that deep.
pub fn flatten(top: &Path) {
    while top.join("d").exists() {
        match std::fs::rename(top.join("d/d"), top.join("e")) {
            Ok(()) => {
                std::fs::remove_dir(top.join("d")).unwrap();
                std::fs::rename(top.join("e"), top.join("d")).unwrap();
            }
            Err(_) => std::fs::remove_dir(top.join("d")).unwrap(),
        }
    }
}
