//! Ad-hoc jobs, and overrides of planned jobs.

use roost_tests::{Broker, Listener, Roost, Site, sample};
use serde_json::{Value, json};

use crate::{
    api::ask,
    operations::{self, text},
    ticking,
};

const JSON: &str = "content-type: application/json\r\n";

fn post(address: &str, path: &str, body: &Value) -> (u16, Value) {
    ask(address, "POST", path, JSON, &body.to_string())
}

/// Runs a command, and returns its standard output.
fn roost(site: &Site, arguments: &[&str]) -> String {
    operations::roost(site, arguments).0
}

/// Starts a host with the sprinkler and its garden, which is not due soon.
fn garden() -> (Broker, Site, Listener, Roost) {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let zones = r#"zones = [{ name = "lawn", water = "1m" }, { name = "beds", water = "1m" }]"#;
    let config =
        format!("[[device]]\nname = \"garden\"\n[device.config]\nstart = \"05:30\"\nmonths_off = [1, 2]\n{zones}\n");
    site.settings("sprinkler", &config);
    site.drop_in(&sample("sprinkler"), "sprinkler");
    let host = site.start(&broker);
    host.wait_for_log("sprinkler loaded");
    (broker, site, listener, host)
}

#[test]
fn a_scheduled_message_is_sent_although_the_host_is_killed() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let host = site.start(&broker);
    let new = json!({"trigger": "at now+2s", "topic": "porch/light/set", "payload": "ON"});
    let (status, job) = post(&host.address(), "/api/v1/jobs", &new);
    assert_eq!((status, text(&job, "plugin")), (201, "roost"), "{job}");
    host.kill();
    let _host = site.start(&broker);
    let message = listener.wait_for("porch/light/set");
    assert_eq!(message.payload, "ON");
    let run = message.property("roost-run").unwrap_or_default();
    assert!(run.starts_with(&format!("roost/api/{}/", text(&job, "job"))), "{run}");
}

#[test]
fn a_scheduled_task_is_completed_although_the_host_is_killed_twice() {
    let (broker, site, listener, host) = garden();
    let args = json!({"zone": 2, "minutes": 0.1});
    let new = json!({"trigger": "at now+2s", "plugin": "sprinkler", "device": "garden", "task": "water", "args": args});
    let (status, job) = post(&host.address(), "/api/v1/jobs", &new);
    assert_eq!((status, text(&job["task"], "task")), (201, "water"), "{job}");
    host.kill();
    let host = site.start(&broker);
    let on = listener.wait_for("sprinkler/garden/beds/set");
    assert_eq!(on.payload, "ON");
    host.kill();
    let host = site.start(&broker);
    let messages = listener.wait("off", |messages| messages.iter().any(|message| message.payload == "OFF"));
    let off = messages.last().unwrap();
    assert_eq!((off.topic.as_str(), off.property("roost-run")), (on.topic.as_str(), on.property("roost-run")));
    // Its outcome is shown, with the plugin's note.
    host.wait_for_log("succeeded sprinkler/garden/");
    let name = format!("sprinkler/garden/{}", text(&job, "job"));
    let shown = roost(&site, &["explain", &name]);
    assert!(shown.contains("it ran: ") && shown.contains("its plugin reported: "), "{shown}");
}

#[test]
fn a_job_that_a_plugin_or_a_grant_does_not_allow_is_refused_at_once() {
    let (_broker, site, _listener, host) = garden();
    let address = host.address();
    let task = |name: &str, args: Value| json!({"trigger": "now", "plugin": "sprinkler", "device": "garden", "task": name, "args": args});
    let cases = [
        (task("water", json!({"zone": 9, "minutes": 1})), 422, "there is no such zone"),
        (task("flood", Value::Null), 422, "the plugin has no such task, only `water`"),
        (json!({"trigger": "now", "task": "water"}), 400, "there is a `task`, and no `plugin`"),
        (json!({"trigger": "now"}), 400, "the job has no action, or several"),
        (json!({"trigger": "now", "topic": "a/#"}), 400, "`a/#` is not a topic"),
        (json!({"trigger": "now", "topic": "a", "qos": 3}), 400, "`qos` is not 0, 1 or 2"),
        (json!({"trigger": "noww", "topic": "a"}), 400, "`noww` is not a trigger"),
        (json!({"trigger": "at 2020-01-01T00:00:00Z", "topic": "a"}), 422, "has passed"),
        (json!({"trigger": "every 10ms", "topic": "a"}), 400, "every 10ms"),
        (json!({"trigger": "now", "steps": []}), 422, "`steps` 0: there must be 1 to 100"),
        (
            json!({"trigger": "now", "topic": "a", "policy": {"grace_ms": 1}}),
            422,
            "`policy.grace_ms` 1: it must be 1,000 or more",
        ),
        (json!({"trigger": "now", "topic": "a", "policy": {"needs": "pump"}}), 422, "there is no resource `pump`"),
        (
            json!({"trigger": "now", "topic": "a", "label": "x".repeat(1_025)}),
            422,
            "`label` of 1025 bytes: it may have",
        ),
        (json!({"trigger": "now", "topic": "a", "label": "a\u{202e}b"}), 422, "`label` with the character U+202E"),
        (json!({"trigger": "now", "topic": "a", "colour": "red"}), 400, "unknown field `colour`"),
        (json!({"trigger": "now", "topic": "a", "plugin": "absent"}), 404, "there is no plugin `absent`"),
        (json!({"trigger": "now", "topic": "a", "plugin": "sprinkler"}), 404, "has no device `sprinkler`"),
        (
            json!({"trigger": "now", "topic": "barn/x", "plugin": "sprinkler", "device": "garden"}),
            403,
            "`topic` `barn/x` is outside what `sprinkler` may publish to",
        ),
    ];
    for (body, expected, shown) in cases {
        let (status, problem) = post(&address, "/api/v1/jobs", &body);
        assert_eq!(status, expected, "{body}: {problem}");
        assert!(text(&problem, "detail").contains(shown), "{body}: {problem}\n  does not say\n{shown}");
    }
    assert_eq!(site.query("SELECT count(*) FROM jobs"), 1, "only the plugin's own");
    drop(host);
    // The operator's grant limits ad-hoc jobs.
    std::fs::write(site.path().join("roost.toml"), "[grants.api]\npublish = [\"porch/#\"]\n").unwrap();
    let broker = Broker::new();
    let host = site.start(&broker);
    let outside = json!({"trigger": "now", "topic": "barn/x"});
    let (status, problem) = post(&host.address(), "/api/v1/jobs", &outside);
    assert_eq!(status, 403, "{problem}");
    assert!(text(&problem, "hint").contains("[grants.api]\npublish = [\"porch/#\", \"barn/x\"]"), "{problem}");
}

#[test]
fn a_repeated_request_makes_one_job_and_jobs_are_replaced_and_cancelled() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    let address = host.address();
    let new = json!({"trigger": "every 1h", "topic": "a", "id": "hourly"});
    let keyed = |body: &Value| {
        ask(&address, "POST", "/api/v1/jobs", &format!("{JSON}idempotency-key: one\r\n"), &body.to_string())
    };
    assert_eq!(keyed(&new).0, 201);
    assert_eq!(keyed(&new).0, 200);
    let other = json!({"trigger": "every 2h", "topic": "a", "id": "hourly"});
    assert_eq!(keyed(&other).0, 409);
    let two = format!("{JSON}idempotency-key: one\r\nidempotency-key: two\r\n");
    assert_eq!(ask(&address, "POST", "/api/v1/jobs", &two, &new.to_string()).0, 400);
    assert_eq!(post(&address, "/api/v1/jobs", &new).0, 409, "the name is taken");
    let path = "/api/v1/jobs/roost/api/hourly";
    let put = |body: &Value| ask(&address, "PUT", path, JSON, &body.to_string());
    let (status, job) = put(&json!({"trigger": "every 2h", "topic": "b"}));
    assert_eq!((status, text(&job, "trigger")), (200, "every 2h"), "{job}");
    assert_eq!(put(&json!({"id": "other", "trigger": "every 2h", "topic": "b"})).0, 400);
    host.kill();
    let host = site.start(&broker);
    host.wait_for_log("resuming with 1 plugin, 1 job");
    assert!(roost(&site, &["jobs", "roost"]).contains("roost/api/hourly"));
    roost(&site, &["cancel", "hourly"]);
    assert_eq!(roost(&site, &["jobs", "roost"]), "");
    let (status, problem) = ask(&host.address(), "GET", path, "", "");
    assert_eq!(status, 404, "{problem}");
}

#[test]
fn a_job_is_run_now_skipped_and_paused_and_that_is_explained() {
    let (_broker, site, listener, host) = ticking("declared");
    let job = "declared/declared/tick";
    let run = roost(&site, &["run-now", job]);
    host.wait_for_log(&format!("succeeded {}", run.trim()));
    assert!(run.trim().ends_with("/manual"), "{run}");
    let by_hand = |message: &roost_tests::Message| message.property("roost-run") == Some(run.trim());
    listener.wait("it", |messages| messages.iter().any(by_hand));

    roost(&site, &["pause", "declared/declared"]);
    host.wait_for_log("its device was paused");
    let shown = roost(&site, &["explain", job]);
    assert!(shown.contains("was skipped: its device was paused"), "{shown}");
    assert!(shown.contains("note: its device is paused now"), "{shown}");
    roost(&site, &["resume", "declared/declared"]);
    let so_far = listener.count("declared/tick");
    listener
        .wait("more", |messages| messages.iter().filter(|message| message.topic == "declared/tick").count() > so_far);

    let left_out = roost(&site, &["skip", job]);
    host.wait_for_log(&format!("skipped {}: this run was skipped by hand", left_out.trim()));
}

#[test]
fn a_command_shows_paused_parts_and_names_unknown_ones() {
    let (_broker, site, _listener, host) = garden();
    let said = |arguments: &[&str]| operations::roost(&site, arguments).1;
    let refused = |arguments: &[&str]| {
        let (code, _, errors) = operations::tried(&site, arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {errors}");
        errors
    };
    let shown = said(&["pause", "sprinkler/garden"]);
    assert!(shown.contains("the runs of its jobs are skipped until `roost resume sprinkler/garden`"), "{shown}");
    assert!(roost(&site, &["jobs"]).contains(", paused  sprinkler/garden/water"));
    assert!(roost(&site, &["status"]).contains("paused    sprinkler/garden\n"));
    let task = ["--task", "sprinkler/garden/water", "--args", r#"{"zone": 1, "minutes": 1}"#, "--id", "extra"];
    let shown = said(&[&["schedule", "at", "2100-07-01T06:30"][..], &task].concat());
    assert!(shown.contains("`sprinkler/garden` is paused"), "{shown}");
    said(&["pause", "sprinkler/garden/water"]);
    assert!(roost(&site, &["status"]).contains("paused    sprinkler/garden, sprinkler/garden/water\n"));
    let shown = said(&["resume", "sprinkler/garden/water"]);
    assert!(shown.contains("note: `sprinkler/garden` is paused"), "{shown}");
    said(&["resume", "sprinkler/garden"]);
    assert!(!roost(&site, &["status"]).contains("paused"));

    let job = "sprinkler/garden/water";
    assert_eq!(operations::roost(&site, &["skip", job, "--undo"]).0, "");
    assert!(said(&["skip", job]).contains("it will be skipped"));
    assert!(roost(&site, &["jobs"]).contains(", skipped  sprinkler/garden/water"));
    assert!(roost(&site, &["skip", job, "--undo"]).starts_with(job));
    assert!(said(&["skip", job, "--undo"]).contains("no run of `sprinkler/garden/water` was to be skipped"));

    for (arguments, expected) in [
        (&["cancel", "radio"][..], "no ad-hoc job `radio`\nhint: `roost jobs roost` lists"),
        (&["run-now", "sprinkler"], "`sprinkler` is a plugin"),
        (&["run-now", "sprinkler"], "as in `sprinkler/garden/"),
        (&["run-now", "sprinkler/garden/watr"], "did you mean `sprinkler/garden/water`?"),
        (&["pause", "sprinkler/lawn"], "`roost plugins sprinkler` lists its devices"),
        (&["pause", "sprinklr"], "there is no plugin `sprinklr`\nhint: did you mean `sprinkler`?"),
        (&["schedule", "now", "--task", "sprinkler/garden/water"], "such as `--args"),
        (&["schedule", "every", "-5m", "--topic", "a"], "`every -5m` is not a trigger"),
        (&["schedule", "now", "--topic", "a", "--needs", "pump"], "there is no resource `pump`"),
    ] {
        let errors = refused(arguments);
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
    assert!(roost(&site, &["plugins", "sprinkler"]).contains("(args: `minutes`, `zone`)"));
    roost(&site, &["schedule", "every", "1h", "--topic", "a", "--id", "hourly"]);
    assert!(refused(&["pause", "hourly"]).contains("write `roost/api/hourly`"));
    assert!(refused(&["cancel", "hurly"]).contains("did you mean `hourly`?"));
    roost(&site, &["schedule", "now", "--topic", "a", "--id", "once"]);
    host.wait_for_log("succeeded roost/api/once");
    let (table, shown) = operations::roost(&site, &["jobs", "roost"]);
    assert!(!table.contains("roost/api/once") && shown.contains("no next run: 1 job"), "{table}{shown}");
    assert!(roost(&site, &["jobs", "roost", "--all"]).contains("never  "));
    for what in [&["jobs", "sprinklr"][..], &["runs", "--plugin", "sprinklr"], &["timeline", "--plugin", "sprinklr"]] {
        let shown = said(what);
        assert!(shown.contains("there is no plugin `sprinklr` now: did you mean `sprinkler`?"), "{what:?}: {shown}");
    }
    assert!(said(&["jobs", "sprinkler/lawn"]).contains("plugin `sprinkler` has no device `lawn` now"));
}

#[test]
fn a_device_with_a_refused_plan_is_shown_in_the_list() {
    let (_broker, site, _listener, host) = garden();
    let zones = r#"zones = [{ name = "lawn", water = "1m", topic = "barn/x" }]"#;
    let other =
        "[[device]]\nname = \"beds\"\nconfig = { every = \"1h\", zones = [{ name = \"mist\", water = \"1s\" }] }";
    site.settings(
        "sprinkler",
        &format!("[[device]]\nname = \"garden\"\n[device.config]\nstart = \"05:30\"\n{zones}\n{other}\n"),
    );
    host.wait_for_log("outside what `sprinkler` may publish to");
    let list = roost(&site, &["plugins"]);
    assert!(list.contains("the plan of 1 device was refused: see `roost plugins sprinkler`"), "{list}");
    let one = roost(&site, &["plugins", "sprinkler"]);
    assert!(one.contains("\n  [grants]\n") && !one.contains("\\n"), "{one}");
    let status = roost(&site, &["status"]);
    assert!(status.contains("faults    1 device: see `roost plugins`"), "{status}");
}

#[test]
fn runs_that_wait_for_the_broker_can_be_listed_and_ended() {
    let site = Site::new();
    let host = site.start_with(&["--mqtt", "mqtt://127.0.0.1:1"]);
    let address = host.address();
    let (status, job) = post(&address, "/api/v1/jobs", &json!({"trigger": "now", "topic": "away", "id": "away"}));
    assert_eq!((status, &job["runs"][0]["last"]), (201, &Value::Null), "no attempt was made: {job}");
    let run = text(&job["runs"][0], "run").to_owned();
    let shown = roost(&site, &["runs", "--job", "away"]);
    assert!(shown.contains("running") && shown.contains(&run), "{shown}");
    let (status, one) = ask(&address, "GET", &format!("/api/v1/runs/{run}"), "", "");
    assert_eq!((status, text(&one, "state")), (200, "running"), "{one}");
    roost(&site, &["abandon", &run]);
    let shown = roost(&site, &["runs", "--job", "away"]);
    assert!(shown.contains("cancelled") && !shown.contains("running"), "{shown}");
    assert!(host.stop().success());
}
