//! A step of a body.

use std::sync::Arc;

use crate::{
    model::{Confirm, Message, MessageProperties, Qos, Step},
    packing::{Code as _, Reader, Writer, text},
    topic::Topic,
};

/// Bits of the byte that describes a message; the lowest two are its QoS.
mod how {
    pub(super) const QOS: u8 = 3;
    pub(super) const RETAIN: u8 = 4;
    pub(super) const PROPERTIES: u8 = 8;
    pub(super) const ONCE: u8 = 16;
    pub(super) const CONFIRM: u8 = 32;
}

/// Writes a step, which [`StepRef::read`] reads.
pub(super) fn write(step: &Step, to: &mut Writer) {
    let Message { topic, payload, qos, retain, properties } = &step.message;
    to.number(step.after_ms);
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let with = bit(properties.is_some(), how::PROPERTIES) | bit(step.confirm.is_some(), how::CONFIRM);
    to.0.push(*qos as u8 | bit(*retain, how::RETAIN) | bit(step.once, how::ONCE) | with);
    topic.write(to);
    payload.write(to);
    properties.iter().for_each(|properties| to.block(&**properties));
    step.confirm.iter().for_each(|confirm| to.block(&**confirm));
}

/// A step, borrowed from a [`Body`](super::Body).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRef<'a> {
    /// Milliseconds after the run's start.
    pub after_ms: u32,
    /// UTF-8, which is not checked unless the topic is read.
    topic: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The quality of service.
    pub qos: Qos,
    /// Whether the broker retains it for later subscribers.
    pub retain: bool,
    /// Whether it is sent at most once.
    pub once: bool,
    /// Encoded.
    properties: Option<Reader<'a>>,
    /// Encoded.
    confirm: Option<Reader<'a>>,
}

impl<'a> StepRef<'a> {
    pub(super) fn read(from: &mut Reader<'a>) -> Self {
        let after_ms = from.number();
        let bits = from.byte();
        Self {
            after_ms,
            qos: Qos::from_number(bits & how::QOS).expect("a body holds a QoS"),
            retain: bits & how::RETAIN != 0,
            topic: from.bytes(),
            payload: from.bytes(),
            once: bits & how::ONCE != 0,
            properties: (bits & how::PROPERTIES != 0).then(|| Reader(from.bytes())),
            confirm: (bits & how::CONFIRM != 0).then(|| Reader(from.bytes())),
        }
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &'a str {
        text(self.topic)
    }

    /// Returns the MQTT 5 properties, if there are any.
    #[must_use]
    pub fn properties(&self) -> Option<MessageProperties> {
        self.properties.map(Reader::value)
    }

    /// Returns the confirmation that it needs, if any.
    #[must_use]
    pub fn confirm(&self) -> Option<Confirm> {
        self.confirm.map(Reader::value)
    }

    /// Returns an owned copy.
    #[must_use]
    pub fn to_step(&self) -> Step {
        let message = Message {
            topic: Topic::unchecked(self.topic()),
            payload: self.payload.into(),
            qos: self.qos,
            retain: self.retain,
            properties: self.properties().map(Arc::new),
        };
        let confirm = self.confirm().map(Arc::new);
        Step { after_ms: self.after_ms, message, once: self.once, confirm }
    }
}
