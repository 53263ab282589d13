//! Owner, mode, times.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime, Timestamp};
use crate::op::Op;
use crate::testing::spec::NodeSpec;
use crate::testing::strategy::{AclEntry, acl_bytes};

/// Of given and new files and directories, all twelve bits.
pub fn modes_are_set(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put("/new", "1"));
    for path in ["/file", "/dir", "/dir/sub/deep", "/new"] {
        for mode in [0o7777, 0, 0o600] {
            fs.ok(chmod(path, mode));
            assert_eq!(fs.stat(path).mode, mode, "{path}");
        }
    }
    fs.reads("/file", "lower");
    fs.fails(chmod("/missing", 0), Errno::ENOENT);
}

/// Whatever is done below them.
pub fn modes_of_parents_stay(factory: &dyn Factory) {
    let tree = tree()
        .with("/p", NodeSpec::dir().mode(0o700).mtime(1, 1))
        .with("/p/q", NodeSpec::dir().mode(0o3711).mtime(2, 2))
        .with("/p/q/f", NodeSpec::file("1").mode(0o400));
    let mut fs = Fs::new(factory, &tree);
    fs.ok(chmod("/p/q/f", 0o777));
    fs.ok(put("/p/q/f", "2"));
    for (path, mode, secs) in [("/p", 0o700, 1), ("/p/q", 0o3711, 2)] {
        let meta = fs.stat(path);
        assert_eq!((meta.mode, meta.uid, meta.gid), (mode, 0, 0), "{path}");
        assert_eq!(meta.mtime.secs, secs, "{path}");
    }
    fs.ok(rm("/p/q/f"));
    assert_eq!((fs.stat("/p").mode, fs.stat("/p/q").mode), (0o700, 0o3711));
    assert_eq!(fs.stat("/p").mtime.secs, 1);
}

/// Owner, group, or both.
pub fn owners_are_set(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.lacks(fs.declared.ownership, "ownership") {
        return;
    }
    for path in ["/file", "/dir", "/link", "/dir/sub/deep"] {
        fs.ok(chown(path, 12, 34));
        fs.ok(set_attr(path, SetAttr::owner(None, Some(56))));
        fs.ok(set_attr(path, SetAttr::owner(Some(78), None)));
        let meta = fs.stat(path);
        assert_eq!((meta.uid, meta.gid), (78, 56), "{path}");
    }
    assert_eq!(fs.stat("/dir/inner").uid, 0);
}

/// Of files, and set-group-id only where the group may execute; directories keep theirs.
pub fn a_change_of_owner_drops_set_id_bits(factory: &dyn Factory) {
    let tree = tree()
        .with("/x", NodeSpec::file("1").mode(0o6755))
        .with("/n", NodeSpec::file("1").mode(0o6745))
        .with("/d", NodeSpec::dir().mode(0o6755));
    let mut fs = Fs::new(factory, &tree);
    if fs.lacks(fs.declared.ownership, "ownership") {
        return;
    }
    for (path, mode) in [("/x", 0o755), ("/n", 0o2745), ("/d", 0o6755)] {
        fs.ok(chown(path, 1, 1));
        assert_eq!(fs.stat(path).mode, mode, "{path}");
    }
}

/// To the nanosecond, before 1970 too; what is omitted stays.
pub fn times_are_exact(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let at = |secs, nanos| SetTime::At(Timestamp::new(secs, nanos));
    for path in ["/file", "/dir", "/dir/inner"] {
        for (secs, nanos) in [(1_234_567_890, 987_654_321), (-5, 7), (0, 0)] {
            fs.ok(set_attr(
                path,
                SetAttr::times(SetTime::Omit, at(secs, nanos)),
            ));
            let mtime = fs.stat(path).mtime;
            assert_eq!((mtime.secs, mtime.nanos), (secs, nanos), "{path}");
        }
        fs.ok(set_attr(path, SetAttr::times(at(3, 4), SetTime::Omit)));
        assert_eq!(fs.stat(path).mtime.secs, 0, "{path}");
        fs.ok(set_attr(path, SetAttr::times(SetTime::Omit, SetTime::Now)));
        assert!(fs.stat(path).mtime.secs > 1_600_000_000, "{path}");
    }
}

/// Their targets' stay, and the other way round.
pub fn symlinks_have_attributes_of_their_own(factory: &dyn Factory) {
    let link = NodeSpec::symlink("file").mtime(5, 6);
    let mut fs = Fs::new(factory, &usual().with("/link", link));
    let before = fs.stat("/file");
    let time = SetTime::At(Timestamp::new(77, 88));
    fs.ok(set_attr("/link", SetAttr::times(time, time)));
    let link = fs.stat("/link");
    assert_eq!((link.mtime.secs, link.mtime.nanos), (77, 88));
    assert_eq!(fs.stat("/file").mtime, before.mtime);
    let follow = SetAttr::times(SetTime::Omit, SetTime::At(Timestamp::new(1, 2)));
    fs.ok(Op::SetAttr {
        path: "/link".into(),
        follow: true,
        attr: follow,
    });
    assert_eq!(fs.stat("/file").mtime.secs, 1);
    assert_eq!(fs.stat("/link").mtime.secs, 77);
    assert_eq!(fs.bytes(readlink("/link")), b"file");
    if fs.lacks(fs.declared.ownership, "ownership") {
        return;
    }
    fs.ok(chown("/link", 5, 6));
    let (link, file) = (fs.stat("/link"), fs.stat("/file"));
    assert_eq!((link.uid, link.gid, link.mode), (5, 6, 0o777));
    assert_eq!((file.uid, file.gid), (0, 0));
}

/// `EOPNOTSUPP`; the target's is set if it is followed.
pub fn symlinks_have_no_mode(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(chmod("/link", 0o600), Errno::EOPNOTSUPP);
    assert_eq!(fs.stat("/file").mode, 0o640);
    let attr = SetAttr::mode(0o604);
    fs.ok(Op::SetAttr {
        path: "/link".into(),
        follow: true,
        attr,
    });
    assert_eq!(
        (fs.stat("/file").mode, fs.stat("/link").mode),
        (0o604, 0o777)
    );
}

/// And what is in them stays.
pub fn attributes_of_given_directories_are_set(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(chmod("/dir", 0o711));
    fs.ok(chmod("/", 0o700));
    fs.lists("/dir", &["inner", "sub"]);
    fs.reads("/dir/sub/deep", "deep");
    assert_eq!((fs.stat("/dir").mode, fs.stat("/").mode), (0o711, 0o700));
    fs.lists("/", &["dir", "dirlink", "empty", "file", "link"]);
}

/// And the mode them: the group bits of a mode are those of the mask.
pub fn access_lists_follow_the_mode(factory: &dyn Factory) {
    let named = [AclEntry {
        group: true,
        id: 9,
        perm: 5,
    }];
    let list = acl_bytes(0o654, &named);
    let file = NodeSpec::file("1")
        .mode(0o654)
        .xattr("system.posix_acl_access", &list);
    let mut fs = Fs::new(factory, &tree().with("/f", file));
    if fs.lacks(fs.declared.acls, "access lists") {
        return;
    }
    fs.ok(chmod("/f", 0o640));
    let now = fs.bytes(get_xattr("/f", "system.posix_acl_access"));
    let perms: Vec<u8> = now[4..].chunks(8).map(|entry| entry[2]).collect();
    assert_eq!(
        perms,
        [6, 5, 5, 4, 0],
        "owner, group, named group, mask, others"
    );
    fs.ok(remove_xattr("/f", "system.posix_acl_access"));
    assert_eq!(fs.stat("/f").mode, 0o640);
    fs.has_xattrs("/f", &[]);
}
