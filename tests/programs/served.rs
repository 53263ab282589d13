//! A mount, served by another process.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use layerstack::fuse::{FuseOptions, mount};
use layerstack::testing::{Compare, TreeSnapshot};
use layerstack::{DirLayer, LayerStack, Overlay};
use nix::mount::{MntFlags, umount2};

use crate::site::Site;
use crate::support::fs::{Fs, is_installed, require_fs};
use crate::support::namespace::skip;

/// True if programs can work on a mount here.
pub fn require(kinds: &[Fs], programs: &[&str]) -> bool {
    if !Path::new("/dev/fuse").exists() {
        return skip("there is no /dev/fuse");
    }
    match programs.iter().find(|program| !is_installed(program)) {
        Some(missing) => skip(&format!("{missing} is not installed")),
        None => require_fs(kinds),
    }
}

/// How much longer than in a short run.
pub fn times() -> usize {
    let asked = std::env::var("PROGRAMS_LONG").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Tells the server what to serve: lowers, upper, work directory, mount point, one on a line.
const PLACES: &str = "LAYERSTACK_PROGRAMS_SERVE";
const READY: &str = "served";

/// Not a test: the process that serves. Runs only if it is told to.
#[test]
fn server() {
    let Some(places) = std::env::var_os(PLACES) else {
        return;
    };
    let places = places.as_bytes().split(|b| *b == b'\n');
    let mut places: Vec<_> = places
        .map(|place| PathBuf::from(std::ffi::OsStr::from_bytes(place)))
        .collect();
    let at = places.pop().unwrap();
    let (work, upper) = (places.pop().unwrap(), places.pop().unwrap());
    let lowers = places.iter().map(|p| DirLayer::open_lower(p).unwrap());
    let lowers = LayerStack::from_top(lowers).unwrap();
    let overlay = Overlay::new(&lowers, DirLayer::open_upper(upper, work).unwrap()).unwrap();
    let session = mount(&overlay, at, &FuseOptions::new()).unwrap();
    println!("\n{READY}");
    session.join().unwrap();
}

/// The process that serves, and its mount.
pub struct Served {
    server: Child,
    /// Open as long as the server may say something.
    _said: Lines<BufReader<ChildStdout>>,
    at: PathBuf,
}

impl Served {
    pub fn new(site: &Site) -> Self {
        let places = site
            .lowers
            .iter()
            .chain([&site.upper, &site.work, &site.mount]);
        let places: Vec<&[u8]> = places.map(|p| p.as_os_str().as_bytes()).collect();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "served::server",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PLACES, std::ffi::OsStr::from_bytes(&places.join(&b'\n')))
            .stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
        let ready = said
            .by_ref()
            .any(|line| line.is_ok_and(|line| line == READY));
        assert!(ready, "the server ended: {:?}", server.wait());
        Served {
            server,
            _said: said,
            at: site.mount.clone(),
        }
    }

    /// Unmounts; nothing may be in use. The server must end well.
    pub fn stop(mut self) {
        umount2(&self.at, MntFlags::empty()).expect("unmount");
        let status = self.server.wait().unwrap();
        assert!(status.success(), "the server: {status}");
    }

    /// Kills the server, whatever it is doing, and takes the dead mount away.
    pub fn kill(mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        umount2(&self.at, MntFlags::MNT_DETACH).expect("unmount");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` and `kill` there is nothing to do; else a test has failed.
        if matches!(self.server.try_wait(), Ok(None)) {
            let _ = umount2(&self.at, MntFlags::MNT_DETACH);
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}

/// Runs `f` on a mount, and answers with what the kernel then shows of the same directories, which must
/// be what the mount showed at last.
pub fn through_mount(site: &Site, f: impl FnOnce(&Path)) -> TreeSnapshot {
    let served = Served::new(site);
    f(&site.mount);
    let shown = TreeSnapshot::of_dir(&site.mount, &site.merged()).unwrap();
    served.stop();
    let shown = site.labelled(shown);
    let kernel = site.in_kernel(|_| {});
    if let Some(text) = kernel.diff_text(&shown, &Compare::merged(), 20) {
        panic!("kernel != mount:\n{text}");
    }
    println!("{} entries", kernel.entries().len());
    site.check_log();
    kernel
}
