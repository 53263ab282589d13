//! The identity of a union (rule R037).

use std::path::Path;

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::{LayerStack, Overlay, OverlayAttr, OverlayOptions, UuidMode, WarningReason};

use crate::place::{Place, at, our_string};

/// Of the upper's root.
const UUID: &str = "trusted.overlay.uuid";

fn stored(upper: &Path) -> Option<Vec<u8>> {
    xattr::get(upper, UUID).unwrap()
}

/// What `statfs` tells, of the kernel's mount or the union.
fn kernel_id(place: &Place, options: &str) -> u64 {
    let ask =
        |m: &crate::support::mount::OverlayMount| rustix::fs::statvfs(m.path()).unwrap().f_fsid;
    place.kernel_string(options, ask).unwrap()
}

fn our_id(options: &str) -> u64 {
    our_string(options).unwrap().statfs().unwrap().fs_id
}

/// As `f_fsid` shows it.
fn folded(uuid: &[u8]) -> u64 {
    let half = |at: usize| u64::from_le_bytes(uuid[at..at + 8].try_into().unwrap());
    half(0) ^ half(8)
}

const RW: &str = "lowerdir=l,upperdir=u,workdir=w";

#[test]
fn r037_a_new_upper_gets_an_identity() {
    let upper = std::sync::Arc::new(MemLayer::new());
    let stack = LayerStack::from_top([MemLayer::new()]).unwrap();
    let identity = || {
        upper
            .root()
            .unwrap()
            .overlay_attr(OverlayAttr::Uuid)
            .unwrap()
    };
    let first = Overlay::new(&stack, upper.clone()).unwrap();
    let uuid = identity().unwrap();
    assert_eq!(uuid.len(), 16);
    assert_eq!(first.settings().uuid, UuidMode::On);
    assert_eq!(first.statfs().unwrap().fs_id, folded(&uuid));
    let second = Overlay::new(&stack, upper.clone()).unwrap();
    assert_eq!(identity().unwrap(), uuid);
    assert_eq!(second.settings().uuid, UuidMode::Auto);
    at(|place| {
        place.dir("l");
        // Each finds what the other stored.
        for ours_first in [true, false] {
            let (upper, _) = place.renew();
            let ours = || our_id(RW);
            let kernel = || kernel_id(place, RW);
            let ids = match ours_first {
                true => [ours(), kernel()],
                false => [kernel(), ours()],
            };
            let uuid = stored(&upper).unwrap();
            assert_eq!(ids, [folded(&uuid); 2]);
            assert_eq!(uuid[6] >> 4, 4, "a random one");
        }
        // Other uppers, other identities.
        let first = our_id(RW);
        place.renew();
        assert_ne!(our_id(RW), first);
    });
}

#[test]
fn r037_modes_of_identity() {
    at(|place| {
        place.dir("l/d");
        place.dir("l2");
        let base = rustix::fs::statvfs(place.space.path()).unwrap().f_fsid;
        for mode in ["null", "off"] {
            let options = format!("{RW},uuid={mode}");
            let (upper, _) = place.renew();
            assert_eq!((kernel_id(place, &options), our_id(&options)), (base, base));
            assert_eq!(stored(&upper), None);
        }
        // An upper that was in use before identities were.
        for ours in [true, false] {
            let (upper, _) = place.renew();
            xattr::set(&upper, "trusted.overlay.impure", b"y").unwrap();
            let id = |options: &str| match ours {
                true => our_id(options),
                false => kernel_id(place, options),
            };
            assert_eq!(id(RW), base);
            assert_eq!(stored(&upper), None);
            let on = id(&format!("{RW},uuid=on"));
            assert_eq!(on, folded(&stored(&upper).unwrap()));
            assert_eq!(id(RW), on);
        }
        // Without an upper there is nobody to tell it.
        let none = "lowerdir=l:l2";
        assert_eq!((kernel_id(place, none), our_id(none)), (0, 0));
        let null = "lowerdir=l:l2,uuid=null";
        assert_eq!((kernel_id(place, null), our_id(null)), (base, base));
        // Origins without the filesystem's UUID.
        for ours in [true, false] {
            let (upper, _) = place.renew();
            let options = format!("{RW},uuid=off");
            match ours {
                true => our_string(&options)
                    .unwrap()
                    .create_dir("/d/x", 0o755)
                    .unwrap(),
                false => place
                    .kernel_string(&options, |m| {
                        std::fs::create_dir(m.path().join("d/x")).unwrap()
                    })
                    .unwrap(),
            }
            let origin = xattr::get(upper.join("d"), "trusted.overlay.origin")
                .unwrap()
                .unwrap();
            assert_eq!(origin[5..21], [0; 16], "ours: {ours}");
        }
    });
}

#[test]
fn r037_what_is_no_identity_is_left_alone() {
    let short = MemLayer::new();
    let root = short.root().unwrap();
    let key = layerstack::backend::AttrKey::Overlay(OverlayAttr::Uuid);
    let set = layerstack::backend::XattrMode::Set;
    short
        .upper()
        .unwrap()
        .set_xattr(&root, key, Some(b"short"), set)
        .unwrap();
    let stack = LayerStack::from_top([MemLayer::new()]).unwrap();
    let options = OverlayOptions::new().uuid(UuidMode::On);
    let overlay = Overlay::with_options(&stack, short, options).unwrap();
    assert_eq!(overlay.settings().uuid, UuidMode::Null);
    assert_eq!(overlay.warnings()[0].reason, WarningReason::UnusableUuid);
    at(|place| {
        place.dir("l");
        let base = rustix::fs::statvfs(place.space.path()).unwrap().f_fsid;
        for value in [&b"short"[..], &[7; 17]] {
            let (upper, _) = place.renew();
            xattr::set(&upper, UUID, value).unwrap();
            let options = format!("{RW},uuid=on");
            assert_eq!((kernel_id(place, &options), our_id(&options)), (base, base));
            assert_eq!(stored(&upper).unwrap(), value);
        }
    });
}
