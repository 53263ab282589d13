//! Running a test again in a process of its own: as an ordinary user, or under limits.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Set in the processes that this module starts.
const CHILD: &str = "LAYERSTACK_TEST_RERUN";

/// True in a process that this module started.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs the test `name` of this binary again as user 65534 if this process is root. True where the
/// test is to go on: in that process, or where this process is an ordinary user itself.
#[must_use]
pub fn as_nobody(name: &str) -> bool {
    if is_child() || !is_root() {
        return true;
    }
    let tmp = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(tmp.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let exe = tmp.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
    std::fs::set_permissions(&exe, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&exe);
    command.uid(65534).gid(65534).current_dir(tmp.path());
    run(command.env("TMPDIR", tmp.path()), name);
    false
}

/// Runs the test `name` again with at most `fds` open files; true in that process.
#[must_use]
pub fn with_few_descriptors(name: &str, fds: u64) -> bool {
    if is_child() {
        return true;
    }
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -n {fds}; exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap());
    run(&mut command, name);
    false
}

/// Runs the test `name` again, alone in its process; true there.
#[must_use]
pub fn alone(name: &str) -> bool {
    if is_child() {
        return true;
    }
    run(&mut Command::new(std::env::current_exe().unwrap()), name);
    false
}

fn run(command: &mut Command, name: &str) {
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1");
    let out = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{name}:\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{name} was not run:\n{stdout}");
}

/// Descriptors that this process has open.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A temporary directory, in memory if possible.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}
