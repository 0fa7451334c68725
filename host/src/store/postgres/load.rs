//! Makes the tables, and reads the stored state when a host starts.

use std::{collections::HashSet, mem, pin::pin, sync::mpsc, thread};

use roost_scheduler::event::{DeviceKey, Saved, SavedJob};
use tokio_postgres::{Client, RowStream, types::ToSql};

use super::{FORMATS, Fault, Session};
use crate::{
    store::{
        error::Damage,
        limits,
        rows::{self, Row},
    },
    zones,
};

/// Makes the tables if there are none, and the cell.
pub(super) fn prepare(session: &Session) -> Result<(), Fault> {
    session.run(limits::QUERY, async move |client: &Client| {
        client.batch_execute("CREATE TABLE IF NOT EXISTS roost (format BIGINT NOT NULL)").await?;
        // Another host that does the same waits here.
        client.batch_execute("BEGIN; LOCK TABLE roost IN EXCLUSIVE MODE").await?;
        let made = async {
            let found = client.query_opt("SELECT format FROM roost", &[]).await?.map(|row| row.get::<_, i64>(0));
            let known = FORMATS.len();
            match found.map_or(0, |found| usize::try_from(found).unwrap_or(usize::MAX)) {
                // A format only adds to the one before, so that hosts with the one before go on meanwhile.
                newer if newer > known + 1 => return Err(Fault::Newer { found: newer, known }),
                newer if newer >= known => {}
                older => {
                    for addition in &FORMATS[older..] {
                        client.batch_execute(addition).await?;
                    }
                    client.execute("DELETE FROM roost", &[]).await?;
                    client.execute("INSERT INTO roost (format) VALUES ($1)", &[&(known as i64)]).await?;
                }
            }
            client.execute("INSERT INTO cells (id) VALUES ($1) ON CONFLICT DO NOTHING", &[&session.cell]).await?;
            Ok(())
        };
        let made = made.await;
        client.batch_execute(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
        made
    })
}

/// Checks whether the server has replicas, and waits for none of them before it answers a commit.
pub(super) fn may_lose_commits(session: &Session) -> Result<bool, Fault> {
    session.run(limits::QUERY, async move |client: &Client| {
        let sql =
            "SELECT current_setting('synchronous_standby_names') = '' AND EXISTS (SELECT FROM pg_stat_replication)";
        Ok(client.query_one(sql, &[]).await?.try_get(0)?)
    })
}

/// Returns the client id of the cell, which is `own` if there is none yet.
pub(super) fn client_id(session: &Session, own: &str) -> Result<String, Fault> {
    session.run(limits::QUERY, async move |client: &Client| {
        let sql = "UPDATE cells SET client_id = coalesce(client_id, $2) WHERE id = $1 RETURNING client_id";
        Ok(client.query_one(sql, &[&session.cell, &own]).await?.try_get(0)?)
    })
}

/// Loads everything but the jobs.
pub(super) fn load(session: &Session) -> Result<Saved, Fault> {
    let cell = session.cell;
    session.run(limits::LOAD, async move |client: &Client| {
        // One transaction: one state of the database.
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let table =
            |name: &str, columns: &str, rest: &str| format!("SELECT {columns} FROM {name} WHERE cell = $1 {rest}");
        let sql = table("plugins", rows::PLUGINS, "ORDER BY id");
        let mut plugins = all(client, cell, "plugins", &sql, rows::plugin).await?;
        let sql = table("devices", rows::DEVICES, "ORDER BY id");
        each_row(client, "devices", &sql, &[&cell], |row| rows::device(row, &mut plugins)).await?;
        let row = client.query_one("SELECT series, zones FROM cells WHERE id = $1", &[&cell]).await?;
        let series: i64 = row.try_get(0)?;
        let runs = table("runs", rows::RUNS, "AND number IS NOT NULL ORDER BY number");
        let tombstones = table("tombstones", rows::TOMBSTONES, "");
        let overrides = table("overrides", rows::OVERRIDES, "");
        let pauses = table("pauses", rows::PAUSES, "ORDER BY level, item");
        let saved = Saved {
            plugins,
            runs: all(client, cell, "runs", &runs, rows::run).await?,
            tombstones: all(client, cell, "tombstones", &tombstones, rows::tombstone).await?,
            series: u32::try_from(series).unwrap_or(u32::MAX),
            overrides: all(client, cell, "overrides", &overrides, rows::job_override).await?,
            pauses: all(client, cell, "pauses", &pauses, rows::pause).await?,
            zones: row.try_get::<_, Option<String>>(1)?.map(Into::into),
        };
        client.batch_execute("COMMIT").await?;
        Ok(saved)
    })
}

/// Passes the stored jobs to `take` while they are read.
pub(super) fn jobs<T>(
    session: &Session,
    take: impl FnOnce(&mut dyn Iterator<Item = SavedJob>) -> T,
) -> Result<T, Fault> {
    let (to, jobs) = mpsc::sync_channel(limits::BATCHES_AHEAD);
    thread::scope(|scope| {
        let read = scope.spawn(move || {
            session.run(limits::LOAD, async move |client: &Client| {
                let mut devices: HashSet<DeviceKey> = HashSet::new();
                each_row(client, "devices", "SELECT id FROM devices WHERE cell = $1", &[&session.cell], |row| {
                    devices.insert(row.integer(0)?);
                    Ok(())
                })
                .await?;
                let mut patterns = zones::stored_patterns();
                let mut batch = Vec::with_capacity(limits::JOBS_PER_BATCH);
                let sql = format!("SELECT {} FROM jobs WHERE cell = $1", rows::JOBS);
                each_row(client, "jobs", &sql, &[&session.cell], |row| {
                    let job = rows::job(row, &mut patterns)?;
                    if !devices.contains(&job.device) {
                        return Err(row.damage("its device is missing"));
                    }
                    batch.push(job);
                    if batch.len() == limits::JOBS_PER_BATCH {
                        // The receiver is there until it has all.
                        let _ = to.send(mem::replace(&mut batch, Vec::with_capacity(limits::JOBS_PER_BATCH)));
                    }
                    Ok(())
                })
                .await?;
                let _ = to.send(batch);
                Ok(())
            })
        });
        let taken = take(&mut jobs.into_iter().flatten());
        read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(|()| taken)
    })
}

/// Returns each row of a table, read by `read`.
async fn all<T>(
    client: &Client,
    cell: i64,
    table: &'static str,
    sql: &str,
    read: impl Fn(&Row<'_>) -> Result<T, Damage>,
) -> Result<Vec<T>, Fault> {
    let mut values = Vec::new();
    each_row(client, table, sql, &[&cell], |row| {
        values.push(read(row)?);
        Ok(())
    })
    .await?;
    Ok(values)
}

/// Calls `take` with each row of a query, as they arrive.
pub(super) async fn each_row(
    client: &Client,
    table: &'static str,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
    mut take: impl FnMut(&Row<'_>) -> Result<(), Damage>,
) -> Result<(), Fault> {
    let found: RowStream = client.query_raw(sql, params.iter().copied()).await?;
    let mut found = pin!(found);
    let mut number = 0;
    while let Some(columns) = next(found.as_mut()).await {
        number += 1;
        take(&Row::new(table, number, &columns?))?;
    }
    Ok(())
}

/// Returns the next row of a stream.
async fn next(mut stream: std::pin::Pin<&mut RowStream>) -> Option<Result<tokio_postgres::Row, tokio_postgres::Error>> {
    std::future::poll_fn(|context| futures_core::Stream::poll_next(stream.as_mut(), context)).await
}
