//! A backend of somebody else's, a cpio archive, passes the conformance suite; a union with it as a lower
//! is a file system by the reference model.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test may fail by panicking"
)]

#[path = "archive/layer.rs"]
mod layer;
#[path = "archive/write.rs"]
mod write;

use std::time::SystemTime;

use layer::CpioLayer;
use layerstack::backend::memory::MemLayer;
use layerstack::testing::conformance::Subject;
use layerstack::testing::conformance::reading::Reader;
use layerstack::testing::merged::Agreement;
use layerstack::testing::oracle::MergeOptions;
use layerstack::testing::strategy::{Profile, tree_and_ops};
use layerstack::testing::{LayerSpec, NodeSpec, ReferenceModel, Weakenings};
use layerstack::{LayerStack, Overlay, Session, Timestamp, XattrNamespace, reader_conformance};
use proptest::prelude::*;
use write::cpio;

struct Archive;

impl Reader for Archive {
    fn make(&self, tree: &LayerSpec) -> Subject {
        Subject::new(CpioLayer::new(cpio(tree)).unwrap())
    }

    fn keeps(&self, mut node: NodeSpec) -> NodeSpec {
        node.mtime.nanos = 0;
        node
    }
}

reader_conformance!(archive, Archive);

/// Without what the archive has no place for.
fn plain(tree: &LayerSpec) -> LayerSpec {
    let mut kept = LayerSpec::new();
    for (path, node) in tree.effective() {
        let mut node = Archive.keeps(node);
        node.xattrs.clear();
        kept.insert(path, node);
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn a_union_on_an_archive_is_a_file_system((tree, ops) in tree_and_ops(&Profile::user())) {
        let (lowers, upper) = ([plain(&tree)], LayerSpec::new());
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let now = Timestamp::new(now.as_secs() as i64, now.subsec_nanos());
        let weak = Weakenings::default_options(XattrNamespace::Trusted);
        let how = MergeOptions::default();
        let model = ReferenceModel::of_stack(&lowers, Some(&upper), &how, weak).unwrap();

        let layer = MemLayer::new();
        upper.write_to_upper(&layer).unwrap();
        let archive = CpioLayer::new(cpio(&lowers[0])).unwrap();
        let stack = LayerStack::from_top([archive]).unwrap();
        let mut union = Session::new(Overlay::new(&stack, layer).unwrap());

        let mut agreement = Agreement::since(now);
        agreement.compare.link_groups = false;
        agreement.compare.listed_inodes = false;
        let agreed = agreement.run(&ops, &mut model.clock(now), &mut union);
        prop_assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
    }
}

/// Whatever is in the file, reading its table of contents ends with an answer.
#[test]
fn broken_archives_are_refused() {
    let whole = cpio(&LayerSpec::new().with("/dir/file", NodeSpec::file(b"content")));
    assert!(CpioLayer::new(whole.clone()).is_ok());
    for end in 0..whole.len() - 4 {
        assert!(
            CpioLayer::new(whole[..end].to_vec()).is_err(),
            "cut at {end}"
        );
    }
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] = b'/';
        let _ = CpioLayer::new(broken);
    }
}
