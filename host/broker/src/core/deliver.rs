//! Delivers messages to clients: at once at QoS 0, otherwise by way of a queue.

use std::{
    collections::BinaryHeap,
    sync::{Arc, atomic::Ordering},
};

use super::{Connection, Core, SessionId, Totals, publish::Publication};
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
        publication: &Publication<'_>,
        session: SessionId,
        options: SubscribeOptions,
        ids: impl Iterator<Item = u32>,
        message: &mut Option<Arc<Message>>,
        now: Now,
    ) {
        let retain = options.retain_as_published && publication.retain;
        let ids: Box<[u32]> = ids.collect();
        match publication.qos.min(options.qos) {
            Qos::AtMostOnce => self.send_now(publication, session, retain, &ids, now),
            qos => {
                let message = message.get_or_insert_with(|| Arc::new(publication.to_message()));
                self.enqueue(session, Arc::clone(message), qos, retain, ids, now);
                self.pump(session, now);
            }
        }
    }

    /// Sends a message at QoS 0, or drops it if the client is disconnected or slow.
    fn send_now(&mut self, publication: &Publication<'_>, session: SessionId, retain: bool, ids: &[u32], now: Now) {
        let Some(id) = self.sessions.get(&session).and_then(|session| session.connection) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let delivery = Delivery {
            topic: publication.topic,
            payload: publication.payload,
            properties: publication.properties,
            qos: Qos::AtMostOnce,
            retain,
            repeated: false,
            packet_id: 0,
            expiry_s: seconds_left(publication.expires, now),
            subscription_ids: ids,
        };
        let Some(size) = connection.size_for(&delivery) else { return };
        if !connection.has_room(size, &self.totals) {
            self.totals.dropped += 1;
            let client = self.sessions.get(&session).map(|session| Arc::clone(&session.client)).unwrap_or_default();
            self.warnings.output.warn(now, |more| {
                tracing::warn!(
                    "built-in broker: client {client:?} reads too slowly: a message at QoS 0 is dropped{more}"
                );
            });
            return;
        }
        connection.deliver(&delivery, &mut self.totals);
    }

    /// Queues a message at QoS 1 or 2. If the queue is full, its oldest message is dropped.
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

    /// Assigns a number and a packet identifier to a message, and stores it with the next transaction if its session is
    /// persistent.
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
        let mut persisted = None;
        if found.is_persistent {
            persisted = Some(self.token);
            let expires_ms = message.expires.map(|expires| now.to_wall(expires));
            let (subscription_ids, message) = (subscription_ids.clone(), Arc::clone(&message));
            let queued = QueueOp { id, packet_id, qos, retain, subscription_ids, expires_ms, message };
            self.ops.push(Op::Queue { session, queued });
        }
        message.count(&self.queued_bytes);
        Some(Queued { id, packet_id, message, qos, retain, subscription_ids, repeated: false, persisted })
    }

    /// Drops the oldest message of a queue. Returns whether there was one.
    fn drop_oldest(&mut self, session: SessionId, why: &str, now: Now) -> bool {
        let Some(found) = self.sessions.get_mut(&session) else { return false };
        let Some(dropped) = found.queue.drop_front() else { return false };
        self.totals.load.remove(&dropped);
        let client = Arc::clone(&found.client);
        self.unqueue(&dropped);
        if !dropped.message.is_expired(now) {
            self.totals.dropped += 1;
            self.warnings.queue.warn(now, |more| {
                let topic = &dropped.message.topic;
                tracing::warn!(
                    "built-in broker: a message for client {client:?} on topic {topic:?} is dropped: {why}{more}"
                );
            });
        }
        true
    }

    /// Checks whether there is no room in memory or on disk for this many more bytes.
    pub(super) fn queues_are_full(&self, bytes: usize) -> bool {
        let Load { own_bytes, persisted_bytes, .. } = self.totals.load;
        let in_memory = self.queued_bytes.load(Ordering::Relaxed) + own_bytes;
        in_memory.max(persisted_bytes) + bytes > limits::QUEUES_BYTES
    }

    /// Sends more to some of the starving clients, if there is room.
    pub(super) fn feed_starving(&mut self, now: Now) {
        for _ in 0..limits::STARVING {
            if self.totals.output_bytes > limits::OUTPUTS_BYTES / 2 || self.queues_are_full(0) {
                return;
            }
            let Some(session) = self.starving.pop_first() else { return };
            self.pump(session, now);
        }
    }

    /// Shortens the longest queues if all queues together are too large. Messages that were sent cannot be dropped; a
    /// client whose queue has only such messages is disconnected.
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
                // This client is disconnected after the current packet, which makes room. One per packet is enough.
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

    /// Sends as much of a session's queue as its client can receive, after its retained messages.
    pub(super) fn pump(&mut self, session: SessionId, now: Now) {
        let connection = self.sessions.get(&session).and_then(|session| session.connection);
        if let Some(connection) = connection.and_then(|id| self.connections.get(&id))
            && !connection.replays.is_empty()
        {
            // There may be many, so that they are sent in the client's own turn.
            connection.wake.notify_one();
        }
        self.pump_queue(session, now);
    }

    /// Sends as much of a session's queue as its client can receive.
    pub(super) fn pump_queue(&mut self, session: SessionId, now: Now) {
        loop {
            let Some(found) = self.sessions.get_mut(&session) else { return };
            let Some(id) = found.connection else { return };
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let Some(front) = found.queue.front() else { return };
            if connection.is_closing || connection.pending() >= limits::OUTPUT_BYTES {
                return;
            }
            // A message at QoS 2 must be on disk before it is sent: otherwise a crash could cause a second delivery.
            if front.qos == Qos::ExactlyOnce && front.persisted.is_some_and(|token| token > self.durable) {
                connection.caused = connection.caused.max(front.persisted.unwrap_or(0));
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
                // Otherwise its own output wakes it.
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
    /// Checks whether this many bytes may be added to the output.
    pub(super) fn has_room(&self, size: usize, totals: &Totals) -> bool {
        let pending = self.pending();
        let is_full = pending > 0 && pending + size > limits::OUTPUT_BYTES;
        let is_small = pending == 0 && size <= limits::SMALL_OUTPUT_BYTES;
        !is_full && (is_small || totals.output_bytes + size <= limits::OUTPUTS_BYTES)
    }

    /// Returns the size of the packet, or `None` if it exceeds the client's maximum [MQTT-3.1.2-25].
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
