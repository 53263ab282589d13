//! Where a [`MemLayer`](super::MemLayer) takes the time from.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::meta::Timestamp;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Tells the time. Each operation of a layer asks once.
pub trait Clock: Debug + Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Copy, Clone, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(d) => Timestamp::new(d.as_secs().cast_signed(), d.subsec_nanos()),
            Err(before) => {
                let d = before.duration();
                let secs = d.as_secs().cast_signed().saturating_neg();
                match d.subsec_nanos() {
                    0 => Timestamp::new(secs, 0),
                    n => Timestamp::new(secs.saturating_sub(1), 1_000_000_000 - n),
                }
            }
        }
    }
}

/// A clock that shows what it was set to, and may advance with each reading.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
    step_nanos: u64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self::stepping(now, 0)
    }

    /// A clock that shows `now` first and advances by `step_nanos` with each reading, so that every
    /// operation has a time of its own.
    #[must_use]
    pub const fn stepping(now: Timestamp, step_nanos: u64) -> Self {
        ManualClock {
            now: Mutex::new(now),
            step_nanos,
        }
    }

    /// Sets the time.
    pub fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves the time on by `nanos`.
    pub fn advance(&self, nanos: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = later(*now, nanos);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = *now;
        *now = later(shown, self.step_nanos);
        shown
    }
}

/// The time `nanos` after `at`.
fn later(at: Timestamp, nanos: u64) -> Timestamp {
    let sum = u64::from(at.nanos) + nanos % NANOS_PER_SEC;
    let secs = nanos / NANOS_PER_SEC + sum / NANOS_PER_SEC;
    Timestamp {
        secs: at.secs.saturating_add(secs.cast_signed()),
        nanos: u32::try_from(sum % NANOS_PER_SEC).unwrap_or(0),
    }
}
