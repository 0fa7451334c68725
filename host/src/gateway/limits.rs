//! The bounds of the gateway, each with its reason (I10).

use std::time::Duration;

/// How often the database is asked for hosts and owners: a takeover is noticed as soon as by a standby.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many of these looks pass between two signs of life: each is a write to the database.
pub(super) const LOOKS_PER_SIGN: u32 = 2;
/// For how long a request waits for an owner: longer than a takeover takes, and shorter than most clients wait.
pub(super) const HOLD: Duration = Duration::from_secs(10);
/// The pause between two tries to reach an owner: a process that has just claimed a cell is still loading.
pub(super) const RETRY: Duration = Duration::from_millis(200);
/// Timeout for a connection to another host.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Timeout for a question about the state of the owner.
pub(super) const QUESTION: Duration = Duration::from_secs(2);
/// Bytes of a status, which is held in memory.
pub(super) const STATUS_BYTES: usize = 4 << 20;
/// Bytes of the metrics of a cell process: a thousand plugins have a few hundred each.
pub(super) const METRICS_BYTES: usize = 16 << 20;
/// The pause before a cell process that has crashed is started again.
pub(super) const RESTART: Duration = Duration::from_secs(1);
/// How often a cell process that works is asked whether its loop responds, and its time to answer.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(5);
/// So many questions in a row without an answer mean that the process hangs: half a minute.
pub(super) const UNANSWERED: u32 = 6;
