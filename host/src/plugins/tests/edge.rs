//! The whole edge: files in a real folder in, events out.

use std::{fs, path::PathBuf};

use roost_scheduler::{
    event::{Event, Loaded, Version},
    names::{DeviceName, PluginName},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{guests, site};
use crate::{
    config::rules::Rules,
    plugins::{Options, Plugins, kept_grant, start},
};

pub(super) struct Edge {
    pub(super) plugins: Plugins,
    pub(super) events: mpsc::Receiver<Event>,
}

pub(super) struct Place {
    folder: TempDir,
    data: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() }
    }

    pub(super) fn start(&self, known: Vec<(PluginName, Version)>) -> Edge {
        let (sender, events) = mpsc::channel(16);
        let options = Options {
            folder: self.folder.path().into(),
            data: self.data.path().into(),
            site: site(),
            rules: Rules::default(),
            known,
            feed: crate::feed::Feed::default(),
        };
        Edge { plugins: start(options, sender).unwrap(), events }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As an installer does it: beside, then renamed.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let beside = self.file(".incoming");
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, self.file(name)).unwrap();
    }
}

impl Edge {
    pub(super) async fn loaded(&mut self) -> Loaded {
        match self.events.recv().await {
            Some(Event::Loaded(loaded)) => loaded,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn name(name: &str) -> PluginName {
    PluginName::parse(name).unwrap()
}

#[tokio::test]
async fn a_dropped_file_is_loaded_and_a_broken_update_changes_nothing() {
    let place = Place::new();
    let mut edge = place.start(Vec::new());
    fs::write(place.file("porch.wasm"), guests::numbered(1)).unwrap();
    let first = edge.loaded().await;
    assert_eq!(first.plugin, name("porch"));

    place.put("porch.wasm", b"garbage");
    place.put("porch.wasm", &guests::guest(guests::TRAPS));
    // Were one of them taken, it would come before this.
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
    let place = Place::new();
    place.put("porch.wasm", &guests::numbered(1));
    let mut edge = place.start(Vec::new());
    let known = edge.loaded().await.version;
    edge.plugins.stop();

    // The broken file that lies there now does not take the good version away, not even over a restart (I6).
    place.put("porch.wasm", b"garbage");
    fs::remove_dir_all(place.data.path().join("cache")).unwrap();
    let mut edge = place.start(vec![(name("porch"), known)]);
    edge.plugins.plan(name("porch"), DeviceName::parse("porch").unwrap(), 7);
    match edge.events.recv().await {
        Some(Event::Planned { generation: 7, plan: Ok(plan), .. }) => assert_eq!(plan.jobs, []),
        other => panic!("{other:?}"),
    }
    assert_eq!(kept_grant(place.data.path(), &name("porch"), &known, None).publish[0].as_str(), "porch/#");
}

#[tokio::test]
async fn a_question_about_what_is_not_there_is_answered() {
    let place = Place::new();
    let mut edge = place.start(Vec::new());
    edge.plugins.plan(name("porch"), DeviceName::parse("porch").unwrap(), 1);
    assert!(matches!(edge.events.recv().await, Some(Event::Planned { plan: Err(_), .. })));
}

#[tokio::test]
async fn a_deleted_file_is_a_removed_plugin() {
    let place = Place::new();
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
    let place = Place::new();
    place.put("porch.wasm", &guests::numbered(1));
    let mut edge = place.start(Vec::new());
    let first = edge.loaded().await;
    place.put("porch.toml", b"[[device]]\nname = \"north\"\n[[device]]\nname = \"south\"\n");
    let second = edge.loaded().await;
    assert_eq!(second.version.component, first.version.component);
    let devices: Vec<_> = second.devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(devices, ["north", "south"]);
}
