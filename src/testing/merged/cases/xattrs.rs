//! Extended attributes.

use super::Factory;
use super::fixture::*;
use crate::backend::XattrMode;
use crate::errno::Errno;
use crate::testing::spec::{NodeKind, NodeSpec};
use crate::testing::strategy::{AclEntry, acl_bytes};

/// On files and directories, given and new.
pub fn attributes_come_and_go(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put("/new", "1"));
    for path in ["/file", "/dir", "/dir/sub/deep", "/new"] {
        fs.has_xattrs(path, &[]);
        fs.fails(get_xattr(path, "user.a"), Errno::ENODATA);
        fs.fails(remove_xattr(path, "user.a"), Errno::ENODATA);
        fs.ok(set_xattr(path, "user.b", b"2", XattrMode::Set));
        fs.ok(set_xattr(path, "user.a", b"1", XattrMode::Set));
        fs.has_xattrs(path, &["user.a", "user.b"]);
        fs.ok(set_xattr(path, "user.a", b"", XattrMode::Set));
        assert_eq!(fs.bytes(get_xattr(path, "user.a")), b"");
        fs.ok(remove_xattr(path, "user.a"));
        fs.has_xattrs(path, &["user.b"]);
    }
    fs.reads("/file", "lower");
}

/// `EEXIST`, `ENODATA`.
pub fn create_and_replace_are_checked(factory: &dyn Factory) {
    let file = NodeSpec::file("1").xattr("user.a", "1");
    let mut fs = Fs::new(factory, &tree().with("/f", file));
    fs.fails(
        set_xattr("/f", "user.a", b"2", XattrMode::Create),
        Errno::EEXIST,
    );
    fs.fails(
        set_xattr("/f", "user.b", b"2", XattrMode::Replace),
        Errno::ENODATA,
    );
    assert_eq!(fs.bytes(get_xattr("/f", "user.a")), b"1");
    fs.ok(set_xattr("/f", "user.a", b"2", XattrMode::Replace));
    fs.ok(set_xattr("/f", "user.b", b"3", XattrMode::Create));
    assert_eq!(fs.bytes(get_xattr("/f", "user.a")), b"2");
}

/// Writing, renaming, linking and changing mode and owner keep them.
pub fn given_attributes_are_kept_by_changes(factory: &dyn Factory) {
    let file = NodeSpec::file("1").xattr("user.a", "1").xattr("user.b", "");
    let dir = NodeSpec::dir().xattr("user.d", "2");
    let mut fs = Fs::new(factory, &tree().with("/d", dir).with("/d/f", file));
    fs.ok(put("/d/f", "2"));
    fs.ok(chmod("/d/f", 0o600));
    fs.ok(link("/d/f", "/g"));
    fs.ok(mv("/d/f", "/d/h"));
    for path in ["/g", "/d/h"] {
        fs.has_xattrs(path, &["user.a", "user.b"]);
        assert_eq!(fs.bytes(get_xattr(path, "user.a")), b"1");
    }
    fs.has_xattrs("/d", &["user.d"]);
    fs.ok(remove_xattr("/d", "user.d"));
    fs.has_xattrs("/d", &[]);
}

/// `EPERM` to set, `ENODATA` to get on anything else.
pub fn user_attributes_need_files_or_directories(factory: &dyn Factory) {
    let tree = usual().with("/fifo", NodeSpec::new(NodeKind::Fifo));
    let mut fs = Fs::new(factory, &tree);
    for path in ["/link", "/fifo"] {
        fs.fails(
            set_xattr(path, "user.a", b"1", XattrMode::Set),
            Errno::EPERM,
        );
        fs.fails(get_xattr(path, "user.a"), Errno::ENODATA);
        fs.fails(remove_xattr(path, "user.a"), Errno::EPERM);
    }
    if fs.lacks(fs.declared.trusted_xattrs, "trusted attributes") {
        return;
    }
    fs.ok(set_xattr("/link", "trusted.a", b"1", XattrMode::Set));
    fs.has_xattrs("/link", &["trusted.a"]);
    fs.has_xattrs("/file", &[]);
}

/// `EOPNOTSUPP`; a known one with nothing behind it is `EINVAL`.
pub fn unknown_namespaces_are_refused(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for (name, errno) in [("nonsense.a", Errno::EOPNOTSUPP), ("user.", Errno::EINVAL)] {
        fs.fails(set_xattr("/file", name, b"1", XattrMode::Set), errno);
        fs.fails(get_xattr("/file", name), errno);
        fs.fails(remove_xattr("/file", name), errno);
    }
    fs.has_xattrs("/file", &[]);
}

/// What a union keeps for itself is not in the way, and does nothing.
pub fn names_of_unions_are_ordinary(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let mut names = vec!["user.overlay.opaque", "user.overlay.redirect"];
    if !fs.lacks(fs.declared.trusted_xattrs, "trusted attributes") {
        names.extend(["trusted.overlay.opaque", "trusted.overlay.overlay.x"]);
    }
    for name in &names {
        fs.ok(set_xattr("/dir", name, b"y", XattrMode::Create));
        fs.ok(set_xattr("/dir/sub", name, b"y", XattrMode::Create));
    }
    names.sort_unstable();
    fs.has_xattrs("/dir", &names);
    fs.lists("/dir", &["inner", "sub"]);
    fs.lists("/dir/sub", &["deep"]);
    for name in names {
        fs.ok(remove_xattr("/dir", name));
    }
    fs.has_xattrs("/dir", &[]);
}

/// Any of them.
pub fn values_are_bytes(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let value: Vec<u8> = (0..=255).cycle().take(1000).collect();
    fs.ok(set_xattr("/file", "user.bytes", &value, XattrMode::Set));
    assert_eq!(fs.bytes(get_xattr("/file", "user.bytes")), value);
    let huge = vec![0; 65537];
    fs.fails(
        set_xattr("/file", "user.huge", &huge, XattrMode::Set),
        Errno::E2BIG,
    );
}

/// A list that no system takes is `EINVAL`, a default list of a file `EACCES`.
pub fn access_lists_are_checked(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.lacks(fs.declared.acls, "access lists") {
        return;
    }
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let list = acl_bytes(
        0o640,
        &[AclEntry {
            group: false,
            id: 3,
            perm: 4,
        }],
    );
    fs.fails(
        set_xattr("/file", default, &list, XattrMode::Set),
        Errno::EACCES,
    );
    fs.fails(
        set_xattr("/link", access, &list, XattrMode::Set),
        Errno::EOPNOTSUPP,
    );
    fs.fails(
        set_xattr("/file", access, &list[..12], XattrMode::Set),
        Errno::EINVAL,
    );
    fs.fails(
        set_xattr("/file", access, b"junk", XattrMode::Set),
        Errno::EOPNOTSUPP,
    );
    fs.ok(set_xattr("/file", access, &list, XattrMode::Set));
    assert_eq!(fs.bytes(get_xattr("/file", access)), list);
    fs.ok(set_xattr(
        "/file",
        access,
        &acl_bytes(0o604, &[]),
        XattrMode::Set,
    ));
    assert_eq!(fs.stat("/file").mode, 0o604);
    fs.has_xattrs("/file", &[]);
    fs.ok(set_xattr("/dir", default, &list, XattrMode::Set));
    fs.has_xattrs("/dir", &[default]);
    assert_eq!(fs.stat("/dir").mode, 0o750);
}
