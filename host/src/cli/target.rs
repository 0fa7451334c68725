//! Names of plugins, devices and jobs on the command line.

use std::{fmt, str::FromStr};

use roost_scheduler::names::{DeviceName, JobId, PluginName};

/// A plugin, a device or a job: `coop-door`, `coop-door/north` or `coop-door/north/open`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) plugin: PluginName,
    pub(super) device: Option<DeviceName>,
    pub(super) job: Option<JobId>,
}

/// A job: `coop-door/north/open`, or the name alone of an ad-hoc job of the device `roost/api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobPath(String);

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '/');
        let message = |error: &dyn fmt::Display| error.to_string();
        Ok(Self {
            plugin: PluginName::parse_owner(parts.next().unwrap_or_default()).map_err(|error| message(&error))?,
            device: parts.next().map(DeviceName::parse).transpose().map_err(|error| message(&error))?,
            job: parts.next().map(JobId::parse).transpose().map_err(|error| message(&error))?,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plugin)?;
        self.device.iter().try_for_each(|device| write!(f, "/{device}"))?;
        self.job.iter().try_for_each(|job| write!(f, "/{job}"))
    }
}

impl Target {
    /// Returns its path in the API.
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
        let name = if text.contains('/') { text.to_owned() } else { format!("roost/api/{text}") };
        match name.parse::<Target>()? {
            Target { job: Some(_), .. } => Ok(Self(name)),
            _ => Err("write the name of a job like `coop-door/north/open`, as in `roost jobs`".into()),
        }
    }
}

impl JobPath {
    /// Returns its name, `plugin/device/job`.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its path in the API.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/jobs/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_paths_in_the_api() {
        let path = |text: &str| text.parse::<Target>().map(|target| target.path());
        assert_eq!(path("coop-door").as_deref(), Ok("/api/v1/plugins/coop-door"));
        assert_eq!(path("coop-door/north").as_deref(), Ok("/api/v1/devices/coop-door/north"));
        assert_eq!(path("coop-door/north/open").as_deref(), Ok("/api/v1/jobs/coop-door/north/open"));
        let again = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(again("coop-door/north").as_deref(), Ok("coop-door/north"));
        assert!(path("Coop").is_err() && path("coop/north/open/2027").is_err() && path("coop//open").is_err());
        let job = |text: &str| text.parse::<JobPath>().map(|job| job.path());
        assert_eq!(job("siesta").as_deref(), Ok("/api/v1/jobs/roost/api/siesta"));
        assert_eq!(job("coop-door/north/open").as_deref(), Ok("/api/v1/jobs/coop-door/north/open"));
        assert!(job("coop-door/north").is_err());
    }
}
