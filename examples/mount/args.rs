//! The command line, in both of its forms.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use layerstack::MountOptions;
use layerstack::fuse::FuseOptions;
use rustix::mount::MountFlags;

pub(crate) const USAGE: &str = "\
usage: mount [--background] [-f] -o OPTIONS MOUNTPOINT
       mount [-f] SRC MOUNTPOINT -o OPTIONS
-f: check the options, and mount nothing
OPTIONS: lowerdir=TOP:...:BOTTOM[,upperdir=DIR,workdir=DIR][,ro][,...], as for the kernel's
         overlay mounts; without upperdir the mount is read-only.
         Besides: allow_other, no_passthrough, threads=N, fsname=NAME";

pub(crate) struct Args {
    /// The options of the union.
    pub(crate) union: MountOptions,
    pub(crate) mountpoint: PathBuf,
    /// Return when the mount is live.
    pub(crate) background: bool,
    pub(crate) fuse: FuseOptions,
}

/// What the command line asks for.
pub(crate) enum Asked {
    Help,
    /// Nothing but whether the options are good, which they are.
    Check,
    Mount(Box<Args>),
    /// Other flags for a mount that is live.
    Remount(PathBuf, MountFlags),
}

impl Args {
    pub(crate) fn parse(words: Vec<OsString>) -> Result<Asked, String> {
        let mut places: Vec<OsString> = Vec::new();
        let mut options = Vec::new();
        let (mut background, mut fake) = (false, false);
        let mut fuse = FuseOptions::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"-h" | b"--help" => return Ok(Asked::Help),
                b"--background" => background = true,
                b"-f" => fake = true,
                // What mount(8) passes on to helpers, without meaning here.
                b"-s" | b"-n" | b"-v" => {}
                b"-N" | b"-t" => {
                    words.next();
                }
                b"-o" => options.push(words.next().ok_or("-o needs options")?),
                [b'-', _, ..] => {
                    return Err(format!("unknown option {}", word.display()));
                }
                _ => places.push(word),
            }
        }
        let mut places = places.into_iter();
        let (source, mountpoint) = match (places.next(), places.next(), places.next()) {
            (Some(mountpoint), None, _) => (None, mountpoint),
            (Some(source), Some(mountpoint), None) => (Some(source), mountpoint),
            (None, ..) => return Err("MOUNTPOINT is missing".into()),
            _ => return Err("too many words".into()),
        };
        let options = options.join(OsStr::new(","));
        if let Some(flags) = remount(&options) {
            return Ok(match fake {
                true => Asked::Check,
                false => Asked::Remount(mountpoint.into(), flags),
            });
        }
        if let Some(source) = source {
            background = true;
            fuse = fuse.source(source.to_string_lossy());
        }
        let (rest, fuse) = own(&options, fuse)?;
        let (union, generic) = MountOptions::parse_command(rest).map_err(|e| e.to_string())?;
        if fake {
            return Ok(Asked::Check);
        }
        Ok(Asked::Mount(Box::new(Args {
            union,
            mountpoint: mountpoint.into(),
            background,
            fuse: flags(&generic, fuse),
        })))
    }
}

/// If `remount` is asked for: the flags. What shapes the union stays as it is, as with the kernel's overlay
/// mounts.
fn remount(list: &OsStr) -> Option<MountFlags> {
    let words = split(list.as_bytes());
    if !words.contains(&b"remount".as_slice()) {
        return None;
    }
    let mut flags = MountFlags::empty();
    for word in words {
        let (flag, on) = match word {
            b"ro" => (MountFlags::RDONLY, true),
            b"rw" => (MountFlags::RDONLY, false),
            b"nodev" => (MountFlags::NODEV, true),
            b"dev" => (MountFlags::NODEV, false),
            b"nosuid" => (MountFlags::NOSUID, true),
            b"suid" => (MountFlags::NOSUID, false),
            b"noexec" => (MountFlags::NOEXEC, true),
            b"exec" => (MountFlags::NOEXEC, false),
            _ => continue,
        };
        flags.set(flag, on);
    }
    Some(flags)
}

/// Takes what is about serving, not the union, out of a list of options.
fn own(list: &OsStr, mut fuse: FuseOptions) -> Result<(OsString, FuseOptions), String> {
    let mut rest: Vec<&[u8]> = Vec::new();
    for word in split(list.as_bytes()) {
        let text = String::from_utf8_lossy(word);
        match text.split_once('=') {
            None if text == "allow_other" => fuse = fuse.allow_other(true),
            None if text == "default_permissions" => fuse = fuse.default_permissions(true),
            None if text == "no_passthrough" => fuse = fuse.passthrough(false),
            None if text == "auto_unmount" => {}
            Some(("threads", value)) => {
                let threads = value.parse().map_err(|_| format!("bad option {text}"))?;
                fuse = fuse.threads(threads);
            }
            Some(("fsname", value)) => fuse = fuse.source(value),
            Some(("subtype", _)) => {}
            _ => rest.push(word),
        }
    }
    Ok((OsString::from_vec(rest.join(&b',')), fuse))
}

/// The flags of the mount among generic options; the others have no meaning here.
fn flags(generic: &[OsString], fuse: FuseOptions) -> FuseOptions {
    generic
        .iter()
        .fold(fuse, |fuse, word| match word.as_bytes() {
            b"dev" => fuse.dev(true),
            b"nodev" => fuse.dev(false),
            b"suid" => fuse.suid(true),
            b"nosuid" => fuse.suid(false),
            b"exec" => fuse.exec(true),
            b"noexec" => fuse.exec(false),
            _ => fuse,
        })
}

/// The words between commas; a backslash takes the next byte along.
fn split(list: &[u8]) -> Vec<&[u8]> {
    let mut escaped = false;
    list.split(|byte| {
        let ends = *byte == b',' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
    .collect()
}
