//! How a broker is spoken to: in which version of MQTT, and with or without a last will.

use tokio::time::Instant;

use super::{
    failure::{CONNECT, Failure},
    limits,
    reason::NOT_AUTHORIZED,
    wire::Version,
};

/// One way to say CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectOptions {
    pub(super) version: Version,
    /// Whether the broker is to say `offline` for us.
    pub(super) will: bool,
}

/// What is known of one broker.
#[derive(Debug, Default)]
pub(super) struct BrokerProfile {
    /// Until then 3.1.1 is spoken at once.
    three_until: Option<Instant>,
    /// How often in a row it did not answer: it closed the connection, or said nothing.
    unanswered: u32,
    /// Whether the last will was left out already, because it may be what the broker denies.
    will: Will,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Will {
    #[default]
    Usual,
    /// It was left out once since the broker last let us in.
    LeftOut,
}

impl BrokerProfile {
    /// How to begin.
    pub(super) fn first(&self, now: Instant) -> ConnectOptions {
        let is_three = self.three_until.is_some_and(|until| now < until);
        ConnectOptions { version: if is_three { Version::Three } else { Version::Five }, will: true }
    }

    /// What else to try at once, after one that was refused.
    pub(super) fn other(&mut self, refused: ConnectOptions, failure: &Failure) -> Option<ConnectOptions> {
        if refused.version == Version::Five {
            let is_of_version = match failure {
                Failure::Version | Failure::Malformed(_) => true,
                // It may be starting, or full: only one that does so again does not know this CONNECT. amqtt waits for more
                // of it.
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
        let may_be_the_will = matches!(failure, Failure::Login(reason) if reason.code == NOT_AUTHORIZED);
        if refused.will && may_be_the_will && self.will == Will::Usual {
            // Once: some brokers lock out clients that come again and again.
            self.will = Will::LeftOut;
            return Some(ConnectOptions { will: false, ..refused });
        }
        None
    }

    /// The broker let us in. Whether that shows for the first time that it does not speak 5.
    pub(super) fn succeeded(&mut self, manner: ConnectOptions, now: Instant) -> bool {
        (self.unanswered, self.will) = (0, Will::Usual);
        match manner.version {
            Version::Five => {
                self.three_until = None;
                false
            }
            Version::Three => {
                let is_news = self.three_until.is_none();
                if self.three_until.is_none_or(|until| until <= now) {
                    self.three_until = Some(now + limits::TRY_5_AGAIN);
                }
                is_news
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::reason::Reason;

    const FIVE: ConnectOptions = ConnectOptions { version: Version::Five, will: true };
    const THREE: ConnectOptions = ConnectOptions { version: Version::Three, will: true };

    fn login(code: u8) -> Failure {
        Failure::Login(Reason { code, text: None })
    }

    #[test]
    fn a_broker_that_refuses_5_is_spoken_to_in_3_1_1_for_a_while() {
        let (now, mut manners) = (Instant::now(), BrokerProfile::default());
        assert_eq!(manners.first(now), FIVE);
        assert_eq!(manners.other(FIVE, &Failure::Version), Some(THREE));
        assert_eq!(manners.other(THREE, &Failure::Version), None, "it speaks neither");
        assert!(manners.succeeded(THREE, now), "that is news");
        assert_eq!(manners.first(now), THREE);
        assert!(!manners.succeeded(THREE, now));
        let later = now + limits::TRY_5_AGAIN;
        assert_eq!(manners.first(later), FIVE);
        assert!(!manners.succeeded(THREE, later), "it was said an hour ago");
        assert_eq!(manners.first(later), THREE);
        assert!(!manners.succeeded(FIVE, later));
        assert_eq!(manners.first(now), FIVE);
    }

    #[test]
    fn a_broker_that_closes_once_may_just_be_busy() {
        let mut manners = BrokerProfile::default();
        assert_eq!(manners.other(FIVE, &Failure::ClosedAtOnce), None);
        assert_eq!(manners.other(FIVE, &Failure::ClosedAtOnce), Some(THREE));
        manners.succeeded(FIVE, Instant::now());
        let silent = |what| Failure::NoAnswer { what, within: std::time::Duration::from_secs(5) };
        assert_eq!(manners.other(FIVE, &silent(CONNECT)), None);
        assert_eq!(manners.other(FIVE, &silent("the TLS handshake")), None);
        assert_eq!(manners.other(FIVE, &silent(CONNECT)), Some(THREE));
        manners.succeeded(THREE, Instant::now());
        assert_eq!(manners.other(FIVE, &silent(CONNECT)), Some(THREE), "it was so before");
    }

    #[test]
    fn a_last_will_is_left_out_once() {
        let mut manners = BrokerProfile::default();
        assert_eq!(manners.other(FIVE, &login(0x86)), None, "a wrong password is wrong without it, too");
        let without = ConnectOptions { will: false, ..FIVE };
        assert_eq!(manners.other(FIVE, &login(NOT_AUTHORIZED)), Some(without));
        assert_eq!(manners.other(without, &login(NOT_AUTHORIZED)), None);
        assert_eq!(manners.other(FIVE, &login(NOT_AUTHORIZED)), None, "not again and again");
        manners.succeeded(without, Instant::now());
        assert_eq!(manners.other(FIVE, &login(NOT_AUTHORIZED)), Some(without));
    }
}
