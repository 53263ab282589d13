//! Copying the data of a file for a copy-up.

use std::ops::ControlFlow;
use std::path::Path;

use crate::backend::LayerFile;
use crate::errno::Errno;
use crate::error::LayerId;
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::options::CopyProgress;

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
        extent: std::ops::Range<u64>,
    ) -> Res<()> {
        let mut at = extent.start;
        let mut in_kernel = true;
        while at < extent.end {
            let left = extent.end - at;
            let mut copied = 0;
            if in_kernel {
                // All of it: what can be shared is, at once; what must be copied comes in pieces.
                match target.clone_range(source, at, at, left) {
                    Ok(cloned) => copied = cloned.bytes.min(left),
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
