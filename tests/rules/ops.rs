//! Short words for operations and layers.

use layerstack::backend::XattrMode;
use layerstack::testing::{LayerSpec, NodeSpec};
use layerstack::{
    DeviceId, FileType, Op, OpenOptions, RenameFlags, SetAttr, SetTime, Timestamp, XattrName,
};

pub(crate) fn layer() -> LayerSpec {
    LayerSpec::new()
}

/// A layer of these nodes.
pub(crate) fn of<const N: usize>(nodes: [(&str, NodeSpec); N]) -> LayerSpec {
    nodes.into_iter().fold(layer(), |l, (path, node)| l.with(path, node))
}

pub(crate) fn file(bytes: &str) -> NodeSpec {
    NodeSpec::file(bytes)
}

pub(crate) fn dir() -> NodeSpec {
    NodeSpec::dir()
}

pub(crate) fn opaque() -> NodeSpec {
    NodeSpec::dir().opaque(b"y")
}

pub(crate) fn link(target: &str) -> NodeSpec {
    NodeSpec::symlink(target)
}

/// Another name of `path`.
pub(crate) fn link_to(path: &str) -> NodeSpec {
    NodeSpec::link_to(path)
}

pub(crate) fn gone() -> NodeSpec {
    NodeSpec::whiteout()
}

pub(crate) fn xgone() -> NodeSpec {
    NodeSpec::xattr_whiteout()
}

pub(crate) fn attr(name: &str) -> XattrName {
    XattrName::new(name).unwrap()
}

pub(crate) fn stat(path: &str) -> Op {
    Op::Metadata {
        path: path.into(),
        follow: false,
    }
}

pub(crate) fn cat(path: &str) -> Op {
    Op::Read {
        path: path.into(),
        offset: 0,
        len: 1 << 20,
    }
}

pub(crate) fn ls(path: &str) -> Op {
    Op::ReadDir { path: path.into() }
}

pub(crate) fn read_link(path: &str) -> Op {
    Op::ReadLink { path: path.into() }
}

pub(crate) fn rd() -> OpenOptions {
    OpenOptions::new().read(true)
}

pub(crate) fn wr() -> OpenOptions {
    OpenOptions::new().write(true)
}

pub(crate) fn open(path: &str, options: OpenOptions) -> Op {
    Op::Open {
        path: path.into(),
        options,
    }
}

pub(crate) fn write(path: &str, options: OpenOptions, data: &str) -> Op {
    Op::Write {
        path: path.into(),
        options,
        offset: 0,
        data: data.into(),
    }
}

/// Writes over the beginning of a file that exists.
pub(crate) fn put(path: &str, data: &str) -> Op {
    write(path, wr(), data)
}

pub(crate) fn append(path: &str, data: &str) -> Op {
    write(path, OpenOptions::new().append(true), data)
}

/// Creates a file that does not exist.
pub(crate) fn create(path: &str, data: &str) -> Op {
    write(path, wr().create_new(true).mode(0o644), data)
}

pub(crate) fn mkdir(path: &str) -> Op {
    Op::CreateDir {
        path: path.into(),
        mode: 0o755,
    }
}

pub(crate) fn rm(path: &str) -> Op {
    Op::RemoveFile { path: path.into() }
}

pub(crate) fn rmdir(path: &str) -> Op {
    Op::RemoveDir { path: path.into() }
}

pub(crate) fn mv(from: &str, to: &str) -> Op {
    mv_with(from, to, RenameFlags::NONE)
}

pub(crate) fn swap(from: &str, to: &str) -> Op {
    mv_with(from, to, RenameFlags::EXCHANGE)
}

pub(crate) fn mv_with(from: &str, to: &str, flags: RenameFlags) -> Op {
    Op::Rename {
        from: from.into(),
        to: to.into(),
        flags,
    }
}

pub(crate) fn ln(from: &str, to: &str) -> Op {
    Op::HardLink {
        from: from.into(),
        to: to.into(),
    }
}

pub(crate) fn symlink(target: &str, path: &str) -> Op {
    Op::Symlink {
        target: target.into(),
        path: path.into(),
    }
}

pub(crate) fn mknod(path: &str, file_type: FileType, major: u32, minor: u32) -> Op {
    Op::MakeNode {
        path: path.into(),
        file_type,
        mode: 0o644,
        rdev: DeviceId::new(major, minor),
    }
}

pub(crate) fn set(path: &str, attr: SetAttr) -> Op {
    Op::SetAttr {
        path: path.into(),
        follow: false,
        attr,
    }
}

pub(crate) fn chmod(path: &str, mode: u32) -> Op {
    Op::SetAttr {
        path: path.into(),
        follow: true,
        attr: SetAttr::mode(mode),
    }
}

pub(crate) fn chown(path: &str, uid: u32, gid: u32) -> Op {
    set(path, SetAttr::owner(Some(uid), Some(gid)))
}

pub(crate) fn at(secs: i64, nanos: u32) -> SetTime {
    SetTime::At(Timestamp::new(secs, nanos))
}

pub(crate) fn set_len(path: &str, len: u64) -> Op {
    Op::SetLen {
        path: path.into(),
        len,
    }
}

pub(crate) fn get_xattr(path: &str, name: &str) -> Op {
    Op::GetXattr {
        path: path.into(),
        follow: false,
        name: attr(name),
    }
}

pub(crate) fn list_xattrs(path: &str) -> Op {
    Op::ListXattrs {
        path: path.into(),
        follow: false,
    }
}

pub(crate) fn set_xattr(path: &str, name: &str, value: &str) -> Op {
    set_xattr_mode(path, name, value, XattrMode::Set)
}

pub(crate) fn set_xattr_mode(path: &str, name: &str, value: &str, mode: XattrMode) -> Op {
    Op::SetXattr {
        path: path.into(),
        follow: false,
        name: attr(name),
        value: value.into(),
        mode,
    }
}

pub(crate) fn remove_xattr(path: &str, name: &str) -> Op {
    Op::RemoveXattr {
        path: path.into(),
        follow: false,
        name: attr(name),
    }
}

pub(crate) fn hold(slot: u8, path: &str, options: OpenOptions) -> Op {
    Op::HandleOpen {
        slot,
        path: path.into(),
        options,
    }
}

pub(crate) fn hread(slot: u8) -> Op {
    Op::HandleRead {
        slot,
        offset: 0,
        len: 1 << 20,
    }
}

pub(crate) fn hwrite(slot: u8, data: &str) -> Op {
    Op::HandleWrite {
        slot,
        offset: 0,
        data: data.into(),
    }
}
