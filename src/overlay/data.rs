//! Where the data of regular files are: in the file itself, in a lower below a metacopy, or in a
//! data-only layer (rules R170, R183 to R191).

use std::sync::{Arc, OnceLock};

use crate::backend::{Entry, NodeRef};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::{FileType, Metadata};
use crate::overlay::core::{Core, DataLayer, Fail, InLayer, Res};
use crate::overlay::inode::{Lower, State};
use crate::rules::redirect::{self, DataPart};
use crate::rules::verity;

/// Where in the data-only layers the data of a metacopy are; looked up at the first need (rule R187).
#[derive(Debug)]
pub(crate) struct DataPath {
    pub(crate) path: Vec<u8>,
    found: OnceLock<Lower>,
}

impl DataPath {
    pub(crate) fn new(path: Vec<u8>) -> Arc<Self> {
        Arc::new(DataPath {
            path,
            found: OnceLock::new(),
        })
    }
}

impl Core {
    /// Refuses an object whose data are not there or must not be used, before they are opened or
    /// anything of it is copied up (rules R187, R192).
    pub(crate) fn check_data(&self, state: &State) -> Res<()> {
        if state.metacopy {
            if let Some(data) = &state.data {
                self.find_data(data)?;
            }
            let digest = state.digest.as_deref();
            verity::check(self.features.verity, digest).map_err(|e| Fail::rule(e, "R192"))?;
        }
        Ok(())
    }

    /// The node that holds a regular file's data.
    pub(crate) fn data_node(&self, state: &State) -> Res<(NodeRef, LayerId)> {
        let lower = match (&state.data, state.lowers.last()) {
            _ if !state.metacopy => None,
            (Some(data), _) => Some(self.find_data(data)?),
            (None, lower) => lower.cloned(),
        };
        match lower {
            Some(lower) => Ok((lower.node, LayerId::Lower(lower.layer))),
            None => {
                let real = state.real().ok_or(Errno::ENOENT)?;
                Ok((real.clone(), self.real_layer(state)))
            }
        }
    }

    /// The blocks of the data of a metacopy, whose own attributes are `meta`; guessed from its size as
    /// long as its data were not looked up in data-only layers (rules R191, R259).
    pub(crate) fn data_blocks(&self, state: &State, meta: &Metadata) -> Res<u64> {
        if let Some(data) = &state.data
            && data.found.get().is_none()
        {
            let unit = u64::from(meta.block_size).max(512);
            return Ok(meta.size.div_ceil(unit).saturating_mul(unit / 512));
        }
        let (node, layer) = self.data_node(state)?;
        Ok(node.metadata().in_layer(layer)?.blocks)
    }

    /// Asks the data-only layers, the first that answers counts (rule R185).
    fn find_data(&self, data: &DataPath) -> Res<Lower> {
        if let Some(found) = data.found.get() {
            return Ok(found.clone());
        }
        let mut failed = Fail::rule(Errno::ENOENT, "R187");
        for (i, layer) in self.data.iter().enumerate() {
            let number = self.lowers.len() + i;
            match walk(layer, LayerId::Lower(number), &data.path) {
                Ok(node) => {
                    let found = Lower {
                        layer: number,
                        node,
                    };
                    return Ok(data.found.get_or_init(|| found).clone());
                }
                Err(fail) => failed = fail,
            }
        }
        Err(failed)
    }

    /// What a data-only layer has at a path, for those who explain.
    pub(crate) fn look_for_data(&self, i: usize, path: &[u8]) -> Res<NodeRef> {
        let layer = self.data.get(i).ok_or(Errno::ENOENT)?;
        walk(layer, LayerId::Lower(self.lowers.len() + i), path)
    }
}

/// Where a walk is.
enum At {
    Dir(NodeRef),
    File(NodeRef),
    Link,
    Other,
}

/// Walks beneath a data-only layer's root to a regular file. What overlay attributes say there has no
/// meaning (rule R186).
fn walk(data: &DataLayer, layer: LayerId, path: &[u8]) -> Res<NodeRef> {
    let fail = |errno| Fail {
        layer: Some(layer),
        ..Fail::rule(errno, "R185")
    };
    let mut above = Vec::new();
    let mut at = At::Dir(data.root.clone());
    for part in redirect::data_path(path) {
        let dir = match at {
            At::Dir(dir) => dir,
            At::Link => return Err(fail(Errno::ELOOP)),
            At::File(_) | At::Other => return Err(fail(Errno::ENOTDIR)),
        };
        at = match part {
            DataPart::Here => At::Dir(dir),
            DataPart::Up => At::Dir(above.pop().ok_or_else(|| fail(Errno::EXDEV))?),
            DataPart::Name(name) => {
                let name = name.map_err(fail)?;
                let entry = dir.lookup_plain(&name).in_layer(layer)?;
                above.push(dir);
                match entry {
                    None => return Err(fail(Errno::ENOENT)),
                    Some(Entry::Node(node, meta)) => match meta.file_type {
                        FileType::Directory => At::Dir(node),
                        FileType::Regular => At::File(node),
                        FileType::Symlink => At::Link,
                        _ => At::Other,
                    },
                    Some(Entry::Whiteout(_)) => At::Other,
                }
            }
        };
    }
    match at {
        At::File(node) => Ok(node),
        _ => Err(fail(Errno::ENOENT)),
    }
}
