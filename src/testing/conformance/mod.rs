//! The contract of [`backend`](crate::backend) as tests that any backend can run.
//!
//! A backend's tests name it once, and every case becomes a `#[test]` of its own:
//!
//! ```
//! use layerstack::backend::memory::MemLayer;
//! use layerstack::backend_conformance;
//! use layerstack::testing::conformance::Subject;
//!
//! backend_conformance!(memory, || Subject::new(MemLayer::new()));
//! # fn main() {}
//! ```
//!
//! There is one list of cases, in [`backend_conformance!`](crate::backend_conformance); [`CASES`]
//! is the same list as a value. A case leaves out what the backend declares in its
//! [`Capabilities`](crate::backend::Capabilities) not to have, and prints that it did.
//!
//! For backends that are only read: [`reading`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

pub mod attrs;
pub mod create;
pub mod data;
mod fixture;
pub mod handles;
pub mod names;
pub mod parallel;
pub mod reading;
pub mod remove;
pub mod rename;
pub mod space;
pub mod stage;
pub mod whiteouts;
pub mod xattrs;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use self::fixture::{Fixture, content, content_of, fails, listed, name, new_node, write_all};
use crate::backend::LayerBackend;
use crate::errno::Errno;

/// A backend under test, and what must live as long as it (such as a temporary directory).
#[derive(Debug)]
pub struct Subject {
    /// The backend.
    pub backend: Arc<dyn LayerBackend>,
    /// Dropped after the backend.
    pub guard: Option<Box<dyn Guard>>,
}

/// Anything that can be kept and shown.
pub trait Guard: Any + Debug + Send + Sync {}
impl<T: Any + Debug + Send + Sync> Guard for T {}

impl Subject {
    /// A backend that needs nothing else to live.
    pub fn new(backend: impl LayerBackend + 'static) -> Self {
        Subject {
            backend: Arc::new(backend),
            guard: None,
        }
    }

    /// A backend that needs `guard` to live.
    pub fn guarded(backend: impl LayerBackend + 'static, guard: impl Guard) -> Self {
        Subject {
            backend: Arc::new(backend),
            guard: Some(Box::new(guard)),
        }
    }
}

/// Makes backends to test. Every function that returns a [`Subject`] is one.
pub trait Factory {
    /// A new, empty, writable backend ([`LayerBackend::upper`] is `Some`).
    fn make(&self) -> Subject;

    /// Closes the backend and opens it again on the same tree; `None` if it cannot be done. The
    /// case that needs it says that it was skipped.
    fn reopen(&self, subject: Subject) -> Option<Subject> {
        let _ = subject;
        None
    }

    /// As [`Factory::reopen`], where the backend may refuse.
    ///
    /// # Errors
    /// The backend's.
    fn try_reopen(&self, subject: Subject) -> Result<Option<Subject>, Errno> {
        Ok(self.reopen(subject))
    }
}

impl<F: Fn() -> Subject> Factory for F {
    fn make(&self) -> Subject {
        self()
    }
}

/// One case. It panics where the backend breaks the contract.
pub type Case = fn(&dyn Factory);

/// Every case with its name.
pub const CASES: &[(&str, Case)] = crate::backend_conformance!(@list table ());

/// Makes every case of the conformance suite a `#[test]` for one backend.
///
/// `backend_conformance!(module, factory)`: `module` is the name of the module that holds the
/// tests; `factory` is an expression, evaluated for each test, that gives a
/// [`Factory`]. It sees what is in scope around the macro.
#[macro_export]
macro_rules! backend_conformance {
    (@list $form:tt $args:tt) => {
        $crate::backend_conformance! { @$form $args
            names {
                root_is_a_directory
                absent_names_are_none
                lookup_tells_the_attributes
                directory_methods_need_a_directory
                listing_has_each_name_once
                listing_and_lookup_agree
                odd_names_work_everywhere
                names_differ_by_bytes
                many_entries_are_listed
                depth_is_not_limited_by_path_length
                identity_does_not_change
                statfs_answers
                symlinks_are_not_followed
            }
            create {
                modes_are_exact
                every_plain_type_is_made
                devices_are_made
                device_zero_is_refused
                taken_names_are_refused
                removed_directories_take_nothing
                parents_must_be_directories
                owners_are_set
                groups_are_not_inherited
                symlink_targets_are_bytes
                only_symlinks_have_targets
                parent_times_follow
                opening_depends_on_the_type
                opening_keeps_the_content
            }
            data {
                reading_stops_at_the_end
                writes_are_read_back
                writes_cross_block_borders
                access_modes_are_kept
                gaps_read_as_zeros
                shrinking_forgets_data
                growing_adds_zeros
                empty_writes_change_nothing
                open_files_see_each_other
                file_and_node_attributes_agree
                writing_moves_mtime
                too_large_is_efbig
                sync_succeeds
            }
            space {
                data_is_found
                holes_are_found
                holes_take_no_space
                allocating_grows_the_file
                allocating_may_keep_the_size
                punching_zeros_the_range
                zeroing_grows_only_if_asked
                empty_ranges_are_refused
                whole_files_are_cloned
                parts_of_files_are_cloned
                cloning_behind_the_end_copies_nothing
                clones_are_independent
                foreign_files_are_not_cloned
            }
            remove {
                removal_checks_the_type
                absent_names_are_enoent
                full_directories_stay
                removed_files_stay_usable
                removed_directories_are_empty
                reused_names_are_other_nodes
                links_share_the_node
                links_are_refused
                removed_nodes_are_not_linked
                symlinks_are_linked_themselves
                tmpfiles_get_names
                tmpfiles_are_files
                tmpfiles_open_before_they_have_a_name
            }
            whiteouts {
                whiteouts_are_told
                whiteouts_take_their_name
                whiteouts_are_removed_as_files
                whiteouts_fill_a_directory
                attribute_whiteouts_are_told
                only_empty_files_are_attribute_whiteouts
                similar_devices_are_nodes
                whiteouts_are_moved_and_replaced
            }
            rename {
                free_names_are_taken
                noreplace_replaces_nothing
                files_replace_what_is_no_directory
                directories_replace_empty_directories
                types_must_match
                replaced_nodes_stay_usable
                links_of_one_node_both_stay
                nothing_moves_into_itself
                ancestors_are_not_replaced
                absent_names_are_not_moved
                exchange_takes_anything
                moving_may_leave_a_whiteout
                moving_and_replacing_may_leave_a_whiteout
                removed_directories_are_no_target
                directories_keep_their_content
                renaming_needs_directories
                parent_times_move
            }
            attrs {
                modes_are_set
                times_are_exact
                times_before_1970_are_kept
                omitted_times_stay
                now_is_now
                owners_are_changed
                owner_comes_before_mode
                owner_takes_the_capability
                symlinks_have_times_and_owners
                symlinks_have_no_mode
                empty_changes_do_nothing
                removed_nodes_are_changed
            }
            xattrs {
                attributes_come_and_go
                unset_attributes_are_none
                create_and_replace_are_checked
                values_are_bytes
                values_have_a_limit
                user_attributes_need_files_or_directories
                unknown_namespaces_are_refused
                overlay_attributes_are_raw
                overlay_attributes_are_checked
                attributes_stay_with_the_node
                access_lists_and_modes_agree
            }
            handles {
                handles_find_nodes
                handles_survive_rename
                handles_of_links_are_equal
                handles_of_others_differ
                handles_of_removed_nodes_find_nothing
                unknown_handles_find_nothing
                nodes_survive_rename
                foreign_nodes_are_exdev
            }
            stage {
                work_is_empty_and_outside
                work_moves_into_the_tree
                index_is_made_on_demand
                work_is_empty_when_opened
                content_survives_reopening
                marks_survive_reopening
            }
            parallel {
                one_creator_wins
                readers_run_with_writers
                exchange_is_atomic
                links_are_counted
            }
        }
    };
    (@tests ($factory:expr) $($group:ident { $($case:ident)+ })+) => {
        $(mod $group {
            use super::*;
            $(
                #[test]
                fn $case() {
                    $crate::testing::conformance::$group::$case(&$factory);
                }
            )+
        })+
    };
    (@table () $($group:ident { $($case:ident)+ })+) => {
        &[$($((
            concat!(stringify!($group), "::", stringify!($case)),
            $group::$case as $crate::testing::conformance::Case,
        ),)+)+]
    };
    ($module:ident, $factory:expr) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need them")]
            use super::*;
            $crate::backend_conformance! { @list tests ($factory) }
        }
    };
}
