//! A stored message: in a queue, retained, or as a last will.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::clock::Now;

/// The content of a message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: Box<str>,
    pub(crate) payload: Box<[u8]>,
    /// The publisher's encoded properties, without those of the connection.
    pub(crate) properties: Box<[u8]>,
    /// When the message expires.
    pub(crate) expires: Option<Instant>,
    /// The sum that its bytes are counted in, once for all queues.
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
    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    /// Adds its size to a sum, until the message is dropped.
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

/// Returns the remaining seconds until a message expires, at least one.
pub(crate) fn seconds_left(expires: Option<Instant>, now: Now) -> Option<u32> {
    let left = expires?.saturating_duration_since(now.monotonic);
    Some(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1))
}
