//! Sections 11 and 12 as far as the default options go: redirects are followed, never made; metacopy
//! files are refused.

use layerstack::testing::NodeSpec;
use layerstack::{Errno, OverlayAttr};

use crate::ops::*;
use crate::rig::rule;

fn to(target: &str) -> NodeSpec {
    dir().overlay(OverlayAttr::Redirect, target)
}

fn meta_only() -> NodeSpec {
    file("").overlay(OverlayAttr::Metacopy, "")
}

#[test]
fn r156_a_redirect_replaces_the_name_looked_up_below() {
    rule()
        .upper(of([("/up", to("/a")), ("/up/u", file("")), ("/a", gone())]))
        .lower(of([("/mid", to("/b")), ("/a/f", file("a"))]))
        .lower(of([
            ("/b/g", file("b")),
            ("/a/h", file("")),
            ("/mid/no", file("")),
        ]))
        .lists("/up", &["f", "h", "u"])
        .lists("/mid", &["g"])
        .reads("/up/f", "a")
        .fails(stat("/a"), Errno::ENOENT)
        .run();
}

#[test]
fn r157_a_relative_redirect_is_a_name_in_the_same_parent() {
    rule()
        .upper(of([("/p/new", to("old")), ("/p/old", gone())]))
        .lower(of([("/p/old/f", file("")), ("/p/new/no", file(""))]))
        .lower(of([("/p/old/g", file("")), ("/old/no", file(""))]))
        .lists("/p/new", &["f", "g"])
        .run();
}

#[test]
fn r158_an_absolute_redirect_starts_at_the_root() {
    rule()
        .upper(of([
            ("/x/y", to("/deep/down/dir")),
            ("/deep/down/dir", gone()),
        ]))
        .lower(of([("/deep/down/dir/f", file("")), ("/x/y/no", file(""))]))
        .lists("/x/y", &["f"])
        .run();
}

#[test]
fn r159_it_holds_only_for_layers_below() {
    rule()
        .upper(of([("/d/up", file(""))]))
        .lower(of([
            ("/d", to("/e")),
            ("/d/one", file("")),
            ("/e/no", file("")),
        ]))
        .lower(of([("/e/two", file("")), ("/d/no", file(""))]))
        .lists("/d", &["one", "two", "up"])
        .run();
}

#[test]
fn r160_the_way_of_an_absolute_redirect_meets_whiteouts_links_and_opaque() {
    rule()
        .upper(of([
            ("/w", to("/way/d")),
            ("/l", to("/link/d")),
            ("/n", to("/none/d")),
            ("/none", gone()),
        ]))
        .lower(of([
            ("/way", gone()),
            ("/link", link("real")),
            ("/real/d/no", file("")),
        ]))
        .lower(of([
            ("/way/d/no", file("")),
            ("/link/d/no", file("")),
            ("/none/d/yes", file("")),
        ]))
        .lists("/w", &[])
        .lists("/l", &[])
        .lists("/n", &["yes"])
        .run();
}

#[test]
fn r161_redirects_chain_from_layer_to_layer() {
    rule()
        .upper(of([("/a", to("/b")), ("/b", gone()), ("/c", gone())]))
        .lower(of([("/b", to("/c")), ("/b/one", file(""))]))
        .lower(of([
            ("/c/two", file("")),
            ("/b/no", file("")),
            ("/a/no", file("")),
        ]))
        .lists("/a", &["one", "two"])
        .run();
}

#[test]
fn r162_malformed_redirects_are_einval() {
    for value in ["/", "//x", "x/", "/x/", "a/b", ""] {
        rule()
            .upper(of([("/d", to(value)), ("/ok", dir())]))
            .lower(of([("/x/f", file("")), ("/d/f", file(""))]))
            .fails(stat("/d"), Errno::EINVAL)
            .ok(stat("/ok"))
            .run();
    }
    for value in [".", ".."] {
        rule()
            .upper(of([("/d", to(value))]))
            .lower(of([("/d/f", file(""))]))
            .fails(stat("/d"), Errno::EACCES)
            .run();
    }
}

#[test]
fn r163_a_redirect_to_nothing_merges_with_nothing() {
    rule()
        .upper(of([
            ("/d", to("/none")),
            ("/d/u", file("")),
            ("/e", to("none")),
        ]))
        .lower(of([("/d/no", file("")), ("/e/no", file(""))]))
        .lists("/d", &["u"])
        .lists("/e", &[])
        .run();
    // A name that no directory can hold leads nowhere either.
    let long = "x".repeat(256);
    rule()
        .upper(of([
            ("/d", to(&long)),
            ("/d/u", file("")),
            ("/e", to(&format!("/d/{long}"))),
        ]))
        .lower(of([("/d/no", file("")), ("/e/no", file(""))]))
        .lists("/d", &["u"])
        .lists("/e", &[])
        .run();
}

#[test]
fn r164_a_redirect_on_anything_but_a_directory_is_ignored() {
    rule()
        .upper(of([(
            "/f",
            file("up").overlay(OverlayAttr::Redirect, "a/b/"),
        )]))
        .lower(of([("/f", file("low"))]))
        .reads("/f", "up")
        .run();
}

#[test]
fn r168_a_redirected_directory_is_merged() {
    rule()
        .upper(of([("/new", to("old")), ("/old", gone())]))
        .lower(of([("/old/f", file("f")), ("/old/g", file("g"))]))
        .ok(rm("/new/f"))
        .ok(append("/new/g", "+"))
        .lists("/new", &["g"])
        .fails(mv("/new", "/newer"), Errno::EXDEV)
        .remount()
        .lists("/new", &["g"])
        .reads("/new/g", "g+")
        .run();
}

/// Whichever is found second is refused, for as long as the first is remembered.
#[test]
fn r169_two_directories_redirected_to_one_are_estale() {
    let upper = || of([("/a", to("/c")), ("/b", to("/c")), ("/c", gone())]);
    let lower = || of([("/c/f", file(""))]);
    rule()
        .upper(upper())
        .lower(lower())
        .ok(stat("/a/f"))
        .fails(stat("/b"), Errno::ESTALE)
        .fails(create("/b/g", ""), Errno::ESTALE)
        .ok(stat("/a"))
        .remount()
        .ok(stat("/b/f"))
        .fails(stat("/a"), Errno::ESTALE)
        .not_compared()
        .run();
}

/// So is the directory that both a redirect and its own name lead to.
#[test]
fn r169_an_uncovered_origin_is_estale() {
    let upper = || of([("/a", to("/c"))]);
    let lower = || of([("/c/f", file(""))]);
    rule()
        .upper(upper())
        .lower(lower())
        .ok(stat("/a/f"))
        .fails(stat("/c"), Errno::ESTALE)
        .remount()
        .ok(stat("/c/f"))
        .fails(stat("/a"), Errno::ESTALE)
        .not_compared()
        .run();
}

#[test]
fn r177_metacopy_files_are_refused_in_upper_and_lower() {
    rule()
        .upper(of([("/up", meta_only())]))
        .lower(of([("/low", meta_only())]))
        .lower(of([("/up", file("data")), ("/low", file("data"))]))
        .fails(stat("/up"), Errno::EPERM)
        .fails(cat("/low"), Errno::EPERM)
        .fails(rm("/low"), Errno::EPERM)
        .fails(create("/up", ""), Errno::EPERM)
        .lists("/", &["low", "up"])
        .run();
}

/// Also in the bottom layer, where there is nothing to redirect to.
#[test]
fn r177_in_the_bottom_layer_too() {
    rule()
        .lower(of([("/low", meta_only())]))
        .fails(stat("/low"), Errno::EPERM)
        .run();
}

/// On the crate alone. A kernel mount with `userxattr` of the same layers was tried by hand (EPERM); the
/// random runs of ordinary users generate no redirects.
#[test]
fn r029_r165_with_userxattr_redirects_are_not_followed() {
    use layerstack::backend::memory::MemLayer;
    use layerstack::{LayerStack, OverlayAttr, XattrNamespace};
    let shown = |namespace| {
        let layer = || MemLayer::builder().namespace(namespace);
        let low = layer().file("old/f", "").build().unwrap();
        let top = layer()
            .dir("new", 0o755)
            .overlay_attr("new", OverlayAttr::Redirect, "old")
            .build()
            .unwrap();
        let stack = LayerStack::from_top([top, low]).unwrap();
        stack
            .metadata("/new/f")
            .map(|m| m.is_file())
            .map_err(|e| e.errno())
    };
    assert_eq!(shown(XattrNamespace::Trusted), Ok(true));
    assert_eq!(shown(XattrNamespace::User), Err(layerstack::Errno::EPERM));
}
