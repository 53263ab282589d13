//! Limits, names, and stacks that are none.

use std::fs;
use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{Capabilities, FsIdentity, LayerBackend, NodeRef, Result, UpperBackend};
use layerstack::check::{Check, FindingKind, Severity};
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{StatFs, XattrNamespace};
use nix::mount::{MsFlags, mount, umount};

use crate::scene::{heals_plain, lines, on_disk};

fn stack(count: usize) -> Vec<MemLayer> {
    (0..count).map(|_| MemLayer::new()).collect()
}

#[test]
fn layers_may_be_too_many_for_some() {
    let of = |count| lines(&Check::from_top(stack(count)).run());
    assert_eq!(of(100), [] as [&str; 0]);
    assert_eq!(of(120), ["docker-layers stack:/"]);
    assert_eq!(of(129), ["docker-layers stack:/"]);
    assert_eq!(of(470), ["many-layers stack:/"]);
    let many = Check::from_top(stack(501)).run();
    let found = ["stack-invalid lower[500]:/", "too-many-layers stack:/"];
    assert_eq!(lines(&many), found);
    assert_eq!(many.worst(), Some(Severity::Error));
    assert_eq!(of(0), ["stack-invalid lower[0]:/"]);
}

#[test]
fn options_may_be_too_long_for_a_page() {
    let of = |bytes| lines(&Check::from_top(stack(1)).option_bytes(bytes).run());
    assert_eq!(of(100), [] as [&str; 0]);
    assert_eq!(of(4000), ["options-long stack:/"]);
    assert_eq!(of(5000), ["options-too-long stack:/"]);
}

/// An upper on a filesystem with short names, and so many of 1000 inodes left.
#[derive(Debug)]
struct Cramped(MemLayer, u64);

impl LayerBackend for Cramped {
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }
    fn identity(&self) -> &FsIdentity {
        self.0.identity()
    }
    fn root(&self) -> Result<NodeRef> {
        self.0.root()
    }
    fn statfs(&self) -> Result<StatFs> {
        let mut stat = self.0.statfs()?;
        (stat.name_bytes_max, stat.files, stat.files_free) = (20, 1000, self.1);
        Ok(stat)
    }
    fn upper(&self) -> Option<&dyn UpperBackend> {
        self.0.upper()
    }
}

#[test]
fn the_uppers_filesystem_may_be_full_or_too_small() {
    let long = "x".repeat(21);
    let lower = MemLayer::builder().file(&long, "").file("short", "");
    let check = Check::from_top([lower.build().unwrap()]).upper(Cramped(MemLayer::new(), 0));
    let found = [
        "inodes-exhausted upper:/".into(),
        format!("name-too-long lower[0]:/{long}"),
    ];
    assert_eq!(lines(&check.run()), found);
    let of = |free| {
        let check = Check::from_top([MemLayer::new()]).upper(Cramped(MemLayer::new(), free));
        lines(&check.run())
    };
    assert_eq!(of(49), ["inodes-low upper:/"]);
    assert_eq!(of(50), [] as [&str; 0]);
}

#[test]
fn names_that_other_tools_cannot_handle() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"/\xff");
    let lower = LayerSpec::new()
        .with("/a\nb", NodeSpec::file(""))
        .with("/.wh.x", NodeSpec::file(""))
        .with(odd, NodeSpec::file(""));
    let found = [
        "name-control lower[0]:/a\\nb",
        "name-not-text lower[0]:/\\xff",
        "name-reserved lower[0]:/.wh.x",
    ];
    heals_plain(std::slice::from_ref(&lower), &LayerSpec::new(), &found, &[]);
    let layer = MemLayer::new();
    lower.write_to_upper(&layer).unwrap();
    let quiet = Check::from_top([layer]).portability(false).run();
    assert!(quiet.findings().is_empty() && quiet.is_sound());
}

/// The first name that is out of reach is told, not all below it.
#[test]
fn paths_that_are_too_long() {
    let mut path = String::new();
    for _ in 0..30 {
        path.push('/');
        path.push_str(&"n".repeat(200));
    }
    let lower = MemLayer::builder().dir(path, 0o755).build().unwrap();
    let report = Check::from_top([lower]).run();
    let kinds: Vec<_> = report.findings().iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [FindingKind::PathLong]);
    assert_eq!(report.directories(), 31);
}

#[test]
fn layers_that_make_no_stack() {
    let layer = Arc::new(MemLayer::new());
    let twice = Check::from_top([layer.clone(), layer.clone()]).run();
    assert_eq!(lines(&twice), ["stack-invalid lower[1]:/"]);
    let other = Arc::new(MemLayer::with_namespace(XattrNamespace::User));
    let mixed = Check::from_top([layer, other]).run();
    assert_eq!(lines(&mixed), ["stack-invalid lower[1]:/"]);
    assert!(mixed.findings()[0].detail.contains("R275"), "{mixed}");
}

#[test]
fn a_layer_inside_a_layer_cannot_be_looked_up() {
    let lower = LayerSpec::new().with("/f", NodeSpec::file(""));
    on_disk(&[], &[lower], &LayerSpec::new(), |disk| {
        let inside = disk.lowers[0].join("upper");
        fs::create_dir(&inside).unwrap();
        disk.upper = inside;
        let found = ["layer-inside lower[0]:/upper"];
        assert_eq!(lines(&disk.looker().run()), found);
        disk.kernel(|at| assert!(fs::metadata(at.join("upper")).is_err()));
    });
}

#[test]
fn a_mount_inside_a_layer_is_told() {
    let lower = LayerSpec::new().with("/m/f", NodeSpec::file(""));
    on_disk(&[], &[lower], &LayerSpec::new(), |disk| {
        let at = disk.lowers[0].join("m");
        let none: Option<&str> = None;
        mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        assert_eq!(lines(&disk.looker().run()), ["mount-point lower[0]:/m"]);
        umount(&at).unwrap();
    });
}
