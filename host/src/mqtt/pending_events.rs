//! Events that the core has not received yet.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use roost_scheduler::event::{Event, LinkId, WatchId};

/// A queue of events for the core.
///
/// I10: there is at most one answer for each attempt and each subscription under way, and one for each refused order.
/// The number of reports is up to the broker's clients; therefore only the newest of each kind is queued, at most four
/// for each watch, of [`limits::REPORT_BYTES`](roost_scheduler::limits::REPORT_BYTES). Nothing is lost by that: one
/// match is as good as two, and of the other reports only the last is shown.
#[derive(Debug)]
pub(super) struct PendingEvents {
    link: LinkId,
    answers: VecDeque<Event>,
    /// Kinds with a queued report, in the order of the first report of each: a newer report does not change the order.
    reports: VecDeque<Kind>,
    /// The newest report of each kind in `reports`.
    newest: HashMap<Kind, Arc<str>>,
    /// Whether the last event was a report. If both are queued, answers and reports alternate (I7).
    was_report: bool,
}

/// What distinguishes queued reports: a live match matters more than a retained one, and either more than a report that
/// does not match. A report replaces only one of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    watch: WatchId,
    matches: bool,
    retained: bool,
}

impl PendingEvents {
    pub(super) fn new(link: LinkId) -> Self {
        Self { link, answers: VecDeque::new(), reports: VecDeque::new(), newest: HashMap::new(), was_report: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.reports.is_empty()
    }

    /// Queues an answer to an order of the core.
    pub(super) fn push(&mut self, event: Event) {
        self.answers.push_back(event);
    }

    /// Queues a device's report, in place of an older one of the same kind.
    pub(super) fn push_report(&mut self, watch: WatchId, matches: bool, retained: bool, excerpt: &Arc<str>) {
        let kind = Kind { watch, matches, retained };
        if self.newest.insert(kind, excerpt.clone()).is_none() {
            self.reports.push_back(kind);
        }
    }

    /// Takes the next event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        self.was_report = !self.was_report && !self.reports.is_empty() || self.answers.is_empty();
        if !self.was_report {
            return self.answers.pop_front();
        }
        let kind = self.reports.pop_front()?;
        let excerpt = self.newest.remove(&kind)?.as_ref().to_owned();
        let Kind { watch, matches, retained } = kind;
        Some(Event::Reported { link: self.link, watch, matches, retained, excerpt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(pending: &mut PendingEvents) -> Vec<String> {
        let name = |event| match event {
            Event::Acked { attempt, .. } => format!("acked {attempt}"),
            Event::Reported { watch, matches, retained, excerpt, .. } => {
                let retained = if retained { ", retained" } else { "" };
                format!("{watch}: {excerpt}{}{retained}", if matches { "!" } else { "" })
            }
            other => panic!("unexpected {other:?}"),
        };
        std::iter::from_fn(|| pending.pop()).map(name).collect()
    }

    #[test]
    fn only_the_newest_report_of_each_kind_is_queued() {
        let mut pending = PendingEvents::new(1);
        for number in 0..10_000 {
            let excerpt: Arc<str> = number.to_string().into();
            for watch in [7, 8] {
                pending.push_report(watch, number % 10 == 0, number < 5_000, &excerpt);
            }
        }
        let expected = [
            "7: 4990!, retained",
            "8: 4990!, retained",
            "7: 4999, retained",
            "8: 4999, retained",
            "7: 9990!",
            "8: 9990!",
            "7: 9999",
            "8: 9999",
        ];
        assert_eq!(drain(&mut pending), expected);
        assert!(pending.is_empty());
    }

    #[test]
    fn answers_and_reports_take_turns() {
        let mut pending = PendingEvents::new(1);
        for attempt in 1..=3 {
            pending.push(Event::Acked { link: 1, attempt, no_subscriber: false });
        }
        for watch in 1..=5 {
            pending.push_report(watch, true, false, &"on".into());
        }
        let expected = ["1: on!", "acked 1", "2: on!", "acked 2", "3: on!", "acked 3", "4: on!", "5: on!"];
        assert_eq!(drain(&mut pending), expected);
        pending.push(Event::Acked { link: 1, attempt: 4, no_subscriber: false });
        assert_eq!(drain(&mut pending), ["acked 4"]);
    }
}
