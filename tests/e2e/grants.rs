//! Grants of topics and resources, and forged output: plugins cannot write lines that look like the host's.

use std::fs;

use roost_tests::{Broker, Listener, Message, Roost, Site, guest};

use crate::operations::{roost, tried};

const FORGED: &str = "x\n2027-01-01T00:00:00.000000Z ERROR roost::store: the disk is full\r\n\u{1b}[2J\u{202e}\u{0}y";

/// Returns settings of the guest `speaks`.
fn speaks(key: &str) -> String {
    // JSON's escapes are valid in TOML.
    format!("[config]\n{key} = {}\n", serde_json::to_string(FORGED).unwrap())
}

/// Checks for a forged line, or a moved cursor.
fn is_forged(line: &str) -> bool {
    let hidden = line.contains(['\u{1b}', '\r', '\0', '\u{202e}']);
    hidden || line.trim_start().starts_with("2027-01-01T00:00:00")
}

fn assert_honest(what: &str, text: &str) {
    let forged: Vec<&str> = text.lines().filter(|line| is_forged(line)).collect();
    assert!(forged.is_empty(), "{what}: {forged:#?}");
}

#[test]
fn no_output_of_a_plugin_looks_like_a_line_of_the_host() {
    for format in ["human", "json"] {
        let (broker, site) = (Broker::new(), Site::new());
        fs::write(site.path().join("roost.toml"), format!("[log]\nformat = \"{format}\"\n")).unwrap();
        for key in ["log", "out", "err", "fail", "label"] {
            site.settings(&format!("speaks-{key}"), &speaks(key));
            site.drop_in(&guest("speaks"), &format!("speaks-{key}"));
        }
        let host = site.start(&broker);
        for (name, end) in
            [("log", "loaded"), ("out", "loaded"), ("err", "loaded"), ("fail", "not loaded"), ("label", "not loaded")]
        {
            host.log.wait(&format!("{name} {end}"), |lines| {
                let says = |line: &&String| line.contains(&format!("speaks-{name}")) && line.contains(end);
                lines.iter().find(says).cloned()
            });
        }
        let log = host.log.all().join("\n");
        assert_honest(format, &log);
        assert!(log.contains("ERROR roost::store: the disk is full"), "it is shown, escaped: {log}");
        if format == "json" {
            host.log.all().iter().for_each(|line| drop(serde_json::from_str::<serde_json::Value>(line).expect(line)));
        }
        // The output of commands.
        for name in ["log", "out", "err", "fail", "label"] {
            let name = format!("speaks-{name}");
            for arguments in
                [&["logs", &name][..], &["logs", &name, "--json"], &["plugins", &name], &["plugins", &name, "--json"]]
            {
                let (_, out, errors) = tried(&site, arguments);
                assert_honest(&format!("{arguments:?}"), &(out + &errors));
            }
            let (_, out, errors) = tried(&site, &["check", &format!("plugins/{name}.wasm")]);
            assert_honest(&format!("check of {name}"), &(out + &errors));
        }
    }
}

#[test]
fn no_text_of_a_device_a_file_or_a_request_looks_like_a_line_of_the_host() {
    let (broker, site) = (Broker::new(), Site::new());
    let report = "confirm = { topic = \"declared/state\", bytes = \"closed\", within_ms = 1500 }";
    let steps = format!("steps = [{{ topic = \"declared/door\", payload = \"close\", {report} }}]\n");
    let job =
        format!("[[config.jobs]]\nid = \"close\"\ntrigger = {{ in_ms = 0 }}\npolicy = {{ attempts = 1 }}\n{steps}");
    // The names of refused files are shown as well.
    fs::write(site.plugin("x\n2027-01-01T00:00:00Z ERROR roost::store: the disk is full\u{202e}\u{1b}[2J.wasm"), "")
        .unwrap();
    drop_in(&site, "declared", &job);
    let listener = Listener::new(broker.port);
    let host = site.start(&broker);
    listener.wait_for("declared/door");
    let payload = FORGED.replace('\0', "");
    broker.publish(&["-t", "declared/state", "-m", &payload]);
    host.wait_for_log("failed declared/declared/close");
    let address = host.address();
    let query = "plugin=%0A2027-01-01T00%3A00%3A00Z%20ERROR%E2%80%AE";
    let (status, body) = crate::api::ask(&address, "GET", &format!("/api/v1/jobs?{query}"), "", "");
    assert!(status >= 400 && !is_forged(body["detail"].as_str().unwrap()), "{body}");
    let body = serde_json::json!({"trigger": FORGED, "topic": FORGED, "label": FORGED}).to_string();
    let (status, body) = crate::api::ask(&address, "POST", "/api/v1/jobs", "", &body);
    assert!(status >= 400 && !is_forged(body["detail"].as_str().unwrap()), "{body}");
    // The file's name is shown, escaped.
    host.wait_for_log("the disk is full\\u{202e}\\u{1b}[2J");
    assert_honest("the log", &host.log.all().join("\n"));
    let (_, out, errors) = tried(&site, &["runs", "--failed"]);
    assert!(out.contains("its last report was `x\\n2027-01-01"), "{out}");
    assert_honest("runs", &(out + &errors));
}

#[test]
fn a_long_label_is_refused_and_a_stored_one_does_no_harm() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("speaks", "[config]\nlabel_bytes = 5242880\n");
    site.drop_in(&guest("speaks"), "speaks");
    let host = site.start(&broker);
    host.wait_for_log("job `speak`: `label` of 5242880 bytes: it may have 1,024 (1 KiB)");
    site.settings("speaks", "[config]\nlabel = \"now and then\"\n");
    host.wait_for_log("speaks loaded: 1 device, 1 job");
    assert!(host.stop().success());

    // As an earlier version has stored it.
    site.execute("UPDATE jobs SET label = 'begin' || char(27, 8238) || replace(hex(zeroblob(2621440)), '00', 'xx')");
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let (jobs, _) = roost(&site, &["jobs"]);
    let line = jobs.lines().find(|line| line.contains("speaks/speaks/speak")).expect("the job");
    assert!(line.contains("begin\\u{1b}\\u{202e}xxx") && line.ends_with('…') && line.len() < 10_000, "{}", line.len());
    let (explained, _) = roost(&site, &["explain", "speaks/speaks/speak"]);
    assert_honest("explain", &explained);
}

#[test]
fn a_plugin_named_like_another_product_needs_a_grant_of_the_operator() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let name = "zigbee2mqtt";
    site.settings(name, &crate::job("restart", "every_ms = 1000", "zigbee2mqtt/bridge/request/restart"));
    site.drop_in(&guest("declared"), name);
    let host = site.start(&broker);
    host.wait_for_log(
        "job `restart`, step 1: `topic` `zigbee2mqtt/bridge/request/restart` is outside what `zigbee2mqtt` may",
    );
    host.wait_for_log("topics below `zigbee2mqtt/` belong to Zigbee2MQTT");
    host.wait_for_log("put this into `roost.toml`:");
    host.wait_for_log("[grants.zigbee2mqtt]");
    host.wait_for_log("publish = [\"zigbee2mqtt/bridge/request/restart\"]");
    let (code, _, errors) = tried(&site, &["check", "plugins/zigbee2mqtt.wasm"]);
    assert!(code == Some(1) && errors.contains("[grants.zigbee2mqtt]"), "{errors}");
    assert!(host.stop().success());
    assert!(listener.messages().iter().all(|message| !message.topic.starts_with(name)));

    let word = "[grants.zigbee2mqtt]\npublish = [\"zigbee2mqtt/bridge/request/restart\"]\n";
    fs::write(site.path().join("roost.toml"), word).unwrap();
    let host = site.start(&broker);
    let loaded = host.wait_for_log("zigbee2mqtt loaded: 1 device, 1 job");
    assert!(loaded.contains("; it may publish to zigbee2mqtt/bridge/request/restart, and read nothing"), "{loaded}");
    assert!(
        loaded.contains("beware, it may publish to topics of others: `zigbee2mqtt/bridge/request/restart`"),
        "{loaded}"
    );
    listener.wait_for("zigbee2mqtt/bridge/request/restart");
}

#[test]
fn an_installation_shows_what_the_plugin_may_publish_and_read() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let file = guest("speaks");
    let file = file.to_str().unwrap();
    let (out, _) = roost(&site, &["upload", file, "--check"]);
    assert!(out.contains("\n  it may publish to speaks/#, and read speaks/#\n"), "{out}");
    let (out, _) = roost(&site, &["upload", file, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["grant"]["publish"], serde_json::json!(["speaks/#"]), "{answer}");
    host.wait_for_log("speaks loaded: 1 device, 1 job; it may publish to speaks/#, and read speaks/#");
    let (out, _) = roost(&site, &["check", "plugins/speaks.wasm"]);
    assert!(out.contains("\n  it may publish to speaks/#, and read speaks/#\n"), "{out}");
    let (code, _, errors) = tried(&site, &["upload", file, "--as", "homeassistant"]);
    assert!(code == Some(1) && errors.contains("belong to Home Assistant"), "{errors}");
}

/// Returns a job of the guest `declared` that holds the pump until it turns a device off.
fn pumping(id: &str, trigger: &str, plugin: &str, off_after_ms: u64, more: &str) -> String {
    format!(
        "[[config.jobs]]\nid = \"{id}\"\ntrigger = {{ {trigger} }}\npolicy = {{ needs = \"pump\"{more} }}\nsteps = [\n\
         {{ topic = \"{plugin}/{id}\", payload = \"on\" }},\n\
         {{ topic = \"{plugin}/{id}\", payload = \"off\", after_ms = {off_after_ms} }},\n]\n"
    )
}

fn with_pump(plugins: &str) -> (Broker, Site, Listener) {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    fs::write(site.path().join("roost.toml"), format!("[[resource]]\nname = \"pump\"\nplugins = [{plugins}]\n"))
        .unwrap();
    (broker, site, listener)
}

fn drop_in(site: &Site, name: &str, settings: &str) {
    site.settings(name, settings);
    site.drop_in(&guest("declared"), name);
}

#[test]
fn a_resource_is_only_for_the_configured_plugins_and_a_limited_time() {
    let (broker, site, listener) = with_pump("\"garden\"");
    let weeks = 49 * 86_400_000;
    drop_in(&site, "thief", &pumping("steal", "in_ms = 0", "thief", 1, ", priority = 127"));
    drop_in(&site, "garden", &pumping("flood", "in_ms = 0", "garden", weeks, ", priority = 127"));
    let host = site.start(&broker);
    host.wait_for_log(
        "job `steal`: `policy.needs`: a job of `thief` may not hold `pump`: its `plugins` do not name `thief`",
    );
    host.wait_for_log("plugins = [\"garden\", \"thief\"]");
    host.wait_for_log("job `flood`: `policy.needs`: its steps would hold `pump` for 49d, and a run may hold it for 4h");
    host.wait_for_log("longest_hold = \"49d\"");
    let by_hand = ["schedule", "now", "--topic", "a", "--needs", "pump"];
    let (code, _, errors) = tried(&site, &by_hand);
    assert!(code == Some(1) && errors.contains("its `plugins` do not name `api`"), "{errors}");
    site.settings("garden", &pumping("water", "in_ms = 0", "garden", 1, ""));
    listener.wait_for("garden/water");
    assert!(listener.messages().iter().all(|message| !message.topic.starts_with("thief")));
    assert!(host.stop().success());

    // Without configured plugins, only ad-hoc jobs may need it.
    fs::write(site.path().join("roost.toml"), "[[resource]]\nname = \"pump\"\n").unwrap();
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    roost(&site, &by_hand);
    listener.wait_for("a");
}

#[test]
fn plugins_take_turns_at_a_resource_and_a_removed_one_leaves_the_queue() {
    let (broker, site, listener) = with_pump("\"greedy\", \"modest\", \"goner\"");
    let of = |plugin: &str, jobs: &[&str], priority: i8| -> String {
        let more = format!(", priority = {priority}, grace_ms = 600000");
        jobs.iter().map(|id| pumping(id, "in_ms = 0", plugin, 1_500, &more)).collect()
    };
    drop_in(&site, "greedy", &of("greedy", &["a", "b", "c", "d"], 127));
    let host = site.start(&broker);
    listener.wait_for("greedy/a");
    drop_in(&site, "goner", &of("goner", &["x", "y", "z"], 127));
    drop_in(&site, "modest", &of("modest", &["m", "n"], -128));
    host.wait_for_log("modest loaded");
    host.wait_for_log("goner loaded");
    fs::remove_file(site.plugin("goner.wasm")).unwrap();
    host.wait_for_log("goner removed");
    let on = |messages: &[Message], plugin: &str| {
        messages.iter().filter(|message| message.payload == "on" && message.topic.starts_with(plugin)).count()
    };
    listener.wait("all that is watered", |messages| on(messages, "greedy") == 4);
    let order = listener.messages();
    // One at a time, and the modest plugin is done long before the greedy one.
    let payloads: Vec<&str> = order.iter().map(|message| message.payload.as_str()).collect();
    assert!(
        payloads.chunks(2).all(|pair| pair[0] == "on" && pair.get(1).is_none_or(|off| *off == "off")),
        "{order:#?}"
    );
    assert_eq!(on(&order, "modest"), 2, "{order:#?}");
    assert!(on(&order, "goner") <= 2, "what waited has left: {order:#?}");
    let waiting = |host: &Roost| host.log.all().iter().filter(|line| line.contains("its plugin was removed")).count();
    assert!(waiting(&host) >= 1, "{:#?}", host.log.all());
}

#[test]
fn a_run_that_holds_a_resource_can_be_ended_after_its_plugin_was_removed() {
    let (broker, site, listener) = with_pump("\"greedy\", \"modest\"");
    drop_in(&site, "greedy", &pumping("hog", "in_ms = 0", "greedy", 3_600_000, ""));
    let host = site.start(&broker);
    listener.wait_for("greedy/hog");
    drop_in(&site, "modest", &pumping("m", "in_ms = 0", "modest", 1, ", grace_ms = 600000"));
    host.wait_for_log("modest loaded");
    fs::remove_file(site.plugin("greedy.wasm")).unwrap();
    host.wait_for_log("greedy removed");
    // I5: its valve is open, and is closed when it is due.
    let (shown, _) = roost(&site, &["explain", "modest/modest/m"]);
    assert!(shown.contains("it waits to start: `pump` is in use by `greedy/greedy/hog/"), "{shown}");
    let holder = shown.split("`roost abandon ").nth(1).and_then(|rest| rest.split('`').next()).expect("a command");
    assert!(listener.messages().iter().all(|message| message.topic == "greedy/hog"));
    roost(&site, &["abandon", holder.split(' ').next().unwrap()]);
    listener.wait_for("modest/m");
}

#[test]
fn plans_above_a_ceiling_are_refused_and_accepted_ones_are_denied() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let steps = "steps = [{ topic = \"declared/door\", qos = 1, retain = true }]\n";
    let job = format!("[[config.jobs]]\nid = \"open\"\ntrigger = {{ every_ms = 1000 }}\n{steps}");
    drop_in(&site, "declared", &job);
    let host = site.start(&broker);
    listener.wait_for("declared/door");
    assert!(host.stop().success());

    fs::write(site.path().join("roost.toml"), "[grants.declared]\nmax_qos = 0\n[ceilings]\nmemory_mib = 64\n").unwrap();
    let host = site.start(&broker);
    host.wait_for_log(
        "job `open`, step 1: `qos` 1: the grant of `declared` allows up to 0, in the message to `declared/door`",
    );
    host.wait_for_log("put this into `roost.toml`:");
    host.wait_for_log("max_qos = 1");
    // I6: the previous version continues; I8: within the operator's present grant.
    host.wait_for_log("publishing to `declared/door` with QoS 1 is not granted, only up to 0");
    let (out, _) = roost(&site, &["explain", "declared/declared/open"]);
    assert!(out.contains("with QoS 1, only up to 0") && out.contains("max_qos = 1"), "{out}");
    site.settings("declared", &(job + "[limits]\nmemory_mib = 128\n"));
    host.wait_for_log("`memory_mib` is 128, and the operator allows 64 at most");
    host.wait_for_log("[ceilings]");
    let log = host.log.all().join("\n");
    assert!(log.contains("memory_mib = 128"), "{log}");
}
