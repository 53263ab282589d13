//! Layers that are in use, and layers that do not fit together.

use layerstack::backend::LayerBackend;
use layerstack::backend::memory::MemLayer;
use layerstack::{
    DirLayer, DirLayerOptions, Errno, ErrorKind, LayerId, LayerStack, Overlay, XattrNamespace,
};

use crate::place::{Dirs, fails, told};
use crate::support::mount::{OverlayConfig, OverlayMount};
use crate::support::namespace::{in_mount_namespace, require_kernel};

const OPEN: &str = "open layer";
const STACK: &str = "open overlay";
const LOWER: LayerId = LayerId::Lower(0);

#[test]
fn work_in_use() {
    let dirs = Dirs::new();
    dirs.file("lower/f", "old");
    let overlay = dirs.open();
    overlay.write("/f", "new").unwrap();
    let work = dirs.at("work");
    dirs.unchanged(|| {
        let want = told(Errno::EBUSY, OPEN, &work, LayerId::Work);
        let error = fails(dirs.open_upper(), &want);
        assert_eq!(error.kind(), ErrorKind::Busy);
        // Also beside another upper.
        let got = DirLayer::open_upper(dirs.at("outside"), &work);
        fails(got, &want);
    });
    overlay.remove_file("/f").unwrap();
    drop(overlay);
    dirs.open_upper().unwrap();
}

#[test]
fn used_by_a_mount() {
    if !require_kernel() {
        return;
    }
    in_mount_namespace(|| {
        let dirs = Dirs::new();
        dirs.file("lower/f", "old");
        std::fs::create_dir(dirs.at("merged")).unwrap();
        let config = OverlayConfig {
            lowers: vec![dirs.at("lower")],
            data: Vec::new(),
            upper: Some(dirs.at("upper")),
            work: Some(dirs.at("work")),
            options: Vec::new(),
        };
        let mount = OverlayMount::new(&dirs.at("merged"), &config).unwrap();
        std::fs::write(dirs.at("merged/f"), "new").unwrap();
        std::fs::create_dir(dirs.at("spare")).unwrap();
        let (work, spare) = (dirs.at("work"), dirs.at("spare"));
        let want = |path| told(Errno::EBUSY, OPEN, path, LayerId::Work);
        let before = dirs.snapshot();
        let error = fails(dirs.open_upper(), &want(&work));
        assert_eq!(error.rule(), Some("R017"));
        fails(
            DirLayer::open_upper(dirs.at("upper"), &spare),
            &want(&spare),
        );
        fails(
            DirLayer::open_upper(dirs.at("outside"), &work),
            &want(&work),
        );
        let after = dirs.snapshot();
        assert_eq!(
            before.diff_text(&after, &layerstack::testing::Compare::unchanged(), 9),
            None
        );
        // Its lowers may be shared (rule R018).
        DirLayer::open_lower(dirs.at("lower")).unwrap();
        mount.unmount().unwrap();
        assert_eq!(dirs.open().read("/f").unwrap(), b"new");
    });
}

#[test]
fn layers_of_two_namespaces() {
    let dirs = Dirs::new();
    dirs.unchanged(|| {
        let open = |name: &str, namespace| {
            let options = DirLayerOptions::new().namespace(namespace);
            options.open_lower(dirs.at(name)).unwrap()
        };
        let (trusted, user) = (XattrNamespace::Trusted, XattrNamespace::User);
        let got = LayerStack::from_top([open("lower", trusted), open("outside", user)]);
        let path = dirs.at("outside");
        let error = fails(got, &told(Errno::EINVAL, STACK, &path, LayerId::Lower(1)));
        assert_eq!(
            (error.kind(), error.rule()),
            (ErrorKind::InvalidConfig, Some("R275"))
        );
        // The upper decides.
        let stack = LayerStack::from_top([open("lower", user)]).unwrap();
        let upper = MemLayer::with_namespace(trusted);
        let got = Overlay::new(&stack, upper.clone());
        fails(got, &told(Errno::EINVAL, STACK, &dirs.at("lower"), LOWER));
        assert_eq!(upper.inode_count(), MemLayer::new().inode_count());
        // A lower is no upper.
        let stack = LayerStack::from_top([MemLayer::new()]).unwrap();
        let path = dirs.at("lower");
        let lower = open("lower", trusted);
        assert!(lower.upper().is_none());
        let got = Overlay::new(&stack, lower);
        let error = fails(got, &told(Errno::EINVAL, STACK, &path, LayerId::Upper));
        assert_eq!(error.rule(), Some("R006"));
    });
}
