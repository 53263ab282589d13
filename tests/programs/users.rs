//! Ordinary users: on root's mount, and with a mount of their own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::served::{require, through_mount};
use crate::site::{Site, run, sh};
use crate::support::fs::{Fs, is_installed};
use crate::support::namespace::{in_mount_namespace, skip};

/// A script of user 1000, in one more group.
fn as_user(dir: &Path, script: &str) -> String {
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=1000",
            "--regid=1000",
            "--groups=50",
            "--inh-caps=-all",
        ])
        .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
        .args(["sh", "-euc", script])
        .current_dir(dir);
    run(&mut command)
}

#[test]
fn an_ordinary_user_on_roots_mount() {
    if !require(&[Fs::Ext4], &["setpriv", "setfacl"]) {
        return;
    }
    in_mount_namespace(|| {
        let site = Site::new(Fs::Ext4, |lower| {
            drop(sh(
                lower,
                "mkdir -p home shared secret sticky
                 echo mine > home/file; echo theirs > shared/theirs; echo secret > secret/file
                 echo root > sticky/root; echo listed > listed; : > set; : > grouped; : > owned
                 chown -R 1000:1000 home; chgrp 50 shared set grouped; chmod 2775 shared
                 chmod 700 secret; chmod 1777 sticky; chmod 600 listed; setfacl -m u:1000:rw listed
                 chmod 6775 set; chmod 2765 grouped; chmod 6765 owned",
            ));
        });
        // So that the directories on the way to the mount do not matter.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(site.mount.parent().unwrap(), open).unwrap();
        through_mount(&site, |root| {
            as_user(
                root,
                "no() { if \"$@\" 2> /dev/null; then echo \"not refused: $*\" >&2; exit 1; fi; }
                 echo more >> home/file
                 mkdir home/dir; mv home/file home/dir/moved; ln home/dir/moved home/linked
                 chmod 640 home/linked; touch -d 2001-01-01 home/dir
                 no cat secret/file; no ls secret; no rm shared/../listed; no mkdir new; no chown 0 home
                 no sh -c 'echo x > shared/theirs'; no rm sticky/root; no mv sticky/root sticky/new
                 echo new > shared/new; test $(stat -c %g shared/new) = 50
                 mkdir shared/dir; test $(stat -c %a shared/dir) = 2755
                 echo mine > sticky/mine; mv sticky/mine sticky/moved; rm sticky/moved
                 echo by list >> listed; no setfacl -m u:7:r listed
                 echo x >> set; test $(stat -c %a set) = 775
                 no chmod 777 shared; no mknod home/null c 1 3; mkfifo home/fifo
                 umask 077; echo private > home/private; test $(stat -c %a home/private) = 600",
            );
            // What is set while a file is open goes with the next write all the same.
            as_user(
                root,
                "exec 3>> home/late; chmod 6775 home/late; echo x >&3
                 test $(stat -c %a home/late) = 775",
            );
            // So it does with a change of owner that changes nothing, also for root.
            sh(
                root,
                "chmod 6775 home/late; chown : home/late owned; test $(stat -c %a home/late) = 775
                 test $(stat -c %a owned) = 2765",
            );
            // Root keeps set-id bits; without the capability to, it does not.
            let set = "chmod 6775 set grouped; echo x >> set; test $(stat -c %a set) = 6775
                 setpriv --bounding-set=-fsetid --inh-caps=-fsetid sh -c 'echo x >> set; : > grouped'
                 test $(stat -c %a set) = 775; test $(stat -c %a grouped) = 775";
            sh(root, set);
        });
    });
}

/// The directory of examples beside this test's program.
pub fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent()?.parent()?.join("examples").join(name);
    path.is_file().then_some(path)
}

#[test]
fn an_ordinary_users_own_mount() {
    if !require(&[Fs::Ext4], &["setpriv"]) {
        return;
    }
    let (Some(program), Some(sandbox)) = (example("mount"), example("sandbox")) else {
        skip("the examples are not built");
        return;
    };
    if !is_installed("fusermount3") {
        skip("fusermount3 is not installed");
        return;
    }
    in_mount_namespace(|| {
        let site = Site::new(Fs::Ext4, |lower| {
            drop(sh(
                lower,
                "mkdir dir; echo old > dir/file; echo stays > stays",
            ));
        });
        let base = site.mount.parent().unwrap();
        // What distributions permit everybody; here in this namespace only.
        sh(
            base,
            "mkdir dev; mount -t tmpfs none dev; mknod -m 666 dev/fuse c 10 229
             mount --bind dev/fuse /dev/fuse; chmod 755 .; chown -R 1000:1000 lower merged upper0 work0",
        );
        for (name, path) in [("mount", &program), ("sandbox", &sandbox)] {
            std::fs::copy(path, base.join("dev").join(name)).unwrap();
        }
        let none: Option<&str> = None;
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        mount(none, &base.join("dev"), none, flags, none).unwrap();
        as_user(
            base,
            "options=lowerdir=$PWD/lower,upperdir=$PWD/upper0,workdir=$PWD/work0,userxattr
             dev/mount --background -o $options merged
             grep -q \"merged fuse.layerstack.*user_id=1000\" /proc/mounts
             cd merged; test $(cat dir/file) = old; echo new > dir/file; rm stays; mkdir made; cd ..
             fusermount3 -u merged
             while grep -q merged /proc/mounts; do sleep 0.1; done
             test $(cat upper0/dir/file) = new; test $(cat lower/dir/file) = old; test -c upper0/stays
             changes=$(dev/sandbox lower -- sh -euc 'echo x > dir/file; rm stays; mkdir made')
             test \"$changes\" = \"M /dir/file
A /made
D /stays\"
             test $(cat lower/dir/file) = old",
        );
    });
}
