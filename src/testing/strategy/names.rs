//! Names and paths.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prop_oneof;
use proptest::strategy::{BoxedStrategy, Just, Strategy};

use super::Profile;
use crate::path::{Name, join};

/// The earlier, the more often.
const COMMON: [&[u8]; 8] = [b"a", b"a", b"a", b"a", b"b", b"b", b"c", b"d"];

const ODD: [&[u8]; 8] = [
    &[b'n'; 255],
    &[0xff; 255],
    b"new\nline",
    b"\xfe\x01",
    b".wh.a",
    b"#1",
    b"...",
    b"a b\\c",
];

fn pick(from: &[&[u8]]) -> BoxedStrategy<Name> {
    let names: Vec<Name> = from.iter().filter_map(|n| Name::new(n).ok()).collect();
    proptest::sample::select(names).boxed()
}

/// One name: mostly one of four.
pub fn name(profile: &Profile) -> BoxedStrategy<Name> {
    if profile.odd_names {
        prop_oneof![30 => pick(&COMMON), 1 => pick(&ODD)].boxed()
    } else {
        pick(&COMMON)
    }
}

/// Any name: 1 to 255 bytes of anything but `/` and NUL; one in three is of the most bytes.
pub fn any_name() -> BoxedStrategy<Name> {
    let byte = prop_oneof![4 => 1..=255u8, 1 => proptest::sample::select(&b".#wh\n \\\xff"[..])];
    let bytes = prop_oneof![
        2 => vec(byte.clone(), 1..=255usize),
        1 => vec(byte.clone(), 1..=3usize),
        1 => vec(byte, 255),
    ];
    bytes
        .prop_map(|mut bytes| {
            for byte in &mut bytes {
                if *byte == b'/' {
                    *byte = b'|';
                }
            }
            bytes
        })
        // `.` and `..` are no names.
        .prop_filter_map("not a name", |bytes| Name::new(bytes).ok())
        .boxed()
}

fn joined(names: Vec<Name>) -> PathBuf {
    let root = PathBuf::from("/");
    names.iter().fold(root, |path, name| join(&path, name))
}

/// A path for a node of a layer: absolute, one to three names.
pub fn layer_path(profile: &Profile) -> BoxedStrategy<PathBuf> {
    let name = name(profile);
    prop_oneof![
        5 => vec(name.clone(), 1),
        4 => vec(name.clone(), 2),
        1 => vec(name, 3),
    ]
    .prop_map(joined)
    .boxed()
}

/// A path for an operation: mostly as [`layer_path`], sometimes the root, with `.` or `..`,
/// relative, with a trailing slash, empty, or with a name that is too long.
pub fn op_path(profile: &Profile) -> BoxedStrategy<PathBuf> {
    let plain = layer_path(profile);
    let spelled = |f: fn(&[u8]) -> Vec<u8>| {
        plain
            .clone()
            .prop_map(move |path| {
                let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
                PathBuf::from(OsString::from_vec(f(bytes)))
            })
            .boxed()
    };
    let odd = prop_oneof![
        6 => spelled(|p| [p, b"/"].concat()),
        2 => spelled(|p| [p, b"/."].concat()),
        2 => spelled(|p| [p, b"/.."].concat()),
        2 => spelled(|p| [b"/a/..", p].concat()),
        2 => spelled(|p| [b"/..", p].concat()),
        2 => spelled(|p| p.get(1..).unwrap_or_default().to_vec()),
        1 => spelled(|p| [b"//", p, b"//"].concat()),
        1 => Just(PathBuf::new()),
        1 => Just(Path::new("/").join("x".repeat(256))),
        4 => Just(PathBuf::from("/")),
    ];
    prop_oneof![25 => plain.clone(), 1 => odd].boxed()
}
