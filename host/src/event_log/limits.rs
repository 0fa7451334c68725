//! Every bound of the feed, each with what it protects from (I10).

use std::time::Duration;

/// Happenings that are kept for those who follow, and their bytes: whoever reads slower than they come, or is away for long,
/// is told how many he has missed.
pub(super) const HAPPENINGS: usize = 16_384;
pub(super) const BYTES: usize = 16 << 20;
/// The same of what is kept of each plugin, and of how many plugins: those with long lines have fewer.
pub(super) const LINES: usize = 500;
pub(super) const LINES_BYTES: usize = 512 << 10;
pub(super) const PLUGINS: usize = 128;
/// How long what is kept of a plugin outlives it.
pub(super) const GONE_MS: i64 = 60 * 60 * 1_000;
/// Bytes that a happening takes besides its texts, which are there twice, for it may have become JSON.
pub(super) const BYTES_EACH: usize = 1_024;
/// How long those who follow are not told of what comes next: in a burst they are woken for many at a time.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
