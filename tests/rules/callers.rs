//! Sections 7 and 20: on behalf of somebody else.

use layerstack::{CapabilitySet, Credentials, FileType, Op};

use crate::ops::*;
use crate::rig::rule;

fn alice() -> Credentials {
    Credentials::user(1000, 100).groups([27])
}

#[test]
fn r116_new_objects_belong_to_the_caller() {
    let caller = alice().umask(0o027);
    let r = rule()
        .lower(of([("/d", dir().mode(0o777)), ("/d/old", file(""))]))
        .ok(rm("/d/old"))
        .ok(create("/d/f", "x").run_as(&caller))
        .ok(mkdir("/d/d").run_as(&caller))
        .ok(symlink("t", "/d/l").run_as(&caller))
        .ok(mknod("/d/p", FileType::Fifo, 0, 0).run_as(&caller))
        .ok(mkdir("/d/old").run_as(&caller))
        .ok(Op::CreateDirAll {
            path: "/d/x/y".into(),
            mode: 0o777,
        }
        .run_as(&caller));
    let modes = [
        ("/d/f", 0o640),
        ("/d/d", 0o750),
        ("/d/l", 0o777),
        ("/d/p", 0o640),
        ("/d/old", 0o750),
        ("/d/x/y", 0o750),
    ];
    modes
        .into_iter()
        .fold(r, |r, (path, mode)| {
            r.meta(path, move |m| {
                assert_eq!((m.uid, m.gid, m.mode), (1000, 100, mode), "{path}");
            })
        })
        .run();
}

#[test]
fn r116_in_a_set_gid_directory_only_its_group_may_set_the_bit_on_programs() {
    let set_gid = |path: &str, mode| open(path, wr().create_new(true).mode(mode));
    let capable = alice().capabilities(CapabilitySet::FSETID);
    rule()
        .lower(of([
            ("/mine", dir().mode(0o2777).owner(0, 27)),
            ("/other", dir().mode(0o2777).owner(0, 5)),
        ]))
        .ok(set_gid("/mine/f", 0o2755).run_as(&alice()))
        .ok(set_gid("/other/f", 0o2755).run_as(&alice()))
        .ok(set_gid("/other/data", 0o2644).run_as(&alice()))
        .ok(set_gid("/other/capable", 0o2755).run_as(&capable))
        .ok(mkdir("/other/d").run_as(&alice()))
        .meta("/mine/f", |m| assert_eq!((m.gid, m.mode), (27, 0o2755)))
        .meta("/other/f", |m| assert_eq!((m.gid, m.mode), (5, 0o755)))
        .meta("/other/data", |m| assert_eq!((m.gid, m.mode), (5, 0o2644)))
        .meta("/other/capable", |m| {
            assert_eq!((m.gid, m.mode), (5, 0o2755))
        })
        .meta("/other/d", |m| assert_eq!((m.gid, m.mode), (5, 0o2755)))
        .run();
}

#[test]
fn r119_an_unnamed_file_belongs_to_who_opened_it() {
    rule()
        .lower(of([("/d", dir().mode(0o777))]))
        .ok(hold(0, "/d", wr().tmpfile(true)).run_as(&alice().umask(0o077)))
        .ok(hwrite(0, "data").run_as(&alice()))
        .ok(Op::HandleLink {
            slot: 0,
            to: "/d/f".into(),
        }
        .run_as(&alice()))
        .meta("/d/f", |m| {
            assert_eq!((m.uid, m.gid, m.mode, m.nlink), (1000, 100, 0o600, 1))
        })
        .reads("/d/f", "data")
        .run();
}
