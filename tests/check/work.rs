//! The work directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use layerstack::backend::{At, LayerBackend, NewKind, NewNode, UpperBackend};
use layerstack::check::{Check, Consent, Remedy};
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{DirLayerOptions, Name, XattrNamespace};
use nix::unistd::{Uid, setfsuid};

use crate::scene::{Memory, lines, on_disk};

#[test]
fn leftovers_of_a_crash() {
    on_disk(&[], &[LayerSpec::new()], &LayerSpec::new(), |disk| {
        let work = disk.work.join("work");
        fs::create_dir_all(work.join("#2/dir")).unwrap();
        fs::write(work.join("#1"), "half a copy").unwrap();
        fs::write(work.join("#2/file"), "").unwrap();
        fs::write(work.join("stranger"), "").unwrap();
        let found = [
            "work-leftover work:/work/#1",
            "work-leftover work:/work/#2",
            "work-leftover work:/work/stranger",
        ];
        disk.heals(&found, &[]);
        assert_eq!(fs::read_dir(disk.work.join("work")).unwrap().count(), 0);
    });
}

/// The kernel looks two levels deep, and mounts read-only if there is more.
#[test]
fn deep_leftovers_make_the_mount_read_only() {
    on_disk(&[], &[LayerSpec::new()], &LayerSpec::new(), |disk| {
        fs::create_dir_all(disk.work.join("work/#3/a/b/c")).unwrap();
        disk.kernel(|at| assert!(fs::write(at.join("f"), "").is_err()));
        disk.heals(&["work-leftover-deep work:/work/#3"], &[]);
        disk.kernel(|at| fs::write(at.join("f"), "").unwrap());
    });
}

#[test]
fn the_whiteout_that_the_kernel_keeps_is_no_leftover() {
    let lower = LayerSpec::new()
        .with("/a", NodeSpec::file(""))
        .with("/b", NodeSpec::file(""));
    on_disk(&[], &[lower], &LayerSpec::new(), |disk| {
        disk.kernel(|at| {
            fs::remove_file(at.join("a")).unwrap();
            fs::remove_file(at.join("b")).unwrap();
        });
        let kept = fs::read_dir(disk.work.join("work")).unwrap().count();
        assert_eq!(kept, 1, "rule R048");
        disk.heals(&[], &[]);
    });
}

#[test]
fn the_mark_of_a_volatile_mount() {
    let upper = LayerSpec::new();
    on_disk(&[], &[LayerSpec::new()], &upper, |disk| {
        disk.options.push("volatile".into());
        disk.kernel(|at| fs::write(at.join("f"), "maybe lost").unwrap());
        disk.options.clear();
        assert!(disk.is_refused());
        let report = disk.checker().run();
        assert_eq!(lines(&report), ["volatile-mark work:/work/incompat"]);
        assert_eq!(report.exit_status(), 4);
        // Not without being asked.
        assert!(report.repair(Consent::Keep).is_empty());
        assert!(matches!(report.findings()[0].remedy, Remedy::Chooses(_)));
        drop(report);
        disk.heals(&["volatile-mark work:/work/incompat"], &[]);
        disk.kernel(|at| assert!(at.join("f").exists()));
    });
}

#[test]
fn looking_needs_no_work_directory_and_makes_none() {
    on_disk(&[], &[LayerSpec::new()], &LayerSpec::new(), |disk| {
        assert_eq!(lines(&disk.looker().run()), [] as [&str; 0]);
        assert_eq!(fs::read_dir(&disk.work).unwrap().count(), 0);
    });
}

/// Too deep for a plan: the sweep that opening the upper does is left to do it.
#[test]
fn a_very_deep_leftover_has_no_plan() {
    let memory = Memory::new(&[], &[LayerSpec::new()], &LayerSpec::new());
    let mut dir = memory.upper.work().unwrap();
    let name = Name::new("x").unwrap();
    for _ in 0..200 {
        let new = NewNode {
            kind: NewKind::Directory,
            mode: 0o700,
            uid: None,
            gid: None,
        };
        dir = memory.upper.create(At::new(&dir, &name), &new).unwrap();
    }
    let report = memory.checker().run();
    assert_eq!(lines(&report), ["work-leftover-deep work:/work/x"]);
    assert!(report.repair(Consent::Choose).is_empty());
    assert!(memory.upper.upper().is_some());
}

/// The kernel removes what is there instead of the staging directory, and refuses what is there instead of
/// the index if it is to have one.
#[test]
fn directories_may_be_something_else() {
    on_disk(&[], &[LayerSpec::new()], &LayerSpec::new(), |disk| {
        std::os::unix::fs::symlink("/etc", disk.work.join("work")).unwrap();
        fs::write(disk.work.join("index"), "").unwrap();
        let report = disk.looker().run();
        assert_eq!(lines(&report), ["work-leftover work:/work"]);
        disk.kernel(|at| fs::write(at.join("f"), "").unwrap());
        assert_eq!(lines(&disk.looker().run()), [] as [&str; 0]);
        disk.options = vec!["index=on".into()];
        for report in [disk.looker().run(), disk.checker().run()] {
            assert_eq!(lines(&report), ["unreadable work:/index"], "{report}");
        }
        assert!(disk.is_refused());
    });
}

/// The kernel makes the staging directory with mode 0, so that its owner cannot read it either.
#[test]
fn a_closed_staging_directory_is_not_looked_into() {
    let lower = LayerSpec::new().with("/f", NodeSpec::file("old"));
    on_disk(&["userxattr"], &[lower], &LayerSpec::new(), |disk| {
        disk.kernel(|at| fs::write(at.join("f"), "new").unwrap());
        let work = disk.work.join("work");
        assert_eq!(fs::metadata(&work).unwrap().mode() & 0o7777, 0);
        let user = Uid::from_raw(1000);
        std::os::unix::fs::chown(&work, Some(1000), Some(1000)).unwrap();
        let report = || {
            let layers = DirLayerOptions::new().namespace(XattrNamespace::User);
            let open = |path: &Path| layers.open_lower(path).unwrap();
            let check = Check::from_top([open(&disk.lowers[0])])
                .upper(open(&disk.upper))
                .work(open(&disk.work));
            check.run()
        };
        assert_eq!(lines(&report()), [] as [&str; 0]);
        // Of this thread alone.
        setfsuid(user);
        let report = report();
        setfsuid(Uid::from_raw(0));
        assert_eq!(lines(&report), ["work-unread work:/work"]);
        assert_eq!(report.exit_status(), 0);
    });
}
