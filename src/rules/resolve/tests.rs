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
    run_with(features, false, facts)
}

fn run_with(
    features: Features,
    data_layers: bool,
    facts: &[(Position, Fact)],
) -> Result<(Vec<usize>, Lookup), Errno> {
    let mut lookup = Lookup::new(&n("x"), features, data_layers);
    let mut taken = Vec::new();
    for (i, (at, fact)) in facts.iter().enumerate() {
        if lookup.stop {
            break;
        }
        if !at.upper {
            lookup.may_descend()?;
        }
        let way = lookup.way().clone();
        let last = way.names.len() - 1;
        if lookup.observe(&way, last, *at, fact)? == Observed::Take {
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
    let lookup = Lookup::new(&n("x"), Features::DEFAULT, false);
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
    assert_eq!(lookup.way().names, [n("old")]);
    assert!(!lookup.is_absolute());
}

#[test]
fn r158_absolute_redirect_changes_to_a_path_from_the_root() {
    let facts = [(UPPER, dir_with(None, Some("/a/b")))];
    let (_, lookup) = run(Features::DEFAULT, &facts).unwrap();
    assert_eq!(lookup.way().names, [n("a"), n("b")]);
    assert!(lookup.is_absolute());
}

#[test]
fn r160_relative_redirect_on_the_way_rewrites_the_prefix() {
    let mut lookup = Lookup::new(&n("x"), Features::DEFAULT, false);
    let name = lookup.way().clone();
    lookup
        .observe(&name, 0, UPPER, &dir_with(None, Some("/a/b/c")))
        .unwrap();
    let path = lookup.way().clone();
    lookup.observe(&path, 0, MID, &dir()).unwrap();
    lookup
        .observe(&path, 1, MID, &dir_with(None, Some("z")))
        .unwrap();
    assert_eq!(lookup.way().names, [n("a"), n("z"), n("c")]);
}

#[test]
fn r160_a_redirect_at_the_end_comes_after_those_on_the_way() {
    let follow = |redirects: [&str; 3]| {
        let mut lookup = Lookup::new(&n("x"), Features::DEFAULT, false);
        let name = lookup.way().clone();
        let at = |redirect| dir_with(None, Some(redirect));
        lookup.observe(&name, 0, UPPER, &at(redirects[0])).unwrap();
        let path = lookup.way().clone();
        for (i, redirect) in redirects[1..].iter().enumerate() {
            lookup.observe(&path, i, MID, &at(redirect)).unwrap();
        }
        lookup
    };
    let lookup = follow(["/a/a", "d", "b"]);
    assert_eq!(lookup.way().names, [n("d"), n("b")]);
    assert_eq!(lookup.redirect.as_deref(), Some(&b"/d/b"[..]));
    // A longer way than the one that is walked.
    let lookup = follow(["/a/a", "/d/e/f", "b"]);
    assert_eq!(lookup.redirect.as_deref(), Some(&b"/d/e/f/b"[..]));
    // What cannot be asked for stays in the way.
    let lookup = follow(["/a/a", "/d/..", "b"]);
    assert_eq!(lookup.way().names, [n("d")]);
    assert_eq!(lookup.way().refused, Some(Errno::EACCES));
    assert_eq!(lookup.redirect.as_deref(), Some(&b"/d/../b"[..]));
}

#[test]
fn r094_opaque_on_the_way_stops_unless_an_absolute_redirect_resumes() {
    let mut lookup = Lookup::new(&n("x"), Features::DEFAULT, false);
    let name = lookup.way().clone();
    lookup
        .observe(&name, 0, UPPER, &dir_with(None, Some("/a/b")))
        .unwrap();
    let path = lookup.way().clone();
    lookup
        .observe(&path, 0, MID, &dir_with(Some("y"), None))
        .unwrap();
    assert!(lookup.stop && !lookup.opaque);
    lookup
        .observe(&path, 1, MID, &dir_with(None, Some("/q")))
        .unwrap();
    assert!(!lookup.stop);
    assert_eq!(lookup.way().names, [n("q")]);
}

#[test]
fn r165_redirect_without_follow_is_refused() {
    let nofollow = Features {
        redirect_follow: false,
        ..Features::DEFAULT
    };
    let (_, mut lookup) = run(nofollow, &[(UPPER, dir_with(None, Some("o")))]).unwrap();
    assert_eq!(lookup.finish(false, 0), Err(Errno::EPERM));
}

#[test]
fn r170_to_r177_metacopy() {
    let on = Features {
        metacopy: true,
        ..Features::DEFAULT
    };
    let (taken, mut lookup) = run(on, &[(UPPER, meta(None)), (MID, file())]).unwrap();
    assert_eq!(taken, [0, 1]);
    assert_eq!(lookup.finish(true, 1), Ok(()));
    let (_, mut lookup) = run(on, &[(UPPER, meta(None)), (MID, dir())]).unwrap();
    assert_eq!(lookup.finish(true, 0), Err(Errno::EIO), "R173");
    let (_, mut lookup) = run(on, &[(LAST, meta(None))]).unwrap();
    assert_eq!(lookup.finish(false, 1), Err(Errno::EIO), "R174");
    let refused = run(Features::DEFAULT, &[(UPPER, meta(None)), (MID, file())]);
    assert_eq!(refused.map(|_| ()), Err(Errno::EPERM), "R177");
    let (_, mut lookup) = run(Features::DEFAULT, &[(LAST, meta(None))]).unwrap();
    assert_eq!(lookup.finish(false, 1), Err(Errno::EPERM), "R177");
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

#[test]
fn r184_r188_r189_data_only_layers() {
    let nofollow = Features {
        redirect_follow: false,
        ..Features::DEFAULT
    };
    let on = Features {
        metacopy: true,
        ..Features::DEFAULT
    };
    let ends = |features, facts: &[(Position, Fact)], upper_metacopy| {
        let (taken, mut lookup) = run_with(features, true, facts)?;
        let is_lower = |i: &&usize| facts.get(**i).is_some_and(|(at, _)| !at.upper);
        let lowers = taken.iter().filter(is_lower).count();
        lookup.finish(upper_metacopy, lowers)?;
        Ok(lookup.deferred)
    };
    let data = meta(Some("/data"));
    for features in [nofollow, Features::DEFAULT, on] {
        assert_eq!(ends(features, &[(MID, data.clone())], false), Ok(true));
    }
    // Through another metacopy only with metacopy=on.
    let above = [(UPPER, meta(None)), (MID, data.clone())];
    assert_eq!(ends(on, &above, true), Ok(true));
    assert_eq!(ends(Features::DEFAULT, &above, true), Err(Errno::EPERM));
    // Also where another layer is asked in between, and has nothing.
    let below = [(MID, data.clone()), (MID, Fact::Absent)];
    assert_eq!(ends(on, &below, false), Ok(true));
    assert_eq!(ends(Features::DEFAULT, &below, false), Err(Errno::EPERM));
    for without in [meta(None), meta(Some("data"))] {
        assert_eq!(ends(on, &[(MID, without)], false), Err(Errno::EIO));
    }
    // A lower must have the metacopy.
    assert_eq!(ends(on, &[(UPPER, data)], true), Err(Errno::EIO));
}

#[test]
fn r162_what_no_directory_can_hold_is_refused_when_it_is_asked_for() {
    let way = |redirect: &str| {
        let facts = [(UPPER, dir_with(None, Some(redirect)))];
        let (_, lookup) = run(Features::DEFAULT, &facts).unwrap();
        (lookup.way().clone(), lookup.redirect)
    };
    let (up, text) = way("/a/../b");
    assert_eq!(
        (up.names.clone(), up.refused),
        (vec![n("a")], Some(Errno::EACCES))
    );
    assert!(!up.is_end(0));
    assert_eq!(text.as_deref(), Some(&b"/a/../b"[..]));
    let (here, _) = way("..");
    assert_eq!(
        (here.names.clone(), here.refused),
        (vec![], Some(Errno::EACCES))
    );
}
