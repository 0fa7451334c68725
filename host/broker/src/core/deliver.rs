//! How messages get to clients: at once at QoS 0, by way of a queue otherwise.

use std::{
    collections::BinaryHeap,
    sync::{Arc, atomic::Ordering},
};

use super::{Connection, Core, SessionId, Totals, publish::News};
use crate::{
    clock::Now,
    codec::{self, Delivery, Qos, SubscribeOptions, Version},
    disk::{Op, QueueOp},
    limits,
    message::{Message, seconds_left},
    queue::{Load, Queued},
};

impl Core {
    pub(super) fn deliver(
        &mut self,
        news: &News<'_>,
        session: SessionId,
        options: SubscribeOptions,
        ids: impl Iterator<Item = u32>,
        message: &mut Option<Arc<Message>>,
        now: Now,
    ) {
        let retain = options.retain_as_published && news.retain;
        let ids: Box<[u32]> = ids.collect();
        match news.qos.min(options.qos) {
            Qos::AtMostOnce => self.send_now(news, session, retain, &ids, now),
            qos => {
                let message = message.get_or_insert_with(|| Arc::new(news.to_message()));
                self.enqueue(session, Arc::clone(message), qos, retain, ids, now);
                self.pump(session, now);
            }
        }
    }

    /// At QoS 0 a message is written, or lost: it waits for no client that is away or slow.
    fn send_now(&mut self, news: &News<'_>, session: SessionId, retain: bool, ids: &[u32], now: Now) {
        let Some(id) = self.sessions.get(&session).and_then(|session| session.connection) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let delivery = Delivery {
            topic: news.topic,
            payload: news.payload,
            properties: news.properties,
            qos: Qos::AtMostOnce,
            retain,
            repeated: false,
            packet_id: 0,
            expiry_s: seconds_left(news.expires, now),
            subscription_ids: ids,
        };
        let Some(size) = connection.size_for(&delivery) else { return };
        if !connection.has_room(size, &self.totals) {
            self.totals.dropped += 1;
            let client = self.sessions.get(&session).map(|session| Arc::clone(&session.client)).unwrap_or_default();
            self.complaints.output.warn(now, |more| {
                tracing::warn!(
                    "built-in broker: client {client:?} reads too slowly: a message of QoS 0 is dropped{more}"
                );
            });
            return;
        }
        connection.deliver(&delivery, &mut self.totals);
    }

    /// At QoS 1 and 2 a message waits for its client, within bounds; of too many the oldest is dropped.
    pub(super) fn enqueue(
        &mut self,
        session: SessionId,
        message: Arc<Message>,
        qos: Qos,
        retain: bool,
        subscription_ids: Box<[u32]>,
        now: Now,
    ) {
        let Some(queued) = self.queued(session, message, qos, retain, subscription_ids, now) else { return };
        let cost = queued.cost();
        loop {
            let Some(found) = self.sessions.get_mut(&session) else { return };
            let is_full =
                found.queue.waiting() >= limits::QUEUE_MESSAGES || found.queue.bytes() + cost > limits::QUEUE_BYTES;
            if !is_full || !self.drop_oldest(session, "its queue is full", now) {
                break;
            }
        }
        let Some(found) = self.sessions.get_mut(&session) else { return };
        self.totals.load.add(&queued);
        found.queue.push(queued);
        self.shorten_longest(now);
    }

    /// A message with a number and a packet identifier, which is on disk with the next transaction if its session is.
    pub(super) fn queued(
        &mut self,
        session: SessionId,
        message: Arc<Message>,
        qos: Qos,
        retain: bool,
        subscription_ids: Box<[u32]>,
        now: Now,
    ) -> Option<Queued> {
        let found = self.sessions.get_mut(&session)?;
        let packet_id = found.queue.packet_id()?;
        self.last_message += 1;
        let id = self.last_message;
        let mut kept = None;
        if found.is_kept {
            kept = Some(self.ticket);
            let expires_ms = message.expires.map(|expires| now.to_wall(expires));
            let (subscription_ids, message) = (subscription_ids.clone(), Arc::clone(&message));
            let queued = QueueOp { id, packet_id, qos, retain, subscription_ids, expires_ms, message };
            self.ops.push(Op::Queue { session, queued });
        }
        message.count(&self.queued_bytes);
        Some(Queued { id, packet_id, message, qos, retain, subscription_ids, repeated: false, kept })
    }

    /// Says whether there was one.
    fn drop_oldest(&mut self, session: SessionId, why: &str, now: Now) -> bool {
        let Some(found) = self.sessions.get_mut(&session) else { return false };
        let Some(dropped) = found.queue.drop_front() else { return false };
        self.totals.load.remove(&dropped);
        let client = Arc::clone(&found.client);
        self.unqueue(&dropped);
        if !dropped.message.is_expired(now) {
            self.totals.dropped += 1;
            self.complaints.queue.warn(now, |more| {
                let topic = &dropped.message.topic;
                tracing::warn!(
                    "built-in broker: a message for client {client:?} on topic {topic:?} is dropped: {why}{more}"
                );
            });
        }
        true
    }

    /// Whether there is no room in memory or on disk for so many bytes more.
    pub(super) fn queues_are_full(&self, bytes: usize) -> bool {
        let Load { own_bytes, kept_bytes, .. } = self.totals.load;
        let in_memory = self.queued_bytes.load(Ordering::Relaxed) + own_bytes;
        in_memory.max(kept_bytes) + bytes > limits::QUEUES_BYTES
    }

    /// Room has come about, perhaps: some of those that wait for it get more.
    pub(super) fn feed_starving(&mut self, now: Now) {
        for _ in 0..limits::STARVING {
            if self.totals.output_bytes > limits::OUTPUTS_BYTES / 2 || self.queues_are_full(0) {
                return;
            }
            let Some(session) = self.starving.pop_first() else { return };
            self.pump(session, now);
        }
    }

    /// All queues together are too long: the longest ones are shortened, by more than a message. What is sent cannot be
    /// dropped: where there is no more than that, its client is ended.
    pub(super) fn shorten_longest(&mut self, now: Now) {
        if !self.queues_are_full(0) {
            return;
        }
        self.work += self.sessions.len();
        let queues = self.sessions.iter().map(|(id, session)| (session.queue.bytes(), *id));
        let mut longest: BinaryHeap<_> = queues.filter(|(bytes, _)| *bytes > 0).collect();
        while self.queues_are_full(limits::QUEUE_CUT_BYTES)
            && let Some((_, id)) = longest.pop()
        {
            if !self.drop_oldest(id, "all queues together are full, and its queue is the longest", now) {
                let connection = self.sessions.get(&id).and_then(|session| session.connection);
                // When that is ended, after the packet at hand, there is room. Once in a packet that is waited for.
                if std::mem::replace(&mut self.unresponsive, connection).is_none() {
                    return;
                }
                continue;
            }
            if let Some(session) = self.sessions.get(&id).filter(|session| session.queue.bytes() > 0) {
                longest.push((session.queue.bytes(), id));
            }
        }
    }

    /// Writes as much of a session's queue as its client takes, after retained messages.
    pub(super) fn pump(&mut self, session: SessionId, now: Now) {
        let connection = self.sessions.get(&session).and_then(|session| session.connection);
        if let Some(connection) = connection.and_then(|id| self.connections.get(&id))
            && !connection.replays.is_empty()
        {
            // They may be many: they are looked up in the client's own turn.
            connection.wake.notify_one();
        }
        self.pump_queue(session, now);
    }

    /// The same without retained messages.
    pub(super) fn pump_queue(&mut self, session: SessionId, now: Now) {
        loop {
            let Some(found) = self.sessions.get_mut(&session) else { return };
            let Some(id) = found.connection else { return };
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let Some(front) = found.queue.front() else { return };
            if connection.is_closing || connection.pending() >= limits::OUTPUT_BYTES {
                return;
            }
            // A client that has had it must be known to have it: it would get it twice otherwise.
            if front.qos == Qos::ExactlyOnce && front.kept.is_some_and(|ticket| ticket > self.durable) {
                connection.caused = connection.caused.max(front.kept.unwrap_or(0));
                self.holding.insert(id);
                return;
            }
            let is_takeable = !front.message.is_expired(now) && connection.size_for(&front.delivery(now)).is_some();
            if !is_takeable {
                let Some(dropped) = found.queue.drop_front() else { return };
                self.totals.load.remove(&dropped);
                self.unqueue(&dropped);
                continue;
            }
            if !found.queue.may_send(connection.window) {
                return;
            }
            let size = codec::publish_size(connection.version.unwrap_or(Version::Three), &front.delivery(now));
            if !connection.has_room(size, &self.totals) {
                // Its own output wakes it otherwise.
                if connection.pending() == 0 {
                    self.starving.insert(session);
                }
                return;
            }
            let Some(sent) = found.queue.send_front() else { return };
            connection.deliver(&sent.delivery(now), &mut self.totals);
        }
    }
}

impl Connection {
    /// Whether so many bytes may be added to what waits to be written.
    pub(super) fn has_room(&self, size: usize, totals: &Totals) -> bool {
        let pending = self.pending();
        let is_full = pending > 0 && pending + size > limits::OUTPUT_BYTES;
        let is_small = pending == 0 && size <= limits::SMALL_OUTPUT_BYTES;
        !is_full && (is_small || totals.output_bytes + size <= limits::OUTPUTS_BYTES)
    }

    /// How many bytes it would have; `None` where the client does not take as many [MQTT-3.1.2-25].
    pub(super) fn size_for(&self, delivery: &Delivery<'_>) -> Option<usize> {
        let size = codec::publish_size(self.version?, delivery);
        (size <= self.packet_bytes).then_some(size)
    }

    pub(super) fn deliver(&mut self, delivery: &Delivery<'_>, totals: &mut Totals) {
        let Some(version) = self.version else { return };
        if self.out.is_empty() {
            self.wake.notify_one();
        }
        codec::publish(&mut self.out, version, delivery);
        self.count(totals);
    }
}

impl Queued {
    pub(super) fn delivery(&self, now: Now) -> Delivery<'_> {
        Delivery {
            topic: &self.message.topic,
            payload: &self.message.payload,
            properties: &self.message.properties,
            qos: self.qos,
            retain: self.retain,
            repeated: self.repeated,
            packet_id: self.packet_id,
            expiry_s: seconds_left(self.message.expires, now),
            subscription_ids: &self.subscription_ids,
        }
    }
}
