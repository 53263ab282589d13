//! Overlay mounts, by the new mount API (one call per layer, so no page of options and no escaping) or
//! by mount(2).

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use layerstack::Errno;
use nix::mount::MsFlags;
use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

/// What to mount.
#[derive(Clone, Debug, Default)]
pub struct OverlayConfig {
    /// Topmost first.
    pub lowers: Vec<PathBuf>,
    /// Data-only.
    pub data: Vec<PathBuf>,
    pub upper: Option<PathBuf>,
    pub work: Option<PathBuf>,
    /// Such as `index=on` or `userxattr`.
    pub options: Vec<String>,
}

/// A live overlay mount; unmounted when dropped.
pub struct OverlayMount {
    at: PathBuf,
    mounted: bool,
}

/// Why a mount was refused: errno, and what the kernel logged for this mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub errno: Errno,
    pub log: String,
}

impl OverlayMount {
    /// Mounts at `at`, an existing directory, without devices (opening one must not reach a driver).
    pub fn new(at: &Path, config: &OverlayConfig) -> Result<Self, Refused> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| Refused {
            errno: e.into(),
            log: String::from("fsopen"),
        })?;
        let done = attach(&fs, at, config);
        done.map_err(|e| Refused {
            errno: e.into(),
            log: log_of(&fs),
        })?;
        Ok(OverlayMount {
            at: at.to_path_buf(),
            mounted: true,
        })
    }

    /// Mounts at `at` by mount(2) with these options, which are cut off after a page.
    pub fn by_string(at: &Path, data: &OsStr) -> Result<Self, Errno> {
        let kind = Some("overlay");
        nix::mount::mount(Some("test"), at, kind, MsFlags::empty(), Some(data))?;
        Ok(OverlayMount {
            at: at.to_path_buf(),
            mounted: true,
        })
    }

    /// Mounts at `at` by fsconfig(2) with exactly these options.
    pub fn by_pairs<K: AsRef<OsStr>>(
        at: &Path,
        pairs: &[(K, Option<OsString>)],
    ) -> Result<Self, Refused> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|e| Refused {
            errno: e.into(),
            log: String::from("fsopen"),
        })?;
        let set = |(key, value): &(K, Option<OsString>)| match value {
            Some(value) => fsconfig_set_string(&fs, key.as_ref(), value),
            None => fsconfig_set_flag(&fs, key.as_ref()),
        };
        let done = pairs.iter().try_for_each(set);
        done.and_then(|()| create(&fs, at)).map_err(|e| Refused {
            errno: e.into(),
            log: log_of(&fs),
        })?;
        Ok(OverlayMount {
            at: at.to_path_buf(),
            mounted: true,
        })
    }

    /// The options of the filesystem as `/proc/self/mountinfo` shows them, escapes included.
    pub fn shown(&self) -> OsString {
        let info = std::fs::read("/proc/thread-self/mountinfo").expect("mountinfo");
        let at = self.at.as_os_str().as_bytes();
        let fields = info
            .split(|b| *b == b'\n')
            .map(|line| line.split(|b| *b == b' ').collect::<Vec<_>>());
        let mut here = fields.filter(|f| f.get(4) == Some(&at));
        let line = here.next_back().expect("a mount there");
        OsStr::from_bytes(line.last().expect("options")).to_os_string()
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts now; `EBUSY` if something stays open in it. A process that another thread starts
    /// has all descriptors for a moment, so that is waited for.
    pub fn unmount(mut self) -> Result<(), Errno> {
        for _ in 0..200 {
            match unmount(&self.at, UnmountFlags::empty()) {
                Err(rustix::io::Errno::BUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                other => {
                    self.mounted = false;
                    return Ok(other?);
                }
            }
        }
        Err(Errno::EBUSY)
    }
}

impl Drop for OverlayMount {
    fn drop(&mut self) {
        if self.mounted {
            let _ = unmount(&self.at, UnmountFlags::DETACH);
        }
    }
}

fn attach(fs: &OwnedFd, at: &Path, config: &OverlayConfig) -> rustix::io::Result<()> {
    fsconfig_set_string(fs, "source", "layerstack-test")?;
    for lower in &config.lowers {
        fsconfig_set_string(fs, "lowerdir+", lower)?;
    }
    for data in &config.data {
        fsconfig_set_string(fs, "datadir+", data)?;
    }
    if let Some(upper) = &config.upper {
        fsconfig_set_string(fs, "upperdir", upper)?;
    }
    if let Some(work) = &config.work {
        fsconfig_set_string(fs, "workdir", work)?;
    }
    for option in &config.options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(fs, key, value)?,
            None => fsconfig_set_flag(fs, option.as_str())?,
        }
    }
    create(fs, at)
}

/// Makes the filesystem and mounts it at `at`.
fn create(fs: &OwnedFd, at: &Path) -> rustix::io::Result<()> {
    fsconfig_create(fs)?;
    let attrs = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let mount = fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attrs)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount.as_fd(), "", CWD, at, flags)
}

/// The messages that the kernel keeps with a mount context.
fn log_of(fs: &OwnedFd) -> String {
    let Ok(copy) = fs.try_clone() else {
        return String::new();
    };
    let mut file = std::fs::File::from(copy);
    let mut log = String::new();
    let mut buf = [0u8; 1024];
    while let Ok(n @ 1..) = file.read(&mut buf) {
        log += String::from_utf8_lossy(&buf[..n]).trim();
        log.push(' ');
    }
    log
}
