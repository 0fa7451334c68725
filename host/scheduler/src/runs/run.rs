//! A run, and everything about it that depends on no other state.

use super::watch::Watch;
use crate::{
    body::Body,
    event::{AttemptId, CallId, CommitToken, JobKey, Progress, RunKey, SavedRun},
    keys::{Rank, RunSlot, Seq},
    limits,
    model::{Confirm, Policy},
    mutants::{Mutation, mutated},
    names::RunId,
    outcome::{Attempt, Cause},
    policy::{backoff, grace},
    time::Instant,
};

/// A run that has not ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: RunId,
    /// The job that it is a run of, which may have been removed.
    pub(crate) job: JobKey,
    /// Its key in the store, once it is saved.
    pub(crate) key: Option<RunKey>,
    /// Whether it is known that the saved run, including its start, is durable.
    pub(crate) is_durable: bool,
    pub(crate) seq: Seq,
    pub(crate) body: Body,
    /// The number of steps; 0 before the plugin has returned them.
    pub(crate) steps: usize,
    pub(crate) policy: Policy,
    /// When it should start: its occurrence plus its jitter.
    pub(crate) start: Instant,
    pub(crate) progress: Progress,
    /// When the first attempt at the current step was made.
    pub(crate) tried_since: Option<Instant>,
    pub(crate) last: Attempt,
    /// Whether a step may have reached the broker: only then are the later ones owed (I5).
    pub(crate) on_the_wire: bool,
    /// How many of its last steps it leaves to a newer run, if that starts.
    pub(crate) yields: usize,
    /// The earlier runs whose last steps it takes over when it starts.
    pub(crate) takes_over: Vec<Seq>,
    /// What held it up, if anything.
    pub(crate) held_by: Option<Cause>,
    /// Since when it holds its resource, if it does: from its start on, or from that of the run from which it has taken
    /// it over.
    pub(crate) holds: Option<Instant>,
    /// Its subscription to reports of its device; few runs have one.
    pub(crate) watch: Option<Box<Watch>>,
    /// The owed step that is sent without confirmation, because the subscription failed.
    pub(crate) unconfirmed_step: Option<usize>,
    /// Since when the current step has been sent to a topic without subscribers; if it was overdue before, since when the
    /// overdue ones of its run have been.
    pub(crate) unsubscribed_since: Option<Instant>,
    pub(crate) phase: Phase,
}

/// What a run that has not ended does or waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It could be sent, and waits for the link or its turn.
    Waiting,
    /// The same, but its plugin is over its rate; its grace ends then.
    Limited(Instant),
    /// It waits for another run; if it has a grace, that ends then.
    Held(Option<Instant>),
    /// Its plugin was called for its messages.
    Asking(CallId),
    /// It waits for a subscription or a retained report until then.
    Listening(Instant),
    /// Its turn has come: it is sent as soon as the commit is durable.
    Arming(CommitToken),
    /// An attempt is in flight.
    Sent(AttemptId),
    /// The broker has the message; the device is to report until then.
    Confirming(Instant),
    /// An attempt failed: the next one is made then.
    Pausing(Instant),
    /// The next step is due then.
    Resting(Instant),
}

impl Phase {
    /// Returns its word, for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting | Self::Limited(_) => "waiting",
            Self::Held(_) => "held",
            Self::Asking(_) => "asking",
            Self::Listening(_) => "listening",
            Self::Arming(_) => "arming",
            Self::Sent(_) => "sent",
            Self::Confirming(_) => "confirming",
            Self::Pausing(_) => "pausing",
            Self::Resting(_) => "resting",
        }
    }

    /// Returns whether an attempt is under way.
    pub(crate) const fn is_attempt(self) -> bool {
        matches!(self, Self::Asking(_) | Self::Arming(_) | Self::Sent(_) | Self::Confirming(_))
    }

    /// Returns when its timer fires.
    pub(crate) const fn until(self) -> Option<Instant> {
        match self {
            Self::Held(until) => until,
            Self::Limited(until)
            | Self::Listening(until)
            | Self::Confirming(until)
            | Self::Pausing(until)
            | Self::Resting(until) => Some(until),
            Self::Waiting | Self::Asking(_) | Self::Arming(_) | Self::Sent(_) => None,
        }
    }

    /// Moves a measured time after the clock was set; times that a clock shows stay as they are.
    fn shift(&mut self, by_ms: i64) {
        if let Self::Listening(until) | Self::Confirming(until) | Self::Pausing(until) | Self::Resting(until) = self {
            *until = until.plus_ms(by_ms);
        }
    }
}

impl Run {
    pub(crate) fn new(id: RunId, job: JobKey, body: Body, policy: Policy, start: Instant) -> Self {
        Self {
            id,
            job,
            key: None,
            is_durable: false,
            seq: 0,
            steps: body.step_count(),
            body,
            policy,
            start,
            progress: Progress::default(),
            tried_since: None,
            last: Attempt::LinkLost,
            on_the_wire: false,
            yields: 0,
            takes_over: Vec::new(),
            held_by: None,
            holds: None,
            watch: None,
            unconfirmed_step: None,
            unsubscribed_since: None,
            phase: Phase::Waiting,
        }
    }

    /// Restores a saved run. It is unknown what was sent before the crash: the current step is sent again, unless it is
    /// marked `once`.
    pub(crate) fn restored(now: Instant, key: RunKey, saved: SavedRun, job: JobKey) -> Self {
        let policy = saved.body.policy();
        let mut run =
            Self { key: Some(key), is_durable: true, ..Self::new(saved.id, job, saved.body, policy, saved.start) };
        run.progress = saved.progress;
        if let Some(started) = run.progress.started.filter(|started| *started > now) {
            // The clock has lost the time, so that it is unknown how long the host was down.
            run.progress.started = Some(now);
            let by_ms = if mutated(Mutation::LostClockPutsOffOwedSteps) { 0 } else { now.ms_since(started) };
            run.progress.put_off_until = run.progress.put_off_until.map(|until| until.plus_ms(by_ms));
        }
        run.on_the_wire = run.progress.started.is_some();
        run.tried_since = run.progress.started.filter(|_| run.step() == 0);
        let is_due = || run.step() == 0 || run.due_of(run.step()).is_some_and(|due| due <= now);
        let was_due = run.progress.started.is_some() && is_due();
        if was_due && !run.is_once() {
            // An attempt may have been made, so that the next one may be a repeat.
            let counted = if mutated(Mutation::CrashRestartsAttempts) { 0 } else { run.progress.attempts };
            run.progress.attempts = counted.max(1);
        }
        if run.progress.attempts > 0 {
            run.last = Attempt::HostStopped;
        }
        if run.progress.armed {
            run.last = Attempt::PossiblySent;
        }
        run
    }

    /// Returns the index of the current step.
    pub(crate) const fn step(&self) -> usize {
        self.progress.steps_done
    }

    /// Returns whether nothing of it has been sent.
    pub(crate) const fn has_not_started(&self) -> bool {
        self.progress.started.is_none()
    }

    /// Returns whether a message of it was sent, or may have been before a crash, and nothing has shown that it did not
    /// arrive.
    pub(crate) const fn is_running(&self) -> bool {
        self.on_the_wire || matches!(self.phase, Phase::Sent(_))
    }

    /// Returns whether a report of its device would start it.
    pub(crate) const fn listens_for_its_start(&self) -> bool {
        self.has_not_started() && matches!(self.phase, Phase::Listening(_))
    }

    /// Returns when a step is due; `None` before the run has started.
    pub(crate) fn due_of(&self, step: usize) -> Option<Instant> {
        if step == 0 {
            return Some(self.start);
        }
        Some(self.progress.started?.plus_ms(self.body.step(step)?.after_ms.into()))
    }

    /// Marks the run as started.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.progress.started.get_or_insert(now);
        self.on_the_wire = true;
    }

    /// Returns whether an attempt at its current step has failed; one in flight does not count.
    pub(crate) const fn has_failed(&self) -> bool {
        self.progress.attempts > self.phase.is_attempt() as u32
    }

    /// Returns whether it has more than one step.
    pub(crate) const fn is_long(&self) -> bool {
        self.steps > 1
    }

    /// Returns whether its current step is owed: a later step, after the first one has been sent (I5).
    pub(crate) const fn is_owed(&self) -> bool {
        self.step() > 0
    }

    /// Returns the pause before its next attempt, in milliseconds.
    pub(crate) fn pause_ms(&self) -> i64 {
        backoff::pause_ms(&self.policy.retry, self.progress.attempts, &self.id)
    }

    /// Returns its rank among the runs of its plugin that could be sent.
    pub(crate) const fn rank(&self, slot: RunSlot) -> Rank {
        Rank::new(self.is_owed(), self.policy.priority, self.start, slot)
    }

    /// Returns whether it was last held up by its plugin's rate.
    pub(crate) const fn is_over_rate(&self) -> bool {
        matches!(self.held_by, Some(Cause::OverRate { .. }))
    }

    /// Returns when its grace ends, if it has one that still counts.
    pub(crate) fn grace_end(&self) -> Option<Instant> {
        grace::end(&self.policy, self.start).filter(|_| self.has_not_started())
    }

    /// Returns whether all its owed steps are left to a newer run, if that starts.
    pub(crate) const fn is_yielding(&self) -> bool {
        self.yields > 0 && self.step() + self.yields >= self.steps
    }

    /// Takes over owed steps of earlier runs: its own later steps are owed even if its first step is not sent, and may
    /// be put off no longer than those it has taken over.
    pub(crate) fn inherit(&mut self, put_off_until: Option<Instant>) {
        self.on_the_wire = true;
        let both = self.progress.put_off_until.into_iter().chain(put_off_until);
        self.progress.put_off_until = both.min();
    }

    /// Returns the first owed step that a newer run will owe as well, so that it can be left to that run.
    pub(crate) fn first_step_left_to(&self, newer: &Body) -> Option<usize> {
        let is_owed = |step: &usize| self.body.step(*step).is_some_and(|step| newer.owes(step.topic()));
        let needs_the_same = newer.policy().needs == self.policy.needs;
        (self.step().max(1)..self.steps).find(is_owed).filter(|_| needs_the_same && self.on_the_wire)
    }

    /// Returns whether it has taken over owed steps of others, and nothing of its own was sent.
    pub(crate) fn is_unsent_heir(&self) -> bool {
        self.step() == 0 && self.progress.attempts == 0 && self.on_the_wire
    }

    /// Returns until when newer runs may put off its owed steps from a step on, by owing them themselves: as long as
    /// the steps that it has taken over from earlier runs, and never longer than its own, because the clock may have
    /// been set back meanwhile.
    pub(crate) fn put_off_until(&self, step: usize) -> Option<Instant> {
        let after_ms = self.body.step(step)?.after_ms;
        let own = self.due_of(step)?.plus_ms(limits::PUT_OFF_MS.max(after_ms).into());
        let taken_over = self.progress.put_off_until.filter(|_| !mutated(Mutation::OwedStepIsPutOffForEver));
        Some(taken_over.map_or(own, |taken_over| taken_over.min(own)))
    }

    /// Returns its next owed step, and when that is due.
    pub(crate) fn next_owed(&self) -> Option<(usize, Instant)> {
        let step = self.step().max(1);
        Some((step, self.due_of(step)?)).filter(|_| self.on_the_wire)
    }

    /// Returns whether the current step is superseded: `open` is never sent after `close`. A first step is superseded
    /// by the next one; an owed step only by a later due step on the same topic, which sets the state that should hold
    /// now.
    pub(crate) fn is_overtaken(&self, now: Instant) -> bool {
        if self.progress.attempts == 0 && !self.is_owed() {
            return false;
        }
        let current = self.step();
        let topic = |step: usize| self.body.step(step).map(|step| step.topic());
        let due = |step: &usize| self.due_of(*step).is_some_and(|due| due <= now);
        let mut later = (current + 1..self.steps).take_while(due);
        if self.is_owed() {
            return later.any(|step| topic(step) == topic(current));
        }
        later.next().is_some() && !mutated(Mutation::FirstStepFollowsNext)
    }

    /// Returns when the current step will be superseded by the next one: only a first step is; an owed step never (I5).
    pub(crate) fn superseded_at(&self) -> Option<Instant> {
        let gives_way = self.on_the_wire && !self.is_owed();
        if gives_way { self.due_of(self.step() + 1) } else { None }
    }

    /// Returns whether the retries of the current step are exhausted.
    pub(crate) fn is_given_up(&self, now: Instant) -> bool {
        let retry = self.policy.retry;
        let tried_ms = self.tried_since.map_or(0, |since| now.ms_since(since));
        let out_of_time = tried_ms >= i64::from(retry.give_up_after_ms);
        let out_of_attempts = retry.attempts.is_some_and(|most| self.progress.attempts >= most);
        // I5: an owed step is never given up.
        let may_be_given_up = !self.is_owed() || mutated(Mutation::OwedStepIsGivenUp);
        let given_up = may_be_given_up && (out_of_time || out_of_attempts);
        let is_spent = self.is_spent() && !mutated(Mutation::OnceIsRetried);
        self.progress.attempts > 0 && (given_up || is_spent)
    }

    /// Returns until when the current step is sent again while its topic has no subscriber, at most until the next step
    /// is due, if that was not due already; `None` if it is not sent again: it is not owed, the first step had no
    /// subscriber either, its run was cut short, the broker retains it, or it is marked `once`.
    pub(crate) fn waits_for_subscriber_until(&self) -> Option<Instant> {
        let step = self.body.step(self.step())?;
        let is_match = self.is_owed()
            && self.progress.no_subscriber != Some(1)
            && self.progress.cancelled.is_none()
            && !step.retain
            && !step.once;
        let since = self.unsubscribed_since?;
        let longest = since.plus_ms(limits::NO_SUBSCRIBER_MS);
        // After a crash, all later steps may be overdue, and their device not yet back.
        let next = self.due_of(self.step() + 1).filter(|next| *next > since).unwrap_or(Instant::MAX);
        is_match.then_some(longest.min(next))
    }

    /// Returns whether the broker has the current step, and its topic had no subscriber for long enough.
    pub(crate) fn has_waited_for_subscriber(&self, now: Instant) -> bool {
        self.last == Attempt::NoSubscriber
            && self.progress.attempts > 0
            && self.unsubscribed_since.is_some()
            && self.waits_for_subscriber_until().is_none_or(|until| until <= now)
    }

    /// Returns whether a step marked `once` was attempted, so that it must not be sent again (I4).
    pub(crate) fn is_spent(&self) -> bool {
        self.progress.attempts > 0 && self.is_once()
    }

    /// Returns whether the current step may be sent although the store has failed: it is owed, and the stored run shows
    /// that.
    pub(crate) fn can_continue_unsaved(&self) -> bool {
        self.is_owed() && self.is_durable && (!self.is_once() || mutated(Mutation::OnceIsSentWhileStoreFails))
    }

    /// Returns whether the current step is marked `once`.
    pub(crate) fn is_once(&self) -> bool {
        self.body.step(self.step()).is_some_and(|step| step.once)
    }

    /// Returns the confirmation that the current step needs.
    pub(crate) fn confirm(&self) -> Option<Confirm> {
        self.body.step(self.step())?.confirm()
    }

    /// Returns the message expiry: no longer than the message is useful. Fractions of a second would be rounded up.
    pub(crate) fn expiry_ms(&self, now: Instant) -> Option<u32> {
        let step = self.body.step(self.step())?;
        if let Some(expiry_ms) = step.properties().and_then(|properties| properties.expiry_ms) {
            return Some(expiry_ms);
        }
        if step.retain || self.is_owed() || self.policy.group().is_some() {
            return None;
        }
        let grace_end = self.start.plus_ms(i64::from(self.policy.grace_ms));
        let give_up = self.tried_since.unwrap_or(now).plus_ms(i64::from(self.policy.retry.give_up_after_ms));
        Some(u32::try_from(grace_end.max(give_up).ms_since(now)).unwrap_or(0).max(1_000))
    }

    /// Returns whether the device has confirmed the step although the attempt that just ended was never sent. Without
    /// an earlier attempt, only a report that counts regardless of its cause does; any other one is discarded, and the
    /// next one is waited for.
    pub(crate) fn take_counting_report(&mut self) -> bool {
        let already = self.confirm().is_some_and(|confirm| confirm.already);
        let Some(watch) = &mut self.watch else { return false };
        if already || self.progress.attempts > 0 {
            return watch.has_reported();
        }
        watch.discard();
        false
    }

    /// Moves measured times after the clock was set.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.tried_since = self.tried_since.map(|since| since.plus_ms(by_ms));
        self.unsubscribed_since = self.unsubscribed_since.map(|since| since.plus_ms(by_ms));
        self.progress.started = self.progress.started.map(|started| started.plus_ms(by_ms));
        self.progress.put_off_until = self.progress.put_off_until.map(|until| until.plus_ms(by_ms));
        let waits_for_its_start = matches!(self.phase, Phase::Resting(_)) && self.step() == 0;
        if !waits_for_its_start || mutated(Mutation::ClockMovesStarts) {
            self.phase.shift(by_ms);
        }
        if let Some(watch) = &mut self.watch {
            watch.shift(by_ms);
        }
    }

    pub(crate) fn to_saved(&self) -> SavedRun {
        let (id, body) = (self.id.clone(), self.body.clone());
        SavedRun { id, body, start: self.start, progress: self.progress.clone() }
    }
}
