//! The system's time zones, if they are newer than the built-in ones.

use std::{fs, path::Path};

use expect_test::expect;
use roost_scheduler::zone::{BUNDLED_RELEASE, Zone};
use roost_tests::{Broker, Ran, Site, guest, redact_in};
use serde_json::Value;

use crate::job;

/// Writes a folder as the package `tzdata` does, in which London has the rules of another zone.
fn plant(folder: &Path, release: &str, rules: &str) {
    fs::create_dir_all(folder.join("Europe")).unwrap();
    let file = folder.join("Europe/London");
    fs::write(file.with_extension("new"), Zone::bundled_bytes(rules).unwrap()).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
    fs::write(folder.join("tzdata.zi"), format!("# version {release}\nL Europe/London GB\n")).unwrap();
}

/// Returns noon in London on 1 July 2027, by the rules that Roost finds.
fn noon(site: &Site, folder: &Path, zone: &str) -> (String, String) {
    let arguments =
        ["next", "cron 0 12 * * *", "--from", "2027-07-01T00:00:00Z", "--count", "1", "--json", "--time-zone", zone];
    let ran = Ran::of(site.command(&arguments).env("TZDIR", folder));
    let times: Vec<String> = serde_json::from_str(&ran.out).unwrap_or_default();
    (times.concat(), ran.errors)
}

#[test]
fn the_systems_zones_are_used_if_they_are_newer_and_complete() {
    let site = Site::new();
    let folder = site.path().join("zoneinfo");
    let (tokyo, london) = ("2027-07-01T12:00:00+09:00", "2027-07-01T12:00:00+01:00");
    for (release, expected) in [("2999a", tokyo), (BUNDLED_RELEASE, london), ("2019c", london)] {
        plant(&folder, release, "Asia/Tokyo");
        for zone in ["Europe/London", "GB"] {
            assert_eq!(noon(&site, &folder, zone).0, expected, "{zone} of {release}");
        }
    }
    plant(&folder, "2999a", "Asia/Tokyo");
    let refused = ["posix/Europe/London", "../zoneinfo/Europe/London", "Europe"].map(|zone| {
        let (found, errors) = noon(&site, &folder, zone);
        assert_eq!(found, "", "{zone}");
        redact_in(site.path(), &errors)
    });
    expect![[r#"
        error: invalid value 'posix/Europe/London' for '--time-zone <TZ>': `posix/Europe/London` is not an IANA time zone

        For more information, try '--help'.
        error: invalid value '../zoneinfo/Europe/London' for '--time-zone <TZ>': `../zoneinfo/Europe/London` is not an IANA time zone

        For more information, try '--help'.
        error: invalid value 'Europe' for '--time-zone <TZ>': `Europe` is not an IANA time zone

        For more information, try '--help'.
    "#]].assert_eq(&refused.concat());
    fs::write(folder.join("Europe/London"), "TZif").unwrap();
    assert_eq!(noon(&site, &folder, "Europe/London").0, london);
    assert_eq!(noon(&site, &site.path().join("nothing"), "Europe/London").0, london);
}

fn status(site: &Site) -> Value {
    let output = site.command(&["status", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Returns when the job is due, in hours of UTC.
fn due(site: &Site) -> i64 {
    site.query("SELECT due / 3600000 % 24 FROM jobs")
}

#[test]
fn a_change_of_rules_moves_future_runs_also_while_the_host_is_down() {
    let (broker, site) = (Broker::new(), Site::new());
    let folder = site.path().join("zoneinfo");
    plant(&folder, "2999a", "Etc/GMT");
    site.settings("declared", &job("noon", "cron = \"0 12 * * *\"", "declared/noon"));
    site.drop_in(&guest("declared"), "declared");
    let start = || site.start_in(&[("TZDIR", &folder)], &["--mqtt", &broker.url()]);
    let roost = start();
    roost.wait_for_log(&format!("the time zones are 2999a, from {}", folder.display()));
    roost.has(&site, "SELECT count(*) FROM jobs WHERE due / 3600000 % 24 = 12", 1);
    let zones = roost.until("a status", || status(&site)["time_zones"]["release"].as_str().map(str::to_owned));
    assert_eq!(
        (zones.as_str(), &status(&site)["time_zones"]["folder"]),
        ("2999a", &folder.display().to_string().into())
    );

    // While the host runs.
    plant(&folder, "2999b", "Asia/Tokyo");
    roost.wait_for_log("1 job is due at another time, because the time zones have changed: they are 2999b");
    roost.has(&site, "SELECT count(*) FROM jobs WHERE due / 3600000 % 24 = 3", 1);
    roost.has(&site, "SELECT count(*) FROM clock WHERE zones LIKE '2999b, from %'", 1);
    assert_eq!(status(&site)["time_zones"]["release"], "2999b");
    let shown = site.roost(&["status"]);
    let zones = shown.lines().find(|line| line.starts_with("zones"));
    expect!["zones     2999b, from `[SITE]/zoneinfo`"].assert_eq(&redact_in(site.path(), zones.unwrap_or_default()));
    roost.stop();

    // While it is down: then the rules are the built-in ones.
    fs::remove_dir_all(&folder).unwrap();
    let roost = start();
    roost.wait_for_log("1 job is due at another time, because the time zones have changed: they are 2");
    roost.has(&site, "SELECT count(*) FROM jobs WHERE due / 3600000 % 24 IN (11, 12)", 1);
    roost.stop();
    let before = due(&site);

    // Nothing moves again.
    let roost = start();
    roost.wait_for_log("1 job");
    roost.stop();
    assert_eq!(due(&site), before);
}

#[test]
fn a_zone_that_the_system_has_lost_does_not_stop_the_host() {
    let (broker, site) = (Broker::new(), Site::new());
    let folder = site.path().join("zoneinfo");
    plant(&folder, "2999a", "Etc/GMT");
    let tokyo = Zone::bundled_bytes("Asia/Tokyo").unwrap();
    fs::write(folder.join("Europe/Atlantis"), tokyo).unwrap();
    let jobs = job("noon", "cron = \"0 12 * * *\"", "declared/noon")
        + &job("siesta", "cron = \"0 14 * * *\", time_zone = \"Europe/Atlantis\"", "declared/siesta");
    site.settings("declared", &format!("[[device]]\nname = \"isle\"\ntime_zone = \"Europe/Atlantis\"\n{jobs}"));
    site.drop_in(&guest("declared"), "declared");
    let start = || site.start_in(&[("TZDIR", &folder)], &["--mqtt", &broker.url()]);
    let at =
        |job: &str, hour: u8| format!("SELECT count(*) FROM jobs WHERE job = '{job}' AND due / 3600000 % 24 = {hour}");
    let roost = start();
    roost.wait_for_log("2 new");
    roost.has(&site, &at("noon", 3), 1);
    roost.has(&site, &at("siesta", 5), 1);
    roost.stop();

    fs::remove_file(folder.join("Europe/Atlantis")).unwrap();
    let roost = start();
    let missing = "neither the system nor Roost knows the time zone Europe/Atlantis: its times are treated as UTC";
    roost.wait_for_log(missing);
    roost.wait_for_log("connected to the broker");
    let faults = roost.until("it is shown", || {
        Some(status(&site)["time_zones"]["faults"].clone()).filter(|faults| !faults.is_null())
    });
    expect![[r#"
        [
          "neither the system nor Roost knows the time zone Europe/Atlantis: its times are treated as UTC"
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&faults).unwrap());
    roost.wait_for_log("because the time zones have changed: they are 2999a");
    roost.has(&site, &at("noon", 12), 1);
    roost.has(&site, &at("siesta", 14), 1);
    let copy = site.roost(&["backup", "copy.db"]);
    assert!(copy.is_empty(), "{copy}");

    // The package is installed again.
    fs::write(folder.join("Europe/Atlantis"), tokyo).unwrap();
    fs::write(folder.join("tzdata.zi"), "# version 2999b\n").unwrap();
    roost.wait_for_log("because the time zones have changed: they are 2999b");
    roost.has(&site, &at("noon", 3), 1);
    roost.has(&site, &at("siesta", 5), 1);
    assert_eq!(status(&site)["time_zones"]["faults"], Value::Null);
}
