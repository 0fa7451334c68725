//! What plugins may ask about times.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_scheduler::trigger::{CronCache, SunCache};

use crate::zones;

/// What is kept of the calendar and the sky while a version runs: parsed patterns and computed days.
#[derive(Debug)]
pub(super) struct TriggerCache {
    patterns: Mutex<CronCache>,
    sky: Mutex<SunCache>,
}

impl Default for TriggerCache {
    fn default() -> Self {
        Self { patterns: Mutex::new(zones::patterns()), sky: Mutex::default() }
    }
}

impl TriggerCache {
    pub(super) fn patterns(&self) -> MutexGuard<'_, CronCache> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sky(&self) -> MutexGuard<'_, SunCache> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
