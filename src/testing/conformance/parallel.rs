//! Many threads at once: atomic steps stay whole, and nothing hangs.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Factory, Fixture, content, listed, name, new_node, write_all};
use crate::backend::{Access, At, Entry, NewKind, RemoveKind, RenameHow};
use crate::errno::Errno;

/// Of many that create one name, one succeeds and the others get `EEXIST`.
pub fn one_creator_wins(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    let names: Vec<_> = (0..20).map(|i| name(format!("n{i}"))).collect();
    let wins = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for n in &names {
                    match f
                        .up()
                        .create(At::new(&f.root, n), &new_node(NewKind::File, 0o600))
                    {
                        Ok(_) => drop(wins.fetch_add(1, Ordering::Relaxed)),
                        Err(e) => assert_eq!(e.errno(), Errno::EEXIST),
                    }
                }
            });
        }
    });
    assert_eq!(wins.load(Ordering::Relaxed), names.len());
    assert_eq!(f.root.list().unwrap().len(), names.len());
}

/// 64 threads look up, list, read, write, make and remove side by side.
pub fn readers_run_with_writers(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    f.file(&f.root, "stable", &[7; 10_000]);
    thread::scope(|scope| {
        for i in 0..64 {
            let f = &f;
            scope.spawn(move || {
                for round in 0..10 {
                    if i % 4 == 0 {
                        let n = format!("t{i}-{round}");
                        let node = f.file(&f.root, &n, n.as_bytes());
                        assert_eq!(content(&node), n.as_bytes());
                        let n = name(&n);
                        f.up()
                            .remove(At::new(&f.root, &n), RemoveKind::NonDirectory)
                            .unwrap();
                        assert_eq!(node.metadata().unwrap().nlink, 0);
                    } else {
                        let (node, meta) = f.node(&f.root, "stable");
                        assert_eq!(meta.size, 10_000);
                        assert_eq!(content(&node), [7; 10_000]);
                        assert!(
                            f.root
                                .list()
                                .unwrap()
                                .iter()
                                .any(|e| e.name == name("stable"))
                        );
                    }
                }
            });
        }
    });
    assert_eq!(listed(&f.root), [name("stable")]);
}

/// While two names are exchanged, both are always there.
pub fn exchange_is_atomic(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().exchange, "exchange") {
        return;
    }
    let (a, b) = (name("a"), name("b"));
    f.file(&f.root, "a", b"x");
    f.dir(&f.root, "b");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in [&a, &b, &a, &b] {
            let (f, done) = (&f, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let entry = f.root.lookup(n).unwrap();
                    assert!(matches!(entry, Some(Entry::Node(..))), "{n}: {entry:?}");
                }
            });
        }
        for _ in 0..200 {
            let (a, b) = (At::new(&f.root, &a), At::new(&f.root, &b));
            f.up().rename(a, b, RenameHow::Exchange).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Links made and removed in parallel are counted exactly, and writes to one file all arrive.
pub fn links_are_counted(factory: &dyn Factory) {
    let f = Fixture::new(factory);
    if f.lacks(f.caps().hard_links, "hard links") {
        return;
    }
    let node = f.empty(&f.root, "file");
    thread::scope(|scope| {
        for i in 0..8u8 {
            let (f, node) = (&f, &node);
            scope.spawn(move || {
                let file = node.open(Access::Write).unwrap();
                for j in 0..10u8 {
                    let n = name(format!("l{i}-{j}"));
                    f.up().link(node, At::new(&f.root, &n)).unwrap();
                    if j % 2 == 0 {
                        let at = At::new(&f.root, &n);
                        f.up().remove(at, RemoveKind::NonDirectory).unwrap();
                    }
                    write_all(&*file, &[i + 1], u64::from(i) * 10 + u64::from(j));
                }
            });
        }
    });
    assert_eq!(node.metadata().unwrap().nlink, 1 + 8 * 5);
    let expected: Vec<u8> = (0..8).flat_map(|i| [i + 1; 10]).collect();
    assert_eq!(content(&node), expected);
}
