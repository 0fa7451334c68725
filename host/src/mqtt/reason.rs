//! MQTT 5's reason codes in words. MQTT 5.0, section 2.4.

use std::fmt;

use roost_scheduler::text::excerpt;

/// Why a broker answers as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    /// As on the wire.
    pub(super) code: u8,
    /// The broker's own words.
    pub(super) text: Option<String>,
}

/// The broker has the message, and no client has subscribed to its topic.
pub(super) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
/// What was sent speaks another version of MQTT than the broker.
pub(super) const UNSUPPORTED_VERSION: u8 = 0x84;
/// The client id is not accepted.
pub(super) const BAD_CLIENT_ID: u8 = 0x85;
/// The user or the password is wrong.
pub(super) const BAD_LOGIN: u8 = 0x86;
/// The user has no right to do that.
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
/// The server is there, and does not serve.
pub(super) const UNAVAILABLE: u8 = 0x88;
/// Another client came with the same client id.
pub(super) const TAKEN_OVER: u8 = 0x8E;

impl Reason {
    /// Codes below that are kinds of success; 0x10 says that no client has subscribed.
    pub(super) const fn is_refusal(&self) -> bool {
        self.code >= 0x80
    }

    /// Whether a DISCONNECT with it may be the answer to a packet, rather than to the client or to nothing at all.
    pub(super) const fn is_about_a_packet(&self) -> bool {
        matches!(self.code, 0x80..=0x83 | NOT_AUTHORIZED | 0x8F | 0x90 | 0x93..=0x97 | 0x99..=0x9B)
    }
}

const fn words(code: u8) -> &'static str {
    match code {
        0x00 => "done",
        NO_MATCHING_SUBSCRIBERS => "there are no subscribers",
        0x80 => "it does not say why",
        0x81 => "it could not read the packet",
        0x82 => "it saw a breach of the protocol",
        0x83 => "it does not do that",
        UNSUPPORTED_VERSION => "it does not speak MQTT 5",
        BAD_CLIENT_ID => "it does not accept the client id",
        BAD_LOGIN => "wrong user or password",
        NOT_AUTHORIZED => "the user may not do that",
        UNAVAILABLE => "it is not available",
        0x89 => "it is busy",
        0x8A => "this client is banned",
        0x8B => "it is shutting down",
        0x8C => "it wants another way to log in",
        0x8D => "it heard nothing for too long",
        TAKEN_OVER => "another client has connected with the same client id",
        0x8F | 0x90 => "it does not accept the topic",
        0x91 => "the packet id is in use",
        0x92 => "it does not know the packet id",
        0x93 => "it got more messages at once than it takes",
        0x94 => "it does not accept the topic alias",
        0x95 => "the packet is too large",
        0x96 => "messages come too fast",
        0x97 => "a quota is used up",
        0x98 => "an administrator ended the connection",
        0x99 => "the payload is not what its format says",
        0x9A => "it does not keep retained messages",
        0x9B => "it does not take this QoS",
        0x9C => "another broker is to be used for now",
        0x9D => "the broker has moved",
        0x9F => "connections come too fast",
        0xA0 => "the time of the connection is over",
        _ => "it gives a reason that MQTT 5 does not know",
    }
}

impl fmt::Display for Reason {
    /// `the user may not do that (0x87)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:#04x})", words(self.code), self.code)?;
        match &self.text {
            // Its length is up to the broker, and the words are kept with the run.
            Some(text) => write!(f, ": {}", excerpt(text)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_own_words_stay_short_and_in_one_line() {
        let text = "no\n2027-01-01 ERROR \u{1b}[2J".to_owned() + &"x".repeat(60_000);
        let said = Reason { code: NOT_AUTHORIZED, text: Some(text) }.to_string();
        assert!(said.starts_with("the user may not do that (0x87): no\\n2027-01-01 ERROR \\u{1b}[2Jxxx"), "{said}");
        assert!(said.len() < 250 && said.ends_with('…'), "{}", said.len());
    }
}
