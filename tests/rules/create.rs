//! Section 7: create, mkdir, mknod, symlink, unnamed files.

use layerstack::{Errno, FileType, OpenOptions, OverlayAttr, SetAttr};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;

/// An ACL value: version 2, then entries of tag, permissions and id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

const NO_ID: u32 = u32::MAX;

#[test]
fn r112_creating_copies_up_the_parents_and_nothing_in_them() {
    rule()
        .lower(of([("/a/b/c", dir().mode(0o700).owner(1, 2)), ("/a/b/f", file(""))]))
        .ok(create("/a/b/c/new", "x"))
        .upper_is(&["d /a", "d /a/b", "d /a/b/c", "- /a/b/c/new"])
        .meta("/a/b/c", |m| assert_eq!((m.mode, m.uid, m.gid), (0o700, 1, 2)))
        .run();
}

#[test]
fn r113_a_visible_name_is_eexist_and_copies_nothing() {
    rule()
        .lower(of([("/d/f", file("")), ("/d/l", link("nowhere")), ("/d/e", dir())]))
        .fails(create("/d/f", "x"), Errno::EEXIST)
        .fails(create("/d/l", "x"), Errno::EEXIST)
        .fails(mkdir("/d/e"), Errno::EEXIST)
        .fails(symlink("x", "/d/l"), Errno::EEXIST)
        .fails(mknod("/d/f", FileType::Fifo, 0, 0), Errno::EEXIST)
        .upper_empty()
        .run();
}

#[test]
fn r114_without_a_whiteout_it_is_made_in_place() {
    rule()
        .lower(layer())
        .ok(create("/f", "data"))
        .ok(mkdir("/d"))
        .ok(symlink("target", "/l"))
        .ok(mknod("/p", FileType::Fifo, 0, 0))
        .ok(mknod("/s", FileType::Socket, 0, 0))
        .ok(mknod("/c", FileType::CharDevice, 1, 3))
        .upper_is(&["c /c", "d /d", "- /f", "l /l", "p /p", "s /s"])
        .reads("/f", "data")
        .run();
}

#[test]
fn r115_over_a_whiteout_the_whiteout_is_replaced() {
    rule()
        .lower(of([("/f", file("old")), ("/d/x", file("old")), ("/l", file("old"))]))
        .upper(of([("/f", gone()), ("/d", gone()), ("/l", gone())]))
        .ok(create("/f", "new"))
        .ok(mkdir("/d"))
        .ok(symlink("t", "/l"))
        .upper_is(&["d /d", "- /f", "l /l"])
        .reads("/f", "new")
        .lists("/d", &[])
        .remount()
        .tree_is(&["d /d", "- /f", "l /l"])
        .run();
}

/// Root may not show the caller's id, but the group of a set-gid parent is seen.
#[test]
fn r116_a_set_gid_parent_gives_its_group() {
    let lower = || of([("/d", dir().mode(0o2755).owner(3, 44)), ("/d/f", file("")), ("/d/e", dir())]);
    rule()
        .lower(lower())
        .ok(create("/d/new", ""))
        .ok(mkdir("/d/sub"))
        .meta("/d/new", |m| assert_eq!((m.gid, m.mode & 0o2000), (44, 0)))
        .meta("/d/sub", |m| assert_eq!((m.gid, m.mode & 0o2000), (44, 0o2000)))
        .ok(rm("/d/f"))
        .ok(rmdir("/d/e"))
        .ok(create("/d/f", ""))
        .ok(mkdir("/d/e"))
        .meta("/d/f", |m| assert_eq!((m.gid, m.mode & 0o2000), (44, 0)))
        .meta("/d/e", |m| assert_eq!((m.gid, m.mode & 0o2000), (44, 0o2000)))
        .run();
}

#[test]
fn r117_a_default_acl_of_a_lower_parent_is_inherited_with_and_without_a_whiteout() {
    let default = acl(&[(1, 7, NO_ID), (2, 7, 55), (4, 5, NO_ID), (16, 7, NO_ID), (32, 0, NO_ID)]);
    let parent = dir().xattr("system.posix_acl_default", default);
    rule()
        .lower(of([("/d", parent), ("/d/f", file(""))]))
        .ok(create("/d/new", ""))
        .ok(rm("/d/f"))
        .ok(create("/d/f", ""))
        .xattrs("/d/new", &["system.posix_acl_access"])
        .xattrs("/d/f", &["system.posix_acl_access"])
        .meta("/d/new", |m| assert_eq!(m.mode, 0o640))
        .meta("/d/f", |m| assert_eq!(m.mode, 0o640))
        .ok(mkdir("/d/sub"))
        .xattrs("/d/sub", &["system.posix_acl_access", "system.posix_acl_default"])
        .run();
}

#[test]
fn r117_the_umask_takes_bits_away() {
    rule()
        .lower(of([("/w", file(""))]))
        .ok(open("/f", wr().create(true).mode(0o666)))
        .ok(rm("/w"))
        .ok(open("/w", wr().create(true).mode(0o666)))
        .meta("/f", |m| assert_eq!(m.mode, 0o644))
        .meta("/w", |m| assert_eq!(m.mode, 0o644))
        .run();
}

#[test]
fn r119_an_unnamed_file_copies_the_directory_up_and_gets_its_name_later() {
    let unnamed = OpenOptions::new().read(true).write(true).tmpfile(true).mode(0o600);
    rule()
        .lower(of([("/d/f", file(""))]))
        .ok(hold(0, "/d", unnamed))
        .upper_is(&["d /d"])
        .ok(hwrite(0, "data"))
        .lists("/d", &["f"])
        .ok(layerstack::Op::HandleLink {
            slot: 0,
            to: "/d/named".into(),
        })
        .reads("/d/named", "data")
        .upper_is(&["d /d", "- /d/named"])
        .run();
}

#[test]
fn r120_new_objects_have_no_origin_and_leave_the_parent_pure() {
    rule()
        .lower(of([("/d/f", file("")), ("/d/e", dir())]))
        .ok(rm("/d/f"))
        .ok(create("/d/f", ""))
        .ok(create("/d/new", ""))
        .ok(mkdir("/d/sub"))
        .look(|s| {
            for path in ["/d/f", "/d/new", "/d/sub"] {
                assert_eq!(s.attr(path, OverlayAttr::Origin), None, "{path}");
            }
            assert_eq!(s.attr("/d", OverlayAttr::Impure), None);
        })
        .run();
}

#[test]
fn r121_the_parents_times_change_as_on_any_filesystem() {
    both([of([]), of([("/d", dir()), ("/d/f", file(""))])], |live: &Live| {
        let before = live.overlay.metadata("/d").unwrap();
        live.overlay.write("/d/new", "x").unwrap();
        let after = live.overlay.metadata("/d").unwrap();
        assert!(after.mtime > before.mtime && after.ctime > before.ctime);
        let old = std::fs::metadata(live.mount.join("d")).unwrap();
        std::fs::write(live.mount.join("d/new"), "x").unwrap();
        let new = std::fs::metadata(live.mount.join("d")).unwrap();
        assert!(new.modified().unwrap() > old.modified().unwrap(), "the kernel");
    });
}

/// The mode of a made object is what was asked for, whatever the parent's.
#[test]
fn r116_attributes_of_the_parent_are_not_inherited() {
    rule()
        .lower(of([("/d", dir().mode(0o700))]))
        .ok(create("/d/f", ""))
        .ok(chmod("/d/f", 0o604))
        .ok(set("/d/f", SetAttr::owner(Some(9), Some(9))))
        .meta("/d/f", |m| assert_eq!((m.mode, m.uid, m.gid), (0o604, 9, 9)))
        .run();
}
