//! Mount options as the crate takes them.

use layerstack::{MountOptions, OverlayOptions};

/// The crate's options for what a mount of the same layers is given (`userxattr` belongs to the
/// layers). Nothing is made durable; a volatile mount says so in its work directory.
pub fn overlay_options(options: &[String]) -> OverlayOptions {
    let parsed = MountOptions::parse(options.join(","));
    let shape = parsed.expect("options").overlay_options();
    match options.iter().any(|o| o == "volatile") {
        true => shape,
        false => shape.fsync(layerstack::Fsync::Off),
    }
}
