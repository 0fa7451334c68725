//! `roost explain`, during and after a run.

use roost_tests::{Broker, Message, Roost, Site};
use serde_json::{Value, json};

use crate::{
    api::ask,
    operations::{self, text},
};

/// Runs a command, and returns its standard output.
fn roost(site: &Site, arguments: &[&str]) -> String {
    operations::roost(site, arguments).0
}

fn schedule(address: &str, job: &Value) {
    let (status, made) = ask(address, "POST", "/api/v1/jobs", "content-type: application/json\r\n", &job.to_string());
    assert_eq!(status, 201, "{made}");
}

/// Explains a job until the output contains a text.
fn explain_until(host: &Roost, site: &Site, job: &str, expected: &str) -> String {
    host.until(expected, || Some(roost(site, &["explain", job])).filter(|shown| shown.contains(expected)))
}

#[test]
fn each_manual_run_is_explained_at_its_time_and_the_last_one_without_a_time() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    schedule(&host.address(), &json!({"trigger": "cron 0 12 1 1 *", "topic": "lamp", "id": "lamp"}));
    let job = "roost/api/lamp";
    // The job itself has never been due.
    assert!(roost(&site, &["explain", job]).contains("and there is no record of that run: "));
    let mut runs = Vec::new();
    for _ in 0..14 {
        let run = roost(&site, &["run-now", job]).trim().to_owned();
        // Explained at once: it is not mistaken for another run, neither under way nor just ended.
        let shown: Value = serde_json::from_str(&roost(&site, &["explain", job, "--json"])).unwrap();
        assert_eq!(text(&shown["run"], "run"), run, "{shown}");
        runs.push(run);
    }
    for run in &runs {
        let at = run.split('/').nth(3).unwrap();
        let shown: Value = serde_json::from_str(&roost(&site, &["explain", job, "--at", at, "--json"])).unwrap();
        assert_eq!((text(&shown["run"], "run"), text(&shown, "verdict")), (run.as_str(), "succeeded"), "{shown}");
    }
    let shown = roost(&site, &["explain", job]);
    assert!(shown.starts_with("it ran: it was started by hand ") && shown.contains(", began at once"), "{shown}");
    assert!(shown.contains("note: it is due next "), "{shown}");
}

#[test]
fn a_run_that_has_just_ended_is_not_mistaken_for_one_that_never_was() {
    let (_broker, site, listener, _host) = crate::ticking("ticking");
    let ticks = |messages: &[Message]| messages.len();
    for so_far in 1..=8 {
        // Explained right after it was sent, when its end may not be on disk yet.
        listener.wait("a tick", |messages| ticks(messages) > so_far);
        let shown: Value = serde_json::from_str(&roost(&site, &["explain", "ticking/ticking/tick", "--json"])).unwrap();
        assert!(["succeeded", "running"].contains(&text(&shown, "verdict")), "{shown}");
    }
}

#[test]
fn a_delayed_run_is_explained_with_its_start_and_whether_it_will_run() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let policy = json!({"jitter_ms": 86_400_000});
    schedule(&host.address(), &json!({"trigger": "at now+1s", "topic": "lamp", "id": "lamp", "policy": policy}));
    let job = "roost/api/lamp";
    let before = explain_until(&host, &site, job, "and starts ");
    let started = explain_until(&host, &site, job, "it has not started yet: it was due ");
    let starts = |shown: &str| shown.split_once("and starts ").unwrap().1.lines().next().unwrap().to_owned();
    assert!(started.contains(", because its runs are spread over 1d"), "{started}");
    assert_eq!(starts(&before), starts(&started));
    assert!(started.contains("note: it is never due again") && !started.contains("due next"), "{started}");
    roost(&site, &["skip", job]);
    let shown = roost(&site, &["explain", job]);
    assert!(shown.contains("and will be skipped, because the operator requested it"), "{shown}");
}

#[test]
fn a_run_that_waits_for_the_connection_is_explained_as_too_late() {
    let (mut broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    host.wait_for_log("connected to");
    broker.stop();
    host.wait_for_log("lost");
    schedule(&host.address(), &json!({"trigger": "now", "topic": "lamp", "id": "lamp", "policy": {"grace_ms": 3_000}}));
    let job = "roost/api/lamp";
    let shown = explain_until(&host, &site, job, "waits for the connection");
    assert!(
        shown.contains("it will be missed if the connection is not back by ") || shown.contains("it had until "),
        "{shown}"
    );
    explain_until(&host, &site, job, "to start, and will be missed when the connection is back");
    broker.start();
    let shown = explain_until(&host, &site, job, "was missed: there was no connection to the broker");
    assert!(shown.contains(" late, and its grace is 3s"), "{shown}");
}
