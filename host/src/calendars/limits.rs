//! The bounds on calendars (I10).

use std::time::Duration;

/// The largest size of a file in bytes: ten thousand events.
pub(super) const FILE_BYTES: u64 = 2 << 20;
/// Components within one another: a calendar, an event, its alarm. The parser calls itself for each.
pub(super) const DEPTH: usize = 8;
/// Days before today that are kept, for questions about the past.
pub(super) const DAYS_BACK: u64 = 366;
/// Days after today to which recurrences are followed: ten years.
pub(super) const DAYS_AHEAD: u64 = 3_660;
/// Days that the recurrences of one file may be tested for: a thousand that never end, in a fraction of a second.
pub(super) const DAYS_TESTED: u32 = 5_000_000;
/// Names of time zones in one file, and the bytes of one with its prefix: each unknown name is searched for in files.
pub(super) const ZONE_NAMES: usize = 200;
pub(super) const ZONE_NAME_BYTES: usize = 128;
/// Notes about events of one file.
pub(super) const NOTES: usize = 5;
/// How often the files are checked: one that is copied within that time is not read half.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often recurrences are followed anew, so that their end stays ten years away, in milliseconds.
pub(super) const EXPAND_EVERY_MS: i64 = 86_400_000;
