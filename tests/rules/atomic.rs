//! Section 16: atomicity. The kernel's part is that its renames are atomic; the crate's is that one
//! step of a plan publishes, and that hints are stored before it. What a failure at each step leaves
//! behind is shown by the fault tests.

use layerstack::backend::memory::{MemLayer, MemLayerBuilder};
use layerstack::backend::{NewKind, RenameHow};
use layerstack::{LayerStack, Op, Overlay, OverlayAttr, OverlayOptions, Plan, Role, Step};

use crate::ops::*;

/// What `op` would do over a lower with `/d/f`, `/d/g`, `/e/x` and below an upper of these nodes.
fn plan(upper: MemLayerBuilder, op: &Op) -> Plan {
    let low = MemLayer::builder()
        .file("d/f", b"data")
        .file("d/g", b"")
        .file("e/x", b"");
    let stack = LayerStack::from_top([low.build().unwrap()]).unwrap();
    let options = OverlayOptions::new().fsync(layerstack::Fsync::Auto);
    let overlay = Overlay::with_options(&stack, upper.build().unwrap(), options).unwrap();
    let plan = overlay.plan(op).unwrap();
    let commits = plan.steps.iter().filter(|s| s.role == Role::Commit).count();
    assert!(commits <= 1, "{plan}");
    plan
}

fn commit(plan: &Plan) -> usize {
    let at = plan.steps.iter().position(|s| s.role == Role::Commit);
    at.unwrap_or_else(|| panic!("no commit: {plan}"))
}

/// The first step that `is` what is looked for.
fn find(plan: &Plan, is: impl Fn(&Step) -> bool) -> usize {
    let at = plan.steps.iter().position(|s| is(&s.step));
    at.unwrap_or_else(|| panic!("not in {plan}"))
}

fn ups(paths: &[&str]) -> MemLayerBuilder {
    paths.iter().fold(MemLayer::builder(), |b, p| b.whiteout(p))
}

#[test]
fn r241_a_copy_is_published_when_it_is_complete() {
    let plan = plan(MemLayer::builder(), &chmod("/d/f", 0o600));
    let data = find(&plan, |s| matches!(s, Step::CopyData { .. }));
    let sync = find(&plan, |s| matches!(s, Step::Sync { .. }));
    let publish = |s: &Step| matches!(s, Step::Link { .. } | Step::Rename { .. });
    let published = plan.steps.iter().rposition(|s| publish(&s.step)).unwrap();
    assert!(data < sync && sync < published, "{plan}");
}

#[test]
fn r237_files_are_made_unnamed_and_linked_all_else_is_renamed_into_place() {
    let file = plan(MemLayer::builder(), &chmod("/d/f", 0o600));
    let made = find(&file, |s| matches!(s, Step::Tmpfile { .. }));
    assert!(
        made < find(&file, |s| matches!(s, Step::Link { .. })),
        "{file}"
    );
    let dir = plan(MemLayer::builder(), &chmod("/d", 0o700));
    let made = find(&dir, |s| matches!(s, Step::Create { .. }));
    assert!(
        made < find(&dir, |s| matches!(s, Step::Rename { .. })),
        "{dir}"
    );
}

#[test]
fn r240_data_are_synced_before_publishing_directories_are_not() {
    let syncs = |op: &Op| plan(MemLayer::builder(), op).cost().syncs;
    assert_eq!(syncs(&chmod("/d/f", 0o600)), 1);
    assert_eq!(syncs(&chmod("/d", 0o700)), 0);
}

#[test]
fn r242_removing_is_one_step() {
    let file = plan(MemLayer::builder().file("d/f", b"up"), &rm("/d/f"));
    let step = &file.steps[commit(&file)].step;
    let one = matches!(step, Step::Rename { .. } | Step::Whiteout { .. });
    assert!(one, "{file}");
    let dir = plan(ups(&["e/x"]), &rmdir("/e"));
    let how = |s: &Step| {
        matches!(
            s,
            Step::Rename {
                how: RenameHow::Exchange,
                ..
            }
        )
    };
    assert!(how(&dir.steps[commit(&dir)].step), "{dir}");
}

#[test]
fn r243_creating_over_a_whiteout_is_one_step() {
    let file = plan(ups(&["d/f"]), &symlink("t", "/d/f"));
    assert!(
        matches!(file.steps[commit(&file)].step, Step::Rename { .. }),
        "{file}"
    );
    let dir = plan(ups(&["d/f"]), &mkdir("/d/f"));
    let made = find(
        &dir,
        |s| matches!(s, Step::Create { node, .. } if node.kind == NewKind::Directory),
    );
    let at = commit(&dir);
    let exchange = matches!(
        dir.steps[at].step,
        Step::Rename {
            how: RenameHow::Exchange,
            ..
        }
    );
    assert!(exchange && made < at, "{dir}");
    assert!(
        dir.steps.len() > at + 1,
        "the whiteout is removed afterwards: {dir}"
    );
}

#[test]
fn r244_renaming_leaves_the_whiteout_in_the_same_step() {
    let plan = plan(MemLayer::builder(), &mv("/d/f", "/e/f"));
    let how = |s: &Step| {
        matches!(
            s,
            Step::Rename {
                how: RenameHow::LeaveWhiteout,
                ..
            }
        )
    };
    assert!(how(&plan.steps[commit(&plan)].step), "{plan}");
    let pure = super::atomic::plan(MemLayer::builder().dir("new", 0o755), &mv("/new", "/d/new"));
    let opaque = find(&pure, |s| {
        matches!(
            s,
            Step::SetOverlay {
                attr: OverlayAttr::Opaque,
                ..
            }
        )
    });
    assert!(opaque < commit(&pure), "{pure}");
}

#[test]
fn r245_the_old_whiteouts_go_after_the_exchange() {
    let plan = plan(ups(&["e/x"]), &rmdir("/e"));
    let exchange = find(&plan, |s| {
        matches!(
            s,
            Step::Rename {
                how: RenameHow::Exchange,
                ..
            }
        )
    });
    let removals: Vec<_> = (0..plan.steps.len())
        .filter(|i| matches!(plan.steps[*i].step, Step::Remove { .. }))
        .collect();
    assert!(
        !removals.is_empty() && removals.iter().all(|at| *at > exchange),
        "{plan}"
    );
}

#[test]
fn r247_impure_is_stored_before_what_it_describes() {
    let impure = |s: &Step| {
        matches!(
            s,
            Step::SetOverlay {
                attr: OverlayAttr::Impure,
                ..
            }
        )
    };
    let up = MemLayer::builder()
        .file("d/own", b"")
        .overlay_attr("d/own", OverlayAttr::Origin, b"");
    for op in [
        mv("/d/f", "/e/f"),
        ln("/d/own", "/e/own"),
        ln("/d/g", "/e/g"),
    ] {
        let plan = plan(up.clone(), &op);
        assert!(find(&plan, impure) < commit(&plan), "{plan}");
    }
}

/// The plan says so before anything is done.
#[test]
fn r195_the_plan_of_truncating_has_no_data_step() {
    let low = MemLayer::builder()
        .file("f", vec![7; 1 << 20])
        .build()
        .unwrap();
    let overlay = Overlay::new(&LayerStack::from_top([low]).unwrap(), MemLayer::new()).unwrap();
    let copies = |options| {
        let plan = overlay.plan(&open("/f", options)).unwrap();
        plan.steps
            .iter()
            .any(|s| matches!(s.step, Step::CopyData { .. }))
    };
    assert!(copies(wr()));
    assert!(!copies(wr().truncate(true)));
    assert!(
        !overlay
            .plan(&open("/f", rd()))
            .unwrap()
            .steps
            .iter()
            .any(|_| true)
    );
}
