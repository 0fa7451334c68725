//! Plans of greenhouses.

use roost_plugin_sdk::testing::{Plan, TestHost};
use serde_json::{Value, json};

use super::*;

fn test_host(config: Value, now: &str) -> TestHost {
    TestHost::new("greenhouse", "tomatoes").time_zone("Europe/London").location(51.4779, -0.0015).config(config).at(now)
}

fn plan(config: Value, now: &str) -> Result<Plan> {
    test_host(config, now).schedule_jobs::<Greenhouse>()
}

fn mist(from: &str, until: &str, every: &str) -> Value {
    json!({ "mist": { "from": from, "until": until, "every": every, "spray": "15s" } })
}

fn lamps() -> Value {
    json!({ "lamps": { "on_not_before": "15:00", "on_not_after": "20:00", "off": "21:30" } })
}

fn due(plan: &Plan) -> Vec<String> {
    plan.ids().iter().flat_map(|id| plan.job(id).due(1)).collect()
}

#[test]
fn the_vent_opens_by_the_calendar() -> Result<()> {
    let config = json!({ "vent": [
        { "name": "summer", "when": "0 10-18/2 * MAY-SEP *", "open_for": "45m" },
        { "name": "winter", "when": "30 12 * OCT-DEC,JAN-APR MON,WED,FRI", "open_for": "10m" },
    ] });
    let plan = plan(config, "2027-09-30T17:00:00+01:00")?;
    assert_eq!(plan.job("vent-summer").due(2), ["2027-09-30T18:00:00+01:00", "2028-05-01T10:00:00+01:00"]);
    assert_eq!(plan.job("vent-winter").due(1), ["2027-10-01T12:30:00+01:00"]);
    let messages = ["0s greenhouse/tomatoes/vent/set OPEN", "45m greenhouse/tomatoes/vent/set CLOSE"];
    assert_eq!(plan.job("vent-summer").messages(), messages);
    assert_eq!((plan.job("vent-summer").jitter(), plan.job("vent-summer").priority()), (minutes(1), 1));
    Ok(())
}

#[test]
fn the_vent_may_open_by_the_sun_and_on_some_days() -> Result<()> {
    let config = json!({ "vent": [
        { "name": "noon", "when": "solar-noon -1h in MAY-SEP except 2027-06-02", "open_for": "2h" },
        { "name": "weekend", "when": "0 9 * * * on SAT-SUN,holidays", "open_for": "10m" },
    ] });
    let plan = plan(config, "2027-06-01T17:00:00+01:00")?;
    assert!(plan.job("vent-noon").due(1)[0].starts_with("2027-06-03T11:5"), "{:?}", plan.job("vent-noon").due(1));
    assert_eq!(plan.job("vent-weekend").trigger(), "cron 0 9 * * * on SAT-SUN,holidays");
    Ok(())
}

#[test]
fn the_task_opens_the_vent() -> Result<()> {
    let host = test_host(lamps(), "2027-06-01T12:00:00Z");
    let answer = host.run_task::<Greenhouse>("air", json!({ "minutes": 10 }))?;
    assert_eq!(answer.messages(), ["0s greenhouse/tomatoes/vent/set OPEN", "10m greenhouse/tomatoes/vent/set CLOSE"]);
    let error = host.run_task::<Greenhouse>("air", json!({ "minutes": 0 })).unwrap_err();
    assert_eq!(error.to_string(), "args `minutes`: 0 is not 1 to 240");
    Ok(())
}

#[test]
fn mist_is_limited_to_a_part_of_the_day() -> Result<()> {
    let plan = plan(mist("16:30", "18:00", "40m"), "2027-06-01T17:00:00+01:00")?;
    assert_eq!(
        plan.ids(),
        ["mist-2027-06-01-2", "mist-2027-06-01-3", "mist-2027-06-02-1", "mist-2027-06-02-2", "mist-2027-06-02-3"]
    );
    assert_eq!(
        due(&plan)[..3],
        ["2027-06-01T17:10:00+01:00", "2027-06-01T17:50:00+01:00", "2027-06-02T16:30:00+01:00"]
    );
    let mist = plan.job("mist-2027-06-02-1");
    assert_eq!(mist.grace(), minutes(20));
    assert_eq!(
        mist.messages(),
        ["0s greenhouse/tomatoes/mist/set ON, expires after 15s, for=15s", "15s greenhouse/tomatoes/mist/set OFF"]
    );
    Ok(())
}

#[test]
fn the_same_mist_has_the_same_id_in_the_next_plan() -> Result<()> {
    let today = plan(mist("08:00", "19:00", "10m"), "2027-10-30T12:00:00+01:00")?;
    let tomorrow = plan(mist("08:00", "19:00", "10m"), "2027-10-31T00:00:00+01:00")?;
    let both: Vec<&str> = today.ids().into_iter().filter(|id| tomorrow.ids().contains(id)).collect();
    assert_eq!(both.len(), 66);
    for id in both {
        assert_eq!(today.job(id).due(1), tomorrow.job(id).due(1), "{id}");
    }
    Ok(())
}

#[test]
fn the_interval_does_not_change_when_summer_time_begins_or_ends() -> Result<()> {
    let spring = plan(mist("00:30", "03:00", "30m"), "2027-03-28T00:00:00Z")?;
    assert_eq!(
        due(&spring)[..4],
        ["2027-03-28T00:30:00Z", "2027-03-28T02:00:00+01:00", "2027-03-28T02:30:00+01:00", "2027-03-29T00:30:00+01:00"]
    );
    let autumn = plan(mist("00:30", "02:00", "30m"), "2027-10-31T00:00:00+01:00")?;
    assert_eq!(
        due(&autumn)[..6],
        [
            "2027-10-31T00:30:00+01:00",
            "2027-10-31T01:00:00+01:00",
            "2027-10-31T01:30:00+01:00",
            "2027-10-31T01:00:00Z",
            "2027-10-31T01:30:00Z",
            "2027-11-01T00:30:00Z"
        ]
    );
    // Both ends of the window are in the skipped hour: nothing of it is left.
    let skipped = plan(mist("01:10", "01:50", "10m"), "2027-03-27T12:00:00Z")?;
    assert!(skipped.ids().is_empty(), "{:?}", skipped.ids());
    Ok(())
}

#[test]
fn lamps_are_turned_on_at_sunset_within_limits() -> Result<()> {
    let summer = plan(lamps(), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(summer.ids(), ["lamps-on", "lamps-off"]);
    assert_eq!(summer.job("lamps-on").due(1), ["2027-06-01T20:00:00+01:00"]);
    assert_eq!(summer.job("lamps-off").due(1), ["2027-06-01T21:30:00+01:00"]);
    let winter = plan(lamps(), "2027-12-21T12:00:00Z")?;
    assert!(winter.job("lamps-on").due(1)[0].starts_with("2027-12-21T15:5"), "{:?}", winter.job("lamps-on").due(1));
    Ok(())
}

#[test]
fn mist_and_lamps_may_be_limited_to_days() -> Result<()> {
    let mut config = mist("16:30", "18:00", "40m");
    config["mist"]["days"] = json!("MON-FRI except holidays");
    config["lamps"] = lamps()["lamps"].clone();
    config["lamps"]["days"] = json!("all in OCT-APR");
    let plan = plan(config, "2027-06-04T17:00:00+01:00")?;
    assert_eq!(plan.ids(), ["mist-1", "mist-2", "mist-3", "lamps-on", "lamps-off"]);
    assert_eq!(plan.job("mist-2").trigger(), "cron 10 17 * * * on MON-FRI except holidays");
    assert_eq!(plan.job("mist-1").due(1), ["2027-06-07T16:30:00+01:00"]);
    assert_eq!((plan.job("mist-3").grace(), plan.job("mist-3").messages().len()), (minutes(20), 2));
    assert_eq!(plan.job("lamps-on").trigger(), "sunset not-before 15:00 not-after 20:00 in OCT-APR");
    assert_eq!(plan.job("lamps-off").due(1), ["2027-10-01T21:30:00+01:00"]);
    for (days, expected) in [
        ("", ""),
        ("All", ""),
        ("holidays", " on holidays"),
        ("Every 2 days from 2027-06-01", " Every 2 days from 2027-06-01"),
    ] {
        assert_eq!(clauses(days), expected, "{days}");
    }
    Ok(())
}

#[test]
fn lamps_that_were_offline_get_the_retained_state() -> Result<()> {
    let mut config = lamps();
    config["lamps"]["brightness"] = json!(200);
    config["lamps"]["topic"] = json!("zigbee2mqtt/lamps/set");
    let plan = plan(config.clone(), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(
        plan.job("lamps-on").messages(),
        [r#"0s zigbee2mqtt/lamps/set {"state":"ON","brightness":200}, retained, application/json, off-at=21:30"#]
    );
    assert_eq!(
        plan.job("lamps-off").messages(),
        [r#"0s zigbee2mqtt/lamps/set {"state":"OFF"}, retained, application/json"#]
    );
    assert!(plan.job("lamps-on").priority() > plan.job("lamps-off").priority());
    config["lamps"]["retain"] = json!(false);
    assert_eq!(
        self::plan(config, "2027-06-01T12:00:00+01:00")?.job("lamps-off").messages(),
        [r#"0s zigbee2mqtt/lamps/set {"state":"OFF"}, application/json"#]
    );
    Ok(())
}

#[test]
fn lamps_are_on_through_the_polar_night_and_off_under_the_midnight_sun() -> Result<()> {
    let ids = |latitude: f64, zone: &str, now: &str| -> Result<Vec<String>> {
        let host = test_host(lamps(), now).time_zone(zone).location(latitude, 18.9553);
        let plan = host.schedule_jobs::<Greenhouse>()?;
        Ok(plan.ids().iter().map(|id| format!("{id} {}", plan.job(id).due(1).join(""))).collect())
    };
    let night = ids(69.6492, "Europe/Oslo", "2027-12-21T12:00:00+01:00")?;
    assert_eq!(
        night[2..],
        ["lamps-on-2027-12-21 2027-12-21T15:00:00+01:00", "lamps-on-2027-12-22 2027-12-22T15:00:00+01:00"]
    );
    let day = ids(69.6492, "Europe/Oslo", "2027-06-21T12:00:00+02:00")?;
    assert_eq!(day.len(), 2, "{day:?}");
    assert!(day[0].starts_with("lamps-on 2027-07-"), "{day:?}");
    // In the south it is the other way round.
    assert_eq!(ids(-77.85, "Antarctica/McMurdo", "2027-06-21T12:00:00+12:00")?.len(), 4);
    assert_eq!(ids(-77.85, "Antarctica/McMurdo", "2027-12-21T12:00:00+13:00")?.len(), 2);
    Ok(())
}

#[test]
fn impossible_settings_are_refused() {
    let error = |config| plan(config, "2027-06-01T12:00:00Z").unwrap_err().to_string();
    let with = |mut config: Value, part: &str, key: &str, value: &str| {
        config[part][key] = json!(value);
        error(config)
    };
    let misted = || mist("08:00", "19:00", "10m");
    assert_eq!(error(json!({})), "config: there is nothing to do, set `vent`, `mist` or `lamps`");
    assert_eq!(
        with(misted(), "mist", "every", "30s"),
        "config `mist.every`: 30s is too often, mist once a minute at most"
    );
    assert_eq!(
        with(misted(), "mist", "spray", "10m"),
        "config `mist.spray`: 10m leaves no pause, the next one begins after 10m"
    );
    assert_eq!(
        with(misted(), "mist", "until", "08:00"),
        "config `mist.until`: 08:00 must be later in the day than `mist.from`, which is 08:00"
    );
    assert_eq!(
        with(lamps(), "lamps", "off", "00:30"),
        "config `lamps.off`: 00:30 must be later in the day than `lamps.on_not_after`, which is 20:00"
    );
    let days = with(misted(), "mist", "days", "SAN");
    assert!(days.starts_with("job `mist-1`: `trigger.text`: `daily 08:00:00 on SAN` is not a trigger: "), "{days}");
    let vent = json!({ "vent": [{ "name": "never", "when": "0 12 31 FEB *", "open_for": "1h" }] });
    assert!(error(vent).starts_with("job `vent-never`: "));
    let nowhere = TestHost::new("greenhouse", "tomatoes").config(lamps()).schedule_jobs::<Greenhouse>().unwrap_err();
    assert!(nowhere.to_string().starts_with("job `lamps-on`: `trigger.sun`: the device has no location"), "{nowhere}");
}
