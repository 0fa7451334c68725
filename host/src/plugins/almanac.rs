//! What plugins may ask about times.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_scheduler::trigger::{Patterns, Sky};

/// What is kept of the calendar and the sky while a version runs: parsed patterns and computed days.
#[derive(Debug, Default)]
pub(super) struct Almanac {
    patterns: Mutex<Patterns>,
    sky: Mutex<Sky>,
}

impl Almanac {
    pub(super) fn patterns(&self) -> MutexGuard<'_, Patterns> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
