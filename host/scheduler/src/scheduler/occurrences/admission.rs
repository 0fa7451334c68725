//! From jobs to runs: due occurrences, and how they are admitted.

use crate::{
    body::Body,
    event::JobKey,
    keys::RunSlot,
    limits,
    model::Policy,
    mutants::{Mutation, mutated},
    occurrence::Next,
    outcome::{Cancelled, Cause, Missed, MissedReason, Outcome},
    policy::{grace, overlap},
    runs::Run,
    scheduler::state::Scheduler,
    time::Instant,
};

/// A due occurrence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) occurrence: Instant,
    /// The jitter of its run, in milliseconds.
    pub(crate) jitter_ms: u32,
    /// What the job waits for after it.
    pub(crate) following: Next,
}

impl Scheduler {
    /// Admits a due occurrence as a run, or records why not.
    pub(crate) fn admit(&mut self, key: JobKey, due: Due) {
        let Due { occurrence, jitter_ms, following } = due;
        let id = self.run_id(key, occurrence);
        let Some(state) = self.catalog.job(key) else { return };
        let (body, planned_late) = (state.job.body.clone(), state.planned_late);
        let policy = body.policy();
        let start = occurrence.plus_ms(jitter_ms.into());
        for earlier in self.runs.of_job(key).collect::<Vec<_>>() {
            self.end_if_given_up(earlier);
            self.end_if_paused(earlier);
            // The end of the earlier run may have armed it for this occurrence.
            self.disarm_timer(key);
        }
        let earlier: Vec<RunSlot> = self.runs.of_job(key).collect();
        let decision = self.decide_overlap(&earlier, &body, &policy, start);
        let has_not_started = |slot: &RunSlot| self.runs.get(*slot).is_some_and(Run::has_not_started);
        if decision != overlap::Decision::TakePlace || !earlier.iter().all(has_not_started) {
            // I2: the stored watermark does not pass an unsaved run, so only the last run may be unsaved.
            self.save_runs_of(key);
        }
        let Some(state) = self.catalog.job_mut(key) else { return };
        if !mutated(Mutation::AdmittedOccurrenceIsUndecided) {
            state.watermark = occurrence;
        }
        state.next = following;
        self.arm_timer(key);

        if let overlap::Decision::Skip(skipped) = decision {
            return self.decide(key, id, Outcome::Skipped(skipped));
        }
        if grace::is_over(&policy, start, self.now) {
            let (late_ms, cause) = (self.now.ms_since(start), self.cause_of(occurrence, planned_late));
            let why = MissedReason::TooLate { late_ms, grace_ms: policy.grace_ms, cause };
            return self.decide(key, id, Outcome::Missed(Missed { why, several: None }));
        }
        let slot = self.insert_run(Run::new(id, key, body, policy, start));
        self.replace_in_group(slot);
        self.end_earlier_runs(&earlier, &decision, slot);
        if self.runs.count_of_job(key) > 1 {
            self.save_run(slot);
        }
        self.await_step(slot);
    }

    /// Decides what becomes of a run that is due before the earlier ones have ended.
    fn decide_overlap(&self, earlier: &[RunSlot], body: &Body, policy: &Policy, start: Instant) -> overlap::Decision {
        let runs = || earlier.iter().filter_map(|slot| self.runs.get(*slot));
        let Some(first) = runs().next() else { return overlap::Decision::Join };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let is_put_off_too_long = |run: &Run| {
            let until = run.first_step_left_to(body).and_then(|step| run.put_off_until(step));
            until.is_some_and(|until| until <= self.now)
        };
        let earlier = overlap::Earlier {
            all: count(earlier.len()),
            waiting: count(runs().filter(|run| run.has_not_started()).count()),
            first: first.id.occurrence,
            put_off_too_long: policy.overlap.replaces() && runs().any(is_put_off_too_long),
        };
        let is_late = self.now.ms_since(start) >= limits::LATE_MS;
        policy.overlap.decide(&policy.misfire, &earlier, is_late, self.delivery.has_link())
    }

    /// Applies the decision to the earlier runs of the job.
    fn end_earlier_runs(&mut self, earlier: &[RunSlot], decision: &overlap::Decision, newer: RunSlot) {
        let Some(by) = self.runs.get(newer).map(|newer| newer.id.occurrence) else { return };
        for slot in earlier {
            // A replay or a manual run is not superseded by the newest run.
            let gives_place = |run: &Run| run.has_not_started() && run.id.origin.is_trigger();
            match decision {
                overlap::Decision::TakePlace if !self.runs.get(*slot).is_some_and(gives_place) => {}
                overlap::Decision::TakePlace => {
                    let why = MissedReason::Superseded { job: None, by };
                    self.end(*slot, Outcome::Missed(Missed { why, several: None }));
                }
                overlap::Decision::Replace => self.cut_short(*slot, Cancelled::Replaced { by }, Some(newer)),
                overlap::Decision::Join | overlap::Decision::Skip(_) => {}
            }
        }
    }

    /// Returns what held up an occurrence that has passed.
    pub(crate) fn cause_of(&self, occurrence: Instant, planned_late: bool) -> Cause {
        if planned_late {
            Cause::PlannedLate
        } else if self.agenda.was_skipped_by_clock(occurrence) {
            Cause::ClockSet
        } else {
            Cause::HostAway
        }
    }

    /// Cuts short the older runs of the newest run's group, if it has one.
    pub(crate) fn replace_in_group(&mut self, newest: RunSlot) {
        let Some(run) = self.runs.get(newest) else { return };
        let reason = Cancelled::NewerOfGroup { job: run.id.job.clone(), by: run.id.occurrence };
        for older in self.runs.others_of_group(run) {
            self.cut_short(older, reason.clone(), Some(newest));
        }
    }
}
