//! The table `[home_assistant]`.

use roost_scheduler::topic::Topic;

use super::document::{Table, Value};
use crate::report::Report;

/// The settings of the devices in Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomeAssistant {
    /// The prefix of Home Assistant's discovery topics.
    pub(crate) discovery_prefix: String,
    /// Whether Home Assistant can pause, run and skip, not only look on.
    pub(crate) commands: bool,
    /// The devices that it has; empty for all.
    devices: Vec<DevicePattern>,
}

/// A pattern of devices: `coop-door/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DevicePattern {
    plugin: String,
    device: String,
}

const KEYS: [&str; 3] = ["discovery_prefix", "commands", "devices"];

impl Default for HomeAssistant {
    fn default() -> Self {
        Self { discovery_prefix: "homeassistant".to_owned(), commands: true, devices: Vec::new() }
    }
}

impl HomeAssistant {
    pub(super) fn read(value: &Value<'_>) -> Result<Self, Report> {
        let table: Table<'_> = value.table(&KEYS)?;
        let default = Self::default();
        let prefix = table.get("discovery_prefix").map(|value| value.parsed(Topic::parse)).transpose()?;
        let commands = table.get("commands").map(|value| value.boolean()).transpose()?;
        let patterns = |value: Value<'_>| -> Result<Vec<DevicePattern>, Report> {
            value.list()?.iter().map(|item| item.parsed(DevicePattern::parse)).collect()
        };
        Ok(Self {
            discovery_prefix: prefix.map_or(default.discovery_prefix, |prefix| prefix.as_str().to_owned()),
            commands: commands.unwrap_or(default.commands),
            devices: table.get("devices").map(patterns).transpose()?.unwrap_or_default(),
        })
    }

    /// Checks whether Home Assistant is to have a device.
    pub(crate) fn describes(&self, plugin: &str, device: &str) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|pattern| pattern.matches(plugin, device))
    }
}

impl DevicePattern {
    fn parse(text: &str) -> Result<Self, Report> {
        let is_part = |part: &str| {
            let fixed = part.strip_suffix('*').unwrap_or(part);
            !part.is_empty() && fixed.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
        };
        match text.split_once('/') {
            Some((plugin, device)) if is_part(plugin) && is_part(device) => {
                Ok(Self { plugin: plugin.to_owned(), device: device.to_owned() })
            }
            _ => Err(Report::new(format!("`{text}` names no devices"))
                .hint("write `PLUGIN/DEVICE`, where each may end with `*`: `coop-door/*`")),
        }
    }

    fn matches(&self, plugin: &str, device: &str) -> bool {
        let is_match = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => pattern == name,
        };
        is_match(&self.plugin, plugin) && is_match(&self.device, device)
    }
}
