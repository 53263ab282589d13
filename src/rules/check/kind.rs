//! The kinds of findings: name, severity, rule, meaning.

use std::fmt;

/// How bad a finding is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Severity {
    /// Nothing shows wrongly. Something can be tidied, or another tool may stumble.
    Note,
    /// The stack works, but shows something that nobody meant, or will sooner or later.
    Warning,
    /// Something cannot be used: an object, or the whole stack.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One row of the table of kinds.
struct Row {
    code: &'static str,
    severity: Severity,
    rule: Option<&'static str>,
    meaning: &'static str,
}

/// The table: one variant per row, so that no kind is without a row.
macro_rules! kinds {
    ($($variant:ident $code:literal $severity:ident $rule:expr, $meaning:literal;)*) => {
        /// What is wrong. [`FindingKind::meaning`] says it in a sentence.
        #[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingKind {
            $(#[doc = $meaning] $variant,)*
        }

        impl FindingKind {
            /// Every kind.
            pub const ALL: &'static [FindingKind] = &[$(FindingKind::$variant,)*];

            const fn row(self) -> Row {
                match self {
                    $(FindingKind::$variant => Row {
                        code: $code,
                        severity: Severity::$severity,
                        rule: $rule,
                        meaning: $meaning,
                    },)*
                }
            }
        }
    };
}

kinds! {
    WhiteoutRedundant "whiteout-redundant" Note Some("R078"),
        "A whiteout hides nothing: no layer below shows the name.";
    WhiteoutInOpaque "whiteout-in-opaque" Note Some("R085"),
        "A whiteout lies in an opaque directory, which hides everything below anyway.";
    WhiteoutListed "whiteout-listed" Warning Some("R079"),
        "A whiteout is listed as a file although no lookup finds it: nothing merges in its directory, or its form is not announced there.";
    RedirectMalformed "redirect-malformed" Error Some("R162"),
        "A redirect is not a name or an absolute path: every lookup fails.";
    RedirectOutOfBounds "redirect-out-of-bounds" Error Some("R162"),
        "A redirect leads out of the tree, through `.` or `..`: every lookup fails.";
    RedirectTooLong "redirect-too-long" Note Some("R155"),
        "An absolute redirect is longer than any that is written; other filesystems may not be able to store it.";
    RedirectDangling "redirect-dangling" Warning Some("R163"),
        "A redirect leads to nothing that this directory could merge with.";
    RedirectDuplicate "redirect-duplicate" Error Some("R169"),
        "Two directories are redirected to one lower directory: the kernel merges whichever is looked up first and refuses the other.";
    RedirectUncovered "redirect-uncovered" Error Some("R169"),
        "A lower directory shows at its own place although another directory is redirected to it: the kernel refuses whichever is looked up second.";
    RedirectIgnored "redirect-ignored" Note Some("R093"),
        "A redirect without effect: the directory is opaque.";
    RedirectRefused "redirect-refused" Warning Some("R165"),
        "Redirects are not followed with these options: every lookup is refused.";
    MetacopyMalformed "metacopy-malformed" Error Some("R171"),
        "The mark of a metadata-only copy is malformed: every lookup fails.";
    MetacopyWithoutData "metacopy-without-data" Error Some("R173"),
        "A metadata-only copy has no data below: every lookup fails, or where data-only layers should have them every opening.";
    MetacopyMismatch "metacopy-mismatch" Error Some("R271"),
        "A metadata-only copy leads to another file than it records as origin: with an index every lookup fails.";
    MetacopySize "metacopy-size" Warning Some("R176"),
        "A metadata-only copy shows another size than its data have: a lower was modified under its upper.";
    MetacopyRefused "metacopy-refused" Warning Some("R177"),
        "Metadata-only copies are not understood with these options: every lookup is refused.";
    ImpureMissing "impure-missing" Note Some("R234"),
        "An upper directory with copied-up entries is not marked impure: it may list other inode numbers than stat shows.";
    ImpureSuperfluous "impure-superfluous" Note Some("R108"),
        "An upper directory is marked impure and has no copied-up entry (any more).";
    OriginMissing "origin-missing" Note Some("R065"),
        "A merged upper directory does not record which lower directory it was copied up from.";
    OriginMalformed "origin-malformed" Warning Some("R233"),
        "A recorded origin is malformed.";
    OriginStale "origin-stale" Warning Some("R066"),
        "The lower object that this was copied up from is gone: a lower was modified, or copied, under its upper.";
    OriginOfOtherType "origin-of-other-type" Warning Some("R066"),
        "The recorded origin is of another type: a lower was modified under its upper.";
    OriginMismatch "origin-mismatch" Warning Some("R270"),
        "The lower found is not the one recorded as origin: a lower was modified, or copied, under its upper.";
    OriginDuplicate "origin-duplicate" Error Some("R066"),
        "Two upper files record one origin: the kernel shows whichever is looked up first and refuses the other.";
    OriginUncovered "origin-uncovered" Error Some("R066"),
        "A lower file shows at its own place although an upper file elsewhere records it as origin: the kernel shows one content for both, or refuses one.";
    RootOriginMismatch "root-origin-mismatch" Error Some("R266"),
        "The index was made over another topmost lower: a mount with an index is refused.";
    IndexUpperMismatch "index-upper-mismatch" Error Some("R266"),
        "The index belongs to another upper directory: a mount with an index is refused.";
    IndexNameMalformed "index-name-malformed" Error Some("R267"),
        "An index entry has no valid name: a mount with an index is refused.";
    IndexWithoutOrigin "index-without-origin" Error Some("R267"),
        "An index entry does not record its origin: a mount with an index is refused.";
    IndexMismatch "index-mismatch" Warning Some("R267"),
        "An index entry records another origin than its name says: a mount with an index removes it.";
    IndexStale "index-stale" Warning Some("R267"),
        "The lower object of an index entry is gone: a lower was modified, or copied, under its upper.";
    IndexOrphan "index-orphan" Warning Some("R267"),
        "No name is left of the file that an index entry stands for: a mount with an index removes it.";
    IndexOfOtherType "index-of-other-type" Error Some("R272"),
        "An index entry and the lower object that it stands for are of different types: lookups of that object fail.";
    IndexElsewhere "index-elsewhere" Error Some("R169"),
        "A lower directory shows elsewhere than in the upper directory that its index entry names: lookups of it fail.";
    IndexMissing "index-missing" Warning Some("R262"),
        "An upper file records a lower file of several names as origin, and the index has no entry that joins the names.";
    IndexSplit "index-split" Warning Some("R263"),
        "An upper file and the index entry of its origin are two files: changes of one do not show in the other names.";
    NlinkMalformed "nlink-malformed" Warning Some("R258"),
        "The recorded link count of an indexed file is malformed or missing.";
    NlinkWrong "nlink-wrong" Warning Some("R258"),
        "The recorded link count of an indexed file is not possible with the names that it has.";
    WorkLeftover "work-leftover" Note Some("R246"),
        "Something unfinished was left in the work directory; the next mount removes it.";
    WorkLeftoverDeep "work-leftover-deep" Warning Some("R043"),
        "Something unfinished was left deep in the work directory: the kernel cannot remove it and mounts read-only.";
    WorkUnread "work-unread" Note Some("R042"),
        "The staging directory is closed to this caller, as the kernel makes it: what was left in it is not checked.";
    VolatileMark "volatile-mark" Error Some("R044"),
        "The last mount was volatile and not finished: what it wrote may be incomplete, and mounts are refused.";
    NamespaceMixed "namespace-mixed" Warning Some("R275"),
        "An overlay attribute in the other namespace: without effect here, and shown to users.";
    AttributeMeaningless "attribute-meaningless" Note Some("R276"),
        "An overlay attribute that means nothing here: on an object of this type, in this place or with this value.";
    AttributeUnknown "attribute-unknown" Note Some("R277"),
        "An overlay attribute that is not known: nobody sees it.";
    SealBroken "seal-broken" Warning Some("R040"),
        "A lower is not what it was when it was sealed: it was modified under its upper.";
    StackInvalid "stack-invalid" Error None,
        "The layers make no stack.";
    TooManyLayers "too-many-layers" Error Some("R002"),
        "More lower layers than can be mounted.";
    ManyLayers "many-layers" Note Some("R002"),
        "Nearly as many lower layers as can be mounted.";
    DockerLayers "docker-layers" Note Some("R002"),
        "More layers than Docker's overlay2 driver stacks, or nearly as many.";
    OptionsTooLong "options-too-long" Warning Some("R023"),
        "The options do not fit into the page that mount(2) passes: it cuts them off without a word.";
    OptionsLong "options-long" Note Some("R023"),
        "The options nearly fill the page that mount(2) passes.";
    InodesExhausted "inodes-exhausted" Warning None,
        "The upper's filesystem has no free inodes: nothing can be copied up.";
    InodesLow "inodes-low" Note None,
        "The upper's filesystem has few free inodes.";
    Unreadable "unreadable" Error Some("R056"),
        "This cannot be read, and so neither be checked.";
    LayerInside "layer-inside" Warning Some("R016"),
        "A layer's own directory lies inside another layer: it is listed, and every lookup fails.";
    MountPoint "mount-point" Warning Some("R064"),
        "Something is mounted on this inside a layer: an overlay shows what lies beneath the mount.";
    NameTooLong "name-too-long" Note Some("R036"),
        "The upper's filesystem cannot hold a name of this length, so this cannot be copied up.";
    NameNotText "name-not-text" Note None,
        "The name is not UTF-8: formats that are text cannot tell it.";
    NameControl "name-control" Note None,
        "The name holds control characters, such as a line break: tools that work by lines split it.";
    NameReserved "name-reserved" Note None,
        "The name begins with `.wh.`: archives of layers take it for a whiteout.";
    PathLong "path-long" Note None,
        "The path is longer than a system call takes: tools that work by whole paths do not reach this and what is below.";
}

impl FindingKind {
    /// A short name that stays the same, such as `whiteout-redundant`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().code
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// The rule that it is about (an id of `docs/semantics.md`), where there is one.
    #[must_use]
    pub const fn rule(self) -> Option<&'static str> {
        self.row().rule
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// True for what concerns other tools only: names and paths that they cannot handle.
    #[must_use]
    pub const fn is_portability(self) -> bool {
        matches!(
            self,
            FindingKind::NameNotText
                | FindingKind::NameControl
                | FindingKind::NameReserved
                | FindingKind::PathLong
        )
    }

    /// True for what makes the kernel's lookups of a name fail, always or after another name was looked up;
    /// what cannot be read here may be so there.
    pub(crate) const fn fails_lookups(self) -> bool {
        matches!(
            self,
            FindingKind::RedirectMalformed
                | FindingKind::RedirectOutOfBounds
                | FindingKind::RedirectDuplicate
                | FindingKind::RedirectUncovered
                | FindingKind::RedirectRefused
                | FindingKind::MetacopyMalformed
                | FindingKind::MetacopyWithoutData
                | FindingKind::MetacopyMismatch
                | FindingKind::MetacopyRefused
                | FindingKind::OriginDuplicate
                | FindingKind::OriginUncovered
                | FindingKind::IndexOfOtherType
                | FindingKind::IndexElsewhere
                | FindingKind::Unreadable
                | FindingKind::LayerInside
        )
    }

    /// True for what tells that a lower was modified after the upper was made over it.
    #[must_use]
    pub const fn is_lower_modified(self) -> bool {
        matches!(
            self,
            FindingKind::OriginStale
                | FindingKind::OriginOfOtherType
                | FindingKind::OriginMismatch
                | FindingKind::MetacopyMismatch
                | FindingKind::MetacopySize
                | FindingKind::RootOriginMismatch
                | FindingKind::IndexStale
                | FindingKind::SealBroken
        )
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for FindingKind {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_meanings_are_sentences() {
        let codes: BTreeSet<_> = FindingKind::ALL.iter().map(|k| k.code()).collect();
        assert_eq!(codes.len(), FindingKind::ALL.len());
        for kind in FindingKind::ALL {
            assert!(kind.meaning().ends_with('.'), "{kind}");
            assert!(kind.rule().is_none_or(|r| r.len() == 4), "{kind}");
        }
    }
}
