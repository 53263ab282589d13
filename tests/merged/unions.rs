//! Unions of this crate, with the tree spread over their lowers.

use layerstack::testing::merged::cases::{Declared, Factory};
use layerstack::testing::oracle::{MergeOptions, merge};
use layerstack::testing::snapshot::Compare;
use layerstack::testing::{
    Case, LayerSpec, MergedFs, NodeKind, NodeSpec, SnapshotOptions, TreeSnapshot, Weakenings,
};
use layerstack::{Errno, Fsync, Op, Outcome, OverlayOptions, RedirectDir, Timestamp};

use crate::stack::{Kind, Mix, Mixed, NAMESPACE, mix};
use crate::support::child::is_root;

/// Unions of one mix.
pub struct Union {
    mix: Mix,
    redirects: bool,
}

impl Union {
    pub fn new(lower: Kind, upper: Kind) -> Self {
        Union {
            mix: mix(lower, upper, false),
            redirects: false,
        }
    }

    /// With `redirect_dir=on`.
    pub fn redirects(mut self) -> Self {
        self.redirects = true;
        self
    }
}

impl Factory for Union {
    fn make(&self, tree: &LayerSpec) -> Box<dyn MergedFs> {
        let case = Case::new(spread(tree), Some(root_of(tree)));
        let mut options = OverlayOptions::new().fsync(Fsync::Off);
        if self.redirects {
            options = options.redirect_dir(RedirectDir::On);
        }
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let started = Timestamp::new(now.as_secs().try_into().unwrap(), now.subsec_nanos());
        Box::new(Opened(Mixed::with_options(
            self.mix, &case, started, options,
        )))
    }

    fn declared(&self) -> Declared {
        let mut weak = Weakenings::default_options(NAMESPACE);
        weak.lower_dirs_stay = !self.redirects;
        let mut declared = Declared::weaker(weak);
        declared.zeroes_ranges = self.mix.upper == Kind::Memory;
        declared.shifts_ranges = declared.zeroes_ranges;
        // Further names of a copied-up file may not know its number until the next open, where the
        // lower's filesystem has no UUID.
        declared.link_groups = false;
        declared
    }

    fn unavailable(&self) -> Option<String> {
        let memory = self.mix.lower == Kind::Memory && self.mix.upper == Kind::Memory;
        (!memory && !is_root()).then(|| "not root, who alone may make owners and devices".into())
    }
}

struct Opened(Mixed);

impl MergedFs for Opened {
    fn apply(&mut self, op: &Op) -> Result<Outcome, Errno> {
        self.0.apply(op)
    }

    fn snapshot(&mut self, options: &SnapshotOptions) -> Result<TreeSnapshot, Errno> {
        self.0.session.as_mut().unwrap().snapshot(options)
    }
}

/// An empty layer whose root is that of `tree`.
pub fn root_of(tree: &LayerSpec) -> LayerSpec {
    let root = tree.effective().remove(std::path::Path::new("/"));
    LayerSpec::new().with("/", root.unwrap())
}

/// Three layers that merge to `tree`: its files by turns in the upper two, with a directory, a file and
/// content further down that are hidden.
pub fn spread(tree: &LayerSpec) -> Vec<LayerSpec> {
    let (mut top, mut middle, mut bottom) = (LayerSpec::new(), LayerSpec::new(), LayerSpec::new());
    let mut turn = false;
    for (path, node) in tree.effective() {
        match &node.kind {
            NodeKind::Directory => {
                top.insert(&path, node.clone());
                middle.insert(&path, NodeSpec::dir().mode(0o111).xattr("user.lower", "1"));
                bottom.insert(path.join("hidden"), NodeSpec::file("hidden"));
                middle.insert(path.join("hidden"), NodeSpec::whiteout());
            }
            // Names of one file are names in one layer.
            NodeKind::HardLink(_) => top.insert(&path, node.clone()),
            _ => {
                let linked = tree
                    .nodes()
                    .values()
                    .any(|n| n.kind == NodeKind::HardLink(path.clone()));
                turn = !turn && !linked;
                let layer = if turn { &mut middle } else { &mut top };
                layer.insert(&path, node.clone());
                bottom.insert(path.join("was/a/directory"), NodeSpec::file("hidden"));
            }
        }
    }
    vec![top, middle, bottom]
}

#[test]
fn spreading_changes_nothing() {
    let tree = LayerSpec::new()
        .with("/a", NodeSpec::file("1"))
        .with("/b", NodeSpec::link_to("/a"))
        .with("/d", NodeSpec::dir().mode(0o700))
        .with("/d/e", NodeSpec::file("2"))
        .with("/d/f", NodeSpec::symlink("e"))
        .with("/d/g/h", NodeSpec::dir());
    let options = SnapshotOptions::merged();
    let view =
        |layers: &[LayerSpec]| merge(layers, None, &MergeOptions::default()).snapshot(&options);
    let (one, three) = (view(std::slice::from_ref(&tree)), view(&spread(&tree)));
    assert_eq!(one.diff_text(&three, &Compare::merged(), 9), None);
}
