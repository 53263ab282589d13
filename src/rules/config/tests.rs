//! Tables of what was asked for, under which circumstances, and what is then in force.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use super::conflict::OptionConflict;
use super::facts::{Facts, Handles, LowerFacts, StoredUuid, UpperFacts};
use super::settle::Settled;
use super::{Fsync, RedirectDir, UuidMode, Verity, Xino};
use super::{KernelDefaults, Requested};
use crate::error::LayerId;
use crate::rules::inode::Numbering;
use crate::xattr_name::XattrNamespace;

/// Root on one filesystem with everything.
fn facts() -> Facts {
    Facts {
        namespace: XattrNamespace::Trusted,
        permitted: true,
        upper: Some(UpperFacts {
            storable: true,
            handles: Handles::Ino32,
            uuid: StoredUuid::Present,
        }),
        lowers: vec![lower(0, 1)],
        data_layers: 0,
        defaults: KernelDefaults::UPSTREAM,
    }
}

fn lower(fs: usize, uuid: u8) -> LowerFacts {
    LowerFacts {
        fs,
        handles: Handles::Ino32,
        uuid: Some([uuid; 16]),
    }
}

/// Options as in a mount: `metacopy=on,redirect_dir=off`.
fn asked(options: &str) -> Requested {
    let mut r = Requested::default();
    for option in options.split(',').filter(|o| !o.is_empty()) {
        let (key, value) = option.split_once('=').unwrap();
        let on = Some(value == "on");
        let value = value.as_bytes();
        match key {
            "redirect_dir" => r.redirect_dir = Some(RedirectDir::from_name(value).unwrap()),
            "metacopy" => r.metacopy = on,
            "index" => r.index = on,
            "nfs_export" => r.nfs_export = on,
            "xino" => r.xino = Some(Xino::from_name(value).unwrap()),
            "uuid" => r.uuid = Some(UuidMode::from_name(value).unwrap()),
            "fsync" => r.fsync = Some(Fsync::from_name(value).unwrap()),
            "verity" => r.verity = Some(Verity::from_name(value).unwrap()),
            other => unreachable!("{other}"),
        }
    }
    r
}

fn settled(options: &str, facts: &Facts) -> Settled {
    asked(options).settle(facts).unwrap()
}

/// What is in force, and the warnings.
fn outcome(options: &str, facts: &Facts) -> (String, Vec<String>) {
    let settled = settled(options, facts);
    let warnings = settled.warnings.iter().map(ToString::to_string);
    (settled.settings.to_string(), warnings.collect())
}

fn conflict(options: &str, facts: &Facts) -> (i32, &'static str, String) {
    let conflict = asked(options).settle(facts).unwrap_err();
    let errno = conflict.errno().raw();
    (errno, conflict.rule(), conflict.to_string())
}

fn table(facts: &Facts, rows: &[(&str, &str, &[&str])]) {
    for (options, want, warnings) in rows {
        let got = outcome(options, facts);
        assert_eq!(got.0, *want, "{options}");
        assert_eq!(got.1, *warnings, "{options}");
    }
}

#[test]
fn r026_off_follows_if_the_kernel_is_built_so() {
    let mut f = facts();
    table(
        &f,
        &[
            ("", "", &[]),
            ("redirect_dir=off", "", &[]),
            ("redirect_dir=on", "redirect_dir=on", &[]),
            ("redirect_dir=nofollow", "redirect_dir=nofollow", &[]),
        ],
    );
    f.defaults.redirect_always_follow = false;
    table(&f, &[("redirect_dir=off", "redirect_dir=nofollow", &[])]);
    f.defaults.redirect_dir = true;
    table(
        &f,
        &[
            ("", "redirect_dir=on", &[]),
            ("redirect_dir=off", "redirect_dir=nofollow", &[]),
        ],
    );
}

#[test]
fn r026_r028_without_an_upper() {
    let mut f = facts();
    f.upper = None;
    table(
        &f,
        &[
            ("", "redirect_dir=on", &[]),
            (
                "index=on",
                "redirect_dir=on",
                &["index is off instead of on: there is no upper layer"],
            ),
            (
                "fsync=volatile",
                "redirect_dir=on",
                &["fsync is auto instead of volatile: there is no upper layer"],
            ),
            ("fsync=strict", "redirect_dir=on,fsync=strict", &[]),
            (
                "uuid=on",
                "redirect_dir=on,uuid=null",
                &["uuid is null instead of on: there is no upper layer"],
            ),
            (
                "nfs_export=on",
                "redirect_dir=on",
                &["nfs_export is off instead of on: it needs redirect_dir=nofollow"],
            ),
            (
                "nfs_export=on,redirect_dir=nofollow",
                "redirect_dir=nofollow,nfs_export=on",
                &[],
            ),
            (
                "metacopy=on,redirect_dir=follow",
                "redirect_dir=on,metacopy=on",
                &[],
            ),
        ],
    );
}

#[test]
fn r027_metacopy_implies_redirects() {
    let mut f = facts();
    table(&f, &[("metacopy=on", "redirect_dir=on,metacopy=on", &[])]);
    for value in ["off", "follow", "nofollow"] {
        let got = conflict(&format!("metacopy=on,redirect_dir={value}"), &f);
        let text = format!("metacopy=on and redirect_dir={value} exclude each other");
        assert_eq!(got, (libc::EINVAL, "R027", text));
    }
    f.defaults.metacopy = true;
    table(
        &f,
        &[
            ("", "redirect_dir=on,metacopy=on", &[]),
            (
                "redirect_dir=follow",
                "",
                &["metacopy is off instead of on: redirect_dir=follow was asked for"],
            ),
        ],
    );
}

#[test]
fn r028_nfs_export_implies_index_and_excludes_metacopy() {
    let mut f = facts();
    let (einval, rule) = (libc::EINVAL, "R028");
    table(&f, &[("nfs_export=on", "index=on,nfs_export=on", &[])]);
    let text = "nfs_export=on and index=off exclude each other".into();
    let got = conflict("nfs_export=on,index=off", &f);
    assert_eq!(got, (einval, rule, text));
    let text = "nfs_export=on and metacopy=on exclude each other".into();
    let got = conflict("nfs_export=on,metacopy=on", &f);
    assert_eq!(got, (einval, rule, text));
    f.defaults.nfs_export = true;
    f.defaults.index = true;
    table(
        &f,
        &[
            (
                "index=off",
                "",
                &["nfs_export is off instead of on: index=off was asked for"],
            ),
            (
                "metacopy=on",
                "redirect_dir=on,index=on,metacopy=on",
                &["nfs_export is off instead of on: metacopy=on was asked for"],
            ),
        ],
    );
    f.defaults.metacopy = true;
    table(
        &f,
        &[(
            "nfs_export=on",
            "redirect_dir=on,index=on,nfs_export=on",
            &["metacopy is off instead of on: nfs_export=on was asked for"],
        )],
    );
}

#[test]
fn r029_userxattr_excludes_redirects_and_metacopy() {
    let mut f = facts();
    f.namespace = XattrNamespace::User;
    table(
        &f,
        &[
            ("", "redirect_dir=nofollow,userxattr", &[]),
            (
                "redirect_dir=nofollow,verity=on",
                "redirect_dir=nofollow,userxattr,verity=on",
                &[],
            ),
            ("metacopy=off", "redirect_dir=nofollow,userxattr", &[]),
        ],
    );
    for option in [
        "redirect_dir=on",
        "redirect_dir=follow",
        "redirect_dir=off",
        "metacopy=on",
    ] {
        let text = format!("userxattr and {option} exclude each other");
        assert_eq!(conflict(option, &f), (libc::EINVAL, "R029", text));
    }
    f.defaults.metacopy = true;
    f.defaults.redirect_dir = true;
    table(&f, &[("", "redirect_dir=nofollow,userxattr", &[])]);
}

#[test]
fn r032_without_privilege_what_needs_trusted_attributes_is_refused() {
    let mut f = facts();
    f.permitted = false;
    for option in [
        "redirect_dir=on",
        "redirect_dir=follow",
        "metacopy=on",
        "verity=on",
        "verity=require",
    ] {
        let got = conflict(option, &f);
        assert_eq!((got.0, got.1), (libc::EPERM, "R032"), "{option}");
    }
    table(
        &f,
        &[
            ("redirect_dir=nofollow", "redirect_dir=nofollow", &[]),
            ("index=on", "index=on", &[]),
        ],
    );
    f.data_layers = 1;
    f.lowers.push(lower(1, 2));
    let refused = asked("").settle(&f).unwrap_err();
    let option = "a data-only layer";
    assert_eq!(refused, OptionConflict::Privilege { option });
    f.namespace = XattrNamespace::User;
    assert!(asked("").settle(&f).is_ok());
}

#[test]
fn r033_what_cannot_be_stored_is_off() {
    let mut f = facts();
    f.upper.as_mut().unwrap().storable = false;
    let why = "the upper layer cannot store overlay attributes";
    let redirect = format!("redirect_dir is nofollow instead of follow: {why}");
    let uuid = format!("uuid is null instead of auto: {why}");
    let off = |what: &str| format!("{what} is off instead of on: {why}");
    let null = "redirect_dir=nofollow,uuid=null";
    let index = off("index");
    table(
        &f,
        &[
            ("", null, &[&redirect, &uuid]),
            ("index=on", null, &[&redirect, &index, &uuid]),
            (
                "nfs_export=on",
                null,
                &[
                    &redirect,
                    &index,
                    &uuid,
                    "nfs_export is off instead of on: it needs index=on",
                ],
            ),
            (
                "metacopy=on,uuid=off",
                "redirect_dir=nofollow,uuid=off",
                &[
                    &format!("redirect_dir is nofollow instead of on: {why}"),
                    &off("metacopy"),
                ],
            ),
            (
                "xino=auto,redirect_dir=nofollow,uuid=null",
                null,
                &[&format!("xino is off instead of auto: {why}")],
            ),
        ],
    );
}

#[test]
fn r037_where_the_identity_comes_from() {
    use StoredUuid::{AbsentOnNew, AbsentOnUsed, Present, Unusable};
    use UuidMode::{Auto, Null, Off, On};
    let rows = [
        ("auto", AbsentOnNew, On, true),
        ("auto", AbsentOnUsed, Null, false),
        ("auto", Present, Auto, false),
        ("auto", Unusable, Null, false),
        ("on", AbsentOnNew, On, true),
        ("on", AbsentOnUsed, On, true),
        ("on", Present, On, false),
        ("on", Unusable, Null, false),
        ("null", AbsentOnNew, Null, false),
        ("null", Present, Null, false),
        ("off", AbsentOnNew, Off, false),
    ];
    for (mode, stored, used, store) in rows {
        let mut f = facts();
        f.upper.as_mut().unwrap().uuid = stored;
        let got = settled(&format!("uuid={mode}"), &f);
        let got = (got.settings.uuid, got.store_uuid);
        assert_eq!(got, (used, store), "{mode} {stored:?}");
    }
    let mut f = facts();
    f.lowers.push(lower(1, 2));
    let why = "uuid is null instead of off: the layers lie on several filesystems";
    table(&f, &[("uuid=off", "uuid=null", &[why])]);
}

#[test]
fn r253_r254_bits_for_the_number_of_the_filesystem() {
    let mut f = facts();
    let numbering = |options: &str, f: &Facts| settled(options, f).numbering;
    let (on, auto) = ("xino=on", "xino=auto");
    f.lowers = vec![lower(0, 1), lower(0, 1)];
    assert_eq!(numbering(on, &f), Numbering::OneFilesystem);
    assert_eq!(numbering("", &f), Numbering::OneFilesystem);
    f.lowers = vec![lower(0, 1), lower(1, 2)];
    assert_eq!(numbering("", &f), Numbering::PerFilesystem);
    assert_eq!(numbering(on, &f), Numbering::Xino { bits: 32 });
    assert_eq!(numbering(auto, &f), Numbering::Xino { bits: 32 });
    let any = |fs| LowerFacts {
        handles: Handles::Any,
        ..lower(fs, u8::try_from(fs).unwrap() + 1)
    };
    for (filesystems, bits) in [(2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5)] {
        f.lowers = (1..filesystems).map(any).collect();
        assert_eq!(numbering(on, &f), Numbering::Xino { bits }, "{filesystems}");
    }
    // Without an upper its place is counted all the same.
    f.upper = None;
    f.lowers = vec![any(1), any(2)];
    assert_eq!(numbering(on, &f), Numbering::Xino { bits: 3 });
    f.lowers = vec![any(1), any(1)];
    assert_eq!(numbering(on, &f), Numbering::OneFilesystem);
    // Data-only layers do not count, but their numbers must not be wider.
    let mut f = facts();
    f.lowers = vec![lower(0, 1), lower(5, 9)];
    f.data_layers = 1;
    assert_eq!(numbering(on, &f), Numbering::OneFilesystem);
}

#[test]
fn r268_layers_without_handles() {
    let mut f = facts();
    f.lowers.push(LowerFacts {
        handles: Handles::None,
        ..lower(1, 2)
    });
    let why = "lower[1] has no file handles that this process could open";
    let off = |what: &str| format!("{what} is off instead of on: {why}");
    table(
        &f,
        &[
            ("index=on", "", &[&off("index")]),
            ("nfs_export=on", "", &[&off("index"), &off("nfs_export")]),
            (
                "xino=auto",
                "",
                &[&format!("xino is off instead of auto: {why}")],
            ),
            ("xino=on", "xino=on", &[]),
        ],
    );
    let mut f = facts();
    f.upper.as_mut().unwrap().handles = Handles::None;
    let why = "index is off instead of on: upper has no file handles that this process could open";
    let needs = "nfs_export is off instead of on: it needs index=on";
    table(&f, &[("nfs_export=on", "", &[why, needs])]);
}

#[test]
fn r268_filesystems_that_cannot_be_told_apart() {
    let none = |fs| LowerFacts {
        uuid: None,
        ..lower(fs, 0)
    };
    let bad = |options: &str, lowers: &[LowerFacts]| {
        let mut f = facts();
        f.lowers = lowers.to_vec();
        let mut bad = settled(options, &f).bad_uuids;
        bad.sort_unstable();
        bad
    };
    let empty: [usize; 0] = [];
    assert_eq!(bad("", &[lower(0, 1), lower(1, 2)]), empty);
    assert_eq!(bad("", &[lower(0, 1), lower(1, 1)]), [0, 1]);
    // No lower is on the upper's filesystem, so its UUID is nobody's.
    assert_eq!(bad("", &[lower(1, 1)]), empty);
    assert_eq!(bad("", &[lower(1, 7), lower(2, 7), lower(3, 8)]), [1, 2]);
    assert_eq!(bad("", &[none(1)]), [1]);
    assert_eq!(bad("", &[none(0)]), empty, "on the upper's filesystem");
    // Where offline changes are ruled out, one filesystem without UUID is enough to be known.
    assert_eq!(bad("index=on", &[none(1)]), empty);
    assert_eq!(bad("index=on", &[none(1), none(2)]), [1, 2]);
    let mut f = facts();
    f.lowers = vec![lower(1, 7), lower(2, 7)];
    let why = "the filesystem of lower[1] has the UUID of another layer's";
    let index = format!("index is off instead of on: {why}");
    let xino = format!("xino is off instead of auto: {why}");
    table(&f, &[("index=on,xino=auto", "", &[&xino, &index])]);
    f.upper = None;
    assert_eq!(settled("", &f).bad_uuids, empty, "nothing is decoded");
}

#[test]
fn defaults_settle_without_a_word() {
    let mut f = facts();
    f.defaults = KernelDefaults {
        redirect_dir: true,
        index: true,
        metacopy: true,
        xino_auto: true,
        ..KernelDefaults::UPSTREAM
    };
    table(
        &f,
        &[("", "redirect_dir=on,index=on,xino=auto,metacopy=on", &[])],
    );
    let warnings = settled("index=on", &facts()).warnings;
    assert_eq!(warnings, []);
    let mut f = facts();
    f.lowers = vec![LowerFacts {
        handles: Handles::None,
        ..lower(0, 1)
    }];
    f.defaults.index = true;
    let warning = settled("", &f).warnings;
    let reason = crate::rules::warning::WarningReason::NoFileHandles(LayerId::Lower(0));
    assert_eq!(warning.first().unwrap().reason, reason);
}
