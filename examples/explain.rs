//! Explains what a path of stacked directories shows, and why.
//!
//! `cargo run --example explain -- LOWER... PATH`: the layer directories, topmost first (as in the
//! kernel's `lowerdir=`), then a path in the merged tree. A `--` before PATH is allowed.
//!
//! Exit status: 0 if the path shows something, 1 if it shows nothing, 2 if there is no answer.

use std::ffi::OsString;
use std::process::ExitCode;

use layerstack::{DirLayer, LayerId, LayerStack, Resolution};

const USAGE: &str = "\
usage: explain LOWER... [--] PATH
  LOWER...  layer directories, topmost first
  PATH      a path in the merged tree";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let path = args.pop();
    args.retain(|arg| arg != "--");
    let Some(path) = path.filter(|_| !args.is_empty()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match explain(&args, &path) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::from(u8::from(answer.shown.is_none()))
        }
        Err(e) => {
            eprintln!("explain: {e}");
            ExitCode::from(2)
        }
    }
}

fn explain(lowers: &[OsString], path: &OsString) -> layerstack::Result<Resolution> {
    let mut layers = Vec::new();
    for (i, dir) in lowers.iter().enumerate() {
        let opened = DirLayer::open_lower(dir);
        layers.push(opened.map_err(|e| e.with_layer(LayerId::Lower(i)))?);
    }
    LayerStack::from_top(layers)?.resolve(path)
}
