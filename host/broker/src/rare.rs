//! Lines of the log about one kind of trouble, which may come many times a second.

use std::{fmt, time::Instant};

use crate::{clock::Now, limits};

/// At most one line in a while; the next one says how many there would have been.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    last: Option<Instant>,
    since: u64,
}

/// The end of such a line.
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

impl Rare {
    /// Logs it, or counts it.
    pub(crate) fn warn(&mut self, now: Now, log: impl FnOnce(More)) {
        if self.last.is_some_and(|last| now.monotonic.saturating_duration_since(last) < limits::LOG_EVERY) {
            self.since += 1;
            return;
        }
        self.last = Some(now.monotonic);
        log(More(std::mem::take(&mut self.since)));
    }
}
