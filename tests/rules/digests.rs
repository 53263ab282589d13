//! Section 12: digests of metacopy files, and files whose mark cannot be read.

use layerstack::OverlayAttr::Metacopy;
use layerstack::{DirLayerOptions, Errno, LayerStack, XattrNamespace};

use crate::metacopy::{meta_only, metacopy};
use crate::ops::*;
use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::{as_user, in_mount_namespace, require_kernel};

/// `sha256` of something.
fn digest() -> Vec<u8> {
    [&[0, 36, 0, 1][..], &[7; 32]].concat()
}

/// Without verity the digest means nothing, and copying attributes leaves it behind.
#[test]
fn r193_a_digest_is_accepted_and_not_copied_up() {
    let with = meta_only(4).overlay(Metacopy, digest());
    metacopy()
        .upper(of([("/up", with.clone())]))
        .lower(of([("/up", file("data")), ("/low", with)]))
        .lower(of([("/low", file("data"))]))
        .reads("/up", "data")
        .ok(chmod("/up", 0o600))
        .ok(mv("/up", "/up2"))
        .ok(chmod("/low", 0o600))
        .look(|s| {
            assert_eq!(s.attr("/up2", Metacopy), Some(&*digest()));
            assert_eq!(s.attr("/low", Metacopy), Some(&b""[..]));
        })
        .reads("/low", "data")
        .run();
}

/// The kernel here has no fs-verity, nor has any layer of the crate: no digest ever matches.
#[test]
fn r192_digests_that_cannot_be_checked_are_eio() {
    let case = |verity: &str| {
        metacopy()
            .options(&[verity])
            .upper(of([
                ("/digest", meta_only(4).overlay(Metacopy, digest())),
                ("/plain", meta_only(4)),
                ("/whole", file("data")),
            ]))
            .lower(of([
                ("/digest", file("data")),
                ("/plain", file("data")),
                ("/low", meta_only(4).overlay(Metacopy, digest())),
            ]))
            .lower(of([("/low", file("data"))]))
            .ok(stat("/digest"))
            .fails(open("/digest", rd()), Errno::EIO)
            .fails(open("/digest", wr()), Errno::EIO)
            .fails(chmod("/digest", 0o600), Errno::EIO)
            .fails(mv("/digest", "/x"), Errno::EIO)
            .fails(ln("/digest", "/x"), Errno::EIO)
            .ok(set_xattr("/digest", "user.a", "1"))
            .fails(set_xattr("/low", "user.a", "1"), Errno::EIO)
            .fails(cat("/low"), Errno::EIO)
            .reads("/whole", "data")
            .ok(rm("/digest"))
    };
    case("verity=on")
        .reads("/plain", "data")
        .ok(chmod("/plain", 0o600))
        .run();
    case("verity=require")
        .fails(cat("/plain"), Errno::EIO)
        .fails(chmod("/plain", 0o600), Errno::EIO)
        .run();
}

#[test]
fn r182_where_a_digest_is_demanded_data_are_copied() {
    let copied = |verity: &str, metacopies| {
        metacopy()
            .options(&[verity])
            .lower(of([("/f", file("data"))]))
            .ok(chmod("/f", 0o600))
            .look(move |s| assert_eq!(s.having(Metacopy).len(), metacopies))
            .reads("/f", "data")
            .run();
    };
    copied("verity=on", 1);
    copied("verity=require", 0);
}

/// Whatever an ordinary user mounts, `/etc` has a file that he may not read.
#[test]
fn r181_with_userxattr_what_cannot_be_read_is_no_metacopy() {
    let test = "digests::r181_with_userxattr_what_cannot_be_read_is_no_metacopy";
    let secret = std::path::Path::new("/etc/shadow");
    if !secret.exists() || !require_kernel() {
        return;
    }
    let shows = || {
        let mounted = Mounted::new(&[Fs::Tmpfs]);
        let space = Workspace::new(&mounted, Fs::Tmpfs);
        let lowers = vec![space.dir("empty"), "/etc".into()];
        let options = DirLayerOptions::new().namespace(XattrNamespace::User);
        let layers = lowers.iter().map(|l| options.open_lower(l).unwrap());
        let ours = LayerStack::from_top(layers).unwrap();
        let config = OverlayConfig {
            lowers: lowers.clone(),
            options: vec!["userxattr".into()],
            ..OverlayConfig::default()
        };
        let mount = OverlayMount::new(&space.dir("m"), &config).unwrap();
        let size = secret.metadata().unwrap().len();
        let kernel = mount.path().join("shadow").metadata().unwrap().len();
        assert_eq!(kernel, size);
        assert_eq!(ours.metadata("/shadow").unwrap().size, size);
        mount.unmount().unwrap();
        drop(space);
        drop(mounted);
    };
    as_user(test, || in_mount_namespace(shows));
}
