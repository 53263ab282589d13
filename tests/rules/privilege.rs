//! Section 1: what options need privilege for (rule R032). The kernel is asked by an ordinary user who
//! is root of a user namespace, and the crate in the same process.

use layerstack::{Errno, MountOptions};

use crate::place::{Place, our_string};
use crate::support::fs::{Fs, Mounted, Workspace};
use crate::support::namespace::{as_user, in_mount_namespace, require_kernel};

const RW: &str = "lowerdir=l,upperdir=u,workdir=w";

/// Runs `test` as an ordinary user, in a directory on tmpfs.
fn unprivileged(name: &str, test: impl FnOnce(&Place) + Send) {
    if !require_kernel() {
        return;
    }
    as_user(name, || {
        in_mount_namespace(|| {
            let mounted = Mounted::new(&[Fs::Tmpfs]);
            let space = Workspace::new(&mounted, Fs::Tmpfs);
            let mount = space.dir("mount");
            std::env::set_current_dir(space.path()).unwrap();
            let place = Place { space, mount };
            place.dir("l");
            place.dir("m");
            test(&place);
            std::env::set_current_dir("/").unwrap();
        });
    });
}

#[test]
fn r032_without_privilege_trusted_attributes_are_eperm() {
    let name = "privilege::r032_without_privilege_trusted_attributes_are_eperm";
    unprivileged(name, |place| {
        let check = |options: &str| {
            let parsed = MountOptions::parse(options).unwrap();
            parsed.check().map(|_| ()).map_err(|e| e.errno())
        };
        let kernel = |options: &str| {
            place.renew();
            place.kernel_string(options, |_| ())
        };
        let ours = |options: &str| {
            place.renew();
            our_string(options).map(|_| ())
        };
        let eperm = Err(Errno::EPERM);
        for option in [
            "redirect_dir=on",
            "redirect_dir=follow",
            "redirect_dir=off",
            "metacopy=on",
            "verity=on",
            "verity=require",
        ] {
            let options = format!("{RW},{option}");
            assert_eq!(kernel(&options), eperm, "{option}");
            assert_eq!(check(&options), eperm, "{option}");
            assert_eq!(ours(&options), eperm, "{option}");
        }
        let data = "lowerdir=l::m,upperdir=u,workdir=w";
        assert_eq!((kernel(data), check(data)), (eperm, eperm));
        for option in [
            "redirect_dir=nofollow",
            "metacopy=off",
            "index=on",
            "nfs_export=on",
            "xino=on",
            "uuid=on",
            "verity=off",
        ] {
            let options = format!("{RW},{option}");
            assert_eq!(kernel(&options), Ok(()), "{option}");
            assert_eq!(check(&options), Ok(()), "{option}");
            assert_eq!(ours(&options), Ok(()), "{option}");
        }
        // With attributes of one's own there is nothing to ask for.
        for option in ["userxattr", "userxattr,verity=on", "userxattr,index=on"] {
            let options = format!("{RW},{option}");
            assert_eq!(kernel(&options), Ok(()), "{option}");
            assert_eq!(ours(&options), Ok(()), "{option}");
        }
        let options = format!("{RW},userxattr,metacopy=on");
        assert_eq!(
            (kernel(&options), ours(&options)),
            (Err(Errno::EINVAL), Err(Errno::EINVAL))
        );
        // The reason tells the option.
        place.renew();
        let refused = MountOptions::parse(format!("{RW},metacopy=on"))
            .unwrap()
            .open();
        let refused = refused.unwrap_err();
        assert_eq!(refused.rule(), Some("R032"));
        assert!(refused.to_string().contains("metacopy=on"), "{refused}");
    });
}
