//! Real directories, beside plain copies and the kernel's overlay.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use layerstack::Fsync;
use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps,
    XattrFlags,
};

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

/// The directories of a copy-up.
struct Dirs {
    lower: OwnedFd,
    upper: OwnedFd,
    work: OwnedFd,
}

impl Dirs {
    fn open(site: &Site) -> Self {
        let open = |path: &Path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).unwrap()
        };
        Dirs {
            lower: open(&site.lowers[0]),
            upper: open(&site.path("upper")),
            work: open(&site.path("work")),
        }
    }

    /// What must be asked of the filesystem, and told it, to copy a file of 4 KiB up, and nothing else.
    fn copy_up(&self, name: &str) {
        let look = |dir: &OwnedFd, name: &str| {
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
            rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS)
        };
        look(&self.upper, name).unwrap_err();
        let found = look(&self.lower, name).unwrap();
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME;
        let from = rustix::fs::openat2(&self.lower, name, flags, Mode::empty(), resolve).unwrap();
        let mut buf = [0; 256];
        rustix::fs::fgetxattr(&from, "trusted.overlay.metacopy", &mut buf[..]).unwrap_err();
        rustix::fs::flistxattr(&from, &mut buf[..]).unwrap();
        rustix::fs::ioctl_getflags(&from).unwrap();
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(u32::from(found.stx_mode) & 0o7777);
        let to = rustix::fs::openat(&self.work, ".", flags, mode).unwrap();
        let copied = rustix::fs::copy_file_range(&from, None, &to, None, 4096);
        assert_eq!(copied.unwrap(), 4096);
        drop(from);
        let flags = XattrFlags::empty();
        rustix::fs::fsetxattr(&to, "trusted.overlay.origin", &[7; 33], flags).unwrap();
        set_times(&to, &found);
        let before = look(&self.upper, "").unwrap();
        rustix::fs::linkat(&to, "", &self.upper, name, AtFlags::EMPTY_PATH).unwrap();
        set_times(&self.upper, &before);
    }
}

fn set_times(fd: &OwnedFd, like: &Statx) {
    let time = |t: &StatxTimestamp| Timespec {
        tv_sec: t.tv_sec,
        tv_nsec: t.tv_nsec.into(),
    };
    let times = Timestamps {
        last_access: time(&like.stx_atime),
        last_modification: time(&like.stx_mtime),
    };
    rustix::fs::futimens(fd, &times).unwrap();
}

fn touch_all(site: &Site, options: &[&str]) -> Duration {
    site.fresh();
    let mount = site.mount(options);
    let at = mount.path();
    let took = time(|| (0..SMALL).for_each(|n| touch_real(&at.join(format!("f{n}")))));
    mount.unmount().unwrap();
    took
}

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
            || touch_all(&site, options),
        );
    }
    // How fast it could be: the calls on the filesystem without what decides them (and without the file handle,
    // for which there is no safe call here).
    table.line(
        "ext4: 1,000 copy-ups of 4 KiB, only the system calls, beside the kernel's overlay, volatile",
        None,
        || {
            site.fresh();
            let dirs = Dirs::open(&site);
            time(|| (0..SMALL).for_each(|n| dirs.copy_up(&format!("f{n}"))))
        },
        || touch_all(&site, &["volatile"]),
    );
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
