//! Attempts at steps: what must be durable before one is sent, how it ends, and what follows a failed one.

use crate::{
    agenda::Timer,
    budget::Budget,
    commits::Waiter,
    event::{AttemptId, Effect, LinkId, Publish, Refusal},
    keys::RunSlot,
    limits,
    mutants::{Mutation, mutated},
    outcome::{Attempt, Cause, Late, Outcome},
    runs::{Phase, Run},
    scheduler::state::Scheduler,
    time::Instant,
    topic::Topic,
    work_queue::Work,
};

impl Scheduler {
    /// Makes the next attempt of a run.
    pub(crate) fn attempt(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        if self.failing && !run.can_continue_unsaved() {
            // Nothing that is not stored is started, and nothing can be armed.
            return;
        }
        if run.has_not_started() {
            if let Some(outcome) = self.start_refusal(run) {
                if run.progress.attempts > 0 && matches!(outcome, Outcome::Missed(_)) {
                    // It was in time, but its plugin returned no messages.
                    let last = run.last.clone();
                    return self.give_up_step(slot, last);
                }
                return self.end(slot, outcome);
            }
            if !self.may_start(slot) {
                // A report would start it.
                self.unwatch(slot);
                return self.save_new(slot);
            }
        }
        let Some(run) = self.runs.get(slot) else { return };
        if run.is_unsent_heir()
            && let Some(why) = self.start_refusal(run)
        {
            return self.give_up_step(slot, Attempt::Prevented(format!("it was not sent: {why}")));
        }
        if run.has_waited_for_subscriber(self.now) {
            return self.done_without_subscriber(slot);
        }
        if run.is_overtaken(self.now) || run.is_given_up(self.now) {
            let last = if run.progress.attempts > 0 { run.last.clone() } else { Attempt::Overtaken };
            return self.give_up_step(slot, last);
        }
        if run.body.asks_plugin() {
            return self.call_plugin(slot);
        }
        if self.ensure_subscribed(slot) || mutated(Mutation::StepIsSentBeforeSubscription) {
            self.send(slot);
        }
    }

    /// Sends the current step, as soon as the changes that it depends on are durable.
    fn send(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot).filter(|_| self.delivery.has_link()) else { return };
        self.delivery.reserve(self.now, &run.id.plugin);
        run.progress.attempts += 1;
        run.tried_since.get_or_insert(self.now);
        let starts = run.has_not_started();
        run.progress.started.get_or_insert(self.now);
        if starts {
            self.take_over(slot);
        }
        let Some(run) = self.runs.get_mut(slot) else { return };
        let once = run.is_spent();
        run.progress.armed = once && !mutated(Mutation::OnceIsNotArmed);
        // I3: a run with later steps is stored before its first step is sent, a step marked `once` is stored before it
        // is sent, and each completed step before the next one is sent: after a crash, no earlier step is sent after a
        // later one. A run that outlives its job's plan is stored with that plan.
        let must_be_saved = once || (run.is_long() && !mutated(Mutation::LongRunIsUnsaved));
        if run.key.is_none() && must_be_saved {
            self.save_run(slot);
        } else if once || (starts && run.is_long()) {
            self.save_progress_of(slot);
        }
        let is_unsaved = self.runs.get(slot).is_some_and(|run| run.key.is_none());
        if is_unsaved || self.failing || mutated(Mutation::StepIsSentBeforeDurable) {
            return self.publish(slot);
        }
        let token = self.commits.token();
        self.set_phase(slot, Phase::Arming(token));
        self.commits.wait(token, Waiter::Attempt(slot), &mut self.out);
    }

    pub(crate) fn attempt_durable(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.is_durable = true;
        let is_first = run.step() == 0 && run.progress.attempts == 1 && !mutated(Mutation::SlowCommitIsUnchecked);
        let is_too_late =
            |run: &Run| if is_first { self.start_refusal(run).is_some() } else { run.is_overtaken(self.now) };
        if self.runs.get(slot).is_some_and(is_too_late) {
            // The commit took too long.
            self.cancel_attempt(slot);
            return self.enqueue(slot);
        }
        self.publish(slot);
    }

    /// Handles a failure of the store: only owed steps are sent from here on.
    pub(crate) fn store_failed(&mut self) {
        self.failing = true;
        for work in self.work.take_all() {
            // Queued requests are refused.
            if let Work::Schedule(request, _) | Work::Cancel(request, _) = work {
                self.out.effects.push(Effect::Answer { request, answer: Err(Refusal::Stopping) });
            }
        }
        for slot in self.commits.take_attempts() {
            self.cancel_attempt(slot);
            self.enqueue(slot);
        }
        let yielding: Vec<RunSlot> = self.runs.iter().filter(|(_, run)| run.yields > 0).map(|(slot, _)| slot).collect();
        for slot in yielding {
            // The newer run does not start any more: the steps are sent with the resource that they had.
            self.stop_yielding(slot);
        }
    }

    /// Cancels an attempt that was about to be sent.
    fn cancel_attempt(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get(slot) {
            self.delivery.cancel_reservation(&run.id.plugin);
        }
        self.undo_attempt(slot);
    }

    /// Sends the message.
    fn publish(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let Some((link, attempt)) = self.delivery.begin_attempt(self.now, &run.id.plugin, slot) else { return };
        run.phase = Phase::Sent(attempt);
        let due = run.due_of(run.step()).unwrap_or(self.now);
        let late_ms = self.now.ms_since(due);
        if run.is_owed() && late_ms >= run.progress.late.map_or(limits::LATE_MS, |late| late.late_ms) {
            run.progress.late = Some(Late { step: run.step() + 1, late_ms });
        }
        let publish = Publish {
            link,
            attempt,
            run: run.id.clone(),
            due,
            number: run.progress.attempts,
            expiry_ms: run.expiry_ms(self.now),
            body: run.body.clone(),
            step: run.step(),
        };
        self.expect_report(slot);
        self.out.effects.push(Effect::Publish(publish));
    }

    /// Handles an acknowledgement.
    pub(crate) fn acked(&mut self, link: LinkId, attempt: AttemptId, no_subscriber: bool) {
        let Some(slot) = self.delivery.end_attempt(link, attempt) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.on_the_wire = true;
        match &run.watch {
            Some(watch) if !watch.has_reported() && !mutated(Mutation::ReportIsNotAwaited) => {
                let until = watch.until().unwrap_or(self.now);
                self.set_phase(slot, Phase::Confirming(until));
            }
            None if no_subscriber => self.no_subscriber(slot),
            _ => self.next_step(slot),
        }
    }

    /// Handles an acknowledgement without subscribers. Owed steps are sent again for a while.
    fn no_subscriber(&mut self, slot: RunSlot) {
        let failing = self.failing;
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.unsubscribed_since.get_or_insert(self.now);
        let until = run.waits_for_subscriber_until().filter(|until| *until > self.now && !failing);
        let Some(until) = until else { return self.done_without_subscriber(slot) };
        run.last = Attempt::NoSubscriber;
        let pause_end = self.now.plus_ms(run.pause_ms());
        self.save_progress_of(slot);
        self.set_phase(slot, Phase::Pausing(until.min(pause_end)));
    }

    fn done_without_subscriber(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get_mut(slot) {
            let step = run.step() + 1;
            run.progress.no_subscriber.get_or_insert(step);
        }
        self.next_step(slot);
    }

    /// Handles a refusal by the broker.
    pub(crate) fn refused(&mut self, link: LinkId, attempt: AttemptId, reason: String) {
        let Some(slot) = self.delivery.end_attempt(link, attempt) else { return };
        self.attempt_failed(slot, Attempt::Refused(reason));
    }

    /// Handles the end of the connection at the message. The broker may have passed it on, so that later steps are owed
    /// (I5).
    pub(crate) fn ended_link(&mut self, link: LinkId, attempt: AttemptId, how: String) {
        let Some(slot) = self.delivery.end_attempt(link, attempt) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.on_the_wire = true;
        if run.watch.as_ref().is_some_and(|watch| watch.has_reported()) {
            return self.next_step(slot);
        }
        let Some(topic) = run.body.step(run.step()).map(|step| Topic::unchecked(step.topic())) else { return };
        self.attempt_failed(slot, Attempt::EndedLink { topic, how });
    }

    /// Handles a message that the link put off: the run waits as if its turn had not come.
    pub(crate) fn deferred(&mut self, link: LinkId, attempt: AttemptId, wait_ms: i64) {
        let Some(slot) = self.delivery.end_attempt(link, attempt) else { return };
        // It still counts towards its plugin's rate: the try has a cost for all plugins.
        self.undo_attempt(slot);
        let Some(run) = self.runs.get_mut(slot) else { return };
        let topic = run.body.step(run.step()).map(|step| Topic::unchecked(step.topic()));
        run.held_by = topic.map(Cause::HeldBack);
        if run.take_counting_report() {
            self.start_without_sending(slot);
            return self.next_step(slot);
        }
        let until = self.now.plus_ms(wait_ms.clamp(1, i64::from(limits::HOLD_BACK_MS)));
        let until = until.min(run.superseded_at().unwrap_or(Instant::MAX));
        if run.has_not_started() {
            self.give_up_resource(slot);
        }
        self.save_new(slot);
        self.set_phase(slot, Phase::Pausing(until));
    }

    /// Handles the end of the link: attempts in flight may or may not have arrived, and are made again. A message that
    /// was lost more than once pauses first: it may be the reason for the lost link, which other plugins need, too
    /// (I7).
    pub(crate) fn link_down(&mut self) {
        let in_flight = self.delivery.link_down();
        for slot in self.commits.take_attempts() {
            self.cancel_attempt(slot);
            self.enqueue(slot);
        }
        for slot in in_flight {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.on_the_wire |= !mutated(Mutation::LostLinkLosesOwedSteps);
            if run.watch.as_ref().is_some_and(|watch| watch.has_reported()) {
                self.next_step(slot);
                continue;
            }
            if run.is_spent() {
                self.give_up_step(slot, Attempt::PossiblySent);
                continue;
            }
            run.last = Attempt::LinkLost;
            if run.progress.attempts > 1 {
                self.pause(slot);
            } else {
                self.enqueue(slot);
            }
        }
        self.stop_listening();
    }

    /// Sends runs while the link has room (I7). Returns whether it may have room for more.
    pub(crate) fn serve(&mut self) -> bool {
        let mut budget = Budget::of_step();
        while budget.spend(limits::RUN_COST) {
            let Some(slot) = (if self.stopping { None } else { self.delivery.pop(self.now) }) else { return false };
            if let Some(until) = self.runs.get(slot).and_then(|run| run.phase.until()) {
                self.agenda.disarm(until, Timer::Run(slot));
            }
            self.attempt(slot);
        }
        true
    }

    /// Calls the plugin for the messages of a run. That counts as an attempt.
    fn call_plugin(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let Some(task) = run.body.task() else { return };
        run.progress.attempts += 1;
        run.tried_since.get_or_insert(self.now);
        let (plugin, device, due) = (run.id.plugin.clone(), run.id.device.clone(), run.start);
        let call = self.delivery.begin_call(slot);
        self.set_phase(slot, Phase::Asking(call));
        self.out.effects.push(Effect::Call { call, plugin, device, task, due });
    }
}
