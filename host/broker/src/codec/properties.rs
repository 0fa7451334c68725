//! Decodes the properties of MQTT 5 [2.2.2]. Each packet may have certain properties, each at most once, except user
//! properties.

use std::borrow::Cow;

use super::{Fault, read::Reader};

/// The packet that properties belong to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

/// The decoded properties that the broker uses.
#[derive(Debug, Default)]
pub(super) struct Properties<'a> {
    pub(super) session_expiry_s: Option<u32>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) packet_bytes: Option<u32>,
    pub(super) topic_alias: Option<u16>,
    pub(super) message_expiry_s: Option<u32>,
    pub(super) will_delay_s: Option<u32>,
    pub(super) subscription_id: Option<u32>,
    pub(super) has_authentication: bool,
    /// The encoded properties that are passed on to receivers, in their order [MQTT-3.3.2-17, -18, -20, and others].
    pub(super) forwarded: Cow<'a, [u8]>,
}

const PAYLOAD_FORMAT: u8 = 0x01;
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const SUBSCRIPTION_ID: u8 = 0x0B;
const SESSION_EXPIRY: u8 = 0x11;
const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
const REQUEST_PROBLEM: u8 = 0x17;
const WILL_DELAY: u8 = 0x18;
const REQUEST_RESPONSE: u8 = 0x19;
const REASON_STRING: u8 = 0x1F;
const RECEIVE_MAXIMUM: u8 = 0x21;
const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
const TOPIC_ALIAS: u8 = 0x23;
const USER_PROPERTY: u8 = 0x26;
const PACKET_BYTES: u8 = 0x27;

impl Place {
    fn allows(self, id: u8) -> bool {
        match self {
            Self::Connect => matches!(
                id,
                SESSION_EXPIRY
                    | AUTHENTICATION_METHOD
                    | AUTHENTICATION_DATA
                    | REQUEST_PROBLEM
                    | REQUEST_RESPONSE
                    | RECEIVE_MAXIMUM
                    | TOPIC_ALIAS_MAXIMUM
                    | USER_PROPERTY
                    | PACKET_BYTES
            ),
            Self::Will => is_forwarded(id) || matches!(id, MESSAGE_EXPIRY | WILL_DELAY),
            Self::Publish => is_forwarded(id) || matches!(id, MESSAGE_EXPIRY | TOPIC_ALIAS),
            Self::Ack => matches!(id, REASON_STRING | USER_PROPERTY),
            Self::Subscribe => matches!(id, SUBSCRIPTION_ID | USER_PROPERTY),
            Self::Unsubscribe => id == USER_PROPERTY,
            Self::Disconnect => matches!(id, SESSION_EXPIRY | REASON_STRING | USER_PROPERTY),
        }
    }
}

fn is_forwarded(id: u8) -> bool {
    matches!(id, PAYLOAD_FORMAT | CONTENT_TYPE | RESPONSE_TOPIC | CORRELATION_DATA | USER_PROPERTY)
}

/// Decodes the length and the properties.
pub(super) fn read<'a>(reader: &mut Reader<'a>, place: Place) -> Result<Properties<'a>, Fault> {
    let length = reader.variable()? as usize;
    let whole = reader.take(length)?;
    let mut rest = Reader::new(whole);
    let (mut found, mut seen) = (Properties { forwarded: Cow::Borrowed(whole), ..Properties::default() }, 0_u64);
    while !rest.is_empty() {
        let before = rest.rest();
        let id = rest.u8()?;
        if !place.allows(id) {
            return Err(Fault::protocol("a property is not allowed in its packet"));
        }
        if id != USER_PROPERTY {
            if seen & (1 << id) != 0 {
                return Err(Fault::protocol("a property occurs twice"));
            }
            seen |= 1 << id;
        }
        found.take(id, &mut rest)?;
        let taken = before.len() - rest.rest().len();
        let start = whole.len() - before.len();
        match &mut found.forwarded {
            Cow::Owned(owned) if is_forwarded(id) => owned.extend_from_slice(&before[..taken]),
            forwarded @ Cow::Borrowed(_) if !is_forwarded(id) => *forwarded = Cow::Owned(whole[..start].to_vec()),
            _ => {}
        }
    }
    Ok(found)
}

impl Properties<'_> {
    fn take(&mut self, id: u8, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match id {
            PAYLOAD_FORMAT | REQUEST_PROBLEM | REQUEST_RESPONSE => {
                if reader.u8()? > 1 {
                    return Err(Fault::protocol("a property is neither 0 nor 1"));
                }
            }
            MESSAGE_EXPIRY => self.message_expiry_s = Some(reader.u32()?),
            CONTENT_TYPE | REASON_STRING => {
                reader.text()?;
            }
            RESPONSE_TOPIC => {
                if !crate::topic::is_name(reader.text()?) {
                    return Err(Fault::protocol("a response topic is not a topic name"));
                }
            }
            CORRELATION_DATA | AUTHENTICATION_DATA => {
                reader.binary()?;
            }
            SUBSCRIPTION_ID => match reader.variable()? {
                0 => return Err(Fault::protocol("a subscription identifier is 0")),
                id => self.subscription_id = Some(id),
            },
            SESSION_EXPIRY => self.session_expiry_s = Some(reader.u32()?),
            AUTHENTICATION_METHOD => {
                reader.text()?;
                self.has_authentication = true;
            }
            WILL_DELAY => self.will_delay_s = Some(reader.u32()?),
            RECEIVE_MAXIMUM => match reader.u16()? {
                0 => return Err(Fault::protocol("a receive maximum is 0")),
                most => self.receive_maximum = Some(most),
            },
            // Ignored: the broker sends none.
            TOPIC_ALIAS_MAXIMUM => {
                reader.u16()?;
            }
            TOPIC_ALIAS => self.topic_alias = Some(reader.u16()?),
            USER_PROPERTY => {
                reader.text()?;
                reader.text()?;
            }
            PACKET_BYTES => match reader.u32()? {
                0 => return Err(Fault::protocol("a maximum packet size is 0")),
                most => self.packet_bytes = Some(most),
            },
            _ => return Err(Fault::malformed("a property is unknown")),
        }
        Ok(())
    }
}
