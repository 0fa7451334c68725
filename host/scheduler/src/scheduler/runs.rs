//! From a run to its end: attempts, steps, retries.
//!
//! ```text
//!            link and credit                acknowledged            more steps
//! Waiting ──────────────────▶ Sent ──────────────────────▶ ended ◀─────────────┐
//!    ▲                          │ link lost   │ refused      │                 │
//!    └──────────────────────────┘             ▼              └──▶ Resting ─────┘
//!    ▲                                     Pausing                   │ the step's time has come
//!    └────────────────────────────────────────┴──────────────────────┘
//! ```

use std::mem;

use super::{AttemptId, JobKey, LinkId, RunSlot, Scheduler, Timer};
use crate::{
    body::Body,
    event::{Change, Effect, Publish, RunEnded, RunKey, SavedRun, Step},
    jitter, limits,
    model::Policy,
    names::RunId,
    outcome::{Attempt, Cause, Failed, Missed, Outcome},
    time::Instant,
    topic::Topic,
};

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    /// The job it is a run of; `None` when that has gone.
    pub(super) job: Option<JobKey>,
    /// Its row, once it is on disk.
    pub(super) key: Option<RunKey>,
    pub(super) body: Body,
    /// How many steps there are.
    steps: usize,
    pub(super) policy: Policy,
    /// When it should start: its occurrence and its jitter.
    pub(super) start: Instant,
    /// When its first step was sent for the first time, or may have been.
    pub(super) started: Option<Instant>,
    /// The step that is to be done next.
    pub(super) step: usize,
    /// When the first attempt at that step was made.
    pub(super) tried_since: Option<Instant>,
    pub(super) attempts: u32,
    last: Attempt,
    /// Whether some step may have reached the broker: only then the later ones are owed (I5).
    pub(super) on_the_wire: bool,
    failed: Option<Failed>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It could be sent, and waits for the link or its turn.
    Waiting,
    /// An attempt is under way.
    Sent(AttemptId),
    /// The broker refused it: until then it is not tried again.
    Pausing(Instant),
    /// The next step's time has not come.
    Resting(Instant),
}

impl Run {
    pub(super) fn new(id: RunId, job: JobKey, body: Body, policy: Policy, start: Instant) -> Self {
        Self {
            id,
            job: Some(job),
            key: None,
            steps: body.step_count(),
            body,
            policy,
            start,
            started: None,
            step: 0,
            tried_since: None,
            attempts: 0,
            last: Attempt::LinkLost,
            on_the_wire: false,
            failed: None,
            state: State::Waiting,
        }
    }

    /// A run that the store has kept. What was sent before the crash is not known: its step is done again.
    pub(super) fn restored(now: Instant, key: RunKey, saved: SavedRun, job: Option<JobKey>) -> Self {
        let policy = saved.body.policy();
        let mut run = Self {
            id: saved.id,
            job,
            key: Some(key),
            steps: saved.body.step_count(),
            body: saved.body,
            policy,
            start: saved.start,
            started: saved.started,
            step: saved.steps_done,
            tried_since: saved.started.filter(|_| saved.steps_done == 0),
            attempts: 0,
            last: Attempt::LinkLost,
            on_the_wire: saved.started.is_some(),
            failed: saved.failed,
            state: State::Waiting,
        };
        if run.started.is_some() && run.due_of(run.step).is_some_and(|due| due <= now) {
            // One may have been made, and what comes now may be a repeat.
            run.attempts = 1;
        }
        run
    }

    /// Whether nothing of it has been sent.
    pub(super) fn has_not_started(&self) -> bool {
        self.started.is_none()
    }

    /// When a step's time comes; `None` before the run has started.
    pub(super) fn due_of(&self, step: usize) -> Option<Instant> {
        if step == 0 {
            return Some(self.start);
        }
        Some(self.started?.plus_ms(self.body.step(step)?.after_ms.into()))
    }

    /// I5: a later step of a run whose first step has been sent.
    fn is_owed(&self) -> bool {
        self.step > 0
    }

    /// Whether the current step's time is over: `open` never follows `close`. A first step gives way to the next one;
    /// an owed step only to a later one that is due on the same topic, which says what should hold now.
    fn is_overtaken(&self, now: Instant) -> bool {
        if self.attempts == 0 && !self.is_owed() {
            return false;
        }
        let topic = |step: usize| self.body.step(step).map(|step| step.topic());
        let due = |step: &usize| self.due_of(*step).is_some_and(|due| due <= now);
        let mut later = (self.step + 1..self.steps).take_while(due);
        if self.is_owed() { later.any(|step| topic(step) == topic(self.step)) } else { later.next().is_some() }
    }

    /// When a later step's time comes, a first step that is still being tried is given up; an owed one never (I5).
    fn gives_way_at(&self) -> Option<Instant> {
        let gives_way = self.on_the_wire && !self.is_owed();
        if gives_way { self.due_of(self.step + 1) } else { None }
    }

    /// Whether the retries of the current step have come to an end.
    fn is_given_up(&self, now: Instant) -> bool {
        let retry = self.policy.retry;
        let tried_ms = self.tried_since.map_or(0, |since| now.ms_since(since));
        let out_of_time = tried_ms >= i64::from(retry.give_up_after_ms);
        let out_of_attempts = retry.attempts.is_some_and(|most| self.attempts >= most);
        // I5: an owed step has no give-up.
        self.attempts > 0 && !self.is_owed() && (out_of_time || out_of_attempts)
    }

    /// The pause before the next attempt: doubled each time, a quarter of it drawn by lot.
    fn pause_ms(&self) -> i64 {
        let doubled = u64::from(self.policy.retry.backoff_ms) << self.attempts.saturating_sub(1).min(31);
        let pause = u32::try_from(doubled).unwrap_or(u32::MAX).min(limits::BACKOFF_CAP_MS);
        i64::from(pause - jitter::salted(&self.id, self.attempts, pause / 4))
    }

    /// How long the broker may hold the message: no longer than it is good for. Seconds would be rounded up.
    fn expiry_ms(&self, now: Instant) -> Option<u32> {
        let step = self.body.step(self.step)?;
        if let Some(expiry_ms) = step.properties().and_then(|properties| properties.expiry_ms) {
            return Some(expiry_ms);
        }
        if step.retain || self.is_owed() {
            return None;
        }
        let grace_end = self.start.plus_ms(i64::from(self.policy.grace_ms));
        let give_up = self.tried_since.unwrap_or(now).plus_ms(i64::from(self.policy.retry.give_up_after_ms));
        Some(u32::try_from(grace_end.max(give_up).ms_since(now)).unwrap_or(0).max(1_000))
    }

    fn to_saved(&self) -> SavedRun {
        SavedRun {
            id: self.id.clone(),
            body: self.body.clone(),
            start: self.start,
            steps_done: self.step,
            started: self.started,
            failed: self.failed.clone(),
        }
    }
}

impl Scheduler {
    /// Puts a run into the queue for the link.
    pub(super) fn enqueue(&mut self, slot: RunSlot) {
        if let Some(run) = self.runs.get_mut(slot) {
            run.state = State::Waiting;
            self.ready.push(&run.id.plugin, run.policy.priority, run.start, slot);
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
        let idle = !matches!(run.state, State::Sent(_));
        if idle && run.is_given_up(now) && run.step + 1 == run.steps {
            let last = run.last.clone();
            self.give_up_step(now, slot, last, out);
        }
    }

    /// A run's turn has come.
    fn attempt(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get(slot) else { return };
        if run.has_not_started()
            && let Some(outcome) = self.why_not_start(now, run)
        {
            return self.end(now, slot, outcome, out);
        }
        if run.is_overtaken(now) {
            let last = if run.attempts > 0 { run.last.clone() } else { Attempt::Overtaken };
            return self.give_up_step(now, slot, last, out);
        }
        if run.is_given_up(now) {
            let last = run.last.clone();
            return self.give_up_step(now, slot, last, out);
        }
        self.send(now, slot, out);
    }

    /// Whether a run that has not started may not do so.
    fn why_not_start(&self, now: Instant, run: &Run) -> Option<Outcome> {
        let late_ms = now.ms_since(run.start);
        if late_ms > i64::from(run.policy.grace_ms) {
            let cause = if run.start < self.since {
                Cause::HostAway
            } else if run.start < self.link_since {
                Cause::LinkDown
            } else {
                Cause::Busy
            };
            return Some(Outcome::Missed(Missed::TooLate { late_ms, grace_ms: run.policy.grace_ms, cause }));
        }
        self.denied_topic(run).map(|topic| Outcome::Denied { topic })
    }

    /// I8: checked again when it is published. An owed step uses the grant it was accepted under, so all of a run's
    /// steps are looked at before it starts.
    fn denied_topic(&self, run: &Run) -> Option<Topic> {
        let key = self.plugin_keys.get(&run.id.plugin)?;
        let grant = &self.plugins.get(*key)?.grant;
        let mut topics = run.body.steps().map(|step| step.topic());
        topics.find(|topic| !grant.allows_publish(topic)).map(Topic::known)
    }

    fn send(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let (Some(run), Some(link)) = (self.runs.get_mut(slot), self.link.as_mut()) else { return };
        link.credit -= 1;
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        self.attempts.insert(attempt, slot);
        run.attempts += 1;
        run.tried_since.get_or_insert(now);
        run.state = State::Sent(attempt);
        let starts = run.started.is_none();
        run.started.get_or_insert(now);
        let publish = Publish {
            link: link.id,
            attempt,
            run: run.id.clone(),
            due: run.due_of(run.step).unwrap_or(now),
            number: run.attempts,
            expiry_ms: run.expiry_ms(now),
            body: run.body.clone(),
            step: run.step,
            // I3: what owes later steps is on disk before anybody hears of it, and so is each step that is done
            // before the next one is sent: a crash never sends an earlier one after a later one. A run that outlives
            // its job's plan is on disk with that plan.
            after_commit: run.steps > 1 || run.key.is_some(),
        };
        if starts && run.steps > 1 {
            self.save_run(slot, out);
        }
        out.effects.push(Effect::Publish(publish));
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

    /// The broker has the message.
    pub(super) fn acked(&mut self, now: Instant, link: LinkId, attempt: AttemptId, out: &mut Step) {
        let Some(slot) = self.answered(link, attempt) else { return };
        if let Some(run) = self.runs.get_mut(slot) {
            run.on_the_wire = true;
            self.next_step(now, slot, out);
        }
    }

    /// The broker does not want the message.
    pub(super) fn refused(&mut self, now: Instant, link: LinkId, attempt: AttemptId, reason: String, out: &mut Step) {
        let Some(slot) = self.answered(link, attempt) else { return };
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.last = Attempt::Refused(reason);
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
        Some(slot)
    }

    /// The link is gone: what was under way on it may or may not have arrived, and is tried again. What was lost more
    /// than once pauses before: it may be what ends the link, and others want it too (I7).
    pub(super) fn link_down(&mut self, now: Instant) {
        self.link = None;
        for slot in mem::take(&mut self.attempts).into_values() {
            let Some(run) = self.runs.get_mut(slot) else { continue };
            run.last = Attempt::LinkLost;
            run.on_the_wire = true;
            if run.attempts > 1 {
                self.pause(now, slot);
            } else {
                self.enqueue(slot);
            }
        }
    }

    /// Waits before the next attempt, but not beyond the time of an owed step that is waiting for this one.
    fn pause(&mut self, now: Instant, slot: RunSlot) {
        if let Some(run) = self.runs.get_mut(slot) {
            let until = now.plus_ms(run.pause_ms()).min(run.gives_way_at().unwrap_or(Instant::MAX));
            run.state = State::Pausing(until);
            self.timers.insert((until, Timer::Run(slot)));
        }
    }

    /// The current step was given up; the later ones are owed if anything may have reached the broker.
    fn give_up_step(&mut self, now: Instant, slot: RunSlot, last: Attempt, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let failed = Failed { step: run.step + 1, attempts: run.attempts, last };
        if !run.on_the_wire {
            return self.end(now, slot, Outcome::Failed(failed), out);
        }
        run.failed.get_or_insert(failed);
        self.next_step(now, slot, out);
    }

    /// The current step is done with.
    fn next_step(&mut self, now: Instant, slot: RunSlot, out: &mut Step) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.step += 1;
        if run.step == run.steps {
            let outcome = run.failed.take().map_or(Outcome::Succeeded, Outcome::Failed);
            return self.end(now, slot, outcome, out);
        }
        run.attempts = 0;
        run.tried_since = None;
        if let Some(key) = run.key {
            out.changes.push(Change::RunAdvanced {
                key,
                steps_done: run.step,
                started: run.started,
                failed: run.failed.clone(),
            });
        }
        self.await_step(now, slot);
    }

    /// Waits until the current step's time has come.
    pub(super) fn await_step(&mut self, now: Instant, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        match run.due_of(run.step) {
            Some(due) if due > now => {
                run.state = State::Resting(due);
                self.timers.insert((due, Timer::Run(slot)));
            }
            _ => self.enqueue(slot),
        }
    }

    /// I13: each run ends in a recorded outcome.
    pub(super) fn end(&mut self, now: Instant, slot: RunSlot, outcome: Outcome, out: &mut Step) {
        let Some(run) = self.runs.remove(slot) else { return };
        match run.state {
            State::Waiting => self.ready.remove(&run.id.plugin, run.policy.priority, run.start, slot),
            State::Pausing(until) | State::Resting(until) => {
                self.timers.remove(&(until, Timer::Run(slot)));
            }
            State::Sent(attempt) => {
                self.attempts.remove(&attempt);
            }
        }
        out.changes.push(Change::RunEnded(RunEnded {
            key: run.key,
            id: run.id.clone(),
            outcome,
            started: run.started,
            ended: now,
            attempts: run.attempts,
        }));
        let Some(key) = run.job else {
            self.orphans.remove(&run.id.of_job());
            return;
        };
        if let Some(state) = self.jobs.get_mut(key) {
            if state.run == Some(slot) {
                state.run = None;
            }
            if run.key.is_none() {
                self.save_progress(key, out);
            }
        }
    }
}
