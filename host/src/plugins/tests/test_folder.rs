//! The whole edge on a real folder.

use std::{fs, path::PathBuf};

use roost_scheduler::{
    event::{Event, Loaded, Version},
    names::PluginName,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::site;
use crate::{
    config::rules::Rules,
    plugins::{Options, Plugins, start},
};

/// The edge, and the events that it sends.
pub(super) struct Edge {
    pub(super) plugins: Plugins,
    pub(super) events: mpsc::Receiver<Event>,
}

/// A folder with plugins, and a data folder.
pub(super) struct TestFolder {
    pub(super) folder: TempDir,
    pub(super) data: TempDir,
}

impl TestFolder {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() }
    }

    /// Starts the edge, with plugins that ran before.
    pub(super) fn start(&self, known: Vec<(PluginName, Version)>) -> Edge {
        let (sender, events) = mpsc::channel(16);
        let options = Options {
            folder: self.folder.path().into(),
            shared: None,
            data: self.data.path().into(),
            site: site(),
            rules: Rules::default(),
            known,
            event_log: crate::event_log::EventLog::default(),
        };
        Edge { plugins: start(options, sender).unwrap(), events }
    }

    /// Returns the path of a file in the folder with plugins.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file as an installer does: under another name, then renamed.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let temporary = self.file(".incoming");
        fs::write(&temporary, bytes).unwrap();
        fs::rename(temporary, self.file(name)).unwrap();
    }
}

impl Edge {
    /// Awaits the next event, which must be a plugin's.
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
