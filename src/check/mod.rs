//! Checking and repairing a stack without mounting it.
//!
//! [`Check`] reads layers, an upper, its work directory and its index, and tells in a [`Report`] what
//! is wrong with them: states that no overlay leaves behind, that show something nobody meant, that
//! the kernel refuses, or that other tools cannot handle. Each [`Finding`] has a kind, a severity, a
//! layer and a path, the rule that it is about, and what repairing it would do. Checking writes
//! nothing and never fails: what cannot be read is a finding.
//!
//! [`Report::repair`] gives the plans of all repairs, to be printed first and applied then. Lower layers
//! are never written. A repair either changes nothing that the tree shows ([`Remedy::Keeps`]), or
//! the state has two readings, the finding says which one the repair makes true
//! ([`Remedy::Chooses`]), and it is only done when asked for.
//!
//! ```
//! use layerstack::backend::memory::MemLayer;
//! use layerstack::check::{Check, Consent, FindingKind};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lower = MemLayer::builder().file("etc/hosts", b"").build()?;
//! // The whiteout of `hosts` is right; there is no `motd` that the other could hide.
//! let upper = MemLayer::builder().whiteout("etc/hosts").whiteout("etc/motd").build()?;
//! let check = Check::from_top([lower]).upper(upper);
//!
//! let report = check.run();
//! let found: Vec<_> = report.findings().iter().map(|f| (f.kind, f.path.to_str())).collect();
//! assert!(found.contains(&(FindingKind::WhiteoutRedundant, Some("/etc/motd"))));
//!
//! let repair = report.repair(Consent::Keep);
//! println!("{repair}");
//! repair.apply()?;
//! assert!(check.run().findings().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # What is looked at
//!
//! Everything that the merged tree shows or merges, and every whiteout in its directories; all of the
//! upper, its staging directory and its index. What lies below something that hides it, in a lower
//! layer that no directory of the tree merges any more, is not looked at: it decides nothing.
//! A directory that cannot be looked up is not entered; it can be once it is repaired, so a second
//! check may find more.
//!
//! A real upper is opened for checking with
//! [`DirLayerOptions::keep_work`](crate::DirLayerOptions::keep_work), so that its work directory is
//! not swept; or, to only look, upper and work directory both as read-only layers
//! ([`Check::work`]). Nobody else may write to the layers meanwhile.

mod again;
mod context;
mod finding;
mod fix;
mod index;
mod objects;
mod repair;
mod report;
mod seal;
mod seen;
mod walk;
mod work;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use self::context::Context;
use self::finding::{Findings, Found};
use self::index::Index;
use self::seen::Seen;
use self::walk::{WalkOptions, Walker};
use crate::backend::LayerBackend;
use crate::error::LayerId;
use crate::overlay::options::OverlayOptions;
use crate::overlay::stack::Layers;
use crate::rules::check::limits;

pub use self::finding::{Finding, Remedy};
pub use self::repair::{Consent, Repair, Repaired};
pub use self::report::Report;
pub use self::seal::{Seal, SealDepth, SealError};
pub use crate::rules::check::kind::{FindingKind, Severity};

/// What to check, and how; see the [module](self).
#[derive(Clone)]
#[must_use = "nothing is checked before `run`"]
pub struct Check {
    layers: Layers,
    work: Option<Arc<dyn LayerBackend>>,
    options: OverlayOptions,
    option_bytes: Option<usize>,
    portability: bool,
    seals: Vec<Option<Seal>>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("layers", &self.layers)
            .field("work", &self.work.is_some())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Check {
    /// Checks the stack of these read-only layers, the topmost first, as in the kernel's `lowerdir=`.
    /// Any number is taken; too many are a finding.
    pub fn from_top<B>(lowers: impl IntoIterator<Item = B>) -> Self
    where
        B: LayerBackend + 'static,
    {
        Check {
            layers: Layers {
                upper: None,
                lowers: shared(lowers),
                data: Vec::new(),
            },
            work: None,
            options: OverlayOptions::default(),
            option_bytes: None,
            portability: true,
            seals: Vec::new(),
        }
    }

    /// With these data-only layers below, the first to be asked first
    /// ([`LayerStack::with_data_layers`](crate::LayerStack::with_data_layers)).
    pub fn data_layers<B>(mut self, layers: impl IntoIterator<Item = B>) -> Self
    where
        B: LayerBackend + 'static,
    {
        self.layers.data = shared(layers);
        self
    }

    /// With this layer on top. A writable one brings its staging directory and index along and can be
    /// repaired; a read-only one is only looked at.
    pub fn upper(mut self, upper: impl LayerBackend + 'static) -> Self {
        self.layers.upper = Some(Arc::new(upper));
        self
    }

    /// The work directory (what `workdir=` names) as a read-only layer, where the upper was not opened
    /// with it.
    pub fn work(mut self, work: impl LayerBackend + 'static) -> Self {
        self.work = Some(Arc::new(work));
        self
    }

    /// The options with which the stack is going to be used (default: the kernel's defaults). They
    /// decide whether redirects and metadata-only copies are refused, and what an index is for.
    pub fn options(mut self, options: OverlayOptions) -> Self {
        self.options = options;
        self
    }

    /// The length in bytes of the option string, if the stack is going to be mounted by mount(2), which
    /// takes one page (rule R023).
    pub fn option_bytes(mut self, bytes: usize) -> Self {
        self.option_bytes = Some(bytes);
        self
    }

    /// Whether names and paths are told that other tools cannot handle (default `true`).
    pub fn portability(mut self, on: bool) -> Self {
        self.portability = on;
        self
    }

    /// The seals that the lowers are to have, topmost first, then those of data-only layers; `None` for
    /// one without.
    pub fn seals(mut self, seals: impl IntoIterator<Item = Option<Seal>>) -> Self {
        self.seals = seals.into_iter().collect();
        self
    }

    /// Checks everything, and tells what was found in the order of layers' importance: the stack as a
    /// whole, the work directory, then the tree by path.
    pub fn run(&self) -> Report {
        let mut out = Findings::default();
        let mut seen = Seen::default();
        self.limits(&mut out);
        self.verify_seals(&mut out);
        let opened = Context::open(&self.layers, &self.options);
        let mut cx = match opened {
            Ok(cx) => cx,
            Err(e) => {
                let found = Found::new(FindingKind::StackInvalid, e.layer(), "/");
                out.add(
                    found
                        .detail(e.to_string())
                        .no_remedy("other layers are needed"),
                );
                return Report::new(out, &seen, None);
            }
        };
        if let Err((path, e)) = cx.find_work(self.work.as_ref()) {
            let found = Found::new(FindingKind::Unreadable, LayerId::Work, path);
            out.add(found.detail(e.to_string()));
        }
        work::staging(&cx, &mut out);
        let mut index = Index::read(&cx, &mut out, &mut seen);
        let options = WalkOptions {
            portability: self.portability,
            upper_name_bytes_max: cx.upper_name_bytes_max(),
        };
        Walker::new(&cx, &mut out, &mut seen, options).run();
        again::Again::new(&cx, &mut out, &seen).run();
        index.judge(&cx, &mut out, &seen);
        out.hold_marks_back();
        let stack = cx.upper.map(|upper| (cx.mounted, upper));
        Report::new(out, &seen, stack)
    }

    fn limits(&self, out: &mut Findings) {
        let layers = self.layers.lowers.len() + self.layers.data.len();
        if let Some(kind) = limits::layers(layers) {
            let found = Found::new(kind, None, "/").detail(format!("{layers} lower layers"));
            out.add(found.no_remedy("fewer layers are needed"));
        }
        if let Some(bytes) = self.option_bytes
            && let Some(kind) = limits::options(bytes)
        {
            let found = Found::new(kind, None, "/").detail(format!("{bytes} bytes"));
            out.add(found.no_remedy("fsconfig(2) takes each path by itself"));
        }
        if let Some(stat) = self.layers.upper.as_ref().and_then(|u| u.statfs().ok())
            && let Some(kind) = limits::inodes(stat.files, stat.files_free)
        {
            let detail = format!("{} of {} are free", stat.files_free, stat.files);
            let found = Found::new(kind, LayerId::Upper, "/").detail(detail);
            out.add(found.no_remedy("the filesystem needs room"));
        }
    }

    fn verify_seals(&self, out: &mut Findings) {
        let layers = self.layers.lowers.iter().chain(&self.layers.data);
        for (i, (layer, seal)) in layers.zip(&self.seals).enumerate() {
            let (id, root) = (LayerId::Lower(i), Path::new("/"));
            let Some(seal) = seal else { continue };
            match Seal::of(layer, seal.depth()) {
                Ok(now) if now == *seal => {}
                Ok(now) => {
                    let found = Found::new(FindingKind::SealBroken, id, root);
                    let detail = format!("{now}, not {seal}");
                    out.add(found.detail(detail).no_remedy("what it was is not known"));
                }
                Err(e) => {
                    let found = Found::new(FindingKind::Unreadable, id, root);
                    out.add(found.detail(format!("it cannot be sealed: {e}")));
                }
            }
        }
    }
}

fn shared<B: LayerBackend + 'static>(
    layers: impl IntoIterator<Item = B>,
) -> Vec<Arc<dyn LayerBackend>> {
    let layers = layers.into_iter();
    layers
        .map(|l| Arc::new(l) as Arc<dyn LayerBackend>)
        .collect()
}
