//! What is particular to layers in memory; the contract is tested by the conformance suite.
//!
//! One room: a flat list of short cases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use super::*;
use crate::backend::{
    Access, At, AttrKey, Entry, NewKind, NewNode, RemoveKind, RenameHow, WhiteoutForm, XattrMode,
};
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime};
use crate::path::{Component, Name, parse};

fn node(layer: &MemLayer, path: &str) -> NodeRef {
    let mut node = layer.root().unwrap();
    for component in parse(Path::new(path)).unwrap().components {
        let Component::Name(name) = component else {
            panic!("{path} has ..");
        };
        node = match node.lookup(&name).unwrap() {
            Some(Entry::Node(node, _)) => node,
            other => panic!("{path}: {other:?}"),
        };
    }
    node
}

fn content(layer: &MemLayer, path: &str) -> Vec<u8> {
    let file = node(layer, path).open(Access::Read).unwrap();
    let mut buf = vec![0; usize::try_from(file.metadata().unwrap().size).unwrap()];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), buf.len());
    buf
}

fn name(s: &str) -> Name {
    Name::new(s).unwrap()
}

fn write(layer: &MemLayer, path: &str, data: &[u8], offset: u64) {
    let file = node(layer, path).open(Access::Write).unwrap();
    assert_eq!(file.write_at(data, offset).unwrap(), data.len());
}

fn remove(layer: &MemLayer, dir: &str, n: &str, kind: RemoveKind) {
    layer
        .remove(At::new(&node(layer, dir), &name(n)), kind)
        .unwrap();
}

const FILE: NewNode = NewNode {
    kind: NewKind::File,
    mode: 0o644,
    uid: None,
    gid: None,
};

#[test]
fn clones_are_independent() {
    let a = MemLayer::builder()
        .file("dir/file", [1; 9000])
        .file("gone", b"x")
        .build()
        .unwrap();
    let b = a.clone();
    assert_ne!(a.identity().fs, b.identity().fs);
    assert_eq!(
        node(&a, "dir").metadata().unwrap().ino,
        node(&b, "dir").metadata().unwrap().ino
    );
    assert_ne!(
        node(&a, "dir").metadata().unwrap().dev,
        node(&b, "dir").metadata().unwrap().dev
    );
    write(&a, "dir/file", b"A", 100);
    write(&b, "dir/file", b"B", 5000);
    remove(&a, "/", "gone", RemoveKind::NonDirectory);
    assert_eq!(content(&b, "gone"), b"x");
    let (in_a, in_b) = (content(&a, "dir/file"), content(&b, "dir/file"));
    assert_eq!((in_a[100], in_a[5000]), (b'A', 1));
    assert_eq!((in_b[100], in_b[5000]), (1, b'B'));
    let made = a.create(At::new(&node(&b, "dir"), &name("x")), &FILE);
    assert_eq!(
        made.unwrap_err().errno(),
        Errno::EXDEV,
        "nodes belong to one clone"
    );
}

#[test]
fn clones_have_no_nameless_nodes_and_no_work() {
    let a = MemLayer::builder().file("file", b"x").build().unwrap();
    let empty = MemLayer::new().inode_count();
    let root = a.root().unwrap();
    let held = node(&a, "file");
    remove(&a, "/", "file", RemoveKind::NonDirectory);
    let tmp = a.tmpfile(&root, &FILE).unwrap();
    a.create(At::new(&a.work().unwrap(), &name("staged")), &FILE)
        .unwrap();
    let b = a.clone();
    assert_eq!(a.inode_count(), empty + 3);
    assert_eq!(b.inode_count(), empty);
    assert_eq!(b.work().unwrap().list().unwrap(), []);
    assert_eq!(a.work().unwrap().list().unwrap().len(), 1);
    drop((held, tmp));
    assert_eq!(a.inode_count(), empty + 1);
}

#[test]
fn nodes_are_freed_with_their_last_handle() {
    let layer = MemLayer::new();
    let (empty, root) = (layer.inode_count(), layer.root().unwrap());
    for by_rename in [false, true] {
        let made = layer.create(At::new(&root, &name("n")), &FILE).unwrap();
        let file = made.open(Access::Read).unwrap();
        drop(made);
        if by_rename {
            layer.create(At::new(&root, &name("m")), &FILE).unwrap();
            let (m, n) = (name("m"), name("n"));
            let (m, n) = (At::new(&root, &m), At::new(&root, &n));
            layer.rename(m, n, RenameHow::Replace).unwrap();
            assert_eq!(layer.inode_count(), empty + 2);
        }
        remove(&layer, "/", "n", RemoveKind::NonDirectory);
        assert_eq!(layer.inode_count(), empty + 1, "the open file keeps it");
        drop(file);
        assert_eq!(layer.inode_count(), empty);
    }
    let dir = NewNode {
        kind: NewKind::Directory,
        ..FILE
    };
    let made = layer.create(At::new(&root, &name("d")), &dir).unwrap();
    remove(&layer, "/", "d", RemoveKind::Directory);
    assert_eq!(
        (made.metadata().unwrap().nlink, layer.inode_count()),
        (0, empty + 1)
    );
    drop(made);
    assert_eq!(layer.inode_count(), empty);
    drop(layer.tmpfile(&root, &FILE).unwrap());
    assert_eq!(layer.inode_count(), empty);
    let tmp = layer.tmpfile(&root, &FILE).unwrap();
    layer.link(&tmp, At::new(&root, &name("t"))).unwrap();
    drop(tmp);
    assert_eq!(layer.inode_count(), empty + 1, "a linked tmpfile stays");
    assert_eq!(node(&layer, "t").metadata().unwrap().nlink, 1);
}

#[test]
fn handles_given_before_a_clone_are_valid_in_it() {
    let a = MemLayer::builder().file("old", b"x").build().unwrap();
    let b = a.clone();
    let old = node(&a, "old").file_handle().unwrap().unwrap();
    assert!(b.by_handle(&old).unwrap().is_some());
    for layer in [&a, &b] {
        layer
            .create(At::new(&layer.root().unwrap(), &name("new")), &FILE)
            .unwrap();
    }
    let new = node(&a, "new").file_handle().unwrap().unwrap();
    assert!(a.by_handle(&new).unwrap().is_some());
    assert!(
        b.by_handle(&new).unwrap().is_none(),
        "made after the clone, by another layer"
    );
    assert_eq!(a.identity().uuid, b.identity().uuid);
    assert_ne!(a.identity().uuid, MemLayer::new().identity().uuid);
}

#[test]
fn copies_between_layers_share_their_chunks() {
    let data: Vec<u8> = (0..100_000u32).map(|i| (i % 253) as u8).collect();
    let a = MemLayer::builder().file("f", &data).build().unwrap();
    let b = MemLayer::builder().file("f", b"old").build().unwrap();
    let src = node(&a, "f").open(Access::Read).unwrap();
    let dst = node(&b, "f").open(Access::ReadWrite).unwrap();
    let cloned = dst.clone_range(&*src, 0, 0, 1 << 40).unwrap();
    assert_eq!((cloned.bytes, cloned.shared), (100_000, true));
    let chunks = |file: &dyn super::super::LayerFile| {
        let any: &dyn std::any::Any = file;
        any.downcast_ref::<file::MemFile>()
            .unwrap()
            .snapshot()
            .unwrap()
            .0
    };
    assert!(chunks(&*src).is_shared_with(&chunks(&*dst)));
    assert_eq!(content(&b, "f"), data);
    let aligned = dst.clone_range(&*src, 8192, 204_800, 40_960).unwrap();
    assert!(aligned.shared);
    assert!(!dst.clone_range(&*src, 1, 0, 40_960).unwrap().shared);
    let whole = dst.clone_range(&*dst, 0, 0, 1 << 40).unwrap();
    assert!(whole.shared, "onto itself");
}

#[test]
fn times_come_from_the_clock() {
    let clock = Arc::new(ManualClock::stepping(Timestamp::new(100, 0), 1));
    let layer = MemLayer::with_clock(Arc::<ManualClock>::clone(&clock));
    clock.set(Timestamp::new(200, 999_999_999));
    let root = layer.root().unwrap();
    let made = layer.create(At::new(&root, &name("f")), &FILE).unwrap();
    let at = Timestamp::new(200, 999_999_999);
    let meta = made.metadata().unwrap();
    assert_eq!(
        (meta.atime, meta.mtime, meta.ctime, meta.btime),
        (at, at, at, Some(at))
    );
    assert_eq!(root.metadata().unwrap().mtime, at);
    layer.set_attr(&made, &SetAttr::mode(0o600)).unwrap();
    let meta = made.metadata().unwrap();
    assert_eq!((meta.mtime, meta.ctime), (at, Timestamp::new(201, 0)));
    clock.advance(3_500_000_000);
    made.open(Access::Write).unwrap().write_at(b"x", 0).unwrap();
    let meta = made.metadata().unwrap();
    assert_eq!(meta.mtime, Timestamp::new(204, 500_000_001));
    assert_eq!((meta.ctime, meta.atime), (meta.mtime, at));
}

#[test]
fn directories_count_their_subdirectories() {
    let layer = MemLayer::builder()
        .dir("a/b", 0o755)
        .dir("a/c", 0o755)
        .dir("e", 0o755)
        .build();
    let layer = layer.unwrap();
    let links = |path: &str| node(&layer, path).metadata().unwrap().nlink;
    assert_eq!(
        (links("/"), links("a"), links("a/b"), links("e")),
        (4, 4, 2, 2)
    );
    let mv = |from: (&str, &str), to: (&str, &str), how| {
        let (a, b) = (name(from.1), name(to.1));
        let (from, to) = (node(&layer, from.0), node(&layer, to.0));
        layer
            .rename(At::new(&from, &a), At::new(&to, &b), how)
            .unwrap();
    };
    mv(("a", "b"), ("e", "b"), RenameHow::NoReplace);
    assert_eq!((links("a"), links("e")), (3, 3));
    mv(("a", "c"), ("e", "b"), RenameHow::Replace);
    assert_eq!((links("a"), links("e")), (2, 3));
    mv(("e", "b"), ("/", "a"), RenameHow::Exchange);
    assert_eq!((links("/"), links("e")), (4, 3));
    mv(("/", "a"), ("e", "x"), RenameHow::LeaveWhiteout);
    assert_eq!((links("/"), links("e")), (3, 4));
}

#[test]
fn writing_takes_capabilities_but_no_mode_bits() {
    let layer = MemLayer::builder()
        .file("f", b"x")
        .xattr("f", "security.capability", b"caps")
        .xattr("f", "user.a", b"stays")
        .mode("f", 0o6755)
        .build()
        .unwrap();
    write(&layer, "f", b"y", 0);
    let f = node(&layer, "f");
    assert_eq!(f.metadata().unwrap().mode, 0o6755);
    assert_eq!(f.xattrs().unwrap(), [XattrName::new("user.a").unwrap()]);
}

#[test]
fn space_is_limited_where_it_would_cost_memory() {
    let layer = MemLayer::builder().file("f", b"x").build().unwrap();
    let file = node(&layer, "f").open(Access::Write).unwrap();
    let e = file
        .allocate(crate::backend::AllocateMode::Allocate, 0, 1 << 60)
        .unwrap_err();
    assert_eq!(e.errno(), Errno::ENOSPC);
    file.set_len(1 << 60).unwrap();
    file.write_at(b"end", (1 << 60) - 3).unwrap();
    assert_eq!(file.metadata().unwrap().blocks, 16);
    assert_eq!(
        file.write_at(b"x", u64::MAX).unwrap_err().errno(),
        Errno::EFBIG
    );
}

#[test]
fn builder_makes_what_it_is_told() {
    let t = Timestamp::new(123, 456);
    let layer = MemLayer::builder()
        .namespace(XattrNamespace::User)
        .label("test")
        .mtime("etc", t)
        .file("etc/passwd", b"root")
        .dir("etc", 0o700)
        .symlink("l", "etc")
        .opaque("o/p")
        .whiteout("o/gone")
        .xattr_whiteout("o/gone2")
        .owner("etc/passwd", 1, 2)
        .xattr("etc/passwd", "user.x", b"v")
        .hard_link("etc/passwd", "copy/of")
        .char_device("null", 1, 3)
        .fifo("pipe")
        .file("sparse", b"abc")
        .hole("sparse", 4096..40_960)
        .build()
        .unwrap();
    assert_eq!(layer.label(), "test");
    let etc = node(&layer, "etc").metadata().unwrap();
    assert_eq!((etc.mode, etc.mtime), (0o700, t), "times are set last");
    let passwd = node(&layer, "copy/of").metadata().unwrap();
    assert_eq!(
        (passwd.uid, passwd.gid, passwd.nlink, passwd.size),
        (1, 2, 2, 4)
    );
    let opaque = XattrName::new("user.overlay.opaque").unwrap();
    assert_eq!(
        node(&layer, "o/p").xattr(&opaque).unwrap().as_deref(),
        Some(&b"y"[..])
    );
    let o = node(&layer, "o");
    for (n, form) in [
        ("gone", WhiteoutForm::CharDevice),
        ("gone2", WhiteoutForm::Xattr),
    ] {
        let found = o.lookup(&name(n)).unwrap();
        assert!(
            matches!(found, Some(Entry::Whiteout(f)) if f == form),
            "{n}: {found:?}"
        );
    }
    let sparse = node(&layer, "sparse").metadata().unwrap();
    assert_eq!((sparse.size, sparse.blocks), (40_960, 8));
    assert_eq!(node(&layer, "l").read_link().unwrap(), b"etc");
}

#[test]
fn builder_says_what_failed() {
    let e = MemLayer::builder()
        .file("a", b"")
        .file("a/b", b"")
        .build()
        .unwrap_err();
    assert_eq!((e.errno(), e.path()), (Errno::ENOTDIR, Path::new("a/b")));
    assert_eq!(e.to_string(), "cannot make the file \"a/b\"");
    let e = MemLayer::builder()
        .dir("a", 0o755)
        .whiteout("a")
        .build()
        .unwrap_err();
    assert_eq!(e.errno(), Errno::EEXIST);
    let e = MemLayer::builder().mode("nothing", 0).build().unwrap_err();
    assert_eq!(e.errno(), Errno::ENOENT);
    assert_eq!(
        MemLayer::builder()
            .dir("a/../b", 0)
            .build()
            .unwrap_err()
            .errno(),
        Errno::EINVAL
    );
    assert_eq!(
        MemLayer::from_dir("/nonexistent").unwrap_err().errno(),
        Errno::ENOENT
    );
}

#[test]
#[cfg_attr(miri, ignore = "asks the kernel")]
fn real_trees_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |p: &str| dir.path().join(p);
    std::fs::create_dir_all(at("d/e")).unwrap();
    std::fs::write(at("d/file"), b"data").unwrap();
    std::fs::hard_link(at("d/file"), at("link")).unwrap();
    std::os::unix::fs::symlink("/etc", at("s")).unwrap();
    let big = std::fs::File::create(at("sparse")).unwrap();
    big.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&big, &[5; 5000], 1 << 20).unwrap();
    std::fs::set_permissions(at("d/file"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    let user_xattrs = xattr::set(at("d/file"), "user.a", b"v").is_ok();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let time = filetime::FileTime::from_unix_time(1_000_000, 123_456_789);
    filetime::set_file_times(at("d"), time, time).unwrap();
    let mut mknod = std::process::Command::new("mknod");
    let made = mknod.arg(at("gone")).args(["c", "0", "0"]).status();
    let whiteout = made.is_ok_and(|status| status.success());

    let layer = MemLayer::from_dir(dir.path()).unwrap();
    assert_eq!(content(&layer, "link"), b"data");
    let (real, mem) = (at("d/file").metadata().unwrap(), node(&layer, "d/file"));
    let meta = mem.metadata().unwrap();
    assert_eq!((meta.mode, meta.uid, meta.nlink), (0o4755, real.uid(), 2));
    assert_eq!(meta.ctime.secs, real.ctime());
    assert_eq!(meta.ino, node(&layer, "link").metadata().unwrap().ino);
    if user_xattrs {
        let value = mem.xattr(&XattrName::new("user.a").unwrap()).unwrap();
        assert_eq!(value.as_deref(), Some(&b"v"[..]));
    }
    let d = node(&layer, "d").metadata().unwrap();
    assert_eq!(
        (d.mtime, d.nlink),
        (Timestamp::new(1_000_000, 123_456_789), 3)
    );
    assert_eq!(node(&layer, "s").read_link().unwrap(), b"/etc");
    let sparse = node(&layer, "sparse").open(Access::Read).unwrap();
    let found = sparse.next_data(0).unwrap().unwrap();
    assert!(found.start > 0 && found.contains(&(1 << 20)), "{found:?}");
    assert_eq!(
        content(&layer, "sparse"),
        std::fs::read(at("sparse")).unwrap()
    );
    assert!(node(&layer, "fifo").open(Access::Read).is_err());
    if whiteout {
        let found = layer.root().unwrap().lookup(&name("gone")).unwrap();
        assert!(matches!(
            found,
            Some(Entry::Whiteout(WhiteoutForm::CharDevice))
        ));
    }
    assert_eq!(
        MemLayer::from_dir(at("s")).unwrap_err().errno(),
        Errno::ENOTDIR
    );
}

#[test]
fn access_list_rules_reach_the_layer() {
    let layer = MemLayer::builder()
        .symlink("l", "x")
        .file("f", b"")
        .build()
        .unwrap();
    let key = XattrName::new("system.posix_acl_access").unwrap();
    let set = |path: &str, value: Option<&[u8]>| {
        layer.set_xattr(
            &node(&layer, path),
            AttrKey::Raw(&key),
            value,
            XattrMode::Set,
        )
    };
    assert_eq!(set("l", Some(b"")).unwrap_err().errno(), Errno::EOPNOTSUPP);
    set("f", None).unwrap();
    let bad = SetAttr::times(SetTime::At(Timestamp::new(0, 1_000_000_000)), SetTime::Omit);
    let e = layer.set_attr(&node(&layer, "f"), &bad).unwrap_err();
    assert_eq!(e.errno(), Errno::EINVAL);
}

#[test]
fn nothing_is_lost_or_kept_when_many_threads_hold_handles() {
    let layer = MemLayer::new();
    let (empty, root) = (layer.inode_count(), layer.root().unwrap());
    let names: Vec<Name> = (0..3).map(|i| name(&format!("n{i}"))).collect();
    let (threads, rounds) = if cfg!(miri) { (3, 8) } else { (8, 500) };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (layer, root, names) = (&layer, &root, &names);
            scope.spawn(move || {
                for round in 0..rounds {
                    let at = At::new(root, &names[(thread + round) % 3]);
                    // Every step may meet what another thread has just done.
                    let made = layer.create(at, &FILE).ok();
                    let handle = made.as_ref().and_then(|n| n.file_handle().unwrap());
                    let found = handle.and_then(|h| layer.by_handle(&h).unwrap());
                    let open = found.and_then(|n| n.open(Access::ReadWrite).ok());
                    drop(made);
                    let _ = layer.remove(at, RemoveKind::NonDirectory);
                    if let Some(open) = open {
                        open.write_at(b"x", 0).unwrap();
                        assert_eq!(open.metadata().unwrap().size, 1);
                    }
                    if let Ok(tmp) = layer.tmpfile(root, &FILE) {
                        let _ = layer.link(&tmp, at);
                        assert_eq!(tmp.metadata().unwrap().size, 0);
                    }
                }
            });
        }
    });
    for entry in root.list().unwrap() {
        layer
            .remove(At::new(&root, &entry.name), RemoveKind::NonDirectory)
            .unwrap();
    }
    assert_eq!(layer.inode_count(), empty);
}

/// Times a lookup, to be looked at by people: `cargo test --release -- --ignored lookup_time`.
#[test]
#[ignore = "a measurement, which tests nothing"]
fn lookup_time() {
    let names: Vec<Name> = (0..20).map(|i| name(&format!("entry{i}"))).collect();
    let layer = names
        .iter()
        .fold(MemLayer::builder(), |b, n| b.file(n.as_path(), b"x"));
    let root = layer.build().unwrap().root().unwrap();
    let rounds = 200_000u32;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        for n in &names {
            assert!(root.lookup(n).unwrap().is_some());
        }
    }
    println!(
        "{:?} per lookup with metadata",
        start.elapsed() / (rounds * 20)
    );
}
