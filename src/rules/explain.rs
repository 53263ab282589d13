//! What hid what: the fate of each layer's object of one name.
//!
//! The lookup itself is decided in [`resolve`](crate::rules::resolve); this only names the reasons.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use crate::backend::WhiteoutForm;
use crate::errno::Errno;
use crate::error::LayerId;
use crate::meta::FileType;
use crate::path::display_path;
use crate::rules::resolve::Observed;

/// What a layer holds at a path.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Held {
    /// A node of this type.
    Node(FileType),
    /// A whiteout.
    Whiteout(WhiteoutForm),
    /// Something, or nothing: the layer could not tell.
    Unreadable(Errno),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::Node(file_type) => file_type.fmt(f),
            Held::Whiteout(form) => f.write_str(whiteout(*form)),
            Held::Unreadable(errno) => write!(f, "unreadable: {errno}"),
        }
    }
}

fn whiteout(form: WhiteoutForm) -> &'static str {
    match form {
        WhiteoutForm::CharDevice => "whiteout (character device 0:0)",
        WhiteoutForm::Xattr => "whiteout (empty file with the attribute)",
    }
}

/// How something hides what lies below it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum HidingKind {
    /// A whiteout hides the name in every layer below (rule R077).
    Whiteout(WhiteoutForm),
    /// An opaque directory merges with nothing below (rule R055).
    Opaque,
    /// An object that is no directory ends the search, whatever lies below (rules R051, R054).
    NonDirectory(FileType),
    /// A directory above cannot merge with what is no directory (rule R054).
    Directory,
    /// A directory above merges with another path of this layer instead (rules R156 to R161).
    Redirect,
}

/// Why an object of a layer is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HiddenBy {
    /// How it is hidden.
    pub kind: HidingKind,
    /// The layer that holds what hides it; the topmost if there are several.
    pub layer: LayerId,
    /// The path, inside that layer, of what hides it.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::path::serialize_path")
    )]
    pub path: PathBuf,
    /// It is a parent directory that is hidden, and this object with it.
    pub parent: bool,
}

impl HiddenBy {
    /// The same, for what is below.
    pub(crate) fn of_parent(&self) -> Self {
        HiddenBy {
            parent: true,
            ..self.clone()
        }
    }
}

impl fmt::Display for HiddenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, path) = (self.layer, display_path(&self.path));
        if self.parent {
            f.write_str("with its parent ")?;
        }
        match self.kind {
            HidingKind::Whiteout(form) => {
                write!(f, "by the {} {path} in {layer}", whiteout(form))
            }
            HidingKind::Opaque => write!(f, "by the opaque directory {path} in {layer}"),
            HidingKind::NonDirectory(file_type) => {
                write!(f, "by the {file_type} {path} in {layer}")
            }
            HidingKind::Directory => {
                write!(f, "by the directory {path} in {layer} (type change)")
            }
            HidingKind::Redirect => {
                write!(f, "by the redirect of {path} in {layer} to another path")
            }
        }
    }
}

/// What becomes of one layer's object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum Fate {
    /// It is what is shown; of a directory: it gives the attributes.
    Shown,
    /// A directory whose entries are merged into the shown one.
    Merged,
    /// A file that supplies the data of the shown one, which has only metadata.
    Data,
    /// A whiteout that ends the search.
    Hides,
    /// Not shown.
    Hidden(HiddenBy),
}

/// How a layer took part in the lookup of a name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The lookup asked it. `end`: for the object itself, not for a directory on a redirect's way.
    Yes {
        observed: Observed,
        stops: bool,
        end: bool,
    },
    /// The search had ended, or this is not where it looked.
    No,
}

/// What is known of one layer's object.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) layer: LayerId,
    pub(crate) path: PathBuf,
    pub(crate) held: Held,
    pub(crate) asked: Asked,
}

/// The fate of each object of one name. `facts`: those asked in the order of asking, then the
/// others. `None`: the fact is only a directory on the way, not an object of the name.
pub(crate) fn fates(facts: &[Fact]) -> Vec<Option<Fate>> {
    let mut shown: Option<&Fact> = None;
    let mut hider: Option<HiddenBy> = None;
    let asked: HashSet<LayerId> = facts
        .iter()
        .filter(|f| f.asked != Asked::No)
        .map(|f| f.layer)
        .collect();
    let mut out = Vec::with_capacity(facts.len());
    for fact in facts {
        let by = |kind| HiddenBy {
            kind,
            layer: fact.layer,
            path: fact.path.clone(),
            parent: false,
        };
        let mut stop = |kind| {
            hider.get_or_insert_with(|| by(kind));
        };
        let fate = match (fact.asked, fact.held) {
            (
                Asked::Yes {
                    observed: Observed::Take,
                    stops,
                    end,
                },
                Held::Node(file_type),
            ) => {
                if stops && file_type.is_dir() {
                    stop(HidingKind::Opaque);
                } else if stops {
                    stop(HidingKind::NonDirectory(file_type));
                }
                if end && shown.is_none() {
                    shown = Some(fact);
                    Some(Fate::Shown)
                } else {
                    end.then(|| match file_type.is_dir() {
                        true => Fate::Merged,
                        // Of a chain of metacopy files only the first and the data count (R172).
                        false if !stops => Fate::Hidden(hidden_by_shown(shown, fact)),
                        false => Fate::Data,
                    })
                }
            }
            (Asked::Yes { end, .. }, Held::Whiteout(form)) => {
                stop(HidingKind::Whiteout(form));
                end.then_some(Fate::Hides)
            }
            (Asked::Yes { end, .. }, Held::Node(file_type)) => {
                stop(HidingKind::NonDirectory(file_type));
                end.then(|| Fate::Hidden(hidden_by_shown(shown, fact)))
            }
            (Asked::Yes { end, .. }, Held::Unreadable(_)) => {
                end.then(|| Fate::Hidden(hidden_by_shown(shown, fact)))
            }
            // A layer that was asked under another path was redirected there.
            (Asked::No, _) => Some(Fate::Hidden(match (&hider, shown) {
                (Some(hider), _) if !asked.contains(&fact.layer) => hider.clone(),
                (_, Some(shown)) => HiddenBy {
                    kind: HidingKind::Redirect,
                    layer: shown.layer,
                    path: shown.path.clone(),
                    parent: false,
                },
                (Some(hider), None) => hider.clone(),
                (None, None) => hidden_by_shown(None, fact),
            })),
        };
        out.push(fate);
    }
    out
}

/// An object of the wrong type: what is shown from above cannot merge with it.
fn hidden_by_shown(shown: Option<&Fact>, fact: &Fact) -> HiddenBy {
    let shown = shown.unwrap_or(fact);
    HiddenBy {
        kind: match shown.held {
            Held::Node(file_type) if !file_type.is_dir() => HidingKind::NonDirectory(file_type),
            _ => HidingKind::Directory,
        },
        layer: shown.layer,
        path: shown.path.clone(),
        parent: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileType::{Directory as D, Regular as F};

    fn yes(observed: Observed, stops: bool) -> Asked {
        Asked::Yes {
            observed,
            stops,
            end: true,
        }
    }

    const TAKE: Asked = Asked::Yes {
        observed: Observed::Take,
        stops: false,
        end: true,
    };

    /// Rows of (held, asked), all at `/n`, from `lower[0]` down; answers one word each.
    fn run(rows: &[(Held, Asked)]) -> Vec<String> {
        let facts: Vec<Fact> = rows
            .iter()
            .enumerate()
            .map(|(i, (held, asked))| Fact {
                layer: LayerId::Lower(i),
                path: "/n".into(),
                held: *held,
                asked: *asked,
            })
            .collect();
        fates(&facts)
            .into_iter()
            .map(|fate| match fate {
                None => String::from("-"),
                Some(Fate::Hidden(by)) => by.to_string(),
                Some(fate) => format!("{fate:?}"),
            })
            .collect()
    }

    #[test]
    fn r051_to_r055_what_hides_what() {
        let (file, dir) = (Held::Node(F), Held::Node(D));
        let white = Held::Whiteout(WhiteoutForm::CharDevice);
        let stop = yes(Observed::Take, true);
        let wrong = yes(Observed::WrongType, true);
        let out = yes(Observed::Whiteout, true);
        let by_file0 = "by the file /n in lower[0]";
        let by_white0 = "by the whiteout (character device 0:0) /n in lower[0]";
        let by_opaque0 = "by the opaque directory /n in lower[0]";
        let by_dir0 = "by the directory /n in lower[0] (type change)";
        let by_file1 = "by the file /n in lower[1]";
        type Row<'a> = (&'a [(Held, Asked)], &'a [&'a str]);
        let table: &[Row<'_>] = &[
            (&[(file, stop)], &["Shown"]),
            (
                &[(file, stop), (file, Asked::No), (dir, Asked::No)],
                &["Shown", by_file0, by_file0],
            ),
            (&[(dir, TAKE), (dir, TAKE)], &["Shown", "Merged"]),
            (&[(dir, stop), (dir, Asked::No)], &["Shown", by_opaque0]),
            (
                &[(white, out), (dir, Asked::No), (white, Asked::No)],
                &["Hides", by_white0, by_white0],
            ),
            (
                &[(dir, TAKE), (file, wrong), (dir, Asked::No)],
                &["Shown", by_dir0, by_file1],
            ),
            (&[(dir, TAKE), (white, out)], &["Shown", "Hides"]),
            (&[(file, TAKE), (file, stop)], &["Shown", "Data"]),
            (
                &[(file, TAKE), (file, TAKE), (file, stop)],
                &["Shown", by_file0, "Data"],
            ),
        ];
        for (rows, expected) in table {
            assert_eq!(&run(rows), expected, "{rows:?}");
        }
    }

    #[test]
    fn r156_a_redirect_hides_the_plain_path() {
        let fact = |layer, path: &str, asked| Fact {
            layer,
            path: path.into(),
            held: Held::Node(D),
            asked,
        };
        let facts = [
            fact(LayerId::Upper, "/new", TAKE),
            fact(LayerId::Lower(0), "/old", TAKE),
            fact(LayerId::Lower(0), "/new", Asked::No),
        ];
        let texts: Vec<String> = fates(&facts)
            .into_iter()
            .flatten()
            .map(|fate| match fate {
                Fate::Hidden(by) => by.to_string(),
                fate => format!("{fate:?}"),
            })
            .collect();
        assert_eq!(
            texts,
            [
                "Shown",
                "Merged",
                "by the redirect of /new in upper to another path"
            ]
        );
    }

    #[test]
    fn a_directory_on_the_way_is_no_object_but_may_hide() {
        let way = |observed, stops| Asked::Yes {
            observed,
            stops,
            end: false,
        };
        let file = Held::Node(F);
        let rows = [
            (Held::Node(D), TAKE),
            (file, way(Observed::WrongType, true)),
            (file, Asked::No),
        ];
        assert_eq!(run(&rows), ["Shown", "-", "by the file /n in lower[1]"]);
    }
}
