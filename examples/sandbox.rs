//! Runs a command on real directories without changing them: its changes stay in memory.
//!
//! `cargo run --features fuse --example sandbox -- [--keep DIR] [--chroot] LOWER... -- COMMAND [ARG...]`:
//! the layer directories, topmost first, are stacked below an upper layer in memory and mounted; the
//! command runs there, and what it changed is printed. `--keep` writes the changes into DIR, new or
//! empty, as a layer that can be stacked on the same directories, by this crate or by the kernel. With
//! `--chroot` the mount is the command's root.
//!
//! Exit status: that of the command, 128 and more if a signal ended it; 125 if it could not be run or
//! its changes could not be kept.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};

use layerstack::backend::memory::MemLayer;
use layerstack::fuse::{FuseOptions, Session, mount};
use layerstack::{
    Change, ChangeKind, DirLayerOptions, LayerStack, Overlay, SetAttr, SetTime, XattrNamespace,
    copy_layer, display_path,
};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

const USAGE: &str = "\
usage: sandbox [--keep DIR] [--chroot] [--userxattr] LOWER... -- COMMAND [ARG...]
  LOWER...      layer directories, topmost first
  --keep DIR    write the changes into DIR, new or empty, as a layer
  --chroot      make the mount the root of the command
  --userxattr   overlay attributes in user.overlay, as always unless run by root";

/// The status of programs that run others, for failures of their own.
const CANNOT_RUN: u8 = 125;

type Failure = Box<dyn std::error::Error>;

struct Args {
    lowers: Vec<PathBuf>,
    program: OsString,
    words: Vec<OsString>,
    keep: Option<PathBuf>,
    chroot: bool,
    userxattr: bool,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args_os().skip(1).collect()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("sandbox: {e}\n{USAGE}");
            return ExitCode::from(CANNOT_RUN);
        }
    };
    match sandbox(&args) {
        Ok(status) => {
            let code = status.code().or(status.signal().map(|s| 128 + s));
            ExitCode::from(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1))
        }
        Err(e) => {
            eprintln!("sandbox: {e}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

/// `None`: help was asked for.
fn parse(words: Vec<OsString>) -> Result<Option<Args>, String> {
    let mut lowers = Vec::new();
    let (mut keep, mut chroot) = (None, false);
    let mut userxattr = !rustix::process::geteuid().is_root();
    let mut words = words.into_iter();
    loop {
        let word = words.next().ok_or("`--` and a command are missing")?;
        match word.to_str() {
            Some("--") => break,
            Some("-h" | "--help") => return Ok(None),
            Some("--keep") => {
                keep = Some(PathBuf::from(words.next().ok_or("--keep needs DIR")?));
            }
            Some("--chroot") => chroot = true,
            Some("--userxattr") => userxattr = true,
            Some(other) if other.starts_with('-') => return Err(format!("unknown option {other}")),
            _ => lowers.push(PathBuf::from(word)),
        }
    }
    if lowers.is_empty() {
        return Err("LOWER is missing".into());
    }
    Ok(Some(Args {
        lowers,
        program: words.next().ok_or("the command is missing")?,
        words: words.collect(),
        keep,
        chroot,
        userxattr,
    }))
}

fn sandbox(args: &Args) -> Result<ExitStatus, Failure> {
    // What ends the command must not end this program before it has unmounted. Before there are
    // other threads: they inherit it; the command does not.
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGHUP,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;

    let namespace = match args.userxattr {
        true => XattrNamespace::User,
        false => XattrNamespace::Trusted,
    };
    let dirs = DirLayerOptions::new().namespace(namespace);
    let keep = args.keep.as_deref().map(Keep::new).transpose()?;
    let lowers = args.lowers.iter().map(|path| dirs.open_lower(path));
    let lowers = LayerStack::from_top(lowers.collect::<Result<Vec<_>, _>>()?)?;
    let overlay = Overlay::new(&lowers, MemLayer::with_namespace(namespace))?;
    show_root_of(&lowers, &overlay)?;

    let place = Place::new()?;
    let session = mount(&overlay, &place.0, &FuseOptions::new().source("sandbox"))?;
    let command = start(args, &place.0)?;
    let status = wait(command, signals)?;
    unmount(session)?;

    for change in overlay.changes()? {
        println!("{} {}", letter(&change), display_path(&change.path));
    }
    if let Some(keep) = keep {
        keep.write(&overlay, &dirs)?;
    }
    Ok(status)
}

/// Gives the root of the upper layer, which is the one that is shown, the attributes of the lowers' root.
fn show_root_of(lowers: &LayerStack, overlay: &Overlay) -> layerstack::Result<()> {
    let meta = lowers.metadata("/")?;
    overlay.set_attr("/", &SetAttr::owner(Some(meta.uid), Some(meta.gid)), true)?;
    overlay.set_attr("/", &SetAttr::mode(meta.mode), true)?;
    overlay.set_times("/", SetTime::At(meta.atime), SetTime::At(meta.mtime), true)
}

fn start(args: &Args, root: &Path) -> Result<Child, Failure> {
    let mut command = match args.chroot {
        true => {
            let mut command = Command::new("chroot");
            command.arg(root).arg(&args.program);
            command
        }
        false => {
            let mut command = Command::new(&args.program);
            command.current_dir(root);
            command
        }
    };
    let child = command.args(&args.words).spawn();
    Ok(child.map_err(|e| format!("{}: {e}", args.program.display()))?)
}

/// Waits for the command to end. Signals that ask this program to end are passed on; what the terminal
/// sends the command gets by itself.
fn wait(mut command: Child, signals: SigSet) -> Result<ExitStatus, Failure> {
    let pid = Pid::from_raw(i32::try_from(command.id())?);
    std::thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if matches!(signal, Signal::SIGTERM | Signal::SIGHUP) {
                // If it has ended meanwhile there is nobody to tell.
                let _ = kill(pid, signal);
            }
        }
    });
    Ok(command.wait()?)
}

fn unmount(mut session: Session) -> layerstack::Result<()> {
    match session.unmount() {
        Err(e) if e.errno() == layerstack::Errno::EBUSY => {
            eprintln!("sandbox: something still runs on the mount; what it changes now is lost");
            session.unmounter().detach()
        }
        done => done,
    }
}

fn letter(change: &Change) -> char {
    match change.kind {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Metadata => 'm',
        ChangeKind::TypeChanged => 'T',
        ChangeKind::Removed => 'D',
        _ => '?',
    }
}

/// Where the changes are to be kept.
struct Keep(PathBuf);

impl Keep {
    /// The directory, new or empty: before anything is run for it.
    fn new(dir: &Path) -> Result<Self, Failure> {
        let failed = |e: io::Error| format!("{}: {e}", dir.display());
        std::fs::create_dir_all(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        match std::fs::read_dir(&dir).map_err(failed)?.next() {
            Some(_) => Err(format!("{}: not empty", dir.display()).into()),
            None => Ok(Keep(dir)),
        }
    }

    /// Writes the upper layer.
    fn write(&self, overlay: &Overlay, dirs: &DirLayerOptions) -> Result<(), Failure> {
        let upper = overlay.upper_layer().ok_or("there is no upper layer")?;
        // Objects are made in a work directory, which must lie on the same filesystem.
        let mut work = self.0.clone().into_os_string();
        work.push(format!(".work-{}", std::process::id()));
        std::fs::create_dir(&work)?;
        let copied = dirs
            .open_upper(&self.0, &work)
            .and_then(|layer| copy_layer(&*upper, &layer));
        std::fs::remove_dir_all(&work)?;
        let report = copied?;
        println!(
            "kept in {}: {} files, {} directories, {} whiteouts",
            self.0.display(),
            report.files,
            report.directories,
            report.whiteouts
        );
        Ok(())
    }
}

/// An empty directory to mount on, removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("sandbox-").tempdir()?;
        Ok(Place(dir.keep()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only the directory: if it should still be mounted nothing in it is touched.
        if let Err(e) = std::fs::remove_dir(&self.0) {
            eprintln!("sandbox: {}: {e}", self.0.display());
        }
    }
}
