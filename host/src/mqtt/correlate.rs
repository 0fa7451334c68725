//! Which packet id stands for which attempt, on one connection.

use std::collections::HashMap;

use roost_scheduler::{event::AttemptId, model::Qos, names::RunId};

use super::wire::{Ack, AckKind};

/// The attempts that the broker has not answered yet. An attempt leaves with its answer, so none is answered twice.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: HashMap<u16, Waiting>,
    last_id: u16,
    /// Counts [`Ledger::tick`].
    age: u32,
}

#[derive(Debug)]
struct Waiting {
    attempt: AttemptId,
    run: RunId,
    next: AckKind,
    since: u32,
}

/// What an acknowledgement means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The broker has the message.
    Done(AttemptId),
    /// The broker does not want it.
    Refused(AttemptId, RunId, String),
    /// PUBREL is to be sent with this packet id.
    Release(u16),
    /// No message waits for it.
    Unknown,
    /// The message waits for another kind of acknowledgement.
    OutOfOrder,
}

impl Ledger {
    /// How many attempts wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Gives a packet id to an attempt that is about to be sent. `None` for QoS 0, which is never acknowledged.
    pub(super) fn admit(&mut self, attempt: AttemptId, run: &RunId, qos: Qos) -> Option<u16> {
        let next = match qos {
            Qos::AtMostOnce => return None,
            Qos::AtLeastOnce => AckKind::Puback,
            Qos::ExactlyOnce => AckKind::Pubrec,
        };
        // Ends: the credit is far smaller than the number of ids.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.waiting.contains_key(&self.last_id) {
                break;
            }
        }
        self.waiting.insert(self.last_id, Waiting { attempt, run: run.clone(), next, since: self.age });
        Some(self.last_id)
    }

    /// What an acknowledgement says about an attempt. MQTT 5.0, section 4.3.
    pub(super) fn answer(&mut self, ack: &Ack) -> Answer {
        let Some(waiting) = self.waiting.get_mut(&ack.id) else { return Answer::Unknown };
        if waiting.next != ack.kind {
            return Answer::OutOfOrder;
        }
        let attempt = waiting.attempt;
        if ack.reason.is_refusal() {
            let run = waiting.run.clone();
            self.waiting.remove(&ack.id);
            return Answer::Refused(attempt, run, ack.reason.to_string());
        }
        if ack.kind == AckKind::Pubrec {
            waiting.next = AckKind::Pubcomp;
            waiting.since = self.age;
            return Answer::Release(ack.id);
        }
        self.waiting.remove(&ack.id);
        Answer::Done(attempt)
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
        let mut ledger = Ledger::default();
        assert_eq!(ledger.admit(6, &run(), Qos::AtMostOnce), None);
        assert_eq!(ledger.admit(7, &run(), Qos::AtLeastOnce), Some(1));
        assert_eq!(ledger.answer(&ack(AckKind::Puback, 1, 0x10)), Answer::Done(7));
        assert_eq!(ledger.answer(&ack(AckKind::Puback, 1, 0)), Answer::Unknown);
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn exactly_once_takes_both_acknowledgements_in_order() {
        let mut ledger = Ledger::default();
        ledger.admit(7, &run(), Qos::ExactlyOnce);
        assert_eq!(ledger.answer(&ack(AckKind::Pubcomp, 1, 0)), Answer::OutOfOrder);
        assert_eq!(ledger.answer(&ack(AckKind::Pubrec, 1, 0)), Answer::Release(1));
        assert_eq!(ledger.len(), 1, "its credit is not free before PUBCOMP");
        assert_eq!(ledger.answer(&ack(AckKind::Pubcomp, 1, 0)), Answer::Done(7));
    }

    #[test]
    fn a_refusal_ends_the_attempt_with_its_reason() {
        let mut ledger = Ledger::default();
        ledger.admit(7, &run(), Qos::ExactlyOnce);
        let answer = ledger.answer(&ack(AckKind::Pubrec, 1, 0x87));
        assert!(matches!(&answer, Answer::Refused(7, _, reason) if reason.contains("may not")), "{answer:?}");
        assert_eq!(ledger.len(), 0);
    }

    #[test]
    fn packet_ids_wrap_round_those_in_use() {
        let mut ledger = Ledger { last_id: u16::MAX - 1, ..Ledger::default() };
        assert_eq!(ledger.admit(1, &run(), Qos::AtLeastOnce), Some(u16::MAX));
        assert_eq!(ledger.admit(2, &run(), Qos::AtLeastOnce), Some(1));
        ledger.last_id = u16::MAX - 1;
        assert_eq!(ledger.admit(3, &run(), Qos::AtLeastOnce), Some(2));
    }

    #[test]
    fn the_oldest_is_known() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.tick(), 0);
        ledger.admit(1, &run(), Qos::AtLeastOnce);
        assert_eq!(ledger.tick(), 1);
        ledger.admit(2, &run(), Qos::AtLeastOnce);
        assert_eq!(ledger.tick(), 2);
        ledger.answer(&ack(AckKind::Puback, 1, 0));
        assert_eq!(ledger.tick(), 2);
    }
}
