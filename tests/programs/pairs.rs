//! Each kind of object in each kind of place: one system call on a kernel's mount and on ours.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use layerstack::testing::Compare;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::served::{Served, require};
use crate::site::Site;
use crate::support::fs::Fs;
use crate::support::namespace::in_mount_namespace;

/// A name's content in the three layers, topmost first.
type Kind = (&'static str, [What; 3]);

#[derive(Copy, Clone)]
enum What {
    No,
    File,
    SetId,
    Linked,
    Dir,
    /// With an entry named after the layer.
    Full,
    Opaque,
    /// A directory in which that of the lowest layer's entry is removed.
    Emptied,
    Whiteout,
    Symlink,
    Fifo,
}

use What::{Dir, Emptied, Fifo, File, Full, Linked, No, Opaque, SetId, Symlink, Whiteout};

const KINDS: [Kind; 21] = [
    ("nothing", [No, No, No]),
    ("lowest file", [No, No, File]),
    ("lower file", [No, File, File]),
    ("upper file", [File, No, No]),
    ("file over file", [File, No, File]),
    ("set-id file", [No, No, SetId]),
    ("linked file", [No, No, Linked]),
    ("upper linked file", [Linked, No, No]),
    ("removed file", [Whiteout, No, File]),
    ("file removed below", [No, Whiteout, File]),
    ("removed directory", [Whiteout, No, Full]),
    ("empty directory", [No, No, Dir]),
    ("lower directory", [No, No, Full]),
    ("merged directory", [No, Full, Full]),
    ("upper directory", [Dir, No, No]),
    ("copied directory", [Full, No, Full]),
    ("opaque directory", [Opaque, No, Full]),
    ("emptied directory", [Emptied, No, Full]),
    ("file over directory", [No, File, Full]),
    ("symlink", [No, No, Symlink]),
    ("fifo", [No, No, Fifo]),
];

const LAYERS: [&str; 3] = ["upper", "middle", "lowest"];

fn whiteout(at: &Path) -> io::Result<()> {
    Ok(mknod(at, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?)
}

fn make(what: What, at: &Path, layer: &str) -> io::Result<()> {
    let file = |mode| {
        fs::write(at, layer)?;
        fs::set_permissions(at, fs::Permissions::from_mode(mode))
    };
    match what {
        No => Ok(()),
        File => file(0o644),
        SetId => file(0o6755),
        Linked => {
            file(0o644)?;
            fs::hard_link(at, at.with_extension("other"))
        }
        Dir => fs::create_dir(at),
        Full => {
            fs::create_dir(at)?;
            fs::write(at.join(layer), layer)
        }
        Opaque => {
            fs::create_dir(at)?;
            xattr::set(at, "trusted.overlay.opaque", b"y")
        }
        Emptied => {
            fs::create_dir(at)?;
            whiteout(&at.join(LAYERS[2]))
        }
        Whiteout => whiteout(at),
        Symlink => symlink("nowhere", at),
        Fifo => Ok(nix::unistd::mkfifo(at, Mode::from_bits_truncate(0o640))?),
    }
}

type Call = fn(&Path, &Path) -> io::Result<()>;

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)?)
}

fn write(at: &Path, options: &mut fs::OpenOptions) -> io::Result<()> {
    // Nobody reads the fifo.
    let mut file = options.custom_flags(nix::libc::O_NONBLOCK).open(at)?;
    file.write_all(b"written")
}

fn remove_all(at: &Path) -> io::Result<()> {
    match fs::symlink_metadata(at)?.is_dir() {
        true => fs::remove_dir_all(at),
        false => fs::remove_file(at),
    }
}

/// Calls on `a`, whatever `b` is.
const ALONE: &[(&str, Call)] = &[
    ("unlink", |a, _| fs::remove_file(a)),
    ("rmdir", |a, _| fs::remove_dir(a)),
    ("mkdir", |a, _| fs::create_dir(a)),
    ("symlink", |a, _| symlink("target", a)),
    ("whiteout", |a, _| whiteout(a)),
    ("create", |a, _| {
        write(a, fs::OpenOptions::new().write(true).create_new(true))
    }),
    ("cut", |a, _| {
        write(a, fs::OpenOptions::new().write(true).truncate(true))
    }),
    ("append", |a, _| {
        write(a, fs::OpenOptions::new().append(true).create(true))
    }),
    ("chmod", |a, _| {
        fs::set_permissions(a, fs::Permissions::from_mode(0o700))
    }),
    ("lchown", |a, _| lchown(a, Some(7), Some(8))),
    ("lchown to the same", |a, _| lchown(a, None, None)),
    ("setxattr", |a, _| {
        xattr::set(a, "trusted.overlay.opaque", b"y")
    }),
    ("mkdir inside", |a, _| fs::create_dir(a.join("new"))),
    ("unlink inside", |a, _| fs::remove_file(a.join(LAYERS[2]))),
    ("rename into itself", |a, _| fs::rename(a, a.join("new"))),
    ("remove and mkdir", |a, _| {
        remove_all(a)?;
        fs::create_dir(a)
    }),
    ("rename away and mkdir", |a, _| {
        fs::rename(a, a.with_extension("moved"))?;
        fs::create_dir(a)
    }),
];

const BOTH: &[(&str, Call)] = &[
    ("rename", |a, b| fs::rename(a, b)),
    ("noreplace", |a, b| {
        rename(a, b, RenameFlags::RENAME_NOREPLACE)
    }),
    ("exchange", |a, b| {
        rename(a, b, RenameFlags::RENAME_EXCHANGE)
    }),
    ("rename, whiteout", |a, b| {
        rename(a, b, RenameFlags::RENAME_WHITEOUT)
    }),
    ("rename and back", |a, b| {
        fs::rename(a, b)?;
        fs::rename(b, a)
    }),
    ("link", |a, b| fs::hard_link(a, b)),
];

/// All cases at once have more inodes than a small filesystem.
const PARTS: usize = 4;

/// What is tried: its name, kinds of `a` and `b`, the call.
fn cases(part: usize) -> Vec<(String, [&'static Kind; 2], Call)> {
    let mut cases = Vec::new();
    for a in KINDS.iter().skip(part).step_by(PARTS) {
        for (name, call) in ALONE {
            cases.push((format!("{name}: {}", a.0), [a, &KINDS[0]], *call));
        }
        for b in &KINDS {
            for (name, call) in BOTH {
                cases.push((format!("{name}: {}, {}", a.0, b.0), [a, b], *call));
            }
        }
    }
    cases
}

fn fill(part: usize, layer: usize, root: &Path) {
    for (n, (_, kinds, _)) in cases(part).iter().enumerate() {
        let dir = root.join(format!("case{n}"));
        fs::create_dir(&dir).unwrap();
        for (kind, name) in kinds.iter().zip(["a", "b"]) {
            make(kind.1[layer], &dir.join(name), LAYERS[layer]).unwrap();
        }
    }
}

fn new_site(part: usize) -> Site {
    let mut site = Site::new(Fs::Ext4, |lowest| fill(part, 2, lowest));
    fill(part, 1, &site.upper);
    site.rotate();
    fill(part, 0, &site.upper);
    site
}

/// What a directory shows: names, modes, sizes of files.
fn shown(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let (name, mode, owner) = (path.display().to_string(), meta.mode(), meta.uid());
        all.push(format!("{name} {mode:o} {size} {owner}"));
        if meta.is_dir() {
            all.extend(shown(&path));
        }
    }
    all.sort();
    all
}

/// Runs all cases at a mount. Answers what each came to.
fn run_all(part: usize, root: &Path) -> Vec<String> {
    let done = cases(part)
        .into_iter()
        .enumerate()
        .map(|(n, (name, _, call))| {
            let dir = root.join(format!("case{n}"));
            let outcome = match call(&dir.join("a"), &dir.join("b")) {
                Ok(()) => "done".to_owned(),
                Err(e) => format!("{:?}", e.raw_os_error().map(nix::errno::Errno::from_raw)),
            };
            let shown = shown(&dir).join("\n").replace(&*dir.to_string_lossy(), "");
            format!("case {n}, {name}: {outcome}\n{shown}")
        });
    done.collect()
}

#[test]
fn every_kind_of_object_in_every_call() {
    if !require(&[Fs::Ext4], &[]) {
        return;
    }
    for part in 0..PARTS {
        in_mount_namespace(|| compare(part));
    }
}

fn compare(part: usize) {
    let (theirs, ours) = (new_site(part), new_site(part));
    let mut expected = Vec::new();
    let kernel = theirs.in_kernel(|root| expected = run_all(part, root));
    let served = Served::new(&ours);
    let found = run_all(part, &ours.mount);
    served.stop();
    let mount = ours.in_kernel(|_| {});
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected, found, "kernel, mount");
    }
    println!("{} cases", expected.len());
    // Uppers are made by hand, without the marks by which the kernel knows what to list.
    let mut compare = Compare::merged();
    compare.listed_inodes = false;
    if let Some(text) = kernel.diff_text(&mount, &compare, 20) {
        panic!("kernel != mount, mounted again:\n{text}");
    }
}
