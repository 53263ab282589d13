//! Faults while a union is opened.

use layerstack::backend::memory::MemLayer;
use layerstack::testing::fault::{Fault, FaultLayer, Faults};
use layerstack::testing::{NodeSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{Errno, LayerStack, Overlay};
use std::sync::Arc;

use crate::ops::*;

/// Opening fails with the fault's errno, or does without the answer; opened again, all is there.
#[test]
fn a_union_that_could_not_be_opened_can_be_opened_later() {
    let write = |spec: layerstack::testing::LayerSpec| {
        let layer = MemLayer::new();
        spec.write_to_upper(&layer).unwrap();
        Arc::new(layer)
    };
    let lowers = [
        write(of([("/", NodeSpec::dir().opaque(b"x")), ("/a", file("a"))])),
        write(of([("/b", file("b"))])),
    ];
    let upper = write(of([("/c", file("c"))]));
    let options = SnapshotOptions::merged();
    let faults = Faults::new();
    let open = || {
        let wrap = |layer: &Arc<MemLayer>| FaultLayer::new(layer.clone(), &faults);
        let stack = LayerStack::from_top(lowers.iter().map(wrap))?;
        Overlay::new(&stack, wrap(&upper))
    };
    let expected = TreeSnapshot::of_backend(&*open().unwrap(), &options).unwrap();
    faults.reset();
    drop(open().unwrap());
    let calls = faults.calls();
    assert!(calls > 8, "{}", faults.report());
    let mut refused = 0;
    for n in 0..calls {
        for errno in [Errno::EIO, Errno::ENOSPC, Errno::EDQUOT, Errno::EACCES] {
            faults.reset();
            faults.arm(n, Fault::Fail(errno));
            match open() {
                Err(e) => {
                    assert_eq!(e.errno(), errno, "{e}\n{}", faults.report());
                    assert!(e.layer().is_some(), "{e}");
                    refused += 1;
                }
                Ok(_) => assert!(faults.fired().is_some()),
            }
            let seen = TreeSnapshot::of_backend(&*open().unwrap(), &options).unwrap();
            let compare = layerstack::testing::Compare::unchanged();
            assert_eq!(seen.diff_text(&expected, &compare, 9), None);
        }
    }
    assert!(refused > 8 * 4, "{refused}");
}
