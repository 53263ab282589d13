//! What developers do, on the kernel's overlay: a repository, a compiler, an archive.

use std::path::Path;

use layerstack::Overlay;

use crate::comparing::check;
use crate::site::{Site, copy_all, sh};
use crate::support::fs::{Fs, is_installed, require_fs};
use crate::support::namespace::{in_mount_namespace, skip};

/// The stack as the kernel left it; changed by the crate; shown by the kernel; worked on by the
/// kernel again.
fn in_turns(fs: Fs, fill: impl Fn(&Path) + Sync, first: &str, ours: fn(&Overlay), then: &str) {
    let programs = ["git", "make", "cc", "tar", "setfattr"];
    if let Some(missing) = programs.iter().find(|p| !is_installed(p)) {
        skip(&format!("{missing} is not installed"));
        return;
    }
    if !require_fs(&[fs]) {
        return;
    }
    in_mount_namespace(|| {
        let mut site = Site::new(fs, &fill);
        let kernel = site.in_kernel(|root| drop(sh(root, first)));
        check(&site, &kernel, &site.open());
        for rotate in [false, true] {
            if rotate {
                site.rotate();
            }
            let overlay = site.open();
            ours(&overlay);
            drop(overlay);
            let kernel = site.in_kernel(|_| {});
            check(&site, &kernel, &site.open());
            let kernel = site.in_kernel(|root| drop(sh(root, then)));
            check(&site, &kernel, &site.open());
        }
        site.check_log();
    });
}

/// A repository with three branches in the lower: this crate's own sources.
fn repository(lower: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repo = lower.join("repo");
    std::fs::create_dir(&repo).unwrap();
    for name in ["src", "tests"] {
        copy_all(&sources.join(name), &repo.join(name));
    }
    sh(
        &repo,
        "git init -q -b main . && git add . && git commit -qm one
         git checkout -qb moved && git mv src/rules src/laws && git rm -rq tests/support
         find src -name '*.rs' -exec sed -i 's/whiteout/marker/g' {} + && git commit -qam two
         git checkout -qb links main && ln -s src/lib.rs link && mkdir -p src/meta.rs.d
         git rm -q src/meta.rs && mkdir src/meta.rs && echo > src/meta.rs/inner
         git add . && git commit -qm three && git checkout -q main",
    );
}

#[test]
fn a_repository() {
    in_turns(
        Fs::Ext4,
        repository,
        "git clone -q repo clone && cd clone && git checkout -q moved && git checkout -q links
         cd ../repo && git checkout -q links && git checkout -q moved && git gc -q --prune=now
         git stash list && git checkout -q main && git repack -adq && git fsck --strict",
        |overlay| {
            for tree in ["/repo", "/clone"] {
                let tree = Path::new(tree);
                overlay.remove_dir_all(tree.join("src/backend")).unwrap();
                overlay
                    .write(tree.join("src/lib.rs"), "// changed\n")
                    .unwrap();
                overlay
                    .rename(tree.join("src/op.rs"), tree.join("src/op2.rs"))
                    .unwrap();
                overlay
                    .create_dir_all(tree.join("src/backend/new"), 0o755)
                    .unwrap();
                overlay
                    .write(tree.join("src/backend/new/mod.rs"), "// new\n")
                    .unwrap();
            }
        },
        "for tree in repo clone; do
             cd $tree && git add -A && git stash -q && git checkout -q moved && git checkout -q main
             git merge -q -s ours moved -m merged && git stash pop -q && git reset -q --hard
             git branch -D links 2>/dev/null || true
             git gc -q --prune=now && git fsck --strict && cd ..
         done; rm -rf clone && git clone -q --no-hardlinks repo clone",
    );
}

/// A small program in C.
fn program(lower: &Path) {
    let dir = lower.join("program");
    std::fs::create_dir(&dir).unwrap();
    let mut objects = Vec::new();
    for i in 0..12 {
        let source = format!("int f{i}(int a) {{ return a * {i}; }}\n");
        std::fs::write(dir.join(format!("f{i}.c")), source).unwrap();
        objects.push(format!("out/f{i}.o"));
    }
    std::fs::write(
        dir.join("main.c"),
        "int f3(int);\nint main(void) { return f3(0); }\n",
    )
    .unwrap();
    objects.push(String::from("out/main.o"));
    let objects = objects.join(" ");
    let rules = format!(
        "program: libf.a\n\tcc -o $@ libf.a\nlibf.a: {objects}\n\tar rcs $@ $^\n\
         out/%.o: %.c\n\t@mkdir -p out\n\tcc -g -c -o $@ $<\nclean:\n\trm -rf out libf.a program\n"
    );
    std::fs::write(dir.join("Makefile"), rules).unwrap();
    sh(&dir, "make -s out/f1.o out/f2.o libf.a && rm out/f5.o");
}

#[test]
fn a_compile() {
    in_turns(
        Fs::Xfs,
        program,
        "cd program && make -s && ./program && touch f4.c && make -s && strip program",
        |overlay| {
            overlay
                .write("/program/f4.c", "int f4(int a) { return -a; }\n")
                .unwrap();
            overlay
                .remove_file("/program/out/f7.o")
                .or_else(ignore)
                .unwrap();
            overlay.copy("/program/f1.c", "/program/f2.c.new").unwrap();
            overlay
                .rename("/program/f2.c.new", "/program/f1.c")
                .unwrap();
        },
        "cd program && make -s && ./program && make -s clean && make -s && ./program",
    );
}

fn ignore(_: layerstack::Error) -> layerstack::Result<()> {
    Ok(())
}

/// Files of every kind that tar knows.
fn archive(lower: &Path) {
    sh(
        lower,
        "mkdir -p pack/a/b pack/c && cd pack
         echo one > a/one && ln a/one a/b/hard && ln -s ../one a/b/soft && mkfifo a/fifo
         truncate -s 5M a/sparse && echo end >> a/sparse && mknod c/null c 1 3
         setfattr -n user.test -v value a/one && chmod 2755 c && chmod 4711 a/b/hard
         touch -d '1999-12-31 23:59:59.123456789' a/b && chown 11:12 c/null
         tar --xattrs --sparse --format=pax -cf ../pack.tar . && cd .. && cp -a pack copy
         rm -rf copy/a/b && echo other > copy/a/b && mkdir copy/d && echo stays > copy/d/stays",
    );
}

#[test]
fn an_archive() {
    in_turns(
        Fs::Btrfs,
        archive,
        "rm copy/a/b && tar --xattrs -xpf pack.tar -C copy && rm -rf pack && mkdir pack
         tar --xattrs -xpf pack.tar -C pack && cp --sparse=always pack/a/sparse pack/a/again",
        |overlay| {
            overlay.remove_dir_all("/copy/a").unwrap();
            overlay.hard_link("/pack/a/one", "/pack/c/third").unwrap();
            overlay.copy("/pack/a/sparse", "/pack/a/copied").unwrap();
            overlay.set_len("/pack/a/sparse", 1 << 20).unwrap();
        },
        "tar --xattrs -xpf pack.tar -C copy && rm -f pack/c/third && cp -a copy/a pack/c/dir
         rm -rf pack/c/dir",
    );
}
