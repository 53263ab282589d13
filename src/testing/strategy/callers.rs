//! On whose behalf operations run.

use proptest::collection::vec;
use proptest::option;
use proptest::prop_oneof;
use proptest::sample::{select, subsequence};
use proptest::strategy::{BoxedStrategy, Just, Strategy};

use super::Profile;
use crate::credentials::{CapabilitySet, Credentials};
use crate::op::Op;

/// Callers with the ids of the profile: mostly without capabilities, some with a few, some with all.
pub fn caller(profile: &Profile) -> BoxedStrategy<Credentials> {
    let ids = profile.ids.clone();
    let id = select(ids.clone());
    let one = select(vec![
        CapabilitySet::CHOWN,
        CapabilitySet::DAC_OVERRIDE,
        CapabilitySet::DAC_READ_SEARCH,
        CapabilitySet::FOWNER,
        CapabilitySet::FSETID,
        CapabilitySet::LINUX_IMMUTABLE,
        CapabilitySet::SYS_ADMIN,
        CapabilitySet::MKNOD,
        CapabilitySet::SETFCAP,
    ]);
    let capabilities = prop_oneof![
        6 => Just(CapabilitySet::EMPTY),
        3 => vec(one, 1..5).prop_map(|some| {
            some.into_iter().fold(CapabilitySet::EMPTY, |set, one| set | one)
        }),
        1 => Just(CapabilitySet::ALL),
    ];
    let groups = 0..=ids.len();
    let umask = select(vec![0o022u32, 0o022, 0o077, 0o002, 0, 0o777]);
    (
        id.clone(),
        id,
        subsequence(ids, groups),
        capabilities,
        umask,
    )
        .prop_map(|(uid, gid, groups, capabilities, umask)| {
            Credentials::user(uid, gid)
                .groups(groups)
                .capabilities(capabilities)
                .umask(umask)
        })
        .boxed()
}

/// Lets most operations run on somebody's behalf.
pub(super) fn on_behalf(profile: &Profile, op: BoxedStrategy<Op>) -> BoxedStrategy<Op> {
    let more = proptest::bool::ANY;
    (op, option::weighted(0.75, caller(profile)), more)
        .prop_map(|(op, caller, more)| match (op, caller) {
            // Works on the whole union, on no object.
            (op @ (Op::Sync | Op::StatFs), _) | (op, None) => op,
            // So that more files are open, for others to use.
            (op @ Op::HandleOpen { .. }, Some(_)) if more => op,
            (op, Some(caller)) => op.run_as(&caller),
        })
        .boxed()
}
