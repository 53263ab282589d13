//! Every mode of rename against every kind of source and target.

use super::{Factory, Fixture, content, fails, listed, name, write_all};
use crate::backend::{
    Access, At, Entry, NewKind, NodeRef, RemoveKind, RenameHow, Result, WhiteoutForm,
};
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime, Timestamp};

impl Fixture {
    fn mv(&self, from: (&NodeRef, &str), to: (&NodeRef, &str), how: RenameHow) -> Result<()> {
        let (a, b) = (name(from.1), name(to.1));
        self.up()
            .rename(At::new(from.0, &a), At::new(to.0, &b), how)
    }

    /// The modes that the backend has.
    fn modes(&self) -> Vec<RenameHow> {
        let mut modes = vec![RenameHow::NoReplace, RenameHow::Replace];
        if !self.lacks(self.caps().exchange, "exchange") {
            modes.push(RenameHow::Exchange);
        }
        if !self.lacks(self.caps().whiteouts, "whiteouts") {
            modes.push(RenameHow::LeaveWhiteout);
        }
        modes
    }
}

/// A free name takes anything, in the same directory and in another; the node stays the same.
pub fn free_names_are_taken(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let sub = f.dir(&f.root, "sub");
    for (n, node, _) in f.one_of_each(&f.root) {
        for how in [RenameHow::NoReplace, RenameHow::Replace] {
            f.mv((&f.root, n), (&f.root, "new"), how).unwrap();
            f.assert_absent(&f.root, n);
            f.assert_is(&f.root, "new", &node);
            f.mv((&f.root, "new"), (&sub, n), how).unwrap();
            f.assert_absent(&f.root, "new");
            f.assert_is(&sub, n, &node);
            f.mv((&sub, n), (&f.root, n), how).unwrap();
        }
    }
    assert_eq!(listed(&sub), []);
}

/// `NoReplace` is `EEXIST` whatever is there, the same node too.
pub fn noreplace_replaces_nothing(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "from");
    let mut targets: Vec<_> = f.one_of_each(&f.root).iter().map(|(n, ..)| *n).collect();
    if f.caps().whiteouts {
        f.whiteout(&f.root, "a-whiteout");
        targets.push("a-whiteout");
    }
    if f.caps().hard_links {
        f.up()
            .link(&node, At::new(&f.root, &name("a-link")))
            .unwrap();
        targets.push("a-link");
    }
    targets.push("from");
    let before = listed(&f.root);
    for n in targets {
        let moved = f.mv((&f.root, "from"), (&f.root, n), RenameHow::NoReplace);
        fails(moved, Errno::EEXIST, &format!("onto {n}"));
    }
    assert_eq!(listed(&f.root), before, "nothing moved");
}

/// Non-directories replace each other, whatever their types.
pub fn files_replace_what_is_no_directory(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let sub = f.dir(&f.root, "sub");
    for (n, node, file_type) in f.one_of_each(&sub) {
        if file_type.is_dir() {
            continue;
        }
        let file = f.file(&f.root, "file", n.as_bytes());
        f.mv((&f.root, "file"), (&sub, n), RenameHow::Replace)
            .unwrap();
        f.assert_is(&sub, n, &file);
        f.assert_absent(&f.root, "file");
        assert_eq!(
            node.metadata().unwrap().nlink,
            0,
            "{n} has no name any more"
        );
        let link = f.symlink(&f.root, "link", "x");
        f.mv((&f.root, "link"), (&sub, n), RenameHow::Replace)
            .unwrap();
        f.assert_is(&sub, n, &link);
    }
}

/// A directory replaces an empty directory, and `ENOTEMPTY` keeps a full one.
pub fn directories_replace_empty_directories(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let from = f.dir(&f.root, "from");
    f.file(&from, "inside", b"x");
    let to = f.dir(&f.root, "to");
    f.empty(&to, "block");
    let moved = f.mv((&f.root, "from"), (&f.root, "to"), RenameHow::Replace);
    fails(moved, Errno::ENOTEMPTY, "onto a full directory");
    f.assert_is(&f.root, "from", &from);
    f.up()
        .remove(At::new(&to, &name("block")), RemoveKind::NonDirectory)
        .unwrap();
    f.mv((&f.root, "from"), (&f.root, "to"), RenameHow::Replace)
        .unwrap();
    f.assert_is(&f.root, "to", &from);
    assert_eq!(listed(&f.root), [name("to")]);
    assert_eq!(content(&f.node(&from, "inside").0), b"x");
    assert_eq!(to.list().unwrap(), [], "the replaced directory is empty");
}

/// `EISDIR` for a non-directory onto a directory, `ENOTDIR` for a directory onto anything else.
pub fn types_must_match(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.dir(&f.root, "from-dir");
    f.empty(&f.root, "from-file");
    f.symlink(&f.root, "from-link", "a-directory");
    let mut targets: Vec<_> = f.one_of_each(&f.root).iter().map(|(n, ..)| *n).collect();
    if f.caps().whiteouts {
        f.whiteout(&f.root, "a-whiteout");
        targets.push("a-whiteout");
    }
    let before = listed(&f.root);
    for how in f.modes() {
        if matches!(how, RenameHow::NoReplace | RenameHow::Exchange) {
            continue;
        }
        for n in ["from-file", "from-link"] {
            let moved = f.mv((&f.root, n), (&f.root, "a-directory"), how);
            fails(
                moved,
                Errno::EISDIR,
                &format!("{n} onto a directory, {how:?}"),
            );
        }
        for n in targets.iter().filter(|n| **n != "a-directory") {
            let moved = f.mv((&f.root, "from-dir"), (&f.root, n), how);
            fails(
                moved,
                Errno::ENOTDIR,
                &format!("a directory onto {n}, {how:?}"),
            );
        }
    }
    assert_eq!(listed(&f.root), before, "nothing moved");
}

/// A handle to what was replaced works on.
pub fn replaced_nodes_stay_usable(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let old = f.file(&f.root, "to", b"old");
    f.file(&f.root, "from", b"new");
    f.mv((&f.root, "from"), (&f.root, "to"), RenameHow::Replace)
        .unwrap();
    assert_eq!(content(&old), b"old");
    write_all(&*old.open(Access::Write).unwrap(), b"OLD", 0);
    assert_eq!(content(&f.node(&f.root, "to").0), b"new");
}

/// Between two names of one node nothing happens, successfully; so too onto itself.
pub fn links_of_one_node_both_stay(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let node = f.empty(&f.root, "a");
    let dir = f.dir(&f.root, "dir");
    f.empty(&dir, "inside");
    let links = f.caps().hard_links;
    if links {
        f.up().link(&node, At::new(&dir, &name("b"))).unwrap();
    }
    for how in f.modes() {
        if how == RenameHow::NoReplace {
            continue;
        }
        f.mv((&f.root, "a"), (&f.root, "a"), how).unwrap();
        f.mv((&dir, "inside"), (&dir, "inside"), how).unwrap();
        f.assert_is(&f.root, "a", &node);
        f.node(&dir, "inside");
        if links {
            f.mv((&f.root, "a"), (&dir, "b"), how).unwrap();
            f.assert_is(&f.root, "a", &node);
            f.assert_is(&dir, "b", &node);
            assert_eq!(node.metadata().unwrap().nlink, 2, "after {how:?}");
        }
    }
}

/// A directory cannot move into itself or below: `EINVAL`.
pub fn nothing_moves_into_itself(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let a = f.dir(&f.root, "a");
    let b = f.dir(&a, "b");
    let c = f.dir(&b, "c");
    f.dir(&c, "there");
    for how in f.modes() {
        for (dir, what) in [(&a, "itself"), (&b, "its child"), (&c, "its grandchild")] {
            if how != RenameHow::Exchange {
                let moved = f.mv((&f.root, "a"), (dir, "new"), how);
                fails(moved, Errno::EINVAL, &format!("into {what}, {how:?}"));
            }
        }
        if how != RenameHow::NoReplace {
            let moved = f.mv((&f.root, "a"), (&c, "there"), how);
            fails(moved, Errno::EINVAL, &format!("onto a descendant, {how:?}"));
        }
    }
    f.assert_is(&f.root, "a", &a);
    f.node(&c, "there");
}

/// What lies in a directory does not replace it: `ENOTEMPTY`, or `EINVAL` for an exchange.
pub fn ancestors_are_not_replaced(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let a = f.dir(&f.root, "a");
    let b = f.dir(&a, "b");
    f.dir(&b, "c");
    f.empty(&b, "file");
    for n in ["c", "file"] {
        let moved = f.mv((&b, n), (&f.root, "a"), RenameHow::Replace);
        fails(
            moved,
            Errno::ENOTEMPTY,
            &format!("{n} onto its grandparent"),
        );
        if f.caps().exchange {
            let moved = f.mv((&b, n), (&f.root, "a"), RenameHow::Exchange);
            fails(
                moved,
                Errno::EINVAL,
                &format!("exchange of {n} with its grandparent"),
            );
        }
    }
}

/// An absent source, and for an exchange an absent target, is `ENOENT`.
pub fn absent_names_are_not_moved(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.empty(&f.root, "there");
    for how in f.modes() {
        let moved = f.mv((&f.root, "absent"), (&f.root, "new"), how);
        fails(moved, Errno::ENOENT, &format!("an absent source, {how:?}"));
        if how != RenameHow::NoReplace {
            let moved = f.mv((&f.root, "absent"), (&f.root, "there"), how);
            fails(
                moved,
                Errno::ENOENT,
                &format!("an absent source onto something, {how:?}"),
            );
        }
    }
    if f.caps().exchange {
        let moved = f.mv((&f.root, "there"), (&f.root, "absent"), RenameHow::Exchange);
        fails(moved, Errno::ENOENT, "exchange with nothing");
    }
    assert_eq!(listed(&f.root), [name("there")], "no whiteout was left");
}

/// An exchange takes nodes of any two types, full directories and whiteouts.
pub fn exchange_takes_anything(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().exchange, "exchange") {
        return;
    }
    let sub = f.dir(&f.root, "sub");
    let full = f.dir(&sub, "full");
    f.empty(&full, "inside");
    for (n, node, _) in f.one_of_each(&f.root) {
        f.mv((&f.root, n), (&sub, "full"), RenameHow::Exchange)
            .unwrap();
        f.assert_is(&sub, "full", &node);
        f.assert_is(&f.root, n, &full);
        assert_eq!(listed(&full), [name("inside")]);
        f.mv((&sub, "full"), (&f.root, n), RenameHow::Exchange)
            .unwrap();
        f.assert_is(&sub, "full", &full);
    }
    if f.caps().whiteouts {
        f.whiteout(&f.root, "gone");
        f.mv((&f.root, "gone"), (&sub, "full"), RenameHow::Exchange)
            .unwrap();
        f.assert_whiteout(&sub, "full");
        f.assert_is(&f.root, "gone", &full);
        f.mv((&f.root, "gone"), (&sub, "full"), RenameHow::Exchange)
            .unwrap();
        f.assert_is(&sub, "full", &full);
    }
}

/// `LeaveWhiteout` to a free name leaves a whiteout in place of a node of any type.
pub fn moving_may_leave_a_whiteout(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().whiteouts, "whiteouts") {
        return;
    }
    let sub = f.dir(&f.root, "sub");
    for (n, node, _) in f.one_of_each(&f.root) {
        f.mv((&f.root, n), (&sub, n), RenameHow::LeaveWhiteout)
            .unwrap();
        let left = f.entry(&f.root, n);
        assert!(
            matches!(left, Some(Entry::Whiteout(WhiteoutForm::CharDevice))),
            "in place of {n}: {left:?}"
        );
        f.assert_is(&sub, n, &node);
    }
    f.whiteout(&f.root, "gone");
    f.mv((&f.root, "gone"), (&sub, "gone"), RenameHow::LeaveWhiteout)
        .unwrap();
    f.assert_whiteout(&f.root, "gone");
    f.assert_whiteout(&sub, "gone");
}

/// `LeaveWhiteout` replaces as `Replace` does.
pub fn moving_and_replacing_may_leave_a_whiteout(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().whiteouts, "whiteouts") {
        return;
    }
    let (file, dir) = (f.empty(&f.root, "file"), f.dir(&f.root, "dir"));
    f.empty(&f.root, "to-file");
    let to_dir = f.dir(&f.root, "to-dir");
    f.empty(&to_dir, "block");
    let moved = f.mv(
        (&f.root, "dir"),
        (&f.root, "to-dir"),
        RenameHow::LeaveWhiteout,
    );
    fails(moved, Errno::ENOTEMPTY, "onto a full directory");
    f.assert_is(&f.root, "dir", &dir);
    f.up()
        .remove(At::new(&to_dir, &name("block")), RemoveKind::NonDirectory)
        .unwrap();
    for (from, to, node) in [("file", "to-file", &file), ("dir", "to-dir", &dir)] {
        f.mv((&f.root, from), (&f.root, to), RenameHow::LeaveWhiteout)
            .unwrap();
        f.assert_whiteout(&f.root, from);
        f.assert_is(&f.root, to, node);
    }
    f.mv(
        (&f.root, "to-file"),
        (&f.root, "file"),
        RenameHow::LeaveWhiteout,
    )
    .unwrap();
    f.assert_is(&f.root, "file", &file);
    f.assert_whiteout(&f.root, "to-file");
}

/// Nothing moves into a directory that was removed: `ENOENT`.
pub fn removed_directories_are_no_target(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let parent = f.dir(&f.root, "parent");
    let removed = f.dir(&parent, "removed");
    f.up()
        .remove(At::new(&parent, &name("removed")), RemoveKind::Directory)
        .unwrap();
    f.up()
        .remove(At::new(&f.root, &name("parent")), RemoveKind::Directory)
        .unwrap();
    drop(parent);
    f.empty(&f.root, "file");
    f.dir(&f.root, "dir");
    for how in f.modes() {
        for n in ["file", "dir"] {
            let moved = f.mv((&f.root, n), (&removed, "x"), how);
            fails(
                moved,
                Errno::ENOENT,
                &format!("{n} into a removed directory, {how:?}"),
            );
        }
        let moved = f.mv((&removed, "x"), (&f.root, "new"), how);
        fails(
            moved,
            Errno::ENOENT,
            &format!("out of a removed directory, {how:?}"),
        );
    }
    assert_eq!(listed(&f.root), [name("dir"), name("file")]);
}

/// A directory moves with everything in it, and handles into it work on.
pub fn directories_keep_their_content(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let (a, other) = (f.dir(&f.root, "a"), f.dir(&f.root, "other"));
    let b = f.dir(&a, "b");
    let file = f.file(&b, "file", b"data");
    f.mv((&f.root, "a"), (&other, "moved"), RenameHow::NoReplace)
        .unwrap();
    assert_eq!(listed(&a), [name("b")]);
    f.assert_is(&b, "file", &file);
    f.empty(&b, "new");
    f.up()
        .remove(At::new(&b, &name("new")), RemoveKind::NonDirectory)
        .unwrap();
    assert_eq!(content(&file), b"data");
    let moved = f.mv((&f.root, "other"), (&b, "x"), RenameHow::NoReplace);
    fails(moved, Errno::EINVAL, "the new parent is known");
    f.mv((&a, "b"), (&f.root, "b"), RenameHow::NoReplace)
        .unwrap();
    f.mv((&f.root, "other"), (&b, "x"), RenameHow::NoReplace)
        .unwrap();
    f.assert_is(&b, "x", &other);
}

/// Both ends must be directories: `ENOTDIR`.
pub fn renaming_needs_directories(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let file = f.empty(&f.root, "file");
    f.empty(&f.root, "other");
    for how in f.modes() {
        let moved = f.mv((&file, "x"), (&f.root, "new"), how);
        fails(moved, Errno::ENOTDIR, &format!("out of a file, {how:?}"));
        let moved = f.mv((&f.root, "other"), (&file, "x"), how);
        fails(moved, Errno::ENOTDIR, &format!("into a file, {how:?}"));
    }
}

/// Both directories' modification times move, and the node's own stays.
pub fn parent_times_move(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let (a, b) = (f.dir(&f.root, "a"), f.dir(&f.root, "b"));
    let node = f.make(&a, "n", NewKind::Fifo, 0o600);
    let old = Timestamp::new(1_000_000, 5);
    for node in [&node, &a, &b] {
        let attr = SetAttr::times(SetTime::Omit, SetTime::At(old));
        f.up().set_attr(node, &attr).unwrap();
    }
    f.mv((&a, "n"), (&b, "n"), RenameHow::NoReplace).unwrap();
    assert_ne!(a.metadata().unwrap().mtime, old, "the old directory");
    assert_ne!(b.metadata().unwrap().mtime, old, "the new directory");
    assert_eq!(node.metadata().unwrap().mtime, old, "the node");
}
