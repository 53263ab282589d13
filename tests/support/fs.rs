//! Filesystems to put layers on: tmpfs, and ext4, xfs and btrfs from loop files.
//!
//! A loop file is made once per test process and kind, in `/dev/shm` (memory) if there is one, and
//! unlinked at once; its loop device is held open and detaches itself when the process ends. All
//! namespaces of the process mount the same device.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Kind of filesystem.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fs {
    /// In memory; no UUID, file handles without one.
    Tmpfs,
    /// With a UUID (the root filesystem of a virtual machine may have none, which turns off origins).
    Ext4,
    /// Reflinks.
    Xfs,
    /// Reflinks, link count 1 of directories.
    Btrfs,
    /// In memory; no extended attributes, no file handles, no `RENAME_WHITEOUT`.
    Ramfs,
    /// A second ext4, with a UUID of its own: both number their inodes with 32 bits.
    Ext4Other,
}

/// Bytes of a loop file made from now on. They take memory only as they are written.
pub static IMAGE_BYTES: AtomicU64 = AtomicU64::new(512 << 20);

/// All of a loop file with ext4 is written once from the start. Otherwise writing a block for the first time
/// takes several times as long as writing it again, since memory must be found for it, in a virtual machine by
/// the host too. It depends on where ext4 puts a file whether its blocks were written before.
pub static IMAGE_WHOLE: AtomicBool = AtomicBool::new(false);

struct Image {
    device: PathBuf,
    _held: File,
}

impl Fs {
    fn name(self) -> &'static str {
        match self {
            Fs::Tmpfs => "tmpfs",
            Fs::Ext4 => "ext4",
            Fs::Xfs => "xfs",
            Fs::Btrfs => "btrfs",
            Fs::Ramfs => "ramfs",
            Fs::Ext4Other => "ext4-other",
        }
    }

    /// What mount(2) calls it.
    fn kind(self) -> &'static str {
        match self {
            Fs::Ext4Other => "ext4",
            other => other.name(),
        }
    }

    /// The program that makes it, if it is not installed.
    fn missing(self) -> Option<&'static str> {
        let program = match self {
            Fs::Tmpfs | Fs::Ramfs => return None,
            Fs::Ext4 | Fs::Ext4Other => "mkfs.ext4",
            Fs::Xfs => "mkfs.xfs",
            Fs::Btrfs => "mkfs.btrfs",
        };
        (!is_installed(program)).then_some(program)
    }

    fn image(self) -> &'static Image {
        static IMAGES: [OnceLock<Image>; 5] = [const { OnceLock::new() }; 5];
        IMAGES[self as usize - 1].get_or_init(|| self.make_image())
    }

    fn make_image(self) -> Image {
        let dir = match Path::new("/dev/shm").is_dir() {
            true => PathBuf::from("/dev/shm"),
            false => std::env::temp_dir(),
        };
        let file = tempfile::Builder::new()
            .prefix("layerstack-img-")
            .tempfile_in(dir)
            .unwrap();
        let bytes = IMAGE_BYTES.load(Ordering::Relaxed);
        file.as_file().set_len(bytes).unwrap();
        let (mkfs, args): (&str, &[&str]) = match self {
            Fs::Ext4 | Fs::Ext4Other => ("mkfs.ext4", &["-q", "-F", "-I", "256", "-b", "4096"]),
            Fs::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            Fs::Btrfs => ("mkfs.btrfs", &["-q", "-f"]),
            Fs::Tmpfs | Fs::Ramfs => unreachable!("{} has no image", self.name()),
        };
        // What is large may also have many files.
        let more: &[&str] = match self == Fs::Ext4 && IMAGE_WHOLE.load(Ordering::Relaxed) {
            true => {
                fill(file.as_file(), bytes);
                &["-i", "8192", "-E", "nodiscard,lazy_itable_init=0"]
            }
            false => &[],
        };
        run(Command::new(mkfs).args(args).args(more).arg(file.path()));
        let device = run(Command::new("losetup")
            .args(["--find", "--show"])
            .arg(file.path()));
        let device = PathBuf::from(device.trim());
        let held = File::open(&device).unwrap();
        // Detaching a device in use makes the kernel detach it after its last user.
        run(Command::new("losetup").arg("--detach").arg(&device));
        Image {
            device,
            _held: held,
        }
    }

    /// Mounts it at `at`, an existing directory, in the namespace of the calling thread.
    pub fn mount_at(self, at: &Path) {
        let none: Option<&str> = None;
        let noatime = MsFlags::MS_NOATIME;
        let done = match self {
            Fs::Tmpfs | Fs::Ramfs => {
                let kind = Some(self.name());
                mount(kind, at, kind, noatime, Some("mode=755"))
            }
            Fs::Btrfs => {
                let options = Some("user_subvol_rm_allowed");
                mount(
                    Some(&self.image().device),
                    at,
                    Some(self.kind()),
                    noatime,
                    options,
                )
            }
            _ => mount(
                Some(&self.image().device),
                at,
                Some(self.kind()),
                noatime,
                none,
            ),
        };
        done.unwrap_or_else(|e| panic!("mount {} at {}: {e}", self.name(), at.display()));
    }
}

/// True if a program of this name can be started.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// As [`require_kernel`](super::namespace::require_kernel), for tests on these filesystems: their
/// programs must be installed.
#[must_use]
pub fn require_fs(kinds: &[Fs]) -> bool {
    match kinds.iter().find_map(|kind| kind.missing()) {
        Some(program) => super::namespace::skip(&format!("{program} is not installed")),
        None => super::namespace::require_kernel(),
    }
}

fn run(command: &mut Command) -> String {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {} {error}", out.status);
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// One filesystem of each kind asked for, mounted for the life of this value in the namespace of the
/// thread that made it.
pub struct Mounted {
    base: PathBuf,
    fs: Vec<(Fs, PathBuf)>,
}

impl Mounted {
    /// Mounts these under a new tmpfs. To be called within
    /// [`in_mount_namespace`](super::namespace::in_mount_namespace).
    pub fn new(kinds: &[Fs]) -> Self {
        // Anything that exists will do: this namespace is private.
        let base = PathBuf::from("/mnt");
        Fs::Tmpfs.mount_at(&base);
        let mut fs = Vec::new();
        for kind in kinds {
            if fs.iter().any(|(known, _)| known == kind) {
                continue;
            }
            let at = base.join(kind.name());
            std::fs::create_dir(&at).unwrap();
            kind.mount_at(&at);
            fs.push((*kind, at));
        }
        Mounted { base, fs }
    }

    /// Where `kind` is mounted.
    pub fn path(&self, kind: Fs) -> &Path {
        let found = self.fs.iter().find(|(known, _)| *known == kind);
        &found.unwrap_or_else(|| panic!("{kind:?} is not mounted")).1
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Quietly: at a panic, or in a user namespace, the thread's end does it as well.
        for (_, at) in &self.fs {
            let _ = umount2(at, MntFlags::MNT_DETACH);
        }
        let _ = umount2(&self.base, MntFlags::MNT_DETACH);
    }
}

/// Writes all bytes of a file, so that there is memory or a place on a disk for each.
fn fill(mut file: &File, bytes: u64) {
    use std::io::Write;
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(zeros.len() as u64);
        file.write_all(zeros.get(..n as usize).unwrap()).unwrap();
        left -= n;
    }
}

/// A fresh directory, removed with all it holds when dropped.
pub struct Workspace(PathBuf);

impl Workspace {
    /// A directory on `kind`, unlike any other of this process.
    pub fn new(mounted: &Mounted, kind: Fs) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("w{}-{number}", std::process::id());
        let path = mounted.path(kind).join(name);
        std::fs::create_dir(&path).unwrap();
        Workspace(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new subdirectory.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if std::env::var_os("KEEP_WORKSPACE").is_none() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
