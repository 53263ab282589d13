//! Section 14: what copies up, and what does not. "Nothing" is shown by an upper layer that stays
//! empty.

use layerstack::backend::{AllocateMode, XattrMode};
use layerstack::testing::{NodeKind, NodeSpec};
use layerstack::{Errno, FileType, Op, OpenOptions, SetAttr, SetTime, Timestamp};

use crate::ops::*;
use crate::rig::{Rule, rule};

/// One lower directory with a file of 10 bytes.
fn one_file() -> Rule {
    rule().lower(of([("/d/f", file("0123456789").xattr("user.a", "1"))]))
}

const COPIED: &[&str] = &["d /d", "- /d/f"];

#[test]
fn r194_opening_to_write_copies_up_though_nothing_is_written() {
    one_file()
        .ok(open("/d/f", wr()))
        .upper_is(COPIED)
        .reads("/d/f", "0123456789")
        .run();
    let both = rd().write(true);
    one_file().ok(open("/d/f", both)).upper_is(COPIED).run();
    let append = OpenOptions::new().append(true);
    one_file().ok(open("/d/f", append)).upper_is(COPIED).run();
}

#[test]
fn r195_opening_to_truncate_copies_no_data() {
    for options in [wr().truncate(true), rd().truncate(true)] {
        one_file()
            .ok(open("/d/f", options))
            .upper_is(COPIED)
            .look(|s| assert_eq!(s.up("/d/f").meta.size, 0))
            .xattrs("/d/f", &["user.a"])
            .run();
    }
}

#[test]
fn r196_opening_to_read_copies_nothing_whatever_else_is_asked() {
    one_file()
        .ok(open("/d/f", rd()))
        .ok(open("/d/f", rd().create(true)))
        .ok(open("/d/f", rd().no_follow(true)))
        .fails(open("/d/f", rd().create_new(true)), Errno::EEXIST)
        .upper_empty()
        .run();
}

/// Deviation OPEN-1: the crate opens no such file, and so copies nothing.
#[test]
fn r197_opening_a_special_file_copies_nothing() {
    let fifo = NodeSpec::new(NodeKind::Fifo);
    let zero = NodeSpec::new(NodeKind::CharDevice(layerstack::DeviceId::new(1, 5)));
    rule()
        .lower(of([
            ("/d/p", fifo),
            ("/d/c", zero),
            ("/d/s", NodeSpec::new(NodeKind::Socket)),
        ]))
        .fails(open("/d/p", wr()), Errno::ENXIO)
        .fails(open("/d/c", wr()), Errno::ENXIO)
        .fails(open("/d/s", wr()), Errno::ENXIO)
        .upper_empty()
        .run();
}

#[test]
fn r198_any_change_of_attributes_copies_up_even_to_the_same_values() {
    let same_mode = SetAttr::mode(0o644);
    let nobody = SetAttr::owner(Some(0), None);
    let time = SetAttr::times(SetTime::Omit, at(1_000_000_000, 123_456_789));
    for attr in [same_mode, nobody, time] {
        one_file()
            .ok(Op::SetAttr {
                path: "/d/f".into(),
                follow: true,
                attr: attr.clone(),
            })
            .upper_is(COPIED)
            .run();
        one_file()
            .ok(hold(0, "/d/f", rd()))
            .ok(Op::HandleSetAttr { slot: 0, attr })
            .upper_is(COPIED)
            .run();
    }
    rule()
        .lower(of([("/l", link("t"))]))
        .ok(chown("/l", 1, 1))
        .upper_is(&["l /l"])
        .run();
}

#[test]
fn r199_times_that_are_both_omitted_change_nothing() {
    one_file()
        .ok(set("/d/f", SetAttr::times(SetTime::Omit, SetTime::Omit)))
        .upper_empty()
        .run();
}

#[test]
fn r200_truncating_copies_all_data_first() {
    one_file()
        .ok(set_len("/d/f", 4))
        .upper_is(COPIED)
        .reads("/d/f", "0123")
        .run();
    one_file()
        .ok(set_len("/d/f", 10))
        .upper_is(COPIED)
        .reads("/d/f", "0123456789")
        .run();
    one_file()
        .ok(set_len("/d/f", 0))
        .upper_is(COPIED)
        .reads("/d/f", "")
        .run();
}

#[test]
fn r201_setting_an_attribute_copies_up_before_it_is_judged() {
    let create = |name| set_xattr_mode("/d/f", name, "2", XattrMode::Create);
    let replace = |name| set_xattr_mode("/d/f", name, "2", XattrMode::Replace);
    one_file()
        .ok(set_xattr("/d/f", "user.b", "2"))
        .upper_is(COPIED)
        .run();
    one_file()
        .fails(create("user.a"), Errno::EEXIST)
        .upper_is(COPIED)
        .run();
    one_file()
        .fails(replace("user.b"), Errno::ENODATA)
        .upper_is(COPIED)
        .run();
    let nowhere = set_xattr("/d/f", "no_such_namespace.a", "1");
    one_file()
        .fails(nowhere, Errno::EOPNOTSUPP)
        .upper_is(COPIED)
        .run();
    one_file()
        .ok(replace("user.a"))
        .bytes(get_xattr("/d/f", "user.a"), "2")
        .run();
}

#[test]
fn r202_removing_an_attribute_copies_up_only_if_it_is_there() {
    one_file()
        .fails(remove_xattr("/d/f", "user.none"), Errno::ENODATA)
        .fails(
            remove_xattr("/d/f", "system.posix_acl_access"),
            Errno::ENODATA,
        )
        .upper_empty()
        .ok(remove_xattr("/d/f", "user.a"))
        .upper_is(COPIED)
        .xattrs("/d/f", &[])
        .run();
}

#[test]
fn r203_links_have_no_user_attributes() {
    rule()
        .lower(of([("/l", link("t"))]))
        .fails(set_xattr("/l", "user.a", "1"), Errno::EPERM)
        .upper_empty()
        .ok(set_xattr("/l", "trusted.a", "1"))
        .upper_is(&["l /l"])
        .bytes(get_xattr("/l", "trusted.a"), "1")
        .run();
}

fn minimal_acl() -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 7, 9),
        (4, 4, u32::MAX),
        (16, 7, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

#[test]
fn r204_setting_an_acl_copies_up() {
    let acl = |path: &str, name: &str| Op::SetXattr {
        path: path.into(),
        follow: true,
        name: attr(name),
        value: minimal_acl(),
        mode: XattrMode::Set,
    };
    one_file()
        .ok(acl("/d/f", "system.posix_acl_access"))
        .upper_is(COPIED)
        .meta("/d/f", |m| assert_eq!(m.mode, 0o670))
        .run();
    one_file()
        .fails(acl("/d/f", "system.posix_acl_default"), Errno::EACCES)
        .upper_empty()
        .ok(acl("/d", "system.posix_acl_default"))
        .upper_is(&["d /d"])
        .run();
}

#[test]
fn r206_link_and_rename_copy_the_source_up_and_exchange_the_target() {
    one_file()
        .ok(ln("/d/f", "/d/g"))
        .upper_is(&["d /d", "- /d/f", "- /d/g"])
        .run();
    one_file()
        .ok(mv("/d/f", "/d/g"))
        .upper_is(&["d /d", "w /d/f", "- /d/g"])
        .run();
    rule()
        .lower(of([("/a", file("a")), ("/b", file("b"))]))
        .ok(swap("/a", "/b"))
        .upper_is(&["- /a", "- /b"])
        .run();
}

#[test]
fn r207_removing_and_replacing_copy_the_parents_only() {
    one_file()
        .ok(rm("/d/f"))
        .upper_is(&["d /d", "w /d/f"])
        .run();
    let over = rule()
        .lower(of([("/d/f", file("x"))]))
        .upper(of([("/u", file("u"))]));
    over.ok(mv("/u", "/d/f"))
        .upper_is(&["d /d", "- /d/f"])
        .reads("/d/f", "u")
        .run();
}

#[test]
fn r208_creating_copies_the_directory_up() {
    for op in [
        create("/d/n", ""),
        mkdir("/d/n"),
        symlink("t", "/d/n"),
        mknod("/d/n", FileType::Fifo, 0, 0),
        mknod("/d/n", FileType::Socket, 0, 0),
        open("/d", wr().tmpfile(true)),
    ] {
        one_file()
            .ok(op)
            .look(|s| {
                assert!(s.upper.node("/d").is_some() && s.upper.node("/d/f").is_none());
            })
            .run();
    }
}

#[test]
fn r209_writes_find_the_copy_made_at_open() {
    one_file()
        .ok(hold(0, "/d/f", wr()))
        .upper_is(COPIED)
        .ok(hwrite(0, "abc"))
        .ok(Op::HandleAllocate {
            slot: 0,
            mode: AllocateMode::Allocate,
            offset: 0,
            len: 20,
        })
        .look(|s| assert_eq!(s.content("/d/f"), b"abc3456789\0\0\0\0\0\0\0\0\0\0"))
        .run();
}

#[test]
fn r209_ranges_are_taken_out_and_put_in() {
    let blocks = |letters: &str| -> String {
        let block = |letter: char| letter.to_string().repeat(4096);
        letters.chars().map(block).collect()
    };
    let change = |mode, offset, len| Op::Allocate {
        path: "/f".into(),
        mode,
        offset,
        len,
    };
    rule()
        .lower(of([("/f", NodeSpec::file(blocks("abcdef")))]))
        .ok(change(AllocateMode::CollapseRange, 4096, 8192))
        .reads("/f", blocks("adef"))
        .ok(change(AllocateMode::InsertRange, 0, 4096))
        .reads("/f", blocks("\0adef"))
        .fails(change(AllocateMode::CollapseRange, 0, 100), Errno::EINVAL)
        .fails(
            change(AllocateMode::InsertRange, 1 << 20, 4096),
            Errno::EINVAL,
        )
        .run();
}

#[test]
fn r210_looking_copies_nothing() {
    rule()
        .lower(of([
            ("/d/f", file("x").xattr("user.a", "1")),
            ("/l", link("d/f")),
        ]))
        .ok(stat("/d/f"))
        .ok(cat("/l"))
        .ok(ls("/d"))
        .bytes(read_link("/l"), "d/f")
        .bytes(get_xattr("/d/f", "user.a"), "1")
        .xattrs("/d/f", &["user.a"])
        .ok(Op::StatFs)
        .ok(Op::Sync)
        .ok(hold(0, "/d/f", rd()))
        .ok(Op::HandleSync { slot: 0 })
        .bytes(hread(0), "x")
        .upper_empty()
        .run();
}

#[test]
fn r213_refused_operations_copy_nothing() {
    rule()
        .lower(of([("/d/f", file("x")), ("/l", link("f"))]))
        .fails(set_xattr("/l", "user.a", "1"), Errno::EPERM)
        .fails(rm("/d"), Errno::EISDIR)
        .fails(rmdir("/d/f"), Errno::ENOTDIR)
        .fails(set_len("/d", 0), Errno::EISDIR)
        .fails(open("/d", wr()), Errno::EISDIR)
        .upper_empty()
        .run();
}

#[test]
fn r215_without_an_upper_changes_are_erofs() {
    let now = SetAttr::times(SetTime::Omit, SetTime::At(Timestamp::new(1, 0)));
    rule()
        .read_only()
        .lower(of([
            ("/d/f", file("x")),
            ("/c", NodeSpec::new(NodeKind::Fifo)),
        ]))
        .lower(layer())
        .fails(open("/d/f", wr()), Errno::EROFS)
        .fails(open("/d/f", rd().truncate(true)), Errno::EROFS)
        .fails(create("/d/n", ""), Errno::EROFS)
        .fails(mkdir("/d/n"), Errno::EROFS)
        .fails(mkdir("/d"), Errno::EEXIST)
        .fails(symlink("x", "/d/f"), Errno::EEXIST)
        .fails(rm("/d/f"), Errno::EROFS)
        .fails(rmdir("/d"), Errno::EROFS)
        .fails(mv("/d/f", "/g"), Errno::EROFS)
        .fails(ln("/d/f", "/g"), Errno::EROFS)
        .fails(chmod("/d/f", 0o600), Errno::EROFS)
        .fails(set("/d/f", now), Errno::EROFS)
        .fails(set_len("/d/f", 0), Errno::EROFS)
        .fails(set_xattr("/d/f", "user.a", "1"), Errno::EROFS)
        .reads("/d/f", "x")
        .run();
}
