//! Runs the conformance suite on the backends of this crate.
#![cfg(feature = "testing")]

use std::any::Any;
use std::sync::Arc;

use layerstack::XattrNamespace;
use layerstack::backend::memory::MemLayer;
use layerstack::backend_conformance;
use layerstack::testing::conformance::{Factory, Subject};

/// Makes memory layers and opens them again by cloning, which is what a clone promises to be.
struct Memory(XattrNamespace);

impl Factory for Memory {
    fn make(&self) -> Subject {
        let layer = Arc::new(MemLayer::with_namespace(self.0));
        Subject::guarded(Arc::clone(&layer), layer)
    }

    fn reopen(&self, subject: Subject) -> Option<Subject> {
        let guard: Box<dyn Any> = subject.guard?;
        let layer = guard.downcast::<Arc<MemLayer>>().ok()?;
        Some(Subject::new(MemLayer::clone(&layer)))
    }
}

backend_conformance!(memory, Memory(XattrNamespace::Trusted));
backend_conformance!(memory_userxattr, Memory(XattrNamespace::User));
backend_conformance!(memory_in_arc, || Subject::new(Arc::new(MemLayer::new())));
