//! The domain model: jobs, their actions and their policies. Every value here is valid; the edges of the host parse
//! into it.

use std::sync::Arc;

use crate::{
    limits,
    names::{JobId, PluginName, ResourceName, TaskName},
    outcome::Denied,
    packing::{encoded_enum, encoded_structs},
    topic::Topic,
    trigger::Trigger,
};
pub use crate::{
    policy::{Misfire, Overlap, Policy, Retry},
    qos::Qos,
};

/// A job of a device: an action, and the trigger that makes it due once or repeatedly.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Unique within the device.
    pub id: JobId,
    /// The label that users see; the id is shown if there is none.
    pub label: Option<Arc<str>>,
    /// When it is due.
    pub trigger: Trigger,
    /// What its runs do.
    pub action: Action,
    /// How its runs are treated.
    pub policy: Policy,
}

impl Job {
    /// Returns the steps; empty if the plugin supplies them when the job is due (a task).
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
    /// Publishes 1 to 100 messages, in order of `after_ms`.
    Steps(Arc<[Step]>),
    /// Calls the plugin, which returns the messages.
    Task(Arc<Task>),
}

/// A task: a call to the plugin when the job is due, for messages that are not known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The task's name.
    pub name: TaskName,
    /// The arguments, as JSON text.
    pub args: String,
}

/// A plugin's reply to a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The messages to publish: up to 100, in order of `after_ms`.
    pub steps: Vec<Step>,
    /// Whether the device's plan is to be requested now.
    pub replan: bool,
    /// A note for users that explains the reply.
    pub note: Option<String>,
}

/// A step: one message of a run, and when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Milliseconds after the run's start; never less than the step before.
    pub after_ms: u32,
    /// The message to publish.
    pub message: Message,
    /// Whether it is sent at most once, even if it may not have arrived.
    pub once: bool,
    /// The report by which the device confirms the step; without it, the broker's acknowledgement completes the step.
    pub confirm: Option<Arc<Confirm>>,
}

/// A confirmation: the report by which a device confirms a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The topic of the report.
    pub topic: Topic,
    /// The condition that the report must meet.
    pub matches: Matches,
    /// How long to wait for the report, in milliseconds.
    pub within_ms: u32,
    /// Whether an earlier report counts; if it matches, nothing is sent.
    pub already: bool,
}

/// A condition on a payload. The link evaluates it; the scheduler only passes it on.
#[derive(Clone, Debug, PartialEq)]
pub enum Matches {
    /// Any message.
    Any,
    /// Exactly these bytes.
    Bytes(Arc<[u8]>),
    /// JSON, with this value at the pointer.
    Json {
        /// JSON pointer (RFC 6901).
        pointer: String,
        /// The value, as JSON text.
        value: String,
    },
    /// JSON, with a number in this range at the pointer.
    JsonRange {
        /// JSON pointer (RFC 6901).
        pointer: String,
        /// The lower bound, inclusive: finite, at most `max`.
        min: f64,
        /// The upper bound, inclusive: finite.
        max: f64,
    },
}

encoded_enum! {
    Matches {
        0 Any {},
        1 Bytes { 0: bytes },
        2 Json { pointer: pointer, value: value },
        3 JsonRange { pointer: pointer, min: min, max: max }
    }
}

/// One MQTT message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic to publish to.
    pub topic: Topic,
    /// The payload, at most 256 KiB.
    pub payload: Arc<[u8]>,
    /// The quality of service.
    pub qos: Qos,
    /// Whether the broker retains it for later subscribers.
    pub retain: bool,
    /// MQTT 5 properties; most messages have none.
    pub properties: Option<Arc<MessageProperties>>,
}

/// MQTT 5 properties of a message. The host adds those of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// The message expiry, in milliseconds; it overrides the expiry that the host would set.
    pub expiry_ms: Option<u32>,
    /// The payload's media type.
    pub content_type: Option<String>,
    /// The topic for the device's response.
    pub response_topic: Option<Topic>,
    /// User properties: at most 16; no name starts with `roost-`.
    pub user: Vec<(String, String)>,
}

encoded_structs! {
    Confirm { topic, matches, within_ms, already }
    MessageProperties { expiry_ms, content_type, response_topic, user }
}

/// A resource of which the operator has a limited number, such as a pump, and the rules for sharing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// How many runs may hold it at the same time.
    pub capacity: u32,
    /// The plugins that may need it in their jobs; the host's own name stands for ad-hoc jobs.
    pub plugins: Vec<PluginName>,
    /// How long a run may hold it, in milliseconds from its first step.
    pub longest_hold_ms: u32,
}

impl Resource {
    /// Returns the defaults for a capacity: only ad-hoc jobs may use the resource (each plugin must be listed), for 4
    /// hours at a time.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self { capacity, plugins: vec![PluginName::host()], longest_hold_ms: limits::LONGEST_HOLD_MS }
    }

    /// Returns why a job of a plugin may not need it, by its name, if so; `hold_ms` is when the job's last step is due.
    #[must_use]
    pub fn denied(&self, name: &ResourceName, plugin: &PluginName, hold_ms: u32) -> Option<Denied> {
        if !self.plugins.contains(plugin) {
            return Some(Denied::NotGranted(name.clone()));
        }
        let (resource, longest_ms) = (name.clone(), self.longest_hold_ms);
        (hold_ms > longest_ms).then_some(Denied::HoldTooLong { resource, hold_ms, longest_ms })
    }
}

/// Returns how long a run of these steps holds its resource: until its last step is due.
#[must_use]
pub fn hold_ms(steps: &[Step]) -> u32 {
    steps.last().map_or(0, |step| step.after_ms)
}
