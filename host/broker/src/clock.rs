//! Reads the clock. No other module of this crate does.

use std::time::{Duration, Instant, SystemTime};

/// An instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The monotonic clock, for durations while the broker runs.
    pub(crate) monotonic: Instant,
    /// Milliseconds since 1970, for times that are stored.
    pub(crate) wall_ms: i64,
}

/// Reads both clocks.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: Instant::now(), wall_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
}

impl Now {
    /// Converts an instant to the wall clock.
    pub(crate) fn to_wall(self, moment: Instant) -> i64 {
        let ahead = moment.saturating_duration_since(self.monotonic).as_millis();
        let behind = self.monotonic.saturating_duration_since(moment).as_millis();
        let ms = |duration| i64::try_from(duration).unwrap_or(i64::MAX);
        self.wall_ms.saturating_add(ms(ahead)).saturating_sub(ms(behind))
    }

    /// Converts a wall-clock time to the monotonic clock. Returns now if it has passed.
    pub(crate) fn at_wall(self, wall_ms: i64) -> Instant {
        let ahead = u64::try_from(wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        self.after(Duration::from_millis(ahead))
    }

    /// Returns the instant after a duration. Longer durations count as ten years, within the clock's range.
    pub(crate) fn after(self, duration: Duration) -> Instant {
        let far = Duration::from_secs(10 * 365 * 24 * 3_600);
        self.monotonic + duration.min(far)
    }
}
