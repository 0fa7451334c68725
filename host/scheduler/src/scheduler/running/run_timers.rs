//! What happens at the end of a run's wait.

use crate::{
    event::Change, keys::RunSlot, outcome::Attempt, runs::Phase, scheduler::state::Scheduler, trigger::Duration,
};

impl Scheduler {
    /// Handles the end of a run's wait.
    pub(crate) fn run_timer(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        match run.phase {
            Phase::Confirming(_) => self.not_reported(slot),
            Phase::Listening(_) => self.listening_ended(slot),
            Phase::Limited(_) => self.rate_grace_ended(slot),
            _ => {
                self.leave_queue(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Handles the end of the grace of a run that waits for its plugin's rate.
    fn rate_grace_ended(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        // It keeps waiting if something else holds it up.
        run.phase = Phase::Waiting;
        let is_decided = self.delivery.has_link() && !self.stopping && !self.failing;
        let run = self.runs.get(slot).filter(|run| is_decided && self.start_refusal(run).is_some());
        if let Some(run) = run {
            self.delivery.remove(&run.id.plugin, run.rank(slot));
            self.attempt(slot);
        }
    }

    /// Handles the expiry of a hold: others have their turn (I7). A run that has not started returns to the queue, a
    /// first step is given up, and owed steps continue without the resource (I5).
    pub(crate) fn hold_expired(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let (Some(since), Some(name)) = (run.holds, run.policy.needs.clone()) else { return };
        if run.has_not_started() {
            let listens = run.listens_for_its_start();
            self.give_up_resource(slot);
            if listens {
                self.stop_waiting(slot);
                self.enqueue(slot);
            }
            return;
        }
        let held = Duration(self.now.ms_since(since).unsigned_abs());
        let id = run.id.clone();
        if !run.is_owed() {
            if matches!(run.phase, Phase::Sent(_)) {
                run.on_the_wire = true;
            }
            let why = format!("it was tried for {held}, the longest time for which `{name}` may be held");
            self.stop_waiting(slot);
            self.give_up_step(slot, Attempt::Prevented(why));
        }
        let Some(run) = self.runs.get_mut(slot).filter(|run| run.id == id && run.holds.is_some()) else { return };
        let earlier_note = run.progress.note.as_ref().map(|note| format!("{note}; ")).unwrap_or_default();
        run.progress.note =
            Some(format!("{earlier_note}it held `{name}` for {held}, and released it while steps were owed").into());
        self.out.changes.push(Change::ResourceFreed {
            run: id,
            resource: name.clone(),
            held_ms: self.now.ms_since(since),
        });
        self.save_progress_of(slot);
        self.drop_hold(slot);
        self.stop_yielding(slot);
        self.release(&name);
    }
}
