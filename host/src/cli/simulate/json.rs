//! Simulated messages as JSON.

use std::io::{self, Write};

use roost_scheduler::model::MessageProperties;
use serde::Serialize;

use crate::{
    job_json::text_or_base64,
    simulation::{SimulatedEvent, SimulatedEventKind},
};

/// A JSON array that is written incrementally, a line for each message.
pub(super) struct Array<W> {
    out: W,
    has_items: bool,
}

impl<W: Write> Array<W> {
    pub(super) fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, has_items: false })
    }

    /// Adds a message. Ignores other events.
    pub(super) fn push(&mut self, event: &SimulatedEvent) -> io::Result<()> {
        let Some(record) = Record::of(event) else { return Ok(()) };
        self.out.write_all(if self.has_items { b",\n  " } else { b"\n  " })?;
        self.has_items = true;
        serde_json::to_writer(&mut self.out, &record).map_err(io::Error::from)
    }

    pub(super) fn end(mut self) -> io::Result<W> {
        self.out.write_all(if self.has_items { b"\n]" } else { b"]" })?;
        Ok(self.out)
    }
}

#[derive(Serialize)]
struct Record<'e> {
    at: String,
    due: String,
    plugin: &'e str,
    device: &'e str,
    job: &'e str,
    step: usize,
    topic: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    qos: u8,
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

#[derive(Serialize)]
struct Properties {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<String>,
    /// Pairs, because a name may occur more than once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
}

impl<'e> Record<'e> {
    fn of(event: &'e SimulatedEvent) -> Option<Self> {
        let SimulatedEvent { at, zone, plugin, device, job: Some(job), what: SimulatedEventKind::Message(sent) } =
            event
        else {
            return None;
        };
        let message = sent.message();
        let at_text = at.in_zone(*zone);
        let due = sent.due();
        let due = if due == *at { at_text.clone() } else { due.in_zone(*zone) };
        let (payload, payload_base64) = match text_or_base64(message.payload) {
            Ok(text) => (Some(text), None),
            Err(base64) => (None, Some(base64)),
        };
        Some(Self {
            at: at_text,
            due,
            plugin: plugin.as_str(),
            device: device.as_str(),
            job: job.as_str(),
            step: sent.step + 1,
            topic: message.topic(),
            payload,
            payload_base64,
            qos: message.qos as u8,
            retain: message.retain,
            properties: message.properties().map(Properties::of),
        })
    }
}

impl Properties {
    fn of(properties: MessageProperties) -> Self {
        let MessageProperties { expiry_ms, content_type, response_topic, user } = properties;
        Self { expiry_ms, content_type, response_topic: response_topic.map(|topic| topic.as_str().into()), user }
    }
}
