//! Removing, and making again what was removed.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::FileType;
use crate::testing::spec::{NodeKind, NodeSpec};

/// Given ones, changed ones and new ones.
pub fn files_are_removed(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put("/dir/new", "1"));
    fs.ok(put("/dir/inner", "changed"));
    for path in ["/file", "/dir/new", "/dir/inner", "/dir/sub/deep"] {
        fs.ok(rm(path));
        fs.gone(path);
        fs.fails(rm(path), Errno::ENOENT);
    }
    fs.lists("/dir", &["sub"]);
    fs.lists("/dir/sub", &[]);
}

/// And not before.
pub fn directories_are_removed_when_empty(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(rmdir("/dir"), Errno::ENOTEMPTY);
    fs.fails(rmdir("/dir/sub"), Errno::ENOTEMPTY);
    fs.ok(rmdir("/empty"));
    fs.gone("/empty");
    fs.ok(rm("/dir/sub/deep"));
    fs.ok(rmdir("/dir/sub"));
    fs.ok(put("/dir/inner", "changed first"));
    fs.ok(rm("/dir/inner"));
    fs.ok(rmdir("/dir/"));
    fs.gone("/dir");
    fs.lists("/", &["dirlink", "file", "link"]);
}

/// unlink is for files, rmdir for directories.
pub fn types_are_checked(factory: &dyn Factory) {
    let tree = usual().with("/fifo", NodeSpec::new(NodeKind::Fifo));
    let mut fs = Fs::new(factory, &tree);
    for path in ["/dir", "/empty", "/"] {
        fs.fails(rm(path), Errno::EISDIR);
    }
    for path in ["/file", "/link", "/dirlink", "/fifo"] {
        fs.fails(rmdir(path), Errno::ENOTDIR);
        fs.fails(rm_all(path), Errno::ENOTDIR);
    }
    fs.ok(rm("/fifo"));
}

/// `EBUSY`, `EINVAL`, `ENOTEMPTY`, `EISDIR`: each end has its own.
pub fn roots_and_dots_stay(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(rmdir("/"), Errno::EBUSY);
    fs.fails(rmdir("/empty/."), Errno::EINVAL);
    fs.fails(rmdir("/empty/.."), Errno::ENOTEMPTY);
    fs.fails(rm("/dir/."), Errno::EISDIR);
    fs.fails(rm("/dir/.."), Errno::EISDIR);
    fs.fails(rm_all("/"), Errno::EBUSY);
    fs.fails(rm_all("/dir/.."), Errno::EBUSY);
    fs.lists("/dir", &["inner", "sub"]);
}

/// For anything, again and again.
pub fn removed_names_are_free(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for round in ["1", "2", "3"] {
        fs.ok(rm("/file"));
        fs.ok(put_with(
            "/file",
            opts().write(true).create_new(true),
            0,
            round,
        ));
        fs.reads("/file", round);
        assert_eq!(fs.stat("/file").mode, 0o644, "nothing of the old file");
    }
    fs.ok(rm("/file"));
    fs.ok(symlink("elsewhere", "/file"));
    assert_eq!(fs.bytes(readlink("/file")), b"elsewhere");
    fs.ok(rm("/file"));
    fs.ok(mkdir("/file"));
    fs.lists("/file", &[]);
}

/// And a directory that of a file.
pub fn a_file_takes_the_place_of_a_directory(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(rm_all("/dir"));
    fs.ok(put("/dir", "a file now"));
    fs.fails(stat("/dir/inner"), Errno::ENOTDIR);
    fs.fails(stat("/dirlink/inner"), Errno::ENOTDIR);
    fs.ok(rm("/dir"));
    fs.ok(mkdir("/dir"));
    fs.lists("/dir", &[]);
    fs.gone("/dir/inner");
    fs.ok(rm("/link"));
    fs.ok(mkdir("/link"));
    fs.is("/link", FileType::Directory);
}

/// Not when the directory is made again, nor deeper, nor by making one of the same name elsewhere.
pub fn old_content_does_not_come_back(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(rm_all("/dir"));
    fs.ok(mkdir_all("/dir/sub"));
    fs.lists("/dir", &["sub"]);
    fs.lists("/dir/sub", &[]);
    fs.ok(put("/dir/inner", "new"));
    fs.reads("/dir/inner", "new");
    fs.ok(rm("/dir/inner"));
    fs.gone("/dir/inner");
    fs.ok(rmdir("/dir/sub"));
    fs.ok(rmdir("/dir"));
    fs.ok(mkdir("/dir"));
    fs.lists("/dir", &[]);
}

/// A directory that takes the name of a removed one has its own content only.
pub fn old_content_does_not_come_back_after_rename(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir("/new"));
    fs.ok(put("/new/mine", "1"));
    fs.ok(rm_all("/dir"));
    fs.ok(mv("/new", "/dir"));
    fs.lists("/dir", &["mine"]);
    fs.gone("/dir/sub");
    fs.ok(mkdir("/dir/sub"));
    fs.lists("/dir/sub", &[]);
    fs.ok(mv("/dir", "/away"));
    fs.gone("/dir");
    fs.ok(mkdir("/dir"));
    fs.lists("/dir", &[]);
    fs.lists("/away", &["mine", "sub"]);
}

/// With all that is in them, given and new.
pub fn whole_trees_are_removed(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir_all("/dir/sub/a/b"));
    fs.ok(put("/dir/sub/a/f", "1"));
    fs.ok(symlink("/file", "/dir/sub/a/l"));
    fs.ok(rm_all("/dir/sub/"));
    fs.lists("/dir", &["inner"]);
    fs.reads("/file", "lower");
    fs.fails(rm_all("/dir/sub"), Errno::ENOENT);
    fs.fails(rm_all("/dirlink/"), Errno::ENOTDIR);
}

/// Not what they lead to.
pub fn symlinks_are_removed_themselves(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(rm("/link"));
    fs.gone("/link");
    fs.reads("/file", "lower");
    fs.ok(rm("/dirlink"));
    fs.lists("/dir", &["inner", "sub"]);
}

/// Its time moves, its mode and owner do not.
pub fn removing_touches_the_parent(factory: &dyn Factory) {
    let tree = tree()
        .with("/d", NodeSpec::dir().mode(0o701).mtime(5, 6))
        .with("/d/f", NodeSpec::file("1"))
        .with("/d/g", NodeSpec::file("2").mtime(7, 8));
    let mut fs = Fs::new(factory, &tree);
    fs.fails(rm("/d/missing"), Errno::ENOENT);
    assert_eq!(fs.stat("/d").mtime.secs, 5);
    fs.ok(rm("/d/f"));
    let meta = fs.stat("/d");
    assert!(meta.mtime.secs > 5);
    assert_eq!((meta.mode, meta.uid), (0o701, 0));
    assert_eq!(fs.stat("/d/g").mtime.secs, 7);
}
