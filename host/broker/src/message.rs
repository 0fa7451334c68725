//! A message that is kept: in a queue, retained, or as a last will.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::clock::Now;

/// What a message is, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Box<[u8]>,
    /// As the publisher wrote them, without those that are of a connection.
    pub(crate) properties: Box<[u8]>,
    /// When it is of no use any more.
    pub(crate) expires: Option<Instant>,
    /// Where its bytes are counted, as long as it is there: once, in however many queues it is.
    pub(crate) counted: Counted,
}

/// See [`Message::count`].
#[derive(Debug, Default)]
pub(crate) struct Counted(OnceLock<(Arc<AtomicUsize>, usize)>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some((sum, bytes)) = self.0.get() {
            sum.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

impl Message {
    /// Its bytes.
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    /// Adds its bytes to a sum, until it is gone from everywhere.
    pub(crate) fn count(&self, sum: &Arc<AtomicUsize>) {
        self.counted.0.get_or_init(|| {
            sum.fetch_add(self.size(), Ordering::Relaxed);
            (Arc::clone(sum), self.size())
        });
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
