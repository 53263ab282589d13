//! Writing options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::error::MountOptionError as Bad;
use super::{FSCONFIG_BYTES_MAX, MOUNT_OPTIONS_BYTES_MAX, MountOptions};
use crate::rules::LOWER_LAYERS_MAX;

/// Options for `fsconfig(2)`: each name, and its value unless it is a flag.
pub(super) type Pairs = Vec<(&'static str, Option<OsString>)>;

impl MountOptions {
    /// As the data of mount(2), with what must be escaped. What is not set is left out.
    ///
    /// # Errors
    /// What no option can say: an empty path, a NUL byte, too many layers, data-only layers alone.
    pub fn to_legacy(&self) -> Result<OsString, Bad> {
        self.check_paths()?;
        let mut out: Vec<Vec<u8>> = Vec::new();
        if let Some(lowers) = self.lowerdir() {
            out.push([b"lowerdir=".as_slice(), &lowers].concat());
        }
        let dirs = [("upperdir=", &self.upper), ("workdir=", &self.work)];
        for (option, path) in dirs {
            if let Some(path) = path {
                out.push([option.as_bytes(), &escape(path, b"\\,")].concat());
            }
        }
        for (option, value) in self.rest() {
            out.push(match value {
                Some(value) => format!("{option}={value}").into_bytes(),
                None => option.into(),
            });
        }
        Ok(OsString::from_vec(out.join(&b',')))
    }

    /// As pairs for `fsconfig(2)`, one for each layer: no page limits them, and only the paths of upper
    /// and work directory need escapes.
    ///
    /// # Errors
    /// As [`MountOptions::to_legacy`]; paths of more than
    /// [`FSCONFIG_BYTES_MAX`] bytes.
    pub fn to_pairs(&self) -> Result<Pairs, Bad> {
        self.check_paths()?;
        let raw = |path: &Path| path.as_os_str().to_os_string();
        let escaped = |path: &Path| OsString::from_vec(escape(path, b"\\"));
        let mut pairs: Pairs = Vec::new();
        pairs.extend(self.lowers.iter().map(|p| ("lowerdir+", Some(raw(p)))));
        let data = self.data_lowers.iter();
        pairs.extend(data.map(|p| ("datadir+", Some(raw(p)))));
        pairs.extend(self.upper.iter().map(|p| ("upperdir", Some(escaped(p)))));
        pairs.extend(self.work.iter().map(|p| ("workdir", Some(escaped(p)))));
        let rest = self.rest().into_iter();
        pairs.extend(rest.map(|(option, value)| (option, value.map(OsString::from))));
        let bytes = |value: &Option<OsString>| value.as_ref().map_or(0, |v| v.len());
        match pairs.iter().find(|(_, v)| bytes(v) > FSCONFIG_BYTES_MAX) {
            Some((option, value)) => Err(Bad::TooLong {
                option: (*option).into(),
                bytes: bytes(value),
            }),
            None => Ok(pairs),
        }
    }

    /// Whether mount(2) takes all of [`MountOptions::to_legacy`]: at most
    /// [`MOUNT_OPTIONS_BYTES_MAX`] bytes (rule R023).
    #[must_use]
    pub fn fits_one_page(&self) -> bool {
        self.to_legacy()
            .is_ok_and(|text| text.len() <= MOUNT_OPTIONS_BYTES_MAX)
    }

    /// What no option can say.
    fn check_paths(&self) -> Result<(), Bad> {
        let lowers = self.lowers.iter().map(|p| ("lowerdir", p));
        let data = self.data_lowers.iter().map(|p| ("datadir+", p));
        let upper = self.upper.iter().map(|p| ("upperdir", p));
        let work = self.work.iter().map(|p| ("workdir", p));
        for (option, path) in lowers.chain(data).chain(upper).chain(work) {
            if path.as_os_str().is_empty() {
                return Err(Bad::EmptyPath { option });
            }
            if path.as_os_str().as_bytes().contains(&0) {
                return Err(Bad::Nul);
            }
        }
        if self.lowers.len() + self.data_lowers.len() > LOWER_LAYERS_MAX {
            return Err(Bad::TooManyLowers);
        }
        if self.lowers.is_empty() && !self.data_lowers.is_empty() {
            return Err(Bad::OnlyData);
        }
        Ok(())
    }

    /// The value of `lowerdir=`.
    fn lowerdir(&self) -> Option<Vec<u8>> {
        let (first, more) = self.lowers.split_first()?;
        let mut out = escape(first, b"\\,:");
        for path in more {
            out.push(b':');
            out.extend(escape(path, b"\\,:"));
        }
        for path in &self.data_lowers {
            out.extend(b"::");
            out.extend(escape(path, b"\\,:"));
        }
        Some(out)
    }

    /// All options that are no paths.
    fn rest(&self) -> Vec<(&'static str, Option<&'static str>)> {
        let on = |on: bool| Some(if on { "on" } else { "off" });
        let a = &self.asked;
        let f = &self.flags;
        let flag = |set: bool, name| set.then_some((name, None));
        [
            flag(f.ro, "ro"),
            flag(f.sync, "sync"),
            flag(f.dirsync, "dirsync"),
            flag(f.lazytime, "lazytime"),
            flag(f.mand, "mand"),
            flag(self.default_permissions, "default_permissions"),
            a.redirect_dir.map(|v| ("redirect_dir", Some(v.name()))),
            a.index.map(|v| ("index", on(v))),
            a.uuid.map(|v| ("uuid", Some(v.name()))),
            a.nfs_export.map(|v| ("nfs_export", on(v))),
            a.xino.map(|v| ("xino", Some(v.name()))),
            a.metacopy.map(|v| ("metacopy", on(v))),
            a.fsync.map(|v| ("fsync", Some(v.name()))),
            flag(self.userxattr, "userxattr"),
            a.verity.map(|v| ("verity", Some(v.name()))),
            flag(self.override_creds == Some(true), "override_creds"),
            flag(self.override_creds == Some(false), "nooverride_creds"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The path with a backslash before each byte that is one of `special`.
fn escape(path: &Path, special: &[u8]) -> Vec<u8> {
    let bytes = AsRef::<OsStr>::as_ref(path).as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    for b in bytes {
        if special.contains(b) {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out
}
