//! A server that is killed while programs work on its mount.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use layerstack::testing::{Compare, TreeSnapshot};
use layerstack::{DirLayer, LayerStack, Overlay, XattrNamespace};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::served::{Served, require, times};
use crate::site::{Site, sh};
use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;

/// Kills of a short run.
const KILLS: usize = 6;

/// A worker that was killed has ended after so long.
const END_MAX: Duration = Duration::from_secs(30);

/// A bit of everything, until the mount is gone.
const WORK: &str = "
    while :; do
        cp -a tree copy; tar -cf tree.tar tree; mkdir new; tar -xf tree.tar -C new
        for d in tree/*; do mv $d/f1 $d/moved; echo more >> $d/f2; rm $d/f3; ln $d/f4 $d/linked; done
        rm -rf copy new tree/d1 tree/d2; mkdir tree/d1; chmod -R g+w tree; rm -f tree/*/linked
    done
";

fn fill(lower: &Path) {
    sh(
        lower,
        "for d in 1 2 3 4 5 6 7 8; do
             mkdir -p tree/d$d
             for f in 1 2 3 4 5 6; do head -c ${f}000 /dev/urandom > tree/d$d/f$f; done
         done
         head -c 4M /dev/urandom > tree/large",
    );
}

/// Whether a process of the group still runs; whoever adopts one that has ended may leave it a zombie.
fn runs(group: Pid) -> bool {
    let of_group = |stat: String| {
        // `1234 (name) S 1 1234 ...`: state, parent, group.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        matches!(fields[..], [state, _, own, ..]
            if own == group.to_string() && !matches!(state, "Z" | "X"))
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .any(of_group)
}

/// Ends a worker with all that it started: where data are passed through, a program writes on without the server.
fn end(worker: &mut Child) {
    let group = Pid::from_raw(i32::try_from(worker.id()).unwrap());
    let begun = Instant::now();
    while runs(group) {
        let _ = killpg(group, Signal::SIGKILL);
        assert!(begun.elapsed() < END_MAX, "a worker does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.wait().unwrap();
}

/// The crate and the kernel show the same of what the killed server left.
fn judge(site: &Site) {
    let lowers = site.lowers.iter().map(|p| DirLayer::open_lower(p).unwrap());
    let stack = LayerStack::from_top(lowers).unwrap();
    let upper = DirLayer::open_upper(&site.upper, &site.work).unwrap();
    let overlay = Overlay::new(&stack, upper).unwrap();
    let shown = site.shown(&overlay);
    // Opening has swept what was being made.
    let left: Vec<_> = std::fs::read_dir(site.work.join("work")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    drop(overlay);
    let kernel = site.in_kernel(|_| {});
    if let Some(text) = kernel.diff_text(&shown, &Compare::merged(), 20) {
        panic!("kernel != layerstack:\n{text}");
    }
    site.check_log();
}

#[test]
fn a_killed_server_leaves_sound_directories() {
    if !require(&[Fs::Ext4], &["tar"]) {
        return;
    }
    in_mount_namespace(|| {
        let site = Site::new(Fs::Ext4, fill);
        let options = layerstack::testing::SnapshotOptions::layer(XattrNamespace::Trusted);
        let before = TreeSnapshot::of_dir(&site.lowers[0], &options).unwrap();
        for n in 0..KILLS * times() {
            let served = Served::new(&site);
            let mut workers: Vec<_> = (0..2)
                .map(|_| {
                    let mut command = Command::new("sh");
                    command.args(["-c", WORK]).current_dir(&site.mount);
                    command.stderr(Stdio::null()).stdout(Stdio::null());
                    command.process_group(0);
                    command.spawn().unwrap()
                })
                .collect();
            // At another moment each time, from just begun to well on the way.
            std::thread::sleep(Duration::from_millis(40 + (n as u64 * 397) % 900));
            served.kill();
            workers.iter_mut().for_each(end);
            judge(&site);
        }
        let after = TreeSnapshot::of_dir(&site.lowers[0], &options).unwrap();
        let compare = Compare {
            holes: false,
            ..Compare::unchanged()
        };
        assert_eq!(
            before.diff_text(&after, &compare, 5),
            None,
            "the lower was changed"
        );
    });
}
