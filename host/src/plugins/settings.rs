//! Stand-in until the settings are joined.

use roost_scheduler::{
    event::Digest,
    names::{DeviceName, PluginName},
    time::Site,
    topic::Grant,
};
use sha2::{Digest as _, Sha256};

use crate::report::Report;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) devices: Vec<Device>,
    pub(crate) grant: Grant,
    pub(crate) limits: Limits,
}

#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: DeviceName,
    pub(crate) config: String,
    pub(crate) site: Site,
}

#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) memory_mib: u32,
    pub(crate) cpu_ms: u32,
    pub(crate) wall_ms: u32,
    pub(crate) jobs: usize,
    pub(crate) lift_mib: u32,
}

impl Settings {
    pub(crate) fn parse(
        text: Option<&str>,
        plugin: &PluginName,
        defaults: &Site,
        operator: Option<&Grant>,
    ) -> Result<Self, Report> {
        let text = text.unwrap_or("");
        if text.contains("broken") {
            return Err(Report::new(format!("settings of `{plugin}` are broken")));
        }
        let names: Vec<&str> = if text.is_empty() { vec![plugin.as_str()] } else { text.split_whitespace().collect() };
        let devices = names
            .into_iter()
            .map(|name| Device {
                name: DeviceName::parse(name).expect("stand-in"),
                config: "{}".into(),
                site: *defaults,
            })
            .collect();
        Ok(Self {
            devices,
            grant: operator.cloned().unwrap_or_else(|| Grant::default_of(plugin)),
            limits: Limits { memory_mib: 256, cpu_ms: 500, wall_ms: 10_000, jobs: 10_000, lift_mib: 16 },
        })
    }

    pub(crate) fn to_json(&self) -> String {
        self.devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn from_json(text: &str) -> Result<Self, std::io::Error> {
        let site = Site { zone: chrono_tz::UTC, location: None };
        let plugin = PluginName::parse("stand-in").expect("stand-in");
        Self::parse(Some(text), &plugin, &site, None).map_err(std::io::Error::other)
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.to_json()).into())
    }
}
