//! The host's settings: flags take precedence over the environment, that over `roost.toml`, and that over defaults.

mod calendars;
pub(crate) mod call_limits;
pub(crate) mod document;
mod file;
mod flags;
pub(crate) mod grant;
mod home_assistant;
mod http;
pub(crate) mod levels;
mod limits;
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
    home_assistant::HomeAssistant,
    http::{Http, Listen},
};
use crate::{
    files::{self, Exposure},
    report::{Report, utf8},
    store::{self, DatabaseUrl, Reader, Retention},
};

/// The settings file that is read if it exists, unless another one is named.
const DEFAULT_FILE: &str = "roost.toml";

/// The settings of the host, validated.
pub(crate) struct Config {
    /// The settings file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// The site of devices without one of their own.
    pub(crate) site: Site,
    /// The source of its time zone, for the log.
    pub(crate) zone_from: &'static str,
    /// The folder with plugins.
    pub(crate) plugins: PathBuf,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The broker to connect to; `None`: the built-in one.
    pub(crate) broker: Option<Broker>,
    /// The ports of the built-in broker.
    pub(crate) built_in: BuiltInPorts,
    /// The topic at which the host publishes its status, if any: by default below its own, `rules.host_topic`.
    pub(crate) status_topic: Option<Topic>,
    /// The devices in Home Assistant, if it is to have them.
    pub(crate) home_assistant: Option<HomeAssistant>,
    pub(crate) log: Log,
    /// The operator's rules for plugins.
    pub(crate) rules: Rules,
    pub(crate) history: Retention,
    /// The database that several hosts share; `None`: one in the data folder.
    pub(crate) store: Option<DatabaseUrl>,
    /// The name of this host: by default the machine's.
    pub(crate) name: String,
    /// Where other hosts reach this one, if it is configured.
    pub(crate) advertise: Option<String>,
    pub(crate) http: Http,
    /// Settings that are accepted with a warning, for the log.
    pub(crate) warnings: Vec<Report>,
}

/// The broker to connect to. It is not `Debug`, because it has a password.
pub(crate) struct Broker {
    /// Its addresses as written, at least one. They are tried in turn.
    pub(crate) urls: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// Certificates to trust, besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate that Roost shows, and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// The ports of the built-in broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BuiltInPorts {
    /// The port for devices, other clients and Roost itself.
    pub(crate) devices: u16,
    /// A second port that does the same: earlier versions needed it for Roost.
    pub(crate) roost: Option<u16>,
}

impl Default for BuiltInPorts {
    fn default() -> Self {
        Self { devices: 1883, roost: None }
    }
}

/// The level and the format of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// `info`, or a filter such as `info,roost::mqtt=debug`.
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Text
    Human,
    /// JSON, an object per line
    Json,
}

/// Loads the settings. The flags include the environment.
pub(crate) fn load(flags: &Flags) -> Result<Config, Report> {
    load_in(Path::new(""), flags, || system_zone(Path::new("/"), std::env::var("TZ").ok().as_deref()))
}

fn load_in(folder: &Path, flags: &Flags, system: impl FnOnce() -> (Zone, &'static str)) -> Result<Config, Report> {
    let (path, file) = read(folder, flags.place.config.as_deref())?;
    let (site, zone_from) = site(&flags.place, &file.place, system)?;
    let status_topic = file.mqtt.status_topic.clone();
    let status_topic = status_topic.unwrap_or_else(|| Some(file.rules.host_topic.below("status")));
    let has_password = file.mqtt.is_password_in_it || file.store.url.as_ref().is_some_and(DatabaseUrl::has_password);
    let of_settings = path.as_ref().and_then(|path| exposed_settings(path, has_password));
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
        home_assistant: file.home_assistant,
        log: Log {
            level: flags.log.clone().or(file.log_level).unwrap_or_else(|| "info".into()),
            format: flags.log_format.or(file.log_format).unwrap_or(LogFormat::Human),
        },
        rules: file.rules,
        history: file.history,
        store: file.store.url,
        name: file.store.name.unwrap_or_else(store::machine_name),
        advertise: file.store.advertise,
        http: Http::new(flags.http, file.http)?,
    })
}

impl Config {
    /// Returns a handle to the store, for queries.
    pub(crate) fn reader(&self) -> Reader {
        match &self.store {
            None => Reader::folder(&self.data),
            Some(url) => Reader::database(url.clone(), 0),
        }
    }
}

/// Returns a warning if other users can read a password in the settings, or change them and so decide what plugins may
/// do.
fn exposed_settings(path: &Path, has_password: bool) -> Option<Report> {
    let name = path.display();
    match files::exposure(path).ok()? {
        Exposure::Open => {
            let report = Report::new(format!("every user of this machine can change the settings `{name}`"));
            let report = report.cause("they determine what plugins may publish, and to which broker Roost connects");
            Some(report.hint(format!("`chmod 600 {name}`, as the user that runs Roost")))
        }
        Exposure::Readable | Exposure::Changeable if has_password => {
            let report = Report::new(format!("`{name}` has a password in it, and other users can read or change it"));
            Some(report.hint(format!("`chmod 600 {name}`, or name a file with the password by `password_file`")))
        }
        Exposure::Readable | Exposure::Changeable | Exposure::None => None,
    }
}

/// Returns a warning if every user can install plugins, whose settings grant topics unless the operator does.
fn exposed_plugins(folder: &Path) -> Option<Report> {
    files::exposure(folder).ok().filter(|exposure| *exposure == Exposure::Open)?;
    let report = Report::new(format!("every user of this machine can put plugins into `{}`", folder.display()));
    let report = report
        .cause("the settings beside a plugin determine what it may publish, unless `[grants]` in `roost.toml` does");
    Some(report.hint(format!("`chmod o-w {}`, as the user that the folder belongs to", folder.display())))
}

/// Reads the settings file that is named, or the default one if it exists.
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

/// Splits addresses at commas. A password may contain commas as well.
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

/// Accepts a level, or a filter of `tracing`. `EnvFilter` would take any other single word for the name of a module.
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
