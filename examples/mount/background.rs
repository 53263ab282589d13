//! Serving in the background: the program starts itself once more, apart from the terminal, and
//! waits until that one says that the mount is live.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use crate::args::Args;

/// Set for the process that serves.
const SERVER: &str = "LAYERSTACK_MOUNT_SERVER";
const READY: &str = "ready\n";

pub(crate) enum Role {
    Foreground,
    Parent,
    Server,
}

pub(crate) fn role(args: &Args) -> Role {
    match (args.background, std::env::var_os(SERVER).is_some()) {
        (_, true) => Role::Server,
        (true, false) => Role::Parent,
        (false, false) => Role::Foreground,
    }
}

/// Starts the server and waits for it to be ready.
pub(crate) fn start() -> Result<(), Box<dyn std::error::Error>> {
    let mut server = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(SERVER, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut said = String::new();
    if let Some(mut stdout) = server.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    if said == READY {
        return Ok(());
    }
    let status = server.wait()?;
    std::process::exit(status.code().unwrap_or(1));
}

/// In the server: tells the waiting process, and lets go of terminal and working directory.
pub(crate) fn ready() -> io::Result<()> {
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let mut out = io::stdout();
    out.write_all(READY.as_bytes())?;
    out.flush()?;
    let null = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
