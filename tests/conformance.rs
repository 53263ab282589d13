//! Runs the conformance suite on the backends of this crate.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::any::Any;
use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::backend_conformance;
use layerstack::testing::conformance::{Factory, Subject};
use layerstack::testing::{FaultLayer, Faults, LayerSpec};
use layerstack::{DirLayer, DirLayerOptions, Errno, XattrNamespace};

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

/// Makes directory layers in temporary directories, with the options of the kind.
struct Directory(DirLayerOptions);

impl Directory {
    fn open(&self, dir: tempfile::TempDir) -> Subject {
        self.try_open(dir).unwrap()
    }

    fn try_open(&self, dir: tempfile::TempDir) -> Result<Subject, Errno> {
        let (upper, work) = (dir.path().join("upper"), dir.path().join("work"));
        let layer = self.0.clone().content_by_handle(true);
        let layer = layer.open_upper(upper, work).map_err(|e| e.errno())?;
        Ok(Subject::guarded(layer, dir))
    }
}

impl Factory for Directory {
    fn make(&self) -> Subject {
        // Beside the build, which is on a real filesystem where `/tmp` may be a tmpfs; or on the
        // filesystem that whoever runs the tests wants to see.
        let place = std::env::var_os("LAYERSTACK_TEST_DIR");
        let place = place.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
        let dir = tempfile::tempdir_in(place).unwrap();
        for name in ["upper", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        self.open(dir)
    }

    fn reopen(&self, subject: Subject) -> Option<Subject> {
        self.try_reopen(subject).unwrap()
    }

    fn try_reopen(&self, subject: Subject) -> Result<Option<Subject>, Errno> {
        let Subject { backend, guard } = subject;
        drop(backend);
        let Some(guard) = guard else { return Ok(None) };
        let guard: Box<dyn Any> = guard;
        match guard.downcast::<tempfile::TempDir>() {
            Ok(dir) => self.try_open(*dir).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// Directory layers on a tmpfs, if there is one at the usual place.
struct Shm;

impl Factory for Shm {
    fn make(&self) -> Subject {
        let place = std::path::Path::new("/dev/shm");
        let dir = if place.is_dir() {
            tempfile::tempdir_in(place).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        for name in ["upper", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Directory(DirLayerOptions::new()).open(dir)
    }
}

backend_conformance!(directory, Directory(DirLayerOptions::new()));
backend_conformance!(
    directory_userxattr,
    Directory(DirLayerOptions::new().namespace(XattrNamespace::User))
);
backend_conformance!(directory_tmpfs, Shm);

/// A backend that could fail at any call, and is told not to.
struct Faultless<F>(F);

impl<F: Factory> Factory for Faultless<F> {
    fn make(&self) -> Subject {
        let Subject { backend, guard } = self.0.make();
        let mut subject = Subject::new(FaultLayer::new(backend, &Faults::new()));
        subject.guard = guard;
        subject
    }

    fn reopen(&self, subject: Subject) -> Option<Subject> {
        self.try_reopen(subject).unwrap()
    }

    fn try_reopen(&self, subject: Subject) -> Result<Option<Subject>, Errno> {
        let Some(Subject { backend, guard }) = self.0.try_reopen(subject)? else {
            return Ok(None);
        };
        let mut subject = Subject::new(FaultLayer::new(backend, &Faults::new()));
        subject.guard = guard;
        Ok(Some(subject))
    }
}

backend_conformance!(memory_in_faults, Faultless(Memory(XattrNamespace::Trusted)));
backend_conformance!(
    directory_in_faults,
    Faultless(Directory(DirLayerOptions::new()))
);

/// What can be written to is read like what cannot.
fn written(tree: &LayerSpec) -> Subject {
    let layer = MemLayer::new();
    tree.write_to_upper(&layer).unwrap();
    Subject::new(layer)
}

layerstack::reader_conformance!(memory_reading, written);

/// A directory that was written as an upper, read as a lower.
fn lower(tree: &LayerSpec) -> Subject {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let [upper, work] = ["upper", "work"].map(|name| dir.path().join(name));
    for path in [&upper, &work] {
        std::fs::create_dir(path).unwrap();
    }
    let layer = DirLayerOptions::new().open_upper(&upper, work).unwrap();
    tree.write_to_upper(&layer).unwrap();
    drop(layer);
    Subject::guarded(DirLayer::open_lower(upper).unwrap(), dir)
}

layerstack::reader_conformance!(directory_reading, lower);
