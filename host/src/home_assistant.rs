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
mod portrait;
mod publisher;
mod state;
mod tokens;
mod topics;

use std::thread;

use anyhow::Context as _;

use self::{publisher::Publisher, topics::Topics};
use crate::{
    config::HomeAssistant,
    http::ApiState,
    mqtt::{self, LinkInfo, background},
    report::Report,
};

/// Starts the edge in the background. It ends with the process, or when the event log is closed.
pub(crate) fn start(
    settings: HomeAssistant,
    mqtt: mqtt::Settings,
    own_topic: &str,
    state: ApiState,
    info: LinkInfo,
) -> anyhow::Result<()> {
    let topics = Topics { own: own_topic.to_owned(), discovery: settings.discovery_prefix.clone() };
    let status_topic = mqtt.status_topic.as_ref().map(|topic| topic.as_str().to_owned());
    let (link, connections) = background::connect(mqtt, "Home Assistant", info).map_err(Report::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the runtime of the edge for Home Assistant cannot be started")?;
    let run = move || {
        let _ = rustix::process::nice(limits::NICE);
        runtime.block_on(async {
            tokio::join!(connections, Publisher::new(settings, topics, status_topic, state).run(link));
        });
    };
    thread::Builder::new().name("home-assistant".into()).spawn(run).context("a thread cannot be started")?;
    Ok(())
}
