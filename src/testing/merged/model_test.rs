//! Random operations on a merged file system and on the model, compared step by step.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::agree::of_anybody;
use super::cases::{Declared, Factory};
use super::{Agreed, Agreement, Divergence};
use crate::op::Op;
use crate::testing::case::Case;
use crate::testing::minimise;
use crate::testing::model::ReferenceModel;
use crate::testing::strategy::{self, Profile};

/// Generated trees and operations against the reference model.
///
/// ```
/// use layerstack::testing::merged::ModelTest;
/// use layerstack::testing::{LayerSpec, ReferenceModel};
/// let run = ModelTest::new().cases(5).run(&|tree: &LayerSpec| ReferenceModel::from_spec(tree).unwrap());
/// assert!(run.ops > 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelTest {
    /// What trees and operations may hold. Whiteouts and overlay attributes are left out of trees in any
    /// case.
    pub profile: Profile,
    /// How many cases.
    pub cases: u64,
    /// The first case's seed; the next cases have the next ones.
    pub seed: u64,
    /// What the file systems have; `None`: what their factory declares.
    pub declared: Option<Declared>,
}

impl Default for ModelTest {
    fn default() -> Self {
        ModelTest::new()
    }
}

impl ModelTest {
    /// A hundred cases with all that root may do.
    #[must_use]
    pub fn new() -> Self {
        ModelTest {
            profile: Profile::root(),
            cases: 100,
            seed: 1,
            declared: None,
        }
    }

    /// Sets how many cases.
    #[must_use]
    pub fn cases(mut self, cases: u64) -> Self {
        self.cases = cases;
        self
    }

    /// Sets the first seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what the file systems have, for a factory that does not say it itself.
    #[must_use]
    pub fn declared(mut self, declared: Declared) -> Self {
        self.declared = Some(declared);
        self
    }

    /// Runs all cases on file systems that `factory` makes. What it declares not to have is left out of
    /// trees and operations.
    ///
    /// `MODEL_CASES` and `MODEL_SEED` in the environment replace the number of cases and the first seed.
    ///
    /// # Panics
    /// At the first case in which file system and model part: with what differs, and the case, made small,
    /// as Rust source.
    #[allow(clippy::panic, reason = "a test fails by panicking")]
    pub fn run(&self, factory: &dyn Factory) -> Agreed {
        let declared = self.declared.unwrap_or_else(|| factory.declared());
        let mut profile = self.profile.clone();
        profile.privileged &= declared.device_nodes && declared.trusted_xattrs;
        profile.acls &= declared.acls;
        let strategy = strategy::tree_and_ops(&profile);
        let cases = number_from_env("MODEL_CASES").unwrap_or(self.cases);
        let first = number_from_env("MODEL_SEED").unwrap_or(self.seed);
        let mut all = Agreed::default();
        for seed in first..first.saturating_add(cases) {
            let Ok(generated) = strategy.new_tree(&mut runner(seed)) else {
                continue;
            };
            let (tree, mut ops) = generated.current();
            ops.retain(|op| possible(op, &declared));
            let case = Case::new(Vec::new(), Some(tree)).ops(ops);
            match check(&case, factory, &declared) {
                Ok(agreed) => {
                    all.ops += agreed.ops;
                    all.succeeded += agreed.succeeded;
                }
                Err(found) => {
                    let small = minimise(case, &mut |c| check(c, factory, &declared).is_err());
                    let found = check(&small, factory, &declared).err().unwrap_or(found);
                    panic!("seed {seed}: {found}\n\n{small:?}\n");
                }
            }
        }
        all
    }
}

fn number_from_env(key: &str) -> Option<u64> {
    std::env::var(key).ok()?.parse().ok()
}

/// A generator that always gives the same for one seed.
fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *to = from;
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(Config::default(), rng)
}

fn possible(op: &Op, declared: &Declared) -> bool {
    match of_anybody(op) {
        Op::SetAttr { attr, .. } | Op::HandleSetAttr { attr, .. } => {
            declared.ownership || (attr.uid.is_none() && attr.gid.is_none())
        }
        Op::Open { options, .. } | Op::Write { options, .. } | Op::HandleOpen { options, .. } => {
            declared.tmpfile || !options.tmpfile
        }
        // Where nobody refuses whiteouts they are devices like others, which the model does not make.
        Op::Rename { flags, .. } => declared.weakenings.no_whiteouts || !flags.whiteout,
        _ => true,
    }
}

fn check(case: &Case, factory: &dyn Factory, declared: &Declared) -> Result<Agreed, Divergence> {
    let tree = case.upper.clone().unwrap_or_default();
    let fail = |errno| Divergence {
        step: None,
        what: format!("the model takes no such tree: {errno:?}"),
    };
    let model = ReferenceModel::given(&tree).map_err(fail)?;
    let mut model = model.weakenings(declared.weakenings);
    let mut agreement = Agreement::since(model.now());
    agreement.zeroes_ranges = declared.zeroes_ranges;
    agreement.shifts_ranges = declared.shifts_ranges;
    agreement.compare.link_groups = declared.link_groups;
    // Where a union lists numbers of its layers, that is its own matter.
    agreement.compare.listed_inodes = false;
    let mut fs = factory.make(&tree);
    agreement.run(&case.ops, &mut model, &mut fs)
}
