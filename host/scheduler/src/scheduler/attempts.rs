//! A step's attempts: what has to be durable before one leaves, how it ends, and what comes after one that did not get through.

use std::mem;

use super::{
    AttemptId, CommitToken, LinkId, RunSlot, Scheduler,
    plans::Work,
    run::{Run, State},
};
use crate::{
    body::StepRef,
    event::{Effect, Publish, Refusal, Step},
    limits,
    model::ResourceRefusal,
    outcome::{Attempt, Cause, Denied, Late, Missed, MissedReason, Outcome, Skipped},
    time::Instant,
    topic::{Excess, Topic},
};

impl Scheduler {
    /// A run's turn has come.
    pub(super) fn attempt(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        if self.failing && !run.can_continue_unsaved() {
            // Nothing is begun, and nothing can be armed, that is not on disk.
            return;
        }
        if run.has_not_started() {
            if let Some(outcome) = self.start_refusal(now, run) {
                if run.progress.attempts > 0 && matches!(outcome, Outcome::Missed(_)) {
                    // It was in time, and its plugin gave no answer.
                    let last = run.last.clone();
                    return self.give_up_step(now, slot, last, out);
                }
                return self.end(now, slot, outcome, out);
            }
            if !self.may_start(now, slot) {
                return self.save_waiting(slot, out);
            }
        }
        let Some(run) = self.runs.get(slot) else { return };
        if run.is_unsent_heir()
            && let Some(why) = self.start_refusal(now, run)
        {
            return self.give_up_step(now, slot, Attempt::Prevented(format!("it was not sent: {why}")), out);
        }
        if run.has_waited_for_subscriber(now) {
            return self.done_without_subscriber(now, slot, out);
        }
        if run.is_overtaken(now) || run.is_given_up(now) {
            let last = if run.progress.attempts > 0 { run.last.clone() } else { Attempt::Overtaken };
            return self.give_up_step(now, slot, last, out);
        }
        if run.body.asks_plugin() {
            return self.call_plugin(now, slot, out);
        }
        if self.ensure_subscribed(now, slot, out) {
            self.send(now, slot, out);
        }
    }

    /// Whether a run that has not started may not do so.
    pub(super) fn start_refusal(&self, now: Instant, run: &Run) -> Option<Outcome> {
        let late_ms = now.ms_since(run.start);
        if late_ms > i64::from(run.policy.grace_ms) && run.policy.group().is_none() {
            // What came too late for its grace before there was a link was not held up by a rate.
            let waited_for_link = run.is_over_rate() && run.grace_end().is_some_and(|end| end <= self.link_since);
            let cause = match &run.held_by {
                Some(cause) if !waited_for_link => cause.clone(),
                _ if self.was_skipped_by_clock(run.start) => Cause::ClockSet,
                _ if run.start < self.since => Cause::HostAway,
                _ if run.start < self.link_since => Cause::LinkDown,
                _ => Cause::Busy,
            };
            let why = MissedReason::TooLate { late_ms, grace_ms: run.policy.grace_ms, cause };
            return Some(Outcome::Missed(Missed { why, several: None }));
        }
        if run.id.origin.is_of_trigger()
            && let Some(what) = self.is_run_paused(run)
        {
            return Some(Outcome::Skipped(Skipped::Paused { what, several: None }));
        }
        if let Some(denied) = self.denied_resource(run) {
            return Some(Outcome::Denied(denied));
        }
        self.denied(run).map(Outcome::Denied)
    }

    /// What a run needs and may not have: checked again, because the operator may have said something else since then.
    fn denied_resource(&self, run: &Run) -> Option<Denied> {
        let name = run.policy.needs.as_ref()?;
        let Some(pool) = self.resources.get(name) else { return Some(Denied::Resource(name.clone())) };
        let hold_ms = run.steps.checked_sub(1).and_then(|last| run.body.step(last)).map_or(0, |step| step.after_ms);
        Some(match pool.rule.refusal(&run.id.plugin, hold_ms)? {
            ResourceRefusal::NotGranted => Denied::NotGranted(name.clone()),
            ResourceRefusal::TooLong { hold_ms, longest_ms } => {
                Denied::HoldTooLong { resource: name.clone(), hold_ms, longest_ms }
            }
        })
    }

    /// I8: checked again when it is published. An owed step uses the grant it was accepted under, so all of a run's
    /// steps are looked at before it starts.
    fn denied(&self, run: &Run) -> Option<Denied> {
        let key = self.plugin_keys.get(&run.id.plugin)?;
        let grant = &self.plugins.get(*key)?.grant;
        let no = |step: StepRef<'_>| {
            if let Some(excess) = grant.excess(step.topic(), step.qos, step.retain) {
                let topic = Topic::known(step.topic());
                return Some(match excess {
                    Excess::Topic => Denied::Topic(topic),
                    Excess::Qos => Denied::Qos { topic, qos: step.qos, most: grant.max_qos },
                    Excess::Retain => Denied::Retain(topic),
                });
            }
            let report = step.confirm()?.topic;
            (!grant.allows_subscribe(report.as_str())).then_some(Denied::Report(report))
        };
        run.body.steps().find_map(no)
    }

    /// Sends the current step, as soon as what has to be kept of that is durable.
    fn send(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let (Some(run), Some(link)) = (self.runs.get_mut(slot), self.link.as_mut()) else { return };
        link.credit -= 1;
        self.fair_queue.reserve(&run.id.plugin);
        run.progress.attempts += 1;
        run.tried_since.get_or_insert(now);
        let starts = run.has_not_started();
        run.progress.started.get_or_insert(now);
        if starts {
            self.take_over(now, slot, out);
        }
        let Some(run) = self.runs.get_mut(slot) else { return };
        let once = run.is_spent();
        run.progress.armed = once;
        // I3: what owes later steps is on disk before anybody hears of it, and what says `once` before it leaves; and so is
        // each step that is done before the next one is sent: a crash never sends an earlier one after a later one. A run
        // that outlives its job's plan is on disk with that plan.
        if run.key.is_none() && (once || run.is_long()) {
            self.save_run(slot, out);
        } else if once || (starts && run.is_long()) {
            self.save_progress_of(slot, out);
        }
        if self.runs.get(slot).is_some_and(|run| run.key.is_none()) || self.failing {
            return self.publish(now, slot, out);
        }
        let token = self.commit_token();
        self.arming.insert(token, slot);
        self.set_state(slot, State::Arming(token));
        out.effects.push(Effect::NotifyDurable(token));
    }

    /// What an attempt depends on is durable, or the plan of some jobs.
    pub(super) fn durable(&mut self, now: Instant, token: CommitToken, out: &mut Step) {
        if let Some((slot, key)) = self.saving.remove(&token) {
            if let Some(run) = self.runs.get_mut(slot).filter(|run| run.key == Some(key)) {
                run.is_durable = true;
            }
            return;
        }
        let Some(slot) = self.arming.remove(&token) else { return self.plan_durable(token) };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.is_durable = true;
        let is_first = run.step() == 0 && run.progress.attempts == 1;
        let is_too_late =
            |run: &Run| if is_first { self.start_refusal(now, run).is_some() } else { run.is_overtaken(now) };
        if self.runs.get(slot).is_some_and(is_too_late) {
            // The disk took its time.
            self.cancel_attempt(slot, out);
            self.return_credit();
            return self.enqueue(slot);
        }
        self.publish(now, slot, out);
    }

    /// Nothing is kept any more, so nothing leaves that would have to be. What is owed does.
    pub(super) fn store_failed(&mut self, now: Instant, out: &mut Step) {
        self.failing = true;
        for work in mem::take(&mut self.work) {
            // What will not be done any more.
            if let Work::Schedule(request, _) | Work::Cancel(request, _) = work {
                out.effects.push(Effect::Answer { request, answer: Err(Refusal::Stopping) });
            }
        }
        for slot in mem::take(&mut self.arming).into_values() {
            self.cancel_attempt(slot, out);
            self.return_credit();
            self.enqueue(slot);
        }
        let yielding: Vec<RunSlot> =
            self.runs.iter().filter(|(_, run)| run.is_yielding()).map(|(slot, _)| slot).collect();
        for slot in yielding {
            self.stop_yielding(now, slot);
        }
    }

    /// An attempt that was about to leave never does.
    fn cancel_attempt(&mut self, slot: RunSlot, out: &mut Step) {
        if let Some(run) = self.runs.get(slot) {
            self.fair_queue.cancel_reservation(&run.id.plugin);
        }
        self.undo_attempt(slot, out);
    }

    /// As if no attempt had been made.
    fn undo_attempt(&mut self, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.progress.attempts -= 1;
        run.progress.armed = false;
        if run.progress.attempts == 0 {
            run.tried_since = None;
            if run.step() == 0 && !run.on_the_wire {
                run.progress.started = None;
            }
        }
        self.save_progress_of(slot, out);
    }

    pub(super) fn return_credit(&mut self) {
        if let Some(link) = &mut self.link {
            link.credit += 1;
        }
    }

    /// The attempt leaves.
    fn publish(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let (Some(run), Some(link)) = (self.runs.get_mut(slot), &self.link) else { return };
        self.fair_queue.spend(&run.id.plugin);
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        self.attempts.insert(attempt, Some(slot));
        run.state = State::Sent(attempt);
        let due = run.due_of(run.step()).unwrap_or(now);
        let late_ms = now.ms_since(due);
        if run.is_owed() && late_ms >= run.progress.late.map_or(limits::LATE_MS, |late| late.late_ms) {
            run.progress.late = Some(Late { step: run.step() + 1, late_ms });
        }
        let publish = Publish {
            link: link.id,
            attempt,
            run: run.id.clone(),
            due,
            number: run.progress.attempts,
            expiry_ms: run.expiry_ms(now),
            body: run.body.clone(),
            step: run.step(),
        };
        self.expect_report(now, slot);
        out.effects.push(Effect::Publish(publish));
    }

    /// The broker has the message.
    pub(super) fn acked(
        &mut self,
        now: Instant,
        link: LinkId,
        attempt: AttemptId,
        no_subscriber: bool,
        out: &mut Step,
    ) {
        let Some(slot) = self.take_attempt(link, attempt) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.on_the_wire = true;
        match &run.watch {
            Some(watch) if !watch.has_reported => {
                let until = watch.until.unwrap_or(now);
                self.set_state(slot, State::Confirming(until));
            }
            None if no_subscriber => self.no_subscriber(now, slot, out),
            _ => self.next_step(now, slot, out),
        }
    }

    /// The broker has the message, and no subscriber to pass it on to. Owed steps are sent again for a while.
    fn no_subscriber(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let failing = self.failing;
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.unsubscribed_since.get_or_insert(now);
        let until = run.waits_for_subscriber_until().filter(|until| *until > now && !failing);
        let Some(until) = until else { return self.done_without_subscriber(now, slot, out) };
        run.last = Attempt::NoSubscriber;
        let pause_end = now.plus_ms(run.pause_ms());
        self.save_progress_of(slot, out);
        self.set_state(slot, State::Pausing(until.min(pause_end)));
    }

    fn done_without_subscriber(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        if let Some(run) = self.runs.get_mut(slot) {
            let step = run.step() + 1;
            run.progress.no_subscriber.get_or_insert(step);
        }
        self.next_step(now, slot, out);
    }

    /// The broker does not want the message.
    pub(super) fn refused(&mut self, now: Instant, link: LinkId, attempt: AttemptId, reason: String, out: &mut Step) {
        let Some(slot) = self.take_attempt(link, attempt) else { return };
        self.attempt_failed(now, slot, Attempt::Refused(reason), out);
    }

    /// The broker ended the connection at the message. It may have passed it on all the same: what follows is owed (I5).
    pub(super) fn ended_link(&mut self, now: Instant, link: LinkId, attempt: AttemptId, how: String, out: &mut Step) {
        let Some(slot) = self.take_attempt(link, attempt) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.on_the_wire = true;
        if run.watch.as_ref().is_some_and(|watch| watch.has_reported) {
            return self.next_step(now, slot, out);
        }
        let Some(topic) = run.body.step(run.step()).map(|step| Topic::known(step.topic())) else { return };
        self.attempt_failed(now, slot, Attempt::EndedLink { topic, how }, out);
    }

    /// The link did not send the message, and wants it later: as if its turn had not come.
    pub(super) fn deferred(&mut self, now: Instant, link: LinkId, attempt: AttemptId, wait_ms: i64, out: &mut Step) {
        let Some(slot) = self.take_attempt(link, attempt) else { return };
        // It stays counted for its plugin's rate: trying costs everybody something.
        self.undo_attempt(slot, out);
        let Some(run) = self.runs.get_mut(slot) else { return };
        let topic = run.body.step(run.step()).map(|step| Topic::known(step.topic()));
        run.held_by = topic.map(Cause::HeldBack);
        if run.has_report_that_counts() {
            self.start_without_sending(now, slot, out);
            return self.next_step(now, slot, out);
        }
        let until = now.plus_ms(wait_ms.clamp(1, i64::from(limits::BACKOFF_CAP_MS)));
        let until = until.min(run.superseded_at().unwrap_or(Instant::MAX));
        if run.has_not_started() {
            self.give_up_resource(now, slot, out);
        }
        self.save_waiting(slot, out);
        self.set_state(slot, State::Pausing(until));
    }

    /// An attempt did not get through, for sure.
    pub(super) fn attempt_failed(&mut self, now: Instant, slot: RunSlot, last: Attempt, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.last = last;
        if run.is_given_up(now) || run.superseded_at().is_some_and(|due| due <= now) {
            let last = run.last.clone();
            return self.give_up_step(now, slot, last, out);
        }
        if run.key.is_none() {
            self.save_run(slot, out);
        } else {
            self.save_progress_of(slot, out);
        }
        self.pause(now, slot);
    }

    /// Which run an answer is for; an answer of a link that is over is for none.
    fn take_attempt(&mut self, link: LinkId, attempt: AttemptId) -> Option<RunSlot> {
        let up = self.link.as_mut().filter(|up| up.id == link)?;
        let slot = self.attempts.remove(&attempt)?;
        up.credit += 1;
        slot
    }

    /// The link is gone: what was under way on it may or may not have arrived, and is tried again. What was lost more
    /// than once pauses before: it may be what ends the link, and others want it too (I7).
    pub(super) fn link_down(&mut self, now: Instant, out: &mut Step) {
        self.link = None;
        for slot in mem::take(&mut self.arming).into_values() {
            self.cancel_attempt(slot, out);
            self.enqueue(slot);
        }
        for slot in mem::take(&mut self.attempts).into_values().flatten() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.on_the_wire = true;
            if run.watch.as_ref().is_some_and(|watch| watch.has_reported) {
                self.next_step(now, slot, out);
                continue;
            }
            if run.is_spent() {
                self.give_up_step(now, slot, Attempt::PossiblySent, out);
                continue;
            }
            run.last = Attempt::LinkLost;
            if run.progress.attempts > 1 {
                self.pause(now, slot);
            } else {
                self.enqueue(slot);
            }
        }
        self.stop_listening();
    }

    /// Waits before the next attempt, but not beyond the time of an owed step that is waiting for this one.
    fn pause(&mut self, now: Instant, slot: RunSlot) {
        if let Some(run) = self.runs.get(slot) {
            let until = now.plus_ms(run.pause_ms()).min(run.superseded_at().unwrap_or(Instant::MAX));
            self.set_state(slot, State::Pausing(until));
        }
    }
}
