//! Confirmations by devices: a run subscribes to the report before its message is sent, and waits for it afterwards.

use super::{
    LinkId, RunSlot, Scheduler, WatchId,
    run::{Run, State},
};
use crate::{
    event::{Effect, Step},
    limits,
    mutation::{Mutation, mutated},
    outcome::{Attempt, Cause, Failed},
    time::Instant,
};

/// A run's subscription to reports of its device.
#[derive(Debug)]
pub(super) struct Watch {
    id: WatchId,
    /// Whether the broker has accepted the subscription.
    is_subscribed: bool,
    /// Whether the wait for a retained report has ended, if it counts.
    has_awaited_retained: bool,
    /// Whether an attempt was sent: only then do reports count.
    counts_reports: bool,
    pub(super) has_reported: bool,
    /// When the wait for the report ends.
    pub(super) until: Option<Instant>,
    /// The beginning of its last report that did not match.
    last_report: Option<String>,
}

/// A report of a device.
pub(super) struct Report {
    pub(super) matches: bool,
    pub(super) retained: bool,
    pub(super) excerpt: String,
}

impl Run {
    /// Returns whether the device has confirmed the step although the attempt that just ended was never sent. Without
    /// an earlier attempt, only a report that counts regardless of its cause does; any other one is discarded, and the
    /// next one is waited for.
    pub(super) fn take_counting_report(&mut self) -> bool {
        let already = self.confirm().is_some_and(|confirm| confirm.already);
        let Some(watch) = &mut self.watch else { return false };
        if already || self.progress.attempts > 0 {
            return watch.has_reported;
        }
        (watch.counts_reports, watch.has_reported) = (false, false);
        false
    }
}

impl Scheduler {
    /// Subscribes a run to its device's reports, if its step needs a confirmation. Returns whether the step can be sent
    /// now.
    pub(super) fn ensure_subscribed(&mut self, now: Instant, slot: RunSlot, out: &mut Step) -> bool {
        let (Some(run), Some(link)) = (self.runs.get_mut(slot), &self.link) else { return false };
        let Some(confirm) = run.confirm().filter(|_| run.unconfirmed_step != Some(run.step())) else { return true };
        let until = match &run.watch {
            Some(watch) if watch.is_subscribed && (watch.has_awaited_retained || !confirm.already) => return true,
            Some(watch) if watch.is_subscribed => now.plus_ms(limits::KEPT_REPORT_MS),
            Some(_) => now.plus_ms(limits::SUBSCRIBE_MS),
            None => {
                let watch = self.next_watch;
                self.next_watch += 1;
                self.watches.insert(watch, slot);
                run.watch = Some(Box::new(Watch {
                    id: watch,
                    is_subscribed: false,
                    has_awaited_retained: false,
                    counts_reports: false,
                    has_reported: false,
                    until: None,
                    last_report: None,
                }));
                out.effects.push(Effect::Watch { link: link.id, watch, confirm: confirm.into() });
                now.plus_ms(limits::SUBSCRIBE_MS)
            }
        };
        self.set_state(slot, State::Listening(until));
        false
    }

    /// Handles the broker's answer to a subscription.
    pub(super) fn watch_answered(
        &mut self,
        now: Instant,
        link: LinkId,
        watch: WatchId,
        refused: Option<String>,
        out: &mut Step,
    ) {
        let Some(slot) = self.watcher(link, watch) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        let Some(subscription) = &mut run.watch else { return };
        subscription.is_subscribed = refused.is_none();
        if !matches!(run.state, State::Listening(_)) {
            return;
        }
        self.stop_waiting(slot);
        match refused {
            None => self.enqueue(slot),
            Some(reason) => self.subscribe_failed(now, slot, reason, out),
        }
    }

    /// Ends a run's wait for the subscription, or for a retained report.
    pub(super) fn listening_ended(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        match &mut run.watch {
            Some(watch) if watch.is_subscribed => {
                watch.has_awaited_retained = true;
                self.enqueue(slot);
            }
            _ => self.subscribe_failed(now, slot, "the broker did not answer the subscription".into(), out),
        }
    }

    /// Handles a failed subscription. An owed step is sent without confirmation; any other step is not sent, and the
    /// subscription is tried again after a pause.
    fn subscribe_failed(&mut self, now: Instant, slot: RunSlot, reason: String, out: &mut Step) {
        self.unwatch(slot, out);
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
            self.give_up_resource(now, slot, out);
        }
        self.save_waiting(slot, out);
        self.set_state(slot, State::Pausing(now.plus_ms(limits::SUBSCRIBE_MS)));
    }

    /// An attempt is being sent: from here on, its device's reports count.
    pub(super) fn expect_report(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let within_ms = run.confirm().map_or(0, |confirm| confirm.within_ms);
        if let Some(watch) = &mut run.watch {
            (watch.counts_reports, watch.has_reported, watch.last_report) = (true, false, None);
            watch.until = Some(now.plus_ms(within_ms.into()));
        }
    }

    /// Handles a report of a device.
    pub(super) fn reported(&mut self, now: Instant, link: LinkId, watch: WatchId, report: Report, out: &mut Step) {
        let Some(slot) = self.watcher(link, watch) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        let already = run.confirm().is_some_and(|confirm| confirm.already);
        let Some(watch) = &mut run.watch else { return };
        // An earlier state proves nothing, unless the step accepts it.
        let is_earlier = !watch.counts_reports || report.retained;
        if is_earlier && !already && !mutated(Mutation::EarlierReportCounts) {
            return;
        }
        if !report.matches {
            watch.last_report = Some(report.excerpt);
            return;
        }
        watch.has_reported = true;
        if !matches!(run.state, State::Sent(_)) {
            self.stop_waiting(slot);
            self.start_without_sending(now, slot, out);
            self.next_step(now, slot, out);
        }
    }

    /// Starts a run after its first step was confirmed without being sent: its later steps follow as if it had been.
    pub(super) fn start_without_sending(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let (starts, is_long) = (run.has_not_started(), run.is_long());
        if starts || !mutated(Mutation::ConfirmedStepOwesNothing) {
            run.begin(now);
        }
        if starts {
            self.take_over(now, slot, out);
            if is_long {
                self.save_run(slot, out);
                let token = self.commit_token();
                let key = self.runs.get(slot).and_then(|run| run.key);
                self.saving.extend(key.map(|key| (token, (slot, key))));
                out.effects.push(Effect::NotifyDurable(token));
            }
        }
    }

    /// Handles the end of the wait for a report.
    pub(super) fn not_reported(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let within_ms = run.confirm().map_or(0, |confirm| confirm.within_ms);
        let last_report = run.watch.as_mut().and_then(|watch| watch.last_report.take());
        self.attempt_failed(now, slot, Attempt::NoReport { within_ms, last_report }, out);
    }

    fn watcher(&self, link: LinkId, watch: WatchId) -> Option<RunSlot> {
        self.link.as_ref().filter(|up| up.id == link)?;
        self.watches.get(&watch).copied()
    }

    /// Ends a run's subscription.
    pub(super) fn unwatch(&mut self, slot: RunSlot, out: &mut Step) {
        let Some(watch) = self.runs.get_mut(slot).and_then(|run| run.watch.take()) else { return };
        self.watches.remove(&watch.id);
        if let Some(link) = &self.link {
            out.effects.push(Effect::Unwatch { link: link.id, watch: watch.id });
        }
    }

    /// Drops all subscriptions, because the link is down. Runs that wait for a report keep waiting.
    pub(super) fn stop_listening(&mut self) {
        let all: Vec<(WatchId, RunSlot)> = self.watches.iter().map(|(watch, slot)| (*watch, *slot)).collect();
        for (watch, slot) in all {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            if matches!(run.state, State::Confirming(_)) {
                continue;
            }
            run.watch = None;
            self.watches.remove(&watch);
            if matches!(run.state, State::Listening(_)) {
                self.stop_waiting(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Subscribes again on a new link, for runs that still wait for a report.
    pub(super) fn resubscribe(&mut self, out: &mut Step) {
        let Some(link) = &self.link else { return };
        for (watch, slot) in &self.watches {
            let Some(run) = self.runs.get_mut(*slot) else { continue };
            if let Some(watch) = &mut run.watch {
                (watch.is_subscribed, watch.has_awaited_retained) = (false, false);
            }
            if let Some(confirm) = run.confirm() {
                out.effects.push(Effect::Watch { link: link.id, watch: *watch, confirm: confirm.into() });
            }
        }
    }
}
