//! The order of runs within a job and within a group: which run waits for which, and what it takes over.

use crate::{
    keys::{RunSlot, Seq},
    outcome::Cause,
    runs::{Run, Siblings, State},
    scheduler::state::Scheduler,
    time::Instant,
};

impl Scheduler {
    /// Holds a run that has only steps left that a newer run is to take over.
    fn yield_to_newer(&mut self, slot: RunSlot) {
        self.set_state(slot, State::Held(None));
        if let Some(siblings) = self.runs.get(slot).map(Siblings::of) {
            self.wake_next(&siblings);
        }
    }

    /// Resumes the runs that had left steps to a newer run, which never started: the steps are sent at once.
    pub(in crate::scheduler) fn resume_yielding(&mut self, now: Instant, siblings: &Siblings, heir: Seq) {
        for slot in self.runs.yielding_to(siblings, heir) {
            self.stop_yielding(now, slot);
        }
    }

    /// Resumes runs with owed steps that have been put off as long as allowed: they are sent first (I5).
    fn resume_overdue(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        let is_too_long =
            |earlier: &Run| earlier.progress.put_off_until.is_some_and(|until| earlier.yields > 0 && until <= now);
        for earlier in self.runs.yielding_to(&Siblings::of(run), run.seq) {
            if self.runs.get(earlier).is_some_and(is_too_long) {
                self.stop_yielding(now, earlier);
            }
        }
    }

    /// Makes a run send its owed steps itself after all.
    pub(in crate::scheduler) fn stop_yielding(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let was_yielding = run.is_yielding();
        (run.yields, run.heir) = (0, None);
        if was_yielding {
            self.stop_waiting(slot);
            self.await_step(now, slot);
        }
    }

    /// Returns whether a run may start; if not, it is put into the queue where it waits.
    pub(in crate::scheduler) fn may_start(&mut self, now: Instant, slot: RunSlot) -> bool {
        if !self.runs.is_alone(slot) {
            self.resume_overdue(now, slot);
            if self.runs.is_blocked(slot) {
                self.hold(slot, Cause::EarlierRun);
                return false;
            }
        }
        self.acquires_resource(now, slot)
    }

    /// Lets the next run of the job and of the group start after a run has ended.
    pub(in crate::scheduler) fn wake_next(&mut self, siblings: &Siblings) {
        for slot in self.runs.next_held(siblings).into_iter().flatten() {
            if !self.runs.is_blocked(slot) && self.runs.get(slot).is_some_and(|run| run.state != State::Waiting) {
                self.stop_waiting(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Adds a run.
    pub(in crate::scheduler) fn insert_run(&mut self, run: Run) -> RunSlot {
        debug_assert!(self.find_run(&run.id).is_none(), "I2: there are two runs {}", run.id);
        let slot = self.runs.insert(run);
        self.resume_hold(slot);
        slot
    }

    /// Waits until the current step is due.
    pub(in crate::scheduler) fn await_step(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        if run.is_yielding() {
            return self.yield_to_newer(slot);
        }
        match run.due_of(run.step()) {
            Some(due) if due > now => self.set_state(slot, State::Resting(due)),
            _ => self.enqueue(slot),
        }
    }
}
