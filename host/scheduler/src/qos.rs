//! The quality of service of a message.

/// The quality of service: how a message is acknowledged, which decides when a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    /// Sent once; done when written.
    AtMostOnce = 0,
    /// Done on PUBACK.
    AtLeastOnce = 1,
    /// Done on PUBCOMP.
    ExactlyOnce = 2,
}

impl Qos {
    /// Returns the QoS for 0, 1 or 2.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}
