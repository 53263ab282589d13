//! Directories that both the kernel and the crate open as a stack.

use std::path::{Path, PathBuf};

use layerstack::{DirLayerOptions, Errno, LayerStack, Overlay, OverlayOptions, XattrNamespace};

use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::{in_mount_namespace, require_kernel};

pub(crate) type Opened = Result<(), Errno>;

pub(crate) const OK: Opened = Ok(());
pub(crate) const EINVAL: Opened = Err(Errno::EINVAL);
pub(crate) const ELOOP: Opened = Err(Errno::ELOOP);

/// Directories on one filesystem, and what opens them.
pub(crate) struct Place {
    pub(crate) space: Workspace,
    pub(crate) mount: PathBuf,
}

impl Place {
    /// An existing directory of this path below the place.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.space.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn config(lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> OverlayConfig {
        OverlayConfig {
            lowers: lowers.to_vec(),
            upper: upper.map(|(upper, _)| upper.to_path_buf()),
            work: upper.map(|(_, work)| work.to_path_buf()),
            options: Vec::new(),
        }
    }

    /// Mounts, asks, unmounts.
    pub(crate) fn kernel_shows<T>(
        &self,
        lowers: &[PathBuf],
        upper: Option<(&Path, &Path)>,
        ask: impl FnOnce(&Path) -> T,
    ) -> Result<T, Errno> {
        let mount = OverlayMount::new(&self.mount, &Place::config(lowers, upper));
        let mount = mount.map_err(|refused| refused.errno)?;
        let answer = ask(mount.path());
        mount.unmount().unwrap();
        Ok(answer)
    }

    pub(crate) fn kernel(&self, lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Opened {
        self.kernel_shows(lowers, upper, |_| ())
    }

    /// Both answer the same.
    pub(crate) fn both(&self, lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Opened {
        let kernel = self.kernel(lowers, upper);
        let ours = ours(lowers, upper).map(|_| ());
        assert_eq!(kernel, ours, "the kernel's answer and the crate's");
        ours
    }
}

/// The crate on these directories.
pub(crate) fn ours(lowers: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<Overlay, Errno> {
    let options = DirLayerOptions::new().namespace(XattrNamespace::Trusted);
    let open = || -> layerstack::Result<Overlay> {
        let lowers = lowers.iter().map(|l| options.open_lower(l));
        let stack = LayerStack::from_top(lowers.collect::<layerstack::Result<Vec<_>>>()?)?;
        let Some((upper, work)) = upper else {
            return Overlay::read_only(&stack);
        };
        let upper = options.open_upper(upper, work)?;
        Overlay::with_options(&stack, upper, OverlayOptions::new().durable(false))
    };
    open().map_err(|e| e.errno())
}

/// Runs `test` in a directory on ext4, where overlays can be mounted.
pub(crate) fn at(test: impl FnOnce(&Place) + Send) {
    if require_kernel() {
        in_mount_namespace(|| {
            let mounted = Mounted::new(&[Fs::Ext4]);
            let space = Workspace::new(&mounted, Fs::Ext4);
            let mount = space.dir("mount");
            test(&Place { space, mount });
        });
    }
}
