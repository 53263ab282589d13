//! What a checker calls wrong: facts of a stack at rest, judged (rules as named by each
//! [`FindingKind`](kind::FindingKind)).
//!
//! Each function takes facts that somebody else has read and answers a kind, or none. Where a state
//! can be put right in two ways, the answer says so; nothing here decides for the user.

pub(crate) mod attrs;
pub(crate) mod hints;
pub(crate) mod index;
pub(crate) mod kind;
pub(crate) mod limits;
pub(crate) mod names;
pub(crate) mod whiteout;
