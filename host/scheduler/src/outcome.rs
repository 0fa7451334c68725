//! How runs end, each with its reason (I13). The values are recorded when the decision is made, so that explaining is
//! reading.

use std::fmt;

use crate::{time::Instant, topic::Topic, trigger::Duration};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step is done.
    Succeeded,
    /// A step was tried and given up.
    Failed(Failed),
    /// It was due and did not start.
    Missed(Missed),
    /// The run before it had not ended.
    Skipped {
        /// The occurrence of the earlier run.
        earlier: Instant,
    },
    /// It was called off before its first step was sent.
    Cancelled(Cancelled),
    /// The plugin may not publish there.
    Denied {
        /// Where.
        topic: Topic,
    },
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
    /// The broker refused it, in its words.
    Refused(String),
    /// A later step's time had come.
    Overtaken,
}

/// Why a run was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It could have started only after its grace.
    TooLate {
        /// How late it was when it could have started.
        late_ms: i64,
        /// How late it was allowed to be.
        grace_ms: u32,
        /// What held it up.
        cause: Cause,
    },
    /// A newer run of the same job was missed too, and only the newest is made up for. Stands for all that were
    /// missed up to the run's occurrence.
    Superseded {
        /// The newest one.
        by: Instant,
        /// The oldest occurrence it stands for.
        since: Instant,
        /// How many it stands for; more, if the look-back was cut short.
        count: u32,
        /// Whether the look-back was cut short.
        more: bool,
    },
}

/// What held a run up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host was not running, or the machine slept, or the clock was set.
    HostAway,
    /// It was first planned when it had long been due.
    PlannedLate,
    /// There was no connection to the broker.
    LinkDown,
    /// There was, but it was busy with other runs.
    Busy,
}

/// Why a run was called off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The device is gone.
    DeviceRemoved,
    /// The plugin is gone.
    PluginRemoved,
}

impl Outcome {
    /// One word: `succeeded`, `failed`, `missed`, `skipped`, `cancelled`, `denied`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Missed(_) => "missed",
            Self::Skipped { .. } => "skipped",
            Self::Cancelled(_) => "cancelled",
            Self::Denied { .. } => "denied",
        }
    }
}

/// The reason, in a sentence; empty for a run that succeeded.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => Ok(()),
            Self::Failed(Failed { step, attempts, last }) => {
                write!(f, "step {step} was given up after {attempts} attempts: ")?;
                match last {
                    Attempt::LinkLost => f.write_str("the connection was lost before the broker answered"),
                    Attempt::Overtaken => f.write_str("the time of a later step had come"),
                    Attempt::Refused(reason) => write!(f, "the broker refused the message: {reason}"),
                }
            }
            Self::Missed(Missed::TooLate { late_ms, grace_ms, cause }) => {
                let cause = match cause {
                    Cause::HostAway => "the host was not running, or the machine slept",
                    Cause::PlannedLate => "it was planned only after it was due",
                    Cause::LinkDown => "there was no connection to the broker",
                    Cause::Busy => "the broker was busy with other runs",
                };
                let (late, grace) = (Duration(late_ms.unsigned_abs()), Duration((*grace_ms).into()));
                write!(f, "{cause}; it would have started {late} late, and its grace is {grace}")
            }
            Self::Missed(Missed::Superseded { by, since, count, more }) => {
                let at_least = if *more { "at least " } else { "" };
                write!(f, "{at_least}{count} missed since {since}; only the newest one, of {by}, is made up for")
            }
            Self::Skipped { earlier } => write!(f, "the run of {earlier} had not ended"),
            Self::Cancelled(Cancelled::DeviceRemoved) => f.write_str("its device was removed"),
            Self::Cancelled(Cancelled::PluginRemoved) => f.write_str("its plugin was removed"),
            Self::Denied { topic } => write!(f, "the plugin may not publish to `{topic}`"),
        }
    }
}
