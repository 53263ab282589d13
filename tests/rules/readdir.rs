//! Section 6: listing. What a directory stream keeps between reads (R100, R102 to R104) belongs to
//! open streams of a mount; `Dir` reads whole listings.

use std::os::unix::fs::DirEntryExt;
use std::path::Path;

use layerstack::OverlayAttr;
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{Errno, FileType, Metadata};

use crate::live::{Live, both};
use crate::ops::*;
use crate::rig::rule;

#[test]
fn r095_a_directory_of_one_layer_is_listed_as_it_lies_there() {
    rule()
        .lower(of([
            ("/one/a", file("")),
            ("/one/b", dir()),
            ("/two/c", file("")),
        ]))
        .lower(of([("/two/d", file(""))]))
        .lists("/one", &["a", "b"])
        .lists("/two", &["c", "d"])
        .run();
}

/// Many names, in the order of a hashed directory, spread over three layers.
fn scattered() -> [LayerSpec; 3] {
    let mut layers = [layer(), layer(), layer()];
    for i in 0..120_u32 {
        let name = format!("/d/{:08x}", i.wrapping_mul(2_654_435_761));
        for (k, spec) in layers.iter_mut().enumerate() {
            let k = u32::try_from(k).unwrap();
            if i.is_multiple_of(k + 2) || i % 7 == k {
                spec.insert(&name, file(""));
            }
        }
    }
    layers[0].insert("/d/white", gone());
    layers[1].insert("/d/white", file(""));
    layers
}

#[test]
fn r096_the_order_is_the_kernels() {
    both(scattered(), |live: &Live| {
        let listed = |path: &Path| -> Vec<_> {
            let entries = std::fs::read_dir(path).unwrap();
            entries.map(|e| e.unwrap().file_name()).collect()
        };
        let kernel = listed(&live.mount.join("d"));
        let crate_order = |entries: Vec<layerstack::DirEntry>| -> Vec<_> {
            let name =
                |e: layerstack::DirEntry| AsRef::<Path>::as_ref(&e.name).as_os_str().to_os_string();
            entries.into_iter().map(name).collect()
        };
        let ours = crate_order(live.overlay.read_dir("/d").unwrap());
        assert_eq!(kernel, ours);
        // Not by luck: the order is no sorted one, and the bottom's names come first, in its order.
        assert!(!ours.is_sorted());
        let bottom = listed(&live.lowers[1].join("d"));
        assert_eq!(ours[..bottom.len()], bottom);
        assert!(!ours.iter().any(|name| name == "white"));
    });
}

#[test]
fn r097_each_name_once_with_the_type_of_the_topmost() {
    rule()
        .lower(of([("/d/n", dir())]))
        .lower(of([("/d/n", link("x"))]))
        .upper(of([("/d/n", file(""))]))
        .lists("/d", &["n"])
        .look(|s| assert_eq!(s.node("/d/n").listed_type, Some(FileType::Regular)))
        .run();
}

#[test]
fn r098_a_whiteout_hides_the_name_in_all_layers_below() {
    rule()
        .lower(of([("/d/a", gone()), ("/d/b", file(""))]))
        .lower(of([("/d/a", file(""))]))
        .lower(of([("/d/a", file("")), ("/d/c", file(""))]))
        .lists("/d", &["b", "c"])
        .run();
}

#[test]
fn r099_only_the_directorys_own_stack_is_listed() {
    rule()
        .lower(of([("/d/a", file(""))]))
        .lower(of([("/d", file("ends it"))]))
        .lower(of([("/d/b", file(""))]))
        .lists("/d", &["a"])
        .run();
}

#[test]
fn r105_listed_inode_numbers_are_those_of_stat() {
    let specs = [
        of([("/d/up", file("")), ("/d/both", file(""))]),
        of([
            ("/d/both", file("")),
            ("/d/sub", dir()),
            ("/d/copied", file("1")),
        ]),
        of([("/d/low", file("")), ("/d/sub/x", file(""))]),
    ];
    both(specs, |live: &Live| {
        live.overlay.set_permissions("/d/copied", 0o600).unwrap();
        live.overlay.set_permissions("/d/sub", 0o700).unwrap();
        let entries = live.overlay.read_dir("/d").unwrap();
        assert_eq!(entries.len(), 5);
        for entry in entries {
            let path = Path::new("/d").join(AsRef::<Path>::as_ref(&entry.name));
            let meta: Metadata = live.overlay.symlink_metadata(&path).unwrap();
            assert_eq!(entry.ino, meta.ino, "{path:?}");
        }
        let reopened = live.reopened();
        let ino = |name: &str| reopened.metadata(format!("/d/{name}")).unwrap().ino;
        live.remount(|mount| {
            for entry in std::fs::read_dir(mount.join("d")).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                assert_eq!(entry.ino(), ino(&name), "{name}: the kernel's number");
            }
        });
    });
}

#[test]
fn r107_the_listed_type_is_that_of_the_topmost() {
    rule()
        .lower(of([
            ("/d/l", link("x")),
            ("/d/p", NodeSpec::new(layerstack::testing::NodeKind::Fifo)),
        ]))
        .lower(of([("/d/l", dir()), ("/d/p", file(""))]))
        .look(|s| {
            assert_eq!(s.node("/d/l").listed_type, Some(FileType::Symlink));
            assert_eq!(s.node("/d/p").listed_type, Some(FileType::Fifo));
        })
        .run();
}

/// A name whose lookup is refused stays listed.
#[test]
fn r109_names_that_cannot_be_looked_up_are_listed() {
    let refused = file("").overlay(OverlayAttr::Metacopy, "");
    rule()
        .lower(of([("/d/m", refused), ("/d/f", file(""))]))
        .lower(of([("/d/m", file("data"))]))
        .fails(stat("/d/m"), Errno::EPERM)
        .lists("/d", &["f", "m"])
        .run();
}

/// Where inode numbers have to be looked up, such a name is dropped from a merged directory, and
/// makes listing a directory of one layer fail.
#[test]
fn r110_in_an_impure_directory_they_are_dropped_or_fail() {
    let refused = || file("").overlay(OverlayAttr::Metacopy, "");
    let impure = || dir().overlay(OverlayAttr::Impure, "y");
    rule()
        .same_filesystem_only()
        .upper(of([
            ("/merged", impure()),
            ("/merged/m", refused()),
            ("/merged/f", file("")),
            ("/pure", impure()),
            ("/pure/m", refused()),
        ]))
        .lower(of([("/merged/g", file(""))]))
        .lists("/merged", &["f", "g"])
        .fails(ls("/pure"), Errno::EPERM)
        .run();
}

/// Names that the system lists for a directory, `.` and `..` too.
fn raw_names(dir: &Path) -> Vec<Vec<u8>> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let fd = rustix::fs::open(dir, flags, rustix::fs::Mode::empty()).unwrap();
    let entries = rustix::fs::Dir::new(fd).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().to_bytes().to_vec())
        .collect();
    names.sort();
    names
}

/// The kernel lists them like any name; here they are left out, as by std.
#[test]
fn r101_dot_and_dot_dot_are_the_kernels_alone() {
    both(scattered(), |live: &Live| {
        let ours = live.overlay.read_dir("/d").unwrap();
        let mut all: Vec<Vec<u8>> = ours.iter().map(|e| e.name.as_bytes().to_vec()).collect();
        assert!(!all.contains(&b".".to_vec()) && !all.contains(&b"..".to_vec()));
        all.extend([b".".to_vec(), b"..".to_vec()]);
        all.sort();
        assert_eq!(raw_names(&live.mount.join("d")), all);
    });
}
