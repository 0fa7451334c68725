//! The overlap policy: what becomes of a run that is due before earlier runs of its job have ended.

use super::Scheduler;
use crate::{
    body::Body,
    event::Step,
    keys::RunSlot,
    limits,
    model::{Misfire, Overlap},
    outcome::{Cancelled, Missed, MissedReason, Outcome, Skipped},
    runs::Run,
    time::Instant,
};

/// The decision on a run that meets earlier runs of its job.
pub(super) enum OverlapDecision {
    /// It waits or runs beside them.
    Join,
    /// None of them has started, and it replaces them.
    TakePlace,
    /// It cuts them short.
    Replace,
    /// It is skipped.
    Skip(Skipped),
}

impl Scheduler {
    /// Applies the overlap policy to a run that is due before the previous ones have ended, and the misfire policy to
    /// runs that could not start.
    pub(super) fn overlap_decision(
        &self,
        now: Instant,
        earlier: &[RunSlot],
        body: &Body,
        start: Instant,
    ) -> OverlapDecision {
        let policy = body.policy();
        let has_not_started = |slot: &&RunSlot| self.runs.get(**slot).is_some_and(Run::has_not_started);
        let waiting = u32::try_from(earlier.iter().filter(has_not_started).count()).unwrap_or(u32::MAX);
        let all = u32::try_from(earlier.len()).unwrap_or(u32::MAX);
        if policy.group().is_some() {
            return OverlapDecision::Join;
        }
        let join_up_to = |most: u32| {
            if waiting < most { OverlapDecision::Join } else { OverlapDecision::Skip(Skipped::TooManyWaiting(most)) }
        };
        let is_missed = waiting > 0 || now.ms_since(start) >= limits::LATE_MS;
        if policy.misfire == Misfire::RunAll && is_missed {
            // The earlier runs may belong to an earlier plan.
            return join_up_to(limits::RUNS_PER_JOB);
        }
        let queues = matches!(policy.overlap, Overlap::Queue(_)) && self.delivery.has_link();
        if waiting == all && !queues {
            return OverlapDecision::TakePlace;
        }
        let is_put_off_too_long = |run: &Run| {
            let until = run.first_step_left_to(body).and_then(|step| run.put_off_until(step));
            until.is_some_and(|until| until <= now)
        };
        match policy.overlap {
            Overlap::Skip => OverlapDecision::Skip(self.skipped_behind(earlier, start)),
            // I5: it would restart the time of owed steps, which have been put off as long as allowed.
            Overlap::Replace if earlier.iter().filter_map(|slot| self.runs.get(*slot)).any(is_put_off_too_long) => {
                OverlapDecision::Skip(self.skipped_behind(earlier, start))
            }
            Overlap::Queue(most) => join_up_to(most),
            Overlap::Allow(most) if all < most => OverlapDecision::Join,
            Overlap::Allow(most) => OverlapDecision::Skip(Skipped::TooManyRunning(most)),
            Overlap::Replace => OverlapDecision::Replace,
        }
    }

    /// Returns the reason for a run that is skipped because an earlier one has not ended.
    fn skipped_behind(&self, earlier: &[RunSlot], start: Instant) -> Skipped {
        let oldest = earlier.first().and_then(|slot| self.runs.get(*slot));
        Skipped::EarlierRun(oldest.map_or(start, |run| run.id.occurrence))
    }

    /// Applies the decision to the earlier runs of the job.
    pub(super) fn end_earlier_runs(
        &mut self,
        now: Instant,
        earlier: &[RunSlot],
        by: Instant,
        decision: &OverlapDecision,
        newer: RunSlot,
        out: &mut Step,
    ) {
        for slot in earlier {
            // A replay or a manual run is not superseded by the newest run.
            let is_by_hand = self.runs.get(*slot).is_some_and(|run| !run.id.origin.is_trigger());
            match decision {
                OverlapDecision::TakePlace if is_by_hand => {}
                OverlapDecision::TakePlace => {
                    let why = MissedReason::Superseded { job: None, by };
                    self.end(now, *slot, Outcome::Missed(Missed { why, several: None }), out);
                }
                OverlapDecision::Replace => self.cut_short(now, *slot, Cancelled::Replaced { by }, Some(newer), out),
                OverlapDecision::Join | OverlapDecision::Skip(_) => {}
            }
        }
    }
}
