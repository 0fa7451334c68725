//! The subscriptions to reports of devices: made before a step is sent, and again after a link was lost.

use crate::{
    event::{Effect, LinkId, WatchId},
    keys::RunSlot,
    limits,
    mutants::{Mutation, mutated},
    outcome::{Attempt, Cause, Failed},
    runs::{Phase, Watch},
    scheduler::state::Scheduler,
};

impl Scheduler {
    /// Subscribes a run to its device's reports, if its step needs a confirmation. Returns whether the step can be sent
    /// now.
    pub(crate) fn ensure_subscribed(&mut self, slot: RunSlot) -> bool {
        let (Some(run), Some(link)) = (self.runs.get_mut(slot), self.delivery.link()) else { return false };
        let Some(confirm) = run.confirm().filter(|_| run.unconfirmed_step != Some(run.step())) else { return true };
        let until = match &run.watch {
            Some(watch) if watch.is_ready(confirm.already) => return true,
            Some(watch) if watch.is_subscribed => self.now.plus_ms(limits::KEPT_REPORT_MS),
            Some(_) => self.now.plus_ms(limits::SUBSCRIBE_MS),
            None => {
                let watch = self.delivery.begin_watch(slot);
                run.watch = Some(Box::new(Watch::new(watch)));
                self.out.effects.push(Effect::Watch { link, watch, confirm: confirm.into() });
                self.now.plus_ms(limits::SUBSCRIBE_MS)
            }
        };
        self.set_phase(slot, Phase::Listening(until));
        false
    }

    /// An attempt is being sent: from here on, its device's reports count.
    pub(crate) fn expect_report(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let within_ms = run.confirm().map_or(0, |confirm| confirm.within_ms);
        if let Some(watch) = &mut run.watch {
            watch.expect(self.now.plus_ms(within_ms.into()));
        }
    }

    /// Drops all subscriptions, because the link is down. Runs that wait for a report keep waiting.
    pub(crate) fn stop_listening(&mut self) {
        for (watch, slot) in self.delivery.watches() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            if matches!(run.phase, Phase::Confirming(_)) {
                continue;
            }
            run.watch = None;
            self.delivery.end_watch(watch);
            if matches!(run.phase, Phase::Listening(_)) {
                self.stop_waiting(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Subscribes again on a new link, for runs that still wait for a report.
    pub(crate) fn resubscribe(&mut self) {
        let Some(link) = self.delivery.link() else { return };
        for (watch, slot) in self.delivery.watches() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            if let Some(watch) = &mut run.watch {
                watch.restart();
            }
            if let Some(confirm) = run.confirm() {
                self.out.effects.push(Effect::Watch { link, watch, confirm: confirm.into() });
            }
        }
    }

    /// Handles a failed subscription. An owed step is sent without confirmation; any other step is not sent, and the
    /// subscription is tried again after a pause.
    fn subscribe_failed(&mut self, slot: RunSlot, reason: String) {
        self.unwatch(slot);
        let Some(run) = self.runs.get_mut(slot) else { return };
        if run.is_owed() {
            // I5: sent without confirmation, and done when the broker has it.
            if !mutated(Mutation::OwedStepWaitsForSubscription) {
                run.unconfirmed_step = Some(run.step());
            }
            let last = Attempt::Prevented(format!(
                "{}; the step was sent without confirmation",
                Cause::SubscribeFailed(reason)
            ));
            run.progress.failed.get_or_insert(Failed { step: run.step() + 1, attempts: run.progress.attempts, last });
            return self.enqueue(slot);
        }
        run.held_by = Some(Cause::SubscribeFailed(reason));
        if run.has_not_started() && !mutated(Mutation::FailedSubscriptionKeepsHold) {
            self.give_up_resource(slot);
        }
        self.save_new(slot);
        self.set_phase(slot, Phase::Pausing(self.now.plus_ms(limits::SUBSCRIBE_MS)));
    }

    /// Ends a run's wait for the subscription, or for a retained report.
    pub(crate) fn listening_ended(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        match &mut run.watch {
            Some(watch) if watch.is_subscribed => {
                watch.retained_awaited();
                self.enqueue(slot);
            }
            _ => self.subscribe_failed(slot, "the broker did not answer the subscription".into()),
        }
    }

    /// Handles the broker's answer to a subscription.
    pub(crate) fn watch_answered(&mut self, link: LinkId, watch: WatchId, refused: Option<String>) {
        let Some(slot) = self.delivery.watcher(link, watch) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        let Some(subscription) = &mut run.watch else { return };
        subscription.is_subscribed = refused.is_none();
        if !matches!(run.phase, Phase::Listening(_)) {
            return;
        }
        self.stop_waiting(slot);
        match refused {
            None => self.enqueue(slot),
            Some(reason) => self.subscribe_failed(slot, reason),
        }
    }
}
