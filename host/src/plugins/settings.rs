//! The settings of a plugin, in `plugins/<name>.toml` next to it: its devices, its grant, and its limits.

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

pub(crate) use self::places::places;
use self::record::SettingsRecord;
use super::limits::CONFIG_BYTES;
use crate::{
    config::{
        call_limits::CallLimits,
        document::{Document, Table, Value},
        grant::{GRANT_KEYS, default_of, read_grant},
        rules::Rules,
        site::{HALF_A_LOCATION, SITE_KEYS, SiteSettings},
    },
    report::Report,
};

mod places;
mod record;
#[cfg(test)]
mod tests;

/// The effective settings of a plugin, with all defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// At least one, in the file's order.
    pub(crate) devices: Vec<Device>,
    /// The operator's grant in `roost.toml` if there is one, else the file's, else the default (I8).
    pub(crate) grant: Grant,
    pub(crate) limits: CallLimits,
}

/// One configured instance of the plugin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Device {
    pub(crate) name: DeviceName,
    /// The configuration as the JSON text of an object: the plugin's, in which the device's keys take precedence.
    pub(crate) config: String,
    /// The device's site, by default the host's.
    pub(crate) site: Site,
}

impl Settings {
    /// Parses the text of the settings file. Without a file there is one device, with the plugin's name.
    ///
    /// `defaults` is the host's site. The grant and the ceilings in `roost.toml` take precedence over the file (I8).
    ///
    /// # Errors
    /// Returns the place of the first fault, and a hint.
    pub(crate) fn parse(
        text: Option<&str>,
        plugin: &PluginName,
        defaults: &Site,
        rules: &Rules,
    ) -> Result<Self, Report> {
        let operator = rules.grants.get(plugin);
        let file = format!("{plugin}.toml");
        let document = Document::parse(&file, text.unwrap_or_default())?;
        let top = document.table_or(&TOP_KEYS, ELSEWHERE)?;
        let grant = |value: Value<'_>| read_grant(&value.table(&GRANT_KEYS)?, plugin, &rules.host_topic);
        let granted = top.get("grants").map(grant).transpose()?;
        let limits = top.get("limits").map(|value| CallLimits::read(&value, &rules.ceilings)).transpose()?;
        Ok(Self {
            devices: read_devices(&top, plugin, defaults)?,
            grant: operator.cloned().or(granted).unwrap_or_else(|| default_of(plugin)),
            limits: limits.unwrap_or_else(|| CallLimits::default().within(&rules.ceilings)),
        })
    }

    /// Serializes the settings to one line, which is equal for equal settings.
    pub(crate) fn to_json(&self) -> String {
        // A struct of text and numbers always has a JSON form.
        serde_json::to_string(&SettingsRecord::from(self)).unwrap_or_default()
    }

    /// Parses the output of [`Self::to_json`].
    pub(crate) fn from_json(text: &str) -> Result<Self, Report> {
        let error = || Report::new("the stored settings cannot be read");
        let record: SettingsRecord = serde_json::from_str(text).map_err(|cause| error().cause(cause))?;
        Self::try_from(record).map_err(|cause| error().cause(cause))
    }

    /// Returns the digest of the JSON text. It depends on the settings, and not on the layout of the file.
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
            return Err(at.error(what).hint("give each device a different name"));
        }
        let Some(rest) = left.checked_sub(device.config.len()) else {
            let what = format!("the configuration of all devices is larger than {} MiB", CONFIG_BYTES >> 20);
            return Err(item.error(what).hint("each device gets a copy of `[config]`: make that smaller"));
        };
        left = rest;
        devices.push(device);
    }
    Ok(devices)
}

const TOP_KEYS: [&str; 4] = ["config", "device", "grants", "limits"];

/// The end of the hint for an unknown key at the top.
const ELSEWHERE: &str =
    "; the plugin's own settings belong below `[config]`, and a device's location below `[[device]]`";

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
