//! Confirmations by devices: a run subscribes to the report before its message is sent, and waits for it afterwards.

use crate::{
    commits::Waiter,
    event::{LinkId, WatchId},
    keys::RunSlot,
    mutants::{Mutation, mutated},
    outcome::Attempt,
    runs::{Phase, Report},
    scheduler::state::Scheduler,
};

impl Scheduler {
    /// Handles a report of a device.
    pub(crate) fn reported(&mut self, link: LinkId, watch: WatchId, report: Report) {
        let Some(slot) = self.delivery.watcher(link, watch) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        let already = run.confirm().is_some_and(|confirm| confirm.already);
        let Some(watch) = &mut run.watch else { return };
        if watch.take(already, report) && !matches!(run.phase, Phase::Sent(_)) {
            self.stop_waiting(slot);
            self.start_without_sending(slot);
            self.next_step(slot);
        }
    }

    /// Starts a run after its first step was confirmed without being sent: its later steps follow as if it had been.
    pub(crate) fn start_without_sending(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let (starts, is_long) = (run.has_not_started(), run.is_long());
        if starts || !mutated(Mutation::ConfirmedStepOwesNothing) {
            run.begin(self.now);
        }
        if starts {
            self.take_over(slot);
            if is_long {
                self.save_run(slot);
                if let Some(key) = self.runs.get(slot).and_then(|run| run.key) {
                    let token = self.commits.token();
                    self.commits.wait(token, Waiter::Saved(slot, key), &mut self.out);
                }
            }
        }
    }

    /// Handles the end of the wait for a report.
    pub(crate) fn not_reported(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let within_ms = run.confirm().map_or(0, |confirm| confirm.within_ms);
        let last_report = run.watch.as_mut().and_then(|watch| watch.take_last_report());
        self.attempt_failed(slot, Attempt::NoReport { within_ms, last_report });
    }
}
