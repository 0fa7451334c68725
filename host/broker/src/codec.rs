//! The codec for MQTT 3.1.1 and 5, from the server's side: decodes clients' packets strictly, and encodes the server's.
//!
//! References in brackets are to statements of the standards, MQTT Version 3.1.1 and MQTT Version 5.0 (OASIS).

mod incoming;
mod properties;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::{
    incoming::{
        Ack, Connect, Disconnect, Frame, Packet, Publish, Subscribe, SubscribeOptions, Unsubscribe, Will, frame, packet,
    },
    write::{
        Acceptance, Delivery, ack, connack, disconnect, pingresp, publish, publish_size, refusal, suback, unsuback,
    },
};

/// The version of MQTT that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Three,
    Five,
}

/// The quality of service of a message.
#[allow(clippy::enum_variant_names, reason = "the standards call them so")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Qos {
    AtMostOnce,
    AtLeastOnce,
    ExactlyOnce,
}

impl Qos {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// The four packets that acknowledge a message, with their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AckKind {
    Puback = 0x40,
    Pubrec = 0x50,
    Pubrel = 0x62,
    Pubcomp = 0x70,
}

/// Reason codes of MQTT 5 [2.4].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    Success = 0x00,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    UnsupportedProtocolVersion = 0x84,
    ClientIdentifierNotValid = 0x85,
    ServerBusy = 0x89,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    PacketIdentifierNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    SharedSubscriptionsNotSupported = 0x9E,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) what: &'static str,
}

impl Fault {
    pub(crate) const fn malformed(what: &'static str) -> Self {
        Self { reason: Reason::MalformedPacket, what }
    }

    pub(crate) const fn protocol(what: &'static str) -> Self {
        Self { reason: Reason::ProtocolError, what }
    }

    pub(crate) const fn new(reason: Reason, what: &'static str) -> Self {
        Self { reason, what }
    }
}
