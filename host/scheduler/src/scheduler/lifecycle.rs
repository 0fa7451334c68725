//! Runs from admission to their end: states, and the transitions between steps. Attempts are in `attempts.rs`.
//!
//! ```text
//!          a turn on the link            acknowledged              reported (where the step waits for that)
//! Waiting ─────────────────────▶ Sent ─────────────────▶ (Confirming) ─────────▶ the next step, or the end
//!  ▲ ▲ ▲                          │ │                         │                      │
//!  │ │ │        the link is lost  │ │ refused                 │ no report            ▼
//!  │ │ └──────────────────────────┘ └────────▶ Pausing ◀──────┘                  Resting
//!  │ │                                            │                                  │ the step's time has come
//!  │ └────────────────────────────────────────────┴──────────────────────────────────┘
//!  ├── Held: behind another run, or for a resource (`queues.rs`)
//!  ├── Asking: until the plugin has returned its messages (`tasks.rs`)
//!  ├── Listening: until the broker has accepted the subscription to the device's reports (`reports.rs`)
//!  └── Limited: its plugin has more to send than its rate allows (`fair_queue.rs`)
//! ```

use super::Scheduler;
use crate::{
    agenda::Timer,
    body::StepRef,
    event::{Change, Progress, RunEnded, Step},
    keys::RunSlot,
    limits,
    mutation::{Mutation, mutated},
    outcome::{Attempt, Cancelled, Cause, Failed, Outcome, Success},
    runs::{Siblings, State},
    time::Instant,
};

impl Scheduler {
    /// Adds a run to the queue for the link.
    pub(super) fn enqueue(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.state = State::Waiting;
        let over = self.delivery.push(&run.id.plugin, run.rank(slot));
        if let Some(rate) = over {
            run.held_by = Some(Cause::OverRate { per_second: rate.per_second });
            if let Some(grace_end) = run.grace_end() {
                self.set_state(slot, State::Limited(grace_end));
            }
        } else if run.is_over_rate() {
            run.held_by = None;
        }
    }

    /// Handles the end of the grace of a run that waits for its plugin's rate.
    fn rate_grace_ended(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        // It keeps waiting if something else holds it up.
        run.state = State::Waiting;
        let is_decided = self.delivery.has_link() && !self.stopping && !self.failing;
        let run = self.runs.get(slot).filter(|run| is_decided && self.start_refusal(now, run).is_some());
        if let Some(run) = run {
            self.delivery.remove(&run.id.plugin, run.rank(slot));
            self.attempt(now, slot, out);
        }
    }

    /// Returns when the rates of plugins allow the next message, if the link has room for it.
    pub(super) fn rates_allow_at(&self) -> Option<Instant> {
        self.delivery.rates_allow_at().filter(|_| !self.stopping)
    }

    /// Sets a run's state, and its timer.
    pub(super) fn set_state(&mut self, slot: RunSlot, state: State) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.state = state;
        if let Some(until) = state.until() {
            self.agenda.arm(until, Timer::Run(slot));
        }
    }

    /// Removes a run from every queue and timer it waits in.
    pub(super) fn stop_waiting(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        match run.state {
            State::Waiting => self.delivery.remove(&run.id.plugin, run.rank(slot)),
            State::Limited(until) => {
                self.delivery.remove(&run.id.plugin, run.rank(slot));
                self.agenda.disarm(until, Timer::Run(slot));
            }
            // The broker's answer still returns the credit.
            State::Sent(attempt) => self.delivery.detach_attempt(attempt),
            State::Asking(call) if !mutated(Mutation::EndedRunKeepsItsCall) => {
                self.delivery.end_call(call);
            }
            State::Arming(token) => {
                // Only once: a run may end before it waits for anything else, and this function is called again (I7).
                if self.commits.take(token).is_some() {
                    self.delivery.cancel_reservation(&run.id.plugin);
                }
            }
            state => {
                state.until().inspect(|until| self.agenda.disarm(*until, Timer::Run(slot)));
            }
        }
        self.leave_queue(slot);
    }

    /// Handles the end of a run's wait.
    pub(super) fn run_timer(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        match run.state {
            State::Confirming(_) => self.not_reported(now, slot, out),
            State::Listening(_) => self.listening_ended(now, slot, out),
            State::Limited(_) => self.rate_grace_ended(now, slot, out),
            _ => {
                self.leave_queue(slot);
                self.enqueue(slot);
            }
        }
    }

    /// Sends runs while the link has room (I7). Returns whether it may have room for more.
    pub(super) fn serve(&mut self, now: Instant, out: &mut Step) -> bool {
        for _ in 0..limits::RUNS_PER_STEP {
            let Some(slot) = (if self.stopping { None } else { self.delivery.pop() }) else { return false };
            if let Some(until) = self.runs.get(slot).and_then(|run| run.state.until()) {
                self.agenda.disarm(until, Timer::Run(slot));
            }
            self.attempt(now, slot, out);
        }
        true
    }

    /// Ends a run that was given up while it waited for the link, so that it does not block the next one.
    pub(super) fn end_if_given_up(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        let idle = !matches!(run.state, State::Asking(_) | State::Arming(_) | State::Sent(_) | State::Confirming(_));
        if idle && run.is_given_up(now) && run.step() + 1 >= run.steps {
            let last = run.last.clone();
            self.stop_waiting(slot);
            self.give_up_step(now, slot, last, out);
        }
    }

    /// Saves a run, so that it outlives the process and its job.
    pub(super) fn save_run(&mut self, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        let key = match run.key {
            Some(key) => key,
            None => self.runs.new_key(),
        };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.key = Some(key);
        out.changes.push(Change::RunSaved { key, run: Box::new(run.to_saved()) });
        if let Some(job) = run.job {
            self.save_progress(job, out);
        }
    }

    /// Saves a run that has to wait, so that users can see why.
    pub(super) fn save_waiting(&mut self, slot: RunSlot, out: &mut Step) {
        if self.runs.get(slot).is_some_and(|run| run.key.is_none()) {
            self.save_run(slot, out);
        }
    }

    /// Saves the progress of a run that is stored.
    pub(super) fn save_progress_of(&self, slot: RunSlot, out: &mut Step) {
        if let Some(run) = self.runs.get(slot)
            && let Some(key) = run.key
        {
            out.changes.push(Change::RunAdvanced { key, progress: run.progress.clone() });
        }
    }

    /// Gives up the current step; the later ones are owed if anything may have reached the broker.
    pub(super) fn give_up_step(&mut self, now: Instant, slot: RunSlot, last: Attempt, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let failed = Failed { step: run.step() + 1, attempts: run.progress.attempts, last };
        if !run.on_the_wire {
            return self.end(now, slot, Outcome::Failed(failed), out);
        }
        run.progress.failed.get_or_insert(failed);
        self.next_step(now, slot, out);
    }

    /// Completes the current step, and continues with the next one or ends the run.
    pub(super) fn next_step(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.progress.steps_done += 1;
        run.progress.armed = false;
        if run.step() == run.steps {
            let outcome = match (run.progress.cancelled.take(), run.progress.failed.take()) {
                (Some(cancelled), _) => Outcome::Cancelled(cancelled),
                (None, Some(failed)) => Outcome::Failed(failed),
                (None, None) => {
                    let Progress { late, no_subscriber, .. } = run.progress;
                    Outcome::Succeeded(Success { late, no_subscriber })
                }
            };
            return self.end(now, slot, outcome, out);
        }
        run.progress.attempts = 0;
        (run.tried_since, run.unsubscribed_since) = (None, None);
        self.unwatch(slot, out);
        if !mutated(Mutation::CompletedStepIsUnsaved) {
            self.save_progress_of(slot, out);
        }
        self.await_step(now, slot);
    }

    /// Waits until the current step is due.
    pub(super) fn await_step(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        if run.is_yielding() {
            return self.yield_to_newer(slot);
        }
        match run.due_of(run.step()) {
            Some(due) if due > now => self.set_state(slot, State::Resting(due)),
            _ => self.enqueue(slot),
        }
    }

    /// Cuts a run short because a newer run replaces it: its first step is not sent any more, and its owed steps are
    /// sent at once, before the newer run starts. Steps that the newer run will owe as well wait until it has started
    /// (I5). Without a newer run, all of them are sent.
    pub(super) fn cut_short(
        &mut self,
        now: Instant,
        slot: RunSlot,
        reason: Cancelled,
        heir: Option<RunSlot>,
        out: &mut Step,
    ) {
        self.disinherit(slot);
        let newer = heir.and_then(|heir| self.runs.get(heir)).map(|heir| (heir.body.clone(), heir.seq));
        let Some(run) = self.runs.get_mut(slot) else { return };
        if matches!(run.state, State::Sent(_)) {
            run.on_the_wire = true;
        }
        // A step that is marked `once` and may have been sent is not sent again.
        let may_be_sent = run.progress.armed && !mutated(Mutation::CutShortRunRepeatsOnce);
        let first_left = if run.is_owed() && may_be_sent { run.step() + 1 } else { run.step().max(1) };
        if !run.on_the_wire || first_left >= run.steps || mutated(Mutation::CutShortRunLosesOwedSteps) {
            return self.end(now, slot, Outcome::Cancelled(reason), out);
        }
        // Only to a run that needs the same resource, which it takes over if this one still holds it; and only for a
        // limited time.
        let needs = run.policy.needs.clone();
        let holds_it = needs.is_none() || run.holds.is_some();
        let first_of_heir = newer.as_ref().and_then(|(newer, _)| run.first_step_left_to(newer));
        let put_off_until = run.put_off_until(first_of_heir.unwrap_or(first_left));
        let may_be_put_off = holds_it && put_off_until.is_none_or(|until| now < until);
        let heir = newer.as_ref().filter(|(newer, _)| newer.policy().needs == needs && may_be_put_off);
        let will_be_owed = |owed: &StepRef<'_>| {
            heir.is_some_and(|(newer, _)| newer.steps().skip(1).any(|step| step.topic() == owed.topic()))
        };
        let elapsed_ms = run.progress.started.map_or(0, |started| now.ms_since(started).max(0));
        let body = run.body.cut(first_left, u32::try_from(elapsed_ms).unwrap_or(u32::MAX), will_be_owed);
        self.stop_waiting(slot);
        self.unwatch(slot, out);
        let Some(run) = self.runs.get_mut(slot) else { return };
        (run.progress.attempts, run.tried_since) = (0, None);
        run.progress.steps_done = first_left;
        run.progress.armed = false;
        run.progress.cancelled = Some(reason);
        run.progress.put_off_until = put_off_until;
        run.heir = newer.as_ref().map(|(_, seq)| *seq);
        run.yields = body.steps().skip(first_left).filter(will_be_owed).count();
        run.body = body;
        self.save_run(slot, out);
        self.await_step(now, slot);
    }

    /// Ends a run with a recorded outcome (I13).
    pub(super) fn end(&mut self, now: Instant, slot: RunSlot, outcome: Outcome, out: &mut Step) {
        self.stop_waiting(slot);
        self.unwatch(slot, out);
        let unstarted = self.runs.get(slot).filter(|run| run.has_not_started()).map(|run| run.seq);
        if unstarted.is_some() {
            self.return_hold(slot);
        }
        if !mutated(Mutation::ResourceIsNeverReleased) {
            self.release_hold(now, slot);
        }
        let Some(run) = self.runs.remove(slot) else { return };
        let siblings = Siblings::of(&run);
        out.changes.push(Change::RunEnded(RunEnded {
            key: run.key,
            id: run.id.clone(),
            body: matches!(outcome, Outcome::Failed(_)).then(|| run.body.clone()),
            outcome,
            started: run.progress.started,
            ended: now,
            attempts: run.progress.attempts,
            note: run.progress.note,
        }));
        if let Some(job) = run.job.filter(|_| run.key.is_none() && !mutated(Mutation::WatermarkStaysBehindEndedRun)) {
            self.save_progress(job, out);
        }
        if let Some(job) = run.job.filter(|_| !mutated(Mutation::OnlyFirstIsCaughtUp)) {
            self.catch_up_next(now, job);
        }
        if let Some(heir) = unstarted.filter(|_| !mutated(Mutation::UnstartedHeirKeepsOwedSteps)) {
            self.resume_yielding(now, &siblings, heir);
        }
        self.wake_next(&siblings);
    }
}
