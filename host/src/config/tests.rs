#![allow(clippy::too_many_lines, reason = "snapshots are in their tests")]

use std::os::unix::fs::PermissionsExt as _;

use clap::Parser;
use expect_test::expect;
use roost_scheduler::{names::PluginName, rate::Rate, zone::Zone};
use roost_tests::redact;
use tempfile::TempDir;

use super::{call_limits::CallLimits, *};
use crate::{calendars::Source, store, zones::zone};

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

/// Returns settings files that are refused, each with its error.
fn faults(texts: &[&str]) -> String {
    let shown = |text: &&str| format!("| {}\n{}\n", text.replace('\n', "\n| "), error(text, &[]));
    texts.iter().map(shown).collect::<Vec<_>>().join("\n")
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
}

#[test]
fn ceilings_are_read() {
    assert_eq!(config("", &[]).rules.ceilings, CallLimits::MOST);
    let ceilings = config("[ceilings]\nmemory_mib = 64\njobs = 100", &[]).rules.ceilings;
    assert_eq!(ceilings, CallLimits { memory_mib: 64, jobs: 100, ..CallLimits::MOST });
}

#[test]
fn the_memory_of_all_guests_is_read() {
    let guests = config("", &[]).rules.guests;
    assert_eq!((guests.memory_mib, guests.compile_cpu_s), (384, 60));
    let guests = config("[guests]\nmemory_mib = 1024\ncompile_cpu_s = 300", &[]).rules.guests;
    assert_eq!((guests.memory_mib, guests.compile_cpu_s), (1_024, 300));
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
fn a_host_is_known_by_a_name_and_an_address() {
    let url = "[store]\nurl = 'postgres://roost@db.example/roost'\n";
    let both = config(&format!("{url}name = 'attic'\nadvertise = 'http://10.0.0.5'"), &[]);
    assert_eq!((both.name.as_str(), both.advertise.as_deref()), ("attic", Some("http://10.0.0.5:80")));
    let neither = config(url, &[]);
    assert_eq!((neither.name, neither.advertise), (store::machine_name(), None));
    expect![[r#"
        | store = { url = 'postgres://roost@db.example/roost', advertise = '10.0.0.5:8080' }
        roost.toml:1:66: `10.0.0.5:8080` is not an address: relative URL without a base
        hint: write an address such as `http://10.0.0.5:8080`

        | store = { url = 'postgres://roost@db.example/roost', advertise = 'https://attic.example' }
        roost.toml:1:66: `https://attic.example` does not begin with `http://`: hosts reach one another without TLS
        hint: write an address such as `http://10.0.0.5:8080`

        | store = { url = 'postgres://roost@db.example/roost', advertise = 'http://attic:8080/roost' }
        roost.toml:1:66: `http://attic:8080/roost` has more than a host and a port
        hint: write an address such as `http://10.0.0.5:8080`

        | store = { name = 'the attic' }
        roost.toml:1:18: `the attic` is not the name of a host: write up to 64 letters, digits, `.`, `-` and `_`

        | store = { advertise = 'http://10.0.0.5:8080' }
        roost.toml:1:23: `[store]` has an `advertise`, but no `url` of a database
        hint: leave it out: a host with a database of its own has no other hosts
    "#]]
    .assert_eq(&faults(&[
        "store = { url = 'postgres://roost@db.example/roost', advertise = '10.0.0.5:8080' }",
        "store = { url = 'postgres://roost@db.example/roost', advertise = 'https://attic.example' }",
        "store = { url = 'postgres://roost@db.example/roost', advertise = 'http://attic:8080/roost' }",
        "store = { name = 'the attic' }",
        "store = { advertise = 'http://10.0.0.5:8080' }",
    ]));
}

#[test]
fn the_history_settings_are_read() {
    assert_eq!(config("", &[]).history, Retention { days: 30, runs: 1_000_000 });
    assert_eq!(config("[history]\ndays = 3650", &[]).history, Retention { days: 3_650, runs: 1_000_000 });
    assert_eq!(config("history = { days = 1, runs = 1_000 }", &[]).history, Retention { days: 1, runs: 1_000 });
}

#[test]
fn a_fault_in_the_settings_is_reported_with_its_place_and_a_hint() {
    expect![[r#"
        | 
        | 
        | time_zon = 'UTC'
        roost.toml:3:1: unknown key `time_zon`
        hint: did you mean `time_zone`?

        | time_zone = 'Europe/Lodon'
        roost.toml:1:13: `Europe/Lodon` is not an IANA time zone; did you mean `Europe/London`?

        | latitude = 100
        | longitude = 1
        roost.toml:1:12: `latitude` is 100: degrees are -90 to 90

        | latitude = 10
        there is a `latitude`, but no `longitude`
        hint: in settings, environment and flags together: give both, in degrees, north and east positive, or neither

        | [log]
        | level = 'inof'
        roost.toml:2:9: `inof` is not a log level: write `error`, `warn`, `info`, `debug` or `trace`, or `info,roost::mqtt=debug`

        | [log]
        | format = 'xml'
        roost.toml:2:10: `xml` is not a log format: write `human` or `json`

        | [grants.Coop]
        | publish = []
        roost.toml:1:1: `Coop` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: grants are given to plugins, each below a line `[grants.<plugin>]`

        | [grants]
        | publish = []
        roost.toml:2:11: `publish` is a list, and must be a table
        hint: grants are given to plugins, each below a line `[grants.<plugin>]`

        | [grants.coop]
        | publsh = []
        roost.toml:2:1: unknown key `publsh`
        hint: did you mean `publish`?

        | [grants.coop]
        | publish = ['coop/#', 'roost/set/#']
        roost.toml:2:22: no job may publish to `roost/set/#`: what is at or below `roost` is the host's own
        hint: use another topic; or, if devices have topics below `roost`, give the host one of its own: put such a line into `roost.toml`, and start Roost again:
          [mqtt]
          topic = "roost/host"

        | [mqtt]
        | topic = 'coop'
        | [grants.coop]
        | publish = ['roost/#', 'coop/#']
        roost.toml:4:23: no job may publish to `coop/#`: what is at or below `coop` is the host's own
        hint: use another topic; or, if devices have topics below `coop`, give the host one of its own: put such a line into `roost.toml`, and start Roost again:
          [mqtt]
          topic = "coop/host"

        | [history]
        | days = 0
        roost.toml:2:8: `days` is 0, and must be 1 to 3650

        | [history]
        | runs = 999
        roost.toml:2:8: `runs` is 999, and must be 1000 to 100000000

        | [history]
        | day = 1
        roost.toml:2:1: unknown key `day`
        hint: did you mean `days`?

        | [ceilings]
        | memory = 64
        roost.toml:2:1: unknown key `memory`
        hint: known here: `memory_mib`, `cpu_ms`, `wall_ms`, `jobs`, `lift_mib`

        | [guests]
        | memory_mib = 100
        roost.toml:2:14: `memory_mib` is 100, and must be 192 to 1048576

        | = 1
        roost.toml:1:1: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`
    "#]].assert_eq(&faults(&[
        "\n\ntime_zon = 'UTC'",
        "time_zone = 'Europe/Lodon'",
        "latitude = 100\nlongitude = 1",
        "latitude = 10",
        "[log]\nlevel = 'inof'",
        "[log]\nformat = 'xml'",
        "[grants.Coop]\npublish = []",
        "[grants]\npublish = []",
        "[grants.coop]\npublsh = []",
        "[grants.coop]\npublish = ['coop/#', 'roost/set/#']",
        "[mqtt]\ntopic = 'coop'\n[grants.coop]\npublish = ['roost/#', 'coop/#']",
        "[history]\ndays = 0",
        "[history]\nruns = 999",
        "[history]\nday = 1",
        "[ceilings]\nmemory = 64",
        "[guests]\nmemory_mib = 100",
        "= 1",
    ]));
    let missing = error("", &["--config", "/nowhere/roost.toml"]);
    expect![[r#"
        the settings `/nowhere/roost.toml` cannot be read
          caused by: No such file or directory (os error 2)
        hint: name a file that exists with `--config FILE`, or leave it out"#]]
    .assert_eq(&missing);
}

#[test]
fn a_fault_in_a_resource_or_a_rate_is_reported_with_its_place_and_a_hint() {
    expect![[r#"
        | resource = 1
        roost.toml:1:12: `resource` is a whole number, and must be a list
        hint: begin each one with a line `[[resource]]`, and below it `name = "pump"`, `capacity = 1` and `plugins = ["sprinkler"]`

        | [resource]
        | name = 'pump'
        roost.toml:1:1: `resource` is a table, and must be a list
        hint: begin each one with a line `[[resource]]`, and below it `name = "pump"`, `capacity = 1` and `plugins = ["sprinkler"]`

        | resource = [1, 2]
        roost.toml:1:13: `resource` is a whole number, and must be a table
        hint: begin each one with a line `[[resource]]`, and below it `name = "pump"`, `capacity = 1` and `plugins = ["sprinkler"]`

        | [[resource]]
        | capacity = 2
        roost.toml:1:1: a resource has no `name`
        hint: begin each one with a line `[[resource]]`, and below it `name = "pump"`, `capacity = 1` and `plugins = ["sprinkler"]`

        | [[resource]]
        | nme = 'a'
        roost.toml:2:1: unknown key `nme`
        hint: did you mean `name`?

        | [[resource]]
        | name = 'a pump'
        roost.toml:2:8: `a pump` is not a resource name: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit

        | [[resource]]
        | name = 'pump'
        | capacity = 0
        roost.toml:3:12: `capacity` is 0, and must be 1 to 10000

        | [[resource]]
        | name = 'pump'
        | capacity = 10001
        roost.toml:3:12: `capacity` is 10001, and must be 1 to 10000

        | [[resource]]
        | name = 'pump'
        | plugins = ['Pump']
        roost.toml:3:12: `Pump` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`

        | [[resource]]
        | name = 'pump'
        | longest_hold = '4'
        roost.toml:3:16: `longest_hold` must be a duration of 1 second to 49 days
        hint: write it such as `longest_hold = "4h"` or `longest_hold = "1h30m"`

        | [[resource]]
        | name = 'pump'
        | longest_hold = '50d'
        roost.toml:3:16: `longest_hold` must be a duration of 1 second to 49 days
        hint: write it such as `longest_hold = "4h"` or `longest_hold = "1h30m"`

        | [[resource]]
        | name = 'pump'
        | [[resource]]
        | name = 'pump'
        roost.toml:4:8: there are two resources `pump`
        hint: leave one of them out

        | [rates]
        | burst = 0
        roost.toml:2:9: `burst` is 0, and must be 1 to 10000000

        | [rates]
        | per_minute = 5
        roost.toml:2:1: unknown key `per_minute`
        hint: known here: `per_second`, `burst`, `plugins`

        | [rates.sprinkler]
        | burst = 1
        roost.toml:1:8: unknown key `sprinkler`
        hint: known here: `per_second`, `burst`, `plugins`

        | [rates.plugins.Sprinkler]
        | burst = 1
        roost.toml:1:1: `Sprinkler` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: a plugin's own rate stands below a line `[rates.plugins.<plugin>]`

        | [rates.plugins.sprinkler]
        | bursts = 1
        roost.toml:2:1: unknown key `bursts`
        hint: did you mean `burst`?
    "#]].assert_eq(&faults(&[
        "resource = 1",
        "[resource]\nname = 'pump'",
        "resource = [1, 2]",
        "[[resource]]\ncapacity = 2",
        "[[resource]]\nnme = 'a'",
        "[[resource]]\nname = 'a pump'",
        "[[resource]]\nname = 'pump'\ncapacity = 0",
        "[[resource]]\nname = 'pump'\ncapacity = 10001",
        "[[resource]]\nname = 'pump'\nplugins = ['Pump']",
        "[[resource]]\nname = 'pump'\nlongest_hold = '4'",
        "[[resource]]\nname = 'pump'\nlongest_hold = '50d'",
        "[[resource]]\nname = 'pump'\n[[resource]]\nname = 'pump'",
        "[rates]\nburst = 0",
        "[rates]\nper_minute = 5",
        "[rates.sprinkler]\nburst = 1",
        "[rates.plugins.Sprinkler]\nburst = 1",
        "[rates.plugins.sprinkler]\nbursts = 1",
    ]));
}

#[test]
fn a_fault_in_the_brokers_or_the_apis_settings_is_reported_with_its_place_and_a_hint() {
    expect![[r#"
        | [mqtt]
        | urll = 'x'
        roost.toml:2:1: unknown key `urll`
        hint: did you mean `url`?

        | [mqtt]
        | user = 'x'
        `[mqtt]` has a `user`, but no `url` of a broker
        hint: add a line such as `url = "mqtt://127.0.0.1:1883"`; without `[mqtt]` the built-in broker is used

        | [mqtt]
        | password = 'x'
        | password_file = 'y'
        roost.toml:3:17: there is a `password` and a `password_file`
        hint: leave one of them out

        | [mqtt]
        | password_file = 'y'
        roost.toml:2:17: the password file `y` cannot be read
          caused by: No such file or directory (os error 2)
        hint: it must be a file of one line, and the user that runs Roost must be able to read it

        | [mqtt]
        | url = []
        roost.toml:2:7: `url` is an empty list
        hint: write an address, or several of one broker or of brokers that are joined: `["mqtt://one", "mqtt://two"]`

        | [mqtt]
        | url = 3
        roost.toml:2:7: `url` is neither a text in quotes nor a list of such texts
        hint: write an address, or several of one broker or of brokers that are joined: `["mqtt://one", "mqtt://two"]`

        | [mqtt]
        | url = 'mqtts://one'
        | cert_file = 'a'
        roost.toml:1:1: `[mqtt]` has a `cert_file`, but no `key_file`
        hint: add `key_file`, the private key that belongs to the certificate; where both are in one file, name it twice

        | [mqtt]
        | url = 'mqtts://one'
        | key_file = 'a'
        roost.toml:1:1: `[mqtt]` has a `key_file`, but no `cert_file`
        hint: add `cert_file`, the certificate that Roost shows to the broker; where both are in one file, name it twice

        | [mqtt]
        | cert_file = 'a'
        | key_file = 'b'
        `[mqtt]` has a `cert_file`, but no `url` of a broker
        hint: add a line such as `url = "mqtt://127.0.0.1:1883"`; without `[mqtt]` the built-in broker is used

        | [mqtt]
        | url = 'mqtts://one'
        | status_topic = 'home/#'
        roost.toml:3:16: `home/#` is not a topic: a message goes to one topic, so `+` and `#` cannot be in it
        hint: write a topic such as `roost/status`, or `off`

        | [mqtt]
        | topic = 'home/+'
        roost.toml:2:9: `home/+` is not a topic: a message goes to one topic, so `+` and `#` cannot be in it
        hint: write a topic such as `roost` or `house/roost`, another one for each host

        | [mqtt]
        | topic = 'home/'
        roost.toml:2:9: `home/` is not a topic for the host's own messages: it must not end with `/`, because one follows it
        hint: write a topic such as `roost` or `house/roost`, another one for each host

        | [mqtt]
        | topic = '/home'
        roost.toml:2:9: `/home` is not a topic for the host's own messages: no level of it may be empty
        hint: write a topic such as `roost` or `house/roost`, another one for each host

        | [mqtt]
        | topic = 'home//roost'
        roost.toml:2:9: `home//roost` is not a topic for the host's own messages: no level of it may be empty
        hint: write a topic such as `roost` or `house/roost`, another one for each host

        | [mqtt]
        | topic = 'homeassistant/roost'
        | [home_assistant]
        roost.toml:3:1: `homeassistant/roost`, the host's own topic, is below the discovery prefix `homeassistant`
        hint: `discovery_prefix` must be that of Home Assistant's MQTT integration; `topic` in `[mqtt]` can be any other one, such as `house/roost`

        | [mqtt]
        | topic = 'ha'
        | [home_assistant]
        | discovery_prefix = 'ha'
        roost.toml:4:20: the discovery prefix `ha` is at or below `ha`, the host's own topic
        hint: `discovery_prefix` must be that of Home Assistant's MQTT integration; `topic` in `[mqtt]` can be any other one, such as `house/roost`

        | [mqtt]
        | topic = 'a234567890123456789012345678901234567890123456789012345678901234x'
        roost.toml:2:9: `a234567890123456789012345678901234567890123456789012345678901234x` is not a topic for the host's own messages: it may have 64 bytes, because names follow it
        hint: write a topic such as `roost` or `house/roost`, another one for each host

        | [mqtt]
        | topic = 3
        roost.toml:2:9: `topic` is a whole number, and must be a text in quotes
        hint: write a topic such as `roost` or `house/roost`, another one for each host

        | [http]
        | listen = 'here'
        roost.toml:2:10: `here` is not an address with a port: write it like `127.0.0.1:8080`, or `off`

        | [http]
        | hosts = ['http://a']
        roost.toml:2:10: `http://a` is not a host: write it without a port, such as `roost.lan` or `[fd00::1]`
    "#]]
    .assert_eq(&faults(&[
        "[mqtt]\nurll = 'x'",
        "[mqtt]\nuser = 'x'",
        "[mqtt]\npassword = 'x'\npassword_file = 'y'",
        "[mqtt]\npassword_file = 'y'",
        "[mqtt]\nurl = []",
        "[mqtt]\nurl = 3",
        "[mqtt]\nurl = 'mqtts://one'\ncert_file = 'a'",
        "[mqtt]\nurl = 'mqtts://one'\nkey_file = 'a'",
        "[mqtt]\ncert_file = 'a'\nkey_file = 'b'",
        "[mqtt]\nurl = 'mqtts://one'\nstatus_topic = 'home/#'",
        "[mqtt]\ntopic = 'home/+'",
        "[mqtt]\ntopic = 'home/'",
        "[mqtt]\ntopic = '/home'",
        "[mqtt]\ntopic = 'home//roost'",
        "[mqtt]\ntopic = 'homeassistant/roost'\n[home_assistant]",
        "[mqtt]\ntopic = 'ha'\n[home_assistant]\ndiscovery_prefix = 'ha'",
        "[mqtt]\ntopic = 'a234567890123456789012345678901234567890123456789012345678901234x'",
        "[mqtt]\ntopic = 3",
        "[http]\nlisten = 'here'",
        "[http]\nhosts = ['http://a']",
    ]));
    expect![[r#"
        `192.0.2.1:80` can be reached from other machines, and there is no token
          caused by: a client that reaches the HTTP API can do everything with Roost
        hint: name a file with a secret by `token_file` below `[http]` in `roost.toml`, or listen on `127.0.0.1`"#]]
    .assert_eq(&error("", &["--http", "192.0.2.1:80"]));
}

#[test]
fn bad_flags_are_refused() {
    let refused = [
        ["--time-zone", "Europe/Lodon"],
        ["--latitude", "north"],
        ["--latitude", "90.1"],
        ["--log", "loud"],
        ["--log-format", "xml"],
    ]
    .map(|words| Command::try_parse_from([&["roost"], &words[..]].concat()).err().unwrap().to_string());
    expect![[r#"
        error: invalid value 'Europe/Lodon' for '--time-zone <TZ>': `Europe/Lodon` is not an IANA time zone; did you mean `Europe/London`?

        For more information, try '--help'.

        error: invalid value 'north' for '--latitude <N>': it is not a number of degrees, such as `51.5`

        For more information, try '--help'.

        error: invalid value '90.1' for '--latitude <N>': degrees are -90 to 90

        For more information, try '--help'.

        error: invalid value 'loud' for '--log <LEVEL>': `loud` is not a log level: write `error`, `warn`, `info`, `debug` or `trace`, or `info,roost::mqtt=debug`

        For more information, try '--help'.

        error: invalid value 'xml' for '--log-format <FORMAT>'
          [possible values: human, json]

        For more information, try '--help'.
    "#]].assert_eq(&refused.join("\n"));
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
    let folder = folder("[http]\nlisten = '0.0.0.0:80'\ntoken_file = 'token'");
    fs::write(folder.path().join("token"), "0123456789abcdef\n").unwrap();
    let http = load_from(&folder, &[]).ok().unwrap().http;
    assert_eq!((http.listen, http.token.as_deref()), (at("0.0.0.0:80"), Some("0123456789abcdef")));
}

#[test]
fn a_token_file_that_cannot_be_used_is_reported() {
    let folder = folder("[http]\nlisten = '0.0.0.0:80'\ntoken_file = 'token'");
    let token = folder.path().join("token");
    let refused = || redact(&load_from(&folder, &[]).err().unwrap().to_string());
    let missing = refused();
    fs::create_dir(&token).unwrap();
    let a_folder = refused();
    fs::remove_dir(&token).unwrap();
    let [long, short] = ["0".repeat(70_000), "short\n".into()].map(|text| {
        fs::write(&token, text).unwrap();
        refused()
    });
    expect![[r#"
        [FOLDER]/roost.toml:3:14: the token file `[FOLDER]/token` cannot be read
          caused by: No such file or directory (os error 2)
        hint: it must be a file of one line, and the user that runs Roost must be able to read it
        [FOLDER]/roost.toml:3:14: the token file `[FOLDER]/token` cannot be read
          caused by: it is not a file
        hint: it must be a file of one line, and the user that runs Roost must be able to read it
        [FOLDER]/roost.toml:3:14: the token file `[FOLDER]/token` cannot be read
          caused by: it has 70000 bytes, more than the 65536 allowed
        hint: it must be a file of one line, and the user that runs Roost must be able to read it
        [FOLDER]/roost.toml:3:14: the token must have 16 or more letters, digits and signs, and nothing else
        hint: `(umask 077; openssl rand -hex 32 > FILE)` makes one"#]]
    .assert_eq(&[missing, a_folder, long, short].join("\n"));
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
    let own = |text: &str| config(text, &[]).rules.host_topic.to_string();
    assert_eq!((own(""), own("[mqtt]\ntopic = 'barn/roost'")), ("roost".into(), "barn/roost".into()));
    assert_eq!(topic("[mqtt]\ntopic = 'barn/roost'").as_deref(), Some("barn/roost/status"));
    assert_eq!(topic("[mqtt]\ntopic = 'barn'\nstatus_topic = 'roost/status'").as_deref(), Some("roost/status"));
    assert_eq!(topic("[mqtt]\ntopic = 'barn'\nstatus_topic = 'off'"), None);
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
    }
    expect![[r#"
        every user of this machine can put plugins into `[FOLDER]/plugins`
          caused by: the settings beside a plugin determine what it may publish, unless `[grants]` in `roost.toml` does
        hint: `chmod o-w [FOLDER]/plugins`, as the user that the folder belongs to"#]]
    .assert_eq(&redact(&warnings().concat()));
}

#[test]
fn a_secret_that_others_can_use_is_reported() {
    let folder = folder("[http]\ntoken_file = 'token'\n[mqtt]\nurl = 'mqtt://b'\npassword_file = 'password'");
    let set = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let warnings = || {
        let found = load_from(&folder, &[])?.warnings;
        Ok::<_, Report>(redact(&found.iter().map(|report| format!("{report}\n")).collect::<String>()))
    };
    for name in ["token", "password"] {
        fs::write(folder.path().join(name), "0123456789abcdef\n").unwrap();
        set(name, 0o640);
    }
    assert_eq!(warnings().unwrap(), "");
    // A user that can change the settings need not know a secret.
    set("roost.toml", 0o666);
    expect![[r#"
        every user of this machine can change the settings `[FOLDER]/roost.toml`
          caused by: they determine what plugins may publish, and to which broker Roost connects
        hint: `chmod 600 [FOLDER]/roost.toml`, as the user that runs Roost
    "#]]
    .assert_eq(&warnings().unwrap());
    set("roost.toml", 0o664);
    set("token", 0o644);
    set("password", 0o660);
    expect![[r#"
        every user of this machine can read the token file `[FOLDER]/token`
        hint: `chmod 600 [FOLDER]/token`, as the user that runs Roost
        other users can change the password file `[FOLDER]/password`
        hint: `chmod 600 [FOLDER]/password`, as the user that runs Roost
    "#]]
    .assert_eq(&warnings().unwrap());
    set("password", 0o666);
    expect![[r#"
        [FOLDER]/roost.toml:5:17: every user of this machine can change the password file `[FOLDER]/password`
          caused by: a user that can set the password lets in any other
        hint: `chmod 600 [FOLDER]/password`, as the user that runs Roost"#]]
    .assert_eq(&redact(&warnings().unwrap_err().to_string()));
    // The key of a certificate is a secret, too.
    let with_key = super::tests::folder("[mqtt]\nurl = 'mqtts://b'\ncert_file = 'cert'\nkey_file = 'key'");
    fs::write(with_key.path().join("key"), "").unwrap();
    fs::set_permissions(with_key.path().join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = load_from(&with_key, &[]).ok().unwrap().warnings;
    expect![[r#"
        every user of this machine can read the key file `[FOLDER]/key`
        hint: `chmod 600 [FOLDER]/key`, as the user that runs Roost"#]]
    .assert_eq(&redact(&found[0].to_string()));
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
    expect![[r#"
        `[FOLDER]/roost.toml` has a password in it, and other users can read or change it
        hint: `chmod 600 [FOLDER]/roost.toml`, or name a file with the password by `password_file`"#]]
    .assert_eq(&redact(&message));
    let in_url = |text: &str| {
        let folder = super::tests::folder(text);
        fs::set_permissions(folder.path().join("roost.toml"), fs::Permissions::from_mode(0o644)).unwrap();
        load_from(&folder, &[]).ok().unwrap().warnings.len()
    };
    assert_eq!(in_url("[mqtt]\nurl = 'mqtt://ada:secret@b'"), 1);
    assert_eq!(in_url("[mqtt]\nurl = 'mqtt://ada@b:1883'"), 0);
}

#[test]
fn calendars_are_read_from_the_settings() {
    let text = "[[calendar]]\nname = 'holidays'\nfile = 'holidays.ics'\n[[calendar]]\nname = 'closed'\n\
                dates = ['2026-12-25', '2027-03-26..2027-03-29']";
    let folder = folder(text);
    let calendars = load_from(&folder, &[]).ok().unwrap().rules.calendars;
    let [(closed, Source::Dates(dates)), (holidays, Source::File(file))] =
        <[_; 2]>::try_from(calendars.into_iter().collect::<Vec<_>>()).unwrap()
    else {
        panic!("dates and a file");
    };
    assert_eq!((closed.as_str(), dates.count()), ("closed", 5));
    assert_eq!((holidays.as_str(), file), ("holidays", folder.path().join("holidays.ics")));
    let many =
        |count: usize| (0..count).map(|n| format!("[[calendar]]\nname = 'c{n}'\ndates = []\n")).collect::<String>();
    assert_eq!(config(&many(100), &[]).rules.calendars.len(), 100);
    assert!(error(&many(101), &[]).ends_with("there are 101 calendars, and there may be 100"));
    let dates = format!("[[calendar]]\nname = 'c'\ndates = [{}]", "'2026-12-25',".repeat(4_001));
    assert!(error(&dates, &[]).ends_with("there are 4,001 dates, and there may be 4,000"));
}

#[test]
fn a_fault_in_a_calendar_is_reported_with_its_place_and_a_hint() {
    let calendar = |lines: &str| format!("[[calendar]]\nname = 'c'\n{lines}");
    let texts = [
        "[calendar]\nname = 'c'".to_owned(),
        "calendar = ['holidays']".into(),
        "[[calendar]]\nfile = 'c.ics'".into(),
        "[[calendar]]\nname = 'may'\nfile = 'c.ics'".into(),
        calendar(""),
        calendar("fil = 'c.ics'"),
        calendar("file = 'c.ics'\ndates = []"),
        calendar("dates = '2026-12-25'"),
        calendar("dates = [2026-12-25]"),
        calendar("dates = ['2026-12-25', '2026-02-29']"),
        calendar("dates = ['2027-03-29..2027-03-26']"),
        calendar("dates = ['MAR-15..OCT-31']"),
        calendar("dates = []\n[[calendar]]\nname = 'c'\ndates = []"),
    ];
    expect![[r#"
        | [calendar]
        | name = 'c'
        roost.toml:1:1: `calendar` is a table, and must be a list
        hint: begin each one with a line `[[calendar]]`, and below it `name = "holidays"`, and `file = "holidays.ics"` or `dates = ["2026-12-25", "2027-03-26..2027-03-29"]`

        | calendar = ['holidays']
        roost.toml:1:13: `calendar` is a text, and must be a table
        hint: begin each one with a line `[[calendar]]`, and below it `name = "holidays"`, and `file = "holidays.ics"` or `dates = ["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | file = 'c.ics'
        roost.toml:1:1: a calendar has no `name`
        hint: begin each one with a line `[[calendar]]`, and below it `name = "holidays"`, and `file = "holidays.ics"` or `dates = ["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'may'
        | file = 'c.ics'
        roost.toml:2:8: `may` is not a calendar name: 1 to 63 of `a-z 0-9 -`, the first one a letter, and not like days (`may`, `mon-fri`), nor `on`, `in`, `every` or `except`

        | [[calendar]]
        | name = 'c'
        | 
        roost.toml:1:1: the calendar `c` has neither a `file` nor `dates`
        hint: begin each one with a line `[[calendar]]`, and below it `name = "holidays"`, and `file = "holidays.ics"` or `dates = ["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'c'
        | fil = 'c.ics'
        roost.toml:3:1: unknown key `fil`
        hint: did you mean `file`?

        | [[calendar]]
        | name = 'c'
        | file = 'c.ics'
        | dates = []
        roost.toml:4:9: the calendar `c` has a `file` and `dates`
        hint: leave one of them out; a job can name several calendars: `except holidays,school`

        | [[calendar]]
        | name = 'c'
        | dates = '2026-12-25'
        roost.toml:3:9: `dates` is a text, and must be a list
        hint: write dates and ranges of dates in quotes: `["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'c'
        | dates = [2026-12-25]
        roost.toml:3:10: `dates` is a date or a time, and must be a text in quotes
        hint: write dates and ranges of dates in quotes: `["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'c'
        | dates = ['2026-12-25', '2026-02-29']
        roost.toml:3:24: there is no 29 February 2026: February has 28 days that year
        hint: write dates and ranges of dates in quotes: `["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'c'
        | dates = ['2027-03-29..2027-03-26']
        roost.toml:3:10: `2027-03-29..2027-03-26` ends before it begins
        hint: write dates and ranges of dates in quotes: `["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'c'
        | dates = ['MAR-15..OCT-31']
        roost.toml:3:10: `MAR-15..OCT-31` is neither a date (`2026-12-25`) nor a range of dates (`2027-03-26..2027-03-29`)
        hint: write dates and ranges of dates in quotes: `["2026-12-25", "2027-03-26..2027-03-29"]`

        | [[calendar]]
        | name = 'c'
        | dates = []
        | [[calendar]]
        | name = 'c'
        | dates = []
        roost.toml:5:8: there are two calendars `c`
        hint: leave one of them out; a job can name several calendars: `except holidays,school`
    "#]].assert_eq(&faults(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
}
