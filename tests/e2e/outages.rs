//! Outages of the broker.

use std::collections::HashMap;

use roost_tests::{Broker, Listener, Site, guest};

use crate::{NOON, SECOND, SOON, job};

#[test]
fn runs_due_during_an_outage_are_sent_when_the_broker_is_back() {
    let (mut broker, site) = (Broker::new(), Site::new());
    // It is retained, because the host may be back at the broker before the listener is.
    let retained = job("soon", &format!("at_ms = {NOON}"), "declared/soon").replace("}]", ", retain = true }]");
    site.settings("declared", &retained);
    site.drop_in(&guest("declared"), "declared");
    let roost = site.start_at(&broker, NOON - SOON);
    roost.wait_for_log("connected to the broker");
    roost.wait_for_log("1 new");
    broker.stop();
    roost.wait_for_log("lost the connection to the broker");
    site.set_clock(NOON - SECOND);
    let is_due = |shown: &serde_json::Value| shown["run"].is_object();
    roost.until("it to be due", || Some(site.json(&["explain", "declared/declared/soon"])).filter(is_due));
    broker.start();
    let listener = Listener::new(broker.port);
    assert_eq!(listener.wait_for("declared/soon").payload, "soon");
    assert!(roost.stop().success());
}

#[test]
fn a_broker_killed_under_load_loses_no_message_and_gets_no_acknowledged_one_again() {
    const JOBS: usize = 3000;
    let (mut broker, site) = (Broker::new(), Site::new());
    site.settings(
        "burst",
        &format!(
            "[grants]\npublish = [\"burst/#\"]\n[[device]]\nname = \"one\"\nconfig = {{ first = 0, jobs = {JOBS}, \
             total = {JOBS}, t0_ms = {NOON}, spread_ms = 6000, topic = \"burst/x\" }}\n"
        ),
    );
    site.drop_in(&guest("burst"), "burst");
    let roost = site.start_at(&broker, NOON - SOON);
    roost.wait_for_log("connected to the broker");
    roost.wait_for_log(&format!("{JOBS} new"));
    // The listener reconnects by itself.
    let listener = Listener::new(broker.port);
    site.set_clock(NOON - SECOND);
    listener.wait("a third of the messages", |messages| messages.len() > JOBS / 3);
    broker.kill();
    broker.start();
    roost.has(&site, "SELECT count(*) FROM runs WHERE state = 'succeeded'", i64::try_from(JOBS).unwrap());
    let mut messages: HashMap<String, Vec<u32>> = HashMap::new();
    for message in listener.messages() {
        let attempt = message.property("roost-attempt").unwrap().parse().unwrap();
        messages.entry(message.payload).or_default().push(attempt);
    }
    // Only messages that passed while the listener was away may be missing.
    assert!(messages.len() > JOBS / 3, "only {} of {JOBS} were heard", messages.len());
    for (payload, attempts) in messages {
        let mut distinct = attempts.clone();
        distinct.dedup();
        assert_eq!(attempts, distinct, "an attempt at {payload} was sent twice");
    }
}
