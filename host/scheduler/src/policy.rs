//! The policy of a job, with its defaults. Each part has one home: its values, their encoding, words and rules, and its
//! decisions on a due occurrence, which are pure functions with a table of cases.

pub(crate) mod backoff;
pub(crate) mod grace;
pub(crate) mod misfire;
pub(crate) mod overlap;

pub use self::{misfire::Misfire, overlap::Overlap};
use crate::{
    names::{GroupName, ResourceName},
    packing::encoded_structs,
};

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
        self.misfire.group()
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

encoded_structs! {
    Policy { misfire, grace_ms, overlap, jitter_ms, priority, retry, needs }
    Retry { attempts, give_up_after_ms, backoff_ms }
}
