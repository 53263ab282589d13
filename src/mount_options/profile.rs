//! Ready-made sets of options.

use super::MountOptions;
use crate::overlay::options::OverlayOptions;
use crate::rules::config::Xino;
use crate::xattr_name::XattrNamespace;

/// A ready-made set of options, for unions ([`Profile::overlay_options`]) and for mounts
/// ([`Profile::mount_options`]).
///
/// | | options | for |
/// |---|---|---|
/// | [`Profile::Posix`] | `redirect_dir=on,index=on,xino=auto` | unions that behave as one filesystem would |
/// | [`Profile::Kernel`] | none | what `mount -t overlay` does without options |
/// | [`Profile::Docker`] | `index=off` | layers that container engines mount, written so that they can be images |
/// | [`Profile::Rootless`] | `userxattr` | the same for ordinary users |
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// As close to one POSIX filesystem as overlayfs comes: directories of lower layers can be renamed
    /// (`redirect_dir=on`), hard links stay one file when they are written to (`index=on`), and inode
    /// numbers are unique and last, also over several filesystems (`xino=auto`).
    ///
    /// The price: lower layers must not be changed or exchanged while the upper is in use, the upper
    /// belongs to its lowers, and it cannot become a layer of an image, since redirects and index are
    /// for this stack only.
    Posix,
    /// The upstream kernel's defaults: redirects that are there are followed, none is made, so that
    /// renaming a directory of a lower layer is `EXDEV` and programs fall back to copying.
    Kernel,
    /// What Docker's overlay2 driver and containerd's overlayfs snapshotter ask for: as
    /// [`Profile::Kernel`], and no index even where the kernel's default is to have one. An upper then
    /// holds nothing but files, whiteouts and opaque directories, so it can be committed as a layer.
    /// At most [`DOCKER_LAYERS_MAX`](crate::DOCKER_LAYERS_MAX) layers.
    Docker,
    /// What these do for ordinary users: overlay attributes in the namespace `user.`, for which
    /// no privilege is needed; redirects and metadata-only copies are then neither made nor followed
    /// (rule R029).
    Rootless,
}

impl Profile {
    /// Every profile.
    pub const ALL: &'static [Profile] = &[
        Profile::Posix,
        Profile::Kernel,
        Profile::Docker,
        Profile::Rootless,
    ];

    /// Options for a mount, still without layers.
    ///
    /// ```
    /// use layerstack::Profile;
    /// let options = Profile::Docker.mount_options().lower("/l").upper("/u", "/w");
    /// assert_eq!(options.to_legacy()?, "lowerdir=/l,upperdir=/u,workdir=/w,index=off");
    /// # Ok::<(), layerstack::MountOptionError>(())
    /// ```
    #[must_use]
    pub fn mount_options(self) -> MountOptions {
        let options = MountOptions::new();
        match self {
            Profile::Posix => options
                .redirect_dir(crate::RedirectDir::On)
                .index(true)
                .xino(Xino::Auto),
            Profile::Kernel => options,
            Profile::Docker => options.index(false),
            Profile::Rootless => options.userxattr(true),
        }
    }

    /// Options for a union. Its layers must have the profile's [`Profile::namespace`].
    #[must_use]
    pub fn overlay_options(self) -> OverlayOptions {
        self.mount_options().overlay_options()
    }

    /// Where its layers keep overlay attributes.
    #[must_use]
    pub fn namespace(self) -> XattrNamespace {
        self.mount_options().namespace()
    }
}
