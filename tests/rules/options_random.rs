//! Section 1: random mount options, given to the kernel and to the parser.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::given::{DIRS, Given, compare, with_dirs};

/// A path as somebody may write it: often one that is there, with or without escapes.
fn written_path() -> impl Strategy<Value = Vec<u8>> {
    let escaped = |special: &'static [u8]| {
        prop::sample::select(DIRS.to_vec()).prop_map(move |name| {
            let escape = |b: &u8| match special.contains(b) {
                true => vec![b'\\', *b],
                false => vec![*b],
            };
            name.iter().flat_map(escape).collect::<Vec<u8>>()
        })
    };
    prop_oneof![
        20 => escaped(b"\\,:"),
        1 => escaped(b"\\"),
        1 => escaped(b""),
        1 => prop::collection::vec(prop::sample::select(b"lm:\\,".to_vec()), 0..5),
    ]
}

/// Such as `lowerdir=a:b::c`.
fn lowerdir() -> impl Strategy<Value = Vec<u8>> {
    let separator = prop_oneof![20 => Just(":"), 3 => Just("::"), 1 => Just(":::"), 1 => Just("")];
    let tail = prop_oneof![30 => Just(""), 1 => Just(":"), 1 => Just("\\")];
    let parts = prop::collection::vec((separator, written_path()), 0..4);
    (written_path(), parts, tail).prop_map(|(first, parts, tail)| {
        let mut out = [b"lowerdir=", first.as_slice()].concat();
        for (separator, path) in parts {
            out.extend(separator.bytes());
            out.extend(path);
        }
        out.extend(tail.bytes());
        out
    })
}

fn option() -> impl Strategy<Value = Vec<u8>> {
    let one =
        |key: &'static str| written_path().prop_map(move |path| [key.as_bytes(), &path].concat());
    let plain = |options: &[&'static str]| {
        let options = prop::sample::select(options.to_vec());
        options.prop_map(|o| o.as_bytes().to_vec())
    };
    let good = plain(&[
        "upperdir=u,workdir=w",
        "index=on",
        "index=off",
        "ro",
        "rw",
        "redirect_dir=on",
        "redirect_dir=nofollow",
        "redirect_dir=off",
        "metacopy=on",
        "metacopy=off",
        "nfs_export=on",
        "userxattr",
        "verity=on",
        "xino=on",
        "uuid=off",
        "volatile",
        "default_permissions",
        "fsync=strict",
        "=",
        "",
    ]);
    let bad = plain(&[
        "upperdir=u",
        "workdir=w",
        "bogus",
        "lowerdir=",
        "index",
        "source=x",
    ]);
    prop_oneof![
        3 => lowerdir(),
        2 => one("lowerdir+="),
        1 => one("datadir+="),
        1 => one("upperdir="),
        12 => good,
        1 => bad,
    ]
}

/// The same options, as a string and as pairs; the latter split at the first `=`.
fn given() -> impl Strategy<Value = Given> {
    let options = prop::collection::vec(option(), 0..5);
    let first = prop_oneof![1 => Just(None), 12 => lowerdir().prop_map(Some)];
    (any::<bool>(), first, options).prop_map(|(as_pairs, first, options)| {
        let options: Vec<_> = first.into_iter().chain(options).collect();
        if !as_pairs {
            return Given::String(OsString::from_vec(options.join(&b',')));
        }
        let pair = |option: &Vec<u8>| {
            let to = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            match option.iter().position(|b| *b == b'=') {
                Some(at) => (to(&option[..at]), Some(to(&option[at + 1..]))),
                None => (to(option), None),
            }
        };
        Given::Pairs(options.iter().map(pair).collect())
    })
}

/// `KERNEL_SECONDS` sets for how long.
#[test]
fn r019_to_r025_random_options() {
    with_dirs(|place| {
        let seconds = std::env::var("KERNEL_SECONDS")
            .ok()
            .and_then(|s| s.parse().ok());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds.unwrap_or(3));
        let mut runner = TestRunner::new(Config::default());
        let (mut tried, mut mounted) = (0, 0);
        while std::time::Instant::now() < end {
            let given = given().new_tree(&mut runner).unwrap().current();
            tried += 1;
            mounted += u32::from(compare(place, &given).is_ok());
        }
        println!("{tried} option strings, {mounted} of them mounted");
        assert!(
            mounted * 20 > tried,
            "too few of {tried} are accepted: {mounted}"
        );
    });
}
