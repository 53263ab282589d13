//! Merged file systems that lie on layers: closed, opened again, and with more layers, between operations.

use std::path::Path;
use std::sync::Arc;

use super::{Agreed, Agreement, Divergence, MergedFs};
use crate::backend::LayerBackend;
use crate::backend::memory::MemLayer;
use crate::errno::Errno;
use crate::error::Error;
use crate::op::{Op, Outcome};
use crate::overlay::apply::Session;
use crate::overlay::options::OverlayOptions;
use crate::overlay::stack::LayerStack;
use crate::overlay::union::Overlay;
use crate::testing::case::{Case, Check};
use crate::testing::model::ReferenceModel;
use crate::testing::snapshot::{SnapshotOptions, TreeSnapshot};
use crate::testing::spec::{LayerSpec, NodeSpec};

/// A merged file system that can be closed and opened again.
pub trait Layered: MergedFs {
    /// Drops every cache and open file, and opens the same layers again; with `rotate` the upper is the
    /// topmost lower then, below a new, empty upper.
    ///
    /// # Errors
    /// What opening gives.
    fn reopen(&mut self, rotate: bool) -> Result<(), Errno>;
}

impl Layered for ReferenceModel {
    fn reopen(&mut self, rotate: bool) -> Result<(), Errno> {
        match rotate {
            true => ReferenceModel::rotate(self, &NodeSpec::dir()),
            false => ReferenceModel::reopen(self),
        }
        Ok(())
    }
}

impl Agreement {
    /// Runs the operations and checks of a case on both, which have been made of its layers. Trees are
    /// compared at the beginning, at each check, and at the end. A union without an upper rotates
    /// nothing: leave it out of `case`.
    ///
    /// # Errors
    /// The first difference, or what failed to open.
    pub fn layered(
        &self,
        case: &Case,
        expected: &mut dyn Layered,
        got: &mut dyn Layered,
    ) -> Result<Agreed, Divergence> {
        let at = |step: usize| {
            move |found: Divergence| Divergence {
                step: Some(step),
                ..found
            }
        };
        self.trees(expected, got)?;
        let mut agreed = Agreed::default();
        for (i, op) in case.ops.iter().enumerate() {
            if let Some(check) = case.checks.get(&i) {
                if *check != Check::Compare {
                    let rotate = *check == Check::Rotate && case.upper.is_some();
                    let done = expected.reopen(rotate).and_then(|()| got.reopen(rotate));
                    done.map_err(|e| Divergence {
                        step: Some(i),
                        what: format!("opening again: {e}"),
                    })?;
                }
                self.trees(expected, got).map_err(at(i))?;
            }
            let done = self.step(op, expected, got).map_err(at(i))?;
            agreed.ops += usize::from(done.is_some());
            agreed.succeeded += usize::from(done == Some(true));
        }
        self.trees(expected, got)?;
        Ok(agreed)
    }
}

/// A union of `layer`, which holds `tree`, below an empty upper in memory, at default options. Its root looks like the
/// tree's.
///
/// # Errors
/// What opening gives; `EINVAL` for a root that cannot be made.
pub fn union_over(layer: impl LayerBackend + 'static, tree: &LayerSpec) -> Result<Session, Error> {
    let mut upper = LayerSpec::new();
    if let Some(mut root) = tree.effective().remove(Path::new("/")) {
        root.overlay.clear();
        upper.insert("/", root);
    }
    let made = self::layer(&upper).map_err(|errno| Error::new("make a layer", "/", errno))?;
    let lowers = LayerStack::from_top([layer])?;
    Ok(Session::new(Overlay::new(&lowers, made)?))
}

/// A union of layers in memory.
#[derive(Debug)]
pub struct MemUnion {
    lowers: Vec<Arc<MemLayer>>,
    upper: Option<Arc<MemLayer>>,
    options: OverlayOptions,
    session: Session,
}

impl MemUnion {
    /// Makes the layers of a case (not its options, which `options` stand for) and opens them.
    ///
    /// # Errors
    /// A layer that cannot be made or options that do not fit.
    pub fn new(case: &Case, options: OverlayOptions) -> Result<Self, Error> {
        let layer = |spec| layer(spec).map_err(|errno| Error::new("make a layer", "/", errno));
        let lowers: Vec<_> = case.lowers.iter().map(layer).collect::<Result<_, _>>()?;
        let upper = case.upper.as_ref().map(layer).transpose()?;
        let session = open(&lowers, upper.as_ref(), &options)?;
        Ok(MemUnion {
            lowers,
            upper,
            options,
            session,
        })
    }

    /// The union, and the files that are held open on it.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The lower layers, topmost first.
    #[must_use]
    pub fn lowers(&self) -> &[Arc<MemLayer>] {
        &self.lowers
    }

    /// The upper layer.
    #[must_use]
    pub fn upper(&self) -> Option<&Arc<MemLayer>> {
        self.upper.as_ref()
    }
}

fn layer(spec: &LayerSpec) -> Result<Arc<MemLayer>, Errno> {
    let layer = MemLayer::new();
    spec.write_to_upper(&layer)?;
    Ok(Arc::new(layer))
}

fn open(
    lowers: &[Arc<MemLayer>],
    upper: Option<&Arc<MemLayer>>,
    options: &OverlayOptions,
) -> Result<Session, Error> {
    let lowers = LayerStack::from_top(lowers.to_vec())?;
    let overlay = match upper {
        None => Overlay::read_only(&lowers.with_options(options.clone())?)?,
        Some(upper) => Overlay::with_options(&lowers, upper.clone(), options.clone())?,
    };
    Ok(Session::new(overlay))
}

impl MergedFs for MemUnion {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        MergedFs::apply(&mut self.session, op)
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        self.session.snapshot(options)
    }
}

impl Layered for MemUnion {
    fn reopen(&mut self, rotate: bool) -> Result<(), Errno> {
        // The upper as another process would find it: a clone knows nothing of open files.
        let fresh = self.upper.as_ref().map(|upper| Arc::new((**upper).clone()));
        self.upper = match (fresh, rotate) {
            (Some(upper), true) => {
                self.lowers.insert(0, upper);
                Some(layer(&LayerSpec::new())?)
            }
            (upper, _) => upper,
        };
        let session = open(&self.lowers, self.upper.as_ref(), &self.options);
        self.session = session.map_err(|e| e.errno())?;
        Ok(())
    }
}
