//! Which upper and work directories live overlay mounts use, as far as `/proc/thread-self/mountinfo`
//! shows: a thread may have a mount namespace of its own, and paths are resolved in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::stat;
use super::tree::Key;

/// The path of a mounted overlay's upper or work directory that is one of `dirs`, if there is one.
///
/// Paths that the mounter gave relative to its own directory, or in another mount namespace, cannot
/// be recognised.
pub(super) fn overlay_using(dirs: &[Key]) -> Option<PathBuf> {
    let text = std::fs::read("/proc/thread-self/mountinfo").ok()?;
    text.split(|b| *b == b'\n')
        .flat_map(overlay_dirs)
        .find(|path| key_of(path).is_some_and(|key| dirs.contains(&key)))
}

fn key_of(path: &Path) -> Option<Key> {
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let mask = StatxFlags::BASIC_STATS;
    let found = rustix::fs::statx(CWD, path, flags, mask).ok()?;
    Some(stat::key(&found))
}

/// The absolute paths given as `upperdir` and `workdir` in one line, each in both readings: as it
/// stands, and with backslash escapes resolved (the kernel shows what the mounter wrote).
fn overlay_dirs(line: &[u8]) -> Vec<PathBuf> {
    // ... mount point, options, optional fields, "-", type, source, superblock options
    let mut fields = line.split(|b| *b == b' ').skip_while(|f| *f != b"-");
    let (Some(_), Some(b"overlay")) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let Some(options) = fields.nth(1) else {
        return Vec::new();
    };
    let mut paths = Vec::new();
    for option in options.split(|b| *b == b',') {
        let path = [&b"upperdir="[..], b"workdir="]
            .iter()
            .find_map(|key| option.strip_prefix(*key));
        let Some(path) = path.map(unescape_octal) else {
            continue;
        };
        if !path.starts_with(b"/") {
            continue;
        }
        let plain = unescape_backslash(&path);
        paths.push(PathBuf::from(OsStr::from_bytes(&plain)));
        if plain != path {
            paths.push(PathBuf::from(OsStr::from_bytes(&path)));
        }
    }
    paths
}

/// Resolves `\ooo`, as the kernel's `seq_escape` writes it.
fn unescape_octal(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Resolves `\x` to `x`, as overlayfs reads paths in options (rule R019).
fn unescape_backslash(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => out.extend(bytes.next()),
            b => out.push(*b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_line() {
        let line = b"41 28 0:36 / /m rw,relatime shared:2 - overlay overlay \
            rw,lowerdir=/l,upperdir=/a\\040b\\054c\\134:d,workdir=/w,uuid=on";
        let got = overlay_dirs(line);
        let want = ["/a b,c:d", "/a b,c\\:d", "/w"].map(PathBuf::from);
        assert_eq!(got, want);
    }

    #[test]
    fn other_lines_and_relative_paths_tell_nothing() {
        for line in [
            &b""[..],
            b"-",
            b"1 2 0:3 / / rw - ext4 /dev/vda rw,upperdir=/u",
            b"1 2 0:3 / / rw - overlay o rw,upperdir=u,workdir=w",
            b"1 2 0:3 / / rw - overlay",
        ] {
            assert_eq!(overlay_dirs(line), Vec::<PathBuf>::new());
        }
    }

    #[test]
    fn broken_escapes_stay() {
        assert_eq!(unescape_octal(b"a\\0"), b"a\\0");
        assert_eq!(unescape_octal(b"\\999\\101"), b"\\999A");
        assert_eq!(unescape_backslash(b"a\\"), b"a");
    }
}
