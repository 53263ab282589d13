//! Numbers about a stack: what each layer holds, how much of it is hidden, what a first write would
//! copy, and which limits are near.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::path::PathBuf;

use crate::backend::{Access, Entry, LayerBackend, NodeRef};
use crate::error::{Error, LayerId, Result};
use crate::meta::Metadata;
use crate::overlay::core::{InLayer, Res};
use crate::overlay::inode::State;
use crate::overlay::stack::LayerStack;
use crate::rules::{DOCKER_LAYERS_MAX, LOWER_LAYERS_MAX};

const OP: &str = "stats";

/// Of this many inodes one must be free, or the filesystem is called nearly full.
const FREE_INODES_ONE_IN: u64 = 20;

/// Numbers of one layer, or of several together.
///
/// Bytes are those of file data: holes do not count, a file with several names counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LayerStats {
    /// Names below the root, whiteouts included.
    pub entries: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Regular files, each once.
    pub files: u64,
    /// Symlinks, devices, fifos and sockets, each once.
    pub others: u64,
    /// Names that are whiteouts.
    pub whiteouts: u64,
    /// Bytes of file data.
    pub bytes: u64,
    /// Objects (of all types but whiteouts) that the merged tree does not show: overwritten, whited out,
    /// or below an opaque directory.
    pub hidden: u64,
    /// Bytes of file data in hidden files.
    pub hidden_bytes: u64,
    /// Names on the longest path.
    pub depth: u64,
}

impl LayerStats {
    /// Inodes: directories, files and others.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.directories + self.files + self.others
    }

    fn add(&mut self, o: &LayerStats) {
        self.entries += o.entries;
        self.directories += o.directories;
        self.files += o.files;
        self.others += o.others;
        self.whiteouts += o.whiteouts;
        self.bytes += o.bytes;
        self.hidden += o.hidden;
        self.hidden_bytes += o.hidden_bytes;
        self.depth = self.depth.max(o.depth);
    }
}

/// A lower file and what the first write to it copies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FirstWrite {
    /// The file's path in the union.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// The layer that has its data.
    pub layer: LayerId,
    /// Bytes of data to copy.
    pub data_bytes: u64,
}

/// A limit that is near or exceeded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum LimitWarning {
    /// More lowers than Docker's overlay2 stacks ([`DOCKER_LAYERS_MAX`]).
    DockerLayers {
        /// Lowers in the stack.
        layers: usize,
    },
    /// Nine tenths of what the kernel mounts ([`LOWER_LAYERS_MAX`], rule R002), or more.
    KernelLayers {
        /// Lowers in the stack.
        layers: usize,
    },
    /// The upper's filesystem has few free inodes: less than a twentieth, or fewer than the lowers
    /// show objects that could be copied up.
    Inodes {
        /// Free inodes.
        free: u64,
        /// Inodes in all.
        total: u64,
        /// Objects that could be copied up.
        lower_objects: u64,
    },
    /// Something could not be looked at; the numbers leave it out.
    Unreadable {
        /// What failed.
        message: String,
    },
}

impl std::fmt::Display for LimitWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LimitWarning::DockerLayers { layers } => write!(
                f,
                "{layers} lower layers: Docker's overlay2 stacks at most {DOCKER_LAYERS_MAX}"
            ),
            LimitWarning::KernelLayers { layers } => write!(
                f,
                "{layers} lower layers: the kernel mounts at most {LOWER_LAYERS_MAX}"
            ),
            LimitWarning::Inodes {
                free,
                total,
                lower_objects,
            } => write!(
                f,
                "{free} of {total} inodes are free below the upper, {lower_objects} objects could be \
                 copied up"
            ),
            LimitWarning::Unreadable { message } => f.write_str(message),
        }
    }
}

/// Numbers about a stack; see [`LayerStack::stats`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StackStats {
    /// Each layer, topmost first (the upper, if there is one).
    pub layers: Vec<(LayerId, LayerStats)>,
    /// Lower files whose first write copies most, the largest first.
    pub largest: Vec<FirstWrite>,
    /// Limits that are near, and what could not be looked at.
    pub warnings: Vec<LimitWarning>,
}

impl StackStats {
    /// All layers together.
    #[must_use]
    pub fn total(&self) -> LayerStats {
        let mut total = LayerStats::default();
        for (_, layer) in &self.layers {
            total.add(layer);
        }
        total
    }
}

impl LayerStack {
    /// Counts what the layers hold and how much of it the merged tree hides; `largest`: how many of the
    /// files to list whose first write copies most.
    ///
    /// Reads every layer once, and the merged tree once. Takes memory for one number per visible object.
    ///
    /// ```
    /// use layerstack::{LayerStack, backend::memory::MemLayer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let base = MemLayer::builder().file("a", b"12345").file("b", b"123").build()?;
    /// let top = MemLayer::builder().whiteout("a").build()?;
    /// let stats = LayerStack::from_top([top, base])?.stats(1)?;
    /// let total = stats.total();
    /// assert_eq!((total.bytes, total.hidden_bytes, total.whiteouts), (8, 5, 1));
    /// assert_eq!(stats.largest[0].path, std::path::Path::new("/b"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the layers give for their directories. What the merged tree cannot show (such as a broken
    /// redirect) is a warning.
    pub fn stats(&self, largest: usize) -> Result<StackStats> {
        let mut seen = Visible::default();
        let mut heap = BinaryHeap::new();
        let mut warnings = Vec::new();
        for entry in self.walk("/") {
            let looked = entry.and_then(|entry| {
                let peeked = entry.peeked()?;
                let fail = |e: crate::overlay::core::Fail| e.into_error(OP, entry.path());
                seen.take(&peeked.state, &peeked.real).map_err(fail)?;
                if let Some(first) = self.first_write(&peeked.state).map_err(fail)? {
                    heap.push(Reverse((first.1, entry.path().to_path_buf(), first.0)));
                    if heap.len() > largest {
                        heap.pop();
                    }
                }
                Ok(())
            });
            if let Err(e) = looked {
                warnings.push(LimitWarning::Unreadable {
                    message: e.to_string(),
                });
            }
        }
        let core = &self.core;
        let upper = core.upper.as_ref().map(|u| (LayerId::Upper, u));
        let lowers = core.lowers.iter().enumerate();
        let lowers = lowers.map(|(i, l)| (LayerId::Lower(i), &l.backend));
        let mut layers = Vec::new();
        for (id, backend) in upper.into_iter().chain(lowers) {
            let stats = layer_stats(&**backend, id, &seen)
                .map_err(|(e, path)| Error::new(OP, path, e.errno).with_layer(id))?;
            layers.push((id, stats));
        }
        self.limits(&seen, &mut warnings)?;
        let largest = heap.into_sorted_vec().into_iter();
        Ok(StackStats {
            layers,
            largest: largest
                .map(|Reverse((data_bytes, path, layer))| FirstWrite {
                    path,
                    layer,
                    data_bytes,
                })
                .collect(),
            warnings,
        })
    }

    /// The layer and the bytes that the first write to a file would copy from.
    fn first_write(&self, state: &State) -> Res<Option<(LayerId, u64)>> {
        if state.upper.is_some() && !state.metacopy {
            return Ok(None);
        }
        let (node, layer) = self.core.data_node(state)?;
        let meta = node.metadata().in_layer(layer)?;
        if !meta.is_file() {
            return Ok(None);
        }
        Ok(Some((layer, data_bytes(&node, &meta, layer)?)))
    }

    fn limits(&self, seen: &Visible, warnings: &mut Vec<LimitWarning>) -> Result<()> {
        let layers = self.core.lowers.len();
        if layers * 10 >= LOWER_LAYERS_MAX * 9 {
            warnings.push(LimitWarning::KernelLayers { layers });
        } else if layers > DOCKER_LAYERS_MAX {
            warnings.push(LimitWarning::DockerLayers { layers });
        }
        if self.core.upper.is_some() {
            let fs = self.statfs()?;
            let (free, total) = (fs.files_free, fs.files);
            let lower_objects = seen.lower_objects;
            // Filesystems without a fixed number of inodes say 0.
            if total > 0 && (free < total / FREE_INODES_ONE_IN || free < lower_objects) {
                warnings.push(LimitWarning::Inodes {
                    free,
                    total,
                    lower_objects,
                });
            }
        }
        Ok(())
    }
}

/// Which nodes the merged tree shows.
#[derive(Debug, Default)]
struct Visible {
    /// By layer and inode number.
    nodes: HashSet<(LayerId, u64)>,
    /// Visible objects that are in no upper.
    lower_objects: u64,
}

impl Visible {
    /// Takes in a visible object; `real`: the attributes of the node that gives them.
    fn take(&mut self, state: &State, real: &Metadata) -> Res<()> {
        let is_dir = real.is_dir();
        match &state.upper {
            Some(_) => {
                self.nodes.insert((LayerId::Upper, real.ino));
                if !is_dir && !state.metacopy {
                    // A lower that it was copied up from is hidden.
                    return Ok(());
                }
            }
            None => self.lower_objects += 1,
        }
        for (i, lower) in state.lowers.iter().enumerate() {
            let layer = LayerId::Lower(lower.layer);
            let ino = match state.upper.is_none() && i == 0 {
                true => real.ino,
                false => lower.node.metadata().in_layer(layer)?.ino,
            };
            self.nodes.insert((layer, ino));
        }
        Ok(())
    }
}

/// Counts one layer; an error comes with the path in the layer.
fn layer_stats(
    backend: &dyn LayerBackend,
    id: LayerId,
    seen: &Visible,
) -> std::result::Result<LayerStats, (crate::overlay::core::Fail, PathBuf)> {
    let mut stats = LayerStats::default();
    let mut linked: HashSet<u64> = HashSet::new();
    let at = |path: &PathBuf| {
        let path = path.clone();
        move |e| (e, path)
    };
    let root = PathBuf::from("/");
    let node = backend.root().in_layer(id).map_err(at(&root))?;
    stats.directories = 1;
    let mut todo: Vec<(NodeRef, PathBuf, u64)> = vec![(node, root, 0)];
    while let Some((dir, path, depth)) = todo.pop() {
        for raw in dir.list().in_layer(id).map_err(at(&path))? {
            let child = crate::path::join(&path, &raw.name);
            let entry = dir.lookup(&raw.name).in_layer(id).map_err(at(&child))?;
            let Some(entry) = entry else { continue };
            stats.entries += 1;
            stats.depth = stats.depth.max(depth + 1);
            let (node, meta) = match entry {
                Entry::Whiteout(_) => {
                    stats.whiteouts += 1;
                    continue;
                }
                Entry::Node(node, meta) => (node, meta),
            };
            if !meta.is_dir() && meta.nlink > 1 && !linked.insert(meta.ino) {
                continue;
            }
            let mut bytes = 0;
            if meta.is_dir() {
                stats.directories += 1;
            } else if meta.is_file() {
                stats.files += 1;
                bytes = data_bytes(&node, &meta, id).map_err(at(&child))?;
                stats.bytes += bytes;
            } else {
                stats.others += 1;
            }
            if !seen.nodes.contains(&(id, meta.ino)) {
                stats.hidden += 1;
                stats.hidden_bytes += bytes;
            }
            if meta.is_dir() {
                todo.push((node, child, depth + 1));
            }
        }
    }
    Ok(stats)
}

/// Bytes of data in a file. Its extents are asked for only if it takes fewer blocks than its size.
fn data_bytes(node: &NodeRef, meta: &Metadata, layer: LayerId) -> Res<u64> {
    if meta.size == 0 || meta.blocks.saturating_mul(512) >= meta.size {
        return Ok(meta.size);
    }
    let file = node.open(Access::Read).in_layer(layer)?;
    Ok(crate::overlay::planning::data_of(&*file, layer, meta.size, false)?.0)
}
