//! What is said to people about a run, in whole sentences of one line.

use roost_scheduler::{
    names::{Origin, RunId},
    outcome::{Cause, Level, Outcome},
    scheduler::NextRun,
    time::Instant,
    trigger::Never,
    zone::Zone,
};

use super::{
    facts::Progress,
    reason::{self, length, line, lines},
};
use crate::store::RunView;

/// By which clock.
pub(super) struct Sentence {
    pub(super) zone: Zone,
    pub(super) now: Instant,
}

pub(super) const fn level(what: Level) -> &'static str {
    match what {
        Level::Plugin => "its plugin",
        Level::Device => "its device",
        Level::Job => "its job",
    }
}

/// Why an occurrence is left out that a person has said so of.
pub(super) const BY_HAND: &str = "that was asked for by hand";

impl Sentence {
    /// `Mon 2027-03-01 06:30:00 GMT`
    pub(super) fn local(&self, at: Instant) -> String {
        at.to_utc().with_timezone(&self.zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// What made a run, and when.
    fn was_due(&self, run: &RunId) -> String {
        let due = self.local(run.occurrence);
        match run.origin {
            Origin::Trigger | Origin::Series(_) => format!("it was due {due}"),
            Origin::Manual { .. } => format!("it was started by hand {due}"),
            Origin::Replay { at, .. } => format!("it was due {due}, it was replayed by hand {}", self.local(at)),
        }
    }

    /// Of a run that is on disk, and what to do. `meant` is an earlier occurrence that it stands for.
    pub(super) fn on_disk(
        &self,
        run: &RunView,
        outcome: Option<&Outcome>,
        meant: Option<Instant>,
    ) -> (String, Option<String>) {
        let due = self.was_due(&RunId { occurrence: meant.unwrap_or(run.id.occurrence), ..run.id.clone() });
        let (reason, hint) = match outcome {
            Some(outcome) => self.reason(&run.id.plugin, outcome),
            // Of an older version, which kept only words.
            None => lines(run.reason.as_deref().unwrap_or_default()),
        };
        let several = outcome.map(|outcome| self.several(outcome)).unwrap_or_default();
        let sentence = match run.state.as_str() {
            "succeeded" => self.succeeded(run, &due, &reason),
            "failed" => format!("it failed: {due}, and {reason}"),
            "missed" => format!("it did not run: {due}, and was missed{several}: {reason}"),
            "skipped" => format!("it did not run: {due}, and was left out{several}: {reason}"),
            "cancelled" => match run.started {
                Some(started) => {
                    format!("it was cut short: {due}, began {}, and then {reason}", self.local(started))
                }
                None => format!("it was called off: {due}, and {reason}"),
            },
            "denied" => format!("it did not run: {due}, and was not allowed: {reason}"),
            "running" => format!("it has not ended: {due}"),
            other => format!("it is {other}: {due}"),
        };
        (sentence, hint)
    }

    fn succeeded(&self, run: &RunView, due: &str, late: &str) -> String {
        let note = run.note.as_deref().map(|note| format!("; its plugin says: {}", line(note))).unwrap_or_default();
        let (Some(started), Some(ended)) = (run.started, run.ended) else {
            return format!("it was done without a message: {due}{note}");
        };
        let delay_ms = started.ms_since(run.id.moment());
        let begun = match delay_ms {
            ..1_000 if run.id.origin.is_of_trigger() => "it began on time".to_owned(),
            ..1_000 => "it began at once".to_owned(),
            _ => format!("it began {} later", length(delay_ms)),
        };
        let late = if late.is_empty() { String::new() } else { format!("; {late}") };
        format!("it ran: {due}, {begun}, and was done {}{late}{note}", self.local(ended))
    }

    /// Of a run that has not ended, and what to do.
    pub(super) fn under_way(&self, run: &RunId, progress: &Progress, is_linked: bool) -> (String, Option<String>) {
        let Progress { state, step, of, held_by, holders, attempts, last, until, grace_end } = progress;
        let until = until.map(|at| self.local(at)).unwrap_or_default();
        let which = if *of > 1 { format!("step {step} of {of}") } else { "its message".into() };
        let (last, hint) = last.as_ref().map(reason::attempt).unwrap_or_default();
        let mut advice = None;
        let what = match *state {
            "waiting" if !is_linked => {
                let fate = grace_end.filter(|_| *attempts == 0).map(|end| self.fate(end)).unwrap_or_default();
                format!("{which} waits for the connection to the broker, which is not there{fate}")
            }
            "waiting" => match held_by {
                Some(cause @ Cause::OverRate { .. }) => {
                    advice = reason::advice(&run.plugin, cause);
                    let end =
                        grace_end.map(|end| format!("; it will be missed if it cannot start by {}", self.local(end)));
                    format!("{which} waits: {}{}", reason::cause(cause), end.unwrap_or_default())
                }
                _ => format!("{which} waits for its turn with the broker"),
            },
            "held" => {
                let why = held_by.as_ref().map_or_else(|| "others go first".into(), reason::cause);
                let end = grace_end.map(|end| format!("; it will be missed if it cannot start by {}", self.local(end)));
                let by: Vec<String> = holders.iter().map(|run| format!("`{run}`")).collect();
                let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
                advice = holders.first().map(|run| {
                    format!("`roost abandon {run}` would make it free, and send nothing of what that run still owes")
                });
                format!("it waits to start: {why}{by}{}", end.unwrap_or_default())
            }
            "asking" => "its plugin is being asked what to publish".into(),
            "listening" => format!("{which} waits until the device's reports can be heard"),
            "arming" | "sent" => format!("{which} is on its way to the broker"),
            "confirming" => {
                format!("the broker has {which}, and the device has until {until} to report that it did so")
            }
            "pausing" if *attempts == 0 && held_by.is_some() => {
                advice = held_by.as_ref().and_then(|cause| reason::advice(&run.plugin, cause));
                let why = held_by.as_ref().map(reason::cause).unwrap_or_default();
                format!("{which} waits: {why}; it is tried again {until}")
            }
            "pausing" => {
                let times = if *attempts == 1 { "once".into() } else { format!("{attempts} times") };
                let tried = if *of == 0 { "its plugin was asked".into() } else { format!("{which} was tried") };
                advice = hint;
                format!("{tried} {times}: {last}; that is done again {until}")
            }
            _ => format!("{which} is due {until}"),
        };
        (format!("it has not ended: {}, and {what}", self.was_due(run)), advice)
    }

    /// What becomes of a run that waits for the connection, and may start until then.
    fn fate(&self, grace_end: Instant) -> String {
        let end = self.local(grace_end);
        if grace_end < self.now {
            format!("; it had until {end} to start, and will be missed when that is back")
        } else {
            format!("; it will be missed if that is not back by {end}")
        }
    }

    /// When a job is due, or was.
    fn is_due(&self, occurrence: Instant) -> String {
        let due = self.local(occurrence);
        if occurrence > self.now {
            format!("it has not come yet: it is due {due}")
        } else {
            format!("it has not started yet: it was due {due}")
        }
    }

    /// Of an occurrence that has not started, for its time has not come.
    pub(super) fn due(&self, occurrence: Instant, start: Instant, jitter_ms: u32) -> String {
        let due = self.is_due(occurrence);
        if start == occurrence {
            return due;
        }
        let spread = length(i64::from(jitter_ms));
        format!("{due}, and starts {}, for its runs are spread over {spread}", self.local(start))
    }

    /// Of one that will not start.
    pub(super) fn left_out(&self, occurrence: Instant, why: &str) -> String {
        format!("{}, and will be left out, because {why}", self.is_due(occurrence))
    }

    /// Of one that has come, and of which nothing is known yet.
    pub(super) fn undecided(&self, occurrence: Instant, has_earlier: bool) -> String {
        let due = self.local(occurrence);
        let late = length(self.now.ms_since(occurrence));
        if has_earlier {
            format!("it waits: it was due {due}, {late} ago, and has its turn when the runs before it have ended")
        } else {
            format!("it waits: it was due {due}, {late} ago, and is just being decided")
        }
    }

    /// What comes next, unless a person asked for that to be left out.
    pub(super) fn next(&self, next: NextRun, skipped: Option<Instant>) -> String {
        match next {
            NextRun::Due(next) if skipped == Some(next) => {
                format!("it is due next {}, and will be left out then, because {BY_HAND}", self.local(next))
            }
            NextRun::Due(next) => format!("it is due next {}", self.local(next)),
            NextRun::NotBefore(at) => format!("it is not due before {}", self.local(at)),
            NextRun::Never => "it is never due again".into(),
        }
    }

    /// Of one that was decided, and of which there is no record, though somebody may have asked for it. The oldest occurrence,
    /// of any job, that there is one of.
    pub(super) fn forgotten(
        &self,
        (occurrence, is_asked_for): (Instant, bool),
        oldest: Option<Instant>,
        is_kept: bool,
        kept_days: u32,
    ) -> String {
        let due = self.local(occurrence);
        let kept = if is_kept { String::new() } else { format!("what became of runs is kept for {kept_days} days") };
        let why = match oldest {
            None => "this Roost has no record of any run yet".into(),
            Some(oldest) if occurrence < oldest => {
                let and = if is_kept { "" } else { ", and " };
                format!("the oldest run that this Roost knows of was due {}{and}{kept}", self.local(oldest))
            }
            Some(_) if is_kept => {
                "most likely the job was first planned, or had another trigger, after that, or a copy from before was restored"
                    .to_owned()
            }
            Some(_) => kept,
        };
        if is_asked_for {
            format!("there is no record of {due}: {why}")
        } else {
            format!("its last time was {due}, and there is no record of that: {why}")
        }
    }

    /// Nothing was due on the day that is asked for, or will be.
    pub(super) fn not_then(&self, at: Instant, nearest: Instant, is_of_sun: bool) -> String {
        let (is, does) = if at > self.now { ("is", "does") } else { ("was", "did") };
        let why = format!(": where the device is, the sun {does} not do that on that day");
        let why = if is_of_sun { why } else { String::new() };
        format!("nothing {is} due within a day of {}{why}; the nearest time is {}", self.local(at), self.local(nearest))
    }

    /// There is no occurrence at all.
    pub(super) fn never(&self, never: Option<Never>) -> String {
        match never {
            Some(Never::NoSuchSunEvent) => {
                "there is no run: where the device is, the sun does not do that at this time of the year".into()
            }
            Some(why) => format!("there is no run: {why}"),
            None => "there is no run: it is never due".into(),
        }
    }
}
