//! Plans of timers.
#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]

use roost_plugin_sdk::{
    Result, hours, minutes,
    testing::{Plan, TestHost},
};
use serde_json::{Value, json};

use super::*;

fn plan(jobs: Value) -> Result<Plan> {
    let host = TestHost::new("timers", "house").time_zone("Europe/London").location(51.4779, -0.0015);
    host.config(json!({ "job": jobs })).at("2027-06-01T12:00:00+01:00").schedule_jobs::<Timers>()
}

fn error(job: Value) -> String {
    plan(json!([job])).unwrap_err().to_string()
}

#[test]
fn a_job_is_a_trigger_and_a_message() -> Result<()> {
    let plan = plan(json!([
        { "id": "light", "trigger": "sunset -10m", "topic": "porch/light/set", "payload": "ON", "label": "Porch light on" },
        { "id": "radio", "trigger": "daily 07:30 on MON-FRI except holidays", "topic": "radio/set", "payload": "ON" },
        { "id": "empty", "trigger": "every 1h", "topic": "house/ping", "payload": "" },
    ]))?;
    assert_eq!(plan.ids(), ["light", "radio", "empty"]);
    assert_eq!((plan.job("light").label(), plan.job("light").trigger().as_str()), ("Porch light on", "sunset -10m"));
    assert_eq!(plan.job("light").messages(), ["0s porch/light/set ON"]);
    assert_eq!(plan.job("radio").trigger(), "cron 30 7 * * * on MON-FRI except holidays");
    assert_eq!(plan.job("radio").label(), "radio");
    assert_eq!(plan.job("empty").messages(), ["0s house/ping "]);
    assert_eq!(plan.job("empty").grace(), minutes(5));
    Ok(())
}

#[test]
fn payloads_are_text_json_values_or_bytes() -> Result<()> {
    let message = |key: &str, payload: Value| -> Result<String> {
        let mut job = json!({ "id": "one", "trigger": "every 1h", "topic": "t", "qos": 0, "retain": true });
        job[key] = payload;
        Ok(plan(json!([job]))?.job("one").messages().concat())
    };
    for (payload, sent) in [
        (json!("ON"), "ON"),
        (json!("{\"a\":  1}"), "{\"a\":  1}"),
        (json!({ "state": "ON", "brightness": 200 }), "{\"brightness\":200,\"state\":\"ON\"}"),
        (json!([1, 2.5, true]), "[1,2.5,true]"),
        (json!(50), "50"),
        (json!(false), "false"),
    ] {
        assert_eq!(message("payload", payload)?, format!("0s t {sent}, qos 0, retained"));
    }
    assert_eq!(message("payload_base64", json!("AP8="))?, "0s t base64:AP8=, qos 0, retained");
    Ok(())
}

#[test]
fn steps_are_those_of_the_api() -> Result<()> {
    let plan = plan(json!([{ "id": "water", "trigger": "finish sunrise", "steps": [
        { "topic": "pump/set", "payload": "ON", "qos": 2 },
        { "after_ms": 5_000, "topic": "valve/set", "payload": { "on_time": 60 }, "properties": {
            "expiry": "10s", "content_type": "application/json", "response_topic": "valve/answer",
            "user": [["by", "timer"]],
        } },
        { "after": "1m5s", "topic": "valve/set", "payload": "OFF", "confirm": {
            "topic": "valve", "matches": { "json": { "pointer": "/state", "value": "\"OFF\"" } }, "within": "10s",
            "already": true,
        } },
        { "after_ms": 65_000, "topic": "pump/set", "payload": "", "once": true, "retain": true, "confirm": {
            "topic": "pump", "matches": { "json_range": { "pointer": "/w", "min": "0", "max": "5.5" } }, "within_ms": 9_000,
        } },
        { "after_ms": 65_000, "topic": "log", "payload": "", "confirm": { "topic": "log/done", "matches": "any", "within_ms": 1_000 } },
    ] }]))?;
    let water = plan.job("water");
    assert_eq!(
        water.messages(),
        [
            "0s pump/set ON, qos 2",
            "5s valve/set {\"on_time\":60}, expires after 10s, application/json, answer to valve/answer, by=timer",
            "1m5s valve/set OFF, confirmed by valve /state=\"OFF\" within 10s or before",
            "1m5s pump/set , retained, once, confirmed by pump /w=0..=5.5 within 9s",
            "1m5s log , confirmed by log/done within 1s",
        ]
    );
    // It ends at sunrise.
    assert_eq!(water.trigger(), "finish sunrise after 1m5s");
    Ok(())
}

#[test]
fn policies_are_those_of_the_api() -> Result<()> {
    let with = |policy: Value| {
        plan(json!([{ "id": "one", "trigger": "daily 05:30", "topic": "t", "payload": "", "policy": policy }]))
    };
    let plan = with(json!({ "grace": "2h", "jitter_ms": 60_000, "priority": -3, "needs": "pump", "run_all": true }))?;
    let job = plan.job("one");
    assert_eq!((job.grace(), job.jitter(), job.priority()), (hours(2), minutes(1), -3));
    assert_eq!((job.needs(), job.misfire().as_str()), (Some("pump"), "run-all"));
    for (overlap, shown) in
        [(json!({ "queue": 3 }), "queue 3"), (json!({ "allow": 2 }), "allow 2"), (json!("replace"), "replace")]
    {
        assert_eq!(with(json!({ "overlap": overlap }))?.job("one").overlap(), shown);
    }
    let retry = json!({ "attempts": 5, "give_up_after": "1h", "backoff_ms": 500, "latest_of_group": "door" });
    assert_eq!(with(retry)?.job("one").misfire(), "latest-of-group door");
    Ok(())
}

#[test]
fn a_time_that_has_passed_leaves_the_plan() -> Result<()> {
    let once = |id: &str, trigger: &str| json!({ "id": id, "trigger": trigger, "topic": "t", "payload": "" });
    let plan = plan(json!([
        once("local", "at 2026-12-01T07:30"),
        once("zoned", "at 2026-12-01T07:30:00Z"),
        once("next", "at 2027-06-02T07:30"),
    ]))?;
    assert_eq!(plan.ids(), ["local", "zoned", "next"]);
    assert!(plan.job("local").due(1).is_empty());
    Ok(())
}

#[test]
fn errors_have_the_id_and_the_field() {
    let with = |key: &str, value: Value| {
        let mut job = json!({ "id": "light", "trigger": "sunset", "topic": "t", "payload": "ON" });
        if key == "payload_base64" {
            job["payload"] = Value::Null;
        }
        job[key] = value;
        error(job)
    };
    assert_eq!(error(json!({ "trigger": "sunset" })), "config `job[0]`: missing field `id`");
    assert_eq!(error(json!({ "id": "light", "topic": "t" })), "config `job[0]`: missing field `trigger` (job `light`)");
    assert_eq!(
        error(json!({ "id": "light", "trigger": "sunset" })),
        "config `job[0].topic`: it is missing; set it for one message, or `steps` for several (job `light`)"
    );
    assert_eq!(
        with("steps", json!([])),
        "config `job[0].topic`: there are `steps` too; leave one of them out (job `light`)"
    );
    assert_eq!(
        error(json!({ "id": "light", "trigger": "sunset", "retain": true, "steps": [] })),
        "config `job[0].steps`: a payload, `qos` and `retain` belong to each step, not beside them (job `light`)"
    );
    assert_eq!(
        with("payload_base64", json!("AP8")),
        "config `job[0].payload_base64`: `AP8` is not base64 with padding (job `light`)"
    );
    assert_eq!(
        with("policy", json!({ "grace": "soon" })),
        "config `job[0].policy.grace`: `soon` is not a length of time, write it like `90s`, `15m`, `1h30m` or `-20m` (job `light`)"
    );
    assert_eq!(
        with("policy", json!({ "grace": 10 })),
        "config `job[0].policy.grace`: `10` has no unit, write it like `\"10s\"` or `\"10m\"` (job `light`)"
    );
    assert_eq!(
        with("policy", json!({ "grace": "10s", "grace_ms": 10_000 })),
        "config `job[0].policy.grace`: there is `grace_ms` too; leave one of them out (job `light`)"
    );
    assert_eq!(
        with("policy", json!({ "overlap": "wait" })),
        "config `job[0].policy.overlap`: it is `\"replace\"`, `{ queue = 3 }` or `{ allow = 2 }`, with a number of runs (job \
         `light`)"
    );
    for overlap in [json!("allow"), json!({ "allow": "2" }), json!({ "queue": -1 }), json!(3)] {
        assert!(
            with("policy", json!({ "overlap": overlap })).contains("it is `\"replace\"`, `{ queue = 3 }`"),
            "{overlap}"
        );
    }
    assert_eq!(
        error(json!({ "id": "light", "trigger": "sunset", "topic": "t" })),
        "config `job[0].payload`: it is missing; an empty message has `payload = \"\"` (job `light`)"
    );
    assert_eq!(
        error(json!({ "id": "light", "trigger": "sunset", "steps": [] })),
        "config `job[0].steps`: there is none; each is a message, with `topic` and `payload` (job `light`)"
    );
}

#[test]
fn errors_of_steps_and_triggers_have_their_place() {
    let step = |step: Value| {
        error(
            json!({ "id": "light", "trigger": "sunset", "steps": [{ "topic": "t", "payload": "", "after": "5s" }, step] }),
        )
    };
    assert_eq!(step(json!({ "after": "6s" })), "config `job[0].steps[1]`: missing field `topic` (job `light`)");
    assert_eq!(
        step(json!({ "topic": "t", "after": 10 })),
        "config `job[0].steps[1].after`: `10` has no unit, write it like `\"10s\"` or `\"10m\"` (job `light`)"
    );
    assert!(step(json!({ "topic": "t", "after_ms": "6s" })).starts_with("config `job[0].steps[1].after_ms`: "));
    assert_eq!(
        step(json!({ "topic": "t" })),
        "config `job[0].steps[1].after`: 0s is before 5s, when the step before it is due (job `light`)"
    );
    assert_eq!(
        step(json!({ "topic": "t", "after": "6s" })),
        "config `job[0].steps[1].payload`: it is missing; an empty message has `payload = \"\"` (job `light`)"
    );
    assert_eq!(
        step(json!({ "topic": "t", "after": "6s", "payload": "", "confirm": { "topic": "t", "matches": "any" } })),
        "config `job[0].steps[1].confirm`: missing field `within` (job `light`)"
    );
    assert_eq!(
        step(json!({ "topic": "t", "after_ms": 4_000 })),
        "config `job[0].steps[1].after`: 4s is before 5s, when the step before it is due (job `light`)"
    );
    assert_eq!(
        step(json!({ "topic": "t", "after": "5s", "payload": 1, "payload_base64": "" })),
        "config `job[0].steps[1].payload`: there is `payload_base64` too; leave one of them out (job `light`)"
    );
    // The host parses the trigger.
    let with_trigger = |text: &str| error(json!({ "id": "light", "trigger": text, "topic": "t", "payload": "ON" }));
    assert!(with_trigger("at dusk").starts_with("job `light`: `trigger.text`: `at dusk` is not a trigger: "));
    assert!(with_trigger("now").contains("depends on when it is asked"));
}
