//! Simulated messages as JSON.

use std::io::{self, Write};

use roost_scheduler::model::MessageProperties;
use serde::Serialize;

use crate::simulation::{SimulatedEvent, SimulatedEventKind};

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
        let payload = message.payload;
        let at_text = at.in_zone(*zone);
        let due = sent.due();
        let due = if due == *at { at_text.clone() } else { due.in_zone(*zone) };
        let text = std::str::from_utf8(payload).ok();
        Some(Self {
            at: at_text,
            due,
            plugin: plugin.as_str(),
            device: device.as_str(),
            job: job.as_str(),
            step: sent.step + 1,
            topic: message.topic(),
            payload: text,
            payload_base64: text.is_none().then(|| base64(payload)),
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

/// Encodes bytes as in section 4 of RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, index| bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0)));
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= chunk.len() { digit.into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples are those of RFC 4648, section 10.
    #[test]
    fn base64_matches_the_examples_of_the_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }
}
