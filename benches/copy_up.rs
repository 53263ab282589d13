//! What does copying a file up cost, against a plain copy of the same file?
//!
//! Each routine makes the first write to a lower file of a union opened afresh. The baseline copies
//! the same bytes on the same medium without a union. Nothing is made durable, in either.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a benchmark may fail by panicking; criterion's macros make undocumented functions"
)]

use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::{DirLayer, LayerStack, OpenOptions, Overlay, OverlayOptions};
use tempfile::TempDir;

const SIZES: [usize; 2] = [4 << 10, 1 << 20];

fn overlay(lower: impl LayerBackend + 'static, upper: impl LayerBackend + 'static) -> Overlay {
    let lowers = LayerStack::from_top([lower]).unwrap();
    Overlay::with_options(
        &lowers,
        upper,
        OverlayOptions::new().fsync(layerstack::Fsync::Off),
    )
    .unwrap()
}

fn copy_up(overlay: &Overlay) {
    let options = OpenOptions::new().write(true);
    overlay.open("/file", &options).unwrap().close();
}

fn memory(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy_up_memory");
    for size in SIZES {
        let data = vec![7; size];
        let lower = MemLayer::builder().file("file", &data).build().unwrap();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("overlay", size), |b| {
            b.iter_batched(
                || overlay(lower.clone(), MemLayer::new()),
                |overlay| {
                    copy_up(&overlay);
                    overlay
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("baseline", size), |b| {
            b.iter(|| data.clone())
        });
    }
    group.finish();
}

/// A folder with a lower that holds `file`, an empty upper and a work directory.
fn folder(size: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    std::fs::write(dir.path().join("lower/file"), vec![7; size]).unwrap();
    dir
}

fn open(dir: &Path) -> Overlay {
    let lower = DirLayer::open_lower(dir.join("lower")).unwrap();
    let upper = DirLayer::open_upper(dir.join("upper"), dir.join("work")).unwrap();
    overlay(lower, upper)
}

fn directory(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy_up_directory");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("overlay", size), |b| {
            b.iter_batched(
                || {
                    let dir = folder(size);
                    (open(dir.path()), dir)
                },
                |(overlay, dir)| {
                    copy_up(&overlay);
                    (overlay, dir)
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("baseline", size), |b| {
            b.iter_batched(
                || folder(size),
                |dir| {
                    let (from, to) = (dir.path().join("lower/file"), dir.path().join("upper/file"));
                    std::fs::copy(from, to).unwrap();
                    dir
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = memory, directory
}
criterion_main!(benches);
