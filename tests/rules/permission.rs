//! Section 20: what callers may do. Each case runs as a user without capabilities, in group 100 and
//! 27, unless it says otherwise.
//!
//! One room: a flat list of short cases.

use layerstack::{
    AccessMode, CapabilitySet, Credentials, Errno, FileType, Op, OpenOptions, RenameFlags, SetAttr,
    SetTime,
};

use crate::ops::*;
use crate::rig::rule;

const EACCES: Errno = Errno::EACCES;
const EPERM: Errno = Errno::EPERM;

fn alice() -> Credentials {
    Credentials::user(1000, 100).groups([27])
}

fn with(capabilities: CapabilitySet) -> Credentials {
    alice().capabilities(capabilities)
}

/// The operation as alice.
fn a(op: Op) -> Op {
    op.run_as(&alice())
}

fn access(path: &str, mode: AccessMode) -> Op {
    Op::Access {
        path: path.into(),
        mode,
    }
}

/// An access list: the owner's entry, those between, that for others.
fn acl(between: &[(u16, u16, u32)], other: u16) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    let all = [&[(1, 7, u32::MAX)], between, &[(0x20, other, u32::MAX)]].concat();
    for (tag, perm, id) in all {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

#[test]
fn r286_every_directory_on_the_way_must_be_searchable() {
    rule()
        .lower(of([
            ("/no", dir().mode(0o766)),
            ("/no/d", dir().mode(0o777)),
            ("/no/d/f", file("x")),
            ("/yes", dir().mode(0o711)),
            ("/yes/f", file("x")),
            ("/link", link("no/d/f")),
        ]))
        .fails(a(stat("/no/d")), EACCES)
        .fails(a(stat("/no/absent")), EACCES)
        .fails(a(stat("/no/d/f")), EACCES)
        .fails(a(cat("/link")), EACCES)
        .fails(a(cat("/no/../yes/f")), EACCES)
        .fails(a(ls("/yes")), EACCES)
        .ok(a(ls("/no")))
        .ok(a(stat("/yes/f")))
        .ok(a(stat("/no")))
        .ok(cat("/link"))
        .ok(cat("/link").run_as(&with(CapabilitySet::DAC_READ_SEARCH)))
        .upper_empty()
        .run();
}

#[test]
fn r286_opening_asks_for_what_is_to_be_done() {
    rule()
        .lower(of([
            ("/private", file("x").mode(0o600)),
            ("/public", file("x").mode(0o644)),
            ("/group", file("x").mode(0o660).owner(0, 27)),
            ("/drop", file("x").mode(0o622)),
        ]))
        .fails(a(cat("/private")), EACCES)
        .fails(a(open("/private", wr())), EACCES)
        .fails(a(open("/public", wr())), EACCES)
        .fails(a(open("/public", rd().truncate(true))), EACCES)
        .fails(a(open("/public", OpenOptions::new().append(true))), EACCES)
        .fails(a(cat("/drop")), EACCES)
        .fails(a(set_len("/public", 0)), EACCES)
        .fails(
            a(Op::Copy {
                from: "/private".into(),
                to: "/public".into(),
            }),
            EACCES,
        )
        .upper_empty()
        .ok(a(cat("/public")))
        .ok(a(put("/group", "y")))
        .ok(a(put("/drop", "y")))
        .ok(cat("/private").run_as(&with(CapabilitySet::DAC_READ_SEARCH)))
        .ok(put("/private", "y").run_as(&with(CapabilitySet::DAC_OVERRIDE)))
        .run();
}

#[test]
fn r286_access_lists_decide() {
    let list = |entries: &[(u16, u16, u32)], other| acl(entries, other);
    let attr = "system.posix_acl_access";
    let group_obj = (4, 0, u32::MAX);
    let mask = |perm| (0x10, perm, u32::MAX);
    rule()
        .lower(of([
            // The user himself, cut by the mask.
            (
                "/user",
                file("x")
                    .mode(0o740)
                    .xattr(attr, list(&[(2, 6, 1000), group_obj, mask(4)], 0)),
            ),
            // A group of his that grants, though another does not.
            (
                "/group",
                file("x").mode(0o760).xattr(
                    attr,
                    list(&[group_obj, (8, 0, 27), (8, 6, 100), mask(6)], 0),
                ),
            ),
            // One that does not grant keeps him from what others get.
            (
                "/denied",
                file("x")
                    .mode(0o777)
                    .xattr(attr, list(&[group_obj, (8, 0, 27), mask(7)], 7)),
            ),
            (
                "/others",
                file("x")
                    .mode(0o704)
                    .xattr(attr, list(&[(2, 0, 1), group_obj, mask(0)], 4)),
            ),
        ]))
        .ok(a(cat("/user")))
        .fails(a(open("/user", wr())), EACCES)
        .ok(a(open("/group", wr())))
        .fails(a(cat("/denied")), EACCES)
        .ok(a(cat("/others")))
        .run();
}

#[test]
fn r286_r213_creating_needs_a_writable_directory() {
    let r = rule().lower(of([
        ("/d", dir().mode(0o755)),
        ("/d/f", file("x").mode(0o666)),
        ("/noexec", dir().mode(0o776)),
        ("/open", dir().mode(0o777)),
    ]));
    let refused = [
        create("/d/new", ""),
        mkdir("/d/new"),
        symlink("t", "/d/new"),
        mknod("/d/new", FileType::Fifo, 0, 0),
        ln("/d/f", "/d/new"),
        open("/d", wr().tmpfile(true)),
        mkdir("/noexec/new"),
        rm("/d/f"),
        mv("/d/f", "/open/f"),
        rmdir("/d/f"),
    ];
    refused
        .into_iter()
        .fold(r, |r, op| r.fails(a(op), EACCES))
        // What is there already says so first.
        .fails(a(mkdir("/d/f")), Errno::EEXIST)
        .upper_empty()
        .ok(a(mkdir("/open/new")))
        .ok(a(open("/open", wr().tmpfile(true))))
        .ok(create("/d/new", "").run_as(&with(CapabilitySet::DAC_OVERRIDE)))
        .run();
}

#[test]
fn r286_devices_need_a_capability() {
    rule()
        .lower(of([("/d", dir().mode(0o777))]))
        .fails(a(mknod("/d/c", FileType::CharDevice, 1, 3)), EPERM)
        .fails(a(mknod("/d/b", FileType::BlockDevice, 0, 0)), EPERM)
        .fails(a(mknod("/d/w", FileType::CharDevice, 0, 0)), EPERM)
        .ok(a(mknod("/d/p", FileType::Fifo, 0, 0)))
        .ok(mknod("/d/c", FileType::CharDevice, 1, 3).run_as(&with(CapabilitySet::MKNOD)))
        .upper_is(&["d /d", "c /d/c", "p /d/p"])
        .run();
}

#[test]
fn r286_in_a_sticky_directory_names_are_their_owners() {
    rule()
        .lower(of([
            ("/s", dir().mode(0o1777)),
            ("/s/other", file("x").mode(0o666)),
            ("/s/mine", file("x").owner(1000, 100)),
            ("/s/dir", dir().mode(0o777)),
            ("/own", dir().mode(0o1777).owner(1000, 100)),
            ("/own/other", file("x")),
        ]))
        .fails(a(rm("/s/other")), EPERM)
        .fails(a(rmdir("/s/dir")), EPERM)
        .fails(a(mv("/s/other", "/s/new")), EPERM)
        .fails(a(mv("/s/mine", "/s/other")), EPERM)
        .fails(a(swap("/s/mine", "/s/other")), EPERM)
        .upper_empty()
        .ok(a(put("/s/other", "y")))
        .ok(a(mv("/s/mine", "/s/mine2")))
        .ok(a(rm("/s/mine2")))
        .ok(a(rm("/own/other")))
        .ok(rm("/s/other").run_as(&with(CapabilitySet::FOWNER)))
        .run();
}

#[test]
fn r286_moving_a_directory_writes_to_it() {
    rule()
        .upper(of([
            ("/a", dir().mode(0o777)),
            ("/a/closed", dir().mode(0o755)),
            ("/a/open", dir().mode(0o777)),
            ("/b", dir().mode(0o777)),
        ]))
        .lower(layer())
        .fails(a(mv("/a/closed", "/b/x")), EACCES)
        .fails(a(swap("/a/open", "/b/x")), Errno::ENOENT)
        .ok(a(mv("/a/closed", "/a/other")))
        .ok(a(mv("/a/open", "/b/open")))
        .fails(a(swap("/b/open", "/a/other")), EACCES)
        .run();
}

#[test]
fn r286_the_type_is_judged_after_the_rights() {
    rule()
        .lower(of([
            ("/d", dir().mode(0o755)),
            ("/d/d", dir()),
            ("/d/f", file("x")),
            ("/open", dir().mode(0o777)),
            ("/open/f", file("x")),
            ("/open/d", dir()),
        ]))
        .fails(a(rm("/d/d")), EACCES)
        .fails(a(rm("/d/f/")), Errno::ENOTDIR)
        .fails(a(rm("/d/d/")), Errno::EISDIR)
        .fails(a(rmdir("/d/f")), EACCES)
        .fails(a(rm("/open/d")), Errno::EISDIR)
        .fails(a(rmdir("/open/f")), Errno::ENOTDIR)
        .fails(a(mv("/open/f", "/d/d")), EACCES)
        .fails(a(mv("/open/f", "/open/d")), Errno::EISDIR)
        .fails(a(mv_with("/d/f", "/x", RenameFlags::WHITEOUT)), EACCES)
        .upper_empty()
        .run();
}

#[test]
fn r286_attributes_are_the_owners_to_change() {
    let now = SetAttr::times(SetTime::Now, SetTime::Now);
    let one = SetAttr::times(SetTime::Now, SetTime::Omit);
    let earlier = SetAttr::times(at(1, 0), at(1, 0));
    rule()
        .lower(of([
            ("/other", file("x").mode(0o644)),
            ("/shared", file("x").mode(0o666)),
            ("/mine", file("x").mode(0o644).owner(1000, 100)),
        ]))
        .fails(a(chmod("/other", 0o777)), EPERM)
        .fails(a(set("/other", SetAttr::owner(Some(1000), None))), EPERM)
        .fails(a(set("/other", earlier.clone())), EPERM)
        .fails(a(set("/other", now.clone())), EACCES)
        .fails(a(set("/shared", one)), EPERM)
        .fails(a(set("/mine", SetAttr::owner(Some(1), None))), EPERM)
        .fails(a(set("/mine", SetAttr::owner(None, Some(5)))), EPERM)
        .upper_empty()
        .ok(a(set("/shared", now)))
        .ok(a(set("/mine", earlier)))
        .ok(a(set("/mine", SetAttr::owner(Some(1000), Some(27)))))
        .meta("/mine", |m| assert_eq!((m.uid, m.gid), (1000, 27)))
        .ok(a(chmod("/mine", 0o2711)))
        .meta("/mine", |m| assert_eq!(m.mode, 0o2711))
        .ok(chmod("/other", 0o777).run_as(&with(CapabilitySet::FOWNER)))
        .ok(chown("/other", 1000, 100).run_as(&with(CapabilitySet::CHOWN)))
        .run();
}

#[test]
fn r286_set_group_id_is_for_groups_one_is_in() {
    rule()
        .lower(of([
            ("/f", file("x").mode(0o755).owner(1000, 5)),
            ("/d", dir().mode(0o755).owner(1000, 5)),
            ("/g", file("x").mode(0o6755).owner(1000, 27)),
            ("/data", file("x").mode(0o2644).owner(1000, 5)),
        ]))
        .ok(a(chmod("/f", 0o2755)))
        .meta("/f", |m| assert_eq!(m.mode, 0o755))
        .ok(a(chmod("/d", 0o2755)))
        .meta("/d", |m| assert_eq!(m.mode, 0o755))
        .ok(chmod("/d", 0o2755).run_as(&with(CapabilitySet::FSETID)))
        .meta("/d", |m| assert_eq!(m.mode, 0o2755))
        .ok(a(set("/g", SetAttr::owner(None, Some(100)))))
        .meta("/g", |m| assert_eq!((m.gid, m.mode), (100, 0o755)))
        .ok(a(set("/data", SetAttr::owner(None, Some(5)))))
        .meta("/data", |m| assert_eq!(m.mode, 0o644))
        .run();
}

#[test]
fn r239_writing_takes_set_id_bits_away() {
    let r = rule().lower(of([
        ("/w", file("x").mode(0o6777)),
        ("/t", file("x").mode(0o6777)),
        ("/o", file("x").mode(0o6777)),
        ("/data", file("x").mode(0o2666).owner(0, 27)),
        ("/kept", file("x").mode(0o6777)),
        ("/read", file("x").mode(0o6777)),
    ]));
    let mode = |path: &'static str, mode| (path, mode);
    let after = [
        mode("/w", 0o777),
        mode("/t", 0o777),
        mode("/o", 0o777),
        mode("/data", 0o2666),
        mode("/kept", 0o6777),
        mode("/read", 0o6777),
    ];
    let r = r
        .ok(a(put("/w", "y")))
        .ok(a(set_len("/t", 1)))
        .ok(a(open("/o", rd().truncate(true))))
        .ok(a(put("/data", "y")))
        .ok(put("/kept", "y").run_as(&with(CapabilitySet::FSETID)))
        .ok(a(open("/read", wr())));
    after
        .into_iter()
        .fold(r, |r, (path, mode)| {
            r.meta(path, move |m| assert_eq!(m.mode, mode, "{path}"))
        })
        .run();
}

#[test]
fn r286_attributes_by_name() {
    rule()
        .lower(of([
            (
                "/other",
                file("x")
                    .mode(0o644)
                    .xattr("user.a", "1")
                    .xattr("trusted.t", "1"),
            ),
            ("/private", file("x").mode(0o600).xattr("user.a", "1")),
            (
                "/mine",
                file("x")
                    .mode(0o600)
                    .owner(1000, 100)
                    .xattr("trusted.t", "1"),
            ),
            ("/shared", file("x").mode(0o666)),
            ("/sticky", dir().mode(0o1777)),
        ]))
        .bytes(a(get_xattr("/other", "user.a")), "1")
        .fails(a(get_xattr("/private", "user.a")), EACCES)
        .fails(a(get_xattr("/mine", "trusted.t")), Errno::ENODATA)
        .fails(a(set_xattr("/other", "user.a", "2")), EACCES)
        .fails(a(remove_xattr("/other", "user.a")), EACCES)
        .fails(a(set_xattr("/mine", "trusted.t", "2")), EPERM)
        .fails(a(remove_xattr("/mine", "trusted.t")), EPERM)
        .fails(a(set_xattr("/mine", "security.s", "2")), EPERM)
        .fails(a(set_xattr("/sticky", "user.a", "2")), EPERM)
        .upper_empty()
        .ok(a(set_xattr("/mine", "user.a", "2")))
        .ok(a(set_xattr("/shared", "user.a", "2")))
        .ok(set_xattr("/mine", "trusted.u", "2").run_as(&with(CapabilitySet::SYS_ADMIN)))
        .ok(set_xattr("/mine", "security.s", "2").run_as(&with(CapabilitySet::SYS_ADMIN)))
        .run();
}

#[test]
fn r281_trusted_attributes_are_listed_to_who_may_read_them() {
    let names = |want: &'static [&'static str]| {
        move |out: &layerstack::Outcome| match out {
            layerstack::Outcome::Names(names) => {
                let text = |n: &layerstack::XattrName| n.as_bytes().escape_ascii().to_string();
                let got: Vec<_> = names.iter().map(text).collect();
                assert_eq!(got, want);
            }
            other => panic!("{other:?}"),
        }
    };
    let node = file("x").xattr("trusted.t", "1").xattr("user.a", "1");
    let admin = with(CapabilitySet::SYS_ADMIN);
    rule()
        .lower(of([("/f", node.mode(0o600))]))
        .gets(a(list_xattrs("/f")), names(&["user.a"]))
        .gets(
            list_xattrs("/f").run_as(&admin),
            names(&["trusted.t", "user.a"]),
        )
        .run();
}

#[test]
fn r290_an_access_list_set_by_who_is_not_in_the_group_clears_set_group_id() {
    let list = acl(&[(2, 7, 1), (4, 5, u32::MAX), (0x10, 7, u32::MAX)], 5);
    let set_list = |path: &str| Op::SetXattr {
        path: path.into(),
        follow: false,
        name: attr("system.posix_acl_access"),
        value: list.clone(),
        mode: layerstack::backend::XattrMode::Set,
    };
    let clear = |path| remove_xattr(path, "system.posix_acl_access");
    rule()
        .lower(of([
            ("/out", file("x").mode(0o2755).owner(1000, 5)),
            ("/in", file("x").mode(0o2755).owner(1000, 27)),
            ("/dir", dir().mode(0o2755).owner(1000, 5)),
            ("/none", file("x").mode(0o2755).owner(1000, 5)),
            ("/other", file("x").mode(0o2777)),
        ]))
        .fails(a(set_list("/other")), EPERM)
        .fails(a(clear("/other")), EPERM)
        .upper_empty()
        .ok(a(set_list("/out")))
        .ok(a(set_list("/in")))
        .ok(a(set_list("/dir")))
        .ok(a(clear("/none")))
        .meta("/out", |m| assert_eq!(m.mode, 0o775))
        .meta("/in", |m| assert_eq!(m.mode, 0o2775))
        .meta("/dir", |m| assert_eq!(m.mode, 0o775))
        .meta("/none", |m| assert_eq!(m.mode, 0o755))
        .run();
}

#[test]
fn r286_hard_links_to_what_one_cannot_change_are_refused() {
    rule()
        .lower(of([
            ("/d", dir().mode(0o777)),
            ("/d/public", file("x").mode(0o644)),
            ("/d/shared", file("x").mode(0o666)),
            ("/d/suid", file("x").mode(0o4777)),
            ("/d/mine", file("x").mode(0o4700).owner(1000, 100)),
            ("/d/l", link("t")),
        ]))
        .fails(a(ln("/d/public", "/d/new")), EPERM)
        .fails(a(ln("/d/suid", "/d/new")), EPERM)
        .fails(a(ln("/d/l", "/d/new")), EPERM)
        .upper_empty()
        .ok(a(ln("/d/shared", "/d/new1")))
        .ok(a(ln("/d/mine", "/d/new2")))
        .ok(ln("/d/suid", "/d/new3").run_as(&with(CapabilitySet::FOWNER)))
        .run();
}

#[test]
fn r210_r286_access_asks_and_copies_nothing() {
    let every = AccessMode::new(true, true, true);
    rule()
        .lower(of([
            ("/f", file("x").mode(0o644)),
            ("/run", file("x").mode(0o711)),
            ("/d", dir().mode(0o700)),
            ("/mine", file("x").mode(0o600).owner(1000, 100)),
        ]))
        .ok(a(access("/f", AccessMode::READ)))
        .fails(a(access("/f", AccessMode::WRITE)), EACCES)
        .fails(a(access("/f", AccessMode::EXECUTE)), EACCES)
        .ok(a(access("/run", AccessMode::EXECUTE)))
        .fails(a(access("/d", AccessMode::EXECUTE)), EACCES)
        .ok(a(access("/d", AccessMode::EXISTS)))
        .ok(a(access("/mine", AccessMode::WRITE)))
        .fails(a(access("/absent", AccessMode::EXISTS)), Errno::ENOENT)
        .fails(access("/f", every), EACCES)
        .ok(access("/run", every))
        .ok(access("/d", every))
        .upper_empty()
        .run();
}

#[test]
fn r215_writing_to_a_read_only_union_is_erofs_before_rights_are_asked() {
    rule()
        .read_only()
        .lower(of([("/f", file("x").mode(0o644))]))
        .lower(layer())
        .fails(a(open("/f", wr())), Errno::EROFS)
        .fails(a(access("/f", AccessMode::WRITE)), Errno::EROFS)
        .fails(a(chmod("/f", 0o600)), Errno::EROFS)
        .fails(a(mkdir("/d")), Errno::EROFS)
        .run();
}
