//! Reads `roost.toml`.

use std::path::{Path, PathBuf};

use roost_scheduler::topic::{HostTopic, Topic};
use url::Url;

use super::{
    BuiltInPorts, LogFormat,
    calendars::read_calendars,
    call_limits::CallLimits,
    document::{Document, Table, Value},
    home_assistant::HomeAssistant,
    http::HttpFile,
    parse_log,
    rules::{Rules, read_grants, read_guests, read_rates, read_resources},
    site::{SITE_KEYS, SiteSettings},
};
use crate::{
    report::Report,
    store::{DatabaseUrl, Retention},
};

/// The contents of `roost.toml`. Paths in it are relative to its folder.
#[derive(Default)]
pub(super) struct File {
    pub(super) place: SiteSettings,
    pub(super) plugins: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    pub(super) mqtt: MqttFile,
    pub(super) built_in: BuiltInPorts,
    pub(super) home_assistant: Option<HomeAssistant>,
    pub(super) log_level: Option<String>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) rules: Rules,
    pub(super) history: Retention,
    pub(super) store: StoreFile,
    pub(super) http: HttpFile,
}

/// The table `[store]`.
#[derive(Default)]
pub(super) struct StoreFile {
    /// The database of several hosts.
    pub(super) url: Option<DatabaseUrl>,
    pub(super) name: Option<String>,
    pub(super) advertise: Option<String>,
}

/// The table `[mqtt]`.
#[derive(Default)]
pub(super) struct MqttFile {
    /// The broker's addresses, at least one.
    pub(super) urls: Option<Vec<String>>,
    pub(super) user: Option<String>,
    /// The password, from the settings or from its file.
    pub(super) password: Option<String>,
    /// Whether `roost.toml` itself contains a password.
    pub(super) is_password_in_it: bool,
    pub(super) ca_file: Option<PathBuf>,
    /// A certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    pub(super) topic: HostTopic,
    /// `Some(None)`: `off`.
    pub(super) status_topic: Option<Option<Topic>>,
    /// Warnings about the files of the password and of the key.
    pub(super) warnings: Vec<Report>,
}

const KEYS: [&str; 18] = [
    SITE_KEYS[0],
    SITE_KEYS[1],
    SITE_KEYS[2],
    "plugins",
    "data",
    "mqtt",
    "built_in_broker",
    "home_assistant",
    "log",
    "grants",
    "ceilings",
    "resource",
    "calendar",
    "rates",
    "guests",
    "history",
    "store",
    "http",
];
const BUILT_IN_KEYS: [&str; 2] = ["devices", "roost"];
const MQTT_KEYS: [&str; 9] =
    ["url", "user", "password", "password_file", "ca_file", "cert_file", "key_file", "topic", "status_topic"];
const STORE_KEYS: [&str; 3] = ["url", "name", "advertise"];
const HISTORY_KEYS: [&str; 2] = ["days", "runs"];
const LOG_KEYS: [&str; 2] = ["level", "format"];

impl File {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Report> {
        let name = path.display().to_string();
        let document = Document::parse(&name, text)?;
        let top = document.table(&KEYS)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let log = top.get("log").map(|value| value.table(&LOG_KEYS)).transpose()?;
        let in_log = |key| log.as_ref().and_then(|table| table.get(key));
        let mqtt = top.get("mqtt").map(|value| read_mqtt(folder, &value)).transpose()?.unwrap_or_default();
        Ok(Self {
            place: SiteSettings::read(&top)?,
            plugins: path_at(folder, &top, "plugins")?,
            data: path_at(folder, &top, "data")?,
            built_in: top.get("built_in_broker").map(|value| read_ports(&value)).transpose()?.unwrap_or_default(),
            home_assistant: top
                .get("home_assistant")
                .map(|value| HomeAssistant::read(&value, &mqtt.topic))
                .transpose()?,
            log_level: in_log("level").map(|value| value.parsed(parse_log)).transpose()?,
            log_format: in_log("format").map(|value| value.parsed(parse_format)).transpose()?,
            rules: Rules {
                grants: top
                    .get("grants")
                    .map(|value| read_grants(&value, &mqtt.topic))
                    .transpose()?
                    .unwrap_or_default(),
                guests: top.get("guests").map(|value| read_guests(&value)).transpose()?.unwrap_or_default(),
                rates: top.get("rates").map(|value| read_rates(&value)).transpose()?.unwrap_or_default(),
                resources: top.get("resource").map(|value| read_resources(&value)).transpose()?.unwrap_or_default(),
                calendars: top
                    .get("calendar")
                    .map(|value| read_calendars(folder, &value))
                    .transpose()?
                    .unwrap_or_default(),
                ceilings: top
                    .get("ceilings")
                    .map(|value| CallLimits::read_ceilings(&value))
                    .transpose()?
                    .unwrap_or(CallLimits::MOST),
                host_topic: mqtt.topic.clone(),
            },
            mqtt,
            history: top.get("history").map(|value| read_history(&value)).transpose()?.unwrap_or_default(),
            store: top.get("store").map(|value| read_store(&value)).transpose()?.unwrap_or_default(),
            http: top.get("http").map(|value| HttpFile::read(folder, &value)).transpose()?.unwrap_or_default(),
        })
    }
}

fn text_at(table: &Table<'_>, key: &str) -> Result<Option<String>, Report> {
    table.get(key).map(|value| value.text().map(str::to_owned)).transpose()
}

fn path_at(folder: &Path, table: &Table<'_>, key: &str) -> Result<Option<PathBuf>, Report> {
    Ok(text_at(table, key)?.map(|path| folder.join(path)))
}

fn read_mqtt(folder: &Path, value: &Value<'_>) -> Result<MqttFile, Report> {
    let table = value.table(&MQTT_KEYS)?;
    let (text, secret) = match (text_at(&table, "password")?, table.get("password_file")) {
        (Some(_), Some(file)) => {
            return Err(file.error("there is a `password` and a `password_file`").hint("leave one of them out"));
        }
        (text, file) => (text, file.map(|file| file.secret(folder, "password")).transpose()?),
    };
    let (from_file, of_password) = secret.map(|secret| (secret.text, secret.warning)).unzip();
    let of_key = table.get("key_file").map(|file| file.exposure(folder, "key")).transpose()?;
    let urls = table.get("url").map(|value| read_urls(&value)).transpose()?;
    let has_password = |url: &String| url.rsplit_once('@').is_some_and(|(user, _)| user.matches(':').count() > 1);
    let is_password_in_it = text.is_some() || urls.iter().flatten().any(has_password);
    Ok(MqttFile {
        urls,
        user: text_at(&table, "user")?,
        password: text.or(from_file),
        is_password_in_it,
        warnings: [of_password, of_key].into_iter().flatten().flatten().collect(),
        ca_file: path_at(folder, &table, "ca_file")?,
        identity: read_identity(folder, &table)?,
        topic: table.get("topic").map(|value| read_host_topic(&value)).transpose()?.unwrap_or_default(),
        status_topic: table.get("status_topic").map(|value| read_status_topic(&value)).transpose()?,
    })
}

/// Reads an address, or a list of addresses.
fn read_urls(value: &Value<'_>) -> Result<Vec<String>, Report> {
    if let Ok(one) = value.text() {
        return Ok(vec![one.to_owned()]);
    }
    let hint =
        "write an address, or several of one broker or of brokers that are joined: `[\"mqtt://one\", \"mqtt://two\"]`";
    let neither = |_| value.error("`url` is neither a text in quotes nor a list of such texts").hint(hint);
    let list = value.list().map_err(neither)?;
    if list.is_empty() {
        return Err(value.error("`url` is an empty list").hint(hint));
    }
    list.iter().map(|item| item.text().map(str::to_owned)).collect()
}

/// Reads a certificate and its key, which need each other.
fn read_identity(folder: &Path, table: &Table<'_>) -> Result<Option<(PathBuf, PathBuf)>, Report> {
    match (path_at(folder, table, "cert_file")?, path_at(folder, table, "key_file")?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(table.error("`[mqtt]` has a `cert_file`, but no `key_file`").hint(
            "add `key_file`, the private key that belongs to the certificate; where both are in one file, name it twice",
        )),
        (None, Some(_)) => Err(table.error("`[mqtt]` has a `key_file`, but no `cert_file`").hint(
            "add `cert_file`, the certificate that Roost shows to the broker; where both are in one file, name it twice",
        )),
    }
}

/// Reads the host's own topic.
fn read_host_topic(value: &Value<'_>) -> Result<HostTopic, Report> {
    let topic = value.parsed(HostTopic::parse);
    topic.map_err(|report| report.hint("write a topic such as `roost` or `house/roost`, another one for each host"))
}

/// Reads the topic of the host's status, or `off`.
fn read_status_topic(value: &Value<'_>) -> Result<Option<Topic>, Report> {
    if value.text()? == "off" {
        return Ok(None);
    }
    let topic = value.parsed(Topic::parse);
    topic.map(Some).map_err(|report| report.hint("write a topic such as `roost/status`, or `off`"))
}

/// Reads the ports of the built-in broker.
fn read_ports(value: &Value<'_>) -> Result<BuiltInPorts, Report> {
    let table = value.table(&BUILT_IN_KEYS)?;
    let port = |key| -> Result<Option<u16>, Report> {
        let Some(value) = table.get(key) else { return Ok(None) };
        Ok(u16::try_from(value.integer_in(1..=65_535)?).ok())
    };
    let BuiltInPorts { devices, .. } = BuiltInPorts::default();
    Ok(BuiltInPorts { devices: port("devices")?.unwrap_or(devices), roost: port("roost")? })
}

/// Reads the address of the database that several hosts share, and how this host is known to the others.
fn read_store(value: &Value<'_>) -> Result<StoreFile, Report> {
    let table = value.table(&STORE_KEYS)?;
    let parse = |text: &str| text.parse().map_err(|fault| format!("this is not the address of a database: {fault}"));
    let read = |value: Value<'_>| {
        value.parsed(parse).map_err(|report| report.hint("write `postgres://USER:PASSWORD@HOST/DATABASE`"))
    };
    let url = table.get("url").map(read).transpose()?;
    let name = table.get("name").map(|value| value.parsed(parse_name)).transpose()?;
    let advertise = table.get("advertise");
    if let (None, Some(value)) = (&url, &advertise) {
        let hint = "leave it out: a host with a database of its own has no other hosts";
        return Err(value.error("`[store]` has an `advertise`, but no `url` of a database").hint(hint));
    }
    let read = |value: Value<'_>| {
        value.parsed(parse_advertised).map_err(|report| report.hint("write an address such as `http://10.0.0.5:8080`"))
    };
    Ok(StoreFile { url, name, advertise: advertise.map(read).transpose()? })
}

/// Accepts the name of a host.
fn parse_name(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_part) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not the name of a host: write up to 64 letters, digits, `.`, `-` and `_`"))
}

/// Accepts the address at which other hosts reach this one.
fn parse_advertised(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is not an address: {error}"))?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match (url.scheme(), url.host_str()) {
        ("http", Some(host)) if is_bare && url.password().is_none() => {
            Ok(format!("http://{host}:{}", url.port_or_known_default().unwrap_or(80)))
        }
        ("http", Some(_)) => Err(format!("`{text}` has more than a host and a port")),
        _ => Err(format!("`{text}` does not begin with `http://`: hosts reach one another without TLS")),
    }
}

/// Reads how many ended runs are kept.
fn read_history(value: &Value<'_>) -> Result<Retention, Report> {
    let table = value.table(&HISTORY_KEYS)?;
    let number = |key, range, default| table.get(key).map_or(Ok(default), |value| value.integer_in(range));
    let Retention { days, runs } = Retention::default();
    Ok(Retention { days: number("days", 1..=3_650, days)?, runs: number("runs", 1_000..=100_000_000, runs)? })
}

fn parse_format(text: &str) -> Result<LogFormat, String> {
    <LogFormat as clap::ValueEnum>::from_str(text, false)
        .map_err(|_| format!("`{text}` is not a log format: write `human` or `json`"))
}
