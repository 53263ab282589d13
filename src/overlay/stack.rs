//! The read-only union.

use std::sync::Arc;

use crate::backend::LayerBackend;
use crate::error::{LayerId, Result};
use crate::meta::{FileType, StatFs};
use crate::overlay::core::Core;
use crate::overlay::inode::Inode;
use crate::overlay::options::OverlayOptions;
use crate::overlay::read::Listed;
use crate::path::Name;
use crate::rules::config::Settings;
use crate::rules::warning::Warning;

/// A read-only union of layers.
///
/// Cheap to clone; clones share one cache. Paths are inside the union: a leading `/` is the union's
/// root, a missing one too; `..` is physical and stops at the root; symlinks resolve inside the
/// union; a trailing slash demands a directory.
///
/// ```
/// use layerstack::{LayerStack, backend::memory::MemLayer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let base = MemLayer::builder().file("etc/hosts", b"old").file("etc/fstab", b"").build()?;
/// let top = MemLayer::builder().file("etc/hosts", b"new").whiteout("etc/fstab").build()?;
/// let stack = LayerStack::from_top([top, base])?;
/// assert_eq!(stack.read("/etc/hosts")?, b"new");
/// assert!(!stack.exists("/etc/fstab")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LayerStack {
    pub(crate) core: Arc<Core>,
}

/// The layers of a union, given back by [`LayerStack::into_layers`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Layers {
    /// The writable layer, if there is one.
    pub upper: Option<Arc<dyn LayerBackend>>,
    /// The read-only layers, topmost first.
    pub lowers: Vec<Arc<dyn LayerBackend>>,
    /// The data-only layers; see [`LayerStack::with_data_layers`].
    pub data: Vec<Arc<dyn LayerBackend>>,
}

/// One entry of a merged directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name.
    pub name: Name,
    /// The type, if the topmost layer's directory tells it without looking at the object.
    pub file_type: Option<FileType>,
    /// Inode number (`d_ino`, rule R105).
    pub ino: u64,
    /// The topmost layer that has the name.
    pub layer: LayerId,
}

impl From<Listed> for DirEntry {
    fn from(l: Listed) -> Self {
        DirEntry {
            name: l.name,
            file_type: l.file_type,
            ino: l.ino,
            layer: l.layer,
        }
    }
}

impl LayerStack {
    /// A union of `layers`, the topmost first, as in the kernel's `lowerdir=`. Layers of several kinds are
    /// given as `Arc<dyn LayerBackend>`:
    ///
    /// ```
    /// use std::sync::Arc;
    /// use layerstack::backend::{LayerBackend, memory::MemLayer};
    /// use layerstack::{DirLayer, LayerStack};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = std::env::temp_dir();
    /// let top: Arc<dyn LayerBackend> = Arc::new(MemLayer::builder().dir("new", 0o755).build()?);
    /// let base: Arc<dyn LayerBackend> = Arc::new(DirLayer::open_lower(&dir)?);
    /// # let base: Arc<dyn LayerBackend> = Arc::new(MemLayer::new());
    /// let stack = LayerStack::from_top([top, base])?;
    /// assert!(stack.exists("/new")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - `EINVAL`: no layer, more than [`LOWER_LAYERS_MAX`](crate::LOWER_LAYERS_MAX), a root that is
    ///   no directory, or layers of two attribute namespaces.
    /// - `ELOOP`: one directory used twice.
    pub fn from_top<B>(layers: impl IntoIterator<Item = B>) -> Result<Self>
    where
        B: LayerBackend + 'static,
    {
        let lowers = layers
            .into_iter()
            .map(|l| Arc::new(l) as Arc<dyn LayerBackend>)
            .collect::<Vec<_>>();
        Ok(LayerStack {
            core: Core::new(
                Layers {
                    upper: None,
                    lowers,
                    data: Vec::new(),
                },
                OverlayOptions::default(),
            )?,
        })
    }

    /// A union of `layers`, the lowest first, as images list them.
    ///
    /// # Errors
    /// As [`LayerStack::from_top`].
    pub fn from_base<B>(layers: impl IntoIterator<Item = B>) -> Result<Self>
    where
        B: LayerBackend + 'static,
    {
        let mut layers: Vec<B> = layers.into_iter().collect();
        layers.reverse();
        LayerStack::from_top(layers)
    }

    /// The same layers as another mount would show them: options that decide how layers are read
    /// ([`OverlayOptions::redirect_dir`], [`OverlayOptions::metacopy`]) are minded, those about writing
    /// have no effect.
    ///
    /// # Errors
    /// As [`LayerStack::from_top`].
    pub fn with_options(&self, options: OverlayOptions) -> Result<Self> {
        let layers = Layers {
            upper: None,
            ..self.core.layers()
        };
        Ok(LayerStack {
            core: Core::new(layers, options)?,
        })
    }

    /// The same union with more layers below that only hold data: nothing in them is visible by itself,
    /// but a metacopy file with an absolute redirect in a layer above may have its data there
    /// (rules R183 to R191). Such a redirect is a path in each of them, the first that has a regular
    /// file there supplies the data. It is looked up when data are first needed, by walking
    /// beneath the layer's root without following symlinks; neither
    /// [`redirect_dir`](OverlayOptions::redirect_dir) nor
    /// [`metacopy`](OverlayOptions::metacopy) is needed for that.
    ///
    /// ```
    /// use layerstack::{LayerStack, OverlayAttr, backend::memory::MemLayer};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let objects = MemLayer::builder().file("ab/cdef", b"content").build()?;
    /// let image = MemLayer::builder()
    ///     .file("bin/tool", vec![0; 7])
    ///     .overlay_attr("bin/tool", OverlayAttr::Metacopy, "")
    ///     .overlay_attr("bin/tool", OverlayAttr::Redirect, "/ab/cdef")
    ///     .build()?;
    /// let stack = LayerStack::from_top([image])?.with_data_layers([objects])?;
    /// assert_eq!(stack.read("/bin/tool")?, b"content");
    /// assert!(!stack.exists("/ab")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`LayerStack::from_top`]; data-only layers count for the limit.
    pub fn with_data_layers<B>(&self, layers: impl IntoIterator<Item = B>) -> Result<Self>
    where
        B: LayerBackend + 'static,
    {
        let mut all = self.core.layers();
        all.upper = None;
        let more = layers.into_iter();
        all.data
            .extend(more.map(|l| Arc::new(l) as Arc<dyn LayerBackend>));
        Ok(LayerStack {
            core: Core::new(all, self.core.options.clone())?,
        })
    }

    /// The data-only layers, the first to be asked first.
    #[must_use]
    pub fn data_layers(&self) -> Vec<Arc<dyn LayerBackend>> {
        self.core.layers().data
    }

    /// The read-only layers, topmost first, without data-only ones.
    #[must_use]
    pub fn layers(&self) -> Vec<Arc<dyn LayerBackend>> {
        self.core.lowers.iter().map(|l| l.backend.clone()).collect()
    }

    /// Gives the layers back, for committing, closing or stacking them otherwise. Clones of the stack
    /// and files open in it go on using them.
    #[must_use]
    pub fn into_layers(self) -> Layers {
        self.core.layers()
    }

    /// The options in force, after those that imply or exclude each other have settled.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// What was adjusted when the union was opened, where the kernel would mount and say so in its
    /// log; empty if everything is in force as it was asked for.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.core.warnings
    }

    pub(crate) fn base(&self) -> &Arc<Inode> {
        self.core.root()
    }

    /// Numbers of the filesystem (rule R035).
    ///
    /// # Errors
    /// What the topmost layer's filesystem gives.
    pub fn statfs(&self) -> Result<StatFs> {
        self.core.statfs().map_err(|e| e.into_error("statfs", "/"))
    }
}
