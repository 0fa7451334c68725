//! Packets as bytes. The codec is rumqttc's, but for the acknowledgements and DISCONNECT, of which it does not know every
//! reason code and form.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{ConnAckProperties, Connect, ConnectProperties, LastWill, Login, Packet, Publish},
};

use super::{failure::Failure, reason::Reason};

/// The largest packet that is read: a broker must not fill the memory.
pub(super) const INCOMING_PACKET_BYTES: usize = 1 << 20;
/// How many messages the broker may send before it waits for their acknowledgements.
const RECEIVE_MAXIMUM: u16 = 100;
/// Of a broker's own explanation: it ends up in the log and in a run's outcome.
const REASON_TEXT_CHARS: usize = 200;
/// Where this host says whether it is there: retained, `online` or `offline`.
const STATUS_TOPIC: &str = "roost/status";

/// A packet from the broker, as far as it concerns us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Ack(Ack),
    Disconnect(Reason),
    /// It needs no reaction: PINGRESP, and whatever we have not asked for.
    Other,
}

/// PUBACK, PUBREC or PUBCOMP.
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
}

/// What a broker says about itself in CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages under way at once.
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes: Option<u32>,
    pub(super) maximum_qos: u8,
    pub(super) retain: bool,
    pub(super) keep_alive_s: Option<u16>,
}

impl Limits {
    /// Why a message need not be sent, since this broker would not take it; it would even end the connection.
    pub(super) fn refusal(&self, publish: &Publish) -> Option<String> {
        let size = publish.size();
        if self.packet_bytes.is_some_and(|most| size > most as usize) {
            let most = self.packet_bytes.unwrap_or_default();
            return Some(format!("the broker takes packets of {most} bytes at most, and this one has {size}"));
        }
        if publish.qos as u8 > self.maximum_qos {
            return Some(format!(
                "the broker takes QoS {} at most, and this is QoS {}",
                self.maximum_qos, publish.qos as u8
            ));
        }
        (publish.retain && !self.retain).then(|| "the broker does not keep retained messages".to_owned())
    }
}

/// Takes the next packet out of what was read; `None` where it is not complete.
///
/// Frames are cut here: the codec says of a packet that is cut short inside that more bytes are needed, and would wait
/// for them for ever.
fn next_frame(read: &mut BytesMut) -> Result<Option<Frame>, Failure> {
    let mut length = 0;
    for (place, byte) in read.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            let header = place + 2;
            if length > INCOMING_PACKET_BYTES {
                return Err(Failure::Malformed(format!("a packet of {length} bytes")));
            }
            let complete = read.len() >= header + length;
            return Ok(complete.then(|| Frame { header, bytes: read.split_to(header + length) }));
        }
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

/// The next packet after CONNACK.
pub(super) fn next_packet(read: &mut BytesMut) -> Result<Option<Incoming>, Failure> {
    let Some(frame) = next_frame(read)? else { return Ok(None) };
    let kind = match frame.kind() {
        4 => AckKind::Puback,
        5 => AckKind::Pubrec,
        7 => AckKind::Pubcomp,
        14 => return Ok(Some(Incoming::Disconnect(reason(frame.body())))),
        3 | 9 | 11 | 13 => return frame.decoded().map(|_| Some(Incoming::Other)),
        other => return Err(Failure::Malformed(format!("packet type {other}, which no broker sends here"))),
    };
    match *frame.body() {
        [high, low, ref rest @ ..] => {
            let id = u16::from_be_bytes([high, low]);
            Ok(Some(Incoming::Ack(Ack { kind, id, reason: reason(rest) })))
        }
        _ => Err(Failure::Malformed("an acknowledgement without a packet id".to_owned())),
    }
}

/// The broker's answer to CONNECT.
pub(super) fn next_connack(read: &mut BytesMut) -> Result<Option<Limits>, Failure> {
    // At once: what looks like the start of another packet may never be complete.
    if read.first().is_some_and(|byte| !matches!(byte >> 4, 2 | 14)) {
        return Err(Failure::Malformed("something else than CONNACK after CONNECT".to_owned()));
    }
    let Some(frame) = next_frame(read)? else { return Ok(None) };
    match (frame.kind(), frame.body()) {
        // MQTT 3.1.1's CONNACK has two bytes, 5's has three or more. 3.1.1, section 3.2.2.3.
        (2, [_, 1]) => return Err(Failure::Version),
        (2, [_, 4 | 5]) => return Err(Failure::Login(Reason { code: super::reason::BAD_LOGIN, text: None })),
        (2, [_, code]) => return Err(Failure::Malformed(format!("CONNACK of MQTT 3.1.1 with return code {code}"))),
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

fn limits(said: Option<&ConnAckProperties>) -> Limits {
    Limits {
        receive_maximum: said.and_then(|said| said.receive_max).unwrap_or(u16::MAX).max(1),
        packet_bytes: said.and_then(|said| said.max_packet_size),
        maximum_qos: said.and_then(|said| said.max_qos).unwrap_or(2),
        retain: said.and_then(|said| said.retain_available) != Some(0),
        keep_alive_s: said.and_then(|said| said.server_keep_alive),
    }
}

/// What follows the packet id: nothing, a code, or a code and properties.
fn reason(bytes: &[u8]) -> Reason {
    let code = bytes.first().copied().unwrap_or(0);
    Reason { code, text: bytes.get(1..).and_then(reason_text) }
}

/// The reason string among the properties. MQTT 5.0, section 2.2.2. Only for people, so that nothing depends on it.
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
    text.chars().filter(|char| !char.is_control()).take(REASON_TEXT_CHARS).collect()
}

/// CONNECT: a clean start, nothing kept afterwards (the core is the only one that tries again), and `offline` as the
/// last will.
pub(super) fn connect(client_id: &str, login: Option<(&str, &str)>, keep_alive_s: u16) -> Packet {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(0);
    properties.receive_maximum = Some(RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(INCOMING_PACKET_BYTES as u32);
    let connect = Connect {
        keep_alive: keep_alive_s,
        client_id: client_id.to_owned(),
        clean_start: true,
        properties: Some(properties),
    };
    // QoS 0: a higher one could be more than the broker takes, and then it would not let us in.
    let will = LastWill::new(STATUS_TOPIC, "offline", QoS::AtMostOnce, true, None);
    Packet::Connect(connect, Some(will), login.map(|(user, password)| Login::new(user, password)))
}

/// QoS 0: it needs neither a packet id nor credit, and what follows it on the connection comes after it.
pub(super) fn status(text: &'static str, retain: bool) -> Packet {
    let mut publish = Publish::new(STATUS_TOPIC, QoS::AtMostOnce, Bytes::from_static(text.as_bytes()), None);
    publish.retain = retain;
    Packet::Publish(publish)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Incoming>, Failure> {
        next_packet(&mut BytesMut::from(bytes))
    }

    fn read_connack(bytes: &[u8]) -> Result<Option<Limits>, Failure> {
        next_connack(&mut BytesMut::from(bytes))
    }

    #[test]
    fn acknowledgements_are_read_in_each_of_their_forms() {
        let ack = |kind, code, text: Option<&str>| {
            Incoming::Ack(Ack { kind, id: 0x0102, reason: Reason { code, text: text.map(str::to_owned) } })
        };
        for (bytes, expected) in [
            (&[0x40, 2, 1, 2][..], ack(AckKind::Puback, 0, None)),
            (&[0x50, 3, 1, 2, 0x10], ack(AckKind::Pubrec, 0x10, None)),
            (&[0x70, 4, 1, 2, 0x92, 0], ack(AckKind::Pubcomp, 0x92, None)),
            (&[0x40, 9, 1, 2, 0x87, 5, 0x1F, 0, 2, b'n', b'o'], ack(AckKind::Puback, 0x87, Some("no"))),
            (
                &[0x40, 16, 1, 2, 0x87, 12, 0x26, 0, 1, b'a', 0, 1, b'b', 0x1F, 0, 2, b'n', b'o'],
                ack(AckKind::Puback, 0x87, Some("no")),
            ),
            (&[0x40, 6, 1, 2, 0x87, 5, 0x1F, 0], ack(AckKind::Puback, 0x87, None)),
        ] {
            assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_disconnect_is_read_in_each_of_its_forms() {
        for (bytes, code) in [(&[0xE0, 0][..], 0), (&[0xE0, 1, 0x8B], 0x8B), (&[0xE0, 2, 0x8E, 0], 0x8E)] {
            let expected = Incoming::Disconnect(Reason { code, text: None });
            assert_eq!(read(bytes).expect("readable"), Some(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn half_a_packet_is_waited_for() {
        let whole = [0x40, 4, 1, 2, 0x87, 0];
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]).expect("not wrong yet"), None, "{length}");
        }
    }

    #[test]
    fn what_no_broker_may_send_is_malformed() {
        for bytes in [
            &[0x00, 0x00][..],
            &[0x40, 0x00],
            &[0x40, 0x01, 0x01],
            &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
            &[0x30, 0x03, 0x00, 0x09, b'a'],
            &[0x10, 0x02, 0x00, 0x00],
            &[0x20, 0x03, 0x00, 0x00, 0x00],
        ] {
            assert!(matches!(read(bytes), Err(Failure::Malformed(_))), "{bytes:02x?}");
        }
    }

    #[test]
    fn connack_says_what_the_broker_takes() {
        let plain = read_connack(&[0x20, 3, 0, 0, 0]).expect("readable").expect("complete");
        let expected =
            Limits { receive_maximum: u16::MAX, packet_bytes: None, maximum_qos: 2, retain: true, keep_alive_s: None };
        assert_eq!(plain, expected);
        let said = [0x20, 18, 0, 0, 15, 0x21, 0, 10, 0x24, 1, 0x25, 0, 0x27, 0, 0, 4, 0, 0x13, 0, 9];
        let expected = Limits {
            receive_maximum: 10,
            packet_bytes: Some(1024),
            maximum_qos: 1,
            retain: false,
            keep_alive_s: Some(9),
        };
        assert_eq!(read_connack(&said).expect("readable"), Some(expected));
    }

    #[test]
    fn connack_says_why_not() {
        assert!(matches!(read_connack(&[0x20, 2, 0, 1]), Err(Failure::Version)));
        assert!(matches!(read_connack(&[0x20, 3, 0, 0x84, 0]), Err(Failure::Version)));
        assert!(matches!(read_connack(&[0x20, 2, 0, 5]), Err(Failure::Login(_))));
        assert!(matches!(read_connack(&[0x20, 3, 0, 0x87, 0]), Err(Failure::Login(_))));
        assert!(matches!(read_connack(&[0x20, 3, 0, 0x89, 0]), Err(Failure::Refused(_))));
        assert!(matches!(read_connack(&[0x20, 3, 0, 0xEE, 0]), Err(Failure::Refused(_))));
        assert!(matches!(read_connack(&[0x40, 2, 0, 1]), Err(Failure::Malformed(_))));
        assert!(matches!(read_connack(b"HTTP/1.1"), Err(Failure::Malformed(_))));
    }
}
