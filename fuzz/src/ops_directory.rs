//! Any operations on any layers, in memory and in directories: the same answers and the same tree.
//!
//! The directories are made below `LAYERSTACK_TEST_DIR`, or else where temporary files go.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use layerstack::backend::{AllocateMode, WhiteoutForm};
use layerstack::testing::merged::MemUnion;
use layerstack::testing::outcome;
use layerstack::testing::strategy::CaseReader;
use layerstack::testing::{
    Case, Compare, LayerSpec, MergedFs, NodeKind, SnapshotOptions, TreeSnapshot,
};
use layerstack::{
    DirLayerOptions, Fsync, LayerStack, Op, Outcome, Overlay, OverlayOptions, Session,
    XattrNamespace,
};

use super::ops_model::{now, profile};

const NAMESPACE: XattrNamespace = XattrNamespace::Trusted;

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = std::env::var_os("LAYERSTACK_TEST_DIR").map(PathBuf::from);
        let parent = parent.unwrap_or_else(std::env::temp_dir);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("layerstack-fuzz-{}-{next}", std::process::id()));
        std::fs::create_dir(&path).expect("a folder for layers");
        Folder(path)
    }

    fn sub(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir(&path).expect("a folder for a layer");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

fn directories(folder: &Folder, case: &Case) -> Session {
    let write = |name: &str, spec: &LayerSpec| {
        let path = folder.sub(name);
        spec.write_to_dir(&path, NAMESPACE).expect("a layer");
        path
    };
    let lowers = case.lowers.iter().enumerate().map(|(i, spec)| {
        let path = write(&i.to_string(), spec);
        let layers = DirLayerOptions::new().namespace(NAMESPACE);
        Arc::new(layers.open_lower(path).expect("a lower"))
    });
    let lowers = LayerStack::from_top(lowers.collect::<Vec<_>>()).expect("a stack");
    let options = OverlayOptions::new().fsync(Fsync::Off);
    let overlay = match &case.upper {
        None => Overlay::read_only(&lowers),
        Some(spec) => {
            let (upper, work) = (write("upper", spec), folder.sub("work"));
            let layers = DirLayerOptions::new().namespace(NAMESPACE);
            let layer = layers.open_upper(upper, work).expect("an upper");
            Overlay::with_options(&lowers, layer, options)
        }
    };
    Session::new(overlay.expect("a union"))
}

/// What is the file system's own choice.
fn left_out(op: &Op, fs: &mut MemUnion) -> bool {
    match op {
        Op::As { op, .. } => left_out(op, fs),
        Op::Allocate { mode, .. } | Op::HandleAllocate { mode, .. } => matches!(
            mode,
            AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize
        ),
        Op::SetLen { path, len } => {
            let (path, follow) = (path.clone(), true);
            let stat = fs.apply(&Op::Metadata { path, follow });
            matches!(stat, Ok(Outcome::Metadata(meta)) if meta.size == *len)
        }
        _ => false,
    }
}

/// Without whiteouts in the form of files: a listing of layers that share a filesystem may look at each
/// name and leave them out (rule R079).
fn adapt(case: &mut Case) {
    for layer in case.lowers.iter_mut().chain(&mut case.upper) {
        let mut kept = LayerSpec::new();
        for (path, node) in layer.nodes() {
            if node.kind != NodeKind::Whiteout(WhiteoutForm::Xattr) {
                kept.insert(path, node.clone());
            }
        }
        *layer = kept;
    }
}

thread_local! {
    static READER: CaseReader = CaseReader::new(&profile());
    static CALLERS: CaseReader = CaseReader::new(&profile().callers(true));
}

/// Checks one input.
pub fn check(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let reader = match first & 1 {
        0 => &READER,
        _ => &CALLERS,
    };
    let mut case = reader.with(|reader| reader.read(rest));
    adapt(&mut case);
    if std::env::var_os("FUZZ_PRINT").is_some() {
        eprintln!("{case:?}");
    }
    let started = now();
    let folder = Folder::new();
    let mut real = directories(&folder, &case);
    let options = OverlayOptions::new().fsync(Fsync::Off);
    let mut memory = MemUnion::new(&case, options).expect("layers in memory open");
    let mut compare = Compare::merged();
    (
        compare.inode_labels,
        compare.listed_inodes,
        compare.link_groups,
    ) = (false, false, false);
    for (i, op) in case.ops.iter().enumerate() {
        if left_out(op, &mut memory) {
            continue;
        }
        let (left, right) = (memory.apply(op), MergedFs::apply(&mut real, op));
        if let Some(what) = outcome::differ(&left, &right, &compare, Some(started)) {
            panic!("operation {i}, {op:?}: {what}\n\n{case:?}");
        }
    }
    let view = SnapshotOptions::merged().started(started);
    let (left, right) = (memory.snapshot(&view), real.snapshot(&view));
    same(
        &left.expect("a tree"),
        &right.expect("a tree"),
        &compare,
        &case,
    );
    outside(&folder.0, &case);
}

fn same(left: &TreeSnapshot, right: &TreeSnapshot, compare: &Compare, case: &Case) {
    if let Some(text) = left.diff_text(right, compare, 12) {
        panic!("{text}\n\n{case:?}");
    }
}

/// Nothing was made beside the layers.
fn outside(folder: &Path, case: &Case) {
    let found = std::fs::read_dir(folder).expect("the folder").count();
    let want = case.lowers.len() + if case.upper.is_some() { 2 } else { 0 };
    assert_eq!(found, want, "{case:?}");
}
