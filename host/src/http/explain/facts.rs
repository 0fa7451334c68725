//! The state of a job in the scheduler, and what follows from its plan.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use roost_scheduler::{
    limits::{RUNS_PER_JOB, SUN_DAYS},
    names::{CalendarName, JobName, Origin, RunId},
    scheduler::{JobStatus, NextRun, RunStatus, Scheduler},
    time::{Instant, Site},
    topic::Grant,
    trigger::{Almanac, Days, Never, Search, Trigger},
};

use super::super::limits;
use crate::{calendars::CalendarState, config::rules::Rules};

/// The state of a job, its device and its plugin.
pub(super) struct Facts {
    /// The plugin's grant, if the plugin exists.
    pub(super) grant: Option<Grant>,
    pub(super) has_device: bool,
    /// Why the device's newest plan was refused.
    pub(super) error: Option<String>,
    pub(super) replan_at: Option<Instant>,
    pub(super) site: Option<Site>,
    pub(super) planned: Option<JobStatus>,
    /// Its runs that have not ended.
    pub(super) under_way: Vec<RunStatus>,
    pub(super) is_linked: bool,
    pub(super) is_stopping: bool,
    /// Why its plugin's newest files were refused, if they were, and when.
    pub(super) fault: Option<(Instant, String)>,
    /// The operator's rules for plugins.
    pub(super) rules: Rules,
    /// The calendars in the settings.
    pub(super) calendars: Vec<CalendarState>,
}

/// An occurrence that a limit to days leaves out.
pub(super) struct LeftOut {
    pub(super) at: Instant,
    /// The date that counts: a sun event after midnight is of the evening before.
    pub(super) date: NaiveDate,
    /// The clause, such as `except holidays`.
    pub(super) by: String,
}

impl Facts {
    pub(super) fn of(scheduler: &Scheduler, name: &JobName) -> Self {
        let (plugin, device, job) = name;
        let found = scheduler.device(plugin, device);
        Self {
            grant: scheduler.plugin(plugin).map(|plugin| plugin.grant.clone()),
            has_device: found.is_some(),
            error: found.as_ref().and_then(|device| device.error.map(str::to_owned)),
            replan_at: found.as_ref().map(|device| device.replan_at),
            site: found.map(|device| *device.site),
            under_way: scheduler.runs_named(name).take(RUNS_PER_JOB as usize).collect(),
            planned: scheduler.job(plugin, device, job),
            is_linked: scheduler.link_since().is_some(),
            is_stopping: scheduler.is_stopping(),
            fault: None,
            rules: Rules::default(),
            calendars: Vec::new(),
        }
    }

    pub(super) const fn has_plugin(&self) -> bool {
        self.grant.is_some()
    }

    /// Returns the occurrence of the trigger that is nearest to `at`, or with `is_last` the last one. Fails if there is
    /// none.
    pub(super) fn nominal(&self, at: Instant, is_last: bool, sun: &mut Almanac) -> Result<Instant, Option<Never>> {
        let JobStatus { job, site, .. } = self.planned.as_ref().ok_or(None)?;
        nearest(&job.trigger, at, is_last, site, sun).map_err(Some)
    }

    /// Returns the occurrence nearest to `at` that the trigger would have on every day, if a limit to days leaves it out.
    pub(super) fn left_out(&self, at: Instant, sun: &mut Almanac) -> Option<LeftOut> {
        let JobStatus { job, site, .. } = self.planned.as_ref()?;
        let at = nearest(&job.trigger.on_every_day()?, at, false, site, sun).ok()?;
        let (date, by) = job.trigger.left_out(at, site, sun)?;
        Some(LeftOut { at, date, by: by.to_string() })
    }

    /// Returns what is wrong with the calendars that the job names.
    pub(super) fn of_calendars(&self) -> Vec<String> {
        let days = self.planned.as_ref().and_then(|planned| planned.job.trigger.days());
        let names: BTreeSet<&CalendarName> = days.into_iter().flat_map(Days::calendars).collect();
        let wrong = |name: &CalendarName| {
            let Some(state) = self.calendars.iter().find(|state| state.name == *name) else {
                return Some(format!("there is no calendar `{name}` in `roost.toml`, so it has no days"));
            };
            match (&state.fault, &state.dates) {
                (Some(fault), _) => Some(fault.to_string()),
                (None, Some(dates)) if dates.count() == 0 => Some(format!("the calendar `{name}` has no days")),
                _ => None,
            }
        };
        names.into_iter().filter_map(wrong).collect()
    }

    /// Returns the next occurrence after `now`. Past occurrences are skipped even if they are not decided yet.
    pub(super) fn next(&self, now: Instant, sun: &mut Almanac) -> Option<NextRun> {
        let JobStatus { next, job, site, .. } = self.planned.as_ref()?;
        Some(match *next {
            NextRun::Due(at) | NextRun::NotBefore(at) if at <= now => match job.trigger.find(now, site, sun) {
                Ok(next) => NextRun::Due(next),
                Err(Never::NoSuchSunEvent) => NextRun::NotBefore(now.plus_ms(i64::from(SUN_DAYS) * 86_400_000)),
                Err(_) => NextRun::Never,
            },
            next => next,
        })
    }

    /// Checks whether the scheduler would accept the replay of a failed run.
    pub(super) fn can_be_replayed(&self, run: &RunId) -> bool {
        let conflicts = |other: &RunId| {
            other == run || matches!(other.origin, Origin::Replay { .. }) && other.occurrence == run.occurrence
        };
        self.has_plugin()
            && self.has_device
            && !self.is_stopping
            && self.under_way.len() < RUNS_PER_JOB as usize
            && !self.under_way.iter().any(|active| conflicts(&active.id))
    }
}

/// Returns the occurrence that is nearest to `at`, or with `is_last` the last one.
fn nearest(trigger: &Trigger, at: Instant, is_last: bool, site: &Site, sun: &mut Almanac) -> Result<Instant, Never> {
    let before = last(trigger, at, site, sun);
    let after = trigger.find(at, site, sun);
    match (before, after) {
        (Some(before), Ok(after)) if !is_last && after.ms_since(at) < at.ms_since(before) => Ok(after),
        (Some(before), _) => Ok(before),
        (None, after) => after,
    }
}

/// Returns the newest occurrence up to an instant, if it is found within [`limits::EXPLAIN_SEARCHES`] searches.
fn last(trigger: &Trigger, at: Instant, site: &Site, sun: &mut Almanac) -> Option<Instant> {
    let mut until = at;
    for _ in 0..limits::EXPLAIN_SEARCHES {
        match trigger.last(Instant::MIN, until, site, sun) {
            Search::Found(found) => return Some(found),
            Search::NotUntil(earlier) if earlier < until => until = earlier,
            Search::NotUntil(_) | Search::Never(_) => return None,
        }
    }
    None
}
