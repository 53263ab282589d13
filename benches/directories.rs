//! Listing, walking and changing directories of many layers; beside the kernel's overlay on the same
//! layers (ext4 in memory), and in memory beside one layer or the overlay of the crate `vfs`.
//!
//! `BENCH_ALL=1` measures up to 100,000 entries and 128 layers.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a benchmark may fail by panicking"
)]

mod stage;

use std::io::Write;

use criterion::{BenchmarkId, Criterion};
use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::{Fsync, LayerStack, Overlay};
use stage::Lines;
use stage::Stage;
use stage::fs::Fs;
use stage::pairs::time;
use vfs::{MemoryFS, OverlayFS, VfsPath};

fn main() {
    stage::with_criterion(|c, stage| {
        if stage::pairs().is_none() {
            listing(c);
            beside_vfs(c);
        }
        if stage.can_mount() {
            walk(c, stage);
            change(c, stage);
        }
    });
}

/// Layers, topmost first, that have `entries` names between them.
fn spread(entries: usize, layers: usize) -> Vec<MemLayer> {
    let layer = |i: usize| {
        let names = (0..entries).filter(|n| n % layers == i);
        let builder = MemLayer::builder().dir("d", 0o755);
        let all = names.fold(builder, |b, n| b.file(format!("d/n{n}"), b""));
        all.build().unwrap()
    };
    (0..layers).map(layer).collect()
}

fn listing(c: &mut Criterion) {
    let mut group = c.benchmark_group("read_dir_memory");
    let (entries, layers): (&[usize], &[usize]) = match stage::all() {
        true => (&[10, 1000, 10_000, 100_000], &[1, 8, 32, 128]),
        false => (&[10, 1000], &[1, 20]),
    };
    for &entries in entries {
        for &count in layers {
            let stack = LayerStack::from_top(spread(entries, count)).unwrap();
            let id = format!("{entries}x{count}");
            group.bench_function(BenchmarkId::new("layerstack", &id), |b| {
                b.iter(|| assert_eq!(stack.read_dir("/d").unwrap().len(), entries));
            });
        }
        // The same names in one layer, without a union.
        let one = spread(entries, 1).remove(0);
        let name = layerstack::Name::new("d").unwrap();
        let entry = one.root().unwrap().lookup(&name).unwrap();
        let Some(layerstack::backend::Entry::Node(dir, _)) = entry else {
            panic!("it is there");
        };
        group.bench_function(BenchmarkId::new("one-layer", entries), |b| {
            b.iter(|| dir.list().unwrap());
        });
    }
    group.finish();
}

const LAYERS: usize = 20;

fn beside_vfs(c: &mut Criterion) {
    let mut group = c.benchmark_group("memory_vfs");
    let mut layers = spread(1000, LAYERS).into_iter();
    let upper = layers.next().unwrap();
    let ours = Overlay::new(&LayerStack::from_top(layers).unwrap(), upper).unwrap();
    let mut roots = Vec::new();
    for i in 0..LAYERS {
        let root = VfsPath::new(MemoryFS::new());
        root.join("d").unwrap().create_dir().unwrap();
        for n in (0..1000).filter(|n| n % LAYERS == i) {
            let mut file = root.join(format!("d/n{n}")).unwrap().create_file().unwrap();
            file.write_all(b"").unwrap();
        }
        roots.push(root);
    }
    let theirs = VfsPath::new(OverlayFS::new(&roots));
    for (what, path) in [("metadata-top", "d/n0"), ("metadata-bottom", "d/n999")] {
        group.bench_function(BenchmarkId::new("layerstack", what), |b| {
            b.iter(|| ours.metadata(path).unwrap());
        });
        group.bench_function(BenchmarkId::new("vfs", what), |b| {
            b.iter(|| theirs.join(path).unwrap().metadata().unwrap());
        });
    }
    group.bench_function(BenchmarkId::new("layerstack", "list"), |b| {
        b.iter(|| assert_eq!(ours.read_dir("d").unwrap().len(), 1000));
    });
    let dir = theirs.join("d").unwrap();
    group.bench_function(BenchmarkId::new("vfs", "list"), |b| {
        b.iter(|| assert_eq!(dir.read_dir().unwrap().count(), 1000));
    });
    group.finish();
}

fn walk(c: &mut Criterion, stage: &Stage) {
    let sizes: &[(usize, usize)] = match stage::all() {
        true => &[(20, 1000), (100, 2000)],
        false => &[(20, 1000)],
    };
    for &(layers, names) in sizes {
        let mut site = stage.site(Fs::Ext4);
        for i in 0..layers {
            let layer = site.lower();
            for n in 0..names {
                let dir = layer.join(format!("dir{}", n % 25));
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join(format!("of{i}-{n}")), b"data").unwrap();
            }
        }
        let id = format!("{layers}x{names}");
        let walk = |at: &std::path::Path| {
            time(|| {
                let walk = walkdir::WalkDir::new(at).into_iter();
                walk.for_each(|e| assert!(e.unwrap().metadata().is_ok()));
            })
        };
        let ours = |stack: &LayerStack| {
            time(|| {
                let walk = stack.walk("/");
                walk.for_each(|e| assert!(e.unwrap().metadata().is_ok()));
            })
        };
        let mut lines = Lines::new("walk_ext4");
        lines.add("layerstack", &id, || ours(&site.stack()));
        lines.add("kernel-cold", &id, || {
            let mount = site.mount_lowers();
            let took = walk(mount.path());
            mount.unmount().unwrap();
            took
        });
        lines.measure(c);
        let (stack, mount) = (site.stack(), site.mount_lowers());
        walk(mount.path());
        let mut lines = Lines::new("walk_again_ext4");
        lines.add("layerstack", &id, || ours(&stack));
        lines.add("kernel", &id, || walk(mount.path()));
        lines.measure(c);
        mount.unmount().unwrap();
    }
}

/// Renaming a lower file, and a directory in place of a whiteout, which is opaque.
fn change(c: &mut Criterion, stage: &Stage) {
    let mut site = stage.site(Fs::Ext4);
    let lower = site.lower();
    std::fs::create_dir(lower.join("dir")).unwrap();
    std::fs::write(lower.join("file"), b"data").unwrap();
    let ours = || {
        site.fresh();
        site.overlay(Fsync::Volatile)
    };
    let kernel = || {
        site.fresh();
        site.mount(&["volatile"])
    };
    let mut lines = Lines::new("change_ext4");
    lines.add("layerstack", "rename", || {
        let union = ours();
        time(|| union.rename("/file", "/other").unwrap())
    });
    lines.add("kernel", "rename", || {
        let mount = kernel();
        let (from, to) = (mount.path().join("file"), mount.path().join("other"));
        let took = time(|| std::fs::rename(from, to).unwrap());
        mount.unmount().unwrap();
        took
    });
    lines.add("layerstack", "opaque-mkdir", || {
        let union = ours();
        union.remove_dir("/dir").unwrap();
        time(|| union.create_dir("/dir", 0o755).unwrap())
    });
    lines.add("kernel", "opaque-mkdir", || {
        let mount = kernel();
        let dir = mount.path().join("dir");
        std::fs::remove_dir(&dir).unwrap();
        let took = time(|| std::fs::create_dir(&dir).unwrap());
        mount.unmount().unwrap();
        took
    });
    lines.measure(c);
}
