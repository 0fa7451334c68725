//! Grants of topics and resources, and forged output: plugins cannot write lines that look like the host's.

use std::fs;

use expect_test::expect;
use roost_tests::{
    Broker, Listener, Message, Roost, Site, guest,
    http::{JSON, ask, problem},
    redact,
};
use serde_json::{Value, json};

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
            host.log.all().iter().for_each(|line| drop(serde_json::from_str::<Value>(line).expect(line)));
        }
        // The output of commands.
        for name in ["log", "out", "err", "fail", "label"] {
            let name = format!("speaks-{name}");
            for arguments in
                [&["logs", &name][..], &["logs", &name, "--json"], &["plugins", &name], &["plugins", &name, "--json"]]
            {
                let ran = site.tried(arguments);
                assert_honest(&format!("{arguments:?}"), &(ran.out + &ran.errors));
            }
            let ran = site.tried(&["check", &format!("plugins/{name}.wasm")]);
            assert_honest(&format!("check of {name}"), &(ran.out + &ran.errors));
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
    let (status, body) = ask(&address, "GET", &format!("/api/v1/jobs?{query}"), "", "");
    assert!(status >= 400 && !is_forged(body["detail"].as_str().unwrap()), "{body}");
    let body = json!({"trigger": FORGED, "topic": FORGED, "label": FORGED}).to_string();
    let (status, body) = ask(&address, "POST", "/api/v1/jobs", "", &body);
    assert!(status >= 400 && !is_forged(body["detail"].as_str().unwrap()), "{body}");
    // The file's name is shown, escaped.
    host.wait_for_log("the disk is full\\u{202e}\\u{1b}[2J");
    assert_honest("the log", &host.log.all().join("\n"));
    let shown = site.transcript(&[&["runs", "--failed"]]);
    assert_honest("runs", &shown);
    expect![[r#"
        $ roost runs --failed
        TIME ([ZONE])  STATE   ATTEMPTS  RUN                                               REASON
        [TIME]  failed  1         declared/declared/close/[TIME]  step 1 was given up after 1 attempt: the device did not confirm the step within 1s500ms; its last report was `x\n[TIME] ERROR roost::store: the disk is full\r\n\u{1b}…`
    "#]].assert_eq(&shown);
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
    let jobs = site.roost(&["jobs"]);
    let line = jobs.lines().find(|line| line.contains("speaks/speaks/speak")).expect("the job");
    let label = line.split("begin").nth(1).expect("the label");
    assert!(label.starts_with("\\u{1b}\\u{202e}xxx") && label.ends_with('…') && label.len() < 10_000, "{label}");
    let explained = site.roost(&["explain", "speaks/speaks/speak"]);
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
    host.wait_for_log("plugin `zigbee2mqtt` was not loaded");
    expect![[r#"
        error: plugin `zigbee2mqtt` was not loaded
          caused by: zigbee2mqtt.toml:2:6: device `zigbee2mqtt` has no plan
          caused by: job `restart`, step 1: `topic` `zigbee2mqtt/bridge/request/restart`: it is outside what `zigbee2mqtt` may publish to
        hint: topics below `zigbee2mqtt/` belong to Zigbee2MQTT, so a plugin of that name may use none of them by default: give its file another name, or, if it is meant to do that,
          put this into `roost.toml`:
          [grants.zigbee2mqtt]
          publish = ["zigbee2mqtt/bridge/request/restart"]
    "#]].assert_eq(&site.tried(&["check", "plugins/zigbee2mqtt.wasm"]).refused());
    assert!(host.stop().success());
    assert!(listener.messages().iter().all(|message| !message.topic.starts_with(name)));

    let word = "[grants.zigbee2mqtt]\npublish = [\"zigbee2mqtt/bridge/request/restart\"]\n";
    fs::write(site.path().join("roost.toml"), word).unwrap();
    let host = site.start(&broker);
    let loaded = host.wait_for_log("zigbee2mqtt loaded: 1 device, 1 job");
    expect!["[TIME]  INFO zigbee2mqtt loaded: 1 device, 1 job; it may publish to zigbee2mqtt/bridge/request/restart, and read nothing; beware, it may publish to topics of others: `zigbee2mqtt/bridge/request/restart` is Zigbee2MQTT's"].assert_eq(&redact(&loaded));
    listener.wait_for("zigbee2mqtt/bridge/request/restart");
}

#[test]
fn no_job_publishes_at_the_hosts_own_topics_whatever_its_grant() {
    let (broker, site) = (Broker::new(), Site::new());
    let grants = "[grants]\npublish = [\"#\"]\n";
    site.settings("declared", &(grants.to_owned() + &crate::job("order", "every_ms = 1000", "roost/set/a/b/enabled")));
    site.drop_in(&guest("declared"), "declared");
    let host = site.start(&broker);
    host.wait_for_log("plugin `declared` was not loaded");
    expect![[r#"
        error: plugin `declared` was not loaded
          caused by: declared.toml:4:6: device `declared` has no plan
          caused by: job `order`, step 1: `topic` `roost/set/a/b/enabled`: no job may publish there, because what is at or below `roost` is the host's own
        hint: use another topic; or, if devices have topics below `roost`, give the host one of its own: put such a line into `roost.toml`, and start Roost again:
          [mqtt]
          topic = "roost/host"
    "#]].assert_eq(&site.tried(&["check", "plugins/declared.wasm"]).refused());
    let new = json!({"id": "order", "trigger": "every 1h", "topic": "roost/set/a/b/enabled"});
    expect![[r#"
        403 Forbidden: `topic` `roost/set/a/b/enabled`: no job may publish there, because what is at or below `roost` is the host's own
          hint: use another topic; or, if devices have topics below `roost`, give the host one of its own: put such a line into `roost.toml`, and start Roost again:
          [mqtt]
          topic = "roost/host""#]].assert_eq(&problem(&ask(&host.address(), "POST", "/api/v1/jobs", JSON, &new.to_string())));
    assert!(host.stop().success());

    // With another topic of the host, the plugin's is free.
    fs::write(site.path().join("roost.toml"), "[mqtt]\ntopic = \"roost/host\"\n").unwrap();
    let listener = Listener::new(broker.port);
    let _host = site.start(&broker);
    listener.wait_for("roost/set/a/b/enabled");
}

#[test]
fn an_installation_shows_what_the_plugin_may_publish_and_read() {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let file = guest("speaks");
    let file = file.to_str().unwrap();
    expect![[r#"
        speaks can be installed: 1 new, 0 changed, 0 gone, 0 unchanged
          it may publish to speaks/#, and read speaks/#
          + speaks/speak
    "#]]
    .assert_eq(&redact(&site.roost(&["upload", file, "--check"])));
    let answer = site.json(&["upload", file]);
    assert_eq!(answer["grant"]["publish"], json!(["speaks/#"]), "{answer}");
    host.wait_for_log("speaks loaded: 1 device, 1 job; it may publish to speaks/#, and read speaks/#");
    expect![[r#"
        $ roost check plugins/speaks.wasm
        speaks
          exports  roost:device/schedule@1.0.0
          imports  roost:device/log@1.0.0, 13 of WASI 0.2
          it may publish to speaks/#, and read speaks/#
          device speaks (UTC), 1 job
            speak: every 1h
              publishes speaks/said  
              next [TIME]
              next [TIME]
              next [TIME]
    "#]]
    .assert_eq(&site.transcript(&[&["check", "plugins/speaks.wasm"]]));
    expect![[r#"
        error: plugin `homeassistant` was not loaded: device `homeassistant` has no plan: job `speak`, step 1: `topic` `homeassistant/said`: it is outside what `homeassistant` may publish to
        hint: topics below `homeassistant/` belong to Home Assistant, so a plugin of that name may use none of them by default: give its file another name, or, if it is meant to do that,
          put this into `roost.toml`:
          [grants.homeassistant]
          publish = ["homeassistant/said"]
    "#]].assert_eq(&site.tried(&["upload", file, "--as", "homeassistant"]).refused());
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
    host.wait_for_log("plugin `thief` was not loaded");
    host.wait_for_log("plugin `garden` was not loaded");
    let by_hand = ["schedule", "now", "--topic", "a", "--needs", "pump"];
    expect![[r#"
        $ roost check plugins/thief.wasm
        error: plugin `thief` was not loaded
          caused by: thief.toml:2:6: device `thief` has no plan
          caused by: job `steal`: `policy.needs`: a job of `thief` may not hold `pump`: its `plugins` do not name `thief`
        hint: to allow it, make its entry in `roost.toml` this, and start Roost again:
          [[resource]]
          name = "pump"
          capacity = 1
          plugins = ["garden", "thief"]
        (exit 1)

        $ roost check plugins/garden.wasm
        error: plugin `garden` was not loaded
          caused by: garden.toml:2:6: device `garden` has no plan
          caused by: job `flood`: `policy.needs`: its steps would hold `pump` for 49d, and a run may hold it for 4h
        hint: to allow it, make its entry in `roost.toml` this, and start Roost again:
          [[resource]]
          name = "pump"
          capacity = 1
          plugins = ["garden"]
          longest_hold = "49d"
        (exit 1)

        $ roost schedule now --topic a --needs pump
        error: `policy.needs`: a job made by hand may not hold `pump`: its `plugins` do not name `api`
        hint: to allow it, make its entry in `roost.toml` this, and start Roost again:
          [[resource]]
          name = "pump"
          capacity = 1
          plugins = ["garden", "api"]
        (exit 1)
    "#]].assert_eq(&site.transcript(&[
        &["check", "plugins/thief.wasm"],
        &["check", "plugins/garden.wasm"],
        &by_hand,
    ]));
    site.settings("garden", &pumping("water", "in_ms = 0", "garden", 1, ""));
    listener.wait_for("garden/water");
    assert!(listener.messages().iter().all(|message| !message.topic.starts_with("thief")));
    assert!(host.stop().success());

    // Without configured plugins, only ad-hoc jobs may need it.
    fs::write(site.path().join("roost.toml"), "[[resource]]\nname = \"pump\"\n").unwrap();
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    site.roost(&by_hand);
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
    let shown = site.roost(&["explain", "modest/modest/m"]);
    expect![[r#"
        it has not ended: it was due [TIME], and it waits to start: `pump` is in use by `greedy/greedy/hog/[TIME]`; it will be missed if it cannot start by [TIME]
        note: to abandon `greedy/greedy/hog/[TIME]` would free it; the owed messages of that run would never be sent
        remedy: `roost abandon greedy/greedy/hog/[TIME]`
        note: it is never due again
    "#]].assert_eq(&redact(&shown));
    let holder =
        shown.split("`roost abandon ").nth(1).and_then(|rest| rest.split(['`', ' ']).next()).expect("a command");
    assert!(listener.messages().iter().all(|message| message.topic == "greedy/hog"));
    site.roost(&["abandon", holder]);
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
    host.wait_for_log("plugin `declared` was not loaded");
    // I6: the previous version continues; I8: within the operator's present grant.
    host.wait_for_log("publishing to `declared/door` with QoS 1 is not granted, only up to 0");
    expect![[r#"
        $ roost plugins declared
        plugin    declared
        state     outdated, since [TIME]
        error     plugin `declared` was not loaded, at [TIME]
                    caused by: declared.toml:2:6: device `declared` has no plan
                    caused by: job `open`, step 1: `qos` 1: the grant of `declared` allows up to 0, in the message to `declared/door`
                    hint: to allow it, put this into `roost.toml`:
                    [grants.declared]
                    max_qos = 1
        version   [DIGEST]
        settings  [DIGEST]
        publishes declared/#
        qos       at most 0
        reads     declared/#
        calls     [COUNT], 1 failed, 0 of these trapped or stopped
        plan      last [SPAN], longest [SPAN], of 10000 ms
        memory    at most [SIZE], of 64 MiB
        task      reply: Publish what the arguments say
        jobs      1

        DEVICE    JOBS  TIME ([ZONE])  ZONE      NEXT PLAN ([ZONE])  FAULT
        declared  1     Europe/London  [TIME]  

        $ roost explain declared/declared/open
        it did not run: it was due [TIME], and was denied: publishing to `declared/door` with QoS 1 is not granted, only up to 0
        note: to allow it, put this into `roost.toml`:
          [grants.declared]
          max_qos = 1
        note: its plugin runs in its previous version, because the newest files were refused [TIME]: plugin `declared` was not loaded: declared.toml:2:6: device `declared` has no plan: job `open`, step 1: `qos` 1: the grant of `declared` allows up to 0, in the message to `declared/door`
        note: it is due next [TIME]
    "#]].assert_eq(&site.transcript(&[
        &["plugins", "declared"],
        &["explain", "declared/declared/open"],
    ]));
    site.settings("declared", &(job + "[limits]\nmemory_mib = 128\n"));
    host.wait_for_log("`memory_mib` is 128");
    expect![[r#"
        error: plugin `declared` was not loaded
          caused by: declared.toml:6:14: `memory_mib` is 128, and the operator allows 64 at most
        hint: if the plugin needs that much, put this into `roost.toml` and start Roost again:
          [ceilings]
          memory_mib = 128
    "#]]
    .assert_eq(&site.tried(&["check", "plugins/declared.wasm"]).refused());
}
