//! Backends that fail on purpose.
//!
//! [`FaultLayer`] wraps any backend, with its nodes and files, and behaves exactly as it does, until a
//! [`Fault`] is armed on its [`Faults`]: then the call with that number fails, is torn, or is the
//! last one that ever has an effect (a crash). Several layers may share one [`Faults`], so that one
//! count runs through all calls of a whole stack. Every call is recorded, for people to read.
//!
//! That is enough to try each way in which an operation can be interrupted: count the calls of a run
//! without faults, then repeat it once for each number and each fault.
//!
//! ```
//! use layerstack::backend::memory::MemLayer;
//! use layerstack::testing::fault::{Fault, FaultLayer, Faults};
//! use layerstack::{Errno, LayerStack, Overlay};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lower = MemLayer::builder().file("etc/hosts", b"old").build()?;
//! let lowers = LayerStack::from_top([lower])?;
//! for n in 0.. {
//!     let disk = std::sync::Arc::new(MemLayer::new());
//!     let faults = Faults::new();
//!     let overlay = Overlay::new(&lowers, FaultLayer::new(disk.clone(), &faults))?;
//!     faults.reset();
//!     faults.arm(n, Fault::Crash);
//!     let done = overlay.rename("/etc/hosts", "/etc/hosts.old");
//!     if faults.fired().is_none() {
//!         assert!(done.is_ok() && n > 5);
//!         break; // There are only `n` calls.
//!     }
//!     // What a new process finds: one name or the other.
//!     let again = Overlay::new(&lowers, MemLayer::clone(&disk))?;
//!     assert_ne!(again.exists("/etc/hosts")?, again.exists("/etc/hosts.old")?, "{}", faults.report());
//! }
//! # Ok(())
//! # }
//! ```

// A method that is not passed on would be answered by the trait's default, not by the backend.
#![deny(clippy::missing_trait_methods)]

mod calls;
mod layer;
mod upper;

pub use calls::{Call, Fault, Faults};
pub use layer::FaultLayer;
