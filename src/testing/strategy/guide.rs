//! Makes random operations meet what is there.
//!
//! Random paths mostly name nothing. [`guide`] follows a sequence with a rough idea of the tree (no
//! rules of overlayfs: it may be wrong, and then an operation just fails) and replaces most paths by
//! ones that suit: a directory for `ReadDir`, a file for `Write`, a free name in a directory to create
//! something.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::meta::FileType;
use crate::op::{Op, OpenOptions};
use crate::path::{Name, join};
use crate::testing::spec::{LayerSpec, NodeKind};

/// Replaces paths in `ops` where `hints` says so; one hint per operation, missing ones count as 0,
/// which replaces nothing.
pub fn guide(lowers: &[LayerSpec], upper: Option<&LayerSpec>, ops: &mut [Op], hints: &[u32]) {
    let mut tree = Tree::of(lowers, upper);
    let hints = hints.iter().copied().chain(std::iter::repeat(0));
    for (op, hint) in ops.iter_mut().zip(hints) {
        tree.guide(op, hint);
        tree.follow(op);
    }
}

#[derive(Default)]
struct Tree {
    nodes: BTreeMap<PathBuf, FileType>,
    slots: BTreeSet<u8>,
}

/// What an operation likes its path to be.
#[derive(Copy, Clone)]
enum Want {
    Dir,
    File,
    NonDir,
    Link,
    Any,
    Free,
}

impl Want {
    fn accepts(self, file_type: FileType) -> bool {
        match self {
            Want::Dir => file_type.is_dir(),
            Want::File => file_type.is_file(),
            Want::NonDir => !file_type.is_dir(),
            Want::Link => file_type.is_symlink(),
            Want::Any => true,
            Want::Free => false,
        }
    }
}

impl Tree {
    fn of(lowers: &[LayerSpec], upper: Option<&LayerSpec>) -> Self {
        let mut tree = Tree::default();
        for layer in lowers.iter().rev().chain(upper) {
            for (path, node) in layer.effective() {
                match (&node.kind, node.file_type()) {
                    (NodeKind::HardLink(_), _) => tree.put(&path, FileType::Regular),
                    (_, Some(file_type)) => tree.put(&path, file_type),
                    (_, None) => tree.remove(&path),
                }
            }
        }
        tree
    }

    fn put(&mut self, path: &Path, file_type: FileType) {
        if self.nodes.get(path) != Some(&file_type) {
            self.remove(path);
            self.nodes.insert(path.to_path_buf(), file_type);
        }
    }

    fn remove(&mut self, path: &Path) {
        self.nodes.retain(|p, _| !p.starts_with(path));
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let moved: Vec<(PathBuf, FileType)> = self
            .nodes
            .iter()
            .filter_map(|(p, t)| Some((p.strip_prefix(from).ok()?.to_path_buf(), *t)))
            .collect();
        if moved.is_empty() || to.starts_with(from) {
            return;
        }
        self.remove(from);
        self.remove(to);
        for (rest, file_type) in moved {
            // Joining an empty rest would add a slash.
            let path = match rest.as_os_str().is_empty() {
                true => to.to_path_buf(),
                false => to.join(rest),
            };
            self.nodes.insert(path, file_type);
        }
    }

    /// A path that suits; `old` gives the name of something new.
    fn pick(&self, old: &Path, want: Want, hint: u32) -> Option<PathBuf> {
        let choose = |want: Want, below: &dyn Fn(&Path) -> bool| {
            let all: Vec<&PathBuf> = self
                .nodes
                .iter()
                .filter(|(p, t)| want.accepts(**t) && below(p))
                .map(|(p, _)| p)
                .collect();
            let at = hint as usize % all.len().max(1);
            all.get(at).map(|p| p.to_path_buf())
        };
        let not_root = |p: &Path| p != Path::new("/");
        match want {
            Want::Free => {
                let name = Name::try_from(old.file_name()?).ok()?;
                let shallow = |p: &Path| p.components().count() <= 3;
                choose(Want::Dir, &shallow).map(|dir| join(&dir, &name))
            }
            want => choose(want, &not_root),
        }
    }

    fn guide(&self, op: &mut Op, hint: u32) {
        if hint.is_multiple_of(4) {
            return;
        }
        let (first, second) = (hint / 4, hint / 256);
        let set = |path: &mut PathBuf, want: Want, hint: u32| {
            if let Some(picked) = self.pick(path, want, hint) {
                *path = picked;
            }
        };
        match op {
            Op::As { op, .. } => return self.guide(op, hint),
            Op::ReadDir { path } | Op::RemoveDir { path } | Op::RemoveDirAll { path } => {
                set(path, Want::Dir, first);
            }
            Op::ReadLink { path } => set(path, Want::Link, first),
            Op::Read { path, .. } | Op::SetLen { path, .. } | Op::Allocate { path, .. } => {
                set(path, Want::File, first);
            }
            Op::RemoveFile { path } => set(path, Want::NonDir, first),
            Op::Open { path, options }
            | Op::Write { path, options, .. }
            | Op::HandleOpen { path, options, .. } => {
                let want = match (
                    options.tmpfile,
                    options.create_new || first.is_multiple_of(4),
                ) {
                    (true, _) => Want::Dir,
                    (_, true) if options.create || options.create_new => Want::Free,
                    _ => Want::File,
                };
                set(path, want, first / 4);
            }
            Op::CreateDir { path, .. }
            | Op::CreateDirAll { path, .. }
            | Op::Symlink { path, .. }
            | Op::MakeNode { path, .. } => set(path, Want::Free, first),
            Op::HardLink { from, to } => {
                set(from, Want::NonDir, first);
                set(to, Want::Free, second);
            }
            Op::HandleLink { to, .. } => set(to, Want::Free, first),
            Op::Copy { from, to } => {
                set(from, Want::File, first);
                let want = if second.is_multiple_of(2) {
                    Want::Free
                } else {
                    Want::File
                };
                set(to, want, second / 2);
            }
            Op::Rename { from, to, flags } => {
                set(from, Want::Any, first);
                let replace = flags.exchange || second.is_multiple_of(2);
                let want = match self.nodes.get(from) {
                    _ if !replace || flags.no_replace => Want::Free,
                    Some(FileType::Directory) => Want::Dir,
                    _ => Want::NonDir,
                };
                set(to, want, second / 2);
            }
            Op::Metadata { path, .. }
            | Op::Access { path, .. }
            | Op::GetFlags { path }
            | Op::SetFlags { path, .. }
            | Op::GetXattr { path, .. }
            | Op::ListXattrs { path, .. }
            | Op::SetAttr { path, .. }
            | Op::SetXattr { path, .. }
            | Op::RemoveXattr { path, .. } => set(path, Want::Any, first),
            _ => {}
        }
        if let Some(slot) = used_slot(op)
            && !self.slots.contains(slot)
        {
            match self.slots.first() {
                Some(open) => *slot = *open,
                None => {
                    let slot = *slot;
                    *op = self.open_something(slot, first);
                }
            }
        }
    }

    /// Opens what there is, in place of using a slot that is not open.
    fn open_something(&self, slot: u8, hint: u32) -> Op {
        let new = OpenOptions::new;
        let options = match hint % 5 {
            0 | 1 => new().read(true).write(true),
            2 => new().read(true),
            3 => new().append(true),
            _ => new().read(true).write(true).tmpfile(true),
        };
        let want = if options.tmpfile {
            Want::Dir
        } else {
            Want::File
        };
        let path = self.pick(Path::new("/a"), want, hint / 5);
        Op::HandleOpen {
            slot,
            path: path.unwrap_or_else(|| PathBuf::from("/a")),
            options,
        }
    }

    /// What the operation probably did.
    fn follow(&mut self, op: &Op) {
        match op {
            Op::As { op, .. } => self.follow(op),
            Op::CreateDir { path, .. } | Op::CreateDirAll { path, .. } => {
                self.made(path, FileType::Directory);
            }
            Op::Symlink { path, .. } => self.made(path, FileType::Symlink),
            Op::MakeNode {
                path, file_type, ..
            } => self.made(path, *file_type),
            Op::HardLink { from, to } => {
                if let Some(file_type) = self.nodes.get(from).copied() {
                    self.made(to, file_type);
                }
            }
            Op::Copy { to, .. } | Op::HandleLink { to, .. } => self.made(to, FileType::Regular),
            Op::RemoveFile { path } | Op::RemoveDirAll { path } => self.remove(path),
            Op::RemoveDir { path } => {
                let children = self.nodes.keys().filter(|p| p.starts_with(path)).count();
                if children == 1 {
                    self.remove(path);
                }
            }
            Op::Rename { from, to, flags } if !flags.exchange => self.rename(from, to),
            Op::Open { path, options }
            | Op::Write { path, options, .. }
            | Op::HandleOpen { path, options, .. } => {
                if (options.create || options.create_new) && !options.tmpfile {
                    self.made(path, FileType::Regular);
                }
                if let Op::HandleOpen { slot, .. } = op {
                    self.slots.insert(*slot);
                }
            }
            Op::HandleClose { slot } => {
                self.slots.remove(slot);
            }
            _ => {}
        }
    }

    fn made(&mut self, path: &Path, file_type: FileType) {
        let has_parent = path
            .parent()
            .is_some_and(|p| self.nodes.get(p) == Some(&FileType::Directory));
        if has_parent && !self.nodes.contains_key(path) {
            self.nodes.insert(path.to_path_buf(), file_type);
        }
    }
}

/// The slot that an operation wants to be open.
fn used_slot(op: &mut Op) -> Option<&mut u8> {
    match op {
        Op::HandleRead { slot, .. }
        | Op::HandleWrite { slot, .. }
        | Op::HandleMetadata { slot }
        | Op::HandleSetLen { slot, .. }
        | Op::HandleSetAttr { slot, .. }
        | Op::HandleAllocate { slot, .. }
        | Op::HandleSync { slot }
        | Op::HandleLink { slot, .. }
        | Op::HandleClose { slot } => Some(slot),
        _ => None,
    }
}
