//! The error that users of the engine meet.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::backend::BackendError;
use crate::errno::Errno;
use crate::path::display_path;
use crate::rules::config::conflict::OptionConflict;

/// Which layer of a stack.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum LayerId {
    /// The writable layer.
    Upper,
    /// A read-only layer; 0 is the topmost, the kernel's leftmost in `lowerdir=`. Data-only layers
    /// count on after the others.
    Lower(usize),
    /// The work directory beside the upper.
    Work,
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerId::Upper => f.write_str("upper"),
            LayerId::Lower(i) => write!(f, "lower[{i}]"),
            LayerId::Work => f.write_str("work"),
        }
    }
}

/// What kind of failure, for matching; [`Error::errno`] tells the exact number.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// `ENOENT`: absent, or hidden by a whiteout.
    NotFound,
    /// `ENOTDIR`: a component is not a directory.
    NotADirectory,
    /// `EISDIR`: a directory where something else is required.
    IsADirectory,
    /// `EEXIST`: the name exists.
    AlreadyExists,
    /// `ENOTEMPTY`: the merged directory shows entries.
    NotEmpty,
    /// `EROFS`: no upper.
    ReadOnly,
    /// `EXDEV`: a lower or merged directory cannot be renamed without redirects.
    CrossLayer,
    /// `EPERM`, `EACCES`.
    PermissionDenied,
    /// `ELOOP`: too many symlinks, or overlapping layers.
    Loop,
    /// `ENAMETOOLONG`.
    NameTooLong,
    /// `ESTALE`: a layer was changed behind the stack's back.
    Stale,
    /// `EIO`: the layers contradict themselves, or reading failed.
    Corrupt,
    /// `EREMOTE`: an object that no stack can use.
    Unusable,
    /// `EINVAL`, from opening layers: a stack that the kernel would not mount either.
    InvalidConfig,
    /// `EINVAL`, elsewhere.
    InvalidInput,
    /// `EBUSY`: the work directory is in use.
    Busy,
    /// `ENODATA`: the attribute is not set.
    NoXattr,
    /// `EOPNOTSUPP`.
    Unsupported,
    /// `ENOSPC`, `EDQUOT`.
    NoSpace,
    /// `ECANCELED`, `EINTR`: stopped by the caller.
    Cancelled,
    /// Any other errno.
    Other,
}

impl ErrorKind {
    fn of(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => ErrorKind::NotFound,
            Errno::ENOTDIR => ErrorKind::NotADirectory,
            Errno::EISDIR => ErrorKind::IsADirectory,
            Errno::EEXIST => ErrorKind::AlreadyExists,
            Errno::ENOTEMPTY => ErrorKind::NotEmpty,
            Errno::EROFS => ErrorKind::ReadOnly,
            Errno::EXDEV => ErrorKind::CrossLayer,
            Errno::EPERM | Errno::EACCES => ErrorKind::PermissionDenied,
            Errno::ELOOP => ErrorKind::Loop,
            Errno::ENAMETOOLONG => ErrorKind::NameTooLong,
            Errno::ESTALE => ErrorKind::Stale,
            Errno::EIO => ErrorKind::Corrupt,
            Errno::EREMOTE => ErrorKind::Unusable,
            Errno::EINVAL => ErrorKind::InvalidInput,
            Errno::EBUSY => ErrorKind::Busy,
            Errno::ENODATA => ErrorKind::NoXattr,
            Errno::EOPNOTSUPP => ErrorKind::Unsupported,
            Errno::ENOSPC | Errno::EDQUOT => ErrorKind::NoSpace,
            Errno::ECANCELED | Errno::EINTR => ErrorKind::Cancelled,
            _ => ErrorKind::Other,
        }
    }
}

/// A failure: which operation, on which path, in which layer, why.
///
/// One line of [`Display`](fmt::Display) tells all of it. Converting into [`io::Error`] keeps the
/// kind and wraps the whole, so that the path survives; `raw_os_error()` is then `None`, and
/// [`Error::errno`] of the inner error has the number.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    errno: Errno,
    op: &'static str,
    path: PathBuf,
    to: Option<PathBuf>,
    layer: Option<LayerId>,
    rule: Option<&'static str>,
    detail: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What the engine's methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `op` on `path`.
    #[must_use]
    pub fn new(op: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Self {
        Error(Box::new(Inner {
            kind: ErrorKind::of(errno),
            errno,
            op,
            path: path.into(),
            to: None,
            layer: None,
            rule: None,
            detail: None,
            source: None,
        }))
    }

    /// An error about the layers themselves, found while a stack is opened.
    #[must_use]
    pub fn config(
        op: &'static str,
        path: impl Into<PathBuf>,
        errno: Errno,
        layer: LayerId,
        detail: impl Into<String>,
    ) -> Self {
        let mut error = Error::new(op, path, errno).into_config();
        error.0.layer = Some(layer);
        error.0.detail = Some(detail.into());
        error
    }

    /// The same error with the second path of the operation.
    #[must_use]
    pub fn with_to(mut self, to: impl Into<PathBuf>) -> Self {
        self.0.to = Some(to.into());
        self
    }

    /// The same error with the layer it came from.
    #[must_use]
    pub fn with_layer(mut self, layer: LayerId) -> Self {
        self.0.layer = Some(layer);
        self
    }

    /// The same error with the rule that demands it (an id of `docs/semantics.md`).
    #[must_use]
    pub fn with_rule(mut self, rule: &'static str) -> Self {
        self.0.rule = Some(rule);
        self
    }

    /// The same error with a sentence for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// The same error as one about how a union was asked for.
    pub(crate) fn into_config(mut self) -> Self {
        if self.0.errno == Errno::EINVAL {
            self.0.kind = ErrorKind::InvalidConfig;
        }
        self
    }

    pub(crate) fn with_backend(mut self, source: BackendError) -> Self {
        if std::error::Error::source(&source).is_some() {
            self.0.source = Some(Box::new(source));
        }
        self
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.0.errno
    }

    /// The operation, such as `"rename"`.
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.0.op
    }

    /// The path that the operation was about: inside the union, or on the host if layers were
    /// being opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The second path of a rename, link or copy.
    #[must_use]
    pub fn to(&self) -> Option<&Path> {
        self.0.to.as_deref()
    }

    /// The layer that failed, if one did.
    #[must_use]
    pub fn layer(&self) -> Option<LayerId> {
        self.0.layer
    }

    /// The options that do not go together, if that is why a union could not be opened.
    #[must_use]
    pub fn conflict(&self) -> Option<&OptionConflict> {
        self.0.source.as_ref()?.downcast_ref()
    }

    /// The rule that demands this error (an id of `docs/semantics.md`), where one does.
    #[must_use]
    pub fn rule(&self) -> Option<&'static str> {
        self.0.rule
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0;
        f.write_str(e.op)?;
        if !e.path.as_os_str().is_empty() {
            write!(f, " {}", display_path(&e.path))?;
        }
        if let Some(to) = &e.to {
            write!(f, " to {}", display_path(to))?;
        }
        if let Some(layer) = e.layer {
            write!(f, " in {layer}")?;
        }
        match &e.detail {
            Some(detail) => write!(f, ": {detail}: {}", e.errno)?,
            None => write!(f, ": {}", e.errno)?,
        }
        if let Some(rule) = e.rule {
            write!(f, " [{rule}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &self.0;
        f.debug_struct("Error")
            .field("kind", &e.kind)
            .field("errno", &e.errno)
            .field("op", &e.op)
            .field("path", &e.path)
            .field("to", &e.to)
            .field("layer", &e.layer)
            .field("rule", &e.rule)
            .field("detail", &e.detail)
            .field("source", &e.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|e| e as &(dyn std::error::Error + 'static))
    }
}

impl From<OptionConflict> for Error {
    fn from(conflict: OptionConflict) -> Self {
        Error::new("open overlay", "", conflict.errno())
            .into_config()
            .with_rule(conflict.rule())
            .with_detail(conflict.to_string())
            .with_source(conflict)
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        io::Error::new(e.errno().io_kind(), e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_tells_everything() {
        let e = Error::new("rename", "/a", Errno::EXDEV)
            .with_to("/b\n")
            .with_layer(LayerId::Lower(3))
            .with_rule("R141");
        let text = e.to_string();
        assert_eq!(
            text,
            "rename /a to /b\\n in lower[3]: crosses layers or devices (EXDEV) [R141]"
        );
        assert_eq!(e.kind(), ErrorKind::CrossLayer);
        let io: io::Error = e.into();
        assert_eq!(io.kind(), io::ErrorKind::CrossesDevices);
    }

    #[test]
    fn errors_are_send_and_sync() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
        check::<BackendError>();
    }
}
