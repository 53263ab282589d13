//! Sections 14 and 15: inode flags.

use layerstack::backend::AllocateMode;
use layerstack::{
    CapabilitySet, Credentials, Errno, FileType, InodeFlags, Op, OpenOptions, Outcome, OverlayAttr,
};

use crate::ops::*;
use crate::rig::{Rule, filesystem, rule};
use crate::support::fs::Fs;

const NONE: InodeFlags = InodeFlags {
    append: false,
    immutable: false,
    sync: false,
    noatime: false,
    nodump: false,
};
const IMMUTABLE: InodeFlags = InodeFlags {
    immutable: true,
    ..NONE
};
const APPEND: InodeFlags = InodeFlags {
    append: true,
    ..NONE
};
const NOATIME: InodeFlags = InodeFlags {
    noatime: true,
    ..NONE
};

fn set_flags(path: &str, flags: InodeFlags) -> Op {
    Op::SetFlags {
        path: path.into(),
        flags,
    }
}

impl Rule {
    /// The object has these flags.
    fn flags(self, path: &str, flags: InodeFlags) -> Self {
        let op = Op::GetFlags { path: path.into() };
        self.gets(op, move |out| assert_eq!(*out, Outcome::Flags(flags)))
    }
}

#[test]
fn r205_setting_flags_copies_up_reading_them_does_not() {
    rule()
        .lower(of([("/d/f", file("data")), ("/d/e", dir())]))
        .flags("/d/f", NONE)
        .flags("/d/e", NONE)
        .upper_empty()
        .ok(set_flags("/d/f", NONE))
        .ok(set_flags("/d/e", NOATIME))
        .upper_is(&["d /d", "d /d/e", "- /d/f"])
        .flags("/d/e", NOATIME)
        .reads("/d/f", "data")
        .run();
}

#[test]
fn r205_r213_flags_are_the_owners_to_set() {
    let alice = Credentials::user(1000, 100);
    let capable = alice.clone().capabilities(CapabilitySet::LINUX_IMMUTABLE);
    rule()
        .lower(of([
            ("/mine", file("x").owner(1000, 100)),
            ("/other", file("x")),
            ("/private", file("x").mode(0o600)),
        ]))
        .fails(set_flags("/other", NOATIME).run_as(&alice), Errno::EPERM)
        .fails(set_flags("/private", NOATIME).run_as(&alice), Errno::EACCES)
        .fails(
            Op::GetFlags {
                path: "/private".into(),
            }
            .run_as(&alice),
            Errno::EACCES,
        )
        .fails(set_flags("/mine", IMMUTABLE).run_as(&alice), Errno::EPERM)
        .upper_empty()
        .ok(set_flags("/mine", NOATIME).run_as(&alice))
        .flags("/mine", NOATIME)
        .ok(set_flags("/mine", IMMUTABLE).run_as(&capable))
        .fails(set_flags("/mine", NONE).run_as(&alice), Errno::EPERM)
        .flags("/mine", IMMUTABLE)
        .run();
}

#[test]
fn r205_only_files_and_directories_have_flags() {
    rule()
        .lower(of([("/l", link("f")), ("/f", file("x"))]))
        .ok(mknod("/p", FileType::Fifo, 0, 0))
        .fails(Op::GetFlags { path: "/p".into() }, Errno::ENOTTY)
        .fails(set_flags("/p", NONE), Errno::ENOTTY)
        .ok(set_flags("/l", APPEND))
        .flags("/f", APPEND)
        .run();
}

#[test]
fn r215_flags_of_a_read_only_union() {
    rule()
        .read_only()
        .lower(of([("/f", file("x"))]))
        .lower(layer())
        .flags("/f", NONE)
        .fails(set_flags("/f", NONE), Errno::EROFS)
        .run();
}

#[test]
fn r227_protection_of_the_root_ends_with_the_mount() {
    rule()
        .upper(of([("/", dir())]))
        .lower(of([("/f", file("x"))]))
        .ok(set_flags("/", IMMUTABLE))
        .flags("/", IMMUTABLE)
        .fails(mkdir("/new"), Errno::EPERM)
        .remount()
        .flags("/", InodeFlags::default())
        .ok(mkdir("/new"))
        .ok(set_flags("/", APPEND))
        .fails(rmdir("/new"), Errno::EPERM)
        .ok(set_flags("/", InodeFlags::default()))
        .ok(rmdir("/new"))
        .run();
}

#[test]
fn r227_protection_is_recorded_and_kept() {
    let append = || OpenOptions::new().append(true);
    rule()
        .lower(of([
            ("/i", file("x")),
            ("/a", file("x")),
            ("/d", dir()),
            ("/d/f", file("x")),
            ("/ad", dir()),
        ]))
        .ok(set_flags("/i", IMMUTABLE))
        .ok(set_flags("/a", APPEND))
        .ok(set_flags("/d", IMMUTABLE))
        .ok(set_flags("/ad", APPEND))
        .remount()
        .flags("/i", IMMUTABLE)
        .flags("/a", APPEND)
        .flags("/d", IMMUTABLE)
        .fails(open("/i", append()), Errno::EPERM)
        .fails(chmod("/i", 0o600), Errno::EPERM)
        .fails(rm("/i"), Errno::EPERM)
        .fails(ln("/i", "/i2"), Errno::EPERM)
        .fails(mv("/i", "/i2"), Errno::EPERM)
        .fails(set_xattr("/i", "user.a", "1"), Errno::EPERM)
        .ok(write("/a", append(), "y"))
        .fails(put("/a", "z"), Errno::EPERM)
        .fails(set_len("/a", 0), Errno::EPERM)
        .fails(rm("/a"), Errno::EPERM)
        .fails(mkdir("/d/new"), Errno::EPERM)
        .fails(rm("/d/f"), Errno::EPERM)
        .ok(put("/d/f", "y"))
        .ok(mkdir("/ad/new"))
        .fails(rmdir("/ad/new"), Errno::EPERM)
        .ok(set_flags("/i", NONE))
        .ok(chmod("/i", 0o600))
        .ok(set_flags("/a", NONE))
        .ok(set_flags("/d", NONE))
        .ok(set_flags("/ad", NONE))
        .ok(rm("/a"))
        .ok(rmdir("/ad/new"))
        .look(|seen| {
            for path in ["/i", "/d", "/ad"] {
                assert_eq!(seen.attr(path, OverlayAttr::Protattr), None, "{path}");
            }
        })
        .run();
}

#[test]
fn r214_what_is_open_already_minds_some_flags() {
    let writing = OpenOptions::new().read(true).write(true);
    let cut = Op::HandleSetLen { slot: 0, len: 1 };
    let write = Op::HandleWrite {
        slot: 0,
        offset: 0,
        data: b"x".to_vec(),
    };
    let allocate = |mode| Op::HandleAllocate {
        slot: 0,
        mode,
        offset: 0,
        len: 10,
    };
    let slot_0 = Op::HandleOpen {
        slot: 0,
        path: "/f".into(),
        options: writing,
    };
    rule()
        .lower(of([("/f", file("data"))]))
        .ok(slot_0)
        .ok(set_flags("/f", IMMUTABLE))
        .ok(write.clone())
        .ok(cut.clone())
        .fails(allocate(AllocateMode::Allocate), Errno::EPERM)
        .ok(set_flags("/f", APPEND))
        .ok(write)
        .fails(cut, Errno::EPERM)
        .ok(allocate(AllocateMode::AllocateKeepSize))
        .fails(allocate(AllocateMode::PunchHole), Errno::EPERM)
        .reads("/f", "x")
        .run();
}

#[test]
fn r227_a_malformed_record_counts_for_nothing() {
    let with = |value: &str| file("x").overlay(OverlayAttr::Protattr, value);
    rule()
        .lower(layer())
        .upper(of([
            ("/i", with("i")),
            ("/ai", with("ai")),
            ("/ax", with("ax")),
            ("/xi", with("xi")),
            ("/empty", with("")),
        ]))
        .flags("/i", IMMUTABLE)
        .flags(
            "/ai",
            InodeFlags {
                append: true,
                ..IMMUTABLE
            },
        )
        .flags("/ax", NONE)
        .flags("/xi", NONE)
        .flags("/empty", NONE)
        .ok(put("/ax", "y"))
        .ok(set_flags("/ax", NONE))
        .run();
}

#[test]
fn r226_other_flags_are_the_uppers_own() {
    // tmpfs has no synchronous files.
    if filesystem() == Fs::Tmpfs {
        return;
    }
    let all = InodeFlags {
        sync: true,
        noatime: true,
        nodump: true,
        ..NONE
    };
    rule()
        .lower(of([("/f", file("x"))]))
        .ok(set_flags("/f", all))
        .flags("/f", all)
        .remount()
        .flags("/f", all)
        .rotate()
        // Copied up again, without what copy-up does not copy.
        .ok(chmod("/f", 0o600))
        .flags(
            "/f",
            InodeFlags {
                nodump: false,
                ..all
            },
        )
        .run();
}
