//! Parts for testing layers, stacks and whatever is built on them (feature `testing`).

pub mod conformance;
