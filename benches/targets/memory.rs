//! Layers in memory, beside the overlay of the crate `vfs`.

use std::io::Write;
use std::time::Duration;

use layerstack::backend::memory::MemLayer;
use layerstack::{LayerStack, Overlay, OverlayOptions};
use vfs::{MemoryFS, OverlayFS, VfsPath};

use crate::Table;
use crate::stage::pairs::{time, time_each};
use crate::stage::touch;

/// Layers, the writable one included.
const LAYERS: usize = 20;

/// Names in the merged directory, and files for first lookups.
const NAMES: usize = 1000;

const DIR: &str = "a/b/c/d";

/// The files of layer `i`, topmost first: `bottom` and `top` where they belong, some of the listing's,
/// and in the lowest one those to be looked up once each.
fn files(i: usize, layers: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..NAMES)
        .filter(|n| n % layers == i)
        .map(|n| format!("{DIR}/list/n{n}"))
        .collect();
    if i == 0 {
        all.push(format!("{DIR}/top"));
    }
    if i + 1 == layers {
        all.push(format!("{DIR}/bottom"));
        all.extend((0..NAMES).map(|n| format!("{DIR}/f{n}")));
    }
    all
}

fn ours(layers: usize) -> Overlay {
    let mut made = (0..layers).map(|i| {
        let builder = MemLayer::builder();
        let files = files(i, layers);
        let all = files.iter().fold(builder, |b, f| b.file(f, b"x"));
        all.build().unwrap()
    });
    let upper = made.next().unwrap();
    Overlay::new(&LayerStack::from_top(made).unwrap(), upper).unwrap()
}

fn theirs(layers: usize) -> VfsPath {
    let mut made = Vec::new();
    for i in 0..layers {
        let root = VfsPath::new(MemoryFS::new());
        root.join(DIR)
            .unwrap()
            .join("list")
            .unwrap()
            .create_dir_all()
            .unwrap();
        for file in files(i, layers) {
            let mut file = root.join(file).unwrap().create_file().unwrap();
            file.write_all(b"x").unwrap();
        }
        made.push(root);
    }
    VfsPath::new(OverlayFS::new(&made))
}

pub fn lines(table: &Table) {
    let (us, them) = (ours(LAYERS), theirs(LAYERS));
    let names = |_: ()| {
        (0..NAMES)
            .map(|n| format!("{DIR}/f{n}"))
            .collect::<Vec<_>>()
    };
    let names = names(());
    for (name, limit) in [("bottom", 0.25), ("top", 1.0)] {
        let path = format!("{DIR}/{name}");
        table.line(
            &format!("memory: metadata, {name} of 20 layers"),
            Some(limit),
            || time_each(2000, || us.metadata(&path).unwrap()),
            || time_each(2000, || them.join(&path).unwrap().metadata().unwrap()),
        );
    }
    table.line(
        "memory: metadata, bottom of 20 layers, names never asked before",
        Some(0.25),
        || {
            let fresh = ours(LAYERS);
            fresh.metadata(format!("{DIR}/bottom")).unwrap();
            let mut next = names.iter();
            time_each(1000, || fresh.metadata(next.next().unwrap()).unwrap())
        },
        || {
            let mut next = names.iter();
            time_each(1000, || {
                let path = them.join(next.next().unwrap()).unwrap();
                path.metadata().unwrap()
            })
        },
    );
    let list = format!("{DIR}/list");
    table.line(
        "memory: listing of 1,000 merged names, 20 layers",
        Some(1.0 / 3.0),
        || time_each(20, || assert_eq!(us.read_dir(&list).unwrap().len(), NAMES)),
        || {
            let dir = them.join(&list).unwrap();
            time_each(20, || assert_eq!(dir.read_dir().unwrap().count(), NAMES))
        },
    );
    warm(table);
    copy_up(table);
}

/// A warm lookup among many layers, beside one among few.
fn warm(table: &Table) {
    let (few, many) = (ours(2), ours(128));
    let path = format!("{DIR}/bottom");
    table.line(
        "memory: warm metadata, 128 layers beside 2",
        Some(1.1),
        || time_each(2000, || many.metadata(&path).unwrap()),
        || time_each(2000, || few.metadata(&path).unwrap()),
    );
}

/// The first write to a large file, beside one to a small file and beside `vfs`.
fn copy_up(table: &Table) {
    if !table.wants("memory: copy-up of 256 MiB") {
        return;
    }
    let lower = |bytes: usize| {
        let data = vec![7; bytes];
        MemLayer::builder().file("file", &data).build().unwrap()
    };
    let (large, small) = (lower(256 << 20), lower(4 << 10));
    let first_write = |lower: &MemLayer| {
        let mut total = Duration::ZERO;
        for _ in 0..50 {
            let lowers = LayerStack::from_top([lower.clone()]).unwrap();
            let options = OverlayOptions::new();
            let union = Overlay::with_options(&lowers, MemLayer::new(), options).unwrap();
            total += time(|| touch(&union, "/file"));
        }
        total / 50
    };
    table.line(
        "memory: copy-up of 256 MiB beside 4 KiB",
        Some(1.1),
        || first_write(&large),
        || first_write(&small),
    );
    let base = VfsPath::new(MemoryFS::new());
    let mut file = base.join("file").unwrap().create_file().unwrap();
    file.write_all(&vec![7; 256 << 20]).unwrap();
    drop(file);
    table.line(
        "memory: copy-up of 256 MiB",
        None,
        || first_write(&large),
        || {
            let layers = [VfsPath::new(MemoryFS::new()), base.clone()];
            let union = VfsPath::new(OverlayFS::new(&layers));
            let path = union.join("file").unwrap();
            time(|| drop(path.append_file().unwrap()))
        },
    );
}
