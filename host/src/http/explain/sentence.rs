//! What is said to people about a run, in whole sentences.

use chrono_tz::Tz;
use roost_scheduler::{
    outcome::Level,
    scheduler::RunUnderWay,
    time::Instant,
    trigger::{Duration, Never},
};

use crate::store::RunView;

/// By which clock.
pub(super) struct Sentence {
    pub(super) zone: Tz,
    pub(super) now: Instant,
}

/// What a run does that has not ended, or waits for.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) state: &'static str,
    pub(super) step: usize,
    pub(super) of: usize,
    pub(super) held_by: Option<String>,
    pub(super) attempts: u32,
    pub(super) last: Option<String>,
    pub(super) until: Option<Instant>,
}

impl Progress {
    pub(super) fn of(run: &RunUnderWay<'_>) -> Self {
        let RunUnderWay { state, step, of, attempts, until, .. } = *run;
        let (held_by, last) = (run.held_by.map(ToString::to_string), run.last.map(ToString::to_string));
        Self { state, step, of, held_by, attempts, last, until }
    }
}

pub(super) const fn level(what: Level) -> &'static str {
    match what {
        Level::Plugin => "its plugin",
        Level::Device => "its device",
        Level::Job => "its job",
    }
}

impl Sentence {
    /// `Mon 2027-03-01 06:30:00 GMT`
    pub(super) fn local(&self, at: Instant) -> String {
        at.to_utc().with_timezone(&self.zone).format("%a %Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// Of a run that has ended. `meant` is an earlier occurrence that it stands for.
    pub(super) fn ended(&self, run: &RunView, meant: Option<Instant>) -> String {
        let due = self.local(meant.unwrap_or(run.id.occurrence));
        let reason = run.reason.as_deref().unwrap_or_default();
        match run.state.as_str() {
            "succeeded" => {
                let note = run.note.as_deref().map(|note| format!("; its plugin says: {note}")).unwrap_or_default();
                let late = if reason.is_empty() { String::new() } else { format!("; {reason}") };
                match (run.started, run.ended) {
                    (Some(started), Some(ended)) => {
                        let delay_ms = started.ms_since(run.id.occurrence).unsigned_abs();
                        let begun = if delay_ms < 1_000 {
                            "it began on time".to_owned()
                        } else {
                            format!("it began {} later", Duration(delay_ms))
                        };
                        format!("it ran: it was due {due}, {begun}, and was done {}{late}{note}", self.local(ended))
                    }
                    _ => format!("it was done without a message: it was due {due}{note}"),
                }
            }
            "failed" => {
                format!("it failed: it was due {due}, and {reason}; `roost replay {}` does it again", run.id)
            }
            "missed" => format!("it did not run: it was due {due}, and was missed: {reason}"),
            "skipped" => format!("it did not run: it was due {due}, and was left out: {reason}"),
            "cancelled" => format!("it was called off: it was due {due}, and {reason}"),
            "denied" => {
                format!(
                    "it did not run: it was due {due}, and was not allowed: {reason}; grants and resources are the operator's to give"
                )
            }
            other => format!("it is {other}: it was due {due}"),
        }
    }

    /// Of a run that has not ended.
    pub(super) fn under_way(&self, occurrence: Instant, progress: &Progress, is_linked: bool) -> String {
        let Progress { state, step, of, held_by, attempts, last, until } = progress;
        let until = until.map(|at| self.local(at)).unwrap_or_default();
        let which = if *of > 1 { format!("step {step} of {of}") } else { "its message".into() };
        let last = last.as_deref().unwrap_or_default();
        let what = match *state {
            "waiting" if !is_linked => format!("{which} waits for the connection to the broker, which is not there"),
            "waiting" => format!("{which} waits for its turn with the broker"),
            "held" => format!("it waits to start: {}", held_by.as_deref().unwrap_or("others go first")),
            "asking" => "its plugin is being asked what to publish".into(),
            "listening" => format!("{which} waits until the device's reports can be heard"),
            "arming" | "sent" => format!("{which} is on its way to the broker"),
            "confirming" => {
                format!("the broker has {which}, and the device has until {until} to report that it did so")
            }
            "pausing" => {
                let times = if *attempts == 1 { "once".into() } else { format!("{attempts} times") };
                let tried = if *of == 0 { "its plugin was asked".into() } else { format!("{which} was tried") };
                format!("{tried} {times}: {last}; that is done again {until}")
            }
            _ => format!("{which} is due {until}"),
        };
        format!("it has not ended: it was due {}, and {what}", self.local(occurrence))
    }

    /// Of an occurrence that is still to come.
    pub(super) fn due(&self, occurrence: Instant, jitter_ms: u32, paused: Option<Level>, skip: bool) -> String {
        let due = self.local(occurrence);
        let jitter = match jitter_ms {
            0 => String::new(),
            most => format!(", or up to {} later", Duration(most.into())),
        };
        match paused {
            Some(what) => {
                format!("it has not come yet: it is due {due}, and will be left out, for {} is paused", level(what))
            }
            None if skip => {
                format!("it has not come yet: it is due {due}, and will be left out, for somebody wants that")
            }
            None => format!("it has not come yet: it is due {due}{jitter}"),
        }
    }

    /// Of one that has come, and of which nothing is known yet.
    pub(super) fn undecided(&self, occurrence: Instant, has_earlier: bool) -> String {
        let due = self.local(occurrence);
        let late = Duration(self.now.ms_since(occurrence).unsigned_abs());
        if has_earlier {
            format!("it waits: it was due {due}, {late} ago, and has its turn when the runs before it have ended")
        } else {
            format!("it waits: it was due {due}, {late} ago, and is just being decided")
        }
    }

    /// Of one that was decided, and of which there is no record.
    pub(super) fn forgotten(&self, occurrence: Instant, is_kept: bool, kept_days: u32) -> String {
        let due = self.local(occurrence);
        if is_kept {
            return format!(
                "there is no record of {due}: most likely the job was first planned, or had another trigger, after that"
            );
        }
        format!("there is no record of {due} any more: what became of runs is kept for {kept_days} days")
    }

    /// Nothing was due on the day that is asked for.
    pub(super) fn not_then(&self, at: Instant, nearest: Instant, is_of_sun: bool) -> String {
        let why = if is_of_sun { ": where the device is, the sun did not do that on that day" } else { "" };
        format!("nothing was due within a day of {}{why}; the nearest time is {}", self.local(at), self.local(nearest))
    }

    /// There is no occurrence at all.
    pub(super) fn never(&self, never: Option<Never>) -> String {
        match never {
            Some(Never::NoSuchSunEvent) => {
                "there was no run: where the device is, the sun does not do that at this time of the year".into()
            }
            Some(why) => format!("there was no run: {why}"),
            None => "there was no run: it is never due".into(),
        }
    }
}
