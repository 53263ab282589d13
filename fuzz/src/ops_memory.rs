//! Any operations on any layers in memory: nothing panics, lowers stay as they are, what can be
//! planned can be told, and opening the same layers again shows the same tree.

use std::sync::Arc;

use super::input::Input;
use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::{Compare, SnapshotOptions, TreeSnapshot};
use layerstack::{Errno, LayerStack, Overlay, Session, XattrNamespace};

/// Most operations of one run.
const OPS_MAX: usize = 64;

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let lowers: Vec<Arc<MemLayer>> = [input.layer(), input.layer()].map(Arc::new).into();
    let upper = Arc::new(input.layer());
    let before: Vec<TreeSnapshot> = lowers.iter().map(|l| layer(l)).collect();

    let stack = LayerStack::from_top(lowers.clone()).expect("a stack of two lowers");
    let overlay = Overlay::new(&stack, upper.clone()).expect("a writable upper");
    let mut session = Session::new(overlay.clone());
    for _ in 0..OPS_MAX {
        if input.is_empty() {
            break;
        }
        let op = input.op();
        if std::env::var_os("FUZZ_PRINT").is_some() {
            eprintln!("{op:?}");
        }
        let planned = overlay.plan(&op);
        if let Ok(plan) = &planned {
            assert!(plan.to_string().lines().count() == plan.steps.len());
        }
        let done = session.apply(&op);
        assert!(
            planned.is_ok()
                || done.is_err()
                || planned.is_err_and(|e| e.errno() == Errno::EOPNOTSUPP),
            "{op:?} was done, and its plan failed"
        );
    }

    for (lower, before) in lowers.iter().zip(&before) {
        same("a lower", before, &layer(lower), &Compare::unchanged());
    }
    let again = Overlay::new(&stack, upper).expect("the same layers");
    let mut seen = Compare::merged();
    // Directories of a union on several filesystems get a new inode number at each opening.
    seen.listed_inodes = false;
    same("opened again", &view(&overlay), &view(&again), &seen);
}

fn layer(layer: &MemLayer) -> TreeSnapshot {
    let options = SnapshotOptions::layer(XattrNamespace::Trusted);
    TreeSnapshot::of_backend(layer, &options).expect("a layer in memory")
}

fn view(overlay: &Overlay) -> TreeSnapshot {
    let stack: &dyn LayerBackend = &**overlay;
    TreeSnapshot::of_backend(stack, &SnapshotOptions::merged()).expect("a merged tree")
}

fn same(what: &str, left: &TreeSnapshot, right: &TreeSnapshot, how: &Compare) {
    let found = left.diff(right, how);
    assert!(found.is_empty(), "{what}: {found:?}");
}
