#![allow(clippy::too_many_lines, reason = "snapshots are in their tests")]

use crate::zones::zone;
use expect_test::expect;
use proptest::prelude::*;
use roost_scheduler::{model::Qos, time::Location, topic::HostTopic, zone::Zone};

use super::*;

mod fuzz;

fn plugin() -> PluginName {
    PluginName::parse("coop-door").unwrap()
}

fn host() -> Site {
    Site { zone: zone("Europe/London"), location: Location::new(51.5, -0.1) }
}

fn parse(text: &str) -> Settings {
    Settings::parse(Some(text), &plugin(), &host(), &Rules::default()).unwrap_or_else(|report| panic!("{report}"))
}

fn error(text: &str) -> String {
    Settings::parse(Some(text), &plugin(), &host(), &Rules::default()).expect_err(text).to_string()
}

#[test]
fn without_a_file_there_is_one_device() {
    let settings = Settings::parse(None, &plugin(), &host(), &Rules::default()).unwrap();
    assert_eq!(settings, parse(""));
    let device = &settings.devices[0];
    assert_eq!((device.name.as_str(), device.config.as_str(), device.site), ("coop-door", "{}", host()));
    assert_eq!((settings.devices.len(), settings.limits), (1, CallLimits::default()));
    assert_eq!(settings.grant, Grant::default_for(&plugin()));
}

#[test]
fn a_devices_keys_take_precedence_over_the_plugins() {
    let settings = parse(
        r#"
        [config]
        speed = 3
        times = { open = 06:30:00, close = "dusk" }

        [[device]]
        name = "north"

        [[device]]
        name = "south"
        config = { times = { open = "dawn" }, extra = [1.0, true] }
        time_zone = "Australia/Sydney"
        latitude = -33.9
        longitude = 151
        "#,
    );
    let [north, south] = &settings.devices[..] else { panic!("two devices") };
    assert_eq!(north.config, r#"{"speed":3,"times":{"close":"dusk","open":"06:30:00"}}"#);
    assert_eq!(north.site, host());
    assert_eq!(south.config, r#"{"extra":[1.0,true],"speed":3,"times":{"open":"dawn"}}"#);
    assert_eq!(south.site, Site { zone: zone("Australia/Sydney"), location: Location::new(-33.9, 151.0) });
}

#[test]
fn another_time_zone_keeps_the_location() {
    let settings = parse("[[device]]\nname = 'a'\ntime_zone = 'UTC'");
    assert_eq!(settings.devices[0].site, Site { zone: Zone::UTC, ..host() });
}

#[test]
fn the_operators_grant_takes_precedence_over_the_file() {
    let text = "[grants]\npublish = ['home/#', 'coop-door/#']";
    let granted = parse(text).grant;
    assert_eq!(granted.publish.len(), 2);
    assert_eq!(granted.subscribe, Grant::default_for(&plugin()).subscribe);
    let operator = Grant::new(vec![], vec![]);
    let rules = Rules { grants: [(plugin(), operator.clone())].into(), ..Rules::default() };
    let settings = Settings::parse(Some(text), &plugin(), &host(), &rules).unwrap();
    assert_eq!(settings.grant, operator);
}

#[test]
fn a_grant_of_the_hosts_own_topics_is_refused() {
    expect![[r#"
        coop-door.toml:2:22: no job may publish to `roost/set/#`: what is at or below `roost` is the host's own
        hint: use another topic; or, if devices have topics below `roost`, give the host one of its own: put such a line into `roost.toml`, and start Roost again:
          [mqtt]
          topic = "roost/host""#]]
    .assert_eq(&error("[grants]\npublish = ['home/#', 'roost/set/#']"));
    // Devices may report there, and a wider filter includes other topics.
    let granted = parse("[grants]\npublish = ['#']\nsubscribe = ['roost/status']").grant;
    assert_eq!((granted.publish.len(), granted.subscribe.len()), (1, 1));
    let rules = Rules { host_topic: HostTopic::parse("barn/roost").unwrap(), ..Rules::default() };
    let settings = Settings::parse(Some("[grants]\npublish = ['roost/set/#']"), &plugin(), &host(), &rules);
    assert_eq!(settings.unwrap().grant.publish.len(), 1);
}

#[test]
fn limits_can_be_changed_within_bounds() {
    let limits = parse("[limits]\nmemory_mib = 64\njobs = 3").limits;
    assert_eq!(limits, CallLimits { memory_mib: 64, jobs: 3, ..CallLimits::default() });
}

#[test]
fn the_operators_ceilings_bound_the_limits_of_a_file() {
    let rules = Rules { ceilings: CallLimits { memory_mib: 128, cpu_ms: 400, ..CallLimits::MOST }, ..Rules::default() };
    let parse = |text: &str| Settings::parse(Some(text), &plugin(), &host(), &rules);
    let default = parse("").unwrap().limits;
    assert_eq!(default, CallLimits { memory_mib: 128, cpu_ms: 400, ..CallLimits::default() }, "the default is lowered");
    assert_eq!(parse("[limits]\nmemory_mib = 64").unwrap().limits.memory_mib, 64);
    assert_eq!(
        parse("[limits]\njobs = 3\nmemory_mib = 256").unwrap_err().to_string(),
        "coop-door.toml:3:14: `memory_mib` is 256, and the operator allows 128 at most\nhint: if the plugin needs \
         that much, put this into `roost.toml` and start Roost again:\n  [ceilings]\n  memory_mib = 256"
    );
}

#[test]
fn a_plugin_named_like_another_product_needs_the_operators_grant() {
    let name = PluginName::parse("zigbee2mqtt").unwrap();
    let parse = |text: Option<&str>, rules: &Rules| Settings::parse(text, &name, &host(), rules).unwrap().grant;
    let nothing = Grant::new(vec![], vec![]);
    assert_eq!(parse(None, &Rules::default()), nothing);
    let grant = Grant::default_for(&name);
    let rules = Rules { grants: [(name.clone(), grant.clone())].into(), ..Rules::default() };
    assert_eq!(parse(None, &rules), grant);
    // Settings in the folder are the operator's, because an upload has none.
    let granted = parse(Some("[grants]\npublish = ['zigbee2mqtt/lamp/set']"), &Rules::default());
    assert_eq!((granted.publish.len(), granted.subscribe.len()), (1, 0));
}

#[test]
fn ceilings_of_a_grant_are_parsed_and_serialized() {
    let settings = parse("[grants]\nmax_qos = 1\nretain = false");
    assert_eq!((settings.grant.max_qos, settings.grant.retain), (Qos::AtLeastOnce, false));
    assert_eq!(settings.grant.publish, Grant::default_for(&plugin()).publish);
    assert_eq!(Settings::from_json(&settings.to_json()).unwrap(), settings);
}

#[test]
fn errors_have_a_place_and_a_hint() {
    let faults = [
        "[confg]",
        "time_zone = 'UTC'",
        "[device]\nname = 'a'",
        "[[devices]]\nname = 'a'",
        "[[device]]\ntime_zone = 'UTC'",
        "[[device]]\nname = 'a b'",
        "[[device]]\nname = 'a'\n[[device]]\nname = 'a'",
        "[[device]]\nname = 'a'\ntime_zone = 'Europe/Lodon'",
        "\n[[device]]\nname = 'a'\nlatitude = 1",
        "[[device]]\nname = 'a'\nlatitude = 91",
        "device = []",
        "[grants]\npublish = ['a+']",
        "[grants]\npublish = 'a/#'",
        "[limits]\nmemory_mib = 9999",
        "[limits]\njobs = 0",
        "[limits]\nmemory_mb = 9",
        "[config]\nx = inf",
        "config = 1",
        "[grants]\nmax_qos = 3",
        "[grants]\nretain = 1",
    ]
    .map(|text| format!("| {}\n{}\n\n", text.replace('\n', "\n| "), error(text)));
    expect![[r#"
        | [confg]
        coop-door.toml:1:2: unknown key `confg`
        hint: did you mean `config`?

        | time_zone = 'UTC'
        coop-door.toml:1:1: unknown key `time_zone`
        hint: known here: `config`, `device`, `grants`, `limits`; the plugin's own settings belong below `[config]`, and a device's location below `[[device]]`

        | [device]
        | name = 'a'
        coop-door.toml:1:1: `device` is a table, and must be a list
        hint: begin each device with a line `[[device]]`

        | [[devices]]
        | name = 'a'
        coop-door.toml:1:3: unknown key `devices`
        hint: did you mean `device`?

        | [[device]]
        | time_zone = 'UTC'
        coop-door.toml:1:1: the device has no `name`
        hint: add a line such as `name = "north"`

        | [[device]]
        | name = 'a b'
        coop-door.toml:2:8: `a b` is not a device name: 1 to 64 of `a-z A-Z 0-9 . _ -`, the first one a letter or a digit

        | [[device]]
        | name = 'a'
        | [[device]]
        | name = 'a'
        coop-door.toml:4:8: there is another device named `a`
        hint: give each device a different name

        | [[device]]
        | name = 'a'
        | time_zone = 'Europe/Lodon'
        coop-door.toml:3:13: `Europe/Lodon` is not an IANA time zone; did you mean `Europe/London`?

        | 
        | [[device]]
        | name = 'a'
        | latitude = 1
        coop-door.toml:2:1: there is a `latitude`, but no `longitude`
        hint: give both, in degrees, north and east positive, or neither

        | [[device]]
        | name = 'a'
        | latitude = 91
        coop-door.toml:3:12: `latitude` is 91: degrees are -90 to 90

        | device = []
        coop-door.toml:1:10: the list of devices is empty
        hint: leave `device` out for one device named `coop-door`, or begin each with a line `[[device]]`

        | [grants]
        | publish = ['a+']
        coop-door.toml:2:12: `a+` is not a topic filter: `+` and `#` must fill a level of their own, as in `coop/+/door`

        | [grants]
        | publish = 'a/#'
        coop-door.toml:2:11: `publish` is a text, and must be a list

        | [limits]
        | memory_mib = 9999
        coop-door.toml:2:14: `memory_mib` is 9999, and must be 1 to 2048

        | [limits]
        | jobs = 0
        coop-door.toml:2:8: `jobs` is 0, and must be 1 to 10000

        | [limits]
        | memory_mb = 9
        coop-door.toml:2:1: unknown key `memory_mb`
        hint: did you mean `memory_mib`?

        | [config]
        | x = inf
        coop-door.toml:2:5: `x` is not a number that JSON can represent

        | config = 1
        coop-door.toml:1:10: `config` is a whole number, and must be a table
        hint: write its keys below a line `[config]`

        | [grants]
        | max_qos = 3
        coop-door.toml:2:11: `max_qos` is 3, and must be 0 to 2

        | [grants]
        | retain = 1
        coop-door.toml:2:10: `retain` is a whole number, and must be true or false

    "#]].assert_eq(&faults.concat());
}

#[test]
fn stored_settings_of_another_shape_are_refused() {
    expect![[r#"
        the stored settings cannot be read
          caused by: missing field `devices` at line 1 column 2"#]]
    .assert_eq(&Settings::from_json("{}").unwrap_err().to_string());
}

#[test]
fn equal_settings_have_equal_digests() {
    let one = parse("[config]\nb = 1\na = 2\n");
    let other = parse("# The same.\nconfig = { a = 2, b = 1 }");
    assert_eq!(one.digest(), other.digest());
    assert_ne!(one.digest(), parse("[config]\na = 2").digest());
    assert_ne!(one.digest(), parse("config = { a = 2, b = 1 }\n[limits]\ncpu_ms = 501").digest());
}

proptest! {
    #[test]
    fn settings_come_back_from_json(latitude in -90.0..90.0, longitude in -180.0..180.0, number: f64, text: String) {
        let mut settings = parse("[[device]]\nname = 'a'\n[[device]]\nname = 'b'\n[limits]\nlift_mib = 3");
        settings.devices[0].site.location = Location::new(latitude, longitude);
        settings.devices[1].config = serde_json::json!({ "number": number, "text": text }).to_string();
        let back = Settings::from_json(&settings.to_json()).unwrap();
        prop_assert_eq!(&back, &settings);
        prop_assert_eq!(back.digest(), settings.digest());
    }
}
