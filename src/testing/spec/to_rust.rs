//! Layers as Rust source, so that a failing case can be pasted into a test.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{DEFAULT_TIME, LayerSpec, NodeKind, NodeSpec, Piece};
use crate::backend::WhiteoutForm;
use crate::meta::DeviceId;

/// Shows itself as the Rust source that makes it.
impl fmt::Debug for LayerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayerSpec::new()")?;
        for (at, node) in self.nodes() {
            write!(f, "\n    .with({}, {})", path(at), rust(node))?;
        }
        Ok(())
    }
}

/// An expression that is `AsRef<Path>` and `Into<PathBuf>`.
pub(in crate::testing) fn path(path: &Path) -> String {
    let raw = path.as_os_str().as_bytes();
    match raw.iter().all(|b| matches!(b, b' '..=b'~')) {
        true => format!("\"{}\"", raw.escape_ascii()),
        false => format!("OsStr::from_bytes({})", bytes(raw)),
    }
}

/// An expression that is `AsRef<[u8]>`.
pub(in crate::testing) fn bytes(bytes: &[u8]) -> String {
    match bytes.first() {
        Some(first) if bytes.len() > 64 && bytes.iter().all(|b| b == first) => {
            format!("[{first}; {}]", bytes.len())
        }
        _ => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

fn device(d: DeviceId) -> String {
    format!("DeviceId::new({}, {})", d.major, d.minor)
}

fn piece(piece: &Piece) -> String {
    match piece {
        Piece::Bytes(b) => format!("Piece::Bytes({}.to_vec())", bytes(b)),
        Piece::Fill(byte, len) => format!("Piece::Fill({byte}, {len})"),
        Piece::Hole(len) => format!("Piece::Hole({len})"),
    }
}

fn rust(node: &NodeSpec) -> String {
    let mut out = match &node.kind {
        NodeKind::File(pieces) => match pieces.as_slice() {
            [] => String::from("NodeSpec::file(b\"\")"),
            [Piece::Bytes(b)] => format!("NodeSpec::file({})", bytes(b)),
            pieces => {
                let pieces: Vec<String> = pieces.iter().map(piece).collect();
                format!("NodeSpec::pieces(vec![{}])", pieces.join(", "))
            }
        },
        NodeKind::Directory => String::from("NodeSpec::dir()"),
        NodeKind::Symlink(target) => format!("NodeSpec::symlink({})", bytes(target)),
        NodeKind::Fifo => String::from("NodeSpec::new(NodeKind::Fifo)"),
        NodeKind::Socket => String::from("NodeSpec::new(NodeKind::Socket)"),
        NodeKind::CharDevice(d) => format!("NodeSpec::new(NodeKind::CharDevice({}))", device(*d)),
        NodeKind::BlockDevice(d) => format!("NodeSpec::new(NodeKind::BlockDevice({}))", device(*d)),
        NodeKind::Whiteout(WhiteoutForm::CharDevice) => {
            return String::from("NodeSpec::whiteout()");
        }
        NodeKind::Whiteout(WhiteoutForm::Xattr) => {
            return String::from("NodeSpec::xattr_whiteout()");
        }
        NodeKind::HardLink(to) => return format!("NodeSpec::link_to({})", path(to)),
    };
    if node.mode != NodeSpec::new(node.kind.clone()).mode {
        out += &format!(".mode({:#o})", node.mode);
    }
    if (node.uid, node.gid) != (0, 0) {
        out += &format!(".owner({}, {})", node.uid, node.gid);
    }
    if node.mtime != DEFAULT_TIME {
        out += &format!(".mtime({}, {})", node.mtime.secs, node.mtime.nanos);
    }
    for (name, value) in &node.xattrs {
        out += &format!(".xattr({}, {})", bytes(name.as_bytes()), bytes(value));
    }
    for (attr, value) in &node.overlay {
        out += &format!(".overlay(OverlayAttr::{attr:?}, {})", bytes(value));
    }
    out
}
