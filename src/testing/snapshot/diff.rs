//! What two trees differ in, one line per difference.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::{Content, Entry, NodeSnapshot, TreeSnapshot};
use crate::meta::{DeviceId, FileType, Timestamp};
use crate::path::{display_bytes, display_path};
use crate::xattr_name::OverlayAttr;

/// How modification times are compared.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum TimeCompare {
    /// Not at all.
    Ignore,
    /// To the nanosecond.
    Exact,
    /// A time at or after the start of the run (see [`SnapshotOptions::started`](super::SnapshotOptions::started); one
    /// second of tolerance, as the kernel's clock for files is coarse) is "now" and equals every other "now";
    /// earlier times are compared exactly.
    SinceStart,
}

/// How `overlay.origin` is compared.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OriginCompare {
    /// Not at all.
    Ignore,
    /// Both have one, of zero length or not, or neither.
    Presence,
    /// All bytes.
    Exact,
}

/// What [`TreeSnapshot::diff`] compares. Types, symlink targets, sizes of files, device numbers and
/// content are always compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent switch"
)]
pub struct Compare {
    /// Modification times.
    pub mtime: TimeCompare,
    /// Access times too, likewise.
    pub atime: bool,
    /// Permission bits.
    pub modes: bool,
    /// Owner and group.
    pub owners: bool,
    /// Link counts of what is not a directory.
    pub nlink: bool,
    /// Link counts of directories.
    pub dir_nlink: bool,
    /// Which names share an inode.
    pub link_groups: bool,
    /// The names that [`TreeSnapshot::label_inodes`] gave to inodes.
    pub inode_labels: bool,
    /// Inode numbers themselves.
    pub inode_numbers: bool,
    /// Types that listings tell.
    pub listed_types: bool,
    /// Whether the inode number that a listing tells is that of `stat`.
    pub listed_inodes: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// Where data and holes are, in steps of 4096 bytes.
    pub holes: bool,
    /// Overlay attributes other than `origin` and `uuid`.
    pub overlay: bool,
    /// `overlay.origin`.
    pub origin: OriginCompare,
}

impl Compare {
    /// For two merged trees: all that users can see and that does not depend on the filesystem.
    #[must_use]
    pub const fn merged() -> Self {
        Compare {
            mtime: TimeCompare::SinceStart,
            atime: false,
            modes: true,
            owners: true,
            nlink: true,
            dir_nlink: false,
            link_groups: true,
            inode_labels: true,
            inode_numbers: false,
            listed_types: true,
            listed_inodes: true,
            xattrs: true,
            holes: false,
            overlay: false,
            origin: OriginCompare::Ignore,
        }
    }

    /// For two upper layers over the same lowers; see the module's list of freedoms.
    #[must_use]
    pub const fn upper() -> Self {
        let mut compare = Compare::merged();
        compare.inode_labels = false;
        compare.listed_types = false;
        compare.listed_inodes = false;
        compare.overlay = true;
        compare.origin = OriginCompare::Exact;
        compare
    }

    /// For one tree before and after: everything except access times.
    #[must_use]
    pub const fn unchanged() -> Self {
        let mut compare = Compare::upper();
        compare.mtime = TimeCompare::Exact;
        compare.dir_nlink = true;
        compare.inode_numbers = true;
        compare.listed_types = true;
        compare.listed_inodes = true;
        compare.holes = true;
        compare
    }
}

/// One difference. Its `Display` is one line, such as `/a/b: mode 0644 != 0600`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: PathBuf,
    /// What differs, such as `mode` or `xattr user.a`.
    pub what: String,
    /// The first tree's side.
    pub left: String,
    /// The second tree's side.
    pub right: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = display_path(&self.path);
        write!(f, "{path}: {} {} != {}", self.what, self.left, self.right)
    }
}

impl TreeSnapshot {
    /// All differences between this tree and `other`, by path; none if they are equal as far as
    /// `compare` asks.
    #[must_use]
    pub fn diff(&self, other: &TreeSnapshot, compare: &Compare) -> Vec<Difference> {
        let mut out = Vec::new();
        let groups = (first_names(self), first_names(other));
        let mut paths: Vec<&PathBuf> = self.entries.keys().chain(other.entries.keys()).collect();
        paths.sort_unstable();
        paths.dedup();
        for path in paths {
            let mut at = AtPath {
                path,
                out: &mut out,
            };
            match (self.entries.get(path), other.entries.get(path)) {
                (Some(Entry::Node(a)), Some(Entry::Node(b))) => {
                    at.nodes(a, b, compare, (self.started, other.started));
                    if compare.link_groups {
                        let name = |groups: &FirstNames<'_>, node: &NodeSnapshot| {
                            let first = groups.get(&(node.meta.dev, node.meta.ino));
                            first.map_or(String::new(), |p| display_path(p).to_string())
                        };
                        at.eq("same inode as", name(&groups.0, a), name(&groups.1, b));
                    }
                }
                (Some(a), Some(b)) if a == b => {}
                (a, b) => at.push("is", brief(a), brief(b)),
            }
        }
        out
    }

    /// As [`diff`](Self::diff), as text with one line per difference, at most `lines_max`; `None`
    /// if there is none.
    #[must_use]
    pub fn diff_text(
        &self,
        other: &TreeSnapshot,
        compare: &Compare,
        lines_max: usize,
    ) -> Option<String> {
        let all = self.diff(other, compare);
        if all.is_empty() {
            return None;
        }
        let mut text: Vec<String> = all
            .iter()
            .take(lines_max)
            .map(Difference::to_string)
            .collect();
        if all.len() > lines_max {
            text.push(format!("... and {} more", all.len() - lines_max));
        }
        Some(text.join("\n"))
    }
}

type FirstNames<'a> = BTreeMap<(DeviceId, u64), &'a Path>;

/// The first name of every inode that is not a directory.
fn first_names(tree: &TreeSnapshot) -> FirstNames<'_> {
    let mut names = BTreeMap::new();
    for (path, entry) in &tree.entries {
        if let Entry::Node(node) = entry
            && !node.meta.is_dir()
        {
            names
                .entry((node.meta.dev, node.meta.ino))
                .or_insert(path.as_path());
        }
    }
    names
}

fn brief(entry: Option<&Entry>) -> String {
    match entry {
        None => String::from("absent"),
        Some(Entry::Node(node)) => node.meta.file_type.to_string(),
        Some(Entry::Whiteout(form)) => format!("whiteout ({form:?})"),
        Some(Entry::Failed(errno)) => format!("listed, but {errno:?}"),
    }
}

struct AtPath<'a> {
    path: &'a Path,
    out: &'a mut Vec<Difference>,
}

impl AtPath<'_> {
    fn push(&mut self, what: impl Into<String>, left: String, right: String) {
        self.out.push(Difference {
            path: self.path.to_path_buf(),
            what: what.into(),
            left,
            right,
        });
    }

    fn eq<T: PartialEq + fmt::Display>(&mut self, what: &str, a: T, b: T) {
        if a != b {
            self.push(what, a.to_string(), b.to_string());
        }
    }

    fn eq_opt<T: PartialEq + fmt::Debug>(&mut self, what: &str, a: &Option<T>, b: &Option<T>) {
        if a != b {
            let show = |v: &Option<T>| v.as_ref().map_or("none".into(), |v| format!("{v:?}"));
            self.push(what, show(a), show(b));
        }
    }

    fn nodes(
        &mut self,
        a: &NodeSnapshot,
        b: &NodeSnapshot,
        compare: &Compare,
        started: (Option<Timestamp>, Option<Timestamp>),
    ) {
        let (m, n) = (&a.meta, &b.meta);
        if m.file_type != n.file_type {
            return self.eq("is", m.file_type, n.file_type);
        }
        let dir = m.file_type == FileType::Directory;
        if compare.modes && m.mode != n.mode {
            self.push("mode", format!("{:04o}", m.mode), format!("{:04o}", n.mode));
        }
        if compare.owners && (m.uid, m.gid) != (n.uid, n.gid) {
            let show = |uid, gid| format!("{uid}:{gid}");
            self.push("owner", show(m.uid, m.gid), show(n.uid, n.gid));
        }
        if !dir {
            self.eq("size", m.size, n.size);
        }
        self.eq("device", m.rdev, n.rdev);
        if if dir {
            compare.dir_nlink
        } else {
            compare.nlink
        } {
            self.eq("nlink", m.nlink, n.nlink);
        }
        if compare.inode_numbers {
            self.eq("inode", m.ino, n.ino);
        }
        if compare.inode_labels {
            self.eq_opt("inode of", &a.inode_label, &b.inode_label);
        }
        if compare.listed_types {
            self.eq_opt("listed type", &a.listed_type, &b.listed_type);
        }
        if compare.listed_inodes {
            let same = |node: &NodeSnapshot| node.listed_ino.is_none_or(|ino| ino == node.meta.ino);
            self.eq("listed inode is that of stat:", same(a), same(b));
        }
        self.times(a, b, compare, started);
        self.errors(a, b);
        if a.target != b.target {
            let show =
                |t: &Option<Vec<u8>>| display_bytes(t.as_deref().unwrap_or_default()).to_string();
            self.push("target", show(&a.target), show(&b.target));
        }
        if let (Some(c), Some(d)) = (&a.content, &b.content) {
            self.content(c, d, compare.holes);
        }
        if compare.xattrs {
            self.attrs("xattr ", &a.xattrs, &b.xattrs, |_| OriginCompare::Exact);
        }
        if compare.overlay {
            self.attrs("", &a.overlay, &b.overlay, |attr| match attr {
                OverlayAttr::Origin => compare.origin,
                OverlayAttr::Uuid => OriginCompare::Ignore,
                _ => OriginCompare::Exact,
            });
        }
    }

    fn times(
        &mut self,
        a: &NodeSnapshot,
        b: &NodeSnapshot,
        compare: &Compare,
        started: (Option<Timestamp>, Option<Timestamp>),
    ) {
        let class = |time: Timestamp, started: Option<Timestamp>| match compare.mtime {
            TimeCompare::SinceStart if is_now(time, started) => String::from("now"),
            _ => time.to_string(),
        };
        if compare.mtime != TimeCompare::Ignore {
            let (left, right) = (
                class(a.meta.mtime, started.0),
                class(b.meta.mtime, started.1),
            );
            self.eq("mtime", left, right);
        }
        if compare.atime {
            let (left, right) = (
                class(a.meta.atime, started.0),
                class(b.meta.atime, started.1),
            );
            self.eq("atime", left, right);
        }
    }

    fn errors(&mut self, a: &NodeSnapshot, b: &NodeSnapshot) {
        let keys: std::collections::BTreeSet<_> = a.errors.keys().chain(b.errors.keys()).collect();
        for key in keys {
            self.eq_opt(
                &format!("error of {key}"),
                &a.errors.get(key),
                &b.errors.get(key),
            );
        }
    }

    fn content(&mut self, a: &Content, b: &Content, holes: bool) {
        if (a.len, a.hash) != (b.len, b.hash) {
            self.push("content", show_content(a), show_content(b));
        }
        if holes && a.data != b.data {
            self.push("data at", format!("{:?}", a.data), format!("{:?}", b.data));
        }
    }

    fn attrs<K: Ord + fmt::Display>(
        &mut self,
        prefix: &str,
        a: &BTreeMap<K, Vec<u8>>,
        b: &BTreeMap<K, Vec<u8>>,
        how: impl Fn(&K) -> OriginCompare,
    ) {
        let keys: std::collections::BTreeSet<&K> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let (x, y) = (a.get(key), b.get(key));
            let same = match how(key) {
                OriginCompare::Ignore => true,
                OriginCompare::Presence => x.map(Vec::is_empty) == y.map(Vec::is_empty),
                OriginCompare::Exact => x == y,
            };
            if !same {
                let show = |v: Option<&Vec<u8>>| v.map_or("absent".into(), |v| show_bytes(v));
                self.push(format!("{prefix}{key}"), show(x), show(y));
            }
        }
    }
}

/// True if `time` is at or after the start of a run, with one second of tolerance.
#[must_use]
pub(in crate::testing) fn is_now(time: Timestamp, started: Option<Timestamp>) -> bool {
    started.is_some_and(|s| time.secs >= s.secs.saturating_sub(1))
}

fn show_bytes(bytes: &[u8]) -> String {
    let (head, more) = match bytes.get(..80) {
        Some(head) => (head, "..."),
        None => (bytes, ""),
    };
    format!("\"{}\"{more}", head.escape_ascii())
}

fn show_content(content: &Content) -> String {
    match &content.bytes {
        Some(bytes) => format!("{} bytes {}", content.len, show_bytes(bytes)),
        None => format!("{} bytes #{:08x}", content.len, content.hash & 0xffff_ffff),
    }
}
