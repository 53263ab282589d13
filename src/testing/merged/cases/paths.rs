//! Paths, symlinks, names.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::FileType;
use crate::op::{Op, OpenOptions, Outcome};
use crate::testing::spec::NodeSpec;

/// The root is there, is a directory, and lists what is in it.
pub fn the_root_is_a_directory(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.is("/", FileType::Directory);
    fs.lists("/", &["dir", "dirlink", "empty", "file", "link"]);
}

/// What is not there is `ENOENT`, the empty path too.
pub fn absent_names_are_enoent(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for path in ["/x", "/dir/x", "/dir/sub/x", "/x/y", ""] {
        fs.fails(stat(path), Errno::ENOENT);
        fs.fails(list(path), Errno::ENOENT);
        fs.fails(read(path), Errno::ENOENT);
        fs.fails(rm(path), Errno::ENOENT);
    }
}

/// A name below what is no directory is `ENOTDIR`, whether it would be there or not.
pub fn only_directories_are_passed(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for path in [
        "/file/x",
        "/file/.",
        "/file/..",
        "/link/x",
        "/dir/inner/x/y",
    ] {
        fs.fails(stat(path), Errno::ENOTDIR);
        fs.fails(put(path, "x"), Errno::ENOTDIR);
    }
    fs.fails(list("/file"), Errno::ENOTDIR);
}

/// A slash at the end is for directories, and follows a symlink.
pub fn slashes_demand_directories(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(stat("/file/"), Errno::ENOTDIR);
    fs.fails(stat("/link/"), Errno::ENOTDIR);
    fs.fails(rm("/file/"), Errno::ENOTDIR);
    fs.fails(rm("/dir/"), Errno::EISDIR);
    fs.is("/dir/", FileType::Directory);
    fs.is("/dirlink", FileType::Symlink);
    fs.is("/dirlink/", FileType::Directory);
    fs.is("/dirlink///", FileType::Directory);
    fs.fails(readlink("/dirlink/"), Errno::EINVAL);
}

/// `..` is the parent of where one really is, not of where the path came from.
pub fn dots_are_physical(factory: &dyn Factory) {
    let tree = usual().with("/into", NodeSpec::symlink("dir/sub"));
    let mut fs = Fs::new(factory, &tree);
    fs.reads("/dir/./sub/../inner", "inner");
    fs.reads("/into/../inner", "inner");
    fs.reads("/into/../../file", "lower");
    fs.fails(stat("/missing/../file"), Errno::ENOENT);
    fs.fails(stat("/missing/./"), Errno::ENOENT);
}

/// Nothing is above the root.
pub fn the_root_is_its_own_parent(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.reads("/../../file", "lower");
    let (root, above) = (fs.stat("/"), fs.stat("/.."));
    assert_eq!(root.ino, above.ino);
    fs.ok(symlink("../../..", "/dir/up"));
    fs.reads("/dir/up/file", "lower");
}

/// Always.
pub fn symlinks_are_followed_in_the_middle(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.reads("/dirlink/inner", "inner");
    fs.is("/dirlink/sub/deep", FileType::Regular);
    fs.ok(put("/dirlink/new", "new"));
    fs.reads("/dir/new", "new");
    fs.ok(rm("/dirlink/inner"));
    fs.lists("/dir", &["new", "sub"]);
}

/// `stat` follows, `lstat` and `readlink` do not.
pub fn symlinks_at_the_end_are_followed_if_asked(factory: &dyn Factory) {
    let tree = usual().with("/dangling", NodeSpec::symlink("nowhere"));
    let mut fs = Fs::new(factory, &tree);
    fs.is("/link", FileType::Symlink);
    let Outcome::Metadata(target) = fs.ok(stat_target("/link")) else {
        panic!("no metadata")
    };
    assert_eq!((target.file_type, target.size), (FileType::Regular, 5));
    assert_eq!(fs.bytes(readlink("/link")), b"file");
    assert_eq!(fs.stat("/link").size, 4, "the length of the target");
    fs.is("/dangling", FileType::Symlink);
    fs.fails(stat_target("/dangling"), Errno::ENOENT);
    fs.fails(readlink("/file"), Errno::EINVAL);
    fs.fails(readlink("/dir"), Errno::EINVAL);
}

/// A target that starts with a slash starts at the root of the tree.
pub fn absolute_symlinks_stay_inside(factory: &dyn Factory) {
    let tree = usual()
        .with("/dir/abs", NodeSpec::symlink("/file"))
        .with("/dir/root", NodeSpec::symlink("/"))
        .with("/out", NodeSpec::symlink("/../../etc/passwd"));
    let mut fs = Fs::new(factory, &tree);
    fs.reads("/dir/abs", "lower");
    fs.reads("/dir/root/dir/root/file", "lower");
    fs.fails(stat_target("/out"), Errno::ENOENT);
    fs.ok(mkdir("/etc"));
    fs.ok(put("/etc/passwd", "inside"));
    fs.reads("/out", "inside");
}

/// Loops and longer chains are `ELOOP`.
pub fn forty_symlinks_and_no_more(factory: &dyn Factory) {
    let mut tree = usual().with("/loop", NodeSpec::symlink("loop"));
    for i in 1..=41 {
        let target = if i == 1 {
            "file".into()
        } else {
            format!("l{}", i - 1)
        };
        tree.insert(format!("/l{i}"), NodeSpec::symlink(target));
    }
    let mut fs = Fs::new(factory, &tree);
    fs.reads("/l40", "lower");
    fs.fails(read("/l41"), Errno::ELOOP);
    fs.fails(stat_target("/loop"), Errno::ELOOP);
    fs.fails(stat("/loop/x"), Errno::ELOOP);
    fs.is("/loop", FileType::Symlink);
    fs.fails(put("/loop", "x"), Errno::ELOOP);
}

/// One more is `ENAMETOOLONG`, wherever it stands.
pub fn names_have_255_bytes(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let (longest, longer) = ("n".repeat(255), "n".repeat(256));
    let path = format!("/dir/{longest}");
    fs.ok(put(&path, "long"));
    fs.reads(&path, "long");
    fs.ok(rm(&path));
    fs.ok(mkdir(&path));
    for path in [
        format!("/{longer}"),
        format!("/{longer}/x"),
        format!("/dir/{longer}"),
    ] {
        fs.fails(stat(&path), Errno::ENAMETOOLONG);
        fs.fails(mkdir(&path), Errno::ENAMETOOLONG);
        fs.fails(put(&path, "x"), Errno::ENAMETOOLONG);
        fs.fails(rm(&path), Errno::ENAMETOOLONG);
        fs.fails(mv("/file", &path), Errno::ENAMETOOLONG);
    }
}

/// Names that mean something elsewhere mean nothing here.
pub fn odd_names_work_everywhere(factory: &dyn Factory) {
    let names = [
        ".wh.file",
        ".wh..wh..opq",
        "#1",
        "a b",
        "new\nline",
        "back\\slash",
        "...",
        "-rf",
    ];
    let mut tree = usual();
    for name in names {
        tree.insert(format!("/dir/{name}"), NodeSpec::file(name));
    }
    let mut fs = Fs::new(factory, &tree);
    for name in names {
        let (path, moved) = (format!("/dir/{name}"), format!("/{name}"));
        fs.reads(&path, name);
        fs.ok(mv(&path, &moved));
        fs.gone(&path);
        fs.reads(&moved, name);
        fs.ok(rm(&moved));
        fs.gone(&moved);
        fs.ok(mkdir(&path));
        fs.lists(&path, &[]);
    }
    fs.reads("/file", "lower");
}

/// Each name once, with the type it has.
pub fn listings_tell_names_and_types(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(put("/dir/new", "1"));
    fs.ok(put("/dir/inner", "changed"));
    fs.ok(rm("/dir/sub/deep"));
    fs.ok(symlink("x", "/dir/zlink"));
    let Outcome::Entries(entries) = fs.ok(list("/dir")) else {
        panic!("no entries")
    };
    let seen: Vec<_> = entries
        .iter()
        .map(|e| (e.name.to_string(), e.file_type))
        .collect();
    let expected = [
        ("inner", FileType::Regular),
        ("new", FileType::Regular),
        ("sub", FileType::Directory),
        ("zlink", FileType::Symlink),
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for ((name, told), (expected, file_type)) in seen.iter().zip(expected) {
        assert_eq!(name, expected);
        assert!(told.is_none_or(|t| t == file_type), "{name}: {told:?}");
    }
    fs.lists("/dir/sub", &[]);
}

/// Deeper than a path of the kernel is long, one level at a time.
pub fn depth_is_not_limited(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    let mut path = String::from("/dir/sub");
    for _ in 0..60 {
        path.push_str("/d");
        fs.ok(mkdir(&path));
    }
    let options = OpenOptions::new().write(true).create_new(true);
    fs.ok(put_with(&format!("{path}/f"), options, 0, "deep"));
    fs.reads(&format!("{path}/f"), "deep");
    fs.ok(Op::RemoveDirAll {
        path: "/dir/sub/d".into(),
    });
    fs.lists("/dir/sub", &["deep"]);
}
