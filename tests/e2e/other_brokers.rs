//! Brokers with only MQTT 3.1.1: every guarantee that does not depend on MQTT 5 holds.

use expect_test::expect;
use roost_tests::{Broker, Device, Listener, Roost, Site, guest, http::schedule, now_ms, redact, retained};
use serde_json::{Value, json};

const JOBS: usize = 100;

/// Makes an ad-hoc job, which is due only on request, and runs it.
fn begin(host: &Roost, site: &Site, id: &str, steps: &Value) {
    schedule(&host.address(), &json!({"id": id, "trigger": "cron 0 12 1 1 *", "steps": steps}));
    site.roost(&["run-now", id]);
}

fn has_succeeded(host: &Roost, site: &Site, job: &str) {
    host.has(site, &format!("SELECT count(*) FROM runs WHERE job = '{job}' AND state = 'succeeded'"), 1);
}

#[test]
fn a_broker_with_only_3_1_1_gets_every_message_and_one_warning_is_logged() {
    let (mut broker, site) = (Broker::without_5(), Site::new());
    let listener = Listener::v3(broker.port);
    let host = site.start(&broker);
    host.wait_for_log("speaks MQTT 3.1.1, and not 5: messages do not carry the id of their run");
    let status = site.roost(&["status"]);
    let link = status.lines().filter(|line| line.starts_with("broker") || line.starts_with("missing"));
    expect![[r#"
        broker    connected to mqtt://127.0.0.1:[PORT], MQTT 3.1.1, since [TIME], 0 messages under way
        missing   run ids, expiry and refusals of messages: the broker supports MQTT 3.1.1, not 5"#]]
    .assert_eq(&redact(&link.collect::<Vec<_>>().join("\n")));
    assert_eq!(retained(broker.port, "roost/status").as_deref(), Some("online"));

    // A device's report.
    let _door = Device::answering(&broker, &listener, "door/set", "door/state", "open");
    let report = json!({"topic": "door/state", "matches": {"text": "open"}, "within_ms": 60_000});
    begin(&host, &site, "door", &json!([{"topic": "door/set", "payload": "open", "qos": 1, "confirm": report}]));
    has_succeeded(&host, &site, "door");

    // Messages and owed steps while the broker is killed.
    let begins_ms = now_ms() + 3_000;
    site.settings(
        "burst",
        &format!(
            "[grants]\npublish = [\"burst/#\"]\n[[device]]\nname = \"one\"\nconfig = {{ first = 0, jobs = {JOBS}, \
             total = {JOBS}, t0_ms = {begins_ms}, spread_ms = 4000, then_ms = 1000, topic = \"burst/x\" }}\n"
        ),
    );
    site.drop_in(&guest("burst"), "burst");
    let valve = |payload, after_ms| json!({"topic": "valve", "payload": payload, "qos": 1, "retain": true, "after_ms": after_ms});
    listener.wait("a third of the messages", |messages| {
        messages.iter().filter(|message| message.topic.starts_with("burst/")).count() > JOBS / 3
    });
    begin(&host, &site, "valve", &json!([valve("ON", 0), valve("OFF", 1_000)]));
    assert_eq!(listener.wait_for("valve").payload, "ON");
    broker.kill();
    host.wait_for_log("lost the connection to the broker");
    broker.start();
    // Whether the first of them had been acknowledged or not.
    host.until("the valve is closed", || retained(broker.port, "valve").filter(|kept| kept == "OFF"));
    host.has(
        &site,
        "SELECT count(*) FROM runs WHERE plugin = 'burst' AND state = 'succeeded'",
        i64::try_from(JOBS).unwrap(),
    );
    let count = host.log.all().iter().filter(|line| line.contains("speaks MQTT 3.1.1, and not 5")).count();
    assert_eq!(count, 1, "also after another connection");

    host.kill();
    let listener = Listener::v3(broker.port);
    listener.wait("the last will", |_| retained(broker.port, "roost/status").as_deref() == Some("offline"));
}
