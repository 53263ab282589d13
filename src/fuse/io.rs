//! Who does the reading and writing of open files: this process, or the kernel itself on the file of
//! the layer (passthrough).
//!
//! The kernel wants all handles of a node to be of one kind: the first open one decides, and all
//! that are passed through share one registration. What this process counts is never less than what the
//! kernel counts, since it learns of closing later.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{BackingId, FileHandle};

use crate::error::LayerId;
use crate::fuse::caller::SET_ID_BITS;
use crate::fuse::server::Server;
use crate::overlay::file::File;

/// How a node's open handles are served.
#[derive(Debug, Default)]
pub(super) struct Io(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Handles that this process serves.
    served: usize,
    passed: usize,
    /// Those of the passed that write.
    writers: usize,
    backing: Option<Arc<BackingId>>,
    /// The kernel may have kept pages from before the file was written to past it.
    stale: bool,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) file: File,
    io: Arc<Io>,
    pub(super) backing: Option<Arc<BackingId>>,
    writes: bool,
}

impl Handle {
    /// Written to without this process's knowing.
    pub(super) fn writes_past(&self) -> bool {
        self.writes && self.backing.is_some()
    }
}

/// What the kernel is told of a new handle.
pub(super) struct Way {
    pub(super) handle: Handle,
    /// Pages that the kernel has are good.
    pub(super) keeps_pages: bool,
}

impl Io {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Anybody has the file open.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state();
        state.served + state.passed > 0
    }

    /// Attributes can change without the kernel's noticing, by a shared mapping that is passed
    /// through.
    pub(super) fn is_written_past(&self) -> bool {
        self.state().writers > 0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.io.state();
        match self.backing {
            None => state.served = state.served.saturating_sub(1),
            Some(_) => {
                state.passed = state.passed.saturating_sub(1);
                state.writers = state.writers.saturating_sub(usize::from(self.writes));
                if state.passed == 0 {
                    state.backing = None;
                }
            }
        }
    }
}

impl Server {
    /// Decides how a file just opened is served. `register` makes the kernel know the layer's file.
    pub(super) fn way(
        &self,
        file: File,
        io: Arc<Io>,
        writes: bool,
        register: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<BackingId>,
    ) -> Way {
        let mut state = io.state();
        if state.passed == 0 && state.served == 0 && self.passes() {
            state.backing = self.backing(&file, register);
        }
        let backing = state.backing.clone();
        match &backing {
            Some(_) => {
                state.passed += 1;
                state.writers += usize::from(writes);
                state.stale |= writes;
            }
            None => state.served += 1,
        }
        let keeps_pages = !state.stale;
        if backing.is_none() {
            state.stale = false;
        }
        drop(state);
        let handle = Handle {
            file,
            io,
            backing,
            writes,
        };
        Way {
            handle,
            keeps_pages,
        }
    }

    /// Keeps a handle until it is released. Answers its number.
    pub(super) fn register(&self, way: Way) -> (FileHandle, Option<Arc<BackingId>>) {
        let backing = way.handle.backing.clone();
        (FileHandle(self.files.add(way.handle)), backing)
    }

    fn backing(
        &self,
        file: &File,
        register: impl FnOnce(BorrowedFd<'_>) -> std::io::Result<BackingId>,
    ) -> Option<Arc<BackingId>> {
        let real = file.real().ok()?;
        // A lower's file may be exchanged for the upper's while it is open.
        if real.layer != LayerId::Upper && self.core.upper.is_some() {
            return None;
        }
        let fd = real.file.as_fd()?;
        // Set-id bits must go when others write, which the kernel leaves undone for what it passes
        // through.
        if real.file.metadata().ok()?.mode & SET_ID_BITS != 0 {
            return None;
        }
        match register(fd) {
            Ok(backing) => Some(Arc::new(backing)),
            Err(_) => {
                // Not permitted, not for this filesystem, too many: it will not be otherwise soon.
                self.stop_passing();
                None
            }
        }
    }
}
