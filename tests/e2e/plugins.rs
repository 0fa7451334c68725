//! Installing, replacing, breaking and removing plugins while the host runs.

use std::{fs, process::Command};

use expect_test::expect;
use roost_tests::{Broker, Listener, Site, guest, root, sample};

use crate::{job, more, ticking};

const SOON: &str = "in_ms = 0";
const NEVER_SOON: &str = "at_ms = 4000000000000";

#[test]
fn an_installed_plugin_is_loaded_once_however_it_is_written() {
    let (broker, site) = (Broker::new(), Site::new());
    let listener = Listener::new(broker.port);
    let roost = site.start(&broker);
    roost.wait_for_log("connected to the broker");
    for (way, name) in [("cp", "copied"), ("mv", "moved"), ("rsync", "synced"), ("ln", "linked")] {
        site.settings(name, &job("now", SOON, &format!("{name}/now")));
        let outside = site.path().join(format!("{name}.wasm"));
        fs::copy(guest("declared"), &outside).unwrap();
        let status = Command::new(way).arg(&outside).arg(site.plugin(&format!("{name}.wasm"))).status().unwrap();
        assert!(status.success(), "{way}");
        assert_eq!(listener.wait_for(&format!("{name}/now")).payload, "now");
    }
    assert!(roost.stop().success());
    for name in ["copied", "moved", "synced", "linked"] {
        assert_eq!(listener.count(&format!("{name}/now")), 1, "{name}");
    }
}

#[test]
fn a_new_version_changes_only_what_differs() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("declared", &(job("a", NEVER_SOON, "declared/a") + &job("b", NEVER_SOON, "declared/b")));
    site.drop_in(&guest("declared"), "declared");
    let roost = site.start(&broker);
    roost.wait_for_log("2 new, 0 changed, 0 gone, 0 unchanged");
    let a = site.query("SELECT id FROM jobs WHERE job = 'a'");
    site.settings("declared", &(job("a", NEVER_SOON, "declared/a") + &job("c", NEVER_SOON, "declared/c")));
    roost.wait_for_log("1 new, 0 changed, 1 gone, 1 unchanged");
    roost.stop();
    assert_eq!(site.query("SELECT count(*) FROM jobs"), 2);
    assert_eq!(site.query("SELECT id FROM jobs WHERE job = 'a'"), a, "an unchanged job keeps its id");
}

#[test]
fn a_broken_update_keeps_the_previous_version_running_even_over_a_restart() {
    let (broker, site, listener, roost) = ticking("declared");

    let whole = fs::read(guest("declared")).unwrap();
    let truncated = whole[..whole.len() / 2].to_vec();
    let trapping = fs::read(guest("traps")).unwrap();
    for (what, bytes) in [("garbage", b"not a plugin".to_vec()), ("truncated", truncated), ("trapping", trapping)] {
        let from = roost.log.count();
        fs::write(site.plugin("declared.wasm"), bytes).unwrap();
        let error = roost.log.wait_for(from, "`declared`");
        assert_eq!(error.split_whitespace().nth(1), Some("ERROR"), "{what}: {error}");
        roost.log.wait_for(from, "the previous version keeps running");
        more(&listener, "declared/tick");
    }
    roost.kill();

    let roost = site.start(&broker);
    roost.wait_for_log("the previous version keeps running");
    more(&listener, "declared/tick");
    fs::write(site.plugin("declared.wasm"), whole).unwrap();
    roost.wait_for_log("plugin `declared` has no fault any more");
}

#[test]
fn a_deleted_plugin_is_removed_and_one_that_returns_at_once_loses_nothing() {
    let (broker, site) = (Broker::new(), Site::new());
    site.settings("declared", &job("later", NEVER_SOON, "declared/later"));
    site.settings("other", &job("later", NEVER_SOON, "other/later"));
    site.drop_in(&guest("declared"), "declared");
    site.drop_in(&guest("declared"), "other");
    let roost = site.start(&broker);
    roost.log.wait("both plugins", |lines| (lines.iter().filter(|l| l.contains("1 new")).count() == 2).then_some(()));
    let of_other = "SELECT jobs.id FROM jobs JOIN devices ON devices.id = device WHERE devices.name = 'other'";
    let id = site.query(of_other);

    fs::remove_file(site.plugin("other.wasm")).unwrap();
    site.drop_in(&guest("declared"), "other");
    fs::remove_file(site.plugin("declared.wasm")).unwrap();
    roost.wait_for_log("declared removed");
    roost.has(&site, "SELECT count(*) FROM plugins", 1);
    roost.stop();
    assert_eq!(site.query("SELECT count(*) FROM jobs"), 1);
    assert_eq!(site.query(of_other), id);
}

#[test]
fn invalid_settings_are_reported_and_change_nothing() {
    let (_broker, site, listener, roost) = ticking("declared");
    for (text, error) in [
        ("[confg]\n", "declared.toml:1:2"),
        ("[grants]\npublish = [\"nowhere/#\"]\n[[config.jobs]]\n", "missing field `id`"),
    ] {
        let from = roost.log.count();
        site.settings("declared", text);
        roost.log.wait_for(from, error);
        more(&listener, "declared/tick");
    }
}

#[test]
fn hostile_plugins_do_not_disturb_others() {
    let (_broker, site, listener, roost) = ticking("good");
    for name in ["loops", "eats-memory", "aliased-payloads", "exits", "log-spam"] {
        site.drop_in(&guest(name), name);
    }
    for name in ["loops", "eats-memory", "aliased-payloads", "exits"] {
        roost.wait_for_log(&format!("plugin `{name}` was not loaded"));
    }
    // It compiles for a minute, and is then given up.
    site.drop_in(&guest("compile-bomb"), "compile-bomb");
    let messages =
        listener.wait("ten ticks", |messages| messages.iter().filter(|one| one.topic == "good/tick").count() >= 10);
    let ticks = messages.iter().filter(|message| message.topic == "good/tick");
    let runs: Vec<&str> = ticks.clone().filter_map(|tick| tick.property("roost-run")).collect();
    let mut once = runs.clone();
    once.dedup();
    assert_eq!(runs, once, "each second has its run, once");
}

#[test]
fn the_samples_work_with_the_built_in_broker() {
    let site = Site::new();
    let [devices, roost_port] = [roost_tests::free_port(), roost_tests::free_port()];
    for name in ["coop-door", "greenhouse", "sprinkler", "timers"] {
        site.drop_in(&sample(name), name);
        fs::copy(root().join(format!("plugins/{name}.toml")), site.plugin(&format!("{name}.toml"))).unwrap();
    }
    let ports = format!("[built_in_broker]\ndevices = {devices}\nroost = {roost_port}\n");
    fs::write(site.path().join("roost.toml"), ports).unwrap();
    let roost = site.start_with(&[]);
    roost.wait_for_log("built-in broker");
    let listener = Listener::v3(devices);
    roost.wait_for_log("next: ");
    assert_eq!(listener.wait_for("sprinkler/seedlings/mist/set").payload, "ON");
    assert!(roost.stop().success());
}

#[test]
fn a_second_host_does_not_touch_the_data_of_the_first() {
    let (broker, site) = (Broker::new(), Site::new());
    let roost = site.start(&broker);
    roost.wait_for_log("connected to the broker");
    expect![[r#"
        error: the data folder `data` is in use by process [PID]
        hint: only one Roost can use a data folder: stop the other one, or name another folder with `--data DIR`
    "#]]
    .assert_eq(&site.start(&broker).refused());
}
