//! Directories to make layers of, and how failures are checked.

use std::path::{Path, PathBuf};

use layerstack::testing::{Compare, SnapshotOptions, TreeSnapshot};
use layerstack::{
    DirLayer, Errno, Error, LayerId, LayerStack, Overlay, OverlayOptions, XattrNamespace,
};

use crate::support::child::scratch;

/// A temporary directory with a lower, an upper and a work directory, and an outside.
pub struct Dirs {
    dir: tempfile::TempDir,
}

impl Dirs {
    pub fn new() -> Self {
        let dirs = Dirs { dir: scratch() };
        for name in ["lower", "upper", "work", "outside"] {
            std::fs::create_dir(dirs.at(name)).unwrap();
        }
        std::fs::write(dirs.at("outside/secret"), "secret").unwrap();
        dirs
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn file(&self, path: &str, data: &str) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        std::fs::write(self.at(path), data).unwrap();
    }

    /// Everything, as it lies there.
    pub fn snapshot(&self) -> TreeSnapshot {
        let options = SnapshotOptions::layer(XattrNamespace::Trusted);
        TreeSnapshot::of_dir(self.dir.path(), &options).unwrap()
    }

    pub fn open_upper(&self) -> layerstack::Result<DirLayer> {
        DirLayer::open_upper(self.at("upper"), self.at("work"))
    }

    /// The union of them.
    pub fn open(&self) -> Overlay {
        let lower = DirLayer::open_lower(self.at("lower")).unwrap();
        let stack = LayerStack::from_top([lower]).unwrap();
        let options = OverlayOptions::new().fsync(layerstack::Fsync::Off);
        Overlay::with_options(&stack, self.open_upper().unwrap(), options).unwrap()
    }

    /// Runs `f`; nothing is to change.
    pub fn unchanged<T>(&self, f: impl FnOnce() -> T) -> T {
        let before = self.snapshot();
        let got = f();
        let text = before.diff_text(&self.snapshot(), &Compare::unchanged(), 9);
        assert_eq!(text, None);
        got
    }
}

/// What an error is to tell.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    pub errno: Errno,
    pub op: &'a str,
    pub path: &'a Path,
    pub layer: Option<LayerId>,
}

/// An error of `op` on `path`.
pub fn told<'a>(
    errno: Errno,
    op: &'a str,
    path: &'a (impl AsRef<Path> + ?Sized),
    layer: impl Into<Option<LayerId>>,
) -> Told<'a> {
    Told {
        errno,
        op,
        path: path.as_ref(),
        layer: layer.into(),
    }
}

/// Checks a failure.
#[track_caller]
pub fn fails<T: std::fmt::Debug>(got: Result<T, Error>, want: &Told<'_>) -> Error {
    let error = got.unwrap_err();
    let found = told(error.errno(), error.op(), error.path(), error.layer());
    assert_eq!(&found, want, "{error}");
    let line = error.to_string();
    assert!(line.starts_with(want.op) && !line.contains('\n'), "{line}");
    error
}
