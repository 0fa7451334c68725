//! Reads the stored state when the host starts.

use std::{collections::HashSet, mem, ops::Range, sync::mpsc};

use roost_scheduler::event::{DeviceKey, JobKey, Saved, SavedJob};
use rusqlite::{Connection, Params};

use super::{
    error::Damage,
    limits,
    rows::{self, Row},
};
use crate::zones;

/// Loads everything but the jobs.
pub(super) fn load(connection: &mut Connection) -> Result<Saved, Damage> {
    // One transaction: one state of the database.
    let transaction = connection.transaction()?;
    let of = &transaction;
    let mut plugins = all(of, "plugins", &format!("SELECT {} FROM plugins ORDER BY id", rows::PLUGINS), rows::plugin)?;
    let devices = format!("SELECT {} FROM devices ORDER BY id", rows::DEVICES);
    each_row(of, "devices", &devices, [], |row| rows::device(row, &mut plugins))?;
    let (series, zones) = of.query_row("SELECT series, zones FROM clock", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let runs = format!("SELECT {} FROM runs WHERE number IS NOT NULL ORDER BY number", rows::RUNS);
    let tombstones = format!("SELECT {} FROM tombstones", rows::TOMBSTONES);
    let overrides = format!("SELECT {} FROM wishes", rows::OVERRIDES);
    let pauses = format!("SELECT {} FROM pauses ORDER BY level, item", rows::PAUSES);
    Ok(Saved {
        plugins,
        runs: all(of, "runs", &runs, rows::run)?,
        tombstones: all(of, "tombstones", &tombstones, rows::tombstone)?,
        series,
        overrides: all(of, "wishes", &overrides, rows::job_override)?,
        pauses: all(of, "pauses", &pauses, rows::pause)?,
        zones,
    })
}

/// Calls `take` with each row of a query.
pub(super) fn each_row(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query(params)?;
    let mut number = 0;
    while let Some(columns) = found.next()? {
        number += 1;
        take(&Row::new(table, number, columns))?;
    }
    Ok(())
}

/// Returns each row of a table, read by `read`.
fn all<T>(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    read: impl Fn(&Row<'_>) -> Result<T, Damage>,
) -> Result<Vec<T>, Damage> {
    let mut values = Vec::new();
    each_row(connection, table, sql, [], |row| {
        values.push(read(row)?);
        Ok(())
    })?;
    Ok(values)
}

/// Returns a key that splits the jobs into two halves, approximately.
pub(super) fn middle(connection: &Connection) -> Result<JobKey, Damage> {
    Ok(connection.query_row("SELECT coalesce(max(id), 0) / 2 FROM jobs", [], |row| row.get(0))?)
}

/// Sends the jobs with keys in the range, in batches. There may be a million: they are activated while more are read.
pub(super) fn jobs(
    connection: &Connection,
    keys: Range<JobKey>,
    to: &mpsc::SyncSender<Vec<SavedJob>>,
) -> Result<(), Damage> {
    let devices: HashSet<DeviceKey> = device_keys(connection)?;
    let mut patterns = zones::stored_patterns();
    let mut batch = Vec::with_capacity(limits::JOBS_PER_BATCH);
    let sql = format!("SELECT {} FROM jobs WHERE ?1 <= id AND id < ?2 ORDER BY id", rows::JOBS);
    each_row(connection, "jobs", &sql, [keys.start, keys.end], |row| {
        let job = rows::job(row, &mut patterns)?;
        if !devices.contains(&job.device) {
            return Err(row.damage("its device is missing"));
        }
        batch.push(job);
        if batch.len() == limits::JOBS_PER_BATCH {
            // Without a receiver the jobs are only checked.
            let _ = to.send(mem::replace(&mut batch, Vec::with_capacity(limits::JOBS_PER_BATCH)));
        }
        Ok(())
    })?;
    let _ = to.send(batch);
    Ok(())
}

fn device_keys(connection: &Connection) -> Result<HashSet<DeviceKey>, Damage> {
    let mut keys = HashSet::new();
    each_row(connection, "devices", "SELECT id FROM devices", [], |row| {
        keys.insert(row.integer(0)?);
        Ok(())
    })?;
    Ok(keys)
}
