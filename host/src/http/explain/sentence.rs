//! The sentences of explanations, each in one line.

use roost_scheduler::{
    names::{Origin, RunId},
    outcome::{Cause, Outcome, RunState},
    scheduler::{NextRun, NextStep, Phase, RunStatus},
    time::Instant,
    trigger::{Duration, Never},
};

use super::{
    advice,
    facts::LeftOut,
    text::{Sentence, line, lines},
};
use crate::store::RunView;

impl Sentence {
    /// Returns the clause about when a run was due, or was started by hand.
    fn was_due(&self, run: &RunId) -> String {
        let due = self.local(run.occurrence);
        match run.origin {
            Origin::Trigger | Origin::Series(_) => format!("it was due {due}"),
            Origin::Manual { .. } => format!("it was started by hand {due}"),
            Origin::Replay { at, .. } => format!("it was due {due}, was replayed by hand {}", self.local(at)),
        }
    }

    /// Explains a run that is on disk. Returns the sentence and a hint. `covered` is an earlier occurrence that the
    /// record covers.
    pub(super) fn on_disk(
        &self,
        run: &RunView,
        outcome: Option<&Outcome>,
        covered: Option<Instant>,
    ) -> (String, Option<String>) {
        let due = self.was_due(&RunId { occurrence: covered.unwrap_or(run.id.occurrence), ..run.id.clone() });
        let (reason, hint) = match outcome {
            Some(outcome) => self.reason(&run.id.plugin, outcome),
            // Recorded by an older version, which kept only a text.
            None => lines(run.reason.as_deref().unwrap_or_default()),
        };
        let several = outcome.map(|outcome| self.several(outcome)).unwrap_or_default();
        let sentence = match run.state {
            RunState::Succeeded => self.succeeded(run, &due, &reason),
            RunState::Failed => format!("it failed: {due}, and {reason}"),
            RunState::Missed => format!("it did not run: {due}, and was missed{several}: {reason}"),
            RunState::Skipped => format!("it did not run: {due}, and was skipped{several}: {reason}"),
            RunState::Cancelled => match run.started {
                Some(started) => {
                    format!("it was cancelled under way: {due}, began {}, and then {reason}", self.local(started))
                }
                None => format!("it was cancelled before it began: {due}, and {reason}"),
            },
            RunState::Denied => format!("it did not run: {due}, and was denied: {reason}"),
            RunState::Running => format!("it has not ended: {due}"),
        };
        (sentence, hint)
    }

    fn succeeded(&self, run: &RunView, due: &str, remark: &str) -> String {
        let note = run.note.as_deref().map(|note| format!("; its plugin reported: {}", line(note))).unwrap_or_default();
        let (Some(started), Some(ended)) = (run.started, run.ended) else {
            return format!("it succeeded without a message: {due}{note}");
        };
        let delay_ms = started.ms_since(run.id.moment());
        let begun = match delay_ms {
            ..1_000 if run.id.origin.is_trigger() => "began on time".to_owned(),
            ..1_000 => "began at once".to_owned(),
            _ => format!("began {} later", Duration::rounded(delay_ms)),
        };
        let remark = if remark.is_empty() { String::new() } else { format!("; {remark}") };
        format!("it ran: {due}, {begun}, and ended {}{remark}{note}", self.local(ended))
    }

    /// Explains a run that has not ended. Returns the sentence and a hint.
    pub(super) fn under_way(&self, run: &RunStatus, is_linked: bool) -> (String, Option<String>) {
        let RunStatus {
            id, phase, next: NextStep { step, of, .. }, attempts, last, held_by, holders, grace_end, ..
        } = run;
        let subject = if *of > 1 { format!("step {step} of {of}") } else { "its message".into() };
        let (last, hint) = last.as_ref().map(advice::attempt).unwrap_or_default();
        let or_missed = grace_end.map(|end| format!("; it will be missed if it cannot start by {}", self.local(end)));
        let or_missed = or_missed.unwrap_or_default();
        let mut advice = None;
        let what = match *phase {
            Phase::Waiting | Phase::Limited(_) if !is_linked => {
                let deadline = grace_end.filter(|_| *attempts == 0).map(|end| self.deadline(end)).unwrap_or_default();
                format!("{subject} waits for the connection to the broker, which is down{deadline}")
            }
            Phase::Waiting | Phase::Limited(_) => match held_by {
                Some(cause @ Cause::OverRate { .. }) => {
                    advice = advice::advice(&id.plugin, cause);
                    format!("{subject} waits: {}{or_missed}", advice::cause(cause))
                }
                _ => format!("{subject} waits for its turn with the broker"),
            },
            Phase::Held(_) => {
                let why = held_by.as_ref().map_or_else(|| "other runs go first".into(), advice::cause);
                let by: Vec<String> = holders.iter().map(|run| format!("`{run}`")).collect();
                let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
                advice = holders.first().map(|run| {
                    format!("to abandon `{run}` would free it; the owed messages of that run would never be sent")
                });
                format!("it waits to start: {why}{by}{or_missed}")
            }
            Phase::Asking(_) => "its plugin has been called and has not returned yet".into(),
            Phase::Listening(_) => format!("{subject} waits for the subscription to the device's reports"),
            Phase::Arming(_) | Phase::Sent(_) => format!("{subject} is on its way to the broker"),
            Phase::Confirming(until) => {
                let until = self.local(until);
                format!("the broker has accepted {subject}, and the device has until {until} to confirm it")
            }
            Phase::Pausing(until) if *attempts == 0 && held_by.is_some() => {
                advice = held_by.as_ref().and_then(|cause| advice::advice(&id.plugin, cause));
                let why = held_by.as_ref().map(advice::cause).unwrap_or_default();
                format!("{subject} waits: {why}; it is retried {}", self.local(until))
            }
            Phase::Pausing(until) => {
                let times = if *attempts == 1 { "once".into() } else { format!("{attempts} times") };
                let tried = if *of == 0 { "its plugin was called".into() } else { format!("{subject} was attempted") };
                advice = hint;
                format!("{tried} {times}: {last}; the next attempt is {}", self.local(until))
            }
            Phase::Resting(until) => format!("{subject} is due {}", self.local(until)),
        };
        (format!("it has not ended: {}, and {what}", self.was_due(id)), advice)
    }

    /// Returns the clause about the latest start of a run that waits for the connection.
    fn deadline(&self, grace_end: Instant) -> String {
        let end = self.local(grace_end);
        if grace_end < self.now {
            format!("; it had until {end} to start, and will be missed when the connection is back")
        } else {
            format!("; it will be missed if the connection is not back by {end}")
        }
    }

    /// Returns the clause about an occurrence that has no run yet, and what makes it due.
    fn is_due(&self, occurrence: Instant) -> String {
        let due = self.local(occurrence);
        let rule = self.rule.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default();
        if occurrence > self.now {
            format!("it has not run yet: it is due {due}{rule}")
        } else {
            format!("it has not started yet: it was due {due}{rule}")
        }
    }

    /// Explains an occurrence that starts in the future.
    pub(super) fn due(&self, occurrence: Instant, start: Instant, jitter_ms: u32) -> String {
        let due = self.is_due(occurrence);
        if start == occurrence {
            return due;
        }
        let spread = Duration::rounded(i64::from(jitter_ms));
        format!("{due}, and starts {}, because its runs are spread over {spread}", self.local(start))
    }

    /// Explains an occurrence that will be skipped.
    pub(super) fn will_be_skipped(&self, occurrence: Instant, why: &str) -> String {
        format!("{}, and will be skipped, because {why}", self.is_due(occurrence))
    }

    /// Explains an occurrence that is past, and that the scheduler has not decided yet.
    pub(super) fn undecided(&self, occurrence: Instant, has_earlier: bool) -> String {
        let due = self.local(occurrence);
        let late = Duration::rounded(self.now.ms_since(occurrence));
        if has_earlier {
            format!("it is waiting: it was due {due}, {late} ago, and has its turn when the earlier runs have ended")
        } else {
            format!("it is waiting: it was due {due}, {late} ago, and is being decided")
        }
    }

    /// Returns the sentence about the next occurrence: why it will be skipped, if it will be, and the first one after it
    /// that is not.
    pub(super) fn next(&self, next: NextRun, skipped: Option<&str>, unskipped: Option<Instant>) -> String {
        match (next, skipped, unskipped) {
            (NextRun::Due(next), Some(why), Some(first)) => {
                let (next, first) = (self.local(next), self.local(first));
                format!("it is due next {first}: the run of {next} will be skipped, because {why}")
            }
            (NextRun::Due(next), Some(why), None) => {
                format!("it is due next {}, and will be skipped then, because {why}", self.local(next))
            }
            (NextRun::Due(next), None, _) => format!("it is due next {}", self.local(next)),
            (NextRun::NotBefore(at), ..) => format!("it is not due before {}", self.local(at)),
            (NextRun::Never, ..) => "it is never due again".into(),
        }
    }

    /// Explains an occurrence that was decided and has no record. `is_requested` is whether the client has requested
    /// its time, `oldest` the oldest recorded occurrence of any job, and `is_kept` whether the occurrence is within the
    /// history.
    pub(super) fn forgotten(
        &self,
        (occurrence, is_requested): (Instant, bool),
        oldest: Option<Instant>,
        is_kept: bool,
        kept_days: u32,
    ) -> String {
        let due = self.local(occurrence);
        let kept = if is_kept { String::new() } else { format!("outcomes are kept for {kept_days} days") };
        let why = match oldest {
            None => "no run has been recorded yet".into(),
            Some(oldest) if occurrence < oldest => {
                let and = if is_kept { "" } else { ", and " };
                format!("the oldest recorded run was due {}{and}{kept}", self.local(oldest))
            }
            Some(_) if is_kept => {
                "most likely the job was planned or its trigger changed after that, or an older backup was restored"
                    .to_owned()
            }
            Some(_) => kept,
        };
        if is_requested {
            format!("there is no record of a run due {due}: {why}")
        } else {
            format!("it was last due {due}, and there is no record of that run: {why}")
        }
    }

    /// Explains that a limit to days leaves an occurrence out.
    pub(super) fn left_out(&self, LeftOut { at, date, by }: &LeftOut) -> String {
        let (is, would) = if *at > self.now { ("is", "would be") } else { ("was", "would have been") };
        let date = date.format("%a %Y-%m-%d");
        format!("it {is} not due: left out by `{by}` on {date}; on every day, it {would} due {}", self.local(*at))
    }

    /// Explains that the job is not due around the requested time.
    pub(super) fn not_then(&self, at: Instant, nearest: Instant, is_of_sun: bool) -> String {
        let (is, does) = if at > self.now { ("is", "does") } else { ("was", "did") };
        let why = format!(": that sun event {does} not occur at the device's location on that day");
        let why = if is_of_sun { why } else { String::new() };
        format!(
            "nothing {is} due within a day of {}{why}; the nearest occurrence is {}",
            self.local(at),
            self.local(nearest)
        )
    }

    /// Explains that the job has no occurrence at all.
    pub(super) fn never(&self, never: Option<Never>) -> String {
        match never {
            Some(Never::NoSuchSunEvent) => {
                "there is no run: that sun event does not occur at the device's location at this time of the year"
                    .into()
            }
            Some(why) => format!("there is no run: {why}"),
            None => "there is no run: it is never due".into(),
        }
    }
}
