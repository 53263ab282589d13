//! The command line, in both of its forms.

use std::ffi::OsString;
use std::path::PathBuf;

use layerstack::fuse::FuseOptions;

pub(crate) const USAGE: &str = "\
usage: mount [--background] -o OPTIONS MOUNTPOINT
       mount SRC MOUNTPOINT [-o OPTIONS]
OPTIONS: lowerdir=TOP:...:BOTTOM[,upperdir=DIR,workdir=DIR][,ro][,...], as for the kernel's
         overlay mounts; without upperdir the mount is read-only";

pub(crate) struct Args {
    /// Options of the union, one string.
    pub(crate) options: Vec<String>,
    pub(crate) mountpoint: PathBuf,
    /// Return when the mount is live.
    pub(crate) background: bool,
    pub(crate) fuse: FuseOptions,
}

impl Args {
    /// `None`: help was asked for.
    pub(crate) fn parse(words: Vec<OsString>) -> Result<Option<Args>, String> {
        let mut places: Vec<OsString> = Vec::new();
        let mut options = Vec::new();
        let mut background = false;
        let mut fuse = FuseOptions::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let text = word.to_string_lossy().into_owned();
            match text.as_str() {
                "-h" | "--help" => return Ok(None),
                "--background" => background = true,
                // What mount(8) passes on to helpers, without meaning here.
                "-s" | "-f" | "-n" | "-v" => {}
                "-N" | "-t" => {
                    words.next();
                }
                "-o" => {
                    let list = words.next().ok_or("-o needs options")?;
                    let list = list.into_string().map_err(|_| "options must be UTF-8")?;
                    options.push(list);
                }
                _ if text.starts_with('-') && text.len() > 1 => {
                    return Err(format!("unknown option {text}"));
                }
                _ => places.push(word),
            }
        }
        let mountpoint = match places.len() {
            1 => places.pop(),
            2 => {
                background = true;
                let mountpoint = places.pop();
                if let Some(source) = places.pop() {
                    fuse = fuse.source(source.to_string_lossy());
                }
                mountpoint
            }
            _ => None,
        };
        let mountpoint = mountpoint.ok_or("MOUNTPOINT is missing, or there are too many words")?;
        let (options, fuse) = generic(&options.join(","), fuse);
        Ok(Some(Args {
            options,
            mountpoint: mountpoint.into(),
            background,
            fuse,
        }))
    }
}

/// Takes the options that are about the mount, not the union, out of a list; those without meaning
/// here are dropped.
fn generic(list: &str, mut fuse: FuseOptions) -> (Vec<String>, FuseOptions) {
    let mut rest = Vec::new();
    for word in split(list) {
        match word.as_str() {
            "" | "rw" | "defaults" | "async" | "sync" | "dirsync" | "atime" | "noatime"
            | "relatime" | "norelatime" | "strictatime" | "nostrictatime" | "diratime"
            | "nodiratime" | "lazytime" | "nolazytime" | "auto" | "noauto" | "user" | "nouser"
            | "users" | "owner" | "group" | "_netdev" | "nofail" | "auto_unmount" | "silent"
            | "loud" | "iversion" | "noiversion" | "mand" | "nomand" => {}
            "dev" => fuse = fuse.dev(true),
            "nodev" => fuse = fuse.dev(false),
            "suid" => fuse = fuse.suid(true),
            "nosuid" => fuse = fuse.suid(false),
            "exec" => fuse = fuse.exec(true),
            "noexec" => fuse = fuse.exec(false),
            "ro" => {
                fuse = fuse.read_only(true);
            }
            "allow_other" => fuse = fuse.allow_other(true),
            "default_permissions" => fuse = fuse.default_permissions(true),
            "no_passthrough" => fuse = fuse.passthrough(false),
            other => {
                if let Some(threads) = other.strip_prefix("threads=") {
                    if let Ok(threads) = threads.parse() {
                        fuse = fuse.threads(threads);
                        continue;
                    }
                } else if let Some(source) = other.strip_prefix("fsname=") {
                    fuse = fuse.source(source);
                    continue;
                } else if other.starts_with("subtype=")
                    || other.starts_with("x-")
                    || other.starts_with("comment=")
                {
                    continue;
                }
                rest.push(word);
            }
        }
    }
    (rest, fuse)
}

/// Splits at commas; a backslash takes the next character as it is.
fn split(list: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        match (c, words.last_mut()) {
            (',', _) => words.push(String::new()),
            ('\\', Some(last)) => {
                last.push(c);
                last.extend(chars.next());
            }
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    words
}
