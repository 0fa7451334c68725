//! The supported versions of MQTT. The rest of the link uses the packets of MQTT 5; they are converted for 3.1.1,
//! without the features that 3.1.1 lacks.

use std::fmt;

use bytes::BytesMut;
use rumqttc::{
    mqttbytes::{QoS as QoS3, v4},
    v5::mqttbytes::{QoS, v5::Packet},
};

use super::{Ack, AckKind, Arrived, Frame, Limits};
use crate::mqtt::{
    failure::Failure,
    reason::{BAD_CLIENT_ID, BAD_LOGIN, NOT_AUTHORIZED, Reason, UNAVAILABLE},
};

/// The version of MQTT on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mqtt) enum Version {
    /// 3.1.1: without run ids, expiry, and reasons of refusals.
    Three,
    #[default]
    Five,
}

impl Version {
    pub(in crate::mqtt) const fn as_str(self) -> &'static str {
        match self {
            Self::Three => "3.1.1",
            Self::Five => "5",
        }
    }

    /// Encodes a packet.
    pub(in crate::mqtt) fn write(self, packet: &Packet, bytes: &mut BytesMut) -> Result<(), String> {
        let written = match self {
            Self::Five => packet.write(bytes, None).map_err(|error| error.to_string()),
            Self::Three => {
                let packet = in_3_1_1(packet)?;
                packet.write(bytes, usize::MAX).map_err(|error| error.to_string())
            }
        };
        written.map(drop)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MQTT {}", self.as_str())
    }
}

const fn qos(qos: QoS) -> QoS3 {
    match qos {
        QoS::AtMostOnce => QoS3::AtMostOnce,
        QoS::AtLeastOnce => QoS3::AtLeastOnce,
        QoS::ExactlyOnce => QoS3::ExactlyOnce,
    }
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())
}

/// Converts a packet of MQTT 5. Properties are dropped, or replaced by the corresponding fields of 3.1.1.
fn in_3_1_1(packet: &Packet) -> Result<v4::Packet, String> {
    Ok(match packet {
        Packet::Connect(connect, will, login) => {
            let last_will = will
                .as_ref()
                .map(|will| {
                    Ok::<_, String>(v4::LastWill::new(
                        text(&will.topic)?,
                        &will.message[..],
                        qos(will.qos),
                        will.retain,
                    ))
                })
                .transpose()?;
            v4::Packet::Connect(v4::Connect {
                protocol: rumqttc::mqttbytes::Protocol::V4,
                keep_alive: connect.keep_alive,
                client_id: connect.client_id.clone(),
                clean_session: connect.clean_start,
                last_will,
                login: login.as_ref().map(|login| v4::Login::new(&login.username, &login.password)),
            })
        }
        Packet::Publish(publish) => v4::Packet::Publish(v4::Publish {
            dup: publish.dup,
            qos: qos(publish.qos),
            retain: publish.retain,
            topic: text(&publish.topic)?,
            pkid: publish.pkid,
            payload: publish.payload.clone(),
        }),
        Packet::PubAck(ack) => v4::Packet::PubAck(v4::PubAck::new(ack.pkid)),
        Packet::PubRel(release) => v4::Packet::PubRel(v4::PubRel::new(release.pkid)),
        Packet::Subscribe(subscribe) => {
            let filters = subscribe.filters.iter();
            let filters =
                filters.map(|filter| v4::SubscribeFilter::new(filter.path.clone(), qos(filter.qos))).collect();
            v4::Packet::Subscribe(v4::Subscribe { pkid: subscribe.pkid, filters })
        }
        Packet::Unsubscribe(unsubscribe) => {
            v4::Packet::Unsubscribe(v4::Unsubscribe { pkid: unsubscribe.pkid, topics: unsubscribe.filters.clone() })
        }
        Packet::PingReq(_) => v4::Packet::PingReq,
        Packet::Disconnect(_) => v4::Packet::Disconnect,
        other => return Err(format!("the link does not send {other:?}")),
    })
}

/// Decodes PUBLISH. MQTT 3.1.1, section 3.3.
pub(super) fn arrived(mut frame: Frame) -> Result<Arrived, Failure> {
    let malformed = |what: &str| Failure::Malformed(format!("a message {what}"));
    let publish = match v4::Packet::read(&mut frame.bytes, usize::MAX) {
        Ok(v4::Packet::Publish(publish)) => publish,
        Ok(other) => return Err(Failure::Malformed(format!("{other:?} instead of PUBLISH"))),
        Err(error) => return Err(Failure::Malformed(format!("packet type 3, {error}"))),
    };
    let id = match publish.qos {
        QoS3::AtMostOnce => None,
        QoS3::AtLeastOnce => Some(publish.pkid),
        QoS3::ExactlyOnce => return Err(malformed("at QoS 2 for a subscription at QoS 1")),
    };
    if publish.topic.is_empty() {
        return Err(malformed("without a topic"));
    }
    let (topic, payload, retained) = (publish.topic, publish.payload, publish.retain);
    Ok(Arrived { topic, payload, id, retained, expires: false, is_own: false })
}

/// Decodes SUBACK: the packet id and one return code, because each SUBSCRIBE has one topic. MQTT 3.1.1, section 3.9.
pub(super) fn granted(body: &[u8]) -> Result<Ack, Failure> {
    match *body {
        [high, low, code @ (0..=2 | 0x80)] => {
            let id = u16::from_be_bytes([high, low]);
            Ok(Ack { kind: AckKind::Suback, id, reason: Reason { code, text: None } })
        }
        _ => Err(Failure::Malformed("a SUBACK without exactly one return code".to_owned())),
    }
}

/// Decodes CONNACK. MQTT 3.1.1, section 3.2.
pub(super) fn connack(body: &[u8]) -> Result<Limits, Failure> {
    let refused = |code| Err(Failure::refused(Reason { code, text: None }));
    match *body {
        [_, 0] => Ok(Limits {
            version: Version::Three,
            receive_maximum: u16::MAX,
            packet_bytes: None,
            maximum_qos: 2,
            retain: true,
            keep_alive_s: None,
        }),
        [_, 1] => Err(Failure::Version),
        [_, 2] => refused(BAD_CLIENT_ID),
        [_, 3] => refused(UNAVAILABLE),
        [_, 4] => refused(BAD_LOGIN),
        [_, 5] => refused(NOT_AUTHORIZED),
        _ => Err(Failure::Malformed("an invalid CONNACK".to_owned())),
    }
}
