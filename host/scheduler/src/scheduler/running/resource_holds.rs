//! Holds of resources: for how long, and what becomes of one when its run ends, yields or cannot start.

use crate::{
    agenda::Timer,
    keys::RunSlot,
    mutants::{Mutation, mutated},
    names::ResourceName,
    outcome::Cause,
    runs::Entry,
    scheduler::state::Scheduler,
    time::Instant,
};

impl Scheduler {
    /// Returns the run that yields to this one and holds its resource, if there is one: the two count as one.
    fn lender(&self, slot: RunSlot) -> Option<RunSlot> {
        let run = self.runs.get(slot).filter(|run| run.policy.needs.is_some() && run.holds.is_none())?;
        let lends = |slot: &RunSlot| self.runs.get(*slot).is_some_and(|run| run.holds.is_some() && run.is_yielding());
        self.runs.yielding_to(run).into_iter().find(lends)
    }

    /// Measures the hold of a run from its start on, or takes it over from the run that yields to it.
    pub(crate) fn begin_hold(&mut self, slot: RunSlot) {
        if self.drop_hold(slot).is_some() {
            // While it waited for its start, it did not use the resource.
            self.take_hold(slot, self.now);
        } else if let Some(lender) = self.lender(slot).filter(|_| !mutated(Mutation::HoldIsNotPassedOn))
            && let Some(since) = self.drop_hold(lender)
        {
            self.take_hold(slot, since);
        }
    }

    /// Gives a run its resource, until it ends or the hold expires.
    pub(crate) fn take_hold(&mut self, slot: RunSlot, since: Instant) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        self.resources.hold(run, slot);
        run.holds = Some(since);
        if let Some(until) = self.resources.held_until(run, since).filter(|_| !mutated(Mutation::HoldNeverExpires)) {
            self.agenda.arm(until, Timer::Hold(slot));
        }
    }

    /// Ends a run's hold of its resource. Returns since when it had it.
    pub(crate) fn drop_hold(&mut self, slot: RunSlot) -> Option<Instant> {
        let run = self.runs.get_mut(slot)?;
        let since = run.holds.take()?;
        self.resources.drop_hold(run, slot);
        let until = self.resources.held_until(run, since);
        until.inspect(|until| self.agenda.disarm(*until, Timer::Hold(slot)));
        Some(since)
    }

    /// Releases the resource of a run that has not started. Until it has the resource again it is not subscribed to its
    /// device's reports, because a report would start it.
    pub(crate) fn give_up_resource(&mut self, slot: RunSlot) {
        if self.runs.get(slot).is_some_and(|run| run.holds.is_some()) || self.lender(slot).is_some() {
            self.unwatch(slot);
        }
        self.release_hold(slot);
    }

    /// Ends a run's hold of its resource, which is free for the next run in the queue.
    pub(crate) fn release_hold(&mut self, slot: RunSlot) {
        let needs = self.runs.get(slot).and_then(|run| run.policy.needs.clone());
        if self.drop_hold(slot).is_some()
            && let Some(name) = needs
        {
            self.release(&name);
        }
    }

    /// Gives a free resource to the first run in its queue.
    pub(crate) fn release(&mut self, name: &ResourceName) {
        let Some(slot) = self.resources.next(name) else { return };
        self.take_hold(slot, self.now);
        self.stop_waiting(slot);
        self.enqueue(slot);
    }

    /// Returns whether a run holds its resource, or needs none; if not, the run waits for its turn.
    pub(crate) fn acquires_resource(&mut self, slot: RunSlot) -> bool {
        let Some(run) = self.runs.get(slot) else { return false };
        let Some(name) = run.policy.needs.clone().filter(|_| run.holds.is_none()) else { return true };
        if self.lender(slot).is_some() {
            return true;
        }
        let Some(run) = self.runs.get(slot) else { return false };
        match self.resources.enter(run, slot) {
            None => true,
            Some(Entry::Granted) => {
                self.take_hold(slot, self.now);
                true
            }
            Some(Entry::Queued) => {
                self.hold(slot, Cause::Taken(name));
                false
            }
        }
    }

    /// Gives a run that started before the host did the hold that it had. One that owes steps and has held the resource for
    /// too long continues without; a first step that has been tried for too long is given up at once.
    pub(crate) fn resume_hold(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        if let Some(started) = run.progress.started
            && !mutated(Mutation::CrashReleasesHold)
            && let Some(until) = self.resources.held_until(run, started)
            && (until > self.agenda.since() || !run.is_owed())
        {
            self.take_hold(slot, started);
        }
    }
}
