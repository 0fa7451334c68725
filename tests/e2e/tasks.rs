//! Tasks: plugins that are called when a job is due.

use expect_test::expect;
use roost_tests::{Broker, Listener, Site, guest, http::text, redact, root, sample};
use serde_json::Value;

#[test]
fn a_failed_task_is_reported_with_the_plugins_fault() {
    let site = Site::new();
    let outputs = ["task-errors", "task-loops", "task-oversteps", "task-traps"].map(|name| {
        site.drop_in(&guest(name), name);
        let plugin = format!("plugins/{name}.wasm");
        let shown = site.roost(&["simulate", &plugin, "--from", "2027-03-01", "--days", "1"]);
        // The tasks are called four times that day.
        let first = shown.lines().take_while(|line| !line.starts_with("  06:")).map(|line| format!("{line}\n"));
        first.chain(shown.lines().last().map(str::to_owned)).collect::<String>()
    });
    expect![[r#"
        Monday [DATE] +00:00 (UTC)
          00:00:00.965  task-errors/task-errors/ask  ! failed (due [TIME]): the plugin was called 2 times for its messages: `run-task` returned an error: there is no water to rinse with
        0 messages, 4 notes (!)
        Monday [DATE] +00:00 (UTC)
          00:00:01  task-loops/task-loops/ask  ! failed (due [TIME]): the plugin was called 2 times for its messages: `run-task` ran longer than 500 ms
              if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings
        0 messages, 4 notes (!)
        Monday [DATE] +00:00 (UTC)
          00:00:00  task-oversteps/task-oversteps/outside-grant  ! failed (due [TIME]): the plugin was called 1 time for its messages: task `outside-grant`, step 1: `topic` `neighbour/door`: it is outside what `task-oversteps` may publish to
              to allow it, put this into `plugins/task-oversteps.toml`:
              [grants]
              publish = ["task-oversteps/#", "neighbour/door"]
          00:00:00  task-oversteps/task-oversteps/too-much    ! failed (due [TIME]): the plugin was called 1 time for its messages: `run-task` returned more than 1 MiB to the host
              the plugin must return less: that limit cannot be raised
          00:00:00  task-oversteps/task-oversteps/many-steps  ! failed (due [TIME]): the plugin was called 1 time for its messages: task `many-steps`: `steps` 101: there may be 0 to 100
          00:00:00  task-oversteps/task-oversteps/long-note   ! failed (due [TIME]): the plugin was called 1 time for its messages: task `long-note`: `note` of 4097 bytes: it may have 4,096 (4 KiB)
        0 messages, 16 notes (!)
        Monday [DATE] +00:00 (UTC)
          00:00:00.876  task-traps/task-traps/ask  ! failed (due [TIME]): the plugin was called 2 times for its messages: `run-task` trapped: wasm trap: wasm `unreachable` instruction executed
              standard error: thread '<unnamed>' (1) panicked at tests/guests/task-traps.rs:20:9: the valve is jammed
              the fault is in the plugin: its author can reproduce it with `roost check`
        0 messages, 4 notes (!)"#]].assert_eq(&redact(&outputs.join("\n")));
}

#[test]
fn a_check_shows_the_tasks_of_a_plugin() {
    let site = Site::new();
    site.drop_in(&guest("task-errors"), "task-errors");
    expect![[r#"
        $ roost check plugins/task-errors.wasm
        task-errors
          exports  roost:device/schedule@1.0.0, roost:device/tasks@1.0.0
          imports  13 of WASI 0.2
          it may publish to task-errors/#, and read task-errors/#
          task rinse: Never works
          device task-errors (UTC), 1 job
            ask: every 6h
              up to 2 attempts
              calls task rinse
              next [TIME]
              next [TIME]
              next [TIME]
    "#]]
    .assert_eq(&site.transcript(&[&["check", "plugins/task-errors.wasm"]]));
    site.drop_in(&sample("sprinkler"), "sprinkler");
    std::fs::copy(root().join("plugins/sprinkler.toml"), site.plugin("sprinkler.toml")).unwrap();
    let checked = site.json(&["check", "plugins/sprinkler.wasm"]);
    let task = &checked[0]["tasks"][0];
    assert_eq!(
        (&task["name"], &task["args_schema"]["properties"]["minutes"]["maximum"]),
        (&"water".into(), &240.into())
    );
}

#[test]
fn the_reply_of_a_task_is_published() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let asking = |id: &str, reply: &str| {
        format!("[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ in_ms = 500 }}\nreply = {{ {reply} }}\n")
    };
    let valve = "steps = [{ topic = \"declared/valve\", payload = \"ON\" }, \
                 { topic = \"declared/valve\", payload = \"OFF\", after_ms = 300 }], note = \"it is dry\"";
    let jobs =
        asking("water", valve) + &asking("rain", "note = \"it rained\"") + &asking("empty", "error = \"no water\"");
    site.settings("declared", &(jobs + "policy = { attempts = 1 }\n"));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    listener.wait("on and off", |messages| messages.iter().map(|message| message.payload.as_str()).eq(["ON", "OFF"]));

    let ended = |runs: &Vec<Value>| runs.iter().filter(|run| !run["ended"].is_null()).count() == 3;
    let runs = host.log.wait("three runs to end", |_| Some(site.runs(&[])).filter(ended));
    let of = |job: &str| runs.iter().find(|run| run["job"] == job).unwrap();
    assert_eq!(
        [of("water"), of("rain"), of("empty")].map(|run| text(run, "state")),
        ["succeeded", "succeeded", "failed"]
    );
    let reason = "the plugin was called 1 time for its messages: `run-task` returned an error: no water";
    assert_eq!(text(of("empty"), "reason"), reason);
}
