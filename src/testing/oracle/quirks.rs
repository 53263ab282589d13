//! Layers whose merged tree has no entry that can be listed and not looked up.

use std::path::PathBuf;

use super::{MergeOptions, MergedEntry, merge};
use crate::backend::WhiteoutForm;
use crate::testing::case::Case;
use crate::testing::spec::{LayerSpec, NodeKind};
use crate::xattr_name::OverlayAttr;

/// Takes the states out of a case's layers that make lookup and listing disagree (rules R072, R079):
/// whiteouts in the form of files with an attribute, and those in a directory that nothing merges with. A
/// plain file system, such as the reference model, has no such states.
pub fn without_quirks(case: &mut Case) {
    for layer in case.lowers.iter_mut().chain(&mut case.upper) {
        let mut kept = LayerSpec::new();
        for (path, node) in layer.nodes() {
            let by_attribute = node.overlay.contains_key(&OverlayAttr::Whiteout)
                || node.kind == NodeKind::Whiteout(WhiteoutForm::Xattr);
            if !by_attribute {
                kept.insert(path, node.clone());
            }
        }
        *layer = kept;
    }
    loop {
        let failing = failing(&case.lowers, case.upper.as_ref());
        if failing.is_empty() {
            return;
        }
        for path in failing {
            for layer in case.lowers.iter_mut().chain(&mut case.upper) {
                *layer = std::mem::take(layer).without(&path);
            }
        }
    }
}

/// The paths that are listed and cannot be looked up.
fn failing(lowers: &[LayerSpec], upper: Option<&LayerSpec>) -> Vec<PathBuf> {
    let tree = merge(lowers, upper, &MergeOptions::default());
    let failed = tree.entries().iter();
    failed
        .filter(|(_, entry)| matches!(entry, MergedEntry::Failed(_)))
        .map(|(path, _)| path.clone())
        .collect()
}
