//! The end of a mount.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use layerstack::backend::memory::MemLayer;
use layerstack::fuse::{FuseOptions, mount};
use layerstack::{Errno, LayerStack, Overlay};

use crate::support::namespace::in_mount_namespace;
use crate::system::require_fuse;

/// What the kernel still reads ahead is not waited for, and is no reason to fail.
#[test]
fn unmounting_while_the_kernel_reads_ahead() {
    if !require_fuse(&[]) {
        return;
    }
    in_mount_namespace(|| {
        let lower = Overlay::new(
            &LayerStack::from_top([MemLayer::new()]).unwrap(),
            MemLayer::new(),
        )
        .unwrap();
        lower.write("/file", vec![b'x'; 4 << 20]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let mut session = mount(&lower, dir.path(), &FuseOptions::default()).unwrap();
            let mut file = std::fs::File::open(dir.path().join("file")).unwrap();
            file.read_exact(&mut [0; 4096]).unwrap();
            drop(file);
            session
                .unmount()
                .unwrap_or_else(|e| panic!("round {round}: {e}"));
        }
    });
}

/// Who has a file open in a mount that was detached keeps it, and nobody waits for them.
#[test]
fn dropping_a_session_that_was_detached_while_in_use() {
    if !require_fuse(&[]) {
        return;
    }
    in_mount_namespace(|| {
        let lowers = LayerStack::from_top([MemLayer::new()]).unwrap();
        let union = Overlay::new(&lowers, MemLayer::new()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let session = mount(&union, dir.path(), &FuseOptions::default()).unwrap();
        let mut file = std::fs::File::create(dir.path().join("file")).unwrap();
        let unmounter = session.unmounter();
        assert_eq!(unmounter.unmount().unwrap_err().errno(), Errno::EBUSY);
        unmounter.detach().unwrap();
        let (done, dropped) = mpsc::channel();
        std::thread::spawn(move || {
            drop(session);
            done.send(()).unwrap();
        });
        let waited = dropped.recv_timeout(Duration::from_secs(20));
        file.write_all(b"late").unwrap();
        drop(file);
        waited.expect("dropping waits for the open file");
        assert_eq!(union.read("/file").unwrap(), b"late");
        assert!(!dir.path().join("file").exists());
    });
}
