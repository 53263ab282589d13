//! Deep, wide, many: descriptors and memory stay bounded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{LayerBackend, LayerFile, LayerNode, UpperBackend};
use layerstack::{
    Change, CopyObserver, Dir, DirLayer, Errno, Error, File, LayerStack, Op, OpenOptions, Outcome,
    Overlay, OverlayOptions, Plan, Resolution, Session, Walk, WalkEntry, copy_layer,
};
use rustix::fs::{Mode, OFlags};
use support::child::{alone, open_fds, scratch, with_few_descriptors};

/// A directory by its descriptor: what is deeper than a path can tell is reached from it.
type DirFd = rustix::fd::OwnedFd;

fn open_path(at: impl rustix::fd::AsFd, name: impl rustix::path::Arg) -> DirFd {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).unwrap()
}

/// Makes `depth` directories named `d`, one in the other, and answers with the last.
fn deepen(top: &Path, depth: usize) -> DirFd {
    let mut dir = open_path(rustix::fs::CWD, top);
    for _ in 0..depth {
        rustix::fs::mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
        dir = open_path(&dir, "d");
    }
    dir
}

fn put(dir: &DirFd, name: &str, data: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644)).unwrap();
    assert_eq!(rustix::io::write(file, data).unwrap(), data.len());
}

/// Removes a tree of whatever depth: `rm` goes down by descriptors.
struct Deep(tempfile::TempDir);

impl Drop for Deep {
    fn drop(&mut self) {
        let mut rm = std::process::Command::new("rm");
        let _ = rm.arg("-rf").arg(self.0.path()).status();
    }
}

impl Deep {
    fn new() -> Self {
        Deep(scratch())
    }

    fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn upper(&self) -> DirLayer {
        DirLayer::open_upper(self.dir("upper"), self.dir("work")).unwrap()
    }

    fn overlay(&self, lowers: impl IntoIterator<Item = PathBuf>) -> Overlay {
        let lowers = lowers.into_iter().map(|p| DirLayer::open_lower(p).unwrap());
        let stack = LayerStack::from_top(lowers).unwrap();
        let options = OverlayOptions::new().fsync(layerstack::Fsync::Off);
        Overlay::with_options(&stack, self.upper(), options).unwrap()
    }
}

const LAYERS: usize = 100;
const DEPTH: usize = 200;

/// A hundred layers, two hundred deep, with the usual limit of descriptors.
#[test]
fn many_deep_layers_with_few_descriptors() {
    if !with_few_descriptors("many_deep_layers_with_few_descriptors", 1024) {
        return;
    }
    let deep = Deep::new();
    let lowers: Vec<_> = (0..LAYERS).map(|i| deep.dir(&format!("l{i}"))).collect();
    for (i, lower) in lowers.iter().enumerate() {
        let last = deepen(lower, DEPTH);
        put(&last, &format!("own{i}"), b"own");
        put(&last, "shared", format!("of {i}").as_bytes());
    }
    let before = open_fds();
    let overlay = deep.overlay(lowers);
    let mut most = 0;
    let mut entries = 0;
    for entry in overlay.walk("/") {
        let entry = entry.unwrap();
        if entry.file_type().is_dir() {
            assert_eq!(
                entry.layers().unwrap().len(),
                LAYERS + usize::from(entry.depth() == 0)
            );
        }
        entries += 1;
        most = most.max(open_fds());
    }
    assert_eq!(entries, 1 + DEPTH + LAYERS + 1);
    assert!(most < before + 600, "{before} {most}");
    // Every directory at once in use.
    let path = "/d".repeat(DEPTH);
    let handles: Vec<_> = (1..=DEPTH)
        .map(|n| overlay.open_dir("/d".repeat(n)).unwrap())
        .collect();
    assert!(open_fds() < before + 600, "{before} {}", open_fds());
    assert!(handles.iter().all(|dir| !dir.entries().unwrap().is_empty()));
    // Copying up makes all the directories above.
    assert_eq!(overlay.read(format!("{path}/shared")).unwrap(), b"of 0");
    overlay.write(format!("{path}/own99"), "changed").unwrap();
    overlay.remove_file(format!("{path}/shared")).unwrap();
    assert!(!overlay.exists(format!("{path}/shared")).unwrap());
    assert_eq!(handles.last().unwrap().entries().unwrap().len(), LAYERS);
    let text = overlay
        .resolve(format!("{path}/shared"))
        .unwrap()
        .to_string();
    assert!(text.contains("lower[99]"), "{text}");
    assert_eq!(overlay.changes().unwrap().len(), 2);
    assert!(open_fds() < before + 600, "{before} {}", open_fds());
    drop((handles, overlay));
    assert!(open_fds() <= before + 2, "{before} {}", open_fds());
}

/// Files that are open need a descriptor each, and nothing else does.
#[test]
fn descriptors_are_those_of_open_files() {
    const NAME: &str = "descriptors_are_those_of_open_files";
    if !with_few_descriptors(NAME, 1024) {
        return;
    }
    let deep = Deep::new();
    let lower = deep.dir("lower");
    for i in 0..2000 {
        std::fs::create_dir(lower.join(format!("d{i}"))).unwrap();
        std::fs::write(lower.join(format!("d{i}/f")), "x").unwrap();
    }
    let overlay = deep.overlay([lower]);
    for i in 0..2000 {
        overlay.set_permissions(format!("/d{i}/f"), 0o600).unwrap();
        overlay
            .rename(format!("/d{i}/f"), format!("/f{i}"))
            .unwrap();
    }
    let before = open_fds();
    assert!(before < 400, "{before}");
    let files: Vec<_> = (0..300)
        .map(|i| overlay.open_file(format!("/f{i}")).unwrap())
        .collect();
    assert!(open_fds() <= before + 310, "{before} {}", open_fds());
    drop(files);
    assert!(open_fds() <= before + 10, "{before} {}", open_fds());
    // Until there are no more; then the failure is typed, and passes.
    let mut held = Vec::new();
    let error = loop {
        match overlay.open_file(format!("/f{}", held.len())) {
            Ok(file) => held.push(file),
            Err(e) => break e,
        }
        assert!(held.len() < 1024);
    };
    assert_eq!(
        (error.errno(), error.op()),
        (Errno::EMFILE, "open"),
        "{error}"
    );
    drop(held);
    assert_eq!(overlay.read("/f1999").unwrap(), b"x");
}

/// Deeper than `PATH_MAX`: walked, read, changed, made and removed.
#[test]
fn three_thousand_levels() {
    const DEPTH: usize = 3000;
    let deep = Deep::new();
    let lower = deep.dir("lower");
    let last = deepen(&lower, DEPTH);
    put(&last, "f", b"deepest");
    drop(last);
    let overlay = deep.overlay([lower]);
    assert_eq!(overlay.walk("/").flatten().count(), DEPTH + 2);
    let path = "/d".repeat(DEPTH);
    let file = format!("{path}/f");
    assert_eq!(overlay.read(&file).unwrap(), b"deepest");
    overlay.write(&file, "changed").unwrap();
    overlay.write(format!("{path}/new"), "new").unwrap();
    overlay.rename(format!("{path}/new"), "/d/up").unwrap();
    assert_eq!(overlay.read("/d/up").unwrap(), b"new");
    overlay
        .create_dir_all(format!("{path}{}", "/e".repeat(500)), 0o755)
        .unwrap();
    assert_eq!(
        overlay.walk("/").contents_first(true).count(),
        DEPTH + 3 + 500
    );
    let changes = overlay.changes().unwrap();
    assert_eq!(
        changes.len(),
        1 + 1 + 500,
        "the file, its copy, and the new directories"
    );
    // Closed and opened, where nothing is known yet.
    drop(overlay);
    let overlay = deep.overlay([deep.dir("lower")]);
    assert_eq!(overlay.read(&file).unwrap(), b"changed");
    let squashed = MemLayer::new();
    copy_layer(&*overlay, &squashed).unwrap();
    let squashed = LayerStack::from_top([squashed]).unwrap();
    assert_eq!(squashed.read(&file).unwrap(), b"changed");
    overlay.remove_dir_all("/d").unwrap();
    assert_eq!(overlay.walk("/").count(), 1);
    // One whiteout is left of it.
    assert_eq!(std::fs::read_dir(deep.dir("upper")).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(deep.dir("lower")).unwrap().count(), 1);
}

/// What this process has in memory, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Walking takes memory for the names of one directory per level, and for what the cache keeps.
#[test]
fn walking_a_large_tree_takes_little_memory() {
    const NAME: &str = "walking_a_large_tree_takes_little_memory";
    const DIRS: usize = 400;
    const FILES: usize = 250;
    if !alone(NAME) {
        return;
    }
    let deep = Deep::new();
    let lower = deep.dir("lower");
    for i in 0..DIRS {
        let dir = lower.join(format!("directory-{i}"));
        std::fs::create_dir(&dir).unwrap();
        let dir = open_path(rustix::fs::CWD, &dir);
        for j in 0..FILES {
            put(&dir, &format!("a-file-with-a-name-of-some-length-{j}"), b"");
        }
    }
    let overlay = deep.overlay([lower]);
    // What the first directories take is there for good.
    assert_eq!(
        overlay.walk("/").take(20 * FILES).flatten().count(),
        20 * FILES
    );
    let before = resident();
    let mut count = 0;
    for entry in overlay.walk("/").sort(true) {
        assert!(entry.unwrap().metadata().is_ok());
        count += 1;
    }
    assert_eq!(count, 1 + DIRS + DIRS * FILES);
    let grown = resident().saturating_sub(before);
    // A hundred thousand entries of a kilobyte each would be a hundred MiB.
    assert!(grown < 24 << 20, "{grown} bytes for {count} entries");
    // The same for changing all of it: nothing is remembered of each file.
    let before = resident();
    overlay.remove_dir_all("/directory-7").unwrap();
    assert_eq!(overlay.changes().unwrap().len(), 1 + FILES);
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
}

/// A sparse file far larger than memory: copied, read and compared by its data.
#[test]
fn a_sparse_file_of_a_tebibyte() {
    const SIZE: u64 = 1 << 40;
    let deep = Deep::new();
    let lower = deep.dir("lower");
    let file = std::fs::File::create(lower.join("sparse")).unwrap();
    file.set_len(SIZE).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", SIZE - 3).unwrap();
    for overlay in [deep.overlay([lower.clone()]), {
        let lower = MemLayer::from_dir(&lower).unwrap();
        Overlay::new(&LayerStack::from_top([lower]).unwrap(), MemLayer::new()).unwrap()
    }] {
        let options = OpenOptions::new().read(true).write(true);
        let file = overlay.open("/sparse", &options).unwrap();
        file.write_all_at(b"x", 1 << 30).unwrap();
        assert_eq!(file.metadata().unwrap().size, SIZE);
        let mut end = [0; 3];
        file.read_at(&mut end, SIZE - 3).unwrap();
        assert_eq!(&end, b"end");
        assert!(file.metadata().unwrap().blocks * 512 < 1 << 20);
        assert_eq!(overlay.copy("/sparse", "/copy").unwrap(), SIZE);
        assert!(overlay.metadata("/copy").unwrap().blocks * 512 < 1 << 20);
        let changes = overlay.changes().unwrap();
        let changed: Vec<_> = changes.iter().map(|c| c.path.to_str().unwrap()).collect();
        // The root may have another owner.
        assert!(changed.ends_with(&["/copy", "/sparse"]), "{changed:?}");
    }
}

#[test]
fn all_may_be_sent_and_shared() {
    fn both<T: Send + Sync + ?Sized>() {}
    fn send<T: Send>() {}
    both::<Overlay>();
    both::<LayerStack>();
    both::<Dir>();
    both::<File>();
    both::<DirLayer>();
    both::<MemLayer>();
    both::<dyn LayerBackend>();
    both::<dyn UpperBackend>();
    both::<dyn LayerNode>();
    both::<dyn LayerFile>();
    both::<dyn CopyObserver>();
    both::<Arc<dyn LayerBackend>>();
    both::<(Op, Outcome, Plan, Resolution, Change, Error, OverlayOptions)>();
    both::<WalkEntry>();
    send::<(Walk, Session)>();
}

/// What is removed, and open nowhere, is let go at once: while a descriptor is held, its space is not free.
#[test]
fn a_removed_file_takes_up_no_space() {
    if !alone("a_removed_file_takes_up_no_space") {
        return;
    }
    let dir = scratch();
    let path = |name: &str| dir.path().join(name);
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    let data = vec![b'x'; 1 << 20];
    for file in ["upper/a", "upper/b", "upper/c", "lower/d"] {
        std::fs::write(path(file), &data).unwrap();
    }
    std::fs::hard_link(path("upper/a"), path("upper/again")).unwrap();
    let lower = DirLayer::open_lower(path("lower")).unwrap();
    let upper = DirLayer::open_upper(path("upper"), path("work")).unwrap();
    let overlay = Overlay::new(&LayerStack::from_top([lower]).unwrap(), upper).unwrap();
    for name in ["/a", "/again", "/b", "/c", "/d"] {
        overlay.metadata(name).unwrap();
    }
    overlay.write("/d", "copied up").unwrap();
    overlay.write("/new", "new").unwrap();
    for name in ["/a", "/again", "/d", "/new"] {
        overlay.remove_file(name).unwrap();
    }
    overlay.rename("/b", "/c").unwrap();
    let removed = |fd: std::io::Result<std::fs::DirEntry>| {
        let target = std::fs::read_link(fd.unwrap().path()).unwrap_or_default();
        target.to_string_lossy().ends_with(" (deleted)")
    };
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    assert_eq!(fds.map(removed).filter(|gone| *gone).count(), 0);
}
