//! What the log says of decisions: a line for each run, unless there are too many.

use roost_scheduler::{
    event::{Announcement, Change, RunEnded},
    outcome::Outcome,
    scheduler::{JobView, NextRun, Scheduler},
    time::Instant,
};

/// Runs that end in one step and are told one by one: a burst must not be slowed down by its log.
const LINES_PER_STEP: usize = 20;
/// Next runs that are told when a plugin is loaded.
const NEXT_RUNS: usize = 8;

/// Tells what a step decided.
pub(crate) fn note(changes: &[Change]) {
    let ended = |change: &'_ Change| matches!(change, Change::RunEnded(_));
    let count = changes.iter().filter(|change| ended(change)).count();
    for change in changes {
        match change {
            Change::RunEnded(run) if count <= LINES_PER_STEP => note_run(run),
            Change::RunSaved { run, .. } if run.steps_done == 0 && run.started.is_some() && count <= LINES_PER_STEP => {
                tracing::info!("started {}", run.id);
            }
            Change::DeviceSaved { name, error: Some(error), .. } => {
                tracing::warn!("device `{name}` keeps the plan it has\n  caused by: {error}");
            }
            _ => {}
        }
    }
    if count > LINES_PER_STEP {
        tracing::info!("{count} runs ended");
    }
}

fn note_run(run: &RunEnded) {
    let RunEnded { id, outcome, .. } = run;
    match outcome {
        Outcome::Succeeded => tracing::info!("succeeded {id}"),
        Outcome::Skipped { .. } => tracing::info!("skipped {id}: {outcome}"),
        Outcome::Cancelled(_) => tracing::info!("cancelled {id}: {outcome}"),
        Outcome::Failed(_) | Outcome::Missed(_) | Outcome::Denied { .. } => {
            tracing::warn!("{} {id}: {outcome}", outcome.word());
        }
    }
}

/// Tells what a plugin's new version, or a new plan, changed, and what comes next.
pub(crate) fn announce(announcement: &Announcement, scheduler: &Scheduler) {
    let Announcement { plugin, new, changed, gone, unchanged } = announcement;
    tracing::info!("jobs of `{plugin}`: {new} new, {changed} changed, {gone} gone, {unchanged} unchanged");
    let mut jobs: Vec<JobView<'_>> = scheduler.jobs_of(plugin).filter(|job| job.next != NextRun::Never).collect();
    jobs.sort_by_key(|job| (job.next, job.device.as_str(), job.job.id.as_str()));
    for JobView { device, site, job, next } in jobs.iter().take(NEXT_RUNS) {
        let local = |at: &Instant| at.to_utc().with_timezone(&site.zone).format("%a %Y-%m-%d %H:%M:%S %Z");
        let id = &job.id;
        match next {
            NextRun::Due(at) => tracing::info!("next: {}  {plugin}/{device}/{id}", local(at)),
            NextRun::NotBefore(at) => {
                tracing::info!("next: {plugin}/{device}/{id} waits for `{}`, not before {}", job.trigger, local(at));
            }
            NextRun::Never => {}
        }
    }
    if jobs.len() > NEXT_RUNS {
        tracing::info!("and {} more jobs", jobs.len() - NEXT_RUNS);
    }
}
