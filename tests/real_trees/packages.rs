//! Packages installed and removed through the kernel's overlay, then by the crate, in turn.

use std::path::Path;

use crate::comparing::check;
use crate::site::{Site, copy_all, in_chroot, require_debian};
use crate::support::fs::Fs;
use crate::support::namespace::{in_mount_namespace, require_kernel};
use layerstack::{
    Errno, LayerStack, OpenOptions, Overlay, RenameFlags, SetTime, Timestamp, copy_layer,
};

const INSTALL: &str = "
    dpkg --force-depends --force-unsafe-io -i /mnt/less_* /mnt/bc_* /mnt/perl-modules* /mnt/tree_*
    dpkg --force-depends --force-unsafe-io -i /mnt/coreutils_*
    dpkg --force-depends --force-remove-protected --force-remove-essential -r e2fsprogs mount
";

const REPLACE: &str = "
    dpkg --purge tree
    dpkg --force-depends --force-unsafe-io -i /mnt/make_* /mnt/tzdata_* /mnt/perl-modules*
    dpkg --force-depends --purge bc tzdata
    rm -rf /usr/share/doc
    mkdir -p /usr/share/doc/new
    echo new > /usr/share/doc/new/file
    find /usr/share/perl -name '*.pod' -delete
    find /etc -type f -newer /etc/hostname -exec touch -d 2001-01-01 {} +
    chmod 0700 /usr/share/perl
    chown -R 7:8 /usr/share/common-licenses
    ln /usr/bin/make /usr/bin/gmake-too
    mv /usr/bin/perl /usr/bin/perl-moved
    ln -s perl-moved /usr/bin/perl
    touch /usr/bin/tree
";

#[test]
fn packages() {
    if !require_kernel() {
        return;
    }
    let Some((base, packages)) = require_debian() else {
        return;
    };
    in_mount_namespace(|| {
        let mut site = Site::new(Fs::Ext4, |lower| copy_all(&base, lower));
        let kernel = site.in_kernel(|root| in_chroot(root, &packages, INSTALL));
        assert!(kernel.entries().len() > 5000, "{}", kernel.entries().len());
        check(&site, &kernel, &site.open());

        // The upper of the installation as a lower: now two lowers and whiteouts in the middle.
        site.rotate();
        let kernel = site.in_kernel(|root| in_chroot(root, &packages, REPLACE));
        check(&site, &kernel, &site.open());

        // Handed over: changed by the crate, shown by the kernel.
        let overlay = site.open();
        change(&overlay);
        drop(overlay);
        let kernel = site.in_kernel(|_| {});
        let overlay = site.open();
        check(&site, &kernel, &overlay);
        verify(&overlay);
        drop(overlay);

        // And back: the kernel works on what the crate wrote.
        site.rotate();
        let kernel = site.in_kernel(|root| in_chroot(root, &packages, INSTALL));
        check(&site, &kernel, &site.open());
        site.check_log();
    });
}

/// A bit of everything, all over the tree.
fn change(overlay: &Overlay) {
    // A package directory goes and comes again.
    overlay.remove_dir_all("/usr/share/perl").unwrap();
    overlay
        .create_dir_all("/usr/share/perl/new", 0o755)
        .unwrap();
    overlay.write("/usr/share/perl/new/file", "new").unwrap();
    overlay.remove_dir_all("/usr/share/doc").unwrap();
    // What is in a lower directory: mode, time, name (not of what the next installation needs).
    let entries = overlay.read_dir_sorted("/usr/bin").unwrap();
    for (i, entry) in entries.into_iter().enumerate() {
        let path = Path::new("/usr/bin").join(&entry.name);
        let meta = overlay.symlink_metadata(&path).unwrap();
        match (meta.file_type.is_symlink(), i % 3) {
            (false, 0) => overlay.set_permissions(&path, 0o4711).unwrap(),
            (_, 1) => {
                let time = SetTime::At(Timestamp::new(1, 2));
                overlay.set_times(&path, time, time, false).unwrap();
            }
            (_, 2) if entry.name.as_bytes() > b"u".as_slice() => {
                let to = path.with_extension("moved");
                overlay.rename(&path, to).unwrap();
            }
            _ => {}
        }
    }
    let same = RenameFlags::EXCHANGE;
    overlay
        .rename_with("/etc/passwd", "/etc/group", same)
        .unwrap();
    let refused = overlay.rename("/usr/lib", "/usr/moved").unwrap_err();
    assert_eq!(refused.errno(), Errno::EXDEV);
    let append = OpenOptions::new().append(true);
    let file = overlay.open("/etc/hostname", &append).unwrap();
    file.write_all_at(b"more\n", 0).unwrap();
    overlay
        .copy("/usr/share/common-licenses/GPL-3", "/etc/copy")
        .unwrap();
    overlay.hard_link("/etc/copy", "/etc/copy-too").unwrap();
    overlay
        .remove_file("/usr/share/common-licenses/GPL-3")
        .unwrap();
    overlay
        .symlink("/etc/copy", "/usr/share/common-licenses/GPL-3")
        .unwrap();
    // Directories become files, files directories.
    overlay
        .remove_dir_all("/usr/share/zoneinfo")
        .or_else(absent)
        .unwrap();
    overlay.write("/usr/share/zoneinfo", "a file").unwrap();
    overlay.remove_file("/etc/issue").unwrap();
    overlay.create_dir("/etc/issue", 0o750).unwrap();
    overlay.write("/etc/issue/inside", "").unwrap();
}

fn absent(e: layerstack::Error) -> layerstack::Result<()> {
    match e.errno() {
        Errno::ENOENT => Ok(()),
        _ => Err(e),
    }
}

fn verify(overlay: &Overlay) {
    let perl: Vec<_> = overlay.walk("/usr/share/perl").collect();
    assert_eq!(perl.len(), 3, "{perl:?}");
    assert!(!overlay.exists("/usr/share/doc").unwrap());
    assert!(
        overlay
            .read_to_string("/etc/group")
            .unwrap()
            .starts_with("root:x:0:0:root")
    );
    assert_eq!(overlay.metadata("/etc/copy").unwrap().nlink, 2);
}

/// The tree squashed into one layer is the same tree.
#[test]
fn a_copy_of_the_merged_tree() {
    if !require_kernel() {
        return;
    }
    let Some((base, packages)) = require_debian() else {
        return;
    };
    in_mount_namespace(|| {
        let site = Site::new(Fs::Ext4, |lower| copy_all(&base, lower));
        let kernel = site.in_kernel(|root| {
            in_chroot(
                root,
                &packages,
                "rm -rf /usr/share/doc; dpkg --force-depends -i /mnt/less_*",
            );
        });
        let overlay = site.open();
        let memory = layerstack::backend::memory::MemLayer::new();
        copy_layer(&*overlay, &memory).unwrap();
        let squashed = LayerStack::from_top([memory]).unwrap();
        let shown = site.shown_stack(&squashed);
        let mut compare = layerstack::testing::Compare::merged();
        compare.inode_labels = false;
        assert_eq!(kernel.diff_text(&shown, &compare, 20), None);
    });
}
