//! Between the words of the protocol and those of the crate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, INodeNo, TimeOrNow};

use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata, SetTime, Timestamp};

pub(super) fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw())
}

pub(super) fn kind(file_type: FileType) -> fuser::FileType {
    match file_type {
        FileType::Regular => fuser::FileType::RegularFile,
        FileType::Directory => fuser::FileType::Directory,
        FileType::Symlink => fuser::FileType::Symlink,
        FileType::Fifo => fuser::FileType::NamedPipe,
        FileType::Socket => fuser::FileType::Socket,
        FileType::CharDevice => fuser::FileType::CharDevice,
        FileType::BlockDevice => fuser::FileType::BlockDevice,
    }
}

/// Attributes under the number `ino`.
pub(super) fn attr(meta: &Metadata, ino: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size: meta.size,
        blocks: meta.blocks,
        atime: system_time(meta.atime),
        mtime: system_time(meta.mtime),
        ctime: system_time(meta.ctime),
        crtime: UNIX_EPOCH,
        kind: kind(meta.file_type),
        perm: (meta.mode & 0o7777) as u16,
        nlink: u32::try_from(meta.nlink).unwrap_or(u32::MAX),
        uid: meta.uid,
        gid: meta.gid,
        rdev: encode_device(meta.rdev),
        blksize: meta.block_size,
        flags: 0,
    }
}

/// Attributes of an entry of which only type and number are known. Their size is one that no file
/// can have, which tells the kernel to show the entry and to take nothing else from it.
pub(super) fn bare_attr(file_type: Option<FileType>, ino: u64) -> FileAttr {
    let meta = Metadata::new(file_type.unwrap_or(FileType::Regular), 0);
    FileAttr {
        size: u64::MAX,
        ..attr(&meta, ino)
    }
}

/// The form of device numbers in the protocol: the kernel's `new_encode_dev`.
fn encode_device(dev: DeviceId) -> u32 {
    (dev.minor & 0xff) | (dev.major << 8) | ((dev.minor & !0xff) << 12)
}

pub(super) fn decode_device(raw: u32) -> DeviceId {
    DeviceId::new(
        (raw & 0xf_ff00) >> 8,
        (raw & 0xff) | ((raw >> 12) & 0xf_ff00),
    )
}

fn system_time(t: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(t.secs.unsigned_abs());
    let second = if t.secs < 0 {
        UNIX_EPOCH.checked_sub(whole)
    } else {
        UNIX_EPOCH.checked_add(whole)
    };
    second
        .and_then(|s| s.checked_add(Duration::from_nanos(u64::from(t.nanos))))
        .unwrap_or(UNIX_EPOCH)
}

/// The time that a request names. The library turns `secs` and `nanos` of a time before 1970 into
/// that many seconds *and* nanoseconds before it, so they are taken back in the same way.
fn timestamp(t: SystemTime) -> Timestamp {
    match t.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp::new(
            i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            after.subsec_nanos(),
        ),
        Err(before) => {
            let before = before.duration();
            Timestamp::new(
                0i64.saturating_sub_unsigned(before.as_secs()),
                before.subsec_nanos(),
            )
        }
    }
}

pub(super) fn set_time(t: Option<TimeOrNow>) -> SetTime {
    match t {
        None => SetTime::Omit,
        Some(TimeOrNow::Now) => SetTime::Now,
        Some(TimeOrNow::SpecificTime(t)) => SetTime::At(timestamp(t)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive() {
        for dev in [(0, 0), (1, 3), (8, 0), (259, 65_536), (4095, 1_048_575)] {
            let dev = DeviceId::new(dev.0, dev.1);
            assert_eq!(decode_device(encode_device(dev)), dev);
        }
    }

    #[test]
    fn times_before_1970() {
        // As the library sees a request for -1.2 s: seconds -2, nanoseconds 800 million.
        let from_library = UNIX_EPOCH - Duration::new(2, 800_000_000);
        assert_eq!(timestamp(from_library), Timestamp::new(-2, 800_000_000));
        // As it wants to be told of one.
        let told = system_time(Timestamp::new(-2, 800_000_000));
        assert_eq!(told, UNIX_EPOCH - Duration::new(1, 200_000_000));
    }
}
