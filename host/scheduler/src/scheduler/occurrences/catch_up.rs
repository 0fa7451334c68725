//! Occurrences that have passed: those that are caught up become runs, the others are recorded.

use crate::{
    event::JobKey,
    limits,
    mutants::{Mutation, mutated},
    occurrence::Next,
    outcome::MissedReason,
    policy::{grace, misfire},
    runs::{Phase, Run},
    scheduler::occurrences::admission::Due,
    scheduler::state::Scheduler,
    time::Instant,
    trigger::Days,
};

impl Scheduler {
    /// Handles a job's timer.
    pub(crate) fn job_timer(&mut self, key: JobKey) {
        if self.is_next_paused(key) || !self.is_caught_up_later(key) {
            self.decide_misfire(key, self.now);
        }
    }

    /// Returns whether a job's next occurrence waits until an earlier run has ended.
    fn is_caught_up_later(&self, key: JobKey) -> bool {
        if self.runs.count_of_job(key) == 0 {
            return false;
        }
        let Some(state) = self.catalog.job(key).filter(|state| state.next.due().is_some()) else { return false };
        let runs = || self.runs.of_job(key).filter_map(|slot| self.runs.get(slot));
        let policy = state.job.body.policy();
        let unended = misfire::Unended {
            any_waits: runs().any(Run::has_not_started),
            all_wait_for_rate: runs().all(|run| matches!(run.phase, Phase::Limited(_))),
            queue: policy.overlap.queues(),
        };
        let is_late = state.next.timer().is_some_and(|start| self.now.ms_since(start) >= limits::LATE_MS);
        policy.misfire.waits(unended, is_late)
    }

    /// Decides the passed occurrences of a job; beyond the limits, none later than `until`.
    fn decide_misfire(&mut self, key: JobKey, until: Instant) {
        let Some(state) = self.catalog.job(key) else { return };
        let Next::Due { occurrence, jitter_ms } = state.next else {
            let (watermark, from) = (state.watermark, state.next.timer());
            return self.search(key, watermark, from.map_or(watermark, |from| from.max(watermark)));
        };
        let grouped = state.grouped;
        if self.skip_decided(key, occurrence) {
            return;
        }
        if let Some(by) = self.paused_at(key, occurrence.plus_ms(jitter_ms.into())) {
            return self.record_paused(key, by, until);
        }
        if self.catalog.overrides.is_skipped(key, occurrence) {
            return self.record_skipped(key, occurrence);
        }
        if grouped {
            return self.group_timer(key);
        }
        let following = self.next_after(key, occurrence);
        if following.due().is_some() && following.timer().is_some_and(|start| start <= self.now) {
            return self.misfired(key, Due { occurrence, jitter_ms, following }, until);
        }
        self.admit(key, Due { occurrence, jitter_ms, following });
    }

    /// Continues the search for a job's next occurrence.
    fn search(&mut self, key: JobKey, watermark: Instant, from: Instant) {
        let next = self.next_after(key, from);
        // The occurrence on disk may be one by earlier contents of calendars, without another one now.
        let by_calendar =
            self.catalog.job(key).and_then(|state| state.job.trigger.days()).is_some_and(Days::follow_calendars)
                && !mutated(Mutation::NoDayLeftIsUnsaved);
        self.advance(key, watermark, next);
        if next.due().is_some() || by_calendar {
            self.save_progress(key);
        }
    }

    /// Decides a job of which several occurrences have passed.
    fn misfired(&mut self, key: JobKey, oldest: Due, until: Instant) {
        let Some(state) = self.catalog.job(key) else { return };
        let (policy, planned_late) = (state.job.body.policy(), state.planned_late);
        let runs = self.runs.count_of_job(key);
        let too_late = grace::too_late(&policy, self.now);
        match policy.misfire.decide(runs, oldest.following.due(), too_late) {
            misfire::Decision::AdmitOldest => self.admit(key, oldest),
            misfire::Decision::AdmitNewest => {
                let Some(passed) = self.passed_occurrences(self.now, key) else { return };
                self.admit_newest(&passed);
            }
            misfire::Decision::TooManyRuns => {
                let Some(passed) = self.passed_occurrences(until, key) else { return };
                self.record_missed(&passed, MissedReason::TooMany(limits::RUNS_PER_JOB));
            }
            misfire::Decision::TooLate => {
                let Some(passed) = self.passed_occurrences(too_late, key) else { return };
                let (late_ms, cause) = (self.now.ms_since(passed.newest), self.cause_of(passed.newest, planned_late));
                let why = MissedReason::TooLate { late_ms, grace_ms: policy.grace_ms, cause };
                self.record_missed(&passed, why);
            }
        }
    }

    /// Decides a job's occurrences from before a new plan by the old one: they may be waiting for their jitter, for
    /// their turn, or for the old plan's commit. In the last case nothing is sent until that commit and the run itself
    /// are durable (I3), because the run is saved together with the job's change.
    pub(crate) fn admit_past(&mut self, job: JobKey, requested_at: Instant) {
        // The clock may have been set back since.
        let requested_at = requested_at.min(self.now.plus_ms(1));
        // Several times, if all missed runs are caught up or other jobs of its group are decided first.
        while self
            .catalog
            .job(job)
            .is_some_and(|state| state.next.due().is_some_and(|occurrence| occurrence < requested_at))
        {
            self.disarm_timer(job);
            self.decide_misfire(job, requested_at.plus_ms(-1));
        }
    }
}
