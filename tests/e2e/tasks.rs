//! Tasks: plugins that are called when a job is due.

use roost_tests::{Broker, Listener, Site, guest, root, sample};
use serde_json::Value;

use crate::operations::{runs, text};

/// Runs a command on a plugin, and returns its output.
fn output(command: &str, name: &str, arguments: &[&str]) -> String {
    let site = Site::new();
    site.drop_in(&guest(name), name);
    let output = site.command(&[&[command, &format!("plugins/{name}.wasm")], arguments].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_failed_task_is_reported_with_the_plugins_fault() {
    for (name, texts) in [
        (
            "task-errors",
            &["called 2 times for its messages: `run-task` returned an error: there is no water to rinse with"][..],
        ),
        ("task-loops", &["`run-task` ran longer than 500 ms", "raise `cpu_ms`"]),
        (
            "task-oversteps",
            &[
                "task `outside-grant`, step 1: `topic` `neighbour/door` is outside what `task-oversteps` may publish to",
                "publish = [\"task-oversteps/#\", \"neighbour/door\"]",
                "`run-task` returned more than 1 MiB to the host",
                "task `many-steps`: `steps` 101: there may be 0 to 100",
                "task `long-note`: `note` of 4097 bytes",
            ],
        ),
        ("task-traps", &["`run-task` trapped", "the valve is jammed"]),
    ] {
        let output = output("simulate", name, &["--from", "2027-03-01", "--days", "1"]);
        for text in texts {
            assert!(output.contains(text), "{name}: no `{text}` in\n{output}");
        }
        assert!(output.contains("0 messages"), "{name}: {output}");
    }
}

#[test]
fn a_check_shows_the_tasks_of_a_plugin() {
    let shown = output("check", "task-errors", &[]);
    assert!(shown.contains("\n  task rinse: Never works\n") && shown.contains("\n      calls task rinse\n"), "{shown}");

    let site = Site::new();
    site.drop_in(&sample("sprinkler"), "sprinkler");
    std::fs::copy(root().join("plugins/sprinkler.toml"), site.plugin("sprinkler.toml")).unwrap();
    let output = site.command(&["check", "plugins/sprinkler.wasm", "--json"]).output().unwrap();
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
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
    let runs = host.log.wait("three runs to end", |_| Some(runs(&site, &[])).filter(ended));
    let of = |job: &str| runs.iter().find(|run| run["job"] == job).unwrap();
    assert_eq!(
        [of("water"), of("rain"), of("empty")].map(|run| text(run, "state")),
        ["succeeded", "succeeded", "failed"]
    );
    let reason = "the plugin was called 1 time for its messages: `run-task` returned an error: no water";
    assert_eq!(text(of("empty"), "reason"), reason);
}
