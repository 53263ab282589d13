//! Section 12: files whose attributes and data are in different layers.

use layerstack::OverlayAttr::{self, Impure, Metacopy, Origin, Redirect};
use layerstack::testing::NodeSpec;
use layerstack::testing::spec::Piece;
use layerstack::{Errno, Op, SetAttr, Timestamp};

use crate::moved::redirect;
use crate::ops::*;
use crate::rig::{Rule, rule};
use crate::seen::{Seen, bytes};

pub(crate) fn metacopy() -> Rule {
    rule().options(&["metacopy=on"])
}

/// A file with attributes only.
pub(crate) fn meta_only(size: u32) -> NodeSpec {
    let content = match size {
        0 => Vec::new(),
        size => vec![Piece::Hole(size)],
    };
    NodeSpec::pieces(content).overlay(Metacopy, "")
}

fn to(target: &str) -> Option<String> {
    Some(String::from(target))
}

/// Is a copy of attributes alone, of this size.
fn is_meta_only(s: &Seen, path: &str, size: u64) {
    let node = s.up(path);
    assert_eq!(s.attr(path, Metacopy), Some(&b""[..]), "{path}");
    assert_eq!(node.meta.size, size, "{path}");
    assert_eq!(node.content.as_ref().unwrap().data, [], "{path}: no data");
}

fn is_whole(s: &Seen, path: &str, content: &str) {
    assert_eq!(s.attr(path, Metacopy), None, "{path}");
    assert_eq!(s.content(path), content.as_bytes(), "{path}");
}

#[test]
fn r178_changes_of_attributes_and_names_copy_no_data() {
    let f = || file("data").xattr("user.a", b"1").mode(0o640);
    metacopy()
        .lower(of([
            ("/chmod", f()),
            ("/chown", f()),
            ("/times", f()),
            ("/set", f()),
            ("/remove", f()),
            ("/mv", f()),
            ("/ln", f()),
            ("/a", f()),
            ("/b", f()),
            ("/empty", file("")),
        ]))
        .ok(chmod("/chmod", 0o600))
        .ok(chown("/chown", 1, 1))
        .ok(set("/times", SetAttr::times(at(5, 0), at(6, 7))))
        .ok(set_xattr("/set", "user.b", "2"))
        .ok(remove_xattr("/remove", "user.a"))
        .ok(mv("/mv", "/mv2"))
        .ok(ln("/ln", "/ln2"))
        .ok(swap("/a", "/b"))
        .ok(chmod("/empty", 0o600))
        .look(|s| {
            for path in [
                "/chmod", "/chown", "/times", "/set", "/remove", "/mv2", "/ln", "/ln2", "/a", "/b",
            ] {
                is_meta_only(s, path, 4);
                assert!(s.attr(path, Origin).is_some(), "{path}");
                assert_eq!(bytes(s.node(path)), b"data", "{path}");
            }
            is_meta_only(s, "/empty", 0);
            assert_eq!(s.up("/times").meta.mtime, Timestamp::new(6, 7));
            assert_eq!(s.up("/set").xattrs.len(), 2);
            assert_eq!(s.up("/chmod").meta.mode & 0o7777, 0o600);
        })
        .remount()
        .reads("/chmod", "data")
        .reads("/mv2", "data")
        .reads("/ln2", "data")
        .reads("/a", "data")
        .rotate()
        .reads("/chmod", "data")
        .reads("/mv2", "data")
        .reads("/ln2", "data")
        .run();
}

#[test]
fn r178_what_is_no_regular_file_is_copied_whole() {
    metacopy()
        .lower(of([("/l", link("target")), ("/d/f", file(""))]))
        .ok(chown("/l", 1, 1))
        .ok(chmod("/d", 0o700))
        .look(|s| assert!(s.having(Metacopy).is_empty()))
        .run();
}

#[test]
fn r179_opening_to_write_and_truncating_copy_data() {
    metacopy()
        .lower(of([
            ("/wr", file("data")),
            ("/append", file("data")),
            ("/trunc", file("data")),
            ("/len", file("data")),
            ("/read", file("data")),
        ]))
        .ok(open("/wr", wr()))
        .ok(append("/append", "+"))
        .ok(open("/trunc", rd().truncate(true)))
        .ok(set_len("/len", 2))
        .ok(open("/read", rd()))
        .look(|s| {
            is_whole(s, "/wr", "data");
            is_whole(s, "/append", "data+");
            is_whole(s, "/trunc", "");
            is_whole(s, "/len", "da");
        })
        .upper_is(&["- /append", "- /len", "- /trunc", "- /wr"])
        .run();
}

#[test]
fn r180_the_first_opening_to_write_brings_the_data() {
    let capability: Vec<u8> = [0x0200_0001u32, 1 << 13, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let f = || file("data").mtime(7, 8);
    metacopy()
        .lower(of([
            (
                "/wr",
                f().mode(0o6755).xattr("security.capability", capability),
            ),
            ("/append", f()),
            ("/trunc", f()),
            ("/len", f()),
            ("/moved", f()),
            ("/empty", file("")),
            ("/hole", NodeSpec::pieces(vec![Piece::Hole(9000)])),
            (
                "/some",
                NodeSpec::pieces(vec![
                    Piece::Hole(8192),
                    Piece::Fill(b'x', 10),
                    Piece::Hole(50),
                ]),
            ),
        ]))
        .ok(set_xattr("/wr", "user.a", "1"))
        .ok(chmod("/append", 0o600))
        .ok(chmod("/trunc", 0o600))
        .ok(chmod("/len", 0o600))
        .ok(chmod("/empty", 0o600))
        .ok(chmod("/hole", 0o600))
        .ok(chmod("/some", 0o600))
        .ok(mv("/moved", "/there"))
        .look(|s| {
            let mtime = |path| s.node(path).meta.mtime;
            assert_eq!(mtime("/wr"), Timestamp::new(7, 8));
            assert_eq!(s.having(Metacopy).len(), 8);
        })
        .ok(open("/wr", wr()))
        .ok(append("/append", "+"))
        .ok(open("/trunc", wr().truncate(true)))
        .ok(set_len("/len", 2))
        .ok(open("/empty", wr()))
        .ok(open("/hole", wr()))
        .ok(open("/some", wr()))
        .ok(append("/there", "+"))
        .look(|s| {
            assert!(s.having(Metacopy).is_empty());
            is_whole(s, "/wr", "data");
            assert_eq!(s.up("/wr").meta.mode & 0o7777, 0o6755);
            assert!(
                s.up("/wr")
                    .xattrs
                    .contains_key(&attr("security.capability"))
            );
            assert!(
                s.up("/wr").meta.mtime.secs > 7,
                "the modification time moves"
            );
            is_whole(s, "/append", "data+");
            is_whole(s, "/trunc", "");
            is_whole(s, "/len", "da");
            is_whole(s, "/there", "data+");
            assert_eq!(redirect(s, "/there"), to("moved"), "the redirect stays");
            assert_eq!(s.up("/hole").meta.size, 9000);
            assert_eq!(s.up("/some").meta.size, 8252);
        })
        .reads("/append", "data+")
        .remount()
        .reads("/wr", "data")
        .reads("/there", "data+")
        .run();
}

#[test]
fn r180_every_name_of_the_file_has_the_data() {
    metacopy()
        .lower(of([("/f", file("data")), ("/d/x", file(""))]))
        .ok(ln("/f", "/d/g"))
        .ok(ln("/d/g", "/h"))
        .ok(append("/d/g", "+"))
        .reads("/f", "data+")
        .reads("/h", "data+")
        .look(|s| assert_eq!(s.up("/f").meta.nlink, 3))
        .remount()
        .reads("/f", "data+")
        .reads("/d/g", "data+")
        .run();
}

#[test]
fn r178_r180_open_files_follow() {
    metacopy()
        .lower(of([("/f", file("data"))]))
        .ok(hold(0, "/f", rd()))
        .bytes(hread(0), "data")
        .ok(chmod("/f", 0o600))
        .bytes(hread(0), "data")
        .ok(hold(1, "/f", rd()))
        .handle_meta(0, |meta| assert_eq!(meta.mode & 0o7777, 0o600))
        .ok(append("/f", "+"))
        .bytes(hread(0), "data+")
        .bytes(hread(1), "data+")
        .run();
}

#[test]
fn r136_a_link_gives_an_absolute_redirect_first() {
    metacopy()
        .lower(of([
            ("/p/f", file("data")),
            ("/p/g", file("data")),
            ("/q/x", file("")),
        ]))
        .ok(ln("/p/f", "/q/f"))
        .look(|s| {
            assert_eq!(redirect(s, "/q/f"), to("/p/f"));
            assert_eq!(redirect(s, "/p/f"), to("/p/f"));
            assert!(s.attr("/q", Impure).is_some());
        })
        .ok(mv("/p/g", "/p/g2"))
        .ok(ln("/p/g2", "/p/g3"))
        .look(|s| assert_eq!(redirect(s, "/p/g3"), to("/p/g")))
        .remount()
        .reads("/q/f", "data")
        .reads("/p/g3", "data")
        .run();
}

#[test]
fn r136_a_link_that_needs_a_redirect_of_more_than_256_bytes_is_exdev() {
    let deep = format!("/{}/{}", "n".repeat(200), "m".repeat(100));
    metacopy()
        .lower(of([(&*deep, file("data"))]))
        .fails(ln(&deep, "/f"), Errno::EXDEV)
        .fails(mv(&deep, "/f"), Errno::EXDEV)
        .reads(&deep, "data")
        .ok(open(&deep, wr()))
        .ok(ln(&deep, "/f"))
        .reads("/f", "data")
        .run();
}

#[test]
fn r151_moved_metacopy_files_get_a_redirect() {
    metacopy()
        .lower(of([
            ("/p/f", file("f")),
            ("/p/g", file("g")),
            ("/p/h", file("h")),
            ("/p/h2", link_to("/p/h")),
            ("/q/x", file("")),
        ]))
        .ok(mv("/p/f", "/p/f2"))
        .look(|s| assert_eq!(redirect(s, "/p/f2"), to("f")))
        .ok(mv("/p/g", "/q/g"))
        .look(|s| assert_eq!(redirect(s, "/q/g"), to("/p/g")))
        .ok(mv("/p/h", "/p/h3"))
        .look(|s| assert_eq!(redirect(s, "/p/h3"), to("/p/h"), "a hard link"))
        .ok(mv("/p/f2", "/q/f3"))
        .look(|s| assert_eq!(redirect(s, "/q/f3"), to("/p/f")))
        .ok(open("/p/h2", wr()))
        .ok(mv("/p/h2", "/p/h4"))
        .look(|s| assert_eq!(redirect(s, "/p/h4"), None, "it has its data"))
        .remount()
        .reads("/q/f3", "f")
        .reads("/q/g", "g")
        .reads("/p/h3", "h")
        .reads("/p/h4", "h")
        .run();
}

/// Where a metacopy tells another size, a copy ends with the data; rig and mount compare what is answered.
#[test]
fn r176_r301_the_end_of_a_file_is_that_of_its_data() {
    metacopy()
        .upper(of([("/more", meta_only(5)), ("/less", meta_only(1))]))
        .lower(of([("/more", file("1")), ("/less", file("12345"))]))
        .meta("/more", |m| assert_eq!(m.size, 5))
        .ok(Op::Copy {
            from: "/more".into(),
            to: "/a".into(),
        })
        .ok(Op::Copy {
            from: "/less".into(),
            to: "/b".into(),
        })
        .meta("/a", |m| assert_eq!(m.size, 1))
        .meta("/b", |m| assert_eq!(m.size, 5))
        .run();
}

#[test]
fn r170_r175_data_come_from_the_next_file_below() {
    metacopy()
        .upper(of([
            ("/f", meta_only(4).mode(0o600)),
            ("/r", meta_only(4).overlay(Redirect, "there")),
            ("/there", gone()),
            ("/abs", meta_only(4).overlay(Redirect, "/d/data")),
            ("/d/data", gone()),
        ]))
        .lower(of([
            ("/f", file("data").mode(0o644)),
            ("/there", file("rrrr")),
            ("/low", meta_only(4).mode(0o640)),
        ]))
        .lower(of([("/low", file("low!")), ("/d/data", file("abs!"))]))
        .reads("/f", "data")
        .meta("/f", |m| assert_eq!(m.mode & 0o7777, 0o600))
        .reads("/r", "rrrr")
        .reads("/abs", "abs!")
        .reads("/low", "low!")
        .meta("/low", |m| assert_eq!(m.mode & 0o7777, 0o640))
        .ok(append("/low", "+"))
        .reads("/low", "low!+")
        .ok(chmod("/r", 0o600))
        .ok(append("/r", "+"))
        .reads("/r", "rrrr+")
        .run();
}

#[test]
fn r171_values_of_1_to_3_bytes_are_eio() {
    let with = |value: &[u8]| NodeSpec::pieces(vec![Piece::Hole(4)]).overlay(Metacopy, value);
    metacopy()
        .upper(of([
            ("/one", with(b"x")),
            ("/three", with(b"xxx")),
            ("/four", with(&[0, 4, 0, 0])),
            ("/version", with(&[9, 9, 9, 9, 9])),
        ]))
        .lower(of([
            ("/one", file("data")),
            ("/three", file("data")),
            ("/four", file("data")),
            ("/version", file("data")),
        ]))
        .fails(stat("/one"), Errno::EIO)
        .fails(stat("/three"), Errno::EIO)
        .reads("/four", "data")
        .reads("/version", "data")
        .run();
}

#[test]
fn r172_metacopy_files_chain_down_to_the_data() {
    metacopy()
        .upper(of([("/f", meta_only(4).mode(0o600))]))
        .lower(of([("/f", meta_only(4).overlay(Redirect, "/g"))]))
        .lower(of([
            ("/g", meta_only(4).overlay(Redirect, "h")),
            ("/f", gone()),
        ]))
        .lower(of([("/h", file("data")), ("/g", file("no"))]))
        .lower(of([("/h", file("deep"))]))
        .reads("/f", "data")
        .ok(append("/f", "+"))
        .reads("/f", "data+")
        .run();
}

#[test]
fn r173_anything_but_a_regular_file_below_is_eio() {
    metacopy()
        .upper(of([
            ("/dir", meta_only(4)),
            ("/link", meta_only(4)),
            ("/none", meta_only(4)),
            ("/white", meta_only(4)),
            ("/wrong", meta_only(4).overlay(Redirect, "/nowhere")),
        ]))
        .lower(of([
            ("/dir", dir()),
            ("/link", link("white")),
            ("/white", gone()),
            ("/wrong", file("data")),
        ]))
        .lower(of([("/dir", file("data")), ("/white", file("data"))]))
        .fails(stat("/dir"), Errno::EIO)
        .fails(stat("/link"), Errno::EIO)
        .fails(stat("/none"), Errno::EIO)
        .fails(stat("/white"), Errno::EIO)
        .fails(stat("/wrong"), Errno::EIO)
        .fails(rm("/none"), Errno::EIO)
        .run();
}

#[test]
fn r174_metacopy_in_the_bottom_is_eio() {
    metacopy()
        .lower(of([("/f", meta_only(4))]))
        .fails(stat("/f"), Errno::EIO)
        .fails(create("/f", ""), Errno::EIO)
        .run();
}

#[test]
fn r176_r259_the_size_is_the_metadatas_the_blocks_are_the_datas() {
    metacopy()
        .same_filesystem_only()
        .upper(of([
            ("/short", meta_only(2)),
            ("/long", meta_only(1 << 20)),
        ]))
        .lower(of([
            ("/short", file("longer")),
            ("/long", file("data")),
            ("/big", NodeSpec::pieces(vec![Piece::Fill(b'x', 40_000)])),
            ("/mid", meta_only(5)),
        ]))
        .lower(of([(
            "/mid",
            NodeSpec::pieces(vec![Piece::Fill(b'x', 20_000)]),
        )]))
        .meta("/short", |m| assert_eq!(m.size, 2))
        .reads("/short", "longer")
        .meta("/long", |m| assert_eq!((m.size, m.blocks), (1 << 20, 8)))
        .ok(chmod("/big", 0o600))
        .meta("/big", |m| assert_eq!((m.size, m.blocks), (40_000, 80)))
        .meta("/mid", |m| assert_eq!((m.size, m.blocks), (5, 40)))
        // Brought as far as the lower's size says.
        .ok(open("/short", wr()))
        .ok(open("/long", wr()))
        .ok(open("/mid", wr()))
        .look(|s| {
            assert_eq!(s.content("/short"), b"longer");
            assert_eq!(s.up("/long").meta.size, 1 << 20);
            assert_eq!(s.content("/mid"), b"xxxxx");
        })
        .run();
}

#[test]
fn r088_r178_mkdir_in_a_merged_directory_writes_opaque() {
    metacopy()
        .lower(of([("/d/f", file(""))]))
        .ok(mkdir("/d/new"))
        .look(|s| assert_eq!(s.attr("/d/new", OverlayAttr::Opaque), Some(&b"y"[..])))
        .run();
}
