//! Section 2: the work directory and temporary objects.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use layerstack::{DirLayerOptions, Errno, LayerId};

use crate::place::{EINVAL, OK, at, ours};

#[test]
fn r041_other_entries_of_the_work_directory_are_left_alone() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        std::fs::write(work.join("note"), "mine").unwrap();
        assert_eq!(place.both(&lower, Some((&upper, &work))), OK);
        assert_eq!(std::fs::read(work.join("note")).unwrap(), b"mine");
    });
}

#[test]
fn r042_staging_is_a_fresh_directory_without_permissions() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let stale = place.dir("w/work").join("#1");
        std::fs::write(&stale, "left over").unwrap();
        let overlay = ours(&lower, Some((&upper, &work))).unwrap();
        let mode = std::fs::metadata(work.join("work"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0);
        assert!(!stale.exists());
        drop(overlay);
        std::fs::write(&stale, "left over").unwrap();
        let ask = |_: &Path| std::fs::metadata(work.join("work")).unwrap().mode() & 0o7777;
        let mode = place.kernel_shows(&lower, Some((&upper, &work)), ask);
        assert_eq!((mode, stale.exists()), (Ok(0), false));
    });
}

/// Deviation SWEEP-1: the kernel gives up below two levels and mounts read-only.
#[test]
fn r043_deep_leftovers_are_swept() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let deep = place.dir("w/work/#2/a/b/c");
        let ask = |at: &Path| std::fs::write(at.join("f"), "").map_err(|e| Errno::of_io(&e));
        let kernel = place.kernel_shows(&lower, Some((&upper, &work)), ask);
        assert_eq!(kernel, Ok(Err(Errno::EROFS)));
        assert!(deep.exists());
        let overlay = ours(&lower, Some((&upper, &work))).unwrap();
        assert!(!deep.exists());
        overlay.write("/f", "").unwrap();
    });
}

/// Deviation WORK-1: the kernel mounts read-only.
#[test]
fn r010_a_work_directory_that_takes_no_staging_is_an_error() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let chattr = |flag: &str| {
            let done = std::process::Command::new("chattr")
                .arg(flag)
                .arg(&work)
                .status();
            assert!(done.unwrap().success());
        };
        chattr("+i");
        let ask = |at: &Path| std::fs::write(at.join("f"), "").map_err(|e| Errno::of_io(&e));
        let kernel = place.kernel_shows(&lower, Some((&upper, &work)), ask);
        let refused = DirLayerOptions::new().open_upper(&upper, &work);
        chattr("-i");
        assert_eq!(kernel, Ok(Err(Errno::EROFS)));
        let refused = refused.unwrap_err();
        assert_eq!(refused.errno(), Errno::EPERM);
        assert_eq!(refused.layer(), Some(LayerId::Work));
        assert!(
            refused.to_string().contains("cannot make work"),
            "{refused}"
        );
    });
}

#[test]
fn r044_the_mark_of_an_unfinished_volatile_mount_is_refused() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        place.dir("w/work/incompat/volatile");
        assert_eq!(place.both(&lower, Some((&upper, &work))), EINVAL);
        std::fs::remove_dir_all(work.join("work/incompat")).unwrap();
        assert_eq!(place.both(&lower, Some((&upper, &work))), OK);
    });
}

#[test]
fn r047_temporary_objects_are_staged_in_the_work_directory_and_leave_it() {
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        std::fs::write(lower[0].join("f"), "x").unwrap();
        std::os::unix::fs::symlink("t", lower[0].join("l")).unwrap();
        let overlay = ours(&lower, Some((&upper, &work))).unwrap();
        overlay.set_permissions("/f", 0o600).unwrap();
        overlay.set_owner("/l", Some(1), None, false).unwrap();
        overlay.rename("/f", "/g").unwrap();
        overlay.create_dir("/f", 0o755).unwrap();
        let left = std::fs::read_dir(work.join("work")).unwrap().count();
        assert!(
            left <= 1,
            "at most the whiteout kept for sharing (R048): {left}"
        );
    });
}

#[test]
fn r049_without_an_upper_nothing_is_written() {
    at(|place| {
        let lowers = [place.dir("a/d"), place.dir("b/d")];
        let lowers = lowers.map(|l| l.parent().unwrap().to_path_buf());
        let stamp = |l: &PathBuf| {
            let meta = std::fs::metadata(l.join("d")).unwrap();
            (meta.ctime(), meta.ctime_nsec(), meta.atime_nsec())
        };
        let before = [stamp(&lowers[0]), stamp(&lowers[1])];
        let overlay = ours(&lowers, None).unwrap();
        assert_eq!(overlay.read_dir("/d").unwrap().len(), 0);
        assert_eq!(
            overlay.write("/d/f", "x").unwrap_err().errno(),
            Errno::EROFS
        );
        assert_eq!([stamp(&lowers[0]), stamp(&lowers[1])], before);
    });
}
