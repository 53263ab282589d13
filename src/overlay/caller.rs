//! Views of a union for other callers.

use crate::credentials::Credentials;
use crate::overlay::dir::Dir;
use crate::overlay::file::File;
use crate::overlay::stack::LayerStack;
use crate::overlay::union::Overlay;

/// Gives a type with `core` the views of other callers.
macro_rules! views {
    ($type:ty, $this:ident => $with_core:expr) => {
        impl $type {
            /// The same for `caller`: what is done through the answer, and through what is opened from
            /// it, is done on behalf of `caller`. Cheap; nothing is copied or opened again.
            ///
            /// What is created belongs to the caller's user and group (rule R116), less the
            /// permission bits of the caller's umask (rule R117). What the caller may not do to the objects
            /// shown is refused as by a mount, and copies nothing up (rules R213, R286). The layers
            /// themselves are accessed with the rights of this process in any case, as a mount accesses
            /// them with those of the mounter (rule R288). Explaining and telling changes, and using the union as a layer
            /// of another one, are the mounter's business and ignore the caller.
            #[must_use]
            pub fn as_caller(&self, caller: &Credentials) -> Self {
                let ($this, core) = (self, self.core.for_caller(Some(caller)));
                $with_core(core)
            }

            /// The same for the mounter: whatever the layers permit is permitted, what is created
            /// belongs to this process, and the umask is that of
            /// [`OverlayOptions::umask`](crate::OverlayOptions::umask).
            #[must_use]
            pub fn as_mounter(&self) -> Self {
                let ($this, core) = (self, self.core.for_caller(None));
                $with_core(core)
            }

            /// On whose behalf operations run; `None`: the mounter.
            #[must_use]
            pub fn caller(&self) -> Option<&Credentials> {
                self.core.caller.as_deref()
            }
        }
    };
}

views!(LayerStack, _this => |core| LayerStack { core });
views!(Overlay, _this => |core| Overlay::of_stack(LayerStack { core }));
views!(Dir, this => |core| Dir { core, inode: this.inode.clone() });
views!(File, this => |core| this.with_core(core));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;
    use crate::backend::memory::MemLayer;
    use crate::op::OpenOptions;

    #[test]
    fn r116_views_share_the_union_and_differ_in_the_caller() {
        let stack = LayerStack::from_top([MemLayer::new()]).unwrap();
        let mounter = Overlay::new(&stack, MemLayer::new()).unwrap();
        mounter.set_permissions("/", 0o777).unwrap();
        let alice = Credentials::user(1000, 100).umask(0o077);
        let user = mounter.as_caller(&alice);
        assert_eq!(user.caller(), Some(&alice));
        assert!(user.as_mounter().caller().is_none());
        user.create_dir("/d", 0o777).unwrap();
        let dir = mounter.open_dir("/d").unwrap();
        dir.as_caller(&alice).write("f", b"x").unwrap();
        for (path, mode) in [("/d", 0o700), ("/d/f", 0o600)] {
            let meta = mounter.metadata(path).unwrap();
            assert_eq!((meta.uid, meta.gid, meta.mode), (1000, 100, mode), "{path}");
        }
        dir.create_dir("mine", 0o777).unwrap();
        assert_eq!(mounter.metadata("/d/mine").unwrap().mode, 0o755);
    }

    #[test]
    fn views_of_a_file_share_its_position() {
        use std::io::{Read, Seek, SeekFrom, Write};
        let stack = LayerStack::from_top([MemLayer::new()]).unwrap();
        let overlay = Overlay::new(&stack, MemLayer::new()).unwrap();
        let options = OpenOptions::new().read(true).write(true).create(true);
        let mut file = overlay.open("/f", &options).unwrap();
        let mut other = file.as_caller(&Credentials::user(1, 1));
        file.write_all(b"abc").unwrap();
        other.write_all(b"def").unwrap();
        other.seek(SeekFrom::Start(2)).unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "cdef");
    }
}
