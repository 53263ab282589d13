//! Mount options as the crate takes them.

use layerstack::{MountOptions, OverlayOptions};

/// The crate's options for what a mount of the same layers is given (`userxattr` belongs to the
/// layers). Nothing is made durable.
pub fn overlay_options(options: &[String]) -> OverlayOptions {
    let parsed = MountOptions::parse(options.join(","));
    parsed
        .expect("options")
        .overlay_options()
        .fsync(layerstack::Fsync::Off)
}
