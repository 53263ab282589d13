#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::*;

const ACCESS_NAME: &str = "system.posix_acl_access";
const DEFAULT_NAME: &str = "system.posix_acl_default";

fn entry(tag: Tag, perm: u16) -> AclEntry {
    AclEntry { tag, perm }
}

/// Lists of every shape: with and without mask, named users and groups.
fn lists() -> Vec<Acl> {
    let mut lists = Vec::new();
    for perms in 0..8u16 {
        for shape in 0..8 {
            let (user, group, mask) = (shape & 1 != 0, shape & 2 != 0, shape & 4 != 0);
            let mut entries = vec![entry(Tag::UserObj, perms ^ 7)];
            if user {
                entries.push(entry(Tag::User(4242), perms));
                entries.push(entry(Tag::User(7), 7));
            }
            entries.push(entry(Tag::GroupObj, perms.rotate_left(1) & 7));
            if group {
                entries.push(entry(Tag::Group(99), perms));
            }
            if mask {
                entries.push(entry(Tag::Mask, perms ^ 5));
            }
            entries.push(entry(Tag::Other, perms ^ 2));
            lists.push(Acl { entries });
        }
    }
    lists
}

/// Values that are refused, and some that are odd.
fn odd_values() -> Vec<Vec<u8>> {
    let good = lists().pop().unwrap().to_bytes();
    let mut values = vec![
        vec![],
        vec![2],
        vec![2, 0, 0, 0],
        vec![3, 0, 0, 0],
        good[..good.len() - 1].to_vec(),
        [&[1], &good[1..]].concat(),
    ];
    let full = lists().pop().unwrap().entries;
    for at in 0..full.len() {
        let mut entries = full.clone();
        entries.remove(at);
        values.push(Acl { entries }.to_bytes());
        let mut entries = full.clone();
        entries.insert(at, full[at]);
        values.push(Acl { entries }.to_bytes());
        let mut entries = full.clone();
        entries.swap(at, (at + 1) % full.len());
        values.push(Acl { entries }.to_bytes());
        let mut entries = full.clone();
        entries[at].perm = 8;
        values.push(Acl { entries }.to_bytes());
    }
    for (at, byte) in [(4, 0x40), (4, 0), (16, 0xff), (8, 9)] {
        let mut value = good.clone();
        value[at] = byte;
        values.push(value);
    }
    let mut nobody = good;
    nobody[16..20].fill(0xff);
    values.push(nobody);
    values
}

/// A directory that keeps access control lists; `None`, printed, where there is none.
fn acl_dir() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    let list = lists().pop().unwrap().to_bytes();
    if let Err(e) = xattr::set(dir.path(), DEFAULT_NAME, &list) {
        println!(
            "skipped: no access control lists in {}: {e}",
            dir.path().display()
        );
        return None;
    }
    xattr::remove(dir.path(), DEFAULT_NAME).unwrap();
    Some(dir)
}

fn mode_of(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn kernel_set(path: &Path, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    xattr::set(path, name, value).map_err(|e| Errno::of_io(&e))?;
    Ok(xattr::get(path, name).unwrap())
}

#[test]
fn values_survive_reading_and_writing() {
    for list in lists() {
        assert_eq!(Acl::parse(&list.to_bytes()), Ok(Some(list)));
    }
}

#[test]
#[cfg_attr(miri, ignore = "asks the kernel")]
fn setting_an_access_list_is_as_in_the_kernel() {
    let Some(dir) = acl_dir() else { return };
    let file = dir.path().join("f");
    std::fs::write(&file, b"").unwrap();
    let values = lists()
        .into_iter()
        .map(|list| list.to_bytes())
        .chain(odd_values());
    for value in values {
        let _ = xattr::remove(&file, ACCESS_NAME);
        chmod(&file, 0o6751);
        let kernel = kernel_set(&file, ACCESS_NAME, &value).map(|value| NewAccess {
            value,
            mode: mode_of(&file),
        });
        assert_eq!(set_access(&value, 0o6751), kernel, "{value:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "asks the kernel")]
fn setting_a_default_list_is_as_in_the_kernel() {
    let Some(dir) = acl_dir() else { return };
    let values = lists()
        .into_iter()
        .map(|list| list.to_bytes())
        .chain(odd_values());
    for value in values {
        let _ = xattr::remove(dir.path(), DEFAULT_NAME);
        let kernel = kernel_set(dir.path(), DEFAULT_NAME, &value);
        assert_eq!(set_default(&value), kernel, "{value:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "asks the kernel")]
fn chmod_is_as_in_the_kernel() {
    let Some(dir) = acl_dir() else { return };
    let file = dir.path().join("f");
    std::fs::write(&file, b"").unwrap();
    for mut list in lists() {
        for mode in [0o000, 0o640, 0o4777, 0o1053, 0o2306] {
            if kernel_set(&file, ACCESS_NAME, &list.to_bytes())
                .unwrap_or_default()
                .is_none()
            {
                continue;
            }
            chmod(&file, mode);
            list.chmod(mode);
            assert_eq!(
                xattr::get(&file, ACCESS_NAME).unwrap(),
                Some(list.to_bytes())
            );
            assert_eq!(list.to_mode().0, mode & 0o777);
            assert_eq!(mode_of(&file), mode);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "asks the kernel")]
fn inheriting_is_as_in_the_kernel() {
    let Some(dir) = acl_dir() else { return };
    let (file, sub) = (dir.path().join("f"), dir.path().join("d"));
    for list in lists() {
        let Ok(Some(default)) = kernel_set(dir.path(), DEFAULT_NAME, &list.to_bytes()) else {
            continue;
        };
        for mode in [0o000, 0o640, 0o777, 0o753, 0o306] {
            let open = std::fs::File::options()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&file);
            drop(open.unwrap());
            std::fs::DirBuilder::new().mode(mode).create(&sub).unwrap();
            let expected = list.inherit(mode);
            for node in [&file, &sub] {
                let access = xattr::get(node, ACCESS_NAME).unwrap();
                assert_eq!(expected.access.as_ref().map(Acl::to_bytes), access);
                assert_eq!(expected.mode, mode_of(node), "{list:?} {mode:o}");
            }
            assert_eq!(
                xattr::get(&sub, DEFAULT_NAME).unwrap(),
                Some(default.clone())
            );
            std::fs::remove_file(&file).unwrap();
            std::fs::remove_dir(&sub).unwrap();
        }
    }
}
