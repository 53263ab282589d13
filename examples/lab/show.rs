//! What the lab prints.

use std::error::Error;
use std::path::Path;

use layerstack::{ChangeKind, Resolution};

/// Any failure ends the lab.
pub(crate) type Res<T = ()> = Result<T, Box<dyn Error>>;

pub(crate) fn heading(title: &str) {
    println!("\n{title}\n{}", "-".repeat(title.len()));
}

/// A sentence.
pub(crate) fn say(sentence: &str) {
    println!("{sentence}");
}

/// What the sentence before speaks of.
pub(crate) fn text(line: &str) {
    println!("    {line}");
}

/// A remark in brackets.
pub(crate) fn note(remark: &str) {
    println!("    ({remark})");
}

/// Prints a statement that was found true; an error if it is not.
pub(crate) fn check(statement: &str, holds: bool) -> Res {
    if !holds {
        return Err(format!("not true: {statement}").into());
    }
    println!("[ok] {statement}");
    Ok(())
}

/// An explanation, with the layers' paths relative to the lab's folder.
pub(crate) fn explanation(answer: &Resolution, root: &Path) {
    let root = format!("{}/", root.display());
    for line in answer.to_string().lines() {
        text(&line.replace(&root, ""));
    }
}

pub(crate) fn change(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "added",
        ChangeKind::Modified => "modified",
        ChangeKind::Metadata => "metadata",
        ChangeKind::TypeChanged => "type changed",
        ChangeKind::Removed => "removed",
        _ => "changed",
    }
}

/// A number of bytes in a unit that fits it.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
