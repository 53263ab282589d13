//! Random operations against the [`ReferenceModel`](crate::testing::ReferenceModel).

use super::Factory;
use crate::testing::merged::ModelTest;

/// Generated trees and operations; a failure is made small and printed as Rust source.
pub fn random_operations_agree_with_the_model(factory: &dyn Factory) {
    let run = ModelTest::new().cases(60).run(factory);
    println!("{run:?}");
}

/// Few nodes and many operations.
pub fn random_operations_agree_on_small_trees(factory: &dyn Factory) {
    let mut test = ModelTest::new().cases(40).seed(1 << 32);
    test.profile.nodes_max = 3;
    test.profile.ops_max = 80;
    println!("{:?}", test.run(factory));
}
