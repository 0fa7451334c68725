//! Settings on the command line and in the environment.

use crate::zones;
use roost_scheduler::zone::Zone;
use std::path::PathBuf;

use super::{
    LogFormat,
    http::Listen,
    parse_log,
    site::{parse_latitude, parse_longitude},
};

/// The settings of a host.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Flags {
    /// The folder with plugins, and with their settings beside them [default: plugins]
    #[arg(long, value_name = "DIR", env = "ROOST_PLUGINS", hide_env_values = true)]
    pub(crate) plugins: Option<PathBuf>,
    /// The folder for the database and other state; made if it does not exist [default: data]
    #[arg(long, value_name = "DIR", env = "ROOST_DATA", hide_env_values = true)]
    pub(crate) data: Option<PathBuf>,
    /// The MQTT broker, such as `mqtt://127.0.0.1:1883`, or `mqtts://` for TLS; several addresses, with commas between
    /// them, are tried in turn [default: a broker that is built in]
    #[arg(long, value_name = "URL", env = "ROOST_MQTT", hide_env_values = true)]
    pub(crate) mqtt: Option<String>,
    /// Where the HTTP API listens, such as `127.0.0.1:8080`, or `off` [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", env = "ROOST_HTTP", hide_env_values = true)]
    pub(crate) http: Option<Listen>,
    #[command(flatten)]
    pub(crate) place: SiteFlags,
    /// How much to log: error, warn, info, debug or trace; or for each part, such as `info,roost::mqtt=debug` [default:
    /// info]
    #[arg(long, value_name = "LEVEL", env = "ROOST_LOG", hide_env_values = true, value_parser = parse_log)]
    pub(crate) log: Option<String>,
    /// How to log [default: human]
    #[arg(long, value_name = "FORMAT", env = "ROOST_LOG_FORMAT", hide_env_values = true)]
    pub(crate) log_format: Option<LogFormat>,
}

/// Settings of the host's site, which commands need to show times, whether a host runs or not.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SiteFlags {
    /// A file with settings [default: roost.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "ROOST_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The time zone that times of day are meant in, such as `Europe/London` [default: the system's]
    #[arg(long, value_name = "TZ", env = "ROOST_TIME_ZONE", hide_env_values = true, value_parser = zones::find)]
    pub(crate) time_zone: Option<Zone>,
    /// The latitude of the devices in degrees, north positive, for triggers that follow the sun
    #[arg(long, value_name = "N", env = "ROOST_LATITUDE", hide_env_values = true)]
    #[arg(allow_negative_numbers = true, value_parser = parse_latitude)]
    pub(crate) latitude: Option<f64>,
    /// Their longitude in degrees, east positive
    #[arg(long, value_name = "N", env = "ROOST_LONGITUDE", hide_env_values = true)]
    #[arg(allow_negative_numbers = true, value_parser = parse_longitude)]
    pub(crate) longitude: Option<f64>,
}

/// Settings that commands need to read a host's data folder.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DataFlags {
    /// The folder with the database and other state [default: data]
    #[arg(long, value_name = "DIR", env = "ROOST_DATA", hide_env_values = true)]
    pub(crate) data: Option<PathBuf>,
    /// A file with settings [default: roost.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "ROOST_CONFIG", hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// The time zone of displayed times if the device's is not known [default: the system's]
    #[arg(long, value_name = "TZ", env = "ROOST_TIME_ZONE", hide = true, value_parser = zones::find)]
    time_zone: Option<Zone>,
}

impl From<DataFlags> for Flags {
    fn from(DataFlags { data, config, time_zone }: DataFlags) -> Self {
        Self { data, place: SiteFlags { config, time_zone, ..SiteFlags::default() }, ..Self::default() }
    }
}

impl From<SiteFlags> for Flags {
    fn from(place: SiteFlags) -> Self {
        Self { place, ..Self::default() }
    }
}
