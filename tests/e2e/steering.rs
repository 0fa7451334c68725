//! Ad-hoc jobs, and overrides of planned jobs.

use expect_test::expect;
use roost_tests::{
    Broker, Listener, Roost, Site,
    http::{JSON, ask, get, post, problem, refusals, text},
    redact, sample,
};
use serde_json::{Value, json};

use crate::ticking;

/// Starts a host with the sprinkler and its garden, which is not due soon.
pub(crate) fn garden() -> (Broker, Site, Listener, Roost) {
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
    assert_eq!((status, text(&job["task"], "task"), text(&job, "label")), (201, "water", "water"), "{job}");
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
    let shown = site.roost(&["explain", &name]);
    let sentence = shown.lines().next().unwrap();
    assert!(sentence.starts_with("it ran: ") && sentence.ends_with("; its plugin reported: beds for 6s"), "{shown}");
}

#[test]
fn a_job_that_a_plugin_or_a_grant_does_not_allow_is_refused_at_once() {
    let (_broker, site, _listener, host) = garden();
    let address = host.address();
    let task = |name: &str, args: Value| json!({"trigger": "now", "plugin": "sprinkler", "device": "garden", "task": name, "args": args});
    let on_a = |more: Value| {
        let mut job = json!({"trigger": "now", "topic": "a"});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job
    };
    let jobs = [
        task("water", json!({"zone": 9, "minutes": 1})),
        task("flood", Value::Null),
        json!({"trigger": "now", "task": "water"}),
        json!({"trigger": "now"}),
        json!({"trigger": "now", "topic": "a/#"}),
        on_a(json!({"qos": 3})),
        json!({"trigger": "noww", "topic": "a"}),
        json!({"trigger": "at 2020-01-01T00:00:00Z", "topic": "a"}),
        json!({"trigger": "at 2027-02-29T06:00:00Z", "topic": "a"}),
        json!({"trigger": "every 10ms", "topic": "a"}),
        json!({"trigger": "now", "steps": []}),
        on_a(json!({"policy": {"grace_ms": 1}})),
        on_a(json!({"policy": {"needs": "pump"}})),
        on_a(json!({"label": "a\u{202e}b"})),
        on_a(json!({"label": "x".repeat(1_025)})),
        on_a(json!({"colour": "red"})),
        on_a(json!({"plugin": "absent"})),
        on_a(json!({"plugin": "sprinkler"})),
        json!({"trigger": "now", "topic": "barn/x", "plugin": "sprinkler", "device": "garden"}),
    ]
    .map(|job| job.to_string());
    expect![[r#"
        POST /api/v1/jobs {"args":{"minutes":1,"zone":9},"device":"garden","plugin":"sprinkler","task":"water","trigger":"now"}
          422 Unprocessable Entity: task `water`: args `zone`: there is no such zone, they are (from 1 on) lawn, beds
        POST /api/v1/jobs {"args":null,"device":"garden","plugin":"sprinkler","task":"flood","trigger":"now"}
          422 Unprocessable Entity: `task` `flood`: the plugin has no such task, only `water`
        POST /api/v1/jobs {"task":"water","trigger":"now"}
          400 Bad Request: there is a `task`, and no `plugin`
          hint: add the `plugin` of the task, and its `device`
        POST /api/v1/jobs {"trigger":"now"}
          400 Bad Request: the job has no action, or several
          hint: set one of these: `topic` (with `payload` or `payload_base64`, `qos`, `retain`) for a message, `steps` for several messages, or `task` (with `args`) for a task of a plugin
        POST /api/v1/jobs {"topic":"a/#","trigger":"now"}
          400 Bad Request: `topic`: `a/#` is not a topic: a message goes to one topic, so `+` and `#` cannot be in it
        POST /api/v1/jobs {"qos":3,"topic":"a","trigger":"now"}
          400 Bad Request: `qos` 3: it must be 0, 1 or 2
        POST /api/v1/jobs {"topic":"a","trigger":"noww"}
          400 Bad Request: `noww` is not a trigger: after `now`, `w` is not `+` and a duration
          hint: write `at now+2s`, or `at 2027-03-01T06:30:00Z` with `Z` or an offset such as `+01:00`
        POST /api/v1/jobs {"topic":"a","trigger":"at [TIME]"}
          422 Unprocessable Entity: [TIME] has passed: it is [TIME]
          hint: use `now` to run at once, or a time such as `at now+2s`
        POST /api/v1/jobs {"topic":"a","trigger":"at [TIME]"}
          400 Bad Request: `at [TIME]` is not a trigger: `[TIME]`: there is no 29 February 2027: February has 28 days that year
          hint: write `at now+2s`, or `at 2027-03-01T06:30:00Z` with `Z` or an offset such as `+01:00`
        POST /api/v1/jobs {"topic":"a","trigger":"every 10ms"}
          400 Bad Request: `every 10ms` is not a trigger: `10ms` is shorter than a second
          hint: write `every 15m`, or `every 1h30m from 2027-03-01T06:30:00Z`
        POST /api/v1/jobs {"steps":[],"trigger":"now"}
          422 Unprocessable Entity: `steps` 0: there must be 1 to 100
        POST /api/v1/jobs {"policy":{"grace_ms":1},"topic":"a","trigger":"now"}
          422 Unprocessable Entity: `policy.grace_ms` 1: it must be 1,000 or more
        POST /api/v1/jobs {"policy":{"needs":"pump"},"topic":"a","trigger":"now"}
          422 Unprocessable Entity: `policy.needs`: there is no resource `pump`
          hint: to allow it, put this into `roost.toml`, and start Roost again:
          [[resource]]
          name = "pump"
          capacity = 1
          plugins = ["api"]
        POST /api/v1/jobs {"label":"a\u{202e}b","topic":"a","trigger":"now"}
          422 Unprocessable Entity: `label` with the character U+202E: users read it, so it must be one line of printable characters
        POST /api/v1/jobs {"label":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
          422 Unprocessable Entity: `label` of 1025 bytes: it may have 1,024 (1 KiB)
        POST /api/v1/jobs {"colour":"red","topic":"a","trigger":"now"}
          400 Bad Request: the body is not a job: unknown field `colour`, expected one of `id`, `label`, `trigger`, `plugin`, `device`, `topic`, `payload`, `payload_base64`, `qos`, `retain`, `steps`, `task`, `args`, `policy`
        POST /api/v1/jobs {"plugin":"absent","topic":"a","trigger":"now"}
          404 Not Found: there is no plugin `absent`
          hint: `roost plugins` lists the plugins
        POST /api/v1/jobs {"plugin":"sprinkler","topic":"a","trigger":"now"}
          404 Not Found: plugin `sprinkler` has no device `sprinkler`
          hint: `roost plugins sprinkler` lists its devices
        POST /api/v1/jobs {"device":"garden","plugin":"sprinkler","topic":"barn/x","trigger":"now"}
          403 Forbidden: `topic` `barn/x`: it is outside what `sprinkler` may publish to
          hint: to allow it, put this into `plugins/sprinkler.toml`:
          [grants]
          publish = ["sprinkler/#", "barn/x"]
    "#]].assert_eq(&refusals(&address, jobs.iter().map(|job| ["POST", "/api/v1/jobs", JSON, job])));
    assert_eq!(site.query("SELECT count(*) FROM jobs"), 1, "only the plugin's own");
    drop(host);
    // The operator's grant limits ad-hoc jobs.
    std::fs::write(site.path().join("roost.toml"), "[grants.api]\npublish = [\"porch/#\"]\n").unwrap();
    let broker = Broker::new();
    let host = site.start(&broker);
    let outside = json!({"trigger": "now", "topic": "barn/x"});
    expect![[r#"
        403 Forbidden: `topic` `barn/x`: it is outside what the API may publish to
          hint: to allow it, put this into `roost.toml`:
          [grants.api]
          publish = ["porch/#", "barn/x"]"#]]
    .assert_eq(&problem(&post(&host.address(), "/api/v1/jobs", &outside)));
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
    let two = format!("{JSON}idempotency-key: one\r\nidempotency-key: two\r\n");
    let renamed = json!({"id": "other", "trigger": "every 2h", "topic": "b"});
    let path = "/api/v1/jobs/roost/api/hourly";
    let refused = [
        problem(&keyed(&other)),
        problem(&ask(&address, "POST", "/api/v1/jobs", &two, &new.to_string())),
        problem(&post(&address, "/api/v1/jobs", &new)),
        problem(&ask(&address, "PUT", path, JSON, &renamed.to_string())),
    ];
    expect![[r#"
        409 Conflict: the idempotency key was used before, with another request
        400 Bad Request: the request has more than one `Idempotency-Key`
        409 Conflict: there is already a job `roost/api/hourly`
        400 Bad Request: `id` is `other` in the body and `hourly` in the path"#]]
    .assert_eq(&refused.join("\n"));
    let (status, job) = ask(&address, "PUT", path, JSON, &json!({"trigger": "every 2h", "topic": "b"}).to_string());
    assert_eq!((status, text(&job, "trigger")), (200, "every 2h"), "{job}");
    host.kill();
    let host = site.start(&broker);
    host.wait_for_log("resuming with 1 plugin, 1 job");
    expect![[r#"
        $ roost jobs roost
        NEXT ([ZONE])  JOB               TRIGGER   LABEL
        [TIME]  roost/api/hourly  every 2h

        $ roost cancel hourly
        `roost/api/hourly` is cancelled

        $ roost jobs roost
        no jobs found
    "#]]
    .assert_eq(&site.transcript(&[&["jobs", "roost"], &["cancel", "hourly"], &["jobs", "roost"]]));
    expect![[r#"
        404 Not Found: there is no ad-hoc job `hourly`
          hint: `roost jobs roost` lists ad-hoc jobs; the job of a plugin is named like `coop-door/north/open`"#]]
    .assert_eq(&problem(&ask(&host.address(), "GET", path, "", "")));
}

#[test]
fn a_job_is_run_now_skipped_and_paused_and_that_is_explained() {
    let (_broker, site, listener, host) = ticking("declared");
    let job = "declared/declared/tick";
    let run = site.roost(&["run-now", job]);
    host.wait_for_log(&format!("succeeded {}", run.trim()));
    assert!(run.trim().ends_with("/manual"), "{run}");
    let by_hand = |message: &roost_tests::Message| message.property("roost-run") == Some(run.trim());
    listener.wait("it", |messages| messages.iter().any(by_hand));

    site.roost(&["pause", "declared/declared"]);
    host.wait_for_log("its device was paused");
    expect![[r#"
        it did not run: it was due [TIME], and was skipped: its device was paused
        remedy: `roost run-now declared/declared/tick`
        note: its device is paused now
        remedy: `roost resume declared/declared`
        note: it is due next [TIME], and will be skipped then, because its device is paused
    "#]]
    .assert_eq(&redact(&site.roost(&["explain", job])));
    site.roost(&["resume", "declared/declared"]);
    let so_far = listener.count("declared/tick");
    listener
        .wait("more", |messages| messages.iter().filter(|message| message.topic == "declared/tick").count() > so_far);

    let left_out = site.roost(&["skip", job]);
    host.wait_for_log(&format!("skipped {}: the operator requested it", left_out.trim()));
}

#[test]
fn a_command_shows_paused_parts_and_names_unknown_ones() {
    let (_broker, site, _listener, host) = garden();
    let paused = || site.roost(&["status"]).lines().find_map(|line| line.strip_prefix("paused ").map(str::to_owned));
    let task = ["--task", "sprinkler/garden/water", "--args", r#"{"zone": 1, "minutes": 1}"#, "--id", "extra"];
    let (garden, water) = ("sprinkler/garden", "sprinkler/garden/water");
    expect![[r#"
        $ roost pause sprinkler/garden
        `sprinkler/garden` is paused: the runs of its jobs are skipped until `roost resume sprinkler/garden`

        $ roost jobs
        NEXT ([ZONE])  JOB                     TRIGGER                         LABEL
        [TIME], paused  sprinkler/garden/water  cron 30 5 * * * except JAN-FEB  Water all zones

        $ roost schedule at [DATE]T06:30 --task sprinkler/garden/water --args '{"zone": 1, "minutes": 1}' --id extra
        sprinkler/garden/extra
        its next run is due [TIME]
        `sprinkler/garden` is paused: the runs of its jobs are skipped until `roost resume sprinkler/garden`

        $ roost pause sprinkler/garden/water
        `sprinkler/garden/water` is paused: its runs are skipped until `roost resume sprinkler/garden/water`
    "#]]
    .assert_eq(&site.transcript(&[
        &["pause", garden],
        &["jobs"],
        &[&["schedule", "at", "2100-07-01T06:30"][..], &task].concat(),
        &["pause", water],
    ]));
    assert_eq!(paused().as_deref().map(str::trim), Some("sprinkler/garden, sprinkler/garden/water"));
    expect![[r#"
        $ roost resume sprinkler/garden/water
        `sprinkler/garden/water` is resumed
        note: `sprinkler/garden` is paused: the runs of its jobs are skipped until `roost resume sprinkler/garden`

        $ roost resume sprinkler/garden
        `sprinkler/garden` is resumed
    "#]]
    .assert_eq(&site.transcript(&[&["resume", water], &["resume", garden]]));
    assert_eq!(paused(), None);

    expect![[r#"
        $ roost skip sprinkler/garden/water --undo
        no run of `sprinkler/garden/water` was to be skipped

        $ roost skip sprinkler/garden/water
        sprinkler/garden/water/[TIME]
        it will be skipped

        $ roost jobs sprinkler
        NEXT ([ZONE])  JOB                     TRIGGER                         LABEL
        [TIME], skipped, then [TIME]  sprinkler/garden/water  cron 30 5 * * * except JAN-FEB  Water all zones
        [TIME]  sprinkler/garden/extra  at [TIME]         water

        $ roost skip sprinkler/garden/water --undo
        sprinkler/garden/water/[TIME]
        it will not be skipped

        $ roost skip sprinkler/garden/water --undo
        no run of `sprinkler/garden/water` was to be skipped
    "#]]
    .assert_eq(&site.transcript(&[
        &["skip", water, "--undo"],
        &["skip", water],
        &["jobs", "sprinkler"],
        &["skip", water, "--undo"],
        &["skip", water, "--undo"],
    ]));
    site.roost(&["schedule", "every", "1h", "--topic", "a", "--id", "hourly"]);
    expect![[r#"
        $ roost cancel radio
        error: there is no ad-hoc job `radio`
        hint: `roost jobs roost` lists ad-hoc jobs; the job of a plugin is named like `coop-door/north/open`
        (exit 1)

        $ roost cancel hurly
        error: there is no ad-hoc job `hurly`
        hint: did you mean `hourly`?
        (exit 1)

        $ roost run-now sprinkler
        error: `sprinkler` is a plugin, not an ad-hoc job
        hint: name one of its jobs, as in `sprinkler/garden/water`: `roost jobs sprinkler` lists them
        (exit 1)

        $ roost run-now sprinkler/garden/watr
        error: device `sprinkler/garden` has no job `watr`
        hint: did you mean `sprinkler/garden/water`?
        (exit 1)

        $ roost pause sprinkler/lawn
        error: plugin `sprinkler` has no device `lawn`
        hint: `roost plugins sprinkler` lists its devices
        (exit 1)

        $ roost pause sprinklr
        error: there is no plugin `sprinklr`
        hint: did you mean `sprinkler`?
        (exit 1)

        $ roost pause hourly
        error: there is no plugin `hourly`
        hint: there is an ad-hoc job of that name: write `roost/api/hourly`
        (exit 1)

        $ roost schedule now --task sprinkler/garden/water
        error: task `water`: args: `null` is not a table
        hint: if the task has arguments, pass `args`, on the command line such as `--args '{"zone": 2}'`: `roost plugins sprinkler` lists them
        (exit 1)

        $ roost schedule every -5m --topic a
        error: `every -5m` is not a trigger: the duration `-5m` has `-` where a unit should be
        hint: durations are written `500ms`, `2s`, `15m`, `1h30m`, `1d` or `2w`
        (exit 1)

        $ roost schedule now --topic a --needs pump
        error: `policy.needs`: there is no resource `pump`
        hint: to allow it, put this into `roost.toml`, and start Roost again:
          [[resource]]
          name = "pump"
          capacity = 1
          plugins = ["api"]
        (exit 1)

        $ roost jobs sprinklr
        no jobs found
        there is no plugin `sprinklr` now: did you mean `sprinkler`?

        $ roost jobs sprinkler/lawn
        no jobs found
        plugin `sprinkler` has no device `lawn` now

        $ roost runs --plugin sprinklr
        no runs found
        there is no plugin `sprinklr` now: did you mean `sprinkler`?

        $ roost timeline --plugin sprinklr
        no runs found in that period
        there is no plugin `sprinklr` now: did you mean `sprinkler`?
    "#]].assert_eq(&site.transcript(&[
        &["cancel", "radio"],
        &["cancel", "hurly"],
        &["run-now", "sprinkler"],
        &["run-now", "sprinkler/garden/watr"],
        &["pause", "sprinkler/lawn"],
        &["pause", "sprinklr"],
        &["pause", "hourly"],
        &["schedule", "now", "--task", water],
        &["schedule", "every", "-5m", "--topic", "a"],
        &["schedule", "now", "--topic", "a", "--needs", "pump"],
        &["jobs", "sprinklr"],
        &["jobs", "sprinkler/lawn"],
        &["runs", "--plugin", "sprinklr"],
        &["timeline", "--plugin", "sprinklr"],
    ]));
    site.roost(&["schedule", "now", "--topic", "a", "--id", "once"]);
    host.wait_for_log("succeeded roost/api/once");
    expect![[r#"
        $ roost jobs roost
        NEXT ([ZONE])  JOB               TRIGGER   LABEL
        [TIME]  roost/api/hourly  every 1h
        not listed because they have no next run: 1 job; `--all` lists them

        $ roost jobs roost --all
        NEXT ([ZONE])  JOB               TRIGGER                      LABEL
        [TIME]  roost/api/hourly  every 1h
        [TIME]  roost/api/once    at [TIME]
    "#]]
    .assert_eq(&site.transcript(&[&["jobs", "roost"], &["jobs", "roost", "--all"]]));
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
    expect![[r#"
        $ roost plugins
        PLUGIN     STATE    DEVICES  JOBS  PLAN  MEMORY  ERROR
        sprinkler  running  2        2  [USED]  the plan of 1 device was refused: see `roost plugins sprinkler`

        $ roost plugins sprinkler
        plugin    sprinkler
        state     running, since [TIME]
        version   [DIGEST]
        settings  [DIGEST]
        publishes sprinkler/#
        reads     sprinkler/#
        calls     [COUNT], 1 failed, 0 of these trapped or stopped
        plan      last [SPAN], longest [SPAN], of 10000 ms
        memory    at most [SIZE], of 256 MiB
        task      water: Water one zone for some minutes (args: `minutes`, `zone`)
        jobs      2

        DEVICE  JOBS  TIME ([ZONE])  ZONE      NEXT PLAN ([ZONE])  FAULT
        beds    1     Europe/London  [TIME]  
        garden  1     Europe/London  [TIME]  job `water`, step 1: `topic` `barn/x`: it is outside what `sprinkler` may publish to

        garden: job `water`, step 1: `topic` `barn/x`: it is outside what `sprinkler` may publish to
          to allow it, put this into `plugins/sprinkler.toml`:
          [grants]
          publish = ["sprinkler/#", "barn/x"]
    "#]].assert_eq(&site.transcript(&[&["plugins"], &["plugins", "sprinkler"]]));
    let status = site.roost(&["status"]);
    let faults = status.lines().find_map(|line| line.strip_prefix("faults "));
    assert_eq!(faults.map(str::trim), Some("1 device: see `roost plugins`"), "{status}");
}

#[test]
fn runs_that_wait_for_the_broker_can_be_listed_and_ended() {
    let site = Site::new();
    let host = site.start_with(&["--mqtt", "mqtt://127.0.0.1:1"]);
    let address = host.address();
    let (status, job) = post(&address, "/api/v1/jobs", &json!({"trigger": "now", "topic": "away", "id": "away"}));
    assert_eq!((status, &job["runs"][0]["last"]), (201, &Value::Null), "no attempt was made: {job}");
    let run = text(&job["runs"][0], "run").to_owned();
    let state = || site.runs(&["--job", "away"]).iter().map(|one| text(one, "state").to_owned()).collect::<Vec<_>>();
    assert_eq!(state(), ["running"]);
    let (status, one) = ask(&address, "GET", &format!("/api/v1/runs/{run}"), "", "");
    assert_eq!((status, text(&one, "state")), (200, "running"), "{one}");
    site.roost(&["abandon", &run]);
    assert_eq!(state(), ["cancelled"]);
    assert!(host.stop().success());
}

#[test]
fn a_device_is_running_from_the_first_message_of_a_run_to_its_last_also_after_a_crash() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let host = site.start(&broker);
    let steps =
        json!([{"topic": "valve", "payload": "on"}, {"topic": "valve", "payload": "off", "after_ms": 3_600_000}]);
    let job = json!({"id": "water", "trigger": "now", "steps": steps});
    let is_running = |host: &Roost| get(&host.address(), "/api/v1/devices/roost/api")["running"].as_bool().unwrap();
    assert_eq!(ask(&host.address(), "POST", "/api/v1/jobs", JSON, &job.to_string()).0, 201);
    listener.wait_for("valve");
    assert!(is_running(&host));
    host.kill();
    let host = site.start(&broker);
    assert!(is_running(&host));
    let listed = get(&host.address(), "/api/v1/devices?plugin=roost");
    assert_eq!(listed["items"][0]["running"], true, "{listed}");
    // Its last message is sent when it is cancelled.
    site.roost(&["cancel", "water"]);
    listener.wait("the last message", |messages| messages.iter().any(|message| message.payload == "off"));
    host.until("the end of the run", || (!is_running(&host)).then_some(()));
    assert!(host.stop().success());
}
