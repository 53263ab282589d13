#![doc = include_str!("../README.md")]
//!
//! # Finding your way
//!
//! - [`LayerStack`]: the read-only union of some layers. [`LayerStack::walk`],
//!   [`LayerStack::resolve`] and [`LayerStack::changes`] tell what it shows and why.
//! - [`Overlay`]: the same with a writable layer on top; [`File`] and [`Dir`] are its handles.
//! - [`Op`] and [`Outcome`]: every operation as a value, for [`Overlay::plan`] and
//!   [`Overlay::apply`]; a [`Plan`] has its steps and its [`Cost`].
//! - [`check`]: what is wrong with a stack at rest, and repairing it.
//! - [`DirLayer`] and [`MemLayer`](backend::memory::MemLayer): the layers that come with the crate.
//! - [`backend`]: the contract for layers of your own.
//! - [`Error`]: what failed, on which path, in which layer, with the kernel's errno.

pub(crate) mod acl;
pub mod backend;
pub mod check;
mod credentials;
mod errno;
mod error;
#[cfg(feature = "fuse")]
pub mod fuse;
mod meta;
mod mount_options;
mod op;
mod overlay;
mod path;
mod rules;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
mod xattr_name;

pub use backend::dir::{DirLayer, DirLayerOptions};
pub use credentials::{CapabilitySet, Credentials};
pub use errno::Errno;
pub use error::{Error, ErrorKind, LayerId, Result};
pub use meta::{DeviceId, FileType, InodeFlags, Metadata, SetAttr, SetTime, StatFs, Timestamp};
pub use mount_options::{
    FSCONFIG_BYTES_MAX, MOUNT_OPTIONS_BYTES_MAX, MountOptionError, MountOptions, Profile, Shortened,
};
pub use op::{AccessMode, EntryInfo, Op, OpenOptions, Outcome, READ_BYTES_MAX, RenameFlags};
pub use overlay::apply::Session;
pub use overlay::changes::Change;
pub use overlay::copy_layer::{CopyLayerReport, copy_layer};
pub use overlay::dir::Dir;
pub use overlay::explain::{
    Missing, MissingReason, Occurrence, RedirectHop, Resolution, Shown, SymlinkHop,
};
pub use overlay::file::File;
pub use overlay::options::{CopyObserver, CopyProgress, OverlayOptions};
pub use overlay::stack::{DirEntry, LayerStack, Layers};
pub use overlay::stats::{FirstWrite, LayerStats, LimitWarning, StackStats};
pub use overlay::union::Overlay;
pub use overlay::walk::{Walk, WalkEntry};
pub use path::{DisplayBytes, NAME_BYTES_MAX, Name, SYMLINK_HOPS_MAX, display_bytes, display_path};
pub use rules::change::ChangeKind;
pub use rules::config::conflict::OptionConflict;
pub use rules::config::{Fsync, KernelDefaults, RedirectDir, Settings, UuidMode, Verity, Xino};
pub use rules::cost::{Bounds, Cost, Estimate, Reflink};
pub use rules::explain::{Fate, Held, HiddenBy, HidingKind};
pub use rules::plan::{Obj, Place, Plan, PlanObject, PlannedStep, Role, Step};
pub use rules::redirect::REDIRECT_BYTES_MAX;
pub use rules::warning::{Warning, WarningReason};
pub use rules::{DOCKER_LAYERS_MAX, LOWER_LAYERS_MAX};
pub use xattr_name::{OverlayAttr, XATTR_NAME_BYTES_MAX, XattrName, XattrNamespace};
