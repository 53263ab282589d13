//! Attributes as the kernel tells them, into those of this crate.

use rustix::fs::{Statx, StatxFlags, StatxTimestamp};

use super::tree::Key;
use crate::backend::Result;
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata, Timestamp};

/// Which inode this is.
pub(super) fn key(st: &Statx) -> Key {
    Key {
        dev: DeviceId::new(st.stx_dev_major, st.stx_dev_minor),
        ino: st.stx_ino,
    }
}

/// The mount that it was reached through, where the kernel tells.
pub(super) fn mount(st: &Statx) -> Option<u64> {
    let told = StatxFlags::from_bits_retain(st.stx_mask).contains(StatxFlags::MNT_ID);
    told.then_some(st.stx_mnt_id)
}

/// The type; `EIO` for one that does not exist.
pub(super) fn file_type(st: &Statx) -> Result<FileType> {
    FileType::from_mode_bits(u32::from(st.stx_mode)).ok_or_else(|| Errno::EIO.into())
}

/// Permission bits.
pub(super) fn mode(st: &Statx) -> u32 {
    u32::from(st.stx_mode) & 0o7777
}

fn time(t: StatxTimestamp) -> Timestamp {
    Timestamp::new(t.tv_sec, t.tv_nsec)
}

/// All attributes.
pub(super) fn metadata(st: &Statx) -> Result<Metadata> {
    let mut meta = Metadata::new(file_type(st)?, u32::from(st.stx_mode));
    meta.uid = st.stx_uid;
    meta.gid = st.stx_gid;
    meta.nlink = u64::from(st.stx_nlink);
    meta.size = st.stx_size;
    meta.blocks = st.stx_blocks;
    meta.block_size = st.stx_blksize;
    meta.rdev = DeviceId::new(st.stx_rdev_major, st.stx_rdev_minor);
    meta.atime = time(st.stx_atime);
    meta.mtime = time(st.stx_mtime);
    meta.ctime = time(st.stx_ctime);
    meta.btime = StatxFlags::from_bits_retain(st.stx_mask)
        .contains(StatxFlags::BTIME)
        .then(|| time(st.stx_btime));
    meta.ino = st.stx_ino;
    meta.dev = key(st).dev;
    Ok(meta)
}
