//! Directories that both the kernel and the crate open as a stack.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use layerstack::{
    DirLayerOptions, Errno, LayerStack, MountOptions, Overlay, OverlayOptions, XattrNamespace,
};

use crate::support::fs::{Fs, Mounted, Workspace, require_fs};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::in_mount_namespace;

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
            data: Vec::new(),
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

    /// Mounts by mount(2) with these options, asks, unmounts.
    pub(crate) fn kernel_string<T>(
        &self,
        options: impl AsRef<OsStr>,
        ask: impl FnOnce(&OverlayMount) -> T,
    ) -> Result<T, Errno> {
        let mount = OverlayMount::by_string(&self.mount, options.as_ref())?;
        let answer = ask(&mount);
        mount.unmount().unwrap();
        Ok(answer)
    }

    /// The same by fsconfig(2).
    pub(crate) fn kernel_pairs<T>(
        &self,
        pairs: &[(impl AsRef<OsStr>, Option<OsString>)],
        ask: impl FnOnce(&OverlayMount) -> T,
    ) -> Result<T, Errno> {
        let mount = OverlayMount::by_pairs(&self.mount, pairs);
        let mount = mount.map_err(|refused| refused.errno)?;
        let answer = ask(&mount);
        mount.unmount().unwrap();
        Ok(answer)
    }

    /// Makes upper and work directory `u` and `w` anew.
    pub(crate) fn renew(&self) -> (PathBuf, PathBuf) {
        for name in ["u", "w"] {
            let _ = std::fs::remove_dir_all(self.space.path().join(name));
        }
        (self.dir("u"), self.dir("w"))
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
        Overlay::with_options(
            &stack,
            upper,
            OverlayOptions::new().fsync(layerstack::Fsync::Off),
        )
    };
    open().map_err(|e| e.errno())
}

/// The crate on these options.
pub(crate) fn our_string(options: impl AsRef<OsStr>) -> Result<Overlay, Errno> {
    let options = MountOptions::parse(options).map_err(|e| e.errno())?;
    options.open().map_err(|e| e.errno())
}

/// Runs `test` in a directory on ext4, where overlays can be mounted.
pub(crate) fn at(test: impl FnOnce(&Place) + Send) {
    at_on(Fs::Ext4, &[], |place, _| test(place));
}

/// Runs `test` in a directory on `fs`, which is the working directory, and with the other filesystems
/// mounted.
pub(crate) fn at_on(fs: Fs, others: &[Fs], test: impl FnOnce(&Place, &Mounted) + Send) {
    let kinds: Vec<Fs> = others.iter().copied().chain([fs]).collect();
    if require_fs(&kinds) {
        in_mount_namespace(|| {
            let mounted = Mounted::new(&kinds);
            let space = Workspace::new(&mounted, fs);
            let mount = space.dir("mount");
            std::env::set_current_dir(space.path()).unwrap();
            test(&Place { space, mount }, &mounted);
            std::env::set_current_dir("/").unwrap();
        });
    }
}
