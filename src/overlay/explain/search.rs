//! The search behind an explanation.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Missing, MissingReason, Occurrence, RedirectHop, Resolution, Shown, SymlinkHop};
use crate::backend::{Entry, NodeRef};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::FileType;
use crate::overlay::core::{Core, Fail, Res};
use crate::overlay::inode::Inode;
use crate::overlay::lookup::Seen;
use crate::path::{self, Component, Name, Parsed, SYMLINK_HOPS_MAX, join};
use crate::rules::explain::{Asked, Fact, Fate, Held, HiddenBy, HidingKind, fates};
use crate::rules::resolve::Observed;

/// A directory of one layer, on the way.
#[derive(Clone, Debug)]
struct LayerDir {
    layer: LayerId,
    node: NodeRef,
    /// Its path in the layer; `None` where that is the path in the union.
    elsewhere: Option<PathBuf>,
    /// Why nobody sees it, as it is told of what is below; `None` if it contributes.
    hidden: Option<Arc<HiddenBy>>,
}

impl LayerDir {
    fn path<'a>(&'a self, level: &'a Level) -> &'a Path {
        self.elsewhere.as_deref().unwrap_or(&level.path)
    }
}

/// What was found at one name.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// The visible object.
    pub(super) inode: Option<Arc<Inode>>,
    path: PathBuf,
    /// The layers' directories of this name, visible or not.
    dirs: Vec<LayerDir>,
    pub(super) occurrences: Vec<Occurrence>,
    pub(super) redirects: Vec<RedirectHop>,
}

/// One answer of a layer to the engine's lookup.
struct Answer {
    fact: Fact,
    node: Option<NodeRef>,
    opaque: bool,
    whole: PathBuf,
}

pub(super) struct Explainer<'a> {
    core: &'a Core,
    levels: Vec<Level>,
    symlinks: Vec<SymlinkHop>,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
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
                elsewhere: None,
                hidden: None,
            })
            .collect();
        let occurrences = dirs
            .iter()
            .map(|dir| Occurrence {
                layer: dir.layer,
                label: core.label(dir.layer),
                path: PathBuf::from("/"),
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

    pub(super) fn run(mut self, path: &Path, follow: bool) -> Res<Resolution> {
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
                    self.up()?;
                    continue;
                }
                Component::TooLong => return Err(Fail::rule(Errno::ENAMETOOLONG, "R036")),
                Component::Name(name) => name,
            };
            let level = self.step(&name)?;
            let Some(inode) = level.inode.clone() else {
                let reason = absence(&level.occurrences);
                let at = level.path.clone();
                self.push(level);
                return self.missing(path, at, reason, todo);
            };
            if !inode.file_type.is_symlink() || (todo.is_empty() && !follow) {
                self.push(level);
                continue;
            }
            if self.symlinks.len() >= SYMLINK_HOPS_MAX {
                let at = level.path.clone();
                self.push(level);
                return self.missing(path, at, MissingReason::SymlinkLoop, todo);
            }
            let target = self.follow(&inode, level.path)?;
            if todo.is_empty() {
                wants_dir |= target.wants_dir;
            }
            for component in target.components.into_iter().rev() {
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

    /// Goes on to what was found.
    fn push(&mut self, level: Level) {
        // Only the last level's occurrences are told, and the root is always needed.
        if let [_, .., last] = &mut *self.levels {
            last.occurrences = Vec::new();
        }
        self.levels.push(level);
    }

    /// Goes back to the parent directory, and looks again at what the layers hold there.
    fn up(&mut self) -> Res<()> {
        if self.levels.len() < 2 {
            return Ok(());
        }
        self.levels.pop();
        if self.levels.len() < 2 {
            return Ok(());
        }
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        let name = level.path.file_name().ok_or(Errno::EIO)?;
        let again = self.step(&Name::try_from(name)?)?;
        self.levels.push(again);
        Ok(())
    }

    /// Notes a symlink; answers where it leads.
    fn follow(&mut self, link: &Inode, path: PathBuf) -> Res<Parsed> {
        let target = self.core.read_link(link)?;
        let target = PathBuf::from(OsStr::from_bytes(&target));
        let parsed = path::parse(&target)?;
        self.symlinks.push(SymlinkHop {
            path,
            target,
            layer: self.core.real_layer(&link.state()),
        });
        if parsed.absolute {
            self.levels.truncate(1);
        }
        Ok(parsed)
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
            self.push(level);
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
        let mut listener = Listener::new(top, name);
        self.core
            .lookup_layers(dir, name, &mut |seen| listener.hear(&seen))?;
        let Listener {
            mut answers,
            redirects,
            taken,
            ..
        } = listener;
        answers.extend(not_asked(top, name, &answers));
        let facts: Vec<Fact> = answers.iter().map(|a| a.fact.clone()).collect();
        let mut level = Level {
            inode: self.core.lookup(dir, name)?.inode().cloned(),
            path: join(&top.path, name),
            redirects,
            ..Level::default()
        };
        for (answer, fate) in answers.into_iter().zip(fates(&facts)) {
            if let Some(fate) = fate {
                self.record(&mut level, answer, fate, None);
            }
        }
        self.look_hidden(top, name, &mut level);
        self.core.look_beyond(&mut level, taken)?;
        level.occurrences.sort_by_key(|o| o.layer);
        Ok(level)
    }

    /// Looks a name up below a path that nobody sees.
    fn below_hidden(&self, name: &Name) -> Res<Level> {
        let top = self.top()?;
        let mut level = Level {
            path: join(&top.path, name),
            ..Level::default()
        };
        self.look_hidden(top, name, &mut level);
        Ok(level)
    }

    /// Looks a name up in the directories that nobody sees.
    fn look_hidden(&self, top: &Level, name: &Name, level: &mut Level) {
        for dir in &top.dirs {
            if let Some(by) = &dir.hidden
                && let Some(answer) = look(dir, level.path.clone(), name)
            {
                let fate = Fate::Hidden(by.as_ref().clone());
                self.record(level, answer, fate, Some(by));
            }
        }
    }

    /// Notes what a layer holds. A hidden directory is followed further only by the plain path.
    /// `inherited`: a hidden parent's reason, shared by all that is below it.
    fn record(
        &self,
        level: &mut Level,
        answer: Answer,
        fate: Fate,
        inherited: Option<&Arc<HiddenBy>>,
    ) {
        let Answer {
            fact, node, opaque, ..
        } = answer;
        let hidden = match (&fate, inherited) {
            (_, Some(by)) => Some(by.clone()),
            (Fate::Hidden(by), None) => Some(Arc::new(by.of_parent())),
            _ => None,
        };
        let plain = fact.path == level.path;
        if let (Some(node), Held::Node(FileType::Directory)) = (node, fact.held)
            && (hidden.is_none() || plain)
        {
            level.dirs.push(LayerDir {
                layer: fact.layer,
                node,
                elsewhere: (!plain).then(|| fact.path.clone()),
                hidden,
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

/// What the visible directories hold under the plain name where the lookup did not ask for it.
fn not_asked(top: &Level, name: &Name, answers: &[Answer]) -> Vec<Answer> {
    let asked: HashSet<(LayerId, &Path)> = answers
        .iter()
        .map(|a| (a.fact.layer, a.whole.as_path()))
        .collect();
    top.dirs
        .iter()
        .filter(|dir| dir.hidden.is_none())
        .map(|dir| (dir, join(dir.path(top), name)))
        .filter(|(dir, plain)| !asked.contains(&(dir.layer, plain.as_path())))
        .filter_map(|(dir, plain)| look(dir, plain, name))
        .collect()
}

/// Notes what the engine's lookup is told by the layers.
struct Listener<'a> {
    top: &'a Level,
    /// The path, in each layer, of the visible directory.
    bases: HashMap<LayerId, &'a Path>,
    /// The path asked for last; another one means that a redirect was met.
    wanted: Vec<Name>,
    taken: Option<(LayerId, PathBuf)>,
    answers: Vec<Answer>,
    redirects: Vec<RedirectHop>,
}

impl<'a> Listener<'a> {
    fn new(top: &'a Level, name: &Name) -> Self {
        let visible = top.dirs.iter().filter(|dir| dir.hidden.is_none());
        Listener {
            top,
            bases: visible.map(|dir| (dir.layer, dir.path(top))).collect(),
            wanted: vec![name.clone()],
            taken: None,
            answers: Vec::new(),
            redirects: Vec::new(),
        }
    }

    fn hear(&mut self, seen: &Seen<'_>) {
        let base = if seen.absolute {
            PathBuf::from("/")
        } else {
            self.bases
                .get(&seen.layer)
                .map_or_else(|| self.top.path.clone(), |path| path.to_path_buf())
        };
        let asked = seen.components.get(..=seen.index).unwrap_or_default();
        let whole = seen
            .components
            .iter()
            .fold(base.clone(), |path, name| join(&path, name));
        let path = asked.iter().fold(base, |path, name| join(&path, name));
        if seen.components != self.wanted {
            self.wanted = seen.components.to_vec();
            if let Some((layer, path)) = self.taken.take() {
                let to = whole.clone();
                self.redirects.push(RedirectHop { layer, path, to });
            }
        }
        let Some((held, node)) = held(seen.entry) else {
            return;
        };
        if seen.observed == Observed::Take {
            self.taken = Some((seen.layer, path.clone()));
        }
        self.answers.push(Answer {
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
                    end: seen.end,
                },
            },
        });
    }
}

/// Why a name that was looked up shows nothing.
fn absence(occurrences: &[Occurrence]) -> MissingReason {
    let reason = occurrences.iter().find_map(|o| match (&o.fate, o.held) {
        (Fate::Hides, Held::Whiteout(form)) => Some(HiddenBy {
            kind: HidingKind::Whiteout(form),
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

/// Looks at a name, whose path in the layer is `path`, aside from the lookup.
fn look(dir: &LayerDir, path: PathBuf, name: &Name) -> Option<Answer> {
    let (held, node) = match dir.node.lookup(name) {
        Err(e) if matches!(e.errno(), Errno::ENOENT | Errno::ENAMETOOLONG) => None,
        Err(e) => Some((Held::Unreadable(e.errno()), None)),
        Ok(entry) => held(entry.as_ref()),
    }?;
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
            LayerId::Lower(i) => self.read_only_layer(i).map(|l| &l.backend),
            LayerId::Upper | LayerId::Work => self.upper.as_ref(),
        };
        backend.map_or_else(String::new, |b| b.label())
    }
}
