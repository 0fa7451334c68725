//! What the operator says about the host: flags, above the environment, above `roost.toml`, above defaults.

pub(crate) mod document;
mod file;
mod flags;
pub(crate) mod grant;
mod http;
pub(crate) mod levels;
pub(crate) mod limits;
pub(crate) mod nearest;
pub(crate) mod rules;
pub(crate) mod site;
mod system;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use roost_scheduler::{time::Site, topic::Topic, zone::Zone};
use tracing_subscriber::EnvFilter;

use self::{
    file::{File, MqttFile},
    rules::Rules,
    site::{HALF_A_LOCATION, SiteSettings},
    system::system_zone,
};
pub(crate) use self::{
    flags::{DataFlags, Flags, SiteFlags},
    http::{Http, Listen},
};
use crate::{
    files::{self, Exposure},
    report::{Report, utf8},
};

/// Read if it exists, unless another file is named.
const DEFAULT_FILE: &str = "roost.toml";

/// Everything that is said about the host, checked.
pub(crate) struct Config {
    /// Which file was read, if one was.
    pub(crate) file: Option<PathBuf>,
    /// Where devices are that do not say otherwise.
    pub(crate) site: Site,
    /// Who said in which time zone that is: for the log.
    pub(crate) zone_from: &'static str,
    /// The folder with plugins.
    pub(crate) plugins: PathBuf,
    /// The folder with what is remembered.
    pub(crate) data: PathBuf,
    /// `None`: the built-in one.
    pub(crate) broker: Option<Broker>,
    /// Where the built-in one listens.
    pub(crate) built_in: BuiltInPorts,
    /// Where the host says on the broker whether it is there; `None`: nowhere.
    pub(crate) status_topic: Option<Topic>,
    pub(crate) log: Log,
    /// What plugins have to keep to.
    pub(crate) rules: Rules,
    pub(crate) history: History,
    pub(crate) http: Http,
    /// What is accepted, and should be otherwise: for the log.
    pub(crate) warnings: Vec<Report>,
}

/// The broker to connect to. Not `Debug`: it has a password.
pub(crate) struct Broker {
    /// As they were written; at least one. They are tried in turn.
    pub(crate) urls: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Certificates to trust, besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate that Roost shows, and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Where the host says on the broker that it is there.
pub(crate) const STATUS_TOPIC: &str = "roost/status";

/// The ports of the built-in broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BuiltInPorts {
    /// For people, devices and Roost itself.
    pub(crate) devices: u16,
    /// Another one that does the same: earlier versions needed it for Roost.
    pub(crate) roost: Option<u16>,
}

impl Default for BuiltInPorts {
    fn default() -> Self {
        Self { devices: 1883, roost: None }
    }
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) days: u32,
    pub(crate) runs: u32,
}

impl Default for History {
    fn default() -> Self {
        Self { days: 30, runs: 1_000_000 }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// `info`, or a filter such as `info,roost::mqtt=debug`.
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// For whom the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Human,
    /// For programs: an object per line
    Json,
}

/// Puts together what was said. Flags have taken in the environment already.
pub(crate) fn load(flags: &Flags) -> Result<Config, Report> {
    load_in(Path::new(""), flags, || system_zone(Path::new("/"), std::env::var("TZ").ok().as_deref()))
}

fn load_in(folder: &Path, flags: &Flags, system: impl FnOnce() -> (Zone, &'static str)) -> Result<Config, Report> {
    let (path, file) = read(folder, flags.place.config.as_deref())?;
    let (site, zone_from) = site(&flags.place, &file.place, system)?;
    let status_topic = match file.mqtt.status_topic.clone() {
        Some(said) => said,
        None => Topic::parse(STATUS_TOPIC).ok(),
    };
    let of_settings = path.as_ref().and_then(|path| exposed_settings(path, file.mqtt.is_password_in_it));
    let of_files = file.http.warning.iter().chain(&file.mqtt.warnings).cloned();
    let plugins = flags.plugins.clone().or(file.plugins).unwrap_or_else(|| "plugins".into());
    let warnings = of_files.chain(of_settings).chain(exposed_plugins(&plugins)).collect();
    Ok(Config {
        warnings,
        file: path,
        site,
        zone_from,
        plugins,
        data: flags.data.clone().or(file.data).unwrap_or_else(|| "data".into()),
        broker: broker(flags.mqtt.clone(), file.mqtt)?,
        built_in: file.built_in,
        status_topic,
        log: Log {
            level: flags.log.clone().or(file.log_level).unwrap_or_else(|| "info".into()),
            format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Human),
        },
        rules: file.rules,
        history: file.history,
        http: Http::new(flags.http, file.http)?,
    })
}

/// A user that can read the settings knows a password in them, and one that can change them decides what plugins may do.
fn exposed_settings(path: &Path, has_password: bool) -> Option<Report> {
    let name = path.display();
    match files::exposure(path).ok()? {
        Exposure::Open => {
            let report = Report::new(format!("every user of this machine can change the settings `{name}`"));
            let report = report.cause("they say what plugins may publish, and to which broker Roost connects");
            Some(report.hint(format!("`chmod 600 {name}`, as the user that runs Roost")))
        }
        Exposure::Readable | Exposure::Changeable if has_password => {
            let report = Report::new(format!("`{name}` has a password in it, and other users can read or change it"));
            Some(report.hint(format!("`chmod 600 {name}`, or name a file with the password by `password_file`")))
        }
        Exposure::Readable | Exposure::Changeable | Exposure::None => None,
    }
}

/// A user that can put a plugin there decides what it may do, where the operator does not say it.
fn exposed_plugins(folder: &Path) -> Option<Report> {
    files::exposure(folder).ok().filter(|exposure| *exposure == Exposure::Open)?;
    let report = Report::new(format!("every user of this machine can put plugins into `{}`", folder.display()));
    let report =
        report.cause("the settings beside a plugin say what it may publish, unless `[grants]` in `roost.toml` does");
    Some(report.hint(format!("`chmod o-w {}`, as the user that the folder belongs to", folder.display())))
}

/// The file, if one is named or there is one in the folder.
fn read(folder: &Path, named: Option<&Path>) -> Result<(Option<PathBuf>, File), Report> {
    let path = named.map_or_else(|| folder.join(DEFAULT_FILE), Path::to_owned);
    let text = match fs::read(&path) {
        Ok(bytes) => utf8(bytes).map_err(|encoding| {
            Report::new(format!("the settings `{}` cannot be read", path.display())).cause(encoding)
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok((None, File::default())),
        Err(error) => {
            let report = Report::new(format!("the settings `{}` cannot be read", path.display())).cause(error);
            return Err(report.hint("name a file that exists with `--config FILE`, or leave it out"));
        }
    };
    let file = File::parse(&path, &text)?;
    Ok((Some(path), file))
}

fn site(
    flags: &SiteFlags,
    file: &SiteSettings,
    system: impl FnOnce() -> (Zone, &'static str),
) -> Result<(Site, &'static str), Report> {
    let (zone, zone_from) = match (flags.time_zone, file.zone) {
        (Some(zone), _) => (zone, "`--time-zone` or `ROOST_TIME_ZONE`"),
        (None, Some(zone)) => (zone, "the settings"),
        (None, None) => system(),
    };
    let place = SiteSettings {
        zone: Some(zone),
        latitude: flags.latitude.or(file.latitude),
        longitude: flags.longitude.or(file.longitude),
    };
    let half = |what| Report::new(what).hint(format!("in settings, environment and flags together: {HALF_A_LOCATION}"));
    Ok((Site { zone, location: place.location().map_err(half)? }, zone_from))
}

fn broker(flag: Option<String>, file: MqttFile) -> Result<Option<Broker>, Report> {
    let from_flag = flag.map(|urls| separated(&urls));
    let Some(urls) = from_flag.or(file.urls) else {
        let for_none = [
            ("user", file.user.is_some()),
            ("password", file.password.is_some()),
            ("ca_file", file.ca_file.is_some()),
            ("cert_file", file.identity.is_some()),
        ];
        return match for_none.iter().find(|(_, is_there)| *is_there) {
            None => Ok(None),
            Some((key, _)) => Err(Report::new(format!("`[mqtt]` has a `{key}`, but no `url` of a broker")).hint(
                "add a line such as `url = \"mqtt://127.0.0.1:1883\"`; without `[mqtt]` the built-in broker is used",
            )),
        };
    };
    let MqttFile { user, password, ca_file, identity, .. } = file;
    Ok(Some(Broker { urls, user, password, ca_file, identity }))
}

/// Addresses with commas between them. A comma may stand in a password as well.
fn separated(text: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',') {
        match urls.last_mut() {
            Some(last) if !part.contains("://") => *last = format!("{last},{part}"),
            _ => urls.push(part.trim().to_owned()),
        }
    }
    urls
}

/// A level, or a filter of `tracing`. A single word that is no level would silently be taken for the name of a module.
fn parse_log(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_level = |word: &str| LEVELS.contains(&word.to_lowercase().as_str());
    let is_filter = text.contains('=') && EnvFilter::try_new(text).is_ok();
    if text.split(',').all(|part| is_level(part.trim()) || part.contains('=')) && (is_level(text.trim()) || is_filter) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a log level: write `error`, `warn`, `info`, `debug` or `trace`, or `info,roost::mqtt=debug`"
    ))
}
