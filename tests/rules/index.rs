//! Section 18: the index of hard links, and what `nfs_export` adds to it.

use layerstack::testing::{NodeKind, NodeSpec};
use layerstack::{Errno, OverlayAttr};

use crate::ops::*;
use crate::rig::{Rule, rule};
use crate::seen::Seen;
use crate::support::fs::Fs;
use crate::support::system::Layout;

/// A case with an index.
fn indexed() -> Rule {
    rule().options(&["index=on"])
}

/// Letter, link count and stored count of each entry.
fn entries(seen: &Seen) -> Vec<String> {
    let line = |e: &crate::support::index::IndexEntry| {
        format!("{} {} {}", e.letter, e.nlink, e.count)
            .trim()
            .to_owned()
    };
    let mut lines: Vec<_> = seen.index.iter().map(line).collect();
    lines.sort();
    lines
}

/// The index holds these.
fn index_is(rule: Rule, lines: &'static [&'static str]) -> Rule {
    rule.look(move |s| assert_eq!(entries(s), lines, "index"))
}

/// Two names in one directory, a third in another.
fn linked() -> layerstack::testing::LayerSpec {
    of([
        ("/a", file("low")),
        ("/b", link_to("/a")),
        ("/d/c", link_to("/a")),
    ])
}

#[test]
fn r262_r263_a_hard_link_is_copied_once() {
    let r = indexed().lower(linked()).ok(put("/a", "new"));
    let r = index_is(r, &["f 2 U+1"])
        .upper_is(&["- /a"])
        .reads("/b", "new")
        .reads("/d/c", "new")
        .ok(put("/d/c", "NEW"));
    index_is(r, &["f 3 U+0"])
        .upper_is(&["- /a", "d /d", "- /d/c"])
        .reads("/a", "NEW")
        .reads("/b", "NEW")
        .look(|s| {
            let inos = ["/a", "/b", "/d/c"].map(|p| s.node(p).meta.ino);
            assert!(inos[0] == inos[1] && inos[1] == inos[2]);
        })
        .remount()
        .reads("/b", "NEW")
        .meta("/b", |m| assert_eq!(m.nlink, 3))
        .run();
}

/// The name through which an attribute is set gets no link of its own, as the object is in the upper
/// already; nor does reading.
#[test]
fn r262_names_are_linked_when_they_are_changed() {
    let r = indexed()
        .lower(linked())
        .ok(chmod("/b", 0o640))
        .ok(set_xattr("/a", "user.k", "v"))
        .ok(cat("/d/c"))
        .upper_is(&["- /b"])
        .ok(chmod("/a", 0o600));
    index_is(r, &["f 3 U+0"])
        .upper_is(&["- /a", "- /b"])
        .meta("/d/c", |m| assert_eq!(m.mode, 0o600))
        .run();
}

/// Of any type but directories.
#[test]
fn r262_symlinks_and_special_files_are_indexed_too() {
    let lower = of([
        ("/l", link("target")),
        ("/m", link_to("/l")),
        ("/p", NodeSpec::new(NodeKind::Fifo)),
        ("/q", link_to("/p")),
    ]);
    let r = indexed()
        .lower(lower)
        .ok(chown("/l", 5, 5))
        .ok(chmod("/q", 0o600));
    index_is(r, &["l 2 U+0", "s 2 U+0"])
        .meta("/m", |m| assert_eq!((m.uid, m.nlink), (5, 2)))
        .meta("/p", |m| assert_eq!((m.mode, m.nlink), (0o600, 2)))
        .bytes(read_link("/m"), "target")
        .run();
}

#[test]
fn r262_opening_to_truncate_copies_no_data_into_the_index() {
    let truncate = wr().truncate(true);
    let r = indexed().lower(linked()).ok(open("/d/c", truncate));
    index_is(r, &["f 2 U+1"])
        .reads("/a", "")
        .ok(append("/b", "x"))
        .reads("/a", "x")
        .run();
}

#[test]
fn r264_files_with_one_link_are_not_indexed() {
    let r = indexed()
        .lower(of([("/f", file("x")), ("/d/g", file(""))]))
        .ok(put("/f", "y"))
        .ok(mv("/d/g", "/g"));
    index_is(r, &[])
        .look(|s| assert!(s.attr("/f", OverlayAttr::Nlink).is_none()))
        .run();
}

#[test]
fn r258_link_counts_are_those_of_the_union() {
    let nlink = |n: u64| move |m: &layerstack::Metadata| assert_eq!(m.nlink, n);
    let r = indexed()
        .lower(linked())
        .meta("/a", nlink(3))
        .ok(ln("/a", "/e"))
        .meta("/b", nlink(4))
        .meta("/e", nlink(4));
    let r = index_is(r, &["f 3 U+1"]).ok(rm("/a")).meta("/b", nlink(3));
    let r = index_is(r, &["f 2 U+1"])
        .ok(rm("/d/c"))
        .meta("/e", nlink(2))
        .remount()
        .meta("/b", nlink(2))
        .ok(create("/x", ""))
        .ok(mv("/x", "/e"))
        .meta("/b", nlink(1));
    index_is(r, &["f 1 U+0"]).reads("/b", "low").run();
}

/// The step that changes a count comes after what records it relative to what changes.
#[test]
fn r247_the_count_is_recorded_before_the_name_goes() {
    let r = indexed().lower(linked()).ok(rm("/a"));
    // U+1 was recorded with the link, and holds without it.
    index_is(r, &["f 1 U+1"])
        .meta("/b", |m| assert_eq!(m.nlink, 2))
        .run();
}

#[test]
fn r124_a_hard_link_is_copied_up_before_it_is_removed() {
    let r = indexed().lower(linked()).ok(rm("/d/c"));
    index_is(r, &["f 1 U+1"])
        .upper_is(&["d /d", "w /d/c"])
        .reads("/a", "low")
        .ok(put("/b", "new"))
        .reads("/a", "new")
        .run();
}

/// So is one that another file replaces, or that is renamed.
#[test]
fn r124_r262_renames_count_and_link() {
    let r = indexed()
        .lower(linked())
        .upper(of([("/up", file("up"))]))
        .ok(mv("/up", "/a"))
        .ok(mv("/b", "/e"));
    index_is(r, &["f 2 U+0"])
        .reads("/a", "up")
        .reads("/e", "low")
        .meta("/d/c", |m| assert_eq!(m.nlink, 2))
        .ok(swap("/d/c", "/a"))
        .reads("/d/c", "up")
        .reads("/a", "low")
        .meta("/e", |m| assert_eq!(m.nlink, 2))
        .run();
}

/// A rename of one name of a file to another of its names does nothing, whichever are in the upper.
#[test]
fn r140_r263_renaming_onto_another_name_changes_nothing() {
    indexed()
        .lower(linked())
        .ok(mv("/a", "/d/c"))
        .upper_empty()
        .ok(chmod("/a", 0o600))
        .ok(mv("/a", "/b"))
        .ok(mv("/b", "/a"))
        .lists("/", &["a", "b", "d"])
        .upper_is(&["- /a"])
        .run();
}

#[test]
fn r265_the_entry_goes_with_the_last_name() {
    let r = indexed()
        .lower(linked())
        .ok(ln("/a", "/e"))
        .ok(rm("/a"))
        .ok(rm("/b"))
        .ok(rm("/d/c"))
        .ok(hold(0, "/e", rd()));
    let r = index_is(r, &["f 2 U-1"])
        .handle_meta(0, |m| assert_eq!(m.nlink, 1))
        .ok(rm("/e"))
        .handle_meta(0, |m| assert_eq!(m.nlink, 0))
        .bytes(hread(0), "low");
    index_is(r, &[]).lists("/", &["d"]).run();
}

/// The upper root records the topmost lower, the index the upper root.
#[test]
fn r266_the_index_and_the_upper_remember_their_layers() {
    let r = indexed().lower(linked()).look(|s| {
        assert_eq!(
            s.having(OverlayAttr::Origin),
            [std::path::PathBuf::from("/")]
        );
    });
    r.ok(stat("/a")).run();
}

/// A lower hard link without names leaves a whiteout there, whose lower nobody finds any more.
#[test]
fn r272_whiteouts_in_the_index_stay() {
    rule()
        .options(&["nfs_export=on"])
        .lower(of([("/f", file("x")), ("/g", link_to("/f"))]))
        .ok(rm("/f"))
        .ok(rm("/g"))
        .look(|s| assert_eq!(entries(s), ["w 0"]))
        .remount()
        .lists("/", &[])
        .look(|s| assert_eq!(entries(s), ["w 0"]))
        .run();
}

fn exported() -> Rule {
    rule().options(&["nfs_export=on"])
}

#[test]
fn r269_nfs_export_indexes_every_copy() {
    let r = exported()
        .lower(of([
            ("/d/f", file("x")),
            ("/d/l", link("t")),
            ("/e/sub", dir()),
        ]))
        .ok(chmod("/d/f", 0o600))
        .ok(chown("/d/l", 1, 1))
        .ok(mkdir("/e/sub/new"));
    index_is(r, &["d 0", "d 0", "d 0", "f 2 U-1", "l 2 U-1"])
        .look(|s| {
            let mut dirs = s.index.iter().filter(|e| e.letter == 'd');
            assert!(dirs.all(|e| e.upper));
        })
        .meta("/d/f", |m| assert_eq!((m.mode, m.nlink), (0o600, 1)))
        .remount()
        .lists("/e/sub", &["new"])
        // A quirk: the entry counts as a name of a lower that has one name.
        .meta("/d/f", |m| assert_eq!((m.mode, m.nlink), (0o600, 2)))
        .ok(rm("/d/f"))
        .remount()
        .ok(stat("/d"))
        .look(|s| assert!(entries(s).contains(&"w 0".into())))
        .run();
}

#[test]
fn r269_r265_with_nfs_export_a_whiteout_takes_the_place_of_an_entry() {
    let r = exported()
        .lower(of([("/d/f", file("x")), ("/e", dir()), ("/g", file(""))]))
        .ok(rm("/d/f"))
        .ok(rmdir("/e"))
        .ok(chmod("/g", 0o600))
        .ok(mkdir("/e"));
    index_is(r, &["d 0", "f 2 U-1", "w 0", "w 0"])
        .ok(rm("/g"))
        .ok(rmdir("/e"))
        .remount()
        .lists("/", &["d"])
        .run();
}

#[test]
fn r028_r268_without_an_upper_there_is_no_index() {
    indexed()
        .read_only()
        .lower(linked())
        .lower(of([("/z", file(""))]))
        .reads("/a", "low")
        .look(|s| assert!(s.index.is_empty()))
        .run();
}

#[test]
fn r262_on_several_filesystems() {
    let layout = Layout {
        upper: Fs::Ext4,
        lowers: vec![Fs::Xfs, Fs::Ext4],
        options: Vec::new(),
    };
    let r = indexed()
        .on(layout)
        .lower(linked())
        .lower(of([("/x", file("other")), ("/y", link_to("/x"))]))
        .ok(put("/a", "new"))
        .ok(rm("/x"));
    index_is(r, &["f 1 U+0", "f 2 U+1"])
        .remount()
        .reads("/d/c", "new")
        .reads("/y", "other")
        .fails(rm("/x"), Errno::ENOENT)
        .run();
}
