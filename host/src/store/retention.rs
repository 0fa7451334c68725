//! How much of the past is kept.

use std::{path::Path, sync::mpsc, thread};

use roost_scheduler::{event::Change, time::Instant};
use rusqlite::{Connection, OpenFlags, Transaction};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// At most so many old runs are deleted with one batch, for each reason: a host that comes back after a month, or is told
/// to keep less, must not stall.
const PRUNED_PER_BATCH: i64 = 500;

/// Where there are too many runs, so many more of the oldest occurrences are looked at than are deleted, and those of them
/// stay that ended last: what was due long ago may have ended only now.
const SPARED: i64 = 250;

/// What deletes runs that are too old, and too many.
pub(super) const STATEMENTS: [&str; 2] = [
    "DELETE FROM runs WHERE (occurrence, plugin, device, job, origin) IN (
         SELECT occurrence, plugin, device, job, origin
         FROM (SELECT * FROM runs WHERE occurrence < ?1 AND state <> 'running' ORDER BY occurrence LIMIT ?3)
         WHERE ended < ?1 LIMIT ?2)",
    "DELETE FROM runs WHERE (occurrence, plugin, device, job, origin) IN (
         SELECT occurrence, plugin, device, job, origin
         FROM (SELECT * FROM runs WHERE state <> 'running' ORDER BY occurrence LIMIT ?2 + ?3)
         WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
];

/// How much of the past is kept. What has not ended is not past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// For so long after a run has ended.
    pub(crate) days: u32,
    /// At most so many runs, the newest ones.
    pub(crate) runs: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30, runs: 1_000_000 }
    }
}

/// The rows in the table of runs.
#[derive(Debug)]
pub(super) struct Past {
    keep: Retention,
    /// How many there were when they were counted, and before that where the count will come from.
    counted: Result<i64, Option<mpsc::Receiver<i64>>>,
    /// How many more there are since.
    added: i64,
}

impl Past {
    pub(super) const fn new(keep: Retention) -> Self {
        Self { keep, counted: Err(None), added: 0 }
    }

    /// Counts them on a thread of its own: a million take a moment, and a commit must not wait for that. Nothing may be
    /// committed meanwhile by anybody else.
    pub(super) fn start_counting(&mut self, path: &Path) {
        match counting(path) {
            Ok(count) => (self.counted, self.added) = (Err(Some(count)), 0),
            Err(error) => tracing::warn!("runs are kept by their age alone, for they cannot be counted: {error}"),
        }
    }

    /// There is one more.
    pub(super) const fn add(&mut self) {
        self.added += 1;
    }

    /// How many there are, once that is known.
    fn rows(&mut self) -> Option<i64> {
        if let Err(Some(count)) = &self.counted
            && let Ok(count) = count.try_recv()
        {
            self.counted = Ok(count);
        }
        self.counted.as_ref().ok().map(|counted| counted + self.added)
    }

    /// The same as soon as it is known.
    #[cfg(test)]
    pub(super) fn counted_now(&mut self) -> i64 {
        loop {
            match self.rows() {
                Some(rows) => return rows,
                None => thread::yield_now(),
            }
        }
    }

    /// Deletes what is past keeping, a little with each batch. Of what is too old two go for each new one, so that the
    /// table shrinks to its length and stays there.
    pub(super) fn prune(&mut self, of: &Transaction<'_>, changes: &[Change]) -> rusqlite::Result<()> {
        let ended = || {
            changes.iter().filter_map(|change| if let Change::RunEnded(run) = change { Some(run.ended) } else { None })
        };
        let (Some(first), Some(last)) = (ended().min(), ended().max()) else { return Ok(()) };
        // What ends with this batch stays, even if the clock was set back meanwhile (I13).
        let before = last.plus_ms(-DAY_MS * i64::from(self.keep.days)).min(first);
        let old = (2 * ended().count() as i64).min(PRUNED_PER_BATCH);
        self.added -= too_old(of, before, old)?;
        let too_many = self.rows().map_or(0, |rows| rows - i64::from(self.keep.runs));
        if too_many > 0 {
            self.added -= ended_first(of, first, too_many.min(PRUNED_PER_BATCH))?;
        }
        Ok(())
    }
}

/// Begins to count, and answers when it is clear what is counted.
fn counting(path: &Path) -> Result<mpsc::Receiver<i64>, Box<dyn std::error::Error>> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, read_only)?;
    // What it has read from once, it reads until the end of the transaction.
    connection.execute_batch("BEGIN; SELECT series FROM clock")?;
    let (to, count) = mpsc::channel();
    thread::Builder::new().name("count".into()).spawn(move || {
        match connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)) {
            // The store may have been closed meanwhile.
            Ok(rows) => drop(to.send(rows)),
            Err(error) => tracing::warn!("runs are kept by their age alone, for they cannot be counted: {error}"),
        }
    })?;
    Ok(count)
}

/// Only the oldest occurrences are looked at: one that ended long after them holds back those behind it until it is old
/// itself.
fn too_old(of: &Transaction<'_>, before: Instant, most: i64) -> rusqlite::Result<i64> {
    Ok(of.prepare_cached(STATEMENTS[0])?.execute([before.millis(), most, PRUNED_PER_BATCH])? as i64)
}

fn ended_first(of: &Transaction<'_>, before: Instant, most: i64) -> rusqlite::Result<i64> {
    Ok(of.prepare_cached(STATEMENTS[1])?.execute([before.millis(), most, SPARED])? as i64)
}
