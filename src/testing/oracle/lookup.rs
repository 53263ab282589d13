//! One name of a directory, looked up layer by layer.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::layer::Raw;
use super::{Place, Stack};
use crate::errno::Errno;
use crate::meta::FileType;
use crate::path::Name;
use crate::testing::spec::{NodeKind, NodeSpec};
use crate::xattr_name::OverlayAttr;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) is_dir: bool,
    /// The directories that merge, topmost first; or the file that gives the attributes and, if
    /// another gives the data, that one.
    pub(super) places: Vec<Place>,
    /// Path of the data in the data-only layers.
    pub(super) data_only: Option<PathBuf>,
}

impl Found {
    pub(super) fn dir(places: Vec<Place>) -> Self {
        Found {
            is_dir: true,
            places,
            data_only: None,
        }
    }
}

/// What is looked for in the next layer, and what is known from those above.
struct Search<'a> {
    stack: &'a Stack,
    /// Names to walk in a layer: one in the directory's own places, or from the root of the layer.
    want: Vec<Vec<u8>>,
    from_root: bool,
    /// A directory was found above.
    is_dir: bool,
    /// A file was found above whose data are further down.
    metacopy: bool,
    /// Nothing below counts.
    stop: bool,
    /// A redirect was met.
    redirected: bool,
    /// What was asked last for a redirect had an absolute one.
    absolute: bool,
    /// Marks of directories are not read here, as nothing is below (rule R059).
    last: bool,
}

/// What `name` in the directory of `parent` stands for; `None`: nothing.
pub(super) fn lookup(stack: &Stack, parent: &[Place], name: &Name) -> Result<Option<Found>, Errno> {
    let mut search = Search {
        stack,
        want: vec![name.as_bytes().to_vec()],
        from_root: false,
        is_dir: false,
        metacopy: false,
        stop: false,
        redirected: false,
        absolute: false,
        last: false,
    };
    let mut places: Vec<Place> = Vec::new();
    let (upper, lowers): (Vec<Place>, Vec<Place>) = parent
        .iter()
        .cloned()
        .partition(|place| stack.is_upper(place.0));
    if let Some(place) = upper.first() {
        search.last = !stack.follow && lowers.is_empty();
        places.extend(search.in_layer(place)?);
        search.may_follow()?;
    }
    let roots: Vec<Place> = (usize::from(stack.has_upper)..stack.layers.len())
        .map(|layer| (layer, PathBuf::from("/")))
        .collect();
    let upper_metacopy = search.metacopy;
    let (mut todo, mut next) = (if search.from_root { &roots } else { &lowers }, 0);
    let mut found_below = 0;
    while !search.stop
        && let Some(place) = todo.get(next)
    {
        next += 1;
        if !stack.follow {
            search.last = next == todo.len();
        } else if search.is_dir || stack.data.is_empty() {
            search.last = place.0 + 1 == stack.layers.len();
        }
        let Some(found) = search.in_layer(place)? else {
            continue;
        };
        // Of metacopy files only the topmost counts.
        if !search.metacopy || found_below == 0 {
            found_below += 1;
            places.push(found);
        }
        if search.stop {
            break;
        }
        if search.metacopy || search.redirected {
            // One that ends in a data-only layer is not asked for its options.
            let more = next < todo.len() || search.from_root != std::ptr::eq(todo, &roots);
            if more || stack.data.is_empty() {
                search.may_follow()?;
            }
        }
        if search.from_root && !std::ptr::eq(todo, &roots) {
            next = roots.iter().take_while(|root| root.0 <= place.0).count();
            todo = &roots;
        }
    }
    let mut data_only = None;
    if search.metacopy && found_below > 0 && !stack.data.is_empty() && search.absolute {
        data_only = Some(join_all(Path::new("/"), &search.want));
    } else {
        search.may_follow()?;
        if search.metacopy || (upper_metacopy && found_below == 0) {
            return Err(Errno::EIO);
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    Ok(Some(Found {
        is_dir: search.is_dir,
        places,
        data_only,
    }))
}

fn join_all(start: &Path, names: &[Vec<u8>]) -> PathBuf {
    let join = |path: PathBuf, name: &Vec<u8>| path.join(OsStr::from_bytes(name));
    names.iter().fold(start.to_path_buf(), join)
}

impl Search<'_> {
    /// Walks all names in one layer, from a directory of it.
    fn in_layer(&mut self, start: &Place) -> Result<Option<Place>, Errno> {
        let (layer, mut at) = start.clone();
        let mut i = 0;
        while let Some(name) = self.want.get(i).cloned() {
            let is_end = i + 1 == self.want.len();
            if name == b"." || name == b".." {
                return Err(Errno::EACCES);
            }
            at.push(OsStr::from_bytes(&name));
            match self.stack.layers[layer].raw(&at) {
                Raw::Absent => return Ok(None),
                Raw::Whiteout(_) => {
                    self.stop = true;
                    return Ok(None);
                }
                Raw::Dir(_) if is_end && self.metacopy => {
                    self.stop = true;
                    return Ok(None);
                }
                Raw::Dir(node) => {
                    self.is_dir |= is_end;
                    if self.last {
                        // Nothing more to ask.
                    } else if node
                        .overlay
                        .get(&OverlayAttr::Opaque)
                        .is_some_and(|v| v == b"y")
                    {
                        self.stop = true;
                    } else {
                        i = self.redirect(node, i)?;
                    }
                }
                Raw::Other(node) => {
                    let regular = node.file_type() == Some(FileType::Regular);
                    if self.is_dir || !is_end || (self.metacopy && !regular) {
                        self.stop = true;
                        return Ok(None);
                    }
                    self.metacopy = is_metacopy(node)?;
                    self.stop = !self.metacopy;
                    if self.metacopy && !self.last {
                        i = self.redirect(node, i)?;
                    }
                }
            }
            i += 1;
        }
        Ok(Some((layer, at)))
    }

    /// Follows the redirect of the node that the `i`th name led to, if it has one: what is looked for
    /// in further layers changes. Answers where in the names the walk is now.
    fn redirect(&mut self, node: &NodeSpec, i: usize) -> Result<usize, Errno> {
        self.absolute = false;
        let Some(value) = node.overlay.get(&OverlayAttr::Redirect) else {
            return Ok(i);
        };
        // A string of the kernel ends at its first NUL.
        let value = value.split(|b| *b == 0).next().unwrap_or_default();
        match value.strip_prefix(b"/") {
            None if value.is_empty() || value.contains(&b'/') => Err(Errno::EINVAL),
            None => {
                self.redirected = true;
                self.want[i] = value.to_vec();
                Ok(i)
            }
            Some(path) => {
                let names: Vec<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
                if names.iter().any(Vec::is_empty) {
                    return Err(Errno::EINVAL);
                }
                (self.redirected, self.absolute, self.from_root) = (true, true, true);
                self.stop = false;
                let at = names.len() - 1;
                self.want.splice(..=i, names);
                Ok(at)
            }
        }
    }

    /// Refuses what the options refuse to follow (rules R165, R177).
    fn may_follow(&self) -> Result<(), Errno> {
        let refused =
            (self.metacopy && !self.stack.metacopy) || (self.redirected && !self.stack.follow);
        if refused { Err(Errno::EPERM) } else { Ok(()) }
    }
}

/// Whether a node's data are further down; the attribute must be empty or hold a header (rule R171).
fn is_metacopy(node: &NodeSpec) -> Result<bool, Errno> {
    if !matches!(node.kind, NodeKind::File(_)) {
        return Ok(false);
    }
    match node.overlay.get(&OverlayAttr::Metacopy).map(Vec::len) {
        None => Ok(false),
        Some(1..=3) => Err(Errno::EIO),
        Some(_) => Ok(true),
    }
}
