//! Section 18: opening an index, on directories that the kernel and the crate open in turn.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use layerstack::testing::spec::Piece;
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{Errno, Overlay, OverlayAttr, XattrNamespace};

use crate::ops::*;
use crate::place::{Place, at, at_on, our_string};
use crate::support::fs::Fs;
use crate::support::index::{IndexEntry, index_of_dir};
use crate::support::mount::OverlayMount;
use crate::support::namespace::{as_user, require_kernel};

const INDEX: &str = "lowerdir=l,upperdir=u,workdir=w,index=on";
const NFS: &str = "lowerdir=l,upperdir=u,workdir=w,nfs_export=on";

/// What opening came to.
type Opened = Result<(), Errno>;

fn by_kernel(place: &Place, options: &str) -> Opened {
    place.kernel_string(options, |_| ())
}

fn by_crate(_: &Place, options: &str) -> Opened {
    our_string(options).map(|_: Overlay| ())
}

/// What is done to an entry, or to what it is of.
type Change = fn(&Path);

/// Who opens.
const OPENERS: [fn(&Place, &str) -> Opened; 2] = [by_kernel, by_crate];

fn write(place: &Place, name: &str, spec: &LayerSpec) -> PathBuf {
    let dir = place.dir(name);
    spec.write_to_dir(&dir, XattrNamespace::Trusted).unwrap();
    dir
}

fn linked() -> LayerSpec {
    of([("/a", file("low")), ("/b", link_to("/a")), ("/d", dir())])
}

/// A lower `l` with hard links and new directories `u` and `w`.
fn fresh(place: &Place) {
    place.renew();
    let _ = std::fs::remove_dir_all("l");
    write(place, "l", &linked());
}

fn entries() -> Vec<IndexEntry> {
    index_of_dir(Path::new("w"), XattrNamespace::Trusted)
}

/// Copies `/a` up, by the crate; answers the path of its entry.
fn one_entry(options: &str) -> PathBuf {
    let union = our_string(options).unwrap();
    union.set_permissions("/a", 0o600).unwrap();
    drop(union);
    let files: Vec<_> = entries().into_iter().filter(|e| e.letter == 'f').collect();
    assert_eq!(files.len(), 1, "{files:?}");
    Path::new("w/index").join(&files[0].name)
}

#[test]
fn r046_the_index_is_kept_and_staged_in() {
    at(|place| {
        let changed = |path: &str| std::fs::metadata(path).unwrap();
        fresh(place);
        place
            .kernel_string(INDEX, |m| {
                let before = changed("w/index");
                let dir = m.path().join("d");
                std::fs::remove_dir(&dir).unwrap();
                std::fs::create_dir(&dir).unwrap();
                let after = changed("w/index");
                assert_eq!(after.mode() & 0o777, 0);
                assert_ne!(
                    (before.mtime(), before.mtime_nsec()),
                    (after.mtime(), after.mtime_nsec())
                );
            })
            .unwrap();
        assert!(Path::new("w/index").is_dir() && Path::new("w/work").is_dir());
        fresh(place);
        let union = our_string(INDEX).unwrap();
        let before = changed("w/index");
        union.remove_dir("/d").unwrap();
        union.create_dir("/d", 0o755).unwrap();
        let after = changed("w/index");
        assert_eq!(after.mode() & 0o777, 0);
        assert_ne!(
            (before.mtime(), before.mtime_nsec()),
            (after.mtime(), after.mtime_nsec())
        );
        drop(union);
        assert!(Path::new("w/index").is_dir() && Path::new("w/work").is_dir());
    });
}

/// Whoever opened first, and whoever opens then.
#[test]
fn r266_another_lower_or_upper_is_estale() {
    at(|place| {
        for first in OPENERS {
            for then in OPENERS {
                fresh(place);
                let _ = std::fs::remove_dir_all("l2");
                write(place, "l2", &linked());
                assert_eq!(first(place, INDEX), Ok(()));
                let other = INDEX.replace("lowerdir=l,", "lowerdir=l2,");
                assert_eq!(then(place, &other), Err(Errno::ESTALE));
                assert_eq!(then(place, &other.replace("index=on", "index=off")), Ok(()));
                assert_eq!(then(place, INDEX), Ok(()));
                let _ = std::fs::remove_dir_all("u2");
                place.dir("u2");
                let other = INDEX.replace("upperdir=u,", "upperdir=u2,");
                assert_eq!(then(place, &other), Err(Errno::ESTALE));
            }
        }
    });
}

#[test]
fn r267_entries_that_are_not_understood_refuse_the_index() {
    at(|place| {
        let make = |name: String| {
            fresh(place);
            let entry = one_entry(INDEX);
            let own = entry.file_name().unwrap().to_str().unwrap().to_owned();
            let name = name
                .replace("OWN", &own)
                .replace("NEWER", &own.replacen("00", "01", 1));
            std::fs::hard_link(&entry, Path::new("w/index").join(name)).unwrap();
        };
        for opener in OPENERS {
            for (name, errno) in [
                ("junk", Errno::EINVAL),
                (
                    "0123456789abcdef0123456789abcdef0123456789abcdef",
                    Errno::EINVAL,
                ),
                ("NEWER", Errno::ENODATA),
            ] {
                make(name.to_owned());
                assert_eq!(opener(place, INDEX), Err(errno), "{name}");
            }
            fresh(place);
            let entry = one_entry(INDEX);
            xattr::remove(&entry, "trusted.overlay.origin").unwrap();
            assert_eq!(opener(place, INDEX), Err(Errno::ENODATA), "no origin");
        }
    });
}

/// What becomes of entries, with `index=on` and with `nfs_export=on`.
#[test]
fn r267_entries_that_are_stale_or_orphaned_are_cleared() {
    at(|place| {
        let clear: [(&str, Change, [&str; 2]); 4] = [
            (
                "its names went",
                |_| std::fs::remove_file("u/a").unwrap(),
                ["f", "f"],
            ),
            (
                "its last name went",
                |entry| {
                    std::fs::remove_file("u/a").unwrap();
                    xattr::set(entry, "trusted.overlay.nlink", b"U-1").unwrap();
                },
                ["", "w"],
            ),
            (
                "its lower went",
                |_| {
                    std::fs::remove_file("u/a").unwrap();
                    std::fs::remove_file("l/a").unwrap();
                    std::fs::remove_file("l/b").unwrap();
                },
                ["", ""],
            ),
            (
                "it is of another lower",
                |entry| {
                    let mut value = xattr::get(entry, "trusted.overlay.origin")
                        .unwrap()
                        .unwrap();
                    *value.last_mut().unwrap() ^= 1;
                    xattr::set(entry, "trusted.overlay.origin", &value).unwrap();
                },
                ["", ""],
            ),
        ];
        for (what, change, left) in clear {
            for (options, left) in [INDEX, NFS].into_iter().zip(left) {
                let mut after = Vec::new();
                for opener in OPENERS {
                    fresh(place);
                    change(&one_entry(options));
                    assert_eq!(opener(place, options), Ok(()), "{what}");
                    let letters: String = entries().iter().map(|e| e.letter).collect();
                    after.push(letters);
                }
                assert_eq!(after, [left, left], "{what}, {options}");
            }
        }
    });
}

/// With `nfs_export` the entries of directories are verified too.
#[test]
fn r267_entries_of_directories() {
    at(|place| {
        let cases: [(&str, Change, Result<&str, Errno>); 3] = [
            ("as it was", |_| (), Ok("d")),
            (
                "no upper recorded",
                |entry| xattr::remove(entry, "trusted.overlay.upper").unwrap(),
                Ok(""),
            ),
            (
                "its upper went",
                |_| std::fs::remove_dir_all("u/d").unwrap(),
                Ok("w"),
            ),
        ];
        for (what, change, expected) in cases {
            for opener in OPENERS {
                fresh(place);
                let union = our_string(NFS).unwrap();
                union.set_permissions("/d", 0o700).unwrap();
                drop(union);
                let name = &entries()[0].name;
                change(&Path::new("w/index").join(name));
                let letters = || entries().iter().map(|e| e.letter).collect::<String>();
                let opened = opener(place, NFS).map(|()| letters());
                assert_eq!(opened, expected.map(String::from), "{what}");
            }
        }
    });
}

/// The same question to a mount and to the crate.
fn ask(place: &Place, options: &str, path: &str) -> [Result<u32, Errno>; 2] {
    let kernel = place.kernel_string(options, |m| {
        let meta = std::fs::symlink_metadata(m.path().join(path));
        meta.map(|m| m.mode() & 0o7777)
            .map_err(|e| Errno::of_io(&e))
    });
    let union = our_string(options).unwrap();
    let meta = union.symlink_metadata(Path::new("/").join(path));
    [kernel.unwrap(), meta.map(|m| m.mode).map_err(|e| e.errno())]
}

#[test]
fn r272_entries_of_another_type_are_eio() {
    at(|place| {
        fresh(place);
        let entry = one_entry(INDEX);
        std::fs::remove_file("u/a").unwrap();
        std::fs::remove_file(&entry).unwrap();
        std::fs::create_dir(&entry).unwrap();
        assert_eq!(ask(place, INDEX, "b"), [Err(Errno::EIO); 2]);
        std::fs::remove_dir(&entry).unwrap();
        let whiteout = rustix::fs::makedev(0, 0);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &entry,
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            whiteout,
        )
        .unwrap();
        assert_eq!(ask(place, INDEX, "b"), [Err(Errno::EIO); 2]);
        // Without an index nobody asks.
        let off = INDEX.replace("index=on", "index=off");
        assert_eq!(ask(place, &off, "b"), [Ok(0o644); 2]);
    });
}

/// A directory that was put in the place of the origin offline is not merged.
#[test]
fn r270_a_directory_that_is_not_the_origin_is_not_merged() {
    at(|place| {
        for (options, merges) in [(NFS, false), (INDEX, true)] {
            fresh(place);
            std::fs::write("l/d/old", "").unwrap();
            let union = our_string(options).unwrap();
            union.write("/d/up", "").unwrap();
            drop(union);
            std::fs::rename("l/d", "l/away").unwrap();
            std::fs::create_dir("l/d").unwrap();
            std::fs::write("l/d/new", "").unwrap();
            let [kernel, ours] = ask(place, options, "d/new");
            assert_eq!(kernel.is_ok(), merges, "{options}");
            assert_eq!(ours, kernel, "{options}");
            assert_eq!(ask(place, options, "d/up").map(|r| r.is_ok()), [true; 2]);
        }
    });
}

/// A value that says nothing is not the right one. Where there is none, the right one is stored.
#[test]
fn r270_an_origin_that_says_nothing_does_not_match() {
    at(|place| {
        for (value, merges) in [(None, true), (Some(""), false), (Some("junk"), false)] {
            fresh(place);
            std::fs::write("l/d/old", "").unwrap();
            std::fs::create_dir("u/d").unwrap();
            if let Some(value) = value {
                xattr::set("u/d", "trusted.overlay.origin", value.as_bytes()).unwrap();
            }
            let [kernel, ours] = ask(place, NFS, "d/old");
            assert_eq!(kernel.is_ok(), merges, "{value:?}");
            assert_eq!(ours, kernel, "{value:?}");
        }
    });
}

/// Two upper directories that lead to one lower: with verified origins the index tells.
#[test]
fn r169_with_nfs_export_a_second_redirect_is_eio() {
    at(|place| {
        let options = format!("{NFS},redirect_dir=on");
        fresh(place);
        let union = our_string(&options).unwrap();
        union.rename("/d", "/moved").unwrap();
        drop(union);
        let upper = of([("/again", NodeSpec::dir())]);
        upper
            .write_to_dir(Path::new("u"), XattrNamespace::Trusted)
            .unwrap();
        for attr in ["trusted.overlay.redirect", "trusted.overlay.origin"] {
            let value = xattr::get("u/moved", attr).unwrap().unwrap();
            xattr::set("u/again", attr, &value).unwrap();
        }
        assert_eq!(ask(place, &options, "again"), [Err(Errno::EIO); 2]);
        assert_eq!(ask(place, &options, "moved"), [Ok(0o755); 2]);
    });
}

/// A metadata-only copy whose lower was replaced offline by another file of its name.
#[test]
fn r271_a_file_whose_origin_is_another_is_estale() {
    at(|place| {
        let options = format!("{INDEX},metacopy=on");
        fresh(place);
        std::fs::write("l/f", "data").unwrap();
        place
            .kernel_string(&options, |m| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(m.path().join("f"), mode).unwrap();
            })
            .unwrap();
        assert!(
            xattr::get("u/f", "trusted.overlay.metacopy")
                .unwrap()
                .is_some()
        );
        assert_eq!(ask(place, &options, "f"), [Ok(0o600); 2]);
        std::fs::rename("l/f", "l/away").unwrap();
        std::fs::write("l/f", "DATA").unwrap();
        assert_eq!(ask(place, &options, "f"), [Err(Errno::ESTALE); 2]);
        let off = options.replace("index=on", "index=off");
        assert_eq!(ask(place, &off, "f"), [Ok(0o600); 2]);
    });
}

/// Whether a mount has an index, and whether the crate has; what the crate says.
fn has_index(place: &Place, options: &str) -> ([bool; 2], Vec<String>) {
    let shown = place.kernel_string(options, |m| m.shown()).unwrap();
    let kernel = shown.to_str().unwrap().contains("index=on");
    let union = our_string(options).unwrap();
    let warnings = union.warnings().iter().map(ToString::to_string).collect();
    let ours = union.settings().to_string().contains("index=on");
    ([kernel, ours], warnings)
}

/// An overlay as a lower has no handles that could be opened again.
#[test]
fn r268_without_file_handles_there_is_no_index() {
    at(|place| {
        fresh(place);
        write(place, "l2", &layer());
        let below = place.dir("below");
        let nested = OverlayMount::by_string(&below, "lowerdir=l:l2".as_ref()).unwrap();
        let options = INDEX.replace("lowerdir=l,", "lowerdir=below,");
        let (has, warnings) = has_index(place, &options);
        assert_eq!(has, [false; 2]);
        let says =
            "index is off instead of on: lower[0] has no file handles that this process could open";
        assert_eq!(warnings, [says]);
        let union = our_string(&options).unwrap();
        union.set_permissions("/a", 0o600).unwrap();
        assert!(!Path::new("w/index").exists());
        drop(union);
        nested.unmount().unwrap();
        assert_eq!(has_index(place, INDEX), ([true; 2], Vec::new()));
    });
}

/// Nor can an ordinary user open any, in whatever namespace.
#[test]
fn r268_ordinary_users_have_no_index() {
    if !require_kernel() {
        return;
    }
    as_user("index_open::r268_ordinary_users_have_no_index", || {
        at_on(Fs::Tmpfs, &[], |place, _| {
            for name in ["l", "u", "w"] {
                place.dir(name);
            }
            let (has, warnings) = has_index(place, &format!("{INDEX},userxattr"));
            assert_eq!(has, [false; 2]);
            assert!(
                warnings.iter().any(|w| w.starts_with("index is off")),
                "{warnings:?}"
            );
        });
    });
}

/// What an entry bears is judged like what an upper file bears; a redirect also where it leads nowhere, as
/// the entry is no metacopy.
#[test]
fn r162_r165_r171_r177_the_attributes_of_entries_count() {
    let cases: [(&str, &str, &[u8], Option<Errno>); 11] = [
        ("", "metacopy", b"", Some(Errno::EPERM)),
        ("", "metacopy", b"abc", Some(Errno::EIO)),
        (",metacopy=on", "metacopy", b"", None),
        (",metacopy=on", "metacopy", b"abc", Some(Errno::EIO)),
        ("", "redirect", b"/zz", None),
        (",redirect_dir=off", "redirect", b"/zz", None),
        (
            ",redirect_dir=nofollow",
            "redirect",
            b"/zz",
            Some(Errno::EPERM),
        ),
        ("", "redirect", b"a/b", Some(Errno::EINVAL)),
        (",metacopy=on", "redirect", b"a/b", Some(Errno::EINVAL)),
        ("", "redirect", b"", Some(Errno::EINVAL)),
        ("", "redirect", b"/../zz", None),
    ];
    at(|place| {
        for (more, attr, value, expected) in cases {
            fresh(place);
            let entry = one_entry(INDEX);
            xattr::set(&entry, format!("trusted.overlay.{attr}"), value).unwrap();
            let told = format!("{more} {attr} {:?}", value.escape_ascii().to_string());
            let options = format!("{INDEX}{more}");
            let expected = expected.map_or(Ok(b"low".to_vec()), Err);
            let kernel = place.kernel_string(&options, |m| {
                let read = std::fs::read(m.path().join("b"));
                read.map_err(|e| Errno::of_io(&e))
            });
            assert_eq!(kernel.unwrap(), expected, "kernel: {told}");
            let ours = our_string(&options).unwrap().read("/b");
            assert_eq!(ours.map_err(|e| e.errno()), expected, "crate: {told}");
        }
    });
}

/// For data in data-only layers a redirect is followed whatever the options say, but not for the name of a
/// file that the index has.
#[test]
fn r165_r189_an_entry_of_what_has_its_data_in_a_data_only_layer() {
    at(|place| {
        for (follow, expected) in [("nofollow", Err(Errno::EPERM)), ("on", Ok(b"low".to_vec()))] {
            let options = format!(
                "lowerdir=l::data,upperdir=u,workdir=w,index=on,metacopy=off,redirect_dir={follow}"
            );
            place.renew();
            let _ = std::fs::remove_dir_all("l");
            let metacopy = NodeSpec::pieces(vec![Piece::Hole(3)])
                .overlay(OverlayAttr::Metacopy, b"")
                .overlay(OverlayAttr::Redirect, b"/x");
            write(place, "l", &of([("/a", metacopy), ("/b", link_to("/a"))]));
            let _ = std::fs::remove_dir_all("data");
            write(place, "data", &of([("/x", file("low"))]));
            let union = our_string(&options).unwrap();
            assert_eq!(union.read("/b").unwrap(), b"low");
            union.set_permissions("/a", 0o600).unwrap();
            drop(union);
            let kernel = place.kernel_string(&options, |m| {
                let read = std::fs::read(m.path().join("b"));
                read.map_err(|e| Errno::of_io(&e))
            });
            assert_eq!(kernel.unwrap(), expected, "kernel: {follow}");
            let ours = our_string(&options).unwrap().read("/b");
            assert_eq!(ours.map_err(|e| e.errno()), expected, "crate: {follow}");
        }
    });
}
