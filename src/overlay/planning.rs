//! What operations would do and cost, and what was spent: [`Overlay::plan`], [`Overlay::spent`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{Access, LayerFile, NodeRef};
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::op::{Op, OpenOptions};
use crate::overlay::apply::{mutate_op, named};
use crate::overlay::build::{Build, Prepared};
use crate::overlay::copier::next_extent;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::lookup::Found;
use crate::overlay::ops::Run;
use crate::overlay::union::Overlay;
use crate::path::{self, Component};
use crate::rules::cost::{Bounds, Cost, copy_estimate};
use crate::rules::plan::{Plan, Step};

impl Overlay {
    /// Tells what `op` would do to the layers, and does nothing. Reading plans nothing. What several
    /// atomic steps make up ([`Op::CreateDirAll`], [`Op::RemoveDirAll`], [`Op::Copy`]) and what works on
    /// open files is `EOPNOTSUPP`: its later steps depend on its earlier ones.
    ///
    /// The bytes that [`Step::CopyData`] would copy are counted exactly, from the extents.
    ///
    /// # Errors
    /// Those that `apply` would give, as far as they can be told before anything is done.
    pub fn plan(&self, op: &Op) -> Result<Plan> {
        self.plan_all([op])
    }

    /// As [`Overlay::plan`], for operations that are to follow each other, such as those of `chown -R`: a
    /// directory that all of them need in the upper is copied up once. Each is planned on the tree as it
    /// is now, so one that needs what an earlier one makes is an error here.
    ///
    /// # Errors
    /// As [`Overlay::plan`], for the first operation that has one.
    pub fn plan_all<'o>(&self, ops: impl IntoIterator<Item = &'o Op>) -> Result<Plan> {
        let ops: Vec<(Arc<Core>, &Op)> = ops
            .into_iter()
            .map(|mut op| {
                let mut core = self.core.clone();
                while let Op::As { caller, op: inner } = op {
                    (core, op) = (self.core.for_caller(Some(caller)), &**inner);
                }
                (core, op)
            })
            .collect();
        let core = &*self.core;
        let mut build = Build::new(core, &[]);
        let mut probed = Bounds::default();
        for (core, op) in &ops {
            build.core = core;
            plan_op(core, op, &mut build).map_err(|e| named(e, op))?;
            if let Some(fail) = build.refusal.take() {
                return Err(named(fail, op));
            }
            let (path, to) = op.paths();
            for path in path.into_iter().chain(to) {
                let _tree = core.read();
                probed += core.layers_probed(path).map_err(|e| named(e, op))?;
            }
        }
        let mut prepared = build.finish();
        prepared.measure(core).map_err(|e| {
            let path = e.1;
            e.0.into_error("plan", path)
        })?;
        prepared.plan.estimate.layers_probed = probed;
        Ok(prepared.plan)
    }

    /// What this union has spent on its upper layer so far: the steps that were executed, the data that
    /// were copied. Operations cost the difference of two readings:
    ///
    /// ```
    /// use layerstack::{LayerStack, Op, Overlay, SetAttr, backend::memory::MemLayer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lower = MemLayer::builder().file("d/f", b"12345").build()?;
    /// let overlay = Overlay::new(&LayerStack::from_top([lower])?, MemLayer::new())?;
    /// let op = Op::SetAttr { path: "/d/f".into(), follow: true, attr: SetAttr::mode(0o600) };
    /// let predicted = overlay.plan(&op)?.cost();
    /// let before = overlay.spent();
    /// overlay.apply(&op)?;
    /// let spent = overlay.spent().since(&before);
    /// assert_eq!(spent, predicted);
    /// assert_eq!((spent.data_bytes, spent.files_created, spent.dirs_created), (5, 1, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn spent(&self) -> Cost {
        self.core.meter.read()
    }
}

impl Prepared {
    /// Counts the data that would be copied, and what they might take. The error comes with the path.
    fn measure(&mut self, core: &Core) -> std::result::Result<(), (Fail, PathBuf)> {
        let upper = core.upper.as_ref();
        let Some(capabilities) = upper.map(|u| u.capabilities()) else {
            return Ok(());
        };
        let block = core.statfs().map_or(4096, |s| s.block_size);
        for planned in &mut self.plan.steps {
            let Step::CopyData {
                from,
                size,
                data_bytes,
                keep_size,
                ..
            } = &mut planned.step
            else {
                continue;
            };
            let object = self.plan.objects.get(from.0);
            let layer = object.map_or(LayerId::Upper, |o| o.layer);
            let node = self.bound.get(from.0).and_then(Option::as_ref);
            let count = |node: &NodeRef| {
                let file = node.open(Access::Read).in_layer(layer)?;
                data_of(&*file, layer, *size, *keep_size)
            };
            let (bytes, extents) = node
                .map_or(Ok((0, 0)), count)
                .map_err(|e| (e, object.map(|o| o.path.clone()).unwrap_or_default()))?;
            *data_bytes = Some(bytes);
            self.plan.estimate += copy_estimate(
                bytes,
                extents,
                core.fs_of(layer) == 0,
                capabilities.reflink,
                block,
            );
        }
        Ok(())
    }
}

/// Bytes that copying the first `size` bytes of a file copies, and how many extents they are; `in_tree`: into a file
/// that is in the upper already.
pub(crate) fn data_of(
    file: &dyn LayerFile,
    layer: LayerId,
    size: u64,
    in_tree: bool,
) -> Res<(u64, u64)> {
    let (mut at, mut total, mut extents) = (0, 0, 0);
    while at < size {
        let Some(extent) = next_extent(file, at, in_tree).in_layer(layer)? else {
            break;
        };
        let end = extent.end.min(size);
        if end <= at {
            break;
        }
        // What is told in pieces is one extent.
        extents += u64::from(total == 0 || extent.start > at);
        total += end.saturating_sub(extent.start.max(at));
        at = end;
    }
    Ok((total, extents))
}

impl Core {
    /// How many directories of layers looking up `path` asks (at most; symlinks not followed).
    fn layers_probed(&self, path: &Path) -> Res<Bounds> {
        let mut probed = Bounds::default();
        let mut at = self.root().clone();
        for component in path::parse(path)?.components {
            let Component::Name(name) = component else {
                continue;
            };
            let state = at.state();
            let asked = state.lowers.len() + usize::from(state.upper.is_some());
            probed.max += asked as u64;
            match self.lookup(&at, &name)? {
                Found::Inode(inode) if inode.is_dir() => at = inode,
                _ => break,
            }
        }
        Ok(probed)
    }
}

fn plan_op(core: &Core, op: &Op, plan: &mut Build<'_>) -> Res<()> {
    let root = core.root();
    match op {
        Op::Metadata { .. }
        | Op::Access { .. }
        | Op::ReadLink { .. }
        | Op::ReadDir { .. }
        | Op::Read { .. }
        | Op::GetXattr { .. }
        | Op::ListXattrs { .. }
        | Op::GetFlags { .. }
        | Op::StatFs
        | Op::Sync => Ok(()),
        Op::Open { path, options } | Op::Write { path, options, .. } => {
            core.plan_open(plan, root, path, options)
        }
        Op::Allocate { path, .. } => {
            core.plan_open(plan, root, path, &OpenOptions::new().write(true))
        }
        Op::CreateDir { .. }
        | Op::Symlink { .. }
        | Op::HardLink { .. }
        | Op::MakeNode { .. }
        | Op::RemoveFile { .. }
        | Op::RemoveDir { .. }
        | Op::Rename { .. }
        | Op::SetLen { .. }
        | Op::SetAttr { .. }
        | Op::SetXattr { .. }
        | Op::SetFlags { .. }
        | Op::RemoveXattr { .. } => mutate_op(core, Run::Plan(plan), op),
        _ => Err(Errno::EOPNOTSUPP.into()),
    }
}
