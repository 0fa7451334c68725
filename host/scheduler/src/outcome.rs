//! The outcomes of runs, each with its reason (I13). Values are recorded when the decision is made, so that explaining
//! a run is only reading.

mod state;
mod wording;

pub use self::state::RunState;
use crate::{
    names::{JobId, ResourceName},
    pause::PausedBy,
    qos::Qos,
    time::Instant,
    topic::Topic,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The link went down before the acknowledgement.
    LinkLost,
    /// The host stopped before the acknowledgement.
    HostStopped,
    /// The broker refused the message, with this reason.
    Refused(String),
    /// The broker ended the connection as soon as it received the message, which was the only one in flight.
    EndedLink {
        /// The message's topic.
        topic: Topic,
        /// How the broker ended it, as text.
        how: String,
    },
    /// The broker accepted the message, and had no subscriber for its topic.
    NoSubscriber,
    /// A later step was due.
    Overtaken,
    /// It may have arrived, and is to be sent at most once.
    PossiblySent,
    /// The step could not be sent, for this reason.
    Prevented(String),
    /// The plugin returned no messages, for this reason.
    Unanswered(String),
    /// The device did not confirm the step.
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

/// Why a run was skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The earlier run of this occurrence had not ended.
    EarlierRun(Instant),
    /// This many runs were waiting, which is the limit.
    TooManyWaiting(u32),
    /// This many runs were active, which is the limit.
    TooManyRunning(u32),
    /// It was due in a pause.
    Paused {
        /// The pause.
        by: PausedBy,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its plugin, or the API, may not publish there (I8).
    Topic(Topic),
    /// No job may publish there, because the topic is one of the host's own (I8).
    HostTopic(Topic),
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
    /// No resource with this name is configured.
    Resource(ResourceName),
    /// Its plugin, or the API, may not hold this resource.
    NotGranted(ResourceName),
    /// It would hold a resource for longer than allowed.
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
