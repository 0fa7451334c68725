//! The timers of jobs: when each is due next.

use crate::{
    agenda::Timer,
    body::PackedJob,
    catalog::JobState,
    event::{DeviceKey, JobKey},
    mutation::{Mutation, mutated},
    occurrence::Next,
    scheduler::state::Scheduler,
    time::{Instant, Site},
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
        let Self { agenda, catalog, .. } = self;
        let (Some(state), Some(site)) = (catalog.job(key), catalog.site_of(key)) else { return Next::Never };
        let origin = agenda.origin();
        agenda.next(&state.job, after, &site, |at| catalog.run_of(&state.job, state.device, at, origin))
    }

    /// Arms a job for what follows after everything up to its new watermark is decided.
    pub(crate) fn advance(&mut self, key: JobKey, watermark: Instant, next: Next) {
        if let Some(state) = self.catalog.job_mut(key) {
            (state.watermark, state.next) = (watermark, next);
        }
        self.arm_timer(key);
    }

    /// Returns what a job of a device waits for after an instant.
    pub(crate) fn next_of(&mut self, job: &PackedJob, device: DeviceKey, after: Instant, site: &Site) -> Next {
        let Self { agenda, catalog, .. } = self;
        let origin = agenda.origin();
        agenda.next(job, after, site, |at| catalog.run_of(job, device, at, origin))
    }

    /// Returns the jitter of a run, in milliseconds.
    pub(crate) fn jitter_of(&mut self, job: &PackedJob, device: DeviceKey, occurrence: Instant, site: &Site) -> u32 {
        let Self { agenda, catalog, .. } = self;
        let origin = agenda.origin();
        agenda.jitter_of(job, occurrence, site, |at| catalog.run_of(job, device, at, origin))
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
