//! Mount options given to the kernel and to the parser, and what both make of them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use layerstack::{Errno, MountOptionError, MountOptions};

use crate::place::{Place, at_on};
use crate::support::fs::Fs;

/// Directories with names that need escapes somewhere.
pub(crate) const DIRS: [&[u8]; 12] = [
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

pub(crate) fn with_dirs(test: impl FnOnce(&Place) + Send) {
    at_on(Fs::Tmpfs, &[], |place, _| {
        for dir in DIRS {
            std::fs::create_dir(place.space.path().join(OsStr::from_bytes(dir))).unwrap();
        }
        place.renew();
        test(place);
    });
}

pub(crate) type Pair = (OsString, Option<OsString>);

/// How options reach the kernel.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    String(OsString),
    Pairs(Vec<Pair>),
}

/// What came of them: the options as they were understood.
type Got = Result<MountOptions, Errno>;

pub(crate) fn ours(given: &Given) -> Result<MountOptions, MountOptionError> {
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
pub(crate) fn compare(place: &Place, given: &Given) -> Result<(), Errno> {
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

pub(crate) fn text(text: &str) -> Given {
    Given::String(text.into())
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Given {
    let pair = |(k, v): &(&str, &str)| (OsString::from(*k), Some(OsString::from(*v)));
    Given::Pairs(pairs.iter().map(pair).collect())
}

pub(crate) const OK: Result<(), Errno> = Ok(());
pub(crate) const EINVAL: Result<(), Errno> = Err(Errno::EINVAL);
pub(crate) const ENOENT: Result<(), Errno> = Err(Errno::ENOENT);

pub(crate) fn table(place: &Place, rows: &[(&str, Result<(), Errno>)]) {
    for (options, want) in rows {
        assert_eq!(compare(place, &text(options)), *want, "{options}");
    }
}
