//! What anything must do that behaves like a merged file system, one test per case.
//!
//! Every case starts from a tree that is there before (for a union: in a lower layer), does a few
//! operations and asserts what `namei(7)` and the manual pages say. Many are what implementations of
//! unions got wrong: a removed directory's old content coming back, a renamed directory losing its
//! children, attributes of a symlink applied to its target.
//!
//! ```
//! use layerstack::merged_conformance;
//! use layerstack::testing::{LayerSpec, ReferenceModel};
//!
//! merged_conformance!(model, |tree: &LayerSpec| ReferenceModel::from_spec(tree).unwrap());
//! # fn main() {}
//! ```
//!
//! There is one list of cases, in [`merged_conformance!`](crate::merged_conformance); [`CASES`] is the
//! same list as a value. A case leaves out what the factory [declares](Factory::declared) not to be there,
//! and prints that it did.
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
pub mod links;
pub mod model;
pub mod open;
pub mod paths;
pub mod remove;
pub mod rename;
pub mod xattrs;

use super::MergedFs;
use crate::testing::model::Weakenings;
use crate::testing::spec::LayerSpec;
use crate::xattr_name::XattrNamespace;

/// What a file system under test has, and in what it is weaker than POSIX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent capability"
)]
pub struct Declared {
    /// In what it is weaker.
    pub weakenings: Weakenings,
    /// Device nodes can be made.
    pub device_nodes: bool,
    /// Files can be given to any owner.
    pub ownership: bool,
    /// Attributes under `trusted.` and `security.`.
    pub trusted_xattrs: bool,
    /// POSIX access control lists.
    pub acls: bool,
    /// Unnamed files.
    pub tmpfile: bool,
    /// Ranges of files can be made zero.
    pub zeroes_ranges: bool,
    /// Ranges of whole blocks (of 4096 bytes) can be taken out of files, and holes put in.
    pub shifts_ranges: bool,
    /// Which names are one file shows in inode numbers at once, not only after opening again.
    pub link_groups: bool,
}

impl Declared {
    /// Everything, as on a POSIX file system.
    #[must_use]
    pub const fn full() -> Self {
        Declared {
            weakenings: Weakenings::NONE,
            device_nodes: true,
            ownership: true,
            trusted_xattrs: true,
            acls: true,
            tmpfile: true,
            zeroes_ranges: true,
            shifts_ranges: true,
            link_groups: true,
        }
    }

    /// Everything, but weaker in these ways.
    #[must_use]
    pub const fn weaker(weakenings: Weakenings) -> Self {
        let mut declared = Declared::full();
        declared.weakenings = weakenings;
        declared
    }

    /// A union at default options, of layers whose overlay attributes are in `namespace`. Which names are one file
    /// need not show at once: layers may lie on filesystems that have no UUID.
    #[must_use]
    pub const fn union(namespace: XattrNamespace) -> Self {
        let mut declared = Declared::weaker(Weakenings::default_options(namespace));
        declared.link_groups = false;
        declared
    }
}

/// Makes file systems to test. Every function from a tree to a [`MergedFs`] is one, with everything
/// that POSIX has.
pub trait Factory {
    /// A new file system that shows exactly this tree (no whiteouts, no overlay attributes), can be
    /// written to, and acts as its owner 0:0 with the umask `022`.
    fn make(&self, tree: &LayerSpec) -> Box<dyn MergedFs>;

    /// What it has.
    fn declared(&self) -> Declared {
        Declared::full()
    }

    /// Why none can be made on this machine; every case is then skipped, and says so.
    fn unavailable(&self) -> Option<String> {
        None
    }
}

/// Runs one case, unless there is nothing to run it on.
pub fn run(case: Case, factory: &dyn Factory) {
    match factory.unavailable() {
        None => case(factory),
        Some(reason) => println!("skipped: {reason}"),
    }
}

impl<M: MergedFs + 'static, F: Fn(&LayerSpec) -> M> Factory for F {
    fn make(&self, tree: &LayerSpec) -> Box<dyn MergedFs> {
        Box::new(self(tree))
    }
}

/// One case. It panics where the file system is none.
pub type Case = fn(&dyn Factory);

/// Every case with its name.
pub const CASES: &[(&str, Case)] = crate::merged_conformance!(@list table ());

/// Makes every case of the suite for merged file systems a `#[test]`.
///
/// `merged_conformance!(module, factory)`: `module` is the name of the module that holds the tests;
/// `factory` is an expression, evaluated for each test, that gives a
/// [`Factory`]. It sees what is in scope around the macro.
#[macro_export]
macro_rules! merged_conformance {
    (@list $form:tt $args:tt) => {
        $crate::merged_conformance! { @$form $args
            paths {
                the_root_is_a_directory
                absent_names_are_enoent
                only_directories_are_passed
                slashes_demand_directories
                dots_are_physical
                the_root_is_its_own_parent
                symlinks_are_followed_in_the_middle
                symlinks_at_the_end_are_followed_if_asked
                absolute_symlinks_stay_inside
                forty_symlinks_and_no_more
                names_have_255_bytes
                odd_names_work_everywhere
                listings_tell_names_and_types
                depth_is_not_limited
            }
            create {
                directories_are_made_and_empty
                taken_names_are_eexist
                parents_must_exist
                slashes_behind_new_names
                the_umask_takes_bits_away
                set_gid_directories_give_their_group
                default_lists_are_inherited
                every_type_is_made
                directories_and_symlinks_are_no_nodes
                symlink_targets_are_bytes
                parents_are_made_on_the_way
                creating_moves_the_parents_mtime_only
                unnamed_files_get_names
            }
            open {
                some_access_must_be_asked_for
                creating_anew_needs_a_free_name
                missing_files_are_created_if_asked
                dangling_symlinks_are_created_through
                symlinks_may_be_refused
                only_files_are_opened
                truncating_empties
                opening_changes_nothing
            }
            data {
                what_is_written_is_read
                parts_are_replaced
                gaps_read_as_zeros
                appending_is_at_the_end
                sizes_are_set
                directories_have_no_size_to_set
                handles_may_only_do_what_they_were_opened_for
                holes_are_punched
                ranges_are_zeroed
                ranges_are_taken_out_and_put_in
                files_are_copied
                copying_onto_itself_is_refused
                writing_moves_mtime
                capabilities_fall_when_written
            }
            remove {
                files_are_removed
                directories_are_removed_when_empty
                types_are_checked
                roots_and_dots_stay
                removed_names_are_free
                a_file_takes_the_place_of_a_directory
                old_content_does_not_come_back
                old_content_does_not_come_back_after_rename
                whole_trees_are_removed
                symlinks_are_removed_themselves
                removing_touches_the_parent
            }
            rename {
                files_move
                files_replace_files
                types_must_match
                nothing_moves_into_itself
                full_directories_are_not_replaced
                new_directories_move_with_content
                given_directories_move_with_content
                moved_directories_leave_their_name_free
                a_directory_replaces_an_empty_one
                a_directory_replaces_an_emptied_one
                nothing_is_replaced_if_asked
                two_names_change_places
                a_file_and_a_directory_change_places
                two_names_of_one_file_both_stay
                slashes_are_for_directories
                ends_without_name_are_refused
                whiteouts_are_not_left
                symlinks_move_themselves
                attributes_move_along
            }
            links {
                names_share_the_file
                given_names_share_the_file
                counts_follow
                symlinks_are_linked_themselves
                directories_are_not_linked
                targets_must_be_free
            }
            attrs {
                modes_are_set
                modes_of_parents_stay
                owners_are_set
                a_change_of_owner_drops_set_id_bits
                times_are_exact
                symlinks_have_attributes_of_their_own
                symlinks_have_no_mode
                attributes_of_given_directories_are_set
                access_lists_follow_the_mode
            }
            xattrs {
                attributes_come_and_go
                create_and_replace_are_checked
                given_attributes_are_kept_by_changes
                user_attributes_need_files_or_directories
                unknown_namespaces_are_refused
                names_of_unions_are_ordinary
                values_are_bytes
                access_lists_are_checked
            }
            handles {
                empty_slots_are_ebadf
                removed_files_stay_usable
                replaced_files_stay_usable
                handles_survive_rename
                readers_see_what_is_written
                attributes_are_set_through_handles
                sizes_are_set_through_handles
                slots_are_used_again
            }
            model {
                random_operations_agree_with_the_model
                random_operations_agree_on_small_trees
            }
        }
    };
    (@tests ($factory:expr) $($group:ident { $($case:ident)+ })+) => {
        $(mod $group {
            use super::*;
            $(
                #[test]
                fn $case() {
                    let case = $crate::testing::merged::cases::$group::$case;
                    $crate::testing::merged::cases::run(case, &$factory);
                }
            )+
        })+
    };
    (@table () $($group:ident { $($case:ident)+ })+) => {
        &[$($((
            concat!(stringify!($group), "::", stringify!($case)),
            $group::$case as $crate::testing::merged::cases::Case,
        ),)+)+]
    };
    ($module:ident, $factory:expr) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may need them")]
            use super::*;
            $crate::merged_conformance! { @list tests ($factory) }
        }
    };
}
