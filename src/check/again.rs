//! The second pass: is a lower object that belongs elsewhere by now still shown at its own place?
//!
//! Only if there are origins or redirects at all. Directories are listed once more; nothing else is
//! looked up unless its number is known.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::{Context, ObjectKey};
use super::finding::{Findings, Found};
use super::fix::FixBuilder;
use super::seen::Seen;
use crate::backend::{Entry, NodeRef};
use crate::error::LayerId;
use crate::meta::FileType;
use crate::overlay::inode::{Inode, State};
use crate::path::{Name, join};
use crate::rules::check::kind::FindingKind;
use crate::xattr_name::OverlayAttr;

struct Frame {
    children: std::vec::IntoIter<(Name, Arc<Inode>, State)>,
    parent_bytes: usize,
}

/// The topmost layer's answer for a name.
struct Top {
    name: Name,
    at: usize,
    file_type: Option<FileType>,
    ino: u64,
}

/// The pass; see the module.
pub(super) struct Again<'a> {
    cx: &'a Context,
    out: &'a mut Findings,
    seen: &'a Seen,
    path: Vec<u8>,
}

impl<'a> Again<'a> {
    pub(super) fn new(cx: &'a Context, out: &'a mut Findings, seen: &'a Seen) -> Self {
        Again {
            cx,
            out,
            seen,
            path: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) {
        if self.seen.origins.is_empty() && self.seen.redirects.is_empty() {
            return;
        }
        let root = self.cx.core.root().clone();
        let children = self.directory(&root, &root.state());
        let mut frames = vec![Frame {
            children: children.into_iter(),
            parent_bytes: 0,
        }];
        while let Some(frame) = frames.last_mut() {
            let Some((name, inode, state)) = frame.children.next() else {
                self.path.truncate(frame.parent_bytes);
                frames.pop();
                continue;
            };
            let parent_bytes = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.as_bytes());
            let children = self.directory(&inode, &state);
            frames.push(Frame {
                children: children.into_iter(),
                parent_bytes,
            });
        }
    }

    fn directory(&mut self, inode: &Arc<Inode>, state: &State) -> Vec<(Name, Arc<Inode>, State)> {
        let upper = state.upper.iter().map(|n| (LayerId::Upper, n.clone()));
        let lowers = state.lowers.iter();
        let lowers = lowers.map(|l| (LayerId::Lower(l.layer), l.node.clone()));
        let layers: Vec<(LayerId, NodeRef)> = upper.chain(lowers).collect();
        let mut listed = Vec::new();
        for (at, (_, node)) in layers.iter().enumerate() {
            listed.extend(node.list().unwrap_or_default().into_iter().map(|e| Top {
                name: e.name,
                at,
                file_type: e.file_type,
                ino: e.ino,
            }));
        }
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name).then(a.at.cmp(&b.at)));
        listed.dedup_by(|later, first| later.name == first.name);
        let mut children = Vec::new();
        for top in listed {
            let Some((id, node)) = layers.get(top.at) else {
                continue;
            };
            if matches!(top.file_type, Some(FileType::Directory) | None)
                && let Ok(Some(peeked)) = self.cx.peek(inode, &top.name)
                && peeked.inode.is_dir()
            {
                if self.seen.refused.contains(&self.path_of(&top.name)) {
                    continue;
                }
                let parent = layers.first().filter(|(id, _)| *id == LayerId::Upper);
                self.uncovered_directory(parent.map(|(_, n)| n), &top.name, &peeked.state);
                children.push((top.name, peeked.inode, peeked.state));
                continue;
            }
            if *id != LayerId::Upper {
                self.uncovered_file(*id, node, &top);
            }
        }
        children
    }

    fn path_of(&self, name: &Name) -> PathBuf {
        join(Path::new(OsStr::from_bytes(&self.path)), name)
    }

    fn key(&self, layer: LayerId, ino: u64) -> ObjectKey {
        ObjectKey {
            fs: self.cx.core.fs_of(layer),
            ino,
        }
    }

    /// A lower file that shows although an upper file elsewhere counts as its copy.
    fn uncovered_file(&mut self, layer: LayerId, dir: &NodeRef, top: &Top) {
        let Some(user) = self.seen.origins.get(&self.key(layer, top.ino)) else {
            return;
        };
        match dir.lookup(&top.name) {
            Ok(Some(Entry::Node(_, meta))) if meta.ino == top.ino && meta.nlink == 1 => {}
            _ => return,
        }
        let shown = self.path_of(&top.name);
        let found = Found::new(FindingKind::OriginUncovered, LayerId::Upper, &user.path);
        let found = found.other(shown);
        self.out.add(match FixBuilder::set_free(user) {
            Ok(fix) => found.chooses("each of the two names shows its own file", fix),
            Err(why) => found.no_remedy(why),
        });
    }

    /// A lower directory that shows although another directory is redirected to it.
    fn uncovered_directory(&mut self, parent: Option<&NodeRef>, name: &Name, state: &State) {
        if self.seen.redirects.is_empty() {
            return;
        }
        let path = self.path_of(name);
        for lower in state.lowers.iter() {
            let layer = LayerId::Lower(lower.layer);
            let Ok(meta) = lower.node.metadata() else {
                continue;
            };
            let Some(user) = self.seen.redirects.get(&self.key(layer, meta.ino)) else {
                continue;
            };
            // Where a redirect leads here too, that was told as a duplicate.
            if user.path == path || self.seen.redirected.contains(&path) {
                continue;
            }
            let layer = self.cx.upper.as_ref().map_or(layer, |_| LayerId::Upper);
            let mut found = Found::new(FindingKind::RedirectUncovered, layer, &path);
            if let Some(fix) = self.cover(parent, name, state) {
                let reading = "the directory has moved to where the redirect is";
                found = found.chooses(reading, fix);
            } else if let Some(node) = &user.upper {
                let reading = "the directory shows at its own place; where the redirect is only \
                               what the upper holds shows";
                found = found.chooses(reading, FixBuilder::cut_off(&user.path, node));
            }
            self.out.add(found.other(&user.path));
        }
    }

    /// Hides a lower directory at its own place, if that place is in the upper.
    fn cover(
        &self,
        parent: Option<&NodeRef>,
        name: &Name,
        state: &State,
    ) -> Option<super::finding::Fix> {
        let mut fix = FixBuilder::new();
        if let Some(upper) = &state.upper {
            let object = fix.object(LayerId::Upper, self.path_of(name), upper);
            fix.set(object, OverlayAttr::Opaque, Some(b"y"));
            return Some(fix.build());
        }
        let parent = parent?;
        let here = self.path_of(name).parent()?.to_path_buf();
        let dir = fix.object(LayerId::Upper, here, parent);
        fix.whiteout(dir, name);
        fix.keep_times(dir, parent);
        Some(fix.build())
    }
}
