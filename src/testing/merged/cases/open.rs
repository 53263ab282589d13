//! Opening files.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::FileType;
use crate::op::Op;
use crate::testing::spec::{NodeKind, NodeSpec};

/// Else `EINVAL`, whatever the path.
pub fn some_access_must_be_asked_for(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for path in ["/file", "/missing", "/dir"] {
        fs.fails(open(path, opts().create(true)), Errno::EINVAL);
    }
    fs.gone("/missing");
}

/// A symlink is not followed, wherever it leads.
pub fn creating_anew_needs_a_free_name(factory: &dyn Factory) {
    let tree = usual().with("/dangling", NodeSpec::symlink("nowhere"));
    let mut fs = Fs::new(factory, &tree);
    let new = || opts().write(true).create_new(true);
    for path in [
        "/file",
        "/dir",
        "/link",
        "/dangling",
        "/dir/inner",
        "/",
        "/dir/.",
    ] {
        fs.fails(open(path, new()), Errno::EEXIST);
    }
    fs.ok(open("/new", new()));
    fs.fails(open("/new", new()), Errno::EEXIST);
    fs.ok(rm("/file"));
    fs.ok(open("/file", new()));
    fs.reads("/file", "");
}

/// With the mode asked for; an existing file keeps its own.
pub fn missing_files_are_created_if_asked(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(open("/new", opts().write(true)), Errno::ENOENT);
    fs.ok(open("/new", opts().read(true).create(true).mode(0o600)));
    assert_eq!(fs.stat("/new").mode, 0o600);
    fs.ok(open("/file", opts().write(true).create(true).mode(0o777)));
    assert_eq!(fs.stat("/file").mode, 0o640);
    fs.reads("/file", "lower");
    fs.fails(open("/dir", opts().read(true).create(true)), Errno::EISDIR);
    fs.fails(
        open("/new/", opts().write(true).create(true)),
        Errno::EISDIR,
    );
}

/// The file is made where the symlink leads.
pub fn dangling_symlinks_are_created_through(factory: &dyn Factory) {
    let tree = usual()
        .with("/to", NodeSpec::symlink("dir/made"))
        .with("/far", NodeSpec::symlink("x/y"));
    let mut fs = Fs::new(factory, &tree);
    fs.ok(put("/to", "made"));
    fs.is("/to", FileType::Symlink);
    fs.reads("/dir/made", "made");
    fs.fails(put("/far", "x"), Errno::ENOENT);
}

/// `ELOOP` if the last component is one.
pub fn symlinks_may_be_refused(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(
        open("/link", opts().read(true).no_follow(true)),
        Errno::ELOOP,
    );
    fs.fails(
        open("/link", opts().write(true).create(true).no_follow(true)),
        Errno::ELOOP,
    );
    fs.ok(open("/file", opts().read(true).no_follow(true)));
    fs.ok(open("/dirlink/inner", opts().read(true).no_follow(true)));
}

/// `EISDIR`, `ENXIO`: nothing blocks, and no driver is reached.
pub fn only_files_are_opened(factory: &dyn Factory) {
    let tree = usual()
        .with("/fifo", NodeSpec::new(NodeKind::Fifo))
        .with("/socket", NodeSpec::new(NodeKind::Socket));
    let mut fs = Fs::new(factory, &tree);
    for options in [
        opts().read(true),
        opts().write(true),
        opts().read(true).truncate(true),
    ] {
        fs.fails(open("/dir", options.clone()), Errno::EISDIR);
        fs.fails(open("/", options.clone()), Errno::EISDIR);
        fs.fails(open("/fifo", options.clone()), Errno::ENXIO);
        fs.fails(open("/socket", options), Errno::ENXIO);
    }
}

/// Also through a symlink, and for a reader.
pub fn truncating_empties(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(open("/link", opts().read(true).truncate(true)));
    fs.reads("/file", "");
    assert_eq!(fs.stat("/file").mode, 0o640, "attributes stay");
    fs.ok(put("/dir/inner", "longer than before"));
    fs.ok(put_with(
        "/dir/inner",
        opts().write(true).truncate(true),
        0,
        "short",
    ));
    fs.reads("/dir/inner", "short");
}

/// Neither content, nor times, nor anything around.
pub fn opening_changes_nothing(factory: &dyn Factory) {
    let tree = usual()
        .with("/dir/old", NodeSpec::file("old").mtime(1, 2).mode(0o4711))
        .with("/dir", NodeSpec::dir().mtime(3, 4).mode(0o700));
    let mut fs = Fs::new(factory, &tree);
    let before = (fs.stat("/dir"), fs.stat("/dir/old"));
    let options = opts().read(true).write(true);
    fs.ok(Op::HandleOpen {
        slot: 0,
        path: "/dir/old".into(),
        options,
    });
    fs.ok(Op::HandleClose { slot: 0 });
    for (before, path) in [(before.0, "/dir"), (before.1, "/dir/old")] {
        let after = fs.stat(path);
        assert_eq!((after.mode, after.mtime), (before.mode, before.mtime));
        assert_eq!((after.uid, after.gid), (before.uid, before.gid));
    }
    assert_eq!(fs.stat("/dir/old").size, 3);
    fs.reads("/dir/old", "old");
}
