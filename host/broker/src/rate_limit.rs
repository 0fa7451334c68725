//! Limits the rate of warnings that may occur many times a second.

use std::{fmt, time::Instant};

use crate::{clock::Now, limits};

/// Logs at most one warning per interval. The next one has the number of suppressed ones.
#[derive(Debug, Default)]
pub(crate) struct RateLimited {
    last: Option<Instant>,
    suppressed: u64,
}

/// The number of suppressed warnings, as the end of the next one.
#[derive(Debug)]
pub(crate) struct More(u64);

impl fmt::Display for More {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(formatter, " (and {more} more like this since the last line)"),
        }
    }
}

impl RateLimited {
    /// Logs a warning, or counts it as suppressed.
    pub(crate) fn warn(&mut self, now: Now, log: impl FnOnce(More)) {
        if self.last.is_some_and(|last| now.monotonic.saturating_duration_since(last) < limits::LOG_EVERY) {
            self.suppressed += 1;
            return;
        }
        self.last = Some(now.monotonic);
        log(More(std::mem::take(&mut self.suppressed)));
    }
}
