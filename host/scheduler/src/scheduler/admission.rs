//! From jobs to runs: due occurrences, and how they are admitted.

use super::{Scheduler, view::NextRun};
use crate::{
    agenda::Timer,
    body::{Body, PackedJob},
    catalog::JobState,
    event::{Change, DeviceKey, JobKey, RunEnded, Step},
    keys::RunSlot,
    limits,
    model::{Overlap, Policy},
    mutation::{Mutation, mutated},
    names::RunId,
    occurrence::Next,
    outcome::{Cancelled, Cause, Missed, MissedReason, Outcome},
    policy::{grace, overlap},
    runs::Run,
    time::{Instant, Site},
};

impl From<Next> for NextRun {
    fn from(next: Next) -> Self {
        match next {
            Next::Due { occurrence, .. } => Self::Due(occurrence),
            Next::Search(until) => Self::NotBefore(until),
            Next::Never => Self::Never,
        }
    }
}

/// A due occurrence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) occurrence: Instant,
    /// The jitter of its run, in milliseconds.
    pub(super) jitter_ms: u32,
    /// What the job waits for after it.
    pub(super) following: Next,
}

impl Scheduler {
    /// Admits a due occurrence as a run, or records why not.
    pub(super) fn admit(&mut self, now: Instant, key: JobKey, due: Due, out: &mut Step) {
        let Due { occurrence, jitter_ms, following } = due;
        let id = self.run_id(key, occurrence);
        let Some(state) = self.catalog.job(key) else { return };
        let (body, planned_late) = (state.job.body.clone(), state.planned_late);
        let policy = body.policy();
        let start = occurrence.plus_ms(jitter_ms.into());
        for earlier in self.runs.of_job(key).collect::<Vec<_>>() {
            self.end_if_given_up(now, earlier, out);
            // The end of the earlier run may have armed it for this occurrence.
            self.disarm_timer(key);
        }
        let earlier: Vec<RunSlot> = self.runs.of_job(key).collect();
        let decision = self.decide_overlap(now, &earlier, &body, &policy, start);
        if !matches!(decision, overlap::Decision::TakePlace) {
            // I2: the stored watermark does not pass an unsaved run, so only the last run may be unsaved.
            self.save_runs_of(key, out);
        }
        let Some(state) = self.catalog.job_mut(key) else { return };
        if !mutated(Mutation::AdmittedOccurrenceIsUndecided) {
            state.watermark = occurrence;
        }
        state.next = following;
        self.arm_timer(key);

        if let overlap::Decision::Skip(skipped) = decision {
            return self.decide(now, key, id, Outcome::Skipped(skipped), out);
        }
        if grace::is_over(&policy, start, now) {
            let (late_ms, cause) = (now.ms_since(start), self.cause_of(occurrence, planned_late));
            let why = MissedReason::TooLate { late_ms, grace_ms: policy.grace_ms, cause };
            return self.decide(now, key, id, Outcome::Missed(Missed { why, several: None }), out);
        }
        let group = policy.group().cloned();
        let slot = self.insert_run(Run::new(id.clone(), Some(key), body, policy, start));
        if let Some(group) = group {
            self.replace_in_group(now, slot, &id, &group, out);
        } else {
            self.end_earlier_runs(now, &earlier, occurrence, &decision, slot, out);
        }
        if self.runs.count_of_job(key) > 1 {
            self.save_run(slot, out);
        }
        self.await_step(now, slot);
    }

    /// Decides what becomes of a run that is due before the earlier ones have ended.
    fn decide_overlap(
        &self,
        now: Instant,
        earlier: &[RunSlot],
        body: &Body,
        policy: &Policy,
        start: Instant,
    ) -> overlap::Decision {
        let runs = || earlier.iter().filter_map(|slot| self.runs.get(*slot));
        let Some(first) = runs().next() else { return overlap::Decision::Join };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let is_put_off_too_long = |run: &Run| {
            let until = run.first_step_left_to(body).and_then(|step| run.put_off_until(step));
            until.is_some_and(|until| until <= now)
        };
        let earlier = overlap::Earlier {
            all: count(earlier.len()),
            waiting: count(runs().filter(|run| run.has_not_started()).count()),
            first: first.id.occurrence,
            put_off_too_long: policy.overlap == Overlap::Replace && runs().any(is_put_off_too_long),
        };
        overlap::decide(policy, &earlier, now.ms_since(start) >= limits::LATE_MS, self.delivery.has_link())
    }

    /// Applies the decision to the earlier runs of the job.
    fn end_earlier_runs(
        &mut self,
        now: Instant,
        earlier: &[RunSlot],
        by: Instant,
        decision: &overlap::Decision,
        newer: RunSlot,
        out: &mut Step,
    ) {
        for slot in earlier {
            // A replay or a manual run is not superseded by the newest run.
            let is_by_hand = self.runs.get(*slot).is_some_and(|run| !run.id.origin.is_trigger());
            match decision {
                overlap::Decision::TakePlace if is_by_hand => {}
                overlap::Decision::TakePlace => {
                    let why = MissedReason::Superseded { job: None, by };
                    self.end(now, *slot, Outcome::Missed(Missed { why, several: None }), out);
                }
                overlap::Decision::Replace => self.cut_short(now, *slot, Cancelled::Replaced { by }, Some(newer), out),
                overlap::Decision::Join | overlap::Decision::Skip(_) => {}
            }
        }
    }

    /// Returns what held up an occurrence that has passed.
    pub(super) fn cause_of(&self, occurrence: Instant, planned_late: bool) -> Cause {
        if planned_late {
            Cause::PlannedLate
        } else if self.agenda.was_skipped_by_clock(occurrence) {
            Cause::ClockSet
        } else {
            Cause::HostAway
        }
    }

    /// Records the outcome of an occurrence that does not become a run (I13).
    pub(super) fn decide(&mut self, now: Instant, key: JobKey, id: RunId, outcome: Outcome, out: &mut Step) {
        let ended = RunEnded { key: None, id, outcome, body: None, started: None, ended: now, attempts: 0, note: None };
        out.changes.push(Change::RunEnded(ended));
        self.save_progress(key, out);
    }

    /// Saves a job's watermark. I2: the stored watermark does not pass an unsaved run.
    pub(super) fn save_progress(&self, key: JobKey, out: &mut Step) {
        let (Some((watermark, due)), Some(state)) = (self.progress(key), self.catalog.job(key)) else { return };
        out.changes.push(Change::JobAdvanced { key, watermark, due, decided: state.decided });
    }

    /// Returns the watermark and the next occurrence of a job, as they are to be stored.
    pub(super) fn progress(&self, key: JobKey) -> Option<(Instant, Option<Instant>)> {
        let state = self.catalog.job(key)?;
        let mut runs = self.runs.of_job(key).filter_map(|slot| self.runs.get(slot));
        let unsaved = runs.find(|run| run.key.is_none() && !mutated(Mutation::WatermarkPassesUnsavedRun));
        Some(match unsaved {
            Some(run) => (run.id.occurrence.plus_ms(-1), Some(run.id.occurrence)),
            None => (state.watermark, state.next.due()),
        })
    }

    /// Returns what a job waits for after an occurrence.
    pub(super) fn next_after(&mut self, key: JobKey, after: Instant, site: &Site) -> Next {
        let Self { agenda, catalog, .. } = self;
        let (Some(state), origin) = (catalog.job(key), agenda.origin()) else { return Next::Never };
        agenda.next(&state.job, after, site, |at| catalog.run_of(&state.job, state.device, at, origin))
    }

    /// Returns what a job of a device waits for after an instant.
    pub(super) fn next_of(&mut self, job: &PackedJob, device: DeviceKey, after: Instant, site: &Site) -> Next {
        let Self { agenda, catalog, .. } = self;
        let origin = agenda.origin();
        agenda.next(job, after, site, |at| catalog.run_of(job, device, at, origin))
    }

    /// Returns the jitter of a run, in milliseconds.
    pub(super) fn jitter_of(&mut self, job: &PackedJob, device: DeviceKey, occurrence: Instant, site: &Site) -> u32 {
        let Self { agenda, catalog, .. } = self;
        let origin = agenda.origin();
        agenda.jitter_of(job, occurrence, site, |at| catalog.run_of(job, device, at, origin))
    }

    /// Continues the search for a job's next occurrence.
    pub(super) fn search(&mut self, key: JobKey, after: Instant, out: &mut Step) {
        let Some(site) = self.catalog.site_of(key) else { return };
        let next = self.next_after(key, after, &site);
        if let Some(state) = self.catalog.job_mut(key) {
            state.next = next;
        }
        self.arm_timer(key);
        if next.due().is_some() {
            self.save_progress(key, out);
        }
    }

    /// Arms a job's timer, unless its plan is not durable yet.
    pub(super) fn arm_timer(&mut self, key: JobKey) {
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

    pub(super) fn disarm_timer(&mut self, key: JobKey) {
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
    pub(super) fn leave_group(&mut self, key: JobKey, at: Instant) {
        if let Some(group) = self.catalog.group_of(key) {
            self.agenda.leave_group(&group, at, key);
        }
    }

    /// Returns the id of the run of one occurrence of a job (I2).
    pub(super) fn run_id(&self, key: JobKey, occurrence: Instant) -> RunId {
        let state = self.catalog.job(key).expect("the caller has the job");
        self.catalog.run_of(&state.job, state.device, occurrence, self.agenda.origin())
    }
}
