//! Retained messages: the last one of each topic, for later subscriptions.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
    sync::Arc,
};

use crate::{clock::Now, codec::Qos, limits, message::Message, topic};

/// All retained messages.
#[derive(Debug, Default)]
pub(crate) struct RetainedMessages {
    by_topic: BTreeMap<Arc<str>, Retained>,
    bytes: usize,
}

/// A retained message.
#[derive(Clone, Debug)]
pub(crate) struct Retained {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
}

/// The result of scanning some topics.
pub(crate) enum Found {
    /// A topic that matches, and its message.
    Message(Arc<str>, Retained),
    /// The budget is used up. No topic up to this one matches, and there are more.
    Scanned(Arc<str>),
    /// There are no more topics.
    End,
}

impl RetainedMessages {
    pub(crate) fn len(&self) -> usize {
        self.by_topic.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Checks whether a message of this size fits, if it replaces its topic's current one.
    pub(crate) fn has_room(&self, topic: &str, bytes: usize) -> bool {
        match self.by_topic.get(topic) {
            Some(old) => self.bytes - old.cost() + bytes <= limits::RETAINED_BYTES,
            None => self.len() < limits::RETAINED_MESSAGES && self.bytes + bytes <= limits::RETAINED_BYTES,
        }
    }

    /// Inserts a message, or replaces its topic's current one.
    pub(crate) fn insert(&mut self, message: Arc<Message>, qos: Qos) {
        let retained = Retained { message, qos };
        self.bytes += retained.cost();
        let old = match self.by_topic.entry(retained.message.topic.as_ref().into()) {
            Entry::Occupied(mut place) => Some(place.insert(retained)),
            Entry::Vacant(place) => {
                place.insert(retained);
                None
            }
        };
        self.bytes -= old.map_or(0, |old| old.cost());
    }

    /// Removes the message of a topic. Returns whether there was one.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let Some(old) = self.by_topic.remove(topic) else { return false };
        self.bytes -= old.cost();
        true
    }

    /// Finds the next message that matches a filter, among the topics from `from` on. Visits only topics with the
    /// filter's prefix up to its first wildcard. Each visited topic reduces the budget.
    pub(crate) fn next(&self, filter: &str, from: &Bound<Arc<str>>, budget: &mut usize, now: Now) -> Found {
        let is_exact = topic::is_exact(filter);
        let literal = filter.split(['+', '#']).next().unwrap_or_default();
        // `a/#` matches `a`, too.
        let start = if is_exact { literal } else { literal.strip_suffix('/').unwrap_or(literal) };
        let from = match from {
            Bound::Unbounded => Bound::Included(start),
            Bound::Included(topic) => Bound::Included(topic.as_ref()),
            Bound::Excluded(topic) => Bound::Excluded(topic.as_ref()),
        };
        let range = self.by_topic.range::<str, _>((from, Bound::Unbounded));
        for (topic, retained) in range.take_while(|(topic, _)| topic.starts_with(start)) {
            if is_exact && topic.as_ref() != filter {
                break;
            }
            if topic::matches(filter, topic) && !retained.message.is_expired(now) {
                return Found::Message(Arc::clone(topic), retained.clone());
            }
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return Found::Scanned(Arc::clone(topic));
            }
        }
        Found::End
    }

    /// Returns the topics of expired messages.
    pub(crate) fn expired(&self, now: Now) -> Vec<Arc<str>> {
        let expired = self.by_topic.iter().filter(|(_, retained)| retained.message.is_expired(now));
        expired.map(|(topic, _)| Arc::clone(topic)).collect()
    }
}

impl Retained {
    fn cost(&self) -> usize {
        self.message.size() + limits::QUEUED_MESSAGE_BYTES
    }
}
