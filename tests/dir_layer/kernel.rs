//! What the kernel stores is what this backend computes. Needs root, loop devices and `mkfs.ext4`.

use std::path::Path;
use std::process::Command;

use layerstack::backend::LayerBackend;
use layerstack::{DirLayer, OverlayAttr};

use crate::common::*;

/// A mounted filesystem in a file; unmounted when dropped.
struct Loop(tempfile::TempDir);

impl Loop {
    fn new(mkfs: &str, args: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(512 << 20).unwrap();
        std::fs::create_dir(dir.path().join("fs")).unwrap();
        let run = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        let made = run(Command::new(mkfs).args(args).arg(&image))
            && run(Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(dir.path().join("fs")));
        made.then_some(Loop(dir))
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("fs")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn overlay(top: &Path) -> bool {
    let p = |name: &str| top.join(name).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        p("lo"),
        p("up"),
        p("wd")
    );
    Command::new("mount")
        .args(["-t", "overlay", "ovl", "-o", &options, &p("mnt")])
        .status()
        .is_ok_and(|s| s.success())
}

/// On each filesystem: the origin that the kernel writes holds our handle and our UUID.
fn origins_agree(mkfs: &str, args: &[&str]) {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let Some(fs) = Loop::new(mkfs, args) else {
        println!("skipped: {mkfs} or loop devices missing");
        return;
    };
    let top = fs.path();
    for dir in ["lo/d", "up", "wd", "mnt"] {
        std::fs::create_dir_all(top.join(dir)).unwrap();
    }
    std::fs::write(top.join("lo/d/f"), "x").unwrap();
    if !overlay(&top) {
        println!("skipped: cannot mount overlays");
        return;
    }
    let changed = std::fs::write(top.join("mnt/d/f"), "y");
    assert!(
        Command::new("umount")
            .arg(top.join("mnt"))
            .status()
            .unwrap()
            .success()
    );
    changed.unwrap();

    let lower = DirLayer::open_lower(top.join("lo")).unwrap();
    let upper = DirLayer::open_upper(top.join("up"), top.join("wd")).unwrap();
    let (low_dir, _) = get(&lower.root().unwrap(), "d");
    let (up_dir, _) = get(&upper.root().unwrap(), "d");
    let (low_file, _) = get(&low_dir, "f");
    let (up_file, _) = get(&up_dir, "f");
    for (low, up) in [(low_dir, up_dir), (low_file, up_file)] {
        let stored = up.overlay_attr(OverlayAttr::Origin).unwrap().unwrap();
        let handle = low.file_handle().unwrap().unwrap();
        assert_eq!(stored[4], handle.kind);
        assert_eq!(stored[5..21], lower.identity().uuid.unwrap());
        assert_eq!(stored[21..], handle.bytes);
        println!("{mkfs}: {handle:?}");
        let found = lower.by_handle(&handle).unwrap().unwrap();
        let ino = found.metadata().unwrap().ino;
        assert_eq!(ino, low.metadata().unwrap().ino);
    }
    println!("{:?}", upper.capabilities());
    drop((lower, upper));
}

#[test]
fn origins_on_ext4() {
    origins_agree("mkfs.ext4", &["-q"]);
}

#[test]
fn origins_on_xfs() {
    origins_agree("mkfs.xfs", &["-q"]);
}

#[test]
fn origins_on_btrfs() {
    origins_agree("mkfs.btrfs", &["-q"]);
}
