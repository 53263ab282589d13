//! Section 1: which layers make a stack. The kernel is asked by mounts, the crate by opening the same
//! directories.

use std::path::{Path, PathBuf};

use layerstack::backend::memory::MemLayer;
use layerstack::{Errno, LOWER_LAYERS_MAX, LayerStack, Op};
use nix::mount::{MsFlags, mount};

use crate::ops::*;
use crate::place::{EINVAL, ELOOP, OK, Place, at, ours};
use crate::rig::rule;
use crate::support::mount::OverlayMount;

#[test]
fn r001_the_first_lower_is_the_topmost() {
    rule()
        .lower(of([("/f", file("first"))]))
        .lower(of([("/f", file("second"))]))
        .reads("/f", "first")
        .run();
}

#[test]
fn r002_there_are_at_most_500_lowers() {
    let many = |n: usize| LayerStack::from_top((0..n).map(|_| MemLayer::new())).map(|_| ());
    assert_eq!(LOWER_LAYERS_MAX, 500);
    many(500).unwrap();
    assert_eq!(many(501).unwrap_err().errno(), Errno::EINVAL);
    at(|place| {
        let dirs: Vec<_> = (0..501).map(|i| place.dir(&format!("l{i}"))).collect();
        assert_eq!(place.both(&dirs[..500], None), OK);
        assert_eq!(place.both(&dirs, None), EINVAL);
    });
}

#[test]
fn r003_without_lowers_there_is_no_stack() {
    let none = LayerStack::from_top(Vec::<MemLayer>::new());
    assert_eq!(none.unwrap_err().errno(), Errno::EINVAL);
    at(|place| {
        let (upper, work) = (place.dir("u"), place.dir("w"));
        assert_eq!(place.both(&[], None), EINVAL);
        assert_eq!(place.both(&[], Some((&upper, &work))), EINVAL);
    });
}

/// Deviation STACK-1: a read-only union of one layer is useful without a mount.
#[test]
fn r004_one_lower_without_an_upper_is_no_mount_but_a_stack() {
    let one = LayerStack::from_top([MemLayer::builder().file("f", b"x").build().unwrap()]).unwrap();
    assert_eq!(one.read("/f").unwrap(), b"x");
    at(|place| {
        let dirs = [place.dir("a"), place.dir("b")];
        assert_eq!(place.kernel(&dirs[..1], None), EINVAL);
        assert!(ours(&dirs[..1], None).is_ok());
        assert_eq!(place.both(&dirs, None), OK);
    });
}

/// `open_upper` takes both, so one alone cannot be said.
#[test]
fn r006_an_upper_needs_a_work_directory() {
    at(|place| {
        let mut config = Place::config(&[place.dir("l")], None);
        config.upper = Some(place.dir("u"));
        let refused = OverlayMount::new(&place.mount, &config)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refused.errno, Errno::EINVAL);
    });
}

#[test]
fn r007_upper_and_work_are_under_one_mount() {
    at(|place| {
        let (lower, upper) = (place.dir("l"), place.dir("u"));
        let (other, bound) = (place.dir("w"), place.dir("bound"));
        let none: Option<&str> = None;
        mount(Some(&other), &bound, none, MsFlags::MS_BIND, none).unwrap();
        assert_eq!(
            place.both(std::slice::from_ref(&lower), Some((&upper, &bound))),
            EINVAL
        );
        assert_eq!(place.both(&[lower], Some((&upper, &other))), OK);
        nix::mount::umount(&bound).unwrap();
    });
}

#[test]
fn r008_upper_and_work_are_apart() {
    at(|place| {
        let lower = [place.dir("l")];
        let (upper, inside) = (place.dir("u"), place.dir("u/w"));
        assert_eq!(place.both(&lower, Some((&upper, &upper))), EINVAL);
        assert_eq!(place.both(&lower, Some((&upper, &inside))), EINVAL);
        assert_eq!(place.both(&lower, Some((&inside, &upper))), EINVAL);
        assert_eq!(place.both(&lower, Some((&upper, &place.dir("uw")))), OK);
    });
}

#[test]
fn r009_a_layer_is_an_existing_directory() {
    at(|place| {
        let (good, missing) = (place.dir("l"), place.space.path().join("missing"));
        let (plain, to_good) = (good.join("f"), place.space.path().join("link"));
        std::fs::write(&plain, "").unwrap();
        std::os::unix::fs::symlink(&good, &to_good).unwrap();
        let (upper, work) = (place.dir("u"), place.dir("w"));
        let with = |lower: &PathBuf| place.both(std::slice::from_ref(lower), Some((&upper, &work)));
        assert_eq!(with(&missing), Err(Errno::ENOENT));
        assert_eq!(with(&plain), EINVAL);
        assert_eq!(with(&plain.join("x")), Err(Errno::ENOTDIR));
        assert_eq!(with(&to_good), OK);
        let low = [good];
        assert_eq!(place.both(&low, Some((&plain, &work))), EINVAL);
        assert_eq!(place.both(&low, Some((&upper, &plain))), EINVAL);
        assert_eq!(
            place.both(&low, Some((&missing, &work))),
            Err(Errno::ENOENT)
        );
    });
}

#[test]
fn r010_upper_and_work_are_on_a_writable_mount() {
    at(|place| {
        let (lower, both) = (place.dir("l"), place.dir("rw"));
        let (upper, work) = (place.dir("rw/u"), place.dir("rw/w"));
        let none: Option<&str> = None;
        mount(Some(&both), &both, none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(Some(&both), &both, none, read_only, none).unwrap();
        assert_eq!(place.both(&[lower], Some((&upper, &work))), EINVAL);
        nix::mount::umount(&both).unwrap();
    });
}

#[test]
fn r011_an_upper_on_overlayfs_is_refused_a_lower_is_fine() {
    at(|place| {
        let (low, up, work, outer) = (
            place.dir("l"),
            place.dir("u"),
            place.dir("w"),
            place.dir("o"),
        );
        for name in ["u", "w", "l"] {
            std::fs::create_dir_all(low.join(name)).unwrap();
        }
        let config = Place::config(&[low], Some((&up, &work)));
        let mounted = OverlayMount::new(&outer, &config).unwrap();
        let (inner_up, inner_work) = (outer.join("u"), outer.join("w"));
        let plain = [place.dir("plain")];
        assert_eq!(place.both(&plain, Some((&inner_up, &inner_work))), EINVAL);
        let (up2, work2) = (place.dir("u2"), place.dir("w2"));
        assert_eq!(place.both(&[outer.join("l")], Some((&up2, &work2))), OK);
        mounted.unmount().unwrap();
    });
}

/// The crate's unions nest to any depth; how deep mounts may, the kernel decides.
#[test]
fn r012_mounts_nest_two_deep_and_unions_to_any_depth() {
    at(|place| {
        let base = [place.dir("a"), place.dir("b")];
        std::fs::write(base[0].join("f"), "x").unwrap();
        let (one, two) = (place.dir("one"), place.dir("two"));
        let first = OverlayMount::new(&one, &Place::config(&base, None)).unwrap();
        let plain = place.dir("plain");
        let over_first = Place::config(&[one, plain.clone()], None);
        let second = OverlayMount::new(&two, &over_first).unwrap();
        assert_eq!(place.kernel(&[two.clone(), plain], None), EINVAL);
        second.unmount().unwrap();
        first.unmount().unwrap();
    });
    let base = MemLayer::builder().file("f", b"x").build().unwrap();
    let mut stack = LayerStack::from_top([base]).unwrap();
    for _ in 0..5 {
        stack = LayerStack::from_top([stack]).unwrap();
    }
    assert_eq!(stack.read("/f").unwrap(), b"x");
}

#[test]
fn r014_one_directory_twice_is_eloop() {
    let layer = std::sync::Arc::new(MemLayer::new());
    let twice = LayerStack::from_top([layer.clone(), layer]);
    assert_eq!(twice.unwrap_err().errno(), Errno::ELOOP);
    at(|place| {
        let (a, b) = (place.dir("a"), place.dir("b"));
        let (upper, work) = (place.dir("u"), place.dir("w"));
        assert_eq!(place.both(&[a.clone(), b, a.clone()], None), ELOOP);
        assert_eq!(
            place.both(&[a, upper.clone()], Some((&upper, &work))),
            ELOOP
        );
    });
}

#[test]
fn r015_a_lower_inside_another_layer_is_eloop() {
    at(|place| {
        let (outer, inner) = (place.dir("a"), place.dir("a/in"));
        let (upper, work) = (place.dir("u"), place.dir("w"));
        assert_eq!(place.both(&[outer.clone(), inner.clone()], None), ELOOP);
        assert_eq!(place.both(&[inner, outer], None), ELOOP);
        let in_upper = place.dir("u/in");
        assert_eq!(place.both(&[in_upper], Some((&upper, &work))), ELOOP);
        let in_work = place.dir("w/in");
        assert_eq!(place.both(&[in_work], Some((&upper, &work))), ELOOP);
    });
}

/// Opened all the same; what is looked up is refused, what is listed is not.
fn inside_a_lower(place: &Place, name: &str) {
    let (lower, upper, work) = ([place.dir("l")], place.dir("l/u"), place.dir("l/w"));
    std::fs::write(lower[0].join("f"), "").unwrap();
    let ask = |at: &Path| {
        let found = std::fs::metadata(at.join(name)).map_err(|e| Errno::of_io(&e));
        (std::fs::read_dir(at).unwrap().count(), found.err())
    };
    let kernel = place.kernel_shows(&lower, Some((&upper, &work)), ask);
    assert_eq!(kernel, Ok((3, Some(Errno::ELOOP))));
    let ours = ours(&lower, Some((&upper, &work))).unwrap();
    let found = ours.metadata(name).map_err(|e| e.errno());
    assert_eq!(Ok((ours.read_dir("/").unwrap().len(), found.err())), kernel);
}

#[test]
fn r016_an_upper_inside_a_lower_is_hidden_from_lookup() {
    at(|place| inside_a_lower(place, "u"));
}

#[test]
fn r016_a_work_directory_inside_a_lower_is_too() {
    at(|place| inside_a_lower(place, "w"));
}

#[test]
fn r018_lowers_may_be_shared() {
    at(|place| {
        let lower = [place.dir("l")];
        std::fs::write(lower[0].join("f"), "shared").unwrap();
        let dirs = ["u1", "w1", "u2", "w2"].map(|d| place.dir(d));
        let one = ours(&lower, Some((&dirs[0], &dirs[1]))).unwrap();
        let two = ours(&lower, Some((&dirs[2], &dirs[3]))).unwrap();
        one.remove_file("/f").unwrap();
        assert!(!one.exists("/f").unwrap());
        assert_eq!(two.read("/f").unwrap(), b"shared");
    });
}

/// Deviation USE-1: the kernel only warns (index=off), the crate refuses.
#[test]
fn r017_directories_in_use_are_refused() {
    at(|place| {
        let lower = [place.dir("l")];
        let (upper, work, mount) = (place.dir("u"), place.dir("w"), place.dir("m2"));
        let config = Place::config(&lower, Some((&upper, &work)));
        let mounted = OverlayMount::new(&mount, &config).unwrap();
        assert_eq!(place.kernel(&lower, Some((&upper, &work))), OK);
        let mut index = config.clone();
        index.options.push("index=on".into());
        let refused = OverlayMount::new(&place.mount, &index).map(|_| ());
        assert_eq!(refused.unwrap_err().errno, Errno::EBUSY);
        assert_eq!(
            ours(&lower, Some((&upper, &work))).map(|_| ()),
            Err(Errno::EBUSY)
        );
        mounted.unmount().unwrap();
        let first = ours(&lower, Some((&upper, &work))).unwrap();
        assert_eq!(
            ours(&lower, Some((&upper, &work))).map(|_| ()),
            Err(Errno::EBUSY)
        );
        drop(first);
        assert!(ours(&lower, Some((&upper, &work))).is_ok());
    });
}

#[test]
fn r035_statfs_shows_the_upper_with_the_longest_name_of_all() {
    rule().lower(layer()).ok(Op::StatFs).run();
    at(|place| {
        let (lower, upper, work) = ([place.dir("l")], place.dir("u"), place.dir("w"));
        let ours = ours(&lower, Some((&upper, &work)))
            .unwrap()
            .statfs()
            .unwrap();
        assert_eq!((ours.fs_type, ours.name_bytes_max), (0x794c_7630, 255));
        let ask = |at: &Path| rustix::fs::statfs(at).unwrap();
        let kernel = place
            .kernel_shows(&lower, Some((&upper, &work)), ask)
            .unwrap();
        assert_eq!(
            (kernel.f_type as u64, kernel.f_blocks),
            (ours.fs_type, ours.blocks)
        );
    });
}

#[test]
fn r036_a_name_that_no_layer_can_hold_is_enametoolong() {
    let longest = format!("/{}", "n".repeat(255));
    let longer = format!("/{}", "n".repeat(256));
    rule()
        .lower(of([(longest.as_str(), file("x"))]))
        .reads(&longest, "x")
        .fails(stat(&longer), Errno::ENAMETOOLONG)
        .fails(mkdir(&longer), Errno::ENAMETOOLONG)
        .fails(mv(&longest, &longer), Errno::ENAMETOOLONG)
        .run();
}
