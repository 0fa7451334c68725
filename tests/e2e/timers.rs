//! The sample `timers`, beside the HTTP API.

use std::fs;

use roost_tests::{
    Broker, Site,
    http::{get, schedule},
    sample,
};
use serde_json::{Value, json};

/// A job with every field that a job over HTTP may have, but a task.
fn full() -> Value {
    json!({
        "id": "full", "label": "All of it", "trigger": "cron 30 5 * * * on MON-FRI in MAY-SEP",
        "steps": [
            { "topic": "timers/a", "payload": "ON", "qos": 2, "retain": true, "once": true },
            { "after_ms": 500, "topic": "timers/b", "payload_base64": "AP8=", "properties": {
                "expiry_ms": 9_000, "content_type": "text/plain", "response_topic": "timers/c", "user": [["a", "b"]],
            } },
            { "after_ms": 90_000, "topic": "timers/a", "payload": "", "confirm": {
                "topic": "timers/d", "matches": { "json": { "pointer": "/on", "value": "true" } }, "within_ms": 7_000,
            } },
            { "after_ms": 90_000, "topic": "timers/a", "payload": "", "confirm": {
                "topic": "timers/d", "matches": { "json_range": { "pointer": "", "min": "1", "max": "2.5" } },
                "within_ms": 7_000, "already": true,
            } },
            { "after_ms": 90_000, "topic": "timers/a", "payload": "", "confirm": {
                "topic": "timers/d", "matches": { "base64": "AP8=" }, "within_ms": 7_000,
            } },
        ],
        "policy": {
            "grace_ms": 7_000, "jitter_ms": 1_000, "priority": -3, "attempts": 5, "give_up_after_ms": 60_000,
            "backoff_ms": 500, "run_all": true, "overlap": { "queue": 3 },
        },
    })
}

#[test]
fn a_job_has_the_same_fields_in_the_settings_and_over_http() {
    let (broker, site) = (Broker::new(), Site::new());
    let single = json!({
        "id": "single", "trigger": "every 1h", "topic": "timers/e", "payload": "{}", "qos": 0, "retain": true,
        "policy": { "overlap": "replace", "latest_of_group": "e" },
    });
    // TOML has JSON's values, and a file of settings may be written on one line.
    let toml = toml_of(&json!([full(), single]));
    site.settings("timers", &format!("[config]\njob = {toml}\n[grants]\nsubscribe = [\"timers/#\"]\n"));
    site.drop_in(&sample("timers"), "timers");
    fs::write(site.path().join("roost.toml"), "[grants.api]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n").unwrap();
    let host = site.start(&broker);
    host.wait_for_log("jobs of `timers`: 2 new");
    for job in [full(), single] {
        schedule(&host.address(), &job);
        let id = job["id"].as_str().unwrap();
        let [planned, made] =
            ["timers/timers", "roost/api"].map(|device| get(&host.address(), &format!("/api/v1/jobs/{device}/{id}")));
        for field in ["trigger", "label", "steps", "policy"] {
            assert_eq!(planned[field], made[field], "{field} of {id}");
        }
        assert!(!planned["steps"].as_array().unwrap().is_empty() && planned["policy"].is_object(), "{planned}");
    }
    assert!(host.stop().success());
}

/// Writes a JSON value as an inline value of TOML.
fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(toml_of).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pairs: Vec<String> = table.iter().map(|(key, value)| format!("{key} = {}", toml_of(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
