use std::os::unix::fs::PermissionsExt as _;

use crate::zones::zone;
use clap::Parser;
use roost_scheduler::{names::PluginName, rate::Rate, zone::Zone};
use tempfile::TempDir;

use super::{limits::Limits, *};

pub(crate) mod fuzz;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

fn flags(words: &[&str]) -> Flags {
    Command::try_parse_from(["roost"].iter().chain(words)).unwrap_or_else(|error| panic!("{error}")).flags
}

fn folder(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("roost.toml"), text).unwrap();
    folder
}

fn load_from(folder: &TempDir, words: &[&str]) -> Result<Config, Report> {
    load_in(folder.path(), &flags(words), || (zone("Asia/Tokyo"), "the test"))
}

fn config(text: &str, words: &[&str]) -> Config {
    load_from(&folder(text), words).unwrap_or_else(|report| panic!("{report}"))
}

fn error(text: &str, words: &[&str]) -> String {
    let folder = folder(text);
    let report = load_from(&folder, words).err().unwrap_or_else(|| panic!("{text}"));
    report.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn missing_settings_have_defaults() {
    let config = load_from(&tempfile::tempdir().unwrap(), &[]).ok().unwrap();
    assert_eq!((config.plugins.to_str(), config.data.to_str()), (Some("plugins"), Some("data")));
    assert_eq!(config.site, Site { zone: zone("Asia/Tokyo"), location: None });
    assert_eq!((config.zone_from, config.file), ("the test", None));
    assert_eq!(config.log, Log { level: "info".into(), format: LogFormat::Human });
    assert!(config.broker.is_none() && config.rules.grants.is_empty());
}

#[test]
fn flags_take_precedence_over_the_file_key_by_key() {
    let text = "
        time_zone = 'Europe/London'
        latitude = 51.5
        longitude = -1
        [mqtt]
        url = 'mqtt://one'
        user = 'roost'
        password = 'secret'
        [log]
        level = 'debug'
        format = 'json'
    ";
    let file = config(text, &[]);
    assert_eq!(file.site.zone, zone("Europe/London"));
    assert_eq!(file.site.location.unwrap().longitude(), -1.0);
    assert_eq!(file.log, Log { level: "debug".into(), format: LogFormat::Json });
    let words = ["--time-zone=UTC", "--longitude", "-33.8", "--mqtt", "mqtt://two", "--log", "warn,roost::mqtt=trace"];
    let both = config(text, &words);
    assert_eq!(both.site.zone, Zone::UTC);
    assert_eq!(both.site.location.map(|at| (at.latitude(), at.longitude())), Some((51.5, -33.8)));
    assert_eq!(both.log.level, "warn,roost::mqtt=trace");
    let broker = both.broker.unwrap();
    assert_eq!((broker.urls, broker.user.as_deref()), (vec!["mqtt://two".to_owned()], Some("roost")));
}

#[test]
fn paths_in_the_file_are_relative_to_its_folder() {
    let text =
        "plugins = 'p'\ndata = '/var/lib/roost'\n[mqtt]\nurl = 'mqtts://b'\nca_file = 'ca.pem'\npassword_file = 'pw'";
    let folder = folder(text);
    fs::write(folder.path().join("pw"), "pass word\n").unwrap();
    let named = folder.path().join("roost.toml");
    let words = ["--config", named.to_str().unwrap()];
    let elsewhere = tempfile::tempdir().unwrap();
    let config = load_from(&elsewhere, &words).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((config.plugins, config.data), (folder.path().join("p"), "/var/lib/roost".into()));
    let broker = config.broker.unwrap();
    assert_eq!(broker.password.as_deref(), Some("pass word"));
    assert_eq!(broker.ca_file, Some(folder.path().join("ca.pem")));
    assert_eq!(config.file, Some(named));
}

#[test]
fn grants_are_read() {
    let grants =
        config("[grants.coop-door]\npublish = ['home/+/door']\n[grants.quiet]\npublish = []", &[]).rules.grants;
    let of = |name| &grants[&PluginName::parse(name).unwrap()];
    assert_eq!(of("coop-door").publish[0].as_str(), "home/+/door");
    assert_eq!(of("coop-door").subscribe[0].as_str(), "coop-door/#");
    assert!(of("quiet").publish.is_empty());
}

#[test]
fn each_plugin_has_the_default_rate_or_its_own() {
    let text = "[rates]\nburst = 500\n[rates.plugins.sprinkler]\nper_second = 10\n[rates.plugins.api]\nper_second = 3\nburst = 1\n";
    let rates = config(text, &[]).rules.rates;
    let of = |name| rates.for_plugin(&PluginName::parse(name).unwrap());
    assert_eq!(of("coop-door"), Rate { per_second: 1_000, burst: 500 });
    assert_eq!(of("sprinkler"), Rate { per_second: 10, burst: 500 });
    assert_eq!(rates.for_plugin(&PluginName::host()), Rate { per_second: 3, burst: 1 });
    assert_eq!(config("", &[]).rules.rates.for_plugin(&PluginName::host()), Rate { per_second: 1_000, burst: 2_000 });
    for (text, expected) in [
        ("[rates]\nburst = 0", "roost.toml:2:9: `burst` is 0, and must be 1 to 10000000"),
        ("[rates]\nper_minute = 5", "roost.toml:2:1: unknown key `per_minute`"),
        ("[rates.sprinkler]\nburst = 1", "roost.toml:1:8: unknown key `sprinkler`"),
        ("[rates.plugins.Sprinkler]\nburst = 1", "roost.toml:1:1: `Sprinkler` is not a plugin name"),
        ("[rates.plugins.sprinkler]\nbursts = 1", "roost.toml:2:1: unknown key `bursts`\nhint: did you mean `burst`?"),
    ] {
        let error = error(text, &[]);
        assert!(error.starts_with(expected), "{text}:\n{error}");
    }
}

#[test]
fn ceilings_are_read() {
    assert_eq!(config("", &[]).rules.ceilings, Limits::MOST);
    let ceilings = config("[ceilings]\nmemory_mib = 64\njobs = 100", &[]).rules.ceilings;
    assert_eq!(ceilings, Limits { memory_mib: 64, jobs: 100, ..Limits::MOST });
    let error = error("[ceilings]\nmemory = 64", &[]);
    assert!(error.starts_with("roost.toml:2:1: unknown key `memory`"), "{error}");
}

#[test]
fn the_memory_of_all_guests_is_read() {
    assert_eq!(config("", &[]).rules.memory.mib(), 384);
    assert_eq!(config("[guests]\nmemory_mib = 1024", &[]).rules.memory.mib(), 1_024);
    let error = error("[guests]\nmemory_mib = 100", &[]);
    assert!(error.starts_with("roost.toml:2:14: `memory_mib` is 100, and must be 192 to 1048576"), "{error}");
}

#[test]
fn resources_are_read() {
    let text = "[[resource]]\nname = 'pump'\ncapacity = 2\n[[resource]]\nname = 'Well.1'\n";
    let resources = config(text, &[]).rules.resources;
    let listed: Vec<_> = resources.iter().map(|(name, rule)| (name.as_str(), rule.capacity)).collect();
    assert_eq!(listed, [("Well.1", 1), ("pump", 2)]);
    let of_host = resources.values().all(|rule| rule.plugins == [PluginName::host()]);
    assert!(of_host && resources.values().all(|rule| rule.longest_hold_ms == 14_400_000));
    let shared = "[[resource]]\nname = 'pump'\nplugins = ['sprinkler', 'api']\nlongest_hold = '1h30m'";
    let shared = &config(shared, &[]).rules.resources.into_values().next().unwrap();
    assert_eq!(shared.plugins, [PluginName::parse("sprinkler").unwrap(), PluginName::host()]);
    assert_eq!(shared.longest_hold_ms, 5_400_000);
    assert!(config("", &[]).rules.resources.is_empty() && config("resource = []", &[]).rules.resources.is_empty());
}

#[test]
fn an_invalid_resource_is_reported_with_its_place() {
    let how = "\nhint: begin each one with a line `[[resource]]`, and below it `name = \"pump\"`, `capacity = 1` and \
               `plugins = [\"sprinkler\"]`";
    for (text, expected) in [
        ("resource = 1", format!("roost.toml:1:12: `resource` is a whole number, and must be a list{how}")),
        ("[resource]\nname = 'pump'", format!("roost.toml:1:1: `resource` is a table, and must be a list{how}")),
        ("resource = [1, 2]", format!("roost.toml:1:13: `resource` is a whole number, and must be a table{how}")),
        ("[[resource]]\ncapacity = 2", format!("roost.toml:1:1: a resource has no `name`{how}")),
        ("[[resource]]\nnme = 'a'", "roost.toml:2:1: unknown key `nme`\nhint: did you mean `name`?".into()),
        ("[[resource]]\nname = 'a pump'", "roost.toml:2:8: `a pump` is not a resource name: 1 to 64 of".into()),
        (
            "[[resource]]\nname = 'pump'\ncapacity = 0",
            "roost.toml:3:12: `capacity` is 0, and must be 1 to 10000".into(),
        ),
        (
            "[[resource]]\nname = 'pump'\ncapacity = 10001",
            "roost.toml:3:12: `capacity` is 10001, and must be 1 to 10000".into(),
        ),
        (
            "[[resource]]\nname = 'pump'\nplugins = ['Pump']",
            "roost.toml:3:12: `Pump` is not a plugin name: 1 to 63 of".into(),
        ),
        (
            "[[resource]]\nname = 'pump'\nlongest_hold = '4'",
            "roost.toml:3:16: `longest_hold` must be a duration of 1 second to 49 days\nhint: write it such as".into(),
        ),
        (
            "[[resource]]\nname = 'pump'\nlongest_hold = '50d'",
            "roost.toml:3:16: `longest_hold` must be a duration of 1 second to 49 days\nhint: write it such as".into(),
        ),
        (
            "[[resource]]\nname = 'pump'\n[[resource]]\nname = 'pump'",
            "roost.toml:4:8: there are two resources `pump`\nhint: leave one of them out".into(),
        ),
    ] {
        let error = error(text, &[]);
        assert!(error.starts_with(&expected), "{text}:\n{error}");
    }
}

#[test]
fn the_history_settings_are_read() {
    assert_eq!(config("", &[]).history, History { days: 30, runs: 1_000_000 });
    assert_eq!(config("[history]\ndays = 3650", &[]).history, History { days: 3_650, runs: 1_000_000 });
    assert_eq!(config("history = { days = 1, runs = 1_000 }", &[]).history, History { days: 1, runs: 1_000 });
}

#[test]
fn errors_have_their_place_and_a_hint() {
    for (text, expected) in [
        ("\n\ntime_zon = 'UTC'", "roost.toml:3:1: unknown key `time_zon`\nhint: did you mean `time_zone`?"),
        (
            "time_zone = 'Europe/Lodon'",
            "roost.toml:1:13: `Europe/Lodon` is not an IANA time zone; did you mean `Europe/London`?",
        ),
        ("latitude = 100\nlongitude = 1", "roost.toml:1:12: `latitude` is 100: degrees are -90 to 90"),
        ("latitude = 10", "there is a `latitude`, but no `longitude`\nhint: in settings, environment and flags"),
        ("[mqtt]\nurll = 'x'", "roost.toml:2:1: unknown key `urll`\nhint: did you mean `url`?"),
        ("[mqtt]\nuser = 'x'", "`[mqtt]` has a `user`, but no `url` of a broker\nhint: add a line"),
        ("[mqtt]\npassword = 'x'\npassword_file = 'y'", "roost.toml:3:17: there is a `password` and a `password_file`"),
        ("[mqtt]\npassword_file = 'y'", "roost.toml:2:17: the password file `y` cannot be read"),
        ("[log]\nlevel = 'inof'", "roost.toml:2:9: `inof` is not a log level: write `error`"),
        ("[log]\nformat = 'xml'", "roost.toml:2:10: `xml` is not a log format: write `human` or `json`"),
        ("[grants.Coop]\npublish = []", "roost.toml:1:1: `Coop` is not a plugin name: 1 to 63 of"),
        ("[grants]\npublish = []", "roost.toml:2:11: `publish` is a list, and must be a table\nhint: "),
        ("[grants.coop]\npublsh = []", "roost.toml:2:1: unknown key `publsh`\nhint: did you mean `publish`?"),
        ("[history]\ndays = 0", "roost.toml:2:8: `days` is 0, and must be 1 to 3650"),
        ("[history]\nruns = 999", "roost.toml:2:8: `runs` is 999, and must be 1000 to 100000000"),
        ("[history]\nday = 1", "roost.toml:2:1: unknown key `day`\nhint: did you mean `days`?"),
        ("= 1", "roost.toml:1:1: "),
    ] {
        let error = error(text, &[]);
        assert!(error.starts_with(expected), "{text}:\n{error}");
    }
    let missing = error("", &["--config", "/nowhere/roost.toml"]);
    assert!(
        missing.starts_with("the settings `/nowhere/roost.toml` cannot be read\n  caused by: No such file"),
        "{missing}"
    );
}

#[test]
fn bad_flags_are_refused() {
    for (words, expected) in [
        (["--time-zone", "Europe/Lodon"], "`Europe/Lodon` is not an IANA time zone; did you mean `Europe/London`?"),
        (["--latitude", "north"], "it is not a number of degrees, such as `51.5`"),
        (["--latitude", "90.1"], "degrees are -90 to 90"),
        (["--log", "loud"], "`loud` is not a log level"),
        (["--log-format", "xml"], "human, json"),
    ] {
        let error = Command::try_parse_from(["roost", words[0], words[1]]).err().unwrap().to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    }
}

#[test]
fn the_api_listens_where_configured_and_on_loopback_by_default() {
    let listen = |text, words: &[&str]| {
        let http = config(text, words).http;
        (http.listen, http.is_configured)
    };
    let at = |text: &str| Listen::At(text.parse().unwrap());
    assert_eq!(listen("", &[]), (at("127.0.0.1:8080"), false));
    assert_eq!(listen("[http]\nlisten = '[::1]:80'", &[]), (at("[::1]:80"), true));
    assert_eq!(listen("[http]\nlisten = '[::1]:80'", &["--http", "off"]), (Listen::Off, true));
    let hosts = config("[http]\nhosts = ['Roost.LAN', '192.168.1.5', '[FD00::1]']", &[]).http.hosts;
    assert_eq!(hosts, ["roost.lan", "192.168.1.5", "[fd00::1]"]);
    let message = error("", &["--http", "192.0.2.1:80"]);
    assert!(
        message.starts_with("`192.0.2.1:80` can be reached from other machines, and there is no token"),
        "{message}"
    );
    let folder = folder("[http]\nlisten = '0.0.0.0:80'\ntoken_file = 'token'");
    fs::write(folder.path().join("token"), "0123456789abcdef\n").unwrap();
    let http = load_from(&folder, &[]).ok().unwrap().http;
    assert_eq!((http.listen, http.token.as_deref()), (at("0.0.0.0:80"), Some("0123456789abcdef")));
    fs::write(folder.path().join("token"), "0".repeat(70_000)).unwrap();
    let message = load_from(&folder, &[]).err().unwrap().to_string();
    assert!(message.contains("it has 70000 bytes, more than the 65536 allowed"), "{message}");
    fs::remove_file(folder.path().join("token")).unwrap();
    fs::create_dir(folder.path().join("token")).unwrap();
    let message = load_from(&folder, &[]).err().unwrap().to_string();
    assert!(message.contains("caused by: it is not a file"), "{message}");
    fs::remove_dir(folder.path().join("token")).unwrap();
    fs::write(folder.path().join("token"), "short\n").unwrap();
    let message = load_from(&folder, &[]).err().unwrap().to_string();
    assert!(message.contains("the token must have 16 or more"), "{message}");
    let message = error("[http]\nlisten = 'here'", &[]);
    assert!(message.starts_with("roost.toml:2:10: `here` is not an address with a port"), "{message}");
    let message = error("[http]\nhosts = ['http://a']", &[]);
    assert!(message.starts_with("roost.toml:2:10: `http://a` is not a host"), "{message}");
}

#[test]
fn a_broker_has_one_address_or_several_and_a_certificate_with_its_key() {
    let urls = |text: &str, words: &[&str]| config(text, words).broker.unwrap().urls;
    assert_eq!(urls("[mqtt]\nurl = 'mqtt://one'", &[]), ["mqtt://one"]);
    assert_eq!(urls("[mqtt]\nurl = ['mqtt://one', 'mqtts://two']", &[]), ["mqtt://one", "mqtts://two"]);
    let flag = ["--mqtt", "mqtt://ada:pass,word@one,mqtts://two"];
    assert_eq!(urls("[mqtt]\nurl = 'mqtt://three'", &flag), ["mqtt://ada:pass,word@one", "mqtts://two"]);
    let mqtt = |lines: &str| format!("[mqtt]\nurl = 'mqtts://one'\n{lines}");
    let identity = config(&mqtt("cert_file = 'roost.pem'\nkey_file = '/etc/roost.key'"), &[]).broker.unwrap().identity;
    let (certificate, key) = identity.unwrap();
    assert!(certificate.ends_with("roost.pem") && key == std::path::Path::new("/etc/roost.key"));
    let topic = |text: &str| config(text, &[]).status_topic.map(|topic| topic.to_string());
    assert_eq!(topic("").as_deref(), Some("roost/status"));
    assert_eq!(topic("[mqtt]\nstatus_topic = 'home/roost'").as_deref(), Some("home/roost"));
    assert_eq!(topic("[mqtt]\nstatus_topic = 'off'"), None);
    for (text, expected) in [
        (mqtt("cert_file = 'a'"), "but no `key_file`\nhint: add `key_file`"),
        (mqtt("key_file = 'a'"), "but no `cert_file`\nhint: add `cert_file`"),
        ("[mqtt]\nurl = []".to_owned(), "roost.toml:2:7: `url` is an empty list\nhint: write an address"),
        ("[mqtt]\nurl = 3".to_owned(), "must be a list\nhint: write an address"),
        (mqtt("status_topic = 'home/#'"), "hint: write a topic such as `roost/status`, or `off`"),
        ("[mqtt]\ncert_file = 'a'\nkey_file = 'b'".to_owned(), "`[mqtt]` has a `cert_file`, but no `url` of a broker"),
    ] {
        let error = error(&text, &[]);
        assert!(error.contains(expected), "{text}:\n{error}");
    }
}

#[test]
fn a_plugin_folder_that_every_user_can_write_to_is_reported() {
    let folder = folder("");
    let plugins = folder.path().join("plugins");
    let warnings = || {
        let config =
            load_from(&folder, &["--plugins", plugins.to_str().unwrap()]).unwrap_or_else(|error| panic!("{error}"));
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0], "it is not there yet");
    fs::create_dir(&plugins).unwrap();
    for (mode, count) in [(0o755, 0), (0o775, 0), (0o777, 1), (0o1777, 1)] {
        fs::set_permissions(&plugins, fs::Permissions::from_mode(mode)).unwrap();
        let found = warnings();
        assert_eq!(found.len(), count, "{mode:o}: {found:?}");
        assert!(found.iter().all(|report| report.starts_with("every user of this machine can put plugins into `")));
    }
}

#[test]
fn a_secret_that_others_can_use_is_reported() {
    let folder = folder("[http]\ntoken_file = 'token'\n[mqtt]\nurl = 'mqtt://b'\npassword_file = 'password'");
    let set = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let warnings =
        || load_from(&folder, &[]).map(|config| config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>());
    for name in ["token", "password"] {
        fs::write(folder.path().join(name), "0123456789abcdef\n").unwrap();
        set(name, 0o640);
    }
    assert_eq!(warnings().unwrap(), [""; 0]);
    // A user that can change the settings need not know a secret.
    set("roost.toml", 0o666);
    let found = warnings().unwrap();
    assert!(found[0].starts_with("every user of this machine can change the settings `"), "{found:?}");
    assert!(found[0].contains("hint: `chmod 600 ") && found.len() == 1, "{found:?}");
    set("roost.toml", 0o664);
    set("token", 0o644);
    let found = warnings().unwrap();
    assert!(found[0].starts_with("every user of this machine can read the token file `"), "{found:?}");
    assert!(found[0].contains("hint: `chmod 600 ") && found.len() == 1, "{found:?}");
    set("password", 0o660);
    let found = warnings().unwrap();
    assert!(found[1].starts_with("other users can change the password file `"), "{found:?}");
    set("password", 0o666);
    // The key of a certificate is a secret, too.
    let with_key = super::tests::folder("[mqtt]\nurl = 'mqtts://b'\ncert_file = 'cert'\nkey_file = 'key'");
    fs::write(with_key.path().join("key"), "").unwrap();
    fs::set_permissions(with_key.path().join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = load_from(&with_key, &[]).ok().unwrap().warnings;
    assert!(found[0].to_string().starts_with("every user of this machine can read the key file `"), "{found:?}");
    let error = warnings().unwrap_err().to_string();
    assert!(error.contains("roost.toml:5:17: every user of this machine can change the password file `"), "{error}");
    assert!(error.contains("hint: `chmod 600 "), "{error}");
}

#[test]
fn a_password_in_settings_that_others_can_read_is_reported() {
    let folder = folder("[mqtt]\nurl = 'mqtt://b'\npassword = 'secret'");
    let warnings = |mode| {
        fs::set_permissions(folder.path().join("roost.toml"), fs::Permissions::from_mode(mode)).unwrap();
        load_from(&folder, &[]).ok().unwrap().warnings
    };
    assert_eq!(warnings(0o640), []);
    let message = warnings(0o644)[0].to_string();
    assert!(message.contains("has a password in it") && !message.contains("secret"), "{message}");
    let in_url = |text: &str| {
        let folder = super::tests::folder(text);
        fs::set_permissions(folder.path().join("roost.toml"), fs::Permissions::from_mode(0o644)).unwrap();
        load_from(&folder, &[]).ok().unwrap().warnings.len()
    };
    assert_eq!(in_url("[mqtt]\nurl = 'mqtt://ada:secret@b'"), 1);
    assert_eq!(in_url("[mqtt]\nurl = 'mqtt://ada@b:1883'"), 0);
}
