//! Runs a command on real directories without changing them: its changes stay in memory.
//!
//! `cargo run --features fuse --example sandbox -- [--keep DIR] [--chroot] LOWER... -- COMMAND [ARG...]`:
//! the layer directories, topmost first, are stacked below an upper layer in memory and mounted; the
//! command runs there, and what it changed is printed. `--keep` writes the changes into DIR, new or
//! empty, as a layer that can be stacked on the same directories. With `--chroot` the mount is the
//! command's root.
//!
//! Exit status: that of the command; 125 if it could not be run.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use layerstack::backend::memory::MemLayer;
use layerstack::fuse::{FuseOptions, mount};
use layerstack::{
    Change, ChangeKind, DirLayerOptions, LayerStack, Overlay, XattrNamespace, copy_layer,
    display_path,
};

const USAGE: &str = "\
usage: sandbox [--keep DIR] [--chroot] LOWER... -- COMMAND [ARG...]
  LOWER...     layer directories, topmost first
  --keep DIR   write the changes into DIR as a layer
  --chroot     make the mount the root of the command";

/// The status of programs that run others, for failures of their own.
const CANNOT_RUN: u8 = 125;

type Failure = Box<dyn std::error::Error>;

struct Args {
    lowers: Vec<PathBuf>,
    command: Vec<OsString>,
    keep: Option<PathBuf>,
    chroot: bool,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some(args) = parse(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(CANNOT_RUN);
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

fn parse(words: Vec<OsString>) -> Option<Args> {
    let mut args = Args {
        lowers: Vec::new(),
        command: Vec::new(),
        keep: None,
        chroot: false,
    };
    let mut words = words.into_iter();
    loop {
        let word = words.next()?;
        match word.to_str() {
            Some("--") => break,
            Some("--keep") => args.keep = Some(words.next()?.into()),
            Some("--chroot") => args.chroot = true,
            Some(other) if other.starts_with("--") => return None,
            _ => args.lowers.push(word.into()),
        }
    }
    args.command = words.collect();
    (!args.lowers.is_empty() && !args.command.is_empty()).then_some(args)
}

fn sandbox(args: &Args) -> Result<ExitStatus, Failure> {
    // Attributes in the form that this user's kernel mounts use.
    let namespace = match rustix::process::geteuid().is_root() {
        true => XattrNamespace::Trusted,
        false => XattrNamespace::User,
    };
    let dirs = DirLayerOptions::new().namespace(namespace);
    let lowers = args.lowers.iter().map(|path| dirs.open_lower(path));
    let lowers = LayerStack::from_top(lowers.collect::<Result<Vec<_>, _>>()?)?;
    let upper = MemLayer::with_namespace(namespace);
    let overlay = Overlay::new(&lowers, upper.clone())?;

    let place = Place::new()?;
    let mut session = mount(&overlay, &place.0, &FuseOptions::new().source("sandbox"))?;
    let status = run(args, &place.0)?;
    session.unmount()?;

    for change in overlay.changes()? {
        println!("{} {}", letter(&change), display_path(&change.path));
    }
    if let Some(keep) = &args.keep {
        keep_changes(&overlay, &dirs, keep)?;
    }
    Ok(status)
}

fn run(args: &Args, root: &Path) -> io::Result<ExitStatus> {
    let mut command = match (args.chroot, args.command.split_first()) {
        (true, _) => {
            let mut command = Command::new("chroot");
            command.arg(root).args(&args.command);
            command
        }
        (false, Some((program, rest))) => {
            let mut command = Command::new(program);
            command.args(rest).current_dir(root);
            command
        }
        (false, None) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    command.status()
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

/// Writes the upper layer into the directory `keep`.
fn keep_changes(overlay: &Overlay, dirs: &DirLayerOptions, keep: &Path) -> Result<(), Failure> {
    let upper = overlay.upper_layer().ok_or("there is no upper layer")?;
    std::fs::create_dir_all(keep)?;
    // Whiteouts and the like are made in a work directory, which must lie on the same filesystem.
    let mut work = keep.canonicalize()?.into_os_string();
    work.push(format!(".work-{}", std::process::id()));
    std::fs::create_dir(&work)?;
    let copied = dirs.open_upper(keep, &work).and_then(|layer| {
        let report = copy_layer(&*upper, &layer)?;
        Ok((report.files, report.whiteouts))
    });
    std::fs::remove_dir_all(&work)?;
    let (files, whiteouts) = copied?;
    println!("kept {files} files and {whiteouts} whiteouts");
    Ok(())
}

/// An empty directory to mount on, removed when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("sandbox-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Place(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir(&self.0) {
            eprintln!("sandbox: {}: {e}", self.0.display());
        }
    }
}
