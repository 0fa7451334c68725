//! The phases in which a run waits, and its timer.

use crate::{
    agenda::Timer,
    event::Effect,
    keys::RunSlot,
    mutants::{Mutation, mutated},
    outcome::Cause,
    runs::Phase,
    scheduler::state::Scheduler,
    time::Instant,
};

impl Scheduler {
    /// Sets a run's phase, and its timer.
    pub(crate) fn set_phase(&mut self, slot: RunSlot, phase: Phase) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.phase = phase;
        if let Some(until) = phase.until() {
            self.agenda.arm(until, Timer::Run(slot));
        }
    }

    /// Adds a run to the queue for the link.
    pub(crate) fn enqueue(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.phase = Phase::Waiting;
        let over = self.delivery.push(self.now, &run.id.plugin, run.rank(slot));
        if let Some(rate) = over {
            run.held_by = Some(Cause::OverRate { per_second: rate.per_second });
            if let Some(grace_end) = run.grace_end() {
                self.set_phase(slot, Phase::Limited(grace_end));
            }
        } else if run.is_over_rate() {
            run.held_by = None;
        }
    }

    /// Removes a run from every queue and timer it waits in.
    pub(crate) fn stop_waiting(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        match run.phase {
            Phase::Waiting => self.delivery.remove(&run.id.plugin, run.rank(slot)),
            Phase::Limited(until) => {
                self.delivery.remove(&run.id.plugin, run.rank(slot));
                self.agenda.disarm(until, Timer::Run(slot));
            }
            // The broker's answer still returns the credit.
            Phase::Sent(attempt) => self.delivery.detach_attempt(attempt),
            Phase::Asking(call) if !mutated(Mutation::EndedRunKeepsItsCall) => {
                self.delivery.end_call(call);
            }
            Phase::Arming(token) => {
                // Only once: a run may end before it waits for anything else, and this function is called again (I7).
                if self.commits.take(token).is_some() {
                    self.delivery.cancel_reservation(&run.id.plugin);
                }
            }
            phase => {
                phase.until().inspect(|until| self.agenda.disarm(*until, Timer::Run(slot)));
            }
        }
        self.leave_queue(slot);
    }

    /// Removes a run from the queue for its resource.
    pub(crate) fn leave_queue(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get(slot).filter(|run| run.holds.is_none()) {
            self.resources.leave(run, slot);
        }
    }

    /// Lets a run wait for others, until its grace ends.
    pub(crate) fn hold(&mut self, slot: RunSlot, cause: Cause) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.held_by = Some(cause);
        let until = run.grace_end();
        self.set_phase(slot, Phase::Held(until));
    }

    /// Waits before the next attempt, but not beyond the due time of an owed step that waits for this one.
    pub(crate) fn pause(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get(slot) {
            let until = self.now.plus_ms(run.pause_ms()).min(run.superseded_at().unwrap_or(Instant::MAX));
            self.set_phase(slot, Phase::Pausing(until));
        }
    }

    /// Ends a run's subscription.
    pub(crate) fn unwatch(&mut self, slot: RunSlot) {
        let Some(watch) = self.runs.get_mut(slot).and_then(|run| run.watch.take()) else { return };
        self.delivery.end_watch(watch.id);
        if let Some(link) = self.delivery.link() {
            self.out.effects.push(Effect::Unwatch { link, watch: watch.id });
        }
    }
}
