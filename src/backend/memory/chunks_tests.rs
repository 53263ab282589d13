//! Content against an array of bytes, under random changes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use proptest::prelude::*;

use super::*;

/// Files of the test are about five chunks long.
const SPAN: u64 = 5 * CHUNK_BYTES;

#[derive(Clone, Debug)]
enum Change {
    Write(u64, usize, u8),
    Punch(u64, u64),
    Allocate(u64, u64),
    Resize(u64),
    /// From the other file: source offset, destination offset, length.
    Clone(u64, u64, u64),
    Swap,
}

/// Offsets near chunk borders more often than elsewhere.
fn offset() -> impl Strategy<Value = u64> {
    let border = (0..5u64, 0..3u64).prop_map(|(i, d)| (i * CHUNK_BYTES + d).saturating_sub(1));
    prop_oneof![border, (0..5u64).prop_map(|i| i * CHUNK_BYTES), 0..SPAN]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (offset(), offset(), 1..255u8).prop_map(|(o, l, b)| Change::Write(o, l as usize, b)),
        (offset(), offset()).prop_map(|(o, l)| Change::Punch(o, l)),
        (offset(), offset()).prop_map(|(o, l)| Change::Allocate(o, l)),
        offset().prop_map(Change::Resize),
        (offset(), offset(), offset()).prop_map(|(f, t, l)| Change::Clone(f, t, l)),
        Just(Change::Swap),
    ]
}

/// A file as the layer keeps it, and as an array.
#[derive(Clone, Debug, Default)]
struct Pair {
    chunks: Chunks,
    model: Vec<u8>,
}

impl Pair {
    fn grow(&mut self, end: u64) {
        self.model.resize(self.model.len().max(end as usize), 0);
    }

    fn apply(&mut self, change: &Change, other: &Pair) {
        let size = self.model.len() as u64;
        match *change {
            Change::Write(at, len, byte) if len > 0 => {
                let data: Vec<u8> = (0..len).map(|i| byte ^ (i / 97) as u8).collect();
                self.chunks.write(&data, at);
                self.grow(at + len as u64);
                self.model[at as usize..at as usize + len].copy_from_slice(&data);
            }
            Change::Punch(at, len) => {
                self.chunks.punch(at..at + len);
                let end = (at + len).min(size);
                self.model[at.min(end) as usize..end as usize].fill(0);
            }
            Change::Allocate(at, len) => {
                let range = at..at + len;
                self.chunks.allocate(&range);
                assert_eq!(self.chunks.missing(&range), 0);
            }
            Change::Resize(len) => {
                if len < size {
                    self.chunks.truncate(len);
                }
                self.model.resize(len as usize, 0);
            }
            Change::Clone(from, to, len) => {
                let src_size = other.model.len() as u64;
                let len = len.min(src_size.saturating_sub(from));
                if len > 0 {
                    let ends = from + len == src_size && size <= to + len;
                    self.chunks.clone_from(&other.chunks, from, to, len, ends);
                    self.grow(to + len);
                    let source = &other.model[from as usize..(from + len) as usize];
                    self.model[to as usize..(to + len) as usize].copy_from_slice(source);
                }
            }
            Change::Write(..) | Change::Swap => {}
        }
    }

    /// All bytes agree, those behind the end are zero, and what is not data is zero.
    fn check(&self) {
        let mut bytes = vec![1; self.model.len() + 3 * CHUNK_LEN];
        self.chunks.read(&mut bytes, 0);
        let (inside, behind) = bytes.split_at(self.model.len());
        assert!(inside == self.model, "content");
        assert!(behind.iter().all(|b| *b == 0), "behind the end");
        let mut at = 0;
        while let Some(data) = self.chunks.next_data(at, inside.len() as u64) {
            let hole = &inside[at as usize..data.start as usize];
            assert!(hole.iter().all(|b| *b == 0), "a hole");
            at = data.end;
        }
        assert!(
            inside[at as usize..].iter().all(|b| *b == 0),
            "the last hole"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[cfg_attr(miri, ignore = "looks at megabytes, byte by byte")]
    fn content_is_as_in_an_array(changes in prop::collection::vec(change(), 1..25)) {
        let (mut a, mut b) = (Pair::default(), Pair::default());
        for change in &changes {
            let (kept, snapshot) = (a.clone(), b.clone());
            if matches!(change, Change::Swap) {
                std::mem::swap(&mut a, &mut b);
            } else {
                a.apply(change, &snapshot);
            }
            a.check();
            b.check();
            kept.check();
        }
    }
}
