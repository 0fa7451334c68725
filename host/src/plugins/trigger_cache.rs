//! Caches for cron expressions and times of the sun.

use std::sync::{Mutex, MutexGuard, PoisonError};

use roost_scheduler::{
    accept::Syntax,
    calendar::ZoneError,
    trigger::{Almanac, Cron, CronCache, CronError},
    zone::Zone,
};
use serde_json::Value;

use crate::zones;

/// The parsed cron expressions and computed days of the sun that a version of a plugin uses.
#[derive(Debug)]
pub(crate) struct TriggerCache {
    cron: Mutex<CronCache>,
    sun: Mutex<Almanac>,
}

impl Default for TriggerCache {
    fn default() -> Self {
        Self { cron: Mutex::new(zones::patterns()), sun: Mutex::default() }
    }
}

impl TriggerCache {
    pub(super) fn sun(&self) -> MutexGuard<'_, Almanac> {
        self.sun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syntax for TriggerCache {
    fn zone(&self, name: &str) -> Result<Zone, ZoneError> {
        zones::find(name)
    }

    fn cron(&self, expression: &str, zone: Option<Zone>) -> Result<Cron, CronError> {
        self.cron.lock().unwrap_or_else(PoisonError::into_inner).cron(expression, zone)
    }

    fn json(&self, text: &str) -> Result<(), String> {
        serde_json::from_str::<Value>(text).map(|_| ()).map_err(|error| error.to_string())
    }
}
