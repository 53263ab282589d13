//! Copying the data and the extended attributes of an object for a copy-up.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use crate::backend::{Access, AttrKey, LayerFile, UpperBackend, XattrMode};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::execute::Run;
use crate::overlay::options::CopyProgress;
use crate::rules::plan::{Obj, Step};
use crate::rules::xattr;
use crate::xattr_name::XattrName;

/// Bytes between two reports when data pass through this process.
const COPY_CHUNK_BYTES: u64 = 8 << 20;

/// Bytes of the buffer when data pass through this process.
const COPY_BUFFER_BYTES: usize = 128 << 10;

/// Copies extents and reports.
pub(crate) struct Copier<'a> {
    pub(crate) core: &'a Core,
    pub(crate) path: &'a Path,
    pub(crate) size: u64,
    pub(crate) done: u64,
    /// The copy is made durable once all of it is there.
    pub(crate) syncs: bool,
    pub(crate) buffer: Vec<u8>,
}

impl Copier<'_> {
    pub(crate) fn report(&self) -> Res<()> {
        let Some(observer) = &self.core.options.copy_observer else {
            return Ok(());
        };
        let progress = CopyProgress {
            path: self.path,
            bytes_done: self.done,
            size: self.size,
        };
        match observer.progress(&progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                Err(Fail::from(Errno::ECANCELED).with_detail("the copy-up was cancelled"))
            }
        }
    }

    pub(crate) fn copy(
        &mut self,
        source: &dyn LayerFile,
        layer: LayerId,
        target: &dyn LayerFile,
        extent: Range<u64>,
    ) -> Res<()> {
        let mut at = extent.start;
        let mut in_kernel = true;
        while at < extent.end {
            let left = extent.end - at;
            let (mut copied, mut shared) = (0, false);
            if in_kernel {
                // All of it: what can be shared is, at once; what must be copied comes in pieces.
                match target.clone_range(source, at, at, left) {
                    Ok(cloned) => (copied, shared) = (cloned.bytes.min(left), cloned.shared),
                    Err(e) if e.errno() == Errno::EOPNOTSUPP => in_kernel = false,
                    Err(e) => return Err(e).in_layer(LayerId::Upper),
                }
            }
            if !in_kernel {
                copied =
                    self.pass_through(source, layer, target, at, left.min(COPY_CHUNK_BYTES))?;
            }
            if copied == 0 {
                break;
            }
            // While the next piece is copied, this one is written back.
            if self.syncs && !shared && at + copied < self.size {
                target.begin_sync(at, copied);
            }
            at += copied;
            self.done += copied;
            self.report()?;
        }
        Ok(())
    }

    /// Copies by reading and writing.
    fn pass_through(
        &mut self,
        source: &dyn LayerFile,
        layer: LayerId,
        target: &dyn LayerFile,
        start: u64,
        len: u64,
    ) -> Res<u64> {
        self.buffer.resize(COPY_BUFFER_BYTES, 0);
        let mut at = start;
        while at < start + len {
            let want = usize::try_from(start + len - at).unwrap_or(usize::MAX);
            let want = want.min(self.buffer.len());
            let buffer = self.buffer.get_mut(..want).unwrap_or_default();
            let got = source.read_at(buffer, at).in_layer(layer)?;
            if got == 0 {
                break;
            }
            write_all(target, buffer.get(..got).unwrap_or_default(), at)
                .in_layer(LayerId::Upper)?;
            at += got as u64;
        }
        Ok(at - start)
    }
}

impl Run<'_> {
    /// Copies extended attributes as copy-up does (rule R224). An upper that cannot even store overlay
    /// attributes is taken to have none at all, and nothing is asked of it.
    pub(super) fn copy_xattrs(
        &self,
        upper: &dyn UpperBackend,
        from: Obj,
        to: Obj,
        names: &[XattrName],
    ) -> Res<()> {
        let (source, target, layer) = (self.node(from)?, self.node(to)?, self.layer(from));
        for name in names {
            let value = match source.xattr(name) {
                Ok(Some(value)) => value,
                // Gone since it was listed, or a capability that grants nothing.
                Ok(None) => continue,
                Err(e) if e.errno() == Errno::EINVAL && name.as_bytes() == xattr::CAPABILITY => {
                    continue;
                }
                Err(e) => return Err(e).in_layer(layer),
            };
            match upper.set_xattr(target, AttrKey::Raw(name), Some(&value), XattrMode::Set) {
                Err(e)
                    if e.errno() == Errno::EOPNOTSUPP
                        && (!xattr::must_copy(name) || !self.core.stores_overlay_attrs()) => {}
                answer => answer.in_layer(LayerId::Upper)?,
            }
        }
        Ok(())
    }

    /// Whether the plan makes the content of an object durable.
    fn syncs(&self, object: Obj) -> bool {
        let is_sync = |step: &Step| matches!(step, Step::Sync { object: o } if *o == object);
        self.plan.steps.iter().any(|planned| is_sync(&planned.step))
    }

    /// Copies the data of a file, extent by extent, holes left out (rules R228 to R230).
    pub(super) fn copy_data(&self, from: Obj, to: Obj, size: u64, keep_size: bool) -> Res<()> {
        let layer = self.layer(from);
        let path = self
            .plan
            .objects
            .get(to.0)
            .map_or(Path::new(""), |o| &o.path);
        let own;
        let source = match self.sources.iter().find(|(object, _)| *object == from) {
            Some((_, file)) => &**file,
            None => {
                own = self.node(from)?.open(Access::Read).in_layer(layer)?;
                &*own
            }
        };
        let target = self
            .node(to)?
            .open(Access::Write)
            .in_layer(LayerId::Upper)?;
        let mut copier = Copier {
            core: self.core,
            path,
            size,
            done: 0,
            syncs: self.syncs(to),
            buffer: Vec::new(),
        };
        copier.report()?;
        let mut end = 0;
        while end < size {
            let Some(extent) = next_extent(source, end, keep_size).in_layer(layer)? else {
                break;
            };
            let extent = extent.start.max(end)..extent.end.min(size);
            if extent.is_empty() {
                break;
            }
            end = extent.end;
            copier.copy(source, layer, &*target, extent)?;
        }
        self.core.meter.spend_data(copier.done);
        if !keep_size && (end < size || copier.done == 0) {
            target.set_len(size).in_layer(LayerId::Upper)?;
        }
        Ok(())
    }
}

/// What to copy next of a file. What is `in_tree` already is touched by what is written to it, so that gets data
/// only.
pub(crate) fn next_extent(
    source: &dyn LayerFile,
    at: u64,
    in_tree: bool,
) -> crate::backend::Result<Option<Range<u64>>> {
    match in_tree {
        true => source.next_data(at),
        false => source.next_to_copy(at),
    }
}

/// Writes all of `data`.
pub(crate) fn write_all(
    file: &dyn LayerFile,
    mut data: &[u8],
    mut offset: u64,
) -> crate::backend::Result<()> {
    while !data.is_empty() {
        let n = file.write_at(data, offset)?;
        if n == 0 {
            return Err(Errno::EIO.into());
        }
        data = data.get(n..).unwrap_or_default();
        offset += n as u64;
    }
    Ok(())
}
