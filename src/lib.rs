//! Union-filesystem layers as a library.

pub(crate) mod acl;
pub mod backend;
mod errno;
mod error;
mod meta;
mod op;
mod path;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
mod xattr_name;

pub use backend::dir::{DirLayer, DirLayerOptions};
pub use errno::Errno;
pub use error::{Error, ErrorKind, LayerId, Result};
pub use meta::{DeviceId, FileType, Metadata, SetAttr, SetTime, StatFs, Timestamp};
pub use op::{EntryInfo, Op, OpenOptions, Outcome, RenameFlags};
pub use path::{DisplayBytes, NAME_BYTES_MAX, Name, SYMLINK_HOPS_MAX, display_bytes, display_path};
pub use xattr_name::{OverlayAttr, XATTR_NAME_BYTES_MAX, XattrName, XattrNamespace};
