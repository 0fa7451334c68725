//! The link's state as shown to the operator: the broker, the version of MQTT, and the topics held back.

use std::sync::Arc;

use tokio::sync::watch;

/// The link's state, written by the link and read by other edges.
#[derive(Clone, Debug)]
pub(crate) struct LinkInfo(Arc<watch::Sender<Info>>);

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

impl Default for LinkInfo {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Info::default())))
    }
}

impl LinkInfo {
    /// Returns the current state.
    pub(crate) fn get(&self) -> Info {
        self.0.borrow().clone()
    }

    /// Waits until the link is connected.
    pub(super) async fn connected(&self) {
        // The sender is in `self`.
        let _ = self.0.subscribe().wait_for(|info| info.broker.is_some()).await;
    }

    /// Sets the connected broker and the version of MQTT, or `None` when the connection ends.
    pub(super) fn set_broker(&self, broker: Option<(String, &'static str)>) {
        self.0.send_modify(|info| (info.broker, info.protocol) = broker.unzip());
    }

    /// Sets the first topics that are held back, and their number.
    pub(super) fn set_held_back(&self, (first, count): (Vec<String>, usize)) {
        self.0.send_modify(|info| (info.held_back, info.held_back_count) = (first, count));
    }
}
