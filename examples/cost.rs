//! Tells what an operation on stacked directories would copy, before it is done.
//!
//! `cargo run --example cost -- LOWER... -- OPERATION PATH`: the layer directories, topmost first (as in
//! the kernel's `lowerdir=`), then what is to be done to the merged tree. Nothing is changed: the upper
//! layer is in memory, and empty.
//!
//! Exit status: 0 if the operation is possible, 1 if it would fail, 2 if there is no answer.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use layerstack::backend::memory::MemLayer;
use layerstack::{
    Cost, DirLayer, Errno, Error, LayerId, LayerStack, Op, OpenOptions, Overlay, OverlayOptions,
    Reflink, RenameFlags, SetAttr, SetTime, StackStats, display_path,
};

const USAGE: &str = "\
usage: cost LOWER... -- OPERATION PATH [TO]
       cost LOWER...
  LOWER...   layer directories, topmost first
  OPERATION  write, truncate, chmod, chown, touch, rm, rmdir, mkdir, rename (to TO), link (as TO);
             chmod -R, chown -R, touch -R: of a whole tree
Without an operation: what the layers hold, how much of it is hidden, and what first writes copy.";

/// Steps of a plan that are printed.
const STEPS_SHOWN: usize = 12;

/// Files listed with the largest first writes.
const LARGEST: usize = 5;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let end = args.iter().rposition(|arg| arg == "--");
    let (lowers, operation) = args.split_at(end.unwrap_or(args.len()));
    let lowers: Vec<&OsString> = lowers.iter().filter(|arg| *arg != "--").collect();
    if lowers.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let stack = match open(&lowers) {
        Ok(stack) => stack,
        Err(e) => return failed(&e, 2),
    };
    let told = match operation {
        [] | [_] => stack.stats(LARGEST).map(|stats| {
            show_stats(&stats);
            Some(())
        }),
        [_, words @ ..] => show_cost(&stack, words),
    };
    match told {
        Ok(Some(())) => ExitCode::SUCCESS,
        Ok(None) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(e) => failed(&e, 1),
    }
}

fn failed(e: &Error, status: u8) -> ExitCode {
    eprintln!("cost: {e}");
    ExitCode::from(status)
}

fn open(lowers: &[&OsString]) -> layerstack::Result<LayerStack> {
    let mut layers = Vec::new();
    for (i, dir) in lowers.iter().enumerate() {
        let opened = DirLayer::open_lower(dir);
        layers.push(opened.map_err(|e| e.with_layer(LayerId::Lower(i)))?);
    }
    LayerStack::from_top(layers)
}

/// The operations that the words mean; `None` if they mean nothing.
fn parse(overlay: &Overlay, words: &[OsString]) -> layerstack::Result<Option<Vec<Op>>> {
    let Some(name) = words.first().and_then(|word| word.to_str()) else {
        return Ok(None);
    };
    let recursive = words.get(1).is_some_and(|word| word == "-R");
    let paths = words.get(1 + usize::from(recursive)..).unwrap_or_default();
    let (path, to) = match paths {
        [path] => (Path::new(path), None),
        [path, to] => (Path::new(path), Some(Path::new(to))),
        _ => return Ok(None),
    };
    if recursive {
        let mut ops = Vec::new();
        for entry in overlay.walk(path) {
            let entry = entry?;
            // chmod -R leaves symlinks alone.
            if name == "chmod" && entry.file_type().is_symlink() {
                continue;
            }
            match operation(overlay, name, entry.path(), None)? {
                Some(op @ Op::SetAttr { .. }) => ops.push(op),
                _ => return Ok(None),
            }
        }
        return Ok(Some(ops));
    }
    Ok(operation(overlay, name, path, to)?.map(|op| vec![op]))
}

fn operation(
    overlay: &Overlay,
    name: &str,
    path: &Path,
    to: Option<&Path>,
) -> layerstack::Result<Option<Op>> {
    let path = path.to_path_buf();
    let attr = |attr| {
        let path = path.clone();
        let follow = false;
        Op::SetAttr { path, follow, attr }
    };
    Ok(Some(match (name, to) {
        ("write", None) => Op::Open {
            path,
            options: OpenOptions::new().write(true),
        },
        ("truncate", None) => Op::Open {
            path,
            options: OpenOptions::new().write(true).truncate(true),
        },
        ("chmod", None) => {
            let mode = overlay.symlink_metadata(&path)?.mode;
            attr(SetAttr::mode(mode))
        }
        ("chown", None) => attr(SetAttr::owner(Some(0), Some(0))),
        ("touch", None) => attr(SetAttr::times(SetTime::Now, SetTime::Now)),
        ("rm", None) => Op::RemoveFile { path },
        ("rmdir", None) => Op::RemoveDir { path },
        ("mkdir", None) => Op::CreateDir { path, mode: 0o777 },
        ("rename", Some(to)) => Op::Rename {
            from: path,
            to: to.to_path_buf(),
            flags: RenameFlags::default(),
        },
        ("link", Some(to)) => Op::HardLink {
            from: path,
            to: to.to_path_buf(),
        },
        _ => return Ok(None),
    }))
}

fn show_cost(stack: &LayerStack, words: &[OsString]) -> layerstack::Result<Option<()>> {
    let over = |options| Overlay::with_options(stack, MemLayer::new(), options);
    let overlay = over(OverlayOptions::new())?;
    let Some(ops) = parse(&overlay, words)? else {
        return Ok(None);
    };
    let plan = overlay.plan_all(&ops)?;
    for line in plan.to_string().lines().take(STEPS_SHOWN) {
        println!("{line}");
    }
    if plan.steps.len() > STEPS_SHOWN {
        println!("    ... {} steps in all", plan.steps.len());
    }
    show("Cost:", &plan.cost());
    let bounds = plan.estimate.allocated_bytes;
    match plan.estimate.reflink {
        Reflink::NoData => {}
        Reflink::Yes => println!("  the data are shared with the lower files"),
        _ => println!(
            "  blocks taken for data: {} to {} bytes (none on the lower's filesystem, if it can share \
             them)",
            bounds.min, bounds.max
        ),
    }
    println!(
        "  directories of layers asked: at most {}",
        plan.estimate.layers_probed.max
    );
    match over(OverlayOptions::new().metacopy(true))?.plan_all(&ops) {
        Ok(plan) => show("With metacopy=on:", &plan.cost()),
        Err(e) if e.errno() == Errno::EINVAL => println!("With metacopy=on: not possible ({e})"),
        Err(e) => return Err(e),
    }
    Ok(Some(()))
}

fn show(title: &str, cost: &Cost) {
    println!("{title}");
    println!("  data to copy: {} bytes", cost.data_bytes);
    println!(
        "  inodes to make: {} ({} files, {} directories, {} whiteouts)",
        cost.inodes(),
        cost.files_created,
        cost.dirs_created,
        cost.whiteouts
    );
    println!(
        "  attributes to copy: {}, renames: {}, links: {}, removals: {}, syncs: {}",
        cost.xattrs_copied, cost.renames, cost.links, cost.removals, cost.syncs
    );
}

fn show_stats(stats: &StackStats) {
    println!("layer          entries    inodes  whiteouts        bytes     hidden bytes");
    let total = (String::from("all"), stats.total());
    let rows = stats
        .layers
        .iter()
        .map(|(id, s)| (id.to_string(), s.clone()));
    for (name, s) in rows.chain([total]) {
        println!(
            "{name:12} {:>9} {:>9} {:>10} {:>12} {:>16}",
            s.entries,
            s.inodes(),
            s.whiteouts,
            s.bytes,
            s.hidden_bytes
        );
    }
    println!("largest first writes:");
    for file in &stats.largest {
        println!(
            "{:>14} bytes  {}  ({})",
            file.data_bytes,
            display_path(&file.path),
            file.layer
        );
    }
    for warning in &stats.warnings {
        println!("warning: {warning}");
    }
}
