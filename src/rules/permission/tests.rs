#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use super::*;
use crate::acl::AclEntry;
use crate::meta::FileType;

const EACCES: Result<(), Errno> = Err(Errno::EACCES);
const EPERM: Result<(), Errno> = Err(Errno::EPERM);

fn alice() -> Credentials {
    Credentials::user(10, 20).groups([21])
}

fn with(capability: CapabilitySet) -> Credentials {
    alice().capabilities(capability)
}

fn object(file_type: FileType, mode: u32, uid: u32, gid: u32) -> Metadata {
    Metadata {
        uid,
        gid,
        ..Metadata::new(file_type, mode)
    }
}

fn file(mode: u32, uid: u32, gid: u32) -> Metadata {
    object(FileType::Regular, mode, uid, gid)
}

fn dir(mode: u32, uid: u32, gid: u32) -> Metadata {
    object(FileType::Directory, mode, uid, gid)
}

#[test]
fn r286_the_first_class_that_fits_decides() {
    let rwx = Mask::of(true, true, true);
    let rows = [
        // The owner, even if others may do more.
        (file(0o077, 10, 20), Mask::READ, EACCES),
        (file(0o700, 10, 99), rwx, Ok(())),
        // A group, his own or a further one, even if others may do more.
        (file(0o607, 1, 20), Mask::READ, EACCES),
        (file(0o040, 1, 21), Mask::READ, Ok(())),
        (file(0o040, 1, 21), Mask::UPDATE, EACCES),
        // Others.
        (file(0o770, 1, 2), Mask::READ, EACCES),
        (file(0o006, 1, 2), Mask::UPDATE, Ok(())),
        (file(0, 1, 2), Mask::of(false, false, false), Ok(())),
    ];
    for (meta, mask, expected) in rows {
        assert_eq!(access(&alice(), &meta, None, mask), expected, "{meta:?}");
    }
}

#[test]
fn r286_capabilities_stand_in_for_permissions() {
    let (all, reads) = (
        with(CapabilitySet::DAC_OVERRIDE),
        with(CapabilitySet::DAC_READ_SEARCH),
    );
    let search = Mask::of(true, false, true);
    let rows = [
        (&all, file(0, 1, 2), Mask::UPDATE, Ok(())),
        (&all, file(0o666, 1, 2), Mask::EXECUTE, EACCES),
        (&all, file(0o100, 1, 2), Mask::EXECUTE, Ok(())),
        (&all, dir(0, 1, 2), Mask::ENTRIES, Ok(())),
        (&reads, file(0, 1, 2), Mask::READ, Ok(())),
        (&reads, file(0, 1, 2), Mask::UPDATE, EACCES),
        (&reads, file(0o110, 1, 2), search, EACCES),
        (&reads, dir(0, 1, 2), search, Ok(())),
        (&reads, dir(0, 1, 2), Mask::ENTRIES, EACCES),
    ];
    for (caller, meta, mask, expected) in rows {
        assert_eq!(access(caller, &meta, None, mask), expected, "{meta:?}");
    }
}

#[test]
fn r286_an_access_list_decides_for_all_but_the_owner() {
    let entry = |tag, perm| AclEntry { tag, perm };
    let list = |middle: &[AclEntry], other| Acl {
        entries: [entry(Tag::UserObj, 0)]
            .into_iter()
            .chain(middle.iter().copied())
            .chain([entry(Tag::Other, other)])
            .collect(),
    };
    let named = [
        entry(Tag::User(10), 6),
        entry(Tag::GroupObj, 0),
        entry(Tag::Mask, 4),
    ];
    let groups = [
        entry(Tag::GroupObj, 4),
        entry(Tag::Group(20), 4),
        entry(Tag::Group(21), 2),
        entry(Tag::Mask, 7),
    ];
    let strangers = [entry(Tag::GroupObj, 7), entry(Tag::Mask, 7)];
    let meta = file(0o070, 1, 2);
    let rows = [
        // A named user, cut by the mask.
        (list(&named, 7), &meta, Mask::READ, Ok(())),
        (list(&named, 7), &meta, Mask::WRITE, EACCES),
        // One group must grant all of it, and being in one excludes from what others get.
        (list(&groups, 7), &meta, Mask::WRITE, Ok(())),
        (list(&groups, 7), &meta, Mask::UPDATE, EACCES),
        (list(&groups, 7), &meta, Mask::EXECUTE, EACCES),
        // In no group: others, not cut.
        (list(&strangers, 2), &meta, Mask::WRITE, Ok(())),
        (list(&strangers, 2), &meta, Mask::READ, EACCES),
        // Without bits for the group class the list is not asked.
        (list(&named, 7), &file(0o007, 1, 2), Mask::WRITE, Ok(())),
        // The owner has the bits of the mode.
        (list(&named, 7), &file(0o270, 10, 2), Mask::WRITE, Ok(())),
        (list(&named, 7), &file(0o270, 10, 2), Mask::READ, EACCES),
    ];
    for (acl, meta, mask, expected) in rows {
        let got = access(&alice(), meta, Some(&acl), mask);
        assert_eq!(got, expected, "{acl:?} {mask:?}");
    }
    let capable = with(CapabilitySet::DAC_OVERRIDE);
    let got = access(&capable, &meta, Some(&list(&named, 7)), Mask::WRITE);
    assert_eq!(got, Ok(()));
    assert!(needs_acl(&alice(), &meta, Mask::READ));
    assert!(!needs_acl(&capable, &meta, Mask::READ));
    assert!(!needs_acl(&alice(), &file(0o070, 10, 2), Mask::READ));
}

#[test]
fn set_id_bits_are_lost_by_writing() {
    let alice = alice();
    let caller = Some(&alice);
    assert_eq!(mode_after_write(caller, &file(0o6755, 10, 20)), Some(0o755));
    assert_eq!(mode_after_write(caller, &file(0o2644, 10, 20)), None);
    assert_eq!(mode_after_write(caller, &file(0o2644, 10, 5)), Some(0o644));
    assert_eq!(mode_after_write(caller, &file(0o755, 10, 20)), None);
    assert_eq!(mode_after_write(caller, &dir(0o6755, 10, 20)), None);
    let capable = with(CapabilitySet::FSETID);
    assert_eq!(mode_after_write(Some(&capable), &file(0o6755, 1, 2)), None);
    assert_eq!(mode_after_write(None, &file(0o6755, 1, 2)), None);
    assert!(acl_clears_set_gid(caller, &dir(0o2755, 10, 5)));
    assert!(!acl_clears_set_gid(caller, &dir(0o2755, 10, 21)));
    assert!(!acl_clears_set_gid(caller, &dir(0o755, 10, 5)));
}

#[test]
fn sticky_directories_protect_names() {
    let rows = [
        (dir(0o1777, 1, 1), file(0o666, 2, 2), EPERM),
        (dir(0o777, 1, 1), file(0o666, 2, 2), Ok(())),
        (dir(0o1777, 10, 1), file(0o666, 2, 2), Ok(())),
        (dir(0o1777, 1, 1), file(0o666, 10, 2), Ok(())),
    ];
    for (dir, object, expected) in rows {
        let got = may_take_from(&alice(), &dir, &object);
        assert_eq!(got, expected, "{dir:?} {object:?}");
        let capable = with(CapabilitySet::FOWNER);
        assert_eq!(may_take_from(&capable, &dir, &object), Ok(()));
    }
}

#[test]
fn owners_give_their_files_only_to_their_groups() {
    let (mine, other) = (file(0o644, 10, 5), file(0o644, 1, 20));
    let rows = [
        (&mine, Some(10), None, Ok(())),
        (&mine, Some(11), None, EPERM),
        (&mine, None, Some(5), Ok(())),
        (&mine, Some(10), Some(21), Ok(())),
        (&mine, None, Some(22), EPERM),
        (&other, None, Some(20), EPERM),
        (&other, Some(1), None, EPERM),
    ];
    for (meta, uid, gid, expected) in rows {
        let got = may_chown(Some(&alice()), meta, uid, gid);
        assert_eq!(got, expected, "{uid:?} {gid:?}");
        let capable = with(CapabilitySet::CHOWN);
        assert_eq!(may_chown(Some(&capable), meta, uid, gid), Ok(()));
    }
}

#[test]
fn r281_attributes_ask_for_capabilities() {
    let x = |name: &str| XattrName::try_from(name).unwrap();
    let meta = dir(0o1777, 1, 1);
    let admin = with(CapabilitySet::SYS_ADMIN);
    let rows = [
        ("trusted.t", false, Err(Errno::ENODATA), Ok(false)),
        ("trusted.t", true, Err(Errno::EPERM), Ok(false)),
        ("security.s", true, Ok(false), Ok(false)),
        ("user.u", false, Ok(true), Ok(true)),
        ("user.u", true, Err(Errno::EPERM), Err(Errno::EPERM)),
    ];
    for (name, write, plain, capable) in rows {
        let ask = |caller: &Credentials| may_use_xattr(caller, &meta, &x(name), write);
        assert_eq!(ask(&alice()), plain, "{name}");
        assert_eq!(ask(&admin), capable, "{name}");
    }
    assert_eq!(may_write_security(&alice(), &x("security.s")), EPERM);
    assert_eq!(may_write_security(&admin, &x("security.s")), Ok(()));
    assert_eq!(may_write_security(&admin, &x("security.capability")), EPERM);
    let setfcap = with(CapabilitySet::SETFCAP);
    assert_eq!(
        may_write_security(&setfcap, &x("security.capability")),
        Ok(())
    );
    assert!(!shows_xattr(Some(&alice()), &x("trusted.t")));
    assert!(shows_xattr(Some(&admin), &x("trusted.t")));
    assert!(shows_xattr(Some(&alice()), &x("user.u")));
}
