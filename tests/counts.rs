//! What operations cost, counted: calls of layers, allocations, system calls. Never times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

#[path = "support/child.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
mod child;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use layerstack::backend::memory::MemLayer;
use layerstack::testing::{FaultLayer, Faults};
use layerstack::{
    DirLayer, DirLayerOptions, Fsync, LayerStack, OpenOptions, Overlay, OverlayOptions,
};

fn deep(depth: usize) -> PathBuf {
    (1..depth).map(|n| format!("d{n}")).collect()
}

/// A stack of layers that all have the directories; the lowest has `file` in the last one. Counts the
/// calls of all layers.
fn counted(depth: usize, layers: usize) -> (LayerStack, Faults) {
    let faults = Faults::new();
    let made = (1..=layers).map(|n| {
        let builder = MemLayer::builder();
        let layer = match (n == layers, depth) {
            (true, _) => builder.file(deep(depth).join("file"), b"x"),
            (false, 1) => builder,
            (false, _) => builder.dir(deep(depth), 0o755),
        };
        FaultLayer::named("layer", Arc::new(layer.build().unwrap()), &faults)
    });
    let stack = LayerStack::from_top(made.collect::<Vec<_>>()).unwrap();
    faults.reset();
    (stack, faults)
}

/// Calls of one lookup, first and again.
fn lookup_calls(depth: usize, layers: usize) -> (u64, u64) {
    let (stack, faults) = counted(depth, layers);
    let path = deep(depth).join("file");
    assert_eq!(stack.metadata(&path).unwrap().size, 1);
    let cold = faults.calls();
    faults.reset();
    assert_eq!(stack.metadata(&path).unwrap().size, 1);
    (cold, faults.calls())
}

#[test]
fn a_lookup_is_linear_in_depth_and_in_layers() {
    let per = |depth, layers| lookup_calls(depth, layers).0;
    let steps = |a: u64, b: u64, c: u64| assert_eq!(b - a, c - b, "{a} {b} {c}");
    steps(per(8, 10), per(8, 20), per(8, 30));
    steps(per(8, 100), per(16, 100), per(24, 100));
    for (depth, layers) in [(1, 1), (8, 10), (32, 100)] {
        let calls = per(depth, layers);
        // Each directory in each layer: found, and asked whether it is opaque and redirected.
        assert!(calls <= (3 * depth * layers + 8) as u64, "{calls}");
    }
}

#[test]
fn a_warm_lookup_asks_one_layer_once() {
    for (depth, layers) in [(1, 1), (5, 2), (5, 128), (32, 100)] {
        assert_eq!(lookup_calls(depth, layers).1, 1, "{depth} {layers}");
    }
}

#[test]
fn a_lookup_touches_only_layers_that_have_the_directory() {
    let calls = |others: usize| {
        let faults = Faults::new();
        let mut layers = vec![MemLayer::builder().file("a/b/file", b"x").build().unwrap()];
        layers.extend((0..others).map(|_| MemLayer::builder().file("c", b"").build().unwrap()));
        let made = layers
            .into_iter()
            .map(|layer| FaultLayer::named("l", Arc::new(layer), &faults));
        let stack = LayerStack::from_top(made.collect::<Vec<_>>()).unwrap();
        assert!(stack.metadata("a").unwrap().is_dir());
        faults.reset();
        stack.metadata("a/b/file").unwrap();
        faults.calls()
    };
    assert_eq!(calls(1), calls(100));
}

/// Layers with so many names each, and what counts their calls.
fn flat(layers: usize, names: usize) -> (LayerStack, Faults) {
    let faults = Faults::new();
    let made = (0..layers).map(|i| {
        let files = (0..names).map(|n| format!("of{i}-{n}"));
        let builder = files.fold(MemLayer::builder(), |b, f| b.file(f, b""));
        FaultLayer::named("l", Arc::new(builder.build().unwrap()), &faults)
    });
    let stack = LayerStack::from_top(made.collect::<Vec<_>>()).unwrap();
    faults.reset();
    (stack, faults)
}

#[test]
fn a_listing_reads_each_layers_directory_once() {
    for (layers, names) in [(1, 10), (20, 10), (20, 1000), (100, 10)] {
        let (stack, faults) = flat(layers, names);
        assert_eq!(stack.read_dir("/").unwrap().len(), layers * names);
        assert_eq!(faults.calls(), layers as u64);
    }
}

/// A walk with attributes asks one layer for each file, wherever in the stack that is.
#[test]
fn a_walk_asks_one_layer_for_a_file() {
    let calls = |layers: usize, names: usize| {
        let (stack, faults) = flat(layers, names);
        for entry in stack.walk("/") {
            entry.unwrap().metadata().unwrap();
        }
        faults.calls()
    };
    for layers in [1, 20, 100] {
        // It is a plain file, and these are its attributes.
        assert_eq!(calls(layers, 30) - calls(layers, 20), 10 * layers as u64);
    }
}

fn walked(dirs: usize, names: usize) -> AllocationInfo {
    let files = (0..dirs).flat_map(|d| (0..names).map(move |n| format!("dir{d}/name{n}")));
    let builder = files.fold(MemLayer::builder(), |b, f| b.file(f, b""));
    let stack = LayerStack::from_top([builder.build().unwrap(), MemLayer::new()]).unwrap();
    measure(|| {
        let entries = stack.walk("/").map(|e| e.unwrap().metadata().unwrap());
        assert_eq!(entries.count(), 1 + dirs * (names + 1));
    })
}

#[test]
fn a_walk_takes_memory_for_the_widest_directory_only() {
    let (few, many, wide) = (walked(10, 500), walked(100, 500), walked(10, 5000));
    assert!(many.bytes_max < few.bytes_max * 13 / 10, "{few:?} {many:?}");
    assert!(wide.bytes_max < few.bytes_max * 13, "{few:?} {wide:?}");
    // And as many allocations for each name, however many there are.
    let each = |info: &AllocationInfo, names: u64| info.count_total / names;
    assert!(each(&many, 50_000) <= each(&few, 5000), "{few:?} {many:?}");
    assert!(each(&wide, 50_000) <= each(&few, 5000), "{few:?} {wide:?}");
}

#[test]
fn a_warm_lookup_allocates_nothing_for_names() {
    let count = |depth: usize| {
        let (stack, _) = counted(depth, 3);
        let path = deep(depth).join("file");
        stack.metadata(&path).unwrap();
        let info = measure(|| {
            stack.metadata(&path).unwrap();
        });
        info.count_total
    };
    assert_eq!(count(2), count(32));
    assert!(count(2) <= 2, "{}", count(2));
}

#[test]
fn a_copy_up_in_memory_allocates_alike_for_any_size() {
    let cost = |size: usize| {
        let data = vec![7; size];
        let lower = MemLayer::builder().file("file", &data).build().unwrap();
        let lowers = LayerStack::from_top([lower]).unwrap();
        let union = Overlay::new(&lowers, MemLayer::new()).unwrap();
        measure(|| touch(&union, "/file"))
    };
    let (small, large) = (cost(8 << 10), cost(64 << 20));
    assert!(
        large.count_total <= small.count_total + 8,
        "{small:?} {large:?}"
    );
    assert!(
        large.bytes_total <= small.bytes_total + 8192,
        "{small:?} {large:?}"
    );
}

fn touch(union: &Overlay, path: &str) {
    let options = OpenOptions::new().write(true);
    union.open(path, &options).unwrap().close();
}

/// Runs the test `name` of this binary under strace; its system calls by name. `None` where that is not
/// possible.
fn traced(name: &str, count: usize) -> Option<BTreeMap<String, i64>> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let exe = std::env::current_exe().unwrap();
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .args([log.path(), &exe])
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("LAYERSTACK_TEST_RERUN", "1")
        .env("COUNT", count.to_string())
        .output();
    let Ok(out) = strace else {
        eprintln!("skipped: strace is not installed");
        return None;
    };
    let error = String::from_utf8_lossy(&out.stderr);
    if error.contains("PTRACE") || error.contains("ptrace") {
        eprintln!("skipped: strace may not trace: {error}");
        return None;
    }
    assert!(out.status.success(), "{error}");
    let text = std::fs::read_to_string(log.path()).unwrap();
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        let name = call.split('(').next().unwrap_or_default();
        // The standard library checks descriptors in debug builds; memory is counted elsewhere.
        let noise =
            line.contains("F_GETFD") || matches!(name, "brk" | "mmap" | "munmap" | "mprotect");
        if !noise && !line.contains("resumed>") && !line.contains("futex") {
            *calls.entry(name.to_string()).or_default() += 1;
        }
    }
    Some(calls)
}

/// The system calls of one more: of `2 n` less those of `n`, by name.
fn each(name: &str, n: usize) -> Option<(i64, String)> {
    let (once, twice) = (traced(name, n)?, traced(name, 2 * n)?);
    let mut table = String::new();
    let mut total = 0;
    for (call, count) in &twice {
        let more = (count - once.get(call).unwrap_or(&0)) as f64 / n as f64;
        if more.round() >= 1.0 {
            total += more.round() as i64;
            write!(table, "{call} {}; ", more.round()).unwrap();
        }
    }
    Some((total, table))
}

fn lower_with(dir: &Path, count: usize) -> PathBuf {
    let lower = dir.join("lower");
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    for n in 0..count {
        std::fs::write(lower.join(format!("f{n}")), [7; 4096]).unwrap();
    }
    lower
}

/// What the traced process does: as many as it is told, in a directory in memory.
fn count() -> usize {
    std::env::var("COUNT").unwrap().parse().unwrap()
}

/// Copy-ups of small files: those calls, and those that prepare the files (an open, a write, a close and
/// an unlink each).
#[test]
fn system_calls_of_a_small_copy_up() {
    let name = "system_calls_of_a_small_copy_up";
    calls_on_directories(name, false, SMALL_COPY_UP_CALLS, touch_one);
}

/// The same from a layer on which nobody can open devices.
#[test]
fn system_calls_of_a_small_copy_up_from_a_private_mount() {
    let name = "system_calls_of_a_small_copy_up_from_a_private_mount";
    // Less the other opening of the file, and the closing of what was held.
    let less = if rustix::process::geteuid().is_root() {
        2
    } else {
        0
    };
    calls_on_directories(name, true, SMALL_COPY_UP_CALLS - less, touch_one);
}

/// A new file with 1 KiB in it: looking for its name in upper and lower, its directory's attributes and default
/// list, making it, looking which it is, its name, the content, closing it.
#[test]
fn system_calls_of_a_new_file() {
    let name = "system_calls_of_a_new_file";
    calls_on_directories(name, false, 9, |union, n| {
        let options = OpenOptions::new().write(true).create_new(true);
        let file = union.open(format!("/new{n}"), &options).unwrap();
        assert_eq!(file.write_at(&[7; 1024], 0).unwrap(), 1024);
    });
}

/// A copy that is made durable is written back while it is made, piece by piece, the last with the `fsync(2)`;
/// one that is not is left to the kernel.
#[test]
fn a_synced_copy_up_is_written_back_meanwhile() {
    let name = "a_synced_copy_up_is_written_back_meanwhile";
    if !child::is_child() {
        for (is_synced, begun, synced) in [(1, 2, 1), (0, 0, 0)] {
            let Some(calls) = traced(name, is_synced) else {
                return;
            };
            let of = |name: &str| calls.get(name).copied().unwrap_or_default();
            let told = (of("sync_file_range"), of("fsync"));
            assert_eq!(told, (begun, synced), "{calls:?}");
        }
        return;
    }
    let fsync = match count() {
        0 => Fsync::Off,
        _ => Fsync::Auto,
    };
    let dir = child::scratch();
    let lower = lower_with(dir.path(), 0);
    std::fs::write(lower.join("large"), vec![7; 20 << 20]).unwrap();
    let union = overlay_on(dir.path(), false, fsync);
    touch(&union, "/large");
    let copy = std::fs::read(dir.path().join("upper/large")).unwrap();
    assert!(copy == vec![7; 20 << 20]);
}

fn touch_one(union: &Overlay, n: usize) {
    touch(union, &format!("/f{n}"));
}

/// At most `most` system calls for each `work`, which adds one name to the upper.
fn calls_on_directories(name: &str, private: bool, most: i64, work: impl Fn(&Overlay, usize)) {
    if !child::is_child() {
        let prepared = each("system_calls_of_preparing", 100);
        let Some(((all, table), (prepared, _))) = each(name, 100).zip(prepared) else {
            return;
        };
        // One more name goes when the upper is removed.
        let calls = all - prepared - 1;
        eprintln!("{calls} system calls: {table}");
        if has_new_calls() {
            assert!(calls <= most, "{calls}: {table}");
        }
        return;
    }
    let dir = child::scratch();
    let count = count();
    lower_with(dir.path(), count);
    let union = overlay_on(dir.path(), private, Fsync::Off);
    (0..count).for_each(|n| work(&union, n));
}

/// The union of the directories that [`lower_with`] made.
fn overlay_on(dir: &Path, private: bool, fsync: Fsync) -> Overlay {
    let lower = DirLayerOptions::new()
        .private_mount(private)
        .open_lower(dir.join("lower"));
    let lowers = LayerStack::from_top([lower.unwrap()]).unwrap();
    let upper = DirLayer::open_upper(dir.join("upper"), dir.join("work")).unwrap();
    let options = OverlayOptions::new().fsync(fsync);
    Overlay::with_options(&lowers, upper, options).unwrap()
}

/// As listed with their reasons in `docs/benchmarks.md`.
const SMALL_COPY_UP_CALLS: i64 = 19;

/// Linux 6.17 or later: inode flags and attributes by directory and name. Earlier ones take detours.
fn has_new_calls() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(6), Some(17))
}

#[test]
fn system_calls_of_preparing() {
    if child::is_child() {
        let dir = child::scratch();
        lower_with(dir.path(), count());
    }
}

/// A walk with attributes: two calls for a file (its attributes, and whether it is a metacopy); one when the same
/// layers are walked again.
#[test]
fn system_calls_of_a_walk() {
    if !child::is_child() {
        let prepared = each("system_calls_of_preparing", 300);
        let Some(((all, table), (prepared, _))) = each("system_calls_of_a_walk", 300).zip(prepared)
        else {
            return;
        };
        assert!(all - prepared <= 2 + 1, "{all} {prepared}: {table}");
        return;
    }
    let dir = child::scratch();
    let lower = lower_with(dir.path(), count());
    let layers = [dir.path().join("upper"), lower];
    let layers = layers.map(|path| DirLayer::open_lower(path).unwrap());
    let stack = LayerStack::from_top(layers).unwrap();
    for _ in 0..2 {
        for entry in stack.walk("/") {
            entry.unwrap().metadata().unwrap();
        }
    }
}
