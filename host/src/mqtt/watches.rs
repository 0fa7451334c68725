//! Who listens to which topic, on one connection.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use roost_scheduler::{event::WatchId, limits::CONDITION_BYTES, model::Confirm};

use super::{
    pending_events::PendingEvents,
    report::{Condition, Report},
    wire::Arrived,
};

/// How often a report is compared with a condition in one period, about a millisecond's worth. Who floods a topic must not
/// hold up the others (I7): of what comes beyond that, only the newest of each topic is looked at, later.
const LOOKS_PER_PERIOD: usize = 4_096;
/// Nine tenths of it are left for what else there is to do.
pub(super) const PERIOD: Duration = Duration::from_millis(10);
/// Bytes of JSON that are read in the time of one such look, if they are made for taking long.
const JSON_BYTES_PER_LOOK: usize = 16;
/// Of reports that wait to be looked at. While there are more, nothing is read: memory must not grow by large reports on
/// many topics.
const LATE_BYTES: usize = 4 << 20;
/// Messages in one turn from which on it is a flood.
const FLOOD: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Watches {
    topics: HashMap<Arc<str>, Listeners>,
    by_id: HashMap<WatchId, Arc<str>>,
    /// In this period, with what earlier ones had too much.
    looks: usize,
    /// In this turn.
    messages: usize,
    /// Topics with a report that waits to be looked at, in the order in which the first of each came.
    late: VecDeque<Arc<str>>,
    late_bytes: usize,
}

/// The watches of one topic: the broker knows one subscription only.
#[derive(Debug, Default)]
struct Listeners {
    conditions: BTreeMap<WatchId, Condition>,
    /// What the broker has kept, as far as is known: nothing newer has come since. Brokers send it to who subscribes
    /// again, but only to those.
    kept: Option<Box<[u8]>>,
    /// The newest report, as long as it waits to be looked at.
    late: Option<Late>,
}

#[derive(Debug)]
struct Late {
    /// A copy: what was read around it must not stay.
    payload: Box<[u8]>,
    retained: bool,
}

impl Watches {
    /// One more, before the broker is asked: what it has kept may come ahead of its answer. There is none under that
    /// number.
    pub(super) fn add(&mut self, watch: WatchId, confirm: &Confirm) {
        let topic = match self.topics.get_key_value(confirm.topic.as_str()) {
            Some((topic, _)) => topic.clone(),
            None => confirm.topic.as_str().into(),
        };
        let listeners = self.topics.entry(topic.clone()).or_default();
        listeners.conditions.insert(watch, (&confirm.matches).into());
        self.by_id.insert(watch, topic);
    }

    /// Whether a watch listens to a topic.
    pub(super) fn is_heard(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn contains(&self, watch: WatchId) -> bool {
        self.by_id.contains_key(&watch)
    }

    /// One less, if it is there: its topic, and whether it was the last one on it, so that it is to be unsubscribed from.
    pub(super) fn remove(&mut self, watch: WatchId) -> Option<(Arc<str>, bool)> {
        let topic = self.by_id.remove(&watch)?;
        let listeners = self.topics.get_mut(&topic)?;
        listeners.conditions.remove(&watch);
        let is_last = listeners.conditions.is_empty();
        if is_last {
            self.take_late(&topic);
            self.late.retain(|late| *late != topic);
            self.topics.remove(&topic);
        }
        Some((topic, is_last))
    }

    /// The broker has said yes: what is known of what it has kept is told.
    pub(super) fn granted(&self, watch: WatchId, untold: &mut PendingEvents) {
        let Some(listeners) = self.by_id.get(&watch).and_then(|topic| self.topics.get(topic)) else { return };
        if let (Some(kept), Some(condition)) = (&listeners.kept, listeners.conditions.get(&watch)) {
            let report = Report::new(kept);
            untold.report(watch, report.matches(condition), true, &report.said().into());
        }
    }

    /// A message has come. Those to topics without a watch are dropped.
    pub(super) fn take(&mut self, arrived: Arrived, untold: &mut PendingEvents) {
        self.messages += 1;
        let Some((topic, _)) = self.topics.get_key_value(arrived.topic.as_str()) else { return };
        let topic = topic.clone();
        let Arrived { payload, retained, expires, is_ours, .. } = arrived;
        if let Some(listeners) = self.topics.get_mut(&topic) {
            let is_kept = retained && !expires && !is_ours && payload.len() <= CONDITION_BYTES;
            listeners.kept = is_kept.then(|| payload.as_ref().into());
        }
        if is_ours {
            return;
        }
        if self.looks < LOOKS_PER_PERIOD {
            self.look(&topic, &payload, retained, untold);
        } else {
            self.put_off(topic, &payload, retained);
        }
    }

    /// Whether the next turn is the same flood's: there is more of it.
    pub(super) fn end_turn(&mut self) -> bool {
        mem::take(&mut self.messages) >= FLOOD
    }

    /// Whether [`Self::next_period`] makes a difference.
    pub(super) fn has_looked(&self) -> bool {
        self.looks > 0
    }

    /// Whether no more reports can wait.
    pub(super) fn is_full(&self) -> bool {
        self.late_bytes >= LATE_BYTES
    }

    /// A [`PERIOD`] is over: looks at what waits, as much as there is time for.
    pub(super) fn next_period(&mut self, untold: &mut PendingEvents) {
        self.looks = self.looks.saturating_sub(LOOKS_PER_PERIOD);
        while self.looks < LOOKS_PER_PERIOD && self.look_at_late(untold) {}
    }

    /// The connection is over: looks at all that waits.
    pub(super) fn end(&mut self, untold: &mut PendingEvents) {
        while self.look_at_late(untold) {}
    }

    fn put_off(&mut self, topic: Arc<str>, payload: &[u8], retained: bool) {
        let before = self.take_late(&topic);
        let Some(listeners) = self.topics.get_mut(&topic) else { return };
        let is_first = before.is_none();
        // What the broker had kept is not newer than what has come live.
        let newest = match before {
            Some(live) if retained && !live.retained => live,
            _ => Late { payload: payload.into(), retained },
        };
        self.late_bytes += newest.payload.len();
        listeners.late = Some(newest);
        if is_first {
            self.late.push_back(topic);
        }
    }

    fn take_late(&mut self, topic: &str) -> Option<Late> {
        let late = self.topics.get_mut(topic)?.late.take()?;
        self.late_bytes -= late.payload.len();
        Some(late)
    }

    /// Looks at what has waited longest; whether there was anything.
    fn look_at_late(&mut self, untold: &mut PendingEvents) -> bool {
        let Some(topic) = self.late.pop_front() else { return false };
        if let Some(late) = self.take_late(&topic) {
            self.look(&topic, &late.payload, late.retained, untold);
        }
        true
    }

    fn look(&mut self, topic: &str, payload: &[u8], retained: bool, untold: &mut PendingEvents) {
        let Some(listeners) = self.topics.get(topic) else { return };
        let report = Report::new(payload);
        let said = report.said().into();
        for (watch, condition) in &listeners.conditions {
            untold.report(*watch, report.matches(condition), retained, &said);
        }
        self.looks += listeners.conditions.len() + report.json_bytes() / JSON_BYTES_PER_LOOK;
    }
}

#[cfg(test)]
mod tests;
