//! What plugins may ask about times.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_scheduler::trigger::{Patterns, Sky};

use crate::zones;

/// What is kept of the calendar and the sky while a version runs: parsed patterns and computed days.
#[derive(Debug)]
pub(super) struct Almanac {
    patterns: Mutex<Patterns>,
    sky: Mutex<Sky>,
}

impl Default for Almanac {
    fn default() -> Self {
        Self { patterns: Mutex::new(zones::patterns()), sky: Mutex::default() }
    }
}

impl Almanac {
    pub(super) fn patterns(&self) -> MutexGuard<'_, Patterns> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
