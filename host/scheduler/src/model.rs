//! What a device declares: jobs, what they do, and how they are treated. Everything here is valid by construction; the
//! edges parse into it.

use std::sync::Arc;

use crate::{names::JobId, topic::Topic, trigger::Trigger};

/// Something a device should do, once or again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Unique within the device.
    pub id: JobId,
    /// For people; the id where there is none.
    pub label: Option<Arc<str>>,
    /// When.
    pub trigger: Trigger,
    /// What: 1 to 100 messages, in order of `after_ms`.
    pub steps: Arc<[Step]>,
    /// How, when things do not go to plan.
    pub policy: Policy,
}

/// One message of a run, at its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Milliseconds after the run's start; never less than the step before.
    pub after_ms: u32,
    /// What to publish.
    pub message: Message,
}

/// One MQTT message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: Topic,
    /// Any bytes, at most 256 KiB.
    pub payload: Arc<[u8]>,
    /// How it is acknowledged.
    pub qos: Qos,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// What MQTT 5 can say besides; most messages have none.
    pub properties: Option<Arc<MessageProperties>>,
}

/// How a publish is acknowledged, and so when a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    /// Sent once; done when written.
    AtMostOnce = 0,
    /// Done on PUBACK.
    AtLeastOnce = 1,
    /// Done on PUBCOMP.
    ExactlyOnce = 2,
}

impl Qos {
    /// 0, 1 or 2.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// MQTT 5 properties that a message asks for. The host adds the run's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// How long the broker may hold the message; overrides the expiry that the host would set.
    pub expiry_ms: Option<u32>,
    /// The payload's media type.
    pub content_type: Option<String>,
    /// Where a device is to answer.
    pub response_topic: Option<Topic>,
    /// At most 16; no name starts with `roost-`.
    pub user: Vec<(String, String)>,
}

/// How a job's runs are treated. Missed runs are made up for as `run-once` says, and a run that is due while the one
/// before it has not ended is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How late a run may start.
    pub grace_ms: u32,
    /// Each run starts up to this much late, drawn by its id.
    pub jitter_ms: u32,
    /// Of runs that could start at the same time, the higher goes first.
    pub priority: i8,
    /// How long a step is tried.
    pub retry: Retry,
}

/// How long a step is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Give up after this many attempts.
    pub attempts: Option<u32>,
    /// Give up this long after the step's first attempt.
    pub give_up_after_ms: u32,
    /// The pause before the second attempt; it doubles each time, up to 5 minutes.
    pub backoff_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { grace_ms: 300_000, jitter_ms: 0, priority: 0, retry: Retry::default() }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: None, give_up_after_ms: 900_000, backoff_ms: 1_000 }
    }
}
