//! The order of runs within a job and within a group: which run waits for which, and what it takes over.

use crate::{
    keys::RunSlot,
    outcome::Cause,
    runs::{Phase, Run},
    scheduler::state::Scheduler,
};

impl Scheduler {
    /// Makes a run send the owed steps itself that it has left to a newer run. That must not start by a report any more.
    pub(crate) fn stop_yielding(&mut self, slot: RunSlot) {
        let was_yielding = self.runs.get(slot).is_some_and(Run::is_yielding);
        let newer = self.runs.leave_steps(slot, 0, None);
        if was_yielding {
            self.stop_waiting(slot);
            self.await_step(slot);
        }
        if let Some(newer) = newer.filter(|newer| self.runs.get(*newer).is_some_and(Run::listens_for_its_start)) {
            self.unwatch(newer);
            self.stop_waiting(newer);
            self.enqueue(newer);
        }
    }

    /// Returns whether a run may start; if not, it is put into the queue where it waits.
    pub(crate) fn may_start(&mut self, slot: RunSlot) -> bool {
        let Some(run) = self.runs.get(slot) else { return false };
        for earlier in self.runs.yielding_to(run) {
            let until = self.runs.get(earlier).and_then(|earlier| earlier.progress.put_off_until);
            if until.is_some_and(|until| until <= self.now) {
                // Its steps have been put off as long as allowed, and are sent first (I5).
                self.stop_yielding(earlier);
            }
        }
        if self.runs.is_blocked(slot) {
            self.hold(slot, Cause::EarlierRun);
            return false;
        }
        self.acquires_resource(slot)
    }

    /// Lets runs start that have waited for another one.
    pub(crate) fn wake_held(&mut self, held: [Option<RunSlot>; 2]) {
        for slot in held.into_iter().flatten() {
            if !self.runs.is_blocked(slot) && self.runs.get(slot).is_some_and(|run| run.phase != Phase::Waiting) {
                self.stop_waiting(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Adds a run.
    pub(crate) fn insert_run(&mut self, run: Run) -> RunSlot {
        debug_assert!(self.find_run(&run.id).is_none(), "I2: there are two runs {}", run.id);
        let slot = self.runs.insert(run);
        self.resume_hold(slot);
        slot
    }

    /// Waits until the current step is due.
    pub(crate) fn await_step(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        if run.is_yielding() {
            // The newer run does not wait for it.
            let held = self.runs.next_held(run);
            self.set_phase(slot, Phase::Held(None));
            return self.wake_held(held);
        }
        match run.due_of(run.step()) {
            Some(due) if due > self.now => self.set_phase(slot, Phase::Resting(due)),
            _ => self.enqueue(slot),
        }
    }
}
