//! Explaining a path: what is shown, which layers it is made of, and what hid the rest.
//!
//! The explanation asks more than a lookup does: where the search ended, the layers below are
//! looked at by the plain path, so that what they hold and nobody sees is told too.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::{Entry, NodeRef};
use crate::errno::Errno;
use crate::error::{LayerId, Result};
use crate::meta::{FileType, Metadata};
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::inode::Inode;
use crate::overlay::stack::LayerStack;
use crate::path::{self, Component, Name, SYMLINK_HOPS_MAX, display_path, join};
use crate::rules::explain::{Asked, Fact, Fate, Held, HiddenBy, fates};

/// Why a path shows what it shows; see [`LayerStack::resolve`].
///
/// Its [`Display`](fmt::Display) is a text of several lines for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Resolution {
    /// The path as it was asked for.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// The path in the union that it leads to, without symlinks and `..`; if something is missing,
    /// as far as that could be told, and the rest as it was asked for.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub real_path: PathBuf,
    /// What is shown there.
    pub shown: Option<Shown>,
    /// Why nothing is shown; `None` exactly if something is.
    pub missing: Option<Missing>,
    /// What each layer holds there, topmost layer first; layers that hold nothing are left out.
    pub occurrences: Vec<Occurrence>,
    /// The symlinks followed, in order.
    pub symlinks: Vec<SymlinkHop>,
    /// The redirects followed, in order (rules R156 to R161).
    pub redirects: Vec<RedirectHop>,
}

/// The object that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Shown {
    /// The attributes, as the merged tree shows them.
    pub metadata: Metadata,
    /// The layer that supplies the object; of a merged directory, its attributes.
    pub layer: LayerId,
}

/// Why nothing is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Missing {
    /// The first path in the union, on the way, that is not there or not usable.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: MissingReason,
}

/// What keeps a path from being resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum MissingReason {
    /// No layer has it.
    Absent,
    /// It is in some layer, or a whiteout is, and this hides it.
    Hidden(HiddenBy),
    /// It is there, but no directory, and a directory is needed.
    NotADirectory(FileType),
    /// Following this symlink would exceed [`SYMLINK_HOPS_MAX`].
    SymlinkLoop,
}

impl MissingReason {
    /// The error that the other operations give for it.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            MissingReason::Absent | MissingReason::Hidden(_) => Errno::ENOENT,
            MissingReason::NotADirectory(_) => Errno::ENOTDIR,
            MissingReason::SymlinkLoop => Errno::ELOOP,
        }
    }
}

/// What one layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Occurrence {
    /// The layer.
    pub layer: LayerId,
    /// How the layer calls itself.
    pub label: String,
    /// The path inside the layer.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// What is there.
    pub held: Held,
    /// It is a directory that merges with nothing below, found opaque by the lookup.
    pub opaque: bool,
    /// What becomes of it.
    pub fate: Fate,
}

/// A symlink that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SymlinkHop {
    /// Its path in the union.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// Its target, as stored.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub target: PathBuf,
    /// The layer that supplies the symlink.
    pub layer: LayerId,
}

/// A redirect that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RedirectHop {
    /// The layer whose object has the redirect.
    pub layer: LayerId,
    /// The object's path inside that layer.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// The path inside the next layer asked.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub to: PathBuf,
}

impl Resolution {
    /// The layers that contribute, topmost first: all that a merged directory merges, or the one
    /// that supplies anything else.
    pub fn contributors(&self) -> impl Iterator<Item = &Occurrence> {
        self.occurrences
            .iter()
            .filter(|o| matches!(o.fate, Fate::Shown | Fate::Merged | Fate::Data))
    }

    /// What layers hold and the union does not show, with what hid it, topmost first.
    pub fn hidden(&self) -> impl Iterator<Item = (&Occurrence, &HiddenBy)> {
        self.occurrences.iter().filter_map(|o| match &o.fate {
            Fate::Hidden(by) => Some((o, by)),
            _ => None,
        })
    }
}

impl LayerStack {
    /// Explains what `path` shows, or why nothing, following symlinks.
    ///
    /// A missing path is an explanation too, not an error.
    ///
    /// ```
    /// use layerstack::{LayerId, LayerStack, backend::memory::MemLayer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let base = MemLayer::builder().file("etc/hosts", b"old").build()?;
    /// let top = MemLayer::builder().file("etc/hosts", b"new").build()?;
    /// let stack = LayerStack::from_top([top, base])?;
    /// let answer = stack.resolve("/etc/hosts")?;
    /// assert_eq!(answer.shown.as_ref().map(|s| s.layer), Some(LayerId::Lower(0)));
    /// let (hidden, by) = answer.hidden().next().ok_or("the old one is hidden")?;
    /// assert_eq!((hidden.layer, by.layer), (LayerId::Lower(1), LayerId::Lower(0)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `EINVAL`, `ENAMETOOLONG`: not a path.
    /// - What the layers give for what the answer depends on, and what a lookup refuses, such as a
    ///   malformed redirect; errors from layers that are only looked at to tell what is hidden are in
    ///   the answer.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<Resolution> {
        self.explain(path.as_ref(), true)
    }

    /// As [`LayerStack::resolve`], but a symlink at the end of the path is explained itself.
    ///
    /// # Errors
    /// As [`LayerStack::resolve`].
    pub fn resolve_symlink(&self, path: impl AsRef<Path>) -> Result<Resolution> {
        self.explain(path.as_ref(), false)
    }

    fn explain(&self, path: &Path, follow: bool) -> Result<Resolution> {
        let core = &self.core;
        let _tree = core.read();
        Explainer::new(core)
            .run(path, follow)
            .map_err(|e| e.into_error("resolve", path))
    }
}

/// A directory of one layer, on the way.
#[derive(Clone, Debug)]
struct LayerDir {
    layer: LayerId,
    node: NodeRef,
    path: PathBuf,
    /// Why nobody sees it; `None` if it contributes.
    hidden: Option<HiddenBy>,
}

/// What was found at one name.
#[derive(Debug, Default)]
struct Level {
    /// The visible object.
    inode: Option<Arc<Inode>>,
    path: PathBuf,
    /// The layers' directories of this name, visible or not.
    dirs: Vec<LayerDir>,
    occurrences: Vec<Occurrence>,
    redirects: Vec<RedirectHop>,
}

/// One answer of a layer to the engine's lookup.
struct Answer {
    fact: Fact,
    node: Option<NodeRef>,
    opaque: bool,
    whole: PathBuf,
}

struct Explainer<'a> {
    core: &'a Core,
    levels: Vec<Level>,
    symlinks: Vec<SymlinkHop>,
}

impl<'a> Explainer<'a> {
    fn new(core: &'a Core) -> Self {
        let state = core.root().state();
        let real = core.real_layer(&state);
        let upper = state.upper.iter().map(|n| (LayerId::Upper, n.clone()));
        let lowers = state
            .lowers
            .iter()
            .map(|l| (LayerId::Lower(l.layer), l.node.clone()));
        let dirs: Vec<LayerDir> = upper
            .chain(lowers)
            .map(|(layer, node)| LayerDir {
                layer,
                node,
                path: PathBuf::from("/"),
                hidden: None,
            })
            .collect();
        let occurrences = dirs
            .iter()
            .map(|dir| Occurrence {
                layer: dir.layer,
                label: core.label(dir.layer),
                path: dir.path.clone(),
                held: Held::Node(FileType::Directory),
                opaque: false,
                fate: if dir.layer == real {
                    Fate::Shown
                } else {
                    Fate::Merged
                },
            })
            .collect();
        Explainer {
            core,
            levels: vec![Level {
                inode: Some(core.root().clone()),
                path: PathBuf::from("/"),
                dirs,
                occurrences,
                redirects: Vec::new(),
            }],
            symlinks: Vec::new(),
        }
    }

    fn top(&self) -> Res<&Level> {
        Ok(self.levels.last().ok_or(Errno::EIO)?)
    }

    fn run(mut self, path: &Path, follow: bool) -> Res<Resolution> {
        let parsed = path::parse(path)?;
        let mut wants_dir = parsed.wants_dir;
        let follow = follow || wants_dir;
        let mut todo: VecDeque<Component> = parsed.components.into();
        while let Some(component) = todo.pop_front() {
            let top = self.top()?;
            let inode = top.inode.as_ref().ok_or(Errno::EIO)?;
            if !inode.is_dir() {
                let reason = MissingReason::NotADirectory(inode.file_type);
                let at = top.path.clone();
                todo.push_front(component);
                return self.missing(path, at, reason, todo);
            }
            let name = match component {
                Component::Here => continue,
                Component::Parent => {
                    if self.levels.len() > 1 {
                        self.levels.pop();
                    }
                    continue;
                }
                Component::TooLong => return Err(Fail::rule(Errno::ENAMETOOLONG, "R036")),
                Component::Name(name) => name,
            };
            let level = self.step(&name)?;
            let Some(inode) = level.inode.clone() else {
                let reason = absence(&level.occurrences);
                let at = level.path.clone();
                self.levels.push(level);
                return self.missing(path, at, reason, todo);
            };
            if !inode.file_type.is_symlink() || (todo.is_empty() && !follow) {
                self.levels.push(level);
                continue;
            }
            if self.symlinks.len() >= SYMLINK_HOPS_MAX {
                let at = level.path.clone();
                self.levels.push(level);
                return self.missing(path, at, MissingReason::SymlinkLoop, todo);
            }
            let target = self.core.read_link(&inode)?;
            let target = PathBuf::from(OsStr::from_bytes(&target));
            let parsed = path::parse(&target)?;
            self.symlinks.push(SymlinkHop {
                path: level.path,
                target,
                layer: self.core.real_layer(&inode.state()),
            });
            if parsed.absolute {
                self.levels.truncate(1);
            }
            if todo.is_empty() {
                wants_dir |= parsed.wants_dir;
            }
            for component in parsed.components.into_iter().rev() {
                todo.push_front(component);
            }
        }
        let top = self.top()?;
        let inode = top.inode.as_ref().ok_or(Errno::EIO)?;
        if wants_dir && !inode.is_dir() {
            let reason = MissingReason::NotADirectory(inode.file_type);
            let at = top.path.clone();
            return self.missing(path, at, reason, todo);
        }
        let shown = Shown {
            metadata: self.core.metadata(inode)?,
            layer: self.core.real_layer(&inode.state()),
        };
        self.answer(path, Some(shown), None)
    }

    /// Answers that nothing is shown, after looking in the layers for the rest of the path.
    fn missing(
        mut self,
        path: &Path,
        at: PathBuf,
        reason: MissingReason,
        rest: VecDeque<Component>,
    ) -> Res<Resolution> {
        let missing = Missing { path: at, reason };
        for component in rest {
            let name = match component {
                Component::Here => continue,
                Component::Parent | Component::TooLong => break,
                Component::Name(name) => name,
            };
            let level = self.below_hidden(&name)?;
            self.levels.push(level);
        }
        self.answer(path, None, Some(missing))
    }

    fn answer(
        mut self,
        path: &Path,
        shown: Option<Shown>,
        missing: Option<Missing>,
    ) -> Res<Resolution> {
        let redirects = self
            .levels
            .iter_mut()
            .flat_map(|level| std::mem::take(&mut level.redirects))
            .collect();
        let last = self.levels.pop().ok_or(Errno::EIO)?;
        Ok(Resolution {
            path: path.to_path_buf(),
            real_path: last.path,
            shown,
            missing,
            occurrences: last.occurrences,
            symlinks: self.symlinks,
            redirects,
        })
    }

    /// Looks a name up in the visible directory, and in what is hidden there.
    fn step(&self, name: &Name) -> Res<Level> {
        let top = self.top()?;
        let dir = top.inode.as_ref().ok_or(Errno::EIO)?;
        let plain = join(&top.path, name);
        let mut answers: Vec<Answer> = Vec::new();
        let mut redirects: Vec<RedirectHop> = Vec::new();
        let mut wanted = vec![name.clone()];
        let mut last_taken: Option<(LayerId, PathBuf)> = None;
        self.core.lookup_layers(dir, name, &mut |seen| {
            let base = if seen.absolute {
                PathBuf::from("/")
            } else {
                contributing(top, seen.layer)
            };
            let asked = seen.components.get(..=seen.index).unwrap_or_default();
            let whole = seen
                .components
                .iter()
                .fold(base.clone(), |p, n| join(&p, n));
            let path = asked.iter().fold(base, |path, name| join(&path, name));
            if seen.components != wanted {
                wanted = seen.components.to_vec();
                if let Some((layer, path)) = last_taken.take() {
                    let to = whole.clone();
                    redirects.push(RedirectHop { layer, path, to });
                }
            }
            let Some((held, node)) = held(seen.entry) else {
                return;
            };
            if matches!(seen.observed, crate::rules::resolve::Observed::Take) {
                last_taken = Some((seen.layer, path.clone()));
            }
            answers.push(Answer {
                opaque: seen.stops && held == Held::Node(FileType::Directory),
                node,
                whole,
                fact: Fact {
                    layer: seen.layer,
                    path,
                    held,
                    asked: Asked::Yes {
                        observed: seen.observed,
                        stops: seen.stops,
                        end: seen.is_end(),
                    },
                },
            });
        })?;
        let others = self.not_asked(top, name, &answers);
        let facts: Vec<Fact> = answers
            .iter()
            .chain(&others)
            .map(|a| a.fact.clone())
            .collect();
        let mut level = Level {
            inode: self.core.lookup(dir, name)?.inode().cloned(),
            path: plain.clone(),
            redirects,
            ..Level::default()
        };
        for (answer, fate) in answers.into_iter().chain(others).zip(fates(&facts)) {
            if let Some(fate) = fate {
                self.record(&mut level, answer, fate);
            }
        }
        for (dir, by) in hidden(top) {
            if let Some(answer) = look(dir, name) {
                self.record(&mut level, answer, Fate::Hidden(by.of_parent()));
            }
        }
        level.occurrences.sort_by_key(|o| o.layer);
        Ok(level)
    }

    /// What the visible directories hold under the plain name where the lookup did not ask for it.
    fn not_asked(&self, top: &Level, name: &Name, answers: &[Answer]) -> Vec<Answer> {
        top.dirs
            .iter()
            .filter(|dir| dir.hidden.is_none())
            .filter(|dir| {
                let plain = join(&dir.path, name);
                !answers
                    .iter()
                    .any(|a| a.fact.layer == dir.layer && a.whole == plain)
            })
            .filter_map(|dir| look(dir, name))
            .collect()
    }

    /// Looks a name up below a path that nobody sees.
    fn below_hidden(&self, name: &Name) -> Res<Level> {
        let top = self.top()?;
        let mut level = Level {
            path: join(&top.path, name),
            ..Level::default()
        };
        for (dir, by) in hidden(top) {
            if let Some(answer) = look(dir, name) {
                self.record(&mut level, answer, Fate::Hidden(by.of_parent()));
            }
        }
        Ok(level)
    }

    /// Notes what a layer holds. A hidden directory is followed further only by the plain path.
    fn record(&self, level: &mut Level, answer: Answer, fate: Fate) {
        let Answer {
            fact, node, opaque, ..
        } = answer;
        let by = match &fate {
            Fate::Hidden(by) => Some(by.clone()),
            _ => None,
        };
        if let (Some(node), Held::Node(FileType::Directory)) = (node, fact.held)
            && (by.is_none() || fact.path == level.path)
        {
            level.dirs.push(LayerDir {
                layer: fact.layer,
                node,
                path: fact.path.clone(),
                hidden: by,
            });
        }
        level.occurrences.push(Occurrence {
            layer: fact.layer,
            label: self.core.label(fact.layer),
            path: fact.path,
            held: fact.held,
            opaque,
            fate,
        });
    }
}

/// The path, in a layer, of the visible directory.
fn contributing(level: &Level, layer: LayerId) -> PathBuf {
    level
        .dirs
        .iter()
        .find(|dir| dir.layer == layer && dir.hidden.is_none())
        .map_or_else(|| level.path.clone(), |dir| dir.path.clone())
}

fn hidden(level: &Level) -> impl Iterator<Item = (&LayerDir, &HiddenBy)> {
    level
        .dirs
        .iter()
        .filter_map(|dir| Some((dir, dir.hidden.as_ref()?)))
}

/// Why a name that was looked up shows nothing.
fn absence(occurrences: &[Occurrence]) -> MissingReason {
    let reason = occurrences.iter().find_map(|o| match (&o.fate, o.held) {
        (Fate::Hides, Held::Whiteout(form)) => Some(HiddenBy {
            kind: crate::rules::explain::HidingKind::Whiteout(form),
            layer: o.layer,
            path: o.path.clone(),
            parent: false,
        }),
        _ => None,
    });
    let reason = reason.or_else(|| {
        occurrences.iter().find_map(|o| match &o.fate {
            Fate::Hidden(by) if matches!(o.held, Held::Node(_)) => Some(by.clone()),
            _ => None,
        })
    });
    reason.map_or(MissingReason::Absent, MissingReason::Hidden)
}

fn held(entry: Option<&Entry>) -> Option<(Held, Option<NodeRef>)> {
    Some(match entry? {
        Entry::Whiteout(form) => (Held::Whiteout(*form), None),
        Entry::Node(node, meta) => (Held::Node(meta.file_type), Some(node.clone())),
    })
}

/// Looks at a name in one layer, aside from the lookup.
fn look(dir: &LayerDir, name: &Name) -> Option<Answer> {
    let (held, node) = match dir.node.lookup(name) {
        Err(e) if matches!(e.errno(), Errno::ENOENT | Errno::ENAMETOOLONG) => None,
        Err(e) => Some((Held::Unreadable(e.errno()), None)),
        Ok(entry) => held(entry.as_ref()),
    }?;
    let path = join(&dir.path, name);
    Some(Answer {
        opaque: false,
        node,
        whole: path.clone(),
        fact: Fact {
            layer: dir.layer,
            path,
            held,
            asked: Asked::No,
        },
    })
}

impl Core {
    /// How a layer calls itself.
    pub(crate) fn label(&self, layer: LayerId) -> String {
        let backend = match layer {
            LayerId::Lower(i) => self.lowers.get(i).map(|l| &l.backend),
            LayerId::Upper | LayerId::Work => self.upper.as_ref(),
        };
        backend.map_or_else(String::new, |b| b.label())
    }
}

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

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", display_path(&self.path))?;
        match (&self.shown, &self.missing) {
            (Some(shown), _) => {
                let m = &shown.metadata;
                write!(f, "{}, mode {:04o}", m.file_type, m.mode)?;
                write!(f, ", owner {}:{}", m.uid, m.gid)?;
                match m.file_type {
                    FileType::Regular => write!(f, ", {} bytes", m.size)?,
                    FileType::CharDevice | FileType::BlockDevice => {
                        write!(f, ", device {}", m.rdev)?;
                    }
                    _ => {}
                }
                write!(f, ", from {}", shown.layer)?;
                let merged = self.contributors().count();
                if m.is_dir() && merged > 1 {
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
        for o in &self.occurrences {
            let label = crate::path::display_bytes(o.label.as_bytes());
            write!(f, "\n  {} ({label}): ", o.layer)?;
            if o.opaque {
                f.write_str("opaque ")?;
            }
            write!(f, "{}", o.held)?;
            if o.path != self.real_path {
                write!(f, " at {}", display_path(&o.path))?;
            }
            write!(f, ", {}", o.fate)?;
        }
        Ok(())
    }
}
