//! Getting a mount: directly where this process may, else through `fusermount3`.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::fuse::options::FuseOptions;

const OP: &str = "mount";
const DEVICE: &str = "/dev/fuse";
/// The variable by which `fusermount3` is told where to send the descriptor.
const COMMUNICATION: &str = "_FUSE_COMMFD";

/// A mount, and who made it.
#[derive(Debug)]
pub(super) struct Mounted {
    /// Absolute, without symlinks.
    pub(super) mountpoint: PathBuf,
    by_helper: bool,
    /// Identifies the mount, so that nobody else's on the same directory is unmounted.
    id: Option<u64>,
    /// It was taken out of the tree of names while it was in use.
    detached: AtomicBool,
}

/// The device's other end of a new mount.
pub(super) fn mount(mountpoint: &Path, options: &FuseOptions) -> Result<(OwnedFd, Mounted)> {
    let failed = |errno: Errno| Error::new(OP, mountpoint, errno);
    let real = mountpoint
        .canonicalize()
        .map_err(|e| failed(Errno::of_io(&e)).with_detail("mount point"))?;
    if !real.is_dir() {
        return Err(failed(Errno::ENOTDIR).with_detail("mount point"));
    }
    let direct = open_device().and_then(|device| {
        mount_directly(&device, &real, options)?;
        Ok(device)
    });
    let (device, by_helper) = match direct {
        Ok(device) => (OwnedFd::from(device), false),
        Err(Errno::EPERM | Errno::EACCES) => (mount_by_helper(&real, options)?, true),
        Err(e) => {
            return Err(failed(e).with_detail(format!("cannot mount through {DEVICE}")));
        }
    };
    let mounted = Mounted {
        id: mount_id(&real),
        mountpoint: real,
        by_helper,
        detached: AtomicBool::new(false),
    };
    Ok((device, mounted))
}

pub(super) fn open_device() -> std::result::Result<File, Errno> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(DEVICE)
        .map_err(|e| Errno::of_io(&e))
}

fn flags(options: &FuseOptions) -> MountFlags {
    let mut flags = MountFlags::empty();
    for (on, flag) in [
        (!options.dev, MountFlags::NODEV),
        (!options.suid, MountFlags::NOSUID),
        (!options.exec, MountFlags::NOEXEC),
        (options.read_only, MountFlags::RDONLY),
    ] {
        if on {
            flags |= flag;
        }
    }
    flags
}

/// Whether others may use the mount: by default if this process is privileged.
pub(super) fn allows_others(options: &FuseOptions) -> bool {
    options
        .allow_other
        .unwrap_or_else(|| rustix::process::geteuid().is_root())
}

fn mount_directly(
    device: &File,
    mountpoint: &Path,
    options: &FuseOptions,
) -> std::result::Result<(), Errno> {
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={}",
        device.as_raw_fd(),
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if options.default_permissions {
        data.push_str(",default_permissions");
    }
    if allows_others(options) {
        data.push_str(",allow_other");
    }
    let data = CString::new(data).map_err(|_| Errno::EINVAL)?;
    let source = CString::new(options.source.as_str()).map_err(|_| Errno::EINVAL)?;
    rustix::mount::mount(
        source.as_c_str(),
        mountpoint,
        c"fuse.layerstack",
        flags(options),
        data.as_c_str(),
    )?;
    Ok(())
}

/// Lets `fusermount3` mount; it sends the device's descriptor over a socket.
fn mount_by_helper(mountpoint: &Path, options: &FuseOptions) -> Result<OwnedFd> {
    let failed = |errno: Errno, detail: String| {
        Error::new(OP, mountpoint, errno).with_detail(format!("fusermount3: {detail}"))
    };
    let of_io = |e: std::io::Error| failed(Errno::of_io(&e), e.to_string());
    let (ours, theirs) = UnixStream::pair().map_err(of_io)?;
    rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).map_err(|e| of_io(e.into()))?;
    let child = Command::new("fusermount3")
        .arg("-o")
        .arg(helper_options(options))
        .arg("--")
        .arg(mountpoint)
        .env(COMMUNICATION, theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(of_io)?;
    drop(theirs);
    let device = receive(&ours).map_err(|e| failed(e, e.to_string()));
    let output = child.wait_with_output().map_err(of_io)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let text = said.trim();
    let text = text
        .strip_prefix("fusermount3: ")
        .unwrap_or(text)
        .to_owned();
    match device? {
        Some(device) if output.status.success() => Ok(device),
        _ => Err(failed(Errno::EPERM, text)),
    }
}

fn helper_options(options: &FuseOptions) -> String {
    let source = options.source.replace('\\', "\\\\").replace(',', "\\,");
    let mut list = vec![format!("fsname={source}"), "subtype=layerstack".to_owned()];
    for (on, word) in [
        (options.read_only, "ro"),
        (!options.exec, "noexec"),
        (options.default_permissions, "default_permissions"),
        (allows_others(options), "allow_other"),
    ] {
        if on {
            list.push(word.to_owned());
        }
    }
    list.join(",")
}

/// The descriptor that comes over the socket; `None` if it is closed without one.
fn receive(socket: &UnixStream) -> std::result::Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    loop {
        let answer = rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        match answer {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
            Ok(_) => break,
        }
    }
    let mut received = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            received = descriptors.into_iter().next();
        }
    }
    Ok(received)
}

impl Mounted {
    /// Lets the kernel read `bytes` ahead, where this process may set that: it is 128 KiB for every new
    /// mount, whatever the two sides agree on, which leaves no more than one request under way for one
    /// reader. Call when the mount is served.
    pub(super) fn read_ahead(&self, bytes: u32) {
        if self.id.is_none() || mount_id(&self.mountpoint) != self.id {
            return;
        }
        // Answered by the server, so after the kernel has set its own value.
        let Ok(root) = rustix::fs::stat(&self.mountpoint) else {
            return;
        };
        let (major, minor) = (
            rustix::fs::major(root.st_dev),
            rustix::fs::minor(root.st_dev),
        );
        let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
        // Only root may, and only where there is such a file. It is about speed alone.
        let _ = std::fs::write(setting, (bytes / 1024).to_string());
    }

    /// Unmounts if it is still mounted. `lazily`: whoever uses it keeps using it.
    pub(super) fn unmount(&self, lazily: bool) -> std::result::Result<(), Errno> {
        if self.id.is_none() || mount_id(&self.mountpoint) != self.id {
            return Ok(());
        }
        let flags = match lazily {
            true => UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
            false => UnmountFlags::NOFOLLOW,
        };
        match rustix::mount::unmount(&self.mountpoint, flags) {
            Err(rustix::io::Errno::PERM) if self.by_helper => self.unmount_by_helper(lazily)?,
            done => done?,
        }
        self.detached.fetch_or(lazily, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it was unmounted lazily, so that serving may go on for long.
    pub(super) fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Relaxed)
    }

    fn unmount_by_helper(&self, lazily: bool) -> std::result::Result<(), Errno> {
        let mut command = Command::new("fusermount3");
        command.arg("-u").arg("-q");
        if lazily {
            command.arg("-z");
        }
        let status = command
            .arg("--")
            .arg(&self.mountpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|e| Errno::of_io(&e))?;
        match status.success() {
            true => Ok(()),
            false => Err(Errno::EBUSY),
        }
    }
}

/// The kernel's number of the mount that a path lies on. Does not ask the filesystem, whose server may
/// be gone.
fn mount_id(path: &Path) -> Option<u64> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    line.trim().parse().ok()
}
