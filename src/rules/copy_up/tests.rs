#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
use super::*;
use crate::error::LayerId;
use crate::rules::plan::PlannedStep;

fn planned(meta: &Metadata, change: impl FnOnce(&mut Facts<'_>)) -> (Plan, Planned) {
    let mut p = Plan::default();
    let source = p.object(LayerId::Lower(0), "/f".into());
    let dir = p.object(LayerId::Upper, "/".into());
    let work = p.object(LayerId::Work, "/".into());
    let object = p.object(LayerId::Upper, "/f".into());
    let mut facts = Facts {
        source,
        data_source: source,
        meta,
        target: None,
        xattrs: &[],
        origin: None,
        flags: InodeFlags::default(),
        dir,
        name: Name::try_from("f").unwrap(),
        dir_times: Some((Timestamp::new(1, 0), Timestamp::new(2, 0))),
        nlink: None,
        entry: None,
        marks_impure: true,
        work,
        temp: Name::try_from("#1").unwrap(),
        tmpfile: true,
        data: Data::Full,
        fsync: Fsync::Auto,
    };
    change(&mut facts);
    let done = plan(&mut p, object, &facts);
    (p, done)
}

fn file(size: u64) -> Metadata {
    let mut meta = Metadata::new(FileType::Regular, 0o4755);
    meta.size = size;
    meta
}

fn kinds(p: &Plan) -> Vec<&'static str> {
    p.steps
        .iter()
        .map(|s| match s.step {
            Step::Create { .. } => "create",
            Step::Tmpfile { .. } => "tmpfile",
            Step::CopyData { .. } => "data",
            Step::CopyXattrs { .. } => "xattrs",
            Step::SetOverlay { .. } => "overlay",
            Step::SetAttr { .. } => "attr",
            Step::SetLen { .. } => "len",
            Step::SetXattr { .. } => "xattr",
            Step::Sync { .. } => "sync",
            Step::Link { .. } => "link",
            Step::Rename { .. } => "rename",
            Step::SetHandle { .. } => "handle",
            _ => "other",
        })
        .collect()
}

#[test]
fn r218_r237_a_file_is_staged_whole_then_linked() {
    let (p, done) = planned(&file(10), |f| f.origin = Some(&[1]));
    assert_eq!(
        kinds(&p),
        [
            "tmpfile", "data", "overlay", "attr", "sync", "overlay", "link", "attr"
        ]
    );
    assert_eq!((done.first, done.impure, done.publish), (0, Some(5), 6));
    assert_eq!(p.cost().data_bytes, 10);
}

#[test]
fn r195_r230_truncation_and_empty_files_copy_no_data() {
    let (p, _) = planned(&file(10), |f| f.data = Data::Truncate);
    assert_eq!(p.cost().data_bytes, 0);
    assert!(!kinds(&p).contains(&"sync"), "{p}");
    let now = |s: &PlannedStep| {
        matches!(&s.step, Step::SetAttr { object, attr }
            if attr.mtime == SetTime::Now && attr.mode == Some(0o4755) && object.0 == 3)
    };
    assert!(p.steps.iter().any(now), "seen as truncated at once: {p}");
    let (p, _) = planned(&file(0), |_| {});
    assert!(!kinds(&p).contains(&"data"));
}

#[test]
fn r178_r179_attributes_alone_are_copied_of_files_with_metacopy() {
    let on = Features {
        metacopy: true,
        ..Features::DEFAULT
    };
    let settled = |data: Data, file_type, features| data.settle(file_type, features);
    let (regular, link) = (FileType::Regular, FileType::Symlink);
    assert_eq!(settled(Data::Attributes, regular, on), Data::Attributes);
    assert_eq!(settled(Data::Attributes, link, on), Data::Full);
    assert_eq!(
        settled(Data::Attributes, regular, Features::DEFAULT),
        Data::Full
    );
    assert_eq!(settled(Data::Full, regular, on), Data::Full);
    let require = Features {
        verity: Verity::Require,
        ..on
    };
    assert_eq!(settled(Data::Attributes, regular, require), Data::Full);
    let attributes = |f: &mut Facts<'_>| f.data = Data::Attributes;
    let (p, _) = planned(&file(10), attributes);
    assert_eq!(
        kinds(&p),
        [
            "tmpfile", "len", "overlay", "attr", "overlay", "link", "attr"
        ]
    );
    assert_eq!((p.cost().data_bytes, p.cost().syncs), (0, 0));
    let (p, _) = planned(&file(0), attributes);
    assert!(!kinds(&p).contains(&"len") && kinds(&p).contains(&"overlay"));
}

#[test]
fn r180_data_come_in_place_and_the_mark_goes_last() {
    let promoted = |size, mode| {
        let mut p = Plan::default();
        let source = p.object(LayerId::Lower(0), "/f".into());
        let object = p.object(LayerId::Upper, "/f".into());
        let name = XattrName::new("security.capability").unwrap();
        let facts = PromoteFacts {
            source,
            object,
            size,
            capability: Some((name, vec![1])),
            mode,
            durable: true,
        };
        let done = plan_promotion(&mut p, facts);
        assert_eq!((done.first, done.publish), (0, p.steps.len() - 1));
        kinds(&p)
    };
    assert_eq!(
        promoted(5, Some(0o4755)),
        ["data", "xattr", "attr", "sync", "overlay"]
    );
    assert_eq!(promoted(0, None), ["overlay"]);
}

#[test]
fn r237_directories_and_special_files_go_through_a_named_temporary() {
    let dir = Metadata::new(FileType::Directory, 0o750);
    let (p, _) = planned(&dir, |f| f.marks_impure = false);
    assert_eq!(kinds(&p), ["create", "attr", "rename", "attr"]);
}

#[test]
fn r262_a_hard_link_goes_into_the_index_with_its_count() {
    let (p, done) = planned(&file(10), |f| {
        (f.nlink, f.dir_times, f.marks_impure) = (Some(b"U+1".to_vec()), None, false);
    });
    assert_eq!(
        kinds(&p),
        ["tmpfile", "data", "overlay", "attr", "sync", "link"]
    );
    assert_eq!((done.staged, done.impure, done.publish), (5, None, 5));
}

#[test]
fn r269_a_directory_gets_an_entry_once_it_is_published() {
    let dir = Metadata::new(FileType::Directory, 0o750);
    let (p, done) = planned(&dir, |f| {
        let place = |name: &str| Place {
            dir: f.work,
            name: Name::try_from(name).unwrap(),
        };
        f.entry = Some(Entry::Directory {
            object: f.source,
            place: place("00fb"),
            temp: place("#2"),
        });
    });
    let expected = [
        "create", "attr", "overlay", "rename", "attr", "create", "handle", "rename",
    ];
    assert_eq!(kinds(&p), expected);
    assert_eq!((done.staged, done.impure, done.publish), (2, Some(2), 3));
    assert_eq!(done.entry, Some(7));
}

#[test]
fn r269_a_file_with_one_name_gets_its_entry_once_it_is_published() {
    let (p, done) = planned(&file(0), |f| {
        f.entry = Some(Entry::Name(Place {
            dir: f.work,
            name: Name::try_from("00fb").unwrap(),
        }));
    });
    assert_eq!(kinds(&p).last(), Some(&"link"));
    assert_eq!(done.entry, Some(p.steps.len() - 1));
    assert!(done.publish < p.steps.len() - 1);
}

#[test]
fn r231_r232_origin_is_recorded_unless_a_hard_link_breaks() {
    let mut f = file(0);
    assert!(records_origin(&f));
    f.nlink = 2;
    assert!(!records_origin(&f));
    f.file_type = FileType::Directory;
    assert!(records_origin(&f));
}
