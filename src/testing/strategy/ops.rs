//! Operations.

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prop_oneof;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, Strategy};

use super::acl::{AclEntry, acl_bytes};
use super::layers::target;
use super::{Profile, op_path};
use crate::backend::{AllocateMode, XattrMode};
use crate::meta::{DeviceId, FileType, InodeFlags, SetAttr, SetTime, Timestamp};
use crate::op::{AccessMode, Op, OpenOptions, RenameFlags};
use crate::xattr_name::XattrName;

/// Sequences of one to [`Profile::ops_max`] operations.
pub fn ops(profile: &Profile) -> BoxedStrategy<Vec<Op>> {
    vec(op(profile), 1..=profile.ops_max.max(1)).boxed()
}

/// One operation. `Sync` is rare, as it is slow.
pub fn op(profile: &Profile) -> BoxedStrategy<Op> {
    let op = prop_oneof![
        20 => names(profile),
        10 => create(profile),
        10 => content(profile),
        10 => attributes(profile),
        8 => look(profile),
        10 => handles(profile),
    ]
    .boxed();
    match profile.callers {
        true => super::callers::on_behalf(profile, op),
        false => op,
    }
}

/// Ways to open a file: sensible ones mostly, every combination sometimes.
pub fn open_options() -> BoxedStrategy<OpenOptions> {
    let new = OpenOptions::new;
    let common = select(vec![
        new().read(true),
        new().write(true),
        new().read(true).write(true),
        new().append(true),
        new().write(true).truncate(true),
        new().read(true).truncate(true),
        new().write(true).create(true),
        new().write(true).create(true).truncate(true),
        new().read(true).create(true),
        new().write(true).create_new(true),
        new().read(true).write(true).tmpfile(true),
        new().write(true).no_follow(true),
    ]);
    let any = (
        (weighted(0.6), weighted(0.5), weighted(0.2), weighted(0.3)),
        (weighted(0.4), weighted(0.2), weighted(0.1), weighted(0.1)),
    )
        .prop_map(move |((r, w, a, t), (c, n, f, tmp))| {
            new()
                .read(r)
                .write(w)
                .append(a)
                .truncate(t)
                .create(c)
                .create_new(n)
                .no_follow(f)
                .tmpfile(tmp)
        });
    (prop_oneof![5 => common, 1 => any], create_mode())
        .prop_map(|(options, mode)| options.mode(mode))
        .boxed()
}

fn create_mode() -> BoxedStrategy<u32> {
    select(vec![0o644u32, 0o666, 0o777, 0o600, 0o6755, 0o1777, 0]).boxed()
}

fn position() -> BoxedStrategy<u64> {
    prop_oneof![
        6 => Just(0u64),
        3 => select(vec![1u64, 3, 4095, 4096, 5000, 10_000, 70_000]),
    ]
    .boxed()
}

fn length() -> BoxedStrategy<u64> {
    select(vec![1u64, 0, 2, 5, 4096, 6000, 100_000]).boxed()
}

fn data() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        8 => vec(select(&b"ABC"[..]), 0..6),
        1 => select(&[1usize, 4096, 5000][..]).prop_map(|n| vec![b'w'; n]),
    ]
    .boxed()
}

fn set_attr(profile: &Profile) -> BoxedStrategy<SetAttr> {
    let mut modes = vec![0o644u32, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o6777, 0];
    if profile.callers {
        modes.extend([0o777, 0o666, 0o2777, 0o2770, 0o750, 0o2644, 0o711]);
    }
    let modes = select(modes);
    let ids = select(profile.ids.clone());
    let time = prop_oneof![
        2 => Just(SetTime::Omit),
        1 => Just(SetTime::Now),
        2 => (-1000..1_500_000_000i64, 0..1_000_000_000u32)
            .prop_map(|(s, n)| SetTime::At(Timestamp::new(s, n))),
    ];
    let owner = (option::of(ids.clone()), option::of(ids));
    prop_oneof![
        4 => modes.clone().prop_map(SetAttr::mode),
        2 => owner.clone().prop_map(|(u, g)| SetAttr::owner(u, g)),
        2 => (time.clone(), time.clone()).prop_map(|(a, m)| SetAttr::times(a, m)),
        1 => (option::of(modes), owner, time.clone(), time).prop_map(
            |(mode, (uid, gid), atime, mtime)| SetAttr { mode, uid, gid, atime, mtime }
        ),
    ]
    .boxed()
}

/// Operations on names: remove, rename, link.
fn names(profile: &Profile) -> BoxedStrategy<Op> {
    let path = op_path(profile);
    let pair = (path.clone(), path.clone());
    let flags = prop_oneof![
        6 => Just(RenameFlags::NONE),
        2 => Just(RenameFlags::NO_REPLACE),
        3 => Just(RenameFlags::EXCHANGE),
        1 => select(vec![
            RenameFlags::WHITEOUT,
            RenameFlags { no_replace: true, exchange: true, whiteout: false },
        ]),
    ];
    prop_oneof![
        5 => path.clone().prop_map(|path| Op::RemoveFile { path }),
        4 => path.clone().prop_map(|path| Op::RemoveDir { path }),
        1 => path.prop_map(|path| Op::RemoveDirAll { path }),
        7 => (pair.clone(), flags).prop_map(|((from, to), flags)| Op::Rename { from, to, flags }),
        3 => pair.prop_map(|(from, to)| Op::HardLink { from, to }),
    ]
    .boxed()
}

fn create(profile: &Profile) -> BoxedStrategy<Op> {
    let path = op_path(profile);
    let mut kinds = vec![
        (FileType::Regular, 0, 0),
        (FileType::Fifo, 0, 0),
        (FileType::Socket, 0, 0),
        (FileType::CharDevice, 0, 0),
        (FileType::Directory, 0, 0),
        (FileType::Symlink, 0, 0),
    ];
    if profile.privileged {
        kinds.push((FileType::CharDevice, 1, 3));
        kinds.push((FileType::BlockDevice, 0, 0));
    }
    let node = (path.clone(), select(kinds), create_mode());
    prop_oneof![
        5 => (path.clone(), create_mode()).prop_map(|(path, mode)| Op::CreateDir { path, mode }),
        1 => (path.clone(), create_mode()).prop_map(|(path, mode)| Op::CreateDirAll { path, mode }),
        2 => (target(), path).prop_map(|(target, path)| Op::Symlink { target, path }),
        2 => node.prop_map(|(path, (file_type, major, minor), mode)| Op::MakeNode {
            path,
            file_type,
            mode,
            rdev: DeviceId::new(major, minor),
        }),
    ]
    .boxed()
}

fn content(profile: &Profile) -> BoxedStrategy<Op> {
    let path = op_path(profile);
    let open = (path.clone(), open_options());
    let write = prop_oneof![
        3 => Just(OpenOptions::new().write(true).create(true)),
        1 => open_options(),
    ];
    prop_oneof![
        4 => (path.clone(), write, position(), data()).prop_map(
            |(path, options, offset, data)| Op::Write { path, options, offset, data }
        ),
        3 => open.prop_map(|(path, options)| Op::Open { path, options }),
        2 => (path.clone(), length()).prop_map(|(path, len)| Op::SetLen { path, len }),
        1 => (path.clone(), allocate(), position(), length()).prop_map(
            |(path, mode, offset, len)| Op::Allocate { path, mode, offset, len }
        ),
        1 => (path.clone(), path).prop_map(|(from, to)| Op::Copy { from, to }),
    ]
    .boxed()
}

/// Not what shifts data: where it is refused, ext4 touches the file all the same.
fn allocate() -> BoxedStrategy<AllocateMode> {
    select(vec![
        AllocateMode::Allocate,
        AllocateMode::AllocateKeepSize,
        AllocateMode::PunchHole,
        AllocateMode::ZeroRange,
        AllocateMode::ZeroRangeKeepSize,
    ])
    .boxed()
}

fn xattr_name(profile: &Profile) -> BoxedStrategy<XattrName> {
    let mut names = vec!["user.a"; 6];
    names.extend(["user.b", "user.b", "user.overlay.opaque", "user."]);
    if profile.privileged {
        names.extend([
            "trusted.t",
            "trusted.overlay.x",
            "trusted.overlay.opaque",
            "trusted.overlay.overlay.x",
            "trusted.overlayxxx",
            "security.selfmade",
            "nonsense.x",
        ]);
    }
    let names: Vec<XattrName> = names
        .into_iter()
        .filter_map(|n| XattrName::new(n).ok())
        .collect();
    select(names).boxed()
}

/// Name and value of an attribute to set.
fn xattr(profile: &Profile) -> BoxedStrategy<(XattrName, Vec<u8>)> {
    let value = select(vec![
        b"".to_vec(),
        b"1".to_vec(),
        b"value".to_vec(),
        b"y".to_vec(),
    ]);
    let plain = (xattr_name(profile), value);
    if !profile.acls {
        return plain.boxed();
    }
    let entry = (proptest::bool::ANY, select(profile.ids.clone()), 0..8u16)
        .prop_map(|(group, id, perm)| AclEntry { group, id, perm });
    let list = prop_oneof![
        4 => (0..0o1000u32, vec(entry, 0..3)).prop_map(|(mode, named)| acl_bytes(mode, &named)),
        1 => select(vec![Vec::new(), vec![2, 0, 0, 0], vec![1, 0, 0, 0], b"junk!".to_vec()]),
    ];
    let acl = (acl_name(), list);
    prop_oneof![3 => plain, 1 => acl].boxed()
}

fn acl_name() -> BoxedStrategy<XattrName> {
    let names = ["system.posix_acl_access", "system.posix_acl_default"];
    let names: Vec<XattrName> = names
        .iter()
        .filter_map(|n| XattrName::new(n).ok())
        .collect();
    select(names).boxed()
}

fn attributes(profile: &Profile) -> BoxedStrategy<Op> {
    let path = op_path(profile);
    let at = (path, weighted(0.7));
    let mode = select(vec![
        XattrMode::Set,
        XattrMode::Set,
        XattrMode::Create,
        XattrMode::Replace,
    ]);
    let names = prop_oneof![4 => xattr_name(profile), u32::from(profile.acls) => acl_name()];
    prop_oneof![
        3 => (at.clone(), set_attr(profile)).prop_map(
            |((path, follow), attr)| Op::SetAttr { path, follow, attr }
        ),
        3 => (at.clone(), xattr(profile), mode).prop_map(
            |((path, follow), (name, value), mode)| Op::SetXattr { path, follow, name, value, mode }
        ),
        2 => (at, names).prop_map(
            |((path, follow), name)| Op::RemoveXattr { path, follow, name }
        ),
    ]
    .boxed()
}

/// Operations that only look.
fn look(profile: &Profile) -> BoxedStrategy<Op> {
    let path = op_path(profile);
    let at = (path.clone(), weighted(0.5));
    let names = prop_oneof![4 => xattr_name(profile), u32::from(profile.acls) => acl_name()];
    let plain = prop_oneof![
        20 => at.clone().prop_map(|(path, follow)| Op::Metadata { path, follow }),
        10 => path.clone().prop_map(|path| Op::ReadDir { path }),
        5 => path.clone().prop_map(|path| Op::ReadLink { path }),
        5 => (path.clone(), access_mode()).prop_map(|(path, mode)| Op::Access { path, mode }),
        10 => (path.clone(), position(), length()).prop_map(
            |(path, offset, len)| Op::Read { path, offset, len }
        ),
        5 => (at.clone(), names).prop_map(
            |((path, follow), name)| Op::GetXattr { path, follow, name }
        ),
        5 => at.prop_map(|(path, follow)| Op::ListXattrs { path, follow }),
        1 => Just(Op::StatFs),
        1 => Just(Op::Sync),
    ];
    if !profile.callers {
        return plain.boxed();
    }
    prop_oneof![
        62 => plain,
        2 => path.clone().prop_map(|path| Op::GetFlags { path }),
        3 => (path, inode_flags()).prop_map(|(path, flags)| Op::SetFlags { path, flags }),
    ]
    .boxed()
}

/// Those that are recorded; the others of a directory go over to what is made in it where the layer's
/// filesystem does that.
fn inode_flags() -> BoxedStrategy<InodeFlags> {
    (weighted(0.15), weighted(0.15))
        .prop_map(|(append, immutable)| InodeFlags {
            append,
            immutable,
            ..InodeFlags::default()
        })
        .boxed()
}

fn access_mode() -> BoxedStrategy<AccessMode> {
    (weighted(0.5), weighted(0.5), weighted(0.3))
        .prop_map(|(read, write, execute)| AccessMode::new(read, write, execute))
        .boxed()
}

fn handles(profile: &Profile) -> BoxedStrategy<Op> {
    let path = op_path(profile);
    let slot = || 0..3u8;
    prop_oneof![
        5 => (slot(), path.clone(), open_options()).prop_map(
            |(slot, path, options)| Op::HandleOpen { slot, path, options }
        ),
        2 => (slot(), position(), length()).prop_map(
            |(slot, offset, len)| Op::HandleRead { slot, offset, len }
        ),
        2 => (slot(), position(), data()).prop_map(
            |(slot, offset, data)| Op::HandleWrite { slot, offset, data }
        ),
        2 => slot().prop_map(|slot| Op::HandleMetadata { slot }),
        1 => (slot(), length()).prop_map(|(slot, len)| Op::HandleSetLen { slot, len }),
        1 => (slot(), set_attr(profile)).prop_map(
            |(slot, attr)| Op::HandleSetAttr { slot, attr }
        ),
        1 => (slot(), allocate(), position(), length()).prop_map(
            |(slot, mode, offset, len)| Op::HandleAllocate { slot, mode, offset, len }
        ),
        1 => (slot(), path).prop_map(|(slot, to)| Op::HandleLink { slot, to }),
        1 => slot().prop_map(|slot| Op::HandleSync { slot }),
        1 => slot().prop_map(|slot| Op::HandleClose { slot }),
    ]
    .boxed()
}
