//! What a device declares: jobs, what they do, and how they are treated. Everything here is valid by construction; the
//! edges parse into it.

use std::sync::Arc;

use crate::{
    limits,
    names::{GroupName, JobId, PluginName, ResourceName, TaskName},
    topic::Topic,
    trigger::Trigger,
};

/// Something a device should do, once or again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Unique within the device.
    pub id: JobId,
    /// For people; the id where there is none.
    pub label: Option<Arc<str>>,
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: Action,
    /// How, when things do not go to plan.
    pub policy: Policy,
}

impl Job {
    /// What it publishes; nothing is known of that before its plugin was asked, where it is.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        match &self.action {
            Action::Steps(steps) => steps,
            Action::Task(_) => &[],
        }
    }
}

/// What a job does when it is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// It publishes 1 to 100 messages, in order of `after_ms`.
    Steps(Arc<[Step]>),
    /// It asks the plugin then what to publish.
    Task(Arc<Task>),
}

/// What a plugin is asked to do, because its messages are known only when it is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which.
    pub name: TaskName,
    /// JSON text.
    pub args: String,
}

/// What a plugin answers to a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What to publish: none, or up to 100 messages in order of `after_ms`.
    pub steps: Vec<Step>,
    /// Whether the device's plan is to be asked for now.
    pub replan: bool,
    /// For people: why this, or why nothing.
    pub note: Option<String>,
}

/// One message of a run, at its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Milliseconds after the run's start; never less than the step before.
    pub after_ms: u32,
    /// What to publish.
    pub message: Message,
    /// Sent once and never again, even if it is not known to have arrived.
    pub once: bool,
    /// The device's own report that it did so; without, the broker's acknowledgement is enough.
    pub confirm: Option<Arc<Confirm>>,
}

/// A device's own report that it did what it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The state topic.
    pub topic: Topic,
    /// What the report must be.
    pub matches: Matches,
    /// How long it is waited for.
    pub within_ms: u32,
    /// Whether a report from before will do; then nothing is sent.
    pub already: bool,
}

/// A condition on a payload. What looks at payloads is the link: the scheduler hands it over and hears the answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Matches {
    /// Any message at all.
    Any,
    /// These very bytes.
    Bytes(Arc<[u8]>),
    /// JSON, with this value at that place.
    Json {
        /// JSON pointer (RFC 6901).
        pointer: String,
        /// JSON text.
        value: String,
    },
    /// JSON, with a number in this range at that place.
    JsonRange {
        /// JSON pointer (RFC 6901).
        pointer: String,
        /// Finite, at most `max`.
        min: f64,
        /// Finite.
        max: f64,
    },
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

/// How a job's runs are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Which of the runs that were missed are made up for.
    pub misfire: Misfire,
    /// How late a run may start.
    pub grace_ms: u32,
    /// What happens to a run that is due before the one before it has ended.
    pub overlap: Overlap,
    /// Each run starts up to this much late, drawn by its id.
    pub jitter_ms: u32,
    /// Of runs that could start at the same time, the higher goes first.
    pub priority: i8,
    /// How long a step is tried.
    pub retry: Retry,
    /// What a run holds one of, from its first step to its last.
    pub needs: Option<ResourceName>,
}

/// Which runs are made up for, of those whose due time passed while they could not start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misfire {
    /// The newest, if within its grace.
    #[default]
    RunOnce,
    /// All that are within their grace, one after the other.
    RunAll,
    /// Of all jobs of the device in this group only the newest run, whatever its age.
    LatestOfGroup(GroupName),
}

/// What happens to a run that is due while an earlier one of its job has started and not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It waits, if fewer than this many do.
    Queue(u32),
    /// It starts, if fewer than this many are going on.
    Allow(u32),
    /// The earlier one is cut short.
    Replace,
}

impl Policy {
    /// The group that its job is in.
    #[must_use]
    pub const fn group(&self) -> Option<&GroupName> {
        match &self.misfire {
            Misfire::LatestOfGroup(group) => Some(group),
            Misfire::RunOnce | Misfire::RunAll => None,
        }
    }
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

/// Something that the operator has a limited number of, such as a pump, and how plugins share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// How many runs may hold it at once.
    pub capacity: u32,
    /// The plugins whose jobs may need it; the host's own name stands for jobs that people make.
    pub plugins: Vec<PluginName>,
    /// How long a run may hold it, in milliseconds from its first step.
    pub longest_hold_ms: u32,
}

/// Why a job may not need a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceRefusal {
    /// Its plugin is none of those that may.
    NotGranted,
    /// Its steps would hold the resource for longer than a run may.
    TooLong {
        /// How long, in milliseconds.
        hold_ms: u32,
        /// How long a run may.
        longest_ms: u32,
    },
}

impl Resource {
    /// What the operator says when nothing is said but how many there are: people may use it, and each plugin has to be
    /// named, for 4 hours each time.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self { capacity, plugins: vec![PluginName::of_host()], longest_hold_ms: limits::LONGEST_HOLD_MS }
    }

    /// Why a job of a plugin may not need it, if it may not: `hold_ms` is when the job's last step is sent.
    #[must_use]
    pub fn refusal(&self, plugin: &PluginName, hold_ms: u32) -> Option<ResourceRefusal> {
        if !self.plugins.contains(plugin) {
            return Some(ResourceRefusal::NotGranted);
        }
        let longest_ms = self.longest_hold_ms;
        (hold_ms > longest_ms).then_some(ResourceRefusal::TooLong { hold_ms, longest_ms })
    }
}

/// How long a run of these steps holds what it needs: until its last step is sent.
#[must_use]
pub fn hold_ms(steps: &[Step]) -> u32 {
    steps.last().map_or(0, |step| step.after_ms)
}
