//! MQTT 3.1.1 and 5 on one port, and messages from one to the other.

use bytes::{Buf, Bytes, BytesMut};
use rumqttd::protocol::{Error, Packet, Protocol, v4::V4, v5::V5};

/// What a client speaks, known from its CONNECT. rumqttd makes a copy for each connection.
///
/// Each of rumqttd's own protocols takes one version only, and that for 3.1.1 panics where a message from a client with
/// version 5 has properties.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum EitherVersion {
    #[default]
    Unknown,
    Three,
    Five,
}

impl EitherVersion {
    /// From the protocol level in CONNECT, after the length and the name of the protocol. MQTT 5.0, section 3.1.2.
    fn of(stream: &[u8]) -> Result<Self, Error> {
        let Some((first, rest)) = stream.split_first() else { return Err(Error::InsufficientBytes(2)) };
        if first >> 4 != 1 {
            return Err(Error::InvalidProtocol);
        }
        let Some(end) = rest.iter().take(4).position(|byte| byte & 0x80 == 0) else {
            return Err(if rest.len() < 4 { Error::InsufficientBytes(1) } else { Error::MalformedRemainingLength });
        };
        match rest.get(end + 1..end + 8) {
            Some([0, 4, b'M', b'Q', b'T', b'T', 4]) => Ok(Self::Three),
            Some([0, 4, b'M', b'Q', b'T', b'T', 5]) => Ok(Self::Five),
            Some(_) => Err(Error::InvalidProtocol),
            None => Err(Error::InsufficientBytes(1)),
        }
    }
}

impl Protocol for EitherVersion {
    fn read_mut(&mut self, stream: &mut BytesMut, max_size: usize) -> Result<Packet, Error> {
        if matches!(self, Self::Unknown) {
            *self = Self::of(stream)?;
        }
        let mut packet = match self {
            Self::Five => V5.read_mut(stream, max_size)?,
            Self::Three | Self::Unknown => V4.read_mut(stream, max_size)?,
        };
        change_topics(&mut packet, mark);
        if let Packet::Connect(connect, properties, ..) = &mut packet {
            // rumqttd turns clients away that want no keep-alive; this is as good as none.
            if connect.keep_alive == 0 {
                connect.keep_alive = u16::MAX;
            }
            // rumqttd has one alias per filter, which is wrong for a filter with wildcards.
            if let Some(properties) = properties {
                properties.topic_alias_max = None;
            }
        }
        Ok(packet)
    }

    fn write(&self, mut packet: Packet, buffer: &mut BytesMut) -> Result<usize, Error> {
        change_topics(&mut packet, unmark);
        match (self, packet) {
            (Self::Five, packet) => V5.write(packet, buffer),
            // A broker does not send it before version 5: it closes the connection.
            (_, Packet::Disconnect(..)) => Ok(0),
            (_, packet) => V4.write(without_properties(packet), buffer),
        }
    }
}

/// Before topics that begin with another letter than ASCII's, while they are in rumqttd: it looks at their first byte as
/// if that were a letter, and the thread that serves all clients would panic. Filters with a wildcard there match as ever.
const MARK: u8 = 1;

fn mark(topic: &mut Bytes) {
    if topic.first().is_some_and(|first| !first.is_ascii() || *first == MARK) {
        *topic = [&[MARK], &topic[..]].concat().into();
    }
}

fn unmark(topic: &mut Bytes) {
    if topic.first() == Some(&MARK) {
        topic.advance(1);
    }
}

/// Of messages, and of what clients want to have.
fn change_topics(packet: &mut Packet, change: fn(&mut Bytes)) {
    let change_filter = |filter: &mut String| {
        let mut bytes = Bytes::from(std::mem::take(filter));
        change(&mut bytes);
        *filter = String::from_utf8_lossy(&bytes).into_owned();
    };
    match packet {
        Packet::Publish(publish, _) => change(&mut publish.topic),
        Packet::Connect(_, _, Some(will), ..) => change(&mut will.topic),
        Packet::Subscribe(subscribe, _) => {
            subscribe.filters.iter_mut().for_each(|filter| change_filter(&mut filter.path));
        }
        Packet::Unsubscribe(unsubscribe, _) => unsubscribe.filters.iter_mut().for_each(change_filter),
        _ => {}
    }
}

fn without_properties(packet: Packet) -> Packet {
    match packet {
        Packet::ConnAck(ack, _) => Packet::ConnAck(ack, None),
        Packet::Publish(publish, _) => Packet::Publish(publish, None),
        Packet::PubAck(ack, _) => Packet::PubAck(ack, None),
        Packet::PubRec(ack, _) => Packet::PubRec(ack, None),
        Packet::PubRel(ack, _) => Packet::PubRel(ack, None),
        Packet::PubComp(ack, _) => Packet::PubComp(ack, None),
        Packet::SubAck(ack, _) => Packet::SubAck(ack, None),
        Packet::UnsubAck(ack, _) => Packet::UnsubAck(ack, None),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_its_version_first() {
        let three = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
        let five = b"\x10\xff\x01\x00\x04MQTT\x05\x02\x00\x3c";
        assert!(matches!(EitherVersion::of(three), Ok(EitherVersion::Three)));
        assert!(matches!(EitherVersion::of(five), Ok(EitherVersion::Five)));
        for length in 0..9 {
            assert!(matches!(EitherVersion::of(&three[..length]), Err(Error::InsufficientBytes(_))), "{length}");
        }
        for wrong in [&b"GET / HTTP/1.1"[..], b"\x10\xff\xff\xff\xff\x01", b"\x10\x0c\x00\x06MQIsdp\x03"] {
            assert!(EitherVersion::of(wrong).is_err_and(|error| !matches!(error, Error::InsufficientBytes(_))));
        }
    }
}
