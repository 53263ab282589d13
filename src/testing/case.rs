//! Layers and operations together: what a comparison of two systems runs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use crate::credentials::{CapabilitySet, Credentials};
use crate::errno::Errno;
use crate::meta::{SetAttr, SetTime};
use crate::op::{AccessMode, Op, OpenOptions, RenameFlags};
use crate::testing::spec::{LayerSpec, rust_bytes as bytes, rust_path};
use crate::xattr_name::XattrName;

/// What happens between two operations.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Compare merged trees and upper layers.
    Compare,
    /// Compare, close everything, open the same layers again, compare again.
    Remount,
    /// As `Remount`, but the upper layer becomes the topmost lower, below a new empty upper. Without
    /// an upper it is a `Remount`.
    Rotate,
}

/// One run: layers, options, operations. Trees are always compared after the last operation.
///
/// `Debug` prints Rust source that makes the same case.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Case {
    /// Lower layers, topmost first.
    pub lowers: Vec<LayerSpec>,
    /// Data-only layers, the first to be asked first.
    pub data: Vec<LayerSpec>,
    /// What the upper layer holds at the start; `None`: the stack has no upper and is read-only.
    pub upper: Option<LayerSpec>,
    /// Mount options, such as `index=on`; without layers and directories.
    pub options: Vec<String>,
    /// Operations.
    pub ops: Vec<Op>,
    /// What to do after so many operations.
    pub checks: BTreeMap<usize, Check>,
}

impl Case {
    /// A case without operations.
    #[must_use]
    pub fn new(lowers: Vec<LayerSpec>, upper: Option<LayerSpec>) -> Self {
        Case {
            lowers,
            upper,
            ..Case::default()
        }
    }

    /// Sets the data-only layers.
    #[must_use]
    pub fn data(mut self, layers: Vec<LayerSpec>) -> Self {
        self.data = layers;
        self
    }

    /// Sets the mount options.
    #[must_use]
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|o| String::from(*o)).collect();
        self
    }

    /// Sets the operations.
    #[must_use]
    pub fn ops(mut self, ops: Vec<Op>) -> Self {
        self.ops = ops;
        self
    }

    /// Adds a check after `count` operations.
    #[must_use]
    pub fn check(mut self, count: usize, check: Check) -> Self {
        self.checks.insert(count, check);
        self
    }

    /// Rust source that makes this case: an expression, ready to be pasted into a test.
    ///
    /// # Errors
    /// None in practice; the type is that of writing to a string.
    pub fn to_rust(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        writeln!(out, "Case::new(\n    vec![")?;
        for layer in &self.lowers {
            writeln!(out, "{},", indent(&format!("{layer:?}"), 8))?;
        }
        writeln!(out, "    ],")?;
        match &self.upper {
            Some(layer) => {
                let text = indent(&format!("{layer:?}"), 4);
                writeln!(out, "    Some({}),", text.trim_start())?;
            }
            None => writeln!(out, "    None,")?,
        }
        writeln!(out, ")")?;
        if !self.data.is_empty() {
            writeln!(out, ".data(vec![")?;
            for layer in &self.data {
                writeln!(out, "{},", indent(&format!("{layer:?}"), 4))?;
            }
            writeln!(out, "])")?;
        }
        if !self.options.is_empty() {
            writeln!(out, ".options(&{:?})", self.options)?;
        }
        writeln!(out, ".ops(vec![")?;
        for op in &self.ops {
            writeln!(out, "    {},", op_to_rust(op))?;
        }
        write!(out, "])")?;
        for (at, check) in &self.checks {
            write!(out, "\n.check({at}, Check::{check:?})")?;
        }
        Ok(out)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rust()?)
    }
}

fn indent(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    let lines: Vec<String> = text.lines().map(|line| format!("{pad}{line}")).collect();
    lines.join("\n")
}

/// Makes an attribute name in pasted source; the same as [`XattrName::new`], shorter.
///
/// # Errors
/// As [`XattrName::new`].
pub fn xattr(name: impl AsRef<[u8]>) -> Result<XattrName, Errno> {
    XattrName::new(name)
}

fn path(p: &Path) -> String {
    format!("{}.into()", rust_path(p))
}

fn name(n: &XattrName) -> String {
    format!("xattr({}).unwrap()", bytes(n.as_bytes()))
}

fn options(o: &OpenOptions) -> String {
    let mut out = String::from("OpenOptions::new()");
    let flags = [
        (o.read, "read"),
        (o.write, "write"),
        (o.append, "append"),
        (o.truncate, "truncate"),
        (o.create, "create"),
        (o.create_new, "create_new"),
        (o.no_follow, "no_follow"),
        (o.tmpfile, "tmpfile"),
    ];
    for (on, flag) in flags {
        if on {
            out += &format!(".{flag}(true)");
        }
    }
    if o.mode != OpenOptions::new().mode {
        out += &format!(".mode({:#o})", o.mode);
    }
    out
}

fn credentials(c: &Credentials) -> String {
    let mut out = format!("Credentials::user({}, {})", c.uid, c.gid);
    if !c.groups.is_empty() {
        out += &format!(".groups({:?})", c.groups);
    }
    if c.capabilities != CapabilitySet::EMPTY {
        let bits = c.capabilities.bits();
        out += &format!(".capabilities(CapabilitySet::from_bits({bits:#x}))");
    }
    if c.umask != Credentials::root().umask {
        out += &format!(".umask({:#05o})", c.umask);
    }
    out
}

fn attr(a: &SetAttr) -> String {
    let time = |t: &SetTime| match t {
        SetTime::Omit => String::from("SetTime::Omit"),
        SetTime::Now => String::from("SetTime::Now"),
        SetTime::At(t) => format!("SetTime::At(Timestamp::new({}, {}))", t.secs, t.nanos),
    };
    let mode = match a.mode {
        Some(mode) => format!("Some({mode:#o})"),
        None => String::from("None"),
    };
    let (uid, gid) = (a.uid, a.gid);
    let (atime, mtime) = (time(&a.atime), time(&a.mtime));
    format!(
        "SetAttr {{ mode: {mode}, uid: {uid:?}, gid: {gid:?}, atime: {atime}, mtime: {mtime} }}"
    )
}

fn flags(f: RenameFlags) -> String {
    let RenameFlags {
        no_replace,
        exchange,
        whiteout,
    } = f;
    format!(
        "RenameFlags {{ no_replace: {no_replace}, exchange: {exchange}, whiteout: {whiteout} }}"
    )
}

/// Rust source that makes `op`.
#[must_use]
pub fn op_to_rust(op: &Op) -> String {
    let vec = |b: &[u8]| format!("{}.to_vec()", bytes(b));
    let (kind, fields): (&str, Vec<(&str, String)>) = match op {
        Op::Metadata { path: p, follow } => (
            "Metadata",
            vec![("path", path(p)), ("follow", follow.to_string())],
        ),
        Op::Access { path: p, mode } => {
            let AccessMode {
                read,
                write,
                execute,
            } = mode;
            let mode = format!("AccessMode::new({read}, {write}, {execute})");
            ("Access", vec![("path", path(p)), ("mode", mode)])
        }
        Op::ReadLink { path: p } => ("ReadLink", vec![("path", path(p))]),
        Op::ReadDir { path: p } => ("ReadDir", vec![("path", path(p))]),
        Op::Read {
            path: p,
            offset,
            len,
        } => (
            "Read",
            vec![
                ("path", path(p)),
                ("offset", offset.to_string()),
                ("len", len.to_string()),
            ],
        ),
        Op::GetXattr {
            path: p,
            follow,
            name: n,
        } => (
            "GetXattr",
            vec![
                ("path", path(p)),
                ("follow", follow.to_string()),
                ("name", name(n)),
            ],
        ),
        Op::ListXattrs { path: p, follow } => (
            "ListXattrs",
            vec![("path", path(p)), ("follow", follow.to_string())],
        ),
        Op::Open {
            path: p,
            options: o,
        } => ("Open", vec![("path", path(p)), ("options", options(o))]),
        Op::Write {
            path: p,
            options: o,
            offset,
            data,
        } => (
            "Write",
            vec![
                ("path", path(p)),
                ("options", options(o)),
                ("offset", offset.to_string()),
                ("data", vec(data)),
            ],
        ),
        Op::CreateDir { path: p, mode } => (
            "CreateDir",
            vec![("path", path(p)), ("mode", format!("{mode:#o}"))],
        ),
        Op::CreateDirAll { path: p, mode } => (
            "CreateDirAll",
            vec![("path", path(p)), ("mode", format!("{mode:#o}"))],
        ),
        Op::Symlink { target, path: p } => {
            ("Symlink", vec![("target", vec(target)), ("path", path(p))])
        }
        Op::HardLink { from, to } => ("HardLink", vec![("from", path(from)), ("to", path(to))]),
        Op::MakeNode {
            path: p,
            file_type,
            mode,
            rdev,
        } => (
            "MakeNode",
            vec![
                ("path", path(p)),
                ("file_type", format!("FileType::{file_type:?}")),
                ("mode", format!("{mode:#o}")),
                (
                    "rdev",
                    format!("DeviceId::new({}, {})", rdev.major, rdev.minor),
                ),
            ],
        ),
        Op::RemoveFile { path: p } => ("RemoveFile", vec![("path", path(p))]),
        Op::RemoveDir { path: p } => ("RemoveDir", vec![("path", path(p))]),
        Op::RemoveDirAll { path: p } => ("RemoveDirAll", vec![("path", path(p))]),
        Op::Rename { from, to, flags: f } => (
            "Rename",
            vec![("from", path(from)), ("to", path(to)), ("flags", flags(*f))],
        ),
        Op::Copy { from, to } => ("Copy", vec![("from", path(from)), ("to", path(to))]),
        Op::SetLen { path: p, len } => {
            ("SetLen", vec![("path", path(p)), ("len", len.to_string())])
        }
        Op::SetAttr {
            path: p,
            follow,
            attr: a,
        } => (
            "SetAttr",
            vec![
                ("path", path(p)),
                ("follow", follow.to_string()),
                ("attr", attr(a)),
            ],
        ),
        Op::SetXattr {
            path: p,
            follow,
            name: n,
            value,
            mode,
        } => (
            "SetXattr",
            vec![
                ("path", path(p)),
                ("follow", follow.to_string()),
                ("name", name(n)),
                ("value", vec(value)),
                ("mode", format!("XattrMode::{mode:?}")),
            ],
        ),
        Op::RemoveXattr {
            path: p,
            follow,
            name: n,
        } => (
            "RemoveXattr",
            vec![
                ("path", path(p)),
                ("follow", follow.to_string()),
                ("name", name(n)),
            ],
        ),
        Op::GetFlags { path: p } => ("GetFlags", vec![("path", path(p))]),
        Op::SetFlags { path: p, flags } => {
            let flags = format!("{flags:?}");
            ("SetFlags", vec![("path", path(p)), ("flags", flags)])
        }
        Op::Allocate {
            path: p,
            mode,
            offset,
            len,
        } => (
            "Allocate",
            vec![
                ("path", path(p)),
                ("mode", format!("AllocateMode::{mode:?}")),
                ("offset", offset.to_string()),
                ("len", len.to_string()),
            ],
        ),
        _ => return handle_op_to_rust(op),
    };
    variant(kind, &fields)
}

fn handle_op_to_rust(op: &Op) -> String {
    let vec = |b: &[u8]| format!("{}.to_vec()", bytes(b));
    let (kind, slot, fields): (&str, &u8, Vec<(&str, String)>) = match op {
        Op::As { caller, op } => {
            return format!("{}.run_as(&{})", op_to_rust(op), credentials(caller));
        }
        Op::HandleOpen {
            slot,
            path: p,
            options: o,
        } => (
            "HandleOpen",
            slot,
            vec![("path", path(p)), ("options", options(o))],
        ),
        Op::HandleRead { slot, offset, len } => (
            "HandleRead",
            slot,
            vec![("offset", offset.to_string()), ("len", len.to_string())],
        ),
        Op::HandleWrite { slot, offset, data } => (
            "HandleWrite",
            slot,
            vec![("offset", offset.to_string()), ("data", vec(data))],
        ),
        Op::HandleMetadata { slot } => ("HandleMetadata", slot, vec![]),
        Op::HandleSetLen { slot, len } => ("HandleSetLen", slot, vec![("len", len.to_string())]),
        Op::HandleSetAttr { slot, attr: a } => ("HandleSetAttr", slot, vec![("attr", attr(a))]),
        Op::HandleAllocate {
            slot,
            mode,
            offset,
            len,
        } => (
            "HandleAllocate",
            slot,
            vec![
                ("mode", format!("AllocateMode::{mode:?}")),
                ("offset", offset.to_string()),
                ("len", len.to_string()),
            ],
        ),
        Op::HandleSync { slot } => ("HandleSync", slot, vec![]),
        Op::HandleLink { slot, to } => ("HandleLink", slot, vec![("to", path(to))]),
        Op::HandleClose { slot } => ("HandleClose", slot, vec![]),
        // `StatFs` and `Sync` have no fields.
        other => return format!("Op::{other:?}"),
    };
    let mut all = vec![("slot", slot.to_string())];
    all.extend(fields);
    variant(kind, &all)
}

fn variant(kind: &str, fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    format!("Op::{kind} {{ {} }}", fields.join(", "))
}
