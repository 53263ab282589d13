//! Opening a stack: what the kernel refuses to mount is refused here, with the reason.

use std::collections::HashSet;
use std::sync::Arc;

use crate::backend::{LayerBackend, NodeRef};
use crate::errno::Errno;
use crate::error::{Error, LayerId, Result};
use crate::rules::LOWER_LAYERS_MAX;
use crate::xattr_name::XattrNamespace;

const OP: &str = "open overlay";

/// The layers' root directories.
pub(crate) struct Roots {
    pub(crate) lowers: Vec<NodeRef>,
    pub(crate) upper: Option<NodeRef>,
    /// (filesystem, inode) of every root.
    pub(crate) traps: HashSet<(usize, u64)>,
}

/// At least one lower and at most [`LOWER_LAYERS_MAX`] (rules R002, R003).
pub(crate) fn count(lowers: &[Arc<dyn LayerBackend>]) -> Result<()> {
    if lowers.is_empty() {
        let detail = "a stack needs at least one lower layer";
        let layer = LayerId::Lower(0);
        return Err(Error::config(OP, "", Errno::EINVAL, layer, detail).with_rule("R003"));
    }
    if let Some(extra) = lowers.get(LOWER_LAYERS_MAX) {
        let detail = format!(
            "{} lower layers, at most {LOWER_LAYERS_MAX} are possible",
            lowers.len()
        );
        let layer = LayerId::Lower(LOWER_LAYERS_MAX);
        let error = Error::config(OP, extra.label(), Errno::EINVAL, layer, detail);
        return Err(error.with_rule("R002"));
    }
    Ok(())
}

/// An upper can be written to.
pub(crate) fn writable(upper: &dyn LayerBackend) -> Result<()> {
    if upper.upper().is_none() {
        let detail = "this layer is read-only and cannot be an upper (was it opened without a \
                      work directory?)";
        let error = Error::config(OP, upper.label(), Errno::EINVAL, LayerId::Upper, detail);
        return Err(error.with_rule("R006"));
    }
    Ok(())
}

/// One namespace of overlay attributes for all layers (rule R275).
pub(crate) fn namespace(
    lowers: &[Arc<dyn LayerBackend>],
    upper: Option<&Arc<dyn LayerBackend>>,
) -> Result<XattrNamespace> {
    let all = upper.map(|u| (LayerId::Upper, u)).into_iter().chain(
        lowers
            .iter()
            .enumerate()
            .map(|(i, l)| (LayerId::Lower(i), l)),
    );
    let mut first: Option<XattrNamespace> = None;
    for (id, layer) in all {
        let own = layer.identity().namespace;
        match first {
            Some(ns) if ns != own => {
                let detail = format!(
                    "the stack keeps its overlay attributes in `{}`, this layer in `{}`",
                    ns.prefix(),
                    own.prefix()
                );
                let error = Error::config(OP, layer.label(), Errno::EINVAL, id, detail);
                return Err(error.with_rule("R275"));
            }
            _ => first = Some(own),
        }
    }
    Ok(first.unwrap_or_default())
}

/// Opens every layer's root; no directory may be used twice (rule R014).
pub(crate) fn roots(
    lowers: &[Arc<dyn LayerBackend>],
    upper: Option<&Arc<dyn LayerBackend>>,
    fs_of_lowers: &[usize],
) -> Result<Roots> {
    let mut traps = HashSet::new();
    let mut open = |layer: &Arc<dyn LayerBackend>, id: LayerId, fs: usize| {
        let failed = |e: crate::backend::BackendError| {
            Error::config(OP, layer.label(), e.errno(), id, "layer root").with_backend(e)
        };
        let root = layer.root().map_err(failed)?;
        let meta = root.metadata().map_err(failed)?;
        if !meta.is_dir() {
            let detail = "a layer's root must be a directory";
            let error = Error::config(OP, layer.label(), Errno::EINVAL, id, detail);
            return Err(error.with_rule("R009"));
        }
        if !traps.insert((fs, meta.ino)) {
            let detail = "one directory is used for two layers";
            let error = Error::config(OP, layer.label(), Errno::ELOOP, id, detail);
            return Err(error.with_rule("R014"));
        }
        Ok(root)
    };
    let upper_root = upper.map(|u| open(u, LayerId::Upper, 0)).transpose()?;
    let lower_roots = lowers
        .iter()
        .zip(fs_of_lowers)
        .enumerate()
        .map(|(i, (layer, fs))| open(layer, LayerId::Lower(i), *fs))
        .collect::<Result<_>>()?;
    if let Some(layer) = upper
        && let Some(writable) = layer.upper()
    {
        let reserved = writable.reserved().map_err(|e| {
            let detail = "work directory";
            Error::config(OP, layer.label(), e.errno(), LayerId::Work, detail).with_backend(e)
        })?;
        traps.extend(reserved.into_iter().map(|ino| (0, ino)));
    }
    check_apart(lowers, fs_of_lowers, &traps)?;
    Ok(Roots {
        lowers: lower_roots,
        upper: upper_root,
        traps,
    })
}

/// No lower may lie inside another layer or the work directory (rule R015).
fn check_apart(
    lowers: &[Arc<dyn LayerBackend>],
    fs_of_lowers: &[usize],
    traps: &HashSet<(usize, u64)>,
) -> Result<()> {
    for (i, (layer, fs)) in lowers.iter().zip(fs_of_lowers).enumerate() {
        let id = LayerId::Lower(i);
        let above = layer.ancestors().map_err(|e| {
            let detail = "cannot look at the directories above";
            Error::config(OP, layer.label(), e.errno(), id, detail).with_backend(e)
        })?;
        if above.iter().any(|ino| traps.contains(&(*fs, *ino))) {
            let detail = "lies inside another layer or the work directory";
            let error = Error::config(OP, layer.label(), Errno::ELOOP, id, detail);
            return Err(error.with_rule("R015"));
        }
    }
    Ok(())
}
