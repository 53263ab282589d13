//! What does looking a path up cost, by depth of the path and number of layers?
//!
//! Every layer has all the directories, the lowest has the file: the longest search there is. `cold`
//! opens the union in each iteration, `warm` asks one that has been asked before. The baselines ask
//! one layer without a union: a backend name by name, the kernel for a real directory. `miss` asks for
//! a name that is nowhere, `whiteout` for one that the topmost layer hides. `BENCH_ALL=1` measures more
//! depths and layers.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark may fail by panicking; criterion's macros make undocumented functions"
)]

use std::path::PathBuf;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use layerstack::backend::memory::MemLayer;
use layerstack::backend::{Entry, LayerBackend};
use layerstack::{DirLayer, LayerStack, Metadata, Name};

/// The quick set, and the whole one.
fn set(quick: &[usize], whole: &[usize]) -> Vec<usize> {
    match std::env::var_os("BENCH_ALL").is_some_and(|v| v == "1") {
        true => whole.into(),
        false => quick.into(),
    }
}

fn depths() -> Vec<usize> {
    set(&[1, 5, 16], &[1, 2, 4, 5, 8, 16, 32])
}

fn counts() -> Vec<usize> {
    set(&[1, 20, 128], &[1, 2, 8, 20, 64, 100, 128])
}

fn directories(depth: usize) -> PathBuf {
    (1..depth).map(|n| format!("d{n}")).collect()
}

fn file(depth: usize) -> PathBuf {
    directories(depth).join("file")
}

fn layer(depth: usize, with_file: bool) -> MemLayer {
    let builder = MemLayer::builder();
    let built = match (with_file, depth) {
        (true, _) => builder.file(file(depth), b"x"),
        (false, 1) => builder,
        (false, _) => builder.dir(directories(depth), 0o755),
    };
    built.build().unwrap()
}

/// Topmost first.
fn layers(depth: usize, count: usize) -> Vec<MemLayer> {
    (1..=count).map(|n| layer(depth, n == count)).collect()
}

fn by_names(layer: &MemLayer, names: &[Name]) -> Metadata {
    let mut node = layer.root().unwrap();
    for name in names {
        let Some(Entry::Node(next, _)) = node.lookup(name).unwrap() else {
            unreachable!("every name is there");
        };
        node = next;
    }
    node.metadata().unwrap()
}

fn memory(c: &mut Criterion) {
    let mut group = c.benchmark_group("resolve_memory");
    for depth in depths() {
        let path = file(depth);
        for count in counts() {
            let layers = layers(depth, count);
            let id = format!("depth={depth}/layers={count}");
            group.bench_function(BenchmarkId::new("cold", &id), |b| {
                b.iter_batched(
                    || LayerStack::from_top(layers.clone()).unwrap(),
                    |stack| stack.metadata(&path).map(|meta| (meta, stack)),
                    BatchSize::SmallInput,
                );
            });
            let stack = LayerStack::from_top(layers.clone()).unwrap();
            group.bench_function(BenchmarkId::new("warm", &id), |b| {
                b.iter(|| stack.metadata(&path));
            });
            let nowhere = path.with_file_name("nowhere");
            group.bench_function(BenchmarkId::new("miss", &id), |b| {
                b.iter(|| stack.metadata(&nowhere).unwrap_err());
            });
            let hiding = MemLayer::builder().whiteout(&path).build().unwrap();
            let hidden = std::iter::once(hiding).chain(layers.iter().cloned());
            let hidden = LayerStack::from_top(hidden).unwrap();
            group.bench_function(BenchmarkId::new("whiteout", &id), |b| {
                b.iter(|| hidden.metadata(&path).unwrap_err());
            });
        }
        let one = layer(depth, true);
        let names: Vec<Name> = path.iter().map(|n| Name::try_from(n).unwrap()).collect();
        let id = format!("depth={depth}/layers=1");
        group.bench_function(BenchmarkId::new("baseline", id), |b| {
            b.iter(|| by_names(&one, &names));
        });
    }
    group.finish();
}

fn directory(c: &mut Criterion) {
    let mut group = c.benchmark_group("resolve_directory");
    for depth in depths() {
        let path = file(depth);
        let root = tempfile::tempdir().unwrap();
        let mut lowers = Vec::new();
        for n in 0..10 {
            let lower = root.path().join(n.to_string());
            std::fs::create_dir_all(lower.join(directories(depth))).unwrap();
            lowers.push(lower);
        }
        let real = lowers.last().unwrap().join(&path);
        std::fs::write(&real, "x").unwrap();
        let layers: Vec<DirLayer> = lowers
            .iter()
            .map(|dir| DirLayer::open_lower(dir).unwrap())
            .collect();
        let id = format!("depth={depth}/layers=10");
        group.bench_function(BenchmarkId::new("cold", &id), |b| {
            b.iter_batched(
                || LayerStack::from_top(layers.clone()).unwrap(),
                |stack| stack.metadata(&path).map(|meta| (meta, stack)),
                BatchSize::SmallInput,
            );
        });
        let stack = LayerStack::from_top(layers.clone()).unwrap();
        group.bench_function(BenchmarkId::new("warm", &id), |b| {
            b.iter(|| stack.metadata(&path));
        });
        let id = format!("depth={depth}/layers=1");
        group.bench_function(BenchmarkId::new("baseline", id), |b| {
            b.iter(|| std::fs::symlink_metadata(&real));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = memory, directory
}
criterion_main!(benches);
