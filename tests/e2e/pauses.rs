//! Pauses that begin and end by themselves.

use expect_test::expect;
use roost_scheduler::time::Instant;
use roost_tests::{
    Broker, Listener, Site, guest,
    http::{JSON, get, post, refusals, text},
    redact,
};
use serde_json::{Value, json};

use crate::{NOON, SECOND, SOON, job};

const MINUTE: i64 = 60 * SECOND;

/// Writes an instant as users do.
fn written(millis: i64) -> String {
    Instant::from_millis(millis).unwrap().to_string()
}

/// A host with jobs of the guest `declared` at noon and ten minutes later, ten minutes before noon.
fn before_noon() -> (Broker, Site, Listener, roost_tests::Roost) {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let at = |id: &str, at_ms: i64| job(id, &format!("at_ms = {at_ms}"), &format!("declared/{id}"));
    site.settings("declared", &(at("noon", NOON) + &at("later", NOON + SOON)));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start_at(&broker, NOON - SOON);
    host.wait_for_log("2 new");
    (broker, site, listener, host)
}

#[test]
fn a_pause_outlives_a_killed_host_and_ends_by_itself() {
    let (broker, site, listener, host) = before_noon();
    let until = written(NOON + 5 * MINUTE);
    let note = site.notes(&["pause", "declared", "--until", &until, "--reason", "rain"]);
    assert!(note.contains("`declared` is paused until 2027-07-01 ") && note.contains(" (rain): "), "{note}");
    host.kill();
    let host = site.start_at(&broker, NOON - SECOND);
    let skipped = host.wait_for_log("skipped declared/declared/noon/");
    assert!(skipped.ends_with(&format!(": its plugin was paused until {until} (rain)")), "{skipped}");
    assert_eq!(text(&get(&host.address(), "/api/v1/plugins/declared")["pause"], "reason"), "rain");
    site.set_clock(NOON + SOON - SECOND);
    listener.wait_for("declared/later");
    host.wait_for_log("the pause of `declared` has ended");
    assert_eq!(listener.count("declared/noon"), 0);
    let plugin = get(&host.address(), "/api/v1/plugins/declared");
    assert_eq!((&plugin["paused"], plugin.get("pause")), (&json!(false), None));
    let sentence = site.roost(&["explain", "declared/declared/noon", "--at", "2027-07-01T12:00:00Z"]);
    assert!(sentence.contains("and was skipped: its plugin was paused until Thu 2027-07-01 "), "{sentence}");
}

#[test]
fn the_timeline_shows_what_a_pause_skips_and_what_runs_after_it() {
    let (_broker, site, _listener, host) = before_noon();
    let until = written(NOON + 5 * MINUTE);
    site.roost(&["pause", "--all", "--from", &written(NOON), "--until", &until]);
    let period = format!("from={}&to={}", written(NOON - MINUTE), written(NOON + 20 * MINUTE));
    let timeline = get(&host.address(), &format!("/api/v1/timeline?{period}"));
    let shown = timeline["items"].as_array().unwrap().iter().map(|entry| {
        let paused = entry["pause"]["until"].as_str().map_or("due".to_owned(), |until| format!("paused until {until}"));
        format!("{} {paused}", text(entry, "job"))
    });
    // By the device's clock.
    assert_eq!(shown.collect::<Vec<_>>(), ["noon paused until 2027-07-01T13:05:00+01:00", "later due"]);
    let status = get(&host.address(), "/api/v1/status");
    assert_eq!((text(&status["pause"], "by"), status["pause"]["reason"].as_str()), ("all", None));
    let job = get(&host.address(), "/api/v1/jobs/declared/declared/noon");
    assert_eq!((job.get("paused"), text(&job["pause"], "by")), (None, "all"));
    let density = get(&host.address(), &format!("/api/v1/timeline/density?{period}&buckets=1"));
    let states = &density["groups"][0]["states"];
    assert_eq!((&states["paused"]["counts"], &states["expected"]["counts"]), (&json!([1]), &json!([1])), "{density}");
}

#[test]
fn commands_say_when_a_pause_begins_and_ends_and_refuse_one_that_cannot_be() {
    let (_broker, site, _listener, host) = before_noon();
    expect![[r#"
        $ roost pause declared/declared --from [DATE]T08:00 --until [DATE] --reason holidays
        `declared/declared` will be paused from [TIME] until [TIME] (holidays): the runs of its jobs are skipped; `roost resume declared/declared` removes that

        $ roost pause declared/declared/noon --until [TIME]
        `declared/declared/noon` is paused until [TIME]: its runs are skipped; `roost resume declared/declared/noon` ends that before

        $ roost pause --all --reason 'painting the barn'
        everything is paused (painting the barn): all runs are skipped until `roost resume --all`

        $ roost jobs
        NEXT ([ZONE])  JOB                      TRIGGER                  LABEL
        [TIME], paused (painting the barn)  declared/declared/noon   at [TIME]
        [TIME], paused (painting the barn)  declared/declared/later  at [TIME]

        $ roost plugins declared
        plugin    declared
        state     running, since [TIME]
        version   [DIGEST]
        settings  [DIGEST]
        publishes declared/#
        reads     declared/#
        calls     [COUNT], 0 failed, 0 of these trapped or stopped
        plan      last [SPAN], longest [SPAN], of 10000 ms
        memory    at most [SIZE], of 256 MiB
        task      reply: Publish what the arguments say
        jobs      2

        DEVICE    JOBS  TIME ([ZONE])  ZONE      NEXT PLAN ([ZONE])  FAULT
        declared  2     Europe/London  [TIME]  

        $ roost pause declared/declared --until [DATE] --reason rain
        `declared/declared`: the pause is set; `roost resume declared/declared` removes it
        note: this replaces its earlier pause from [TIME] until [TIME] (holidays)

        $ roost resume declared/declared/noon
        `declared/declared/noon` is resumed
        note: everything is paused (painting the barn): all runs are skipped until `roost resume --all`

        $ roost resume --all
        all that is not paused itself is resumed

        $ roost resume declared/declared
        `declared/declared` is resumed

        $ roost pause declared --for 1h --until [DATE]
        error: the argument '--for <DURATION>' cannot be used with '--until <TIME>'

        Usage: roost pause --for <DURATION> <PLUGIN[/DEVICE[/JOB]]>...

        For more information, try '--help'.
        (exit 2)

        $ roost pause declared --until [DATE]
        error: the pause would have ended already, at [TIME]: it is [TIME]
        hint: give an end that is still to come, or leave it out to pause until it is resumed
        (exit 1)

        $ roost pause declared --for soon
        error: `for` is not a duration: `soon`
        hint: write `24h`, `90m` or `2d12h`
        (exit 1)

        $ roost pause declared --all
        error: the argument '[PLUGIN[/DEVICE[/JOB]]]...' cannot be used with '--all'

        Usage: roost pause <PLUGIN[/DEVICE[/JOB]]>...

        For more information, try '--help'.
        (exit 2)

        $ roost pause
        error: the following required arguments were not provided:
          <PLUGIN[/DEVICE[/JOB]]>...

        Usage: roost pause <PLUGIN[/DEVICE[/JOB]]>...

        For more information, try '--help'.
        (exit 2)
    "#]].assert_eq(&site.transcript(&[
        &["pause", "declared/declared", "--from", "2100-07-02T08:00", "--until", "2100-07-05", "--reason", "holidays"],
        &["pause", "declared/declared/noon", "--until", "2100-07-02T08:00:00Z"],
        &["pause", "--all", "--reason", "painting the barn"],
        &["jobs"],
        &["plugins", "declared"],
        &["pause", "declared/declared", "--until", "2100-07-08", "--reason", "rain"],
        &["resume", "declared/declared/noon"],
        &["resume", "--all"],
        &["resume", "declared/declared"],
        &["pause", "declared", "--for", "1h", "--until", "2100-07-02"],
        &["pause", "declared", "--until", "2001-07-02"],
        &["pause", "declared", "--for", "soon"],
        &["pause", "declared", "--all"],
        &["pause"],
    ]));
    let path = "/api/v1/plugins/declared/pause";
    expect![[r#"
        POST /api/v1/plugins/declared/pause {"for": "1h", "until": "[DATE]T08:00"}
          400 Bad Request: a pause has `until` or `for`, not both
          hint: `until` is when it ends, `for` is how long it lasts
        POST /api/v1/plugins/declared/pause {"until": "[TIME]"}
          400 Bad Request: the pause would have ended already, at [TIME]: it is [TIME]
          hint: give an end that is still to come, or leave it out to pause until it is resumed
        POST /api/v1/plugins/declared/pause {"reason": "two\nlines"}
          400 Bad Request: the pause cannot be set: its reason has to be one line of printable text
        POST /api/v1/plugins/declared/pause {"end": "[DATE]"}
          400 Bad Request: the body is not understood: end: unknown field `end`, expected one of `from`, `until`, `for`, `reason` at line 1 column 6
        POST /api/v1/plugins/declared/pause {"for": "1h"}
          415 Unsupported Media Type: the body must be JSON
          hint: send `Content-Type: application/json`, `application/wasm` with a component, or `application/toml` with settings
        POST /api/v1/plugins/absent/pause {"for": "1h"}
          404 Not Found: there is no plugin `absent`
          hint: `roost plugins` lists the plugins
    "#]].assert_eq(&refusals(
        &host.address(),
        [
            ["POST", path, JSON, r#"{"for": "1h", "until": "2100-07-02T08:00"}"#],
            ["POST", path, JSON, r#"{"until": "2001-07-02T08:00:00Z"}"#],
            ["POST", path, JSON, r#"{"reason": "two\nlines"}"#],
            ["POST", path, JSON, r#"{"end": "2100-07-02"}"#],
            ["POST", path, "", r#"{"for": "1h"}"#],
            ["POST", "/api/v1/plugins/absent/pause", JSON, r#"{"for": "1h"}"#],
        ],
    ));
    let statuses = redact(&site.roost(&["status"]));
    assert!(!statuses.contains("paused "), "{statuses}");
}

#[test]
fn what_is_due_next_is_the_first_run_after_the_pause_and_a_replaced_pause_is_named_and_set_again() {
    let (_broker, site, _listener, host) = before_noon();
    let address = host.address();
    let device = "/api/v1/devices/declared/declared";
    let (five, holidays) = (NOON + 5 * MINUTE, json!({ "until": "2027-07-09T08:00:00+01:00", "reason": "holidays" }));
    site.roost(&["pause", "declared/declared", "--until", "2027-07-09T08:00", "--reason", "holidays"]);
    assert_eq!(get(&address, device).get("due"), None);
    let rain = json!({ "from": written(NOON), "until": written(five) });
    let (status, answer) = post(&address, &format!("{device}/pause"), &rain);
    assert_eq!((status, &answer), (200, &json!({ "replaced": holidays })));
    // By the device's clock: that at 13:00 is skipped.
    assert_eq!(get(&address, device)["due"], "2027-07-01T13:10:00+01:00");
    let job = "/api/v1/jobs/declared/declared/noon";
    assert_eq!(
        (text(&get(&address, job), "due"), get(&address, job).get("next_run")),
        ("2027-07-01T13:00:00+01:00", None)
    );
    let status = get(&address, "/api/v1/status");
    assert_eq!(
        (&status["paused"]["count"], &status["will_be_paused"]["first"]),
        (&json!(0), &json!(["declared/declared"]))
    );
    let explained = get(&address, "/api/v1/explain?plugin=declared&device=declared&job=later");
    assert_eq!(explained.get("remedies"), None, "the pause does not skip that run: {explained}");
    // What was replaced is the body that sets it again.
    assert_eq!(post(&address, &format!("{device}/pause"), &answer["replaced"]).0, 200);
    assert_eq!(get(&address, device)["pause"]["reason"], "holidays");
}

#[test]
fn pauses_of_several_devices_are_replaced_and_restored_together() {
    let (_broker, _site, _listener, host) = before_noon();
    let devices = |verb: &str, body: &Value| post(&host.address(), &format!("/api/v1/devices/{verb}"), body);
    let name = "declared/declared";
    let holidays = json!({ "devices": [name], "until": "2027-07-09T08:00:00+01:00", "reason": "holidays" });
    assert_eq!(devices("pause", &holidays), (200, json!({ "devices": [name] })));
    assert_eq!(devices("pause", &holidays), (200, json!({ "devices": [] })));
    let pause = json!({ "until": "2027-07-09T08:00:00+01:00", "reason": "holidays" });
    let was = json!({ "device": name, "pause": pause });
    let (status, answer) = devices("pause", &json!({ "devices": [name], "for": "1h" }));
    assert_eq!((status, &answer), (200, &json!({ "devices": [], "replaced": [was] })));
    assert_eq!(devices("resume", &answer).0, 200);
    assert_eq!(get(&host.address(), "/api/v1/devices/declared/declared")["pause"]["reason"], "holidays");
    assert_eq!(devices("resume", &json!({ "devices": [name] })), (200, json!({ "devices": [name] })));
    let unknown = json!({ "devices": [], "replaced": [{ "device": name, "pause": { "end": "2027-07-09" } }] });
    assert_eq!(devices("resume", &unknown).0, 400);
}
