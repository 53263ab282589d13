//! Section 13: data-only lower layers.

use layerstack::OverlayAttr::{Metacopy, Redirect};
use layerstack::testing::NodeSpec;
use layerstack::testing::spec::Piece;
use layerstack::{Errno, Op};

use crate::metacopy::meta_only;
use crate::moved::redirect;
use crate::ops::*;
use crate::rig::{Rule, rule};

/// Attributes of 4 bytes of data at `target`.
fn of_data(target: &str) -> NodeSpec {
    meta_only(4).overlay(Redirect, target)
}

/// Option sets under which data-only layers work alike (rule R189).
const MODES: [&[&str]; 4] = [
    &[],
    &["redirect_dir=nofollow"],
    &["redirect_dir=on"],
    &["metacopy=on"],
];

fn each(case: impl Fn(Rule)) {
    for mode in MODES {
        case(rule().options(mode));
    }
}

#[test]
fn r183_data_only_layers_show_nothing_of_their_own() {
    each(|rule| {
        rule.lower(of([("/d/f", of_data("/x").mode(0o640))]))
            .data(of([("/x", file("data").mode(0o600)), ("/d/no", file(""))]))
            .tree_is(&["d /d", "- /d/f"])
            .reads("/d/f", "data")
            .meta("/d/f", |m| assert_eq!(m.mode & 0o7777, 0o640))
            .fails(stat("/x"), Errno::ENOENT)
            .ok(create("/x", "own"))
            .reads("/d/f", "data")
            .run();
    });
}

#[test]
fn r004_r031_r189_they_need_no_option_and_no_upper() {
    each(|rule| {
        rule.read_only()
            .lower(of([("/f", of_data("/x"))]))
            .data(of([("/x", file("data"))]))
            .reads("/f", "data")
            .fails(chmod("/f", 0o600), Errno::EROFS)
            .run();
    });
}

#[test]
fn r031_they_go_with_userxattr() {
    rule()
        .userxattr()
        .lower(of([("/f", of_data("/x"))]))
        .data(of([("/x", file("data"))]))
        .reads("/f", "data")
        .ok(append("/f", "+"))
        .reads("/f", "data+")
        .run();
}

#[test]
fn r184_through_other_metacopies_with_metacopy_on() {
    rule()
        .options(&["metacopy=on"])
        .upper(of([
            ("/up", meta_only(4).mode(0o600)),
            ("/moved", of_data("/low")),
            ("/low", gone()),
            ("/alone", of_data("/x")),
        ]))
        .lower(of([
            ("/up", of_data("/x")),
            ("/chain", of_data("/next")),
            ("/dir", of_data("/isdir")),
            ("/white", of_data("/gone")),
            ("/known", of_data("/merged")),
        ]))
        .lower(of([
            ("/low", of_data("/x2")),
            ("/next", of_data("/x3")),
            ("/isdir", dir()),
            ("/gone", gone()),
            ("/merged", file("here")),
        ]))
        .data(of([
            ("/x", file("one!")),
            ("/x2", file("two!")),
            ("/x3", file("3333")),
            ("/isdir", file("dir!")),
            ("/gone", file("gone")),
            ("/merged", file("no")),
        ]))
        .reads("/up", "one!")
        .reads("/moved", "two!")
        .reads("/chain", "3333")
        .reads("/dir", "dir!")
        .reads("/white", "gone")
        .reads("/known", "here")
        // A lower has to have the metacopy.
        .fails(stat("/alone"), Errno::EIO)
        .run();
}

#[test]
fn r184_r189_through_other_layers_only_with_metacopy_on() {
    for mode in [&["redirect_dir=nofollow"][..], &[], &["redirect_dir=on"]] {
        rule()
            .options(mode)
            .upper(of([("/up", meta_only(4)), ("/alone", of_data("/x"))]))
            .lower(of([("/first", of_data("/x"))]))
            .lower(of([("/up", of_data("/x")), ("/last", of_data("/x"))]))
            .data(of([("/x", file("data"))]))
            .reads("/last", "data")
            .fails(stat("/first"), Errno::EPERM)
            .fails(stat("/up"), Errno::EPERM)
            .fails(stat("/alone"), Errno::EPERM)
            .run();
    }
}

#[test]
fn r185_each_layer_is_walked_in_order_beneath_its_root() {
    each(|rule| {
        rule.lower(of([
            ("/both", of_data("/both")),
            ("/second", of_data("/second")),
            ("/dots", of_data("/a/../dots")),
            ("/here", of_data("/./a/./here")),
            ("/out", of_data("/../both")),
            ("/link", of_data("/link")),
            ("/through", of_data("/dirlink/here")),
            ("/file", of_data("/both/x")),
        ]))
        .data(of([
            ("/both", file("one!")),
            ("/second", dir()),
            ("/dots", file("dots")),
            ("/a/here", file("here")),
            ("/link", link("both")),
            ("/dirlink", link("a")),
        ]))
        .data(of([
            ("/both", file("two!")),
            ("/second", file("2nd!")),
            ("/link", file("file")),
        ]))
        .reads("/both", "one!")
        .reads("/second", "2nd!")
        .reads("/dots", "dots")
        .reads("/here", "here")
        .reads("/link", "file")
        // The last layer's answer is told.
        .fails(cat("/out"), Errno::EXDEV)
        .fails(cat("/through"), Errno::ENOENT)
        .fails(cat("/file"), Errno::ENOTDIR)
        .run();
    });
    each(|rule| {
        rule.lower(of([("/through", of_data("/dirlink/here"))]))
            .data(of([("/a/here", file("here")), ("/dirlink", link("a"))]))
            .fails(cat("/through"), Errno::ELOOP)
            .run();
    });
}

#[test]
fn r162_r185_dots_are_refused_by_layers_that_show_names() {
    rule()
        .options(&["metacopy=on"])
        .lower(of([
            ("/up", of_data("/a/../x")),
            ("/none", of_data("/b/../x")),
            ("/dot", of_data("/./x")),
        ]))
        .lower(of([("/a", dir())]))
        .data(of([("/a", dir()), ("/b", dir()), ("/x", file("data"))]))
        .fails(stat("/up"), Errno::EACCES)
        .fails(stat("/dot"), Errno::EACCES)
        .reads("/none", "data")
        .run();
}

#[test]
fn r186_anything_but_a_regular_file_is_missing_and_marks_mean_nothing() {
    rule()
        .lower(of([
            ("/dir", of_data("/dir")),
            ("/white", of_data("/white")),
            ("/fifo", of_data("/fifo")),
            ("/xwhite", of_data("/xwhite")),
            ("/meta", of_data("/meta")),
            ("/opaque", of_data("/opaque/f")),
        ]))
        .data(of([
            ("/dir", dir()),
            ("/white", gone()),
            (
                "/fifo",
                NodeSpec::new(layerstack::testing::spec::NodeKind::Fifo),
            ),
            ("/xwhite", xgone()),
            (
                "/meta",
                file("meta").overlay(Metacopy, "").overlay(Redirect, "/x"),
            ),
            ("/opaque", opaque()),
            ("/opaque/f", file("data")),
        ]))
        .fails(cat("/dir"), Errno::ENOENT)
        .fails(cat("/white"), Errno::ENOENT)
        .fails(cat("/fifo"), Errno::ENOENT)
        .reads("/xwhite", "")
        .reads("/meta", "meta")
        .reads("/opaque", "data")
        .run();
}

#[test]
fn r187_missing_data_are_noticed_when_they_are_needed() {
    each(|rule| {
        rule.lower(of([
            ("/f", of_data("/missing")),
            ("/g", of_data("/missing")),
        ]))
        .data(layer())
        .ok(stat("/f"))
        .fails(cat("/f"), Errno::ENOENT)
        .fails(open("/f", wr()), Errno::ENOENT)
        .fails(open("/f", wr().truncate(true)), Errno::ENOENT)
        .fails(chmod("/f", 0o600), Errno::ENOENT)
        .fails(mv("/f", "/g2"), Errno::ENOENT)
        .fails(ln("/f", "/g2"), Errno::ENOENT)
        .fails(set_len("/f", 0), Errno::ENOENT)
        .upper_empty()
        .ok(rm("/f"))
        .ok(create("/f", "new"))
        .run();
    });
}

#[test]
fn r188_a_relative_or_missing_redirect_leads_nowhere() {
    let case = |options: &[&str], errno| {
        rule()
            .options(options)
            .lower(of([("/rel", of_data("x")), ("/none", meta_only(4))]))
            .data(of([
                ("/x", file("data")),
                ("/rel", file("data")),
                ("/none", file("data")),
            ]))
            .fails(stat("/rel"), errno)
            .fails(stat("/none"), errno)
            .run();
    };
    case(&["metacopy=on"], Errno::EIO);
    case(&[], Errno::EPERM);
    case(&["redirect_dir=nofollow"], Errno::EPERM);
}

/// With data-only layers the marks of directories in the bottom layer are read.
#[test]
fn r059_r189_redirects_of_directories_are_asked_for_in_the_bottom_too() {
    let to = |target: &str| dir().overlay(Redirect, target);
    let case = |options: &[&str]| {
        rule()
            .options(options)
            .upper(of([("/merged", dir())]))
            .lower(of([
                ("/away", to("/e")),
                ("/bad", to("a/b")),
                ("/merged", to("a/b")),
            ]))
            .data(layer())
            .fails(stat("/bad"), Errno::EINVAL)
            .ok(stat("/merged"))
    };
    case(&[]).ok(stat("/away")).run();
    case(&["redirect_dir=nofollow"])
        .fails(stat("/away"), Errno::EPERM)
        .run();
}

#[test]
fn r190_without_metacopy_changing_attributes_copies_data() {
    let changed = |options: &[&str], whole: bool| {
        rule()
            .options(options)
            .lower(of([("/f", of_data("/x")), ("/g", of_data("/y"))]))
            .data(of([("/x", file("data")), ("/y", file("yyyy"))]))
            .ok(chmod("/f", 0o600))
            .ok(mv("/g", "/g2"))
            .look(move |s| {
                assert_eq!(s.attr("/f", Metacopy).is_none(), whole);
                assert_eq!(redirect(s, "/g2").is_none(), whole);
                if whole {
                    assert_eq!(s.content("/f"), b"data");
                }
            })
            .reads("/f", "data")
            .reads("/g2", "yyyy")
            .remount()
            .reads("/f", "data")
            .reads("/g2", "yyyy")
            .ok(append("/f", "+"))
            .ok(append("/g2", "+"))
            .reads("/f", "data+")
            .remount()
            .reads("/g2", "yyyy+")
            .look(|s| assert!(s.having(Metacopy).is_empty()))
            .run();
    };
    changed(&[], true);
    changed(&["redirect_dir=nofollow"], true);
    changed(&["metacopy=on"], false);
}

#[test]
fn r191_blocks_are_guessed_until_the_data_are_needed() {
    let big = NodeSpec::pieces(vec![Piece::Fill(b'x', 20_000)]);
    let size = |n: u32| meta_only(n).overlay(Redirect, "/x");
    rule()
        .same_filesystem_only()
        .lower(of([("/f", size(5)), ("/g", size(9000))]))
        .data(of([("/x", big)]))
        .meta("/f", |m| assert_eq!((m.size, m.blocks), (5, 8)))
        .meta("/g", |m| assert_eq!((m.size, m.blocks), (9000, 24)))
        .ok(open("/f", rd()))
        .meta("/f", |m| assert_eq!((m.size, m.blocks), (5, 40)))
        .run();
}

#[test]
fn r183_an_open_file_follows_a_copy_up() {
    each(|rule| {
        rule.lower(of([("/f", of_data("/x"))]))
            .data(of([("/x", file("data"))]))
            .ok(hold(0, "/f", rd()))
            .bytes(hread(0), "data")
            .ok(append("/f", "+"))
            .bytes(hread(0), "data+")
            .ok(Op::HandleClose { slot: 0 })
            .run();
    });
}
