//! A run, and what can be said of it without knowing anything else.

use super::{AttemptId, CallId, CommitToken, JobKey, RunSlot, Seq, queues::Hold, reports::Watch};
use crate::{
    body::Body,
    event::{Progress, RunKey, SavedRun},
    fair_queue::Rank,
    jitter, limits,
    model::{Confirm, Policy},
    names::RunId,
    outcome::{Attempt, Cause},
    time::Instant,
};

/// A run that has not ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    /// The job it is a run of; `None` when that has gone.
    pub(super) job: Option<JobKey>,
    /// Its row, once it is on disk.
    pub(super) key: Option<RunKey>,
    /// Whether that is durable, for all that is known, and that it has started.
    pub(super) is_durable: bool,
    pub(super) seq: Seq,
    pub(super) body: Body,
    /// How many steps there are; none before the plugin was asked.
    pub(super) steps: usize,
    pub(super) policy: Policy,
    /// When it should start: its occurrence and its jitter.
    pub(super) start: Instant,
    pub(super) progress: Progress,
    /// When the first attempt at the current step was made.
    pub(super) tried_since: Option<Instant>,
    pub(super) last: Attempt,
    /// Whether some step may have reached the broker: only then the later ones are owed (I5).
    pub(super) on_the_wire: bool,
    /// How many of its last steps it leaves to a newer run, if that starts.
    pub(super) yields: usize,
    /// Which that is.
    pub(super) heir: Option<Seq>,
    /// What it was held up by, if it was.
    pub(super) held_by: Option<Cause>,
    /// Whether it holds what it needs.
    pub(super) holds: Option<Hold>,
    /// Where it listens to its device's reports; few do.
    pub(super) watch: Option<Box<Watch>>,
    /// The step that is owed, and goes without its device's report, for that cannot be listened to.
    pub(super) unconfirmed_step: Option<usize>,
    /// Since when the current step is sent to a topic without a subscriber.
    pub(super) unsubscribed_since: Option<Instant>,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It could be sent, and waits for the link or its turn.
    Waiting,
    /// The same, and its plugin has more to send than its rate allows: then its grace ends.
    Limited(Instant),
    /// It has to wait for another run; then its grace may end.
    Held(Option<Instant>),
    /// Its plugin was asked what to publish.
    Asking(CallId),
    /// It has asked for its device's reports, and waits so long for them.
    Listening(Instant),
    /// Its turn has come: it leaves as soon as what has to be kept of it is durable.
    Arming(CommitToken),
    /// An attempt is under way.
    Sent(AttemptId),
    /// The broker has it, and the device is to report until then.
    Confirming(Instant),
    /// An attempt failed: until then it is not tried again.
    Pausing(Instant),
    /// The next step's time has not come.
    Resting(Instant),
}

impl State {
    /// When its timer goes off.
    pub(super) const fn until(self) -> Option<Instant> {
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

    /// The same after the clock was set: what is measured goes on, what a clock shows does not.
    pub(super) fn shifted(self, by_ms: i64) -> Self {
        match self {
            Self::Listening(until) => Self::Listening(until.plus_ms(by_ms)),
            Self::Confirming(until) => Self::Confirming(until.plus_ms(by_ms)),
            Self::Pausing(until) => Self::Pausing(until.plus_ms(by_ms)),
            Self::Resting(until) => Self::Resting(until.plus_ms(by_ms)),
            same => same,
        }
    }
}

impl Run {
    pub(super) fn new(id: RunId, job: Option<JobKey>, body: Body, policy: Policy, start: Instant) -> Self {
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
            heir: None,
            held_by: None,
            holds: None,
            watch: None,
            unconfirmed_step: None,
            unsubscribed_since: None,
            state: State::Waiting,
        }
    }

    /// A run that the store has kept. What was sent before the crash is not known: its step is done again, unless it is to
    /// be sent only once.
    pub(super) fn restored(now: Instant, key: RunKey, saved: SavedRun, job: Option<JobKey>) -> Self {
        let policy = saved.body.policy();
        let mut run =
            Self { key: Some(key), is_durable: true, ..Self::new(saved.id, job, saved.body, policy, saved.start) };
        run.progress = saved.progress;
        // A clock that has lost the time: as long as the host was away is as long as nobody knows.
        run.progress.started = run.progress.started.map(|started| started.min(now));
        run.on_the_wire = run.progress.started.is_some();
        run.tried_since = run.progress.started.filter(|_| run.step() == 0);
        let is_due = || run.step() == 0 || run.due_of(run.step()).is_some_and(|due| due <= now);
        let was_due = run.progress.started.is_some() && is_due();
        if was_due && !run.is_once() {
            // An attempt may have been made, and what comes now may be a repeat.
            run.progress.attempts = run.progress.attempts.max(1);
        }
        if run.progress.attempts > 0 {
            run.last = Attempt::HostStopped;
        }
        if run.progress.armed {
            run.last = Attempt::PossiblySent;
        }
        run
    }

    /// The step that is to be done next.
    pub(super) const fn step(&self) -> usize {
        self.progress.steps_done
    }

    /// Whether nothing of it has been sent.
    pub(super) const fn has_not_started(&self) -> bool {
        self.progress.started.is_none()
    }

    /// When a step's time comes; `None` before the run has started.
    pub(super) fn due_of(&self, step: usize) -> Option<Instant> {
        if step == 0 {
            return Some(self.start);
        }
        Some(self.progress.started?.plus_ms(self.body.step(step)?.after_ms.into()))
    }

    /// Its first step is as good as sent.
    pub(super) fn begin(&mut self, now: Instant) {
        self.progress.started.get_or_insert(now);
        self.on_the_wire = true;
    }

    /// Whether an attempt at its current step has come to nothing; the one that is under way may not have.
    pub(super) const fn has_failed(&self) -> bool {
        let is_under_way =
            matches!(self.state, State::Asking(_) | State::Arming(_) | State::Sent(_) | State::Confirming(_));
        self.progress.attempts > is_under_way as u32
    }

    /// Whether it has more than one step.
    pub(super) const fn is_long(&self) -> bool {
        self.steps > 1
    }

    /// I5: a later step of a run whose first step has been sent.
    pub(super) const fn is_owed(&self) -> bool {
        self.step() > 0
    }

    /// Where it stands among the runs of its plugin that could be sent.
    pub(super) const fn rank(&self, slot: RunSlot) -> Rank {
        Rank::new(self.is_owed(), self.policy.priority, self.start, slot)
    }

    /// Whether what held it up last is its plugin's rate.
    pub(super) const fn is_over_rate(&self) -> bool {
        matches!(self.held_by, Some(Cause::OverRate { .. }))
    }

    /// When its grace is over, if it has one that still counts.
    pub(super) fn grace_end(&self) -> Option<Instant> {
        let has_grace = self.has_not_started() && self.policy.group().is_none();
        has_grace.then(|| self.start.plus_ms(i64::from(self.policy.grace_ms) + 1))
    }

    /// Whether all that it owes is left to a newer run, if that starts.
    pub(super) const fn is_yielding(&self) -> bool {
        self.yields > 0 && self.step() + self.yields >= self.steps
    }

    /// It takes over what others owe: its own later steps are owed, whatever becomes of its first one, and may be put off no
    /// longer than what it has taken over.
    pub(super) fn inherit(&mut self, put_off_until: Option<Instant>) {
        self.on_the_wire = true;
        let both = self.progress.put_off_until.into_iter().chain(put_off_until);
        self.progress.put_off_until = both.min();
    }

    /// The first step of it that a newer run will owe as well, and leaves it to that, if it is owed at all.
    pub(super) fn first_step_left_to(&self, newer: &Body) -> Option<usize> {
        let is_owed = |step: &usize| {
            let topic = self.body.step(*step).map(|step| step.topic().to_owned());
            newer.steps().skip(1).any(|newer| Some(newer.topic()) == topic.as_deref())
        };
        let needs_the_same = newer.policy().needs == self.policy.needs;
        (self.step().max(1)..self.steps).find(is_owed).filter(|_| needs_the_same && self.on_the_wire)
    }

    /// Whether it has taken over what others owe, and nothing of its own was sent.
    pub(super) fn is_unsent_heir(&self) -> bool {
        self.step() == 0 && self.progress.attempts == 0 && self.on_the_wire
    }

    /// Until when newer runs may put off what it owes from a step on, by owing that themselves: as long as what it has taken
    /// over from earlier ones may be put off, and never longer than its own: the clock may have been set back meanwhile.
    pub(super) fn put_off_until(&self, step: usize) -> Option<Instant> {
        let after_ms = self.body.step(step)?.after_ms;
        let own = self.due_of(step)?.plus_ms(limits::PUT_OFF_MS.max(after_ms).into());
        Some(self.progress.put_off_until.map_or(own, |taken_over| taken_over.min(own)))
    }

    /// The step that it owes next, and when that is due.
    pub(super) fn next_owed(&self) -> Option<(usize, Instant)> {
        let step = self.step().max(1);
        Some((step, self.due_of(step)?)).filter(|_| self.on_the_wire)
    }

    /// Whether the current step's time is over: `open` never follows `close`. A first step gives way to the next one;
    /// an owed step only to a later one that is due on the same topic, which says what should hold now.
    pub(super) fn is_overtaken(&self, now: Instant) -> bool {
        if self.progress.attempts == 0 && !self.is_owed() {
            return false;
        }
        let current = self.step();
        let topic = |step: usize| self.body.step(step).map(|step| step.topic());
        let due = |step: &usize| self.due_of(*step).is_some_and(|due| due <= now);
        let mut later = (current + 1..self.steps).take_while(due);
        if self.is_owed() { later.any(|step| topic(step) == topic(current)) } else { later.next().is_some() }
    }

    /// When a later step's time comes, a first step that is still being tried is given up; an owed one never (I5).
    pub(super) fn superseded_at(&self) -> Option<Instant> {
        let gives_way = self.on_the_wire && !self.is_owed();
        if gives_way { self.due_of(self.step() + 1) } else { None }
    }

    /// Whether the retries of the current step have come to an end.
    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        let retry = self.policy.retry;
        let tried_ms = self.tried_since.map_or(0, |since| now.ms_since(since));
        let out_of_time = tried_ms >= i64::from(retry.give_up_after_ms);
        let out_of_attempts = retry.attempts.is_some_and(|most| self.progress.attempts >= most);
        // I5: an owed step has no give-up.
        let given_up = !self.is_owed() && (out_of_time || out_of_attempts);
        self.progress.attempts > 0 && (given_up || self.is_spent())
    }

    /// Until when the current step is sent again where the broker has no subscriber; `None`: that need not be. What was not
    /// heard before by anybody needs no end, what the broker keeps waits there, and other steps do not wait for this one.
    pub(super) fn waits_for_subscriber_until(&self) -> Option<Instant> {
        let step = self.body.step(self.step())?;
        let is_match = self.is_owed()
            && self.progress.no_subscriber.is_none()
            && self.progress.cancelled.is_none()
            && !step.retain
            && !step.once;
        let longest = self.unsubscribed_since?.plus_ms(limits::NO_SUBSCRIBER_MS);
        let next = self.due_of(self.step() + 1).unwrap_or(Instant::MAX);
        is_match.then_some(longest.min(next))
    }

    /// Whether the broker has the current step, and there was no subscriber for long enough.
    pub(super) fn has_waited_for_subscriber(&self, now: Instant) -> bool {
        self.last == Attempt::NoSubscriber
            && self.unsubscribed_since.is_some()
            && self.waits_for_subscriber_until().is_none_or(|until| until <= now)
    }

    /// I4: what says `once` is sent at most once.
    pub(super) fn is_spent(&self) -> bool {
        self.progress.attempts > 0 && self.is_once()
    }

    /// Whether the current step may be sent although nothing can be kept of that: it is owed, and what is on disk knows that.
    pub(super) fn can_continue_unsaved(&self) -> bool {
        self.is_owed() && self.is_durable && !self.is_once()
    }

    /// Whether the current step is not to be repeated.
    pub(super) fn is_once(&self) -> bool {
        self.body.step(self.step()).is_some_and(|step| step.once)
    }

    /// The report that the current step waits for.
    pub(super) fn confirm(&self) -> Option<Confirm> {
        self.body.step(self.step())?.confirm()
    }

    /// The pause before the next attempt: doubled each time, a quarter of it drawn by lot.
    pub(super) fn pause_ms(&self) -> i64 {
        let doubled = u64::from(self.policy.retry.backoff_ms) << self.progress.attempts.saturating_sub(1).min(31);
        let pause = u32::try_from(doubled).unwrap_or(u32::MAX).min(limits::BACKOFF_CAP_MS);
        i64::from(pause - jitter::salted(&self.id, self.progress.attempts, pause / 4))
    }

    /// How long the broker may hold the message: no longer than it is good for. Seconds would be rounded up.
    pub(super) fn expiry_ms(&self, now: Instant) -> Option<u32> {
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

    /// Time was measured from a clock that was wrong.
    pub(super) fn shift(&mut self, by_ms: i64) {
        self.tried_since = self.tried_since.map(|since| since.plus_ms(by_ms));
        self.unsubscribed_since = self.unsubscribed_since.map(|since| since.plus_ms(by_ms));
        self.progress.started = self.progress.started.map(|started| started.plus_ms(by_ms));
        self.progress.put_off_until = self.progress.put_off_until.map(|until| until.plus_ms(by_ms));
        let waits_for_its_start = matches!(self.state, State::Resting(_)) && self.step() == 0;
        if !waits_for_its_start {
            self.state = self.state.shifted(by_ms);
        }
        if let Some(until) = self.watch.as_mut().and_then(|watch| watch.until.as_mut()) {
            *until = until.plus_ms(by_ms);
        }
    }

    pub(super) fn to_saved(&self) -> SavedRun {
        let (id, body) = (self.id.clone(), self.body.clone());
        SavedRun { id, body, start: self.start, progress: self.progress.clone() }
    }
}
