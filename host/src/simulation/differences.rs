//! The differences between two simulations.

use std::{cmp::Ordering, collections::VecDeque, iter::Peekable};

use super::SimulatedEvent;

/// The simulation that an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Old,
    New,
}

impl Side {
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Old => "- ",
            Self::New => "+ ",
        }
    }
}

/// An iterator over the events that only one of two simulations has. The order within an instant is ignored.
pub(crate) struct Differences<I: Iterator<Item = SimulatedEvent>> {
    old: Peekable<I>,
    new: Peekable<I>,
    found: VecDeque<(Side, SimulatedEvent)>,
}

impl<I: Iterator<Item = SimulatedEvent>> Differences<I> {
    pub(crate) fn new(old: I, new: I) -> Self {
        Self { old: old.peekable(), new: new.peekable(), found: VecDeque::new() }
    }

    /// Compares the events of the next instant. Returns `None` at the end of both simulations.
    fn compare(&mut self) -> Option<()> {
        let at = [self.old.peek(), self.new.peek()].into_iter().flatten().map(|next| next.at).min()?;
        let mut old: Vec<_> = std::iter::from_fn(|| self.old.next_if(|next| next.at == at)).collect();
        let mut new: Vec<_> = std::iter::from_fn(|| self.new.next_if(|next| next.at == at)).collect();
        if old != new {
            old.sort_by(order);
            new.sort_by(order);
            self.merge(old, new);
        }
        Some(())
    }

    fn merge(&mut self, old: Vec<SimulatedEvent>, new: Vec<SimulatedEvent>) {
        let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => order(old, new),
            };
            let (removed, added) = match order {
                Ordering::Less => (old.next(), None),
                Ordering::Greater => (None, new.next()),
                Ordering::Equal => match (old.next(), new.next()) {
                    (old, new) if old == new => (None, None),
                    both => both,
                },
            };
            self.found.extend(removed.map(|event| (Side::Old, event)));
            self.found.extend(added.map(|event| (Side::New, event)));
        }
    }
}

/// Orders events by what makes them unique within an instant.
fn order(one: &SimulatedEvent, other: &SimulatedEvent) -> Ordering {
    one.identity().cmp(&other.identity())
}

impl<I: Iterator<Item = SimulatedEvent>> Iterator for Differences<I> {
    type Item = (Side, SimulatedEvent);

    fn next(&mut self) -> Option<Self::Item> {
        while self.found.is_empty() {
            self.compare()?;
        }
        self.found.pop_front()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::slice;

    use roost_scheduler::{
        body::Body,
        model::{Message, Policy, Qos, Step},
        names::{DeviceName, JobId, PluginName},
        topic::Topic,
        zone::Zone,
    };

    use super::*;
    use crate::{
        simulation::{Sent, SimulatedEventKind},
        when::When,
        zones::zone,
    };

    /// Returns a message on the topic `coop/<job>`, of the device `coop/north` in London.
    pub(crate) fn message(at: &str, job: &str, payload: &[u8]) -> SimulatedEvent {
        message_with(at, job, |message| Message { payload: payload.into(), ..message })
    }

    /// Returns a message that `make` builds from an empty one.
    pub(crate) fn message_with(at: &str, job: &str, make: impl FnOnce(Message) -> Message) -> SimulatedEvent {
        let topic = Topic::parse(&format!("coop/{job}")).unwrap();
        let empty = Message { topic, payload: [].into(), qos: Qos::AtLeastOnce, retain: false, properties: None };
        let (occurrence, job) = (at.parse::<When>().unwrap().in_zone(Zone::UTC), JobId::parse(job).unwrap());
        let body = Body::new(
            &job,
            None,
            &Policy::default(),
            &[Step { after_ms: 0, message: make(empty), once: false, confirm: None }],
        );
        SimulatedEvent {
            job: Some(job),
            what: SimulatedEventKind::Message(Sent { occurrence, step: 0, body }),
            ..note(at, "")
        }
    }

    pub(crate) fn note(at: &str, text: &str) -> SimulatedEvent {
        SimulatedEvent {
            at: at.parse::<When>().unwrap().in_zone(Zone::UTC),
            zone: zone("Europe/London"),
            plugin: PluginName::parse("coop").unwrap(),
            device: DeviceName::parse("north").unwrap(),
            job: None,
            what: SimulatedEventKind::Note(text.into()),
        }
    }

    const SIX: &str = "2027-03-01T06:00:00Z";
    const SEVEN: &str = "2027-03-01T07:00:00Z";

    fn differences(old: &[SimulatedEvent], new: &[SimulatedEvent]) -> Vec<(Side, SimulatedEvent)> {
        Differences::new(old.iter().cloned(), new.iter().cloned()).collect()
    }

    #[test]
    fn the_order_within_an_instant_is_ignored() {
        let (open, close) = (message(SIX, "open", b"OPEN"), message(SIX, "close", b"CLOSE"));
        assert_eq!(differences(&[open.clone(), close.clone()], &[close, open]), []);
        assert_eq!(differences(&[], &[]), []);
    }

    #[test]
    fn a_moved_message_is_removed_and_added() {
        let (early, late) = (message(SIX, "open", b"OPEN"), message(SEVEN, "open", b"OPEN"));
        let moved = [(Side::Old, early.clone()), (Side::New, late.clone())];
        assert_eq!(differences(&[early], &[late]), moved);
    }

    #[test]
    fn a_message_with_another_payload_is_another_message() {
        let (old, new) = (message(SIX, "open", b"OPEN"), message(SIX, "open", b"100"));
        let both = [(Side::Old, old.clone()), (Side::New, new.clone())];
        assert_eq!(differences(&[old], &[new]), both);
    }

    #[test]
    fn events_of_both_sides_are_omitted() {
        let (close, failed) = (message(SIX, "close", b"CLOSE"), note(SIX, "no plan"));
        assert_eq!(differences(slice::from_ref(&close), &[close.clone(), failed.clone()]), [(Side::New, failed)]);
    }
}
