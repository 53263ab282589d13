//! Random mount options: the matrix of what shapes the tree or the upper layer.

use proptest::prelude::Rng;

/// Values of one option and how often each is taken; the empty one leaves the option out.
type Axis = &'static [(&'static str, u32)];

const REDIRECT_DIR: Axis = &[
    ("redirect_dir=on", 8),
    ("", 4),
    ("redirect_dir=follow", 1),
    ("redirect_dir=nofollow", 2),
    ("redirect_dir=off", 1),
];
const METACOPY: Axis = &[("", 4), ("metacopy=on", 4), ("metacopy=off", 1)];
const INDEX: Axis = &[("index=on", 4), ("", 2), ("index=off", 1)];
const NFS_EXPORT: Axis = &[("", 5), ("nfs_export=on", 2), ("nfs_export=off", 1)];
const XINO: Axis = &[("", 3), ("xino=on", 2), ("xino=auto", 1), ("xino=off", 1)];
const UUID: Axis = &[("", 5), ("uuid=on", 1), ("uuid=off", 1), ("uuid=null", 1)];
const FSYNC: Axis = &[("", 8), ("fsync=strict", 1), ("volatile", 1)];

const ALL: &[Axis] = &[REDIRECT_DIR, METACOPY, INDEX, NFS_EXPORT, XINO, UUID, FSYNC];

/// What an ordinary user's mount may say besides `userxattr`.
const USER: &[Axis] = &[
    &[
        ("", 4),
        ("redirect_dir=nofollow", 1),
        ("redirect_dir=on", 1),
    ],
    &[("", 6), ("metacopy=off", 1), ("metacopy=on", 1)],
    INDEX,
    NFS_EXPORT,
    XINO,
    UUID,
    FSYNC,
];

/// Options for one mount, which may exclude each other: then every system must refuse them.
pub fn pick(rng: &mut impl Rng, user: bool) -> Vec<String> {
    let axes = if user { USER } else { ALL };
    let mut options = Vec::new();
    for axis in axes {
        let total: u32 = axis.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.next_u32() % total;
        for (value, weight) in *axis {
            if at < *weight {
                if !value.is_empty() {
                    options.push(String::from(*value));
                }
                break;
            }
            at -= weight;
        }
    }
    options
}
