//! Plugins that are installed, tried, removed and rolled back through a running host.

use std::{fs, path::Path, process::Output};

use roost_tests::{Broker, Roost, Site, guest, root, sample};
use serde_json::Value;

use crate::{
    job, more,
    operations::{roost, text},
    ticking,
};

const LATER: &str = "at_ms = 4000000000000";

/// Runs a command that may fail. Returns whether it succeeded, and both outputs.
fn tried(site: &Site, arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = site.command(arguments).output().unwrap();
    (status.success(), [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat())
}

fn json(site: &Site, arguments: &[&str]) -> Value {
    let (out, _) = roost(site, &[arguments, &["--json"]].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn upload(site: &Site, file: &Path, more: &[&str]) -> Value {
    json(site, &[&["upload", file.to_str().unwrap()], more].concat())
}

/// Waits until the status of a plugin satisfies a condition.
fn becomes(host: &Roost, site: &Site, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    host.log.wait(what, |_| {
        let (fine, out) = tried(site, &["plugins", name, "--json"]);
        let plugin: Value = if fine { serde_json::from_str(&out).unwrap() } else { Value::Null };
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
    let (shown, _) = roost(&site, &["plugins", "coop-door"]);
    assert!(shown.contains("state     running, since ") && shown.contains("task      open: "), "{shown}");
    assert!(roost(&site, &["plugins"]).0.contains("coop-door  running"));

    let again = upload(&site, &sample("coop-door"), &["--check"]);
    assert_eq!((counts(&again["jobs"]), &again["running"]), ([0, 0, 0, new], &true.into()), "{again}");
    assert!(roost(&site, &["replan", "coop-door"]).0.contains("are requested"));
    assert!(roost(&site, &["remove", "coop-door"]).0.contains("its settings file stays"));
    assert!(bytes(&site, "coop-door").is_none() && site.plugin("coop-door.toml").exists());
    host.wait_for_log("coop-door removed");
    becomes(&host, &site, "coop-door", "it to be gone", Value::is_null);
    let (fine, shown) = self::tried(&site, &["remove", "coop-door"]);
    assert!(!fine && shown.contains("does not exist"), "{shown}");
    assert!(host.stop().success());
}

#[test]
fn a_new_version_reports_its_changes_and_a_broken_one_changes_nothing() {
    let (_broker, site, listener, host) = ticking("declared");
    let before = bytes(&site, "declared");
    let whole = fs::read(guest("declared")).unwrap();
    let file = site.path().join("declared.wasm");
    // On a busy machine some of them reach their time limit first.
    for (what, content, says) in [
        ("garbage", b"not a plugin".to_vec(), "it is not a WebAssembly component"),
        ("nothing", Vec::new(), "the file is empty"),
        ("half of it", whole[..whole.len() / 2].to_vec(), "the file is truncated"),
        ("a trap", fs::read(guest("traps")).unwrap(), "the door is jammed"),
        ("a loop", fs::read(guest("loops")).unwrap(), "ran longer than 500 ms"),
        ("much memory", fs::read(guest("eats-memory")).unwrap(), "in `[limits]` of its settings"),
        ("an exit", fs::read(guest("exits")).unwrap(), "exit code"),
        ("a long answer", fs::read(guest("aliased-payloads")).unwrap(), "in `[limits]` of its settings"),
        ("no plan", fs::read(guest("no-schedule")).unwrap(), "it does not export"),
        ("a bomb", fs::read(guest("memory-bomb")).unwrap(), "compil"),
        ("bad tasks", fs::read(guest("bad-tasks")).unwrap(), "its tasks cannot be listed"),
        ("a core module", fs::read(guest("core-module")).unwrap(), "must be a component"),
    ] {
        fs::write(&file, content).unwrap();
        for check in [&["--check"][..], &[]] {
            let (fine, shown) = tried(&site, &[&["upload", file.to_str().unwrap()], check].concat());
            assert!(!fine && shown.contains(says), "{what}: {shown}");
        }
    }
    assert_eq!(bytes(&site, "declared"), before);
    let shown = json(&site, &["plugins", "declared"]);
    assert_eq!((text(&shown, "state"), &shown["error"], &shown["used"]["traps"]), ("running", &Value::Null, &0.into()));
    more(&listener, "declared/tick");

    let (fine, shown) = tried(&site, &["upload", file.to_str().unwrap(), "--as", "changes_often"]);
    assert!(!fine && shown.contains("--as changes-often"), "{shown}");
    let (fine, shown) = tried(&site, &["upload", "no-such.wasm"]);
    assert!(!fine && shown.contains("cannot be read"), "{shown}");
    assert!(host.stop().success());
}

#[test]
fn the_status_of_a_plugin_has_its_refused_and_its_running_version() {
    let (_broker, site, listener, host) = ticking("declared");
    site.drop_in(&guest("traps"), "declared");
    let plugin = becomes(&host, &site, "declared", "it to be outdated", |plugin| plugin["state"] == "outdated");
    assert!(plugin["component"].is_string() && plugin["used"]["traps"] == 1, "{plugin}");
    assert!(plugin["error"]["causes"].to_string().contains("the door is jammed"), "{plugin}");
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
    let (table, _) = roost(&site, &["plugins"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("traps     refused") && table.contains("the door is jammed"), "{table}");
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
    let (fine, shown) = tried(&site, &["rollback", "declared"]);
    assert!(!fine && shown.contains("no other version of it has run"), "{shown}");
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
        assert_eq!(json(&site, &["rollback", "declared"])["component"], to["component"]);
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
    assert_eq!(json(&site, &["rollback", "declared"])["component"], one["component"]);
    becomes(&host, &site, "declared", "it to be in order", |plugin| plugin["state"] == "running");
    let (fine, shown) = tried(&site, &["rollback", "other"]);
    assert!(!fine && shown.contains("there is no plugin `other`"), "{shown}");
    assert!(host.stop().success());
}

#[test]
fn a_folder_on_a_missing_disk_is_not_changed() {
    let (_broker, site, _listener, host) = ticking("declared");
    let away = site.path().join("away");
    fs::rename(site.path().join("plugins"), &away).unwrap();
    let file = guest("at-once");
    let put = ["upload", file.to_str().unwrap(), "--as", "other"];
    let (fine, shown) = tried(&site, &put);
    assert!(!fine && shown.contains("as if its disk were missing"), "{shown}");
    fs::create_dir(site.path().join("plugins")).unwrap();
    let (fine, shown) = tried(&site, &put);
    assert!(!fine && shown.contains("as if its disk were missing"), "{shown}");
    assert_eq!(fs::read_dir(site.path().join("plugins")).unwrap().count(), 0);
    assert!(host.stop().success());
}
