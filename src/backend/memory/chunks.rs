//! The content of a file: chunks by index, shared between copies until one of them is written.
//!
//! An absent chunk is a hole. A chunk may be shorter than [`CHUNK_BYTES`]: what is missing at its
//! end reads as zeros, so that a small file stays small and allocated zeros cost nothing. Whatever
//! lies behind the end of the file is zero; who shortens a file calls [`Chunks::truncate`].

use std::ops::Range;
use std::sync::Arc;

use imbl::OrdMap;

/// Bytes of one chunk: the granularity of holes and of sharing. The common block size of real
/// filesystems, so that trees in memory and on disk have their holes at the same places.
pub(super) const CHUNK_BYTES: u64 = 4096;
/// The same, as a size in memory.
const CHUNK_LEN: usize = CHUNK_BYTES as usize;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks(OrdMap<u64, Arc<[u8]>>);

/// The part of a byte range that lies in one chunk.
struct Piece {
    index: u64,
    /// Where it starts and ends in the chunk.
    within: Range<usize>,
    /// Where it starts and ends in the range.
    outside: Range<usize>,
}

/// Cuts `len` bytes at `offset` at chunk borders.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= len {
            return None;
        }
        let at = offset.saturating_add(done as u64);
        let start = usize::try_from(at % CHUNK_BYTES).unwrap_or(0);
        let part = (CHUNK_LEN - start).min(len - done);
        let piece = Piece {
            index: at / CHUNK_BYTES,
            within: start..start + part,
            outside: done..done + part,
        };
        done += part;
        Some(piece)
    })
}

impl Chunks {
    /// How many chunks have space.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// True if `other` holds the very same chunks at the same places.
    #[cfg(test)]
    pub(super) fn is_shared_with(&self, other: &Chunks) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .all(|(i, c)| other.0.get(i).is_some_and(|o| Arc::ptr_eq(c, o)))
    }

    /// Fills `buf` from `offset`, holes as zeros.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) {
        for piece in pieces(offset, buf.len()) {
            let Some(out) = buf.get_mut(piece.outside) else {
                return;
            };
            let stored = self.0.get(&piece.index).map_or(&[][..], |c| c);
            let end = piece.within.end.min(stored.len());
            let from = stored.get(piece.within.start..end).unwrap_or(&[]);
            let (data, zeros) = out.split_at_mut(from.len());
            data.copy_from_slice(from);
            zeros.fill(0);
        }
    }

    /// Writes `buf` at `offset`.
    pub(super) fn write(&mut self, buf: &[u8], offset: u64) {
        for piece in pieces(offset, buf.len()) {
            if let Some(data) = buf.get(piece.outside) {
                self.write_piece(piece.index, piece.within, data);
            }
        }
    }

    fn write_piece(&mut self, index: u64, within: Range<usize>, data: &[u8]) {
        if within.start == 0 && within.end == CHUNK_LEN {
            self.0.insert(index, data.into());
            return;
        }
        let Some(chunk) = self.0.get_mut(&index) else {
            let mut bytes = vec![0; within.start];
            bytes.extend_from_slice(data);
            self.0.insert(index, bytes.into());
            return;
        };
        if chunk.len() < within.end {
            // Room for what follows, so that many small appends do not copy the chunk each time.
            let mut grown = vec![0; CHUNK_LEN];
            if let Some(old) = grown.get_mut(..chunk.len()) {
                old.copy_from_slice(chunk);
            }
            *chunk = grown.into();
        }
        if let Some(place) = Arc::make_mut(chunk).get_mut(within) {
            place.copy_from_slice(data);
        }
    }

    /// Makes `range` read as zeros where there is space; holes stay.
    fn zero_edge(&mut self, range: Range<u64>) {
        let index = range.start / CHUNK_BYTES;
        let Some(chunk) = self.0.get_mut(&index) else {
            return;
        };
        let start = usize::try_from(range.start % CHUNK_BYTES).unwrap_or(0);
        let end = usize::try_from(range.end - index * CHUNK_BYTES).unwrap_or(CHUNK_LEN);
        let end = end.min(chunk.len());
        if start < end
            && let Some(place) = Arc::make_mut(chunk).get_mut(start..end)
        {
            place.fill(0);
        }
    }

    /// Makes `range` a hole: whole chunks lose their space, parts of chunks become zero.
    pub(super) fn punch(&mut self, range: Range<u64>) {
        let first = range.start.div_ceil(CHUNK_BYTES);
        let last = range.end / CHUNK_BYTES;
        if first > last {
            self.zero_edge(range);
            return;
        }
        if range.start < first * CHUNK_BYTES {
            self.zero_edge(range.start..first * CHUNK_BYTES);
        }
        if range.end > last * CHUNK_BYTES {
            self.zero_edge(last * CHUNK_BYTES..range.end);
        }
        self.remove(first..last);
    }

    /// Takes whole chunks out; those behind move up.
    pub(super) fn collapse(&mut self, range: Range<u64>) {
        let (first, last) = (range.start / CHUNK_BYTES, range.end / CHUNK_BYTES);
        self.remove(first..last);
        for (index, chunk) in self.take(last) {
            self.0.insert(index - (last - first), chunk);
        }
    }

    /// Puts a hole of whole chunks in; what is there and behind moves back.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        let (first, last) = (range.start / CHUNK_BYTES, range.end / CHUNK_BYTES);
        for (index, chunk) in self.take(first) {
            self.0.insert(index + (last - first), chunk);
        }
    }

    /// Takes away what is from chunk `first` on.
    fn take(&mut self, first: u64) -> Vec<(u64, Arc<[u8]>)> {
        let tail = self.0.range(first..);
        let tail: Vec<_> = tail.map(|(index, chunk)| (*index, chunk.clone())).collect();
        for (index, _) in &tail {
            self.0.remove(index);
        }
        tail
    }

    /// Takes the space of whole chunks away.
    fn remove(&mut self, range: Range<u64>) {
        let gone: Vec<u64> = self.0.range(range).map(|(index, _)| *index).collect();
        for index in gone {
            self.0.remove(&index);
        }
    }

    /// How many chunks of `range` have no space yet.
    pub(super) fn missing(&self, range: &Range<u64>) -> u64 {
        let span = range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES);
        (span.end - span.start) - self.0.range(span).count() as u64
    }

    /// Gives every chunk that `range` touches space; what was a hole reads as zeros.
    pub(super) fn allocate(&mut self, range: &Range<u64>) {
        let zeros: Arc<[u8]> = Arc::from([].as_slice());
        for index in range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES) {
            if !self.0.contains_key(&index) {
                self.0.insert(index, Arc::clone(&zeros));
            }
        }
    }

    /// Forgets everything behind `len`.
    pub(super) fn truncate(&mut self, len: u64) {
        let keep = len.div_ceil(CHUNK_BYTES);
        if !len.is_multiple_of(CHUNK_BYTES) {
            self.zero_edge(len..keep * CHUNK_BYTES);
        }
        self.remove(keep..u64::MAX);
    }

    /// The first run of chunks with space at or behind `offset`, cut at `size`.
    pub(super) fn next_data(&self, offset: u64, size: u64) -> Option<Range<u64>> {
        let mut run = self
            .0
            .range(offset / CHUNK_BYTES..)
            .map(|(index, _)| *index);
        let first = run.next()?;
        let mut end = first + 1;
        for index in run {
            if index != end {
                break;
            }
            end += 1;
        }
        let found = offset.max(first * CHUNK_BYTES)..size.min(end * CHUNK_BYTES);
        (found.start < found.end).then_some(found)
    }

    /// Makes `len` bytes at `to` the same as those of `src` at `from`, holes included. True if every
    /// byte is shared. `ends`: both the source's file ends there and, when this is done, this one,
    /// so that the last chunk can be shared whatever its length.
    pub(super) fn clone_from(
        &mut self,
        src: &Chunks,
        from: u64,
        to: u64,
        len: u64,
        ends: bool,
    ) -> bool {
        let end = from + len;
        if from == 0 && to == 0 && ends {
            self.0 = src.0.clone();
            self.remove(end.div_ceil(CHUNK_BYTES)..u64::MAX);
            return true;
        }
        let first = from.div_ceil(CHUNK_BYTES);
        let last = if ends {
            end.div_ceil(CHUNK_BYTES)
        } else {
            end / CHUNK_BYTES
        };
        if from % CHUNK_BYTES != to % CHUNK_BYTES || first >= last {
            self.copy_from(src, from, to, len);
            return false;
        }
        let head = first * CHUNK_BYTES - from;
        let tail = end.saturating_sub(last * CHUNK_BYTES);
        self.copy_from(src, from, to, head);
        let to_first = (to + head) / CHUNK_BYTES;
        self.remove(to_first..to_first + (last - first));
        for (index, chunk) in src.0.range(first..last) {
            self.0.insert(index - first + to_first, Arc::clone(chunk));
        }
        self.copy_from(src, end - tail, to + len - tail, tail);
        head == 0 && tail == 0
    }

    /// Copies bytes; what is a hole in `src` becomes one here where whole chunks allow it.
    fn copy_from(&mut self, src: &Chunks, from: u64, to: u64, len: u64) {
        let mut buf = vec![0; CHUNK_LEN];
        let mut done = 0;
        while done < len {
            let data = src.next_data(from + done, from + len);
            let start = data.as_ref().map_or(len, |d| d.start - from);
            if start > done {
                self.punch(to + done..to + start);
            }
            let end = data.map_or(len, |d| d.end - from);
            done = start;
            while done < end {
                let part = (end - done).min(CHUNK_BYTES);
                let Some(part_buf) = buf.get_mut(..usize::try_from(part).unwrap_or(CHUNK_LEN))
                else {
                    return;
                };
                src.read(part_buf, from + done);
                self.write(part_buf, to + done);
                done += part;
            }
        }
    }
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
