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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roost_scheduler::names::{DeviceName, PluginName};

    use super::*;

    fn device(name: &str) -> Subject {
        Subject::Device((PluginName::parse("coop").unwrap(), DeviceName::parse(name).unwrap()))
    }

    #[test]
    fn each_subject_is_there_once_at_its_earliest_time() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let [soon, later] = [1, 5].map(|seconds| now + Duration::from_secs(seconds));
        agenda.add(device("a"), later);
        agenda.add(device("b"), soon);
        agenda.add(device("a"), soon);
        agenda.add(device("b"), later);
        assert_eq!((agenda.next(), agenda.take(now)), (Some(soon), None));
        assert_eq!([agenda.take(soon), agenda.take(soon)], [Some(device("a")), Some(device("b"))]);
        assert_eq!((agenda.next(), agenda.take(later)), (None, None));
        // What was taken may be added at any time again.
        agenda.add(device("a"), later);
        assert_eq!(agenda.next(), Some(later));
    }

    /// Its state has the next run of all devices.
    #[test]
    fn the_host_is_looked_at_after_its_devices() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        for subject in [Subject::Host, device("z"), device("a")] {
            agenda.add(subject, now);
        }
        let order = [agenda.take(now), agenda.take(now), agenda.take(now)];
        assert_eq!(order, [device("a"), device("z"), Subject::Host].map(Some));
        agenda.add(Subject::Host, now);
        agenda.clear();
        assert_eq!(agenda.take(now), None);
    }
}
