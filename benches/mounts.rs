//! The mount of feature `fuse` beside the kernel's overlay and `fuse-overlayfs`, on the same layers.
//!
//! `cargo bench --features fuse --bench mounts` prints a table: the median of some rounds of each line, in
//! milliseconds, each on a fresh mount with the layers in the page cache. In each round the systems
//! take turns, another one first each time, so that what else the machine does hits all of them; the last columns are the medians of what
//! layerstack took in a round as a share of what `fuse-overlayfs` took, with their quartiles. Needs root; a
//! system that is not there is left out. `MOUNTS_RUNS=n` sets the rounds (default 7), `MOUNTS_ONLY=word`
//! runs the lines whose name has the word, `MOUNTS_DIR=dir` is where the layers lie,
//! `MOUNTS_VOLATILE=1` mounts kernel and layerstack with `volatile` (`fuse-overlayfs` never syncs what it copies up).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark may fail by panicking"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use layerstack::MountOptions;
use layerstack::fuse::{FuseOptions, mount};
use nix::mount::{MntFlags, MsFlags};
use nix::sched::{CloneFlags, unshare};

/// Who serves a mount.
#[derive(Copy, Clone, PartialEq)]
enum Who {
    Kernel,
    FuseOverlayfs,
    Layerstack,
    /// The same with one thread, as `fuse-overlayfs` has by default.
    OneThread,
}

const ALL: [(Who, &str); 4] = [
    (Who::Kernel, "kernel"),
    (Who::FuseOverlayfs, "fuse-overlayfs"),
    (Who::Layerstack, "layerstack"),
    (Who::OneThread, "one thread"),
];

/// The directories of one run.
struct Site {
    /// Topmost first.
    lowers: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    at: PathBuf,
}

/// A mount, and the process that serves it if that is to be waited for.
struct Live {
    at: PathBuf,
    server: Option<Child>,
}

impl Drop for Live {
    fn drop(&mut self) {
        nix::mount::umount2(&*self.at, MntFlags::empty()).expect("unmount");
        if let Some(server) = &mut self.server {
            server.wait().expect("server");
        }
    }
}

/// Tells the process that serves layerstack's mount what to mount, and where.
const SERVE: &str = "MOUNTS_SERVE";

/// Serves until it is unmounted. In a session of its own, as `fuse-overlayfs` is: the scheduler shares
/// out time by sessions.
fn serve(what: &str) {
    nix::unistd::setsid().unwrap();
    let what: Vec<&str> = what.split('\n').collect();
    let union = MountOptions::parse(what[0]).unwrap().open().unwrap();
    let options = match what[2].parse() {
        Ok(threads) => FuseOptions::new().threads(threads),
        Err(_) => FuseOptions::new(),
    };
    let session = mount(&union, what[1], &options).unwrap();
    println!("ready");
    session.join().unwrap();
}

impl Site {
    fn new(base: &Path, lowers: &[PathBuf]) -> Self {
        let dir = |name: &str| {
            let path = base.join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            path
        };
        Site {
            lowers: lowers.to_vec(),
            upper: dir("upper"),
            work: dir("work"),
            at: dir("at"),
        }
    }

    fn mount(&self, who: Who) -> Live {
        let list: Vec<&str> = self.lowers.iter().map(|p| p.to_str().unwrap()).collect();
        let mut data = format!(
            "lowerdir={},upperdir={},workdir={}",
            list.join(":"),
            self.upper.display(),
            self.work.display()
        );
        if number("MOUNTS_VOLATILE", 0) > 0 {
            data.push_str(",volatile");
        }
        let server = match who {
            Who::Kernel => {
                let (kind, flags) = (Some("overlay"), MsFlags::empty());
                nix::mount::mount(kind, &self.at, kind, flags, Some(data.as_str())).unwrap();
                None
            }
            Who::FuseOverlayfs => {
                let mut command = Command::new("fuse-overlayfs");
                // It tells which options it ignores.
                command.stderr(Stdio::null()).arg("-o").arg(data);
                let status = command.arg(&self.at).status().unwrap();
                assert!(status.success(), "fuse-overlayfs");
                None
            }
            Who::Layerstack | Who::OneThread => {
                let threads = match who {
                    Who::OneThread => "1",
                    _ => "",
                };
                let what = format!("{data}\n{}\n{threads}", self.at.display());
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.env(SERVE, what).stdout(Stdio::piped());
                let mut server = command.spawn().unwrap();
                let mut said = [0; 6];
                server
                    .stdout
                    .as_mut()
                    .unwrap()
                    .read_exact(&mut said)
                    .unwrap();
                Some(server)
            }
        };
        Live {
            at: self.at.clone(),
            server,
        }
    }
}

/// One line of the table.
struct Line {
    name: &'static str,
    /// Lower layers to use, topmost first.
    lowers: Vec<PathBuf>,
    work: fn(&Path),
}

fn write(path: PathBuf, data: &[u8]) {
    fs::write(path, data).unwrap();
}

/// Visits everything below, with attributes.
fn walk(dir: &Path) -> usize {
    let mut seen = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        seen += 1;
        if entry.metadata().unwrap().is_dir() {
            seen += walk(&entry.path());
        }
    }
    seen
}

fn read_all(dir: &Path) {
    let mut buffer = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path);
        } else {
            buffer.clear();
            File::open(path).unwrap().read_to_end(&mut buffer).unwrap();
        }
    }
}

fn list_names(dir: &Path) {
    assert_eq!(fs::read_dir(dir.join("many")).unwrap().count(), 10_000);
}

fn create_files(dir: &Path) {
    let dir = dir.join("new");
    fs::create_dir(&dir).unwrap();
    for i in 0..5000 {
        let mut file = File::create(dir.join(format!("f{i}"))).unwrap();
        file.write_all(&[7; 1024]).unwrap();
    }
}

fn append(dir: &Path) {
    for i in 0..4000 {
        let path = dir.join(format!("small/d{}/f{i}", i % 40));
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(b"x").unwrap();
    }
}

fn copy_up_large(dir: &Path) {
    let file = File::options().write(true).open(dir.join("large")).unwrap();
    file.write_all_at(b"x", 4096).unwrap();
}

fn remove_files(dir: &Path) {
    for i in 0..5000 {
        fs::remove_file(dir.join(format!("many/n{i}"))).unwrap();
    }
}

fn remove_tree(dir: &Path) {
    fs::remove_dir_all(dir.join("small")).unwrap();
    fs::remove_dir_all(dir.join("shared")).unwrap();
}

fn write_large(dir: &Path) {
    let mut file = File::create(dir.join("out")).unwrap();
    let block = vec![3; 128 << 10];
    for _ in 0..2048 {
        file.write_all(&block).unwrap();
    }
}

fn read_large(dir: &Path) {
    let mut file = File::open(dir.join("large")).unwrap();
    let mut block = vec![0; 128 << 10];
    while file.read(&mut block).unwrap() > 0 {}
}

fn stat_again(dir: &Path) {
    for _ in 0..20 {
        for i in 0..1000 {
            fs::symlink_metadata(dir.join(format!("many/n{i}"))).unwrap();
        }
    }
}

/// Makes the layers.
fn layers(base: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let twenty: Vec<PathBuf> = (0..20).map(|i| base.join(format!("layer{i}"))).collect();
    for (i, layer) in twenty.iter().enumerate() {
        for n in 0..1000 {
            let dir = layer.join(format!("dir{}", n % 25));
            fs::create_dir_all(&dir).unwrap();
            write(dir.join(format!("of{i}-{n}")), b"data");
        }
    }
    let (top, low) = (base.join("top"), base.join("low"));
    for layer in [&top, &low] {
        for i in 0..50 {
            let dir = layer.join(format!("shared/d{i}"));
            fs::create_dir_all(&dir).unwrap();
            for n in 0..20 {
                let name = layer.file_name().unwrap().to_str().unwrap();
                write(dir.join(format!("{name}{n}")), b"data");
            }
        }
    }
    for i in 0..4000 {
        let dir = low.join(format!("small/d{}", i % 40));
        fs::create_dir_all(&dir).unwrap();
        write(dir.join(format!("f{i}")), &[1; 2000]);
    }
    fs::create_dir(low.join("many")).unwrap();
    for i in 0..10_000 {
        write(low.join(format!("many/n{i}")), b"");
    }
    symlink("many", low.join("link")).unwrap();
    let mut large = File::create(low.join("large")).unwrap();
    let block: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    for _ in 0..256 {
        large.write_all(&block).unwrap();
    }
    large.sync_all().unwrap();
    (twenty, vec![top, low])
}

fn number(name: &str, default: usize) -> usize {
    let value = std::env::var(name).ok().and_then(|v| v.parse().ok());
    value.unwrap_or(default)
}

fn main() {
    if let Ok(what) = std::env::var(SERVE) {
        return serve(&what);
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting needs root");
        return;
    }
    // Anything else that cargo passes (`--bench`) means nothing here.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(none, "/", none, private, none).unwrap();
    let place = std::env::var_os("MOUNTS_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let base = tempfile::tempdir_in(place).unwrap();
    let (twenty, two) = layers(base.path());
    let lines = [
        (
            "walk 20 layers x 1,000 names",
            &twenty,
            walk_once as fn(&Path),
        ),
        ("walk it again", &twenty, walk_twice),
        ("list 10,000 names", &two, list_names),
        ("stat 1,000 names 20 times", &two, stat_again),
        ("read 7,000 small files", &two, read_small),
        ("read 256 MiB", &two, read_large),
        ("create 5,000 files of 1 KiB", &two, create_files),
        ("write 256 MiB", &two, write_large),
        ("copy up 4,000 small files", &two, append),
        ("copy up 256 MiB", &two, copy_up_large),
        ("delete 5,000 lower files", &two, remove_files),
        ("rm -r of merged directories", &two, remove_tree),
    ]
    .map(|(name, lowers, work)| Line {
        name,
        lowers: lowers.clone(),
        work,
    });
    let present: Vec<_> = ALL
        .into_iter()
        .filter(|(who, _)| is_present(*who))
        .collect();
    print!("| Line, ms |");
    present.iter().for_each(|(_, name)| print!(" {name} |"));
    println!(
        " share | share of one thread |\n|---|{}",
        "---:|".repeat(present.len() + 2)
    );
    let only = std::env::var("MOUNTS_ONLY").unwrap_or_default();
    for line in lines.iter().filter(|line| line.name.contains(&only)) {
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); present.len()];
        for round in 0..number("MOUNTS_RUNS", 7) {
            // Another one begins each time: what one leaves behind (freed pages) meets each of the others.
            for turn in 0..present.len() {
                let i = (round + turn) % present.len();
                times[i].push(run(base.path(), line, present[i].0));
            }
        }
        print!("| {} |", line.name);
        times
            .iter()
            .for_each(|times| print!(" {:.1} |", quartiles(times.clone())[1]));
        let shares = [Who::Layerstack, Who::OneThread].map(|who| share(who, &present, &times));
        println!(" {} |", shares.join(" | "));
    }
}

/// The quarter, the half, and three quarters of the values lie below these.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

/// What one took as a share of what `fuse-overlayfs` took in the same round.
fn share(who: Who, present: &[(Who, &str)], times: &[Vec<f64>]) -> String {
    let of = |who| present.iter().position(|(one, _)| *one == who);
    let (Some(ours), Some(other)) = (of(who), of(Who::FuseOverlayfs)) else {
        return String::new();
    };
    let rounds = times[ours].iter().zip(&times[other]);
    let [low, median, high] = quartiles(rounds.map(|(ours, other)| ours / other).collect());
    format!("{median:.2} ({low:.2} to {high:.2})")
}

fn walk_once(dir: &Path) {
    assert_eq!(walk(dir), 20_025);
}

fn walk_twice(dir: &Path) {
    walk(dir);
}

fn read_small(dir: &Path) {
    read_all(&dir.join("small"));
    read_all(&dir.join("shared"));
}

fn is_present(who: Who) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    who != Who::FuseOverlayfs
        || std::env::split_paths(&path).any(|dir| dir.join("fuse-overlayfs").is_file())
}

/// Milliseconds of one run. What lies in the upper from before is gone; the disk is at rest.
fn run(base: &Path, line: &Line, who: Who) -> f64 {
    let site = Site::new(base, &line.lowers);
    nix::unistd::sync();
    let live = site.mount(who);
    if line.name.ends_with("again") {
        (line.work)(&site.at);
    }
    let start = Instant::now();
    (line.work)(&site.at);
    let took = start.elapsed().as_secs_f64() * 1000.0;
    drop(live);
    took
}
