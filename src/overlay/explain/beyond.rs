//! What a lookup finds outside the merged layers: a copy in the index, data in data-only layers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::search::Level;
use super::{Occurrence, RedirectHop};
use crate::error::LayerId;
use crate::overlay::core::{Core, Res};
use crate::overlay::inode::State;
use crate::path::join;
use crate::rules::explain::{Fate, Held, HiddenBy, HidingKind};

impl Core {
    /// Adds it to what was found at a name. `taken`: what the lookup took last, and where.
    pub(super) fn look_beyond(
        &self,
        level: &mut Level,
        taken: Option<(LayerId, PathBuf)>,
    ) -> Res<()> {
        let Some(inode) = level.inode.clone().filter(|inode| !inode.is_dir()) else {
            return Ok(());
        };
        let state = inode.state();
        let linked = level
            .occurrences
            .iter()
            .any(|o| o.layer == LayerId::Upper && o.fate == Fate::Shown);
        if state.indexed && state.upper.is_some() && !linked {
            self.tell_of_index(level, &state, Held::Node(inode.file_type))?;
        }
        if let Some(data) = &state.data {
            let path = PathBuf::from(OsStr::from_bytes(&data.path));
            if let Some((layer, from)) = taken {
                level.redirects.push(RedirectHop {
                    layer,
                    path: from,
                    to: path.clone(),
                });
            }
            self.tell_of_data(level, &data.path, path, Held::Node(inode.file_type));
        }
        Ok(())
    }

    /// The copy of a hard link whose name is in a lower only (rule R262).
    fn tell_of_index(&self, level: &mut Level, state: &State, held: Held) -> Res<()> {
        let Some(lower) = state.lowers.first() else {
            return Ok(());
        };
        let path = join(Path::new("/index"), &self.index_name(lower)?);
        let has_data = state.metacopy && state.data.is_none() && state.lowers.len() == 1;
        for other in &mut level.occurrences {
            if other.fate == Fate::Shown {
                other.fate = match (has_data, held) {
                    (false, Held::Node(file_type)) => Fate::Hidden(HiddenBy {
                        kind: HidingKind::NonDirectory(file_type),
                        layer: LayerId::Work,
                        path: path.clone(),
                        parent: false,
                    }),
                    _ => Fate::Data,
                };
            }
        }
        level.occurrences.push(Occurrence {
            layer: LayerId::Work,
            label: self.label(LayerId::Work),
            path,
            held,
            opaque: false,
            fate: Fate::Shown,
        });
        Ok(())
    }

    /// The first data-only layer that has the data, or why the last one has not (rules R185, R187).
    fn tell_of_data(&self, level: &mut Level, value: &[u8], path: PathBuf, held: Held) {
        let mut told = None;
        for i in 0..self.data.len() {
            let layer = LayerId::Lower(self.lowers.len() + i);
            match self.look_for_data(i, value) {
                Ok(_) => {
                    told = Some((layer, held));
                    break;
                }
                Err(fail) => told = Some((layer, Held::Unreadable(fail.errno))),
            }
        }
        if let Some((layer, held)) = told {
            level.occurrences.push(Occurrence {
                layer,
                label: self.label(layer),
                path,
                held,
                opaque: false,
                fate: Fate::Data,
            });
        }
    }
}
