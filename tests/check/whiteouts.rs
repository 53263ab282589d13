//! Whiteouts.

use layerstack::testing::{LayerSpec, NodeSpec};

use crate::scene::heals_plain;

fn lower() -> LayerSpec {
    LayerSpec::new()
        .with("/d/f", NodeSpec::file("lower"))
        .with("/g", NodeSpec::file(""))
}

/// Both layers have it, so it is merged, and says so.
fn merged(upper: LayerSpec) -> LayerSpec {
    upper.with("/d", NodeSpec::dir())
}

const MERGED: &str = "origin-missing upper:/d";

#[test]
fn whiteouts_that_hide_something_are_right() {
    let upper = merged(LayerSpec::new())
        .with("/d/f", NodeSpec::whiteout())
        .with("/g", NodeSpec::whiteout());
    heals_plain(&[lower()], &upper, &[MERGED], &[]);
}

#[test]
fn a_whiteout_that_hides_nothing_is_redundant() {
    let upper = merged(LayerSpec::new())
        .with("/d/gone", NodeSpec::whiteout())
        .with("/gone", NodeSpec::whiteout());
    let found = [
        MERGED,
        "whiteout-redundant upper:/d/gone",
        "whiteout-redundant upper:/gone",
    ];
    heals_plain(&[lower()], &upper, &found, &[]);
}

#[test]
fn a_whiteout_over_a_whiteout_is_redundant() {
    let middle = LayerSpec::new().with("/g", NodeSpec::whiteout());
    let upper = LayerSpec::new().with("/g", NodeSpec::whiteout());
    let found = ["whiteout-redundant upper:/g"];
    heals_plain(&[middle, lower()], &upper, &found, &[]);
}

#[test]
fn a_redundant_whiteout_of_a_lower_is_told_and_left() {
    let middle = LayerSpec::new().with("/gone", NodeSpec::whiteout());
    let found = ["whiteout-redundant lower[0]:/gone"];
    heals_plain(&[middle, lower()], &LayerSpec::new(), &found, &[]);
}

/// Nothing merges in an opaque directory: its whiteouts hide nothing, and are listed.
#[test]
fn a_whiteout_in_an_opaque_directory_is_listed() {
    let upper = LayerSpec::new()
        .with("/d", NodeSpec::dir().opaque("y"))
        .with("/d/f", NodeSpec::whiteout());
    let found = ["whiteout-listed upper:/d/f"];
    heals_plain(&[lower()], &upper, &found, &["/d/f"]);
}

/// With a directory above it, it is merged, and the whiteout shows nowhere.
#[test]
fn a_whiteout_in_an_opaque_directory_that_merges_is_no_harm() {
    let middle = LayerSpec::new()
        .with("/d", NodeSpec::dir().opaque("y"))
        .with("/d/f", NodeSpec::whiteout());
    let found = [MERGED, "whiteout-in-opaque lower[0]:/d/f"];
    let upper = merged(LayerSpec::new());
    heals_plain(&[middle, lower()], &upper, &found, &[]);
}

#[test]
fn a_whiteout_where_nothing_merges_is_listed() {
    let upper = LayerSpec::new().with("/new/gone", NodeSpec::whiteout());
    let found = ["whiteout-listed upper:/new/gone"];
    heals_plain(&[lower()], &upper, &found, &["/new/gone"]);
    let only = LayerSpec::new().with("/o/gone", NodeSpec::whiteout());
    let found = ["whiteout-listed lower[0]:/o/gone"];
    heals_plain(&[only, lower()], &LayerSpec::new(), &found, &[]);
}

/// In the upper the attribute form is listed whatever the directory says (rule R073); if it hides
/// something, a device takes its place.
#[test]
fn a_whiteout_by_attribute_in_the_upper_is_listed() {
    let upper = merged(LayerSpec::new())
        .with("/d/f", NodeSpec::xattr_whiteout())
        .with("/d/gone", NodeSpec::xattr_whiteout());
    let found = [
        MERGED,
        "whiteout-listed upper:/d/f",
        "whiteout-listed upper:/d/gone",
    ];
    heals_plain(&[lower()], &upper, &found, &["/d/f", "/d/gone"]);
}

#[test]
fn a_whiteout_by_attribute_must_be_announced() {
    let hides = |dir| {
        LayerSpec::new()
            .with("/d", dir)
            .with("/d/f", NodeSpec::xattr_whiteout())
    };
    let announced = hides(NodeSpec::dir().opaque("x"));
    heals_plain(&[announced, lower()], &LayerSpec::new(), &[], &[]);
    let secret = hides(NodeSpec::dir());
    let found = ["whiteout-listed lower[0]:/d/f"];
    heals_plain(&[secret, lower()], &LayerSpec::new(), &found, &[]);
}
