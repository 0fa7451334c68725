//! How runs end, each with its reason (I13). The values are recorded when the decision is made, so that explaining is
//! reading.

use std::fmt;

use crate::{
    model::Qos,
    names::{JobId, ResourceName},
    time::Instant,
    topic::Topic,
    trigger::Duration,
};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step is done.
    Succeeded(Success),
    /// A step was tried and given up.
    Failed(Failed),
    /// It was due and did not start.
    Missed(Missed),
    /// There were earlier runs that had not ended.
    Skipped(Skipped),
    /// It was called off.
    Cancelled(Cancelled),
    /// It was not allowed.
    Denied(Denied),
}

/// What there is to say of a run of which every step is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// The owed step that was latest, if one was late.
    pub late: Option<Late>,
    /// The first step, counted from 1, for whose topic the broker had no subscriber.
    pub no_subscriber: Option<usize>,
}

impl Success {
    /// Nothing.
    pub const PLAIN: Self = Self { late: None, no_subscriber: None };
}

/// An owed step that was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Which, counted from 1.
    pub step: usize,
    /// How late.
    pub late_ms: i64,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which step, counted from 1.
    pub step: usize,
    /// How many attempts were made at it.
    pub attempts: u32,
    /// What was wrong with the last attempt.
    pub last: Attempt,
}

/// How an attempt ended that did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The link went down before the acknowledgement.
    LinkLost,
    /// The host stopped before the acknowledgement.
    HostStopped,
    /// The broker refused it, in its words.
    Refused(String),
    /// The broker ended the connection as soon as it got the message, which was alone on it.
    EndedLink {
        /// Of the message.
        topic: Topic,
        /// How it did so, in words.
        how: String,
    },
    /// The broker has it, and had no subscriber for its topic.
    NoSubscriber,
    /// A later step's time had come.
    Overtaken,
    /// It may have arrived, or not, and is to be sent at most once.
    PossiblySent,
    /// Something else was in its way, in words.
    Prevented(String),
    /// The plugin did not say what to publish; why not, in words.
    Unanswered(String),
    /// The device did not report that it did so.
    NoReport {
        /// For how long that was waited for.
        within_ms: u32,
        /// What it reported last, if it did: the beginning.
        said: Option<String>,
    },
}

/// A run that was missed, alone or with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Why.
    pub why: MissedReason,
    /// If it stands for others of its job, all up to its own occurrence.
    pub several: Option<Several>,
}

/// Why a run was missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MissedReason {
    /// It could have started only after its grace.
    TooLate {
        /// How late it was when it could have started.
        late_ms: i64,
        /// How late it was allowed to be.
        grace_ms: u32,
        /// What held it up.
        cause: Cause,
    },
    /// So many were waiting, and no more of its job may.
    TooMany(u32),
    /// A newer run could not start either, and only the newest is made up for.
    Superseded {
        /// The newer one's job, if it is another one of the same group.
        job: Option<JobId>,
        /// The newer one's occurrence.
        by: Instant,
    },
}

/// Several occurrences that share a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several {
    /// The oldest.
    pub since: Instant,
    /// How many; more, if the look-back was cut short.
    pub count: u32,
    /// Whether it was.
    pub more: bool,
}

/// What held a run up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host was not running, or the machine slept.
    HostAway,
    /// The clock was set forward, past it.
    ClockSet,
    /// It was first planned when it had long been due.
    PlannedLate,
    /// There was no connection to the broker.
    LinkDown,
    /// There was, but it was busy with other runs.
    Busy,
    /// Its plugin had more to send than its rate allows.
    OverRate {
        /// Messages a second, in the long run.
        per_second: u32,
    },
    /// An earlier run, which goes first, had not ended.
    EarlierRun,
    /// Others held what it needs.
    Taken(ResourceName),
    /// Its plugin took too long to say what to publish.
    SlowPlugin,
    /// The device's reports could not be listened to, in the broker's words.
    SubscribeFailed(String),
    /// The broker had ended the connection at a message to this topic, and the link held others to it back.
    HeldBack(Topic),
}

/// What people can pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All jobs of all its devices.
    Plugin,
    /// All its jobs.
    Device,
    /// One.
    Job,
}

/// Why a run was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// An earlier one had not ended.
    EarlierRun(Instant),
    /// As many were waiting as may wait.
    TooManyWaiting(u32),
    /// As many were going on as may go on at once.
    TooManyRunning(u32),
    /// Somebody has paused it.
    Paused {
        /// What was paused.
        what: Level,
        /// If it stands for others of its job, all up to its own occurrence.
        several: Option<Several>,
    },
    /// Somebody wanted this one to be left out.
    ByOperator,
}

/// Why a run was called off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The device is gone.
    DeviceRemoved,
    /// The plugin is gone.
    PluginRemoved,
    /// A newer run of its job replaced it.
    Replaced {
        /// The newer one's occurrence.
        by: Instant,
    },
    /// A newer run of its group says what should hold now.
    NewerOfGroup {
        /// The newer one's job.
        job: JobId,
        /// The newer one's occurrence.
        by: Instant,
    },
    /// Somebody has cancelled its job.
    JobCancelled,
    /// Somebody has put another job in the place of its own.
    JobReplaced,
    /// A person said so.
    Abandoned,
    /// It was under way when a copy was made that the host goes on with, and may have ended since.
    Restored,
}

/// Why a run was not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its plugin, or the API, may not publish there (I8).
    Topic(Topic),
    /// Its plugin, or the API, may not publish with that QoS (I8).
    Qos {
        /// The message's topic.
        topic: Topic,
        /// Its QoS.
        qos: Qos,
        /// The highest one that is granted.
        most: Qos,
    },
    /// Its plugin, or the API, may not publish a retained message (I8).
    Retain(Topic),
    /// Its plugin, or the API, may not read there (I8).
    Report(Topic),
    /// The operator has not said how many there are of it.
    Resource(ResourceName),
    /// The operator does not let its plugin, or people, hold that.
    NotGranted(ResourceName),
    /// It would hold a resource for longer than a run may.
    HoldTooLong {
        /// Which.
        resource: ResourceName,
        /// How long, in milliseconds.
        hold_ms: u32,
        /// How long a run may.
        longest_ms: u32,
    },
}

impl Outcome {
    /// One word: `succeeded`, `failed`, `missed`, `skipped`, `cancelled`, `denied`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::Missed(_) => "missed",
            Self::Skipped(_) => "skipped",
            Self::Cancelled(_) => "cancelled",
            Self::Denied(_) => "denied",
        }
    }

    /// The occurrences that it stands for, if it is about several.
    #[must_use]
    pub const fn several(&self) -> Option<Several> {
        match self {
            Self::Missed(Missed { several, .. }) | Self::Skipped(Skipped::Paused { several, .. }) => *several,
            _ => None,
        }
    }
}

/// The reason, in a sentence; empty for a run that simply succeeded.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded(success) => success.fmt(f),
            Self::Failed(failed) => failed.fmt(f),
            Self::Missed(Missed { why, several: None }) => why.fmt(f),
            Self::Missed(Missed { why, several: Some(Several { since, count, more }) }) => {
                let at_least = if *more { "at least " } else { "" };
                write!(f, "{at_least}{count} missed since {since}; {why}")
            }
            Self::Skipped(Skipped::Paused { what, several }) => {
                if let Some(Several { since, count, more }) = several {
                    let at_least = if *more { "at least " } else { "" };
                    write!(f, "{at_least}{count} skipped since {since}; ")?;
                }
                f.write_str(match what {
                    Level::Plugin => "its plugin was paused",
                    Level::Device => "its device was paused",
                    Level::Job => "its job was paused",
                })
            }
            Self::Skipped(Skipped::ByOperator) => f.write_str("this one was left out by hand"),
            Self::Skipped(Skipped::EarlierRun(earlier)) => write!(f, "the run of {earlier} had not ended"),
            Self::Skipped(Skipped::TooManyWaiting(most)) => {
                write!(f, "as many runs as may wait ({most}) were waiting already")
            }
            Self::Skipped(Skipped::TooManyRunning(most)) => {
                write!(f, "as many runs as may go on at once ({most}) were going on already")
            }
            Self::Cancelled(cancelled) => cancelled.fmt(f),
            Self::Denied(Denied::Topic(topic)) => write!(f, "publishing to `{topic}` is not granted"),
            Self::Denied(Denied::Qos { topic, qos, most }) => {
                let (qos, most) = (*qos as u8, *most as u8);
                write!(f, "publishing to `{topic}` with QoS {qos} is not granted, only up to {most}")
            }
            Self::Denied(Denied::Retain(topic)) => {
                write!(f, "publishing a retained message to `{topic}` is not granted")
            }
            Self::Denied(Denied::Report(topic)) => write!(f, "reading `{topic}` is not granted"),
            Self::Denied(Denied::NotGranted(name)) => {
                write!(f, "it needs `{name}`, and its plugin is not among the `plugins` of that `[[resource]]`")
            }
            Self::Denied(Denied::HoldTooLong { resource, hold_ms, longest_ms }) => {
                let (hold, longest) = (Duration((*hold_ms).into()), Duration((*longest_ms).into()));
                write!(f, "it would hold `{resource}` for {hold}, and a run may for {longest}")
            }
            Self::Denied(Denied::Resource(name)) => {
                write!(f, "it needs `{name}`, and no `[[resource]]` in the host's settings has that name")
            }
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
            return write!(f, "step {step}: {why}");
        }
        let plural = if *attempts == 1 { "" } else { "s" };
        if let Attempt::Unanswered(why) = last {
            return write!(f, "the plugin was asked {attempts} time{plural} what to publish: {why}");
        }
        write!(f, "step {step} was given up after {attempts} attempt{plural}: {last}")
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkLost => f.write_str("the connection was lost before the broker answered"),
            Self::HostStopped => f.write_str("the host was stopped before the broker answered"),
            Self::NoSubscriber => f.write_str("the broker has it, and had no subscriber for its topic"),
            Self::Overtaken => f.write_str("the time of a later step had come"),
            Self::Refused(reason) => write!(f, "the broker refused the message: {reason}"),
            Self::EndedLink { topic, how } => {
                write!(f, "the broker ended the connection at the message to `{topic}`, which was alone on it: {how}")
            }
            Self::PossiblySent => f.write_str("it was possibly sent"),
            Self::Prevented(why) | Self::Unanswered(why) => f.write_str(why),
            Self::NoReport { within_ms, said } => {
                write!(f, "the device did not report within {} that it was done", Duration((*within_ms).into()))?;
                said.as_ref().map_or(Ok(()), |said| write!(f, "; its last report was `{said}`"))
            }
        }
    }
}

impl fmt::Display for MissedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate { late_ms, grace_ms, cause } => {
                let (late, grace) = (Duration(late_ms.unsigned_abs()), Duration((*grace_ms).into()));
                write!(f, "{cause}; it would have started {late} late, and its grace is {grace}")
            }
            Self::TooMany(most) => write!(f, "as many runs as may wait ({most}) were waiting already"),
            Self::Superseded { job: None, by } => write!(f, "only the newest one, of {by}, is made up for"),
            Self::Superseded { job: Some(job), by } => {
                write!(f, "only the newest one of its group, `{job}` of {by}, is made up for")
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostAway => f.write_str("the host was not running, or the machine slept"),
            Self::ClockSet => f.write_str("the clock was set forward"),
            Self::PlannedLate => f.write_str("it was planned only after it was due"),
            Self::LinkDown => f.write_str("there was no connection to the broker"),
            Self::Busy => f.write_str("the broker was busy with other runs"),
            Self::OverRate { per_second } => {
                let plural = if *per_second == 1 { "" } else { "s" };
                write!(f, "its plugin had more to send than its rate of {per_second} message{plural} a second allows")
            }
            Self::EarlierRun => f.write_str("an earlier run had not ended"),
            Self::Taken(name) => write!(f, "`{name}` was taken"),
            Self::SlowPlugin => f.write_str("its plugin took too long to say what to publish"),
            Self::SubscribeFailed(reason) => write!(f, "the device's reports could not be listened to: {reason}"),
            Self::HeldBack(topic) => {
                write!(f, "messages to `{topic}` were held back, because the broker had ended the connection at one")
            }
        }
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceRemoved => f.write_str("its device was removed"),
            Self::PluginRemoved => f.write_str("its plugin was removed"),
            Self::Replaced { by } => write!(f, "the run of {by} replaced it"),
            Self::NewerOfGroup { job, by } => write!(f, "a newer run of its group, `{job}` of {by}, took its place"),
            Self::JobReplaced => f.write_str("its job was replaced by hand"),
            Self::JobCancelled => f.write_str("its job was cancelled by hand"),
            Self::Abandoned => f.write_str("it was abandoned by hand"),
            Self::Restored => f.write_str("restored from a backup"),
        }
    }
}
