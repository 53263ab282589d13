//! Generators (proptest) for names, layers, stacks and operations, all with shrinking.
//!
//! Random things rarely meet. These generators are biased to make them meet: few names, few depths,
//! the same names in every layer and in the operations, many replacements. [`Profile`] says what may
//! occur; a strategy is built from it once and used for many cases.
//!
//! ```
//! use layerstack::testing::strategy::{Profile, case};
//! use proptest::strategy::{Strategy, ValueTree};
//! use proptest::test_runner::TestRunner;
//! let tree = case(&Profile::user()).new_tree(&mut TestRunner::deterministic());
//! assert!(tree.is_ok_and(|tree| !tree.current().lowers.is_empty()));
//! ```
//!
//! A fuzzer drives the same strategies with its bytes: see [`CaseReader`] and [`Bytes`].

mod acl;
mod bytes;
mod callers;
mod guide;
mod layers;
mod names;
mod ops;

pub use acl::{AclEntry, acl_bytes};
pub use bytes::{Bytes, CaseReader};
pub use callers::caller;
pub use guide::guide;
pub use layers::{layer, node};
pub use names::{any_name, layer_path, name, op_path};
pub use ops::{op, open_options, ops};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::strategy::{BoxedStrategy, Strategy};

use crate::meta::SetAttr;
use crate::op::Op;
use crate::testing::case::{Case, Check};
use crate::testing::spec::{LayerSpec, NodeKind};
use crate::xattr_name::{XattrName, XattrNamespace};

/// What generated cases may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent switch"
)]
pub struct Profile {
    /// Where layers keep their overlay attributes.
    pub namespace: XattrNamespace,
    /// Owners and groups to use; the first should be the process's own.
    pub ids: Vec<u32>,
    /// Devices other than whiteouts, `trusted.` and `security.` attributes.
    pub privileged: bool,
    /// Names of 255 bytes, with newlines, not UTF-8, or that mean something to other formats.
    pub odd_names: bool,
    /// POSIX access control lists.
    pub acls: bool,
    /// Whiteouts in the form of a file with an attribute, and the marker `opaque=x`.
    pub xattr_whiteouts: bool,
    /// Overlay attributes `redirect` and `metacopy` in the layers given.
    pub redirects: bool,
    /// Operations on behalf of callers with these ids.
    pub callers: bool,
    /// Most lower layers.
    pub lowers_max: usize,
    /// Most nodes given per layer.
    pub nodes_max: usize,
    /// Most operations.
    pub ops_max: usize,
    /// How often a stack has no upper layer, out of 100.
    pub read_only_percent: u32,
}

impl Profile {
    /// Everything that root may make.
    #[must_use]
    pub fn root() -> Self {
        Profile {
            namespace: XattrNamespace::Trusted,
            ids: vec![0, 1, 1000],
            privileged: true,
            odd_names: true,
            acls: true,
            xattr_whiteouts: true,
            redirects: false,
            callers: false,
            lowers_max: 6,
            nodes_max: 10,
            ops_max: 40,
            read_only_percent: 5,
        }
    }

    /// What an ordinary user may make, as root of a user namespace of one id.
    #[must_use]
    pub fn user() -> Self {
        Profile {
            namespace: XattrNamespace::User,
            ids: vec![0],
            privileged: false,
            ..Profile::root()
        }
    }

    /// Sets the most operations.
    #[must_use]
    pub fn ops_max(mut self, max: usize) -> Self {
        self.ops_max = max;
        self
    }

    /// Sets whether operations run on behalf of callers, and layers permit much to everybody.
    #[must_use]
    pub fn callers(mut self, on: bool) -> Self {
        self.callers = on;
        self
    }

    /// Sets whether layers hold redirects and metacopy files.
    #[must_use]
    pub fn redirects(mut self, on: bool) -> Self {
        self.redirects = on;
        self
    }
}

/// A tree without whiteouts and overlay attributes, as anything that is merged may show, and operations on
/// it.
pub fn tree_and_ops(profile: &Profile) -> BoxedStrategy<(LayerSpec, Vec<Op>)> {
    let hints = vec(proptest::num::u32::ANY, profile.ops_max.max(1));
    (layer(profile), ops(profile), hints)
        .prop_map(|(layer, mut ops, hints)| {
            let mut tree = LayerSpec::new();
            for (path, node) in layer.nodes() {
                let mut node = node.clone();
                let whiteout = matches!(node.kind, NodeKind::Whiteout(_));
                let private = |name: &XattrName| {
                    [XattrNamespace::Trusted, XattrNamespace::User]
                        .iter()
                        .any(|n| name.as_bytes().starts_with(n.prefix().as_bytes()))
                };
                node.xattrs.retain(|name, _| !private(name));
                if node.overlay.is_empty() && !whiteout {
                    tree.insert(path, node);
                }
            }
            guide(std::slice::from_ref(&tree), None, &mut ops, &hints);
            (tree, ops)
        })
        .boxed()
}

/// A whole case at default options: lowers, mostly an upper (empty or with content), operations,
/// some checks in between.
pub fn case(profile: &Profile) -> BoxedStrategy<Case> {
    let one = layer(profile);
    let lowers = proptest::prop_oneof![
        4 => vec(one.clone(), 1..=2usize),
        1 => vec(one.clone(), 2..=profile.lowers_max.max(2)),
    ];
    let percent = f64::from(profile.read_only_percent.min(100)) / 100.0;
    let upper = proptest::prop_oneof![
        1 => one.clone(),
        2 => proptest::strategy::Just(LayerSpec::new()),
    ];
    let check = proptest::prop_oneof![
        2 => proptest::strategy::Just(Check::Compare),
        2 => proptest::strategy::Just(Check::Remount),
        1 => proptest::strategy::Just(Check::Rotate),
    ];
    let ops_max = profile.ops_max.max(1);
    let callers = profile.callers;
    (
        lowers,
        option::weighted(1.0 - percent, upper),
        ops(profile),
        vec(proptest::num::u32::ANY, ops_max),
        btree_map(0..ops_max, check, 0..=2usize),
    )
        .prop_map(move |(mut lowers, upper, mut ops, hints, mut checks)| {
            // Without an upper the kernel wants two lowers (rule R004).
            if upper.is_none() && lowers.len() < 2 {
                lowers.push(LayerSpec::new());
            }
            checks.retain(|at, _| *at < ops.len());
            guide(&lowers, upper.as_ref(), &mut ops, &hints);
            if callers {
                open_root(&mut ops, hints.first());
            }
            Case {
                lowers,
                data: Vec::new(),
                upper,
                options: Vec::new(),
                ops,
                checks,
            }
        })
        .boxed()
}

/// Lets everybody use the root, mostly.
fn open_root(ops: &mut [Op], hint: Option<&u32>) {
    let mode = match hint.map(|h| h % 8) {
        Some(0) | None => return,
        Some(1) => 0o1777,
        Some(2) => 0o2777,
        _ => 0o777,
    };
    if let Some(first) = ops.first_mut() {
        *first = Op::SetAttr {
            path: "/".into(),
            follow: true,
            attr: SetAttr::mode(mode),
        };
    }
}
