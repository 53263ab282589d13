//! One rule, shown three times: on memory layers alone (everywhere), then on the running kernel, on
//! real directories and on memory read from them (where overlays can be mounted), and at last by
//! comparing everything that the kernel and the crate made of it.
//!
//! What a test expects is asserted on each system by itself, the kernel included, so that neither
//! a wrong expectation nor two wrong systems can agree.

use std::rc::Rc;

use layerstack::testing::case::Check;
use layerstack::testing::strategy::Profile;
use layerstack::testing::{Case, LayerSpec};
use layerstack::{Errno, Metadata, Op, Outcome, XattrNamespace, display_path};

use crate::seen::{Seen, lines_of};
use crate::support::fs::{Fs, Mounted, require_fs};
use crate::support::namespace::in_mount_namespace;
use crate::support::ours::{DirSystem, MemSystem};
use crate::support::runner::{Campaign, Pair, Rules};
use crate::support::system::{KernelSystem, Layout, OpenFn, Stack, System};

type Look = Box<dyn Fn(&Seen) + Send + Sync>;
type Judge = Box<dyn Fn(&Outcome) + Send + Sync>;

enum Want {
    Ok,
    Fails(Errno),
    Gets(Judge),
}

/// A case with expectations.
pub(crate) struct Rule {
    case: Case,
    wants: Vec<Want>,
    looks: Vec<(usize, Look)>,
    layout: Layout,
    namespace: XattrNamespace,
    adjust: fn(&mut Rules),
    written: bool,
    imported: bool,
    compared: bool,
}

/// What the layers lie on: ext4, or what `RULES_FS` names.
pub(crate) fn filesystem() -> Fs {
    match std::env::var("RULES_FS").as_deref() {
        Err(_) | Ok("ext4") => Fs::Ext4,
        Ok("tmpfs") => Fs::Tmpfs,
        Ok("xfs") => Fs::Xfs,
        Ok("btrfs") => Fs::Btrfs,
        Ok(other) => panic!("RULES_FS={other}: not ext4, tmpfs, xfs or btrfs"),
    }
}

/// An empty upper; no lowers yet.
pub(crate) fn rule() -> Rule {
    Rule {
        case: Case::new(Vec::new(), Some(LayerSpec::new())),
        wants: Vec::new(),
        looks: Vec::new(),
        layout: Layout::same(filesystem()),
        namespace: XattrNamespace::Trusted,
        adjust: |_| {},
        written: true,
        imported: true,
        compared: true,
    }
}

impl Rule {
    /// One more lower, below those before.
    pub(crate) fn lower(mut self, spec: LayerSpec) -> Self {
        self.case.lowers.push(spec);
        self
    }

    /// One more data-only layer, asked after those before.
    pub(crate) fn data(mut self, spec: LayerSpec) -> Self {
        self.case.data.push(spec);
        self
    }

    pub(crate) fn upper(mut self, spec: LayerSpec) -> Self {
        self.case.upper = Some(spec);
        self
    }

    pub(crate) fn read_only(mut self) -> Self {
        self.case.upper = None;
        self
    }

    pub(crate) fn on(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Mounts with these options.
    pub(crate) fn options(mut self, options: &[&str]) -> Self {
        let options = options.iter().map(|o| String::from(*o));
        self.case.options.extend(options);
        self
    }

    pub(crate) fn userxattr(mut self) -> Self {
        self.namespace = XattrNamespace::User;
        self
    }

    /// Changes how the kernel and the crate are compared; each use says why.
    pub(crate) fn compare(mut self, adjust: fn(&mut Rules)) -> Self {
        self.adjust = adjust;
        self
    }

    /// Its layers cannot be written through the backend trait, only imported.
    pub(crate) fn not_written_to_memory(mut self) -> Self {
        self.written = false;
        self
    }

    /// It is about layers that share a filesystem; each memory layer is one of its own.
    pub(crate) fn same_filesystem_only(mut self) -> Self {
        (self.written, self.imported) = (false, false);
        self
    }

    /// Only what is expected is asserted, on each system; each use says why trees cannot be compared.
    pub(crate) fn not_compared(mut self) -> Self {
        self.compared = false;
        self
    }

    fn op(mut self, op: Op, want: Want) -> Self {
        self.case.ops.push(op);
        self.wants.push(want);
        self
    }

    pub(crate) fn ok(self, op: Op) -> Self {
        self.op(op, Want::Ok)
    }

    pub(crate) fn fails(self, op: Op, errno: Errno) -> Self {
        self.op(op, Want::Fails(errno))
    }

    pub(crate) fn gets(self, op: Op, judge: impl Fn(&Outcome) + Send + Sync + 'static) -> Self {
        self.op(op, Want::Gets(Box::new(judge)))
    }

    /// `lstat` of `path` satisfies `judge`.
    pub(crate) fn meta(
        self,
        path: &str,
        judge: impl Fn(&Metadata) + Send + Sync + 'static,
    ) -> Self {
        let op = crate::ops::stat(path);
        self.gets(op, move |out| match out {
            Outcome::Metadata(meta) => judge(meta),
            other => panic!("{other:?}"),
        })
    }

    /// `fstat` of the file held in `slot` satisfies `judge`.
    pub(crate) fn handle_meta(
        self,
        slot: u8,
        judge: impl Fn(&Metadata) + Send + Sync + 'static,
    ) -> Self {
        self.gets(Op::HandleMetadata { slot }, move |out| match out {
            Outcome::Metadata(meta) => judge(meta),
            other => panic!("{other:?}"),
        })
    }

    /// `op` answers these bytes.
    pub(crate) fn bytes(self, op: Op, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        self.gets(op, move |out| {
            let want = Outcome::Bytes(bytes.clone());
            assert_eq!(*out, want);
        })
    }

    /// The file reads as these bytes.
    pub(crate) fn reads(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.bytes(crate::ops::cat(path), bytes)
    }

    /// The directory lists these names, here sorted.
    pub(crate) fn lists(self, path: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|n| String::from(*n)).collect();
        self.gets(crate::ops::ls(path), move |out| {
            let Outcome::Entries(entries) = out else {
                panic!("{out:?}")
            };
            let text = |e: &layerstack::EntryInfo| display_path(e.name.as_ref()).to_string();
            assert_eq!(entries.iter().map(text).collect::<Vec<_>>(), names);
        })
    }

    /// The attribute names of `path`, sorted.
    pub(crate) fn xattrs(self, path: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|n| String::from(*n)).collect();
        self.gets(crate::ops::list_xattrs(path), move |out| {
            let Outcome::Names(found) = out else {
                panic!("{out:?}")
            };
            let text = |n: &layerstack::XattrName| n.as_bytes().escape_ascii().to_string();
            let mut found: Vec<_> = found.iter().map(text).collect();
            // What the machine or XFS adds by itself.
            found.retain(|n| n != "security.selinux" && !n.starts_with("trusted.SGI_ACL"));
            assert_eq!(found, names);
        })
    }

    /// Closes and opens everything here.
    pub(crate) fn remount(self) -> Self {
        self.check(Check::Remount)
    }

    /// The upper becomes the topmost lower here.
    pub(crate) fn rotate(self) -> Self {
        self.check(Check::Rotate)
    }

    fn check(mut self, check: Check) -> Self {
        let at = self.case.ops.len();
        self.case.checks.insert(at, check);
        self
    }

    /// Looks at the upper layer and the merged tree here.
    pub(crate) fn look(mut self, look: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        self.looks.push((self.case.ops.len(), Box::new(look)));
        self
    }

    /// The upper layer holds exactly this, such as `d /a`, `- /a/f`, `w /gone`; sorted.
    pub(crate) fn upper_is(self, lines: &[&str]) -> Self {
        let lines: Vec<String> = lines.iter().map(|l| String::from(*l)).collect();
        self.look(move |seen| assert_eq!(lines_of(&seen.upper), lines, "upper layer"))
    }

    /// Nothing was copied up or written.
    pub(crate) fn upper_empty(self) -> Self {
        self.upper_is(&[])
    }

    /// The merged tree is exactly this.
    pub(crate) fn tree_is(self, lines: &[&str]) -> Self {
        let lines: Vec<String> = lines.iter().map(|l| String::from(*l)).collect();
        self.look(move |seen| assert_eq!(lines_of(&seen.merged), lines, "merged tree"))
    }

    /// Runs it everywhere.
    pub(crate) fn run(self) {
        if self.written {
            let memory = MemSystem::of_case(&self.case, self.namespace);
            self.walk("memory", memory.expect("open in memory"));
        }
        if require_fs(&self.layout.kinds()) {
            in_mount_namespace(|| self.with_kernel());
        }
    }

    fn with_kernel(&self) {
        let mounted = Mounted::new(&self.layout.kinds());
        let written = Stack::new(&mounted, &self.layout, self.namespace, &self.case);
        let stack = Rc::new(written.expect("layers"));
        let systems: [(&'static str, OpenFn); 3] = [
            ("kernel", KernelSystem::open),
            ("directories", DirSystem::open),
            ("memory", MemSystem::open),
        ];
        for (name, open) in systems {
            if name == "memory" && !self.imported {
                continue;
            }
            let dirs = stack.dirs(name).expect("directories");
            let system = open(&dirs, &stack);
            self.walk(name, system.unwrap_or_else(|e| panic!("{name}: open: {e}")));
        }
        drop(stack);
        drop(mounted);
        if self.compared {
            self.compare_with(&DirSystem::open, false);
        }
        // Memory behaves as ext4 where filesystems differ, such as in times of moved directories.
        if self.compared && self.imported && [Fs::Ext4, Fs::Tmpfs].contains(&filesystem()) {
            self.compare_with(&MemSystem::open, true);
        }
    }

    fn compare_with(&self, right: crate::support::system::Open<'_>, memory: bool) {
        let profile = match self.namespace {
            XattrNamespace::User => Profile::user(),
            XattrNamespace::Trusted => Profile::root(),
        };
        let name = if memory {
            "kernel and memory"
        } else {
            "kernel and directories"
        };
        let mut campaign = Campaign::new(name, self.layout.clone(), profile);
        campaign.rules = campaign.rules.kernel_against_engine();
        campaign.rules.check_lowers = true;
        if memory {
            campaign.rules = campaign.rules.origins_differ();
            campaign.rules.merged.inode_labels = false;
        }
        (self.adjust)(&mut campaign.rules);
        let left = &KernelSystem::open;
        campaign.run_case(&self.case, Pair { left, right });
    }

    /// Every expectation, on one system.
    fn walk(&self, name: &'static str, mut system: Box<dyn System>) {
        let _named = Named(name);
        for (at, op) in self.case.ops.iter().enumerate() {
            self.look_at(at, name, &mut *system);
            let done = match self.case.checks.get(&at) {
                Some(Check::Remount) => system.remount(),
                Some(Check::Rotate) => system.rotate(),
                _ => Ok(()),
            };
            done.unwrap_or_else(|e| panic!("{name}: reopen: {e}"));
            let got = system.apply(op);
            match (&self.wants[at], &got) {
                (Want::Ok, Ok(_)) => {}
                (Want::Fails(want), Err(errno)) if errno == want => {}
                (Want::Gets(judge), Ok(out)) => judge(out),
                (Want::Fails(want), _) => panic!("{name}: {op:?}: {got:?}, not {want:?}"),
                _ => panic!("{name}: {op:?}: {got:?}"),
            }
        }
        self.look_at(self.case.ops.len(), name, &mut *system);
    }

    fn look_at(&self, at: usize, name: &'static str, system: &mut dyn System) {
        for (_, look) in self.looks.iter().filter(|(when, _)| *when == at) {
            // The upper first: looking at a merged tree may make the kernel write (rule R065).
            let upper = system.upper();
            let index = system.index();
            look(&Seen {
                system: name,
                upper,
                index,
                merged: system.merged(),
            });
        }
    }
}

/// Says at a panic which system was at work.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the system at work was: {}", self.0);
        }
    }
}
