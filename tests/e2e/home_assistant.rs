//! Devices in Home Assistant, as the broker sees them.

use std::collections::BTreeSet;

use roost_tests::{
    Broker, Listener, Message, Roost, Site, guest,
    http::{get, text},
    retained, sample,
};
use serde_json::Value;

use crate::{NOON, SECOND, SOON, job};

const NORTH: &str = "homeassistant/device/roost_coop-door_north/config";
const DOORS: &str = "
[[device]]
name = \"north\"
[[device]]
name = \"south\"
";

/// A site with two doors in Home Assistant.
fn doors() -> Site {
    let site = Site::new();
    site.settings("coop-door", DOORS);
    site.drop_in(&sample("coop-door"), "coop-door");
    site
}

fn start(site: &Site, broker: &Broker, settings: &str) -> Roost {
    std::fs::write(site.path().join("roost.toml"), settings).unwrap();
    site.start(broker)
}

/// The newest message on a topic, if there is one that is not empty.
fn newest<'m>(messages: &'m [Message], topic: &str) -> Option<&'m Message> {
    messages.iter().rev().find(|message| message.topic == topic)
}

/// Waits until the newest state of a device satisfies a condition, and returns it.
fn state(listener: &Listener, device: &str, what: &str, is_met: impl Fn(&Value) -> bool) -> Value {
    let topic = format!("roost/state/{device}");
    let parsed = |messages: &[Message]| {
        newest(messages, &topic).and_then(|message| serde_json::from_str::<Value>(&message.payload).ok())
    };
    let messages = listener.wait(what, |messages| parsed(messages).is_some_and(|state| is_met(&state)));
    parsed(&messages).unwrap()
}

/// Waits until `roost status` has this line about Home Assistant.
fn has_status((site, host): (&Site, &Roost), line: &str) {
    let (what, line) = (format!("`{line}` in the status"), format!("home      {line}\n"));
    host.until(&what, || site.roost(&["status"]).contains(&line).then_some(()));
}

fn description(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap()
}

fn keys(description: &Value) -> BTreeSet<String> {
    description["components"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_device_is_described_and_its_state_follows_commands_of_all_kinds() {
    let (broker, site) = (Broker::new(), doors());
    let listener = Listener::new(broker.port);
    let host = start(&site, &broker, "[home_assistant]\njob_switches = true\n");
    let north = description(&listener.wait_for(NORTH).payload);
    assert_eq!(text(&north["device"], "name"), "coop-door north");
    let all = "enabled enabled_close enabled_open event last next problem run_close run_open running skip_close skip_open task_close task_open";
    assert_eq!(keys(&north), all.split(' ').map(str::to_owned).collect());
    for (key, component) in north["components"].as_object().unwrap() {
        assert_eq!(text(component, "unique_id"), format!("roost_coop-door_north_{key}"));
        assert_eq!(text(component, "availability_topic"), "roost/status");
    }
    let job = get(&host.address(), "/api/v1/jobs/coop-door/north/open");
    let first = state(&listener, "coop-door/north", "the next run", |state| state["next"].is_object());
    assert_eq!((&first["paused"], &first["last"], &first["problem"]), (&false.into(), &Value::Null, &Value::Null));
    let close = get(&host.address(), "/api/v1/jobs/coop-door/north/close");
    assert!([text(&job, "due"), text(&close, "due")].contains(&text(&first["next"], "at")), "{first}");

    broker.publish(&["-t", "roost/set/coop-door/north/run/close", "-m", "RUN"]);
    listener.wait_for("coop-door/north/door/set");
    let ran = state(&listener, "coop-door/north", "the run", |state| state["last"].is_object());
    assert_eq!((text(&ran["last"], "job"), text(&ran["last"], "outcome")), ("close", "succeeded"));
    let event = description(&listener.wait_for("roost/event/coop-door/north").payload);
    assert_eq!((text(&event, "event_type"), &event["run"]), ("succeeded", &ran["last"]["run"]));

    broker.publish(&["-t", "roost/set/coop-door/north/enabled", "-m", "OFF"]);
    state(&listener, "coop-door/north", "the pause", |state| state["paused"] == true && state["next"].is_null());
    site.roost(&["resume", "coop-door/north"]);
    let resumed = state(&listener, "coop-door/north", "the end of the pause", |state| state["paused"] == false);
    broker.publish(&["-t", "roost/set/coop-door/north/skip/open", "-m", "SKIP"]);
    let skipped = |state: &Value| text(&state["next"], "job") != "open" || state["next"] != resumed["next"];
    state(&listener, "coop-door/north", "the skip", skipped);
    broker.publish(&["-t", "roost/set/coop-door/north/enabled/open", "-m", "OFF"]);
    state(&listener, "coop-door/north", "the pause of the job", |state| state["paused_jobs"][0] == "open");
    let south = retained(broker.port, "roost/state/coop-door/south").unwrap();
    assert_eq!(description(&south)["paused"], false);
    has_status((&site, &host), "Home Assistant is connected, with 2 devices");
}

/// An automation may turn a device off and on within a millisecond.
#[test]
fn commands_to_a_device_are_carried_out_in_their_order() {
    let (broker, site) = (Broker::new(), doors());
    let listener = Listener::new(broker.port);
    let host = start(&site, &broker, "[home_assistant]\n");
    listener.wait_for(NORTH);
    let mut burst = std::process::Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-l"])
        .args(["-t", "roost/set/coop-door/north/enabled"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut burst.stdin.take().unwrap(), "OFF\nON\n".repeat(10).as_bytes()).unwrap();
    assert!(burst.wait().unwrap().success());
    // It is carried out after those before it.
    broker.publish(&["-t", "roost/set/coop-door/north/enabled/open", "-m", "OFF"]);
    let are_all_done = |state: &Value| state["paused"] == false && state["paused_jobs"] == serde_json::json!(["open"]);
    state(&listener, "coop-door/north", "the last one", are_all_done);
    drop(host);
}

#[test]
fn what_is_not_a_new_command_of_a_person_is_not_obeyed() {
    let (broker, site) = (Broker::new(), doors());
    let topic = "roost/set/coop-door/north/run/close";
    broker.publish(&["-t", topic, "-m", "RUN", "-r"]);
    let listener = Listener::new(broker.port);
    let host = start(&site, &broker, "[home_assistant]\n");
    listener.wait_for(NORTH);
    broker.publish(&["-t", topic, "-m", "RUN", "-r"]);
    host.wait_for_log("is not carried out: it is retained, so it may be old");
    broker.publish(&["-t", topic, "-m", "RUN", "-V", "5", "-D", "publish", "user-property", "roost-run", "a/b/c"]);
    host.wait_for_log("is not carried out: a run of Roost has sent it");
    broker.publish(&["-t", topic, "-n"]);
    for (end, payload, why) in [
        ("run/close", "SKIP", "the payload is `SKIP`, and must be `RUN`"),
        ("run/other", "RUN", "`coop-door/north` has no job `other`"),
        ("task/none", "{", "the arguments are not JSON"),
        ("dance", "RUN", "the command is none of"),
    ] {
        broker.publish(&["-t", &format!("roost/set/coop-door/north/{end}"), "-m", payload]);
        host.wait_for_log(why);
    }
    // Commands are carried out in turn, so that the others would have been by now.
    broker.publish(&["-t", "roost/set/coop-door/north/run/open", "-m", "RUN"]);
    let sent = listener.wait_for("coop-door/north/door/set");
    assert_eq!((sent.payload.as_str(), listener.count("coop-door/north/door/set")), ("OPEN", 1));
}

#[test]
fn without_commands_nothing_can_be_pressed() {
    let (broker, site) = (Broker::new(), doors());
    let listener = Listener::new(broker.port);
    let settings = "[home_assistant]\ncommands = false\ndevices = [\"coop-door/n*\"]\ndiscovery_prefix = \"ha\"\n";
    let host = start(&site, &broker, settings);
    let north = description(&listener.wait_for("ha/device/roost_coop-door_north/config").payload);
    assert_eq!(keys(&north), ["active", "event", "last", "next", "problem", "running"].map(str::to_owned).into());
    assert!(!north.to_string().contains("roost/set/"), "{north}");
    broker.publish(&["-t", "roost/set/coop-door/north/run/close", "-m", "RUN"]);
    site.roost(&["run-now", "coop-door/north/open"]);
    assert_eq!(listener.wait_for("coop-door/north/door/set").payload, "OPEN");
    let described = listener.messages();
    assert!(!described.iter().any(|message| message.topic.contains("south/config")), "{described:?}");
    drop(host);
}

#[test]
fn a_restart_publishes_nothing_again_and_a_broker_that_lost_its_memory_gets_everything() {
    let (mut broker, site) = (Broker::new(), doors());
    let listener = Listener::new(broker.port);
    let host = start(&site, &broker, "[home_assistant]\n");
    for device in ["north", "south"] {
        state(&listener, &format!("coop-door/{device}"), "the state", |state| state["next"].is_object());
    }
    listener.wait_for(NORTH);
    host.kill();
    let before = listener.messages().len();
    let host = start(&site, &broker, "[home_assistant]\n");
    host.wait_for_log("for Home Assistant");
    site.roost(&["pause", "coop-door/north"]);
    state(&listener, "coop-door/north", "the pause", |state| state["paused"] == true);
    let again = listener.messages().split_off(before);
    let again: Vec<&str> = again.iter().map(|message| message.topic.as_str()).collect();
    assert!(again.iter().all(|topic| ["roost/state", "roost/state/coop-door/north"].contains(topic)), "{again:?}");

    drop(listener);
    broker.kill();
    broker.start();
    let listener = Listener::new(broker.port);
    assert!(listener.wait_for(NORTH).payload.contains("coop-door north"));
    state(&listener, "coop-door/north", "the state", |state| state["paused"] == true);
    listener.wait_for("homeassistant/device/roost/config");
    drop(host);
}

#[test]
fn what_is_gone_is_removed_also_if_it_went_while_the_host_was_down() {
    let (broker, site) = (Broker::new(), doors());
    // A folder that is suddenly empty removes nothing.
    site.drop_in(&sample("greenhouse"), "greenhouse");
    let listener = Listener::new(broker.port);
    let host = start(&site, &broker, "[home_assistant]\n");
    listener.wait_for(NORTH);
    state(&listener, "coop-door/south", "the state", Value::is_object);
    // The south door goes while the host runs.
    site.settings("coop-door", "[[device]]\nname = \"north\"\n");
    let is_cleared =
        |messages: &[Message], topic: &str| newest(messages, topic).is_some_and(|last| last.payload.is_empty());
    let south = "homeassistant/device/roost_coop-door_south/config";
    let gone =
        |messages: &[Message]| is_cleared(messages, south) && is_cleared(messages, "roost/state/coop-door/south");
    listener.wait("the south door to go", gone);
    host.kill();
    // The plugin goes while it does not, and another program's device stays, which reads a state of the host.
    broker.publish(&[
        "-t",
        "homeassistant/device/other/config",
        "-r",
        "-m",
        r#"{"state_topic":"roost/state/coop-door/north","components":{}}"#,
    ]);
    std::fs::remove_file(site.plugin("coop-door.wasm")).unwrap();
    let host = start(&site, &broker, "[home_assistant]\n");
    listener.wait("the north door to go", |messages| is_cleared(messages, NORTH));
    assert!(retained(broker.port, "homeassistant/device/other/config").is_some());
    assert!(retained(broker.port, "homeassistant/device/roost/config").is_some());
    host.kill();
    // Without the table, the host goes as well.
    let _host = start(&site, &broker, "");
    listener.wait("the host to go", |messages| is_cleared(messages, "homeassistant/device/roost/config"));
    assert!(retained(broker.port, "homeassistant/device/other/config").is_some());
}

#[test]
fn a_plugin_at_fault_keeps_its_devices_and_a_job_that_goes_takes_its_button_along() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let job = |id: &str| job(id, "every_ms = 3600000", &format!("declared/{id}"));
    site.settings("declared", &(job("one") + &job("two")));
    site.drop_in(&guest("declared"), "declared");
    let host = start(&site, &broker, "[home_assistant]\n");
    let topic = "homeassistant/device/roost_declared_declared/config";
    assert!(keys(&description(&listener.wait_for(topic).payload)).contains("run_two"));
    site.settings("declared", &job("one"));
    let of_two =
        |messages: &[Message]| Some(description(&newest(messages, topic)?.payload)["components"]["run_two"].clone());
    listener.wait("the button to go", |messages| {
        of_two(messages).is_some_and(|two| two == serde_json::json!({ "platform": "button" }))
    });
    listener.wait("it to be left out", |messages| of_two(messages).is_some_and(|two| two.is_null()));
    site.settings("declared", "[config]\nnonsense = 1\n");
    state(&listener, "declared/declared", "the problem", |state| state["problem"].is_string());
    assert!(retained(broker.port, topic).is_some());
    // The files of the running version again.
    site.settings("declared", &job("one"));
    state(&listener, "declared/declared", "the end of the problem", |state| state["problem"].is_null());
    drop(host);
}

#[test]
fn two_hosts_share_a_broker() {
    let (broker, one, two) = (Broker::new(), doors(), doors());
    let listener = Listener::new(broker.port);
    let first = start(&one, &broker, "[home_assistant]\n");
    std::fs::write(two.path().join("roost.toml"), "[mqtt]\ntopic = \"barn\"\n[home_assistant]\n").unwrap();
    let second = two.start(&broker);
    listener.wait_for(NORTH);
    let barn = "homeassistant/device/barn_coop-door_north/config";
    listener.wait_for(barn);
    listener.wait("its state", |messages| newest(messages, "barn/state/coop-door/north").is_some());
    first.kill();
    assert_eq!(retained(broker.port, "barn/status").as_deref(), Some("online"));
    broker.publish(&["-t", "barn/set/coop-door/north/enabled", "-m", "OFF"]);
    let is_paused = |messages: &[Message]| {
        newest(messages, "barn/state/coop-door/north").is_some_and(|state| state.payload.contains("\"paused\":true"))
    };
    listener.wait("the pause", is_paused);
    assert!(retained(broker.port, NORTH).is_some() && retained(broker.port, barn).is_some());
    drop(second);
}

/// Two hosts that share a topic by mistake: each leaves the other's devices alone, and both say so.
#[test]
fn a_host_never_removes_what_another_one_has_described() {
    let (broker, one, two) = (Broker::new(), doors(), doors());
    let settings = "[home_assistant]\n";
    let device = |name: &str| format!("[[device]]\nname = \"{name}\"\n");
    two.settings("coop-door", &(device("east") + &device("south") + &device("west")));
    let config = |name: &str| format!("homeassistant/device/roost_coop-door_{name}/config");
    let listener = Listener::new(broker.port);
    let first = start(&one, &broker, settings);
    for device in ["north", "south"] {
        listener.wait_for(&config(device));
    }
    listener.wait_for("homeassistant/device/roost/config");
    let second = start(&two, &broker, settings);
    for host in [&second, &first] {
        host.wait_for_log("describes devices below `roost` in Home Assistant as well");
        host.wait_for_log("it has published `roost/state");
    }
    for device in ["east", "west"] {
        listener.wait_for(&config(device));
    }
    let is_cleared =
        |messages: &[Message], topic: &str| newest(messages, topic).is_some_and(|last| last.payload.is_empty());
    // Both have the south door. It is not removed with one of them. Of two devices that are gone, the first one by name
    // is decided first.
    second.kill();
    two.settings("coop-door", &device("east"));
    let second = start(&two, &broker, settings);
    listener.wait("the west door to go", |messages| is_cleared(messages, &config("west")));
    let south_of_one = |messages: &[Message]| {
        newest(messages, "roost/state/coop-door/south").is_some_and(|state| state.payload.contains("\"paused\":true"))
            && newest(messages, &config("south")).is_some_and(|south| !south.payload.is_empty())
    };
    one.roost(&["pause", "coop-door/south"]);
    listener.wait("the south door", south_of_one);
    assert!(retained(broker.port, &config("north")).is_some());

    // Each publishes the host's state when it has changed, and not because the other one does.
    for (site, device, paused) in [(&two, "east", true), (&one, "north", true), (&two, "east", false)] {
        site.roost(&[if paused { "pause" } else { "resume" }, &format!("coop-door/{device}")]);
        state(&listener, &format!("coop-door/{device}"), "the pause", |state| state["paused"] == paused);
    }
    let states = listener.messages().into_iter().filter(|message| message.topic == "roost/state");
    let mut last = std::collections::HashMap::new();
    for state in states.filter(|state| !state.payload.is_empty()) {
        let host = text(&description(&state.payload), "host").to_owned();
        assert_ne!(last.insert(host, state.payload.clone()).as_ref(), Some(&state.payload));
    }
    assert_eq!(last.len(), 2);

    // Without the table, a host removes its own devices.
    second.kill();
    let second = start(&two, &broker, "");
    listener.wait("the east door to go", |messages| is_cleared(messages, &config("east")));
    drop(second);
    first.kill();
    let first = start(&one, &broker, settings);
    first.wait_for_log("for Home Assistant");
    one.roost(&["resume", "coop-door/north"]);
    state(&listener, "coop-door/north", "the end of the pause", |state| state["paused"] == false);
    for topic in [&config("north"), &config("south"), "homeassistant/device/roost/config"] {
        first.until(topic, || retained(broker.port, topic));
    }
}

#[test]
fn nothing_stays_at_a_former_topic_except_what_another_host_has_there() {
    let (broker, site, other) = (Broker::new(), doors(), doors());
    let listener = Listener::new(broker.port);
    let is_cleared =
        |messages: &[Message], topic: &str| newest(messages, topic).is_some_and(|last| last.payload.is_empty());
    let is_now = |messages: &[Message], topic: &str, payload: &str| {
        newest(messages, topic).is_some_and(|last| last.payload == payload)
    };
    let barn = "homeassistant/device/barn_coop-door_north/config";
    let host = start(&site, &broker, "[mqtt]\ntopic = \"barn\"\n[home_assistant]\n");
    listener.wait_for(barn);
    host.stop();
    // The table goes at the same time.
    let host = start(&site, &broker, "");
    let all = ["barn/status", "barn/state/coop-door/north", barn, "homeassistant/device/barn/config"];
    listener.wait("all to go", |messages| all.iter().all(|topic| is_cleared(messages, topic)));
    host.stop();
    // Without the table, the status goes alone, unless another host has it now.
    let shed = "[mqtt]\ntopic = \"shed\"\n";
    let to_shed = |site: &Site| {
        let host = start(site, &broker, shed);
        listener.wait("the status", |messages| is_now(messages, "shed/status", "online"));
        host
    };
    to_shed(&site).stop();
    let host = start(&site, &broker, "");
    listener.wait("the status to go", |messages| is_cleared(messages, "shed/status"));
    host.stop();
    to_shed(&site).stop();
    listener.wait("the end", |messages| is_now(messages, "shed/status", "offline"));
    let other = to_shed(&other);
    let host = start(&site, &broker, "[home_assistant]\n");
    // It is described after what is left was removed.
    listener.wait_for(NORTH);
    assert_eq!(retained(broker.port, "shed/status").as_deref(), Some("online"));
    drop((host, other));
}

#[test]
fn the_built_in_broker_serves_home_assistant_as_well() {
    let site = doors();
    let port = roost_tests::free_port();
    let settings = format!("[built_in_broker]\ndevices = {port}\n[home_assistant]\n");
    std::fs::write(site.path().join("roost.toml"), settings).unwrap();
    let host = site.start_with(&[]);
    host.until("the description", || retained(port, NORTH));
    let listener = Listener::new(port);
    site.roost(&["run-now", "coop-door/north/close"]);
    state(&listener, "coop-door/north", "the run", |state| state["last"].is_object());
    host.kill();
    let host = site.start_with(&[]);
    host.until("the description", || retained(port, NORTH));
}

/// A valve that is open is on in Home Assistant, also over a crash of the host.
#[test]
fn a_run_that_owes_a_step_is_running_also_after_a_crash() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let steps = r#"steps = [{ topic = "declared/valve", payload = "ON" }, { topic = "declared/valve", payload = "OFF", after_ms = 600000 }]"#;
    site.settings("declared", &format!("[[config.jobs]]\nid = \"water\"\ntrigger = {{ at_ms = {NOON} }}\n{steps}\n"));
    site.drop_in(&guest("declared"), "declared");
    std::fs::write(site.path().join("roost.toml"), "[home_assistant]\n").unwrap();
    let host = site.start_at(&broker, NOON - SOON);
    state(&listener, "declared/declared", "the state", |state| state["running"] == false && state["next"].is_object());
    site.set_clock(NOON - SECOND);
    listener.wait_for("declared/valve");
    state(&listener, "declared/declared", "the run", |state| state["running"] == true);
    host.kill();
    let host = site.start_at(&broker, NOON + SOON / 2);
    host.wait_for_log("for Home Assistant");
    site.roost(&["pause", "declared/declared"]);
    let paused = state(&listener, "declared/declared", "the pause", |state| state["paused"] == true);
    assert_eq!(paused["running"], true);
    host.kill();
    let _host = site.start_at(&broker, NOON + 2 * SOON);
    listener.wait("the end", |messages| newest(messages, "declared/valve").is_some_and(|last| last.payload == "OFF"));
    state(&listener, "declared/declared", "the end of the run", |state| state["running"] == false);
}

/// With the access rules of the documentation, Roost can do all it has to, Home Assistant commands, and no other client
/// does.
#[test]
fn with_the_documented_access_rules_only_home_assistant_commands() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = crate::docs::blocks("docs/home-assistant.md");
    let (_, rules) = blocks.iter().find(|(_, text)| text.contains("user homeassistant")).expect("the access rules");
    let file = folder.path().join("acl");
    std::fs::write(&file, rules).unwrap();
    let broker = Broker::start_with(&format!("acl_file {}", file.display()));
    let site = doors();
    let host =
        start(&site, &broker, &format!("[mqtt]\nurl = \"{}\"\nuser = \"roost\"\n[home_assistant]\n", broker.url()));
    let press = |user: &[&str]| {
        broker.publish(&[user, &["-t", "roost/set/coop-door/north/run/close", "-m", "RUN"]].concat());
    };
    // It is described after it listens to commands.
    let described = std::process::Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &broker.port.to_string(),
            "-u",
            "homeassistant",
            "-t",
            NORTH,
            "-C",
            "1",
            "-W",
            "30",
        ])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&described.stdout).contains("coop-door north"));
    let ran = || site.runs(&[]).len();
    for stranger in [&[][..], &["-u", "door"], &["-u", "roost-2"]] {
        press(stranger);
    }
    press(&["-u", "homeassistant"]);
    host.until("the run", || (ran() > 0).then_some(()));
    assert_eq!(ran(), 1);
    assert!(!host.log.all().iter().any(|line| line.contains("refused")), "{:?}", host.log.all());
}

#[test]
fn a_broker_without_retained_messages_gets_no_devices_and_a_warning_says_so() {
    let (broker, site) = (Broker::start_with("retain_available false"), doors());
    let listener = Listener::new(broker.port);
    let host = start(&site, &broker, "[home_assistant]\n");
    host.wait_for_log("keeps no retained messages: a client that subscribes later does not know");
    host.wait_for_log("Home Assistant has no devices of this host");
    host.wait_for_log("jobs of `coop-door`");
    site.roost(&["run-now", "coop-door/north/close"]);
    listener.wait_for("coop-door/north/door/set");
    let of_home_assistant =
        |message: &Message| message.topic.starts_with("homeassistant/") || message.topic.starts_with("roost/state");
    assert!(!listener.messages().iter().any(of_home_assistant));
    has_status((&site, &host), "Home Assistant is connected, with 0 devices");
    has_status((&site, &host), "the broker refused retained messages");
}

#[test]
fn a_broker_with_only_3_1_1_serves_home_assistant_as_well() {
    let (broker, site) = (Broker::without_5(), doors());
    let (listener, topic) = (Listener::v3(broker.port), "roost/set/coop-door/north/run");
    broker.publish(&["-V", "mqttv311", "-t", &format!("{topic}/close"), "-m", "RUN", "-r"]);
    let host = start(&site, &broker, "[home_assistant]\n");
    host.wait_for_log("is not carried out: it is retained, so it may be old");
    state(&listener, "coop-door/north", "the state", |state| state["next"].is_object());
    broker.publish(&["-V", "mqttv311", "-t", &format!("{topic}/open"), "-m", "RUN"]);
    assert_eq!(listener.wait_for("coop-door/north/door/set").payload, "OPEN");
    let ran = state(&listener, "coop-door/north", "the run", |state| state["last"].is_object());
    assert_eq!((text(&ran["last"], "job"), text(&ran["last"], "outcome")), ("open", "succeeded"));
    let count = host.log.all().iter().filter(|line| line.contains("speaks MQTT 3.1.1, and not 5")).count();
    assert_eq!(count, 1, "one for both connections");
    host.kill();
    // What changed meanwhile is published, and nothing else.
    let before = listener.messages().len();
    let host = start(&site, &broker, "[home_assistant]\n");
    host.wait_for_log("for Home Assistant");
    site.roost(&["pause", "coop-door/north"]);
    state(&listener, "coop-door/north", "the pause", |state| state["paused"] == true);
    let again = listener.messages().split_off(before);
    assert!(!again.iter().any(|message| message.topic.ends_with("/config")), "{again:?}");
}

#[test]
fn what_the_broker_refuses_is_logged_once_and_in_the_status() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acl");
    std::fs::write(&file, "topic readwrite roost/#\n").unwrap();
    let (broker, site) = (Broker::start_with(&format!("acl_file {}", file.display())), doors());
    let host = start(&site, &broker, "[home_assistant]\n");
    let line = host.wait_for_log("the broker refused a message to `homeassistant/device/roost");
    assert!(line.ends_with("/config`, which Home Assistant needs"), "{line}");
    host.until("the refusal in the status", || {
        let status = site.roost(&["status"]);
        let is_shown = status.contains("home      the broker refused a message to `homeassistant/device/roost");
        (is_shown && status.contains("/config`: the user is not authorized (0x87)\n")).then_some(())
    });
    let log = host.log.all();
    let refusals: Vec<_> = log.iter().filter(|line| line.contains("the broker refused")).collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
}

/// Mosquitto 2.0.11 ends the connection at a message that it refuses, if its queue has no limit.
#[test]
fn a_broker_that_ends_the_connection_at_a_refusal_gets_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("acl");
    let config = |name: &str| format!("homeassistant/device/{name}/config");
    let (host, south) = (config("roost"), config("roost_coop-door_south"));
    let rules =
        format!("topic readwrite roost/#\ntopic read homeassistant/#\ntopic write {host}\ntopic write {south}\n");
    std::fs::write(&file, rules).unwrap();
    let broker = Broker::start_with(&format!("acl_file {}\nmax_queued_messages 0", file.display()));
    let listener = Listener::new(broker.port);
    let site = doors();
    let running = start(&site, &broker, "[home_assistant]\n");
    listener.wait_for(&south);
    site.roost(&["pause", "coop-door/north"]);
    state(&listener, "coop-door/north", "the pause", |state| state["paused"] == true);
    let log = running.log.all();
    let refused = |line: &&String| line.contains("which Home Assistant needs");
    assert_eq!(log.iter().filter(refused).count(), 1, "{log:?}");
    running.wait_for_log("a message to `homeassistant/device/roost_coop-door_north/config`");
    running.wait_for_log("the lines `topic readwrite roost/#`");
}
