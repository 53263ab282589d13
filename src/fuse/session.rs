//! A mounted union.

use std::path::Path;
use std::sync::Arc;

use fuser::{BackgroundSession, Config, SessionACL};
use nix::errno::Errno as Sys;
use nix::sched::{CloneFlags, unshare};

use crate::errno::Errno;
use crate::error::{Error, Result};
use crate::fuse::device::{self, Mounted};
use crate::fuse::options::FuseOptions;
use crate::fuse::server::{Server, TRANSFER_BYTES_MAX};
use crate::overlay::core::Core;

/// A union that is mounted and served.
///
/// Dropping it unmounts: at once if nothing uses the mount; else it leaves the tree of names, and
/// those who have files open in it are served until they close them.
#[derive(Debug)]
pub struct Session {
    mounted: Arc<Mounted>,
    serving: Option<BackgroundSession>,
}

impl Session {
    pub(super) fn start(
        core: Arc<Core>,
        mountpoint: &Path,
        options: &FuseOptions,
    ) -> Result<Session> {
        // Without an upper the kernel itself refuses every change, as it does for an overlay mount.
        let read_only = options.read_only || core.options.read_only || core.upper.is_none();
        let options = &options.clone().read_only(read_only);
        let (fd, mounted) = device::mount(mountpoint, options)?;
        let server = Server::new(core, options.clone());
        let notifier = server.notifier.clone();
        let threads = options.threads;
        let serve = move || {
            // The server keeps this root and working directory: if the program changed its own into
            // the mount, the server would wait for itself.
            unshare(CloneFlags::CLONE_FS)?;
            let mut config = Config::default();
            config.n_threads = Some(threads);
            // A queue of its own for each thread, where the device can be opened once more.
            config.clone_fd = device::open_device().is_ok();
            // Who may use the mount is decided by the kernel.
            let session = fuser::Session::from_fd(server, fd, SessionACL::All, config)?;
            let _ = notifier.set(session.notifier());
            session.spawn()
        };
        let apart = std::thread::Builder::new().name("layerstack-fuse".to_owned());
        let serving = apart.spawn(serve).and_then(|thread| {
            let ended = |_| Err(std::io::Error::other("the thread ended"));
            thread.join().unwrap_or_else(ended)
        });
        let serving = serving.map_err(|e| {
            let detail = format!("cannot serve: {e}");
            Error::new("mount", mountpoint, Errno::of_io(&e)).with_detail(detail)
        });
        match serving {
            Ok(serving) => {
                mounted.read_ahead(TRANSFER_BYTES_MAX);
                Ok(Session {
                    mounted: Arc::new(mounted),
                    serving: Some(serving),
                })
            }
            Err(e) => {
                // The mount is dead; if even removing it fails there is only the first error to tell.
                let _ = mounted.unmount(true);
                Err(e)
            }
        }
    }

    /// Where the union is mounted: an absolute path without symlinks.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mounted.mountpoint
    }

    fn fail(&self, errno: Errno) -> Error {
        Error::new("unmount", &self.mounted.mountpoint, errno)
    }

    /// Unmounts from another thread, while [`Session::join`] waits.
    #[must_use]
    pub fn unmounter(&self) -> Unmounter {
        Unmounter {
            mounted: self.mounted.clone(),
        }
    }

    /// Waits until the union is unmounted, by whomever.
    ///
    /// # Errors
    /// What ended serving, if it was not unmounting.
    pub fn join(mut self) -> Result<()> {
        self.wait()
    }

    fn wait(&mut self) -> Result<()> {
        let Some(serving) = self.serving.take() else {
            return Ok(());
        };
        match serving.join() {
            // The mount went while a thread took a request that nobody waits for any more, such as
            // for what is read ahead.
            Err(e) if e.raw_os_error() == Some(Sys::ECONNABORTED as i32) => Ok(()),
            Err(e) => Err(self.fail(Errno::of_io(&e)).with_detail(e.to_string())),
            Ok(()) => Ok(()),
        }
    }

    /// Unmounts and waits until all is served.
    ///
    /// # Errors
    /// `EBUSY`: something uses the mount; it stays as it is.
    pub fn unmount(&mut self) -> Result<()> {
        match self.mounted.unmount(false) {
            Ok(()) => self.wait(),
            Err(errno) => Err(self.fail(errno)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(serving) = self.serving.take() else {
            return;
        };
        match self.mounted.unmount(false) {
            Ok(()) if self.mounted.is_detached() => {}
            // Whoever drops the session wants nothing of the union to be going on afterwards.
            Ok(()) => drop(serving.join()),
            Err(_) => drop(self.mounted.unmount(true)),
        }
    }
}

/// Unmounts the union of a [`Session`] from anywhere.
#[derive(Clone, Debug)]
pub struct Unmounter {
    mounted: Arc<Mounted>,
}

impl Unmounter {
    /// Unmounts, or does nothing if that is done already.
    ///
    /// # Errors
    /// `EBUSY`: something uses the mount; it stays as it is.
    pub fn unmount(&self) -> Result<()> {
        self.mounted
            .unmount(false)
            .map_err(|e| Error::new("unmount", &self.mounted.mountpoint, e))
    }

    /// Takes the mount out of the tree of names; who has files open in it is served until they are
    /// closed, as long as this process lives.
    ///
    /// # Errors
    /// `EPERM` and others.
    pub fn detach(&self) -> Result<()> {
        self.mounted
            .unmount(true)
            .map_err(|e| Error::new("unmount", &self.mounted.mountpoint, e))
    }
}
