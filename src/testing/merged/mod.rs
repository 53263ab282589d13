//! Anything that behaves like a merged file system: this crate's unions, a mount point, a model,
//! someone else's implementation.

mod agree;
pub mod cases;
mod layered;
mod model_test;

pub use agree::{Agreed, Agreement, Divergence};
pub use cases::{Declared, Factory};
pub use layered::{Layered, MemUnion, union_over};
pub use model_test::ModelTest;

use crate::errno::Errno;
use crate::op::{Op, Outcome};
use crate::overlay::apply::Session;
use crate::testing::snapshot::{SnapshotOptions, TreeSnapshot};

/// A tree that operations can be applied to, and that can be looked at as a whole.
///
/// The `Handle...` operations work on files that the implementation keeps open in numbered slots.
pub trait MergedFs {
    /// Does what `op` says.
    ///
    /// # Errors
    /// The operation's, as its system call would give it.
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno>;

    /// The whole tree as its users see it.
    ///
    /// # Errors
    /// What getting at the root gives.
    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno>;

    /// Closes all files held open.
    ///
    /// # Errors
    /// None in most implementations: a slot that is not open is no error.
    fn close_all(&mut self) -> Result<(), Errno> {
        for slot in 0..=u8::MAX {
            match self.apply(&Op::HandleClose { slot }) {
                Ok(_) | Err(Errno::EBADF) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl MergedFs for Session {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        Session::apply(self, op).map_err(|e| e.errno())
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        TreeSnapshot::of_backend(&**self.overlay(), options)
    }
}

impl<T: MergedFs + ?Sized> MergedFs for Box<T> {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        (**self).apply(op)
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        (**self).snapshot(options)
    }

    fn close_all(&mut self) -> Result<(), Errno> {
        (**self).close_all()
    }
}
