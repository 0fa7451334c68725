//! The watches on one connection, and the comparison of reports with their conditions.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::Arc,
};

use roost_scheduler::{event::WatchId, limits::CONDITION_BYTES, model::Confirm};

use super::{
    limits,
    pending_events::PendingEvents,
    report::{Condition, Report},
    wire::Arrived,
};

/// All watches of one connection.
#[derive(Debug, Default)]
pub(super) struct Watches {
    topics: HashMap<Arc<str>, Listeners>,
    by_id: HashMap<WatchId, Arc<str>>,
    /// Comparisons in this period, including the excess of earlier ones.
    comparisons: usize,
    /// Messages in this read.
    messages: usize,
    /// Topics with a queued report, in the order of the first report of each.
    queued: VecDeque<Arc<str>>,
    queued_bytes: usize,
}

/// The watches of one topic, which share one subscription.
#[derive(Debug, Default)]
struct Listeners {
    conditions: BTreeMap<WatchId, Condition>,
    /// The broker's retained message, if it is known and nothing newer has arrived. A broker sends it again only for a
    /// new subscription.
    retained: Option<Box<[u8]>>,
    /// The newest report that was not compared yet.
    queued: Option<QueuedReport>,
}

#[derive(Debug)]
struct QueuedReport {
    /// A copy, so that the read buffer is released.
    payload: Box<[u8]>,
    retained: bool,
}

impl Watches {
    /// Adds a watch with an unused id. This must precede SUBSCRIBE, because a retained message may arrive before the
    /// answer.
    pub(super) fn add(&mut self, watch: WatchId, confirm: &Confirm) {
        let topic = match self.topics.get_key_value(confirm.topic.as_str()) {
            Some((topic, _)) => topic.clone(),
            None => confirm.topic.as_str().into(),
        };
        let listeners = self.topics.entry(topic.clone()).or_default();
        listeners.conditions.insert(watch, (&confirm.matches).into());
        self.by_id.insert(watch, topic);
    }

    /// Checks whether a watch listens to a topic.
    pub(super) fn is_watched(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn contains(&self, watch: WatchId) -> bool {
        self.by_id.contains_key(&watch)
    }

    /// Removes a watch if it exists. Returns its topic, and whether it was the topic's last watch, so that the caller
    /// must unsubscribe.
    pub(super) fn remove(&mut self, watch: WatchId) -> Option<(Arc<str>, bool)> {
        let topic = self.by_id.remove(&watch)?;
        let listeners = self.topics.get_mut(&topic)?;
        listeners.conditions.remove(&watch);
        let is_last = listeners.conditions.is_empty();
        if is_last {
            self.take_queued(&topic);
            self.queued.retain(|queued| *queued != topic);
            self.topics.remove(&topic);
        }
        Some((topic, is_last))
    }

    /// Reports the topic's known retained message to a watch after its subscription was granted.
    pub(super) fn replay_retained(&self, watch: WatchId, pending: &mut PendingEvents) {
        let Some(listeners) = self.by_id.get(&watch).and_then(|topic| self.topics.get(topic)) else { return };
        if let (Some(retained), Some(condition)) = (&listeners.retained, listeners.conditions.get(&watch)) {
            let report = Report::new(retained);
            pending.push_report(watch, report.matches(condition), true, &report.excerpt().into());
        }
    }

    /// Handles a message. Messages to topics without a watch are dropped.
    pub(super) fn receive(&mut self, arrived: Arrived, pending: &mut PendingEvents) {
        self.messages += 1;
        let Some((topic, _)) = self.topics.get_key_value(arrived.topic.as_str()) else { return };
        let topic = topic.clone();
        let Arrived { payload, retained, expires, is_own, .. } = arrived;
        if let Some(listeners) = self.topics.get_mut(&topic) {
            let is_lasting = retained && !expires && !is_own && payload.len() <= CONDITION_BYTES;
            listeners.retained = is_lasting.then(|| payload.as_ref().into());
        }
        if is_own {
            return;
        }
        if self.comparisons < limits::COMPARISONS_PER_PERIOD {
            self.compare(&topic, &payload, retained, pending);
        } else {
            self.enqueue(topic, &payload, retained);
        }
    }

    /// Resets the count of messages after a read. Returns whether they were a flood.
    pub(super) fn end_read(&mut self) -> bool {
        mem::take(&mut self.messages) >= limits::FLOOD
    }

    /// Checks whether [`Self::next_period`] has an effect.
    pub(super) fn has_compared(&self) -> bool {
        self.comparisons > 0
    }

    /// Checks whether the queue of reports has reached its bound.
    pub(super) fn is_full(&self) -> bool {
        self.queued_bytes >= limits::QUEUED_BYTES
    }

    /// Begins the next [`limits::PERIOD`], and compares as many queued reports as fit in it.
    pub(super) fn next_period(&mut self, pending: &mut PendingEvents) {
        self.comparisons = self.comparisons.saturating_sub(limits::COMPARISONS_PER_PERIOD);
        while self.comparisons < limits::COMPARISONS_PER_PERIOD && self.compare_queued(pending) {}
    }

    /// Compares all queued reports at the end of the connection.
    pub(super) fn end(&mut self, pending: &mut PendingEvents) {
        while self.compare_queued(pending) {}
    }

    fn enqueue(&mut self, topic: Arc<str>, payload: &[u8], retained: bool) {
        let previous = self.take_queued(&topic);
        let Some(listeners) = self.topics.get_mut(&topic) else { return };
        let is_first = previous.is_none();
        // A retained message is not newer than a live one.
        let newest = match previous {
            Some(live) if retained && !live.retained => live,
            _ => QueuedReport { payload: payload.into(), retained },
        };
        self.queued_bytes += newest.payload.len();
        listeners.queued = Some(newest);
        if is_first {
            self.queued.push_back(topic);
        }
    }

    fn take_queued(&mut self, topic: &str) -> Option<QueuedReport> {
        let queued = self.topics.get_mut(topic)?.queued.take()?;
        self.queued_bytes -= queued.payload.len();
        Some(queued)
    }

    /// Compares the report at the front of the queue. Returns whether there was one.
    fn compare_queued(&mut self, pending: &mut PendingEvents) -> bool {
        let Some(topic) = self.queued.pop_front() else { return false };
        if let Some(queued) = self.take_queued(&topic) {
            self.compare(&topic, &queued.payload, queued.retained, pending);
        }
        true
    }

    fn compare(&mut self, topic: &str, payload: &[u8], retained: bool, pending: &mut PendingEvents) {
        let Some(listeners) = self.topics.get(topic) else { return };
        let report = Report::new(payload);
        let excerpt = report.excerpt().into();
        for (watch, condition) in &listeners.conditions {
            pending.push_report(*watch, report.matches(condition), retained, &excerpt);
        }
        self.comparisons += listeners.conditions.len() + report.json_bytes() / limits::JSON_BYTES_PER_COMPARISON;
    }
}

#[cfg(test)]
mod tests;
