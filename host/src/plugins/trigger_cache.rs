//! Caches for cron expressions and times of the sun.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_scheduler::trigger::{CronCache, SunCache};

use crate::zones;

/// The parsed cron expressions and computed days of the sun that a version of a plugin uses.
#[derive(Debug)]
pub(super) struct TriggerCache {
    cron: Mutex<CronCache>,
    sun: Mutex<SunCache>,
}

impl Default for TriggerCache {
    fn default() -> Self {
        Self { cron: Mutex::new(zones::patterns()), sun: Mutex::default() }
    }
}

impl TriggerCache {
    pub(super) fn cron(&self) -> MutexGuard<'_, CronCache> {
        self.cron.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sun(&self) -> MutexGuard<'_, SunCache> {
        self.sun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
