//! Overlay attributes that mean nothing, are not known, or belong to the other namespace.

use layerstack::OverlayAttr;
use layerstack::testing::{LayerSpec, NodeSpec};

use crate::scene::heals_plain;

#[test]
fn attributes_in_the_other_namespace_say_nothing() {
    let dir = || NodeSpec::dir().xattr("user.overlay.opaque", "y");
    let upper = LayerSpec::new().with("/new", dir());
    let lower = LayerSpec::new().with("/old", dir());
    let found = [
        "namespace-mixed lower[0]:/old",
        "namespace-mixed upper:/new",
    ];
    heals_plain(&[lower], &upper, &found, &["/new"]);
}

#[test]
fn attributes_for_an_overlay_inside_this_one_are_its_own() {
    let dir = NodeSpec::dir()
        .xattr("trusted.overlay.overlay.opaque", "nonsense")
        .xattr("user.overlayopaque", "y")
        .xattr("user.overlay.overlay.opaque", "y");
    let upper = LayerSpec::new().with("/new", dir);
    heals_plain(&[LayerSpec::new()], &upper, &[], &[]);
}

#[test]
fn attributes_mean_something_only_in_their_place() {
    let file = || NodeSpec::file("data");
    let link = NodeSpec::symlink("x").overlay(OverlayAttr::Redirect, "a");
    let upper = LayerSpec::new()
        .with("/a", NodeSpec::dir().opaque("yy"))
        .with("/b", file().opaque("y"))
        .with("/c", link)
        .with("/d", NodeSpec::dir().overlay(OverlayAttr::Metacopy, ""))
        .with("/e", NodeSpec::dir().overlay(OverlayAttr::Impure, "n"))
        .with("/f", file().overlay(OverlayAttr::Whiteout, "y"))
        .with("/g", file().overlay(OverlayAttr::Nlink, "many"))
        .with("/h", file().overlay(OverlayAttr::Upper, "x"))
        .with("/i", NodeSpec::dir().overlay(OverlayAttr::Uuid, [0; 16]))
        .with("/j", file().overlay(OverlayAttr::Protattr, "xyz"))
        .with("/k", file().overlay(OverlayAttr::Protattr, "ax"));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let found: Vec<String> = names
        .iter()
        .map(|name| format!("attribute-meaningless upper:/{name}"))
        .collect();
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    heals_plain(&[LayerSpec::new()], &upper, &found, &[]);
}

#[test]
fn roots_are_neither_opaque_nor_redirected() {
    let root = NodeSpec::dir()
        .opaque("y")
        .overlay(OverlayAttr::Redirect, "/d");
    let upper = LayerSpec::new().with("/", root);
    let lower = LayerSpec::new().with("/d/f", NodeSpec::file(""));
    let found = [
        "attribute-meaningless upper:/",
        "attribute-meaningless upper:/",
    ];
    heals_plain(&[lower], &upper, &found, &[]);
}

#[test]
fn what_the_kernel_leaves_on_files_is_no_finding() {
    // A redirect stays when a metadata-only copy gets its data (rule R180), a link count when the
    // index loses its entry.
    let file = NodeSpec::file("data")
        .overlay(OverlayAttr::Redirect, "/somewhere")
        .overlay(OverlayAttr::Nlink, "U+1")
        .overlay(OverlayAttr::Protattr, "ai");
    let upper = LayerSpec::new().with("/f", file);
    heals_plain(&[LayerSpec::new()], &upper, &[], &[]);
}

#[test]
fn unknown_attributes_are_told_and_left() {
    let file = NodeSpec::file("").xattr("trusted.overlay.future", "1");
    let upper = LayerSpec::new().with("/f", file);
    let found = ["attribute-unknown upper:/f"];
    heals_plain(&[LayerSpec::new()], &upper, &found, &[]);
}
