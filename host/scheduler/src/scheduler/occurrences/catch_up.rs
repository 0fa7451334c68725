//! Occurrences that have passed: those that are caught up become runs, the others are recorded.

use crate::{
    event::{JobKey, Step},
    limits,
    occurrence::Next,
    outcome::MissedReason,
    policy::misfire,
    runs::{Run, State},
    scheduler::occurrences::admission::Due,
    scheduler::state::Scheduler,
    time::Instant,
};

impl Scheduler {
    /// Handles a job's timer.
    pub(in crate::scheduler) fn job_timer(&mut self, now: Instant, key: JobKey, out: &mut Step) {
        if self.catalog.is_paused(key).is_some() || !self.is_caught_up_later(now, key) {
            self.decide_misfire(now, key, now, out);
        }
    }

    /// Returns whether a job's next occurrence waits until an earlier run has ended.
    fn is_caught_up_later(&self, now: Instant, key: JobKey) -> bool {
        if self.runs.count_of_job(key) == 0 {
            return false;
        }
        let Some(state) = self.catalog.job(key).filter(|state| state.next.due().is_some()) else { return false };
        let runs = || self.runs.of_job(key).filter_map(|slot| self.runs.get(slot));
        let unended = misfire::Unended {
            any_waits: runs().any(Run::has_not_started),
            all_wait_for_rate: runs().all(|run| matches!(run.state, State::Limited(_))),
        };
        let is_late = state.next.timer().is_some_and(|start| now.ms_since(start) >= limits::LATE_MS);
        misfire::waits(&state.job.body.policy(), unended, is_late)
    }

    /// Decides the passed occurrences of a job; beyond the limits, none later than `until`.
    fn decide_misfire(&mut self, now: Instant, key: JobKey, until: Instant, out: &mut Step) {
        let Some(state) = self.catalog.job(key) else { return };
        let Next::Due { occurrence, jitter_ms } = state.next else {
            return self.search(key, state.watermark_or_search(), out);
        };
        let grouped = state.grouped;
        if self.skip_decided(key, occurrence, out) {
            return;
        }
        if let Some(what) = self.catalog.is_paused(key) {
            return self.record_paused(now, key, what, until, out);
        }
        if self.catalog.overrides.is_skipped(key, occurrence) {
            return self.record_skipped(now, key, occurrence, out);
        }
        if grouped {
            return self.group_timer(now, key, out);
        }
        let Some(site) = self.catalog.site_of(key) else { return };
        let following = self.next_after(key, occurrence, &site);
        if following.due().is_some() && following.timer().is_some_and(|start| start <= now) {
            return self.misfired(now, key, Due { occurrence, jitter_ms, following }, until, out);
        }
        self.admit(now, key, Due { occurrence, jitter_ms, following }, out);
    }

    /// Decides a job of which several occurrences have passed.
    fn misfired(&mut self, now: Instant, key: JobKey, oldest: Due, until: Instant, out: &mut Step) {
        let Some(state) = self.catalog.job(key) else { return };
        let (policy, planned_late) = (state.job.body.policy(), state.planned_late);
        let runs = self.runs.count_of_job(key);
        let in_time = match misfire::decide(&policy, runs, oldest.following.due(), now) {
            misfire::Decision::AdmitOldest => return self.admit(now, key, oldest, out),
            misfire::Decision::AdmitNewest => {
                let Some(passed) = self.passed_occurrences(now, key) else { return };
                return self.admit_newest(now, &passed, out);
            }
            misfire::Decision::TooManyRuns => {
                let Some(passed) = self.passed_occurrences(until, key) else { return };
                return self.record_missed(now, &passed, MissedReason::TooMany(limits::RUNS_PER_JOB), out);
            }
            misfire::Decision::TooLate(in_time) => in_time,
        };
        let Some(passed) = self.passed_occurrences(in_time, key) else { return };
        let cause = self.cause_of(passed.newest, planned_late);
        let why = MissedReason::TooLate { late_ms: now.ms_since(passed.newest), grace_ms: policy.grace_ms, cause };
        self.record_missed(now, &passed, why, out);
    }

    /// Decides a job's occurrences from before a new plan by the old one: they may be waiting for their jitter, for
    /// their turn, or for the old plan's commit. In the last case nothing is sent until that commit and the run itself
    /// are durable (I3), because the run is saved together with the job's change.
    pub(in crate::scheduler) fn admit_past(
        &mut self,
        now: Instant,
        job: JobKey,
        requested_at: Instant,
        out: &mut Step,
    ) {
        // The clock may have been set back since.
        let requested_at = requested_at.min(now.plus_ms(1));
        // Several times, if all missed runs are caught up or other jobs of its group are decided first.
        while self
            .catalog
            .job(job)
            .is_some_and(|state| state.next.due().is_some_and(|occurrence| occurrence < requested_at))
        {
            self.disarm_timer(job);
            self.decide_misfire(now, job, requested_at.plus_ms(-1), out);
        }
    }
}
