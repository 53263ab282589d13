//! Checks a stack of layer directories without mounting it, and repairs it if asked to.
//!
//! `cargo run --example check -- [OPTIONS] LOWER...`: the layer directories, topmost first (as in the
//! kernel's `lowerdir=`). Without `--repair` or `--choose` nothing is written.
//!
//! Exit status, as fsck's: 0 nothing is wrong (notes do not count), 1 all that was wrong was
//! corrected, 4 something wrong is left, 8 the check could not be made, 16 wrong usage.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use layerstack::check::{Check, Consent, Repaired, Seal, SealDepth};
use layerstack::{DirLayer, DirLayerOptions, LayerId, MountOptions, display_path};

const USAGE: &str = "\
usage: check [OPTIONS] LOWER...
       check [OPTIONS] -o lowerdir=...,upperdir=...,workdir=...
Checks the layers of an overlay without mounting it. Unmount it first.

  LOWER...           layer directories, topmost first
  --upper DIR        the writable layer
  --work DIR         its work directory
  --data DIR         a data-only layer; may be told several times
  -o OPTIONS         mount options as mount(8) takes them; layers may be among them
  --plan             print what --repair would do, and do nothing
  --repair           repair what can be repaired without changing what the tree shows
  --choose           with either: also make one of two readings true where a finding says so
  --seal FILE        write the seals of the lowers to FILE instead of checking
  --content          with --seal: seal the content of files too
  --verify FILE      compare the lowers with the seals in FILE
  --no-portability   do not tell names that other tools cannot handle
  --quiet            print nothing but failures

exit status: 0 nothing is wrong (notes do not count), 1 all that was wrong was corrected,
4 something wrong is left, 8 the check could not be made, 16 wrong usage";

/// What is repaired may show what it hid, so the stack is checked again after each repair.
const PASSES_MAX: u32 = 8;
const UNCORRECTED: u8 = 4;
const FAILED: u8 = 8;
const USAGE_ERROR: u8 = 16;

#[derive(Default)]
struct Args {
    lowers: Vec<PathBuf>,
    data: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    repair: bool,
    plan: bool,
    choose: bool,
    options: MountOptions,
    seal: Option<PathBuf>,
    verify: Option<PathBuf>,
    content: bool,
    no_portability: bool,
    quiet: bool,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let parsed = match parse(args) {
        Ok(parsed) => parsed,
        Err(why) => {
            eprintln!("check: {why}\n{USAGE}");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    let status = match &parsed.seal {
        Some(file) => seal(&parsed, file),
        None => check(&parsed),
    };
    ExitCode::from(status.unwrap_or_else(|e| {
        eprintln!("check: {e}");
        FAILED
    }))
}

fn parse(args: Vec<OsString>) -> Result<Args, String> {
    let mut all = Args::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{} needs a value", shown(&arg)));
        match arg.to_str() {
            Some("--upper") => all.upper = Some(value()?.into()),
            Some("--work") => all.work = Some(value()?.into()),
            Some("--data") => all.data.push(value()?.into()),
            Some("--repair") => all.repair = true,
            Some("--plan") => all.plan = true,
            Some("--choose") => all.choose = true,
            Some("--seal") => all.seal = Some(value()?.into()),
            Some("--verify") => all.verify = Some(value()?.into()),
            Some("--content") => all.content = true,
            Some("--no-portability") => all.no_portability = true,
            Some("--quiet") => all.quiet = true,
            Some("-o") => {
                all.options = MountOptions::parse(value()?).map_err(|e| e.to_string())?;
            }
            Some(other) if other.starts_with('-') => return Err(format!("what is {other}?")),
            _ => all.lowers.push(arg.into()),
        }
    }
    let options = &all.options;
    let told = !options.lowers().is_empty() || options.upper_path().is_some();
    if told && !(all.lowers.is_empty() && all.data.is_empty() && all.upper.is_none()) {
        return Err("layers are told twice, by -o and without".into());
    }
    if told {
        all.lowers = options.lowers().to_vec();
        all.data = options.data_lowers().to_vec();
        all.upper = options.upper_path().map(Path::to_path_buf);
        all.work = options.work_path().map(Path::to_path_buf);
    } else {
        let mut with = options.clone();
        with = all.lowers.iter().fold(with, |all, path| all.lower(path));
        with = all.data.iter().fold(with, |all, path| all.data_lower(path));
        if let (Some(upper), Some(work)) = (&all.upper, &all.work) {
            with = with.upper(upper, work);
        }
        all.options = with;
    }
    if all.lowers.is_empty() {
        return Err("which layers?".into());
    }
    if (all.repair || all.plan) && (all.upper.is_none() || all.work.is_none()) {
        return Err("repairing needs an upper and its work directory".into());
    }
    if all.choose && !all.repair && !all.plan {
        return Err("--choose goes with --repair or --plan".into());
    }
    Ok(all)
}

impl Args {
    fn layers(&self) -> DirLayerOptions {
        DirLayerOptions::new()
            .keep_work(true)
            .namespace(self.options.namespace())
    }

    /// Opens layers, of which the first has this number.
    fn open(&self, layers: &[PathBuf], first: usize) -> Result<Vec<DirLayer>, String> {
        let open = |(i, dir)| {
            let opened = self.layers().open_lower(dir);
            let numbered = |e: layerstack::Error| e.with_layer(LayerId::Lower(first + i));
            opened.map_err(|e| numbered(e).to_string())
        };
        layers.iter().enumerate().map(open).collect()
    }

    fn lowers(&self) -> Result<Vec<DirLayer>, String> {
        self.open(&self.lowers, 0)
    }

    fn data(&self) -> Result<Vec<DirLayer>, String> {
        self.open(&self.data, self.lowers.len())
    }
}

/// Writes one seal per line, topmost lower first, then data-only layers.
fn seal(args: &Args, file: &Path) -> Result<u8, String> {
    let depth = match args.content {
        true => SealDepth::Content,
        false => SealDepth::Metadata,
    };
    let mut text = String::new();
    let (mut layers, paths) = (args.lowers()?, args.lowers.iter().chain(&args.data));
    layers.extend(args.data()?);
    for (layer, path) in layers.iter().zip(paths) {
        let seal = Seal::of(layer, depth);
        let seal = seal.map_err(|e| format!("seal {}: {e}", display_path(path)))?;
        text += &format!("{seal}\n");
    }
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", display_path(file)))?;
    Ok(0)
}

fn check(args: &Args) -> Result<u8, String> {
    let report = checker(args)?.run();
    if !args.repair && !args.plan {
        show(args, &report);
        return Ok(report.exit_status());
    }
    let consent = match args.choose {
        true => Consent::Choose,
        false => Consent::Keep,
    };
    if args.plan {
        show(args, &report.repair(consent));
        return Ok(report.exit_status());
    }
    let before = report.is_sound();
    let mut done = Repaired::default();
    let mut after = report;
    for _ in 0..PASSES_MAX {
        let repair = after.repair(consent);
        if repair.is_empty() {
            break;
        }
        show(args, &repair);
        done.repaired += repair.apply().map_err(text_of)?.repaired;
        // One writer at a time has the work directory.
        drop(repair);
        drop(after);
        after = checker(args)?.run();
    }
    show(args, &after);
    Ok(match (before, after.is_sound()) {
        (_, false) => UNCORRECTED,
        (true, true) => 0,
        (false, true) => done.exit_status(&after),
    })
}

fn checker(args: &Args) -> Result<Check, String> {
    let mut check = Check::from_top(args.lowers()?)
        .data_layers(args.data()?)
        .options(args.options.overlay_options())
        .portability(!args.no_portability);
    // Some paths no option string can say.
    if let Ok(text) = args.options.to_legacy() {
        check = check.option_bytes(text.len());
    }
    let layers = args.layers();
    check = match (&args.upper, &args.work) {
        (Some(upper), Some(work)) if args.repair && !args.plan => {
            check.upper(layers.open_upper(upper, work).map_err(text_of)?)
        }
        (Some(upper), work) => {
            check = check.upper(layers.open_lower(upper).map_err(text_of)?);
            match work {
                Some(work) => check.work(layers.open_lower(work).map_err(text_of)?),
                None => check,
            }
        }
        (None, _) => check,
    };
    if let Some(file) = &args.verify {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|e| format!("{}: {e}", display_path(file)))?;
        let seals: Result<Vec<Seal>, _> = text.lines().map(str::parse).collect();
        let seals = seals.map_err(|e| format!("{}: {e}", display_path(file)))?;
        let (count, layers) = (seals.len(), args.lowers.len() + args.data.len());
        if count != layers {
            let file = display_path(file);
            return Err(format!("{file}: {count} seals for {layers} layers"));
        }
        check = check.seals(seals.into_iter().map(Some));
    }
    Ok(check)
}

fn show(args: &Args, what: &impl Display) {
    if !args.quiet {
        println!("{what}");
    }
}

fn text_of(e: layerstack::Error) -> String {
    e.to_string()
}

fn shown(arg: &OsStr) -> String {
    display_path(Path::new(arg)).to_string()
}
