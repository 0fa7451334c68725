//! What a person names on the command line: a plugin, a device of it, a job of that.

use std::{fmt, str::FromStr};

use roost_scheduler::names::{DeviceName, JobId, PluginName};

/// `coop-door`, `coop-door/north` or `coop-door/north/open`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartName {
    pub(super) plugin: PluginName,
    pub(super) device: Option<DeviceName>,
    pub(super) job: Option<JobId>,
}

/// `coop-door/north/open`, or the name alone of a job that was made by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobPath(String);

impl FromStr for PartName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '/');
        let told = |error: &dyn fmt::Display| error.to_string();
        Ok(Self {
            plugin: PluginName::parse_owner(parts.next().unwrap_or_default()).map_err(|error| told(&error))?,
            device: parts.next().map(DeviceName::parse).transpose().map_err(|error| told(&error))?,
            job: parts.next().map(JobId::parse).transpose().map_err(|error| told(&error))?,
        })
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plugin)?;
        self.device.iter().try_for_each(|device| write!(f, "/{device}"))?;
        self.job.iter().try_for_each(|job| write!(f, "/{job}"))
    }
}

impl PartName {
    /// Where it is in the API.
    pub(super) fn path(&self) -> String {
        let Self { plugin, device, job } = self;
        match (device, job) {
            (Some(device), Some(job)) => format!("/api/v1/jobs/{plugin}/{device}/{job}"),
            (Some(device), None) => format!("/api/v1/devices/{plugin}/{device}"),
            (None, _) => format!("/api/v1/plugins/{plugin}"),
        }
    }
}

impl FromStr for JobPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.contains('/') { text.to_owned() } else { format!("roost/api/{text}") };
        match whole.parse::<PartName>()? {
            PartName { job: Some(_), .. } => Ok(Self(whole)),
            _ => Err("write it like `coop-door/north/open`, as `roost jobs` shows it".into()),
        }
    }
}

impl JobPath {
    /// As `roost jobs` shows it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where it is in the API.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/jobs/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_place_in_the_api() {
        let path = |text: &str| text.parse::<PartName>().map(|part| part.path());
        assert_eq!(path("coop-door").as_deref(), Ok("/api/v1/plugins/coop-door"));
        assert_eq!(path("coop-door/north").as_deref(), Ok("/api/v1/devices/coop-door/north"));
        assert_eq!(path("coop-door/north/open").as_deref(), Ok("/api/v1/jobs/coop-door/north/open"));
        let again = |text: &str| text.parse::<PartName>().map(|part| part.to_string());
        assert_eq!(again("coop-door/north").as_deref(), Ok("coop-door/north"));
        assert!(path("Coop").is_err() && path("coop/north/open/2027").is_err() && path("coop//open").is_err());
        let job = |text: &str| text.parse::<JobPath>().map(|job| job.path());
        assert_eq!(job("siesta").as_deref(), Ok("/api/v1/jobs/roost/api/siesta"));
        assert_eq!(job("coop-door/north/open").as_deref(), Ok("/api/v1/jobs/coop-door/north/open"));
        assert!(job("coop-door/north").is_err());
    }
}
