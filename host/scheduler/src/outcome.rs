//! The outcomes of runs, each with its reason (I13). Values are recorded when the decision is made, so that explaining
//! a run is only reading.

mod state;

use std::fmt;

pub use self::state::RunState;
use crate::{
    model::Qos,
    names::{JobId, ResourceName},
    time::Instant,
    topic::Topic,
    trigger::Duration,
};

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step is done.
    Succeeded(Success),
    /// A step was tried and given up.
    Failed(Failed),
    /// It was due and could not start in time.
    Missed(Missed),
    /// It was due and was left out: because of earlier runs, a pause or the operator.
    Skipped(Skipped),
    /// It was cancelled.
    Cancelled(Cancelled),
    /// It was not allowed.
    Denied(Denied),
}

/// Details of a run that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// The owed step that was sent latest, if any was late.
    pub late: Option<Late>,
    /// The first step, counted from 1, with a topic without subscribers, if any.
    pub no_subscriber: Option<usize>,
}

impl Success {
    /// A success without details.
    pub const PLAIN: Self = Self { late: None, no_subscriber: None };
}

/// An owed step that was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// The step, counted from 1.
    pub step: usize,
    /// How late it was sent, in milliseconds.
    pub late_ms: i64,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The step that was given up, counted from 1.
    pub step: usize,
    /// The number of attempts at it.
    pub attempts: u32,
    /// How the last attempt ended.
    pub last: Attempt,
}

/// How an attempt ended that was not successful.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Attempt {
    /// The link went down before the acknowledgement.
    #[error("the connection was lost before the broker answered")]
    LinkLost,
    /// The host stopped before the acknowledgement.
    #[error("the host was stopped before the broker answered")]
    HostStopped,
    /// The broker refused the message, with this reason.
    #[error("the broker refused the message: {0}")]
    Refused(String),
    /// The broker ended the connection as soon as it received the message, which was the only one in flight.
    #[error("the broker ended the connection at the message to `{topic}`, which was alone on it: {how}")]
    EndedLink {
        /// The message's topic.
        topic: Topic,
        /// How the broker ended it, as text.
        how: String,
    },
    /// The broker accepted the message, and had no subscriber for its topic.
    #[error("the broker accepted the message, and had no subscriber for its topic")]
    NoSubscriber,
    /// A later step was due.
    #[error("a later step was due")]
    Overtaken,
    /// It may have arrived, and is to be sent at most once.
    #[error("it was possibly sent")]
    PossiblySent,
    /// The step could not be sent, for this reason.
    #[error("{0}")]
    Prevented(String),
    /// The plugin returned no messages, for this reason.
    #[error("{0}")]
    Unanswered(String),
    /// The device did not confirm the step.
    #[error("the device did not confirm the step within {}{}", duration(.within_ms), after(.last_report))]
    NoReport {
        /// How long the report was waited for, in milliseconds.
        within_ms: u32,
        /// The beginning of the device's last report, if there was one.
        last_report: Option<String>,
    },
}

/// A missed run, alone or with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Why it was missed.
    pub why: MissedReason,
    /// Set if it stands for several runs of its job, all up to its own occurrence.
    pub several: Option<Several>,
}

/// Why a run was missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissedReason {
    /// It could have started only after its grace.
    TooLate {
        /// How late it would have started, in milliseconds.
        late_ms: i64,
        /// Its grace, in milliseconds.
        grace_ms: u32,
        /// What held it up.
        cause: Cause,
    },
    /// This many runs of its job were waiting, which is the limit.
    TooMany(u32),
    /// A newer run could not start either, and only the newest is caught up.
    Superseded {
        /// The newer run's job, if it is another job of the same group.
        job: Option<JobId>,
        /// The newer run's occurrence.
        by: Instant,
    },
}

/// Several occurrences with the same outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several {
    /// The oldest of them.
    pub since: Instant,
    /// Their number; there are more if the look-back was cut short.
    pub count: u32,
    /// Whether the look-back was cut short.
    pub more: bool,
}

/// The cause of a delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host was not running, or the machine slept.
    HostAway,
    /// The clock was set forward past its start.
    ClockSet,
    /// It was planned only after it was due.
    PlannedLate,
    /// There was no connection to the broker.
    LinkDown,
    /// The link was busy with other runs.
    Busy,
    /// Its plugin had more messages to send than its rate allows.
    OverRate {
        /// The sustained rate, in messages a second.
        per_second: u32,
    },
    /// An earlier run, which goes first, had not ended.
    EarlierRun,
    /// Other runs held the resource that it needs.
    Taken(ResourceName),
    /// Its plugin took too long to return its messages.
    SlowPlugin,
    /// The subscription to the device's reports failed, with the broker's reason.
    SubscribeFailed(String),
    /// The broker had ended the connection at a message to this topic, so that the link held back others to it.
    HeldBack(Topic),
}

/// What a pause applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A plugin: all jobs of all its devices.
    Plugin,
    /// A device: all its jobs.
    Device,
    /// A single job.
    Job,
}

/// Why a run was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The earlier run of this occurrence had not ended.
    EarlierRun(Instant),
    /// This many runs were waiting, which is the limit.
    TooManyWaiting(u32),
    /// This many runs were active, which is the limit.
    TooManyRunning(u32),
    /// Its plugin, device or job was paused.
    Paused {
        /// What was paused.
        what: Level,
        /// Set if it stands for several runs of its job, all up to its own occurrence.
        several: Option<Several>,
    },
    /// The operator asked to skip this run.
    ByOperator,
}

/// Why a run was cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// Its device was removed.
    DeviceRemoved,
    /// Its plugin was removed.
    PluginRemoved,
    /// A newer run of its job replaced it.
    Replaced {
        /// The newer run's occurrence.
        by: Instant,
    },
    /// A newer run of its group replaced it.
    NewerOfGroup {
        /// The newer run's job.
        job: JobId,
        /// The newer run's occurrence.
        by: Instant,
    },
    /// Its ad-hoc job was cancelled.
    JobCancelled,
    /// Its ad-hoc job was replaced.
    JobReplaced,
    /// The operator abandoned it.
    Abandoned,
    /// It was active when the backup was made that the host was restored from, and may have ended since.
    Restored,
}

/// Why a run was denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Its plugin, or the API, may not publish there (I8).
    #[error("publishing to `{0}` is not granted")]
    Topic(Topic),
    /// Its plugin, or the API, may not publish with that QoS (I8).
    #[error("publishing to `{topic}` with QoS {} is not granted, only up to {}", *.qos as u8, *.most as u8)]
    Qos {
        /// The message's topic.
        topic: Topic,
        /// Its QoS.
        qos: Qos,
        /// The highest one that is granted.
        most: Qos,
    },
    /// Its plugin, or the API, may not publish a retained message (I8).
    #[error("publishing a retained message to `{0}` is not granted")]
    Retain(Topic),
    /// Its plugin, or the API, may not read there (I8).
    #[error("reading `{0}` is not granted")]
    Report(Topic),
    /// No resource with this name is configured.
    #[error("it needs `{0}`, and no `[[resource]]` in the host's settings has that name")]
    Resource(ResourceName),
    /// Its plugin, or the API, may not hold this resource.
    #[error("it needs `{0}`, and its plugin is not among the `plugins` of that `[[resource]]`")]
    NotGranted(ResourceName),
    /// It would hold a resource for longer than allowed.
    #[error("it would hold `{resource}` for {}, and a run may hold it for {}", duration(.hold_ms), duration(.longest_ms))]
    HoldTooLong {
        /// The resource's name.
        resource: ResourceName,
        /// How long it would hold it, in milliseconds.
        hold_ms: u32,
        /// How long a run may hold it, in milliseconds.
        longest_ms: u32,
    },
}

impl Outcome {
    /// Returns the state of a run that has ended so.
    #[must_use]
    pub const fn state(&self) -> RunState {
        match self {
            Self::Succeeded(_) => RunState::Succeeded,
            Self::Failed(_) => RunState::Failed,
            Self::Missed(_) => RunState::Missed,
            Self::Skipped(_) => RunState::Skipped,
            Self::Cancelled(_) => RunState::Cancelled,
            Self::Denied(_) => RunState::Denied,
        }
    }

    /// Returns the occurrences that it stands for, if there are several.
    #[must_use]
    pub const fn several(&self) -> Option<Several> {
        match self {
            Self::Missed(Missed { several, .. }) | Self::Skipped(Skipped::Paused { several, .. }) => *several,
            _ => None,
        }
    }
}

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
}

/// Writes the reason in one sentence, after the occurrences that it stands for if there are several.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(several) = self.several() {
            write!(f, "{} {} since {}; ", several.quantity(), self.state(), several.since)?;
        }
        write!(f, "{}", self.reason(&|at| at.to_string()))
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

/// Writes `its plugin`, `its device` or `its job`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plugin => "its plugin",
            Self::Device => "its device",
            Self::Job => "its job",
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
            Self::Paused { what, .. } => write!(f, "{what} was paused"),
            Self::ByOperator => f.write_str(Self::BY_OPERATOR),
        }
    }
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { late, no_subscriber } = self;
        if let Some(Late { step, late_ms }) = late {
            write!(f, "step {step} was sent {} late", Duration(late_ms.unsigned_abs()))?;
        }
        if let Some(step) = no_subscriber {
            let also = if late.is_some() { "; " } else { "" };
            write!(f, "{also}the broker had no subscriber for the topic of step {step}")?;
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
        let plural = if *attempts == 1 { "" } else { "s" };
        if let Attempt::Unanswered(why) = last {
            return write!(f, "the plugin was called {attempts} time{plural} for its messages: {why}");
        }
        write!(f, "step {step} was given up after {attempts} attempt{plural}: {last}")
    }
}

fn duration(ms: &u32) -> Duration {
    Duration((*ms).into())
}

fn after(last_report: &Option<String>) -> String {
    last_report.as_ref().map_or(String::new(), |last_report| format!("; its last report was `{last_report}`"))
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
