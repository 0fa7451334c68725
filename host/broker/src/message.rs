//! A message that is kept: in a queue, retained, or as a last will.

use std::time::Instant;

use crate::clock::Now;

/// What a message is, whatever becomes of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Box<[u8]>,
    /// As the publisher wrote them, without those that are of a connection.
    pub(crate) properties: Box<[u8]>,
    /// When it is of no use any more.
    pub(crate) expires: Option<Instant>,
}

impl Message {
    /// Its bytes.
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    pub(crate) fn is_expired(&self, now: Now) -> bool {
        self.expires.is_some_and(|expires| expires <= now.monotonic)
    }
}

/// What is left of a message's time, in whole seconds: at least one, because it is not over.
pub(crate) fn seconds_left(expires: Option<Instant>, now: Now) -> Option<u32> {
    let left = expires?.saturating_duration_since(now.monotonic);
    Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1))
}
