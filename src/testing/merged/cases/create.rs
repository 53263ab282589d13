//! Making things.

use super::Factory;
use super::fixture::*;
use crate::backend::XattrMode;
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType};
use crate::op::Op;
use crate::testing::spec::NodeSpec;
use crate::testing::strategy::{AclEntry, acl_bytes};

/// With the permission asked for.
pub fn directories_are_made_and_empty(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for path in ["/new", "/dir/new", "/dir/sub/new"] {
        fs.ok(mkdir(path));
        fs.lists(path, &[]);
        let meta = fs.stat(path);
        assert_eq!((meta.mode, meta.uid, meta.gid), (0o755, 0, 0));
    }
}

/// Whatever is there, a dangling symlink too.
pub fn taken_names_are_eexist(factory: &dyn Factory) {
    let tree = usual().with("/dangling", NodeSpec::symlink("nowhere"));
    let mut fs = Fs::new(factory, &tree);
    for path in [
        "/file",
        "/dir",
        "/link",
        "/dangling",
        "/dir/inner",
        "/",
        "/.",
        "/dir/..",
    ] {
        fs.fails(mkdir(path), Errno::EEXIST);
        fs.fails(symlink("x", path), Errno::EEXIST);
        fs.fails(mknod(path, FileType::Fifo), Errno::EEXIST);
        fs.fails(link("/file", path), Errno::EEXIST);
    }
    fs.gone("/nowhere");
}

/// They are not made on the way.
pub fn parents_must_exist(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for (path, errno) in [("/x/new", Errno::ENOENT), ("/file/new", Errno::ENOTDIR)] {
        fs.fails(mkdir(path), errno);
        fs.fails(put(path, "1"), errno);
        fs.fails(symlink("x", path), errno);
        fs.fails(mknod(path, FileType::Fifo), errno);
        fs.fails(link("/file", path), errno);
    }
}

/// Only a directory may be made with one.
pub fn slashes_behind_new_names(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir("/new/"));
    fs.is("/new", FileType::Directory);
    fs.fails(symlink("x", "/other/"), Errno::ENOENT);
    fs.fails(mknod("/other/", FileType::Regular), Errno::ENOENT);
    fs.fails(link("/file", "/other/"), Errno::ENOENT);
    fs.fails(put("/other/", "1"), Errno::EISDIR);
    fs.gone("/other");
}

/// `022` here. mkdir knows no set-id bits.
pub fn the_umask_takes_bits_away(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(Op::CreateDir {
        path: "/d".into(),
        mode: 0o7777,
    });
    assert_eq!(fs.stat("/d").mode, 0o1755);
    fs.ok(open("/f", opts().write(true).create(true).mode(0o7777)));
    assert_eq!(fs.stat("/f").mode, 0o7755);
    let (path, rdev) = ("/p".into(), DeviceId::default());
    fs.ok(Op::MakeNode {
        path,
        file_type: FileType::Fifo,
        mode: 0o666,
        rdev,
    });
    assert_eq!(fs.stat("/p").mode, 0o644);
    fs.ok(symlink("x", "/l"));
    assert_eq!(fs.stat("/l").mode, 0o777);
}

/// And directories the bit as well.
pub fn set_gid_directories_give_their_group(factory: &dyn Factory) {
    let tree = tree().with("/g", NodeSpec::dir().mode(0o2775).owner(0, 7));
    let mut fs = Fs::new(factory, &tree);
    if fs.lacks(fs.declared.ownership, "ownership") {
        return;
    }
    fs.ok(put("/g/f", "1"));
    fs.ok(mkdir("/g/d"));
    fs.ok(symlink("x", "/g/l"));
    for (path, mode) in [("/g/f", 0o644), ("/g/d", 0o2755), ("/g/l", 0o777)] {
        let meta = fs.stat(path);
        assert_eq!((meta.uid, meta.gid, meta.mode), (0, 7, mode), "{path}");
    }
    fs.ok(mkdir("/g/d/deeper"));
    assert_eq!(fs.stat("/g/d/deeper").gid, 7);
}

/// Instead of the umask: the default list becomes the access list, and that of directories.
pub fn default_lists_are_inherited(factory: &dyn Factory) {
    let named = [AclEntry {
        group: false,
        id: 5,
        perm: 6,
    }];
    let list = acl_bytes(0o770, &named);
    let dir = NodeSpec::dir().xattr("system.posix_acl_default", &list);
    let mut fs = Fs::new(factory, &tree().with("/d", dir));
    if fs.lacks(fs.declared.acls, "access lists") {
        return;
    }
    fs.ok(open("/d/f", opts().write(true).create(true).mode(0o666)));
    assert_eq!(fs.stat("/d/f").mode, 0o660);
    fs.has_xattrs("/d/f", &["system.posix_acl_access"]);
    let access = fs.bytes(get_xattr("/d/f", "system.posix_acl_access"));
    // The mask is what both allow, the entries are as they were.
    let mut expected = acl_bytes(0o660, &named);
    // The group's own entry keeps what the list gives it.
    expected[4 + 2 * 8 + 2] = 7;
    assert_eq!(access, expected);
    fs.ok(mkdir("/d/sub"));
    assert_eq!(fs.stat("/d/sub").mode, 0o750);
    assert_eq!(
        fs.bytes(get_xattr("/d/sub", "system.posix_acl_default")),
        list
    );
    fs.ok(symlink("x", "/d/l"));
    fs.has_xattrs("/d/l", &[]);
}

/// Each is what it was made as.
pub fn every_type_is_made(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for file_type in [FileType::Regular, FileType::Fifo, FileType::Socket] {
        let path = format!("/dir/{file_type:?}");
        fs.ok(mknod(&path, file_type));
        fs.is(&path, file_type);
    }
    if fs.lacks(fs.declared.device_nodes, "device nodes") {
        return;
    }
    for file_type in [FileType::CharDevice, FileType::BlockDevice] {
        let path = format!("/dir/{file_type:?}");
        let rdev = DeviceId::new(7, 300);
        fs.ok(Op::MakeNode {
            path: path.clone().into(),
            file_type,
            mode: 0o600,
            rdev,
        });
        let meta = fs.stat(&path);
        assert_eq!(
            (meta.file_type, meta.rdev, meta.mode),
            (file_type, rdev, 0o600)
        );
    }
}

/// `EPERM` and `EINVAL`, before the path is looked at.
pub fn directories_and_symlinks_are_no_nodes(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for path in ["/new", "/x/y"] {
        fs.fails(mknod(path, FileType::Directory), Errno::EPERM);
        fs.fails(mknod(path, FileType::Symlink), Errno::EINVAL);
    }
}

/// Up to 4095 of them, but none is `ENOENT`.
pub fn symlink_targets_are_bytes(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let targets: [&[u8]; 4] = [b"\xff\xfe", b"a//b/", b"new\nline", &[b't'; 4095]];
    for (i, target) in targets.iter().enumerate() {
        let path = format!("/dir/l{i}");
        fs.ok(Op::Symlink {
            target: target.to_vec(),
            path: path.clone().into(),
        });
        assert_eq!(fs.bytes(readlink(&path)), *target);
    }
    fs.fails(symlink("", "/none"), Errno::ENOENT);
    let target = vec![b't'; 4096];
    fs.fails(
        Op::Symlink {
            target,
            path: "/none".into(),
        },
        Errno::ENAMETOOLONG,
    );
    fs.gone("/none");
}

/// What is there already is fine, unless it is no directory.
pub fn parents_are_made_on_the_way(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir_all("/dir/a/b/c/"));
    fs.lists("/dir", &["a", "inner", "sub"]);
    fs.is("/dir/a/b/c", FileType::Directory);
    fs.ok(mkdir_all("/dir/a/b/c"));
    fs.ok(mkdir_all("/dirlink/sub/../z"));
    fs.is("/dir/z", FileType::Directory);
    fs.fails(mkdir_all("/file"), Errno::EEXIST);
    fs.fails(mkdir_all("/file/x"), Errno::ENOTDIR);
    fs.fails(mkdir_all(""), Errno::ENOENT);
    fs.ok(mkdir_all("/"));
}

/// Its mode, owner and attributes stay, and so does all that is in it.
pub fn creating_moves_the_parents_mtime_only(factory: &dyn Factory) {
    let dir = NodeSpec::dir().mode(0o711).mtime(5, 6).xattr("user.a", "1");
    let tree = tree()
        .with("/d", dir)
        .with("/d/f", NodeSpec::file("1").mtime(7, 8));
    let mut fs = Fs::new(factory, &tree);
    let before = fs.stat("/d");
    assert_eq!((before.mode, before.mtime.secs), (0o711, 5));
    fs.ok(put("/d/new", "1"));
    let after = fs.stat("/d");
    assert_eq!(
        (after.mode, after.uid, after.gid),
        (before.mode, before.uid, before.gid)
    );
    assert!(after.mtime > before.mtime, "{:?}", after.mtime);
    let inner = fs.stat("/d/f");
    assert_eq!((inner.mtime.secs, inner.mtime.nanos), (7, 8));
    assert_eq!(fs.bytes(get_xattr("/d", "user.a")), b"1");
    fs.ok(set_xattr("/d", "user.b", b"2", XattrMode::Create));
}

/// Until then they have none, and their links are not counted.
pub fn unnamed_files_get_names(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.lacks(fs.declared.tmpfile, "unnamed files") {
        return;
    }
    let options = opts().read(true).write(true).tmpfile(true);
    fs.ok(Op::HandleOpen {
        slot: 1,
        path: "/dir".into(),
        options,
    });
    fs.ok(Op::HandleWrite {
        slot: 1,
        offset: 0,
        data: b"hidden".to_vec(),
    });
    fs.lists("/dir", &["inner", "sub"]);
    fs.fails(
        Op::HandleLink {
            slot: 1,
            to: "/dir/inner".into(),
        },
        Errno::EEXIST,
    );
    fs.ok(Op::HandleLink {
        slot: 1,
        to: "/dir/named".into(),
    });
    fs.reads("/dir/named", "hidden");
    assert_eq!(fs.stat("/dir/named").nlink, 1);
    let reading = opts().read(true).tmpfile(true);
    fs.fails(
        Op::Open {
            path: "/dir".into(),
            options: reading,
        },
        Errno::EINVAL,
    );
    let writing = opts().write(true).tmpfile(true);
    fs.fails(
        Op::Open {
            path: "/file".into(),
            options: writing,
        },
        Errno::ENOTDIR,
    );
}
