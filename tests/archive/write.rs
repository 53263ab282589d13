//! Writes a tree as a cpio archive.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use layerstack::DeviceId;
use layerstack::testing::spec::Piece;
use layerstack::testing::{LayerSpec, NodeKind};

fn bytes(pieces: &[Piece]) -> Vec<u8> {
    let piece = |piece: &Piece| match piece {
        Piece::Bytes(bytes) => bytes.clone(),
        Piece::Fill(byte, len) => vec![*byte; *len as usize],
        Piece::Hole(len) => vec![0; *len as usize],
    };
    pieces.iter().flat_map(piece).collect()
}

pub fn cpio(tree: &LayerSpec) -> Vec<u8> {
    let mut out = Vec::new();
    let all = tree.effective();
    let paths: Vec<&PathBuf> = all.keys().collect();
    for (path, node) in &all {
        // A further name says which file it is by its number.
        let own = match &node.kind {
            NodeKind::HardLink(target) => target,
            _ => path,
        };
        let node = &all[own];
        let links = all
            .values()
            .filter(|n| n.kind == NodeKind::HardLink(own.clone()));
        let links = 1 + links.count() as u32;
        let ino = paths.iter().position(|p| *p == own).unwrap() as u32;
        let (kind, data, rdev) = match &node.kind {
            NodeKind::File(pieces) => (0o10, bytes(pieces), DeviceId::default()),
            NodeKind::Directory => (0o04, Vec::new(), DeviceId::default()),
            NodeKind::Symlink(target) => (0o12, target.clone(), DeviceId::default()),
            NodeKind::Fifo => (0o01, Vec::new(), DeviceId::default()),
            NodeKind::Socket => (0o14, Vec::new(), DeviceId::default()),
            NodeKind::CharDevice(rdev) => (0o02, Vec::new(), *rdev),
            NodeKind::BlockDevice(rdev) => (0o06, Vec::new(), *rdev),
            NodeKind::Whiteout(_) => (0o02, Vec::new(), DeviceId::default()),
            NodeKind::HardLink(_) => unreachable!("followed above"),
        };
        let mode = if kind == 0o12 { 0o777 } else { node.mode };
        let name = match path.strip_prefix("/").unwrap().as_os_str().as_bytes() {
            b"" => b".",
            name => name,
        };
        let mtime = i32::try_from(node.mtime.secs).unwrap().cast_unsigned();
        let numbers = [
            ino,
            kind << 12 | mode,
            node.uid,
            node.gid,
            links,
            mtime,
            data.len() as u32,
            0,
            0,
            rdev.major,
            rdev.minor,
            name.len() as u32 + 1,
            0,
        ];
        member(&mut out, &numbers, name, &data);
    }
    let mut trailer = [0; 13];
    trailer[11] = 11;
    member(&mut out, &trailer, b"TRAILER!!!", b"");
    out
}

fn member(out: &mut Vec<u8>, numbers: &[u32; 13], name: &[u8], data: &[u8]) {
    out.extend(b"070701");
    for number in numbers {
        out.extend(format!("{number:08x}").bytes());
    }
    out.extend(name);
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0);
}
