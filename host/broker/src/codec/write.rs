//! Encodes the server's packets, which are appended to a buffer.

use super::{AckKind, Qos, Reason, Version};
use crate::limits;

/// A message for one client.
pub(crate) struct Delivery<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// The publisher's encoded properties, without those of the connection.
    pub(crate) properties: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) repeated: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) expiry_s: Option<u32>,
    pub(crate) subscription_ids: &'a [u32],
}

/// The contents of an accepting CONNACK.
pub(crate) struct Acceptance<'a> {
    pub(crate) session_present: bool,
    /// The session's expiry, if it differs from the requested one.
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) assigned_id: Option<&'a str>,
}

pub(crate) fn connack(out: &mut Vec<u8>, version: Version, acceptance: &Acceptance<'_>) {
    let mut body = vec![u8::from(acceptance.session_present), 0];
    if version == Version::Five {
        let mut properties = Vec::new();
        if let Some(expiry_s) = acceptance.session_expiry_s {
            properties.push(0x11);
            properties.extend(expiry_s.to_be_bytes());
        }
        if let Some(id) = acceptance.assigned_id {
            properties.push(0x12);
            text(&mut properties, id);
        }
        properties.push(0x21);
        properties.extend(limits::RECEIVE_MAXIMUM.to_be_bytes());
        properties.push(0x22);
        properties.extend(limits::TOPIC_ALIASES.to_be_bytes());
        properties.push(0x27);
        properties.extend((limits::PACKET_BYTES as u32).to_be_bytes());
        // Shared subscriptions are not available.
        properties.extend([0x2A, 0]);
        variable(&mut body, properties.len());
        body.append(&mut properties);
    }
    packet(out, 0x20, &body);
}

/// Encodes a refusing CONNACK. 3.1.1 has fewer reasons [3.1.1, 3.2.2.3].
pub(crate) fn refusal(out: &mut Vec<u8>, version: Version, reason: Reason) {
    match version {
        Version::Five => packet(out, 0x20, &[0, reason as u8, 0]),
        Version::Three => {
            let code = match reason {
                Reason::UnsupportedProtocolVersion => 1,
                Reason::ClientIdentifierNotValid => 2,
                _ => 3,
            };
            packet(out, 0x20, &[0, code]);
        }
    }
}

pub(crate) fn ack(out: &mut Vec<u8>, version: Version, kind: AckKind, packet_id: u16, reason: Reason) {
    let [high, low] = packet_id.to_be_bytes();
    match reason {
        Reason::Success => out.extend([kind as u8, 2, high, low]),
        _ if version == Version::Three => out.extend([kind as u8, 2, high, low]),
        reason => out.extend([kind as u8, 3, high, low, reason as u8]),
    }
}

pub(crate) fn suback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    answer(out, 0x90, version, packet_id, codes);
}

pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, packet_id: u16, codes: &[u8]) {
    answer(out, 0xB0, version, packet_id, if version == Version::Three { &[] } else { codes });
}

fn answer(out: &mut Vec<u8>, first: u8, version: Version, packet_id: u16, codes: &[u8]) {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::Five {
        body.push(0);
    }
    body.extend(codes);
    packet(out, first, &body);
}

pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend([0xD0, 0]);
}

/// Encodes DISCONNECT, which only MQTT 5 has.
pub(crate) fn disconnect(out: &mut Vec<u8>, reason: Reason) {
    packet(out, 0xE0, &[reason as u8]);
}

/// Returns the size of PUBLISH.
pub(crate) fn publish_size(version: Version, delivery: &Delivery<'_>) -> usize {
    let body = body_size(version, delivery);
    1 + variable_size(body) + body
}

pub(crate) fn publish(out: &mut Vec<u8>, version: Version, delivery: &Delivery<'_>) {
    let qos = delivery.qos as u8;
    out.push(0x30 | u8::from(delivery.repeated) << 3 | qos << 1 | u8::from(delivery.retain));
    variable(out, body_size(version, delivery));
    text(out, delivery.topic);
    if qos > 0 {
        out.extend(delivery.packet_id.to_be_bytes());
    }
    if version == Version::Five {
        variable(out, properties_size(delivery));
        if let Some(expiry_s) = delivery.expiry_s {
            out.push(0x02);
            out.extend(expiry_s.to_be_bytes());
        }
        for id in delivery.subscription_ids {
            out.push(0x0B);
            variable(out, *id as usize);
        }
        out.extend_from_slice(delivery.properties);
    }
    out.extend_from_slice(delivery.payload);
}

fn body_size(version: Version, delivery: &Delivery<'_>) -> usize {
    let id = if delivery.qos == Qos::AtMostOnce { 0 } else { 2 };
    let properties = match version {
        Version::Three => 0,
        Version::Five => {
            let size = properties_size(delivery);
            variable_size(size) + size
        }
    };
    2 + delivery.topic.len() + id + properties + delivery.payload.len()
}

fn properties_size(delivery: &Delivery<'_>) -> usize {
    let ids: usize = delivery.subscription_ids.iter().map(|id| 1 + variable_size(*id as usize)).sum();
    let expiry = if delivery.expiry_s.is_some() { 5 } else { 0 };
    expiry + ids + delivery.properties.len()
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    variable(out, body.len());
    out.extend_from_slice(body);
}

/// Encodes at most 65,535 bytes: the data was decoded from such a field, or is the broker's own.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn variable_size(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
