//! What an operator says about a plugin, in `plugins/<name>.toml` beside it: its devices, what it may publish and read,
//! and how much of the machine it may use.

use std::{collections::HashSet, ops::RangeInclusive};

use roost_scheduler::{
    event::Digest,
    limits::{DEVICES_PER_PLUGIN, JOBS_PER_PLAN},
    names::{DeviceName, PluginName},
    time::Site,
    topic::Grant,
};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use self::record::SettingsRecord;
use super::limits::CONFIG_BYTES;
use crate::{
    config::{
        document::{Document, Table},
        grant::{GRANT_KEYS, read_grant},
        place::{HALF_A_LOCATION, PLACE_KEYS, Place},
    },
    report::Report,
};

mod record;
#[cfg(test)]
mod tests;

/// Effective settings: nothing is left to be looked up elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// At least one, in the file's order.
    pub(crate) devices: Vec<Device>,
    /// The operator's in `roost.toml` if there is one, else the file's, else the default (I8).
    pub(crate) grant: Grant,
    pub(crate) limits: Limits,
}

/// One configured instance of the plugin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Device {
    pub(crate) name: DeviceName,
    /// JSON text of an object: the plugin's, with each key that the device has as well replaced.
    pub(crate) config: String,
    /// The device's own, or the host's.
    pub(crate) site: Site,
}

/// How much of the machine one call of the plugin may use (I7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory, all of it together. Pages that are never touched cost nothing.
    pub(crate) memory_mib: u32,
    /// Time that it computes.
    pub(crate) cpu_ms: u32,
    /// Time that it may take in all, waiting included.
    pub(crate) wall_ms: u32,
    /// Jobs in one plan.
    pub(crate) jobs: usize,
    /// How much its answer may hold when the host copies it out.
    pub(crate) lift_mib: u32,
}

/// A plugin in Rust is content with 2, one in Python wants 256; beyond 2 GiB two calls at once would fill a small host.
const MEMORY_MIB: RangeInclusive<u32> = 1..=2_048;
/// A minute of a core for each plan is a plugin out of order.
const CPU_MS: RangeInclusive<u32> = 10..=60_000;
/// A plan that takes longer than five minutes holds up the plans of the others.
const WALL_MS: RangeInclusive<u32> = 10..=300_000;
/// I10: the scheduler takes no longer plans.
const JOBS: RangeInclusive<u32> = 1..=JOBS_PER_PLAN as u32;
/// The host holds two answers at once, each several times as large once it is taken apart.
const LIFT_MIB: RangeInclusive<u32> = 1..=64;

impl Default for Limits {
    fn default() -> Self {
        Self { memory_mib: 256, cpu_ms: 500, wall_ms: 10_000, jobs: JOBS_PER_PLAN, lift_mib: 16 }
    }
}

impl Settings {
    /// Reads the file's text, if there is a file; without one there is one device, with the plugin's own name.
    ///
    /// `defaults` is where the host is. `operator` is the grant of `roost.toml`, which outranks the file's (I8).
    pub(crate) fn parse(
        text: Option<&str>,
        plugin: &PluginName,
        defaults: &Site,
        operator: Option<&Grant>,
    ) -> Result<Self, Report> {
        let file = format!("{plugin}.toml");
        let document = Document::parse(&file, text.unwrap_or_default())?;
        let top = document.table(&["config", "device", "grants", "limits"])?;
        let granted = top.get("grants").map(|value| read_grant(&value.table(&GRANT_KEYS)?, plugin)).transpose()?;
        let limits = top.get("limits").map(|value| read_limits(&value.table(&LIMIT_KEYS)?)).transpose()?;
        Ok(Self {
            devices: read_devices(&top, plugin, defaults)?,
            grant: operator.cloned().or(granted).unwrap_or_else(|| Grant::default_of(plugin)),
            limits: limits.unwrap_or_default(),
        })
    }

    /// In one line, equal for equal settings.
    pub(crate) fn to_json(&self) -> String {
        // A struct of text and numbers always has a JSON form.
        serde_json::to_string(&SettingsRecord::from(self)).unwrap_or_default()
    }

    /// What [`Self::to_json`] wrote.
    pub(crate) fn from_json(text: &str) -> Result<Self, Report> {
        let error = || Report::new("the kept settings cannot be read");
        let record: SettingsRecord = serde_json::from_str(text).map_err(|cause| error().cause(cause))?;
        Self::try_from(record).map_err(|cause| error().cause(cause))
    }

    /// Of the JSON text. Different for different settings, whatever the file looks like.
    pub(crate) fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.to_json()).into())
    }
}

const LIMIT_KEYS: [&str; 5] = ["memory_mib", "cpu_ms", "wall_ms", "jobs", "lift_mib"];

fn read_limits(table: &Table<'_>) -> Result<Limits, Report> {
    let limit = |key, range, default| table.get(key).map_or(Ok(default), |value| value.integer_in(range));
    let usual = Limits::default();
    Ok(Limits {
        memory_mib: limit("memory_mib", MEMORY_MIB, usual.memory_mib)?,
        cpu_ms: limit("cpu_ms", CPU_MS, usual.cpu_ms)?,
        wall_ms: limit("wall_ms", WALL_MS, usual.wall_ms)?,
        jobs: limit("jobs", JOBS, *JOBS.end())? as usize,
        lift_mib: limit("lift_mib", LIFT_MIB, usual.lift_mib)?,
    })
}

fn read_devices(top: &Table<'_>, plugin: &PluginName, defaults: &Site) -> Result<Vec<Device>, Report> {
    let shared = top.get("config").map(|value| read_config(&value.any_table()?)).transpose()?.unwrap_or_default();
    let Some(list) = top.get("device") else {
        let name = DeviceName::parse(plugin.as_str()).map_err(|error| Report::new(error.to_string()))?;
        return Ok(vec![Device { name, config: Json::Object(shared).to_string(), site: *defaults }]);
    };
    let items = list.list().map_err(|report| report.hint("begin each device with a line `[[device]]`"))?;
    if items.is_empty() {
        let hint =
            format!("leave `device` out for one device named `{plugin}`, or begin each with a line `[[device]]`");
        return Err(list.error("the list of devices is empty").hint(hint));
    }
    if items.len() > DEVICES_PER_PLUGIN {
        let what = format!("there are {} devices, and a plugin can have {DEVICES_PER_PLUGIN}", items.len());
        return Err(list.error(what));
    }
    let mut names = HashSet::new();
    let mut devices = Vec::with_capacity(items.len());
    let mut left = CONFIG_BYTES;
    for item in items {
        let table = item.table(&DEVICE_KEYS)?;
        let device = read_device(&table, &shared, defaults)?;
        if !names.insert(device.name.clone()) {
            let at = table.get("name").unwrap_or(item);
            let what = format!("there is another device named `{}`", device.name);
            return Err(at.error(what).hint("give each device a name of its own"));
        }
        let Some(rest) = left.checked_sub(device.config.len()) else {
            let what = format!("what devices are configured with is more than {} MiB", CONFIG_BYTES >> 20);
            return Err(item.error(what).hint("each device gets a copy of `[config]`: keep that short"));
        };
        left = rest;
        devices.push(device);
    }
    Ok(devices)
}

const DEVICE_KEYS: [&str; 5] = ["name", "config", PLACE_KEYS[0], PLACE_KEYS[1], PLACE_KEYS[2]];

fn read_device(table: &Table<'_>, shared: &Map<String, Json>, defaults: &Site) -> Result<Device, Report> {
    let Some(name) = table.get("name") else {
        return Err(table.error("the device has no `name`").hint("add a line such as `name = \"north\"`"));
    };
    let mut config = shared.clone();
    if let Some(own) = table.get("config") {
        config.extend(read_config(&own.any_table()?)?);
    }
    let half = |what| table.error(what).hint(HALF_A_LOCATION);
    Ok(Device {
        name: name.parsed(DeviceName::parse)?,
        config: Json::Object(config).to_string(),
        site: Place::read(table)?.site(defaults).map_err(half)?,
    })
}

fn read_config(table: &Table<'_>) -> Result<Map<String, Json>, Report> {
    table.entries().map(|(key, value)| Ok((key.to_owned(), value.to_json()?))).collect()
}
