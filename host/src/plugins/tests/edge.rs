//! Tests the whole edge, from files in a real folder to events.

use std::fs;

use expect_test::expect;
use roost_scheduler::{event::Event, names::DeviceName, topic::Grant};
use roost_tests::redact;

use super::{
    guests,
    test_folder::{TestFolder, name},
};
use crate::plugins::{Expected, PluginHandle, Refused, State, limits, stored_grant};

const ANY: [Expected; 2] = [Expected::Anything, Expected::Anything];

#[tokio::test]
async fn a_dropped_file_is_loaded_and_a_broken_update_changes_nothing() {
    let place = TestFolder::new();
    let mut edge = place.start(Vec::new());
    fs::write(place.file("porch.wasm"), guests::numbered(1)).unwrap();
    let first = edge.loaded().await;
    assert_eq!(first.plugin, name("porch"));

    place.put("porch.wasm", b"garbage");
    place.put("porch.wasm", &guests::guest(guests::TRAPS));
    // If one of them were accepted, its event would come first.
    fs::write(place.file("other.wasm"), guests::numbered(2)).unwrap();
    assert_eq!(edge.loaded().await.plugin, name("other"));

    place.put("porch.wasm", &guests::numbered(3));
    let second = edge.loaded().await;
    assert_eq!(second.plugin, name("porch"));
    assert_ne!(second.version.component, first.version.component);
    assert_eq!(second.version.settings, first.version.settings);
    edge.plugins.stop();
}

#[tokio::test]
async fn a_version_that_ran_before_is_not_loaded_again_and_answers() {
    let place = TestFolder::new();
    place.put("porch.wasm", &guests::numbered(1));
    let mut edge = place.start(Vec::new());
    let known = edge.loaded().await.version;
    edge.plugins.stop();

    // The broken file does not replace the good version, even after a restart (I6).
    place.put("porch.wasm", b"garbage");
    fs::remove_dir_all(place.data.path().join("cache")).unwrap();
    let mut edge = place.start(vec![(name("porch"), known)]);
    edge.plugins.plan(name("porch"), DeviceName::parse("porch").unwrap(), 7);
    match edge.events.recv().await {
        Some(Event::Planned { generation: 7, plan: Ok(plan), .. }) => assert_eq!(plan.jobs, []),
        other => panic!("{other:?}"),
    }
    assert_eq!(stored_grant(place.data.path(), &name("porch"), &known, None).publish[0].as_str(), "porch/#");
    let operator = Grant::new(Vec::new(), Vec::new());
    assert_eq!(stored_grant(place.data.path(), &name("porch"), &known, Some(&operator)), operator);
}

#[tokio::test]
async fn a_stored_version_loses_a_grant_by_name_if_the_name_is_reserved() {
    let place = TestFolder::new();
    place.put("zigbee2mqtt.wasm", &guests::numbered(1));
    // An earlier version of Roost accepted this.
    place.put("zigbee2mqtt.toml", b"[grants]\npublish = ['zigbee2mqtt/#']\nsubscribe = ['zigbee2mqtt/#']");
    let mut edge = place.start(Vec::new());
    let known = edge.loaded().await.version;
    edge.plugins.stop();
    let kept = |operator| stored_grant(place.data.path(), &name("zigbee2mqtt"), &known, operator);
    assert!(kept(None).publish.is_empty() && kept(None).subscribe.is_empty());
    let operator = Grant::default_for(&name("zigbee2mqtt"));
    assert_eq!(kept(Some(&operator)), operator);
}

#[tokio::test]
async fn a_question_to_an_unknown_plugin_is_answered() {
    let place = TestFolder::new();
    let mut edge = place.start(Vec::new());
    edge.plugins.plan(name("porch"), DeviceName::parse("porch").unwrap(), 1);
    assert!(matches!(edge.events.recv().await, Some(Event::Planned { plan: Err(_), .. })));
}

#[tokio::test]
async fn a_deleted_file_is_a_removed_plugin() {
    let place = TestFolder::new();
    place.put("porch.wasm", &guests::numbered(1));
    place.put("other.wasm", &guests::numbered(2));
    let mut edge = place.start(Vec::new());
    edge.loaded().await;
    edge.loaded().await;
    fs::remove_file(place.file("porch.wasm")).unwrap();
    assert!(matches!(edge.events.recv().await, Some(Event::Removed(plugin)) if plugin == name("porch")));
}

#[tokio::test]
async fn settings_alone_make_a_version() {
    let place = TestFolder::new();
    place.put("porch.wasm", &guests::numbered(1));
    let mut edge = place.start(Vec::new());
    let first = edge.loaded().await;
    place.put("porch.toml", b"[[device]]\nname = \"north\"\n[[device]]\nname = \"south\"\n");
    let second = edge.loaded().await;
    assert_eq!(second.version.component, first.version.component);
    let devices: Vec<_> = second.devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(devices, ["north", "south"]);
}

#[tokio::test]
async fn trials_leave_only_the_last_compiled_components() {
    let place = TestFolder::new();
    place.put("porch.toml", b"[[device]]\nname = \"north\"\n[[device]]\nname = \"south\"\n");
    let edge = place.start(Vec::new());
    let installer = edge.plugins.handle().installer;
    for number in 1..=5 {
        let loaded = installer.try_out(&name("porch"), guests::numbered(number).into()).await.unwrap().loaded;
        assert_eq!(loaded.devices.len(), 2, "with the settings in the folder");
    }
    let refused = installer.try_out(&name("porch"), guests::guest(guests::TRAPS).into()).await.unwrap_err();
    let Refused::Faulty(report) = refused else { panic!("{refused:?}") };
    expect![[r#"
        plugin `porch` was not loaded
          caused by: porch.toml:2:8: device `north` has no plan
          caused by: `schedule-jobs` trapped: wasm trap: wasm `unreachable` instruction executed, in `fails` < `plan`
        hint: the fault is in the plugin: its author can reproduce it with `roost check`"#]]
    .assert_eq(&redact(&report.to_string()));
    let entries = |folder: &str| fs::read_dir(place.data.path().join(folder)).unwrap().count();
    // The sweep runs in the background.
    while entries("cache") > 2 * limits::TRIED {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!((entries("versions"), fs::read_dir(place.folder.path()).unwrap().count()), (0, 1));
    assert!(edge.plugins.handle().statuses.plugin(&name("porch")).is_none());
}

#[tokio::test]
async fn usage_spans_versions_and_the_previous_version_is_known_until_removal() {
    let place = TestFolder::new();
    let mut edge = place.start(Vec::new());
    let PluginHandle { statuses, installer, .. } = edge.plugins.handle();
    installer.install(&name("porch"), guests::numbered(1).into(), ANY).await.unwrap();
    let first = edge.loaded().await.version;
    place.put("porch.wasm", &guests::guest(guests::TRAPS));
    let traps = || statuses.plugin(&name("porch")).unwrap().used.traps;
    while traps() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(installer.roll_back(&name("porch")).await.unwrap().digest == first.component, "the running version");
    installer.install(&name("porch"), guests::numbered(2).into(), ANY).await.unwrap();
    let second = edge.loaded().await.version;
    let status = statuses.plugin(&name("porch")).unwrap();
    assert_eq!((status.state, status.previous), (State::Running, Some(first.component)));
    assert_eq!((status.used.calls, status.used.failed, status.used.traps), (3, 1, 1));
    assert!(status.used.memory_bytes > 0 && status.used.plan_ms.is_some());
    edge.plugins.stop();

    let mut edge = place.start(vec![(name("porch"), second)]);
    let PluginHandle { statuses, installer, .. } = edge.plugins.handle();
    assert_eq!(installer.roll_back(&name("porch")).await.unwrap().digest, first.component);
    assert_eq!(edge.loaded().await.version, first);
    assert_eq!(statuses.plugin(&name("porch")).unwrap().previous, Some(second.component));
    installer.remove(&name("porch")).await.unwrap();
    assert!(matches!(edge.events.recv().await, Some(Event::Removed(_))));
    assert!(statuses.plugin(&name("porch")).is_none());
    assert!(matches!(installer.roll_back(&name("porch")).await, Err(Refused::Unknown(_))));
    assert!(!place.data.path().join("versions/porch.before").exists());
}
