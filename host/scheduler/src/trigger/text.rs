//! The text in which a person writes a trigger.

use super::{Patterns, Trigger};
use crate::time::{Instant, Site};

/// Text that is not a trigger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a trigger: {reason}")]
pub struct TriggerError {
    text: String,
    reason: String,
}

/// Reads a trigger.
///
/// # Errors
/// Says what is wrong, and how it is written.
pub fn parse(text: &str, now: Instant, patterns: &mut Patterns) -> Result<Trigger, TriggerError> {
    let (_, _) = (now, patterns);
    Err(TriggerError { text: text.into(), reason: "to come".into() })
}
