//! The reasons of outcomes in words: the only place, for the API, the command line, the log and the page.

use std::fmt;

use super::{
    Attempt, Cancelled, Cause, Denied, Failed, Late, Missed, MissedReason, Outcome, Several, Skipped, Success,
};
use crate::{
    pause::{Level, PausedBy},
    time::Instant,
    trigger::Duration,
};

impl Outcome {
    /// Returns the reason in one sentence, with times as `time` formats them; nothing for a run that succeeded without
    /// details. Says nothing of the other occurrences that the outcome stands for.
    pub fn reason<'a>(&'a self, time: &'a dyn Fn(Instant) -> String) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match self {
            Self::Succeeded(success) => write!(f, "{success}"),
            Self::Failed(failed) => write!(f, "{failed}"),
            Self::Missed(Missed { why, .. }) => why.write(f, time),
            Self::Skipped(skipped) => skipped.write(f, time),
            Self::Cancelled(cancelled) => cancelled.write(f, time),
            Self::Denied(denied) => write!(f, "{denied}"),
        })
    }

    /// Returns the reason in one sentence, after the occurrences that it stands for if there are several.
    pub fn text<'a>(&'a self, time: &'a dyn Fn(Instant) -> String) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            if let Some(several) = self.several() {
                write!(f, "{} {} since {}; ", several.quantity(), self.state(), time(several.since))?;
            }
            write!(f, "{}", self.reason(time))
        })
    }
}

/// Writes the reason, and the occurrences that it stands for, with times in UTC.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text(&|at| at.to_string()))
    }
}

impl Several {
    /// Returns the number of occurrences, such as `5` or `at least 5`.
    #[must_use]
    pub fn quantity(&self) -> impl fmt::Display {
        let Self { count, more, .. } = *self;
        fmt::from_fn(move |f| write!(f, "{}{count}", if more { "at least " } else { "" }))
    }
}

/// Writes `its job`, `its device`, `its plugin` or `everything`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "its job",
            Self::Device => "its device",
            Self::Plugin => "its plugin",
            Self::All => "everything",
        })
    }
}

impl Skipped {
    /// The reason of a run that the operator asked to skip, also before it is due.
    pub const BY_OPERATOR: &str = "the operator requested it";

    fn write(&self, f: &mut fmt::Formatter<'_>, time: &dyn Fn(Instant) -> String) -> fmt::Result {
        match self {
            Self::EarlierRun(earlier) => write!(f, "the run of {} had not ended", time(*earlier)),
            Self::TooManyWaiting(most) => write!(f, "the limit of waiting runs ({most}) was reached"),
            Self::TooManyRunning(most) => write!(f, "the limit of simultaneous runs ({most}) was reached"),
            Self::Paused { by: PausedBy { what, pause }, .. } => {
                write!(f, "{what} was paused{}", pause.suffix(time))
            }
            Self::ByOperator => f.write_str(Self::BY_OPERATOR),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => write!(f, "publishing to `{topic}` is not granted"),
            Self::HostTopic(topic) => {
                write!(f, "no job may publish to `{topic}`, because it is one of the host's own topics")
            }
            Self::Qos { topic, qos, most } => {
                let (qos, most) = (*qos as u8, *most as u8);
                write!(f, "publishing to `{topic}` with QoS {qos} is not granted, only up to {most}")
            }
            Self::Retain(topic) => write!(f, "publishing a retained message to `{topic}` is not granted"),
            Self::Report(topic) => write!(f, "reading `{topic}` is not granted"),
            Self::Resource(name) => {
                write!(f, "it needs `{name}`, and no `[[resource]]` in the host's settings has that name")
            }
            Self::NotGranted(name) => {
                write!(f, "it needs `{name}`, and its plugin is not among the `plugins` of that `[[resource]]`")
            }
            Self::HoldTooLong { resource, hold_ms, longest_ms } => {
                let (hold, longest) = (Duration((*hold_ms).into()), Duration((*longest_ms).into()));
                write!(f, "it would hold `{resource}` for {hold}, and a run may hold it for {longest}")
            }
        }
    }
}

impl Success {
    /// What precedes the number of the step for whose topic the broker had no subscriber. A reader that knows the messages
    /// can name the topic instead.
    pub const TOPIC_OF_STEP: &str = "the topic of step ";
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { late, no_subscriber } = self;
        if let Some(Late { step, late_ms }) = late {
            write!(f, "step {step} was sent {} late", Duration(late_ms.unsigned_abs()))?;
        }
        if let Some(step) = no_subscriber {
            let also = if late.is_some() { "; " } else { "" };
            write!(f, "{also}no device listens on {}{step}", Self::TOPIC_OF_STEP)?;
        }
        Ok(())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, attempts, last } = self;
        if *last == Attempt::PossiblySent {
            return write!(f, "step {step} was possibly sent, and is not to be repeated");
        }
        if let Attempt::Prevented(why) = last {
            return write!(f, "step {step} was given up: {why}");
        }
        if (*attempts, last) == (1, &Attempt::HostStopped) {
            // Counted as an attempt, because it may have been one.
            return write!(
                f,
                "step {step} was given up: it is unknown whether it was sent before the host was stopped"
            );
        }
        let plural = if *attempts == 1 { "" } else { "s" };
        if let Attempt::Unanswered(why) = last {
            return write!(f, "the plugin was called {attempts} time{plural} for its messages: {why}");
        }
        write!(f, "step {step} was given up after {attempts} attempt{plural}: {last}")
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkLost => f.write_str("the connection was lost before the broker answered"),
            Self::HostStopped => f.write_str("the host was stopped before the broker answered"),
            Self::NoSubscriber => f.write_str("the broker accepted the message, and no device listens on its topic"),
            Self::Overtaken => f.write_str("a later step was due"),
            Self::Refused(reason) => write!(f, "the broker refused the message: {reason}"),
            Self::EndedLink { topic, how } => {
                write!(f, "the broker ended the connection at the message to `{topic}`, which was alone on it: {how}")
            }
            Self::PossiblySent => f.write_str("it was possibly sent"),
            Self::Prevented(why) | Self::Unanswered(why) => f.write_str(why),
            Self::NoReport { within_ms, last_report } => {
                write!(f, "the device did not confirm the step within {}", Duration((*within_ms).into()))?;
                last_report.as_ref().map_or(Ok(()), |last_report| write!(f, "; its last report was `{last_report}`"))
            }
        }
    }
}

impl MissedReason {
    fn write(&self, f: &mut fmt::Formatter<'_>, time: &dyn Fn(Instant) -> String) -> fmt::Result {
        match self {
            Self::TooLate { late_ms, grace_ms, cause } => {
                let grace = Duration((*grace_ms).into());
                // Whole seconds, unless they would not show that it is too late.
                let late = Some(Duration::rounded(*late_ms)).filter(|late| late.0 > grace.0);
                let late = late.unwrap_or(Duration(late_ms.unsigned_abs()));
                write!(f, "{cause}; it would have started {late} late, and its grace is {grace}")
            }
            Self::TooMany(most) => write!(f, "the limit of waiting runs ({most}) was reached"),
            Self::Superseded { job: None, by } => write!(f, "only the newest run, of {}, is caught up", time(*by)),
            Self::Superseded { job: Some(job), by } => {
                write!(f, "only the newest run of its group, `{job}` of {}, is caught up", time(*by))
            }
        }
    }
}

impl Cause {
    /// Returns the cause of a delay that lasts, in the present tense. [`fmt::Display`] writes the past tense.
    #[must_use]
    pub fn lasting(&self) -> impl fmt::Display {
        fmt::from_fn(|f| self.write(f, ["is", "are", "has"]))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, [was, were, had]: [&str; 3]) -> fmt::Result {
        match self {
            Self::HostAway => f.write_str("the host was not running, or the machine slept"),
            Self::ClockSet => f.write_str("the clock was set forward"),
            Self::PlannedLate => f.write_str("it was planned only after it was due"),
            Self::LinkDown => write!(f, "there {was} no connection to the broker"),
            Self::Busy => write!(f, "the broker {was} busy with other runs"),
            Self::OverRate { per_second } => {
                let plural = if *per_second == 1 { "" } else { "s" };
                write!(f, "its plugin {had} more to send than its rate of {per_second} message{plural} a second allows")
            }
            Self::EarlierRun => write!(f, "an earlier run {had} not ended"),
            Self::Taken(name) => write!(f, "`{name}` {was} in use"),
            Self::SlowPlugin => f.write_str("its plugin took too long to return its messages"),
            Self::SubscribeFailed(reason) => write!(f, "the subscription to the device's reports failed: {reason}"),
            Self::HeldBack(topic) => {
                write!(
                    f,
                    "messages to `{topic}` {were} held back, because the broker {had} ended the connection at one"
                )
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, ["was", "were", "had"])
    }
}

impl Cancelled {
    fn write(&self, f: &mut fmt::Formatter<'_>, time: &dyn Fn(Instant) -> String) -> fmt::Result {
        match self {
            Self::DeviceRemoved => f.write_str("its device was removed"),
            Self::PluginRemoved => f.write_str("its plugin was removed"),
            Self::Replaced { by } => write!(f, "the run of {} replaced it", time(*by)),
            Self::NewerOfGroup { job, by } => {
                write!(f, "a newer run of its group, `{job}` of {}, replaced it", time(*by))
            }
            Self::JobReplaced => f.write_str("its job was replaced by hand"),
            Self::JobCancelled => f.write_str("its job was cancelled by hand"),
            Self::Abandoned => f.write_str("it was abandoned by hand"),
            Self::Restored => f.write_str(
                "the database was restored from a backup that was made before the run ended; its messages may have been sent",
            ),
        }
    }
}
