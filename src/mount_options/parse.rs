//! Reading options: the kernel's grammar, option by option, in the order in which they stand.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::error::MountOptionError as Bad;
use super::{FSCONFIG_BYTES_MAX, MountOptions};
use crate::rules::LOWER_LAYERS_MAX;
use crate::rules::config::{Fsync, RedirectDir, UuidMode, Verity, Xino};

impl MountOptions {
    /// Reads options as the data of mount(2) has them: separated by commas, where `\,` is a comma in
    /// a value and `\:` a colon in a path (rules R019 to R025). Of an option that is told several times
    /// the last counts; empty options, and those that begin with `=`, are skipped.
    ///
    /// The whole of `text` is read, also what mount(2) would cut off ([`MountOptions::check`] warns).
    ///
    /// # Errors
    /// The first option that the kernel would refuse. Paths are not looked at, and options not
    /// compared with each other; [`MountOptions::check`] and [`MountOptions::open`] do that.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, Bad> {
        let mut parser = Parser {
            source: true, // An argument of its own.
            ..Parser::default()
        };
        for option in split_options(text.as_ref().as_bytes()) {
            parser.take(option)?;
        }
        Ok(parser.options)
    }

    /// Reads the argument of `mount -o`: as [`MountOptions::parse`], but options for `mount(8)` itself,
    /// and flags that are no options of the filesystem (`nosuid`, `noatime`, `defaults`, `x-...`), are
    /// answered apart, in order. `ro` and `rw` are both options and among these.
    ///
    /// # Errors
    /// As [`MountOptions::parse`].
    pub fn parse_command(text: impl AsRef<OsStr>) -> Result<(Self, Vec<OsString>), Bad> {
        let mut parser = Parser::default();
        let mut generic = Vec::new();
        for option in split_options(text.as_ref().as_bytes()) {
            if is_generic(option) {
                generic.push(OsString::from_vec(option.to_vec()));
            }
            if !is_generic(option) || matches!(option, b"ro" | b"rw") {
                parser.take(option)?;
            }
        }
        Ok((parser.options, generic))
    }

    /// Reads options as pairs of `fsconfig(2)`; a flag has no value. Commas are nothing special there,
    /// and `lowerdir+` and `datadir+` take paths as they are (rule R020).
    ///
    /// # Errors
    /// As [`MountOptions::parse`], and names or values that are too long for `fsconfig(2)`.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, Option<V>)>) -> Result<Self, Bad>
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let mut parser = Parser::default();
        for (key, value) in pairs {
            let key = key.as_ref().as_bytes();
            let value = value.as_ref().map(|v| v.as_ref().as_bytes());
            let bytes = key.len().max(value.map_or(0, <[u8]>::len));
            if bytes > FSCONFIG_BYTES_MAX {
                let option = key.to_vec();
                return Err(Bad::TooLong { option, bytes });
            }
            parser.apply(key, value)?;
        }
        Ok(parser.options)
    }

    /// Reads the options of a mounted overlay: the last field of a line of `/proc/self/mountinfo`, or
    /// the fourth of one of `/proc/mounts`, with their escapes (`\040` for a space). Flags of the mount
    /// point, such as `relatime`, are skipped.
    ///
    /// # Errors
    /// As [`MountOptions::parse`].
    pub fn from_mounts(field: impl AsRef<OsStr>) -> Result<Self, Bad> {
        let mut parser = Parser::default();
        let options = field.as_ref().as_bytes().split(|b| *b == b',');
        for option in options.filter(|o| !o.is_empty() && !is_generic_mark(o)) {
            let (key, value) = split_value(option);
            let value = value.map(unescape_octal);
            parser.apply(&unescape_octal(key), value.as_deref())?;
        }
        Ok(parser.options)
    }
}

/// What is read so far.
#[derive(Debug, Default)]
struct Parser {
    options: MountOptions,
    /// `lowerdir=` was told, and not reset since.
    lowerdir: bool,
    source: bool,
}

/// The names of values of a switch.
const ON_OFF: &[&str] = &["on", "off"];

impl Parser {
    /// One option of a string: `key=value`, or a flag.
    fn take(&mut self, option: &[u8]) -> Result<(), Bad> {
        match split_value(option) {
            ([], _) => Ok(()),
            (key, value) => self.apply(key, value),
        }
    }

    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Bad> {
        if key.contains(&0) || value.is_some_and(|v| v.contains(&0)) {
            return Err(Bad::Nul);
        }
        if self.flag(key) {
            return Ok(());
        }
        let o = &mut self.options;
        match key {
            b"lowerdir" => return self.lowerdir(value.ok_or(needs_value("lowerdir"))?),
            b"lowerdir+" => return self.add("lowerdir+", value),
            b"datadir+" => return self.add("datadir+", value),
            b"upperdir" => o.upper = Some(path("upperdir", value)?),
            b"workdir" => o.work = Some(path("workdir", value)?),
            b"redirect_dir" => {
                let allowed = &["on", "follow", "nofollow", "off"];
                let value = choice("redirect_dir", value, allowed, RedirectDir::from_name)?;
                o.asked.redirect_dir = Some(value);
            }
            b"index" => o.asked.index = Some(choice("index", value, ON_OFF, on_off)?),
            b"metacopy" => o.asked.metacopy = Some(choice("metacopy", value, ON_OFF, on_off)?),
            b"nfs_export" => {
                o.asked.nfs_export = Some(choice("nfs_export", value, ON_OFF, on_off)?);
            }
            b"xino" => {
                let allowed = &["on", "off", "auto"];
                o.asked.xino = Some(choice("xino", value, allowed, Xino::from_name)?);
            }
            b"uuid" => {
                let allowed = &["on", "off", "null", "auto"];
                o.asked.uuid = Some(choice("uuid", value, allowed, UuidMode::from_name)?);
            }
            b"verity" => {
                let allowed = &["off", "on", "require"];
                o.asked.verity = Some(choice("verity", value, allowed, Verity::from_name)?);
            }
            b"fsync" => {
                let allowed = &["auto", "strict", "volatile"];
                o.asked.fsync = Some(choice("fsync", value, allowed, Fsync::from_name)?);
            }
            b"volatile" => {
                no_value("volatile", value)?;
                o.asked.fsync = Some(Fsync::Volatile);
            }
            b"userxattr" => {
                no_value("userxattr", value)?;
                o.userxattr = true;
            }
            b"default_permissions" => {
                no_value("default_permissions", value)?;
                o.default_permissions = true;
            }
            b"override_creds" => {
                no_value("override_creds", value)?;
                o.override_creds = Some(true);
            }
            b"nooverride_creds" if value.is_none() => o.override_creds = Some(false),
            b"source" => {
                value.ok_or(needs_value("source"))?;
                if std::mem::replace(&mut self.source, true) {
                    return Err(Bad::SecondSource);
                }
            }
            _ => {
                let option = key.to_vec();
                return Err(Bad::Unknown { option });
            }
        }
        Ok(())
    }

    /// What the VFS takes for itself, whatever its value.
    fn flag(&mut self, key: &[u8]) -> bool {
        let f = &mut self.options.flags;
        let (flag, on) = match key {
            b"ro" => (&mut f.ro, true),
            b"rw" => (&mut f.ro, false),
            b"sync" => (&mut f.sync, true),
            b"async" => (&mut f.sync, false),
            b"dirsync" => (&mut f.dirsync, true),
            b"lazytime" => (&mut f.lazytime, true),
            b"nolazytime" => (&mut f.lazytime, false),
            b"mand" => (&mut f.mand, true),
            b"nomand" => (&mut f.mand, false),
            _ => return false,
        };
        *flag = on;
        true
    }

    /// `lowerdir=`: replaces all lower layers (rules R001, R021, R022).
    fn lowerdir(&mut self, value: &[u8]) -> Result<(), Bad> {
        self.options.lowers.clear();
        self.options.data_lowers.clear();
        self.lowerdir = !value.is_empty();
        if value.is_empty() {
            return Ok(());
        }
        if value.first() == Some(&b':') {
            return Err(Bad::LeadingColon);
        }
        let pieces = split_lowers(value)?;
        if pieces.len() > LOWER_LAYERS_MAX {
            return Err(Bad::TooManyLowers);
        }
        for (data, piece) in pieces {
            let path = path("lowerdir", Some(piece))?;
            match (data, self.options.data_lowers.is_empty()) {
                (true, _) => self.options.data_lowers.push(path),
                (false, true) => self.options.lowers.push(path),
                (false, false) => return Err(Bad::MergedAfterData),
            }
        }
        Ok(())
    }

    /// `lowerdir+=` and `datadir+=`: one path as it is (rule R020).
    fn add(&mut self, option: &'static str, value: Option<&[u8]>) -> Result<(), Bad> {
        let value = value.filter(|v| !v.is_empty()).ok_or(needs_value(option))?;
        if self.lowerdir {
            return Err(Bad::AddedAfterLowerdir { option });
        }
        let o = &mut self.options;
        let data = option == "datadir+";
        if !data && !o.data_lowers.is_empty() {
            return Err(Bad::MergedAfterData);
        }
        if o.lowers.len() + o.data_lowers.len() == LOWER_LAYERS_MAX {
            return Err(Bad::TooManyLowers);
        }
        let path = to_path(value.to_vec());
        match data {
            true => o.data_lowers.push(path),
            false => o.lowers.push(path),
        }
        Ok(())
    }
}

fn needs_value(option: &'static str) -> Bad {
    Bad::NeedsValue { option }
}

fn no_value(option: &'static str, value: Option<&[u8]>) -> Result<(), Bad> {
    match value {
        None => Ok(()),
        Some(value) => Err(Bad::TakesNoValue {
            option,
            value: value.to_vec(),
        }),
    }
}

fn on_off(name: &[u8]) -> Option<bool> {
    match name {
        b"on" => Some(true),
        b"off" => Some(false),
        _ => None,
    }
}

fn choice<T>(
    option: &'static str,
    value: Option<&[u8]>,
    allowed: &'static [&'static str],
    from_name: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Bad> {
    let value = value.ok_or(needs_value(option))?;
    from_name(value).ok_or(Bad::BadValue {
        option,
        value: value.to_vec(),
        allowed,
    })
}

/// A path with its escapes resolved.
fn path(option: &'static str, value: Option<&[u8]>) -> Result<PathBuf, Bad> {
    let value = value.filter(|v| !v.is_empty()).ok_or(needs_value(option))?;
    let path = unescape(value);
    match path.is_empty() {
        true => Err(Bad::EmptyPath { option }),
        false => Ok(to_path(path)),
    }
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// Name and value of one option. An option that begins with `=` has no name.
fn split_value(option: &[u8]) -> (&[u8], Option<&[u8]>) {
    match option.iter().position(|b| *b == b'=') {
        Some(at) => match option.split_at(at) {
            (key, [_, value @ ..]) => (key, Some(value)),
            (key, []) => (key, None),
        },
        None => (option, None),
    }
}

/// Splits at commas that no backslash escapes; escapes stay (rule R019). Empty options are left out.
fn split_options(text: &[u8]) -> Vec<&[u8]> {
    let mut escaped = false;
    text.split(|b| {
        let separates = *b == b',' && !escaped;
        escaped = *b == b'\\' && !escaped;
        separates
    })
    .filter(|option| !option.is_empty())
    .collect()
}

/// Takes each backslash away and what follows it as it is; one at the end vanishes (rule R019).
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut escaped = false;
    for b in value {
        escaped = *b == b'\\' && !escaped;
        if !escaped {
            out.push(*b);
        }
    }
    out
}

/// The paths of `lowerdir=`, escapes kept, each with whether it is data-only. `value` is not empty
/// and does not begin with a colon.
fn split_lowers(value: &[u8]) -> Result<Vec<(bool, &[u8])>, Bad> {
    let mut pieces = Vec::new();
    let mut data = false;
    let mut rest = value;
    loop {
        let mut escaped = false;
        let end = rest.iter().position(|b| {
            let separates = *b == b':' && !escaped;
            escaped = *b == b'\\' && !escaped;
            separates
        });
        let Some(end) = end else {
            // A lone backslash escapes the end, so the colon before it is the last one.
            let lone = rest == b"\\" && !pieces.is_empty();
            if lone {
                return Err(Bad::TrailingColon);
            }
            pieces.push((data, rest));
            return Ok(pieces);
        };
        let (piece, behind) = rest.split_at(end);
        pieces.push((data, piece));
        (data, rest) = match behind {
            [b':', b':', b':', ..] => return Err(Bad::TooManyColons),
            [b':', b':', rest @ ..] => (true, rest),
            [_, rest @ ..] => (false, rest),
            [] => return Ok(pieces),
        };
        if rest.is_empty() {
            return Err(Bad::TrailingColon);
        }
    }
}

/// Resolves `\040` and its like, by which the kernel shows what would end a field or an option.
fn unescape_octal(shown: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(shown.len());
    let mut rest = shown;
    loop {
        rest = match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                rest @ ..,
            ] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [other, rest @ ..] => {
                out.push(*other);
                rest
            }
            [] => return out,
        };
    }
}

/// Marks of a mount point that `/proc/mounts` shows among the options.
fn is_generic_mark(option: &[u8]) -> bool {
    const MARKS: [&[u8]; 10] = [
        b"nosuid",
        b"nodev",
        b"noexec",
        b"noatime",
        b"nodiratime",
        b"relatime",
        b"nosymfollow",
        b"idmapped",
        b"seclabel",
        b"strictatime",
    ];
    MARKS.contains(&option)
}

/// Options that mount(8) understands itself, for any filesystem.
fn is_generic(option: &[u8]) -> bool {
    const NAMES: [&[u8]; 46] = [
        b"ro",
        b"rw",
        b"suid",
        b"nosuid",
        b"dev",
        b"nodev",
        b"exec",
        b"noexec",
        b"atime",
        b"noatime",
        b"diratime",
        b"nodiratime",
        b"relatime",
        b"norelatime",
        b"strictatime",
        b"nostrictatime",
        b"symfollow",
        b"nosymfollow",
        b"iversion",
        b"noiversion",
        b"silent",
        b"loud",
        b"defaults",
        b"auto",
        b"noauto",
        b"user",
        b"nouser",
        b"users",
        b"nousers",
        b"owner",
        b"noowner",
        b"group",
        b"nogroup",
        b"_netdev",
        b"nofail",
        b"remount",
        b"bind",
        b"rbind",
        b"move",
        b"private",
        b"rprivate",
        b"shared",
        b"rshared",
        b"slave",
        b"rslave",
        b"unbindable",
    ];
    const PREFIXES: [&[u8]; 6] = [b"x-", b"X-", b"comment=", b"user=", b"uhelper=", b"helper="];
    NAMES.contains(&option) || PREFIXES.iter().any(|p| option.starts_with(p))
}
