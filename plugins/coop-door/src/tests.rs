//! Plans of doors.

use roost_plugin_sdk::testing::{Plan, TestHost};
use serde_json::{Value, json};

use super::*;

fn plan(config: Value, now: &str) -> Result<Plan> {
    let host = TestHost::new("coop-door", "north").time_zone("Europe/London").location(51.4779, -0.0015);
    host.config(config).at(now).schedule_jobs::<CoopDoor>()
}

#[test]
fn it_opens_with_the_sun_but_not_before_half_past_six() -> Result<()> {
    let open = plan(json!({}), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(open.job("open").due(1), ["2027-06-02T06:30:00+01:00"]);
    let winter = plan(json!({}), "2027-12-20T12:00:00Z")?;
    assert!(winter.job("open").due(1)[0].starts_with("2027-12-21T08:0"), "{:?}", winter.job("open").due(1));
    Ok(())
}

#[test]
fn it_closes_after_dusk() -> Result<()> {
    let plan = plan(json!({ "close_offset": "0m" }), "2027-06-01T12:00:00+01:00")?;
    assert!(plan.job("close").due(1)[0].starts_with("2027-06-01T21:5"), "{:?}", plan.job("close").due(1));
    Ok(())
}

#[test]
fn the_closing_time_can_be_limited() -> Result<()> {
    let plan = plan(json!({ "close_not_after": "21:30" }), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(plan.job("close").due(1), ["2027-06-01T21:30:00+01:00"]);
    Ok(())
}

#[test]
fn it_closes_at_midsummer_in_the_north_and_opens_again() -> Result<()> {
    // Oulu has no civil dusk from late May on, Tromsø no sunset and no sunrise.
    for (zone, latitude, longitude) in [("Europe/Helsinki", 65.01, 25.47), ("Europe/Oslo", 69.65, 18.96)] {
        let door = TestHost::new("coop-door", "north").time_zone(zone).location(latitude, longitude);
        let door = door.at("2027-06-21T12:00:00Z");
        let plan = door.clone().schedule_jobs::<CoopDoor>()?;
        assert_eq!(plan.job("close").due(1)[0][..16], *"2027-06-21T23:00", "{zone}");
        assert_eq!(plan.job("open").due(1)[0][..16], *"2027-06-22T06:30", "{zone}");
        let early = door.config(json!({ "close_not_after": "22:00" })).schedule_jobs::<CoopDoor>()?;
        assert_eq!(early.job("close").due(1)[0][..16], *"2027-06-21T22:00", "{zone}");
    }
    Ok(())
}

#[test]
fn the_limit_holds_for_an_evening_that_lasts_beyond_midnight() -> Result<()> {
    let door = TestHost::new("coop-door", "north").time_zone("Europe/Helsinki").location(60.17, 24.94);
    let door = door.config(json!({ "close_not_after": "22:00" })).at("2027-06-21T12:00:00+03:00");
    assert_eq!(door.schedule_jobs::<CoopDoor>()?.job("close").due(1), ["2027-06-21T22:00:00+03:00"]);
    Ok(())
}

#[test]
fn topics_and_payloads_can_be_configured() -> Result<()> {
    let plan = plan(json!({}), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(plan.job("open").messages(), ["0s coop-door/north/door/set OPEN"]);
    assert_eq!(plan.job("close").messages(), ["0s coop-door/north/door/set CLOSE"]);
    let config = json!({ "topic": "cmnd/north/ShutterPosition", "open_payload": "100", "close_payload": "0" });
    let plan = self::plan(config, "2027-06-01T12:00:00+01:00")?;
    assert_eq!(plan.job("close").messages(), ["0s cmnd/north/ShutterPosition 0"]);
    Ok(())
}

#[test]
fn after_an_outage_only_the_newest_command_is_caught_up() -> Result<()> {
    let plan = plan(json!({}), "2027-06-01T12:00:00+01:00")?;
    for id in ["open", "close"] {
        assert_eq!(plan.job(id).misfire(), "latest-of-group door");
    }
    Ok(())
}

#[test]
fn a_door_with_a_state_topic_confirms_its_commands() -> Result<()> {
    let config = json!({ "state_topic": "coop-door/north/door", "state_within": "40s" });
    let plan = plan(config, "2027-06-01T12:00:00+01:00")?;
    assert_eq!(
        plan.job("close").messages(),
        ["0s coop-door/north/door/set CLOSE, confirmed by coop-door/north/door closed within 40s"]
    );
    let config = json!({ "state_topic": "z/door", "state_pointer": "/state", "open_state": "OPEN" });
    let plan = self::plan(config, "2027-06-01T12:00:00+01:00")?;
    assert_eq!(
        plan.job("open").messages(),
        ["0s coop-door/north/door/set OPEN, confirmed by z/door /state=\"OPEN\" within 1m"]
    );
    Ok(())
}

#[test]
fn a_state_is_text_or_any_json_value() -> Result<()> {
    let confirmed = |pointer: Value, state: Value| {
        let config = json!({ "state_topic": "state", "state_pointer": pointer, "closed_state": state });
        let plan = plan(config, "2027-06-01T12:00:00+01:00")?;
        Ok::<_, Error>(plan.job("close").messages()[0].split_once(", ").unwrap().1.to_owned())
    };
    assert_eq!(confirmed(json!("/output"), json!(false))?, "confirmed by state /output=false within 1m");
    assert_eq!(confirmed(json!("/position"), json!(0))?, "confirmed by state /position=0 within 1m");
    assert_eq!(confirmed(json!(null), json!(0))?, "confirmed by state 0 within 1m");
    assert_eq!(confirmed(json!(null), json!("0"))?, "confirmed by state 0 within 1m");
    Ok(())
}

#[test]
fn an_earlier_state_counts_where_only_changes_are_reported() -> Result<()> {
    let config = json!({ "state_topic": "state", "state_already": true });
    let plan = plan(config, "2027-06-01T12:00:00+01:00")?;
    assert_eq!(
        plan.job("close").messages(),
        ["0s coop-door/north/door/set CLOSE, confirmed by state closed within 1m or before"]
    );
    Ok(())
}

#[test]
fn tasks_open_and_close_the_door() -> Result<()> {
    let host = TestHost::new("coop-door", "north").config(json!({ "state_topic": "coop-door/north/door" }));
    let answer = host.run_task::<CoopDoor>("open", json!(null))?;
    assert_eq!(
        answer.messages(),
        ["0s coop-door/north/door/set OPEN, confirmed by coop-door/north/door open within 1m"]
    );
    let answer = TestHost::new("coop-door", "north").run_task::<CoopDoor>("close", json!({}))?;
    assert_eq!(answer.messages(), ["0s coop-door/north/door/set CLOSE"]);
    Ok(())
}

#[test]
fn a_mistake_in_the_settings_is_named() {
    let error = plan(json!({ "open_not_before": "half past six" }), "2027-06-01T12:00:00Z").unwrap_err();
    assert_eq!(
        error.to_string(),
        "config `open_not_before`: `half past six` is not a time of day, write it like `06:30` or `06:30:15`"
    );
    assert!(plan(json!({ "opn_at": "sunrise" }), "2027-06-01T12:00:00Z").is_err());
}

#[test]
fn it_may_be_opened_and_closed_by_the_clock() -> Result<()> {
    let plan = plan(json!({ "open_at": "06:00", "close_at": "21:15" }), "2027-06-01T12:00:00+01:00")?;
    assert_eq!(plan.job("open").due(1), ["2027-06-02T06:00:00+01:00"]);
    assert_eq!(plan.job("close").due(1), ["2027-06-01T21:15:00+01:00"]);
    Ok(())
}

#[test]
fn weekends_have_their_own_times() -> Result<()> {
    let config = json!({
        "close_not_after": "22:00",
        "weekend": { "calendar": "holidays", "open_at": "08:30", "close_offset": "30m" },
    });
    let plan = plan(config, "2027-06-04T12:00:00+01:00")?;
    assert_eq!(plan.ids(), ["open", "open-weekend", "close", "close-weekend"]);
    assert_eq!(plan.job("open").trigger(), "sunrise not-before 06:30 else 06:30 on MON-FRI except holidays");
    assert_eq!(plan.job("open-weekend").trigger(), "cron 30 8 * * * on SAT-SUN,holidays");
    assert_eq!(plan.job("close-weekend").trigger(), "civil-dusk +30m not-after 22:00 else 22:00 on SAT-SUN,holidays");
    // A Friday: tomorrow, and on Monday.
    assert_eq!(plan.job("open-weekend").due(1), ["2027-06-05T08:30:00+01:00"]);
    assert_eq!(plan.job("open").due(1), ["2027-06-07T06:30:00+01:00"]);
    for id in plan.ids() {
        assert_eq!(plan.job(id).misfire(), "latest-of-group door");
    }
    Ok(())
}

#[test]
fn a_door_that_is_held_closed_is_closed_every_evening_and_not_opened() -> Result<()> {
    let now = "2027-06-01T12:00:00+01:00";
    assert_eq!(plan(json!({ "hold": "closed" }), now)?.ids(), ["close"]);
    let until = json!({ "hold": "closed", "hold_until": "2027-06-05", "weekend": {} });
    let plan = plan(until.clone(), now)?;
    assert_eq!(plan.job("close").due(1)[0][..10], *"2027-06-01");
    assert_eq!(plan.job("open-weekend").due(1), ["2027-06-05T06:30:00+01:00"]);
    assert_eq!(plan.job("open").due(1), ["2027-06-07T06:30:00+01:00"]);
    let task = |now: &str, task: &str| {
        TestHost::new("coop-door", "north").config(until.clone()).at(now).run_task::<CoopDoor>(task, json!(null))
    };
    assert_eq!(
        task("2027-06-04T23:59:00Z", "open").unwrap_err().to_string(),
        "the door is held closed: remove `hold = \"closed\"` from its settings to open it"
    );
    assert_eq!(task("2027-06-04T23:59:00Z", "close")?.messages(), ["0s coop-door/north/door/set CLOSE"]);
    assert_eq!(task("2027-06-05T00:00:00Z", "open")?.messages(), ["0s coop-door/north/door/set OPEN"]);
    Ok(())
}

#[test]
fn a_door_that_is_held_open_closes_again_on_a_date() -> Result<()> {
    let now = "2027-06-01T12:00:00+01:00";
    let plan = plan(json!({ "hold": "open", "hold_until": "2027-06-03" }), now)?;
    assert_eq!(plan.job("close").due(1)[0][..10], *"2027-06-03");
    assert_eq!(plan.job("open").due(1), ["2027-06-02T06:30:00+01:00"]);
    let error = |config: Value| self::plan(config, now).unwrap_err().to_string();
    assert_eq!(
        error(json!({ "hold": "open" })),
        "config `hold`: a door that is held open needs `hold_until`, the date on which it closes again, so that it is not \
         forgotten"
    );
    assert_eq!(error(json!({ "hold_until": "2027-06-03" })), "config `hold_until`: there is no `hold` that could end");
    Ok(())
}
