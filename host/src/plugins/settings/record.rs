//! The serialized form of settings, which is stored with a version.

use roost_scheduler::{
    model::Qos,
    names::DeviceName,
    time::{Location, Site},
    topic::{Grant, TopicFilter},
};
use serde::{Deserialize, Serialize};

use super::{CallLimits, Device, Settings};

#[derive(Serialize, Deserialize)]
pub(super) struct SettingsRecord {
    devices: Vec<DeviceRecord>,
    grant: GrantRecord,
    limits: LimitsRecord,
}

#[derive(Serialize, Deserialize)]
struct DeviceRecord {
    name: String,
    /// JSON as text, so that a plugin receives exactly the same bytes again.
    config: String,
    time_zone: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<(f64, f64)>,
}

#[derive(Serialize, Deserialize)]
struct GrantRecord {
    publish: Vec<String>,
    subscribe: Vec<String>,
    /// Missing if every QoS is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_qos: Option<u8>,
    /// Missing if retained messages are granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct LimitsRecord {
    memory_mib: u32,
    cpu_ms: u32,
    wall_ms: u32,
    jobs: usize,
    lift_mib: u32,
}

impl From<&Settings> for SettingsRecord {
    fn from(settings: &Settings) -> Self {
        let texts = |filters: &[TopicFilter]| filters.iter().map(ToString::to_string).collect();
        let Settings { devices, grant, limits: CallLimits { memory_mib, cpu_ms, wall_ms, jobs, lift_mib } } = settings;
        Self {
            devices: devices.iter().map(DeviceRecord::from).collect(),
            grant: GrantRecord {
                publish: texts(&grant.publish),
                subscribe: texts(&grant.subscribe),
                max_qos: Some(grant.max_qos as u8).filter(|_| grant.max_qos != Qos::ExactlyOnce),
                retain: Some(false).filter(|_| !grant.retain),
            },
            limits: LimitsRecord {
                memory_mib: *memory_mib,
                cpu_ms: *cpu_ms,
                wall_ms: *wall_ms,
                jobs: *jobs,
                lift_mib: *lift_mib,
            },
        }
    }
}

impl From<&Device> for DeviceRecord {
    fn from(device: &Device) -> Self {
        Self {
            name: device.name.to_string(),
            config: device.config.clone(),
            time_zone: device.site.zone.name().to_owned(),
            location: device.site.location.map(|location| (location.latitude(), location.longitude())),
        }
    }
}

impl TryFrom<SettingsRecord> for Settings {
    type Error = String;

    fn try_from(record: SettingsRecord) -> Result<Self, String> {
        let filters = |texts: Vec<String>| -> Result<Vec<_>, String> {
            texts.iter().map(|text| TopicFilter::parse(text).map_err(|error| error.to_string())).collect()
        };
        let LimitsRecord { memory_mib, cpu_ms, wall_ms, jobs, lift_mib } = record.limits;
        Ok(Self {
            devices: record.devices.into_iter().map(Device::try_from).collect::<Result<_, _>>()?,
            grant: Grant {
                publish: filters(record.grant.publish)?,
                subscribe: filters(record.grant.subscribe)?,
                max_qos: match record.grant.max_qos {
                    None => Qos::ExactlyOnce,
                    Some(number) => Qos::from_number(number).ok_or_else(|| format!("{number} is not a QoS"))?,
                },
                retain: record.grant.retain.unwrap_or(true),
            },
            limits: CallLimits { memory_mib, cpu_ms, wall_ms, jobs, lift_mib },
        })
    }
}

impl TryFrom<DeviceRecord> for Device {
    type Error = String;

    fn try_from(record: DeviceRecord) -> Result<Self, String> {
        let location = match record.location {
            Some((latitude, longitude)) => {
                Some(Location::new(latitude, longitude).ok_or("a location is out of range")?)
            }
            None => None,
        };
        let zone = crate::zones::find_stored(&record.time_zone)
            .map_err(|_| format!("`{}` is not a time zone", record.time_zone))?;
        let name = DeviceName::parse(&record.name).map_err(|error| error.to_string())?;
        Ok(Self { name, config: record.config, site: Site { zone, location } })
    }
}
