//! The catalogue.

mod attributes;
mod content;
mod create;
mod indexed;
mod links;
mod moved;
mod reading;
mod remove;
mod rename;

use crate::situation::Situation;

/// How many situations there are at least.
pub const AT_LEAST: usize = 240;

/// How many faults they make at least, in memory and on directories: a catalogue that shrinks without
/// notice proves nothing.
pub const FAULTS_AT_LEAST: usize = 69_000;
pub const FAULTS_ON_DISK_AT_LEAST: usize = 4500;

pub fn all() -> Vec<Situation> {
    let mut all = create::all();
    all.extend(content::all());
    all.extend(attributes::all());
    all.extend(remove::all());
    all.extend(rename::all());
    all.extend(links::all());
    all.extend(reading::all());
    all.extend(moved::all());
    all.extend(indexed::all());
    let mut names: Vec<_> = all.iter().map(|s| s.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len(), "names are used twice");
    all
}

/// An access list as its attribute stores it: tag, permissions, and the id of whom it names.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Owner, user 7, group, mask, others.
const fn acl_of(user: u16, mask: u16) -> [(u16, u16, u32); 5] {
    let nobody = u32::MAX;
    [
        (1, 6, nobody),
        (2, user, 7),
        (4, 4, nobody),
        (16, mask, nobody),
        (32, 0, nobody),
    ]
}
