//! One run of one situation, with a fault or without.

use layerstack::backend::{LayerBackend, RawEntry};
use layerstack::testing::fault::{Call, Fault, Faults};
use layerstack::testing::outcome::differ;
use layerstack::testing::snapshot::{Difference, Entry};
use layerstack::testing::{Compare, TreeSnapshot};
use layerstack::{Dir, Errno, File, FileType, Op, Outcome, Overlay, Session};

use crate::disk::Disk;
use crate::situation::Situation;

type Answer = Result<Outcome, Errno>;

/// What is seen through everything that was opened before the operation.
type Held = Vec<(String, Result<Vec<u8>, Errno>)>;

/// How a run without faults goes.
pub struct Reference {
    pub before: TreeSnapshot,
    pub after: TreeSnapshot,
    /// Where a sequence of operations may end besides these.
    between: Vec<TreeSnapshot>,
    answer: Answer,
    held: (Held, Held),
    /// Doing the same once more.
    again: Answer,
    after_again: TreeSnapshot,
    /// The calls of the operation.
    pub calls: Vec<Call>,
}

/// A union in use.
struct Live {
    session: Session,
    faults: Faults,
    files: Vec<(String, File)>,
    dirs: Vec<(String, Dir)>,
}

fn errno(e: layerstack::Error) -> Errno {
    e.errno()
}

fn capture(overlay: &Overlay, disk: &dyn Disk) -> TreeSnapshot {
    TreeSnapshot::of_backend(&**overlay, &disk.snapshot_options()).unwrap()
}

impl Live {
    /// Opens the union, does what comes before, and with `warm` opens all files and directories.
    fn new(disk: &dyn Disk, situation: &Situation, warm: bool) -> Self {
        let faults = Faults::new();
        let mut live = Live {
            session: Session::new(disk.open(situation, &faults)),
            faults,
            files: Vec::new(),
            dirs: Vec::new(),
        };
        for op in &situation.setup {
            let done = live.session.apply(op);
            done.unwrap_or_else(|e| panic!("{}: {e}", situation.name));
        }
        if warm {
            let overlay = live.session.overlay();
            for (path, entry) in capture(overlay, disk).entries() {
                let name = path.to_str().unwrap().to_owned();
                let Entry::Node(node) = entry else { continue };
                match node.meta.file_type {
                    FileType::Directory => {
                        live.dirs.push((name, overlay.open_dir(path).unwrap()));
                    }
                    FileType::Regular => {
                        live.files.push((name, overlay.open_file(path).unwrap()));
                    }
                    _ => {}
                }
            }
        }
        live.faults.reset();
        live
    }

    fn apply(&mut self, op: &Op) -> Answer {
        self.session.apply(op).map_err(errno)
    }

    fn view(&self, disk: &dyn Disk) -> TreeSnapshot {
        capture(self.session.overlay(), disk)
    }

    fn held(&self) -> Held {
        let files = self.files.iter().map(|(name, file)| {
            let mut data = vec![0; 1 << 16];
            let mut len = 0;
            let read = loop {
                match file.read_at(&mut data[len..], len as u64) {
                    Ok(0) => break Ok(data[..len].to_vec()),
                    Ok(n) => len += n,
                    Err(e) => break Err(errno(e)),
                }
            };
            (name.clone(), read)
        });
        let dirs = self.dirs.iter().map(|(name, dir)| {
            let names = dir.entries().map_err(errno).map(|list| {
                // What cannot be looked up is no entry.
                let seen = list
                    .iter()
                    .filter(|e| dir.symlink_metadata(e.name.as_os_str()).is_ok());
                let mut names: Vec<_> = seen.map(|e| e.name.to_string()).collect();
                names.sort();
                names.join(" ").into_bytes()
            });
            (format!("{name}/"), names)
        });
        files.chain(dirs).collect()
    }

    /// Names in the work directory, apart from the whiteout that all are links to (rule R075).
    fn leftovers(&self) -> Vec<RawEntry> {
        let layer = self.session.overlay().upper_layer().unwrap();
        let mut left = layer.upper().unwrap().work().unwrap().list().unwrap();
        left.retain(|e| e.name.as_bytes() != b"#layerstack-whiteout");
        left
    }
}

/// How views are compared.
fn compare(situation: &Situation) -> Compare {
    let mut compare = Compare::merged();
    (compare.inode_labels, compare.listed_inodes) = (false, false);
    if situation.breaks_links {
        (compare.nlink, compare.link_groups) = (false, false);
    }
    compare
}

fn text(all: &[Difference]) -> String {
    let lines: Vec<_> = all.iter().take(6).map(Difference::to_string).collect();
    lines.join("\n    ")
}

impl Reference {
    pub fn new(make: &dyn Fn() -> Box<dyn Disk>, situation: &Situation, warm: bool) -> Self {
        let disk = make();
        let live = Live::new(&*disk, situation, warm);
        let held_before = live.held();
        // Looking warms caches, so the calls are counted in a run of their own.
        let before = live.view(&*disk);
        drop(live);
        let disk = make();
        let mut live = Live::new(&*disk, situation, warm);
        let answer = live.apply(&situation.op);
        let calls = live.faults.trace();
        live.faults.record(false);
        let after = live.view(&*disk);
        let held = (held_before, live.held());
        let left = live.leftovers();
        assert!(left.is_empty(), "{}: {left:?}", situation.name);
        let again = live.apply(&situation.op);
        let after_again = live.view(&*disk);
        drop(live);
        let between = |ops: &Vec<Op>| {
            let disk = make();
            let mut live = Live::new(&*disk, situation, false);
            for op in ops {
                let done = live.apply(op);
                done.unwrap_or_else(|e| panic!("{}: {op:?}: {e}", situation.name));
            }
            live.view(&*disk)
        };
        Reference {
            between: situation.between.iter().map(between).collect(),
            before,
            after,
            answer,
            held,
            again,
            after_again,
            calls,
        }
    }

    /// Asserts what would make a situation worthless.
    pub fn check(&self, situation: &Situation) {
        if let Err(e) = &self.answer {
            panic!("{}: {e:?}", situation.name);
        }
        let changes = self.calls.iter().any(|c| c.changes);
        assert!(changes != situation.looks, "{}: changes", situation.name);
    }
}

/// A state of the union between two operations.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Before,
    Between,
    After,
}

/// Tries `fault` at call `n`. `Ok(false)`: there is no such call.
pub fn run(
    make: &dyn Fn() -> Box<dyn Disk>,
    situation: &Situation,
    reference: &Reference,
    (warm, n, fault): (bool, u64, Fault),
) -> Result<bool, String> {
    let disk = make();
    let mut live = Live::new(&*disk, situation, warm);
    live.faults.arm(n, fault);
    let answer = live.apply(&situation.op);
    let Some(fired) = live.faults.fired() else {
        return Ok(false);
    };
    let calls = live.faults.report();
    let trial = Trial {
        disk: &*disk,
        situation,
        reference,
        fired,
    };
    let done = trial.judge(live, &answer);
    done.map(|()| true)
        .map_err(|e| format!("{e}\n  answer: {answer:?}\n{calls}"))
}

struct Trial<'a> {
    disk: &'a dyn Disk,
    situation: &'a Situation,
    reference: &'a Reference,
    fired: Call,
}

impl Trial<'_> {
    fn is_crash(&self) -> bool {
        matches!(self.fired.fault, Some(Fault::Crash | Fault::CrashTorn))
    }

    /// In what `view` differs from `expected`, apart from what cannot be helped: putting the time of
    /// a directory back after a copy-up is a step of its own, which a fault may hit, and which a
    /// crash may come before.
    fn differences(&self, view: &TreeSnapshot, expected: &TreeSnapshot) -> Vec<Difference> {
        let mut all = view.diff(expected, &compare(self.situation));
        let done = matches!(self.fault(), Fault::Done(_));
        // A name that is listed and cannot be looked up (rule R079) may go, but none may come.
        all.retain(|d| {
            let listed = d.right.starts_with("listed, but");
            !(d.what == "is" && listed && d.left == "absent")
        });
        if self.is_crash() || done || self.fired.method == "set_attr" {
            all.retain(|d| {
                let dir = view.node(&d.path).is_some_and(|n| n.meta.is_dir());
                !(dir && d.what == "mtime" && (d.left == "now"))
            });
        }
        all
    }

    fn state(&self, view: &TreeSnapshot) -> Result<State, String> {
        let before = self.differences(view, &self.reference.before);
        if before.is_empty() {
            return Ok(State::Before);
        }
        let after = self.differences(view, &self.reference.after);
        if after.is_empty() {
            return Ok(State::After);
        }
        let mut between = self.reference.between.iter();
        if between.any(|b| self.differences(view, b).is_empty()) {
            return Ok(State::Between);
        }
        Err(format!(
            "neither before:\n    {}\n  nor after:\n    {}",
            text(&before),
            text(&after)
        ))
    }

    fn judge(&self, live: Live, answer: &Answer) -> Result<(), String> {
        match self.is_crash() {
            true => {
                if !self.disk.is_copied() {
                    drop(live);
                }
                self.after_crash()
            }
            false => self.after_failure(live, answer),
        }
    }

    /// Another process opens the layers.
    fn after_crash(&self) -> Result<(), String> {
        let overlay = self.disk.reopen(self.situation);
        let view = capture(&overlay, self.disk);
        let state = self.state(&view)?;
        let layer = overlay.upper_layer().unwrap();
        let mut left = layer.upper().unwrap().work().unwrap().list().unwrap();
        // Sweeping an index makes whiteouts, which share one (rule R265).
        left.retain(|e| e.name.as_bytes() != b"#layerstack-whiteout");
        if !left.is_empty() {
            return Err(format!("left over after reopening: {left:?}"));
        }
        if self.situation.on_handle {
            return Ok(());
        }
        let answer = Session::new(overlay.clone()).apply(&self.situation.op);
        self.repeated(state, &answer.map_err(errno), &capture(&overlay, self.disk))
    }

    /// The same process goes on.
    fn after_failure(&self, mut live: Live, answer: &Answer) -> Result<(), String> {
        live.faults.disarm();
        live.faults.record(false);
        let view = live.view(self.disk);
        let state = self
            .state(&view)
            .map_err(|e| format!("in the same process {e}"))?;
        // As in the kernel, what may not be looked at counts as content of a directory.
        let looking =
            |got: Errno| self.fault() == Fault::Fail(Errno::EACCES) && got == Errno::ENOTEMPTY;
        // A redirect that cannot be stored is a rename that the caller is to do by copying (rule R155).
        let redirecting =
            |got: Errno| self.fired.what.contains("overlay.redirect") && got == Errno::EXDEV;
        if let Fault::Fail(errno) | Fault::Torn(errno) = self.fault()
            && let Err(got) = answer
            && *got != errno
            && !looking(*got)
            && !redirecting(*got)
        {
            return Err(format!("failed with {got:?}"));
        }
        // A short write says so.
        let short = self.fault() == Fault::Short && matches!(answer, Ok(Outcome::Count(4)));
        if answer.is_ok() && !short {
            let wrong = differ(
                answer,
                &self.reference.answer,
                &compare(self.situation),
                None,
            );
            // Names that may not be looked at are listed, or not, as in the kernel (rules R109, R110).
            let refused = matches!(self.situation.op, Op::ReadDir { .. })
                && self.fault() == Fault::Fail(Errno::EACCES);
            if let Some(wrong) = wrong
                && !refused
            {
                return Err(format!("success, but {wrong}"));
            }
            let rest = self.differences(&view, &self.reference.after);
            if !rest.is_empty() {
                return Err(format!("success, but {}", text(&rest)));
            }
        }
        self.same_when_reopened(&view)?;
        let held = live.held();
        let (before, after) = &self.reference.held;
        for ((got, before), after) in held.iter().zip(before).zip(after) {
            let right = match state {
                State::Before => got == before,
                State::After => got == after,
                State::Between => got == before || got == after || got.1.is_ok(),
            };
            if !right
                && self
                    .reference
                    .before
                    .diff(&self.reference.after, &compare(self.situation))
                    .is_empty()
                && got == after
            {
                continue;
            }
            if !right {
                return Err(format!(
                    "{state:?}: the open {got:?} was {before:?} and would be {after:?}"
                ));
            }
        }
        let left = live.leftovers();
        if !left.is_empty() && !self.may_leave() {
            return Err(format!("left over in the work directory: {left:?}"));
        }
        let again = live.apply(&self.situation.op);
        let view = live.view(self.disk);
        self.repeated(state, &again, &view)
            .map_err(|e| format!("in the same process {e}"))?;
        if !self.disk.is_copied() {
            drop(live);
        }
        self.same_when_reopened(&view)
    }

    fn fault(&self) -> Fault {
        self.fired.fault.unwrap()
    }

    /// What is to be removed may stay if removing it fails, and so may what was made although that
    /// was reported as failed.
    fn may_leave(&self) -> bool {
        let done = matches!(self.fault(), Fault::Done(_));
        done || self.fired.method == "remove" || self.situation.leaves_a_name
    }

    /// Doing the operation once more ends where it would have ended.
    fn repeated(&self, state: State, answer: &Answer, view: &TreeSnapshot) -> Result<(), String> {
        let reference = self.reference;
        let cases = [
            (State::Before, &reference.answer, &reference.after),
            (State::After, &reference.again, &reference.after_again),
        ];
        let mut problems = Vec::new();
        for (of, expected, after) in cases {
            // Where nothing shows whether it was done, either may come of it.
            let unseen = self
                .differences(&reference.before, &reference.after)
                .is_empty();
            if state != of && !unseen {
                continue;
            }
            let wrong = differ(answer, expected, &compare(self.situation), None);
            let views = self.differences(view, after);
            if wrong.is_none() && views.is_empty() {
                return Ok(());
            }
            let wrong = wrong.unwrap_or_default();
            problems.push(format!("{state:?}, repeated: {wrong} {}", text(&views)));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems.join("\n  or ")),
        }
    }

    /// What the union shows is what its layers hold.
    fn same_when_reopened(&self, view: &TreeSnapshot) -> Result<(), String> {
        if !self.disk.is_copied() {
            return Ok(());
        }
        let reopened = capture(&self.disk.reopen(self.situation), self.disk);
        let all = view.diff(&reopened, &compare(self.situation));
        match all.is_empty() {
            true => Ok(()),
            false => Err(format!("not so when reopened:\n    {}", text(&all))),
        }
    }
}
