//! Rate limits on messages: a token bucket for each plugin (I7).

use std::collections::BTreeMap;

use crate::{
    limits,
    mutants::{Mutation, mutated},
    names::PluginName,
    time::Instant,
};

/// A rate: messages a second in the long run, and messages at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second; at least one.
    pub per_second: u32,
    /// Messages at once after a pause; at least one.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: limits::MESSAGES_PER_SECOND, burst: limits::MESSAGES_AT_ONCE }
    }
}

/// The rate of each plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// The rate of a plugin that has none of its own.
    pub default: Rate,
    /// The rates of individual plugins.
    pub by_plugin: BTreeMap<PluginName, Rate>,
}

impl Rates {
    /// Returns the rate of a plugin.
    #[must_use]
    pub fn for_plugin(&self, plugin: &PluginName) -> Rate {
        let Rate { per_second, burst } = *self.by_plugin.get(plugin).unwrap_or(&self.default);
        Rate { per_second: per_second.max(1), burst: burst.max(1) }
    }
}

/// One message, in the unit of buckets: a rate of one a second adds 1 each millisecond.
const MESSAGE: u64 = 1_000;

/// The token bucket of a plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// In thousandths of a message.
    level: u64,
    /// When the level was computed.
    at: Instant,
    /// Messages that are about to be sent, and are deducted when they are.
    reserved: u32,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, level: u64::from(rate.burst) * MESSAGE, at: now, reserved: 0 }
    }

    pub(crate) const fn rate(&self) -> Rate {
        self.rate
    }

    const fn capacity(&self) -> u64 {
        self.rate.burst as u64 * MESSAGE
    }

    fn level_at(&self, now: Instant) -> u64 {
        let passed = u64::try_from(now.ms_since(self.at)).unwrap_or(0);
        self.level.saturating_add(passed.saturating_mul(self.rate.per_second.into())).min(self.capacity())
    }

    /// Returns how many messages may be sent now.
    pub(crate) fn left(&self, now: Instant) -> u64 {
        (self.level_at(now) / MESSAGE).saturating_sub(self.reserved.into())
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.reserved == 0 && self.level_at(now) == self.capacity()
    }

    /// Reserves a message that is about to be sent.
    pub(crate) fn reserve(&mut self) {
        if !mutated(Mutation::ReservedMessagesAreNotCounted) {
            self.reserved += 1;
        }
    }

    /// Deducts a reserved message, which is sent.
    pub(crate) fn take(&mut self, now: Instant) {
        self.cancel_reservation();
        self.level = self.level_at(now).saturating_sub(MESSAGE);
        self.at = self.at.max(now);
    }

    /// Cancels the reservation of a message that is not sent.
    pub(crate) const fn cancel_reservation(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Returns when to check an empty bucket again: when a message may be sent, but not for each message separately.
    pub(crate) fn again_at(&self, now: Instant) -> Instant {
        let pause = u64::from(self.rate.per_second) * limits::RATE_PAUSE_MS;
        let reserved = u64::from(self.reserved) * MESSAGE;
        let missing = (reserved + pause.clamp(MESSAGE, self.capacity())).saturating_sub(self.level_at(now));
        let wait_ms = missing.div_ceil(self.rate.per_second.into());
        now.plus_ms(i64::try_from(wait_ms).unwrap_or(i64::MAX).max(1))
    }

    /// Moves the time after the clock was set: elapsed time is measured, not read off the clock (I11).
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.at = self.at.plus_ms(by_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let (rate, start) =
            (Rate { per_second: 50, burst: 3 }, Instant::from_millis(1_800_000_000_000).expect("in range"));
        let mut bucket = Bucket::full(rate, start);
        let mut sent = 0;
        let mut send = |now: Instant, bucket: &mut Bucket| {
            while bucket.left(now) > 0 {
                bucket.take(now);
                sent += 1;
            }
            sent
        };
        assert_eq!(send(start, &mut bucket), 3);
        assert_eq!(bucket.again_at(start), start.plus_ms(20));
        assert_eq!(send(start.plus_ms(19), &mut bucket), 3);
        assert_eq!(send(start.plus_ms(20), &mut bucket), 4);
        let mut now = start.plus_ms(20);
        while now < start.plus_ms(10_000) {
            now = bucket.again_at(now);
            send(now, &mut bucket);
        }
        assert_eq!(send(now, &mut bucket), 3 + 500, "in ten seconds");
        assert!(bucket.is_full(now.plus_ms(60)) && !bucket.is_full(now.plus_ms(59)));
        bucket.shift(-3_600_000);
        assert_eq!(send(now.plus_ms(-3_600_000 + 20), &mut bucket), 3 + 501, "a clock that was set back");
    }
}
