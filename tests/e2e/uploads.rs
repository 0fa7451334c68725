//! Plugins that are installed, tried, removed and rolled back through a running host.

use std::{fmt::Write as _, fs, path::Path};

use expect_test::expect;
use roost_tests::{Broker, Roost, Site, guest, http::text, redact, redact_in, root, sample};
use serde_json::Value;

use crate::{job, more, ticking};

const LATER: &str = "at_ms = 4000000000000";

fn upload(site: &Site, file: &Path, more: &[&str]) -> Value {
    site.json(&[&["upload", file.to_str().unwrap()], more].concat())
}

/// Waits until the status of a plugin satisfies a condition.
fn becomes(host: &Roost, site: &Site, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    host.log.wait(what, |_| {
        let ran = site.tried(&["plugins", name, "--json"]);
        let plugin: Value = if ran.code == Some(0) { serde_json::from_str(&ran.out).unwrap() } else { Value::Null };
        is_so(&plugin).then_some(plugin)
    })
}

fn counts(jobs: &Value) -> [u64; 4] {
    ["new", "changed", "gone", "unchanged"].map(|kind| jobs[kind].as_u64().unwrap())
}

fn bytes(site: &Site, name: &str) -> Option<Vec<u8>> {
    fs::read(site.plugin(&format!("{name}.wasm"))).ok()
}

/// Starts a host without plugins, with an HTTP API.
fn empty() -> (Broker, Site, Roost) {
    let (broker, site) = (Broker::new(), Site::new());
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    (broker, site, host)
}

#[test]
fn a_plugin_is_tried_installed_shown_and_removed() {
    let (_broker, site, host) = empty();
    fs::copy(root().join("plugins/coop-door.toml"), site.plugin("coop-door.toml")).unwrap();
    let tried = upload(&site, &sample("coop-door"), &["--check"]);
    let [new, changed, gone, unchanged] = counts(&tried["jobs"]);
    assert!(new > 0 && [changed, gone, unchanged] == [0; 3], "{tried}");
    assert_eq!((bytes(&site, "coop-door"), &tried["running"]), (None, &false.into()));
    let messages = &tried["messages"];
    let first = &messages["new"]["first"][0];
    assert!(first["due"].is_string() && first["message"]["topic"].is_string(), "{messages}");
    assert_eq!((messages["gone"]["count"].as_u64(), messages["complete"].as_bool()), (Some(0), Some(true)));

    let installed = upload(&site, &sample("coop-door"), &[]);
    assert_eq!((&installed["new"], counts(&installed["jobs"])), (&true.into(), [new, 0, 0, 0]), "{installed}");
    assert_eq!(installed["component"], tried["component"]);
    assert_eq!(bytes(&site, "coop-door"), fs::read(sample("coop-door")).ok());
    assert!(fs::read_dir(site.path().join("plugins")).unwrap().count() == 2, "nothing else is left there");
    let shown = becomes(&host, &site, "coop-door", "it to run", |plugin| plugin["component"] == installed["component"]);
    assert_eq!((text(&shown, "state"), shown["jobs"].as_u64()), ("running", Some(new)), "{shown}");
    assert!(shown["used"]["plan_ms"].is_u64() && shown["used"]["memory_bytes"].as_u64() > Some(0), "{shown}");
    assert_eq!((&shown["limits"]["memory_mib"], &shown["used"]["failed"]), (&256.into(), &0.into()));
    assert!(shown["tasks"].as_array().unwrap().iter().any(|task| task["task"] == "open"), "{shown}");
    expect![[r#"
        $ roost plugins
        PLUGIN     STATE    DEVICES  JOBS  PLAN  MEMORY  ERROR
        coop-door  running  2        4  [USED]
    "#]]
    .assert_eq(&site.transcript(&[&["plugins"]]));

    let again = upload(&site, &sample("coop-door"), &["--check"]);
    assert_eq!((counts(&again["jobs"]), &again["running"]), ([0, 0, 0, new], &true.into()), "{again}");
    assert_eq!(again["messages"]["new"]["count"], 0, "{again}");
    expect![[r#"
        $ roost replan coop-door
        new plans of coop-door are requested

        $ roost remove coop-door
        coop-door is removed: its jobs end in 3 s, its settings file stays in the folder
    "#]]
    .assert_eq(&site.transcript(&[&["replan", "coop-door"], &["remove", "coop-door"]]));
    assert!(bytes(&site, "coop-door").is_none() && site.plugin("coop-door.toml").exists());
    host.wait_for_log("coop-door removed");
    becomes(&host, &site, "coop-door", "it to be gone", Value::is_null);
    expect![[r#"
        $ roost remove coop-door
        error: plugin `coop-door` was not removed: `plugins/coop-door.wasm` does not exist
        hint: `roost plugins` lists the plugins
        (exit 1)

        $ roost plugins coop-door
        error: there is no plugin `coop-door`
        hint: `roost plugins` lists the plugins
        (exit 1)
    "#]]
    .assert_eq(&site.transcript(&[&["remove", "coop-door"], &["plugins", "coop-door"]]));
    assert!(host.stop().success());
}

#[test]
fn a_new_version_reports_its_changes_and_a_broken_one_changes_nothing() {
    let (_broker, site, listener, host) = ticking("declared");
    let before = bytes(&site, "declared");
    let whole = fs::read(guest("declared")).unwrap();
    let file = site.path().join("declared.wasm");
    let mut refusals = String::new();
    for (what, content) in [
        ("garbage", b"not a plugin".to_vec()),
        ("nothing", Vec::new()),
        ("half of it", whole[..whole.len() / 2].to_vec()),
        ("a trap", fs::read(guest("traps")).unwrap()),
        ("a loop", fs::read(guest("loops")).unwrap()),
        ("an exit", fs::read(guest("exits")).unwrap()),
        ("no plan", fs::read(guest("no-schedule")).unwrap()),
        ("bad tasks", fs::read(guest("bad-tasks")).unwrap()),
        ("a core module", fs::read(guest("core-module")).unwrap()),
    ] {
        fs::write(&file, content).unwrap();
        let [checked, installed] = [&["--check"][..], &[]]
            .map(|check| site.tried(&[&["upload", file.to_str().unwrap()], check].concat()).refused());
        assert_eq!(checked, installed, "{what}");
        writeln!(refusals, "{what}:\n{}", redact_in(site.path(), &installed)).unwrap();
    }
    expect![[r#"
        garbage:
        error: plugin `declared` was not loaded: it is not a WebAssembly component
        hint: a plugin is a WebAssembly component; build it with `cargo build --release --target wasm32-wasip2`

        nothing:
        error: plugin `declared` was not loaded: the file is empty
        hint: copy it again

        half of it:
        error: plugin `declared` was not loaded: the file is truncated: a section is longer than the rest of the file
        hint: copy it again

        a trap:
        error: plugin `declared` was not loaded: device `declared` has no plan: `schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed; standard error: thread '<unnamed>' (1) panicked at tests/guests/traps.rs:10:9: the door is jammed
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        a loop:
        error: plugin `declared` was not loaded: device `declared` has no plan: `schedule-jobs` ran longer than 500 ms
        hint: if the plugin needs that much, raise `cpu_ms` in `[limits]` of its settings

        an exit:
        error: plugin `declared` was not loaded: device `declared` has no plan: `schedule-jobs` ended with exit code 1
        hint: the fault is in the plugin: its author can reproduce it with `roost check`

        no plan:
        error: plugin `declared` was not loaded: it does not export `roost:device/schedule@1.0.0`, which every plugin must export; it exports nothing
        hint: build it for the world `device-plugin` of `wit/`, or with the plugin SDK

        bad tasks:
        error: plugin `declared` was not loaded: its tasks cannot be listed: task `water`: `name`: another task of the plugin has it already
        hint: fix the plugin or its settings; `roost check` verifies the result

        a core module:
        error: plugin `declared` was not loaded: it is a core module, but must be a component
        hint: make it a component with `wasm-tools component new`; `roost new` makes a plugin that is one, in several languages

    "#]].assert_eq(&refusals);
    // On a busy machine it reaches its time limit before its memory limit.
    let greedy = site.tried(&["upload", guest("eats-memory").to_str().unwrap(), "--as", "declared"]).refused();
    assert!(greedy.ends_with(" in `[limits]` of its settings\n"), "{greedy}");
    // A bomb exceeds the memory or the time of the compiler.
    let bomb = site.tried(&["upload", guest("memory-bomb").to_str().unwrap(), "--as", "declared"]).refused();
    assert!(bomb.starts_with("error: plugin `declared` was not loaded: compiling it "), "{bomb}");
    assert_eq!(bytes(&site, "declared"), before);
    let shown = site.json(&["plugins", "declared"]);
    assert_eq!((text(&shown, "state"), &shown["error"], &shown["used"]["traps"]), ("running", &Value::Null, &0.into()));
    more(&listener, "declared/tick");

    expect![[r#"
        $ roost upload [SITE]/declared.wasm --as changes_often
        error: `[SITE]/declared.wasm` is not uploaded
          caused by: `changes_often` is not a plugin name: 1 to 63 of `a-z 0-9 -`, the first one a letter or a digit, and not `roost` or `api`
        hint: name it `changes-often` with `--as changes-often`
        (exit 1)

        $ roost upload no-such.wasm
        error: `no-such.wasm` cannot be read
          caused by: No such file or directory (os error 2)
        (exit 1)
    "#]].assert_eq(&site.transcript(&[
        &["upload", file.to_str().unwrap(), "--as", "changes_often"],
        &["upload", "no-such.wasm"],
    ]));
    assert!(host.stop().success());
}

#[test]
fn the_status_of_a_plugin_has_its_refused_and_its_running_version() {
    let (_broker, site, listener, host) = ticking("declared");
    site.drop_in(&guest("traps"), "declared");
    let plugin = becomes(&host, &site, "declared", "it to be outdated", |plugin| plugin["state"] == "outdated");
    assert!(plugin["component"].is_string() && plugin["used"]["traps"] == 1, "{plugin}");
    expect![[r#"
        {
          "at": "[TIME]",
          "causes": [
            "device `declared` has no plan",
            "`schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed\nstandard error: thread '<unnamed>' (1) panicked at tests/guests/traps.rs:10:9: the door is jammed"
          ],
          "hint": "the fault is in the plugin: its author can reproduce it with `roost check`",
          "what": "plugin `declared` was not loaded"
        }"#]].assert_eq(&redact(&serde_json::to_string_pretty(&plugin["error"]).unwrap()));
    more(&listener, "declared/tick");
    site.drop_in(&guest("declared"), "declared");
    becomes(&host, &site, "declared", "it to be in order", |plugin| {
        plugin["state"] == "running" && plugin["error"].is_null()
    });

    // None of these runs: one file is incomplete, one guest traps.
    fs::write(site.plugin("torn.wasm"), &fs::read(guest("declared")).unwrap()[..1_000]).unwrap();
    site.drop_in(&guest("traps"), "traps");
    for name in ["torn", "traps"] {
        let plugin = becomes(&host, &site, name, "it to be refused", |plugin| plugin["state"] == "refused");
        assert_eq!((&plugin["jobs"], &plugin["component"]), (&0.into(), &Value::Null));
    }
    expect![[r#"
        $ roost plugins
        PLUGIN    STATE    DEVICES  JOBS  PLAN  MEMORY  ERROR
        declared  running  1        1  [USED]
        torn      refused  0        0  [NONE]  `plugins/torn.wasm` is truncated: a section is longer than the rest of the file
        traps     refused  0        0  [USED]  `schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed; standard error: thread '<unnamed>' (1) panicked at tests/guests/traps.rs:10:9: the door is jammed
    "#]].assert_eq(&site.transcript(&[&["plugins"]]));
    for name in ["torn", "traps"] {
        fs::remove_file(site.plugin(&format!("{name}.wasm"))).unwrap();
        becomes(&host, &site, name, "it to be forgotten", Value::is_null);
    }
    assert!(host.stop().success());
}

#[test]
fn the_previous_version_can_be_rolled_back_to_even_over_a_restart() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("declared", &job("later", LATER, "declared/later"));
    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let first = fs::read(guest("declared")).unwrap();
    // The same with an empty custom section.
    let second = [&first[..], &[0, 2, 1, b'x']].concat();
    let file = site.path().join("declared.wasm");
    let install = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        let installed = upload(&site, &file, &[]);
        becomes(&host, &site, "declared", "it to run", |plugin| plugin["component"] == installed["component"]);
        installed
    };
    let one = install(&first);
    expect![[r#"
        $ roost rollback declared
        error: plugin `declared` was not rolled back: no other version of it has run
        hint: there is a previous version only after a new one has replaced it
        (exit 1)

        $ roost rollback other
        error: there is no plugin `other`
        hint: `roost plugins` lists the plugins
        (exit 1)
    "#]]
    .assert_eq(&site.transcript(&[&["rollback", "declared"], &["rollback", "other"]]));
    let two = install(&second);
    assert_eq!((counts(&two["jobs"]), &two["new"]), ([0, 0, 0, 1], &false.into()), "{two}");
    assert!(host.stop().success());

    let host = site.start(&broker);
    host.wait_for_log("connected to the broker");
    let runs = |installed: &Value| {
        becomes(&host, &site, "declared", "it to run", |plugin| plugin["component"] == installed["component"])
    };
    assert_eq!(runs(&two)["previous"], one["component"]);
    // Back, forward, and back again.
    for (to, from, content) in [(&one, &two, &first), (&two, &one, &second), (&one, &two, &first)] {
        assert_eq!(site.json(&["rollback", "declared"])["component"], to["component"]);
        assert_eq!(bytes(&site, "declared").as_ref(), Some(content));
        let plugin = runs(to);
        let plugin = if plugin["previous"] == from["component"] {
            plugin
        } else {
            becomes(&host, &site, "declared", "the other to be remembered", |plugin| {
                plugin["previous"] == from["component"]
            })
        };
        assert_eq!(plugin["jobs"], 1);
    }
    // A plugin that does not run is replaced by the version that ran.
    site.drop_in(&guest("traps"), "declared");
    becomes(&host, &site, "declared", "it to be refused", |plugin| plugin["state"] == "outdated");
    assert_eq!(site.json(&["rollback", "declared"])["component"], one["component"]);
    becomes(&host, &site, "declared", "it to be in order", |plugin| plugin["state"] == "running");
    assert!(host.stop().success());
}

#[test]
fn a_folder_on_a_missing_disk_is_not_changed() {
    let (_broker, site, _listener, host) = ticking("declared");
    let away = site.path().join("away");
    fs::rename(site.path().join("plugins"), &away).unwrap();
    let file = guest("at-once");
    let put = ["upload", file.to_str().unwrap(), "--as", "other"];
    let missing = site.tried(&put).refused();
    expect![[r#"
        error: `plugins` was not changed: it has none of the running plugins, as if its disk were missing
        hint: check the disk, or copy any plugin into the folder by hand
    "#]]
    .assert_eq(&redact_in(site.path(), &missing));
    fs::create_dir(site.path().join("plugins")).unwrap();
    assert_eq!(site.tried(&put).refused(), missing);
    assert_eq!(fs::read_dir(site.path().join("plugins")).unwrap().count(), 0);
    assert!(host.stop().success());
}
