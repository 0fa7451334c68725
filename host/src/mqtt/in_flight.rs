//! Which packet id stands for what, on one connection.

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

/// What the broker has not answered yet. It leaves with its answer, so nothing is answered twice.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    waiting: HashMap<u16, Waiting>,
    /// How many of them are attempts.
    attempts: usize,
    last_id: u16,
    /// Whether PUBACK may answer to QoS 2: some brokers that speak 3.1.1 take such messages at QoS 1, and have no other way to
    /// say so.
    lowers_qos: bool,
    /// Counts [`InFlight::tick`].
    age: u32,
}

#[derive(Debug)]
struct Waiting {
    what: Awaited,
    next: AckKind,
    since: u32,
    /// Whether the broker has said that no client has subscribed to the message's topic.
    no_subscriber: bool,
}

#[derive(Clone, Debug)]
enum Awaited {
    Attempt(AttemptId, RunId),
    Subscription(WatchId),
    /// The end of the subscription to a topic.
    Unsubscription(Arc<str>),
}

/// Whether the broker has said that no client has subscribed to a message's topic.
pub(super) type NoSubscriber = bool;

/// What an acknowledgement means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The broker has the message, and perhaps no client that has subscribed to its topic.
    Done(AttemptId, NoSubscriber),
    /// The broker does not want it.
    Refused(AttemptId, RunId, String),
    /// The broker sends what comes to the topic.
    Granted(WatchId),
    /// It does not.
    NotGranted(WatchId, Reason),
    /// The broker sends nothing more that comes to the topic.
    Unsubscribed(Arc<str>),
    /// PUBREL is to be sent with this packet id.
    Release(u16),
    /// Nothing waits for it.
    Unknown,
    /// What waits for it wants another kind of acknowledgement.
    OutOfOrder,
}

impl InFlight {
    pub(super) fn new(version: Version) -> Self {
        Self { lowers_qos: version == Version::Three, ..Self::default() }
    }

    /// How many attempts wait.
    pub(super) const fn attempts(&self) -> usize {
        self.attempts
    }

    /// How many others wait.
    pub(super) fn subscriptions(&self) -> usize {
        self.waiting.len() - self.attempts
    }

    /// Gives a packet id to an attempt that is about to be sent. `None` for QoS 0, which is never acknowledged.
    pub(super) fn admit(&mut self, attempt: AttemptId, run: &RunId, qos: Qos) -> Option<u16> {
        let next = match qos {
            Qos::AtMostOnce => return None,
            Qos::AtLeastOnce => AckKind::Puback,
            Qos::ExactlyOnce => AckKind::Pubrec,
        };
        self.attempts += 1;
        Some(self.insert(Awaited::Attempt(attempt, run.clone()), next))
    }

    /// Gives a packet id to a subscription that is about to be sent.
    pub(super) fn subscribe(&mut self, watch: WatchId) -> u16 {
        self.insert(Awaited::Subscription(watch), AckKind::Suback)
    }

    /// Gives a packet id to the end of a subscription.
    pub(super) fn unsubscribe(&mut self, topic: Arc<str>) -> u16 {
        self.insert(Awaited::Unsubscription(topic), AckKind::Unsuback)
    }

    fn insert(&mut self, what: Awaited, next: AckKind) -> u16 {
        // Ends: the link has far less under way than there are ids.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last_id) {
                break;
            }
        }
        self.waiting.insert(self.last_id, Waiting { what, next, since: self.age, no_subscriber: false });
        self.last_id
    }

    /// What an acknowledgement is about. MQTT 5.0, section 4.3.
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

    /// Everything that waits is one tick older; the age of the oldest.
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
        let mut ledger = InFlight::default();
        assert_eq!(ledger.admit(6, &run(), Qos::AtMostOnce), None);
        assert_eq!(ledger.admit(7, &run(), Qos::AtLeastOnce), Some(1));
        assert_eq!(ledger.answer(&ack(AckKind::Puback, 1, 0x10)), Answer::Done(7, true));
        assert_eq!(ledger.answer(&ack(AckKind::Puback, 1, 0)), Answer::Unknown);
        assert_eq!(ledger.attempts(), 0);
    }

    #[test]
    fn exactly_once_takes_both_acknowledgements_in_order() {
        let mut ledger = InFlight::default();
        ledger.admit(7, &run(), Qos::ExactlyOnce);
        assert_eq!(ledger.answer(&ack(AckKind::Pubcomp, 1, 0)), Answer::OutOfOrder);
        assert_eq!(ledger.answer(&ack(AckKind::Pubrec, 1, 0)), Answer::Release(1));
        assert_eq!(ledger.attempts(), 1, "its credit is not free before PUBCOMP");
        assert_eq!(ledger.answer(&ack(AckKind::Pubcomp, 1, 0)), Answer::Done(7, false));
        ledger.admit(8, &run(), Qos::ExactlyOnce);
        assert_eq!(ledger.answer(&ack(AckKind::Pubrec, 2, 0x10)), Answer::Release(2));
        assert_eq!(ledger.answer(&ack(AckKind::Pubcomp, 2, 0)), Answer::Done(8, true), "the first of them says so");
    }

    #[test]
    fn a_refusal_ends_the_attempt_with_its_reason() {
        let mut ledger = InFlight::default();
        ledger.admit(7, &run(), Qos::ExactlyOnce);
        let answer = ledger.answer(&ack(AckKind::Pubrec, 1, 0x87));
        assert!(matches!(&answer, Answer::Refused(7, _, reason) if reason.contains("may not")), "{answer:?}");
        assert_eq!(ledger.attempts(), 0);
    }

    #[test]
    fn packet_ids_wrap_round_those_in_use() {
        let mut ledger = InFlight { last_id: u16::MAX - 1, ..InFlight::default() };
        assert_eq!(ledger.admit(1, &run(), Qos::AtLeastOnce), Some(u16::MAX));
        assert_eq!(ledger.admit(2, &run(), Qos::AtLeastOnce), Some(1));
        ledger.last_id = u16::MAX - 1;
        assert_eq!(ledger.admit(3, &run(), Qos::AtLeastOnce), Some(2));
    }

    #[test]
    fn subscriptions_share_the_packet_ids() {
        let mut ledger = InFlight::default();
        let ids = [ledger.subscribe(7), ledger.unsubscribe("a".into()), ledger.subscribe(8)];
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(ledger.admit(9, &run(), Qos::AtLeastOnce), Some(4));
        assert_eq!((ledger.attempts(), ledger.subscriptions()), (1, 3));
        ledger.last_id = u16::MAX;
        assert_eq!(ledger.subscribe(10), 5, "the end of a subscription keeps its id, too");
        assert_eq!(ledger.answer(&ack(AckKind::Puback, 1, 0)), Answer::OutOfOrder);
        assert_eq!(ledger.answer(&ack(AckKind::Suback, 4, 0)), Answer::OutOfOrder);
        assert_eq!(ledger.answer(&ack(AckKind::Suback, 1, 1)), Answer::Granted(7));
        assert_eq!(ledger.answer(&ack(AckKind::Unsuback, 2, 0x11)), Answer::Unsubscribed("a".into()));
        assert!(matches!(ledger.answer(&ack(AckKind::Suback, 3, 0x87)), Answer::NotGranted(8, _)));
        assert_eq!(ledger.answer(&ack(AckKind::Suback, 3, 0x87)), Answer::Unknown);
        assert_eq!((ledger.attempts(), ledger.subscriptions()), (1, 1));
        for age in 1..=3 {
            assert_eq!(ledger.tick(), age, "what was not answered counts");
        }
    }

    #[test]
    fn the_oldest_is_known() {
        let mut ledger = InFlight::default();
        assert_eq!(ledger.tick(), 0);
        ledger.admit(1, &run(), Qos::AtLeastOnce);
        assert_eq!(ledger.tick(), 1);
        ledger.admit(2, &run(), Qos::AtLeastOnce);
        assert_eq!(ledger.tick(), 2);
        ledger.answer(&ack(AckKind::Puback, 1, 0));
        assert_eq!(ledger.tick(), 2);
    }
}
