//! Explanations as text for people.

use std::fmt;

use super::{MissingReason, Occurrence, Resolution, Shown};
use crate::meta::FileType;
use crate::path::{SYMLINK_HOPS_MAX, display_bytes, display_path};
use crate::rules::explain::Fate;

impl fmt::Display for MissingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MissingReason::Absent => f.write_str("is in no layer"),
            MissingReason::Hidden(by) => write!(f, "is hidden {by}"),
            MissingReason::NotADirectory(file_type) => {
                write!(f, "is a {file_type}, not a directory")
            }
            MissingReason::SymlinkLoop => {
                write!(f, "is one symlink too many (at most {SYMLINK_HOPS_MAX})")
            }
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Shown => f.write_str("shown"),
            Fate::Merged => f.write_str("merged"),
            Fate::Data => f.write_str("supplies the data"),
            Fate::Hides => f.write_str("hides what is below"),
            Fate::Hidden(by) => write!(f, "hidden {by}"),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.metadata;
        write!(f, "{}, mode {:04o}", m.file_type, m.mode)?;
        write!(f, ", owner {}:{}", m.uid, m.gid)?;
        match m.file_type {
            FileType::Regular => write!(f, ", {} bytes", m.size)?,
            FileType::CharDevice | FileType::BlockDevice => write!(f, ", device {}", m.rdev)?,
            _ => {}
        }
        write!(f, ", from {}", self.layer)
    }
}

impl Occurrence {
    fn line(&self, f: &mut fmt::Formatter<'_>, of: &Resolution) -> fmt::Result {
        let label = display_bytes(self.label.as_bytes());
        write!(f, "\n  {} ({label}): ", self.layer)?;
        if self.opaque {
            f.write_str("opaque ")?;
        }
        write!(f, "{}", self.held)?;
        if self.path != of.real_path {
            write!(f, " at {}", display_path(&self.path))?;
        }
        write!(f, ", {}", self.fate)
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", display_path(&self.path))?;
        match (&self.shown, &self.missing) {
            (Some(shown), _) => {
                write!(f, "{shown}")?;
                let merged = self.contributors().count();
                if shown.metadata.is_dir() && merged > 1 {
                    write!(f, ", merged from {merged} layers")?;
                }
            }
            (None, Some(missing)) => {
                let (at, reason) = (display_path(&missing.path), &missing.reason);
                write!(f, "nothing is shown: {at} {reason}")?;
            }
            (None, None) => f.write_str("nothing is shown")?,
        }
        for hop in &self.symlinks {
            let (path, target) = (display_path(&hop.path), display_path(&hop.target));
            write!(f, "\n  symlink {path} -> {target}, from {}", hop.layer)?;
        }
        for hop in &self.redirects {
            let (path, to) = (display_path(&hop.path), display_path(&hop.to));
            write!(f, "\n  redirect of {path} in {} to {to} below", hop.layer)?;
        }
        if self.path != self.real_path {
            write!(f, "\n  leads to {}", display_path(&self.real_path))?;
        }
        for occurrence in &self.occurrences {
            occurrence.line(f, self)?;
        }
        Ok(())
    }
}
