//! The end of a mount.

use std::io::Read;

use layerstack::backend::memory::MemLayer;
use layerstack::fuse::{FuseOptions, mount};
use layerstack::{LayerStack, Overlay};

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
