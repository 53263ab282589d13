//! Content of a file: its size, and blocks where there is anything but zeros.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::errno::Errno;
use crate::testing::snapshot::content::Source;

const BLOCK_BYTES: u64 = 4096;
const BLOCK: usize = 4096;

/// Bytes of any length; what is not stored reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    size: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Data {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes from `offset` to the end.
    pub(super) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let len = len.min(self.size.saturating_sub(offset));
        let mut out = Vec::new();
        let mut at = offset;
        while at < offset + len {
            let (block, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let count = (BLOCK_BYTES - within).min(offset + len - at);
            let part = within as usize..(within + count) as usize;
            match self.blocks.get(&block) {
                Some(bytes) => out.extend_from_slice(&bytes[part]),
                None => out.resize(out.len() + count as usize, 0),
            }
            at += count;
        }
        out
    }

    /// Puts `bytes` at `offset`, growing the file if they reach behind its end.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (block, within) = (at / BLOCK_BYTES, (at % BLOCK_BYTES) as usize);
            let count = rest.len().min(BLOCK - within);
            let (now, later) = rest.split_at(count);
            let stored = self.blocks.entry(block).or_insert_with(|| vec![0; BLOCK]);
            stored[within..within + count].copy_from_slice(now);
            at += count as u64;
            rest = later;
        }
        self.size = self.size.max(offset + bytes.len() as u64);
    }

    /// Makes the file end at `size`; what comes anew is zero.
    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.zero(size..self.size);
        }
        self.size = size;
    }

    /// Takes a range of whole blocks out.
    pub(super) fn collapse(&mut self, range: Range<u64>) {
        let rest = self.read(range.end, u64::MAX);
        self.resize(range.start);
        self.write(range.start, &rest);
    }

    /// Puts zeros in, before what is at `range.start`.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        let rest = self.read(range.start, u64::MAX);
        self.resize(range.start);
        self.resize(range.end);
        self.write(range.end, &rest);
    }

    /// Whether a range consists of whole blocks.
    pub(super) fn in_blocks(range: &Range<u64>) -> bool {
        range.start.is_multiple_of(BLOCK_BYTES) && range.end.is_multiple_of(BLOCK_BYTES)
    }

    /// Makes a range zero; the size stays.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        let (first, last) = (range.start / BLOCK_BYTES, range.end.div_ceil(BLOCK_BYTES));
        let touched: Vec<u64> = self.blocks.range(first..last).map(|(b, _)| *b).collect();
        for block in touched {
            let start = range.start.saturating_sub(block * BLOCK_BYTES) as usize;
            let end = (range.end - block * BLOCK_BYTES).min(BLOCK_BYTES) as usize;
            if let Some(bytes) = self.blocks.get_mut(&block) {
                bytes[start..end].fill(0);
                if bytes.iter().all(|b| *b == 0) {
                    self.blocks.remove(&block);
                }
            }
        }
    }
}

impl Source for Data {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let bytes = self.read(offset, buf.len() as u64);
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>, Errno> {
        let mut blocks = self.blocks.range(offset / BLOCK_BYTES..);
        Ok(blocks.next().and_then(|(block, _)| {
            let start = (block * BLOCK_BYTES).max(offset);
            let end = ((block + 1) * BLOCK_BYTES).min(self.size);
            (start < end).then_some(start..end)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a plain vector.
    #[test]
    fn data_is_a_vector_of_bytes() {
        let (mut data, mut plain) = (Data::default(), Vec::<u8>::new());
        let steps = [
            (0, 5000u64, 4000u64),
            (1, 100, 3000),
            (2, 4097, 0),
            (0, 8191, 2),
            (1, 0, 9000),
            (2, 20_000, 0),
            (0, 3, 10_000),
            (1, 4096, 4096),
            (2, 0, 0),
            (0, 1, 1),
        ];
        for (kind, offset, len) in steps {
            match kind {
                0 => {
                    let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
                    data.write(offset, &bytes);
                    plain.resize(plain.len().max((offset + len) as usize), 0);
                    plain[offset as usize..(offset + len) as usize].copy_from_slice(&bytes);
                }
                1 => {
                    data.zero(offset..offset + len);
                    let end = plain.len().min((offset + len) as usize);
                    plain[(offset as usize).min(end)..end].fill(0);
                }
                _ => {
                    data.resize(offset);
                    plain.resize(offset as usize, 0);
                }
            }
            assert_eq!(data.size(), plain.len() as u64);
            assert_eq!(data.read(0, u64::MAX), plain);
        }
        data.write(0, b"x");
        data.resize(u64::MAX >> 1);
        assert_eq!(data.read((u64::MAX >> 1) - 2, 9), [0, 0]);
    }
}
