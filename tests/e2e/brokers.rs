//! Brokers with access rules, and other unusual brokers.

use std::fs;

use expect_test::expect;
use roost_tests::{
    Broker, Listener, Roost, Site, guest,
    http::{schedule, text},
    redact,
};
use serde_json::{Value, json};

use crate::{job, more};

/// Makes an ad-hoc job that is due only on request.
fn by_hand(address: &str, id: &str, topic: &str, qos: u8) {
    schedule(
        address,
        &json!({
            "id": id, "trigger": "cron 0 12 1 1 *", "policy": {"attempts": 1},
            "steps": [{"topic": topic, "payload": "ON", "qos": qos}],
        }),
    );
}

/// Runs such a job, and waits until its newest run has ended.
fn run(host: &Roost, site: &Site, id: &str) -> Value {
    let run = site.roost(&["run-now", id]).trim().to_owned();
    host.until(&format!("the end of {run}"), || {
        let shown = site.json(&["explain", &format!("roost/api/{id}")]);
        (shown["run"]["run"] == run && shown["verdict"] != "running").then_some(shown)
    })
}

#[test]
fn a_topic_that_the_broker_denies_is_named_and_all_others_work() {
    let site = Site::new();
    let rules = site.path().join("acl");
    fs::write(&rules, "topic write tick/#\ntopic read #\n").unwrap();
    let broker = Broker::start_with(&format!("acl_file {}", rules.display()));
    let listener = Listener::new(broker.port);
    site.settings("tick", &job("tick", "every_ms = 1000", "tick/tick"));
    site.drop_in(&guest("declared"), "tick");
    let host = site.start(&broker);
    // The status topic is the first that is denied.
    host.wait_for_log(
        "the broker ends the connection at the message to `roost/status`, which was the only packet under way",
    );
    host.wait_for_log("or set `status_topic = \"off\"` in `[mqtt]`");
    more(&listener, "tick/tick");

    let address = host.address();
    by_hand(&address, "porch", "porch/light", 0);
    assert_eq!(run(&host, &site, "porch")["verdict"], "succeeded", "at QoS 0 a message is done when it is written");
    let shown = run(&host, &site, "porch");
    // It closes the connection, or resets it.
    let sentence = redact(text(&shown, "sentence"));
    let sentence = sentence.replace("the connection broke: Connection reset by peer (os error 104)", "[END]");
    expect!["it failed: it was started by hand [TIME], and step 1 was given up after 1 attempt: the broker ended the connection at the message to `porch/light`, which was alone on it: [END]"].assert_eq(&sentence.replace("the broker closed the connection", "[END]"));
    expect![[r#"
        [
          "let Roost's user of the broker publish to `porch/light`: in Mosquitto's `acl_file`, the line `topic write porch/light` below the user's line",
          "it is due next [TIME]"
        ]"#]].assert_eq(&redact(&serde_json::to_string_pretty(&shown["notes"]).unwrap()));
    assert_eq!(shown["run"]["why"]["failed"]["last"]["ended_link"]["topic"], "porch/light", "{shown}");
    host.wait_for_log("the line `topic write porch/light` below the user's line");
    more(&listener, "tick/tick");
    assert_eq!(site.query("SELECT count(*) FROM runs WHERE plugin = 'tick' AND state <> 'succeeded'"), 0);
    assert!(host.stop().success());
}

#[test]
fn the_status_topic_can_be_changed_or_turned_off() {
    for (settings, expected) in [
        ("status_topic = \"porch/roost\"", Some("porch/roost")),
        ("topic = \"barn/roost\"", Some("barn/roost/status")),
        ("topic = \"barn/roost\"\nstatus_topic = \"off\"", None),
    ] {
        let (broker, site) = (Broker::new(), Site::new());
        let listener = Listener::new(broker.port);
        fs::write(site.path().join("roost.toml"), format!("[mqtt]\n{settings}\n")).unwrap();
        let host = site.start(&broker);
        by_hand(&host.address(), "lamp", "lamp", 1);
        assert_eq!(run(&host, &site, "lamp")["verdict"], "succeeded");
        assert!(host.stop().success());
        let messages = listener.wait("the lamp", |messages| messages.iter().any(|message| message.topic == "lamp"));
        let topic = messages.iter().find(|message| message.payload == "online").map(|message| message.topic.as_str());
        assert_eq!(topic, expected, "{messages:?}");
    }
}

#[test]
fn an_owed_step_waits_for_a_subscriber_and_the_run_records_a_missing_one() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    // There has never been a subscriber: that is recorded, and delays nothing.
    by_hand(&address, "lamp", "lamp", 1);
    let shown = run(&host, &site, "lamp");
    assert_eq!(shown["verdict"], "succeeded");
    expect!["it ran: it was started by hand [TIME], began at once, and ended [TIME]; no device listens on `lamp`"]
        .assert_eq(&redact(text(&shown, "sentence")));
    assert_eq!(shown["run"]["why"]["no_subscriber"]["step"], 1, "{shown}");
    expect![[r#"
        $ roost runs
        TIME ([ZONE])  STATE      ATTEMPTS  RUN                                             REASON
        [TIME]  succeeded  1         roost/api/lamp/[TIME]/manual  no device listens on `lamp`
    "#]]
    .assert_eq(&site.transcript(&[&["runs"]]));

    let listener = Listener::new(broker.port);
    let job = json!({
        "id": "valve", "trigger": "cron 0 12 1 1 *",
        "steps": [
            {"topic": "valve", "payload": "ON", "qos": 1},
            {"topic": "valve", "payload": "OFF", "qos": 1, "after_ms": 1_000},
        ],
    });
    schedule(&address, &job);
    site.roost(&["run-now", "valve"]);
    listener.wait_for("valve");
    drop(listener);
    host.wait_for_log(
        "the broker has no subscriber for `valve`: a run's owed steps on it are sent again for up to 5 min",
    );
    let waits = |shown: &String| shown.contains("step 2 of 2 was attempted");
    let shown = host.until("the attempt", || Some(site.roost(&["explain", "roost/api/valve"])).filter(waits));
    expect![[r#"
        it has not ended: it was started by hand [TIME], and step 2 of 2 was attempted once: the broker accepted the message, and no device listens on its topic; the next attempt is [TIME]
        remedy: `roost abandon roost/api/valve/[TIME]/manual`
        note: it is due next [TIME]
    "#]].assert_eq(&redact(&shown));
    let listener = Listener::new(broker.port);
    assert_eq!(listener.wait_for("valve").payload, "OFF");
    host.wait_for_log("succeeded roost/api/valve/");
    assert!(host.stop().success());
}
