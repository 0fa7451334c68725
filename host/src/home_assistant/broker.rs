//! What this edge knows of the broker: whether there is a connection, what the broker has retained and what it refuses,
//! and the messages that are still to be sent to it.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{limits, refusals::Refusals, topics::Topics};
use crate::mqtt::background::{Order, Refused};

/// The broker. What it has is read at each connection, and nothing is compared with it before.
pub(super) struct Broker {
    topics: Topics,
    phase: Phase,
    /// Hashes of its retained messages, by topic: as they will be once `orders` are carried out.
    retained: HashMap<String, u64>,
    hasher: RandomState,
    /// What is to be sent, in this order.
    orders: VecDeque<Order>,
    refusals: Refusals,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is none.
    Down,
    /// What the broker has retained is read. A part ends when nothing has come for a while.
    Reading {
        part: Part,
        until: Instant,
        at_most: Instant,
    },
    Read,
}

/// What is read: one after the other, because together they may be more than the broker queues for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Descriptions,
    States,
}

impl Broker {
    pub(super) fn new(topics: Topics) -> Self {
        Self {
            topics,
            phase: Phase::Down,
            retained: HashMap::new(),
            hasher: RandomState::new(),
            orders: VecDeque::new(),
            refusals: Refusals::default(),
        }
    }

    /// Begins to read what the broker has, on a new connection. `ended_at` is where it has ended the one before.
    pub(super) fn on_connection(&mut self, ended_at: Option<String>, listens_to_commands: bool) {
        self.refusals.on_connection(&self.topics, ended_at);
        self.retained.clear();
        self.orders.clear();
        if listens_to_commands {
            self.orders.push_back(Order::Subscribe { filter: self.topics.commands(), with_retained: false });
        }
        self.read(Part::Descriptions);
    }

    pub(super) fn on_end_of_connection(&mut self) {
        self.phase = Phase::Down;
        self.orders.clear();
    }

    /// Takes in that the broker keeps nothing: then nothing is published to it.
    pub(super) fn on_no_retained_messages(&mut self) {
        self.refusals.on_no_retained_messages();
    }

    pub(super) fn on_refused(&mut self, topic: &str, what: Refused, reason: &str) {
        self.refusals.on_refused(&self.topics, (topic, what), reason);
        if what == Refused::Subscription {
            self.read_on();
        }
    }

    pub(super) fn on_subscribed(&mut self, filter: &str) {
        if matches!(self.phase, Phase::Reading { part, .. } if filter == self.filter(part)) {
            self.read_on();
        }
    }

    /// Takes in a retained message while they are read.
    pub(super) fn on_retained(&mut self, topic: &str, payload: &[u8]) {
        self.retained.insert(topic.to_owned(), self.hasher.hash_one(payload));
    }

    /// Reads for a while longer, because the broker has sent something.
    pub(super) fn read_on(&mut self) {
        if let Phase::Reading { until, at_most, .. } = &mut self.phase {
            *until = (Instant::now() + limits::QUIET).min(*at_most);
        }
    }

    /// Returns until when it is read.
    pub(super) fn reads_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Reading { until, .. } => Some(until),
            Phase::Down | Phase::Read => None,
        }
    }

    /// Ends the part of the reading whose time is over, and begins the next one.
    pub(super) fn end_part(&mut self) {
        match self.phase {
            Phase::Reading { part: Part::Descriptions, .. } => {
                self.orders.push_back(Order::Unsubscribe(self.topics.descriptions()));
                self.read(Part::States);
            }
            // The subscription stays: new ones are of other hosts.
            Phase::Reading { part: Part::States, .. } => self.phase = Phase::Read,
            Phase::Down | Phase::Read => {}
        }
    }

    fn read(&mut self, part: Part) {
        self.orders.push_back(Order::Subscribe { filter: self.filter(part), with_retained: true });
        // The broker's answer brings the end nearer. Other messages do not put it off.
        let at_most = Instant::now() + limits::READING;
        self.phase = Phase::Reading { part, until: at_most, at_most };
    }

    fn filter(&self, part: Part) -> String {
        match part {
            Part::Descriptions => self.topics.descriptions(),
            Part::States => self.topics.states(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.phase != Phase::Down
    }

    /// Checks whether it is known what the broker has.
    pub(super) fn is_read(&self) -> bool {
        self.phase == Phase::Read
    }

    /// Checks whether it has nothing, and will have nothing.
    pub(super) fn has_nothing(&self) -> bool {
        self.is_read() && self.orders.is_empty() && self.retained.is_empty()
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        self.retained.contains_key(topic)
    }

    /// Checks whether a retained message is to be published: it differs from the one that the broker has, and is not
    /// left out.
    pub(super) fn lacks(&self, topic: &str, payload: &[u8]) -> bool {
        self.retained.get(topic) != Some(&self.hasher.hash_one(payload)) && !self.leaves_out(topic)
    }

    /// Checks whether nothing is to be published at a topic, because the broker ends the connection at it.
    pub(super) fn leaves_out(&self, topic: &str) -> bool {
        self.refusals.leave_out(topic)
    }

    /// Publishes a retained message.
    pub(super) fn retain(&mut self, topic: String, payload: Bytes) {
        self.retained.insert(topic.clone(), self.hasher.hash_one(&payload[..]));
        self.orders.push_back(Order::Publish { topic, payload, retain: true });
    }

    /// Publishes a message that is not retained, unless too many wait.
    pub(super) fn publish(&mut self, topic: String, payload: Bytes) {
        if self.orders.len() >= limits::EVENTS {
            tracing::debug!("the message to `{topic}` is dropped: {} wait", self.orders.len());
            return;
        }
        self.orders.push_back(Order::Publish { topic, payload, retain: false });
    }

    /// Removes a retained message, if there is one.
    pub(super) fn remove(&mut self, topic: String) {
        if self.forget(&topic) {
            self.orders.push_back(Order::remove(topic));
        }
    }

    /// Takes in that another program has removed a retained message, or leaves one to another host. Returns whether there
    /// was one.
    pub(super) fn forget(&mut self, topic: &str) -> bool {
        self.retained.remove(topic).is_some()
    }

    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    pub(super) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// Returns the first thing that it has refused on this connection, or on the last one.
    pub(super) fn first_refusal(&self) -> Option<&str> {
        self.refusals.first()
    }

    /// Leaves nothing out any more.
    pub(super) fn try_all_again(&mut self) {
        self.refusals.try_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker() -> Broker {
        Broker::new(Topics { own: "roost".into(), discovery: "homeassistant".into() })
    }

    fn orders(broker: &mut Broker) -> Vec<Order> {
        std::iter::from_fn(|| broker.next_order()).collect()
    }

    fn subscription(filter: &str, with_retained: bool) -> Order {
        Order::Subscribe { filter: filter.into(), with_retained }
    }

    #[test]
    fn descriptions_are_read_before_states_and_both_before_anything_is_known() {
        let mut broker = broker();
        broker.on_connection(None, true);
        let descriptions = "homeassistant/device/+/config";
        assert_eq!(orders(&mut broker), [subscription("roost/set/#", false), subscription(descriptions, true)]);
        let at_most = broker.reads_until();
        broker.on_subscribed("roost/set/#");
        assert_eq!(broker.reads_until(), at_most);
        broker.on_subscribed(descriptions);
        assert!(broker.reads_until() < at_most);
        broker.end_part();
        assert_eq!(orders(&mut broker), [Order::Unsubscribe(descriptions.into()), subscription("roost/state/#", true)]);
        assert!(!broker.is_read());
        broker.end_part();
        assert!(broker.has_nothing());
        broker.on_end_of_connection();
        assert_eq!((broker.is_up(), broker.is_read(), broker.reads_until()), (false, false, None));
    }

    #[test]
    fn it_lacks_what_differs_and_a_new_connection_is_read_anew() {
        let mut broker = broker();
        broker.on_connection(None, false);
        broker.on_retained("roost/state", b"{}");
        assert!(!broker.lacks("roost/state", b"{}") && broker.lacks("roost/state", b"[]"));
        orders(&mut broker);
        broker.retain("roost/state".into(), "[]".into());
        assert!(!broker.lacks("roost/state", b"[]") && broker.lacks("roost/state", b"{}"));
        broker.remove("roost/state".into());
        broker.remove("roost/state".into());
        let published = Order::Publish { topic: "roost/state".into(), payload: "[]".into(), retain: true };
        assert_eq!(orders(&mut broker), [published, Order::remove("roost/state".into())]);
        broker.retain("roost/state".into(), "{}".into());
        broker.on_connection(None, false);
        assert!(broker.lacks("roost/state", b"{}"));
    }

    #[test]
    fn so_many_events_wait_and_no_more() {
        let mut broker = broker();
        for _ in 0..=limits::EVENTS {
            broker.publish("roost/event/a/b".into(), Bytes::new());
        }
        assert_eq!(orders(&mut broker).len(), limits::EVENTS);
    }
}
