//! The message queue of a session: messages that wait, and those that were sent and not acknowledged.
//!
//! A message gets its packet identifier when it is queued, so that the identifier is on disk as well. After a crash the
//! message is sent again under the same identifier, and the client can recognize it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    codec::Qos,
    disk::{CommitToken, MessageId},
    limits,
    message::Message,
};

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Its number, in the order of arrival. Numbers are not reused.
    pub(crate) id: MessageId,
    pub(crate) packet_id: u16,
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Box<[u32]>,
    /// Whether it may have been sent before.
    pub(crate) repeated: bool,
    /// The transaction that stores it on disk, if any.
    pub(crate) persisted: Option<CommitToken>,
}

/// The queue of a session.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Queued>,
    /// Sent messages that are not acknowledged, by packet identifier.
    sent: HashMap<u16, Queued>,
    /// The packet identifiers of messages at QoS 2 that the client has received, with the messages' numbers. Only
    /// PUBREL may have to be sent again.
    released: HashMap<u16, MessageId>,
    used: HashSet<u16>,
    last: u16,
    load: Load,
    /// Bytes of the messages in `sent`.
    in_flight_bytes: usize,
}

/// The size of the messages in queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Bytes without the messages' content, which queues share in memory.
    pub(crate) own_bytes: usize,
    /// Bytes including the content, counted for each queue.
    pub(crate) bytes: usize,
    /// Bytes on disk, where each queue has its own copies.
    pub(crate) persisted_bytes: usize,
}

impl Load {
    pub(crate) fn add(&mut self, queued: &Queued) {
        self.own_bytes += queued.own_cost();
        self.bytes += queued.cost();
        self.persisted_bytes += if queued.persisted.is_some() { queued.cost() } else { 0 };
    }

    pub(crate) fn remove(&mut self, queued: &Queued) {
        self.own_bytes -= queued.own_cost();
        self.bytes -= queued.cost();
        self.persisted_bytes -= if queued.persisted.is_some() { queued.cost() } else { 0 };
    }

    /// Removes the load of a deleted queue.
    pub(crate) fn remove_all(&mut self, other: Self) {
        self.own_bytes -= other.own_bytes;
        self.bytes -= other.bytes;
        self.persisted_bytes -= other.persisted_bytes;
    }
}

impl Queued {
    /// The size in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.message.size() + self.own_cost()
    }

    /// The size without the content.
    fn own_cost(&self) -> usize {
        limits::QUEUED_MESSAGE_BYTES + size_of_val(&*self.subscription_ids)
    }
}

impl Queue {
    /// The bytes of all messages that wait or are not acknowledged.
    pub(crate) fn bytes(&self) -> usize {
        self.load.bytes
    }

    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// The number of messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of messages that were sent and not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.sent.len() + self.released.len()
    }

    /// Checks whether another message may be sent before one is acknowledged, within a client's window.
    pub(crate) fn may_send(&self, window: usize) -> bool {
        self.in_flight() < window && self.in_flight_bytes <= limits::IN_FLIGHT_BYTES
    }

    /// Takes the next free packet identifier, if there is one.
    pub(crate) fn packet_id(&mut self) -> Option<u16> {
        if self.used.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if self.used.insert(self.last) {
                return Some(self.last);
            }
        }
    }

    /// Appends a message. Its packet identifier must be one of this queue.
    pub(crate) fn push(&mut self, queued: Queued) {
        self.load.add(&queued);
        self.waiting.push_back(queued);
    }

    /// Restores a message from disk. Messages must be restored in the order of their arrival.
    pub(crate) fn restore(&mut self, queued: Queued) {
        self.used.insert(queued.packet_id);
        self.last = queued.packet_id;
        self.push(queued);
    }

    /// Restores a message for which only PUBREL is left to be sent.
    pub(crate) fn restore_released(&mut self, packet_id: u16, id: MessageId) {
        self.used.insert(packet_id);
        self.released.insert(packet_id, id);
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.waiting.front()
    }

    /// Drops the oldest waiting message.
    pub(crate) fn drop_front(&mut self) -> Option<Queued> {
        let dropped = self.waiting.pop_front()?;
        self.load.remove(&dropped);
        self.used.remove(&dropped.packet_id);
        Some(dropped)
    }

    /// Moves the oldest waiting message to the sent ones.
    pub(crate) fn send_front(&mut self) -> Option<&Queued> {
        let queued = self.waiting.pop_front()?;
        let packet_id = queued.packet_id;
        self.in_flight_bytes += queued.cost();
        self.sent.insert(packet_id, queued);
        self.sent.get(&packet_id)
    }

    /// Adds a message that is sent at once, without waiting.
    pub(crate) fn send(&mut self, queued: Queued) {
        self.load.add(&queued);
        self.in_flight_bytes += queued.cost();
        self.sent.insert(queued.packet_id, queued);
    }

    /// Handles PUBACK or a refusing PUBREC: removes the message, if it was sent at that QoS.
    pub(crate) fn acknowledge(&mut self, packet_id: u16, qos: Qos) -> Option<Queued> {
        if self.sent.get(&packet_id)?.qos != qos {
            return None;
        }
        let queued = self.sent.remove(&packet_id)?;
        self.in_flight_bytes -= queued.cost();
        self.load.remove(&queued);
        self.used.remove(&packet_id);
        Some(queued)
    }

    /// Handles PUBREC: the client has received the message. Returns `None` if it had acknowledged the message before.
    pub(crate) fn release(&mut self, packet_id: u16) -> Result<Option<Queued>, NotFound> {
        if self.released.contains_key(&packet_id) {
            return Ok(None);
        }
        if self.sent.get(&packet_id).is_none_or(|queued| queued.qos != Qos::ExactlyOnce) {
            return Err(NotFound);
        }
        let queued = self.sent.remove(&packet_id).ok_or(NotFound)?;
        self.in_flight_bytes -= queued.cost();
        self.load.remove(&queued);
        self.released.insert(packet_id, queued.id);
        Ok(Some(queued))
    }

    /// Handles PUBCOMP: removes the message.
    pub(crate) fn complete(&mut self, packet_id: u16) -> Option<MessageId> {
        let id = self.released.remove(&packet_id)?;
        self.used.remove(&packet_id);
        Some(id)
    }

    /// Handles the end of the connection: unacknowledged messages wait again, in their order. The bounds of queues
    /// apply to them again.
    pub(crate) fn interrupt(&mut self) {
        self.in_flight_bytes = 0;
        let mut again: BTreeMap<MessageId, Queued> = self.sent.drain().map(|(_, queued)| (queued.id, queued)).collect();
        while let Some((_, mut queued)) = again.pop_last() {
            queued.repeated = true;
            self.waiting.push_front(queued);
        }
    }

    /// Returns the packet identifiers for which PUBREL must be sent again after a reconnect.
    pub(crate) fn released(&self) -> Vec<u16> {
        let mut released: Vec<_> = self.released.iter().map(|(packet_id, id)| (*id, *packet_id)).collect();
        released.sort_unstable();
        released.into_iter().map(|(_, packet_id)| packet_id).collect()
    }
}

/// The error for a packet identifier without a message.
#[derive(Debug)]
pub(crate) struct NotFound;
