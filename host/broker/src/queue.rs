//! The messages for one session that are not done: those that wait, and those that are sent and not acknowledged.
//!
//! A message has its packet identifier from the moment it is queued, so that what is on disk has it too: after a crash
//! it is sent again under the same one, and a client that has had it knows.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    codec::Qos,
    disk::{MessageId, Ticket},
    limits,
    message::Message,
};

/// One message for one session.
#[derive(Debug)]
pub(crate) struct Queued {
    /// In the order of their arrival, for ever.
    pub(crate) id: MessageId,
    pub(crate) packet_id: u16,
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) subscription_ids: Box<[u32]>,
    /// It may have been sent before.
    pub(crate) repeated: bool,
    /// Whether it is on disk, or about to be: with which transaction.
    pub(crate) kept: Option<Ticket>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Queued>,
    /// By packet identifier.
    sent: HashMap<u16, Queued>,
    /// QoS 2: the client has it, and need not be sent it again, but PUBREL. Packet identifiers, with the message's number.
    released: HashMap<u16, MessageId>,
    used: HashSet<u16>,
    last: u16,
    load: Load,
    /// Of that, what is sent and not acknowledged.
    in_flight_bytes: usize,
}

/// What queues hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Without the messages themselves, which queues share in memory.
    pub(crate) own_bytes: usize,
    /// As if each queue had its own copies.
    pub(crate) bytes: usize,
    /// Of them what is on disk, where each queue has its own copies.
    pub(crate) kept_bytes: usize,
}

impl Load {
    pub(crate) fn add(&mut self, queued: &Queued) {
        self.own_bytes += queued.own_cost();
        self.bytes += queued.cost();
        self.kept_bytes += if queued.kept.is_some() { queued.cost() } else { 0 };
    }

    pub(crate) fn remove(&mut self, queued: &Queued) {
        self.own_bytes -= queued.own_cost();
        self.bytes -= queued.cost();
        self.kept_bytes -= if queued.kept.is_some() { queued.cost() } else { 0 };
    }

    /// A queue is gone.
    pub(crate) fn remove_all(&mut self, other: Self) {
        self.own_bytes -= other.own_bytes;
        self.bytes -= other.bytes;
        self.kept_bytes -= other.kept_bytes;
    }
}

impl Queued {
    /// The bytes that it costs.
    pub(crate) fn cost(&self) -> usize {
        self.message.size() + self.own_cost()
    }

    /// The same without its message.
    fn own_cost(&self) -> usize {
        limits::QUEUED_MESSAGE_BYTES + size_of_val(&*self.subscription_ids)
    }
}

impl Queue {
    /// Bytes of what waits and of what is not acknowledged.
    pub(crate) fn bytes(&self) -> usize {
        self.load.bytes
    }

    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many messages are sent and not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.sent.len() + self.released.len()
    }

    /// Whether the client may be sent another message before it acknowledges one, where it takes so many at once.
    pub(crate) fn may_send(&self, window: usize) -> bool {
        self.in_flight() < window && self.in_flight_bytes <= limits::IN_FLIGHT_BYTES
    }

    /// The next packet identifier that is free, if one is.
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

    /// A message that waits for its turn. Its packet identifier has to be one of this queue.
    pub(crate) fn push(&mut self, queued: Queued) {
        self.load.add(&queued);
        self.waiting.push_back(queued);
    }

    /// Takes up what was on disk, in the order of its arrival.
    pub(crate) fn restore(&mut self, queued: Queued) {
        self.used.insert(queued.packet_id);
        self.last = queued.packet_id;
        self.push(queued);
    }

    /// The same of a message of which only PUBREL is left.
    pub(crate) fn restore_released(&mut self, packet_id: u16, id: MessageId) {
        self.used.insert(packet_id);
        self.released.insert(packet_id, id);
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.waiting.front()
    }

    /// The oldest message that waits is not to be sent any more.
    pub(crate) fn drop_front(&mut self) -> Option<Queued> {
        let dropped = self.waiting.pop_front()?;
        self.load.remove(&dropped);
        self.used.remove(&dropped.packet_id);
        Some(dropped)
    }

    /// The oldest message that waits is being sent.
    pub(crate) fn send_front(&mut self) -> Option<&Queued> {
        let queued = self.waiting.pop_front()?;
        let packet_id = queued.packet_id;
        self.in_flight_bytes += queued.cost();
        self.sent.insert(packet_id, queued);
        self.sent.get(&packet_id)
    }

    /// A message that is sent at once, beside those that wait.
    pub(crate) fn send(&mut self, queued: Queued) {
        self.load.add(&queued);
        self.in_flight_bytes += queued.cost();
        self.sent.insert(queued.packet_id, queued);
    }

    /// PUBACK, or a PUBREC that refuses: the message is done, if it was sent with that QoS.
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

    /// PUBREC: the client has the message. `Ok(None)`: it has said so before. `Err`: there is no such message.
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

    /// PUBCOMP: the message is done.
    pub(crate) fn complete(&mut self, packet_id: u16) -> Option<MessageId> {
        let id = self.released.remove(&packet_id)?;
        self.used.remove(&packet_id);
        Some(id)
    }

    /// The connection has ended: messages that the client did not acknowledge wait once more, in the old order. The bounds
    /// of queues apply to them again.
    pub(crate) fn interrupt(&mut self) {
        self.in_flight_bytes = 0;
        let mut again: BTreeMap<MessageId, Queued> = self.sent.drain().map(|(_, queued)| (queued.id, queued)).collect();
        while let Some((_, mut queued)) = again.pop_last() {
            queued.repeated = true;
            self.waiting.push_front(queued);
        }
    }

    /// The packet identifiers for which PUBREL has to be sent again to a client that is connected again.
    pub(crate) fn released(&self) -> Vec<u16> {
        let mut released: Vec<_> = self.released.iter().map(|(packet_id, id)| (*id, *packet_id)).collect();
        released.sort_unstable();
        released.into_iter().map(|(_, packet_id)| packet_id).collect()
    }
}

/// There is no message under that packet identifier.
#[derive(Debug)]
pub(crate) struct NotFound;
