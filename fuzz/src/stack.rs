//! Any layers, with overlay attributes of any bytes: opening, showing and explaining them never panics,
//! shows what the plain oracle says, and using them changes no lower.

use layerstack::backend::LayerBackend;
use layerstack::testing::merged::MemUnion;
use layerstack::testing::oracle::{MergeOptions, MergedEntry, merge};
use layerstack::testing::strategy::{CaseReader, Profile};
use layerstack::testing::{Case, Compare, LayerSpec, SnapshotOptions, TreeSnapshot};
use layerstack::{
    Errno, Fsync, OverlayAttr, OverlayOptions, RedirectDir, Session, Verity, XattrNamespace,
};

/// Attributes of which the oracle knows what they mean, whatever is in them.
const JUDGED: [OverlayAttr; 3] = [
    OverlayAttr::Redirect,
    OverlayAttr::Opaque,
    OverlayAttr::Impure,
];

/// Takes bytes from the input: a length, then so many.
fn piece<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first()?;
    let len = usize::from(*len).min(rest.len());
    let (piece, rest) = rest.split_at(len);
    *bytes = rest;
    Some(piece)
}

/// Puts attributes with these bytes on nodes of the layers. Answers whether all are of those that are
/// judged.
fn mark(case: &mut Case, mut bytes: &[u8]) -> bool {
    let mut judged = true;
    while let Some((head, rest)) = bytes.split_first_chunk::<3>() {
        bytes = rest;
        let [layer, node, attr] = head.map(usize::from);
        let Some(value) = piece(&mut bytes) else {
            break;
        };
        let mut layers: Vec<&mut LayerSpec> =
            case.lowers.iter_mut().chain(&mut case.upper).collect();
        let at = layer % layers.len().max(1);
        let Some(spec) = layers.get_mut(at) else {
            break;
        };
        let paths: Vec<_> = spec.nodes().keys().cloned().collect();
        let Some(path) = paths.get(node % paths.len().max(1)) else {
            continue;
        };
        let attr = OverlayAttr::ALL[attr % OverlayAttr::ALL.len()];
        if let Some(mut marked) = spec.nodes().get(path).cloned() {
            judged &= JUDGED.contains(&attr);
            marked.overlay.insert(attr, value.to_vec());
            spec.insert(path, marked);
        }
    }
    judged
}

fn tree_of(layer: &dyn LayerBackend) -> TreeSnapshot {
    let options = SnapshotOptions::layer(XattrNamespace::Trusted);
    TreeSnapshot::of_backend(layer, &options).expect("a layer in memory")
}

/// Asks everything of everything.
fn look(session: &mut Session) -> Option<TreeSnapshot> {
    let overlay = session.overlay().clone();
    let tree = TreeSnapshot::of_backend(&*overlay, &SnapshotOptions::merged()).ok()?;
    for path in tree.entries().keys() {
        let (meta, answer) = (overlay.metadata(path), overlay.resolve(path));
        match (&meta, &answer) {
            (Ok(_), Ok(answer)) => {
                assert!(answer.shown.is_some() && !answer.to_string().is_empty())
            }
            (Err(_), Ok(answer)) => assert!(answer.shown.is_none(), "{path:?}: {meta:?}"),
            (Err(a), Err(b)) => assert_eq!(a.errno(), b.errno(), "{path:?}"),
            // What is in use stays so; the explanation asks the layers anew, and two objects that say to
            // come of one (R169, R272) are one too many.
            (Ok(_), Err(e)) if e.errno() == Errno::ESTALE || e.rule() == Some("R272") => {}
            (Ok(_), Err(e)) => panic!("{path:?} is shown, but not explained: {e}"),
        }
    }
    for entry in overlay.walk("/") {
        if let Err(e) = entry {
            assert!(!e.to_string().contains('\n'), "{e}");
        }
    }
    // Whatever it says; it must say something.
    let _ = overlay.changes().map(|changes| changes.len());
    Some(tree)
}

thread_local! {
    static READER: CaseReader = {
        let mut profile = Profile::root().redirects(true).ops_max(8);
        profile.lowers_max = 4;
        CaseReader::new(&profile)
    };
}

/// Checks one input: a byte of options, then layers and operations, then attributes.
pub fn check(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    // Most of a long input are layers.
    let (layers, marks) = rest.split_at(rest.len() - rest.len() / 4);
    let mut case = READER.with(|reader| reader.read(layers));
    let judged = mark(&mut case, marks);
    if std::env::var_os("FUZZ_PRINT").is_some() {
        eprintln!("{case:?}");
    }
    let on = |bit: u8| first & bit != 0;
    let mut options = OverlayOptions::new().fsync(Fsync::Off).metacopy(on(1));
    if on(2) {
        options = options.redirect_dir(RedirectDir::On);
    }
    if on(4) && !on(1) {
        options = options.index(true);
    }
    if on(8) && !on(1) {
        options = options.index(true).nfs_export(true);
    }
    if on(16) && on(1) {
        options = options.verity(Verity::On);
    }
    let plain = !on(4) && !on(8) && !on(16);
    // A root that says that it is redirected, an upper of another overlay, and so on are refused.
    let Ok(mut union) = MemUnion::new(&case, options) else {
        return;
    };
    let before: Vec<_> = union.lowers().iter().map(|l| tree_of(l)).collect();
    let shown = look(union.session());
    if let Some(shown) = &shown
        && judged
        && plain
    {
        as_the_oracle(&case, shown, on(1));
    }
    for op in &case.ops {
        if let Err(e) = union.session().apply(op) {
            assert!(!e.to_string().contains('\n'), "{e}");
        }
    }
    look(union.session());
    for (lower, before) in union.lowers().iter().zip(&before) {
        let found = before.diff(&tree_of(lower), &Compare::unchanged());
        assert!(found.is_empty(), "a lower changed: {found:?}\n\n{case:?}");
    }
}

fn as_the_oracle(case: &Case, shown: &TreeSnapshot, metacopy: bool) {
    let mut how = MergeOptions::default();
    how.metacopy = metacopy;
    let expected = merge(&case.lowers, case.upper.as_ref(), &how);
    let mut compare = Compare::merged();
    (
        compare.inode_labels,
        compare.listed_inodes,
        compare.link_groups,
    ) = (false, false, false);
    let mut found = expected
        .snapshot(&SnapshotOptions::merged())
        .diff(shown, &compare);
    // Of two directories that redirects lead to one lower, which one is known depends on what was looked
    // up before (rule R169).
    found.retain(|d| {
        !d.path.ancestors().any(|path| {
            let entry = expected.entries().get(path);
            let stale = layerstack::testing::snapshot::Entry::Failed(Errno::ESTALE);
            shown.get(path) == Some(&stale)
                || matches!(entry, Some(MergedEntry::Failed(Errno::ESTALE)))
        })
    });
    assert!(found.is_empty(), "{found:?}\n\n{case:?}");
}
