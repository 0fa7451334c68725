//! The fault of a draft: its place, the value, the rule, and what to do about it.

use std::fmt::{self, Display};

use crate::{
    names::{CalendarName, ResourceName},
    qos::Qos,
    topic::Topic,
};

/// A rule that a draft breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of the rule.
    pub kind: FaultKind,
    /// The part of a plan or a reply: `job "open", step 2`, with backticks; empty for the whole draft.
    pub place: String,
    /// The field, with hyphens between words and dots between levels: `policy.grace-ms`.
    pub field: &'static str,
    /// The field's value or a description of it; empty if the rule names it.
    pub value: String,
    /// The rule.
    pub rule: String,
    /// What to write instead, if that can be guessed.
    pub hint: Option<Box<str>>,
}

/// The kind of a rule that a draft breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A text or a number is not what its field requires.
    Malformed,
    /// A value is out of range, or contradicts another one.
    Rule,
    /// The operator has not permitted it.
    NotPermitted(Box<Permission>),
}

/// What the operator would have to permit, or to configure, before a draft is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// To publish to the topic.
    Publish(Topic),
    /// To publish to one of the host's own topics: the host would need another one.
    HostTopic,
    /// To publish messages of this QoS.
    Qos(Qos),
    /// To publish retained messages.
    Retain,
    /// To read the topic.
    Read(Topic),
    /// To hold a resource for so many milliseconds.
    Resource(ResourceName, u32),
    /// The location of the device.
    Location,
    /// A calendar.
    Calendar(CalendarName),
}

impl Permission {
    /// Returns whether it is about the topics and the messages of a job.
    #[must_use]
    pub const fn is_of_messages(&self) -> bool {
        matches!(self, Self::Publish(_) | Self::HostTopic | Self::Qos(_) | Self::Retain | Self::Read(_))
    }
}

impl Fault {
    pub(super) fn new(field: &'static str, value: impl Display, rule: impl Into<String>) -> Self {
        let (value, rule) = (value.to_string(), rule.into());
        Self { kind: FaultKind::Rule, place: String::new(), field, value, rule, hint: None }
    }

    /// Creates the fault of a text that cannot be parsed; the error names the text.
    pub(super) fn malformed(field: &'static str, error: &dyn Display) -> Self {
        Self { kind: FaultKind::Malformed, ..Self::new(field, "", error.to_string()) }
    }

    /// Makes it the fault of a permission that is lacking.
    pub(super) fn lacks(self, permission: Permission) -> Self {
        Self { kind: FaultKind::NotPermitted(permission.into()), ..self }
    }

    /// Adds what contains the place so far.
    pub(super) fn within(mut self, part: String) -> Self {
        self.place = if self.place.is_empty() { part } else { part + ", " + &self.place };
        self
    }

    /// Adds the step, by its index from 0.
    pub(super) fn within_step(self, index: usize) -> Self {
        self.within(format!("step {}", index + 1))
    }
}

impl Fault {
    /// Describes it with another name of the field, as a client wrote it.
    #[must_use]
    pub fn describe(&self, field: &str) -> String {
        let Self { place, value, rule, .. } = self;
        let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
        let value = if value.is_empty() { String::new() } else { format!(" {value}") };
        format!("{place}`{field}`{value}: {rule}")
    }
}

/// Writes ``step 2: `after-ms` 100: it must not be less than the step before, 200``.
impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(self.field))
    }
}

impl std::error::Error for Fault {}
