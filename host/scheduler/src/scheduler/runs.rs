//! From a run to its end: attempts, steps, retries.
//!
//! ```text
//!          a turn on the link            acknowledged              reported (where the step waits for that)
//! Waiting ─────────────────────▶ Sent ─────────────────▶ (Confirming) ─────────▶ the next step, or the end
//!  ▲ ▲ ▲                          │ │                         │                      │
//!  │ │ │        the link is lost  │ │ refused                 │ no report            ▼
//!  │ │ └──────────────────────────┘ └────────▶ Pausing ◀──────┘                  Resting
//!  │ │                                            │                                  │ the step's time has come
//!  │ └────────────────────────────────────────────┴──────────────────────────────────┘
//!  ├── Held: behind another run, or for a resource (`gates.rs`)
//!  └── Listening: until the device's reports can be heard (`reports.rs`)
//! ```

use std::mem;

use super::{
    AttemptId, LinkId, RunSlot, Scheduler, Ticket, Timer,
    run::{Run, State},
};
use crate::{
    body::StepRef,
    event::{Change, Effect, Publish, RunEnded, Step},
    limits,
    outcome::{Attempt, Cancelled, Cause, Denied, Failed, Late, Missed, Outcome, Why},
    time::Instant,
    topic::Topic,
};

impl Scheduler {
    /// Puts a run into the queue for the link.
    pub(super) fn enqueue(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get_mut(slot) {
            run.state = State::Waiting;
            self.ready.push(&run.id.plugin, run.policy.priority, run.start, slot);
        }
    }

    /// Gives a run another state, with its timer.
    pub(super) fn put(&mut self, slot: RunSlot, state: State) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.state = state;
        if let Some(until) = state.until() {
            self.timers.insert((until, Timer::Run(slot)));
        }
    }

    /// Takes a run out of whatever it waits in.
    pub(super) fn take_out(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        match run.state {
            State::Waiting => self.ready.remove(&run.id.plugin, run.policy.priority, run.start, slot),
            // Its answer still gives the credit back.
            State::Sent(attempt) => {
                if let Some(of) = self.attempts.get_mut(&attempt) {
                    *of = None;
                }
            }
            State::Arming(ticket) => {
                self.arming.remove(&ticket);
                self.give_credit_back();
            }
            state => {
                state.until().map(|until| self.timers.remove(&(until, Timer::Run(slot))));
            }
        }
        self.leave_queue(slot);
    }

    /// A run has waited long enough.
    pub(super) fn run_timer(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        match run.state {
            State::Confirming(_) => self.not_reported(now, slot, out),
            State::Listening(_) => self.listened(now, slot, out),
            _ => {
                self.leave_queue(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Sends what the link takes (I7); whether it would take more.
    pub(super) fn serve(&mut self, now: Instant, out: &mut Step) -> bool {
        for _ in 0..limits::RUNS_PER_STEP {
            if self.stopping || self.link.as_ref().is_none_or(|link| link.credit == 0) {
                return false;
            }
            let Some(slot) = self.ready.pop() else { return false };
            self.attempt(now, slot, out);
        }
        true
    }

    /// Ends a run that was given up while it waited for the link, so that it does not stand in the way of the next one.
    pub(super) fn end_if_given_up(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        let idle = !matches!(run.state, State::Arming(_) | State::Sent(_) | State::Confirming(_));
        if idle && run.is_given_up(now) && run.step() + 1 == run.steps {
            let last = run.last.clone();
            self.give_up_step(now, slot, last, out);
        }
    }

    /// A run's turn has come.
    fn attempt(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        if self.failing && !run.can_go_on_unkept() {
            // Nothing is begun, and nothing can be armed, that is not on disk.
            return;
        }
        if run.has_not_started() {
            if let Some(outcome) = self.why_not_start(now, run) {
                return self.end(now, slot, outcome, out);
            }
            if !self.may_start(slot) {
                return;
            }
        }
        let Some(run) = self.runs.get(slot) else { return };
        if run.is_unsent_heir()
            && let Some(why) = self.why_not_start(now, run)
        {
            return self.give_up_step(now, slot, Attempt::Prevented(format!("it was not sent: {why}")), out);
        }
        if run.is_overtaken(now) || run.is_given_up(now) {
            let last = if run.attempts > 0 { run.last.clone() } else { Attempt::Overtaken };
            return self.give_up_step(now, slot, last, out);
        }
        if self.listens(now, slot, out) {
            self.send(now, slot, out);
        }
    }

    /// Whether a run that has not started may not do so.
    fn why_not_start(&self, now: Instant, run: &Run) -> Option<Outcome> {
        let late_ms = now.ms_since(run.start);
        if late_ms > i64::from(run.policy.grace_ms) && run.policy.group().is_none() {
            let cause = match &run.held_by {
                Some(cause) => cause.clone(),
                None if self.was_jumped_over(run.start) => Cause::ClockSet,
                None if run.start < self.since => Cause::HostAway,
                None if run.start < self.link_since => Cause::LinkDown,
                None => Cause::Busy,
            };
            let why = Why::TooLate { late_ms, grace_ms: run.policy.grace_ms, cause };
            return Some(Outcome::Missed(Missed { why, several: None }));
        }
        if let Some(name) = &run.policy.needs
            && !self.resources.contains_key(name)
        {
            return Some(Outcome::Denied(Denied::Resource(name.clone())));
        }
        self.denied(run).map(Outcome::Denied)
    }

    /// I8: checked again when it is published. An owed step uses the grant it was accepted under, so all of a run's
    /// steps are looked at before it starts.
    fn denied(&self, run: &Run) -> Option<Denied> {
        let key = self.plugin_keys.get(&run.id.plugin)?;
        let grant = &self.plugins.get(*key)?.grant;
        let no = |step: StepRef<'_>| {
            if !grant.allows_publish(step.topic()) {
                return Some(Denied::Topic(Topic::known(step.topic())));
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
        run.attempts += 1;
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
        let ticket = self.ticket();
        self.arming.insert(ticket, slot);
        self.put(slot, State::Arming(ticket));
        out.effects.push(Effect::TellDurable(ticket));
    }

    /// What an attempt depends on is durable, or the plan of some jobs.
    pub(super) fn durable(&mut self, now: Instant, ticket: Ticket, out: &mut Step) {
        if let Some((slot, key)) = self.keeping.remove(&ticket) {
            if let Some(run) = self.runs.get_mut(slot).filter(|run| run.key == Some(key)) {
                run.is_kept = true;
            }
            return;
        }
        let Some(slot) = self.arming.remove(&ticket) else { return self.confirmed(ticket) };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.is_kept = true;
        let is_first = run.step() == 0 && run.attempts == 1;
        let is_too_late =
            |run: &Run| if is_first { self.why_not_start(now, run).is_some() } else { run.is_overtaken(now) };
        if self.runs.get(slot).is_some_and(is_too_late) {
            // The disk took its time.
            self.take_back(slot, out);
            self.give_credit_back();
            return self.enqueue(slot);
        }
        self.publish(now, slot, out);
    }

    /// Nothing is kept any more, so nothing leaves that would have to be. What is owed does.
    pub(super) fn store_failed(&mut self, now: Instant, out: &mut Step) {
        self.failing = true;
        for slot in mem::take(&mut self.arming).into_values() {
            self.take_back(slot, out);
            self.give_credit_back();
            self.enqueue(slot);
        }
        let yielding: Vec<RunSlot> =
            self.runs.iter().filter(|(_, run)| run.is_yielding()).map(|(slot, _)| slot).collect();
        for slot in yielding {
            self.stop_yielding(now, slot);
        }
    }

    /// An attempt that was about to leave never does.
    fn take_back(&mut self, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.attempts -= 1;
        run.progress.armed = false;
        if run.attempts == 0 {
            run.tried_since = None;
            if run.step() == 0 && !run.on_the_wire {
                run.progress.started = None;
            }
        }
        self.save_progress_of(slot, out);
    }

    fn give_credit_back(&mut self) {
        if let Some(link) = &mut self.link {
            link.credit += 1;
        }
    }

    /// The attempt leaves.
    fn publish(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let (Some(run), Some(link)) = (self.runs.get_mut(slot), &self.link) else { return };
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
            number: run.attempts,
            expiry_ms: run.expiry_ms(now),
            body: run.body.clone(),
            step: run.step(),
        };
        self.expect_report(now, slot);
        out.effects.push(Effect::Publish(publish));
    }

    /// A ticket for [`Effect::TellDurable`].
    pub(super) fn ticket(&mut self) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket = ticket.checked_add(1).unwrap_or(Ticket::MIN);
        ticket
    }

    /// Puts a run on disk, so that it outlives the process and its job.
    pub(super) fn save_run(&mut self, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let key = *run.key.get_or_insert_with(|| {
            self.next_run += 1;
            self.next_run
        });
        out.changes.push(Change::RunSaved { key, run: run.to_saved() });
        if let Some(job) = run.job {
            self.save_progress(job, out);
        }
    }

    /// Keeps how far a run has come, if it is on disk.
    pub(super) fn save_progress_of(&self, slot: RunSlot, out: &mut Step) {
        if let Some(run) = self.runs.get(slot)
            && let Some(key) = run.key
        {
            out.changes.push(Change::RunAdvanced { key, progress: run.progress.clone() });
        }
    }

    /// The broker has the message.
    pub(super) fn acked(&mut self, now: Instant, link: LinkId, attempt: AttemptId, out: &mut Step) {
        let Some(slot) = self.answered(link, attempt) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.on_the_wire = true;
        match &run.watch {
            Some(watch) if !watch.has_reported => {
                let until = watch.until.unwrap_or(now);
                self.put(slot, State::Confirming(until));
            }
            _ => self.next_step(now, slot, out),
        }
    }

    /// The broker does not want the message.
    pub(super) fn refused(&mut self, now: Instant, link: LinkId, attempt: AttemptId, reason: String, out: &mut Step) {
        let Some(slot) = self.answered(link, attempt) else { return };
        self.attempt_failed(now, slot, Attempt::Refused(reason), out);
    }

    /// An attempt did not get through, for sure.
    pub(super) fn attempt_failed(&mut self, now: Instant, slot: RunSlot, last: Attempt, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.last = last;
        if run.is_given_up(now) || run.gives_way_at().is_some_and(|due| due <= now) {
            let last = run.last.clone();
            return self.give_up_step(now, slot, last, out);
        }
        self.pause(now, slot);
    }

    /// Which run an answer is for; an answer of a link that is over is for none.
    fn answered(&mut self, link: LinkId, attempt: AttemptId) -> Option<RunSlot> {
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
            self.take_back(slot, out);
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
            if run.attempts > 1 {
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
            let until = now.plus_ms(run.pause_ms()).min(run.gives_way_at().unwrap_or(Instant::MAX));
            self.put(slot, State::Pausing(until));
        }
    }

    /// The current step was given up; the later ones are owed if anything may have reached the broker.
    fn give_up_step(&mut self, now: Instant, slot: RunSlot, last: Attempt, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let failed = Failed { step: run.step() + 1, attempts: run.attempts, last };
        if !run.on_the_wire {
            return self.end(now, slot, Outcome::Failed(failed), out);
        }
        run.progress.failed.get_or_insert(failed);
        self.next_step(now, slot, out);
    }

    /// The current step is done with.
    pub(super) fn next_step(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.progress.steps_done += 1;
        run.progress.armed = false;
        if run.step() == run.steps {
            let outcome = match (run.progress.cancelled.take(), run.progress.failed.take()) {
                (Some(cancelled), _) => Outcome::Cancelled(cancelled),
                (None, Some(failed)) => Outcome::Failed(failed),
                (None, None) => Outcome::Succeeded(run.progress.late),
            };
            return self.end(now, slot, outcome, out);
        }
        run.attempts = 0;
        run.tried_since = None;
        self.unwatch(slot, out);
        self.save_progress_of(slot, out);
        self.await_step(now, slot);
    }

    /// Waits until the current step's time has come.
    pub(super) fn await_step(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        if run.is_yielding() {
            return self.yield_to_newer(slot);
        }
        match run.due_of(run.step()) {
            Some(due) if due > now => self.put(slot, State::Resting(due)),
            _ => self.enqueue(slot),
        }
    }

    /// A newer run takes a run's place: its first step is not sent any more, and what it owes is sent at once, before the
    /// newer one starts; but for what the newer one will owe as well, which waits until that has started (I5).
    pub(super) fn cut_short(&mut self, now: Instant, slot: RunSlot, reason: Cancelled, heir: RunSlot, out: &mut Step) {
        self.disinherit(slot);
        let Some((newer, heir)) = self.runs.get(heir).map(|heir| (heir.body.clone(), heir.turn)) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        if matches!(run.state, State::Sent(_)) {
            run.on_the_wire = true;
        }
        // What may have been sent and says `once` is not sent again.
        let first_left = if run.is_owed() && run.progress.armed { run.step() + 1 } else { run.step().max(1) };
        if !run.on_the_wire || first_left >= run.steps {
            return self.end(now, slot, Outcome::Cancelled(reason), out);
        }
        // Only to one that needs the same: it has what this one holds.
        let may_yield = newer.policy().needs == run.policy.needs;
        let will_be_owed =
            |owed: &StepRef<'_>| may_yield && newer.steps().skip(1).any(|step| step.topic() == owed.topic());
        let elapsed_ms = run.progress.started.map_or(0, |started| now.ms_since(started).max(0));
        let body = run.body.cut(first_left, u32::try_from(elapsed_ms).unwrap_or(u32::MAX), will_be_owed);
        self.take_out(slot);
        self.unwatch(slot, out);
        let Some(run) = self.runs.get_mut(slot) else { return };
        (run.attempts, run.tried_since) = (0, None);
        run.progress.steps_done = first_left;
        run.progress.armed = false;
        run.progress.cancelled = Some(reason);
        run.heir = Some(heir);
        run.yields = body.steps().skip(first_left).filter(will_be_owed).count();
        run.body = body;
        self.save_run(slot, out);
        self.await_step(now, slot);
    }

    /// I13: each run ends in a recorded outcome.
    pub(super) fn end(&mut self, now: Instant, slot: RunSlot, outcome: Outcome, out: &mut Step) {
        self.take_out(slot);
        self.unwatch(slot, out);
        let unstarted = self.runs.get(slot).filter(|run| run.has_not_started()).map(|run| run.turn);
        if unstarted.is_some() {
            self.give_back(slot);
        }
        let line = self.forget_run(slot);
        let Some(run) = self.runs.remove(slot) else { return };
        out.changes.push(Change::RunEnded(RunEnded {
            key: run.key,
            id: run.id.clone(),
            body: matches!(outcome, Outcome::Failed(_)).then(|| run.body.clone()),
            outcome,
            started: run.progress.started,
            ended: now,
            attempts: run.attempts,
        }));
        if let Some(job) = run.job.filter(|_| run.key.is_none()) {
            self.save_progress(job, out);
        }
        if let Some(job) = run.job {
            self.make_up_next(now, job);
        }
        if let Some(heir) = unstarted {
            self.resume_yielding(now, &line, heir);
        }
        self.wake_next(&line);
    }
}
