//! Bounds of the store, each with its reason (I10).

use std::time::Duration;

use roost_scheduler::event::JobKey;

/// Bytes of a page of a new database: a commit writes every page that it touches as a whole, and a run touches a dozen of
/// them, which wears an SD card. Smaller pages than this save nothing more, because file systems write 4 KiB.
pub(super) const PAGE_BYTES: i64 = 2_048;
/// Bytes of write-ahead log before its pages are moved into the database, so that this is rare even under load.
pub(super) const CHECKPOINT_BYTES: i64 = 64 << 20;
/// Batches of jobs that are read ahead, and jobs of a batch: a million jobs must not be in memory twice.
pub(super) const BATCHES_AHEAD: usize = 4;
pub(super) const JOBS_PER_BATCH: usize = 1_000;
/// How long a reader waits for another program that uses the database.
pub(super) const READ_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the host waits for another program that writes to the database; after that, the commit fails and the host
/// ends.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// How long the host waits for that before it logs a warning.
pub(super) const BUSY_WARNING: Duration = Duration::from_secs(2);
/// The longest pause before it tries again.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often a query is tried: a host that starts or stops meanwhile changes how the database has to be read.
pub(super) const QUERY_TRIES: usize = 5;
/// How often the lock is tried, and the pause in between: a process that the last host was starting holds the lock
/// until its exec.
pub(super) const LOCK_TRIES: u32 = 20;
pub(super) const LOCK_AGAIN: Duration = Duration::from_millis(10);
/// How often the database's place is checked: each check is a system call of a commit.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 1 });
/// Names that are tried for an unfinished copy, because others may be taken.
pub(super) const COPY_NAMES: u32 = 100;
/// How many more old runs than ended in a batch may be deleted with it: a table that is too long shrinks, but a host
/// that starts after a month, or with a smaller limit, must not stall.
pub(super) const PRUNED_BEYOND: i64 = 500;
/// How many more of the oldest occurrences are examined than may be deleted. Those of them that ended last stay,
/// because a run that was due long ago may have ended only now.
pub(super) const SPARED: i64 = 250;
/// How many runs, of any plugin, are examined for each run that may be deleted: other plugins' runs lie between them.
pub(super) const EXAMINED: i64 = 4;
/// Keys, and numbers of runs, beyond these were not assigned by Roost: as many must be left to be assigned.
pub(super) const KEYS: i64 = JobKey::MAX as i64 / 2;
pub(super) const RUN_NUMBERS: i64 = i64::MAX / 2;
/// Devices of which faults are read, and faults, at a time: the store's thread waits meanwhile.
pub(super) const DEVICES_AT_ONCE: usize = 1_000;
/// Devices and faulty jobs of which the last outcome is kept in memory: some hundred bytes each.
pub(super) const LAST_OUTCOMES: usize = 400_000;
/// Added to the niceness of the thread that reads the runs on disk.
pub(super) const NICE: i32 = 10;
/// How long the connection to a database may take, and unacknowledged data of it.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// How long a commit may take in a database: after that, the host ends, and another one may take over.
pub(super) const COMMIT: Duration = Duration::from_secs(10);
/// How long a standby's question may take.
pub(super) const QUESTION: Duration = Duration::from_secs(2);
/// The pause before another try to connect.
pub(super) const RECONNECT: Duration = Duration::from_millis(500);
/// The shortest pause between two looks at the deadline of the lease: a send is refused from the deadline on, whenever
/// this is noticed.
pub(super) const WATCH: Duration = Duration::from_millis(20);
/// How long the release of a cell is waited for at the end; without it, another host takes the cell seconds later.
pub(super) const RELEASE: Duration = Duration::from_secs(3);
/// How long the log has for the last line of a process that begins anew.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long a query may take in a database.
pub(super) const QUERY: Duration = Duration::from_secs(30);
/// How long reading everything may take at the start.
pub(super) const LOAD: Duration = Duration::from_secs(600);
/// Milliseconds after which a host that is not seen is forgotten: a machine that was replaced does not stay in the list.
pub(super) const HOST_FORGOTTEN_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// How long copying a whole store may take, however long its history is.
pub(super) const COPY: Duration = Duration::from_secs(6 * 60 * 60);
/// How long an owner that has not renewed its lease is waited for: longer than a standby waits.
pub(super) const LIVES: Duration = Duration::from_millis(roost_lease::limits::TTL_MS as u64 + 500);
/// Connections that the queries of a process use at the same time: a database has a hundred for all of its clients,
/// unless it is told otherwise.
pub(super) const CONNECTIONS: usize = 8;
/// After how long a connection that is not used is closed.
pub(super) const IDLE: Duration = Duration::from_secs(60);
