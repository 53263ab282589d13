//! Limits of stacks: exceeded, or near (rules R002, R023).

use super::kind::FindingKind;
use crate::mount_options::MOUNT_OPTIONS_BYTES_MAX;
use crate::rules::{DOCKER_LAYERS_MAX, LOWER_LAYERS_MAX};

/// From this part of a limit on it counts as near, in percent.
const NEAR_PERCENT: usize = 90;

/// Below this part of all inodes few are free, in percent.
const INODES_LOW_PERCENT: u64 = 5;

const fn is_near(count: usize, limit: usize) -> bool {
    count.saturating_mul(100) >= limit.saturating_mul(NEAR_PERCENT)
}

/// Judges the number of lower layers, data-only ones included.
pub(crate) fn layers(lowers: usize) -> Option<FindingKind> {
    if lowers > LOWER_LAYERS_MAX {
        Some(FindingKind::TooManyLayers)
    } else if is_near(lowers, LOWER_LAYERS_MAX) {
        Some(FindingKind::ManyLayers)
    } else if is_near(lowers, DOCKER_LAYERS_MAX) {
        Some(FindingKind::DockerLayers)
    } else {
        None
    }
}

/// Judges the length of an option string for mount(2).
pub(crate) fn options(bytes: usize) -> Option<FindingKind> {
    if bytes > MOUNT_OPTIONS_BYTES_MAX {
        Some(FindingKind::OptionsTooLong)
    } else if is_near(bytes, MOUNT_OPTIONS_BYTES_MAX) {
        Some(FindingKind::OptionsLong)
    } else {
        None
    }
}

/// Judges the inodes of the upper's filesystem. One that tells no number makes them as needed.
pub(crate) fn inodes(files: u64, free: u64) -> Option<FindingKind> {
    match (files, free) {
        (0, _) => None,
        (_, 0) => Some(FindingKind::InodesExhausted),
        _ if free.saturating_mul(100) < files.saturating_mul(INODES_LOW_PERCENT) => {
            Some(FindingKind::InodesLow)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r002_limits_are_told_when_near_and_when_exceeded() {
        assert_eq!(layers(1), None);
        assert_eq!(layers(115), None);
        assert_eq!(layers(116), Some(FindingKind::DockerLayers));
        assert_eq!(layers(449), Some(FindingKind::DockerLayers));
        assert_eq!(layers(450), Some(FindingKind::ManyLayers));
        assert_eq!(layers(500), Some(FindingKind::ManyLayers));
        assert_eq!(layers(501), Some(FindingKind::TooManyLayers));
    }

    #[test]
    fn r023_a_page_of_options() {
        assert_eq!(options(3000), None);
        assert_eq!(options(3686), Some(FindingKind::OptionsLong));
        assert_eq!(options(4095), Some(FindingKind::OptionsLong));
        assert_eq!(options(4096), Some(FindingKind::OptionsTooLong));
    }

    #[test]
    fn inodes_of_a_filesystem() {
        assert_eq!(inodes(0, 0), None, "btrfs tells none");
        assert_eq!(inodes(1000, 0), Some(FindingKind::InodesExhausted));
        assert_eq!(inodes(1000, 49), Some(FindingKind::InodesLow));
        assert_eq!(inodes(1000, 50), None);
        assert_eq!(inodes(64, 2), Some(FindingKind::InodesLow));
    }
}
