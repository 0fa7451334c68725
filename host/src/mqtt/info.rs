//! The link's state as shown to the operator: the broker, the version of MQTT, and the topics held back.

use std::sync::{Arc, Mutex, PoisonError};

/// The link's state, written by the link and read by the HTTP edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkInfo(Arc<Mutex<Info>>);

/// A snapshot of the link's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    /// The address of the connected broker, without user and password. `None` while disconnected.
    pub(crate) broker: Option<String>,
    /// The version of MQTT on the connection: `5` or `3.1.1`.
    pub(crate) protocol: Option<&'static str>,
    /// The first of the topics at which the broker ended a connection during a trial.
    pub(crate) held_back: Vec<String>,
    /// The number of such topics.
    pub(crate) held_back_count: usize,
}

impl LinkInfo {
    /// Returns the current state.
    pub(crate) fn get(&self) -> Info {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the connected broker and the version of MQTT, or `None` when the connection ends.
    pub(super) fn set_broker(&self, broker: Option<(String, &'static str)>) {
        let mut info = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (info.broker, info.protocol) = broker.unzip();
    }

    /// Sets the first topics that are held back, and their number.
    pub(super) fn set_held_back(&self, (first, count): (Vec<String>, usize)) {
        let mut info = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (info.held_back, info.held_back_count) = (first, count);
    }
}
