//! What developers do: a repository, a build, archives.

use std::path::Path;

use crate::served::{require, through_mount};
use crate::site::{Site, copy_all, sh};
use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;

/// Runs one script after the other, each on a mount on what the one before left as a lower.
fn in_turns(fs: Fs, programs: &[&str], fill: impl Fn(&Path) + Sync, scripts: &[&str]) {
    if !require(&[fs], programs) {
        return;
    }
    in_mount_namespace(|| {
        let mut site = Site::new(fs, &fill);
        for (i, script) in scripts.iter().enumerate() {
            if i > 0 {
                site.rotate();
            }
            through_mount(&site, |root| drop(sh(root, script)));
        }
    });
}

/// This crate's own sources, with two branches.
fn repository(lower: &Path) {
    let repo = lower.join("repo");
    std::fs::create_dir(&repo).unwrap();
    for name in ["src", "tests"] {
        copy_all(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(name),
            &repo.join(name),
        );
    }
    sh(
        &repo,
        "git init -q -b main .
         git add .
         git commit -qm one
         git checkout -qb moved
         git mv src/rules src/laws
         git rm -rq tests/support
         find src -name '*.rs' -exec sed -i 's/whiteout/marker/g' {} +
         git commit -qam two
         git checkout -q main",
    );
}

#[test]
fn a_repository() {
    in_turns(
        Fs::Tmpfs,
        &["git"],
        repository,
        &[
            "git clone -q repo clone
             cd clone
             git checkout -q moved
             test -z \"$(git status --porcelain)\"
             git gc -q --prune=now
             git fsck --strict
             cd ../repo
             git checkout -q moved
             git repack -adq
             git checkout -q main
             test -z \"$(git status --porcelain)\"
             git fsck --strict",
            "cd clone
             git checkout -q main
             git merge -q -s ours moved -m merged
             git reset -q --hard HEAD~1
             git gc -q --prune=now
             git fsck --strict
             test -z \"$(git status --porcelain)\"
             cd ..
             rm -rf repo
             git clone -q --no-hardlinks clone again
             git -C again fsck --strict",
        ],
    );
}

/// A program in C of 30 files.
fn program(lower: &Path) {
    let dir = lower.join("program");
    std::fs::create_dir(&dir).unwrap();
    let mut objects = String::from("out/main.o");
    for i in 0..30 {
        let source = format!("int f{i}(int a) {{ return a * {i}; }}\n");
        std::fs::write(dir.join(format!("f{i}.c")), source).unwrap();
        objects.push_str(&format!(" out/f{i}.o"));
    }
    let main = "int f3(int);\nint main(void) { return f3(0); }\n";
    std::fs::write(dir.join("main.c"), main).unwrap();
    let rules = format!(
        "program: libf.a\n\tcc -o $@ libf.a\nlibf.a: {objects}\n\tar rcs $@ $^\n\
         out/%.o: %.c\n\t@mkdir -p out\n\tcc -g -c -o $@ $<\nclean:\n\trm -rf out libf.a program\n"
    );
    std::fs::write(dir.join("Makefile"), rules).unwrap();
    sh(&dir, "make -s out/f1.o out/f2.o");
}

#[test]
fn a_build() {
    in_turns(
        Fs::Xfs,
        &["make", "cc", "ar", "strip"],
        program,
        &[
            "cd program
             make -s -j2
             ./program
             make -q
             touch f4.c
             if make -q; then exit 1; fi
             make -s
             strip program
             ./program",
            "cd program
             ./program
             make -s clean
             test ! -e out
             make -s -j2
             ./program",
        ],
    );
}

/// Files of every kind that archives know.
fn archive(lower: &Path) {
    sh(
        lower,
        "mkdir -p pack/a/b pack/c
         cd pack
         echo one > a/one
         ln a/one a/b/hard
         ln -s ../one a/b/soft
         mkfifo a/fifo
         truncate -s 5M a/sparse
         echo end >> a/sparse
         mknod c/null c 1 3
         setfattr -n user.test -v value a/one
         chmod 2755 c
         chmod 4711 a/b/hard
         setfacl -m u:7:rwx,g:8:r a/sparse
         setfacl -d -m u:7:rx c
         chown 11:12 c/null
         for i in $(seq 300); do echo $i > c/$i; done
         touch -d '1999-12-31 23:59:59.123456789' a/b",
    );
}

#[test]
fn archives() {
    in_turns(
        Fs::Btrfs,
        &["tar", "rsync", "setfattr", "setfacl"],
        archive,
        &[
            "same() { rsync -aHAXSni --checksum --delete $1/ $2/ > log; test ! -s log; }
             tar --xattrs --acls --sparse --format=pax -cf pack.tar -C pack .
             mkdir out
             tar --xattrs --acls -xpf pack.tar -C out
             same pack out
             rsync -aHAXS --delete pack/ synced/
             same pack synced
             rm -rf pack/a/b
             echo other > pack/c/7
             chmod 600 pack/c/8
             rsync -aHAXS --delete pack/ out/
             same pack out",
            "same() { rsync -aHAXSni --checksum --delete $1/ $2/ > log; test ! -s log; }
             rsync -aHAXS --inplace --delete synced/ out/
             same synced out
             tar -df pack.tar -C out
             rm -rf pack
             mkdir pack
             tar --xattrs --acls -xpf pack.tar -C pack
             same pack out",
        ],
    );
}
