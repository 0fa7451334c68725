//! The difference between a host's clock and the store's.

use crate::{
    event::Notice,
    limits::{SKEW_MS, SKEW_REPORTED_MS},
    time::{Moment, WallTime},
};

/// By how much this host's clock is ahead of the store's, as last measured.
pub(crate) struct Skew {
    ahead_ms: i64,
    is_reported: bool,
}

impl Skew {
    pub(crate) const fn new() -> Self {
        Self { ahead_ms: 0, is_reported: false }
    }

    /// Measures it by a clock that the store has read between two moments of this host, and returns what is to be
    /// reported. A slow answer hides a difference, and makes none.
    pub(crate) fn measure(&mut self, asked: Moment, answered: Moment, store: WallTime) -> Option<Notice> {
        let (first, last) = (asked.wall.min(answered.wall), asked.wall.max(answered.wall));
        self.ahead_ms = first.ms_since(store).max(0) + last.ms_since(store).min(0);
        let is_skewed = self.ahead_ms.abs() > SKEW_REPORTED_MS;
        let is_new = is_skewed != self.is_reported;
        self.is_reported = is_skewed;
        let notice = if is_skewed { Notice::Skewed { ahead_ms: self.ahead_ms } } else { Notice::Agreed };
        is_new.then_some(notice)
    }

    pub(crate) const fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// Returns whether this host must not claim.
    pub(crate) const fn is_too_large(&self) -> bool {
        self.ahead_ms.abs() > SKEW_MS
    }
}
