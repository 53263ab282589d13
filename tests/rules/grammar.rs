//! Section 1: the grammar of mount options. The same strings and pairs go to the kernel and to the
//! parser; what is accepted is read back from mountinfo.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use layerstack::{Errno, MOUNT_OPTIONS_BYTES_MAX, MountOptionError, MountOptions};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::place::{Place, at_on};
use crate::support::fs::Fs;

/// Directories with names that need escapes somewhere.
const DIRS: [&[u8]; 12] = [
    b"l",
    b"m",
    b"n",
    b"a:b",
    b"c,d",
    b"e\\f",
    b"g h",
    b"i=j",
    b"new\nline",
    b"\xff\xfe",
    b"\\",
    b":",
];

fn with_dirs(test: impl FnOnce(&Place) + Send) {
    at_on(Fs::Tmpfs, &[], |place, _| {
        for dir in DIRS {
            std::fs::create_dir(place.space.path().join(OsStr::from_bytes(dir))).unwrap();
        }
        place.renew();
        test(place);
    });
}

type Pair = (OsString, Option<OsString>);

/// How options reach the kernel.
#[derive(Clone, Debug)]
enum Given {
    String(OsString),
    Pairs(Vec<Pair>),
}

/// What came of them: the options as they were understood.
type Got = Result<MountOptions, Errno>;

fn ours(given: &Given) -> Result<MountOptions, MountOptionError> {
    match given {
        Given::String(text) => MountOptions::parse(text),
        Given::Pairs(pairs) => MountOptions::from_pairs(pairs.clone()),
    }
}

fn kernel(place: &Place, given: &Given) -> Got {
    place.renew();
    let ask = |m: &crate::support::mount::OverlayMount| MountOptions::from_mounts(m.shown());
    let shown = match given {
        Given::String(text) => place.kernel_string(text, ask),
        Given::Pairs(pairs) => place.kernel_pairs(pairs, ask),
    };
    shown.map(|shown| shown.expect("what the kernel shows"))
}

/// Both refuse, or both accept and mean the same layers. Answers the kernel's errno.
fn compare(place: &Place, given: &Given) -> Result<(), Errno> {
    let kernel = kernel(place, given);
    let parsed = ours(given).map_err(layerstack::Error::from);
    let checked = parsed.and_then(|options| options.check().map(|_| options));
    match (kernel, checked) {
        // The kernel looks paths up while it reads, so it meets a missing one before what is wrong
        // further on.
        (Err(errno), Err(e)) => {
            let both = [errno, e.errno()];
            let agree = both[0] == both[1] || both == [Errno::ENOENT, Errno::EINVAL];
            assert!(agree, "{given:?}: {errno}, {e}");
            Err(errno)
        }
        (Ok(shown), Ok(options)) => {
            assert_eq!(options.lowers(), shown.lowers(), "{given:?}");
            assert_eq!(options.data_lowers(), shown.data_lowers(), "{given:?}");
            assert_eq!(options.upper_path(), shown.upper_path(), "{given:?}");
            let work = options
                .work_path()
                .filter(|_| options.upper_path().is_some());
            assert_eq!(work, shown.work_path(), "{given:?}");
            let read_only = options.is_read_only() || options.upper_path().is_none();
            assert_eq!(read_only, shown.is_read_only(), "{given:?}");
            assert_eq!(options.namespace(), shown.namespace(), "{given:?}");
            Ok(())
        }
        // One directory twice is found when the layers are opened.
        (Err(Errno::ELOOP), Ok(options)) if has_twice(&options) => Err(Errno::ELOOP),
        // Nothing is looked up before layers are opened.
        (Err(Errno::ENOENT), Ok(options)) if has_missing(given, &options) => Err(Errno::ENOENT),
        (kernel, ours) => panic!("{given:?}: the kernel {kernel:?}, the crate {ours:?}"),
    }
}

/// One directory is told for two layers.
fn has_twice(options: &MountOptions) -> bool {
    let mut all = [options.lowers(), options.data_lowers()].concat();
    all.extend(options.upper_path().map(PathBuf::from));
    let count = all.len();
    all.sort();
    all.dedup();
    all.len() < count
}

/// A path that is told is no directory here, even if another is told later.
fn has_missing(given: &Given, options: &MountOptions) -> bool {
    let missing = |path: &PathBuf| !path.is_dir();
    let all = [options.lowers(), options.data_lowers()].concat();
    let both = [options.upper_path(), options.work_path()];
    let both = both.into_iter().flatten().map(PathBuf::from);
    all.into_iter().chain(both).any(|p| missing(&p)) || {
        // Overridden.
        let prefixes = match given {
            Given::String(text) => {
                let bytes = text.as_bytes();
                let cut = |(i, _)| Given::String(OsString::from_vec(bytes[..i].to_vec()));
                let commas = bytes.iter().enumerate().filter(|(_, b)| **b == b',');
                commas.map(cut).collect::<Vec<_>>()
            }
            Given::Pairs(pairs) => {
                let cut = |i| Given::Pairs(pairs[..i].to_vec());
                (0..pairs.len()).map(cut).collect()
            }
        };
        prefixes.iter().rev().any(|prefix| {
            ours(prefix).is_ok_and(|options| has_missing(&Given::Pairs(Vec::new()), &options))
        })
    }
}

fn text(text: &str) -> Given {
    Given::String(text.into())
}

fn pairs(pairs: &[(&str, &str)]) -> Given {
    let pair = |(k, v): &(&str, &str)| (OsString::from(*k), Some(OsString::from(*v)));
    Given::Pairs(pairs.iter().map(pair).collect())
}

const OK: Result<(), Errno> = Ok(());
const EINVAL: Result<(), Errno> = Err(Errno::EINVAL);
const ENOENT: Result<(), Errno> = Err(Errno::ENOENT);

fn table(place: &Place, rows: &[(&str, Result<(), Errno>)]) {
    for (options, want) in rows {
        assert_eq!(compare(place, &text(options)), *want, "{options}");
    }
}

#[test]
fn r005_one_lower_is_not_data_only() {
    with_dirs(|place| {
        let data = pairs(&[("datadir+", "l")]);
        assert_eq!(compare(place, &data), EINVAL);
        let rw = pairs(&[("datadir+", "l"), ("upperdir", "u"), ("workdir", "w")]);
        assert_eq!(compare(place, &rw), EINVAL);
        let Ok(options) = ours(&rw) else {
            panic!("{rw:?}")
        };
        assert_eq!(options.check().unwrap_err().rule(), Some("R005"));
        assert_eq!(options.open().unwrap_err().rule(), Some("R005"));
    });
}

#[test]
fn r006_a_work_directory_goes_with_an_upper() {
    with_dirs(|place| {
        table(
            place,
            &[
                ("lowerdir=l,upperdir=u", EINVAL),
                ("lowerdir=l:m,upperdir=u", EINVAL),
                ("lowerdir=l:m,workdir=w", OK),
                ("lowerdir=l,workdir=w", EINVAL),
            ],
        );
        let ignored = MountOptions::parse("lowerdir=l:m,workdir=w").unwrap();
        let ignored = ignored.check().unwrap();
        assert_eq!((ignored[0].option, ignored[0].rule()), ("workdir", "R006"));
    });
}

#[test]
fn r019_a_backslash_takes_the_next_character_as_it_is() {
    with_dirs(|place| {
        table(
            place,
            &[
                (r"lowerdir=a\:b:l", OK),
                (r"lowerdir=a:b:l", ENOENT),
                (r"lowerdir=c\,d:l", OK),
                (r"lowerdir=c,d:l", ENOENT),
                (r"lowerdir=l,d:l", EINVAL),
                (r"lowerdir=e\\f:l", OK),
                (r"lowerdir=e\f:l", ENOENT),
                (r"lowerdir=\l:\m", OK),
                (r"lowerdir=l:m\", OK),
                (r"lowerdir=l:m\\", ENOENT),
                (r"lowerdir=\\:\:", OK),
                ("lowerdir=g h:i=j:new\nline", OK),
                (r"lowerdir=l,upperdir=\u,workdir=w", OK),
                (r"lowerdir=l,upperdir=c\,d,workdir=w", OK),
                (r"lowerdir=l,upperdir=e\\f,workdir=w", OK),
                (r"lowerdir=l,upperdir=a:b,workdir=w", OK),
                (r"lowerdir=l,upperdir=\:,workdir=w\,", ENOENT),
            ],
        );
    });
}

#[test]
fn r020_lowers_one_by_one() {
    with_dirs(|place| {
        let (l, d) = ("lowerdir+", "datadir+");
        let rows = [
            (pairs(&[(l, "l"), (l, "m")]), OK),
            (
                pairs(&[(l, "a:b"), (l, "c,d"), (l, r"e\f"), (l, r"\"), (l, ":")]),
                OK,
            ),
            (pairs(&[(l, r"c\,d"), (l, "l")]), ENOENT),
            (pairs(&[(l, "l"), (d, "m")]), OK),
            (pairs(&[(l, "l"), (d, "m"), (l, "n")]), EINVAL),
            (pairs(&[(d, "m"), (l, "n")]), EINVAL),
            (pairs(&[("lowerdir", "l"), (l, "m")]), EINVAL),
            (pairs(&[("lowerdir", "l"), (d, "m")]), EINVAL),
            (pairs(&[(l, "n"), ("lowerdir", "l:m")]), OK),
            (
                pairs(&[("lowerdir", "l"), ("lowerdir", ""), (l, "m"), (l, "n")]),
                OK,
            ),
            (pairs(&[(l, ""), (l, "m")]), EINVAL),
            (pairs(&[("lowerdir", "c,d:l")]), OK),
            (pairs(&[("lowerdir", r"c\,d:l")]), OK),
            // In a string as well, but without escapes: a comma cannot be told.
            (text("lowerdir+=l,lowerdir+=a:b"), OK),
            (text("lowerdir+=l,datadir+=m"), OK),
            (text(r"lowerdir+=c\,d,lowerdir+=l"), ENOENT),
            (text("lowerdir=l,lowerdir+=m"), EINVAL),
        ];
        for (given, want) in rows {
            assert_eq!(compare(place, &given), want, "{given:?}");
        }
        // Parts of more than 255 bytes are refused.
        let path = |bytes: usize| format!("l{}", "/".repeat(bytes - 1));
        for (bytes, want) in [(255, OK), (256, EINVAL)] {
            assert_eq!(compare(place, &pairs(&[(l, &path(bytes)), (l, "m")])), want);
            assert_eq!(
                compare(
                    place,
                    &pairs(&[("lowerdir", &format!("m:{}", path(bytes - 2)))])
                ),
                want
            );
        }
    });
}

#[test]
fn r021_r022_colons() {
    with_dirs(|place| {
        table(
            place,
            &[
                ("lowerdir=:l", EINVAL),
                ("lowerdir=::l", EINVAL),
                ("lowerdir=l:", EINVAL),
                ("lowerdir=l:m:", EINVAL),
                ("lowerdir=l::", EINVAL),
                ("lowerdir=l:::m", EINVAL),
                (r"lowerdir=l:\", EINVAL),
                (r"lowerdir=l::\", EINVAL),
                (r"lowerdir=\", EINVAL),
                (r"lowerdir=l,upperdir=\,workdir=w", ENOENT),
                ("lowerdir=", EINVAL),
                ("lowerdir=l:m,lowerdir=", EINVAL),
                ("lowerdir=,lowerdir=l:m", OK),
                ("lowerdir=l:m,lowerdir=n:m", OK),
                ("lowerdir=l::m", OK),
                ("lowerdir=l:n::m", OK),
                ("lowerdir=l::m::n", OK),
                ("lowerdir=l::m:n", EINVAL),
                ("lowerdir=l::m::n:u", EINVAL),
            ],
        );
    });
}

#[test]
fn r023_what_is_beyond_one_page_is_cut_off() {
    with_dirs(|place| {
        let pad = |bytes: usize| ",".repeat(bytes);
        let (head, tail) = ("lowerdir=l,upperdir=u,workdir=w", ",index=on");
        let fits = MOUNT_OPTIONS_BYTES_MAX - head.len() - tail.len();
        let whole = |more: usize| format!("{head}{}{tail}", pad(fits + more));
        let index = |text: &str| {
            place.renew();
            let shown = place.kernel_string(text, |m| m.shown()).unwrap();
            shown.to_str().unwrap().contains("index=on")
        };
        assert!(index(&whole(0)));
        assert!(!index(&whole(tail.len())), "cut off without a word");
        assert_eq!(
            place.kernel_string(whole(1), |_| ()),
            Err(Errno::EINVAL),
            "index=o"
        );
        // A path that is cut off is another path.
        let long = format!("lowerdir=l:m/{}/../../n", "./".repeat(2100));
        assert!(place.kernel_string(&long, |_| ()).is_ok());
        let long = MountOptions::parse(&long).unwrap();
        assert!(!long.fits_one_page());
        assert_eq!(long.check().unwrap()[0].rule(), "R023");
        // As many layers as there may be, by pairs, and by relative paths in a page.
        let dir = |i: usize| place.dir(&format!("many/{i}"));
        let many = (0..500).fold(MountOptions::new(), |all, i| all.lower(dir(i)));
        assert!(!many.fits_one_page());
        let by_pairs = Given::Pairs(
            many.to_pairs()
                .unwrap()
                .into_iter()
                .map(|(k, v)| (k.into(), v))
                .collect(),
        );
        assert_eq!(compare(place, &by_pairs), OK);
        let short = many.shortened().unwrap();
        assert_eq!(short.directory, place.space.path().join("many"));
        assert!(short.options.fits_one_page());
        std::env::set_current_dir(&short.directory).unwrap();
        let count = place.kernel_string(short.options.to_legacy().unwrap(), |m| {
            MountOptions::from_mounts(m.shown()).unwrap().lowers().len()
        });
        assert_eq!(count, Ok(500));
        assert_eq!(short.options.open().unwrap().layers().len(), 500);
    });
}

#[test]
fn r024_r025_options_and_values() {
    with_dirs(|place| {
        let base = "lowerdir=l,upperdir=u,workdir=w";
        let with = |option: &str| text(&format!("{base},{option}"));
        for good in [
            "redirect_dir=on",
            "redirect_dir=follow",
            "redirect_dir=nofollow",
            "redirect_dir=off",
            "index=on",
            "index=off",
            "metacopy=on",
            "metacopy=off",
            "nfs_export=on",
            "nfs_export=off",
            "xino=on",
            "xino=off",
            "xino=auto",
            "uuid=on",
            "uuid=off",
            "uuid=null",
            "uuid=auto",
            "verity=off",
            "verity=on",
            "verity=require",
            "fsync=auto",
            "fsync=strict",
            "fsync=volatile",
            "volatile",
            "userxattr",
            "default_permissions",
            "override_creds",
            "nooverride_creds",
            "ro",
            "rw",
            "ro=1",
            "rw=0",
            "ro,rw",
            "rw,ro",
            "sync",
            "async",
            "dirsync",
            "lazytime",
            "nolazytime",
            "mand",
            "nomand",
            "",
            ",",
            "=",
            "=x",
            "index=on,index=off",
            "upperdir=m",
            "workdir=m",
        ] {
            assert_eq!(compare(place, &with(good)), OK, "{good}");
        }
        for bad in [
            "bogus",
            "bogus=1",
            "Index=on",
            "index",
            "index=",
            "index=ON",
            "index=1",
            "index=on ",
            " index=on",
            "xino=yes",
            "uuid",
            "verity=req",
            "volatile=1",
            "volatile=",
            "novolatile",
            "userxattr=on",
            "nouserxattr",
            "default_permissions=1",
            "override_creds=",
            "nooverride_creds=1",
            "silent",
            "loud",
            "nosuid",
            "relatime",
            "defaults",
            "posixacl",
            "source=x",
            "upperdir",
            "upperdir=",
            "workdir",
            "workdir=",
            "lowerdir",
            "lowerdir+",
            "lowerdir+=",
            "upperdir+=m",
            "redirect_dir=always",
            "fsync=",
            "context=x",
        ] {
            assert_eq!(compare(place, &with(bad)), EINVAL, "{bad}");
        }
        table(
            place,
            &[
                ("", EINVAL),
                (",", EINVAL),
                ("ro", EINVAL),
                (",,lowerdir=l:m,,ro,", OK),
                ("upperdir=u,workdir=w,lowerdir=l", OK),
                ("upperdir=c,upperdir=u,workdir=w,lowerdir=l", ENOENT),
            ],
        );
        let flag = |key: &str| (OsString::from(key), None);
        let with = |more: Pair| {
            let Given::Pairs(mut all) = pairs(&[("lowerdir", "l:m")]) else {
                unreachable!()
            };
            all.push(more);
            compare(place, &Given::Pairs(all))
        };
        for good in ["ro", "rw", "userxattr", "nooverride_creds", "mand"] {
            assert_eq!(with(flag(good)), OK, "{good}");
        }
        for bad in [
            "",
            "=x",
            "index",
            "lowerdir",
            "lowerdir+",
            "upperdir",
            "source",
            "nosuid",
        ] {
            assert_eq!(with(flag(bad)), EINVAL, "{bad}");
        }
        assert_eq!(with(("source".into(), Some("x".into()))), OK);
        let twice = pairs(&[("lowerdir", "l:m"), ("source", "x"), ("source", "x")]);
        assert_eq!(compare(place, &twice), EINVAL);
    });
}

#[test]
fn r024_remounting_changes_no_option() {
    use nix::mount::{MsFlags, mount};
    with_dirs(|place| {
        let none: Option<&str> = None;
        let remount = |at: &std::path::Path, flags, data: &str| {
            mount(none, at, none, MsFlags::MS_REMOUNT | flags, Some(data)).map_err(Errno::from)
        };
        let rw = "lowerdir=l,upperdir=u,workdir=w";
        let done = place.kernel_string(rw, |m| {
            let before = m.shown();
            assert_eq!(
                remount(m.path(), MsFlags::empty(), "index=on,bogus=x"),
                Ok(())
            );
            assert_eq!(m.shown(), before);
            assert_eq!(remount(m.path(), MsFlags::MS_RDONLY, ""), Ok(()));
            MountOptions::from_mounts(m.shown()).unwrap().is_read_only()
        });
        assert_eq!(done, Ok(true));
        let done = place.kernel_string("lowerdir=l:m", |m| remount(m.path(), MsFlags::empty(), ""));
        assert_eq!(done, Ok(Err(Errno::EROFS)));
        // The crate's counterpart of `ro` is an option of the union.
        place.renew();
        std::fs::write("l/f", "x").unwrap();
        let union = MountOptions::parse(format!("{rw},ro"))
            .unwrap()
            .open()
            .unwrap();
        assert_eq!(union.remove_file("/f").unwrap_err().errno(), Errno::EROFS);
        assert_eq!(union.read("/f").unwrap(), b"x");
    });
}

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
