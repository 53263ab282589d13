//! The count of calls, the faults armed on it, and the record.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::{BackendError, Result};
use crate::errno::Errno;

/// What goes wrong at one call of a backend.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done, and the call fails.
    Fail(Errno),
    /// The call is done, and reported as failed. What it would have answered is dropped. (If it
    /// fails by itself, that is what is reported.)
    Done(Errno),
    /// Reading, writing and copying do half of what was asked for (rounded down, but at least one
    /// byte) and say so, as they may. Other calls are not disturbed.
    Short,
    /// Writing and copying do half of what was asked for, then fail. Other calls: as
    /// [`Fault::Fail`].
    Torn(Errno),
    /// Nothing is done at this call or any later one: all fail with `EIO`, until
    /// [`Faults::disarm`]. What the backend under the [`FaultLayer`](super::FaultLayer) holds then is
    /// what a crash would have left.
    Crash,
    /// As [`Fault::Crash`], but if this call writes or copies, half of it is done.
    CrashTorn,
}

/// One call of a backend, as it was recorded. Its `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// Its number since [`Faults::reset`], from 0.
    pub number: u64,
    /// The layer's name.
    pub layer: Arc<str>,
    /// The method, such as `rename`; those of open files begin with `file.`.
    pub method: &'static str,
    /// What it was asked to do, for people. Nodes have the path under which they were found.
    pub what: String,
    /// Whether it changes the layer.
    pub changes: bool,
    /// The fault that struck it.
    pub fault: Option<Fault>,
    /// What it answered; `None`: success.
    pub failed: Option<Errno>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.changes { '*' } else { ' ' };
        write!(f, "{:4}{sign} {}: {}", self.number, self.layer, self.method)?;
        if !self.what.is_empty() {
            write!(f, " {}", self.what)?;
        }
        if let Some(errno) = self.failed {
            write!(f, ": {errno:?}")?;
        }
        match self.fault {
            Some(fault) => write!(f, " <- {fault:?}"),
            None => Ok(()),
        }
    }
}

/// Counts the calls of one or more [`FaultLayer`](super::FaultLayer)s, and says which of them fail.
/// Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    armed: BTreeMap<u64, Fault>,
    stopped: bool,
    fired: Option<Call>,
    forgets: bool,
    trace: Vec<Call>,
}

/// How much of a call is to be done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    Half,
}

impl Extent {
    /// As much as is to be done of `len`.
    pub(super) fn of(self, len: u64) -> u64 {
        match self {
            Extent::All => len,
            Extent::Half => (len / 2).max(len.min(1)),
        }
    }
}

/// How a method is affected by faults that do half of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Halves {
    /// It is done or not.
    Never,
    /// It may do less than it is asked to, which leaves no trace if it then fails.
    Reads,
    /// It may do less than it is asked to.
    Writes,
}

/// One method as it is called.
pub(super) struct Asked<'a> {
    pub(super) layer: &'a Arc<str>,
    pub(super) method: &'static str,
    pub(super) changes: bool,
    pub(super) halves: Halves,
}

impl Faults {
    /// Nothing armed, nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Faults::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the record and what was armed, ends a crash, and counts from 0 again.
    pub fn reset(&self) {
        let forgets = self.state().forgets;
        *self.state() = State {
            forgets,
            ..State::default()
        };
    }

    /// Lets the call with this number (since [`Faults::reset`], from 0) meet `fault`. Several calls
    /// may be armed.
    pub fn arm(&self, number: u64, fault: Fault) {
        self.state().armed.insert(number, fault);
    }

    /// Takes back what was armed and has not struck yet, and ends a crash: all goes well from now on.
    /// Count and record go on.
    pub fn disarm(&self) {
        let mut state = self.state();
        state.armed.clear();
        state.stopped = false;
    }

    /// How many calls there were since [`Faults::reset`].
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().count
    }

    /// The first call since [`Faults::reset`] that a fault struck; `None` as long as none did.
    #[must_use]
    pub fn fired(&self) -> Option<Call> {
        self.state().fired.clone()
    }

    /// Whether calls are recorded from now on (they are at first); counting does not depend on it.
    pub fn record(&self, on: bool) {
        self.state().forgets = !on;
    }

    /// The calls recorded since [`Faults::reset`], in the order in which they ended.
    #[must_use]
    pub fn trace(&self) -> Vec<Call> {
        self.state().trace.clone()
    }

    /// The record as text, one call per line; `*` marks those that change a layer.
    #[must_use]
    pub fn report(&self) -> String {
        let lines: Vec<String> = self.state().trace.iter().map(Call::to_string).collect();
        lines.join("\n")
    }

    /// True after a crash.
    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Counts a call and decides what becomes of it.
    fn next(&self) -> (u64, Option<Fault>, bool) {
        let mut state = self.state();
        let number = state.count;
        state.count += 1;
        if state.stopped {
            return (number, Some(Fault::Crash), state.forgets);
        }
        let fault = state.armed.remove(&number);
        state.stopped = matches!(fault, Some(Fault::Crash | Fault::CrashTorn));
        (number, fault, state.forgets)
    }

    /// Runs one call, or what is left of it.
    pub(super) fn call<T>(
        &self,
        asked: &Asked<'_>,
        what: impl FnOnce() -> String,
        run: impl FnOnce(Extent) -> Result<T>,
    ) -> Result<T> {
        let (number, fault, forgets) = self.next();
        let injected = |errno: Errno| {
            let text = format!("injected at call {number}: {}", asked.method);
            Err(BackendError::with_source(errno, text))
        };
        let torn = |run: Box<dyn FnOnce(Extent) -> Result<T> + '_>, errno| {
            if asked.halves == Halves::Writes {
                run(Extent::Half)?;
            }
            injected(errno)
        };
        let answer = match fault {
            None => run(Extent::All),
            Some(Fault::Fail(errno)) => injected(errno),
            Some(Fault::Done(errno)) => run(Extent::All).and_then(|_| injected(errno)),
            Some(Fault::Short) if asked.halves == Halves::Never => run(Extent::All),
            Some(Fault::Short) => run(Extent::Half),
            Some(Fault::Torn(errno)) => torn(Box::new(run), errno),
            Some(Fault::Crash) => injected(Errno::EIO),
            Some(Fault::CrashTorn) => torn(Box::new(run), Errno::EIO),
        };
        if !forgets || fault.is_some() {
            let call = Call {
                number,
                layer: asked.layer.clone(),
                method: asked.method,
                what: what(),
                changes: asked.changes,
                fault,
                failed: answer.as_ref().err().map(BackendError::errno),
            };
            let mut state = self.state();
            if fault.is_some() && state.fired.is_none() {
                state.fired = Some(call.clone());
            }
            if !forgets {
                state.trace.push(call);
            }
        }
        answer
    }
}
