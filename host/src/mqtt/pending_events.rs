//! What the core has not been told yet.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use roost_scheduler::event::{Event, LinkId, WatchId};

/// Events that wait until the core takes them.
///
/// I10: answers are at most one for each attempt and each subscription under way, and one for each order that was turned
/// down while it was taken. Reports come from outside, as many as the broker's clients like; of those, only the newest of each kind
/// waits: for each watch at most four, of [`limits::REPORT_BYTES`](roost_scheduler::limits::REPORT_BYTES). Nothing is lost
/// by that: one match is as good as two, and of the others people see the last.
#[derive(Debug)]
pub(super) struct PendingEvents {
    link: LinkId,
    answers: VecDeque<Event>,
    /// In the order in which the first of each kind came: who reports without end does not lose its turn by that.
    reports: VecDeque<Kind>,
    newest: HashMap<Kind, Arc<str>>,
    /// Whose turn it is, where both wait: neither holds up the other (I7).
    is_turn_of_reports: bool,
}

/// A live match is worth more than one that the broker had kept, and either more than another report: none replaces
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    watch: WatchId,
    matches: bool,
    retained: bool,
}

impl PendingEvents {
    pub(super) fn new(link: LinkId) -> Self {
        Self {
            link,
            answers: VecDeque::new(),
            reports: VecDeque::new(),
            newest: HashMap::new(),
            is_turn_of_reports: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.reports.is_empty()
    }

    /// An answer to what the core wanted.
    pub(super) fn push(&mut self, event: Event) {
        self.answers.push_back(event);
    }

    /// What a device has said.
    pub(super) fn report(&mut self, watch: WatchId, matches: bool, retained: bool, said: &Arc<str>) {
        let kind = Kind { watch, matches, retained };
        if self.newest.insert(kind, said.clone()).is_none() {
            self.reports.push_back(kind);
        }
    }

    /// What is to be told next.
    pub(super) fn pop(&mut self) -> Option<Event> {
        self.is_turn_of_reports = !self.is_turn_of_reports && !self.reports.is_empty() || self.answers.is_empty();
        if !self.is_turn_of_reports {
            return self.answers.pop_front();
        }
        let kind = self.reports.pop_front()?;
        let said = self.newest.remove(&kind)?.as_ref().to_owned();
        let Kind { watch, matches, retained } = kind;
        Some(Event::Reported { link: self.link, watch, matches, retained, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(untold: &mut PendingEvents) -> Vec<String> {
        let name = |event| match event {
            Event::Acked { attempt, .. } => format!("acked {attempt}"),
            Event::Reported { watch, matches, retained, said, .. } => {
                let kept = if retained { ", kept" } else { "" };
                format!("{watch}: {said}{}{kept}", if matches { "!" } else { "" })
            }
            other => panic!("unexpected {other:?}"),
        };
        std::iter::from_fn(|| untold.pop()).map(name).collect()
    }

    #[test]
    fn of_each_kind_of_report_the_newest_waits() {
        let mut untold = PendingEvents::new(1);
        for number in 0..10_000 {
            let said: Arc<str> = number.to_string().into();
            for watch in [7, 8] {
                untold.report(watch, number % 10 == 0, number < 5_000, &said);
            }
        }
        let expected = [
            "7: 4990!, kept",
            "8: 4990!, kept",
            "7: 4999, kept",
            "8: 4999, kept",
            "7: 9990!",
            "8: 9990!",
            "7: 9999",
            "8: 9999",
        ];
        assert_eq!(told(&mut untold), expected);
        assert!(untold.is_empty());
    }

    #[test]
    fn answers_and_reports_take_turns() {
        let mut untold = PendingEvents::new(1);
        for attempt in 1..=3 {
            untold.push(Event::Acked { link: 1, attempt, no_subscriber: false });
        }
        for watch in 1..=5 {
            untold.report(watch, true, false, &"on".into());
        }
        let expected = ["1: on!", "acked 1", "2: on!", "acked 2", "3: on!", "acked 3", "4: on!", "5: on!"];
        assert_eq!(told(&mut untold), expected);
        untold.push(Event::Acked { link: 1, attempt: 4, no_subscriber: false });
        assert_eq!(told(&mut untold), ["acked 4"]);
    }
}
