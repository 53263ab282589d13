//! The one executor: runs the steps of plans against backends.
//!
//! One room: attempts, steps and what is undone are one state machine; copying itself is in `copier`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::backend::{
    Access, At, AttrKey, LayerFile, NodeRef, RemoveKind, SyncScope, UpperBackend, XattrMode,
};
use crate::errno::Errno;
use crate::error::LayerId;
use crate::overlay::build::{Build, Prepared, Segment, Staged};
use crate::overlay::core::{Core, Fail, InLayer, Res};
use crate::overlay::inode::Inode;
use crate::rules::cost::Cost;
use crate::rules::plan::{Obj, Place, Plan, Role, Step};
use crate::xattr_name::OverlayAttr;

impl Core {
    /// Runs a mutation. `build` resolves and plans under the tree's write lock; it is called again if
    /// data had to be staged first, which happens with no lock held.
    pub(crate) fn mutate<T>(
        &self,
        build: impl Fn(&mut Build<'_>) -> Res<T>,
    ) -> Res<(T, Vec<Option<NodeRef>>)> {
        let (value, done) = self.mutate_to_open(None, build)?;
        Ok((value, done.bound))
    }

    /// As [`Core::mutate`]; a file that the mutation copies up is opened as well where that is easier before
    /// it has its name.
    pub(crate) fn mutate_to_open<T>(
        &self,
        access: Option<Access>,
        build: impl Fn(&mut Build<'_>) -> Res<T>,
    ) -> Res<(T, Done)> {
        let build = Mutation { build, access };
        let mut staged: Vec<Staged> = Vec::new();
        // Inodes whose copy-up this call serialises; the guards borrow from them.
        let mut serial: Option<Arc<Inode>> = None;
        let result = loop {
            let next = match &serial {
                None => self.attempt(&build, &mut staged),
                Some(inode) => {
                    let guard = inode.copy_up.lock().unwrap_or_else(PoisonError::into_inner);
                    self.attempt_holding(&build, &mut staged, None, inode, guard)
                }
            };
            match next {
                Ok(Attempt::Done(value, done)) => break Ok((value, done)),
                Ok(Attempt::Stage(inode)) => serial = Some(inode),
                Err(e) => break Err(e),
            }
        };
        self.discard(
            staged,
            result.as_ref().ok().map(|(_, done)| done.bound.as_slice()),
        );
        result
    }

    /// One attempt with nothing held: either it completes, or it tells what must be staged.
    fn attempt<T>(
        &self,
        build: &Mutation<impl Fn(&mut Build<'_>) -> Res<T>>,
        staged: &mut Vec<Staged>,
    ) -> Res<Attempt<T>> {
        let tree = self.write();
        let mut planned = self.prepare(build, staged)?;
        if let Some(at) = first_unstaged(&planned.prepared) {
            let inode = at.inode.clone();
            // Without waiting, since the tree is locked: mostly nobody else copies it up, and what was
            // planned can be staged as it is.
            let Some(guard) = try_hold(&inode.copy_up) else {
                drop(tree);
                return Ok(Attempt::Stage(inode));
            };
            drop(tree);
            staged.push(self.stage(&mut planned.prepared)?);
            return self.attempt_holding(build, staged, Some(planned), &inode, guard);
        }
        let done = self.execute(planned.prepared, build.access)?;
        Ok(Attempt::Done(planned.value, done))
    }

    /// Attempts while the copy-up of `held` is serialised: stages whatever must be staged and goes on
    /// until the mutation is done. What was planned before staging holds unless somebody changed the tree
    /// meanwhile.
    fn attempt_holding<T>(
        &self,
        build: &Mutation<impl Fn(&mut Build<'_>) -> Res<T>>,
        staged: &mut Vec<Staged>,
        mut planned: Option<Planned<T>>,
        held: &Arc<Inode>,
        _guard: MutexGuard<'_, ()>,
    ) -> Res<Attempt<T>> {
        loop {
            let tree = self.write();
            let mut plan = match planned.take() {
                Some(plan) if self.is_unchanged_since(plan.at) => Planned {
                    at: self.exclusive(),
                    ..plan
                },
                _ => self.prepare(build, staged)?,
            };
            let Some(segment) = first_unstaged(&plan.prepared) else {
                let done = self.execute(plan.prepared, build.access)?;
                return Ok(Attempt::Done(plan.value, done));
            };
            drop(tree);
            let other = segment.inode.clone();
            // A second object (of an exchange): held too if that is possible at once; waiting could
            // deadlock, and without it the worst is that two threads copy and one copy is dropped.
            let _second = if other.is_same(held) {
                None
            } else {
                try_hold(&other.copy_up)
            };
            staged.push(self.stage(&mut plan.prepared)?);
            planned = Some(plan);
        }
    }

    /// Plans. Call with the tree's write lock held.
    fn prepare<T>(
        &self,
        mutation: &Mutation<impl Fn(&mut Build<'_>) -> Res<T>>,
        staged: &[Staged],
    ) -> Res<Planned<T>> {
        let mut b = Build::new(self, staged);
        b.executes = true;
        let value = (mutation.build)(&mut b)?;
        Ok(Planned {
            value,
            prepared: b.finish(),
            at: self.exclusive(),
        })
    }

    /// Runs a plan for `upper` that was made without this union's names: nothing in memory follows it.
    pub(crate) fn execute_on(
        &self,
        upper: &dyn UpperBackend,
        plan: &Plan,
        bound: Vec<Option<NodeRef>>,
    ) -> Res<()> {
        let _tree = self.write();
        let mut run = Run {
            core: self,
            upper: Some(upper),
            plan,
            bound,
            unstorable: Errno::EIO,
            temps: Vec::new(),
            access: None,
            made: None,
            opened: None,
            sources: &[],
        };
        for planned in &plan.steps {
            if let Err(e) = run.step(&planned.step, planned.role) {
                run.undo();
                return Err(e);
            }
        }
        Ok(())
    }

    /// Runs the staging steps of the first copy-up that is to be staged.
    fn stage(&self, prepared: &mut Prepared) -> Res<Staged> {
        let segment = first_unstaged(prepared).ok_or(Errno::EIO)?;
        let mut run = Run::new(
            self,
            &prepared.plan,
            prepared.bound.clone(),
            prepared.unstorable,
        )?;
        run.sources = &prepared.sources;
        let steps = prepared
            .plan
            .steps
            .get(segment.steps.clone())
            .unwrap_or_default();
        for planned in steps {
            if let Err(e) = run.step(&planned.step, planned.role) {
                run.find_out(&planned.step, e.errno);
                run.undo();
                return Err(e);
            }
        }
        let node = run.node(segment.object)?.clone();
        let staged = Staged {
            inode: segment.inode.id,
            data: segment.data,
            node,
            temp: segment.temp.clone(),
            lower: segment.lower.clone(),
        };
        prepared.bound = run.bound;
        if let Some(segment) = prepared.segments.iter_mut().find(|s| s.is_to_stage()) {
            segment.staged = true;
        }
        Ok(staged)
    }

    /// Removes staged copies that did not become part of the tree.
    fn discard(&self, staged: Vec<Staged>, used: Option<&[Option<NodeRef>]>) {
        for copy in staged {
            let is_used = used.is_some_and(|bound| {
                bound
                    .iter()
                    .flatten()
                    .any(|node| Arc::ptr_eq(node, &copy.node))
            });
            if is_used {
                continue;
            }
            if let (Ok(upper), Ok(work), Some(temp)) = (self.upper(), self.work(), &copy.temp) {
                // An unnamed file has no such name and goes with its last handle; anything else that
                // cannot be removed is swept when the work directory is next opened.
                let _ = upper.remove(At::new(work, temp), RemoveKind::NonDirectory);
            }
        }
    }

    /// Executes a plan. Call with the tree's write lock held.
    fn execute(&self, prepared: Prepared, access: Option<Access>) -> Res<Done> {
        let Prepared {
            plan,
            bound,
            effects,
            segments,
            sources,
            unstorable,
            refusal,
            made,
        } = prepared;
        let mut effects = effects;
        effects.sort_by_key(|(at, _)| *at);
        let mut effects = effects.into_iter().peekable();
        let mut run = Run::new(self, &plan, bound, unstorable)?;
        (run.access, run.made, run.sources) = (access, made, &sources);
        let mut progress = Progress::default();
        let mut failed = None;
        for (i, planned) in plan.steps.iter().enumerate() {
            let staged = segments.iter().any(|s| s.staged && s.steps.contains(&i));
            let mut happened = staged;
            if !staged && progress.permits(planned.role) {
                match run.step(&planned.step, planned.role) {
                    Ok(done) => {
                        happened = done;
                        if planned.role == Role::CleanUp {
                            progress.cleaned &= done;
                        }
                    }
                    Err(e) => {
                        // What is known here must be what the layer holds, whatever it said.
                        happened = run.find_out(&planned.step, e.errno);
                        progress.failed = true;
                        failed = Some(e);
                    }
                }
                progress.committed |= happened && planned.role == Role::Commit;
            }
            while let Some((_, effect)) = effects.next_if(|(at, _)| *at == i) {
                if happened {
                    effect(&run.bound);
                }
            }
        }
        match failed.or(refusal) {
            None => Ok(Done {
                bound: run.bound,
                opened: run.opened,
            }),
            Some(e) => {
                run.undo();
                Err(e)
            }
        }
    }
}

/// How far a plan has come.
struct Progress {
    /// A step failed.
    failed: bool,
    /// The commit was done, whatever was said of it.
    committed: bool,
    /// All clean-up so far was done.
    cleaned: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            failed: false,
            committed: false,
            cleaned: true,
        }
    }
}

impl Progress {
    /// Whether a step with this role is to be run now.
    fn permits(&self, role: Role) -> bool {
        match role {
            Role::Unmark => self.cleaned,
            Role::CleanUp => self.committed || !self.failed,
            _ => !self.failed,
        }
    }
}

/// A mutation to be made.
struct Mutation<F> {
    /// Resolves and plans.
    build: F,
    /// See [`Core::mutate_to_open`].
    access: Option<Access>,
}

/// A mutation that was planned.
struct Planned<T> {
    value: T,
    prepared: Prepared,
    /// How often there had been exclusive access by then.
    at: u64,
}

/// What a mutation that was made leaves.
pub(crate) struct Done {
    /// The nodes of the plan's objects.
    pub(crate) bound: Vec<Option<NodeRef>>,
    /// A file that was copied up, opened.
    pub(crate) opened: Option<Opened>,
}

/// A node of the upper, opened.
pub(crate) struct Opened {
    pub(crate) node: NodeRef,
    pub(crate) file: Box<dyn LayerFile>,
}

enum Attempt<T> {
    Done(T, Done),
    Stage(Arc<Inode>),
}

/// The lock, unless somebody has it.
fn try_hold(lock: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match lock.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(e)) => Some(e.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn first_unstaged(prepared: &Prepared) -> Option<&Segment> {
    prepared.segments.iter().find(|s| s.is_to_stage())
}

/// A plan being run.
pub(super) struct Run<'a> {
    pub(super) core: &'a Core,
    pub(super) upper: Option<&'a dyn UpperBackend>,
    pub(super) plan: &'a Plan,
    bound: Vec<Option<NodeRef>>,
    unstorable: Errno,
    /// Names in the work directory that would be left behind.
    pub(super) temps: Vec<Temp>,
    /// A file that gets its first name is to be opened so, if that is easier before.
    access: Option<Access>,
    /// See [`Build::made`].
    made: Option<Obj>,
    opened: Option<Opened>,
    /// See [`Build::sources`].
    pub(super) sources: &'a [(Obj, Box<dyn LayerFile>)],
}

/// A name in the work directory.
pub(super) struct Temp {
    pub(super) place: Place,
    pub(super) kind: RemoveKind,
    /// The object was made elsewhere, and this is one more name of it.
    pub(super) link_of: Option<Obj>,
}

impl<'a> Run<'a> {
    fn new(
        core: &'a Core,
        plan: &'a Plan,
        bound: Vec<Option<NodeRef>>,
        unstorable: Errno,
    ) -> Res<Self> {
        let upper = if plan.is_empty() {
            None
        } else {
            Some(core.upper()?)
        };
        Ok(Run {
            core,
            upper,
            plan,
            bound,
            unstorable,
            temps: Vec::new(),
            access: None,
            made: None,
            opened: None,
            sources: &[],
        })
    }

    pub(super) fn node(&self, obj: Obj) -> Res<&NodeRef> {
        self.bound
            .get(obj.0)
            .and_then(Option::as_ref)
            .ok_or_else(|| {
                Fail::from(Errno::EIO).with_detail("a plan used an object before creating it")
            })
    }

    pub(super) fn layer(&self, obj: Obj) -> LayerId {
        self.plan
            .objects
            .get(obj.0)
            .map_or(LayerId::Upper, |o| o.layer)
    }

    pub(super) fn at<'p>(&'p self, place: &'p Place) -> Res<At<'p>> {
        Ok(At::new(self.node(place.dir)?, &place.name))
    }

    /// Runs one step and answers whether it was done. Best effort and clean-up never fail.
    fn step(&mut self, step: &Step, role: Role) -> Res<bool> {
        match self.try_step(step) {
            Ok(()) => {
                // Data are counted as they are copied.
                if !matches!(step, Step::CopyData { .. }) {
                    self.core.meter.spend(&Cost::of(step));
                }
                Ok(true)
            }
            Err(_) if matches!(role, Role::BestEffort | Role::CleanUp | Role::Unmark) => Ok(false),
            Err(e) if role == Role::Commit || e.detail.is_some() => Err(e),
            Err(e) => Err(e.with_detail(self.plan.describe(step))),
        }
    }

    fn try_step(&mut self, step: &Step) -> Res<()> {
        let upper = self.upper.ok_or(Errno::EROFS)?;
        match step {
            Step::Create { at, node, object } => {
                let made = upper.create(self.at(at)?, node).in_layer(LayerId::Upper)?;
                self.bind(*object, made);
            }
            Step::Tmpfile { dir, node, object } => {
                let made = upper
                    .tmpfile(self.node(*dir)?, node)
                    .in_layer(LayerId::Upper)?;
                self.bind(*object, made);
            }
            Step::Whiteout { at } => {
                upper.whiteout(self.at(at)?).in_layer(LayerId::Upper)?;
            }
            Step::CopyData {
                from,
                to,
                size,
                keep_size,
                ..
            } => self.copy_data(*from, *to, *size, *keep_size)?,
            Step::CopyXattrs { from, to, names } => self.copy_xattrs(upper, *from, *to, names)?,
            Step::SetXattr {
                object,
                name,
                value,
                mode,
            } => {
                let (node, key) = (self.node(*object)?, AttrKey::Raw(name));
                upper
                    .set_xattr(node, key, value.as_deref(), *mode)
                    .in_layer(LayerId::Upper)?;
            }
            Step::SetOverlay {
                object,
                attr,
                value,
            } => {
                let (node, key) = (self.node(*object)?, AttrKey::Overlay(*attr));
                upper
                    .set_xattr(node, key, value.as_deref(), XattrMode::Set)
                    .in_layer(LayerId::Upper)
                    .map_err(|e| match (attr, e.errno) {
                        (OverlayAttr::Redirect, _) => Fail {
                            errno: Errno::EXDEV,
                            rule: Some("R155"),
                            ..e
                        },
                        (_, Errno::EOPNOTSUPP) => Fail {
                            errno: self.unstorable,
                            rule: Some("R033"),
                            ..e
                        },
                        _ => e,
                    })?;
            }
            Step::SetHandle { object, attr, of } => {
                let value = self.core.handles().encode_upper(self.node(*of)?)?;
                let (node, key) = (self.node(*object)?, AttrKey::Overlay(*attr));
                upper
                    .set_xattr(node, key, Some(&value), XattrMode::Set)
                    .in_layer(LayerId::Upper)?;
            }
            Step::SetAttr { object, attr } => {
                upper
                    .set_attr(self.node(*object)?, attr)
                    .in_layer(LayerId::Upper)?;
            }
            Step::SetFlags { object, flags } => {
                upper
                    .set_flags(self.node(*object)?, *flags)
                    .in_layer(LayerId::Upper)?;
            }
            Step::SetLen { object, len } => {
                upper
                    .truncate(self.node(*object)?, *len)
                    .in_layer(LayerId::Upper)?;
            }
            Step::Sync { object } => {
                let node = self.node(*object)?;
                upper.sync(SyncScope::Node(node)).in_layer(LayerId::Upper)?;
            }
            Step::Link { object, to } => {
                self.open_unnamed(upper, *object)?;
                upper
                    .link(self.node(*object)?, self.at(to)?)
                    .in_layer(LayerId::Upper)?;
            }
            Step::Rename { from, to, how, .. } => {
                upper
                    .rename(self.at(from)?, self.at(to)?, *how)
                    .in_layer(LayerId::Upper)?;
            }
            Step::Remove { at, kind } => {
                upper.remove(self.at(at)?, *kind).in_layer(LayerId::Upper)?;
            }
        }
        self.note(step);
        Ok(())
    }

    /// Opens a file that is about to get its first name, if that is wanted. What fails is tried by name
    /// once it has one.
    fn open_unnamed(&mut self, upper: &dyn UpperBackend, object: Obj) -> Res<()> {
        if let (Some(access), None) = (self.access, &self.opened) {
            let node = self.node(object)?.clone();
            let file = match self.made == Some(object) {
                true => node.open(access).ok(),
                false => upper.open_unnamed(&node, access).ok().flatten(),
            };
            self.opened = file.map(|file| Opened { node, file });
        }
        Ok(())
    }

    pub(super) fn bind(&mut self, object: Obj, node: NodeRef) {
        if let Some(slot) = self.bound.get_mut(object.0) {
            *slot = Some(node);
        }
    }
}
