//! Sends retained messages to new subscriptions, as fast as the client reads, and a bounded number per turn.

use std::{ops::Bound, sync::Arc};

use super::{Core, Replay, SessionId};
use crate::{clock::Now, codec::Qos, limits, queue::Queued, retained::Found, tree::Subscriber};

impl Core {
    /// Schedules all retained messages of a subscription for a session's client.
    pub(super) fn schedule_replay(&mut self, session: SessionId, filter: &str, subscriber: Subscriber) {
        let Some(connection) = self.sessions.get(&session).and_then(|session| session.connection) else { return };
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.replays.insert(filter.into(), Replay { subscriber, from: Bound::Unbounded });
        }
    }

    /// Sends the next retained messages of a client's new subscriptions, in the client's own turn.
    pub(super) fn replay(&mut self, session: SessionId, now: Now) {
        let mut budget = limits::WORK;
        while budget > 0 && self.replay_one(session, &mut budget, now) {}
        self.work += limits::WORK - budget;
        let connection = self.sessions.get(&session).and_then(|session| session.connection);
        if let Some(connection) = connection.and_then(|id| self.connections.get(&id))
            && budget == 0
            && !connection.replays.is_empty()
        {
            // Continues in its next turn.
            connection.wake.notify_one();
        }
    }

    /// Sends one message, or skips topics as far as the budget allows. Returns `false` if the client has received all,
    /// or cannot receive more now.
    fn replay_one(&mut self, session: SessionId, budget: &mut usize, now: Now) -> bool {
        let is_crowded = self.queues_are_full(0);
        let Some(session_found) = self.sessions.get_mut(&session) else { return false };
        let Some(id) = session_found.connection else { return false };
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if connection.is_closing || connection.pending() >= limits::OUTPUT_BYTES {
            return false;
        }
        let Some(mut replay) = connection.replays.first_entry() else { return false };
        let subscriber = replay.get().subscriber;
        *budget -= 1;
        let (topic, retained) = match self.retained.next(replay.key(), &replay.get().from, budget, now) {
            Found::Message(topic, retained) => (topic, retained),
            Found::Scanned(topic) => {
                replay.get_mut().from = Bound::Excluded(topic);
                return true;
            }
            Found::End => {
                replay.remove();
                return true;
            }
        };
        // If there is no room for it now, the next call begins with it.
        replay.get_mut().from = Bound::Included(Arc::clone(&topic));
        let mut queued = Queued {
            id: 0,
            packet_id: 0,
            message: retained.message,
            qos: retained.qos.min(subscriber.options.qos),
            retain: true,
            subscription_ids: subscriber.id.into_iter().collect(),
            repeated: false,
            persisted: None,
        };
        let is_queued = queued.qos > Qos::AtMostOnce;
        let size = connection.size_for(&queued.delivery(now));
        if let Some(size) = size {
            let queue = &session_found.queue;
            let may_send = queue.may_send(connection.window) && queue.bytes() <= limits::QUEUE_BYTES;
            if is_queued && !may_send {
                // An acknowledgement wakes it.
                return false;
            }
            if is_queued && is_crowded || !connection.has_room(size, &self.totals) {
                if connection.pending() == 0 {
                    self.starving.insert(session);
                }
                return false;
            }
        }
        if let Some(mut replay) = connection.replays.first_entry() {
            replay.get_mut().from = Bound::Excluded(topic);
        }
        if size.is_none() {
            return true;
        }
        if is_queued {
            let Queued { message, qos, subscription_ids, .. } = queued;
            let Some(numbered) = self.queued(session, message, qos, true, subscription_ids, now) else { return false };
            queued = numbered;
        }
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        connection.deliver(&queued.delivery(now), &mut self.totals);
        if is_queued && let Some(found) = self.sessions.get_mut(&session) {
            self.totals.load.add(&queued);
            found.queue.send(queued);
        }
        true
    }
}
