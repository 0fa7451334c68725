//! The table `[home_assistant]`.

use roost_scheduler::topic::{HostTopic, Topic};

use super::document::{Table, Value};
use crate::report::Report;

/// The settings of the devices in Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomeAssistant {
    /// The prefix of Home Assistant's discovery topics.
    pub(crate) discovery_prefix: String,
    /// Whether Home Assistant can pause, run and skip, not only look on.
    pub(crate) commands: bool,
    /// Whether each job has a switch and a button to skip its next run.
    pub(crate) job_switches: bool,
    /// The devices that it has; empty for all.
    devices: Vec<DevicePattern>,
}

/// A pattern of devices: `coop-door/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DevicePattern {
    plugin: String,
    device: String,
}

const KEYS: [&str; 4] = ["discovery_prefix", "commands", "job_switches", "devices"];

impl Default for HomeAssistant {
    fn default() -> Self {
        Self { discovery_prefix: "homeassistant".to_owned(), commands: true, job_switches: false, devices: Vec::new() }
    }
}

impl HomeAssistant {
    /// `host` is the host's own topic.
    pub(super) fn read(value: &Value<'_>, host: &HostTopic) -> Result<Self, Report> {
        let table: Table<'_> = value.table(&KEYS)?;
        let default = Self::default();
        let prefix_value = table.get("discovery_prefix");
        let prefix = prefix_value.as_ref().map(read_prefix).transpose()?.unwrap_or(default.discovery_prefix);
        if let Some(overlap) = overlap(&prefix, host) {
            return Err(prefix_value.as_ref().unwrap_or(value).error(overlap).hint(
                "`discovery_prefix` must be that of Home Assistant's MQTT integration; `topic` in `[mqtt]` can be any \
                 other one, such as `house/roost`",
            ));
        }
        let commands = table.get("commands").map(|value| value.boolean()).transpose()?;
        let commands = commands.unwrap_or(default.commands);
        let job_switches = table.get("job_switches").map(|value| read_job_switches(&value, commands)).transpose()?;
        let devices = table.get("devices").map(|value| read_devices(&value)).transpose()?;
        Ok(Self {
            discovery_prefix: prefix,
            commands,
            job_switches: job_switches.unwrap_or(default.job_switches),
            devices: devices.unwrap_or(default.devices),
        })
    }

    /// Checks whether Home Assistant is to have a device.
    pub(crate) fn includes(&self, plugin: &str, device: &str) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|pattern| pattern.matches(plugin, device))
    }
}

fn read_prefix(value: &Value<'_>) -> Result<String, Report> {
    let parse = |text: &str| match Topic::parse(text) {
        Ok(_) if text.ends_with('/') => Err(format!("`{text}` must not end with `/`, because one follows it")),
        topic => topic.map(|topic| topic.as_str().to_owned()).map_err(|error| error.to_string()),
    };
    let hint = "write the discovery prefix of Home Assistant's MQTT integration, such as `homeassistant`";
    value.parsed(parse).map_err(|report| report.hint(hint))
}

fn read_job_switches(value: &Value<'_>, has_commands: bool) -> Result<bool, Report> {
    match value.boolean()? {
        true if !has_commands => {
            let report = value.error("jobs cannot have switches, because `commands` is false");
            Err(report.hint("remove one of the two lines"))
        }
        job_switches => Ok(job_switches),
    }
}

/// Returns what is wrong if one of the topics is at or below the other: the messages of one would be taken for those of
/// the other.
fn overlap(prefix: &str, host: &HostTopic) -> Option<String> {
    let is_below_prefix = host.as_str().strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    if host.covers(prefix) {
        Some(format!("the discovery prefix `{prefix}` is at or below `{host}`, the host's own topic"))
    } else if is_below_prefix {
        Some(format!("`{host}`, the host's own topic, is below the discovery prefix `{prefix}`"))
    } else {
        None
    }
}

fn read_devices(value: &Value<'_>) -> Result<Vec<DevicePattern>, Report> {
    let list = value.list()?;
    if list.is_empty() {
        let report = value.error("`devices` is empty, so that Home Assistant would have none");
        return Err(report.hint("leave the line out for all devices, or name some: `coop-door/*`"));
    }
    let hint = "write `PLUGIN/DEVICE`, where each may end with `*`: `coop-door/*`";
    let read = |item: &Value<'_>| item.parsed(DevicePattern::parse).map_err(|report| report.hint(hint));
    list.iter().map(read).collect()
}

impl DevicePattern {
    fn parse(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            let fixed = part.strip_suffix('*').unwrap_or(part);
            !part.is_empty() && fixed.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
        };
        match text.split_once('/') {
            Some((plugin, device)) if is_part(plugin) && is_part(device) => {
                Ok(Self { plugin: plugin.to_owned(), device: device.to_owned() })
            }
            _ => Err(format!("`{text}` names no devices")),
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::document::Document, *};

    fn read(line: &str) -> Result<HomeAssistant, String> {
        let settings = format!("[home_assistant]\n{line}\n");
        let document = Document::parse("roost.toml", &settings).unwrap();
        let table = document.table(&["home_assistant"]).unwrap();
        let value = table.get("home_assistant").unwrap();
        HomeAssistant::read(&value, &HostTopic::default()).map_err(|report| report.to_string())
    }

    #[test]
    fn a_wrong_setting_has_a_hint() {
        let wrong = [
            "discovery_prefix = ''",
            "discovery_prefix = 'a/+'",
            "discovery_prefix = 'a/'",
            "discovery_prefix = 1",
            "discovery_prefix = 'roost'",
            "discovery_prefix = 'roost/ha'",
            "devices = []",
            "devices = ['coop-door']",
            "devices = ['coop-door/*', 'a/b/c']",
            "devices = 'coop-door/*'",
            "commands = 'yes'",
            "commands = false\njob_switches = true",
        ];
        let shown = wrong.map(|line| format!("| {line}\n{}", read(line).unwrap_err()));
        expect![[r#"
            | discovery_prefix = ''
            roost.toml:2:20: `` is not a topic: it must have 1 to 1,024 bytes
            hint: write the discovery prefix of Home Assistant's MQTT integration, such as `homeassistant`

            | discovery_prefix = 'a/+'
            roost.toml:2:20: `a/+` is not a topic: a message goes to one topic, so `+` and `#` cannot be in it
            hint: write the discovery prefix of Home Assistant's MQTT integration, such as `homeassistant`

            | discovery_prefix = 'a/'
            roost.toml:2:20: `a/` must not end with `/`, because one follows it
            hint: write the discovery prefix of Home Assistant's MQTT integration, such as `homeassistant`

            | discovery_prefix = 1
            roost.toml:2:20: `discovery_prefix` is a whole number, and must be a text in quotes
            hint: write the discovery prefix of Home Assistant's MQTT integration, such as `homeassistant`

            | discovery_prefix = 'roost'
            roost.toml:2:20: the discovery prefix `roost` is at or below `roost`, the host's own topic
            hint: `discovery_prefix` must be that of Home Assistant's MQTT integration; `topic` in `[mqtt]` can be any other one, such as `house/roost`

            | discovery_prefix = 'roost/ha'
            roost.toml:2:20: the discovery prefix `roost/ha` is at or below `roost`, the host's own topic
            hint: `discovery_prefix` must be that of Home Assistant's MQTT integration; `topic` in `[mqtt]` can be any other one, such as `house/roost`

            | devices = []
            roost.toml:2:11: `devices` is empty, so that Home Assistant would have none
            hint: leave the line out for all devices, or name some: `coop-door/*`

            | devices = ['coop-door']
            roost.toml:2:12: `coop-door` names no devices
            hint: write `PLUGIN/DEVICE`, where each may end with `*`: `coop-door/*`

            | devices = ['coop-door/*', 'a/b/c']
            roost.toml:2:27: `a/b/c` names no devices
            hint: write `PLUGIN/DEVICE`, where each may end with `*`: `coop-door/*`

            | devices = 'coop-door/*'
            roost.toml:2:11: `devices` is a text, and must be a list

            | commands = 'yes'
            roost.toml:2:12: `commands` is a text, and must be true or false

            | commands = false
            job_switches = true
            roost.toml:3:16: jobs cannot have switches, because `commands` is false
            hint: remove one of the two lines"#]]
        .assert_eq(&shown.join("\n\n"));
    }

    #[test]
    fn devices_are_chosen_by_patterns() {
        let settings = read("devices = ['coop-*/*', 'sprinkler/garden']").unwrap();
        for (plugin, device, is_included) in [
            ("coop-door", "north", true),
            ("coop", "north", false),
            ("sprinkler", "garden", true),
            ("sprinkler", "garden2", false),
        ] {
            assert_eq!(settings.includes(plugin, device), is_included, "{plugin}/{device}");
        }
        assert!(read("discovery_prefix = 'rooster'").is_ok());
        assert!(read("commands = false").unwrap().includes("any", "device"));
    }
}
