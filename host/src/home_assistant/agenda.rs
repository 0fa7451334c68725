//! When which subject is to be looked at next.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::topics::Subject;

/// The subjects that are to be looked at, each once, in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    order: BTreeSet<(Instant, Subject)>,
    times: HashMap<Subject, Instant>,
}

impl Agenda {
    /// Notes that a subject is to be looked at, at the latest at a time.
    pub(super) fn add(&mut self, subject: Subject, at: Instant) {
        if self.times.get(&subject).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        if let Some(later) = self.times.insert(subject.clone(), at) {
            self.order.remove(&(later, subject.clone()));
        }
        self.order.insert((at, subject));
    }

    /// Returns the time of the first one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first one whose time has come.
    pub(super) fn take(&mut self, now: Instant) -> Option<Subject> {
        if self.next()? > now {
            return None;
        }
        let (_, subject) = self.order.pop_first()?;
        self.times.remove(&subject);
        Some(subject)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
