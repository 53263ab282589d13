//! Parts for testing layers, stacks and whatever is built on them (feature `testing`).
