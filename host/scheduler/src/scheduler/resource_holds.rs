//! Holds of resources: for how long, and what becomes of one when its run ends, yields or cannot start.

use super::state::Scheduler;
use crate::{
    agenda::Timer,
    event::Step,
    keys::RunSlot,
    limits,
    mutation::{Mutation, mutated},
    names::{ResourceName, RunId},
    outcome::Cause,
    runs::{Entry, Hold, Siblings},
    time::Instant,
};

impl Scheduler {
    /// Returns runs that hold a resource; only some of them if there are many.
    pub fn holders_of(&self, resource: &ResourceName) -> impl Iterator<Item = &RunId> {
        let holders = self.resources.holders(resource).take(limits::HOLDERS_PER_VIEW);
        holders.filter_map(|slot| self.runs.get(slot)).map(|run| &run.id)
    }

    /// Takes over the resource from a run that yields to this one, if there is one. Returns whether it did.
    fn inherits_resource(&mut self, slot: RunSlot) -> bool {
        let Some((siblings, seq)) = self.runs.get(slot).map(|run| (Siblings::of(run), run.seq)) else { return false };
        let yields = |slot: &RunSlot| self.runs.get(*slot).is_some_and(|run| run.holds.is_some() && run.is_yielding());
        let holder = self.runs.yielding_to(&siblings, seq).into_iter().find(yields);
        let started = holder.and_then(|holder| self.runs.get(holder)).and_then(|run| run.progress.started);
        let Some(hold) = holder.and_then(|holder| self.drop_hold(holder)) else { return false };
        // While it waited for its start, it did not use the resource.
        let since = started.filter(|_| !hold.inherited).unwrap_or(hold.since);
        self.take_hold(slot, since, true);
        true
    }

    /// Gives a run its resource, until it ends or the hold expires.
    fn take_hold(&mut self, slot: RunSlot, since: Instant, inherited: bool) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        self.resources.hold(run, slot);
        let until = self.resources.held_until(run, since).unwrap_or(Instant::MAX);
        run.holds = Some(Hold { since, inherited, until });
        if !mutated(Mutation::HoldNeverExpires) {
            self.agenda.arm(until, Timer::Hold(slot));
        }
    }

    /// Ends a run's hold of its resource.
    pub(super) fn drop_hold(&mut self, slot: RunSlot) -> Option<Hold> {
        let run = self.runs.get_mut(slot)?;
        let hold = run.holds.take()?;
        self.resources.drop_hold(run, slot);
        self.agenda.disarm(hold.until, Timer::Hold(slot));
        Some(hold)
    }

    /// Returns the hold of a run that never started to the run that had yielded to it.
    pub(super) fn return_hold(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot).filter(|run| run.holds.is_some_and(|hold| hold.inherited)) else { return };
        let giver = self.runs.yielding_to(&Siblings::of(run), run.seq).into_iter().find(|giver| {
            let giver = self.runs.get(*giver);
            giver.is_some_and(|giver| giver.policy.needs == run.policy.needs && giver.holds.is_none())
        });
        let Some(giver) = giver else { return };
        if let Some(hold) = self.drop_hold(slot) {
            self.take_hold(giver, hold.since, true);
        }
    }

    /// Releases the resource of a run that has not started. Until it has the resource again it is not subscribed to its
    /// device's reports, because a report would start it.
    pub(super) fn give_up_resource(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        if self.runs.get(slot).is_some_and(|run| run.holds.is_some()) {
            self.unwatch(slot, out);
        }
        self.return_hold(slot);
        self.release_hold(now, slot);
    }

    /// Ends a run's hold of its resource, which is free for the next run in the queue.
    pub(super) fn release_hold(&mut self, now: Instant, slot: RunSlot) {
        let needs = self.runs.get(slot).and_then(|run| run.policy.needs.clone());
        if self.drop_hold(slot).is_some()
            && let Some(name) = needs
        {
            self.release(now, &name);
        }
    }

    /// Gives a free resource to the first run in its queue.
    pub(super) fn release(&mut self, now: Instant, name: &ResourceName) {
        let Some(slot) = self.resources.next(name) else { return };
        self.take_hold(slot, now, false);
        self.stop_waiting(slot);
        self.enqueue(slot);
    }

    /// Returns whether a run holds its resource, or needs none; if not, the run waits for its turn.
    pub(super) fn acquires_resource(&mut self, now: Instant, slot: RunSlot) -> bool {
        let Some(run) = self.runs.get(slot) else { return false };
        let Some(name) = run.policy.needs.clone().filter(|_| run.holds.is_none()) else { return true };
        if self.inherits_resource(slot) {
            return true;
        }
        let Some(run) = self.runs.get(slot) else { return false };
        match self.resources.enter(run, slot) {
            None => true,
            Some(Entry::Granted) => {
                self.take_hold(slot, now, false);
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
    pub(super) fn resume_hold(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        if let Some(started) = run.progress.started
            && !mutated(Mutation::CrashReleasesHold)
            && let Some(until) = self.resources.held_until(run, started)
            && (until > self.agenda.since() || !run.is_owed())
        {
            self.take_hold(slot, started, false);
        }
    }
}
