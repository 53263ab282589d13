//! Renaming.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::FileType;
use crate::op::RenameFlags;
use crate::testing::spec::NodeSpec;

/// Within a directory and to another, and back.
pub fn files_move(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mv("/file", "/moved"));
    fs.gone("/file");
    fs.reads("/moved", "lower");
    fs.ok(mv("/moved", "/dir/sub/moved"));
    fs.gone("/moved");
    fs.lists("/dir/sub", &["deep", "moved"]);
    fs.ok(mv("/dir/sub/moved", "/file"));
    fs.reads("/file", "lower");
    assert_eq!(fs.stat("/file").mode, 0o640);
    fs.fails(mv("/missing", "/x"), Errno::ENOENT);
    fs.fails(mv("/file", "/missing/x"), Errno::ENOENT);
}

/// And symlinks, and whatever is no directory.
pub fn files_replace_files(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mv("/file", "/dir/inner"));
    fs.reads("/dir/inner", "lower");
    fs.gone("/file");
    fs.ok(put("/new", "new"));
    fs.ok(mv("/new", "/link"));
    fs.is("/link", FileType::Regular);
    fs.reads("/link", "new");
    fs.ok(mv("/dir/inner", "/link"));
    fs.reads("/link", "lower");
    fs.lists("/", &["dir", "dirlink", "empty", "link"]);
}

/// A directory replaces no file, a file no directory.
pub fn types_must_match(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir("/new"));
    fs.fails(mv("/new", "/file"), Errno::ENOTDIR);
    fs.fails(mv("/new", "/dirlink"), Errno::ENOTDIR);
    fs.fails(mv("/file", "/new"), Errno::EISDIR);
    fs.fails(mv("/file", "/empty"), Errno::EISDIR);
    fs.reads("/file", "lower");
}

/// `EINVAL`; onto a directory above it is `ENOTEMPTY`.
pub fn nothing_moves_into_itself(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir_all("/new/a/b"));
    for to in ["/new/x", "/new/a/x", "/new/a/b/x"] {
        fs.fails(mv("/new", to), Errno::EINVAL);
    }
    fs.fails(mv("/dir", "/dir/sub/x"), Errno::EINVAL);
    fs.fails(mv("/new/a/b", "/new"), Errno::ENOTEMPTY);
    fs.fails(mv("/dir/sub/deep", "/dir"), Errno::ENOTEMPTY);
    fs.fails(
        mv_with("/new/a/b", "/new", RenameFlags::EXCHANGE),
        Errno::EINVAL,
    );
    fs.ok(mv("/new", "/new"));
    fs.lists("/new/a", &["b"]);
}

/// `ENOTEMPTY`.
pub fn full_directories_are_not_replaced(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir_all("/new/x"));
    fs.fails(mv("/new", "/dir"), Errno::ENOTEMPTY);
    fs.ok(mkdir("/other"));
    fs.fails(mv("/other", "/new"), Errno::ENOTEMPTY);
    fs.lists("/dir", &["inner", "sub"]);
    fs.lists("/new", &["x"]);
}

/// All of it, however deep.
pub fn new_directories_move_with_content(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir_all("/new/a"));
    fs.ok(put("/new/a/f", "1"));
    fs.ok(mv("/file", "/new/a/given"));
    fs.ok(mv("/new", "/dir/sub/moved"));
    fs.gone("/new");
    fs.lists("/dir/sub/moved/a", &["f", "given"]);
    fs.reads("/dir/sub/moved/a/given", "lower");
    fs.reads("/dirlink/sub/moved/a/../a/f", "1");
    fs.ok(mv("/dir/sub/moved/a", "/dir/a"));
    fs.lists("/dir/sub/moved", &[]);
    fs.reads("/dir/a/f", "1");
}

/// Given directories too, changed or not, and what they leave behind is gone.
pub fn given_directories_move_with_content(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.dirs_stay() {
        fs.fails(mv("/dir", "/moved"), Errno::EXDEV);
        return;
    }
    fs.ok(mv("/dir", "/moved"));
    fs.gone("/dir");
    fs.lists("/moved", &["inner", "sub"]);
    fs.reads("/moved/sub/deep", "deep");
    fs.ok(put("/moved/inner", "changed"));
    fs.ok(rm("/moved/sub/deep"));
    fs.ok(mkdir("/elsewhere"));
    fs.ok(mv("/moved/sub", "/elsewhere/sub"));
    fs.ok(mv("/moved", "/elsewhere/dir"));
    fs.lists("/elsewhere", &["dir", "sub"]);
    fs.lists("/elsewhere/dir", &["inner"]);
    fs.lists("/elsewhere/sub", &[]);
    fs.reads("/elsewhere/dir/inner", "changed");
    assert_eq!(fs.stat("/elsewhere/dir").mode, 0o750);
    fs.ok(mv("/elsewhere/dir", "/dir"));
    fs.lists("/dirlink/", &["inner"]);
}

/// A new directory there is empty, whatever was below the old one.
pub fn moved_directories_leave_their_name_free(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.dirs_stay() {
        return;
    }
    fs.ok(mv("/dir", "/moved"));
    fs.ok(mkdir("/dir"));
    fs.lists("/dir", &[]);
    fs.ok(mkdir("/dir/sub"));
    fs.lists("/dir/sub", &[]);
    fs.ok(put("/dir/sub/deep", "other"));
    fs.reads("/moved/sub/deep", "deep");
    fs.ok(rm_all("/moved"));
    fs.reads("/dir/sub/deep", "other");
}

/// And nothing of the old one shows.
pub fn a_directory_replaces_an_empty_one(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir("/new"));
    fs.ok(put("/new/f", "1"));
    fs.ok(chmod("/empty", 0o700));
    fs.ok(mv("/new", "/empty"));
    fs.gone("/new");
    fs.lists("/empty", &["f"]);
    assert_eq!(fs.stat("/empty").mode, 0o755);
}

/// What was removed from it does not come back.
pub fn a_directory_replaces_an_emptied_one(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(rm("/dir/inner"));
    fs.ok(rm_all("/dir/sub"));
    fs.ok(mkdir("/new"));
    fs.ok(put("/new/mine", "1"));
    fs.ok(mv("/new", "/dir"));
    fs.lists("/dir", &["mine"]);
    fs.gone("/dir/sub");
    fs.gone("/dir/inner");
    fs.ok(mkdir_all("/dir/sub"));
    fs.lists("/dir/sub", &[]);
}

/// `EEXIST`, for anything that is there.
pub fn nothing_is_replaced_if_asked(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for to in ["/dir/inner", "/empty", "/dirlink", "/file", "/"] {
        fs.fails(mv_with("/file", to, RenameFlags::NO_REPLACE), Errno::EEXIST);
    }
    fs.ok(mv_with("/file", "/free", RenameFlags::NO_REPLACE));
    fs.reads("/free", "lower");
    fs.ok(mv_with("/free", "/file", RenameFlags::NO_REPLACE));
}

/// Both must be there.
pub fn two_names_change_places(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put("/new", "new"));
    fs.ok(mv_with("/file", "/new", RenameFlags::EXCHANGE));
    fs.reads("/file", "new");
    fs.reads("/new", "lower");
    fs.ok(mv_with("/new", "/dir/inner", RenameFlags::EXCHANGE));
    fs.reads("/dir/inner", "lower");
    fs.reads("/new", "inner");
    fs.fails(
        mv_with("/file", "/missing", RenameFlags::EXCHANGE),
        Errno::ENOENT,
    );
    fs.fails(
        mv_with("/missing", "/file", RenameFlags::EXCHANGE),
        Errno::ENOENT,
    );
    let mut both = RenameFlags::EXCHANGE;
    both.no_replace = true;
    fs.fails(mv_with("/file", "/new", both), Errno::EINVAL);
}

/// Of any type.
pub fn a_file_and_a_directory_change_places(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mkdir_all("/new/a"));
    fs.ok(mv_with("/new", "/file", RenameFlags::EXCHANGE));
    fs.reads("/new", "lower");
    fs.lists("/file", &["a"]);
    fs.ok(mv_with("/file/a", "/dir/inner", RenameFlags::EXCHANGE));
    fs.lists("/dir/inner", &[]);
    fs.reads("/file/a", "inner");
    fs.ok(mv_with("/link", "/file", RenameFlags::EXCHANGE));
    fs.is("/file", FileType::Symlink);
    fs.lists("/link", &["a"]);
}

/// Renaming one to the other does nothing.
pub fn two_names_of_one_file_both_stay(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put("/a", "1"));
    fs.ok(link("/a", "/b"));
    fs.ok(mv("/a", "/b"));
    fs.reads("/a", "1");
    fs.reads("/b", "1");
    assert_eq!(fs.stat("/a").nlink, 2);
    fs.fails(mv_with("/a", "/b", RenameFlags::NO_REPLACE), Errno::EEXIST);
    fs.ok(mv_with("/a", "/b", RenameFlags::EXCHANGE));
}

/// `ENOTDIR` for anything else.
pub fn slashes_are_for_directories(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(mv("/file/", "/x"), Errno::ENOTDIR);
    fs.fails(mv("/file", "/x/"), Errno::ENOTDIR);
    fs.fails(mv("/dirlink/", "/x"), Errno::ENOTDIR);
    fs.ok(mkdir("/new"));
    fs.ok(mv("/new/", "/other/"));
    fs.is("/other", FileType::Directory);
}

/// `EBUSY`; with "replace nothing" the new one is `EEXIST`.
pub fn ends_without_name_are_refused(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for path in ["/", "/dir/.", "/dir/.."] {
        fs.fails(mv(path, "/x"), Errno::EBUSY);
        fs.fails(mv("/file", path), Errno::EBUSY);
        fs.fails(
            mv_with("/file", path, RenameFlags::NO_REPLACE),
            Errno::EEXIST,
        );
    }
}

/// A merged tree has no use for them: `EINVAL`.
pub fn whiteouts_are_not_left(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    if fs.lacks(
        fs.declared.weakenings.no_whiteouts,
        "a refusal of whiteouts",
    ) {
        return;
    }
    fs.fails(mv_with("/file", "/x", RenameFlags::WHITEOUT), Errno::EINVAL);
    fs.reads("/file", "lower");
    fs.gone("/x");
    fs.fails(mknod("/x", FileType::CharDevice), Errno::EPERM);
}

/// Not what they lead to, and they replace what is no directory.
pub fn symlinks_move_themselves(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(mv("/link", "/dir/link"));
    fs.is("/dir/link", FileType::Symlink);
    assert_eq!(fs.bytes(readlink("/dir/link")), b"file");
    fs.reads("/file", "lower");
    fs.ok(mv("/dirlink", "/file"));
    fs.reads("/file/inner", "inner");
}

/// Owner, mode, times and extended attributes.
pub fn attributes_move_along(factory: &dyn Factory) {
    let file = NodeSpec::file("1")
        .mode(0o4711)
        .mtime(5, 6)
        .xattr("user.a", "1");
    let mut fs = Fs::new(factory, &usual().with("/f", file));
    fs.ok(mv("/f", "/dir/g"));
    let meta = fs.stat("/dir/g");
    assert_eq!(
        (meta.mode, meta.mtime.secs, meta.mtime.nanos),
        (0o4711, 5, 6)
    );
    fs.has_xattrs("/dir/g", &["user.a"]);
    assert_eq!(fs.bytes(get_xattr("/dir/g", "user.a")), b"1");
}
