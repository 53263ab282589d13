//! Mounts stacked directories, as `mount -t overlay` does, without asking the kernel's overlayfs.
//!
//! `cargo run --features fuse --example mount -- -o lowerdir=A:B,upperdir=U,workdir=W MOUNTPOINT`
//! serves in the foreground until it is unmounted or gets a signal, and prints one line when the
//! mount is live; with `--background` it returns then.
//!
//! As a mount helper, `mount SRC MOUNTPOINT -o OPTIONS` returns once the mount is live: with the program
//! installed as `/sbin/mount.layerstack`, `mount -t layerstack SRC MOUNTPOINT -o OPTIONS` calls it;
//! with one named `layerstack` in the path, `mount -t fuse.layerstack ...` and `mount.fuse3 layerstack#SRC ...`
//! do, and so does a line in `/etc/fstab`. `remount` changes the flags of the mount (`ro`, `nosuid`, ...) and
//! nothing else.
//!
//! Exit status: 0 if all went well, 1 if it did not, 2 if the command line is wrong.

#[path = "mount/args.rs"]
mod args;
#[path = "mount/background.rs"]
mod background;

use std::path::Path;
use std::process::ExitCode;

use layerstack::fuse;
use nix::sys::signal::{SigSet, Signal};
use rustix::mount::MountFlags;

use args::{Args, Asked};

type Failure = Box<dyn std::error::Error>;

/// What `statfs(2)` tells of mounts through `/dev/fuse`.
const FUSE_MAGIC: u64 = 0x6573_5546;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args_os().skip(1).collect()) {
        Ok(Asked::Mount(args)) => args,
        Ok(Asked::Check) => return ExitCode::SUCCESS,
        Ok(Asked::Remount(mountpoint, flags)) => return ended(remount(&mountpoint, flags)),
        Ok(Asked::Help) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("mount: {e}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = match background::role(&args) {
        background::Role::Parent => background::start(),
        background::Role::Server => serve(&args, background::ready),
        background::Role::Foreground => serve(&args, || {
            println!("mounted {}", args.mountpoint.display());
            Ok(())
        }),
    };
    ended(done)
}

fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("mount: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Gives a live mount other flags.
fn remount(mountpoint: &Path, flags: MountFlags) -> Result<(), Failure> {
    let failed = |e: rustix::io::Errno| format!("{}: cannot remount: {e}", mountpoint.display());
    if rustix::fs::statfs(mountpoint).map_err(failed)?.f_type as u64 != FUSE_MAGIC {
        return Err(format!("{}: not mounted by this program", mountpoint.display()).into());
    }
    rustix::mount::mount_remount(mountpoint, flags, c"").map_err(failed)?;
    Ok(())
}

/// Mounts and serves until the end; `ready` is called when the mount is live.
fn serve(args: &Args, ready: impl FnOnce() -> std::io::Result<()>) -> Result<(), Failure> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Before there are other threads: they inherit it.
    signals.thread_block()?;
    let union = args.union.open()?;
    for warning in union.warnings() {
        eprintln!("mount: {warning}");
    }
    let session = fuse::mount(&union, &args.mountpoint, &args.fuse)?;
    let unmounter = session.unmounter();
    std::thread::spawn(move || {
        let waited = signals.wait().map_err(|e| e.to_string());
        let done = waited.and_then(|_| {
            let done = unmounter.unmount().or_else(|_| unmounter.detach());
            done.map_err(|e| e.to_string())
        });
        match done {
            Ok(()) => std::process::exit(0),
            Err(e) => eprintln!("mount: {e}"),
        }
    });
    ready()?;
    session.join()?;
    Ok(())
}
