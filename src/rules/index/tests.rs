#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]
use super::*;
use crate::backend::FileHandle;
use crate::error::LayerId;
use crate::rules::origin::Origin;

const INDEX: Features = Features {
    index: true,
    ..Features::DEFAULT
};
const NFS: Features = Features {
    nfs_export: true,
    ..INDEX
};

fn handle(byte: u8) -> Vec<u8> {
    origin::encode(&Origin {
        uuid: [7; 16],
        handle: FileHandle {
            kind: 1,
            bytes: vec![byte; 8],
        },
        upper: false,
    })
}

#[test]
fn r262_r264_r269_what_is_indexed() {
    let row = |features| {
        [(false, 1), (false, 2), (true, 2)].map(|(dir, nlink)| needs_entry(features, dir, nlink))
    };
    assert_eq!(row(Features::DEFAULT), [false, false, false]);
    assert_eq!(row(INDEX), [false, true, false]);
    assert_eq!(row(NFS), [true, true, true]);
}

#[test]
fn r262_entries_are_named_in_hexadecimal() {
    let name = entry_name(&handle(0xab)).unwrap();
    let text = name.to_string();
    assert_eq!(text.len(), 58);
    assert!(text.starts_with("00fb1d0001") && text.ends_with("abababababababab"));
    assert_eq!(parse_entry_name(&name), Ok(handle(0xab)));
    let upper_case = Name::new(text.to_uppercase()).unwrap();
    assert_eq!(parse_entry_name(&upper_case), Ok(handle(0xab)));
    let longer = Name::new(format!("{text}00")).unwrap();
    assert_eq!(parse_entry_name(&longer), Ok(handle(0xab)));
    assert_eq!(entry_name(&[1; 200]), Err(Errno::ENAMETOOLONG));
    for (name, errno) in [
        ("junk".to_owned(), Errno::EINVAL),
        (text.replace("fb", "fa"), Errno::EINVAL),
        (text.replace("fb", "xy"), Errno::EINVAL),
        (text[..40].to_owned(), Errno::EINVAL),
        (text.replacen("00", "01", 1), Errno::ENODATA),
    ] {
        let parsed = parse_entry_name(&Name::new(&name).unwrap());
        assert_eq!(parsed, Err(errno), "{name}");
    }
}

#[test]
fn r266_stored_handles_are_compared_byte_by_byte() {
    let same = handle(1);
    assert_eq!(recorded(None, &same), Recorded::Nothing);
    assert_eq!(recorded(Some(b""), &same), Recorded::Nothing);
    assert_eq!(recorded(Some(b"junk"), &same), Recorded::Nothing);
    assert_eq!(recorded(Some(&same), &same), Recorded::Same);
    assert_eq!(recorded(Some(&handle(2)), &same), Recorded::Other);
}

#[test]
fn r258_link_counts_relative_to_a_real_object() {
    for (relative, union, real, text) in [
        (Relative::Upper, 2, 1, "U+1"),
        (Relative::Upper, 2, 2, "U+0"),
        (Relative::Upper, 1, 2, "U-1"),
        (Relative::Lower, 3, 3, "L+0"),
    ] {
        let value = nlink_value(relative, union, real);
        assert_eq!(value, text.as_bytes());
        let other = real + 5;
        let told = match relative {
            Relative::Upper => union_nlink(Some(&value), real, other),
            Relative::Lower => union_nlink(Some(&value), other, real),
        };
        assert_eq!(told, Some(union));
    }
    let told = |value: &[u8]| union_nlink(Some(value), 3, 5);
    assert_eq!(told(b"U-3"), None, "no names left");
    assert_eq!(told(b"U-9"), None);
    assert_eq!(told(b"L+1\n"), Some(6));
    for junk in [
        "",
        "U",
        "U1",
        "X+1",
        "U+",
        "U+1x",
        "U++1",
        "U+0000000000001",
    ] {
        assert_eq!(told(junk.as_bytes()), None, "{junk}");
    }
    assert_eq!(union_nlink(None, 3, 5), None);
    assert_eq!(union_nlink(Some(b"U+1"), 3, 1), None, "a quirk");
}

#[test]
fn r270_r271_origins_are_verified() {
    let row = |features| {
        [(true, true), (true, false), (false, true), (false, false)]
            .map(|(dir, known)| verifies(features, dir, known))
    };
    assert_eq!(row(Features::DEFAULT), [false; 4]);
    assert_eq!(row(INDEX), [false, false, true, false]);
    assert_eq!(row(NFS), [true, true, true, false]);
    let (own, other) = (handle(1), handle(2));
    let row = |dir| {
        let stored = [Some(&own[..]), None, Some(&[]), Some(b"junk"), Some(&other)];
        stored.map(|stored| verified(dir, stored, &own))
    };
    let (matches, stale) = (Ok(Verified::Matches), Err(Errno::ESTALE));
    let differs = Ok(Verified::Differs);
    assert_eq!(row(true), [matches, matches, differs, differs, differs]);
    assert_eq!(row(false), [matches, stale, stale, stale, stale]);
}

#[test]
fn r169_r272_entries_of_the_wrong_kind_are_eio() {
    use FileType::{Directory, Regular, Symlink};
    let node = |file_type, of_upper| Entry::Node {
        file_type,
        of_upper,
    };
    let eio = Err(Errno::EIO);
    for (entry, lower, expected) in [
        (Entry::Whiteout, Regular, eio),
        (node(Symlink, None), Regular, eio),
        (node(Regular, None), Directory, eio),
        (node(Regular, None), Regular, Ok(true)),
        (node(Regular, Some(true)), Regular, Ok(true)),
        (node(Regular, Some(false)), Regular, Ok(false)),
        (node(Directory, None), Directory, eio),
        (node(Directory, Some(false)), Directory, eio),
        (node(Directory, Some(true)), Directory, Ok(true)),
    ] {
        assert_eq!(is_entry_of(entry, lower), expected, "{entry:?} {lower:?}");
    }
}

#[test]
fn r267_what_becomes_of_entries() {
    use Verdict::{Keep, Remove, Whiteout};
    let of = |origin, alone| Found::Of { origin, alone };
    let alone = |lower, union_nlink| Some(Alone { lower, union_nlink });
    for (found, index, nfs) in [
        (Found::Whiteout, Ok(Keep), Ok(Keep)),
        (Found::UnusedDir, Ok(Keep), Ok(Keep)),
        (Found::Unrelated, Ok(Remove), Ok(Remove)),
        (Found::Orphan, Ok(Remove), Ok(Whiteout)),
        (Found::NotADirectory, Err(Errno::EIO), Err(Errno::EIO)),
        (
            of(Recorded::Nothing, None),
            Err(Errno::ENODATA),
            Err(Errno::ENODATA),
        ),
        (of(Recorded::Other, None), Ok(Remove), Ok(Remove)),
        (of(Recorded::Same, None), Ok(Keep), Ok(Keep)),
        (of(Recorded::Same, alone(true, Some(1))), Ok(Keep), Ok(Keep)),
        (
            of(Recorded::Same, alone(true, None)),
            Ok(Remove),
            Ok(Whiteout),
        ),
        (
            of(Recorded::Same, alone(false, Some(1))),
            Ok(Remove),
            Ok(Remove),
        ),
    ] {
        assert_eq!(verdict(found, INDEX), index, "{found:?}");
        assert_eq!(verdict(found, NFS), nfs, "{found:?}");
    }
}

fn kinds(plan: &Plan) -> Vec<String> {
    let text = |step: &Step| match step {
        Step::SetOverlay { attr, value, .. } => {
            let value = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
            format!("{}={value}", attr.suffix())
        }
        Step::Link { .. } => "link".into(),
        Step::SetAttr { .. } => "times".into(),
        Step::Whiteout { .. } => "whiteout".into(),
        Step::Rename { how, .. } => format!("{how:?}"),
        Step::Remove { .. } => "remove".into(),
        other => format!("{other:?}"),
    };
    plan.steps.iter().map(|s| text(&s.step)).collect()
}

fn place(plan: &mut Plan, layer: LayerId, name: &str) -> Place {
    Place {
        dir: plan.object(layer, "/".into()),
        name: Name::try_from(name).unwrap(),
    }
}

#[test]
fn r247_r262_the_count_is_relative_to_the_lower_while_names_are_linked() {
    let mut plan = Plan::default();
    let object = plan.object(LayerId::Upper, "/a".into());
    let to = place(&mut plan, LayerId::Upper, "a");
    let linked = Linked {
        object,
        union: 2,
        upper: 1,
    };
    let mut facts = LinkUp {
        linked,
        lower_nlink: 2,
        to,
        dir_times: (Timestamp::new(1, 0), Timestamp::new(2, 0)),
        dir_impure: false,
    };
    assert_eq!(plan_link_up(&mut plan, &facts), (Some(0), 2));
    let expected = ["impure=y", "nlink=L+0", "link", "times", "nlink=U+0"];
    assert_eq!(kinds(&plan), expected);
    assert!(plan.steps.iter().all(|s| s.role != Role::Commit));
    facts.dir_impure = true;
    assert_eq!(plan_link_up(&mut plan, &facts), (None, 6));
}

#[test]
fn r265_the_entry_goes_with_the_last_name() {
    let run = |is_dir, features| {
        let mut plan = Plan::default();
        let entry = place(&mut plan, LayerId::Work, "00fb");
        let temp = place(&mut plan, LayerId::Work, "#1");
        plan_cleanup(&mut plan, entry, is_dir, temp, features);
        assert!(plan.steps.iter().all(|s| s.role == Role::CleanUp));
        kinds(&plan)
    };
    assert_eq!(run(false, INDEX), ["remove"]);
    assert_eq!(run(false, NFS), ["whiteout", "Replace"]);
    assert_eq!(run(true, NFS), ["whiteout", "Exchange", "remove"]);
}

#[test]
fn temporary_names_are_as_formatted() {
    for n in [0, 1, 9, 10, 15, 16, 255, 0xabc_def0, u64::MAX] {
        let name = temporary(n).unwrap();
        assert_eq!(name, Name::new(format!("#{n:x}")).unwrap());
        assert!(is_temporary(&name));
    }
}
