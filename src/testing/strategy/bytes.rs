//! Strategies driven by the bytes of a fuzzer.

use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{Profile, guide, layer_path, node, op, open_root};
use crate::op::Op;
use crate::testing::case::{Case, Check};
use crate::testing::spec::{LayerSpec, NodeSpec};

/// How many bytes make one value.
const VALUE_BYTES: usize = 3;

/// Values from bytes, in small independent pieces: each value takes three bytes, so that a fuzzer which
/// changes a byte changes one value, and one that cuts or repeats a piece cuts or repeats values.
///
/// ```
/// use layerstack::testing::strategy::{Bytes, Profile, name};
/// let names = name(&Profile::root());
/// let mut bytes = Bytes::new(&[1, 2, 3, 9, 9, 9, 1, 2, 3]);
/// let (a, _, c) = (bytes.draw(&names), bytes.draw(&names), bytes.draw(&names));
/// assert!(a.is_some() && a == c && bytes.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// Starts with the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Bytes(bytes)
    }

    /// True behind the last byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// The next value of a strategy. `None`: the strategy takes none of those that these bytes make.
    pub fn draw<S: Strategy>(&mut self, strategy: &S) -> Option<S::Value> {
        let mut seed = [0; 32];
        for byte in seed.iter_mut().take(VALUE_BYTES) {
            *byte = self.byte();
        }
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let tree = strategy.new_tree(&mut runner).ok()?;
        Some(tree.current())
    }
}

/// Makes cases of bytes, from the same strategies as [`case`](super::case()). Made once, used for many inputs.
///
/// ```
/// use layerstack::testing::strategy::{CaseReader, Profile};
/// let reader = CaseReader::new(&Profile::user());
/// let case = reader.read(&[0, 200, 1, 1, 1, 201, 2, 2, 2]);
/// assert_eq!((case.lowers.len(), case.ops.len()), (1, 2));
/// ```
#[derive(Debug)]
pub struct CaseReader {
    profile: Profile,
    nodes: BoxedStrategy<(std::path::PathBuf, NodeSpec)>,
    ops: BoxedStrategy<Op>,
}

impl CaseReader {
    /// Builds the strategies of a profile.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        CaseReader {
            nodes: (layer_path(profile), node(profile)).boxed(),
            ops: op(profile),
            profile: profile.clone(),
        }
    }

    /// The case that bytes make: one for the number of layers, then records of four: what it is, and three
    /// that make a node of a layer or an operation. Too many nodes or operations are left out.
    #[must_use]
    pub fn read(&self, bytes: &[u8]) -> Case {
        let mut bytes = Bytes::new(bytes);
        let first = usize::from(bytes.byte());
        let lowers = first % self.profile.lowers_max.max(1) + 1;
        let mut layers = vec![LayerSpec::new(); lowers + 1];
        let (mut case, mut hints) = (Case::default(), Vec::new());
        while !bytes.is_empty() {
            let tag = bytes.byte();
            // A third are nodes.
            if tag < 80 {
                let at = usize::from(tag) % layers.len();
                if let (Some(layer), Some((path, node))) =
                    (layers.get_mut(at), bytes.draw(&self.nodes))
                    && layer.nodes().len() < self.profile.nodes_max
                {
                    layer.insert(path, node);
                }
                continue;
            }
            let hint = u32::from(tag) << 16 | u32::from(bytes.clone().byte()) << 4 | u32::from(tag);
            let Some(op) = bytes.draw(&self.ops) else {
                continue;
            };
            if case.ops.len() == self.profile.ops_max {
                break;
            }
            match tag % 16 {
                0 => case.checks.insert(case.ops.len(), Check::Remount),
                1 => case.checks.insert(case.ops.len(), Check::Rotate),
                _ => None,
            };
            case.ops.push(op);
            hints.push(hint);
        }
        case.upper = layers.pop();
        case.lowers = layers;
        if first >= 248 {
            // The kernel wants two lowers without an upper (rule R004).
            case.lowers.extend(case.upper.take());
        }
        guide(&case.lowers, case.upper.as_ref(), &mut case.ops, &hints);
        if self.profile.callers {
            open_root(&mut case.ops, hints.first());
        }
        case
    }
}
