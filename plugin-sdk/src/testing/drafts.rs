//! Converts a plugin's plans and replies as the host does, or refuses them, as far as that does not depend on the
//! host's settings.

use roost_scheduler::{
    accept::{Syntax, Terms},
    calendar::{self, ZoneError},
    time::Site,
    trigger::{self, Context, Cron, CronCache, CronError, Days, Trigger, TriggerError},
    zone::Zone,
};

/// The types of the contract.
mod wit {
    pub(super) use crate::bindings::{
        exports::roost::device::schedule::{
            Action, Cron, DayOfYear, DayRange, Days, Every, Interval, IntervalUnit, Job, Misfire, Overlap, Policy,
            Retry, Sun, Trigger, Weekday,
        },
        roost::device::types::*,
        with_tasks::exports::roost::device::tasks::TaskDescription,
    };
}

roost_scheduler::drafts_from_bindings!(wit);

/// The parsers of a test host: those of the host, with the built-in time zones.
pub(super) struct BuiltIn;

impl Syntax for BuiltIn {
    fn zone(&self, name: &str) -> Result<Zone, ZoneError> {
        calendar::parse_zone(name)
    }

    fn cron(&self, expression: &str, zone: Option<Zone>, days: Days) -> Result<Cron, CronError> {
        CronCache::default().cron(expression, zone, days)
    }

    fn trigger(&self, text: &str, context: &Context<'_>) -> Result<Trigger, TriggerError> {
        trigger::parse(text, context, &mut CronCache::default())
    }

    fn json(&self, text: &str) -> Result<(), String> {
        serde_json::from_str::<serde_json::Value>(text).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// Returns the terms that do not depend on the host's settings.
pub(super) fn terms(site: &Site) -> Terms<'_> {
    Terms { site, owner: None, tasks: None, calendars: None, jobs: usize::MAX, syntax: &BuiltIn }
}

/// Converts a list of the contract's types into drafts.
pub(super) fn of<T, D: From<T>>(list: Vec<T>) -> Vec<D> {
    list.into_iter().map(D::from).collect()
}
