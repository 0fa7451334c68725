//! Decodes clients' packets.

use std::borrow::Cow;

use super::{
    AckKind, Fault, Qos, Reason, Version,
    properties::{self, Place, Properties},
    read::{self, Reader},
};
use crate::{limits, topic};

/// The result of splitting off the first packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// The packet is incomplete. It has this length, or an unknown one if the length is incomplete as well.
    Incomplete(Option<usize>),
    Complete {
        first: u8,
        body: &'a [u8],
        length: usize,
    },
}

/// A packet that a client may send.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    Connect(Connect<'a>),
    Publish(Publish<'a>),
    Ack(Ack),
    Subscribe(Subscribe<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Pingreq,
    Disconnect(Disconnect),
}

#[derive(Debug)]
pub(crate) struct Connect<'a> {
    pub(crate) version: Version,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) client_id: &'a str,
    pub(crate) will: Option<Will<'a>>,
    pub(crate) session_expiry_s: u32,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes: u32,
    pub(crate) has_authentication: bool,
}

#[derive(Debug)]
pub(crate) struct Will<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) properties: Cow<'a, [u8]>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Publish<'a> {
    /// Empty if the topic alias stands for it.
    pub(crate) topic: &'a str,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) payload: &'a [u8],
    /// The encoded properties that are passed on to receivers.
    pub(crate) properties: Cow<'a, [u8]>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) expiry_s: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) kind: AckKind,
    pub(crate) packet_id: u16,
    pub(crate) reason: u8,
}

#[derive(Debug)]
pub(crate) struct Subscribe<'a> {
    pub(crate) packet_id: u16,
    pub(crate) subscription_id: Option<u32>,
    pub(crate) filters: Vec<(&'a str, SubscribeOptions)>,
}

/// The options of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscribeOptions {
    pub(crate) qos: Qos,
    /// Whether the client's own messages are not sent to it.
    pub(crate) no_local: bool,
    /// Whether messages keep the retain flag of their publication.
    pub(crate) retain_as_published: bool,
    /// When retained messages are sent: 0: always; 1: only for a new subscription; 2: never.
    pub(crate) retain_handling: u8,
}

#[derive(Debug)]
pub(crate) struct Unsubscribe<'a> {
    pub(crate) packet_id: u16,
    pub(crate) filters: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disconnect {
    /// Whether the last will is published nevertheless.
    pub(crate) with_will: bool,
    pub(crate) session_expiry_s: Option<u32>,
}

/// Splits off the first packet.
pub(crate) fn frame(bytes: &[u8], most: usize) -> Result<Frame<'_>, Fault> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(Frame::Incomplete(None)) };
    let Some((body, of_length)) = read::variable(rest)? else { return Ok(Frame::Incomplete(None)) };
    let length = 1 + of_length + body as usize;
    if length > most {
        return Err(Fault::new(Reason::PacketTooLarge, "a packet is too large"));
    }
    match bytes.get(1 + of_length..length) {
        Some(body) => Ok(Frame::Complete { first, body, length }),
        None => Ok(Frame::Incomplete(Some(length))),
    }
}

/// Decodes a packet. `version` is `None` before CONNECT, which must be first.
pub(crate) fn packet(first: u8, body: &[u8], version: Option<Version>) -> Result<Packet<'_>, Fault> {
    let reader = &mut Reader::new(body);
    let Some(version) = version else {
        return match first {
            0x10 => Ok(Packet::Connect(connect(reader)?)),
            _ => Err(Fault::protocol("the first packet is not CONNECT")),
        };
    };
    let packet = match (first >> 4, first & 0xF) {
        (1, _) => return Err(Fault::protocol("a second CONNECT")),
        (3, flags) => Packet::Publish(publish(reader, flags, version)?),
        (4, 0) => Packet::Ack(ack(reader, AckKind::Puback, version)?),
        (5, 0) => Packet::Ack(ack(reader, AckKind::Pubrec, version)?),
        (6, 2) => Packet::Ack(ack(reader, AckKind::Pubrel, version)?),
        (7, 0) => Packet::Ack(ack(reader, AckKind::Pubcomp, version)?),
        (8, 2) => Packet::Subscribe(subscribe(reader, version)?),
        (10, 2) => Packet::Unsubscribe(unsubscribe(reader, version)?),
        (12, 0) => Packet::Pingreq,
        (14, 0) => Packet::Disconnect(disconnect(reader, version)?),
        (15, 0) if version == Version::Five => {
            return Err(Fault::protocol("AUTH without an authentication method"));
        }
        (2 | 9 | 11 | 13, 0) => return Err(Fault::protocol("a packet that only servers send")),
        _ => return Err(Fault::malformed("a packet's first byte is invalid")),
    };
    match &packet {
        Packet::Publish(_) => Ok(packet),
        _ if reader.is_empty() => Ok(packet),
        _ => Err(Fault::malformed("a packet is longer than its contents")),
    }
}

fn connect<'a>(reader: &mut Reader<'a>) -> Result<Connect<'a>, Fault> {
    let unsupported = Fault::new(Reason::UnsupportedProtocolVersion, "neither MQTT 3.1.1 nor MQTT 5");
    if reader.binary()? != b"MQTT" {
        return Err(unsupported);
    }
    let version = match reader.u8()? {
        4 => Version::Three,
        5 => Version::Five,
        _ => return Err(unsupported),
    };
    let flags = reader.u8()?;
    let [clean_start, has_will, will_retain, has_password, has_user] =
        [0x02, 0x04, 0x20, 0x40, 0x80].map(|flag| flags & flag != 0);
    let will_qos = Qos::from_number(flags >> 3 & 3).ok_or(Fault::malformed("a will of QoS 3"))?;
    if flags & 1 != 0 {
        return Err(Fault::malformed("a reserved flag of CONNECT is set"));
    }
    if !has_will && (will_retain || will_qos != Qos::AtMostOnce) {
        return Err(Fault::malformed("flags of a will without a will"));
    }
    if version == Version::Three && has_password && !has_user {
        return Err(Fault::malformed("a password without a user"));
    }
    let keep_alive_s = reader.u16()?;
    let properties = properties_of(reader, version, Place::Connect)?;
    let client_id = reader.text()?;
    let will = if has_will { Some(will(reader, version, will_qos, will_retain)?) } else { None };
    // The login is ignored: only clients on the same machine can connect.
    if has_user {
        reader.text()?;
    }
    if has_password {
        reader.binary()?;
    }
    if !reader.is_empty() {
        return Err(Fault::malformed("CONNECT is longer than its contents"));
    }
    let of_three = if clean_start { 0 } else { u32::MAX };
    Ok(Connect {
        version,
        clean_start,
        keep_alive_s,
        client_id,
        will,
        session_expiry_s: if version == Version::Three { of_three } else { properties.session_expiry_s.unwrap_or(0) },
        receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
        packet_bytes: properties.packet_bytes.unwrap_or(u32::MAX),
        has_authentication: properties.has_authentication,
    })
}

fn will<'a>(reader: &mut Reader<'a>, version: Version, qos: Qos, retain: bool) -> Result<Will<'a>, Fault> {
    let properties = properties_of(reader, version, Place::Will)?;
    let topic = reader.text()?;
    if !topic::is_name(topic) {
        return Err(Fault::new(Reason::TopicNameInvalid, "a will's topic is not a topic name"));
    }
    Ok(Will {
        topic,
        payload: reader.binary()?,
        qos,
        retain,
        delay_s: properties.will_delay_s.unwrap_or(0),
        expiry_s: properties.message_expiry_s,
        properties: properties.forwarded,
    })
}

fn publish<'a>(reader: &mut Reader<'a>, flags: u8, version: Version) -> Result<Publish<'a>, Fault> {
    let qos = Qos::from_number(flags >> 1 & 3).ok_or(Fault::malformed("a message of QoS 3"))?;
    if qos == Qos::AtMostOnce && flags & 8 != 0 {
        return Err(Fault::malformed("a message at QoS 0 is marked as a duplicate"));
    }
    let topic = reader.text()?;
    let packet_id = if qos == Qos::AtMostOnce { 0 } else { reader.packet_id()? };
    let properties = properties_of(reader, version, Place::Publish)?;
    let (topic_alias, is_named) = (properties.topic_alias, !topic.is_empty());
    if topic_alias.is_some_and(|alias| !(1..=limits::TOPIC_ALIASES).contains(&alias)) {
        return Err(Fault::new(Reason::TopicAliasInvalid, "a topic alias is out of range"));
    }
    if is_named && !topic::is_name(topic) || !is_named && version == Version::Three {
        return Err(Fault::new(Reason::TopicNameInvalid, "a message's topic is not a topic name"));
    }
    if !is_named && topic_alias.is_none() {
        return Err(Fault::protocol("a message without a topic"));
    }
    Ok(Publish {
        topic,
        topic_alias,
        qos,
        packet_id,
        retain: flags & 1 != 0,
        expiry_s: properties.message_expiry_s,
        properties: properties.forwarded,
        payload: reader.rest(),
    })
}

fn ack(reader: &mut Reader<'_>, kind: AckKind, version: Version) -> Result<Ack, Fault> {
    let packet_id = reader.packet_id()?;
    let mut reason = 0;
    if version == Version::Five && !reader.is_empty() {
        reason = reader.u8()?;
        if !reader.is_empty() {
            properties::read(reader, Place::Ack)?;
        }
    }
    Ok(Ack { kind, packet_id, reason })
}

fn subscribe<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Subscribe<'a>, Fault> {
    let packet_id = reader.packet_id()?;
    let subscription_id = properties_of(reader, version, Place::Subscribe)?.subscription_id;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        if filters.len() >= limits::FILTERS_PER_PACKET {
            return Err(Fault::new(Reason::QuotaExceeded, "too many filters in one SUBSCRIBE"));
        }
        let filter = reader.text()?;
        let options = reader.u8()?;
        let reserved = if version == Version::Three { 0xFC } else { 0xC0 };
        let qos = Qos::from_number(options & 3).filter(|_| options & reserved == 0);
        let retain_handling = options >> 4 & 3;
        let (Some(qos), 0..=2) = (qos, retain_handling) else {
            return Err(Fault::malformed("a subscription's options are invalid"));
        };
        let (no_local, retain_as_published) = (options & 4 != 0, options & 8 != 0);
        if no_local && topic::is_shared(filter) {
            return Err(Fault::protocol("a shared subscription cannot be `no local`"));
        }
        filters.push((filter, SubscribeOptions { qos, no_local, retain_as_published, retain_handling }));
    }
    if filters.is_empty() {
        return Err(Fault::protocol("SUBSCRIBE without a filter"));
    }
    Ok(Subscribe { packet_id, subscription_id, filters })
}

fn unsubscribe<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Unsubscribe<'a>, Fault> {
    let packet_id = reader.packet_id()?;
    properties_of(reader, version, Place::Unsubscribe)?;
    let mut filters = Vec::new();
    while !reader.is_empty() {
        if filters.len() >= limits::FILTERS_PER_PACKET {
            return Err(Fault::new(Reason::QuotaExceeded, "too many filters in one UNSUBSCRIBE"));
        }
        filters.push(reader.text()?);
    }
    if filters.is_empty() {
        return Err(Fault::protocol("UNSUBSCRIBE without a filter"));
    }
    Ok(Unsubscribe { packet_id, filters })
}

fn disconnect(reader: &mut Reader<'_>, version: Version) -> Result<Disconnect, Fault> {
    let mut disconnect = Disconnect { with_will: false, session_expiry_s: None };
    if version == Version::Five && !reader.is_empty() {
        disconnect.with_will = reader.u8()? != 0;
        if !reader.is_empty() {
            disconnect.session_expiry_s = properties::read(reader, Place::Disconnect)?.session_expiry_s;
        }
    }
    Ok(disconnect)
}

fn properties_of<'a>(reader: &mut Reader<'a>, version: Version, place: Place) -> Result<Properties<'a>, Fault> {
    if version == Version::Five { properties::read(reader, place) } else { Ok(Properties::default()) }
}
