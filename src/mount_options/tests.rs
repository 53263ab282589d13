//! The grammar, by tables. What the kernel makes of the same strings is compared in
//! `tests/rules/grammar.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{MountOptionError as Bad, MountOptions, Profile};
use crate::{RedirectDir, Xino};

fn parse(text: &str) -> Result<MountOptions, Bad> {
    MountOptions::parse(text)
}

fn strings(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|p| p.to_str().unwrap()).collect()
}

#[test]
fn r001_r019_r022_lower_layers() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("a", &["a"], &[]),
        ("a:b:c", &["a", "b", "c"], &[]),
        ("a::d", &["a"], &["d"]),
        ("a:b::d::e", &["a", "b"], &["d", "e"]),
        (r"a\:b:c", &["a:b", "c"], &[]),
        (r"a\,b", &["a,b"], &[]),
        (r"a\\:b", &[r"a\", "b"], &[]),
        (r"\a:b\", &["a", "b"], &[]),
        (r"a\:\:b", &["a::b"], &[]),
        (r"\:a", &[":a"], &[]),
        ("a=b: c", &["a=b", " c"], &[]),
        ("", &[], &[]),
    ];
    for (value, lowers, data) in rows {
        let got = parse(&format!("lowerdir={value}")).unwrap();
        assert_eq!(strings(got.lowers()), *lowers, "{value}");
        assert_eq!(strings(got.data_lowers()), *data, "{value}");
    }
}

#[test]
fn r021_r022_colons() {
    let rows = [
        (":a", Bad::LeadingColon),
        ("::a", Bad::LeadingColon),
        ("a:", Bad::TrailingColon),
        ("a::", Bad::TrailingColon),
        (r"a:\", Bad::TrailingColon),
        ("a:::b", Bad::TooManyColons),
        ("a::::b", Bad::TooManyColons),
        ("a::b:c", Bad::MergedAfterData),
        (r"\", Bad::EmptyPath { option: "lowerdir" }),
    ];
    for (value, want) in rows {
        let got = parse(&format!("lowerdir={value}"));
        assert_eq!(got, Err(want), "{value}");
    }
}

#[test]
fn r020_one_path_each() {
    let pairs = |pairs: &[(&str, &str)]| {
        MountOptions::from_pairs(pairs.iter().map(|(k, v)| (*k, Some(*v))))
    };
    let got = pairs(&[
        ("lowerdir+", r"a:b\,c"),
        ("lowerdir+", "d"),
        ("datadir+", ":e"),
    ]);
    let got = got.unwrap();
    assert_eq!(strings(got.lowers()), [r"a:b\,c", "d"]);
    assert_eq!(strings(got.data_lowers()), [":e"]);
    let (add, data) = ("lowerdir+", "datadir+");
    let after = Bad::AddedAfterLowerdir { option: add };
    assert_eq!(pairs(&[("lowerdir", "a"), (add, "b")]), Err(after));
    let after = Bad::AddedAfterLowerdir { option: data };
    assert_eq!(pairs(&[("lowerdir", "a"), (data, "b")]), Err(after));
    let reset = pairs(&[("lowerdir", "a"), ("lowerdir", ""), (add, "b")]);
    assert_eq!(strings(reset.unwrap().lowers()), ["b"]);
    let replaced = pairs(&[(add, "a"), (data, "d"), ("lowerdir", "b")]).unwrap();
    assert_eq!(strings(replaced.lowers()), ["b"]);
    assert_eq!(replaced.data_lowers(), [] as [&Path; 0]);
    assert_eq!(pairs(&[(data, "a"), (add, "b")]), Err(Bad::MergedAfterData));
    assert_eq!(pairs(&[(add, "")]), Err(Bad::NeedsValue { option: add }));
    assert!(pairs(&[(add, &"x".repeat(255))]).is_ok());
    let long = pairs(&[(add, &"x".repeat(256))]);
    assert!(matches!(long, Err(Bad::TooLong { bytes: 256, .. })));
    let many = |n| MountOptions::from_pairs((0..n).map(|_| (add, Some("x"))));
    assert_eq!(many(500).unwrap().lowers().len(), 500);
    assert_eq!(many(501), Err(Bad::TooManyLowers));
    let many = |n| parse(&format!("lowerdir={}", vec!["x"; n].join(":")));
    assert!(many(500).is_ok());
    assert_eq!(many(501), Err(Bad::TooManyLowers));
}

#[test]
fn r024_r025_options_and_values() {
    for good in [
        "redirect_dir=on,redirect_dir=follow,redirect_dir=nofollow,redirect_dir=off",
        "index=on,index=off,metacopy=on,metacopy=off,nfs_export=on,nfs_export=off",
        "xino=on,xino=off,xino=auto,uuid=on,uuid=off,uuid=null,uuid=auto",
        "verity=off,verity=on,verity=require,fsync=auto,fsync=strict,fsync=volatile",
        "volatile,userxattr,default_permissions,override_creds,nooverride_creds",
        "ro,rw,sync,async,dirsync,lazytime,nolazytime,mand,nomand,ro=1,rw=",
        "",
        ",,=x,=,",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
    let unknown = |option: &str| Bad::Unknown {
        option: option.into(),
    };
    for bad in [
        "bogus",
        "Index",
        "upperdir+",
        "nosuid",
        "nouserxattr",
        "silent",
        "novolatile",
    ] {
        assert_eq!(parse(bad), Err(unknown(bad)));
        assert_eq!(parse(&format!("{bad}=x")), Err(unknown(bad)));
    }
    for option in [
        "index",
        "xino",
        "lowerdir",
        "lowerdir+",
        "upperdir",
        "workdir",
        "fsync",
    ] {
        assert_eq!(parse(option), Err(Bad::NeedsValue { option }));
    }
    for option in [
        "userxattr",
        "volatile",
        "default_permissions",
        "override_creds",
    ] {
        let got = parse(&format!("{option}="));
        let value = Vec::new();
        assert_eq!(got, Err(Bad::TakesNoValue { option, value }));
    }
    let got = parse("uuid=").unwrap_err().to_string();
    assert_eq!(got, "option `uuid` cannot be ``, only on, off, null, auto");
    assert_eq!(parse("source=x"), Err(Bad::SecondSource));
    let pair = |n| MountOptions::from_pairs((0..n).map(|_| ("source", Some("x"))));
    assert!(pair(1).is_ok());
    assert_eq!(pair(2), Err(Bad::SecondSource));
    assert_eq!(parse("index=on\0"), Err(Bad::Nul));
}

#[test]
fn r024_the_last_counts() {
    let got = parse("upperdir=a,workdir=b,upperdir=c,index=on,index=off,ro,rw,xino=on").unwrap();
    let want = MountOptions::new()
        .upper("c", "b")
        .index(false)
        .xino(Xino::On);
    assert_eq!(got, want);
    assert_eq!(parse("volatile,fsync=auto"), parse("fsync=auto"));
}

#[test]
fn r019_every_byte_can_be_said() {
    let odd: Vec<u8> = (1..=255).collect();
    let odd = PathBuf::from(OsString::from_vec(odd));
    let options = MountOptions::new().lower(&odd).lower("b").upper(&odd, &odd);
    let text = options.to_legacy().unwrap();
    assert_eq!(MountOptions::parse(&text).unwrap(), options);
    assert!(
        options.to_pairs().is_err(),
        "longer than 255 with its escapes"
    );
    let options = MountOptions::new().lower(&odd);
    assert_eq!(
        MountOptions::from_pairs(options.to_pairs().unwrap()).unwrap(),
        options
    );
}

#[test]
fn what_no_option_can_say() {
    let new = MountOptions::new;
    let empty = Bad::EmptyPath { option: "lowerdir" };
    assert_eq!(new().lower("").to_legacy(), Err(empty));
    assert_eq!(new().lower("a\0b").to_legacy(), Err(Bad::Nul));
    assert_eq!(new().data_lower("a").to_legacy(), Err(Bad::OnlyData));
    let many = (0..501).fold(new(), |o, _| o.lower("x"));
    assert_eq!(many.to_pairs(), Err(Bad::TooManyLowers));
}

#[test]
fn shown_options_are_read_back() {
    let shown =
        r"rw,relatime,lowerdir=c\134\054d:nl\012x,upperdir=a\075b,workdir=w,uuid=on,index=on";
    let got = MountOptions::from_mounts(shown).unwrap();
    assert_eq!(strings(got.lowers()), ["c,d", "nl\nx"]);
    assert_eq!(got.upper_path(), Some(Path::new("a=b")));
    let added = MountOptions::from_mounts(r"ro,lowerdir+=c\054d,lowerdir+=e\134f").unwrap();
    assert_eq!(strings(added.lowers()), ["c,d", r"e\f"]);
    assert!(added.is_read_only());
}

#[test]
fn the_argument_of_mount_is_taken_apart() {
    let text = "defaults,ro,lowerdir=a:b,nosuid,x-gvfs-hide,index=on,nodev";
    let (options, generic) = MountOptions::parse_command(text).unwrap();
    assert_eq!(
        options,
        MountOptions::new()
            .lower("a")
            .lower("b")
            .index(true)
            .read_only(true)
    );
    assert_eq!(
        generic,
        ["defaults", "ro", "nosuid", "x-gvfs-hide", "nodev"]
    );
    assert!(MountOptions::parse_command("nosuid,bogus").is_err());
}

#[test]
fn shortened_paths_begin_where_all_do() {
    let short = |text: &str| {
        let short = parse(text).unwrap().shortened()?;
        let directory = short.directory.to_str().unwrap().to_string();
        Some((
            directory,
            short.options.to_legacy().unwrap().into_string().unwrap(),
        ))
    };
    let some = |dir: &str, text: &str| Some((dir.to_string(), text.to_string()));
    assert_eq!(
        short("lowerdir=/a/b/c:/a/b/d/e"),
        some("/a/b", "lowerdir=c:d/e")
    );
    assert_eq!(short("lowerdir=/a/b:/a/b/d"), some("/a/b", "lowerdir=.:d"));
    assert_eq!(
        short("lowerdir=/a//b/x:/a/./b/y"),
        some("/a/b", "lowerdir=x:y")
    );
    assert_eq!(short("lowerdir=a/x:a/y,ro"), some("a", "lowerdir=x:y,ro"));
    assert_eq!(
        short("lowerdir=/a/../b/x:/a/../b/y"),
        some("/a", "lowerdir=../b/x:../b/y")
    );
    assert_eq!(short("lowerdir=/a:/b"), None);
    assert_eq!(short("lowerdir=/a/b:a/b"), None);
    assert_eq!(short("ro"), None);
}

#[test]
fn r023_what_does_not_fit_one_page() {
    let long = |n: usize| {
        MountOptions::new()
            .lower(format!("/{}", "x".repeat(n)))
            .lower("/y")
    };
    let head = "lowerdir=/:/y".len();
    assert!(long(4095 - head).fits_one_page());
    assert!(!long(4096 - head).fits_one_page());
    assert_eq!(long(4095 - head).check().unwrap(), []);
    let warnings = long(4096 - head).check().unwrap();
    let text = "data is cut off instead of whole: 4096 bytes of options, mount(2) takes 4095";
    assert_eq!(warnings[0].to_string(), text);
    assert_eq!(warnings[0].rule(), "R023");
}

#[test]
fn checks_that_need_no_layers() {
    let why = |text: &str| {
        let e = parse(text).unwrap().check().unwrap_err();
        (e.errno().raw(), e.rule().unwrap())
    };
    let einval = libc::EINVAL;
    assert_eq!(why(""), (einval, "R003"));
    assert_eq!(why("lowerdir=a"), (einval, "R004"));
    assert_eq!(why("lowerdir=a,upperdir=u"), (einval, "R006"));
    let no_lower = "datadir+=a,upperdir=u,workdir=w";
    if rustix::process::geteuid().is_root() {
        assert_eq!(why(no_lower), (einval, "R005"));
        let text = "lowerdir=a:b,metacopy=on,redirect_dir=nofollow";
        assert_eq!(why(text), (einval, "R027"));
        let e = parse(text).unwrap().check().unwrap_err();
        let text = "open overlay: metacopy=on and redirect_dir=nofollow exclude each other: invalid argument (EINVAL) [R027]";
        assert_eq!(e.to_string(), text);
        assert_eq!(e.conflict().unwrap().errno().raw(), einval);
    } else {
        // Only root may ask for data-only layers or for metacopy.
        assert_eq!(why(no_lower), (libc::EPERM, "R032"));
    }
    let warnings = parse("lowerdir=a:b,workdir=w").unwrap().check().unwrap();
    let text = "workdir is ignored instead of used: there is no upper layer";
    assert_eq!(warnings[0].to_string(), text);
    let none: &[crate::Warning] = &[];
    assert_eq!(
        parse("lowerdir=a::b").unwrap().check_for(true).unwrap(),
        none
    );
}

#[test]
fn profiles() {
    let text = |p: Profile| p.mount_options().lower("l").to_legacy().unwrap();
    assert_eq!(
        text(Profile::Posix),
        "lowerdir=l,redirect_dir=on,index=on,xino=auto"
    );
    assert_eq!(text(Profile::Kernel), "lowerdir=l");
    assert_eq!(text(Profile::Docker), "lowerdir=l,index=off");
    assert_eq!(text(Profile::Rootless), "lowerdir=l,userxattr");
    for profile in Profile::ALL {
        let options = profile.mount_options().lower("l").upper("u", "w");
        assert_eq!(options.check_for(true).unwrap(), [], "{profile:?}");
    }
    assert_eq!(
        Profile::Posix.overlay_options().requested.redirect_dir,
        Some(RedirectDir::On)
    );
}

proptest! {
    /// Any bytes: no panic, and what is understood is understood again when it is written.
    #[test]
    fn written_and_read_again(bytes in prop::collection::vec(
        prop::sample::select(b"lowerdir=,:\\+ax\n\x80upwk".to_vec()), 0..60,
    )) {
        let text = OsStr::from_bytes(&bytes);
        if let Ok(options) = MountOptions::parse(text)
            && let Ok(text) = options.to_legacy()
        {
            prop_assert_eq!(MountOptions::parse(text), Ok(options));
        }
    }

    /// Any paths survive both forms.
    #[test]
    fn paths_survive(
        lowers in prop::collection::vec("[a:,\\\\ \n=]{1,6}", 1..5),
        data in prop::collection::vec("[a:,\\\\ \n=]{1,6}", 0..3),
        upper in "[a:,\\\\ \n=]{1,6}",
    ) {
        let options = lowers.iter().fold(MountOptions::new(), |o, p| o.lower(p));
        let options = data.iter().fold(options, |o, p| o.data_lower(p)).upper(&upper, &upper);
        prop_assert_eq!(&MountOptions::parse(options.to_legacy().unwrap()).unwrap(), &options);
        let pairs = MountOptions::from_pairs(options.to_pairs().unwrap());
        prop_assert_eq!(&pairs.unwrap(), &options);
    }
}
