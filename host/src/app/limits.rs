//! Bounds of the loop, each with its reason (I10).

use std::time::Duration;

/// Events that are taken before their changes are handed to the store: a batch must not grow without bound.
pub(super) const EVENTS_PER_TURN: usize = 256;
/// How long events are taken before the link has its turn, so that due messages do not wait for many plans.
pub(super) const TURN: Duration = Duration::from_millis(1);
/// How long changes that nothing waits for are gathered: fewer and larger transactions, because a page of the disk is
/// written as often as a transaction touches it. After a crash, the messages acknowledged in this time are sent again.
pub(super) const GATHER: Duration = Duration::from_millis(100);
/// Changes that may wait for a slow disk: beyond that, no more events are taken until it has caught up.
pub(super) const CHANGES_WAITING: usize = 131_072;
/// How far ahead owed steps are still sent after the store has failed. The operator has a chance to restart the host
/// for the rest.
pub(super) const OWED_AHEAD: Duration = Duration::from_secs(15 * 60);
/// How long a stopping host waits for acknowledgements.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Changes at which a batch is committed at once: a transaction must stay short, because the next one waits for it.
pub(super) const CHANGES_PER_BATCH: usize = 8_192;
/// Queries that may wait for the loop; further ones wait for a place in the queue.
pub(super) const QUERIES: usize = 64;
/// Lines about one batch: the log must not slow down a burst.
pub(super) const LINES_PER_BATCH: usize = 20;
/// Next runs that are logged when a plugin is loaded.
pub(super) const NEXT_RUNS: usize = 8;
/// Jobs of a plugin that are examined for that: the log must not hold up the loop (I10).
pub(super) const JOBS_EXAMINED: usize = 1_000;
/// Plugins whose next runs are logged when the host starts.
pub(super) const PLUGINS_LOGGED: usize = 8;
