//! Mount options as the crate takes them.

use layerstack::{OverlayOptions, RedirectDir};

/// The crate's options for what a mount of the same layers is given. What shapes no tree
/// (`userxattr` belongs to the layers) is passed over; an option that the crate does not know yet
/// ends the test.
pub fn overlay_options(options: &[String]) -> OverlayOptions {
    let plain = OverlayOptions::new().durable(false);
    options
        .iter()
        .fold(plain, |all, option| match option.as_str() {
            "redirect_dir=on" => all.redirect_dir(RedirectDir::On),
            "redirect_dir=follow" => all.redirect_dir(RedirectDir::Follow),
            "redirect_dir=nofollow" => all.redirect_dir(RedirectDir::NoFollow),
            "redirect_dir=off" => all.redirect_dir(RedirectDir::Off),
            "metacopy=on" => all.metacopy(true),
            "metacopy=off" => all.metacopy(false),
            "index=on" => all.index(true),
            "index=off" => all.index(false),
            "nfs_export=on" => all.nfs_export(true),
            "nfs_export=off" => all.nfs_export(false),
            "userxattr" => all,
            other => panic!("the mount option {other} has no counterpart here"),
        })
}
