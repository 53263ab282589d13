//! What overlayfs complains about in the kernel's log.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

/// Warnings and errors of overlayfs while `f` runs. The log is the whole machine's, so what others
/// provoke meanwhile is among them.
pub(crate) fn complaints(f: impl FnOnce()) -> Vec<String> {
    let mut log = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")
        .unwrap();
    log.seek(SeekFrom::End(0)).unwrap();
    f();
    let mut lines = Vec::new();
    let mut record = [0u8; 8192];
    loop {
        match log.read(&mut record) {
            Ok(n) => lines.extend(complaint(&String::from_utf8_lossy(&record[..n]))),
            // Records were overwritten before they were read: go on with the next.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => return lines,
        }
    }
}

/// `4,11240,12211270700,-;overlayfs: failed to get inode (-116)`: priority, sequence, time, flags.
fn complaint(record: &str) -> Option<String> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    // Options that are not used here.
    let elsewhere = text.contains("uuid=off") || text.contains("xino=");
    let warns = priority & 7 <= 4 && text.starts_with("overlayfs:") && !elsewhere;
    warns.then(|| text.trim_end().to_string())
}

/// Runs `f`, which must not make overlayfs complain. A complaint that does not come each time is
/// somebody else's.
pub(crate) fn quiet(mut f: impl FnMut()) {
    let mut common: Option<Vec<String>> = None;
    for pause in 0..12 {
        std::thread::sleep(std::time::Duration::from_millis(pause * 20));
        let now = complaints(&mut f);
        let left = match common {
            None => now,
            Some(before) => before.into_iter().filter(|l| now.contains(l)).collect(),
        };
        if left.is_empty() {
            return;
        }
        common = Some(left);
    }
    panic!("the kernel complains: {:#?}", common.unwrap_or_default());
}
