use chrono_tz::Tz;
use proptest::prelude::*;
use roost_scheduler::time::Location;

use super::*;

fn plugin() -> PluginName {
    PluginName::parse("coop-door").unwrap()
}

fn host() -> Site {
    Site { zone: Tz::Europe__London, location: Location::new(51.5, -0.1) }
}

fn parse(text: &str) -> Settings {
    Settings::parse(Some(text), &plugin(), &host(), None).unwrap_or_else(|report| panic!("{report}"))
}

fn error(text: &str) -> String {
    Settings::parse(Some(text), &plugin(), &host(), None).expect_err(text).to_string()
}

#[test]
fn without_a_file_there_is_one_device() {
    let settings = Settings::parse(None, &plugin(), &host(), None).unwrap();
    assert_eq!(settings, parse(""));
    let device = &settings.devices[0];
    assert_eq!((device.name.as_str(), device.config.as_str(), device.site), ("coop-door", "{}", host()));
    assert_eq!((settings.devices.len(), settings.limits), (1, Limits::default()));
    assert_eq!(settings.grant, Grant::default_of(&plugin()));
}

#[test]
fn a_device_wins_over_the_plugin_key_by_key() {
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
    assert_eq!(south.site, Site { zone: Tz::Australia__Sydney, location: Location::new(-33.9, 151.0) });
}

#[test]
fn another_time_zone_keeps_the_location() {
    let settings = parse("[[device]]\nname = 'a'\ntime_zone = 'UTC'");
    assert_eq!(settings.devices[0].site, Site { zone: Tz::UTC, ..host() });
}

#[test]
fn the_operators_grant_outranks_the_file() {
    let text = "[grants]\npublish = ['home/#', 'coop-door/#']";
    let granted = parse(text).grant;
    assert_eq!(granted.publish.len(), 2);
    assert_eq!(granted.subscribe, Grant::default_of(&plugin()).subscribe);
    let operator = Grant { publish: vec![], subscribe: vec![] };
    let settings = Settings::parse(Some(text), &plugin(), &host(), Some(&operator)).unwrap();
    assert_eq!(settings.grant, operator);
}

#[test]
fn limits_can_be_moved_within_bounds() {
    let limits = parse("[limits]\nmemory_mib = 64\njobs = 3").limits;
    assert_eq!(limits, Limits { memory_mib: 64, jobs: 3, ..Limits::default() });
}

#[test]
fn errors_say_where_and_what_to_do() {
    for (text, expected) in [
        ("[confg]", "coop-door.toml:1:2: unknown key `confg`\nhint: did you mean `config`?"),
        ("[[devices]]\nname = 'a'", "coop-door.toml:1:3: unknown key `devices`\nhint: did you mean `device`?"),
        (
            "[[device]]\ntime_zone = 'UTC'",
            "coop-door.toml:1:1: the device has no `name`\nhint: add a line such as `name = \"north\"`",
        ),
        ("[[device]]\nname = 'a b'", "coop-door.toml:2:8: `a b` is not a device name: 1 to 64 of"),
        (
            "[[device]]\nname = 'a'\n[[device]]\nname = 'a'",
            "coop-door.toml:4:8: there is another device named `a`\nhint: give each device a name of its own",
        ),
        (
            "[[device]]\nname = 'a'\ntime_zone = 'Europe/Lodon'",
            "coop-door.toml:3:13: `Europe/Lodon` is not an IANA time zone; did you mean `Europe/London`?",
        ),
        (
            "\n[[device]]\nname = 'a'\nlatitude = 1",
            "coop-door.toml:2:1: there is a `latitude`, but no `longitude`\nhint: give both, in degrees",
        ),
        ("[[device]]\nname = 'a'\nlatitude = 91", "coop-door.toml:3:12: `latitude` is 91: degrees are -90 to 90"),
        ("device = []", "coop-door.toml:1:10: the list of devices is empty\nhint: leave `device` out for one device"),
        (
            "[device]\nname = 'a'",
            "coop-door.toml:1:1: `device` is a table, and must be a list\nhint: begin each device with a line `[[device]]`",
        ),
        ("[grants]\npublish = ['a+']", "coop-door.toml:2:12: `a+` is not a topic filter: "),
        ("[grants]\npublish = 'a/#'", "coop-door.toml:2:11: `publish` is a text, and must be a list"),
        ("[limits]\nmemory_mib = 9999", "coop-door.toml:2:14: `memory_mib` is 9999, and must be 1 to 2048"),
        ("[limits]\njobs = 0", "coop-door.toml:2:8: `jobs` is 0, and must be 1 to 10000"),
        ("[limits]\nmemory_mb = 9", "coop-door.toml:2:1: unknown key `memory_mb`\nhint: did you mean `memory_mib`?"),
        ("[config]\nx = inf", "coop-door.toml:2:5: `x` is not a number that JSON can say"),
        (
            "config = 1",
            "coop-door.toml:1:10: `config` is a whole number, and must be a table\nhint: write its keys below",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(expected), "{text}:\n{error}");
    }
}

#[test]
fn kept_settings_of_another_shape_are_refused() {
    assert!(Settings::from_json("{}").unwrap_err().to_string().starts_with("the kept settings cannot be read"));
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
