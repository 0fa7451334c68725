//! The policy of a job, with its defaults; and the decisions on an occurrence that is due: pure functions, each with a
//! table of cases.

pub(crate) mod backoff;
pub(crate) mod grace;
pub(crate) mod misfire;
pub(crate) mod overlap;

use std::fmt;

use crate::names::{GroupName, ResourceName};

/// A policy: how the runs of a job are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which missed runs are caught up.
    pub misfire: Misfire,
    /// How late a run may start, in milliseconds.
    pub grace_ms: u32,
    /// What happens to a run that is due before the previous one has ended.
    pub overlap: Overlap,
    /// The largest random delay of a run's start, in milliseconds; it is derived from the run's id.
    pub jitter_ms: u32,
    /// Among runs that could start at the same time, the higher priority goes first.
    pub priority: i8,
    /// How often and how long a step is tried.
    pub retry: Retry,
    /// The resource of which a run holds one unit from its first step to its last.
    pub needs: Option<ResourceName>,
}

impl Policy {
    /// Returns the group of the job, if it is in one.
    #[must_use]
    pub const fn group(&self) -> Option<&GroupName> {
        match &self.misfire {
            Misfire::LatestOfGroup(group) => Some(group),
            Misfire::RunOnce | Misfire::RunAll => None,
        }
    }
}

/// How often and how long a step is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The largest number of attempts; unlimited if `None`.
    pub attempts: Option<u32>,
    /// How long after its first attempt the step is given up, in milliseconds.
    pub give_up_after_ms: u32,
    /// The pause before the second attempt, in milliseconds; it doubles each time, up to 5 minutes.
    pub backoff_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            misfire: Misfire::default(),
            grace_ms: 300_000,
            overlap: Overlap::default(),
            jitter_ms: 0,
            priority: 0,
            retry: Retry::default(),
            needs: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: None, give_up_after_ms: 900_000, backoff_ms: 1_000 }
    }
}

/// Which runs are caught up, of those that could not start when they were due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misfire {
    /// The newest, if it is within its grace.
    #[default]
    RunOnce,
    /// All that are within their grace, one after the other.
    RunAll,
    /// Only the newest run of all jobs of the device in this group, however late.
    LatestOfGroup(GroupName),
}

/// Writes `run-once`, `run-all` or `latest-of-group door`.
impl fmt::Display for Misfire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunOnce => f.write_str("run-once"),
            Self::RunAll => f.write_str("run-all"),
            Self::LatestOfGroup(group) => write!(f, "latest-of-group {group}"),
        }
    }
}

/// What happens to a run that is due while an earlier run of its job has started and not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is skipped.
    #[default]
    Skip,
    /// It waits, if fewer than this many runs are waiting.
    Queue(u32),
    /// It starts, if fewer than this many runs are active.
    Allow(u32),
    /// It replaces the earlier run, which is cut short.
    Replace,
}

/// Writes `skip`, `queue 3`, `allow 2` or `replace`.
impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Queue(most) => write!(f, "queue {most}"),
            Self::Allow(most) => write!(f, "allow {most}"),
            Self::Replace => f.write_str("replace"),
        }
    }
}
