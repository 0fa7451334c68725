//! What only one of two courses of events has.

use std::{cmp::Ordering, collections::VecDeque, iter::Peekable};

use crate::simulation::SimulatedEvent;

/// Which of the two has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

impl Side {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Old => "- ",
            Self::New => "+ ",
        }
    }
}

/// Goes through both at once, instant by instant; within an instant the order does not count.
pub(super) struct Differences<I: Iterator<Item = SimulatedEvent>> {
    old: Peekable<I>,
    new: Peekable<I>,
    found: VecDeque<(Side, SimulatedEvent)>,
}

impl<I: Iterator<Item = SimulatedEvent>> Differences<I> {
    pub(super) fn new(old: I, new: I) -> Self {
        Self { old: old.peekable(), new: new.peekable(), found: VecDeque::new() }
    }

    /// Compares what happens next, at one instant.
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
            let (gone, come) = match order {
                Ordering::Less => (old.next(), None),
                Ordering::Greater => (None, new.next()),
                Ordering::Equal => match (old.next(), new.next()) {
                    (old, new) if old == new => (None, None),
                    both => both,
                },
            };
            self.found.extend(gone.map(|happening| (Side::Old, happening)));
            self.found.extend(come.map(|happening| (Side::New, happening)));
        }
    }
}

/// By what makes a happening unique in its instant.
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
mod tests {
    use std::slice;

    use super::*;
    use crate::cli::simulate::tests::{message, note};

    const SIX: &str = "2027-03-01T06:00:00Z";
    const SEVEN: &str = "2027-03-01T07:00:00Z";

    fn differences(old: &[SimulatedEvent], new: &[SimulatedEvent]) -> Vec<(Side, SimulatedEvent)> {
        Differences::new(old.iter().cloned(), new.iter().cloned()).collect()
    }

    #[test]
    fn the_order_within_an_instant_does_not_count() {
        let (open, close) = (message(SIX, "open", b"OPEN"), message(SIX, "close", b"CLOSE"));
        assert_eq!(differences(&[open.clone(), close.clone()], &[close, open]), []);
        assert_eq!(differences(&[], &[]), []);
    }

    #[test]
    fn what_moves_goes_and_comes() {
        let (early, late) = (message(SIX, "open", b"OPEN"), message(SEVEN, "open", b"OPEN"));
        let moved = [(Side::Old, early.clone()), (Side::New, late.clone())];
        assert_eq!(differences(&[early], &[late]), moved);
    }

    #[test]
    fn whatever_of_it_differs_makes_another_message() {
        let (old, new) = (message(SIX, "open", b"OPEN"), message(SIX, "open", b"100"));
        let both = [(Side::Old, old.clone()), (Side::New, new.clone())];
        assert_eq!(differences(&[old], &[new]), both);
    }

    #[test]
    fn what_both_have_is_left_out() {
        let (close, untold) = (message(SIX, "close", b"CLOSE"), note(SIX, "no plan"));
        assert_eq!(differences(slice::from_ref(&close), &[close.clone(), untold.clone()]), [(Side::New, untold)]);
    }
}
