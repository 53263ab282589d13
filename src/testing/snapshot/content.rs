//! Content of a file as a hash that does not depend on holes, and the map of its data.

use std::ops::Range;

use super::Content;
use crate::errno::Errno;

const BLOCK_BYTES: u64 = 4096;

/// How to get at the bytes of one open file.
pub(in crate::testing) trait Source {
    /// As [`LayerFile::read_at`](crate::backend::LayerFile::read_at).
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Errno>;
    /// As [`LayerFile::next_data`](crate::backend::LayerFile::next_data).
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, Errno>;
}

/// Reads the whole file; holes are not read. `len` is the length that reading gives.
pub(in crate::testing) fn read(
    source: &dyn Source,
    len: u64,
    inline_max: u64,
) -> Result<Content, Errno> {
    let data = data_map(source, len)?;
    let mut hash = Hash::new(len);
    let mut bytes = (len <= inline_max).then(|| vec![0u8; usize::try_from(len).unwrap_or(0)]);
    let mut buf = vec![0u8; 16 * usize::try_from(BLOCK_BYTES).unwrap_or(4096)];
    for range in &data {
        let mut offset = range.start;
        while offset < range.end.min(len) {
            // Not into the next range: each block is hashed once.
            let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            let len = buf.len().min(left);
            let got = fill(source, buf.get_mut(..len).unwrap_or_default(), offset)?;
            let filled = buf.get(..got).unwrap_or_default();
            if filled.is_empty() {
                break;
            }
            hash.blocks(offset, filled);
            if let Some(out) = &mut bytes {
                let at = usize::try_from(offset).unwrap_or(usize::MAX);
                for (to, from) in out.iter_mut().skip(at).zip(filled) {
                    *to = *from;
                }
            }
            offset += got as u64;
        }
    }
    Ok(Content {
        len,
        hash: hash.0,
        bytes,
        data,
    })
}

/// As [`read`], of bytes in memory.
pub(super) fn of_bytes(bytes: &[u8], inline_max: u64) -> Content {
    let step = usize::try_from(BLOCK_BYTES).unwrap_or(4096);
    let mut hash = Hash::new(bytes.len() as u64);
    let mut data: Vec<Range<u64>> = Vec::new();
    for (start, block) in (0..).step_by(step).zip(bytes.chunks(step)) {
        if block.iter().any(|b| *b != 0) {
            hash.blocks(start, block);
            match data.last_mut() {
                Some(last) if last.end == start => last.end += BLOCK_BYTES,
                _ => data.push(start..start + BLOCK_BYTES),
            }
        }
    }
    Content {
        len: bytes.len() as u64,
        hash: hash.0,
        bytes: (bytes.len() as u64 <= inline_max).then(|| bytes.to_vec()),
        data,
    }
}

/// Data ranges widened to blocks, merged.
fn data_map(source: &dyn Source, len: u64) -> Result<Vec<Range<u64>>, Errno> {
    let mut map: Vec<Range<u64>> = Vec::new();
    let mut offset = 0;
    while offset < len {
        let Some(found) = source.next_data(offset)? else {
            break;
        };
        let start = found.start / BLOCK_BYTES * BLOCK_BYTES;
        let end = found.end.div_ceil(BLOCK_BYTES) * BLOCK_BYTES;
        match map.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => map.push(start..end),
        }
        if found.end <= offset {
            return Err(Errno::EIO);
        }
        offset = found.end;
    }
    Ok(map)
}

fn fill(source: &dyn Source, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut got = 0;
    while let Some(rest) = buf.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match source.read_at(rest, offset + got as u64)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// FNV-1a in 128 bits over length and every block that is not all zero, with its position.
struct Hash(u128);

impl Hash {
    fn new(len: u64) -> Self {
        let mut hash = Hash(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        hash.bytes(&len.to_le_bytes());
        hash
    }

    fn blocks(&mut self, offset: u64, bytes: &[u8]) {
        let step = usize::try_from(BLOCK_BYTES).unwrap_or(4096);
        let mut at = offset;
        for block in bytes.chunks(step) {
            if let Some(last) = block.iter().rposition(|b| *b != 0) {
                self.bytes(&at.to_le_bytes());
                self.bytes(block.get(..=last).unwrap_or_default());
            }
            at += block.len() as u64;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 ^= u128::from(*b);
            self.0 = self
                .0
                .wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}
