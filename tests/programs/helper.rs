//! The examples as programs: what mount(8) asks of a helper, and the sandbox's end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::served::require;
use crate::site::{Site, run, sh};
use crate::support::fs::Fs;
use crate::support::namespace::{in_mount_namespace, skip};
use crate::users::example;

#[test]
fn remounting_changes_the_flags_of_the_mount() {
    if !require(&[Fs::Ext4], &[]) {
        return;
    }
    let Some(program) = example("mount") else {
        skip("the examples are not built");
        return;
    };
    in_mount_namespace(|| {
        let site = Site::new(Fs::Ext4, |lower| drop(sh(lower, "echo old > file")));
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            site.lowers[0].display(),
            site.upper.display(),
            site.work.display()
        );
        let helper = |options: &str| {
            let mut command = Command::new(&program);
            run(command.arg("source").arg(&site.mount).args(["-o", options]))
        };
        helper(&options);
        sh(&site.mount, "echo new > file");
        helper(&format!("rw,{options},remount,ro,nosuid"));
        sh(
            &site.mount,
            "if touch file 2> /dev/null; then exit 1; fi; test $(cat file) = new
             grep -q ' ro,nosuid,' /proc/self/mounts || exit 1",
        );
        helper("remount,rw");
        sh(&site.mount, "echo newer > file");
        // Nothing is mounted there, so there is nothing to change.
        sh(
            &site.mount,
            &format!(
                "if {} source {} -o remount,ro; then exit 1; fi",
                program.display(),
                site.lowers[0].display()
            ),
        );
        sh(Path::new("/"), &format!("umount {}", site.mount.display()));
    });
}

/// What runs on after the command loses the mount; it does not hold up the sandbox.
#[test]
fn the_sandbox_does_not_wait_for_what_its_command_left_behind() {
    if !require(&[], &[]) {
        return;
    }
    let Some(program) = example("sandbox") else {
        skip("the examples are not built");
        return;
    };
    in_mount_namespace(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "old").unwrap();
        let start = Instant::now();
        let mut command = Command::new(&program);
        let script = "sleep 60 > /dev/null 2>&1 & echo $!; echo new > file; exit 3";
        command.arg(dir.path()).args(["--", "sh", "-c", script]);
        let out = command.stdin(Stdio::null()).output().unwrap();
        let took = start.elapsed();
        let said = String::from_utf8(out.stdout).unwrap();
        let (left_behind, changes) = said.split_once('\n').unwrap();
        sh(Path::new("/"), &format!("kill {left_behind}"));
        assert_eq!(changes, "M /file\n");
        assert_eq!(out.status.code(), Some(3));
        assert!(took < Duration::from_secs(30), "{took:?}");
    });
}
