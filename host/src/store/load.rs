//! Reads the stored state when the host starts.

use std::{
    collections::{HashMap, HashSet},
    fmt, mem,
    ops::Range,
    sync::mpsc,
};

use roost_scheduler::{
    body::PackedJob,
    event::{
        AdHoc, DeviceKey, Digest, Idempotency, JobKey, Override, PauseScope, PluginKey, Progress, RunKey, Saved,
        SavedDevice, SavedJob, SavedPlugin, SavedRun, Tombstone, Version,
    },
    model::Policy,
    names::{DeviceName, JobId, PluginName, RunId},
    pause::{Level, Pause},
    time::{Instant, Location, Site},
    topic::Grant,
    trigger,
};
use rusqlite::{Connection, Params, types::FromSql};

use super::{
    error::Damage,
    limits,
    progress::{cancelled_from_json, failed_from_json, late_from_json},
};
use crate::{
    job_json::{body_from_json, policy_from_json},
    zones,
};

/// Loads everything but the jobs.
pub(super) fn load(connection: &mut Connection) -> Result<Saved, Damage> {
    // One transaction: one state of the database.
    let transaction = connection.transaction()?;
    let mut plugins = plugins(&transaction)?;
    devices(&transaction, &mut plugins)?;
    let (series, zones) =
        transaction.query_row("SELECT series, zones FROM clock", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (runs, tombstones) = (runs(&transaction)?, tombstones(&transaction)?);
    let (overrides, pauses) = (overrides(&transaction)?, pauses(&transaction)?);
    Ok(Saved { plugins, runs, tombstones, series, overrides, pauses, zones })
}

/// A row, with its table and number for errors.
struct Row<'a> {
    table: &'static str,
    row: &'a rusqlite::Row<'a>,
    id: i64,
}

impl<'a> Row<'a> {
    fn damage(&self, what: impl fmt::Display) -> Damage {
        Damage::Row { table: self.table, row: self.id, what: what.to_string() }
    }

    fn get<T: FromSql>(&self, column: usize) -> Result<T, Damage> {
        self.row.get(column).map_err(|error| self.damage(error))
    }

    fn optional_text(&self, column: usize) -> Result<Option<&'a str>, Damage> {
        self.row.get_ref(column)?.as_str_or_null().map_err(|error| self.damage(error))
    }

    fn text(&self, column: usize) -> Result<&'a str, Damage> {
        self.row.get_ref(column)?.as_str().map_err(|error| self.damage(error))
    }

    /// Returns the parsed text of a column.
    fn parsed<T, E: fmt::Display>(&self, column: usize, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Damage> {
        parse(self.text(column)?).map_err(|error| self.damage(error))
    }

    fn optional_parsed<T>(
        &self,
        column: usize,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Damage> {
        self.optional_text(column)?.map(parse).transpose().map_err(|error| self.damage(error))
    }

    fn optional_instant(&self, column: usize) -> Result<Option<Instant>, Damage> {
        let Some(millis) = self.get::<Option<i64>>(column)? else { return Ok(None) };
        Instant::from_millis(millis).map(Some).ok_or_else(|| self.damage(format!("{millis} is not an instant")))
    }

    fn instant(&self, column: usize) -> Result<Instant, Damage> {
        self.optional_instant(column)?.ok_or_else(|| self.damage("an instant is missing"))
    }

    fn policy(&self, column: usize) -> Result<Policy, Damage> {
        policy_from_json(self.optional_text(column)?).map_err(|error| self.damage(error))
    }

    fn digest(&self, column: usize) -> Result<Digest, Damage> {
        let bytes = hex::decode(self.text(column)?).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or_else(|| self.damage("a SHA-256 is not one"))
    }
}

/// Calls `take` with each row of a query, whose column 0 identifies the row.
fn each_row(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    params: impl Params,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        take(&Row { table, row, id: row.get(0)? })?;
    }
    Ok(())
}

fn plugins(connection: &Connection) -> Result<Vec<SavedPlugin>, Damage> {
    let mut plugins = Vec::new();
    each_row(connection, "plugins", "SELECT id, name, component, settings FROM plugins ORDER BY id", [], |row| {
        let name = row.parsed(1, PluginName::parse_owner)?;
        let version = Version { component: row.digest(2)?, settings: row.digest(3)? };
        let grant = Grant::default_for(&name);
        plugins.push(SavedPlugin { key: row.get(0)?, name, version, grant, devices: Vec::new() });
        Ok(())
    })?;
    Ok(plugins)
}

fn devices(connection: &Connection, plugins: &mut [SavedPlugin]) -> Result<(), Damage> {
    let of_key: HashMap<PluginKey, usize> = plugins.iter().enumerate().map(|(at, plugin)| (plugin.key, at)).collect();
    let sql = "SELECT id, plugin, name, time_zone, latitude, longitude, replan_at, error FROM devices ORDER BY id";
    each_row(connection, "devices", sql, [], |row| {
        let owner = row.get(1)?;
        let plugin = *of_key.get(&owner).ok_or_else(|| row.damage("its plugin is missing"))?;
        let device = SavedDevice {
            key: row.get(0)?,
            plugin: owner,
            name: row.parsed(2, DeviceName::parse)?,
            site: site(row, 3)?,
            replan_at: row.instant(6)?,
            error: row.get(7)?,
        };
        plugins[plugin].devices.push(device);
        Ok(())
    })
}

/// Reads a site from three columns.
fn site(row: &Row<'_>, first: usize) -> Result<Site, Damage> {
    let zone = row.parsed(first, zones::find_stored)?;
    let location = match (row.get(first + 1)?, row.get(first + 2)?) {
        (Some(latitude), Some(longitude)) => {
            Some(Location::new(latitude, longitude).ok_or_else(|| row.damage("its location is not on Earth"))?)
        }
        _ => None,
    };
    Ok(Site { zone, location })
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
    let sql = "SELECT id, device, job, label, trigger, steps, policy, watermark, due, decided FROM jobs
               WHERE ?1 <= id AND id < ?2 ORDER BY id";
    each_row(connection, "jobs", sql, [keys.start, keys.end], |row| {
        let device = row.get(1)?;
        if !devices.contains(&device) {
            return Err(row.damage("its device is missing"));
        }
        let (id, policy) = (row.parsed(2, JobId::parse)?, row.policy(6)?);
        let trigger = row.parsed(4, |text| trigger::parse_stored(text, &mut patterns))?;
        let label = row.optional_text(3)?;
        let body = row.parsed(5, |action| body_from_json(&id, label, &policy, action))?;
        batch.push(SavedJob {
            key: row.get(0)?,
            device,
            job: PackedJob { trigger, body },
            watermark: row.instant(7)?,
            due: row.optional_instant(8)?,
            decided: row.instant(9)?,
        });
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
        keys.insert(row.get(0)?);
        Ok(())
    })?;
    Ok(keys)
}

fn runs(connection: &Connection) -> Result<Vec<(RunKey, SavedRun)>, Damage> {
    let mut runs = Vec::new();
    let sql =
        "SELECT number, plugin, device, job, occurrence, origin, steps, policy, start, steps_done, armed, started,
                      failed, cancelled, late, note, attempts, put_off_until, no_subscriber, label
               FROM runs
               WHERE number IS NOT NULL ORDER BY number";
    each_row(connection, "runs", sql, [], |row| {
        let id = RunId {
            plugin: row.parsed(1, PluginName::parse_owner)?,
            device: row.parsed(2, DeviceName::parse)?,
            job: row.parsed(3, JobId::parse)?,
            occurrence: row.instant(4)?,
            origin: row.parsed(5, str::parse)?,
        };
        let policy = row.policy(7)?;
        let label = row.optional_text(19)?;
        let body = row.parsed(6, |action| body_from_json(&id.job, label, &policy, action))?;
        let armed = row.get(10)?;
        let progress = Progress {
            steps_done: row.get(9)?,
            // An older version did not count them: an armed step has been tried.
            attempts: row.get::<Option<u32>>(16)?.unwrap_or_else(|| u32::from(armed)),
            armed,
            started: row.optional_instant(11)?,
            failed: row.optional_parsed(12, failed_from_json)?,
            cancelled: row.optional_parsed(13, cancelled_from_json)?,
            late: row.optional_parsed(14, late_from_json)?,
            note: row.optional_text(15)?.map(Into::into),
            put_off_until: row.optional_instant(17)?,
            no_subscriber: row.get(18)?,
        };
        if !body.asks_plugin() && progress.steps_done >= body.step_count() {
            return Err(row.damage("it has no step left"));
        }
        let run = SavedRun { id, body, start: row.instant(8)?, progress };
        runs.push((row.get(0)?, run));
        Ok(())
    })?;
    Ok(runs)
}

fn tombstones(connection: &Connection) -> Result<Vec<Tombstone>, Damage> {
    let mut tombstones = Vec::new();
    let sql = "SELECT row_number() OVER (), plugin, device, job, watermark FROM tombstones";
    each_row(connection, "tombstones", sql, [], |row| {
        tombstones.push(Tombstone {
            name: (
                row.parsed(1, PluginName::parse_owner)?,
                row.parsed(2, DeviceName::parse)?,
                row.parsed(3, JobId::parse)?,
            ),
            watermark: row.instant(4)?,
        });
        Ok(())
    })?;
    Ok(tombstones)
}

fn overrides(connection: &Connection) -> Result<Vec<(JobKey, Override)>, Damage> {
    let mut overrides = Vec::new();
    let sql = "SELECT job, skip, made, key, request FROM wishes";
    each_row(connection, "wishes", sql, [], |row| {
        let idempotency = match row.optional_text(3)? {
            Some(_) => Some(Idempotency { key: row.digest(3)?, request: row.digest(4)? }),
            None => None,
        };
        let ad_hoc = row.optional_instant(2)?.map(|made| AdHoc { made, idempotency });
        overrides.push((row.get(0)?, Override { skip: row.optional_instant(1)?, ad_hoc }));
        Ok(())
    })?;
    Ok(overrides)
}

fn pauses(connection: &Connection) -> Result<Vec<(PauseScope, Pause)>, Damage> {
    let mut pauses = Vec::new();
    let sql = "SELECT item, level, since, until, reason FROM pauses ORDER BY level, item";
    each_row(connection, "pauses", sql, [], |row| {
        let key = row.get(0)?;
        let scope = match Level::parse(row.text(1)?) {
            Some(Level::All) => PauseScope::All,
            Some(Level::Plugin) => PauseScope::Plugin(key),
            Some(Level::Device) => PauseScope::Device(key),
            Some(Level::Job) => PauseScope::Job(key),
            None => return Err(row.damage("its level is unknown")),
        };
        let pause = Pause::new(row.optional_instant(2)?, row.optional_instant(3)?, row.optional_text(4)?);
        pauses.push((scope, pause.map_err(|fault| row.damage(fault))?));
        Ok(())
    })?;
    Ok(pauses)
}
