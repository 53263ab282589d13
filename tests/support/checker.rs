//! The checker beside the comparison: it must be silent about what kernel and engine produce.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::check::{Check, FindingKind, Report};
use layerstack::testing::{Case, LayerSpec, NodeSpec};
use layerstack::{DirLayerOptions, LayerId, OverlayAttr, OverlayOptions, XattrNamespace};

use super::options::overlay_options;
use super::system::{Dirs, Stack};

/// Checks the directories of a system that is closed, without opening anything for writing.
pub fn check(dirs: &Dirs, namespace: XattrNamespace, options: OverlayOptions) -> Report {
    let layers = DirLayerOptions::new().namespace(namespace);
    let open = |path: &PathBuf| Arc::new(layers.open_lower(path).expect("layer"));
    let mut check = Check::from_top(dirs.lowers.iter().map(open))
        .data_layers(dirs.data.iter().map(open))
        .options(options)
        .portability(false);
    if let (Some(upper), Some(work)) = (&dirs.upper, &dirs.work) {
        check = check.upper(open(upper)).work(open(work));
    }
    check.run()
}

/// What layers may hold by themselves, whoever uses them: the generators put it there, and it is moved
/// about and copied.
pub type Excused = BTreeSet<&'static str>;

/// A stray whiteout is one of three kinds, by what its directory is merged with, and likewise what is
/// wrong with redirects changes when they or what they lead to is moved.
fn group(kind: FindingKind) -> &'static str {
    let code = kind.code();
    match code.split_once('-') {
        Some((group @ ("whiteout" | "redirect" | "metacopy"), _)) => group,
        _ => code,
    }
}

/// The kinds of findings in the layers as they were written; also in those that show when what covers
/// them is removed.
pub fn excuses(dirs: &Dirs, stack: &Stack) -> Excused {
    let found = |dirs: &Dirs| {
        let report = check(dirs, stack.namespace, overlay_options(&stack.options));
        let kinds = report.findings().iter().map(|f| group(f.kind));
        kinds.collect::<Excused>()
    };
    let mut excused = found(dirs);
    let mut below = dirs.clone();
    (below.upper, below.work) = (None, None);
    while below.lowers.len() > 1 {
        excused.append(&mut found(&below));
        below.lowers.remove(0);
    }
    if excused.contains("redirect") {
        // What shows in two places is copied up in one, or in both, or removed in one.
        excused.extend(["origin-uncovered", "origin-duplicate"]);
    }
    let exported = stack.options.iter().any(|o| o == "nfs_export=on");
    if excused.contains("origin-missing") && exported {
        // The kernel stores it when it looks a directory up, which has no index entry: it is no copy then, and
        // the next listing takes the mark away again.
        excused.insert("impure-missing");
    }
    excused
}

/// What is found now and is not excused.
pub fn accusations(report: &Report, stack: &Stack, excused: &Excused) -> Vec<String> {
    let findings = report.findings().iter();
    findings
        .filter(|f| !excused.contains(group(f.kind)) && !is_left_on_purpose(f.kind, stack))
        .map(ToString::to_string)
        .collect()
}

/// A mark that is not needed any more stays until the kernel next lists the directory (rule R108), users
/// may set attributes of the other namespace, and a volatile mount leaves its mark (rule R045).
fn is_left_on_purpose(kind: FindingKind, stack: &Stack) -> bool {
    let volatile = |o: &String| o == "volatile" || o == "fsync=volatile";
    match kind {
        FindingKind::ImpureSuperfluous | FindingKind::NamespaceMixed => true,
        FindingKind::VolatileMark => stack.options.iter().any(volatile),
        _ => false,
    }
}

/// Takes out of a case's layers whatever the checker finds in them, so that nothing is excused.
pub fn tidy(case: &mut Case, namespace: XattrNamespace) {
    let mut last = None;
    for _ in 0..100 {
        let write = |spec: &LayerSpec| -> Arc<dyn LayerBackend> {
            let layer = MemLayer::with_namespace(namespace);
            spec.write_to_upper(&layer).expect("layer in memory");
            Arc::new(layer)
        };
        let mut check = Check::from_top(case.lowers.iter().map(write))
            .data_layers(case.data.iter().map(write))
            .portability(false);
        if let Some(upper) = &case.upper {
            check = check.upper(write(upper));
        }
        let report = check.run();
        if report.findings().is_empty() {
            return;
        }
        let before = case.clone();
        for finding in report.findings() {
            let spec = match finding.layer {
                Some(LayerId::Lower(i)) => case.lowers.get_mut(i),
                _ => case.upper.as_mut(),
            };
            let spec = spec.expect("a layer of the case");
            let without = spec.clone().without(&finding.path);
            *spec = match finding.path.parent() {
                Some(_) => without,
                // What is wrong with the root is so with what was said of it.
                None => spec.clone().with("/", NodeSpec::dir()),
            };
        }
        if case.lowers == before.lowers && case.upper == before.upper {
            // It is somewhere else in its layer: redirects led to it.
            case.lowers.iter_mut().for_each(without_redirects);
        }
        last = Some(report.to_string());
    }
    panic!("this cannot be tidied: {last:?}\n{case:?}");
}

fn without_redirects(spec: &mut LayerSpec) {
    let redirected = |node: &NodeSpec| node.overlay.contains_key(&OverlayAttr::Redirect);
    let paths = spec.nodes().iter().filter(|(_, node)| redirected(node));
    let paths: Vec<PathBuf> = paths.map(|(path, _)| path.clone()).collect();
    for path in paths {
        *spec = spec.clone().without(path);
    }
}
