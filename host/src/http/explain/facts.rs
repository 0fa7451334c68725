//! The state of a job in the scheduler, and what follows from its plan.

use roost_scheduler::{
    body::PackedJob,
    event::Override,
    limits::{RUNS_PER_JOB, SUN_DAYS},
    names::{JobName, Origin, RunId},
    outcome::{Attempt, Cause, Level},
    scheduler::{NextRun, RunUnderWay, Scheduler, start_of},
    time::{Instant, Site},
    topic::Grant,
    trigger::{Never, Search, SunCache, Trigger},
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
    pub(super) planned: Option<Planned>,
    /// Its runs that have not ended.
    pub(super) under_way: Vec<ActiveRun>,
    pub(super) is_linked: bool,
    pub(super) is_stopping: bool,
    /// Why its plugin's newest files were refused, if they were, and when.
    pub(super) fault: Option<(Instant, String)>,
    /// The operator's rules for plugins.
    pub(super) rules: Rules,
}

/// A job that is planned.
pub(super) struct Planned {
    pub(super) job: PackedJob,
    pub(super) next: NextRun,
    /// The origin of its runs.
    pub(super) origin: Origin,
    /// All occurrences up to here are decided.
    pub(super) watermark: Instant,
    pub(super) job_override: Override,
    pub(super) paused: Option<Level>,
}

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct ActiveRun {
    pub(super) id: RunId,
    pub(super) started: Option<Instant>,
    pub(super) progress: Progress,
}

/// The progress of a run that has not ended, and what it waits for.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: &'static str,
    pub(super) step: usize,
    pub(super) of: usize,
    pub(super) held_by: Option<Cause>,
    /// The runs that hold the resource that it waits for.
    pub(super) holders: Vec<RunId>,
    pub(super) attempts: u32,
    pub(super) last: Option<Attempt>,
    pub(super) until: Option<Instant>,
    /// The latest time at which it may start, if it has not started and its grace is bounded.
    pub(super) grace_end: Option<Instant>,
}

impl ActiveRun {
    fn of(run: &RunUnderWay<'_>, scheduler: &Scheduler) -> Self {
        let RunUnderWay { state, step, of, attempts, until, grace_end, .. } = *run;
        let (held_by, last) = (run.held_by.cloned(), run.last.cloned());
        let holders = match run.held_by {
            Some(Cause::Taken(resource)) => scheduler.holders_of(resource).cloned().collect(),
            _ => Vec::new(),
        };
        let progress = Progress { state, step, of, held_by, holders, attempts, last, until, grace_end };
        Self { id: run.id.clone(), started: run.started, progress }
    }
}

impl Facts {
    pub(super) fn of(scheduler: &Scheduler, name: &JobName) -> Self {
        let (plugin, device, job) = name;
        let found = scheduler.device(plugin, device);
        let planned = scheduler.job(plugin, device, job);
        let runs = scheduler.runs_named(name).take(RUNS_PER_JOB as usize);
        Self {
            grant: scheduler.plugin(plugin).map(|plugin| plugin.grant.clone()),
            has_device: found.is_some(),
            error: found.as_ref().and_then(|device| device.error.map(str::to_owned)),
            replan_at: found.as_ref().map(|device| device.replan_at),
            site: found.as_ref().map(|device| *device.site),
            under_way: runs.map(|run| ActiveRun::of(&run, scheduler)).collect(),
            planned: planned.as_ref().map(|view| Planned {
                job: view.job.clone(),
                next: view.next,
                origin: view.origin,
                watermark: view.watermark,
                job_override: view.job_override.cloned().unwrap_or_default(),
                paused: view.paused,
            }),
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
    pub(super) fn nominal(&self, at: Instant, is_last: bool, sun: &mut SunCache) -> Result<Instant, Option<Never>> {
        let (Some(planned), Some(site)) = (&self.planned, &self.site) else { return Err(None) };
        let trigger = &planned.job.trigger;
        let before = last(trigger, at, site, sun);
        let after = trigger.find(at, site, sun);
        match (before, after) {
            (Some(before), Ok(after)) if !is_last && after.ms_since(at) < at.ms_since(before) => Ok(after),
            (Some(before), _) => Ok(before),
            (None, Ok(after)) => Ok(after),
            (None, Err(never)) => Err(Some(never)),
        }
    }

    /// Returns the start of the run of an occurrence, including jitter.
    pub(super) fn start(&self, (plugin, device, job): &JobName, occurrence: Instant, sun: &mut SunCache) -> Instant {
        let (Some(planned), Some(site)) = (&self.planned, &self.site) else { return occurrence };
        let (plugin, device, job) = (plugin.clone(), device.clone(), job.clone());
        let run = RunId { plugin, device, job, occurrence, origin: planned.origin };
        start_of(&planned.job, &run, site, sun)
    }

    /// Returns the next occurrence after `now`. Past occurrences are skipped even if they are not decided yet.
    pub(super) fn next(&self, now: Instant, sun: &mut SunCache) -> Option<NextRun> {
        let (planned, site) = (self.planned.as_ref()?, self.site.as_ref()?);
        Some(match planned.next {
            NextRun::Due(at) | NextRun::NotBefore(at) if at <= now => match planned.job.trigger.find(now, site, sun) {
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
fn last(trigger: &Trigger, at: Instant, site: &Site, sun: &mut SunCache) -> Option<Instant> {
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
