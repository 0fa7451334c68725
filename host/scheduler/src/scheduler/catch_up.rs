//! Occurrences that have passed: those that are caught up become runs, the others are recorded.

use super::{Scheduler, admission::Due};
use crate::{
    event::{JobKey, Step},
    limits,
    names::JobId,
    occurrence::Next,
    outcome::{Level, Missed, MissedReason, Outcome, Several, Skipped},
    policy::misfire,
    runs::{Run, State},
    time::{Instant, Site},
    trigger::{Search, SunCache, Trigger},
};

/// The occurrences of a job that have passed.
pub(super) struct PassedOccurrences {
    pub(super) key: JobKey,
    pub(super) site: Site,
    pub(super) oldest: Instant,
    pub(super) newest: Instant,
    pub(super) before_newest: Instant,
    /// Their number, without the newest.
    pub(super) count: u32,
    /// Whether there are more than were counted.
    pub(super) more: bool,
}

impl Scheduler {
    /// Handles a job's timer.
    pub(super) fn job_timer(&mut self, now: Instant, key: JobKey, out: &mut Step) {
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
        let earlier = misfire::Earlier {
            any_waits: runs().any(Run::has_not_started),
            all_wait_for_rate: runs().all(|run| matches!(run.state, State::Limited(_))),
        };
        let is_late = state.next.timer().is_some_and(|start| now.ms_since(start) >= limits::LATE_MS);
        misfire::waits(&state.job.body.policy(), earlier, is_late)
    }

    /// Arms a job's timer after one of its runs has ended, if its next occurrence waited for that.
    pub(super) fn catch_up_next(&mut self, now: Instant, key: JobKey) {
        if self.catalog.job(key).is_some_and(|state| !state.grouped && state.next.timer().is_some_and(|at| at <= now)) {
            self.arm_timer(key);
        }
    }

    /// Decides the passed occurrences of a job; beyond the limits, none later than `until`.
    pub(super) fn decide_misfire(&mut self, now: Instant, key: JobKey, until: Instant, out: &mut Step) {
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

    /// Records the occurrences that are due during a pause as skipped.
    fn record_paused(&mut self, now: Instant, key: JobKey, what: Level, until: Instant, out: &mut Step) {
        self.disarm_timer(key);
        let Some(passed) = self.passed_occurrences(until, key) else { return };
        self.record_passed(now, &passed, |several| Outcome::Skipped(Skipped::Paused { what, several }), out);
    }

    /// Records an occurrence that the operator skips.
    fn record_skipped(&mut self, now: Instant, key: JobKey, occurrence: Instant, out: &mut Step) {
        self.disarm_timer(key);
        let Some(site) = self.catalog.site_of(key) else { return };
        let only = PassedOccurrences {
            key,
            site,
            oldest: occurrence,
            newest: occurrence,
            before_newest: occurrence,
            count: 0,
            more: false,
        };
        self.record_passed(now, &only, |_| Outcome::Skipped(Skipped::ByOperator), out);
    }

    pub(super) fn record_missed(
        &mut self,
        now: Instant,
        passed: &PassedOccurrences,
        why: MissedReason,
        out: &mut Step,
    ) {
        self.record_passed(now, passed, |several| Outcome::Missed(Missed { why, several }), out);
    }

    /// Returns the occurrences of a job that have passed up to an instant.
    pub(super) fn passed_occurrences(&mut self, until: Instant, key: JobKey) -> Option<PassedOccurrences> {
        let state = self.catalog.job(key)?;
        let (oldest, trigger) = (state.next.due()?, state.job.trigger.clone());
        let site = self.catalog.device(state.device)?.site;
        let until = match self.decided_before(key) {
            Some((from, _)) if oldest <= from => until.min(from),
            _ => until,
        };
        let mut passed =
            PassedOccurrences { key, site, oldest, newest: oldest, before_newest: oldest, count: 0, more: false };
        passed.count_until(&trigger, until, self.agenda.sun_cache());
        Some(passed)
    }

    /// Admits the newest occurrence, and records the older ones as missed.
    pub(super) fn admit_newest(&mut self, now: Instant, passed: &PassedOccurrences, out: &mut Step) {
        let PassedOccurrences { key, site, oldest, newest, before_newest, count, more } = *passed;
        if count > 0 {
            let several = Some(Several { since: oldest, count, more });
            let missed = Missed { why: MissedReason::Superseded { job: None, by: newest }, several };
            let id = self.run_id(key, before_newest);
            self.decide(now, key, id, Outcome::Missed(missed), out);
        }
        let Some(state) = self.catalog.job(key) else { return };
        let (job, device) = (state.job.clone(), state.device);
        let jitter_ms = self.jitter_of(&job, device, newest, &site);
        let following = self.next_after(key, newest, &site);
        self.admit(now, key, Due { occurrence: newest, jitter_ms, following }, out);
    }

    /// Records all passed occurrences with one outcome; none of them is admitted.
    fn record_passed(
        &mut self,
        now: Instant,
        passed: &PassedOccurrences,
        outcome: impl FnOnce(Option<Several>) -> Outcome,
        out: &mut Step,
    ) {
        let PassedOccurrences { key, site, oldest: since, newest, count, more, .. } = *passed;
        self.save_runs_of(key, out);
        let id = self.run_id(key, newest);
        let following = self.next_after(key, newest, &site);
        if let Some(state) = self.catalog.job_mut(key) {
            state.watermark = newest;
            state.next = following;
        }
        self.arm_timer(key);
        let several = Some(Several { since, count: count + 1, more }).filter(|_| count > 0);
        self.decide(now, key, id, outcome(several), out);
    }

    pub(super) fn job_id(&self, key: JobKey) -> JobId {
        self.catalog.job(key).expect("the caller has the job").job.body.job_id()
    }
}

impl PassedOccurrences {
    /// Finds the newest of several passed occurrences, and counts the others.
    fn count_until(&mut self, trigger: &Trigger, until: Instant, sun_cache: &mut SunCache) {
        if let Trigger::Every(every) = trigger {
            let period_ms = i64::from(every.period_ms);
            let passed = until.ms_since(self.oldest).max(0) / period_ms;
            self.newest = self.oldest.plus_ms(passed * period_ms);
            self.before_newest = self.newest.plus_ms(-period_ms);
            self.count = u32::try_from(passed).unwrap_or(u32::MAX);
            return;
        }
        while let Search::Found(next) = trigger.next(self.newest, &self.site, sun_cache)
            && next <= until
        {
            if self.count == limits::LOOK_BACK {
                self.more = true;
                break;
            }
            (self.before_newest, self.newest) = (self.newest, next);
            self.count += 1;
        }
        let mut until = until;
        while self.more {
            match trigger.last(self.newest, until, &self.site, sun_cache) {
                Search::Found(newest) => {
                    self.before_newest = match trigger.last(self.newest, newest.plus_ms(-1), &self.site, sun_cache) {
                        Search::Found(before) => before,
                        Search::NotUntil(_) | Search::Never(_) => self.newest,
                    };
                    self.newest = newest;
                    break;
                }
                Search::NotUntil(earlier) if earlier > self.newest => until = earlier,
                Search::NotUntil(_) | Search::Never(_) => break,
            }
        }
    }
}
