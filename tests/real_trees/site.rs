//! Directories for one stack, mounted by the kernel and opened by the crate in turn, and what is
//! downloaded once.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

use layerstack::testing::{SnapshotOptions, TreeSnapshot};
use layerstack::{DirLayer, LayerStack, Overlay, OverlayOptions, Timestamp, XattrNamespace};
use nix::mount::{MsFlags, mount, umount};

use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::mount::{OverlayConfig, OverlayMount};

/// Runs a command; panics with all it said if it fails.
pub fn run(command: &mut Command) -> String {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    let status = out.status;
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}\n{stderr}"
    );
    stdout
}

/// Runs a shell script in a directory.
pub fn sh(dir: &Path, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).current_dir(dir);
    for (key, value) in [
        ("HOME", "/nonexistent"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "a"),
        ("GIT_AUTHOR_EMAIL", "a@example.org"),
        ("GIT_COMMITTER_NAME", "a"),
        ("GIT_COMMITTER_EMAIL", "a@example.org"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ] {
        command.env(key, value);
    }
    run(&mut command)
}

/// Runs a script as root of the tree mounted at `root`, with the packages at `/mnt`.
pub fn in_chroot(root: &Path, packages: &Path, script: &str) {
    let none: Option<&str> = None;
    let binds = [
        (Path::new("/dev"), root.join("dev")),
        (Path::new("/proc"), root.join("proc")),
        (packages, root.join("mnt")),
    ];
    for (from, to) in &binds {
        mount(Some(*from), to, none, MsFlags::MS_BIND, none).unwrap();
    }
    let mut command = Command::new("chroot");
    command.arg(root).args(["sh", "-euc", script]).env_clear();
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    run(&mut command);
    for (_, to) in binds.iter().rev() {
        umount(to).unwrap();
    }
}

/// One stack of directories.
pub struct Site {
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub mount: PathBuf,
    pub started: Timestamp,
    uppers: usize,
    space: Workspace,
    /// Outlives everything that lies on it.
    _mounted: Mounted,
    log_lines: usize,
}

impl Site {
    /// An empty stack on `fs` with one lower, which `fill` fills.
    pub fn new(fs: Fs, fill: impl FnOnce(&Path)) -> Self {
        let mounted = Mounted::new(&[fs]);
        let space = Workspace::new(&mounted, fs);
        let lower = space.dir("lower");
        fill(&lower);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Site {
            lowers: vec![lower],
            upper: space.dir("upper0"),
            work: space.dir("work0"),
            mount: space.dir("merged"),
            // With room for the coarse clock of files.
            started: Timestamp::new(now.as_secs().try_into().unwrap(), 0),
            uppers: 0,
            space,
            _mounted: mounted,
            log_lines: kernel_log().len(),
        }
    }

    /// Makes the upper the topmost lower, below a new one.
    pub fn rotate(&mut self) {
        self.uppers += 1;
        let n = self.uppers;
        let (upper, work) = (format!("upper{n}"), format!("work{n}"));
        let old = std::mem::replace(&mut self.upper, self.space.dir(&upper));
        self.lowers.insert(0, old);
        self.work = self.space.dir(&work);
    }

    /// Takes a new upper, on the same lowers.
    pub fn start_over(&mut self) {
        self.uppers += 1;
        let n = self.uppers;
        self.upper = self.space.dir(&format!("upper{n}"));
        self.work = self.space.dir(&format!("work{n}"));
    }

    /// Mounts the stack, runs `f` at the mount, and answers with what the kernel then shows after
    /// mounting anew, when nothing is left in its caches.
    pub fn in_kernel(&self, f: impl FnOnce(&Path)) -> TreeSnapshot {
        let config = OverlayConfig {
            lowers: self.lowers.clone(),
            data: Vec::new(),
            upper: Some(self.upper.clone()),
            work: Some(self.work.clone()),
            options: Vec::new(),
        };
        let mount = OverlayMount::new(&self.mount, &config).unwrap();
        f(&self.mount);
        mount.unmount().unwrap();
        let mount = OverlayMount::new(&self.mount, &config).unwrap();
        let tree = TreeSnapshot::of_dir(&self.mount, &self.merged()).unwrap();
        mount.unmount().unwrap();
        self.labelled(tree)
    }

    /// Opens the stack with the crate.
    pub fn open(&self) -> Overlay {
        let lowers = self.lowers.iter().map(|p| DirLayer::open_lower(p).unwrap());
        let stack = LayerStack::from_top(lowers).unwrap();
        let upper = DirLayer::open_upper(&self.upper, &self.work).unwrap();
        let options = OverlayOptions::new().fsync(layerstack::Fsync::Off);
        Overlay::with_options(&stack, upper, options).unwrap()
    }

    /// What the crate shows.
    pub fn shown(&self, overlay: &Overlay) -> TreeSnapshot {
        self.labelled(TreeSnapshot::of_backend(&**overlay, &self.merged()).unwrap())
    }

    /// What a stack of other layers shows.
    pub fn shown_stack(&self, stack: &LayerStack) -> TreeSnapshot {
        TreeSnapshot::of_backend(stack, &self.merged()).unwrap()
    }

    /// How merged trees are read.
    pub fn merged(&self) -> SnapshotOptions {
        SnapshotOptions::merged().started(self.started)
    }

    /// Names inodes after the layers that they are in.
    pub fn labelled(&self, mut tree: TreeSnapshot) -> TreeSnapshot {
        let options = SnapshotOptions::layer(XattrNamespace::Trusted).content(false);
        let of = |path: &PathBuf| TreeSnapshot::of_dir(path, &options).unwrap();
        let mut layers: Vec<_> = self.lowers.iter().map(of).collect();
        layers.push(of(&self.upper));
        let names: Vec<_> = (0..layers.len()).map(|i| format!("layer{i}")).collect();
        let labels: Vec<_> = names.iter().map(String::as_str).zip(&layers).collect();
        tree.label_inodes(&labels);
        tree
    }

    /// The lowers alone, by an own mount of the kernel's, or as they are.
    pub fn lowers_alone(&self) -> TreeSnapshot {
        if let [only] = self.lowers.as_slice() {
            return TreeSnapshot::of_dir(only, &self.merged()).unwrap();
        }
        let config = OverlayConfig {
            lowers: self.lowers.clone(),
            ..OverlayConfig::default()
        };
        let mount = OverlayMount::new(&self.mount, &config).unwrap();
        let tree = TreeSnapshot::of_dir(&self.mount, &self.merged()).unwrap();
        mount.unmount().unwrap();
        tree
    }

    /// Fails if the kernel complained about an overlay meanwhile. Elsewhere than in the gate others
    /// may use overlays at the same time, so there it is only told.
    pub fn check_log(&self) {
        let log = kernel_log();
        let new = log.get(self.log_lines..).unwrap_or_default();
        if !new.is_empty() {
            let text = new.join("\n");
            let strict = std::env::var_os("REQUIRE_KERNEL").is_some_and(|v| v == "1");
            assert!(!strict, "the kernel says:\n{text}");
            eprintln!("the kernel says:\n{text}");
        }
    }
}

/// What the kernel's log has about overlays.
fn kernel_log() -> Vec<String> {
    let out = Command::new("dmesg").output();
    let text = out.map_or_else(|_| Vec::new(), |out| out.stdout);
    let lines = String::from_utf8_lossy(&text).into_owned();
    let about = |line: &&str| line.contains("overlayfs:");
    lines.lines().filter(about).map(String::from).collect()
}

/// Where downloads stay.
fn cache() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-cache");
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The version of Debian to take, from the mirror that debootstrap knows by itself.
const SUITE: &str = "bookworm";

/// A minimal Debian and some packages for it; why not, if they cannot be had.
pub fn debian() -> Result<(PathBuf, PathBuf), String> {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let (base, packages) = (cache().join("base"), cache().join("packages"));
    if !base.is_dir() {
        // In a namespace of its own: what it mounts does not stay.
        let new = tempfile::tempdir_in(cache()).unwrap();
        let made = new.path().join("base");
        let mut command = Command::new("unshare");
        command.args(["-m", "debootstrap", "--variant=minbase", SUITE]);
        try_run(command.arg(&made))?;
        for left in ["var/cache/apt/archives", "var/lib/apt/lists"] {
            let _ = std::fs::remove_dir_all(made.join(left));
            std::fs::create_dir_all(made.join(left)).unwrap();
        }
        std::fs::rename(&made, &base).unwrap();
    }
    if !packages.is_dir() {
        let new = tempfile::tempdir_in(cache()).unwrap();
        let made = new.path().join("packages");
        std::fs::create_dir(&made).unwrap();
        let names = [
            "bc",
            "coreutils",
            "less",
            "make",
            "perl-modules-5.36",
            "tree",
            "tzdata",
        ];
        let mut command = Command::new("apt-get");
        command.arg("download").args(names).current_dir(&made);
        if try_run(&mut command).is_err() {
            try_run(Command::new("apt-get").arg("update"))?;
            try_run(&mut command)?;
        }
        std::fs::rename(&made, &packages).unwrap();
    }
    Ok((base, packages))
}

fn try_run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let last: Vec<&str> = text.lines().rev().take(3).collect();
    Err(format!("{command:?}: {}: {}", out.status, last.join("; ")))
}

/// As [`debian`]; prints why the test is skipped, or fails with `REQUIRE_KERNEL=1`.
pub fn require_debian() -> Option<(PathBuf, PathBuf)> {
    let why = match debian() {
        Ok(found) => return Some(found),
        Err(why) => why,
    };
    let required = std::env::var_os("REQUIRE_KERNEL").is_some_and(|v| v == "1");
    assert!(!required, "REQUIRE_KERNEL=1, but {why}");
    eprintln!("skipped: {why}");
    None
}

/// Copies what is in one directory into another, as it is.
pub fn copy_all(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.args(["-a", "-T"]);
    run(command.args([from, to].map(<Path as AsRef<OsStr>>::as_ref)));
}
