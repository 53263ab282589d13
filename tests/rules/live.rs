//! A stack opened by the crate, with the kernel's mount of the same directories beside it, for what a
//! case cannot say: orders, inode numbers, times.

use std::path::{Path, PathBuf};

use layerstack::testing::LayerSpec;
use layerstack::{DirLayerOptions, LayerStack, Overlay, OverlayOptions, XattrNamespace};

use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::{in_mount_namespace, require_kernel};

/// One stack of directories: an upper and its lowers.
pub(crate) struct Live {
    /// The crate on the directories.
    pub(crate) overlay: Overlay,
    /// Where the kernel has mounted layers of the same content (an upper of its own).
    pub(crate) mount: PathBuf,
    /// Topmost first.
    pub(crate) lowers: Vec<PathBuf>,
    /// The crate's upper and work directory.
    pub(crate) upper: PathBuf,
    work: PathBuf,
    /// The kernel's upper.
    pub(crate) kernel_upper: PathBuf,
    spare: PathBuf,
}

/// Runs `test` where overlays can be mounted, on ext4; the first of `specs` is the upper.
pub(crate) fn both<const N: usize>(specs: [LayerSpec; N], test: impl FnOnce(&Live) + Send) {
    if !require_kernel() {
        return;
    }
    in_mount_namespace(move || {
        let mounted = Mounted::new(&[Fs::Ext4]);
        let space = Workspace::new(&mounted, Fs::Ext4);
        let write = |spec: &LayerSpec, name: &str| {
            let dir = space.dir(name);
            spec.write_to_dir(&dir, XattrNamespace::Trusted).unwrap();
            dir
        };
        let lowers: Vec<PathBuf> = specs[1..]
            .iter()
            .enumerate()
            .map(|(i, spec)| write(spec, &format!("l{i}")))
            .collect();
        let (upper, kernel_upper) = (write(&specs[0], "u"), write(&specs[0], "ku"));
        let (work, mount) = (space.dir("w"), space.dir("m"));
        let config = OverlayConfig {
            lowers: lowers.clone(),
            data: Vec::new(),
            upper: Some(kernel_upper.clone()),
            work: Some(space.dir("kw")),
            options: Vec::new(),
        };
        let live = {
            let overlay = open(&lowers, &upper, &work);
            Live {
                overlay,
                mount,
                lowers,
                upper,
                work,
                kernel_upper,
                spare: space.dir("spare"),
            }
        };
        let kernel = OverlayMount::new(&live.mount, &config).unwrap();
        test(&live);
        drop(live);
        kernel.unmount().unwrap();
        drop(space);
        drop(mounted);
    });
}

fn open(lowers: &[PathBuf], upper: &Path, work: &Path) -> Overlay {
    let options = DirLayerOptions::new().namespace(XattrNamespace::Trusted);
    let lowers = lowers.iter().map(|l| options.open_lower(l).unwrap());
    let stack = LayerStack::from_top(lowers).unwrap();
    let upper = options.open_upper(upper, work).unwrap();
    Overlay::with_options(
        &stack,
        upper,
        OverlayOptions::new().fsync(layerstack::Fsync::Off),
    )
    .unwrap()
}

impl Live {
    /// The crate's stack, opened once more, read-only: the upper as the topmost lower.
    pub(crate) fn reopened(&self) -> LayerStack {
        let options = DirLayerOptions::new().namespace(XattrNamespace::Trusted);
        let all = std::iter::once(&self.upper).chain(&self.lowers);
        LayerStack::from_top(all.map(|l| options.open_lower(l).unwrap())).unwrap()
    }

    /// The kernel's read-only mount of the crate's own upper and lowers.
    pub(crate) fn remount(&self, look: impl FnOnce(&Path)) {
        let all = std::iter::once(&self.upper).chain(&self.lowers);
        let config = OverlayConfig {
            lowers: all.cloned().collect(),
            ..OverlayConfig::default()
        };
        let mount = OverlayMount::new(&self.spare, &config).unwrap();
        look(mount.path());
        mount.unmount().unwrap();
    }

    /// The crate's work directory.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }
}
