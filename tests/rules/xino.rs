//! Inode numbers over several filesystems: `xino` (rules R252 to R254), seen by the kernel and by the
//! crate on the same directories.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use layerstack::{Errno, MountOptions, Overlay};

use crate::place::{Place, at_on};
use crate::support::fs::{Fs, Mounted};

/// What one path shows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
struct Shown {
    is_dir: bool,
    ino: u64,
    /// The inode number that its directory lists.
    listed: u64,
    /// Under the device number of the root.
    unions: bool,
    /// Devices by their order of appearance.
    device: usize,
}

type Tree = BTreeMap<PathBuf, Shown>;

fn add(
    tree: &mut Tree,
    devices: &mut Vec<u64>,
    path: PathBuf,
    dev: u64,
    ino: u64,
    listed: u64,
    is_dir: bool,
) {
    let device = devices.iter().position(|d| *d == dev).unwrap_or_else(|| {
        devices.push(dev);
        devices.len() - 1
    });
    let unions = device == 0;
    tree.insert(
        path,
        Shown {
            is_dir,
            ino,
            listed,
            unions,
            device,
        },
    );
}

fn of_kernel(root: &Path) -> Tree {
    let (mut tree, mut devices) = (Tree::new(), vec![std::fs::metadata(root).unwrap().dev()]);
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let meta = entry.metadata().unwrap();
            let path = entry.path().strip_prefix(root).unwrap().to_path_buf();
            add(
                &mut tree,
                &mut devices,
                path,
                meta.dev(),
                meta.ino(),
                entry.ino(),
                meta.is_dir(),
            );
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    tree
}

fn of_union(union: &Overlay) -> Tree {
    let number = |dev: layerstack::DeviceId| u64::from(dev.major) << 32 | u64::from(dev.minor);
    let root = union.metadata("/").unwrap().dev;
    let (mut tree, mut devices) = (Tree::new(), vec![number(root)]);
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let mut entries = union.read_dir(Path::new("/").join(&dir)).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let path = dir.join(entry.name.as_os_str());
            let meta = union.symlink_metadata(&path).unwrap();
            let dev = number(meta.dev);
            add(
                &mut tree,
                &mut devices,
                path.clone(),
                dev,
                meta.ino,
                entry.ino,
                meta.is_dir(),
            );
            if meta.is_dir() {
                dirs.push(path);
            }
        }
    }
    tree
}

/// What lasts: numbers of directories over several filesystems are any (rule R252).
fn lasting(tree: &Tree, one_device: bool) -> Tree {
    let keep = |(path, shown): (&PathBuf, &Shown)| {
        let ino = if shown.is_dir && !one_device {
            0
        } else {
            shown.ino
        };
        (path.clone(), Shown { ino, ..*shown })
    };
    tree.iter().map(keep).collect()
}

struct Stack {
    lowers: Vec<PathBuf>,
    upper: Option<(PathBuf, PathBuf)>,
    options: &'static str,
}

impl Stack {
    /// Lowers with files and directories, some in both of the first two.
    fn new(mounted: &Mounted, upper: Option<Fs>, lowers: &[Fs], options: &'static str) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let fresh = |fs: Fs, name: &str| {
            let path = mounted
                .path(fs)
                .join(format!("xino-{}-{number}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            path
        };
        let mut dirs = Vec::new();
        for (i, fs) in lowers.iter().enumerate() {
            let dir = fresh(*fs, &format!("l{i}"));
            for sub in ["both", &format!("own{i}")] {
                std::fs::create_dir(dir.join(sub)).unwrap();
                for file in ["f", "g"] {
                    std::fs::write(dir.join(sub).join(format!("{file}{i}")), "x").unwrap();
                }
            }
            dirs.push(dir);
        }
        Stack {
            lowers: dirs,
            upper: upper.map(|fs| (fresh(fs, "u"), fresh(fs, "w"))),
            options,
        }
    }

    fn text(&self) -> String {
        let lowers = self.lowers.iter().map(|p| p.to_str().unwrap());
        let mut text = format!("lowerdir={}", lowers.collect::<Vec<_>>().join(":"));
        if let Some((upper, work)) = &self.upper {
            text += &format!(",upperdir={},workdir={}", upper.display(), work.display());
        }
        format!("{text},{}", self.options)
    }

    fn kernel<T>(&self, place: &Place, ask: impl FnOnce(&Path) -> T) -> T {
        place.kernel_string(self.text(), |m| ask(m.path())).unwrap()
    }

    fn ours(&self) -> Overlay {
        MountOptions::parse(self.text()).unwrap().open().unwrap()
    }

    /// Removes what lies outside the place.
    fn remove(self) {
        let upper = self.upper.into_iter().flat_map(|(u, w)| [u, w]);
        for dir in self.lowers.into_iter().chain(upper) {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

/// The kernel and the crate show the same numbers, before and after each has copied up, and when
/// opened again. Answers what is shown at first.
fn agree(
    place: &Place,
    mounted: &Mounted,
    upper: Option<Fs>,
    lowers: &[Fs],
    options: &'static str,
    one_device: bool,
) -> Tree {
    let stack = Stack::new(mounted, upper, lowers, options);
    let what = format!("{upper:?} over {lowers:?}, {options}");
    let ours = || lasting(&of_union(&stack.ours()), one_device);
    let kernel = || stack.kernel(place, |m| lasting(&of_kernel(m), one_device));
    let first = ours();
    assert_eq!(first, kernel(), "{what}");
    if upper.is_some() {
        let inos = |tree: &Tree| -> BTreeMap<PathBuf, (u64, bool)> {
            let all = tree.iter().filter(|(_, s)| one_device || !s.is_dir);
            all.map(|(path, s)| (path.clone(), (s.ino, s.unions)))
                .collect()
        };
        // By the crate, open and opened again.
        let union = stack.ours();
        union.set_permissions("/both/f0", 0o600).unwrap();
        union.set_permissions("/own1", 0o700).unwrap();
        assert_eq!(inos(&of_union(&union)), inos(&of_union(&union)), "{what}");
        let while_open = inos(&lasting(&of_union(&union), one_device));
        assert_eq!(while_open, inos(&first), "{what}: across copy-up");
        union.write("/both/new", "x").unwrap();
        drop(union);
        assert_eq!(ours(), kernel(), "{what}: what the crate copied up");
        // By the kernel.
        stack.kernel(place, |m| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(m.join("both/g1"), mode).unwrap();
        });
        assert_eq!(ours(), kernel(), "{what}: what the kernel copied up");
    }
    stack.remove();
    first
}

/// The bits above those of the real number.
fn numbers_of(tree: &Tree, shift: u32) -> Vec<u64> {
    let mut numbers: Vec<u64> = tree.values().map(|s| s.ino >> shift).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[test]
fn r252_without_xino_each_filesystem_has_a_device() {
    at_on(Fs::Ext4, &[Fs::Xfs, Fs::Tmpfs], |place, mounted| {
        let shown = agree(
            place,
            mounted,
            Some(Fs::Ext4),
            &[Fs::Xfs, Fs::Ext4],
            "xino=off",
            false,
        );
        let device = |path: &str| shown[Path::new(path)].device;
        assert_ne!(device("both/f0"), device("both/f1"));
        assert!(shown.values().all(|s| s.unions == s.is_dir), "{shown:?}");
        agree(
            place,
            mounted,
            None,
            &[Fs::Xfs, Fs::Ext4],
            "xino=off",
            false,
        );
        agree(
            place,
            mounted,
            Some(Fs::Tmpfs),
            &[Fs::Ext4, Fs::Xfs],
            "xino=off",
            false,
        );
    });
}

#[test]
fn r253_xino_tells_the_filesystem_by_the_high_bits() {
    at_on(
        Fs::Ext4,
        &[Fs::Xfs, Fs::Tmpfs, Fs::Btrfs, Fs::Ext4Other],
        |place, mounted| {
            for mode in ["xino=on", "xino=auto"] {
                // Two filesystems: one bit above the reserved one.
                let shown = agree(
                    place,
                    mounted,
                    Some(Fs::Ext4),
                    &[Fs::Xfs, Fs::Ext4],
                    mode,
                    true,
                );
                assert_eq!(numbers_of(&shown, 63), [0, 1]);
                assert!(
                    shown.values().all(|s| s.unions && s.listed == s.ino),
                    "{shown:?}"
                );
                // Four: two bits.
                let four = [Fs::Xfs, Fs::Ext4Other, Fs::Btrfs];
                let shown = agree(place, mounted, Some(Fs::Ext4), &four, mode, true);
                assert_eq!(numbers_of(&shown, 62), [1, 2, 3]);
                // Where all number with 32 bits, 32 bits are left.
                let shown = agree(
                    place,
                    mounted,
                    Some(Fs::Ext4),
                    &[Fs::Ext4Other, Fs::Ext4],
                    mode,
                    true,
                );
                assert_eq!(numbers_of(&shown, 33), [0, 1]);
                // Without an upper its place is counted all the same.
                let shown = agree(place, mounted, None, &[Fs::Xfs, Fs::Ext4], mode, true);
                assert_eq!(numbers_of(&shown, 62), [1, 2]);
                agree(
                    place,
                    mounted,
                    Some(Fs::Ext4),
                    &[Fs::Ext4, Fs::Ext4],
                    mode,
                    true,
                );
            }
            agree(
                place,
                mounted,
                Some(Fs::Tmpfs),
                &[Fs::Ext4, Fs::Xfs],
                "xino=on",
                true,
            );
        },
    );
}

/// A lower whose own numbers use the high bits: a union of another kind of filesystems below.
#[test]
fn r253_numbers_that_are_too_big_fall_back() {
    use crate::support::mount::OverlayMount;
    at_on(Fs::Ext4, &[Fs::Xfs], |place, mounted| {
        let inner = Stack::new(mounted, None, &[Fs::Ext4, Fs::Xfs], "xino=on");
        let below = place.dir("below");
        let mount = OverlayMount::by_string(&below, inner.text().as_ref()).unwrap();
        let (upper, work) = place.renew();
        std::fs::write(upper.join("fits"), "x").unwrap();
        let text = format!(
            "lowerdir={},upperdir={},workdir={},xino=on",
            below.display(),
            upper.display(),
            work.display()
        );
        let kernel = place.kernel_string(&text, |m| of_kernel(m.path())).unwrap();
        let ours = of_union(&crate::place::our_string(&text).unwrap());
        let too_big = |s: &Shown| !s.is_dir && !s.unions;
        assert!(kernel.values().any(too_big), "{kernel:?}");
        assert!(kernel.values().any(|s| s.unions && !s.is_dir), "{kernel:?}");
        for (path, shown) in &kernel {
            let mine = ours[path];
            // A directory that falls back has a number that does not last, marked as such.
            let passing = shown.is_dir && shown.ino >> 62 == 1;
            assert_eq!(
                passing,
                mine.is_dir && mine.ino >> 62 == 1,
                "{}",
                path.display()
            );
            if !passing {
                assert_eq!(
                    (mine.ino, mine.unions),
                    (shown.ino, shown.unions),
                    "{}",
                    path.display()
                );
            }
            assert_eq!(mine.listed, shown.listed, "{}", path.display());
        }
        mount.unmount().unwrap();
        inner.remove();
    });
}

#[test]
fn r254_filesystems_are_counted_once_each() {
    at_on(Fs::Ext4, &[Fs::Xfs], |place, mounted| {
        // Five layers on two filesystems: still one bit.
        let lowers = [Fs::Xfs, Fs::Ext4, Fs::Xfs, Fs::Ext4];
        let shown = agree(place, mounted, Some(Fs::Ext4), &lowers, "xino=on", true);
        assert_eq!(numbers_of(&shown, 63), [0, 1]);
        // All on one: real numbers, under the union's device.
        let stack = Stack::new(mounted, Some(Fs::Ext4), &[Fs::Ext4, Fs::Ext4], "xino=on");
        let shown = of_union(&stack.ours());
        let real = std::fs::metadata(stack.lowers[0].join("own0/f0"))
            .unwrap()
            .ino();
        assert_eq!(shown[Path::new("own0/f0")].ino, real);
        assert!(
            stack
                .ours()
                .metadata("/missing")
                .is_err_and(|e| e.errno() == Errno::ENOENT)
        );
        stack.remove();
    });
}
