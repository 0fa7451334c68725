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
//!  ├── Held: behind another run (`order.rs`), or for a resource (`resource_holds.rs`)
//!  ├── Arming: until the disk has the attempt at a message that is sent at most once (`attempts.rs`)
//!  ├── Asking: until the plugin has returned its messages (`tasks.rs`)
//!  ├── Listening: until the broker has accepted the subscription to the device's reports (`subscriptions.rs`)
//!  └── Limited: its plugin has more to send than its rate allows (`fair_queue.rs`)
//! ```

use crate::{
    event::{Change, Progress, RunEnded},
    keys::RunSlot,
    mutants::{Mutation, mutated},
    outcome::{Attempt, Cancelled, Failed, Outcome, Skipped, Success},
    runs::Phase,
    scheduler::state::Scheduler,
};

impl Scheduler {
    /// Takes over the resource and the steps that earlier runs have left to a run that starts (I5).
    pub(crate) fn take_over(&mut self, slot: RunSlot) {
        self.begin_hold(slot);
        let Some(run) = self.runs.get(slot) else { return };
        for earlier in self.runs.yielding_to(run) {
            let Some(run) = self.runs.get(earlier) else { continue };
            let Progress { put_off_until, cancelled, .. } = run.progress.clone();
            if let Some(run) = self.runs.get_mut(slot).filter(|_| !mutated(Mutation::TakenOverStepsAreNotOwed)) {
                run.inherit(put_off_until);
            }
            self.end(earlier, Outcome::Cancelled(cancelled.unwrap_or(Cancelled::Abandoned)));
        }
    }

    /// Ends a run that was given up while it waited for the link, so that it does not block the next one.
    pub(crate) fn end_if_given_up(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot) else { return };
        if !run.phase.is_attempt() && run.is_given_up(self.now) && run.step() + 1 >= run.steps {
            let last = run.last.clone();
            self.stop_waiting(slot);
            self.give_up_step(slot, last);
        }
    }

    /// Ends a run that waits and was due in a pause, so that no other one counts as its successor.
    pub(crate) fn end_if_paused(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get(slot).filter(|run| run.has_not_started() && !run.phase.is_attempt()) else {
            return;
        };
        if let Some(by) = self.paused_run(run) {
            self.end(slot, Outcome::Skipped(Skipped::Paused { by, several: None }));
        }
    }

    /// Gives up the current step; the later ones are owed if anything may have reached the broker.
    pub(crate) fn give_up_step(&mut self, slot: RunSlot, last: Attempt) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        let failed = Failed { step: run.step() + 1, attempts: run.progress.attempts, last };
        if !run.on_the_wire {
            return self.end(slot, Outcome::Failed(failed));
        }
        run.progress.failed.get_or_insert(failed);
        self.next_step(slot);
    }

    /// Handles a failed attempt: tries again after a pause, or gives the step up.
    pub(crate) fn attempt_failed(&mut self, slot: RunSlot, last: Attempt) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.last = last;
        if run.is_given_up(self.now) || run.superseded_at().is_some_and(|due| due <= self.now) {
            let last = run.last.clone();
            return self.give_up_step(slot, last);
        }
        if run.key.is_none() {
            self.save_run(slot);
        } else {
            self.save_progress_of(slot);
        }
        self.pause(slot);
    }

    /// Completes the current step, and continues with the next one or ends the run.
    pub(crate) fn next_step(&mut self, slot: RunSlot) {
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
            return self.end(slot, outcome);
        }
        run.progress.attempts = 0;
        run.tried_since = None;
        // Overdue steps share one wait for a device that is away, so that they do not hold up others for long.
        let is_overdue = run.due_of(run.step()).is_some_and(|due| due <= self.now);
        run.unsubscribed_since = run.unsubscribed_since.filter(|_| is_overdue);
        self.unwatch(slot);
        if !mutated(Mutation::CompletedStepIsUnsaved) {
            self.save_progress_of(slot);
        }
        self.await_step(slot);
    }

    /// Cuts a run short because a newer run replaces it: its first step is not sent any more, and its owed steps are
    /// sent at once, before the newer run starts. Steps that the newer run will owe as well wait until it has started
    /// (I5). Without a newer run, all of them are sent.
    pub(crate) fn cut_short(&mut self, slot: RunSlot, reason: Cancelled, newer: Option<RunSlot>) {
        self.cancel_arming(slot);
        let body_of_newer = newer.and_then(|newer| self.runs.get(newer)).map(|newer| newer.body.clone());
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.on_the_wire |= matches!(run.phase, Phase::Sent(_));
        let first = run.step().max(1);
        if !run.on_the_wire || first >= run.steps || mutated(Mutation::CutShortRunLosesOwedSteps) {
            return self.end(slot, Outcome::Cancelled(reason));
        }
        // Only to a run that needs the same resource, which it takes over if this one still holds it; and only for a
        // limited time.
        let needs = run.policy.needs.clone();
        let holds_it = needs.is_none() || run.holds.is_some();
        let first_of_newer = body_of_newer.as_ref().and_then(|newer| run.first_step_left_to(newer));
        let put_off_until = run.put_off_until(first_of_newer.unwrap_or(first));
        let may_be_put_off = holds_it && put_off_until.is_none_or(|until| self.now < until);
        let heir = body_of_newer.filter(|newer| newer.policy().needs == needs && may_be_put_off);
        let will_be_owed = |step: &usize| {
            let owed = run.body.step(*step);
            owed.is_some_and(|owed| heir.as_ref().is_some_and(|newer| newer.owes(owed.topic())))
        };
        let leaves_all = (first..run.steps).all(|step| will_be_owed(&step));
        // A step that may have been sent stays the next one, so that its attempts are counted on: its message is marked
        // as a repeat, and is not repeated if it is marked `once` (I4). An attempt in flight goes on.
        let is_tried = run.is_owed() && run.progress.attempts > 0;
        let goes_on = is_tried && !leaves_all && matches!(run.phase, Phase::Sent(_) | Phase::Confirming(_));
        let goes_on = goes_on && !mutated(Mutation::CutShortRunSendsAgain);
        let is_left = |step: &usize| will_be_owed(step) && (leaves_all || !is_tried || *step > first);
        let left = (first..run.steps).filter(is_left).count();
        let elapsed_ms = run.progress.started.map_or(0, |started| self.now.ms_since(started).max(0));
        let body = run.body.cut(first, u32::try_from(elapsed_ms).unwrap_or(u32::MAX), is_left);
        if !goes_on {
            self.stop_waiting(slot);
            self.unwatch(slot);
        }
        let Some(run) = self.runs.get_mut(slot) else { return };
        if !run.is_owed() || mutated(Mutation::CutShortRunRepeatsOnce) {
            (run.progress.attempts, run.tried_since) = (0, None);
            run.progress.armed = false;
        }
        run.progress.steps_done = first;
        run.progress.cancelled = Some(reason);
        run.progress.put_off_until = put_off_until;
        run.body = body;
        self.runs.leave_steps(slot, left, newer);
        self.save_run(slot);
        if !goes_on {
            self.await_step(slot);
        }
    }

    /// Cancels an attempt that waits for its commit, so that nothing of it was sent.
    fn cancel_arming(&mut self, slot: RunSlot) {
        let is_arming = self.runs.get(slot).is_some_and(|run| matches!(run.phase, Phase::Arming(_)));
        if is_arming && !mutated(Mutation::CutShortRunLosesUnsentOnce) {
            self.stop_waiting(slot);
            self.undo_attempt(slot);
        }
    }

    /// Restores the state before the last attempt, which was not sent.
    pub(crate) fn undo_attempt(&mut self, slot: RunSlot) {
        let Some(run) = self.runs.get_mut(slot) else { return };
        run.progress.attempts -= 1;
        run.progress.armed = false;
        if run.progress.attempts == 0 {
            run.tried_since = None;
            if run.step() == 0 && !run.on_the_wire {
                run.progress.started = None;
            }
        }
        self.save_progress_of(slot);
    }

    /// Ends a run with a recorded outcome (I13).
    pub(crate) fn end(&mut self, slot: RunSlot, outcome: Outcome) {
        self.stop_waiting(slot);
        self.unwatch(slot);
        if !mutated(Mutation::ResourceIsNeverReleased) {
            self.release_hold(slot);
        }
        let Some(run) = self.runs.remove(slot) else { return };
        self.out.changes.push(Change::RunEnded(RunEnded {
            key: run.key,
            id: run.id.clone(),
            body: Some(run.body.clone()),
            outcome,
            started: run.progress.started,
            ended: self.now,
            attempts: run.progress.attempts,
            note: run.progress.note.clone(),
        }));
        if run.key.is_none() && !mutated(Mutation::WatermarkStaysBehindEndedRun) {
            self.save_progress(run.job);
        }
        if !mutated(Mutation::OnlyFirstIsCaughtUp) {
            self.catch_up_next(run.job);
        }
        if !mutated(Mutation::UnstartedHeirKeepsOwedSteps) {
            for earlier in self.runs.yielding_to(&run) {
                self.stop_yielding(earlier);
            }
        }
        self.wake_held(self.runs.next_held(&run));
        if self.catalog.job(run.job).is_none() && self.runs.of_job(run.job).next().is_none() {
            self.catalog.free_job(&run.id.into_job_name());
        }
    }
}
