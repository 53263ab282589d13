//! What is made durable when, and the mark of a union that makes nothing durable (rules R045, R240).

use std::path::Path;
use std::sync::Arc;

use layerstack::backend::memory::MemLayer;
use layerstack::backend::{
    At, AttrKey, Capabilities, FsIdentity, LayerBackend, NewNode, NodeRef, RemoveKind, RenameHow,
    Result, SyncScope, UpperBackend, XattrMode,
};
use layerstack::{
    Errno, Fsync, LayerStack, Name, Op, Overlay, OverlayOptions, Plan, Role, SetAttr, StatFs, Step,
    Warning,
};

use crate::ops::*;
use crate::place::{Place, at, our_string};

const RW: &str = "lowerdir=l,upperdir=u,workdir=w";

fn over(upper: Arc<MemLayer>, fsync: Fsync) -> Result<Overlay, Errno> {
    let lower = MemLayer::builder().file("f", b"data").file("d/empty", b"");
    let stack = LayerStack::from_top([lower.build().unwrap()]).unwrap();
    let options = OverlayOptions::new().fsync(fsync);
    Overlay::with_options(&stack, upper, options).map_err(|e| e.errno())
}

#[test]
fn r045_a_volatile_union_leaves_a_mark_that_refuses_the_next() {
    let upper = Arc::new(MemLayer::new());
    let first = over(upper.clone(), Fsync::Volatile).unwrap();
    let none: &[Warning] = &[];
    assert_eq!(first.warnings(), none);
    first.write("/f", "new").unwrap();
    drop(first);
    for fsync in [Fsync::Auto, Fsync::Volatile, Fsync::Off] {
        assert_eq!(over(upper.clone(), fsync).unwrap_err(), Errno::EINVAL);
        // A clone is the layer opened again.
        let copy = Arc::new(MemLayer::clone(&upper));
        assert_eq!(over(copy, fsync).unwrap_err(), Errno::EINVAL);
    }
    // Whoever knows better removes the mark.
    let work = upper.upper().unwrap().work().unwrap();
    let name = |name: &str| Name::try_from(name).unwrap();
    let inside = |dir: &layerstack::backend::NodeRef, n: &str| {
        let Some(layerstack::backend::Entry::Node(node, _)) = dir.lookup(&name(n)).unwrap() else {
            panic!("{n}")
        };
        node
    };
    let marks = inside(&work, "incompat");
    let volatile = inside(&marks, "volatile");
    let remove = |dir, n: &str, kind| {
        let at = name(n);
        upper
            .upper()
            .unwrap()
            .remove(At::new(dir, &at), kind)
            .unwrap();
    };
    remove(&volatile, "dirty", RemoveKind::NonDirectory);
    assert!(
        over(upper.clone(), Fsync::Auto).is_err(),
        "incompat/volatile is still there"
    );
    remove(&marks, "volatile", RemoveKind::Directory);
    assert_eq!(
        over(upper.clone(), Fsync::Auto)
            .unwrap()
            .read("/f")
            .unwrap(),
        b"new"
    );
    // Nothing durable, but no mark either.
    drop(over(upper.clone(), Fsync::Off).unwrap());
    assert!(over(upper, Fsync::Auto).is_ok());
    at(handed_over);
}

/// Each refuses what the other marked, volatile itself or not.
fn handed_over(place: &Place) {
    place.dir("l");
    let volatile = format!("{RW},volatile");
    let ours = |options: &str| our_string(options).map(|_| ());
    let kernel = |options: &str| place.kernel_string(options, |_| ());
    for marks in ["fsync=volatile", "volatile"] {
        let marks = format!("{RW},{marks}");
        for by_kernel in [true, false] {
            let (_, work) = place.renew();
            match by_kernel {
                true => kernel(&marks).unwrap(),
                false => ours(&marks).unwrap(),
            }
            assert!(work.join("work/incompat/volatile/dirty").is_file());
            for next in [RW, &volatile] {
                assert_eq!(ours(next), Err(Errno::EINVAL), "{next}");
                assert_eq!(kernel(next), Err(Errno::EINVAL), "{next}");
            }
            std::fs::remove_dir_all(work.join("work/incompat/volatile")).unwrap();
            match by_kernel {
                true => ours(RW).unwrap(),
                false => kernel(RW).unwrap(),
            }
            assert!(!work.join("work/incompat").exists());
        }
    }
    // Without an upper it means nothing.
    place.dir("m");
    let read_only = our_string("lowerdir=l:m,volatile").unwrap();
    assert_eq!(read_only.warnings()[0].rule(), "R045");
    assert_eq!(kernel("lowerdir=l:m,volatile"), Ok(()));
}

fn plan(fsync: Fsync, op: &Op) -> Plan {
    over(Arc::new(MemLayer::new()), fsync)
        .unwrap()
        .plan(op)
        .unwrap()
}

fn syncs(fsync: Fsync, op: &Op) -> u64 {
    plan(fsync, op).cost().syncs
}

#[test]
fn r240_strict_syncs_every_file_and_directory_that_is_copied_up() {
    // The file; the empty one and its directory; the directory.
    let ops = [
        chmod("/f", 0o600),
        chmod("/d/empty", 0o600),
        chmod("/d", 0o700),
    ];
    let count = |fsync| ops.each_ref().map(|op| syncs(fsync, op));
    assert_eq!(count(Fsync::Auto), [1, 0, 0]);
    assert_eq!(count(Fsync::Strict), [1, 2, 1]);
    assert_eq!(count(Fsync::Volatile), [0; 3]);
    assert_eq!(count(Fsync::Off), [0; 3]);
    // What is synced is complete, and not yet to be seen.
    let plan = plan(Fsync::Strict, &chmod("/d/empty", 0o600));
    let synced = plan
        .steps
        .iter()
        .enumerate()
        .filter_map(|(i, s)| match s.step {
            Step::Sync { object } => Some((i, object)),
            _ => None,
        });
    for (i, object) in synced {
        assert_eq!(plan.steps[i].role, Role::Stage);
        let behind = &plan.steps[i + 1..];
        let publishes = |step: &Step| matches!(step, Step::Link { .. } | Step::Rename { .. });
        assert!(behind.iter().any(|s| publishes(&s.step)), "{plan}");
        let sets = |step: &Step| match step {
            Step::SetAttr { object: o, .. } | Step::CopyXattrs { to: o, .. } => *o == object,
            _ => false,
        };
        let staged = behind.iter().filter(|s| s.role == Role::Stage);
        assert_eq!(staged.filter(|s| sets(&s.step)).count(), 0, "{plan}");
    }
    at(|place| {
        std::fs::write(place.dir("l/d").join("f"), "data").unwrap();
        for fsync in ["strict", "auto"] {
            let options = format!("{RW},fsync={fsync}");
            place.renew();
            let touch = |root: &Path| std::fs::write(root.join("d/f"), "new").unwrap();
            place.kernel_string(&options, |m| touch(m.path())).unwrap();
            let union = our_string(&options).unwrap();
            assert_eq!(union.read("/d/f").unwrap(), b"new");
            assert_eq!(union.settings().fsync.name(), fsync);
        }
    });
}

/// A layer that counts how often it is to make something durable, and cannot.
#[derive(Debug)]
struct Failing {
    inner: MemLayer,
    asked: std::sync::atomic::AtomicU32,
}

impl Failing {
    fn up(&self) -> &dyn UpperBackend {
        self.inner.upper().unwrap()
    }

    fn asked(&self) -> u32 {
        self.asked.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl LayerBackend for Failing {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }
    fn identity(&self) -> &FsIdentity {
        self.inner.identity()
    }
    fn root(&self) -> Result<NodeRef> {
        self.inner.root()
    }
    fn statfs(&self) -> Result<StatFs> {
        self.inner.statfs()
    }
    fn upper(&self) -> Option<&dyn UpperBackend> {
        Some(self)
    }
}

impl UpperBackend for Failing {
    fn work(&self) -> Result<NodeRef> {
        self.up().work()
    }
    fn index(&self, create: bool) -> Result<Option<NodeRef>> {
        self.up().index(create)
    }
    fn create(&self, at: At<'_>, new: &NewNode) -> Result<NodeRef> {
        self.up().create(at, new)
    }
    fn tmpfile(&self, dir: &NodeRef, new: &NewNode) -> Result<NodeRef> {
        self.up().tmpfile(dir, new)
    }
    fn whiteout(&self, at: At<'_>) -> Result<()> {
        self.up().whiteout(at)
    }
    fn link(&self, node: &NodeRef, to: At<'_>) -> Result<()> {
        self.up().link(node, to)
    }
    fn rename(&self, from: At<'_>, to: At<'_>, how: RenameHow) -> Result<()> {
        self.up().rename(from, to, how)
    }
    fn remove(&self, at: At<'_>, kind: RemoveKind) -> Result<()> {
        self.up().remove(at, kind)
    }
    fn set_attr(&self, node: &NodeRef, attr: &SetAttr) -> Result<()> {
        self.up().set_attr(node, attr)
    }
    fn set_xattr(
        &self,
        node: &NodeRef,
        key: AttrKey<'_>,
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Result<()> {
        self.up().set_xattr(node, key, value, mode)
    }
    fn sync(&self, _: SyncScope<'_>) -> Result<()> {
        self.asked
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err(Errno::EIO.into())
    }
}

/// That it fails after an error of writing back is between the kernel and its filesystems: nobody else
/// is told of such an error.
#[test]
fn r248_syncing_a_volatile_union_does_nothing() {
    for (fsync, wanted) in [
        (Fsync::Auto, Err(Errno::EIO)),
        (Fsync::Strict, Err(Errno::EIO)),
        (Fsync::Volatile, Ok(())),
        (Fsync::Off, Ok(())),
    ] {
        let layer = Arc::new(Failing {
            inner: MemLayer::new(),
            asked: 0.into(),
        });
        let lower = MemLayer::builder().file("f", b"data").build().unwrap();
        let stack = LayerStack::from_top([lower]).unwrap();
        let options = OverlayOptions::new().fsync(fsync);
        let union = Overlay::with_options(&stack, layer.clone(), options).unwrap();
        assert_eq!(union.sync().map_err(|e| e.errno()), wanted, "{fsync:?}");
        let copied = union
            .write("/f", "new")
            .and_then(|()| union.set_permissions("/f", 0o600));
        assert_eq!(layer.asked() == 0, wanted.is_ok(), "{fsync:?}: {copied:?}");
        assert_eq!(union.read("/f").unwrap() == b"new", copied.is_ok());
    }
    at(|place| {
        place.dir("l");
        place.renew();
        let synced = place.kernel_string(format!("{RW},volatile"), |m| {
            let file = std::fs::File::create(m.path().join("f")).unwrap();
            file.sync_all().is_ok() && rustix::fs::syncfs(&file).is_ok()
        });
        assert_eq!(synced, Ok(true));
    });
}
