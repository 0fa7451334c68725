//! The timers of jobs: when each is due next.

use crate::{
    agenda::Timer,
    body::PackedJob,
    catalog::{Catalog, JobState},
    event::{DeviceKey, JobKey},
    mutants::{Mutation, mutated},
    names::Origin,
    occurrence::{Next, jitter_of},
    scheduler::state::Scheduler,
    time::{Instant, Site},
    trigger::{Almanac, Search},
};

impl Scheduler {
    /// Arms a job's timer, unless its plan is not durable yet.
    pub(crate) fn arm_timer(&mut self, key: JobKey) {
        let may_be_due =
            |state: &&JobState| state.unconfirmed.is_none() || mutated(Mutation::JobIsDueBeforePlanIsDurable);
        let Some(state) = self.catalog.job(key).filter(may_be_due) else { return };
        let Some(at) = state.next.timer() else { return };
        self.agenda.arm(at, Timer::Job(key));
        if state.grouped
            && state.next.due().is_some()
            && let Some(group) = self.catalog.group_of(key)
        {
            self.agenda.join_group(group, at, key);
        }
    }

    pub(crate) fn disarm_timer(&mut self, key: JobKey) {
        let Some(state) = self.catalog.job(key) else { return };
        let (at, grouped) = (state.next.timer(), state.grouped);
        if let Some(at) = at {
            self.agenda.disarm(at, Timer::Job(key));
            if grouped {
                self.leave_group(key, at);
            }
        }
    }

    /// Removes a due time of a job from its group.
    fn leave_group(&mut self, key: JobKey, at: Instant) {
        if let Some(group) = self.catalog.group_of(key) {
            self.agenda.leave_group(&group, at, key);
        }
    }

    /// Returns what a job waits for after an occurrence.
    pub(crate) fn next_after(&mut self, key: JobKey, after: Instant) -> Next {
        let (Some(state), Some(site)) = (self.catalog.job(key), self.catalog.site_of(key)) else { return Next::Never };
        next_of(self.agenda.almanac(), &self.catalog, &state.job, state.device, after, &site)
    }

    /// Returns what a job of a device waits for after an instant.
    pub(crate) fn next_of(&mut self, job: &PackedJob, device: DeviceKey, after: Instant, site: &Site) -> Next {
        next_of(self.agenda.almanac(), &self.catalog, job, device, after, site)
    }

    /// Returns the jitter of a run, in milliseconds.
    pub(crate) fn jitter_of(&mut self, job: &PackedJob, device: DeviceKey, occurrence: Instant, site: &Site) -> u32 {
        let run = || self.catalog.run_of(job, device, occurrence, Origin::Trigger);
        jitter_of(job, occurrence, site, self.agenda.almanac(), run)
    }

    /// Arms a job for what follows after everything up to its new watermark is decided.
    pub(crate) fn advance(&mut self, key: JobKey, watermark: Instant, next: Next) {
        if let Some(state) = self.catalog.job_mut(key) {
            (state.watermark, state.next) = (watermark, next);
        }
        self.arm_timer(key);
    }

    /// Arms a job's timer after one of its runs has ended, if its next occurrence waited for that.
    pub(crate) fn catch_up_next(&mut self, key: JobKey) {
        if self
            .catalog
            .job(key)
            .is_some_and(|state| !state.grouped && state.next.timer().is_some_and(|at| at <= self.now))
        {
            self.arm_timer(key);
        }
    }
}

fn next_of(
    almanac: &mut Almanac,
    catalog: &Catalog,
    job: &PackedJob,
    device: DeviceKey,
    after: Instant,
    site: &Site,
) -> Next {
    match job.trigger.next(after, site, almanac) {
        Search::Found(occurrence) => {
            let run = || catalog.run_of(job, device, occurrence, Origin::Trigger);
            Next::Due { occurrence, jitter_ms: jitter_of(job, occurrence, site, almanac, run) }
        }
        Search::NotUntil(until) => Next::Search(until),
        Search::Never(_) => Next::Never,
    }
}
