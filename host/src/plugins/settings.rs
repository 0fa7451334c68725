//! What an operator says about a plugin, in `plugins/<name>.toml` beside it: its devices, what it may publish and read,
//! and how much of the machine it may use.

use std::collections::HashSet;

use roost_scheduler::{
    event::Digest,
    limits::DEVICES_PER_PLUGIN,
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
        grant::{GRANT_KEYS, default_of, read_grant},
        limits::Limits,
        rules::Rules,
        site::{HALF_A_LOCATION, SITE_KEYS, SiteSettings},
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

impl Settings {
    /// Reads the file's text, if there is a file; without one there is one device, with the plugin's own name.
    ///
    /// `defaults` is where the host is. The operator's grant, if `roost.toml` has one, outranks the file's (I8), and so do
    /// the operator's ceilings.
    pub(crate) fn parse(
        text: Option<&str>,
        plugin: &PluginName,
        defaults: &Site,
        rules: &Rules,
    ) -> Result<Self, Report> {
        let operator = rules.grants.get(plugin);
        let file = format!("{plugin}.toml");
        let document = Document::parse(&file, text.unwrap_or_default())?;
        let top = document.table_or(&["config", "device", "grants", "limits"], ELSEWHERE)?;
        let granted = top.get("grants").map(|value| read_grant(&value.table(&GRANT_KEYS)?, plugin)).transpose()?;
        let limits = top.get("limits").map(|value| Limits::read(&value, &rules.ceilings)).transpose()?;
        Ok(Self {
            devices: read_devices(&top, plugin, defaults)?,
            grant: operator.cloned().or(granted).unwrap_or_else(|| default_of(plugin)),
            limits: limits.unwrap_or_else(|| Limits::default().within(&rules.ceilings)),
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

    /// Of the JSON text. Different for different settings, whatever the file snapshots like.
    pub(crate) fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.to_json()).into())
    }
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

/// Where keys belong that people write at the top.
const ELSEWHERE: &str =
    "; settings of the plugin's own belong below `[config]`, and where a device is below `[[device]]`";

const DEVICE_KEYS: [&str; 5] = ["name", "config", SITE_KEYS[0], SITE_KEYS[1], SITE_KEYS[2]];

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
        site: SiteSettings::read(table)?.site(defaults).map_err(half)?,
    })
}

fn read_config(table: &Table<'_>) -> Result<Map<String, Json>, Report> {
    table.entries().map(|(key, value)| Ok((key.to_owned(), value.to_json()?))).collect()
}
