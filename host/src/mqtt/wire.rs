//! Encodes and decodes packets of MQTT 5, and of 3.1.1 (`version.rs`). The codec is rumqttc's, except for the broker's
//! answers and DISCONNECT: rumqttc does not support all of their reason codes and forms.

mod version;

use bytes::{Buf, Bytes, BytesMut};
use roost_scheduler::topic::Topic;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        ConnAckProperties, Connect, ConnectProperties, Filter, LastWill, Login, Packet, Publish, RetainForwardRule,
        Subscribe, Unsubscribe,
    },
};

pub(super) use self::version::Version;
use super::{failure::Failure, limits, message::RUN, reason::Reason};

/// A packet from the broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Ack(Ack),
    Message(Arrived),
    Disconnect(Reason),
    /// PINGRESP.
    Pong,
}

/// A message from the broker, sent by another client or by the link itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// The packet id to acknowledge. `None` at QoS 0.
    pub(super) id: Option<u16>,
    /// Whether it is the broker's retained message.
    pub(super) retained: bool,
    /// Whether the message has an expiry.
    pub(super) expires: bool,
    /// Whether it carries the id of a run: then it is the link's own message and not a device's report.
    pub(super) is_own: bool,
}

/// PUBACK, PUBREC, PUBCOMP, SUBACK or UNSUBACK.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) kind: AckKind,
    pub(super) id: u16,
    pub(super) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckKind {
    Puback,
    Pubrec,
    Pubcomp,
    Suback,
    Unsuback,
}

/// The limits that a broker states in CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The version of MQTT on the connection.
    pub(super) version: Version,
    /// The number of messages that may be under way at the same time.
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes: Option<u32>,
    pub(super) maximum_qos: u8,
    pub(super) retain: bool,
    pub(super) keep_alive_s: Option<u16>,
}

impl Limits {
    /// Returns why the broker would not accept a message, if so. It would end the connection at it.
    pub(super) fn refusal(&self, publish: &Publish) -> Option<String> {
        if self.is_too_large(publish) {
            let (size, most) = (publish.size(), self.packet_bytes.unwrap_or_default());
            return Some(format!("the broker accepts packets of {most} bytes at most, and this one has {size}"));
        }
        if publish.qos as u8 > self.maximum_qos {
            return Some(format!(
                "the broker accepts QoS {} at most, and the message has QoS {}",
                self.maximum_qos, publish.qos as u8
            ));
        }
        (publish.retain && !self.retain).then(|| "the broker does not support retained messages".to_owned())
    }

    /// Checks whether a message is larger than the broker accepts.
    pub(super) fn is_too_large(&self, publish: &Publish) -> bool {
        self.packet_bytes.is_some_and(|most| publish.size() > most as usize)
    }

    /// Returns why the broker would not accept a subscription, if so.
    pub(super) fn refusal_of_subscription(&self, subscribe: &Subscribe) -> Option<String> {
        let (size, most) = (subscribe.size(), self.packet_bytes?);
        (size > most as usize)
            .then(|| format!("the broker accepts packets of {most} bytes at most, and the subscription has {size}"))
    }
}

/// Takes the next packet out of the buffer. Returns `None` if it is not complete.
///
/// Frames are split here and not by the codec: for a packet that is truncated inside its frame, the codec would wait
/// forever for more bytes.
fn next_frame(read: &mut BytesMut) -> Result<Option<Frame>, Failure> {
    if let Some((of_length, length)) = read.get(1..).and_then(variable_length) {
        if length > limits::INCOMING_PACKET_BYTES {
            return Err(Failure::Malformed(format!("a packet of {length} bytes")));
        }
        let header = 1 + of_length;
        let complete = read.len() >= header + length;
        return Ok(complete.then(|| Frame { header, bytes: read.split_to(header + length) }));
    }
    if read.len() > 4 { Err(Failure::Malformed("a packet without a valid length".to_owned())) } else { Ok(None) }
}

struct Frame {
    header: usize,
    bytes: BytesMut,
}

impl Frame {
    fn kind(&self) -> u8 {
        self.bytes[0] >> 4
    }

    fn body(&self) -> &[u8] {
        &self.bytes[self.header..]
    }

    fn decoded(mut self) -> Result<Packet, Failure> {
        let kind = self.kind();
        Packet::read(&mut self.bytes, None).map_err(|error| Failure::Malformed(format!("packet type {kind}, {error}")))
    }
}

/// Takes the next packet after CONNACK. Returns `None` if it is not complete.
pub(super) fn next_packet(read: &mut BytesMut, version: Version) -> Result<Option<Incoming>, Failure> {
    let Some(frame) = next_frame(read)? else { return Ok(None) };
    let kind = match frame.kind() {
        4 => AckKind::Puback,
        5 => AckKind::Pubrec,
        7 => AckKind::Pubcomp,
        9 => {
            let granted = match version {
                Version::Five => granted(frame.body()),
                Version::Three => version::granted(frame.body()),
            };
            return granted.map(|ack| Some(Incoming::Ack(ack)));
        }
        // It has a reason for each topic, which is ignored.
        11 => AckKind::Unsuback,
        14 if version == Version::Five => return Ok(Some(Incoming::Disconnect(reason(frame.body())))),
        3 => {
            let arrived = match version {
                Version::Five => arrived(frame),
                Version::Three => version::arrived(frame),
            };
            return arrived.map(|arrived| Some(Incoming::Message(arrived)));
        }
        13 => return frame.decoded().map(|_| Some(Incoming::Pong)),
        other => return Err(Failure::Malformed(format!("unexpected packet type {other}"))),
    };
    match *frame.body() {
        [high, low, ref rest @ ..] => {
            let id = u16::from_be_bytes([high, low]);
            let has_reason = version == Version::Five && kind != AckKind::Unsuback;
            let reason = if has_reason { reason(rest) } else { reason(&[]) };
            Ok(Some(Incoming::Ack(Ack { kind, id, reason })))
        }
        _ => Err(Failure::Malformed("an acknowledgement without a packet id".to_owned())),
    }
}

/// Decodes PUBLISH. MQTT 5.0, section 3.3.
fn arrived(frame: Frame) -> Result<Arrived, Failure> {
    let publish = match frame.decoded()? {
        Packet::Publish(publish) => publish,
        other => return Err(Failure::Malformed(format!("{other:?} instead of PUBLISH"))),
    };
    let malformed = |what: &str| Failure::Malformed(format!("a message {what}"));
    let id = match publish.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(publish.pkid),
        QoS::ExactlyOnce => return Err(malformed("at QoS 2 for a subscription at QoS 1")),
    };
    if publish.topic.is_empty() || publish.properties.as_ref().is_some_and(|own| own.topic_alias.is_some()) {
        return Err(malformed("with a topic alias, which CONNECT did not allow"));
    }
    let topic = String::from_utf8(publish.topic.into()).map_err(|_| malformed("with a topic that is not UTF-8"))?;
    let own = publish.properties.unwrap_or_default();
    let expires = own.message_expiry_interval.is_some();
    let is_own = own.user_properties.iter().any(|(key, _)| key == RUN);
    Ok(Arrived { topic, payload: publish.payload, id, retained: publish.retain, expires, is_own })
}

/// Decodes SUBACK: the packet id, properties, and one reason, because each SUBSCRIBE has one topic. MQTT 5.0, section
/// 3.9.
fn granted(body: &[u8]) -> Result<Ack, Failure> {
    let malformed = |what: &str| Failure::Malformed(format!("a SUBACK {what}"));
    let [high, low, ref properties @ .., code] = *body else { return Err(malformed("that is too short")) };
    if variable_length(properties).is_none_or(|(header, length)| header + length != properties.len()) {
        return Err(malformed("without exactly one reason"));
    }
    if matches!(code, 3..0x80) {
        return Err(malformed(&format!("that grants QoS {code}")));
    }
    let reason = Reason { code, text: reason_text(properties) };
    Ok(Ack { kind: AckKind::Suback, id: u16::from_be_bytes([high, low]), reason })
}

/// Decodes a variable byte integer. Returns how many bytes it takes, and its value. MQTT 5.0, section 1.5.5.
fn variable_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, length));
        }
    }
    None
}

/// Takes the broker's answer to CONNECT. Returns `None` if it is not complete.
pub(super) fn next_connack(read: &mut BytesMut, version: Version) -> Result<Option<Limits>, Failure> {
    // Checked first: the beginning of another packet may never become complete.
    if read.first().is_some_and(|byte| !matches!(byte >> 4, 2 | 14)) {
        return Err(Failure::Malformed("an answer to CONNECT other than CONNACK".to_owned()));
    }
    let Some(frame) = next_frame(read)? else { return Ok(None) };
    match (frame.kind(), frame.body()) {
        (2, body) if version == Version::Three => return version::connack(body).map(Some),
        // A CONNACK of two bytes is MQTT 3.1.1's, whatever its code: 5's has three or more. 3.1.1, section 3.2.2.3.
        (2, [_, _]) => return Err(Failure::Version),
        (2, [_, code, ..]) if *code >= 0x80 => {
            let code = *code;
            let text = match frame.decoded() {
                Ok(Packet::ConnAck(ack)) => ack.properties.and_then(|properties| properties.reason_string),
                _ => None,
            };
            return Err(Failure::refused(Reason { code, text: text.as_deref().map(shown) }));
        }
        (14, body) => return Err(Failure::refused(reason(body))),
        _ => {}
    }
    match frame.decoded()? {
        Packet::ConnAck(ack) => Ok(Some(limits(ack.properties.as_ref()))),
        other => Err(Failure::Malformed(format!("{other:?} instead of CONNACK"))),
    }
}

fn limits(stated: Option<&ConnAckProperties>) -> Limits {
    Limits {
        version: Version::Five,
        receive_maximum: stated.and_then(|stated| stated.receive_max).unwrap_or(u16::MAX).max(1),
        packet_bytes: stated.and_then(|stated| stated.max_packet_size),
        maximum_qos: stated.and_then(|stated| stated.max_qos).unwrap_or(2),
        retain: stated.and_then(|stated| stated.retain_available) != Some(0),
        keep_alive_s: stated.and_then(|stated| stated.server_keep_alive),
    }
}

/// Decodes the bytes after the packet id: nothing, a code, or a code and properties.
fn reason(bytes: &[u8]) -> Reason {
    let code = bytes.first().copied().unwrap_or(0);
    Reason { code, text: bytes.get(1..).and_then(reason_text) }
}

/// Finds the reason string among the properties. It is only shown, and nothing depends on it. MQTT 5.0, section 2.2.2.
fn reason_text(mut bytes: &[u8]) -> Option<String> {
    while bytes.try_get_u8().ok()? & 0x80 != 0 {}
    loop {
        match bytes.try_get_u8().ok()? {
            0x1F => return Some(shown(&String::from_utf8_lossy(string(&mut bytes)?))),
            0x26 => {
                string(&mut bytes)?;
                string(&mut bytes)?;
            }
            0x11 => drop(bytes.try_get_u32().ok()?),
            0x1C => drop(string(&mut bytes)?),
            _ => return None,
        }
    }
}

fn string<'bytes>(bytes: &mut &'bytes [u8]) -> Option<&'bytes [u8]> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    let (string, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(string)
}

fn shown(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(limits::REASON_TEXT_CHARS).collect()
}

/// Builds SUBSCRIBE without a packet id. Each subscription requests the retained message, and only that one is marked
/// as retained. QoS 1: a report must not be lost, and a duplicate does no harm.
pub(super) fn subscribe(topic: &str) -> Subscribe {
    let mut filter = Filter::new(topic, QoS::AtLeastOnce);
    filter.preserve_retain = false;
    filter.retain_forward_rule = RetainForwardRule::OnEverySubscribe;
    Subscribe::new(filter, None)
}

/// Builds SUBSCRIBE without a packet id, for messages of other clients. Those that are retained are marked as such, also
/// when they are new. The broker's retained ones at QoS 0: above it, Mosquitto
/// drops those that do not fit into its queue for a client, of 1,000 messages.
pub(super) fn subscribe_to_others(filter: &str, with_retained: bool) -> Subscribe {
    let mut filter = Filter::new(filter, if with_retained { QoS::AtMostOnce } else { QoS::AtLeastOnce });
    (filter.nolocal, filter.preserve_retain) = (true, true);
    filter.retain_forward_rule =
        if with_retained { RetainForwardRule::OnEverySubscribe } else { RetainForwardRule::Never };
    Subscribe::new(filter, None)
}

/// Builds UNSUBSCRIBE.
pub(super) fn unsubscribe(topic: &str, id: u16) -> Packet {
    let mut unsubscribe = Unsubscribe::new(topic, None);
    unsubscribe.pkid = id;
    Packet::Unsubscribe(unsubscribe)
}

/// Builds CONNECT: without topic aliases, with a clean start and no session afterwards (only the core retries), and
/// with `offline` as the last will on the status topic, if there is one, and whether it is retained.
pub(super) fn connect(
    client_id: &str,
    login: Option<(&str, &str)>,
    keep_alive_s: u16,
    will: Option<(&Topic, bool)>,
) -> Packet {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(0);
    properties.receive_maximum = Some(limits::RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(limits::INCOMING_PACKET_BYTES as u32);
    let connect = Connect {
        keep_alive: keep_alive_s,
        client_id: client_id.to_owned(),
        clean_start: true,
        properties: Some(properties),
    };
    // QoS 0: a broker that does not support a higher one would refuse the connection.
    let will = will.map(|(topic, retain)| LastWill::new(topic.as_str(), "offline", QoS::AtMostOnce, retain, None));
    Packet::Connect(connect, will, login.map(|(user, password)| Login::new(user, password)))
}

/// Builds the status message. At QoS 0 it needs neither a packet id nor credit, and keeps its place among the packets.
pub(super) fn status(topic: &Topic, text: &'static str, retain: bool) -> Packet {
    let mut publish = Publish::new(topic.as_str(), QoS::AtMostOnce, Bytes::from_static(text.as_bytes()), None);
    publish.retain = retain;
    Packet::Publish(publish)
}

#[cfg(test)]
mod tests;
