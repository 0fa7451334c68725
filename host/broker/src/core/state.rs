//! What the core knows of clients.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Bound,
    sync::Arc,
    time::Instant,
};

use tokio::sync::Notify;

use super::{ConnectionId, SessionId};
use crate::{
    codec::{self, AckKind, Reason, Version},
    disk::{Ticket, Will},
    queue::{Load, Queue},
    rare::Rare,
    tree::Subscriber,
};

/// Sums over all clients, and counts since the broker was started.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Clients that are connected.
    pub clients: usize,
    /// Sessions, also of clients that are away.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of the messages that wait for a client, or for its acknowledgement.
    pub queue_bytes: usize,
    /// Bytes that wait to be written to clients.
    pub output_bytes: usize,
    /// Messages that were dropped, because their clients were too slow or away for too long.
    pub dropped: u64,
    pub(super) load: Load,
    pub(super) will_bytes: usize,
    pub(super) filter_bytes: usize,
    pub(super) received_ids: usize,
    pub(super) alias_bytes: usize,
}

/// Trouble that would fill the log if each case had a line.
#[derive(Default)]
pub(super) struct Complaints {
    pub(super) queue: Rare,
    pub(super) output: Rare,
    pub(super) retained: Rare,
    pub(super) session: Rare,
    pub(super) admission: Rare,
    pub(super) fault: Rare,
}

/// A client that is connected, or about to be.
pub(super) struct Connection {
    /// `None` before CONNECT.
    pub(super) version: Option<Version>,
    pub(super) session: Option<SessionId>,
    /// What waits to be written.
    pub(super) out: Vec<u8>,
    /// Bytes that have been taken to be written.
    pub(super) taken: usize,
    /// Of these two, what is in the sum over all clients.
    pub(super) counted: usize,
    /// Woken when there is something to write, and when it is to be closed.
    pub(super) wake: Arc<Notify>,
    /// Answers that wait for the disk, and those behind them: answers keep their order [MQTT-4.6.0].
    pub(super) held: VecDeque<(Ticket, Answer)>,
    /// Those of them that end a message from the client.
    pub(super) held_acks: usize,
    /// New subscriptions that have yet to get retained messages, by their filters.
    pub(super) replays: BTreeMap<Box<str>, Replay>,
    /// Messages to the client at once.
    pub(super) window: usize,
    /// What the client takes.
    pub(super) packet_bytes: usize,
    pub(super) aliases: HashMap<u16, Box<str>>,
    pub(super) keep_alive_s: u16,
    /// The last transaction that it has caused.
    pub(super) caused: Ticket,
    /// It is the host's own: it comes before others.
    pub(super) is_privileged: bool,
    /// When everything is written, it ends.
    pub(super) is_closing: bool,
}

/// What a client gets in return for a packet.
#[derive(Debug)]
pub(super) enum Answer {
    Ack(AckKind, u16, Reason),
    Bytes(Vec<u8>),
}

/// How far the retained messages of a new subscription are sent.
pub(super) struct Replay {
    pub(super) subscriber: Subscriber,
    /// The topics that have yet to be looked at.
    pub(super) from: Bound<Arc<str>>,
}

/// What is known of a client, beyond a connection.
pub(super) struct Session {
    pub(super) client: Arc<str>,
    pub(super) connection: Option<ConnectionId>,
    /// For how long it is kept after a connection.
    pub(super) expiry_s: u32,
    /// Since when the client is away.
    pub(super) away: Option<Instant>,
    /// Whether it is on disk.
    pub(super) is_kept: bool,
    pub(super) filters: HashSet<Box<str>>,
    pub(super) queue: Queue,
    /// Messages of QoS 2 that the client has published and not released.
    pub(super) received: HashSet<u16>,
    pub(super) will: Option<Will>,
    /// When the will is published, unless the client comes back.
    pub(super) will_due: Option<Instant>,
}

impl Answer {
    /// Whether it ends a message from the client: with PUBREC, one goes on.
    pub(super) fn ends_message(&self) -> bool {
        matches!(self, Self::Ack(AckKind::Puback | AckKind::Pubcomp, ..))
    }
}

impl Connection {
    /// Bytes that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.out.len() + self.taken
    }

    /// Corrects the sum over all clients.
    pub(super) fn count(&mut self, totals: &mut Totals) {
        let pending = self.pending();
        totals.output_bytes = totals.output_bytes - self.counted + pending;
        self.counted = pending;
    }

    /// Forgets what its topic aliases stand for.
    pub(super) fn forget_aliases(&mut self, totals: &mut Totals) {
        totals.alias_bytes -= self.aliases.drain().map(|(_, topic)| topic.len()).sum::<usize>();
    }

    pub(super) fn write(&mut self, answer: Answer, totals: &mut Totals) {
        match answer {
            Answer::Ack(kind, packet_id, reason) => {
                codec::ack(&mut self.out, self.version.unwrap_or(Version::Three), kind, packet_id, reason);
            }
            Answer::Bytes(bytes) => self.out.extend(bytes),
        }
        self.count(totals);
    }
}
