//! Opening a stack: what the kernel refuses to mount is refused here, with the reason.

use std::collections::HashSet;
use std::sync::Arc;

use crate::backend::encoding::INCOMPAT;
use crate::backend::{
    AttrKey, BackendError, LayerBackend, NodeRef, Result as BackendResult, XattrMode,
};
use crate::errno::Errno;
use crate::error::{Error, LayerId, Result};
use crate::overlay::options::OverlayOptions;
use crate::overlay::volatile;
use crate::rules::LOWER_LAYERS_MAX;
use crate::rules::config::UuidMode;
use crate::rules::config::facts::{Facts, Handles, LowerFacts, StoredUuid, UpperFacts};
use crate::rules::config::settle::Settled;
use crate::rules::warning::{Warning, WarningReason};
use crate::xattr_name::{OverlayAttr, XattrNamespace};

const OP: &str = "open overlay";

/// Length of an identity (rule R037).
const UUID_BYTES: usize = 16;

/// The layers' root directories.
pub(crate) struct Roots {
    pub(crate) lowers: Vec<NodeRef>,
    pub(crate) upper: Option<NodeRef>,
    /// (filesystem, inode) of every root.
    pub(crate) traps: HashSet<(usize, u64)>,
}

/// At least one lower that is not data-only, and at most [`LOWER_LAYERS_MAX`] of both kinds (rules R002,
/// R003, R005).
pub(crate) fn count(merged: usize, lowers: &[Arc<dyn LayerBackend>]) -> Result<()> {
    if merged == 0 {
        let detail = "a stack needs at least one lower layer";
        let layer = LayerId::Lower(0);
        return Err(Error::config(OP, "", Errno::EINVAL, layer, detail).with_rule("R003"));
    }
    if let Some(extra) = lowers.get(LOWER_LAYERS_MAX) {
        let detail = format!(
            "{} lower layers, data-only ones included, at most {LOWER_LAYERS_MAX} are possible",
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

/// The work directory of the upper. An upper that bears the mark of a volatile union is refused
/// (rule R044).
pub(crate) fn work(upper: Option<&Arc<dyn LayerBackend>>) -> Result<Option<NodeRef>> {
    let Some((layer, writable)) = upper.and_then(|u| Some((u, u.upper()?))) else {
        return Ok(None);
    };
    let failed = |e: BackendError| {
        let label = layer.label();
        Error::config(OP, label, e.errno(), LayerId::Work, "work directory").with_backend(e)
    };
    let work = writable.work().map_err(failed)?;
    if let Some(mark) = volatile::mark(&work).map_err(failed)? {
        let detail = format!(
            "work/{INCOMPAT}/{mark} is present: what an earlier union wrote was not made durable"
        );
        let error = Error::config(OP, layer.label(), Errno::EINVAL, LayerId::Work, detail);
        return Err(error.with_rule("R044"));
    }
    Ok(Some(work))
}

/// Marks the upper as one that nothing is made durable in (rule R045).
pub(crate) fn leave_mark(
    upper: Option<&Arc<dyn LayerBackend>>,
    work: Option<&NodeRef>,
) -> Result<()> {
    let (Some(layer), Some(work)) = (upper, work) else {
        return Ok(());
    };
    let Some(upper) = layer.upper() else {
        return Ok(());
    };
    volatile::leave(upper, work).map_err(|e| {
        let detail = "cannot mark the work directory as volatile";
        let error = Error::config(OP, layer.label(), e.errno(), LayerId::Work, detail);
        error.with_rule("R045").with_backend(e)
    })
}

/// Whether this process may use the layers' overlay attributes (rule R032).
pub(crate) fn permitted(
    lowers: &[Arc<dyn LayerBackend>],
    upper: Option<&Arc<dyn LayerBackend>>,
) -> bool {
    let mut all = lowers.iter().chain(upper);
    all.all(|layer| layer.capabilities().permitted_attrs)
}

fn handles(layer: &Arc<dyn LayerBackend>) -> Handles {
    match (layer.capabilities().file_handles, layer.identity().ino32) {
        (false, _) => Handles::None,
        (true, true) => Handles::Ino32,
        (true, false) => Handles::Any,
    }
}

/// What options depend on in the upper.
pub(crate) fn upper_facts(
    upper: Option<&Arc<dyn LayerBackend>>,
    roots: &Roots,
) -> Result<Option<UpperFacts>> {
    let (Some(upper), Some(root)) = (upper, &roots.upper) else {
        return Ok(None);
    };
    let uuid = stored_uuid(root).map_err(|e| {
        Error::config(OP, upper.label(), e.errno(), LayerId::Upper, "layer root").with_backend(e)
    })?;
    Ok(Some(UpperFacts {
        storable: upper.capabilities().overlay_attrs,
        handles: handles(upper),
        uuid,
    }))
}

fn stored_uuid(root: &NodeRef) -> BackendResult<StoredUuid> {
    Ok(match root.overlay_attr(OverlayAttr::Uuid)? {
        Some(value) if value.len() == UUID_BYTES => StoredUuid::Present,
        Some(_) => StoredUuid::Unusable,
        None => match root.overlay_attr(OverlayAttr::Impure)? {
            Some(value) if !value.is_empty() => StoredUuid::AbsentOnUsed,
            _ => StoredUuid::AbsentOnNew,
        },
    })
}

/// What options depend on in the lowers.
pub(crate) fn lower_facts(
    lowers: &[Arc<dyn LayerBackend>],
    fs_of_lowers: &[usize],
) -> Vec<LowerFacts> {
    let facts = |(layer, fs): (&Arc<dyn LayerBackend>, &usize)| LowerFacts {
        fs: *fs,
        handles: handles(layer),
        uuid: layer.identity().uuid,
    };
    lowers.iter().zip(fs_of_lowers).map(facts).collect()
}

/// Settles the options; what excludes each other is refused.
pub(crate) fn settle(options: &OverlayOptions, facts: &Facts) -> Result<Settled> {
    options.requested.settle(facts).map_err(Error::from)
}

/// The identity of the union, if it has one of its own: that of its upper, which a new one is given
/// here. That it cannot be stored is no reason not to go on (rule R037).
pub(crate) fn identify(
    settled: &mut Settled,
    upper: Option<&Arc<dyn LayerBackend>>,
    roots: &Roots,
) -> Result<Option<[u8; UUID_BYTES]>> {
    if !matches!(settled.settings.uuid, UuidMode::On | UuidMode::Auto) {
        return Ok(None);
    }
    let (Some(upper), Some(root)) = (upper, &roots.upper) else {
        // Without an upper to tell it, the kernel shows one of zeros.
        return Ok(Some([0; UUID_BYTES]));
    };
    if !settled.store_uuid {
        let stored = root.overlay_attr(OverlayAttr::Uuid).map_err(|e| {
            let label = upper.label();
            Error::config(OP, label, e.errno(), LayerId::Upper, "layer root").with_backend(e)
        })?;
        return Ok(stored.and_then(|value| value.try_into().ok()));
    }
    let stored = random_uuid().and_then(|uuid| {
        let upper = upper.upper().ok_or(Errno::EROFS)?;
        let key = AttrKey::Overlay(OverlayAttr::Uuid);
        let stored = upper.set_xattr(root, key, Some(&uuid), XattrMode::Set);
        stored.map(|()| uuid).map_err(|e| e.errno())
    });
    match stored {
        Ok(uuid) => Ok(Some(uuid)),
        Err(errno) => {
            settled.settings.uuid = UuidMode::Null;
            let reason = WarningReason::NotStored(errno);
            let warning = Warning::new("uuid", "on", "null", reason);
            settled.warnings.push(warning);
            Ok(None)
        }
    }
}

/// A random UUID (version 4).
fn random_uuid() -> std::result::Result<[u8; UUID_BYTES], Errno> {
    let mut uuid = [0; UUID_BYTES];
    let flags = rustix::rand::GetRandomFlags::empty();
    let got = rustix::rand::getrandom(&mut uuid, flags)?;
    if got != UUID_BYTES {
        return Err(Errno::EIO);
    }
    if let Some(version) = uuid.get_mut(6) {
        *version = *version & 0x0f | 0x40;
    }
    if let Some(variant) = uuid.get_mut(8) {
        *variant = *variant & 0x3f | 0x80;
    }
    Ok(uuid)
}
