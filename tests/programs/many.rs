//! A directory of 100,000 files.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::served::{require, through_mount};
use crate::site::Site;
use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;

const LOWER: usize = 90_000;
const NEW: usize = 10_000;

fn names(dir: &Path) -> HashSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    let list: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: HashSet<String> = list.iter().cloned().collect();
    assert_eq!(names.len(), list.len(), "a name is listed twice");
    names
}

fn work(root: &Path) {
    let dir = root.join("many");
    assert_eq!(names(&dir).len(), LOWER);
    for i in 0..NEW {
        fs::write(dir.join(format!("new{i}")), "").unwrap();
    }
    assert_eq!(names(&dir).len(), LOWER + NEW);
    for i in (0..LOWER).step_by(50) {
        fs::remove_file(dir.join(format!("low{i}"))).unwrap();
    }
    for i in (1..LOWER).step_by(100) {
        fs::rename(dir.join(format!("low{i}")), dir.join(format!("moved{i}"))).unwrap();
    }
    // Removed while it is listed: each remaining name once, none of those that were gone before.
    let mut seen = HashSet::new();
    for (n, entry) in fs::read_dir(&dir).unwrap().enumerate() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if n % 100 == 0 {
            fs::remove_file(entry.path()).unwrap();
        }
        assert!(seen.insert(name));
    }
    let left = names(&dir);
    assert!(left.is_subset(&seen));
    let before = LOWER + NEW - LOWER / 50;
    assert_eq!(seen.len(), before);
    assert_eq!(left.len(), before - before.div_ceil(100));
}

/// Removes a directory that the kernel has listed whole before, and may list from memory, while it is
/// listed.
fn remove_what_is_known(root: &Path) {
    let dir = root.join("gone");
    fs::create_dir(&dir).unwrap();
    for i in 0..5000 {
        fs::write(dir.join(format!("f{i}")), "").unwrap();
    }
    for _ in 0..2 {
        assert_eq!(names(&dir).len(), 5000);
    }
    fs::remove_dir_all(&dir).unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_hundred_thousand_files_in_a_directory() {
    if require(&[Fs::Tmpfs], &[]) {
        in_mount_namespace(|| {
            let site = Site::new(Fs::Tmpfs, |lower| {
                let dir = lower.join("many");
                fs::create_dir(&dir).unwrap();
                for i in 0..LOWER {
                    fs::write(dir.join(format!("low{i}")), "").unwrap();
                }
            });
            through_mount(&site, |root| {
                remove_what_is_known(root);
                work(root);
            });
        });
    }
}
