//! Mount options as the crate takes them.

use layerstack::{Fsync, MountOptions, OverlayOptions};

/// The crate's options for what a mount of the same layers is given (`userxattr` belongs to the
/// layers). Nothing is made durable.
pub fn overlay_options(options: &[String]) -> OverlayOptions {
    let parsed = MountOptions::parse(options.join(","));
    let fsync = match options.iter().any(|option| option == "volatile") {
        true => Fsync::Volatile,
        false => Fsync::Off,
    };
    parsed.expect("options").overlay_options().fsync(fsync)
}
