//! While one big file is copied up.

use std::ops::ControlFlow;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use layerstack::testing::Compare;
use layerstack::{CopyObserver, CopyProgress, Errno, ErrorKind, OpenOptions, Overlay, RenameFlags};

use crate::stage::{BIG, Gate, Stage, big, wait};

fn rw() -> OpenOptions {
    OpenOptions::new().read(true).write(true)
}

/// Writes one byte into the big file, for which it is copied up.
fn touch_big(overlay: &Overlay) -> layerstack::Result<()> {
    overlay.open("/dir/big", &rw())?.write_all_at(b"X", 1)
}

/// Starts copying the big file up in a thread; while that stands still runs `meanwhile`, then lets it
/// go on and answers with what it came to.
fn stopped(
    memory: bool,
    meanwhile: impl FnOnce(&Stage, &Gate),
    go_on: ControlFlow<()>,
) -> (Stage, Arc<Gate>, layerstack::Result<()>) {
    let (gate, stands, open) = Gate::new();
    let [in_memory, on_disk] = Stage::both(|| Some(gate.clone()));
    let stage = if memory { in_memory } else { on_disk };
    let (done, came) = channel();
    let overlay = stage.overlay.clone();
    let writer = std::thread::spawn(move || done.send(touch_big(&overlay)).unwrap());
    wait("the copy begins", &stands);
    meanwhile(&stage, &gate);
    open.send(go_on).unwrap();
    let result = wait("the copy ends", &came);
    writer.join().unwrap();
    (stage, gate, result)
}

/// Runs `f` in a thread; panics if it gets stuck.
fn in_thread<T: Send + 'static>(
    what: &str,
    overlay: &Overlay,
    f: impl FnOnce(&Overlay) -> T + Send + 'static,
) -> T {
    let (done, came) = channel();
    let overlay = overlay.clone();
    std::thread::spawn(move || done.send(f(&overlay)));
    wait(what, &came)
}

fn neither_readers_nor_writers_wait(memory: bool) {
    let meanwhile = |stage: &Stage, _: &Gate| {
        let early = stage.overlay.open_file("/dir/big").unwrap();
        in_thread("reading the file itself", &stage.overlay, |o| {
            assert_eq!(o.metadata("/dir/big").unwrap().size, BIG as u64);
            let file = o.open_file("/dir/big").unwrap();
            let mut two = [9; 2];
            assert_eq!(file.read_at(&mut two, 0).unwrap(), 2);
            assert_eq!(two, [0, 0]);
            assert!(o.resolve("/dir/big").is_ok());
        });
        for dir in ["/dir", "/away"] {
            in_thread("working beside it", &stage.overlay, move |o| {
                let at = |name: &str| format!("{dir}/{name}");
                assert!(o.read(at("small")).is_ok());
                assert!(o.walk("/").all(|e| e.is_ok()));
                o.write(at("small"), "changed").unwrap();
                o.write(at("new"), "new").unwrap();
                o.create_dir(at("d"), 0o755).unwrap();
                o.rename(at("new"), at("d/renamed")).unwrap();
                o.rename(at("small"), at("small2")).unwrap();
                o.set_permissions(at("small2"), 0o600).unwrap();
                o.symlink("x", at("link")).unwrap();
                o.hard_link(at("small2"), at("third")).unwrap();
                o.remove_file(at("link")).unwrap();
                o.remove_dir_all(at("d")).unwrap();
                assert_eq!(o.read(at("small2")).unwrap(), b"changed");
                assert!(o.changes().is_ok());
                assert!(o.plan(&layerstack::Op::Sync).is_ok());
            });
        }
        in_thread("removing an own directory", &stage.overlay, |o| {
            o.remove_dir_all("/dir/sub").unwrap();
            o.rename_with("/dir/other", "/away/gone", RenameFlags::EXCHANGE)
                .unwrap();
        });
        let mut byte = [9];
        early.read_at(&mut byte, 1).unwrap();
        assert_eq!(byte, [0], "not written yet");
    };
    let (stage, gate, result) = stopped(memory, meanwhile, ControlFlow::Continue(()));
    result.unwrap();
    let mut expected = big();
    expected[1] = b'X';
    assert!(stage.overlay.read("/dir/big").unwrap() == expected);
    assert_eq!(stage.overlay.read("/dir/small2").unwrap(), b"changed");
    assert_eq!(gate.copies("/dir/big"), 1);
    stage.finish();
}

#[test]
fn neither_readers_nor_writers_wait_in_memory() {
    neither_readers_nor_writers_wait(true);
}

#[test]
fn neither_readers_nor_writers_wait_on_directories() {
    neither_readers_nor_writers_wait(false);
}

/// Breaks the copy off at the report numbered `at`.
struct Breaks {
    at: usize,
    log: Mutex<Vec<(u64, u64)>>,
}

impl CopyObserver for Breaks {
    fn progress(&self, progress: &CopyProgress<'_>) -> ControlFlow<()> {
        assert_eq!(progress.path.to_str(), Some("/dir/big"));
        let mut log = self.log.lock().unwrap();
        log.push((progress.bytes_done, progress.size));
        match log.len() > self.at {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

#[test]
fn progress_is_reported_and_every_report_can_cancel() {
    for memory in [true, false] {
        // How many reports there are at most.
        let mut reports = usize::MAX;
        let mut at = 0;
        while at <= reports {
            let breaks = Arc::new(Breaks {
                at,
                log: Mutex::new(Vec::new()),
            });
            let [in_memory, on_disk] = Stage::both(|| Some(breaks.clone()));
            let stage = if memory { in_memory } else { on_disk };
            let (shown, upper) = (stage.shown(), stage.upper());
            let result = touch_big(&stage.overlay);
            let log = std::mem::take(&mut *breaks.log.lock().unwrap());
            assert!(log.is_sorted() && log[0].0 == 0, "{log:?}");
            assert!(
                log.iter()
                    .all(|(done, size)| done <= size && *size == BIG as u64)
            );
            match result {
                Ok(()) => {
                    assert_eq!(log.last().unwrap().0, BIG as u64, "{log:?}");
                    reports = log.len();
                    at = usize::MAX - 1;
                }
                Err(e) => {
                    assert_eq!(e.errno(), Errno::ECANCELED);
                    assert_eq!((e.kind(), e.op()), (ErrorKind::Cancelled, "open"));
                    assert_eq!(e.path().to_str(), Some("/dir/big"));
                    let mut unchanged = Compare::unchanged();
                    assert_eq!(upper.diff_text(&stage.upper(), &unchanged, 9), None);
                    // A directory's lasts while it is in use (rule R252).
                    unchanged.inode_numbers = false;
                    assert_eq!(shown.diff_text(&stage.shown(), &unchanged, 9), None);
                }
            }
            stage.finish();
            at += 1;
        }
        assert!(reports >= 2);
    }
}

#[test]
fn a_cancelled_copy_is_made_later() {
    for memory in [true, false] {
        let nothing = |_: &Stage, _: &Gate| {};
        let (stage, gate, result) = stopped(memory, nothing, ControlFlow::Break(()));
        assert_eq!(result.unwrap_err().errno(), Errno::ECANCELED);
        assert!(stage.upper().get("/dir/big").is_none());
        // The gate stands open now.
        touch_big(&stage.overlay).unwrap();
        assert_eq!(gate.copies("/dir/big"), 2);
        assert_eq!(&stage.overlay.read("/dir/big").unwrap()[..3], b"\0X\0");
        stage.finish();
    }
}

#[test]
fn one_copy_for_two_writers() {
    for memory in [true, false] {
        let (done, came) = channel();
        let meanwhile = |stage: &Stage, _: &Gate| {
            // They wait for the copy that has begun, or come after it.
            for i in 0..4u64 {
                let (overlay, done) = (stage.overlay.clone(), done.clone());
                std::thread::spawn(move || {
                    let file = overlay.open("/dir/big", &rw());
                    let wrote = file.and_then(|f| f.write_all_at(b"Y", 10 + i));
                    done.send(wrote).unwrap();
                });
            }
        };
        let (stage, gate, result) = stopped(memory, meanwhile, ControlFlow::Continue(()));
        result.unwrap();
        for _ in 0..4 {
            wait("another writer", &came).unwrap();
        }
        assert_eq!(gate.copies("/dir/big"), 1);
        let data = stage.overlay.read("/dir/big").unwrap();
        assert_eq!(&data[..15], b"\0X\0\0\0\0\0\0\0\0YYYY\0");
        stage.finish();
    }
}

/// A copy for a file that lost its name, or whose name now means another file, changes neither.
#[test]
fn removed_or_replaced_meanwhile() {
    for memory in [true, false] {
        type Meanwhile = fn(&Overlay);
        let cases: [(Meanwhile, Option<&[u8]>); 3] = [
            (|o| o.remove_file("/dir/big").unwrap(), None),
            (
                |o| {
                    o.remove_file("/dir/big").unwrap();
                    o.write("/dir/big", "new").unwrap();
                },
                Some(b"new"),
            ),
            (
                |o| o.rename("/dir/other", "/dir/big").unwrap(),
                Some(b"other"),
            ),
        ];
        for (case, after) in cases {
            let meanwhile = |stage: &Stage, _: &Gate| {
                in_thread("changing the name", &stage.overlay, case);
            };
            let (stage, _, result) = stopped(memory, meanwhile, ControlFlow::Continue(()));
            let found = stage.overlay.read("/dir/big");
            match (&result, after) {
                (Err(e), None) => {
                    assert!([Errno::ENOENT, Errno::EEXIST].contains(&e.errno()), "{e}");
                    assert_eq!(found.unwrap_err().errno(), Errno::ENOENT);
                }
                (Err(e), Some(after)) => {
                    assert!([Errno::ENOENT, Errno::EEXIST].contains(&e.errno()), "{e}");
                    assert_eq!(found.unwrap(), after);
                }
                // Resolved again: it is the new file that was written to.
                (Ok(()), Some(after)) => {
                    let mut written = after.to_vec();
                    written[1] = b'X';
                    assert_eq!(found.unwrap(), written);
                }
                (Ok(()), None) => panic!("wrote to a file that is gone"),
            }
            stage.finish();
        }
    }
}

#[test]
fn renamed_meanwhile() {
    for memory in [true, false] {
        for flags in [RenameFlags::NONE, RenameFlags::EXCHANGE] {
            let (done, came) = channel();
            let meanwhile = |stage: &Stage, _: &Gate| {
                let (overlay, done) = (stage.overlay.clone(), done.clone());
                // Needs the same copy, so it waits for it or comes after it.
                std::thread::spawn(move || {
                    let renamed = overlay.rename_with("/dir/big", "/away/small", flags);
                    done.send(renamed).unwrap();
                });
            };
            let (stage, gate, result) = stopped(memory, meanwhile, ControlFlow::Continue(()));
            let renamed = wait("the rename", &came);
            renamed.unwrap();
            assert_eq!(gate.copies("/dir/big"), 1, "{:?}", gate.log.lock().unwrap());
            let moved = stage.overlay.read("/away/small").unwrap();
            assert_eq!(moved.len(), BIG);
            match result {
                Ok(()) if moved[1] == b'X' => {}
                // Resolved after the rename.
                Ok(()) => assert_eq!(stage.overlay.read("/dir/big").unwrap()[1], b'X'),
                Err(e) => assert_eq!(e.errno(), Errno::ENOENT),
            }
            assert_eq!(stage.overlay.exists("/dir/big").unwrap(), flags.exchange);
            stage.finish();
        }
    }
}
