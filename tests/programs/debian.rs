//! Packages installed in a Debian tree.

use std::path::Path;

use layerstack::testing::{Compare, TreeSnapshot};

use crate::served::{require, through_mount};
use crate::site::{Site, copy_all, in_chroot, require_debian};
use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;

const INSTALL: &str = "
    apt-get -qq -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dir::Log::Terminal= \
        install -y /mnt/tree_*.deb /mnt/make_*.deb
    dpkg --force-depends --force-unsafe-io -i /mnt/less_* /mnt/perl-modules*
    dpkg --force-depends --force-remove-protected --force-remove-essential -r e2fsprogs
    dpkg --force-depends --purge mount
    tree --version && make --version
";

/// What holds times of day, or inode numbers; and where the programs make unnamed files, which the mount
/// does not have, so they make named ones instead, and remove them.
const OWN: [&str; 5] = [
    "/tmp",
    "/var/log/",
    "/var/cache/ldconfig/",
    "/var/cache/apt/",
    "/var/lib/apt/",
];

#[test]
fn packages_are_installed() {
    if !require(&[Fs::Ext4], &["chroot"]) {
        return;
    }
    let Some((base, packages)) = require_debian() else {
        return;
    };
    in_mount_namespace(|| {
        let mut site = Site::new(Fs::Ext4, |lower| copy_all(&base, lower));
        let install = |root: &Path| in_chroot(root, &packages, INSTALL);
        let ours = through_mount(&site, install);
        assert!(ours.get("/usr/bin/tree").is_some());
        site.start_over();
        let kernel = site.in_kernel(install);
        assert_same(&kernel, &ours);
    });
}

/// The same programs on the kernel's overlay and on the mount came to the same.
fn assert_same(kernel: &TreeSnapshot, ours: &TreeSnapshot) {
    let compare = Compare {
        inode_labels: false,
        ..Compare::merged()
    };
    let mut differences = kernel.diff(ours, &compare);
    differences.retain(|d| !OWN.iter().any(|own| Path::new(&d.path).starts_with(own)));
    let lines: Vec<String> = differences
        .iter()
        .take(20)
        .map(ToString::to_string)
        .collect();
    assert!(lines.is_empty(), "kernel != mount:\n{}", lines.join("\n"));
}
