//! Everything that is kept, read once when the host starts.

use std::{collections::HashMap, fmt, sync::Arc};

use roost_scheduler::{
    event::{
        DeviceKey, Digest, PluginKey, RunKey, Saved, SavedDevice, SavedJob, SavedPlugin, SavedRun, Tombstone, Version,
    },
    model::{Job, Policy},
    names::{DeviceName, JobId, PluginName, RunId},
    time::{Instant, Location, Site},
    topic::Grant,
    trigger::{self, Patterns},
};
use rusqlite::{Connection, types::FromSql};

use super::{
    error::Damage,
    hex,
    records::{failed_from_json, policy_from_json, steps_from_json},
};

pub(super) fn load(connection: &mut Connection) -> Result<Saved, Damage> {
    // One transaction: one state of the database.
    let transaction = connection.transaction()?;
    let mut plugins = plugins(&transaction)?;
    let places = devices(&transaction, &mut plugins)?;
    jobs(&transaction, &mut plugins, &places)?;
    Ok(Saved { plugins, runs: runs(&transaction)?, tombstones: tombstones(&transaction)? })
}

/// A row, and where it is if something is wrong with it.
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

    /// Text that stands for something.
    fn parsed<T, E: fmt::Display>(&self, column: usize, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Damage> {
        parse(self.text(column)?).map_err(|error| self.damage(error))
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
        let bytes = hex::decode(self.text(column)?).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or_else(|| self.damage("a SHA-256 is not one"))
    }
}

/// Column 0 tells the row.
fn each_row(
    connection: &Connection,
    table: &'static str,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(&Row { table, row, id: row.get(0)? })?;
    }
    Ok(())
}

fn plugins(connection: &Connection) -> Result<Vec<SavedPlugin>, Damage> {
    let mut plugins = Vec::new();
    each_row(connection, "plugins", "SELECT id, name, component, settings FROM plugins ORDER BY id", |row| {
        let name = row.parsed(1, PluginName::parse)?;
        let version = Version { component: row.digest(2)?, settings: row.digest(3)? };
        let grant = Grant::default_of(&name);
        plugins.push(SavedPlugin { key: row.get(0)?, name, version, grant, devices: Vec::new() });
        Ok(())
    })?;
    Ok(plugins)
}

/// Where each device is in the list of plugins.
type Places = HashMap<DeviceKey, (usize, usize)>;

fn devices(connection: &Connection, plugins: &mut [SavedPlugin]) -> Result<Places, Damage> {
    let of_key: HashMap<PluginKey, usize> = plugins.iter().enumerate().map(|(at, plugin)| (plugin.key, at)).collect();
    let mut places = Places::new();
    let sql = "SELECT id, plugin, name, time_zone, latitude, longitude, replan_at, error FROM devices ORDER BY id";
    each_row(connection, "devices", sql, |row| {
        let plugin = *of_key.get(&row.get(1)?).ok_or_else(|| row.damage("its plugin is missing"))?;
        let device = SavedDevice {
            key: row.get(0)?,
            name: row.parsed(2, DeviceName::parse)?,
            site: site(row, 3)?,
            replan_at: row.instant(6)?,
            error: row.get(7)?,
            jobs: Vec::new(),
        };
        let devices = &mut plugins[plugin].devices;
        places.insert(device.key, (plugin, devices.len()));
        devices.push(device);
        Ok(())
    })?;
    Ok(places)
}

/// From three columns.
fn site(row: &Row<'_>, first: usize) -> Result<Site, Damage> {
    let zone = row.parsed(first, str::parse)?;
    let location = match (row.get(first + 1)?, row.get(first + 2)?) {
        (Some(latitude), Some(longitude)) => {
            Some(Location::new(latitude, longitude).ok_or_else(|| row.damage("its location is not on Earth"))?)
        }
        _ => None,
    };
    Ok(Site { zone, location })
}

/// There may be a million of them: nothing is copied that is not kept.
fn jobs(connection: &Connection, plugins: &mut [SavedPlugin], places: &Places) -> Result<(), Damage> {
    let mut patterns = Patterns::default();
    let sql = "SELECT id, device, job, label, trigger, steps, policy, watermark, due FROM jobs ORDER BY id";
    each_row(connection, "jobs", sql, |row| {
        let (plugin, device) = *places.get(&row.get(1)?).ok_or_else(|| row.damage("its device is missing"))?;
        let job = Job {
            id: row.parsed(2, JobId::parse)?,
            label: row.optional_text(3)?.map(Arc::from),
            trigger: row.parsed(4, |text| trigger::parse(text, Instant::MIN, &mut patterns))?,
            steps: row.parsed(5, steps_from_json)?,
            policy: row.policy(6)?,
        };
        plugins[plugin].devices[device].jobs.push(SavedJob {
            key: row.get(0)?,
            job: Arc::new(job),
            watermark: row.instant(7)?,
            due: row.optional_instant(8)?,
        });
        Ok(())
    })
}

fn runs(connection: &Connection) -> Result<Vec<(RunKey, SavedRun)>, Damage> {
    let mut runs = Vec::new();
    let sql = "SELECT id, number, plugin, device, job, occurrence, steps, policy, steps_done, started, failed
               FROM runs
               WHERE number IS NOT NULL ORDER BY number";
    each_row(connection, "runs", sql, |row| {
        let id = RunId {
            plugin: row.parsed(2, PluginName::parse)?,
            device: row.parsed(3, DeviceName::parse)?,
            job: row.parsed(4, JobId::parse)?,
            occurrence: row.instant(5)?,
        };
        let run = SavedRun {
            id,
            steps: row.parsed(6, steps_from_json)?,
            policy: row.policy(7)?,
            steps_done: row.get(8)?,
            started: row.optional_instant(9)?,
            failed: row.optional_text(10)?.map(failed_from_json).transpose().map_err(|error| row.damage(&error))?,
        };
        runs.push((row.get(1)?, run));
        Ok(())
    })?;
    Ok(runs)
}

fn tombstones(connection: &Connection) -> Result<Vec<Tombstone>, Damage> {
    let mut tombstones = Vec::new();
    let sql = "SELECT row_number() OVER (), plugin, device, job, watermark FROM tombstones";
    each_row(connection, "tombstones", sql, |row| {
        tombstones.push(Tombstone {
            plugin: row.parsed(1, PluginName::parse)?,
            device: row.parsed(2, DeviceName::parse)?,
            job: row.parsed(3, JobId::parse)?,
            watermark: row.instant(4)?,
        });
        Ok(())
    })?;
    Ok(tombstones)
}
