//! The only place of this crate that reads the clock.

use std::time::{Duration, Instant, SystemTime};

/// One moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For everything that is measured while the broker runs.
    pub(crate) monotonic: Instant,
    /// Milliseconds since 1970, for what has to outlive a restart.
    pub(crate) wall_ms: i64,
}

/// Reads both clocks.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub(crate) fn now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: Instant::now(), wall_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX) }
}

impl Now {
    /// When it will be, on the wall clock.
    pub(crate) fn to_wall(self, moment: Instant) -> i64 {
        let ahead = moment.saturating_duration_since(self.monotonic).as_millis();
        let behind = self.monotonic.saturating_duration_since(moment).as_millis();
        let ms = |duration| i64::try_from(duration).unwrap_or(i64::MAX);
        self.wall_ms.saturating_add(ms(ahead)).saturating_sub(ms(behind))
    }

    /// When that is, on the monotonic clock: now, where it has passed.
    pub(crate) fn at_wall(self, wall_ms: i64) -> Instant {
        let ahead = u64::try_from(wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        self.after(Duration::from_millis(ahead))
    }

    /// A while from now; what lies beyond the clock's range is as good as never.
    pub(crate) fn after(self, duration: Duration) -> Instant {
        let far = Duration::from_secs(10 * 365 * 24 * 3_600);
        self.monotonic + duration.min(far)
    }
}
