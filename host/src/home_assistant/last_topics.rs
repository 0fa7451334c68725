//! The topics at which the host has left retained messages, kept in the data folder: when the settings name others or
//! none, what is there is removed.

use std::{collections::BTreeSet, io, path::Path};

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::topics::Topics;
use crate::files::{self, Folder};

const FILE: &str = "last-topics.json";
const BYTES: u64 = 64 * 1024;

/// The topics of retained messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastTopics {
    /// Topics of the host's status, which the link publishes.
    pub(super) statuses: BTreeSet<String>,
    /// Where devices are described to Home Assistant.
    pub(super) devices: BTreeSet<Topics>,
}

impl LastTopics {
    pub(super) fn new(status: Option<String>, devices: Option<Topics>) -> Self {
        Self { statuses: status.into_iter().collect(), devices: devices.into_iter().collect() }
    }

    /// Returns those of the last run. None if they cannot be read: then nothing is removed.
    pub(super) fn read(data: &Path) -> Self {
        let text = files::read(&data.join(FILE), BYTES).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps them. Before anything is published there; and what is removed is kept until it is.
    pub(super) fn write(&self, data: &Path) -> io::Result<()> {
        let (text, mode): (String, Mode) = (serde_json::to_string(self)?, files::PRIVATE);
        Folder::open(data)?.replace(FILE, "last-topics.json.new", text.as_bytes(), mode)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.statuses.is_empty() && self.devices.is_empty()
    }

    /// Returns these and the others.
    pub(super) fn with(&self, others: &Self) -> Self {
        Self { statuses: &self.statuses | &others.statuses, devices: &self.devices | &others.devices }
    }

    /// Returns those of which the others make no use.
    pub(super) fn without(&self, others: &Self) -> Self {
        Self { statuses: &self.statuses - &others.statuses, devices: &self.devices - &others.devices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(status: Option<&str>, own: Option<&str>) -> LastTopics {
        let devices = own.map(|own| Topics { own: own.to_owned(), discovery: "homeassistant".to_owned() });
        LastTopics::new(status.map(str::to_owned), devices)
    }

    #[test]
    fn what_is_left_is_what_is_not_used_any_more() {
        let last = topics(Some("roost/status"), Some("roost"));
        assert!(last.without(&last).is_empty());
        assert_eq!(last.without(&topics(Some("roost/status"), None)), topics(None, Some("roost")));
        assert_eq!(last.without(&topics(None, Some("roost"))), topics(Some("roost/status"), None));
        let now = topics(Some("barn/status"), Some("barn"));
        assert_eq!(last.with(&now).without(&now), last);
    }

    #[test]
    fn they_are_found_again_and_unreadable_ones_are_none() {
        let data = tempfile::tempdir().unwrap();
        assert!(LastTopics::read(data.path()).is_empty());
        let last = topics(Some("roost/status"), Some("roost")).with(&topics(Some("barn/status"), None));
        last.write(data.path()).unwrap();
        assert_eq!(LastTopics::read(data.path()), last);
        std::fs::write(data.path().join(FILE), "{").unwrap();
        assert!(LastTopics::read(data.path()).is_empty());
    }
}
