//! The topics at which the devices are described, kept in the data folder: when the settings name others or none, what is
//! there is removed.

use std::{io, path::Path};

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

use super::topics::Topics;
use crate::files::{self, Folder};

const FILE: &str = "home-assistant.json";
const BYTES: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Place {
    topic: String,
    discovery_prefix: String,
}

/// Returns the topics of the last run, if devices were described then.
pub(super) fn read(data: &Path) -> Option<Topics> {
    let place = files::read(&data.join(FILE), BYTES).ok()?;
    let Place { topic, discovery_prefix } = serde_json::from_slice(&place).ok()?;
    Some(Topics { own: topic, discovery: discovery_prefix })
}

/// Keeps the topics, before anything is published at them.
pub(super) fn write(data: &Path, Topics { own, discovery }: &Topics) -> io::Result<()> {
    let place = Place { topic: own.clone(), discovery_prefix: discovery.clone() };
    let text = serde_json::to_string(&place)?;
    let mode: Mode = files::PRIVATE;
    Folder::open(data)?.replace(FILE, "home-assistant.json.new", text.as_bytes(), mode)
}

/// Forgets the topics, because nothing is left there.
pub(super) fn remove(data: &Path) -> io::Result<()> {
    Folder::open(data)?.remove(FILE)
}
