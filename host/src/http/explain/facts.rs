//! The state of a job in the scheduler, and what follows from its plan.

use roost_scheduler::{
    limits::{RUNS_PER_JOB, SUN_DAYS},
    names::{JobName, Origin, RunId},
    scheduler::{JobStatus, NextRun, RunStatus, Scheduler},
    time::{Instant, Site},
    topic::Grant,
    trigger::{Almanac, Never, Search, Trigger},
};

use super::super::limits;
use crate::config::rules::Rules;

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
        }
    }

    pub(super) const fn has_plugin(&self) -> bool {
        self.grant.is_some()
    }

    /// Returns the occurrence of the trigger that is nearest to `at`, or with `is_last` the last one. Fails if there is
    /// none.
    pub(super) fn nominal(&self, at: Instant, is_last: bool, sun: &mut Almanac) -> Result<Instant, Option<Never>> {
        let JobStatus { job, site, .. } = self.planned.as_ref().ok_or(None)?;
        let before = last(&job.trigger, at, site, sun);
        let after = job.trigger.find(at, site, sun);
        match (before, after) {
            (Some(before), Ok(after)) if !is_last && after.ms_since(at) < at.ms_since(before) => Ok(after),
            (Some(before), _) => Ok(before),
            (None, Ok(after)) => Ok(after),
            (None, Err(never)) => Err(Some(never)),
        }
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
