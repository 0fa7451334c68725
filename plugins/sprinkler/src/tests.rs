//! Plans of sprinklers.

use roost_plugin_sdk::testing::{Plan, TestHost};
use serde_json::{Value, json};

use super::*;

fn plan(config: Value, now: &str) -> Result<Plan> {
    let host = TestHost::new("sprinkler", "garden").time_zone("Europe/London").location(51.4779, -0.0015);
    host.config(config).at(now).schedule_jobs::<Sprinkler>()
}

fn garden() -> Value {
    json!({
        "start": "05:30",
        "zones": [{ "name": "lawn", "water": "12m" }, { "name": "beds", "water": "8m" }],
    })
}

fn garden_with(key: &str, value: Value) -> Value {
    let mut config = garden();
    config[key] = value;
    config
}

#[test]
fn zones_take_turns() -> Result<()> {
    let plan = plan(garden_with("pause", json!("5s")), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(
        plan.job("water").messages(),
        [
            "0s sprinkler/garden/lawn/set ON",
            "12m sprinkler/garden/lawn/set OFF",
            "12m5s sprinkler/garden/beds/set ON",
            "20m5s sprinkler/garden/beds/set OFF",
        ]
    );
    Ok(())
}

#[test]
fn controllers_that_share_a_pump_take_turns() -> Result<()> {
    let plan = plan(garden_with("pump", json!("well")), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(plan.job("water").needs(), Some("well"));
    assert_eq!(self::plan(garden(), "2027-06-01T12:00:00+01:00")?.job("water").needs(), None);
    Ok(())
}

#[test]
fn the_grace_can_be_configured() -> Result<()> {
    let now = "2027-06-01T12:00:00+01:00";
    assert_eq!(plan(garden(), now)?.job("water").grace(), hours(1));
    assert_eq!(plan(garden_with("grace", json!("3h")), now)?.job("water").grace(), hours(3));
    Ok(())
}

#[test]
fn odd_days_are_counted_by_the_month() -> Result<()> {
    let plan = plan(garden_with("days", json!("odd")), "2027-05-30T12:00:00+01:00")?;
    assert_eq!(
        plan.job("water").due(3),
        ["2027-05-31T05:30:00+01:00", "2027-06-01T05:30:00+01:00", "2027-06-03T05:30:00+01:00"]
    );
    let plan = self::plan(garden_with("days", json!("even")), "2027-02-27T12:00:00Z")?;
    assert_eq!(plan.job("water").due(2), ["2027-02-28T05:30:00Z", "2027-03-02T05:30:00Z"]);
    Ok(())
}

#[test]
fn winters_are_off() -> Result<()> {
    let plan = plan(garden_with("months_off", json!([11, 12, 1, 2, 3])), "2027-10-31T12:00:00Z")?;
    assert_eq!(plan.job("water").due(1), ["2028-04-01T05:30:00+01:00"]);
    Ok(())
}

#[test]
fn seedlings_are_misted_periodically() -> Result<()> {
    let config = json!({ "every": "1m", "zones": [{ "name": "mist", "water": "10s" }] });
    let plan = plan(config, "2027-06-01T12:00:00Z")?;
    assert_eq!(plan.job("mist").due(2), ["2027-06-01T13:01:00+01:00", "2027-06-01T13:02:00+01:00"]);
    assert_eq!(plan.job("mist").messages().len(), 2);
    Ok(())
}

#[test]
fn the_task_waters_one_zone() -> Result<()> {
    let host = TestHost::new("sprinkler", "garden").config(garden());
    for zone in [json!(2), json!("beds")] {
        let answer = host.run_task::<Sprinkler>("water", json!({ "zone": zone, "minutes": 1.5 }))?;
        assert_eq!(answer.messages(), ["0s sprinkler/garden/beds/set ON", "1m30s sprinkler/garden/beds/set OFF"]);
        assert_eq!(answer.note(), "beds for 1m30s");
    }
    let error = |args| host.run_task::<Sprinkler>("water", args).unwrap_err().to_string();
    for zone in [json!(0), json!(3), json!("pond")] {
        assert_eq!(
            error(json!({ "zone": zone, "minutes": 1 })),
            "args `zone`: there is no such zone, they are (from 1 on) lawn, beds"
        );
    }
    assert_eq!(error(json!({ "zone": [], "minutes": 1 })), "args `zone`: it is neither a zone's number nor its name");
    assert_eq!(error(json!({ "zone": 1, "minutes": 300 })), "args `minutes`: they are not 0.1 to 240");
    assert_eq!(error(json!({ "zone": 1 })), "args: missing field `minutes`");
    Ok(())
}

#[test]
fn impossible_settings_are_refused() {
    let error = |config| plan(config, "2027-06-01T12:00:00Z").unwrap_err().to_string();
    assert_eq!(error(garden_with("every", json!("1h"))), "one of `start` and `every` must be set, and not both");
    assert_eq!(
        error(json!({ "every": "1m", "zones": [{ "name": "mist", "water": "2m" }] })),
        "one round of all zones takes 2m, and the next one begins after 1m"
    );
    assert_eq!(
        error(garden_with("months_off", json!([13]))),
        "config `months_off`: there is no month 13, they are 1 to 12"
    );
    assert_eq!(
        error(json!({ "start": "05:30", "zones": [] })),
        "config `zones`: there is none; each has a `name` and `water`"
    );
}

const NOW: &str = "2027-06-01T12:00:00+01:00";

/// Returns the messages of the job `water`: `12m lawn ON`.
fn round(config: Value) -> Result<Vec<String>> {
    let plan = plan(config, NOW)?;
    let short = |message: String| message.replace("sprinkler/garden/", "").replace("/set", "");
    Ok(plan.job("water").messages().into_iter().map(short).collect())
}

fn error(config: Value) -> String {
    plan(config, NOW).unwrap_err().to_string()
}

#[test]
fn there_may_be_several_starts_on_the_same_days() -> Result<()> {
    let mut config = garden_with("start", json!(["06:30", "finish sunrise", "sunset +1h"]));
    config["days"] = json!("MON-FRI in MAY-SEP except holidays");
    config["months_off"] = json!([9]);
    let plan = plan(config, NOW)?;
    let limits = "on MON-FRI in MAY-SEP except SEP,holidays";
    assert_eq!(plan.ids(), ["water", "water-2", "water-3"]);
    assert_eq!(plan.job("water").trigger(), format!("cron 30 6 * * * {limits}"));
    assert_eq!(plan.job("water-2").trigger(), format!("finish sunrise {limits} after 20m"));
    assert_eq!(plan.job("water-3").trigger(), format!("sunset +1h {limits}"));
    assert_eq!(plan.job("water").messages(), plan.job("water-3").messages());
    Ok(())
}

#[test]
fn odd_days_may_leave_out_what_authorities_leave_out() -> Result<()> {
    let plan = plan(garden_with("days", json!("odd except 31,FEB-29")), "2028-02-27T12:00:00Z")?;
    let due = plan.job("water").due(17);
    assert_eq!((due[0].as_str(), due[15].as_str()), ("2028-03-01T05:30:00Z", "2028-04-01T05:30:00+01:00"));
    Ok(())
}

#[test]
fn an_interval_continues_over_the_end_of_a_month() -> Result<()> {
    let plan = plan(garden_with("days", json!("every 3 days from 2027-05-30")), NOW)?;
    assert_eq!(plan.job("water").due(2), ["2027-06-02T05:30:00+01:00", "2027-06-05T05:30:00+01:00"]);
    Ok(())
}

#[test]
fn zones_of_a_group_are_watered_together() -> Result<()> {
    let zones = json!([
        { "name": "lawn", "water": "12m", "group": "front" }, { "name": "beds", "water": "8m" },
        { "name": "pots", "water": "5m", "group": "front" },
    ]);
    assert_eq!(
        round(json!({ "start": "05:30", "pause": "5s", "zones": zones }))?,
        ["0s lawn ON", "0s pots ON", "5m pots OFF", "12m lawn OFF", "12m5s beds ON", "20m5s beds OFF"]
    );
    Ok(())
}

#[test]
fn others_are_watered_while_a_zone_soaks() -> Result<()> {
    let zones = json!([{ "name": "slope", "water": "10m" }, { "name": "beds", "water": "6m", "cycle": "6m" }]);
    assert_eq!(
        round(json!({ "start": "05:30", "cycle": "4m", "soak": "10m", "zones": zones }))?,
        [
            "0s slope ON",
            "3m20s slope OFF",
            "3m20s beds ON",
            "9m20s beds OFF",
            "13m20s slope ON",
            "16m40s slope OFF",
            "26m40s slope ON",
            "30m slope OFF",
        ]
    );
    // Of two that may have their cycle at once, it is that with fewer so far.
    let zones = json!([{ "name": "a", "water": "4m" }, { "name": "b", "water": "2m" }, { "name": "c", "water": "4m" }]);
    let round = round(json!({ "start": "05:30", "cycle": "2m", "soak": "1m", "zones": zones }))?;
    let on: Vec<&str> = round.iter().filter_map(|message| message.strip_suffix(" ON")).collect();
    assert_eq!(on, ["0s a", "2m b", "4m c", "6m a", "8m c"]);
    Ok(())
}

#[test]
fn the_master_valve_leads_and_lags() -> Result<()> {
    let with = |master: Value, pause: &str| {
        let mut config = garden_with("master", master);
        config["pause"] = json!(pause);
        round(config)
    };
    let lawn_and_beds = |master: [&str; 2]| {
        [master[0], "10s lawn ON", "12m10s lawn OFF", "12m40s beds ON", "20m40s beds OFF", master[1]].map(String::from)
    };
    let led = with(json!({ "lead": "10s", "lag": "1m" }), "30s")?;
    assert_eq!(led, lawn_and_beds(["0s master ON", "21m40s master OFF"]), "it stays open in the pause");
    // Both negative, and pauses that are: the next valve is opened first.
    assert_eq!(
        with(
            json!({ "lead": "-5s", "lag": "-20s", "topic": "pump/set", "on_payload": "1", "off_payload": "0" }),
            "-10s"
        )?,
        ["0s lawn ON", "5s pump 1", "11m50s beds ON", "12m lawn OFF", "19m30s pump 0", "19m50s beds OFF"]
    );
    Ok(())
}

#[test]
fn the_master_valve_is_closed_while_all_zones_soak() -> Result<()> {
    let config = json!({
        "start": "05:30", "cycle": "5m", "soak": "20m", "master": { "lag": "1m" },
        "zones": [{ "name": "slope", "water": "10m" }, { "name": "pond", "water": "1m", "master": false }],
    });
    assert_eq!(
        round(config)?,
        [
            "0s master ON",
            "0s slope ON",
            "5m slope OFF",
            "5m pond ON",
            "6m pond OFF",
            "6m master OFF",
            "25m master ON",
            "25m slope ON",
            "30m slope OFF",
            "31m master OFF",
        ]
    );
    Ok(())
}

#[test]
fn rounds_of_one_device_are_never_at_the_same_time() {
    let starts = |starts: Value| {
        let mut config = garden_with("start", starts);
        config["pause"] = json!("10s");
        config
    };
    let refused = error(starts(json!(["05:00", "finish sunrise"])));
    assert!(refused.contains("one round of all zones takes 20m10s and a pause of 10s, and on 2027-0"), "{refused}");
    assert!(refused.contains("`finish sunrise`") && refused.contains("`05:00`"), "{refused}");
    assert!(error(starts(json!(["23:50", "00:05"]))).contains("on 2027-01-02 that of `00:05` begins 15m after"));
    assert!(error(starts(json!(["05:30", "finish 05:45"]))).contains("that of `05:30` begins 5m10s after"));
    assert!(error(starts(json!(["05:30", "05:30"]))).contains("begins 0s after"));
    assert!(plan(starts(json!(["finish sunrise", "sunset +1h", "12:00"])), NOW).is_ok());
    // In June the sun rises long before.
    let mut june = starts(json!(["06:00", "finish sunrise"]));
    assert!(plan(june.clone(), NOW).is_err());
    june["days"] = json!("all in JUN-JUL");
    assert!(plan(june.clone(), NOW).is_ok());
    june["days"] = json!("all");
    june["months_off"] = json!([1, 2, 3, 4, 5, 8, 9, 10, 11, 12]);
    assert!(plan(june, NOW).is_ok());
}

#[test]
fn one_percentage_of_some_months_leaves_the_id() -> Result<()> {
    let plan = plan(garden_with("percent", json!([0, 0, 0, 80, 80, 80, 80, 80, 80, 0, 0, 0])), NOW)?;
    assert_eq!(plan.ids(), ["water"]);
    assert_eq!(plan.job("water").trigger(), "cron 30 5 * * * except JAN-MAR,OCT-DEC");
    assert_eq!(plan.job("water").label(), "Water all zones");
    Ok(())
}

#[test]
fn the_percentage_follows_the_months() -> Result<()> {
    let mut config = garden_with("percent", json!([0, 0, 0, 50, 80, 100, 120, 120, 80, 50, 0, 0]));
    config["months_off"] = json!([10]);
    let plan = plan(config, "2027-04-29T12:00:00+01:00")?;
    assert_eq!(plan.ids(), ["water-50-percent", "water-80-percent", "water-100-percent", "water-120-percent"]);
    let april = plan.job("water-50-percent");
    assert_eq!(april.label(), "Water all zones, 50 %");
    assert_eq!(april.trigger(), "cron 30 5 * * * except JAN-MAR,MAY-DEC");
    assert_eq!(april.messages()[1], "6m sprinkler/garden/lawn/set OFF");
    assert_eq!(plan.job("water-80-percent").due(32)[30..], ["2027-05-31T05:30:00+01:00", "2027-09-01T05:30:00+01:00"]);
    let always = self::plan(garden_with("percent", json!(75)), NOW)?;
    assert_eq!(always.job("water").messages()[3], "15m sprinkler/garden/beds/set OFF");
    assert!(self::plan(garden_with("percent", json!(0)), NOW)?.ids().is_empty());
    Ok(())
}

#[test]
fn payloads_and_topics_are_templates() -> Result<()> {
    let config = json!({
        "start": "05:30", "topic": "zigbee2mqtt/{zone} valve/set", "on_payload": "{\"state\":\"ON\",\"on_time\":{seconds}}",
        "zones": [
            { "name": "lawn", "water": "10m", "cycle": "4m" },
            { "name": "beds", "water": "90s", "topic": "beds/run", "on_payload": "{minutes}", "off_payload": "0" },
        ],
    });
    assert_eq!(
        plan(config, NOW)?.job("water").messages()[..4],
        [
            "0s zigbee2mqtt/lawn valve/set {\"state\":\"ON\",\"on_time\":200}",
            "3m20s zigbee2mqtt/lawn valve/set OFF",
            "3m20s beds/run 2",
            "4m50s beds/run 0",
        ]
    );
    Ok(())
}

#[test]
fn the_task_opens_the_master_valve_too() -> Result<()> {
    let host = TestHost::new("sprinkler", "garden").config(garden_with("master", json!({ "lead": "5s" })));
    assert_eq!(
        host.run_task::<Sprinkler>("water", json!({ "zone": "beds", "minutes": 1 }))?.messages(),
        [
            "0s sprinkler/garden/master/set ON",
            "5s sprinkler/garden/beds/set ON",
            "1m5s sprinkler/garden/beds/set OFF",
            "1m5s sprinkler/garden/master/set OFF",
        ]
    );
    Ok(())
}

#[test]
fn rounds_that_cannot_be_are_refused() {
    assert_eq!(
        error(garden_with("cycle", json!("20s"))),
        "one round has 120 messages, and a run may have 100: set a longer `cycle`, or divide the zones between two devices"
    );
    assert_eq!(
        error(garden_with("start", json!(["05:30", "05:45"]))),
        "config `start`: one round of all zones takes 20m, and on 2027-01-01 that of `05:45` begins 15m after that of \
         `05:30`; set other starts, or name months without rounds in `months_off`"
    );
    assert_eq!(
        error(garden_with("start", json!(["05:30", "cron 15 5-9/2 * * *", "cron 30 5 * * MON"]))),
        "config `start`: one round of all zones takes 20m, and on 2027-01-01 that of `05:30` begins 15m after that of \
         `cron 15 5-9/2 * * *`; set other starts, or name months without rounds in `months_off`"
    );
    assert_eq!(error(garden_with("start", json!([]))), "config `start`: there is none");
    assert_eq!(
        error(garden_with("zones", json!([{ "name": "", "water": "5m" }]))),
        "config `zones[0].name`: it is empty"
    );
    assert_eq!(error(garden_with("pause", json!("-9m"))), "config `pause`: -9m is longer than a zone is watered, 8m");
    assert_eq!(error(garden_with("cycle", json!("0s"))), "config `cycle`: 0s is too short, 1s is the least");
    assert_eq!(
        error(json!({ "start": "05:30", "zones": [{ "name": "lawn", "water": "0s" }] })),
        "config `zones[0].water`: 0s is too short, 1s is the least"
    );
    assert_eq!(
        error(garden_with("master", json!({ "lag": "-30m" }))),
        "config `master`: with this `lead` and `lag` it would be closed before it is opened"
    );
    assert_eq!(
        error(garden_with("percent", json!([100, 50]))),
        "config `percent`: it has 2 numbers, and a year has 12 months"
    );
    assert_eq!(
        error(garden_with("percent", json!("80"))),
        "config `percent`: `\"80\"` is not a number from 0 to 1000, or a list of twelve, one for each month"
    );
    let days = error(garden_with("days", json!("MNO-FRI")));
    assert!(days.starts_with("job `water`: `trigger.text`: `daily 05:30 on MNO-FRI` is not a trigger: "), "{days}");
}

/// Returns when each valve is open, in milliseconds: `(zone, from, to)`.
fn openings(messages: &[String]) -> Vec<(String, i64, i64)> {
    let mut open: Vec<(String, i64, i64)> = Vec::new();
    for message in messages {
        let [at, valve, payload] = message.split(' ').collect::<Vec<_>>()[..] else { panic!("{message}") };
        let at = at.parse::<Span>().unwrap().millis();
        if payload == "ON" {
            open.push((valve.into(), at, -1));
        } else {
            let opened = open.iter_mut().find(|(name, _, to)| name == valve && *to < 0);
            opened.unwrap_or_else(|| panic!("{message} was not open: {messages:?}")).2 = at;
        }
    }
    assert!(open.iter().all(|(_, _, to)| *to >= 0), "one is left open: {messages:?}");
    open
}

#[test]
fn in_any_round_zones_get_their_water_and_their_soak_one_after_the_other() -> Result<()> {
    let mut state = 1_u64;
    let mut any = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % most
    };
    for _ in 0..300 {
        let (count, cycle, soak, pause) = (1 + any(5), 200 + any(600), any(1_200), any(20));
        let zones: Vec<Value> = (0..count)
            .map(|zone| json!({ "name": format!("z{zone}"), "water": format!("{}s", 30 + any(900)), "master": any(4) > 0 }))
            .collect();
        let (lead, lag) = (any(30), any(30));
        let config = json!({
            "start": "05:30", "cycle": format!("{cycle}s"), "soak": format!("{soak}s"), "pause": format!("{pause}s"),
            "zones": zones, "master": { "lead": format!("{lead}s"), "lag": format!("{lag}s") },
        });
        let [cycle, soak, pause] = [cycle, soak, pause].map(|seconds| i64::try_from(seconds).unwrap() * 1_000);
        let [lead, lag] = [lead, lag].map(|seconds| i64::try_from(seconds).unwrap() * 1_000);
        let (master, valves): (Vec<_>, Vec<_>) =
            openings(&round(config.clone())?).into_iter().partition(|(valve, ..)| valve == "master");
        for pair in valves.windows(2) {
            assert!(pair[0].2 + pause <= pair[1].1, "two at once: {config}");
        }
        for zone in config["zones"].as_array().unwrap() {
            let own: Vec<_> = valves.iter().filter(|(valve, ..)| zone["name"] == *valve).collect();
            let water = zone["water"].as_str().unwrap().parse::<Span>().unwrap().millis();
            assert_eq!(own.iter().map(|(_, from, to)| to - from).sum::<i64>(), water, "{config}");
            assert!(own.iter().all(|(_, from, to)| to - from <= cycle), "{config}");
            assert!(own.windows(2).all(|pair| pair[0].2 + soak <= pair[1].1), "{config}");
            let led = |(_, from, to): &&(String, i64, i64)| {
                master.iter().any(|(_, on, off)| *on + lead <= *from && *to + lag <= *off)
            };
            assert!(zone["master"] == false || own.iter().all(led), "{config}");
        }
    }
    Ok(())
}
