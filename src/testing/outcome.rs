//! Compare what came of one operation on two systems.
//!
//! # Freedoms
//!
//! Errnos are compared exactly. Of an outcome, these are not compared: inode and device numbers
//! (they are compared as patterns in snapshots), `ctime`, birth time, `atime`, allocated blocks and
//! block size, sizes of directories, link counts of directories unless asked for, and of
//! `statfs` everything but the longest name. Modification times at or after the start of the run
//! are all "now".

use crate::errno::Errno;
use crate::meta::{Metadata, Timestamp};
use crate::op::Outcome;
use crate::testing::snapshot::Compare;
use crate::testing::snapshot::is_now;

/// What two systems answered differently to one operation; `None` if they agree as far as `compare`
/// asks. `started`: when the run began.
#[must_use]
pub fn differ(
    left: &Result<Outcome, Errno>,
    right: &Result<Outcome, Errno>,
    compare: &Compare,
    started: Option<Timestamp>,
) -> Option<String> {
    let same = match (left, right) {
        (Ok(Outcome::Metadata(a)), Ok(Outcome::Metadata(b))) => {
            view(a, compare, started) == view(b, compare, started)
        }
        (Ok(Outcome::Entries(a)), Ok(Outcome::Entries(b))) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(x, y)| x.name == y.name && x.file_type == y.file_type)
        }
        (Ok(Outcome::StatFs(a)), Ok(Outcome::StatFs(b))) => a.name_bytes_max == b.name_bytes_max,
        (a, b) => a == b,
    };
    (!same).then(|| format!("{} != {}", brief(left), brief(right)))
}

/// The comparable part of some attributes.
fn view(meta: &Metadata, compare: &Compare, started: Option<Timestamp>) -> Metadata {
    let mut view = meta.clone();
    let zero = Timestamp::default();
    let dir = meta.is_dir();
    view.ino = 0;
    view.dev = crate::DeviceId::default();
    view.ctime = zero;
    view.btime = None;
    view.atime = zero;
    view.blocks = 0;
    view.block_size = 0;
    if dir {
        view.size = 0;
    }
    if !(if dir {
        compare.dir_nlink
    } else {
        compare.nlink
    }) {
        view.nlink = 0;
    }
    if is_now(meta.mtime, started) {
        view.mtime = Timestamp::new(i64::MAX, 0);
    }
    view
}

fn brief(got: &Result<Outcome, Errno>) -> String {
    match got {
        Err(errno) => format!("{errno:?}"),
        Ok(Outcome::Bytes(bytes)) => match bytes.get(..100) {
            Some(head) => format!("{} bytes \"{}\"...", bytes.len(), head.escape_ascii()),
            None => format!("\"{}\"", bytes.escape_ascii()),
        },
        Ok(Outcome::Metadata(m)) => format!(
            "{} {:04o} {}:{} nlink {} size {} mtime {}",
            m.file_type, m.mode, m.uid, m.gid, m.nlink, m.size, m.mtime
        ),
        Ok(Outcome::Entries(entries)) => {
            let names: Vec<String> = entries
                .iter()
                .map(|e| match e.file_type {
                    Some(t) => format!("{}{:?}", t.letter(), e.name),
                    None => format!("?{:?}", e.name),
                })
                .collect();
            names.join(" ")
        }
        Ok(other) => format!("{other:?}"),
    }
}
