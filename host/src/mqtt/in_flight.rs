//! The packet ids in use on one connection, and the attempt or subscription that each stands for.

use std::{collections::HashMap, sync::Arc};

use roost_scheduler::{
    event::{AttemptId, WatchId},
    model::Qos,
    names::RunId,
};

use super::{
    reason::{NO_MATCHING_SUBSCRIBERS, Reason},
    wire::{Ack, AckKind, Version},
};

/// Packets that the broker has not answered yet. An entry is removed with its answer, so that nothing is answered
/// twice.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    waiting: HashMap<u16, Waiting>,
    /// The number of entries in `waiting` that are attempts.
    attempts: usize,
    last_id: u16,
    /// Whether PUBACK may answer a message at QoS 2: some brokers that speak 3.1.1 lower such messages to QoS 1, and
    /// have no other way to indicate that.
    lowers_qos: bool,
    /// The number of calls of [`InFlight::tick`].
    age: u32,
}

#[derive(Debug)]
struct Waiting {
    what: Awaited,
    /// The acknowledgement that is expected next.
    next: AckKind,
    /// The age at which it was sent or last answered.
    since: u32,
    /// Whether the broker has reported that no client has subscribed to the message's topic.
    no_subscriber: bool,
}

#[derive(Clone, Debug)]
enum Awaited {
    Attempt(AttemptId, RunId),
    Subscription(WatchId),
    /// The end of the subscription to a topic.
    Unsubscription(Arc<str>),
}

/// Whether the broker has reported that no client has subscribed to a message's topic.
pub(super) type NoSubscriber = bool;

/// What an acknowledgement means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The broker has accepted the message.
    Done(AttemptId, NoSubscriber),
    /// The broker has refused the message, with its reason.
    Refused(AttemptId, RunId, String),
    /// The broker has granted the subscription.
    Granted(WatchId),
    /// The broker has refused the subscription.
    NotGranted(WatchId, Reason),
    /// The broker has ended the subscription to the topic.
    Unsubscribed(Arc<str>),
    /// PUBREL must be sent with this packet id.
    Release(u16),
    /// The packet id is not in use.
    Unknown,
    /// The packet id is in use, but another kind of acknowledgement is expected.
    OutOfOrder,
}

impl InFlight {
    pub(super) fn new(version: Version) -> Self {
        Self { lowers_qos: version == Version::Three, ..Self::default() }
    }

    /// The number of attempts under way.
    pub(super) const fn attempts(&self) -> usize {
        self.attempts
    }

    /// The number of subscriptions and unsubscriptions under way.
    pub(super) fn subscriptions(&self) -> usize {
        self.waiting.len() - self.attempts
    }

    /// Assigns a packet id to an attempt. Returns `None` at QoS 0, which is never acknowledged.
    pub(super) fn admit(&mut self, attempt: AttemptId, run: &RunId, qos: Qos) -> Option<u16> {
        let next = match qos {
            Qos::AtMostOnce => return None,
            Qos::AtLeastOnce => AckKind::Puback,
            Qos::ExactlyOnce => AckKind::Pubrec,
        };
        self.attempts += 1;
        Some(self.insert(Awaited::Attempt(attempt, run.clone()), next))
    }

    /// Assigns a packet id to a subscription.
    pub(super) fn subscribe(&mut self, watch: WatchId) -> u16 {
        self.insert(Awaited::Subscription(watch), AckKind::Suback)
    }

    /// Assigns a packet id to an unsubscription.
    pub(super) fn unsubscribe(&mut self, topic: Arc<str>) -> u16 {
        self.insert(Awaited::Unsubscription(topic), AckKind::Unsuback)
    }

    fn insert(&mut self, what: Awaited, next: AckKind) -> u16 {
        // Terminates: the link has far fewer packets under way than there are ids.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last_id) {
                break;
            }
        }
        self.waiting.insert(self.last_id, Waiting { what, next, since: self.age, no_subscriber: false });
        self.last_id
    }

    /// Returns what an acknowledgement means, and releases its packet id if it is the last one. MQTT 5.0, section 4.3.
    pub(super) fn answer(&mut self, ack: &Ack) -> Answer {
        let Some(waiting) = self.waiting.get_mut(&ack.id) else { return Answer::Unknown };
        let is_lowered = self.lowers_qos && (waiting.next, ack.kind) == (AckKind::Pubrec, AckKind::Puback);
        if waiting.next != ack.kind && !is_lowered {
            return Answer::OutOfOrder;
        }
        waiting.no_subscriber |= ack.reason.code == NO_MATCHING_SUBSCRIBERS;
        let no_subscriber = waiting.no_subscriber;
        let is_refusal = ack.reason.is_refusal();
        if ack.kind == AckKind::Pubrec && !is_refusal {
            waiting.next = AckKind::Pubcomp;
            waiting.since = self.age;
            return Answer::Release(ack.id);
        }
        let what = waiting.what.clone();
        self.waiting.remove(&ack.id);
        match what {
            Awaited::Attempt(attempt, run) => {
                self.attempts -= 1;
                if is_refusal {
                    Answer::Refused(attempt, run, ack.reason.to_string())
                } else {
                    Answer::Done(attempt, no_subscriber)
                }
            }
            Awaited::Subscription(watch) if is_refusal => Answer::NotGranted(watch, ack.reason.clone()),
            Awaited::Subscription(watch) => Answer::Granted(watch),
            Awaited::Unsubscription(topic) => Answer::Unsubscribed(topic),
        }
    }

    /// Advances the age by one tick. Returns the age of the oldest entry in ticks.
    pub(super) fn tick(&mut self) -> u32 {
        self.age = self.age.wrapping_add(1);
        self.waiting.values().map(|waiting| self.age.wrapping_sub(waiting.since)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::{reason::Reason, tests::attempt};

    fn run() -> RunId {
        attempt(1, 1, "coop/door", b"open", Qos::AtLeastOnce).run
    }

    fn ack(kind: AckKind, id: u16, code: u8) -> Ack {
        Ack { kind, id, reason: Reason { code, text: None } }
    }

    #[test]
    fn an_attempt_is_answered_once() {
        let mut in_flight = InFlight::default();
        assert_eq!(in_flight.admit(6, &run(), Qos::AtMostOnce), None);
        assert_eq!(in_flight.admit(7, &run(), Qos::AtLeastOnce), Some(1));
        assert_eq!(in_flight.answer(&ack(AckKind::Puback, 1, 0x10)), Answer::Done(7, true));
        assert_eq!(in_flight.answer(&ack(AckKind::Puback, 1, 0)), Answer::Unknown);
        assert_eq!(in_flight.attempts(), 0);
    }

    #[test]
    fn exactly_once_takes_both_acknowledgements_in_order() {
        let mut in_flight = InFlight::default();
        in_flight.admit(7, &run(), Qos::ExactlyOnce);
        assert_eq!(in_flight.answer(&ack(AckKind::Pubcomp, 1, 0)), Answer::OutOfOrder);
        assert_eq!(in_flight.answer(&ack(AckKind::Pubrec, 1, 0)), Answer::Release(1));
        assert_eq!(in_flight.attempts(), 1, "its credit is released by PUBCOMP");
        assert_eq!(in_flight.answer(&ack(AckKind::Pubcomp, 1, 0)), Answer::Done(7, false));
        in_flight.admit(8, &run(), Qos::ExactlyOnce);
        assert_eq!(in_flight.answer(&ack(AckKind::Pubrec, 2, 0x10)), Answer::Release(2));
        assert_eq!(in_flight.answer(&ack(AckKind::Pubcomp, 2, 0)), Answer::Done(8, true), "PUBREC reports it");
    }

    #[test]
    fn a_refusal_ends_the_attempt_with_its_reason() {
        let mut in_flight = InFlight::default();
        in_flight.admit(7, &run(), Qos::ExactlyOnce);
        let answer = in_flight.answer(&ack(AckKind::Pubrec, 1, 0x87));
        assert!(matches!(&answer, Answer::Refused(7, _, reason) if reason.contains("not authorized")), "{answer:?}");
        assert_eq!(in_flight.attempts(), 0);
    }

    #[test]
    fn packet_ids_wrap_around_and_skip_those_in_use() {
        let mut in_flight = InFlight { last_id: u16::MAX - 1, ..InFlight::default() };
        assert_eq!(in_flight.admit(1, &run(), Qos::AtLeastOnce), Some(u16::MAX));
        assert_eq!(in_flight.admit(2, &run(), Qos::AtLeastOnce), Some(1));
        in_flight.last_id = u16::MAX - 1;
        assert_eq!(in_flight.admit(3, &run(), Qos::AtLeastOnce), Some(2));
    }

    #[test]
    fn subscriptions_share_the_packet_ids() {
        let mut in_flight = InFlight::default();
        let ids = [in_flight.subscribe(7), in_flight.unsubscribe("a".into()), in_flight.subscribe(8)];
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(in_flight.admit(9, &run(), Qos::AtLeastOnce), Some(4));
        assert_eq!((in_flight.attempts(), in_flight.subscriptions()), (1, 3));
        in_flight.last_id = u16::MAX;
        assert_eq!(in_flight.subscribe(10), 5, "an unsubscription keeps its id, too");
        assert_eq!(in_flight.answer(&ack(AckKind::Puback, 1, 0)), Answer::OutOfOrder);
        assert_eq!(in_flight.answer(&ack(AckKind::Suback, 4, 0)), Answer::OutOfOrder);
        assert_eq!(in_flight.answer(&ack(AckKind::Suback, 1, 1)), Answer::Granted(7));
        assert_eq!(in_flight.answer(&ack(AckKind::Unsuback, 2, 0x11)), Answer::Unsubscribed("a".into()));
        assert!(matches!(in_flight.answer(&ack(AckKind::Suback, 3, 0x87)), Answer::NotGranted(8, _)));
        assert_eq!(in_flight.answer(&ack(AckKind::Suback, 3, 0x87)), Answer::Unknown);
        assert_eq!((in_flight.attempts(), in_flight.subscriptions()), (1, 1));
        for age in 1..=3 {
            assert_eq!(in_flight.tick(), age, "packets without an answer age");
        }
    }

    #[test]
    fn a_tick_returns_the_age_of_the_oldest_entry() {
        let mut in_flight = InFlight::default();
        assert_eq!(in_flight.tick(), 0);
        in_flight.admit(1, &run(), Qos::AtLeastOnce);
        assert_eq!(in_flight.tick(), 1);
        in_flight.admit(2, &run(), Qos::AtLeastOnce);
        assert_eq!(in_flight.tick(), 2);
        in_flight.answer(&ack(AckKind::Puback, 1, 0));
        assert_eq!(in_flight.tick(), 2);
    }
}
