//! Home Assistant: describes the host and its devices for MQTT discovery, publishes their states, and carries out
//! commands.
//!
//! What is published is computed from the host's state, not from its events: an event only says whose state is looked at
//! again. A message is published only if it differs from the one that the broker has, which is read from the broker at
//! each connection. So a restart or a plan that changes nothing publishes nothing, and what an earlier life of the host
//! left is found and removed.
//!
//! It runs on a thread of its own, is a client of the HTTP API's functions, and publishes by a connection for messages
//! that may wait: due messages never wait for it (I7).

mod agenda;
mod commands;
mod description;
mod device_view;
mod former_status;
mod last_topics;
mod limits;
mod publisher;
mod state;
mod tokens;
mod topics;
mod turns;

use std::{path::Path, thread};

use anyhow::Context as _;
use roost_scheduler::topic::HostTopic;

use self::{last_topics::LastTopics, publisher::Publisher, topics::Topics};
use crate::{
    config::HomeAssistant,
    http::ApiState,
    mqtt::{
        self, LinkInfo,
        background::{Background, Connector},
    },
};

/// Starts the edge in the background. Without settings it only removes what the host has left at its former topics. It
/// ends with the process, or when the event log is closed.
pub(crate) fn start(
    settings: Option<HomeAssistant>,
    (mqtt, info): (mqtt::Settings, LinkInfo),
    own: &HostTopic,
    data: &Path,
    state: ApiState,
) -> anyhow::Result<()> {
    let status = mqtt.status_topic.as_ref().map(|topic| topic.as_str().to_owned());
    let topics =
        |settings: &HomeAssistant| Topics { own: own.to_string(), discovery: settings.discovery_prefix.clone() };
    let topics = settings.as_ref().map(topics);
    let now = LastTopics::new(status.clone(), topics.clone());
    let last = LastTopics::read(data);
    let left = last.without(&now);
    if last != last.with(&now) {
        keep(&last.with(&now), data);
    }
    if topics.is_none() && left.is_empty() {
        return Ok(());
    }
    let is_status_only = topics.is_none() && left.devices.is_empty();
    let purpose = if is_status_only { "the removal of its former status" } else { "Home Assistant" };
    let host = mqtt.client_id.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime of the edge for Home Assistant cannot be started")?;
    let mut connector = Connector::new(mqtt, purpose, info)?;
    let event_log = state.event_log().clone();
    let publisher = move |settings: Option<HomeAssistant>, topics: Topics| {
        Publisher::new(settings, topics, (status.clone(), host.clone()), state.clone())
    };
    let data = data.to_owned();
    let work = async move {
        let is_any_left = !left.is_empty();
        for topic in left.statuses {
            connected(&mut connector, |link| former_status::remove(topic, link)).await;
        }
        for topics in left.devices {
            connected(&mut connector, |link| publisher(None, topics).run(link)).await;
        }
        // Unless the host stops before all is removed.
        if is_any_left && !*event_log.subscribe().borrow() {
            keep(&now, &data);
        }
        if let (Some(settings), Some(topics)) = (settings, topics) {
            connected(&mut connector, |link| publisher(Some(settings), topics).run(link)).await;
        }
    };
    let thread = move || {
        let _ = rustix::process::nice(limits::NICE);
        runtime.block_on(work);
    };
    thread::Builder::new().name("home-assistant".into()).spawn(thread).context("a thread cannot be started")?;
    Ok(())
}

/// Does something with a connection, until it is done or there are no more connections.
async fn connected<F: Future<Output = ()>>(connector: &mut Connector, work: impl FnOnce(Background) -> F) {
    let (link, connections) = connector.connect();
    tokio::select! {
        () = connections => {}
        () = work(link) => {}
    }
}

/// Keeps the topics in the data folder: they matter only when the settings change.
fn keep(topics: &LastTopics, data: &Path) {
    if let Err(error) = topics.write(data) {
        tracing::warn!("the topics of this run cannot be kept in the data folder\n  caused by: {error}");
    }
}
