//! `roost explain`, during and after a run.

use expect_test::expect;
use roost_tests::{
    Broker, Message, Roost, Site,
    http::{ask, get, schedule, text},
    redact,
};
use serde_json::json;

/// Explains a job until the output contains a text.
fn explain_until(host: &Roost, site: &Site, job: &str, expected: &str) -> String {
    host.until(expected, || Some(site.roost(&["explain", job])).filter(|shown| shown.contains(expected)))
}

#[test]
fn each_manual_run_is_explained_at_its_time_and_the_last_one_without_a_time() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    schedule(&host.address(), &json!({"trigger": "cron 0 12 1 1 *", "topic": "lamp", "id": "lamp"}));
    let job = "roost/api/lamp";
    // The job itself has never been due.
    expect![[r#"
        it has not run yet: it is due [TIME] (by the calendar, `cron 0 12 1 1 *`); it was last due [TIME], and there is no record of that run: no run has been recorded yet
    "#]].assert_eq(&redact(&site.roost(&["explain", job])));
    let mut runs = Vec::new();
    for _ in 0..14 {
        let run = site.roost(&["run-now", job]).trim().to_owned();
        // Explained at once: it is not mistaken for another run, neither under way nor just ended.
        let shown = site.json(&["explain", job]);
        assert_eq!(text(&shown["run"], "run"), run, "{shown}");
        runs.push(run);
    }
    for run in &runs {
        let at = run.split('/').nth(3).unwrap();
        let shown = site.json(&["explain", job, "--at", at]);
        assert_eq!((text(&shown["run"], "run"), text(&shown, "verdict")), (run.as_str(), "succeeded"), "{shown}");
    }
    expect![[r#"
        it ran: it was started by hand [TIME], began at once, and ended [TIME]; no device listens on `lamp`
        note: it is due next [TIME]
    "#]]
    .assert_eq(&redact(&site.roost(&["explain", job])));
}

#[test]
fn a_run_that_has_just_ended_is_not_mistaken_for_one_that_never_was() {
    let (_broker, site, listener, _host) = crate::ticking("ticking");
    let ticks = |messages: &[Message]| messages.len();
    for so_far in 1..=8 {
        // Explained right after it was sent, when its end may not be on disk yet.
        listener.wait("a tick", |messages| ticks(messages) > so_far);
        let shown = site.json(&["explain", "ticking/ticking/tick"]);
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
    expect![[r#"
        it has not started yet: it was due [TIME] (once), and starts [TIME], because its runs are spread over 1d
        note: it is never due again
    "#]]
    .assert_eq(&redact(&started));
    assert_eq!(starts(&before), starts(&started));
    site.roost(&["skip", job]);
    expect![[r#"
        it has not started yet: it was due [TIME] (once), and will be skipped, because the operator requested it
        note: it is never due again
    "#]]
    .assert_eq(&redact(&site.roost(&["explain", job])));
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
    let shown = explain_until(&host, &site, job, "to start, and will be missed when the connection is back");
    expect![[r#"
        it has not ended: it was due [TIME], and its message waits for the connection to the broker, which is down; it had until [TIME] to start, and will be missed when the connection is back
        note: it is never due again
        note: there is no connection to the broker now
    "#]].assert_eq(&redact(&shown));
    broker.start();
    let shown = explain_until(&host, &site, job, "was missed: there was no connection to the broker");
    expect![[r#"
        it did not run: it was due [TIME], and was missed: there was no connection to the broker; it would have started [SPAN] late, and its grace is 3s
        remedy: `roost run-now roost/api/lamp`
        note: it is never due again
    "#]].assert_eq(&redact(&shown));
}

#[test]
fn a_remedy_is_a_request_that_mends_what_is_explained() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    schedule(&address, &json!({"trigger": "cron 0 12 1 1 *", "topic": "lamp", "id": "lamp"}));
    site.roost(&["skip", "roost/api/lamp"]);
    let path = "/api/v1/explain?plugin=roost&device=api&job=lamp";
    let explained = get(&address, path);
    let remedy = &explained["remedies"][0];
    expect!["Do not skip roost/api/lamp of [TIME]"].assert_eq(&redact(text(remedy, "label")));
    assert_eq!(text(remedy, "command"), "roost skip roost/api/lamp --undo", "{explained}");
    assert_eq!(ask(&address, text(remedy, "method"), text(remedy, "path"), "", "").0, 200);
    assert!(get(&address, path)["remedies"].is_null());
}
