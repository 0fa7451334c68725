//! Who listens to which topic, on one connection.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use bytes::Bytes;
use roost_scheduler::{event::WatchId, limits::CONDITION_BYTES, model::Confirm};

use super::{
    report::{Condition, Report},
    untold::Untold,
    wire::Arrived,
};

/// How often a report is compared with a condition in one turn, about a millisecond's worth. Who floods a topic must not
/// hold up the others (I7): of what comes beyond that, only the newest of each topic is looked at.
const LOOKS_PER_TURN: usize = 4_096;
/// Bytes of JSON that are read in the time of one such look.
const JSON_BYTES_PER_LOOK: usize = 64;
/// Messages in one turn from which on it is a flood.
const FLOOD: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Watches {
    topics: HashMap<Arc<str>, Listeners>,
    by_id: HashMap<WatchId, Arc<str>>,
    /// In this turn.
    looks: usize,
    /// In this turn.
    messages: usize,
    /// What was not looked at in this turn. One for each topic at most, and so bounded by the watches.
    late: HashMap<Arc<str>, Late>,
}

/// The watches of one topic: the broker knows one subscription only.
#[derive(Debug, Default)]
struct Listeners {
    conditions: BTreeMap<WatchId, Condition>,
    /// What the broker has kept, as far as is known: nothing newer has come since. Brokers send it to who subscribes
    /// again, but the built-in one does not.
    kept: Option<Box<[u8]>>,
}

#[derive(Debug)]
struct Late {
    payload: Bytes,
    retained: bool,
}

impl Watches {
    /// One more, before the broker is asked: what it has kept may come ahead of its answer. The same as [`Self::remove`]
    /// about a watch that was there before under that number.
    pub(super) fn add(&mut self, watch: WatchId, confirm: &Confirm) -> Option<(Arc<str>, bool)> {
        let before = self.remove(watch);
        let topic = match self.topics.get_key_value(confirm.topic.as_str()) {
            Some((topic, _)) => topic.clone(),
            None => confirm.topic.as_str().into(),
        };
        let listeners = self.topics.entry(topic.clone()).or_default();
        listeners.conditions.insert(watch, (&confirm.matches).into());
        self.by_id.insert(watch, topic);
        before
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
            self.topics.remove(&topic);
        }
        Some((topic, is_last))
    }

    /// The broker has said yes: what is known of what it has kept is told.
    pub(super) fn granted(&self, watch: WatchId, untold: &mut Untold) {
        let Some(listeners) = self.by_id.get(&watch).and_then(|topic| self.topics.get(topic)) else { return };
        if let (Some(kept), Some(condition)) = (&listeners.kept, listeners.conditions.get(&watch)) {
            let report = Report::new(kept);
            untold.report(watch, report.matches(condition), true, &report.said().into());
        }
    }

    /// A message has come. Those to topics that nobody listens to any more are dropped.
    pub(super) fn take(&mut self, arrived: Arrived, untold: &mut Untold) {
        self.messages += 1;
        let Some((topic, _)) = self.topics.get_key_value(arrived.topic.as_str()) else { return };
        let topic = topic.clone();
        let Arrived { payload, retained, expires, .. } = arrived;
        if let Some(listeners) = self.topics.get_mut(&topic) {
            let is_kept = retained && !expires && payload.len() <= CONDITION_BYTES;
            listeners.kept = is_kept.then(|| payload.as_ref().into());
        }
        if self.looks < LOOKS_PER_TURN {
            self.look(&topic, &Late { payload, retained }, untold);
        } else if !retained || self.late.get(&topic).is_none_or(|late| late.retained) {
            // What the broker had kept is not newer than what has come live.
            self.late.insert(topic, Late { payload, retained });
        }
    }

    /// Looks at what has not been looked at yet. Whether it was a flood: then there is more of it.
    pub(super) fn end_turn(&mut self, untold: &mut Untold) -> bool {
        for (topic, late) in mem::take(&mut self.late) {
            self.look(&topic, &late, untold);
        }
        self.looks = 0;
        mem::take(&mut self.messages) >= FLOOD
    }

    fn look(&mut self, topic: &str, late: &Late, untold: &mut Untold) {
        let Some(listeners) = self.topics.get(topic) else { return };
        let report = Report::new(&late.payload);
        let said = report.said().into();
        for (watch, condition) in &listeners.conditions {
            untold.report(*watch, report.matches(condition), late.retained, &said);
        }
        self.looks += listeners.conditions.len() + report.json_bytes() / JSON_BYTES_PER_LOOK;
    }
}

#[cfg(test)]
mod tests;
