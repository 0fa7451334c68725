//! Bounds of the commands, each with its reason (I10).

use std::time::Duration;

/// Events that may be queued for the loop: twice as many as the link and the plugins can cause at once.
pub(super) const EVENTS: usize = 4_096;
/// Timeout of a request: longer than the host's own, so that its error is the one that is reported.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Timeout of the probe that checks whether a host is running.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of the upload of a plugin, which includes its compilation.
pub(super) const UPLOAD_TIMEOUT: Duration = Duration::from_secs(620);
/// Bytes of a response at the most: it is held in memory.
pub(super) const RESPONSE_BYTES: usize = 256 << 20;
/// Items per page of a list: as many as the host returns.
pub(super) const PAGE: usize = 1_000;
/// Delay between attempts to reconnect to a host, which may be starting.
pub(super) const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// What has ended by then shows no progress.
pub(super) const PROGRESS_DELAY: Duration = Duration::from_secs(1);
/// The interval in which the progress line is written again: often enough to be seen to move.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Bound on the searches for the next occurrences of a job. Each search of a sun trigger covers a month.
pub(super) const SEARCHES: usize = 100;
/// Items of a simulation per batch: sending over the channel costs more than an item.
pub(super) const BATCH: usize = 256;
/// Batches that are simulated ahead of the output, which may be slow.
pub(super) const BATCHES: usize = 8;
