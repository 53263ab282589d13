//! A situation: layers, what is held open, and one operation.

use layerstack::testing::LayerSpec;
use layerstack::{Op, OverlayOptions, RedirectDir};

use crate::ops::{layer, open, set};

/// Something that can be interrupted.
#[derive(Clone)]
pub struct Situation {
    pub name: &'static str,
    /// Topmost first.
    pub lowers: Vec<LayerSpec>,
    pub upper: LayerSpec,
    /// As on the command line of `mount`.
    pub options: Vec<&'static str>,
    /// Done before any fault.
    pub setup: Vec<Op>,
    pub op: Op,
    /// An operation that is a sequence may also end after one of these.
    pub between: Vec<Vec<Op>>,
    /// Lower hard links are broken by copying them up, so which names share a file is not compared.
    pub breaks_links: bool,
    /// An unnamed file keeps the name in the work directory that it got.
    pub leaves_a_name: bool,
    /// Data are brought into a file in place, which moves its modification time first.
    pub promotes: bool,
    /// The operation changes nothing.
    pub looks: bool,
    /// The lowers are unions themselves, whose files can only be copied by reading and writing.
    pub nested: bool,
    /// The operation works on what `setup` holds open.
    pub on_handle: bool,
}

/// A situation with one lower and an empty upper.
pub fn low(name: &'static str, lower: LayerSpec, op: Op) -> Situation {
    both(name, lower, layer(), op)
}

/// A situation with an empty lower.
pub fn up(name: &'static str, upper: LayerSpec, op: Op) -> Situation {
    both(name, layer(), upper, op)
}

/// A situation with one lower and an upper.
pub fn both(name: &'static str, lower: LayerSpec, upper: LayerSpec, op: Op) -> Situation {
    let between = match &op {
        Op::Write {
            path,
            options,
            offset,
            data,
        } => {
            let half = Op::Write {
                path: path.clone(),
                options: options.clone(),
                offset: *offset,
                data: data[..data.len() / 2].to_vec(),
            };
            vec![
                vec![open(path.to_str().unwrap(), options.clone())],
                vec![half],
            ]
        }
        // Opened, not yet changed.
        Op::Allocate { path, .. } => {
            vec![vec![open(path.to_str().unwrap(), crate::ops::wr())]]
        }
        Op::SetAttr { path, attr, .. } => {
            let mut so_far = attr.clone();
            (so_far.atime, so_far.mtime) = Default::default();
            let owner = layerstack::SetAttr::owner(attr.uid, attr.gid);
            let path = path.to_str().unwrap();
            vec![vec![set(path, owner)], vec![set(path, so_far)]]
        }
        _ => Vec::new(),
    };
    Situation {
        name,
        lowers: vec![lower],
        upper,
        options: Vec::new(),
        setup: Vec::new(),
        op,
        between,
        breaks_links: false,
        leaves_a_name: false,
        promotes: false,
        looks: false,
        nested: false,
        on_handle: false,
    }
}

impl Situation {
    /// Adds a layer below the others.
    pub fn below(mut self, lower: LayerSpec) -> Self {
        self.lowers.push(lower);
        self
    }

    #[allow(dead_code, reason = "for situations of options")]
    pub fn options(mut self, options: &[&'static str]) -> Self {
        self.options.extend_from_slice(options);
        self
    }

    pub fn setup(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.setup.extend(ops);
        self
    }

    /// The operation works on an open file.
    pub fn on_handle(mut self) -> Self {
        self.on_handle = true;
        self
    }

    /// The operation consists of these; any number of them may have been done.
    pub fn parts(mut self, parts: &[Op]) -> Self {
        self.between = (1..parts.len()).map(|n| parts[..n].to_vec()).collect();
        self
    }

    pub fn leaves_a_name(mut self) -> Self {
        self.leaves_a_name = true;
        self
    }

    pub fn promotes(mut self) -> Self {
        self.promotes = true;
        self
    }

    pub fn looks(mut self) -> Self {
        self.looks = true;
        self
    }

    pub fn nested(mut self) -> Self {
        self.nested = true;
        self
    }

    pub fn breaks_links(mut self) -> Self {
        self.breaks_links = true;
        self
    }

    pub fn overlay_options(&self) -> OverlayOptions {
        let mut all = OverlayOptions::new();
        for option in &self.options {
            all = match *option {
                "redirect_dir=on" => all.redirect_dir(RedirectDir::On),
                "index=on" => all.index(true),
                "metacopy=on" => all.metacopy(true),
                "nfs_export=on" => all.nfs_export(true),
                other => panic!("{}: unknown option {other}", self.name),
            };
        }
        all
    }
}
