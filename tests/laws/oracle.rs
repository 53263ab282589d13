//! The oracle, the engine and the kernel show the same merged tree.

use layerstack::{Errno, OverlayAttr, XattrNamespace};
use std::path::Path;

use layerstack::testing::oracle::{MergeOptions, merge};
use layerstack::testing::snapshot::{Compare, Difference, Entry, TimeCompare};
use layerstack::testing::strategy::Profile;
use layerstack::testing::{Case, NodeSpec, SnapshotOptions, TreeSnapshot};

use crate::cases::{for_cases, in_mixes, now, seen};
use crate::stack::{Mix, Mixed};
use crate::support::fs::{Fs, Mounted, require_fs};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::in_mount_namespace;
use crate::support::system::{Layout, Stack};

/// All that shows. Two ways by which redirects lead to one lower file may show two inodes.
fn exact(case: &Case) -> Compare {
    let mut compare = seen();
    compare.mtime = TimeCompare::Exact;
    let layers = case.lowers.iter().chain(&case.upper);
    let redirected = |node: &NodeSpec| node.overlay.contains_key(&OverlayAttr::Redirect);
    compare.link_groups = !layers.flat_map(|l| l.nodes().values()).any(redirected);
    compare
}

fn report(differences: &[Difference]) -> Result<(), String> {
    let lines: Vec<String> = differences
        .iter()
        .take(12)
        .map(ToString::to_string)
        .collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(lines.join("\n")),
    }
}

fn layers_only(case: &mut Case) {
    case.ops.clear();
    case.checks.clear();
}

/// Redirects and metacopy files in the layers too.
fn profile() -> Profile {
    Profile::root().redirects(true)
}

#[test]
fn the_engine_merges_as_the_oracle_does() {
    let check = |case: &Case, mix: Mix| {
        let expected = merge(&case.lowers, case.upper.as_ref(), &MergeOptions::default());
        let options = SnapshotOptions::merged();
        let mixed = Mixed::new(mix, case, now());
        let got = mixed.merged();
        let mut found = expected.snapshot(&options).diff(&got, &exact(case));
        forget_stale(&mut found, &got);
        report(&found)?;
        Ok((0, 0))
    };
    in_mixes(300, layers_only, check);
    for_cases(1000, &profile(), layers_only, |case| {
        check(case, crate::cases::MIXES[0])
    });
}

/// How the kernel is mounted, and what it means to the oracle.
const OPTIONS: [(&[&str], bool, bool); 4] = [
    (&[], true, false),
    (&["redirect_dir=on", "metacopy=on"], true, true),
    (&["redirect_dir=follow"], true, false),
    (&["redirect_dir=nofollow"], false, false),
];

#[test]
fn the_kernel_merges_as_the_oracle_does() {
    let kinds = [Fs::Tmpfs, Fs::Ext4];
    if !require_fs(&kinds) {
        return;
    }
    let layout = Layout {
        upper: Fs::Tmpfs,
        lowers: vec![Fs::Ext4, Fs::Tmpfs],
        ..Layout::same(Fs::Tmpfs)
    };
    in_mount_namespace(|| {
        let mounted = Mounted::new(&kinds);
        for (options, follow, metacopy) in OPTIONS {
            let adapt = |case: &mut Case| {
                layers_only(case);
                case.options = options.iter().map(|o| String::from(*o)).collect();
            };
            for_cases(150, &profile(), adapt, |case| {
                let mut how = MergeOptions::default();
                (how.follow_redirects, how.metacopy) = (follow, metacopy);
                let expected = merge(&case.lowers, case.upper.as_ref(), &how);
                let got = kernel_view(&mounted, &layout, case)?;
                let expected = expected.snapshot(&SnapshotOptions::merged());
                let mut found = expected.diff(&got, &exact(case));
                forget_stale(&mut found, &got);
                report(&found).map_err(|e| format!("{options:?}: {e}"))?;
                Ok((0, 0))
            });
        }
    });
}

/// Of two directories that redirects lead to one lower the second is `ESTALE` while the first is
/// remembered (rule R169), which the oracle, having no memory, does not know.
fn forget_stale(differences: &mut Vec<Difference>, got: &TreeSnapshot) {
    let stale = |path: &Path| got.get(path) == Some(&Entry::Failed(Errno::ESTALE));
    differences.retain(|d| !d.path.ancestors().any(stale));
}

/// The tree that a mount of the layers shows.
fn kernel_view(mounted: &Mounted, layout: &Layout, case: &Case) -> Result<TreeSnapshot, String> {
    let stack = Stack::new(mounted, layout, XattrNamespace::Trusted, case);
    let stack = stack.map_err(|e| format!("layers: {e}"))?;
    let dirs = stack.dirs("k").map_err(|e| format!("layers: {e}"))?;
    let config = OverlayConfig {
        lowers: dirs.lowers.clone(),
        upper: dirs.upper.clone(),
        work: dirs.work.clone(),
        data: dirs.data.clone(),
        options: stack.options.clone(),
    };
    let mount = OverlayMount::new(&dirs.mount, &config).map_err(|e| format!("{e:?}"))?;
    let tree = TreeSnapshot::of_dir(mount.path(), &SnapshotOptions::merged());
    mount.unmount().map_err(|e| format!("unmount: {e}"))?;
    tree.map_err(|e| format!("merged tree: {e}"))
}

/// Without an upper the stack is read-only, and shows the same through its own type.
#[test]
fn a_stack_merges_as_the_oracle_does() {
    for_cases(300, &profile(), layers_only, |case| {
        let mixed = Mixed::new(
            crate::cases::MIXES[0],
            &Case::new(case.lowers.clone(), None),
            now(),
        );
        let expected = merge(&case.lowers, None, &MergeOptions::default());
        let expected = expected.snapshot(&SnapshotOptions::merged());
        let got = mixed.merged();
        let mut found = expected.diff(&got, &exact(case));
        forget_stale(&mut found, &got);
        report(&found)?;
        Ok((0, 0))
    });
}
