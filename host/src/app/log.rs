//! Log lines about decisions: one for each run, unless there are too many.

use std::collections::BTreeMap;

use roost_scheduler::{
    names::PluginName,
    scheduler::{JobStatus, NextRun, Scheduler},
    time::Instant,
};

use super::limits;
use crate::{calendars, event_log::HostEvent, report::counted};

/// Logs the decisions of a batch: the first in full, of the others the number of each kind.
pub(crate) fn write(events: &[HostEvent]) {
    let mut lines = 0;
    let mut rest: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        if lines < limits::LINES_PER_BATCH {
            lines += 1;
            event.log();
        } else {
            *rest.entry(kind(event)).or_default() += 1;
        }
    }
    for (kind, count) in rest {
        tracing::info!("and {count} more {kind}");
    }
}

fn kind(event: &HostEvent) -> &'static str {
    match event {
        HostEvent::Ended(run) => run.outcome.state().as_str(),
        HostEvent::Started { .. } => "started",
        HostEvent::PlanRefused { .. } => "devices keep the plan they have",
        _ => "events",
    }
}

/// Logs how many jobs are due at another time because the time zone rules have changed.
pub(crate) fn zones_moved(rules: &str, jobs: u64) {
    if jobs > 0 {
        let (jobs, are) = (counted(jobs, "job"), if jobs == 1 { "is" } else { "are" });
        tracing::info!("{jobs} {are} due at another time, because the time zones have changed: they are {rules}");
    }
}

/// Logs the steps that are still owed when the host ends after the store has failed.
pub(crate) fn owed_steps(scheduler: &Scheduler) {
    let mut owed: Vec<(Instant, String)> =
        scheduler.owed().map(|(run, step, due)| (due, format!("step {step} of {run}, due {due}"))).collect();
    owed.sort();
    let more = owed.len().saturating_sub(limits::LINES_PER_BATCH);
    for (_, step) in owed.into_iter().take(limits::LINES_PER_BATCH) {
        tracing::warn!("still owed, and sent when Roost is started again: {step}");
    }
    if more > 0 {
        tracing::warn!("and {more} more owed steps");
    }
}

/// Logs the state that the host resumes with.
pub(crate) fn resumed(scheduler: &Scheduler) {
    let (jobs, runs) = (counted(scheduler.job_count() as u64, "job"), counted(scheduler.run_count() as u64, "run"));
    let plugins: Vec<&PluginName> = scheduler.plugin_names().collect();
    if plugins.is_empty() {
        return tracing::info!("the database has no plugins yet");
    }
    tracing::info!("resuming with {}, {jobs}, {runs} under way", counted(plugins.len() as u64, "plugin"));
    for plugin in plugins.into_iter().take(limits::PLUGINS_LOGGED) {
        next_runs(plugin, scheduler);
    }
}

/// Logs the next runs of a plugin.
pub(crate) fn next_runs(plugin: &PluginName, scheduler: &Scheduler) {
    let mut jobs: Vec<JobStatus> = scheduler.jobs_of(plugin).take(limits::JOBS_EXAMINED + 1).collect();
    let most = limits::JOBS_EXAMINED;
    if jobs.len() > most {
        return tracing::info!("next: `{plugin}` has more than {most} jobs, too many to find the first");
    }
    jobs.retain(|job| job.next != NextRun::Never);
    jobs.sort_by_cached_key(|job| (job.next, job.device.clone(), job.job.body.job_id()));
    let count = jobs.len();
    let mut sun = calendars::almanac();
    for status in jobs.into_iter().take(limits::NEXT_RUNS) {
        let JobStatus { device, site, job, next, .. } = &status;
        let local = |at: Instant| at.to_utc().with_timezone(&site.zone).format("%a %Y-%m-%d %H:%M:%S %Z");
        let id = job.body.id();
        match next {
            NextRun::Due(at) => {
                let skipped = status.skipped(*at, &mut sun).map(|_| ", which will be skipped").unwrap_or_default();
                tracing::info!("next: {}  {plugin}/{device}/{id}{skipped}", local(*at));
            }
            NextRun::NotBefore(at) => {
                tracing::info!("next: {plugin}/{device}/{id} waits for `{}`, not before {}", job.trigger, local(*at));
            }
            NextRun::Never => {}
        }
    }
    if count > limits::NEXT_RUNS {
        tracing::info!("and {} more jobs", count - limits::NEXT_RUNS);
    }
}
