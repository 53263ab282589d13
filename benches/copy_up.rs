//! What does copying a file up cost, against a plain copy of the same file and against the kernel?
//!
//! Each run makes the first write to a lower file of a union opened afresh, without making it durable;
//! the plain copy copies the same bytes on the same filesystem; the kernel's overlay does the same as the
//! union, mounted as usual and volatile. `BENCH_ALL=1` measures all sizes on all filesystems.

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

use criterion::{Criterion, Throughput};
use layerstack::backend::memory::MemLayer;
use layerstack::{Fsync, LayerStack, Overlay, OverlayOptions};
use stage::pairs::time;
use stage::{Lines, Site, Stage, touch, touch_real, write_file};

/// Name and size of the files; the last one is a hole.
const FILES: [(&str, u64); 5] = [
    ("0", 0),
    ("4KiB", 4 << 10),
    ("1MiB", 1 << 20),
    ("256MiB", 256 << 20),
    ("1GiB-sparse", 1 << 30),
];

fn main() {
    stage::with_criterion(|c, stage| {
        memory(c);
        for (name, site) in stage.places() {
            directory(c, stage, name, site);
        }
    });
}

fn memory(c: &mut Criterion) {
    let mut lines = Lines::new("copy_up_memory");
    for (name, size) in FILES {
        let bytes = if name == "1GiB-sparse" { 0 } else { size };
        let data = vec![7; usize::try_from(bytes).unwrap()];
        let lower = MemLayer::builder().file("file", &data).build().unwrap();
        lines.throughput(Throughput::Bytes(bytes));
        lines.add("layerstack", name, move || {
            let lowers = LayerStack::from_top([lower.clone()]).unwrap();
            let options = OverlayOptions::new().fsync(Fsync::Off);
            let union = Overlay::with_options(&lowers, MemLayer::new(), options).unwrap();
            time(|| touch(&union, "/file"))
        });
        lines.add("plain", name, move || time(|| data.clone()));
    }
    lines.measure(c);
}

fn directory(c: &mut Criterion, stage: &Stage, place: &str, mut site: Site) {
    let lower = site.lower();
    let site = &site;
    let mut lines = Lines::new(format!("copy_up_{place}"));
    for (name, size) in FILES {
        if size > 1 << 20 && place != "ext4" && place != "here" && !stage::all() {
            continue;
        }
        let source = lower.join(name);
        if name == "1GiB-sparse" {
            let file = std::fs::File::create(&source).unwrap();
            file.set_len(size).unwrap();
        } else {
            write_file(&source, size);
        }
        lines.throughput(Throughput::Bytes(size));
        lines.add("layerstack", name, || {
            site.fresh();
            let union = site.overlay(Fsync::Off);
            time(|| touch(&union, name))
        });
        lines.add("plain", name, move || {
            site.fresh();
            let to = site.path("plain").join(name);
            time(|| std::fs::copy(&source, &to).unwrap())
        });
        let mounts: [(&str, &[&str]); 2] = [("kernel", &[]), ("kernel-volatile", &["volatile"])];
        for (who, options) in mounts {
            if stage.can_mount() {
                lines.add(who, name, move || {
                    site.fresh();
                    let mount = site.mount(options);
                    let took = time(|| touch_real(&mount.path().join(name)));
                    mount.unmount().unwrap();
                    took
                });
            }
        }
    }
    lines.measure(c);
}
