//! Section 1: the grammar of mount options. The same strings and pairs go to the kernel and to the
//! parser; what is accepted is read back from mountinfo.

use std::ffi::OsString;

use layerstack::{Errno, MOUNT_OPTIONS_BYTES_MAX, MountOptions};

use crate::given::{EINVAL, ENOENT, Given, OK, Pair, compare, ours, pairs, table, text, with_dirs};

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
