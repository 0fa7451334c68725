//! What the log says of decisions: a line for each run, unless there are too many.

use std::collections::BTreeMap;

use roost_scheduler::{
    names::PluginName,
    scheduler::{JobView, NextRun, Scheduler},
    time::Instant,
};

use crate::{event_log::HostEvent, report::counted};

/// Lines about one batch: a burst must not be slowed down by its log.
const LINES_PER_BATCH: usize = 20;
/// Next runs that are told when a plugin is loaded.
const NEXT_RUNS: usize = 8;
/// Jobs of a plugin that are looked at for that: the loop must not be held up by its log (I10).
const JOBS_LOOKED_AT: usize = 1_000;

/// Plugins whose next runs are told when the host starts.
const PLUGINS: usize = 8;

/// Tells what was decided.
pub(crate) fn note(happenings: &[HostEvent]) {
    let mut lines = 0;
    let mut untold: BTreeMap<&str, usize> = BTreeMap::new();
    for happening in happenings {
        if lines < LINES_PER_BATCH {
            lines += 1;
            happening.log();
        } else {
            *untold.entry(in_short(happening)).or_default() += 1;
        }
    }
    for (what, count) in untold {
        tracing::info!("and {count} more {what}");
    }
}

fn in_short(happening: &HostEvent) -> &'static str {
    match happening {
        HostEvent::Ended(run) => run.outcome.word(),
        HostEvent::Started { .. } => "started",
        HostEvent::PlanRefused { .. } => "devices keep the plan they have",
        _ => "things that happened",
    }
}

/// Says how many jobs are due at another time than was planned, because the rules of time zones have changed.
pub(crate) fn zones_moved(rules: &str, jobs: u64) {
    if jobs > 0 {
        let (jobs, are) = (counted(jobs, "job"), if jobs == 1 { "is" } else { "are" });
        tracing::info!("{jobs} {are} due at another time, because the time zones have changed: they are {rules}");
    }
}

/// Tells what is still owed when the host ends although nothing can be kept.
pub(crate) fn owed(scheduler: &Scheduler) {
    let mut owed: Vec<(Instant, String)> =
        scheduler.owed().map(|(run, step, due)| (due, format!("step {step} of {run}, due {due}"))).collect();
    owed.sort();
    let more = owed.len().saturating_sub(LINES_PER_BATCH);
    for (_, what) in owed.into_iter().take(LINES_PER_BATCH) {
        tracing::warn!("still owed, when Roost is started again: {what}");
    }
    if more > 0 {
        tracing::warn!("and {more} more that are owed");
    }
}

/// Tells with what the host goes on.
pub(crate) fn taken_up(scheduler: &Scheduler) {
    let (jobs, runs) = (counted(scheduler.job_count() as u64, "job"), counted(scheduler.run_count() as u64, "run"));
    let plugins: Vec<&PluginName> = scheduler.plugin_names().collect();
    if plugins.is_empty() {
        return tracing::info!("nothing is remembered yet");
    }
    tracing::info!("going on with {}, {jobs}, {runs} under way", counted(plugins.len() as u64, "plugin"));
    for plugin in plugins.into_iter().take(PLUGINS) {
        next_runs(plugin, scheduler);
    }
}

/// Tells what of a plugin comes next.
pub(crate) fn next_runs(plugin: &PluginName, scheduler: &Scheduler) {
    let mut jobs: Vec<JobView<'_>> = scheduler.jobs_of(plugin).take(JOBS_LOOKED_AT + 1).collect();
    if jobs.len() > JOBS_LOOKED_AT {
        return tracing::info!("next: `{plugin}` has more than {JOBS_LOOKED_AT} jobs, too many to look for the first");
    }
    jobs.retain(|job| job.next != NextRun::Never);
    jobs.sort_by_key(|job| (job.next, job.device.as_str(), job.job.body.id()));
    let count = jobs.len();
    for JobView { device, site, job, next, .. } in jobs.into_iter().take(NEXT_RUNS) {
        let local = |at: Instant| at.to_utc().with_timezone(&site.zone).format("%a %Y-%m-%d %H:%M:%S %Z");
        let id = job.body.id();
        match next {
            NextRun::Due(at) => tracing::info!("next: {}  {plugin}/{device}/{id}", local(at)),
            NextRun::NotBefore(at) => {
                tracing::info!("next: {plugin}/{device}/{id} waits for `{}`, not before {}", job.trigger, local(at));
            }
            NextRun::Never => {}
        }
    }
    if count > NEXT_RUNS {
        tracing::info!("and {} more jobs", count - NEXT_RUNS);
    }
}
