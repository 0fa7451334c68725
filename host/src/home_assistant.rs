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
mod limits;
mod place;
mod portrait;
mod publisher;
mod state;
mod tokens;
mod topics;

use std::{path::Path, thread};

use anyhow::Context as _;
use roost_scheduler::topic::HostTopic;

use self::{publisher::Publisher, topics::Topics};
use crate::{
    config::HomeAssistant,
    http::ApiState,
    mqtt::{self, LinkInfo, background::Connector},
};

/// Starts the edge in the background. Without settings it only removes what it published before. It ends with the
/// process, or when the event log is closed.
pub(crate) fn start(
    settings: Option<HomeAssistant>,
    (mqtt, info): (mqtt::Settings, LinkInfo),
    own: &HostTopic,
    data: &Path,
    state: ApiState,
) -> anyhow::Result<()> {
    let topics =
        |settings: &HomeAssistant| Topics { own: own.to_string(), discovery: settings.discovery_prefix.clone() };
    let now = settings.as_ref().map(topics);
    let left = place::read(data).filter(|left| now.as_ref() != Some(left));
    if now.is_none() && left.is_none() {
        return Ok(());
    }
    let status_topic = mqtt.status_topic.as_ref().map(|topic| topic.as_str().to_owned());
    let host = mqtt.client_id.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime of the edge for Home Assistant cannot be started")?;
    let mut connector = Connector::new(mqtt, "Home Assistant", info)?;
    let data = data.to_owned();
    let mut run = async move |settings: Option<HomeAssistant>, topics: Topics| {
        let (link, connections) = connector.connect();
        let publisher = Publisher::new(settings, topics, (status_topic.clone(), host.clone()), state.clone());
        tokio::select! {
            () = connections => {}
            () = publisher.run(link) => {}
        }
    };
    let work = async move {
        if let Some(left) = left {
            run(None, left).await;
            report(place::remove(&data), "removed from");
        }
        if let (Some(settings), Some(topics)) = (settings, now) {
            report(place::write(&data, &topics), "written to");
            run(Some(settings), topics).await;
        }
    };
    let thread = move || {
        let _ = rustix::process::nice(limits::NICE);
        runtime.block_on(work);
    };
    thread::Builder::new().name("home-assistant".into()).spawn(thread).context("a thread cannot be started")?;
    Ok(())
}

/// Logs that the place of the descriptions could not be kept: it matters only when the settings change.
fn report(result: std::io::Result<()>, what: &str) {
    if let Err(error) = result {
        tracing::warn!("`home-assistant.json` cannot be {what} the data folder\n  caused by: {error}");
    }
}
