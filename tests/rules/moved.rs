//! redirect_dir=on: lower and merged directories move and leave a redirect (sections 5, 10 and 11).

use std::path::Path;

use layerstack::OverlayAttr::{self, Impure, Opaque, Redirect};
use layerstack::{Errno, Op};

use crate::ops::*;
use crate::rig::{Rule, rule};
use crate::seen::{Seen, lines_of};

pub(crate) fn moving() -> Rule {
    rule().options(&["redirect_dir=on"])
}

/// Where the upper's object redirects to.
pub(crate) fn redirect(s: &Seen, path: &str) -> Option<String> {
    let value = s.attr(path, Redirect)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn to(target: &str) -> Option<String> {
    Some(String::from(target))
}

#[test]
fn r141_lower_and_merged_directories_move() {
    moving()
        .lower(of([
            ("/low", dir()),
            ("/merged/f", file("")),
            ("/full/x", file("")),
            ("/g", file("")),
        ]))
        .upper(of([("/merged", dir()), ("/pure", dir())]))
        .fails(mv("/low", "/full"), Errno::ENOTEMPTY)
        .upper_is(&["d /merged", "d /pure"])
        .ok(mv("/low", "/low2"))
        .ok(mv("/merged", "/merged2"))
        .ok(swap("/pure", "/full"))
        .ok(swap("/g", "/merged2"))
        .tree_is(&[
            "d /full",
            "d /g",
            "- /g/f",
            "d /low2",
            "- /merged2",
            "d /pure",
            "- /pure/x",
        ])
        .remount()
        .lists("/g", &["f"])
        .lists("/full", &[])
        .lists("/pure", &["x"])
        .rotate()
        .lists("/g", &["f"])
        .lists("/pure", &["x"])
        .fails(stat("/low"), Errno::ENOENT)
        .run();
}

#[test]
fn r144_the_directory_is_copied_up_without_its_contents() {
    moving()
        .lower(of([
            ("/a/d/f", file("f")),
            ("/a/d/g", file("")),
            ("/b", dir()),
        ]))
        .ok(mv("/a/d", "/b/d"))
        .upper_is(&["d /a", "w /a/d", "d /b", "d /b/d"])
        .tree_is(&["d /a", "d /b", "d /b/d", "- /b/d/f", "- /b/d/g"])
        .run();
}

#[test]
fn r148_r166_the_old_name_or_the_whole_path_is_stored() {
    moving()
        .lower(of([("/p/q/d/f", file("")), ("/s/e/f", file(""))]))
        .ok(mv("/p/q/d", "/p/q/new"))
        .look(|s| assert_eq!(redirect(s, "/p/q/new"), to("d")))
        .ok(mv("/s/e", "/p/e"))
        .look(|s| assert_eq!(redirect(s, "/p/e"), to("/s/e")))
        .look(|s| assert_eq!(s.having(Redirect).len(), 2))
        .remount()
        .lists("/p", &["e", "q"])
        .lists("/p/e", &["f"])
        .run();
}

#[test]
fn r148_a_pure_directory_gets_opaque_and_no_redirect() {
    moving()
        .lower(of([("/p/f", file("")), ("/p/gone/f", file(""))]))
        .upper(of([("/pure/f", file(""))]))
        .ok(mv("/pure", "/p/new"))
        .look(|s| assert_eq!(redirect(s, "/p/new"), None))
        .look(|s| assert_eq!(s.attr("/p/new", Opaque), Some(&b"y"[..])))
        .run();
}

#[test]
fn r149_the_new_parent_is_impure() {
    moving()
        .lower(of([("/a/d/f", file("")), ("/b/e/f", file(""))]))
        .upper(of([("/new/x", dir())]))
        .ok(mv("/a/d", "/new/d"))
        .look(|s| assert_eq!(s.attr("/new", Impure), Some(&b"y"[..])))
        .ok(mv("/b/e", "/b/e2"))
        .look(|s| assert!(s.attr("/b", Impure).is_some(), "copied up into it"))
        .run();
}

#[test]
fn r153_two_lower_directories_change_places() {
    moving()
        .lower(of([
            ("/a/f", file("a")),
            ("/b/g", file("b")),
            ("/p/c/h", file("c")),
        ]))
        .ok(swap("/a", "/b"))
        .look(|s| {
            assert_eq!(redirect(s, "/a"), to("b"));
            assert_eq!(redirect(s, "/b"), to("a"));
        })
        .reads("/a/g", "b")
        .reads("/b/f", "a")
        .ok(swap("/a", "/p/c"))
        .look(|s| {
            assert_eq!(redirect(s, "/a"), to("/p/c"));
            assert_eq!(
                redirect(s, "/p/c"),
                to("/b"),
                "by its old redirect, not its name"
            );
        })
        .remount()
        .reads("/a/h", "c")
        .reads("/b/f", "a")
        .reads("/p/c/g", "b")
        .run();
}

#[test]
fn r155_an_absolute_redirect_of_more_than_256_bytes_is_exdev() {
    let long = |n: usize| "n".repeat(n);
    let parent = format!("/{}", long(200));
    let inside = |n: usize| format!("{parent}/{}", "m".repeat(n));
    moving()
        .lower(of([
            (&*inside(54), dir()),
            (&*inside(55), dir()),
            (&*inside(56), dir()),
            ("/to", dir()),
        ]))
        .ok(mv(&inside(54), "/to/fits"))
        .look(move |s| {
            let value = redirect(s, "/to/fits").unwrap();
            assert_eq!(value.len(), 256);
        })
        .fails(mv(&inside(55), "/to/no"), Errno::EXDEV)
        .fails(swap(&inside(55), "/to/fits"), Errno::EXDEV)
        // Within one directory the name is enough.
        .ok(mv(&inside(56), &inside(57)))
        .look(|s| assert!(lines_of(&s.merged).contains(&String::from("d /to/fits"))))
        .run();
}

/// The directory in the way has been made opaque then, instead of its whiteouts.
#[test]
fn r155_a_redirect_that_is_too_long_leaves_the_target_cleared() {
    let deep = format!("/c/{}/c", "n".repeat(255));
    moving()
        .lower(of([(&*deep, dir()), ("/d/a", dir())]))
        .ok(rmdir("/d/a"))
        .fails(mv(&deep, "/d"), Errno::EXDEV)
        .look(|s| assert_eq!(s.having(Opaque), [Path::new("/d")]))
        .run();
}

/// Memory has room for any attribute.
#[test]
fn r155_a_redirect_that_cannot_be_stored_is_exdev() {
    let full = dir().xattr("user.full", vec![b'x'; 4000]);
    let deep = format!("/{}/d", "p".repeat(100));
    moving()
        .same_filesystem_only()
        .lower(of([(&*deep, dir()), ("/to", dir())]))
        .upper(of([(&*deep, full)]))
        .fails(mv(&deep, "/to/d"), Errno::EXDEV)
        .look(|s| assert!(s.having(Redirect).is_empty()))
        .ok(stat(&deep))
        .run();
}

#[test]
fn r167_an_existing_redirect_is_kept_and_made_absolute_when_the_parent_changes() {
    moving()
        .lower(of([("/p/d/f", file("f")), ("/q/x", file(""))]))
        .ok(mv("/p/d", "/p/e"))
        .ok(mv("/p/e", "/p/d2"))
        .look(|s| assert_eq!(redirect(s, "/p/d2"), to("d")))
        .ok(mv("/p/d2", "/q/d3"))
        .look(|s| assert_eq!(redirect(s, "/q/d3"), to("/p/d")))
        .ok(mv("/q/d3", "/d4"))
        .ok(mv("/d4", "/d5"))
        .look(|s| assert_eq!(redirect(s, "/d5"), to("/p/d")))
        .reads("/d5/f", "f")
        .remount()
        .reads("/d5/f", "f")
        .run();
}

#[test]
fn r166_a_redirect_of_a_directory_above_takes_the_place_of_its_name() {
    moving()
        .lower(of([("/a/b/c/f", file("f")), ("/z/y/x/g", file("g"))]))
        // A relative one is followed by the way to it ...
        .ok(mv("/a/b", "/a/b2"))
        .ok(mv("/a/b2/c", "/c"))
        .look(|s| assert_eq!(redirect(s, "/c"), to("/a/b/c")))
        // ... an absolute one is the whole way.
        .ok(mv("/z/y", "/y"))
        .ok(mv("/y", "/a/y2"))
        .ok(mv("/a/y2/x", "/x"))
        .look(|s| assert_eq!(redirect(s, "/x"), to("/z/y/x")))
        .reads("/c/f", "f")
        .reads("/x/g", "g")
        .remount()
        .reads("/c/f", "f")
        .reads("/x/g", "g")
        .run();
}

#[test]
fn r168_it_stays_merged_and_can_be_changed_and_emptied() {
    moving()
        .lower(of([
            ("/d/f", file("f")),
            ("/d/g", file("g")),
            ("/d/s/h", file("h")),
        ]))
        .ok(mv("/d", "/new"))
        .ok(rm("/new/f"))
        .ok(append("/new/g", "+"))
        .ok(mv("/new/s/h", "/new/h"))
        .ok(create("/new/own", ""))
        .lists("/new", &["g", "h", "own", "s"])
        .ok(mkdir("/d"))
        .lists("/d", &[])
        .remount()
        .lists("/new", &["g", "h", "own", "s"])
        .lists("/d", &[])
        .reads("/new/g", "g+")
        .rotate()
        .lists("/new", &["g", "h", "own", "s"])
        .ok(mv("/new", "/newer"))
        .look(|s| assert_eq!(redirect(s, "/newer"), to("new")))
        .reads("/newer/g", "g+")
        .fails(rmdir("/newer"), Errno::ENOTEMPTY)
        .ok(Op::RemoveDirAll {
            path: "/newer".into(),
        })
        .tree_is(&["d /d"])
        .run();
}

#[test]
fn r143_r168_a_moved_directory_replaces_an_emptied_one() {
    moving()
        .lower(of([("/d/f", file("f")), ("/e/g", file("g"))]))
        .ok(rm("/e/g"))
        .ok(mv("/d", "/e"))
        .look(|s| assert_eq!(redirect(s, "/e"), to("d")))
        .upper_is(&["w /d", "d /e"])
        .lists("/e", &["f"])
        .remount()
        .lists("/e", &["f"])
        .run();
}

#[test]
fn r156_r161_a_directory_redirected_by_a_lower_moves_on() {
    let to = |target: &str| dir().overlay(Redirect, target);
    moving()
        .lower(of([
            ("/mid", to("old")),
            ("/mid/a", file("")),
            ("/old", gone()),
        ]))
        .lower(of([("/old/b", file("")), ("/mid/no", file(""))]))
        .ok(mv("/mid", "/new"))
        .look(|s| assert_eq!(redirect(s, "/new"), Some(String::from("mid"))))
        .lists("/new", &["a", "b"])
        .remount()
        .lists("/new", &["a", "b"])
        .run();
}

#[test]
fn r088_mkdir_in_a_merged_directory_writes_opaque() {
    let made = |options: &[&str], want: Option<&'static [u8]>| {
        rule()
            .options(options)
            .lower(of([("/d/f", file("")), ("/d/white/f", file(""))]))
            .upper(of([("/d", dir()), ("/pure", dir())]))
            .ok(mkdir("/d/new"))
            .ok(mkdir("/pure/new"))
            .look(move |s| {
                assert_eq!(s.attr("/d/new", OverlayAttr::Opaque), want);
                assert_eq!(s.attr("/pure/new", OverlayAttr::Opaque), None);
            })
            .ok(mkdir("/d/new/sub"))
            .remount()
            .lists("/d/new", &["sub"])
            .run();
    };
    made(&["redirect_dir=on"], Some(b"y"));
    made(&["redirect_dir=follow"], None);
}

/// Mode nofollow: what was moved with `on` is refused.
#[test]
fn r165_nofollow_refuses_redirects() {
    let to = |target: &str| dir().overlay(Redirect, target);
    let layers = |options: &[&str]| {
        rule()
            .options(options)
            .upper(of([
                ("/moved", to("old")),
                ("/old", gone()),
                ("/absolute", to("/older")),
                ("/older", gone()),
                ("/none", to("nowhere")),
                ("/ok", dir()),
            ]))
            .lower(of([
                ("/low", to("/bottom")),
                ("/low/f", file("")),
                ("/bottom", opaque()),
            ]))
            .lower(of([
                ("/old/f", file("")),
                ("/older", dir()),
                ("/bottom", to("ignored")),
            ]))
    };
    layers(&["redirect_dir=nofollow"])
        .fails(stat("/moved"), Errno::EPERM)
        .fails(stat("/absolute"), Errno::EPERM)
        .fails(stat("/none"), Errno::EPERM)
        .fails(stat("/low/f"), Errno::EPERM)
        .fails(mkdir("/moved/x"), Errno::EPERM)
        .fails(mv("/moved", "/x"), Errno::EPERM)
        .ok(stat("/ok"))
        .run();
    for options in [&["redirect_dir=follow"][..], &["redirect_dir=off"], &[]] {
        layers(options)
            .lists("/moved", &["f"])
            .lists("/none", &[])
            .fails(mv("/moved", "/x"), Errno::EXDEV)
            .run();
    }
}
