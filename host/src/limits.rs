//! Bounds of what belongs to no edge or to several, each with its reason (I10).

use std::time::Duration;

/// How often a file with the name of a new one is removed: another process may keep making one.
pub(crate) const FILE_TRIES: usize = 16;
/// The largest number of links that are followed, as in the kernel.
pub(crate) const LINKS: usize = 40;
/// The longest sleep, because no event announces that the clock was slewed rather than stepped.
pub(crate) const LONGEST_SLEEP_MS: i64 = 30_000;
/// How often a clock that has lost the time is checked: nothing is planned before it is set.
pub(crate) const LOST_CHECK_EVERY: Duration = Duration::from_secs(1);
/// How often the file that shifts the clock in tests is read, if there is one.
pub(crate) const AHEAD_EVERY: Duration = Duration::from_millis(10);
/// Characters of a line of a report. It may contain a name that is as long as a file.
pub(crate) const LINE_CHARS: usize = 1_000;
/// Bytes of log lines that wait for a slow reader; further lines are counted and left out.
pub(crate) const LOG_BYTES: usize = 4 << 20;
/// How long the host waits at its end for the last lines to be written: the reader may have stopped.
pub(crate) const LOG_FLUSH: Duration = Duration::from_millis(500);
