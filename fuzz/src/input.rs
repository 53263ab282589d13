//! Layers, paths and operations from the bytes that a fuzzer invents.
//!
//! Few names and depths, the same in layers and operations, so that random things meet.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use layerstack::backend::memory::{MemLayer, MemLayerBuilder};
use layerstack::backend::{AllocateMode, XattrMode};
use layerstack::{
    DeviceId, FileType, Op, OpenOptions, RenameFlags, SetAttr, SetTime, Timestamp, XattrName,
};

const NAMES: [&[u8]; 6] = [b"a", b"b", b"d", b"\xff\n", b".wh.a", b"#1"];
const TARGETS: [&[u8]; 6] = [b"a", b"/d", b"..", b"d/../b", b"/", b"missing/x"];
const XATTRS: [&str; 4] = [
    "user.one",
    "user.overlay.opaque",
    "trusted.overlay.overlay.opaque",
    "trusted.two",
];
const TYPES: [FileType; 7] = [
    FileType::Regular,
    FileType::Directory,
    FileType::Symlink,
    FileType::Fifo,
    FileType::Socket,
    FileType::CharDevice,
    FileType::BlockDevice,
];
const ALLOCATE: [AllocateMode; 5] = [
    AllocateMode::Allocate,
    AllocateMode::AllocateKeepSize,
    AllocateMode::PunchHole,
    AllocateMode::ZeroRange,
    AllocateMode::ZeroRangeKeepSize,
];

/// The bytes still unused; zeros behind their end.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    /// True behind the last byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()].clone()
    }

    fn name(&mut self) -> &'static OsStr {
        OsStr::from_bytes(self.pick(&NAMES))
    }

    /// A path of one to three names; in one of eight cases odd.
    fn path(&mut self) -> PathBuf {
        let byte = self.byte();
        let mut path = PathBuf::from("/");
        for _ in 0..=byte % 3 {
            path.push(self.name());
        }
        match byte >> 3 {
            0 => path.join(".."),
            1 => path.join("."),
            2 => path.join(""),
            3 => PathBuf::from("/"),
            _ => path,
        }
    }

    /// A layer of up to eight nodes; those that do not fit together are left out.
    pub fn layer(&mut self) -> MemLayer {
        let mut builder = MemLayer::builder();
        for _ in 0..self.byte() % 8 {
            let more = self.node(builder.clone());
            if more.clone().build().is_ok() {
                builder = more;
            }
        }
        builder.build().unwrap_or_default()
    }

    fn node(&mut self, builder: MemLayerBuilder) -> MemLayerBuilder {
        let mut path = PathBuf::new();
        for _ in 0..=self.byte() % 3 {
            path.push(self.name());
        }
        match self.byte() % 9 {
            0 | 1 => builder.file(path, b"lower data"),
            2 | 3 => builder.dir(path, 0o755),
            4 => builder.whiteout(path),
            5 => builder.opaque(path),
            6 => builder.symlink(path, self.pick(&TARGETS)),
            7 => builder.xattr_whiteout(path),
            _ => builder.fifo(path),
        }
    }

    fn options(&mut self) -> OpenOptions {
        let (a, b) = (self.byte(), self.byte());
        OpenOptions::new()
            .read(a & 1 != 0)
            .write(a & 2 != 0)
            .append(a & 4 != 0)
            .truncate(a & 8 != 0)
            .create(a & 16 != 0)
            .create_new(a & 32 != 0)
            .no_follow(a & 64 != 0)
            .tmpfile(a & 128 != 0)
            .mode(u32::from(b) << 2)
    }

    /// Positions and lengths: small ones, and a few that nothing can have.
    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::MAX,
            254 => i64::MAX as u64,
            n => u64::from(n) * 97,
        }
    }

    fn attr(&mut self) -> SetAttr {
        let byte = self.byte();
        let mut attr = SetAttr {
            mode: (byte & 1 != 0).then(|| u32::from(self.byte()) << 4),
            uid: (byte & 2 != 0).then(|| u32::from(self.byte())),
            gid: (byte & 4 != 0).then(|| u32::from(self.byte())),
            ..SetAttr::default()
        };
        if byte & 8 != 0 {
            attr.mtime = SetTime::At(Timestamp::new(-5, 7));
        }
        if byte & 16 != 0 {
            attr.atime = SetTime::Now;
        }
        attr
    }

    fn xattr(&mut self) -> XattrName {
        let name = self.pick(&XATTRS);
        XattrName::new(name).expect("a constant that is a name")
    }

    fn data(&mut self) -> Vec<u8> {
        vec![b'x'; usize::from(self.byte()) * 33]
    }

    /// An operation.
    pub fn op(&mut self) -> Op {
        let path = self.path();
        let follow = self.bool();
        let slot = self.byte() % 3;
        match self.byte() % 32 {
            0 => Op::Metadata { path, follow },
            1 => Op::ReadLink { path },
            2 => Op::ReadDir { path },
            3 => {
                let (offset, len) = (self.number(), self.number());
                Op::Read { path, offset, len }
            }
            4 => {
                let name = self.xattr();
                Op::GetXattr { path, follow, name }
            }
            5 => Op::ListXattrs { path, follow },
            6 => Op::StatFs,
            7 => {
                let options = self.options();
                Op::Open { path, options }
            }
            8 | 9 => Op::Write {
                path,
                options: self.options(),
                offset: self.number().min(1 << 20),
                data: self.data(),
            },
            10 => Op::CreateDir { path, mode: 0o755 },
            11 => Op::CreateDirAll { path, mode: 0o700 },
            12 => {
                let target = self.pick(&TARGETS).to_vec();
                Op::Symlink { target, path }
            }
            13 => {
                let to = self.path();
                Op::HardLink { from: path, to }
            }
            14 => Op::MakeNode {
                path,
                file_type: self.pick(&TYPES),
                mode: 0o644,
                rdev: DeviceId::new(0, u32::from(self.byte())),
            },
            15 => Op::RemoveFile { path },
            16 => Op::RemoveDir { path },
            17 => Op::RemoveDirAll { path },
            18..=20 => {
                let byte = self.byte();
                let mut flags = RenameFlags::NONE;
                flags.no_replace = byte & 1 != 0;
                flags.exchange = byte & 2 != 0;
                flags.whiteout = byte & 15 == 12;
                let to = self.path();
                Op::Rename {
                    from: path,
                    to,
                    flags,
                }
            }
            21 => {
                let to = self.path();
                Op::Copy { from: path, to }
            }
            22 => {
                let len = self.number();
                Op::SetLen { path, len }
            }
            23 => {
                let attr = self.attr();
                Op::SetAttr { path, follow, attr }
            }
            24 => Op::SetXattr {
                path,
                follow,
                name: self.xattr(),
                value: self.data(),
                mode: self.pick(&[XattrMode::Set, XattrMode::Create, XattrMode::Replace]),
            },
            25 => {
                let name = self.xattr();
                Op::RemoveXattr { path, follow, name }
            }
            26 => Op::Allocate {
                path,
                mode: self.pick(&ALLOCATE),
                offset: self.number(),
                len: self.number(),
            },
            27 => Op::HandleLink { slot, to: path },
            28 => {
                let options = self.options();
                Op::HandleOpen {
                    slot,
                    path,
                    options,
                }
            }
            29 => Op::HandleWrite {
                slot,
                offset: self.number().min(1 << 20),
                data: self.data(),
            },
            30 => {
                let (offset, len) = (self.number(), self.number());
                Op::HandleRead { slot, offset, len }
            }
            _ => {
                let attr = self.attr();
                Op::HandleSetAttr { slot, attr }
            }
        }
    }
}
