//! What people may see of the link: which broker, which version of MQTT, and what is held back.

use std::sync::{Arc, Mutex, PoisonError};

/// Shared by the link, which writes it, and by those that show it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkInfo(Arc<Mutex<Info>>);

/// As of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// The address of the broker that it is connected to, without user and password; `None` while it is not.
    pub(crate) broker: Option<String>,
    /// The version of MQTT that is spoken there: `5` or `3.1.1`.
    pub(crate) protocol: Option<&'static str>,
    /// The first topics at which the broker ended a connection when they were alone on it.
    pub(crate) held_back: Vec<String>,
    /// How many there are.
    pub(crate) held_back_count: usize,
}

impl LinkInfo {
    pub(crate) fn get(&self) -> Info {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The link is there, or not any more.
    pub(super) fn connected(&self, broker: Option<(String, &'static str)>) {
        let mut info = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (info.broker, info.protocol) = broker.unzip();
    }

    /// The first topics that are held back, and how many there are.
    pub(super) fn hold_back(&self, (first, count): (Vec<String>, usize)) {
        let mut info = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (info.held_back, info.held_back_count) = (first, count);
    }
}
