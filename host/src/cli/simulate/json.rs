//! Messages as JSON.

use std::io::{self, Write};

use roost_scheduler::model::MessageProperties;
use serde::Serialize;

use crate::simulation::{SimulatedEvent, SimulatedEventKind};

/// An array that is written while it grows, a line for each message.
pub(super) struct Array<W> {
    out: W,
    any: bool,
}

impl<W: Write> Array<W> {
    pub(super) fn begin(mut out: W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, any: false })
    }

    /// Adds a message; what is none is left out.
    pub(super) fn push(&mut self, happening: &SimulatedEvent) -> io::Result<()> {
        let Some(record) = Record::of(happening) else { return Ok(()) };
        self.out.write_all(if self.any { b",\n  " } else { b"\n  " })?;
        self.any = true;
        serde_json::to_writer(&mut self.out, &record).map_err(io::Error::from)
    }

    pub(super) fn end(mut self) -> io::Result<W> {
        self.out.write_all(if self.any { b"\n]" } else { b"]" })?;
        Ok(self.out)
    }
}

#[derive(Serialize)]
struct Record<'h> {
    at: String,
    due: String,
    plugin: &'h str,
    device: &'h str,
    job: &'h str,
    step: usize,
    topic: &'h str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'h str>,
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
    /// Pairs, since a name may come twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user: Vec<(String, String)>,
}

impl<'h> Record<'h> {
    fn of(happening: &'h SimulatedEvent) -> Option<Self> {
        let SimulatedEvent { at, zone, plugin, device, job: Some(job), what: SimulatedEventKind::Message(sent) } =
            happening
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

/// RFC 4648, section 4.
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

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_as_in_its_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }
}
