//! Law 1: after any operations the view is that of a plain file system, errno for errno, but for the
//! named weakenings; by this and the model's own test against real file systems, a union is one.

use layerstack::testing::case::Check;
use layerstack::testing::merged::{Agreed, Agreement};
use layerstack::testing::oracle::{MergeOptions, merge};
use layerstack::testing::strategy::Profile;
use layerstack::testing::{
    Case, LayerSpec, MountPoint, ReferenceModel, SnapshotOptions, Weakenings,
};
use layerstack::{Fsync, Op, OverlayOptions, RenameFlags, XattrName};

use crate::cases::{MIXES, for_cases, in_mixes, now, possible, seen, without_quirks};
use crate::stack::{Kind, Mix, Mixed, NAMESPACE};
use crate::support::fs::{Fs, Mounted, Workspace, require_fs};
use crate::support::namespace::in_mount_namespace;

/// Runs a case on a union and on the model of it.
fn agree(
    case: &Case,
    mix: Mix,
    options: OverlayOptions,
    weak: Weakenings,
) -> Result<(usize, usize), String> {
    let started = now();
    let mut agreement = Agreement::since(started);
    agreement.compare = seen();
    // Not every filesystem can zero a range.
    agreement.zeroes_ranges = mix.upper == Kind::Memory;
    agreement.shifts_ranges = agreement.zeroes_ranges;
    // A name that was copied up keeps the inode number it had; further names of the file may not know
    // it until the next open, where the lower's filesystem has no UUID.
    agreement.compare.link_groups = !weak.links_break;
    let merged = MergeOptions::default();
    let model = ReferenceModel::of_stack(&case.lowers, case.upper.as_ref(), &merged, weak);
    let model = model.map_err(|e| format!("the model takes no such tree: {e}"))?;
    let mut mixed = Mixed::with_options(mix, case, started, options);
    let agreed = agreement.layered(case, &mut model.clock(started), &mut mixed);
    agreed
        .map(|Agreed { ops, succeeded, .. }| (ops, succeeded))
        .map_err(|found| found.to_string())
}

#[test]
fn law_1_the_view_is_the_models_but_for_named_weakenings() {
    in_mixes(150, without_quirks, |case, mix| {
        let options = OverlayOptions::new().fsync(Fsync::Off);
        agree(case, mix, options, Weakenings::default_options(NAMESPACE))
    });
}

/// The index does not become a lower.
fn without_rotation(case: &mut Case) {
    without_quirks(case);
    for check in case.checks.values_mut().filter(|c| **c == Check::Rotate) {
        *check = Check::Remount;
    }
}

/// With an index and redirects: links hold, and directories move. The index does not become a lower, so
/// nothing is rotated; nor are there names so long that a path may not fit into a redirect (rule R155).
#[test]
fn law_1_with_the_posix_profile_links_hold_and_directories_move() {
    let mut profile = Profile::root();
    profile.odd_names = false;
    for mix in MIXES.into_iter().filter(|mix| possible(*mix)) {
        for_cases(150, &profile, without_rotation, |case| {
            let options = layerstack::Profile::Posix.overlay_options();
            let weak = Weakenings::posix_profile(NAMESPACE);
            agree(case, mix, options.fsync(Fsync::Off), weak).map_err(|e| format!("{mix:?}: {e}"))
        });
    }
}

/// Runs the operations on the model and on a real directory of a plain file system.
fn agree_with_plain(mounted: &Mounted, fs: Fs, case: &Case) -> Result<(usize, usize), String> {
    let tree = case.upper.clone().unwrap_or_default();
    let space = Workspace::new(mounted, fs);
    tree.write_to_dir(space.path(), NAMESPACE)
        .map_err(|e| e.to_string())?;
    let started = now();
    let mut weak = Weakenings::NONE;
    weak.acl_removal_clears_set_gid = fs == Fs::Tmpfs;
    let model = ReferenceModel::from_spec(&tree).unwrap().weakenings(weak);
    let mut model = model.clock(started);
    let mut real = MountPoint::new(space.path()).unwrap();
    let mut agreement = Agreement::since(started);
    agreement.zeroes_ranges = fs != Fs::Tmpfs;
    agreement.shifts_ranges = matches!(fs, Fs::Ext4 | Fs::Xfs);
    agreement.full_is_eexist = fs == Fs::Xfs;
    let agreed = agreement.run(&case.ops, &mut model, &mut real);
    agreed
        .map(|Agreed { ops, succeeded, .. }| (ops, succeeded))
        .map_err(|e| e.to_string())
}

/// Without attributes that mean something to overlayfs.
fn without_private(tree: &LayerSpec) -> LayerSpec {
    let mut kept = LayerSpec::new();
    for (path, node) in tree.nodes() {
        let mut node = node.clone();
        let private = |n: &XattrName| n.as_bytes().starts_with(b"trusted.overlay.");
        node.xattrs.retain(|name, _| !private(name));
        kept.insert(path, node);
    }
    kept
}

/// The tree that the layers merge to, as one plain tree, and operations that mean the same there: no
/// whiteouts are made.
fn plain(case: &mut Case) {
    without_quirks(case);
    let merged = merge(&case.lowers, case.upper.as_ref(), &MergeOptions::default());
    let mut options = SnapshotOptions::merged();
    options.inline_bytes_max = u64::MAX;
    let tree = LayerSpec::of_snapshot(&merged.snapshot(&options)).unwrap();
    (case.lowers, case.upper) = (Vec::new(), Some(without_private(&tree)));
    case.checks.clear();
    case.ops.retain(|op| match of_anybody(op) {
        Op::Rename {
            flags: RenameFlags { whiteout, .. },
            ..
        } => !whiteout,
        Op::MakeNode {
            rdev, file_type, ..
        } => (rdev.major, rdev.minor) != (0, 0) || *file_type != layerstack::FileType::CharDevice,
        // What protects a file is not cleared away so easily; file systems check it in places of their own.
        Op::SetFlags { .. } => false,
        _ => true,
    });
}

/// The operation, whoever it is done for.
fn of_anybody(op: &Op) -> &Op {
    match op {
        Op::As { op, .. } => of_anybody(op),
        op => op,
    }
}

/// Operations on behalf of callers, with few rights or many.
fn callers() -> Profile {
    Profile::root().callers(true)
}

#[test]
fn law_1_holds_for_callers() {
    for mix in MIXES.into_iter().filter(|mix| possible(*mix)) {
        for_cases(150, &callers(), without_quirks, |case| {
            let options = OverlayOptions::new().fsync(Fsync::Off);
            let weak = Weakenings::default_options(NAMESPACE);
            agree(case, mix, options, weak).map_err(|e| format!("{mix:?}: {e}"))
        });
    }
}

#[test]
fn law_1_holds_for_callers_with_the_posix_profile() {
    let mut profile = callers();
    profile.odd_names = false;
    for mix in MIXES.into_iter().filter(|mix| possible(*mix)) {
        for_cases(150, &profile, without_rotation, |case| {
            let options = layerstack::Profile::Posix.overlay_options();
            let weak = Weakenings::posix_profile(NAMESPACE);
            agree(case, mix, options.fsync(Fsync::Off), weak).map_err(|e| format!("{mix:?}: {e}"))
        });
    }
}

/// What the model lets callers do is what ext4 and tmpfs let them do.
#[test]
fn the_model_is_a_plain_file_system_for_callers() {
    equals_plain(300, &callers());
}

/// The model is a file system: what it answers is what ext4 and tmpfs answer. (xfs shows access lists
/// twice, under a name of its own too; btrfs leaves the times as they are if it punches nothing.)
#[test]
fn the_model_is_a_plain_file_system() {
    equals_plain(150, &Profile::root());
}

fn equals_plain(cases: u64, profile: &Profile) {
    let kinds = [Fs::Ext4, Fs::Tmpfs];
    if !require_fs(&kinds) {
        return;
    }
    in_mount_namespace(|| {
        let mounted = Mounted::new(&kinds);
        for fs in kinds {
            for_cases(cases, profile, plain, |case| {
                agree_with_plain(&mounted, fs, case).map_err(|e| format!("{fs:?}: {e}"))
            });
        }
    });
}
