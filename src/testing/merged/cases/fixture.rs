//! What cases are written with.

use std::path::PathBuf;

use super::{Declared, Factory};
use crate::backend::XattrMode;
use crate::errno::Errno;
use crate::meta::{FileType, Metadata, SetAttr};
use crate::op::{Op, OpenOptions, Outcome, RenameFlags};
use crate::testing::merged::MergedFs;
use crate::testing::spec::{LayerSpec, NodeSpec};
use crate::xattr_name::XattrName;

/// One file system under test.
pub(super) struct Fs {
    fs: Box<dyn MergedFs>,
    pub(super) declared: Declared,
}

/// An empty tree, to be filled.
pub(super) fn tree() -> LayerSpec {
    LayerSpec::new()
}

/// `/file` with content, `/dir/inner` and `/dir/sub/deep`, `/link` to the file: what most cases need.
pub(super) fn usual() -> LayerSpec {
    tree()
        .with("/file", NodeSpec::file("lower").mode(0o640))
        .with("/dir", NodeSpec::dir().mode(0o750))
        .with("/dir/inner", NodeSpec::file("inner"))
        .with("/dir/sub", NodeSpec::dir())
        .with("/dir/sub/deep", NodeSpec::file("deep"))
        .with("/empty", NodeSpec::dir())
        .with("/link", NodeSpec::symlink("file"))
        .with("/dirlink", NodeSpec::symlink("/dir"))
}

fn p(path: &str) -> PathBuf {
    PathBuf::from(path)
}

impl Fs {
    pub(super) fn new(factory: &dyn Factory, tree: &LayerSpec) -> Self {
        Fs {
            fs: factory.make(tree),
            declared: factory.declared(),
        }
    }

    /// True, and says so, if something is declared not to be there.
    pub(super) fn lacks(&self, has: bool, what: &str) -> bool {
        if !has {
            println!("skipped: declared not to have {what}");
        }
        !has
    }

    /// True, and says so, if directories that were there before cannot be renamed.
    pub(super) fn dirs_stay(&self) -> bool {
        self.lacks(
            !self.declared.weakenings.lower_dirs_stay,
            "renaming of given directories",
        )
    }

    /// True, and says so, if the names of a file that was there before come apart.
    pub(super) fn links_break(&self) -> bool {
        self.lacks(
            !self.declared.weakenings.links_break,
            "hard links of given files",
        )
    }

    #[track_caller]
    pub(super) fn ok(&mut self, op: Op) -> Outcome {
        let text = format!("{op:?}");
        let got = self.fs.apply(&op);
        got.unwrap_or_else(|e| panic!("{text}: {e:?}"))
    }

    #[track_caller]
    pub(super) fn fails(&mut self, op: Op, errno: Errno) {
        assert_eq!(self.fs.apply(&op), Err(errno), "{op:?}");
    }

    #[track_caller]
    pub(super) fn stat(&mut self, path: &str) -> Metadata {
        match self.ok(stat(path)) {
            Outcome::Metadata(meta) => meta,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn is(&mut self, path: &str, file_type: FileType) {
        assert_eq!(self.stat(path).file_type, file_type, "{path}");
    }

    #[track_caller]
    pub(super) fn gone(&mut self, path: &str) {
        self.fails(stat(path), Errno::ENOENT);
    }

    #[track_caller]
    pub(super) fn bytes(&mut self, op: Op) -> Vec<u8> {
        match self.ok(op) {
            Outcome::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn reads(&mut self, path: &str, data: impl AsRef<[u8]>) {
        let got = self.bytes(read(path));
        let (got, data) = (got.escape_ascii(), data.as_ref().escape_ascii());
        assert_eq!(got.to_string(), data.to_string(), "{path}");
    }

    #[track_caller]
    pub(super) fn lists(&mut self, path: &str, names: &[&str]) {
        let Outcome::Entries(entries) = self.ok(Op::ReadDir { path: p(path) }) else {
            panic!("{path}: no entries");
        };
        let text = |b: &[u8]| b.escape_ascii().to_string();
        let got: Vec<String> = entries.iter().map(|e| text(e.name.as_bytes())).collect();
        assert_eq!(got, names, "{path}");
    }

    #[track_caller]
    pub(super) fn has_xattrs(&mut self, path: &str, names: &[&str]) {
        let op = Op::ListXattrs {
            path: p(path),
            follow: false,
        };
        let Outcome::Names(found) = self.ok(op) else {
            panic!("{path}: no names");
        };
        let mut got: Vec<String> = found.iter().map(ToString::to_string).collect();
        // What a machine adds by itself.
        got.retain(|name| name != "security.selinux");
        assert_eq!(got, names, "{path}");
    }
}

pub(super) fn stat(path: &str) -> Op {
    Op::Metadata {
        path: p(path),
        follow: false,
    }
}

pub(super) fn stat_target(path: &str) -> Op {
    Op::Metadata {
        path: p(path),
        follow: true,
    }
}

pub(super) fn read(path: &str) -> Op {
    Op::Read {
        path: p(path),
        offset: 0,
        len: 1 << 20,
    }
}

pub(super) fn list(path: &str) -> Op {
    Op::ReadDir { path: p(path) }
}

pub(super) fn open(path: &str, options: OpenOptions) -> Op {
    Op::Open {
        path: p(path),
        options,
    }
}

pub(super) fn opts() -> OpenOptions {
    OpenOptions::new()
}

/// Writes at the start, creating the file if it is missing.
pub(super) fn put(path: &str, data: &str) -> Op {
    put_with(path, opts().write(true).create(true), 0, data)
}

pub(super) fn put_with(path: &str, options: OpenOptions, offset: u64, data: &str) -> Op {
    Op::Write {
        path: p(path),
        options,
        offset,
        data: data.into(),
    }
}

pub(super) fn mkdir(path: &str) -> Op {
    Op::CreateDir {
        path: p(path),
        mode: 0o755,
    }
}

pub(super) fn mkdir_all(path: &str) -> Op {
    Op::CreateDirAll {
        path: p(path),
        mode: 0o755,
    }
}

pub(super) fn symlink(target: &str, path: &str) -> Op {
    Op::Symlink {
        target: target.into(),
        path: p(path),
    }
}

pub(super) fn readlink(path: &str) -> Op {
    Op::ReadLink { path: p(path) }
}

pub(super) fn link(from: &str, to: &str) -> Op {
    Op::HardLink {
        from: p(from),
        to: p(to),
    }
}

pub(super) fn mknod(path: &str, file_type: FileType) -> Op {
    let rdev = crate::meta::DeviceId::default();
    Op::MakeNode {
        path: p(path),
        file_type,
        mode: 0o644,
        rdev,
    }
}

pub(super) fn rm(path: &str) -> Op {
    Op::RemoveFile { path: p(path) }
}

pub(super) fn rmdir(path: &str) -> Op {
    Op::RemoveDir { path: p(path) }
}

pub(super) fn rm_all(path: &str) -> Op {
    Op::RemoveDirAll { path: p(path) }
}

pub(super) fn mv(from: &str, to: &str) -> Op {
    mv_with(from, to, RenameFlags::NONE)
}

pub(super) fn mv_with(from: &str, to: &str, flags: RenameFlags) -> Op {
    Op::Rename {
        from: p(from),
        to: p(to),
        flags,
    }
}

pub(super) fn copy(from: &str, to: &str) -> Op {
    Op::Copy {
        from: p(from),
        to: p(to),
    }
}

pub(super) fn truncate(path: &str, len: u64) -> Op {
    Op::SetLen { path: p(path), len }
}

pub(super) fn set_attr(path: &str, attr: SetAttr) -> Op {
    Op::SetAttr {
        path: p(path),
        follow: false,
        attr,
    }
}

pub(super) fn chmod(path: &str, mode: u32) -> Op {
    set_attr(path, SetAttr::mode(mode))
}

pub(super) fn chown(path: &str, uid: u32, gid: u32) -> Op {
    set_attr(path, SetAttr::owner(Some(uid), Some(gid)))
}

fn attr_name(name: &str) -> XattrName {
    XattrName::new(name).expect("the suite uses valid names")
}

pub(super) fn set_xattr(path: &str, name: &str, value: &[u8], mode: XattrMode) -> Op {
    Op::SetXattr {
        path: p(path),
        follow: false,
        name: attr_name(name),
        value: value.to_vec(),
        mode,
    }
}

pub(super) fn get_xattr(path: &str, name: &str) -> Op {
    Op::GetXattr {
        path: p(path),
        follow: false,
        name: attr_name(name),
    }
}

pub(super) fn remove_xattr(path: &str, name: &str) -> Op {
    Op::RemoveXattr {
        path: p(path),
        follow: false,
        name: attr_name(name),
    }
}
