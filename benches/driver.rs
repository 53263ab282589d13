//! The exercise by which storage drivers are compared: create, first write, append, delete; beside the
//! kernel's overlay on the same filesystem (ext4 in memory), mounted as usual and volatile.
//!
//! `BENCH_ALL=1` does it with as many files as the exercise has; otherwise with a tenth.

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
use std::path::Path;

use layerstack::{Fsync, OpenOptions, Overlay};
use stage::fs::Fs;
use stage::pairs::time;
use stage::{Lines, Site, write_file};

/// One part of the exercise, through the library and through a mount.
struct Part {
    name: &'static str,
    ours: fn(&Overlay, usize),
    real: fn(&Path, usize),
}

const PARTS: [Part; 5] = [
    Part {
        name: "create-small-files",
        ours: |union, count| {
            let options = OpenOptions::new().write(true).create_new(true);
            for n in 0..count {
                let file = union.open(format!("/new{n}"), &options).unwrap();
                assert_eq!(file.write_at(&[7; 1024], 0).unwrap(), 1024);
            }
        },
        real: |at, count| {
            for n in 0..count {
                std::fs::write(at.join(format!("new{n}")), [7; 1024]).unwrap();
            }
        },
    },
    Part {
        name: "first-write-to-1MiB-files",
        ours: |union, count| (0..count).for_each(|n| append(union, &format!("/large{n}"))),
        real: |at, count| (0..count).for_each(|n| append_real(&at.join(format!("large{n}")))),
    },
    Part {
        name: "append-to-1KiB",
        ours: |union, _| append(union, "/small"),
        real: |at, _| append_real(&at.join("small")),
    },
    Part {
        name: "append-to-100MiB",
        ours: |union, _| append(union, "/huge"),
        real: |at, _| append_real(&at.join("huge")),
    },
    Part {
        name: "delete-lower-files",
        ours: |union, count| {
            for n in 0..count {
                union.remove_file(format!("/large{n}")).unwrap();
            }
        },
        real: |at, count| {
            for n in 0..count {
                std::fs::remove_file(at.join(format!("large{n}"))).unwrap();
            }
        },
    },
];

fn append(union: &Overlay, path: &str) {
    let options = OpenOptions::new().append(true);
    let file = union.open(path, &options).unwrap();
    assert_eq!(file.write_at(b"x", 0).unwrap(), 1);
}

fn append_real(path: &Path) {
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    file.write_all(b"x").unwrap();
}

fn lower(site: &mut Site, count: usize) {
    let dir = site.lower();
    for n in 0..count {
        write_file(&dir.join(format!("large{n}")), 1 << 20);
    }
    write_file(&dir.join("small"), 1 << 10);
    write_file(&dir.join("huge"), 100 << 20);
}

fn main() {
    stage::with_criterion(|c, stage| {
        if !stage.can_mount() {
            return;
        }
        let count = if stage::all() { 1000 } else { 100 };
        let mut site = stage.site(Fs::Ext4);
        lower(&mut site, count);
        let site = &site;
        let mut lines = Lines::new(format!("driver_{count}"));
        for part in &PARTS {
            let durability: [(&str, Fsync, &[&str]); 2] = [
                ("", Fsync::Auto, &[]),
                ("-volatile", Fsync::Volatile, &["volatile"]),
            ];
            for (suffix, fsync, options) in durability {
                lines.add(format!("layerstack{suffix}"), part.name, move || {
                    site.fresh();
                    let union = site.overlay(fsync);
                    time(|| (part.ours)(&union, count))
                });
                lines.add(format!("kernel{suffix}"), part.name, move || {
                    site.fresh();
                    let mount = site.mount(options);
                    let took = time(|| (part.real)(mount.path(), count));
                    mount.unmount().unwrap();
                    took
                });
            }
        }
        lines.measure(c);
    });
}
