//! When which subject is to be looked at next.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::topics::Subject;

/// How soon a subject is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Something has happened to it.
    Next,
    /// All of many are looked at: those to which something happens come before them.
    Bulk,
}

/// The subjects that are to be looked at, each once, in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    /// Those of each turn.
    order: [BTreeSet<(Instant, Subject)>; 2],
    entries: HashMap<Subject, (Turn, Instant)>,
    /// From when on the next one of the bulk is looked at.
    bulk_from: Option<Instant>,
}

impl Agenda {
    /// Notes that a subject is to be looked at, at the latest at a time.
    pub(super) fn add(&mut self, subject: Subject, turn: Turn, at: Instant) {
        let before = self.entries.get(&subject).copied();
        let (turn, at) = before.map_or((turn, at), |(of, earlier)| (of.min(turn), earlier.min(at)));
        if let Some((turn, at)) = before {
            self.order[turn as usize].remove(&(at, subject.clone()));
        }
        self.entries.insert(subject.clone(), (turn, at));
        self.order[turn as usize].insert((at, subject));
    }

    /// Puts the bulk off, so that something else has room.
    pub(super) fn put_bulk_off(&mut self, until: Instant) {
        self.bulk_from = Some(until);
    }

    /// Returns when the first one is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        let bulk = self.first(Turn::Bulk).map(|at| self.bulk_from.map_or(at, |from| at.max(from)));
        self.first(Turn::Next).into_iter().chain(bulk).min()
    }

    /// Takes the first one whose time has come.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Turn, Subject)> {
        let is_due = |turn| self.first(turn).is_some_and(|at| at <= now);
        let turn = if is_due(Turn::Next) {
            Turn::Next
        } else if is_due(Turn::Bulk) && self.bulk_from.is_none_or(|from| from <= now) {
            Turn::Bulk
        } else {
            return None;
        };
        let (_, subject) = self.order[turn as usize].pop_first()?;
        self.entries.remove(&subject);
        Some((turn, subject))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn first(&self, turn: Turn) -> Option<Instant> {
        self.order[turn as usize].first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roost_scheduler::names::{DeviceName, PluginName};

    use super::*;

    fn device(name: &str) -> Subject {
        Subject::Device((PluginName::parse("coop-door").unwrap(), DeviceName::parse(name).unwrap()))
    }

    #[test]
    fn what_happens_comes_before_the_bulk_and_each_subject_is_looked_at_once() {
        let (now, mut agenda) = (Instant::now(), Agenda::default());
        for name in ["north", "south"] {
            agenda.add(device(name), Turn::Bulk, now);
        }
        agenda.add(Subject::Host, Turn::Bulk, now);
        agenda.add(device("south"), Turn::Next, now + Duration::from_secs(9));
        let taken: Vec<_> = std::iter::from_fn(|| agenda.take(now)).collect();
        assert_eq!(taken, [(Turn::Next, device("south")), (Turn::Bulk, device("north")), (Turn::Bulk, Subject::Host)]);
        assert_eq!(agenda.next(), None);
    }

    #[test]
    fn the_bulk_waits_for_its_pace_and_a_later_time_for_itself() {
        let (now, mut agenda) = (Instant::now(), Agenda::default());
        let later = now + Duration::from_secs(1);
        agenda.add(device("north"), Turn::Bulk, now);
        agenda.put_bulk_off(later);
        assert_eq!((agenda.next(), agenda.take(now)), (Some(later), None));
        agenda.put_bulk_off(now);
        agenda.add(device("south"), Turn::Next, later);
        assert_eq!((agenda.next(), agenda.take(now)), (Some(now), Some((Turn::Bulk, device("north")))));
        assert_eq!((agenda.next(), agenda.take(now)), (Some(later), None));
        assert_eq!(agenda.take(later), Some((Turn::Next, device("south"))));
    }
}
