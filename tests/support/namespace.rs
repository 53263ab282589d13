//! Threads with a mount namespace of their own, and what to do where there is no kernel to ask.

use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};

/// Runs `f` in a fresh thread with its own mount namespace, root, working directory and umask
/// (`022`). Nothing mounted there is seen elsewhere, and all of it vanishes with the thread. A panic
/// in `f` is passed on.
pub fn in_mount_namespace<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(16 << 20);
        let handle = thread.spawn_scoped(scope, || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).expect("unshare");
            let none: Option<&str> = None;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private /");
            umask(Mode::from_bits_truncate(0o022));
            f()
        });
        match handle.expect("thread").join() {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Why overlay mounts do not work here; `None` if they do.
pub fn no_kernel() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".into());
    }
    let works = std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS))
        .join()
        .unwrap();
    if let Err(errno) = works {
        return Some(format!("unshare: {errno}"));
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !known.split_whitespace().any(|word| word == "overlay") {
        return Some("no overlay in /proc/filesystems".into());
    }
    let programs = [
        "losetup",
        "mkfs.ext4",
        "chattr",
        "lsattr",
        "setpriv",
        "unshare",
    ];
    let missing = programs
        .into_iter()
        .find(|program| !super::fs::is_installed(program));
    missing.map(|program| format!("{program} is not installed"))
}

/// True if the tests that need a kernel can run (in a child of [`as_user`] too). Otherwise prints why not; with `REQUIRE_KERNEL=1`
/// that is a failure.
#[must_use]
pub fn require_kernel() -> bool {
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let Some(reason) = no_kernel() else {
        return true;
    };
    skip(&reason)
}

/// Prints why a test is skipped; with `REQUIRE_KERNEL=1` that is a failure. Answers `false`.
pub fn skip(reason: &str) -> bool {
    let required = std::env::var_os("REQUIRE_KERNEL").is_some_and(|v| v == "1");
    assert!(!required, "REQUIRE_KERNEL=1, but {reason}");
    eprintln!("skipped: {reason}");
    false
}

/// Set in the process that [`as_user`] starts.
const CHILD: &str = "LAYERSTACK_TEST_CHILD";

/// Runs the test `name` of this binary again, as an ordinary user who is root of a user namespace
/// and of a mount namespace, and there runs `f`. To be called by that test itself:
///
/// ```ignore
/// #[test]
/// fn rootless() {
///     as_user("rootless", || { /* runs in the namespace */ });
/// }
/// ```
pub fn as_user(name: &str, f: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return f();
    }
    let exe = std::env::current_exe().unwrap();
    let reachable = copy_for_user(&exe);
    let status = Command::new("setpriv")
        .args(["--reuid=1000", "--regid=1000", "--clear-groups", "--"])
        .args(["unshare", "-Urm", "--propagation=private", "--"])
        .arg(&*reachable)
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env("HOME", "/")
        .current_dir("/")
        .status()
        .expect("setpriv and unshare");
    assert!(status.success(), "{name} as an ordinary user: {status}");
}

/// A copy of this test binary where an ordinary user may run it.
fn copy_for_user(exe: &Path) -> tempfile::TempPath {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::Builder::new()
        .prefix("layerstack-test-")
        .tempfile_in("/tmp")
        .unwrap();
    let path = file.into_temp_path();
    std::fs::copy(exe, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}
