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

use layerstack::check::{Check, Consent, Seal, SealDepth};
use layerstack::{DirLayer, DirLayerOptions, LayerId, MountOptions, display_path};

const USAGE: &str = "\
usage: check [OPTIONS] LOWER...
  LOWER...           layer directories, topmost first
  --upper DIR        the writable layer
  --work DIR         its work directory
  --repair           repair what can be repaired without changing what the tree shows
  --choose           also make one of two readings true where a finding says so
  --dry-run          with --repair or --choose: print the plans, do nothing
  -o OPTIONS         mount options, without directories: redirect_dir=, metacopy=, index=,
                     nfs_export=, userxattr and others
  --seal FILE        write the seals of the lowers to FILE instead of checking
  --verify FILE      compare the lowers with the seals in FILE
  --content          with --seal: seal the content of files too
  --no-portability   do not tell names that other tools cannot handle
  --quiet            print nothing but failures";

const UNCORRECTED: u8 = 4;
const FAILED: u8 = 8;
const USAGE_ERROR: u8 = 16;

#[derive(Default)]
struct Args {
    lowers: Vec<PathBuf>,
    upper: Option<PathBuf>,
    work: Option<PathBuf>,
    consent: Option<Consent>,
    dry_run: bool,
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
            Some("--repair") => all.consent = all.consent.or(Some(Consent::Keep)),
            Some("--choose") => all.consent = Some(Consent::Choose),
            Some("--dry-run") => all.dry_run = true,
            Some("--seal") => all.seal = Some(value()?.into()),
            Some("--verify") => all.verify = Some(value()?.into()),
            Some("--content") => all.content = true,
            Some("--no-portability") => all.no_portability = true,
            Some("--quiet") => all.quiet = true,
            Some("-o") => {
                let text = value()?;
                all.options = MountOptions::parse(&text).map_err(|e| e.to_string())?;
                if !all.options.lowers().is_empty() || all.options.upper_path().is_some() {
                    return Err("layers are told by themselves".into());
                }
            }
            Some(other) if other.starts_with('-') => return Err(format!("what is {other}?")),
            _ => all.lowers.push(arg.into()),
        }
    }
    if all.lowers.is_empty() {
        return Err("which layers?".into());
    }
    if all.consent.is_some() && (all.upper.is_none() || all.work.is_none()) {
        return Err("repairing needs --upper and --work".into());
    }
    Ok(all)
}

impl Args {
    fn layers(&self) -> DirLayerOptions {
        DirLayerOptions::new()
            .keep_work(true)
            .namespace(self.options.namespace())
    }

    fn lowers(&self) -> layerstack::Result<Vec<DirLayer>> {
        let open = |(i, dir)| {
            let opened = self.layers().open_lower(dir);
            opened.map_err(|e: layerstack::Error| e.with_layer(LayerId::Lower(i)))
        };
        self.lowers.iter().enumerate().map(open).collect()
    }

    /// The length that the option string of mount(2) would have; none if no option can say it.
    fn option_bytes(&self) -> Option<usize> {
        let lowers = self.lowers.iter();
        let mut options = lowers.fold(self.options.clone(), |all, path| all.lower(path));
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            options = options.upper(upper, work);
        }
        options.to_legacy().ok().map(|text| text.len())
    }
}

/// Writes one seal per line, topmost lower first.
fn seal(args: &Args, file: &Path) -> Result<u8, String> {
    let depth = match args.content {
        true => SealDepth::Content,
        false => SealDepth::Metadata,
    };
    let mut text = String::new();
    for (layer, path) in args.lowers().map_err(text_of)?.iter().zip(&args.lowers) {
        let seal = Seal::of(layer, depth);
        let seal = seal.map_err(|e| format!("seal {}: {e}", display_path(path)))?;
        text += &format!("{seal}\n");
    }
    std::fs::write(file, text).map_err(|e| format!("{}: {e}", display_path(file)))?;
    Ok(0)
}

fn check(args: &Args) -> Result<u8, String> {
    let report = checker(args)?.run();
    let Some(consent) = args.consent else {
        show(args, &report);
        return Ok(report.exit_status());
    };
    let repair = report.repair(consent);
    show(args, &repair);
    if args.dry_run {
        return Ok(report.exit_status());
    }
    let done = repair.apply().map_err(text_of)?;
    let before = report.is_sound();
    // One writer at a time has the work directory.
    drop(report);
    let after = checker(args)?.run();
    show(args, &after);
    Ok(match (before, after.is_sound()) {
        (_, false) => UNCORRECTED,
        (true, true) => 0,
        (false, true) => done.exit_status(&after),
    })
}

fn checker(args: &Args) -> Result<Check, String> {
    let mut check = Check::from_top(args.lowers().map_err(text_of)?)
        .options(args.options.overlay_options())
        .portability(!args.no_portability);
    if let Some(bytes) = args.option_bytes() {
        check = check.option_bytes(bytes);
    }
    let layers = args.layers();
    check = match (&args.upper, &args.work, args.consent) {
        (Some(upper), Some(work), Some(_)) if !args.dry_run => {
            check.upper(layers.open_upper(upper, work).map_err(text_of)?)
        }
        (Some(upper), work, _) => {
            check = check.upper(layers.open_lower(upper).map_err(text_of)?);
            match work {
                Some(work) => check.work(layers.open_lower(work).map_err(text_of)?),
                None => check,
            }
        }
        (None, ..) => check,
    };
    if let Some(file) = &args.verify {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|e| format!("{}: {e}", display_path(file)))?;
        let seals: Result<Vec<Seal>, _> = text.lines().map(str::parse).collect();
        let seals = seals.map_err(|e| format!("{}: {e}", display_path(file)))?;
        if seals.len() != args.lowers.len() {
            let count = seals.len();
            return Err(format!("{}: {count} seals", display_path(file)));
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
