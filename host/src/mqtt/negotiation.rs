//! Chooses the connect options for a broker: the version of MQTT, and the last will.

use tokio::time::Instant;

use super::{
    failure::{CONNECT, Failure},
    limits,
    reason::{NOT_AUTHORIZED, RETAIN_NOT_SUPPORTED},
    wire::Version,
};

/// The options of a CONNECT packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectOptions {
    pub(super) version: Version,
    pub(super) will: Will,
}

/// Whether and how the broker publishes `offline` if the connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Will {
    Retained,
    /// For clients that are subscribed at that moment: the broker keeps no retained messages.
    Live,
    LeftOut,
}

/// What is known about one broker.
#[derive(Debug, Default)]
pub(super) struct BrokerProfile {
    /// Until then, connections use 3.1.1 without trying 5.
    three_until: Option<Instant>,
    /// Consecutive CONNECTs without an answer: the broker closed the connection, or sent nothing.
    unanswered: u32,
    /// Whether the last will was left out once since the last accepted connection, in case the broker denies its topic.
    has_left_out_will: bool,
}

impl BrokerProfile {
    /// Returns the options for the first try.
    pub(super) fn first(&self, now: Instant) -> ConnectOptions {
        let is_three = self.three_until.is_some_and(|until| now < until);
        ConnectOptions { version: if is_three { Version::Three } else { Version::Five }, will: Will::Retained }
    }

    /// Returns the options to try at once after others were refused, if any.
    pub(super) fn other(&mut self, refused: ConnectOptions, failure: &Failure) -> Option<ConnectOptions> {
        if refused.version == Version::Five {
            let is_of_version = match failure {
                Failure::Version | Failure::Malformed(_) => true,
                // The broker may be starting, or have too many clients. If it happens again, the broker does not
                // understand this CONNECT: amqtt, for example, waits for more bytes.
                Failure::ClosedAtOnce | Failure::NoAnswer { what: CONNECT, .. } => {
                    self.unanswered = self.unanswered.saturating_add(1);
                    self.three_until.is_some() || self.unanswered >= limits::UNANSWERED_CONNECTS
                }
                _ => false,
            };
            if is_of_version {
                return Some(ConnectOptions { version: Version::Three, ..refused });
            }
        }
        match failure {
            Failure::Refused(reason) if reason.code == RETAIN_NOT_SUPPORTED && refused.will == Will::Retained => {
                Some(ConnectOptions { will: Will::Live, ..refused })
            }
            // Only once: some brokers lock out clients that reconnect repeatedly.
            Failure::Login(reason)
                if reason.code == NOT_AUTHORIZED && refused.will != Will::LeftOut && !self.has_left_out_will =>
            {
                self.has_left_out_will = true;
                Some(ConnectOptions { will: Will::LeftOut, ..refused })
            }
            _ => None,
        }
    }

    /// Records an accepted connection. Returns whether it is the first to show that the broker does not speak 5.
    pub(super) fn succeeded(&mut self, options: ConnectOptions, now: Instant) -> bool {
        (self.unanswered, self.has_left_out_will) = (0, false);
        match options.version {
            Version::Five => {
                self.three_until = None;
                false
            }
            Version::Three => {
                let is_downgrade = self.three_until.is_none();
                if self.three_until.is_none_or(|until| until <= now) {
                    self.three_until = Some(now + limits::TRY_5_AGAIN);
                }
                is_downgrade
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::reason::Reason;

    const FIVE: ConnectOptions = ConnectOptions { version: Version::Five, will: Will::Retained };
    const THREE: ConnectOptions = ConnectOptions { version: Version::Three, will: Will::Retained };

    fn login(code: u8) -> Failure {
        Failure::Login(Reason { code, text: None })
    }

    #[test]
    fn a_broker_that_refuses_5_gets_3_1_1_for_a_while() {
        let (now, mut profile) = (Instant::now(), BrokerProfile::default());
        assert_eq!(profile.first(now), FIVE);
        assert_eq!(profile.other(FIVE, &Failure::Version), Some(THREE));
        assert_eq!(profile.other(THREE, &Failure::Version), None, "it speaks neither");
        assert!(profile.succeeded(THREE, now), "the first connection in 3.1.1");
        assert_eq!(profile.first(now), THREE);
        assert!(!profile.succeeded(THREE, now));
        let later = now + limits::TRY_5_AGAIN;
        assert_eq!(profile.first(later), FIVE);
        assert!(!profile.succeeded(THREE, later), "it was reported an hour ago");
        assert_eq!(profile.first(later), THREE);
        assert!(!profile.succeeded(FIVE, later));
        assert_eq!(profile.first(now), FIVE);
    }

    #[test]
    fn a_broker_that_closes_once_may_just_be_busy() {
        let mut profile = BrokerProfile::default();
        assert_eq!(profile.other(FIVE, &Failure::ClosedAtOnce), None);
        assert_eq!(profile.other(FIVE, &Failure::ClosedAtOnce), Some(THREE));
        profile.succeeded(FIVE, Instant::now());
        let silent = |what| Failure::NoAnswer { what, within: std::time::Duration::from_secs(5) };
        assert_eq!(profile.other(FIVE, &silent(CONNECT)), None);
        assert_eq!(profile.other(FIVE, &silent("the TLS handshake")), None);
        assert_eq!(profile.other(FIVE, &silent(CONNECT)), Some(THREE));
        profile.succeeded(THREE, Instant::now());
        assert_eq!(profile.other(FIVE, &silent(CONNECT)), Some(THREE), "the broker used 3.1.1 before");
    }

    #[test]
    fn a_last_will_is_left_out_once() {
        let mut profile = BrokerProfile::default();
        assert_eq!(profile.other(FIVE, &login(0x86)), None, "the will does not matter for a wrong password");
        let without = ConnectOptions { will: Will::LeftOut, ..FIVE };
        assert_eq!(profile.other(FIVE, &login(NOT_AUTHORIZED)), Some(without));
        assert_eq!(profile.other(without, &login(NOT_AUTHORIZED)), None);
        assert_eq!(profile.other(FIVE, &login(NOT_AUTHORIZED)), None, "only once");
        profile.succeeded(without, Instant::now());
        assert_eq!(profile.other(FIVE, &login(NOT_AUTHORIZED)), Some(without));
    }

    #[test]
    fn a_broker_without_retained_messages_gets_a_last_will_that_is_not_retained() {
        let mut profile = BrokerProfile::default();
        let refused = || Failure::refused(Reason { code: RETAIN_NOT_SUPPORTED, text: None });
        let live = ConnectOptions { will: Will::Live, ..FIVE };
        assert_eq!(profile.other(FIVE, &refused()), Some(live));
        assert_eq!(profile.other(live, &refused()), None, "it is not about the will");
        assert_eq!(profile.other(live, &login(NOT_AUTHORIZED)), Some(ConnectOptions { will: Will::LeftOut, ..FIVE }));
    }
}
