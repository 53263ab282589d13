//! The kernel's overlayfs on the lab's directories.

use std::fs;
use std::path::{Path, PathBuf};

use layerstack::XattrNamespace;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount_fs, umount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::show::Res;

/// A mounted overlay, in a mount namespace that only this process sees.
pub(crate) struct Mount {
    pub(crate) at: PathBuf,
    /// What a person would type.
    pub(crate) command: String,
}

/// Why there is no mount.
pub(crate) struct NotMounted(pub(crate) String);

/// Mounts the lab's `upper` above `lowers` (topmost first) at `merged`, if this process may. Paths
/// are relative, so that nothing in them needs quoting: this changes the working directory.
pub(crate) fn mount(
    root: &Path,
    lowers: &[&str],
    namespace: XattrNamespace,
) -> Result<Mount, NotMounted> {
    enter_namespace().map_err(NotMounted)?;
    let refused = |what: &str, e: String| NotMounted(format!("{what}: {e}"));
    std::env::set_current_dir(root).map_err(|e| refused("chdir", e.to_string()))?;
    let mut options = format!("lowerdir={},upperdir=upper,workdir=work", lowers.join(":"));
    if namespace == XattrNamespace::User {
        options += ",userxattr";
    }
    let (source, target) = ("overlay", "merged");
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount_fs(
        Some(source),
        target,
        Some("overlay"),
        flags,
        Some(options.as_str()),
    )
    .map_err(|e| refused("the kernel refused to mount an overlay here", e.to_string()))?;
    Ok(Mount {
        at: root.join(target),
        command: format!("-t overlay -o {options} overlay {target}"),
    })
}

impl Mount {
    pub(crate) fn unmount(self) -> Res {
        Ok(umount(&self.at)?)
    }
}

/// Gives this process a mount namespace of its own: as root at once, as an ordinary user within a
/// user namespace in which it keeps its numbers.
fn enter_namespace() -> Result<(), String> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => {}
        Err(Errno::EPERM) => {
            let (uid, gid) = (geteuid(), getegid());
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
                .map_err(|e| format!("this user may not mount, nor make a user namespace: {e}"))?;
            let write = |file: &str, text: String| {
                fs::write(format!("/proc/self/{file}"), text)
                    .map_err(|e| format!("user namespace: /proc/self/{file}: {e}"))
            };
            write("setgroups", "deny".into())?;
            write("uid_map", format!("{uid} {uid} 1"))?;
            write("gid_map", format!("{gid} {gid} 1"))?;
        }
        Err(e) => return Err(format!("no mount namespace: {e}")),
    }
    let none: Option<&str> = None;
    mount_fs(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|e| format!("cannot keep mounts to this process: {e}"))
}
