//! Describes the reason codes of MQTT 5. MQTT 5.0, section 2.4.

use std::fmt;

use roost_scheduler::text::excerpt;

/// The reason that a broker gives with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// The reason code on the wire.
    pub(super) code: u8,
    /// The broker's reason string.
    pub(super) text: Option<String>,
}

/// The broker accepted the message, but no client has subscribed to its topic.
pub(super) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// The broker does not support the version of MQTT.
pub(super) const UNSUPPORTED_VERSION: u8 = 0x84;
/// The broker does not accept the client id.
pub(super) const BAD_CLIENT_ID: u8 = 0x85;
/// The user or the password is wrong.
pub(super) const BAD_LOGIN: u8 = 0x86;
/// The user is not authorized.
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
/// The broker is not available.
pub(super) const UNAVAILABLE: u8 = 0x88;
/// Another client has connected with the same client id.
pub(super) const TAKEN_OVER: u8 = 0x8E;
/// The broker keeps no retained messages.
pub(super) const RETAIN_NOT_SUPPORTED: u8 = 0x9A;
/// The packet is larger than the broker accepts.
pub(super) const TOO_LARGE: u8 = 0x95;

impl Reason {
    /// Checks whether the code is a refusal. Codes below 0x80 are kinds of success.
    pub(super) const fn is_refusal(&self) -> bool {
        self.code >= 0x80
    }

    /// Checks whether a DISCONNECT with this code may be the answer to a packet.
    pub(super) const fn is_about_a_packet(&self) -> bool {
        matches!(self.code, 0x80..=0x83 | NOT_AUTHORIZED | 0x8F | 0x90 | 0x93..=0x97 | 0x99..=0x9B)
    }
}

const fn describe(code: u8) -> &'static str {
    match code {
        0x00 => "done",
        NO_MATCHING_SUBSCRIBERS => "there are no subscribers",
        0x80 => "unspecified error",
        0x81 => "the packet is malformed",
        0x82 => "protocol error",
        0x83 => "the broker does not support the request",
        UNSUPPORTED_VERSION => "the broker does not support MQTT 5",
        BAD_CLIENT_ID => "the broker does not accept the client id",
        BAD_LOGIN => "wrong user or password",
        NOT_AUTHORIZED => "the user is not authorized",
        UNAVAILABLE => "the broker is not available",
        0x89 => "the broker is busy",
        0x8A => "this client is banned",
        0x8B => "the broker is shutting down",
        0x8C => "the broker requires another authentication method",
        0x8D => "the keep-alive timed out",
        TAKEN_OVER => "another client has connected with the same client id",
        0x8F | 0x90 => "the broker does not accept the topic",
        0x91 => "the packet id is in use",
        0x92 => "the broker does not know the packet id",
        0x93 => "the receive maximum is exceeded",
        0x94 => "the broker does not accept the topic alias",
        TOO_LARGE => "the packet is too large",
        0x96 => "the message rate is too high",
        0x97 => "a quota is used up",
        0x98 => "an administrator ended the connection",
        0x99 => "the payload does not match its format indicator",
        RETAIN_NOT_SUPPORTED => "the broker does not support retained messages",
        0x9B => "the broker does not support this QoS",
        0x9C => "use another broker for now",
        0x9D => "the broker has moved",
        0x9F => "the connection rate is too high",
        0xA0 => "the maximum connect time is exceeded",
        _ => "unknown reason code",
    }
}

impl fmt::Display for Reason {
    /// `the user is not authorized (0x87)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", describe(self.code), self.code)?;
        match &self.text {
            // The broker chooses the length of the text, and the text is stored with the run.
            Some(text) => write!(f, ": {}", excerpt(text)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_reason_string_is_shortened_to_one_line() {
        let text = "no\n2027-01-01 ERROR \u{1b}[2J".to_owned() + &"x".repeat(60_000);
        let text = Reason { code: NOT_AUTHORIZED, text: Some(text) }.to_string();
        assert!(text.starts_with("the user is not authorized (0x87): no\\n2027-01-01 ERROR \\u{1b}[2Jxxx"), "{text}");
        assert!(text.len() < 250 && text.ends_with('…'), "{}", text.len());
    }
}
