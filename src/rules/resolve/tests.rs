#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]
use super::*;

const MID: Position = Position {
    upper: false,
    last: false,
};
const UPPER: Position = Position {
    upper: true,
    last: false,
};
const LAST: Position = Position {
    upper: false,
    last: true,
};

fn n(s: &str) -> Name {
    Name::try_from(s).unwrap()
}

fn dir() -> Fact {
    Fact::Node {
        file_type: FileType::Directory,
        attrs: Attrs::default(),
    }
}

fn dir_with(opaque: Option<&str>, redirect: Option<&str>) -> Fact {
    Fact::Node {
        file_type: FileType::Directory,
        attrs: Attrs {
            opaque: opaque.map(|s| s.into()),
            redirect: redirect.map(|s| s.into()),
            metacopy: None,
        },
    }
}

fn file() -> Fact {
    Fact::Node {
        file_type: FileType::Regular,
        attrs: Attrs::default(),
    }
}

fn meta(redirect: Option<&str>) -> Fact {
    Fact::Node {
        file_type: FileType::Regular,
        attrs: Attrs {
            metacopy: Some(Vec::new()),
            redirect: redirect.map(|s| s.into()),
            opaque: None,
        },
    }
}

/// Feeds facts topmost first; answers the indices taken and the final state.
fn run(features: Features, facts: &[(Position, Fact)]) -> Result<(Vec<usize>, Lookup), Errno> {
    let mut lookup = Lookup::new(&n("x"), features);
    let mut taken = Vec::new();
    for (i, (at, fact)) in facts.iter().enumerate() {
        if lookup.stop {
            break;
        }
        let components = lookup.path().to_vec();
        let last = components.len() - 1;
        if lookup.observe(&components, last, *at, fact)? == Observed::Take {
            taken.push(i);
        }
    }
    Ok((taken, lookup))
}

#[test]
fn r051_to_r055_which_layers_contribute() {
    let cases: &[(&str, Vec<Fact>, &[usize])] = &[
        ("R051 a file stops the search", vec![file(), dir()], &[0]),
        (
            "R052 directories merge",
            vec![dir(), dir(), dir()],
            &[0, 1, 2],
        ),
        (
            "R052 gaps are skipped",
            vec![dir(), Fact::Absent, dir()],
            &[0, 2],
        ),
        (
            "R053 a whiteout stops",
            vec![dir(), Fact::Whiteout, dir()],
            &[0],
        ),
        (
            "R053 a whiteout on top hides all",
            vec![Fact::Whiteout, dir()],
            &[],
        ),
        (
            "R054 a file between is skipped and stops",
            vec![dir(), file(), dir()],
            &[0],
        ),
        (
            "R055 opaque is included and stops",
            vec![dir(), dir_with(Some("y"), None), dir()],
            &[0, 1],
        ),
        (
            "R086 other values do not stop",
            vec![dir_with(Some("yy"), None), dir()],
            &[0, 1],
        ),
        (
            "R086 x does not stop",
            vec![dir_with(Some("x"), None), dir()],
            &[0, 1],
        ),
    ];
    for (what, facts, expected) in cases {
        let facts: Vec<_> = facts.iter().cloned().map(|f| (MID, f)).collect();
        assert_eq!(
            run(Features::DEFAULT, &facts).unwrap().0,
            *expected,
            "{what}"
        );
    }
}

#[test]
fn r059_attributes_of_the_last_layer_are_not_read() {
    let lookup = Lookup::new(&n("x"), Features::DEFAULT);
    assert_eq!(
        lookup.wants(FileType::Directory, true, LAST),
        Wants::default()
    );
    assert!(lookup.wants(FileType::Regular, true, LAST).metacopy);
    assert!(lookup.wants(FileType::Directory, true, MID).opaque);
    assert_eq!(lookup.wants(FileType::Symlink, true, MID), Wants::default());
}

#[test]
fn r157_relative_redirect_changes_the_name_below() {
    let facts = [(UPPER, dir_with(None, Some("old")))];
    let (_, lookup) = run(Features::DEFAULT, &facts).unwrap();
    assert_eq!(lookup.path(), [n("old")]);
    assert!(!lookup.is_absolute());
}

#[test]
fn r158_absolute_redirect_changes_to_a_path_from_the_root() {
    let facts = [(UPPER, dir_with(None, Some("/a/b")))];
    let (_, lookup) = run(Features::DEFAULT, &facts).unwrap();
    assert_eq!(lookup.path(), [n("a"), n("b")]);
    assert!(lookup.is_absolute());
}

#[test]
fn r160_relative_redirect_on_the_way_rewrites_the_prefix() {
    let mut lookup = Lookup::new(&n("x"), Features::DEFAULT);
    let name = lookup.path().to_vec();
    lookup
        .observe(&name, 0, UPPER, &dir_with(None, Some("/a/b/c")))
        .unwrap();
    let path = lookup.path().to_vec();
    lookup.observe(&path, 0, MID, &dir()).unwrap();
    lookup
        .observe(&path, 1, MID, &dir_with(None, Some("z")))
        .unwrap();
    assert_eq!(lookup.path(), [n("a"), n("z"), n("c")]);
}

#[test]
fn r094_opaque_on_the_way_stops_unless_an_absolute_redirect_resumes() {
    let mut lookup = Lookup::new(&n("x"), Features::DEFAULT);
    let name = lookup.path().to_vec();
    lookup
        .observe(&name, 0, UPPER, &dir_with(None, Some("/a/b")))
        .unwrap();
    let path = lookup.path().to_vec();
    lookup
        .observe(&path, 0, MID, &dir_with(Some("y"), None))
        .unwrap();
    assert!(lookup.stop && !lookup.opaque);
    lookup
        .observe(&path, 1, MID, &dir_with(None, Some("/q")))
        .unwrap();
    assert!(!lookup.stop);
    assert_eq!(lookup.path(), [n("q")]);
}

#[test]
fn r165_redirect_without_follow_is_refused() {
    let nofollow = Features {
        redirect_follow: false,
        ..Features::DEFAULT
    };
    let (_, mut lookup) = run(nofollow, &[(UPPER, dir_with(None, Some("o")))]).unwrap();
    assert_eq!(lookup.finish(false, 0, false), Err(Errno::EPERM));
}

#[test]
fn r170_to_r177_metacopy() {
    let on = Features {
        metacopy: true,
        ..Features::DEFAULT
    };
    let (taken, mut lookup) = run(on, &[(UPPER, meta(None)), (MID, file())]).unwrap();
    assert_eq!(taken, [0, 1]);
    assert_eq!(lookup.finish(true, 1, false), Ok(()));
    let (_, mut lookup) = run(on, &[(UPPER, meta(None)), (MID, dir())]).unwrap();
    assert_eq!(lookup.finish(true, 0, false), Err(Errno::EIO), "R173");
    let (_, mut lookup) = run(on, &[(LAST, meta(None))]).unwrap();
    assert_eq!(lookup.finish(false, 1, false), Err(Errno::EIO), "R174");
    let (_, mut lookup) = run(Features::DEFAULT, &[(UPPER, meta(None)), (MID, file())]).unwrap();
    assert_eq!(lookup.finish(true, 1, false), Err(Errno::EPERM), "R177");
    let short = Fact::Node {
        file_type: FileType::Regular,
        attrs: Attrs {
            metacopy: Some(vec![0]),
            ..Attrs::default()
        },
    };
    assert_eq!(
        run(on, &[(UPPER, short)]).map(|_| ()),
        Err(Errno::EIO),
        "R171"
    );
}
