//! How much of the past is kept.

use std::{path::Path, sync::mpsc, thread};

use roost_scheduler::{event::Change, outcome::Outcome, time::Instant};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Params, Transaction};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// With each batch, so many more old runs may be deleted than ended in it: a table that is too long gets shorter, but a host
/// that comes back after a month, or is told to keep less, must not stall.
const PRUNED_BEYOND: i64 = 500;

/// Where there are too many runs, so many more of the oldest occurrences are looked at than may be deleted, and those of them
/// stay that ended last: what was due long ago may have ended only now.
const SPARED: i64 = 250;

/// What deletes runs that are too old; too many; and too many that failed.
pub(super) const STATEMENTS: [&str; 3] = [
    "DELETE FROM runs WHERE (occurrence, plugin, device, job, origin) IN (
         SELECT occurrence, plugin, device, job, origin
         FROM (SELECT * FROM runs WHERE occurrence < ?1 AND state <> 'running' ORDER BY occurrence LIMIT ?3)
         WHERE ended < ?1 LIMIT ?2) RETURNING state = 'failed'",
    "DELETE FROM runs WHERE (occurrence, plugin, device, job, origin) IN (
         SELECT occurrence, plugin, device, job, origin
         FROM (SELECT * FROM runs WHERE occurrence >= ?4 AND state NOT IN ('running', 'failed')
               ORDER BY occurrence LIMIT ?3)
         WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
    "DELETE FROM runs WHERE (occurrence, plugin, device, job, origin) IN (
         SELECT occurrence, plugin, device, job, origin
         FROM (SELECT * FROM runs INDEXED BY runs_failed WHERE state = 'failed' ORDER BY occurrence LIMIT ?3)
         WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
];

/// The first occurrence from somewhere on of a run that has ended and not failed.
const FIRST: &str = "SELECT occurrence FROM runs WHERE occurrence >= ?1 AND state NOT IN ('running', 'failed')
                     ORDER BY occurrence LIMIT 1";

/// How much of the past is kept. What has not ended is not past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// For so long after a run has ended.
    pub(crate) days: u32,
    /// At most so many runs: those that failed, for they may be wanted again, and the newest of the others.
    pub(crate) runs: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30, runs: 1_000_000 }
    }
}

/// The rows in the table of runs, as far as it matters how many there are.
#[derive(Debug)]
pub(super) struct Past {
    keep: Retention,
    /// Where the count will come from, until it has come.
    count: Option<mpsc::Receiver<Rows>>,
    is_counted: bool,
    /// How many there are, or, before they are counted, how many more than then.
    rows: Rows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) all: i64,
    pub(super) failed: i64,
    /// Of the occurrences from here on are all that have ended and not failed: what failed may lie in front of them, a
    /// million, and is not to be looked through with each batch.
    first: i64,
}

impl Past {
    pub(super) const fn new(keep: Retention) -> Self {
        Self { keep, count: None, is_counted: false, rows: Rows { all: 0, failed: 0, first: i64::MAX } }
    }

    /// Counts them on a thread of its own: a million take a moment, and a commit must not wait for that. Nothing may be
    /// committed meanwhile by anybody else.
    pub(super) fn start_counting(&mut self, path: &Path) {
        match counting(path) {
            Ok(count) => *self = Self { count: Some(count), ..Self::new(self.keep) },
            Err(error) => tracing::warn!("runs are kept by their age alone, for they cannot be counted: {error}"),
        }
    }

    /// There is one more.
    pub(super) const fn add(&mut self) {
        self.rows.all += 1;
    }

    /// One that failed is there, or one is no longer.
    pub(super) fn turn(&mut self, had_failed: bool, has_failed: bool) {
        self.rows.failed += i64::from(has_failed) - i64::from(had_failed);
    }

    /// How many there are, once that is known.
    fn rows(&mut self) -> Option<Rows> {
        if let Some(count) = &self.count
            && let Ok(Rows { all, failed, first }) = count.try_recv()
        {
            let since = self.rows;
            self.rows = Rows { all: all + since.all, failed: failed + since.failed, first: first.min(since.first) };
            (self.count, self.is_counted) = (None, true);
        }
        self.is_counted.then_some(self.rows)
    }

    /// The same as soon as it is known.
    #[cfg(test)]
    pub(super) fn counted_now(&mut self) -> Rows {
        loop {
            match self.rows() {
                Some(rows) => return rows,
                None => thread::yield_now(),
            }
        }
    }

    /// Deletes what is past keeping, with each batch what it added and a little more, so that the table shrinks to its length
    /// and stays there.
    pub(super) fn prune(&mut self, of: &Transaction<'_>, changes: &[Change]) -> rusqlite::Result<()> {
        let ended =
            || changes.iter().filter_map(|change| if let Change::RunEnded(run) = change { Some(run) } else { None });
        let times = || ended().map(|run| run.ended);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        let others = ended().filter(|run| !matches!(run.outcome, Outcome::Failed(_)));
        let lowest = others.map(|run| run.id.occurrence.millis()).min();
        self.rows.first = self.rows.first.min(lowest.unwrap_or(i64::MAX));
        let count = ended().count() as i64;
        let most = count + PRUNED_BEYOND;
        // What ends with this batch stays, even if the clock was set back meanwhile (I13).
        let before = last.plus_ms(-DAY_MS * i64::from(self.keep.days)).min(first);
        self.too_old(of, before, most.min(2 * count), most)?;
        let Some(rows) = self.rows() else { return Ok(()) };
        let limit = i64::from(self.keep.runs);
        // Others make room for those that failed, and these only for each other.
        if rows.failed > limit {
            let deleted = delete(of, 2, [first.millis(), most.min(rows.failed - limit), most + SPARED])?;
            (self.rows.all, self.rows.failed) = (self.rows.all - deleted, self.rows.failed - deleted);
        }
        let too_many = self.rows.all - limit;
        if too_many > 0 {
            let from = self.rows.first;
            self.rows.all -= delete(of, 1, [first.millis(), most.min(too_many), most + SPARED, from])?;
            let next = of.prepare_cached(FIRST)?.query_row([from], |row| row.get(0)).optional()?;
            self.rows.first = next.unwrap_or(i64::MAX);
        }
        Ok(())
    }

    /// Only the oldest occurrences are looked at: one that ended long after them holds back those behind it until it is old
    /// itself.
    fn too_old(&mut self, of: &Transaction<'_>, before: Instant, most: i64, looked_at: i64) -> rusqlite::Result<()> {
        let mut delete = of.prepare_cached(STATEMENTS[0])?;
        let mut rows = delete.query([before.millis(), most, looked_at])?;
        while let Some(row) = rows.next()? {
            self.rows.all -= 1;
            self.turn(row.get(0)?, false);
        }
        Ok(())
    }
}

fn delete(of: &Transaction<'_>, which: usize, parameters: impl Params) -> rusqlite::Result<i64> {
    Ok(of.prepare_cached(STATEMENTS[which])?.execute(parameters)? as i64)
}

/// Begins to count, and answers when it is clear what is counted.
fn counting(path: &Path) -> Result<mpsc::Receiver<Rows>, Box<dyn std::error::Error>> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, read_only)?;
    // What it has read from once, it reads until the end of the transaction.
    connection.execute_batch("BEGIN; SELECT series FROM clock")?;
    let (to, count) = mpsc::channel();
    thread::Builder::new().name("count".into()).spawn(move || {
        match rows(&connection) {
            // The store may have been closed meanwhile.
            Ok(rows) => drop(to.send(rows)),
            Err(error) => tracing::warn!("runs are kept by their age alone, for they cannot be counted: {error}"),
        }
    })?;
    Ok(count)
}

fn rows(connection: &Connection) -> rusqlite::Result<Rows> {
    let number = |sql| connection.query_row(sql, [], |row| row.get(0));
    let first = connection.query_row(FIRST, [i64::MIN], |row| row.get(0)).optional()?;
    Ok(Rows {
        all: number("SELECT count(*) FROM runs")?,
        failed: number("SELECT count(*) FROM runs WHERE state = 'failed'")?,
        first: first.unwrap_or(i64::MAX),
    })
}
