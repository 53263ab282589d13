//! Real directories, beside plain copies and the kernel's overlay.

use std::path::Path;
use std::time::Duration;

use layerstack::Fsync;

use crate::Table;
use crate::stage::fs::Fs;
use crate::stage::pairs::time;
use crate::stage::{Site, Stage, touch, touch_real, write_file};

const LARGE: u64 = 256 << 20;

pub fn lines(table: &Table, stage: &Stage) {
    copy_large(table, stage);
    reflink(table, stage);
    copy_small(table, stage);
    walk(table, stage);
}

/// The first write to `file`.
fn first_write(site: &Site, fsync: Fsync, file: &str) -> Duration {
    site.fresh();
    let union = site.overlay(fsync);
    time(|| touch(&union, file))
}

fn plain_copy(site: &Site, file: &str, sync: bool) -> Duration {
    site.fresh();
    let (from, to) = (site.lowers[0].join(file), site.path("plain").join(file));
    time(|| {
        std::fs::copy(from, &to).unwrap();
        if sync {
            std::fs::File::open(&to).unwrap().sync_all().unwrap();
        }
    })
}

fn copy_large(table: &Table, stage: &Stage) {
    if !table.wants("ext4: copy-up of 256 MiB, ") {
        return;
    }
    let mut site = stage.site(Fs::Ext4);
    write_file(&site.lower().join("file"), LARGE);
    for (name, fsync, sync) in [
        ("neither synced", Fsync::Off, false),
        ("both synced", Fsync::Auto, true),
    ] {
        table.line(
            &format!("ext4: copy-up of 256 MiB, {name}, beside a plain copy"),
            Some(1.05),
            || first_write(&site, fsync, "file"),
            || plain_copy(&site, "file", sync),
        );
    }
}

fn reflink(table: &Table, stage: &Stage) {
    for (name, kind) in [("btrfs", Fs::Btrfs), ("xfs", Fs::Xfs)] {
        let line = format!("{name}: copy-up of 256 MiB beside 1 MiB");
        let count = format!("{name}: KiB allocated by a copy-up of 256 MiB");
        if !table.wants(&line) && !table.wants(&count) {
            continue;
        }
        let mut site = stage.site(kind);
        let lower = site.lower();
        write_file(&lower.join("large"), LARGE);
        write_file(&lower.join("small"), 1 << 20);
        table.line(
            &line,
            Some(1.1),
            || first_write(&site, Fsync::Off, "large"),
            || first_write(&site, Fsync::Off, "small"),
        );
        site.fresh();
        let union = site.overlay(Fsync::Off);
        site.rest();
        let before = free(&site);
        touch(&union, "large");
        site.rest();
        table.count(&count, (before.saturating_sub(free(&site))) >> 10);
    }
}

/// Bytes that are free on a site's filesystem.
fn free(site: &Site) -> u64 {
    let fs = rustix::fs::statvfs(site.path("upper")).unwrap();
    fs.f_bfree * fs.f_frsize
}

const SMALL: usize = 1000;

fn copy_small(table: &Table, stage: &Stage) {
    if !table.wants("ext4: 1,000 copy-ups of 4 KiB, ") {
        return;
    }
    let mut site = stage.site(Fs::Ext4);
    let dir = site.lower();
    for n in 0..SMALL {
        std::fs::write(dir.join(format!("f{n}")), [7; 4096]).unwrap();
    }
    for (name, fsync, options) in [
        ("volatile", Fsync::Volatile, &["volatile"][..]),
        ("normal", Fsync::Auto, &[]),
    ] {
        table.line(
            &format!("ext4: 1,000 copy-ups of 4 KiB, {name}, beside the kernel's overlay"),
            Some(1.0),
            || {
                site.fresh();
                let union = site.overlay(fsync);
                time(|| (0..SMALL).for_each(|n| touch(&union, &format!("/f{n}"))))
            },
            || {
                site.fresh();
                let mount = site.mount(options);
                let at = mount.path();
                let took = time(|| (0..SMALL).for_each(|n| touch_real(&at.join(format!("f{n}")))));
                mount.unmount().unwrap();
                took
            },
        );
    }
}

const LAYERS: usize = 20;
const NAMES: usize = 1000;
const DIRS: usize = 25;

/// What a walk comes by: names, directories, the root.
const ENTRIES: usize = LAYERS * NAMES + DIRS + 1;

fn walk(table: &Table, stage: &Stage) {
    if !table.wants("ext4: walk of 20 layers x 1,000 names, ") {
        return;
    }
    let mut site = stage.site(Fs::Ext4);
    for i in 0..LAYERS {
        let layer = site.lower();
        for n in 0..NAMES {
            let dir = layer.join(format!("dir{}", n % DIRS));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(format!("of{i}-{n}")), b"data").unwrap();
        }
    }
    table.line(
        "ext4: walk of 20 layers x 1,000 names, afresh, beside a cold mount",
        Some(0.8),
        || walk_ours(&site.stack()),
        || {
            let mount = site.mount_lowers();
            let took = walk_real(mount.path());
            mount.unmount().unwrap();
            took
        },
    );
    let mount = site.mount_lowers();
    walk_real(mount.path());
    table.line(
        "ext4: walk of 20 layers x 1,000 names, afresh, beside a warm mount",
        Some(1.0),
        || walk_ours(&site.stack()),
        || walk_real(mount.path()),
    );
    let stack = site.stack();
    table.line(
        "ext4: walk of 20 layers x 1,000 names, again, beside a warm mount",
        Some(1.0),
        || walk_ours(&stack),
        || walk_real(mount.path()),
    );
}

fn walk_ours(stack: &layerstack::LayerStack) -> Duration {
    time(|| {
        let mut bytes = 0;
        let entries = stack.walk("/").map(|entry| {
            bytes += entry.unwrap().metadata().unwrap().size;
        });
        assert_eq!(entries.count(), ENTRIES);
        bytes
    })
}

fn walk_real(at: &Path) -> Duration {
    time(|| {
        let mut bytes = 0;
        let entries = walkdir::WalkDir::new(at).into_iter().map(|entry| {
            bytes += entry.unwrap().metadata().unwrap().len();
        });
        assert_eq!(entries.count(), ENTRIES);
        bytes
    })
}
