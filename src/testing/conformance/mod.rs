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
//! [`Capabilities`] not to have, and prints that it did.

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
pub mod handles;
pub mod names;
pub mod parallel;
pub mod remove;
pub mod rename;
pub mod space;
pub mod stage;
pub mod whiteouts;
pub mod xattrs;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::backend::{
    Access, At, Capabilities, Entry, LayerBackend, LayerFile, NewKind, NewNode, NodeRef, Result,
    UpperBackend,
};
use crate::errno::Errno;
use crate::meta::{DeviceId, FileType, Metadata};
use crate::path::Name;

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
/// [`Factory`](crate::testing::conformance::Factory). It sees what is in scope around the macro.
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

/// What every case starts from: one new backend, and short ways to work on it.
pub(super) struct Fixture {
    pub(super) subject: Subject,
    pub(super) root: NodeRef,
}

/// A name that is known to be one.
pub(super) fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::new(bytes).expect("the suite uses valid names")
}

/// A node to create, owner left to the backend.
pub(super) fn new_node(kind: NewKind, mode: u32) -> NewNode {
    NewNode {
        kind,
        mode,
        uid: None,
        gid: None,
    }
}

/// Asserts that something fails with this errno.
#[track_caller]
pub(super) fn fails<T>(result: Result<T>, errno: Errno, what: &str) {
    match result {
        Ok(_) => panic!("{what}: succeeded instead of {errno:?}"),
        Err(e) => assert_eq!(e.errno(), errno, "{what}: wrong errno"),
    }
}

/// The whole content of a node.
#[track_caller]
pub(super) fn content(node: &NodeRef) -> Vec<u8> {
    let file = node.open(Access::Read).expect("open for reading");
    content_of(&*file)
}

/// The whole content of an open file.
#[track_caller]
pub(super) fn content_of(file: &dyn LayerFile) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 10_000];
    loop {
        let n = file.read_at(&mut buf, all.len() as u64).expect("read");
        if n == 0 {
            return all;
        }
        all.extend_from_slice(&buf[..n]);
    }
}

/// Writes all of `data`.
#[track_caller]
pub(super) fn write_all(file: &dyn LayerFile, data: &[u8], offset: u64) {
    let mut done = 0;
    while done < data.len() {
        let n = file
            .write_at(&data[done..], offset + done as u64)
            .expect("write");
        assert!(n > 0, "a write writes something");
        done += n;
    }
}

/// The names that a directory lists, sorted.
#[track_caller]
pub(super) fn listed(dir: &NodeRef) -> Vec<Name> {
    let mut names: Vec<Name> = dir
        .list()
        .expect("list")
        .into_iter()
        .map(|e| e.name)
        .collect();
    names.sort();
    names
}

impl Fixture {
    pub(super) fn new(factory: &dyn Factory) -> Self {
        Fixture::of(factory.make())
    }

    pub(super) fn of(subject: Subject) -> Self {
        let root = subject.backend.root().expect("root");
        Fixture { subject, root }
    }

    pub(super) fn up(&self) -> &dyn UpperBackend {
        self.subject
            .backend
            .upper()
            .expect("the suite needs a writable backend")
    }

    pub(super) fn caps(&self) -> &Capabilities {
        self.subject.backend.capabilities()
    }

    /// True, and says so, if the backend declares not to have something.
    pub(super) fn lacks(&self, has: bool, what: &str) -> bool {
        if !has {
            println!("skipped: the backend declares no {what}");
        }
        !has
    }

    #[track_caller]
    pub(super) fn make(&self, dir: &NodeRef, n: &str, kind: NewKind, mode: u32) -> NodeRef {
        let made = self
            .up()
            .create(At::new(dir, &name(n)), &new_node(kind, mode));
        made.unwrap_or_else(|e| panic!("create {n}: {e}"))
    }

    #[track_caller]
    pub(super) fn dir(&self, dir: &NodeRef, n: &str) -> NodeRef {
        self.make(dir, n, NewKind::Directory, 0o755)
    }

    #[track_caller]
    pub(super) fn empty(&self, dir: &NodeRef, n: &str) -> NodeRef {
        self.make(dir, n, NewKind::File, 0o644)
    }

    #[track_caller]
    pub(super) fn file(&self, dir: &NodeRef, n: &str, data: &[u8]) -> NodeRef {
        let node = self.empty(dir, n);
        write_all(
            &*node.open(Access::Write).expect("open for writing"),
            data,
            0,
        );
        node
    }

    #[track_caller]
    pub(super) fn symlink(&self, dir: &NodeRef, n: &str, target: &str) -> NodeRef {
        self.make(dir, n, NewKind::Symlink(target.into()), 0o777)
    }

    #[track_caller]
    pub(super) fn whiteout(&self, dir: &NodeRef, n: &str) {
        self.up()
            .whiteout(At::new(dir, &name(n)))
            .expect("whiteout");
    }

    #[track_caller]
    pub(super) fn entry(&self, dir: &NodeRef, n: &str) -> Option<Entry> {
        dir.lookup(&name(n)).expect("lookup")
    }

    #[track_caller]
    pub(super) fn node(&self, dir: &NodeRef, n: &str) -> (NodeRef, Metadata) {
        match self.entry(dir, n) {
            Some(Entry::Node(node, meta)) => (node, meta),
            other => panic!("{n} should be a node, and is {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn assert_absent(&self, dir: &NodeRef, n: &str) {
        let entry = self.entry(dir, n);
        assert!(entry.is_none(), "{n} should be absent, and is {entry:?}");
    }

    #[track_caller]
    pub(super) fn assert_whiteout(&self, dir: &NodeRef, n: &str) {
        let entry = self.entry(dir, n);
        let is = matches!(entry, Some(Entry::Whiteout(_)));
        assert!(is, "{n} should be a whiteout, and is {entry:?}");
    }

    #[track_caller]
    pub(super) fn assert_is(&self, dir: &NodeRef, n: &str, node: &NodeRef) {
        let (_, found) = self.node(dir, n);
        let ino = node.metadata().expect("metadata").ino;
        assert_eq!(found.ino, ino, "{n} should be another node");
    }

    /// One node of every type that the backend can make, named after it.
    pub(super) fn one_of_each(&self, dir: &NodeRef) -> Vec<(&'static str, NodeRef, FileType)> {
        let mut kinds = vec![
            ("a-file", NewKind::File),
            ("a-directory", NewKind::Directory),
            ("a-symlink", NewKind::Symlink(b"nowhere".to_vec())),
            ("a-fifo", NewKind::Fifo),
            ("a-socket", NewKind::Socket),
        ];
        if !self.lacks(self.caps().device_nodes, "device nodes") {
            kinds.push(("a-char", NewKind::CharDevice(DeviceId::new(1, 3))));
            kinds.push(("a-block", NewKind::BlockDevice(DeviceId::new(7, 200))));
        }
        let made = kinds.into_iter().map(|(n, kind)| {
            let file_type = kind.file_type();
            (n, self.make(dir, n, kind, 0o600), file_type)
        });
        made.collect()
    }
}
