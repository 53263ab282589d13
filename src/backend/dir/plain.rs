//! Which files of lowers are known to lack the attribute `metacopy`.
//!
//! Every lookup of a regular file asks for it, as it decides errors (rules R170 to R177), and hardly any
//! file has it. Lowers do not change, so the answer "there is none" is kept, for a bounded number of
//! files of the whole process: walking a tree again takes one system call less for each file.

use std::sync::{Mutex, PoisonError};

use super::tree::{Key, Tree};
use crate::backend::Result;

/// Parts with a lock each.
const SHARDS: usize = 64;

/// Places in one part at which a block may be, by its number.
const SETS: usize = 64;

/// Blocks at one place; the oldest goes.
const WAYS: usize = 4;

/// Files with inode numbers that follow each other: mostly those of one directory.
const BLOCK_FILES: u64 = 64;

/// What is known of the files with some numbers of a layer. Layers have numbers of their own from 1 on.
#[derive(Copy, Clone, Debug)]
struct Block {
    layer: u64,
    number: u64,
    /// One bit for each file.
    known: u64,
}

type Set = [Block; WAYS];

const FREE: Block = Block {
    layer: 0,
    number: 0,
    known: 0,
};

/// Empty until it is used: 384 KiB in all then, for up to a million files.
static TABLE: [Mutex<Vec<Set>>; SHARDS] = [const { Mutex::new(Vec::new()) }; SHARDS];

/// Runs `f` with the place of a file, the number of its block and its bit there.
fn at<T>(layer: u64, ino: u64, f: impl FnOnce(&mut Set, u64, u64) -> T) -> Option<T> {
    let (number, bit) = (ino / BLOCK_FILES, 1 << (ino % BLOCK_FILES));
    // Numbers follow each other; multiplying spreads them over the upper bits.
    let mixed = (number ^ layer.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (shard, set) = ((mixed >> 58) as usize, (mixed >> 52) as usize % SETS);
    let table = TABLE.get(shard)?;
    let mut sets = table.lock().unwrap_or_else(PoisonError::into_inner);
    if sets.is_empty() {
        sets.resize(SETS, [FREE; WAYS]);
    }
    sets.get_mut(set).map(|set| f(set, number, bit))
}

fn find(set: &mut Set, layer: u64, number: u64) -> Option<&mut Block> {
    set.iter_mut()
        .find(|block| block.layer == layer && block.number == number)
}

/// The attribute of a file, unless that is known to lack it: `read`, and kept if there is none, of a file in a
/// layer in which nothing changes, on the filesystem of the layer's root.
pub(super) fn metacopy(
    tree: &Tree,
    file: Key,
    read: impl FnOnce() -> Result<Option<Vec<u8>>>,
) -> Result<Option<Vec<u8>>> {
    let keeps = tree.writable.is_none() && tree.stable_ids && file.dev == tree.root_key.dev;
    if keeps && is_known(tree.id, file.ino) {
        return Ok(None);
    }
    let value = read()?;
    if keeps && value.is_none() {
        note(tree.id, file.ino);
    }
    Ok(value)
}

/// Whether the file is known to lack the attribute.
fn is_known(layer: u64, ino: u64) -> bool {
    let known = at(layer, ino, |set, number, bit| {
        find(set, layer, number).is_some_and(|block| block.known & bit != 0)
    });
    known.unwrap_or(false)
}

/// Notes that the file lacks it.
fn note(layer: u64, ino: u64) {
    at(layer, ino, |set, number, bit| {
        if let Some(block) = find(set, layer, number) {
            block.known |= bit;
            return;
        }
        set.rotate_right(1);
        if let Some(first) = set.first_mut() {
            *first = Block {
                layer,
                number,
                known: bit,
            };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_layer_and_number() {
        let (a, b) = (u64::MAX, u64::MAX - 1);
        for ino in [0, 7, 64, u64::MAX] {
            assert!(!is_known(a, ino));
            note(a, ino);
            assert!(is_known(a, ino));
            assert!(!is_known(b, ino) && !is_known(a, ino ^ 1));
        }
    }

    #[test]
    fn many_are_kept_and_their_number_is_bounded() {
        let layer = u64::MAX - 2;
        (0..100_000).for_each(|ino| note(layer, ino));
        let known = (0..100_000).filter(|ino| is_known(layer, *ino)).count();
        assert!(known > 99_000, "{known} of 100,000 that follow each other");
        let apart = |n: u64| n * BLOCK_FILES * 3;
        (0..100_000).for_each(|n| note(layer, apart(n)));
        let known = (0..100_000).filter(|n| is_known(layer, apart(*n))).count();
        assert!(known <= SHARDS * SETS * WAYS, "{known}");
    }
}
