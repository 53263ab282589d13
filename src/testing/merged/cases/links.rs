//! Hard links.

use super::Factory;
use super::fixture::*;
use crate::errno::Errno;
use crate::meta::FileType;
use crate::testing::spec::NodeSpec;

/// Content and attributes; a removed name leaves the others.
pub fn names_share_the_file(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(link("/file", "/dir/second"));
    fs.ok(put("/dir/second", "LO"));
    fs.reads("/file", "LOwer");
    fs.ok(chmod("/file", 0o600));
    assert_eq!(fs.stat("/dir/second").mode, 0o600);
    fs.ok(rm("/file"));
    fs.reads("/dir/second", "LOwer");
    fs.ok(put("/file", "another"));
    fs.reads("/dir/second", "LOwer");
}

/// Names that were there before are one file as well.
pub fn given_names_share_the_file(factory: &dyn Factory) {
    let tree = usual().with("/dir/second", NodeSpec::link_to("/file"));
    let mut fs = Fs::new(factory, &tree);
    let (one, two) = (fs.stat("/file"), fs.stat("/dir/second"));
    assert_eq!((one.ino, one.nlink), (two.ino, 2));
    if fs.links_break() {
        return;
    }
    fs.ok(put("/dir/second", "LO"));
    fs.reads("/file", "LOwer");
    fs.ok(chmod("/file", 0o600));
    assert_eq!(fs.stat("/dir/second").mode, 0o600);
    fs.ok(link("/file", "/third"));
    assert_eq!(fs.stat("/dir/second").nlink, 3);
    fs.ok(rm("/dir/second"));
    fs.ok(put("/third", "12345"));
    fs.reads("/file", "12345");
    assert_eq!(fs.stat("/file").nlink, 2);
}

/// One per name.
pub fn counts_follow(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    assert_eq!(fs.stat("/file").nlink, 1);
    fs.ok(link("/file", "/a"));
    fs.ok(link("/a", "/b"));
    assert_eq!(fs.stat("/file").nlink, 3);
    fs.ok(mv("/b", "/dir/b"));
    fs.ok(mv("/dir/inner", "/a"));
    assert_eq!(fs.stat("/dir/b").nlink, 2);
    fs.ok(rm("/file"));
    assert_eq!(fs.stat("/dir/b").nlink, 1);
}

/// Not their targets.
pub fn symlinks_are_linked_themselves(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.ok(link("/link", "/dir/second"));
    fs.is("/dir/second", FileType::Symlink);
    assert_eq!(fs.bytes(readlink("/dir/second")), b"file");
    assert_eq!(fs.stat("/link").nlink, 2);
}

/// `EPERM`.
pub fn directories_are_not_linked(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    fs.fails(link("/dir", "/second"), Errno::EPERM);
    fs.fails(link("/dirlink/", "/second"), Errno::EPERM);
    fs.fails(link("/", "/second"), Errno::EPERM);
    fs.gone("/second");
}

/// `EEXIST`, for the file itself too.
pub fn targets_must_be_free(factory: &dyn Factory) {
    let mut fs = Fs::new(factory, &usual());
    for to in ["/file", "/dir", "/dir/inner", "/link", "/"] {
        fs.fails(link("/file", to), Errno::EEXIST);
    }
    fs.fails(link("/missing", "/x"), Errno::ENOENT);
    fs.fails(link("/file/", "/x"), Errno::ENOTDIR);
    assert_eq!(fs.stat("/file").nlink, 1);
    fs.ok(rm("/dir/inner"));
    fs.ok(link("/file", "/dir/inner"));
    fs.reads("/dir/inner", "lower");
}
