//! What a union has spent on its upper layer so far.

use std::sync::{Mutex, PoisonError};

use crate::rules::cost::Cost;

/// Counts executed steps.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Cost>);

impl Meter {
    pub(crate) fn spend(&self, cost: &Cost) {
        if *cost == Cost::default() {
            return;
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += *cost;
    }

    pub(crate) fn spend_data(&self, bytes: u64) {
        self.spend(&Cost {
            data_bytes: bytes,
            ..Cost::default()
        });
    }

    pub(crate) fn read(&self) -> Cost {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
