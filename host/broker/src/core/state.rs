//! The core's state of clients, connections and sessions.

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
    disk::{CommitToken, Will},
    queue::{Load, Queue},
    rate_limit::RateLimited,
    tree::Subscriber,
};

/// Totals of all clients, and counts since the broker was started.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Connected clients.
    pub clients: usize,
    /// Sessions, including those of disconnected clients.
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

/// The rate-limited warnings.
#[derive(Default)]
pub(super) struct Warnings {
    pub(super) queue: RateLimited,
    pub(super) output: RateLimited,
    pub(super) retained: RateLimited,
    pub(super) session: RateLimited,
    pub(super) admission: RateLimited,
    pub(super) fault: RateLimited,
}

/// A connection, before or after CONNECT.
pub(super) struct Connection {
    /// `None` before CONNECT.
    pub(super) version: Option<Version>,
    pub(super) session: Option<SessionId>,
    /// The output that was not taken yet.
    pub(super) out: Vec<u8>,
    /// The number of bytes of output that were taken and are being written.
    pub(super) taken: usize,
    /// The number of bytes of output that are included in the totals.
    pub(super) counted: usize,
    /// Notified when there is output, and when the connection must close.
    pub(super) wake: Arc<Notify>,
    /// Answers that wait for the disk, and later answers, which keep their order [MQTT-4.6.0].
    pub(super) held: VecDeque<(CommitToken, Answer)>,
    /// The number of held answers that end a message from the client.
    pub(super) held_acks: usize,
    /// New subscriptions that have not received all retained messages, by their filters.
    pub(super) replays: BTreeMap<Box<str>, Replay>,
    /// The number of messages to the client that may be unacknowledged.
    pub(super) window: usize,
    /// The client's maximum packet size.
    pub(super) packet_bytes: usize,
    pub(super) aliases: HashMap<u16, Box<str>>,
    pub(super) keep_alive_s: u16,
    /// The last transaction that this connection caused.
    pub(super) caused: CommitToken,
    /// Whether it is the host's own, which has priority.
    pub(super) is_privileged: bool,
    /// Whether it ends when its output is written.
    pub(super) is_closing: bool,
}

/// The answer to a packet.
#[derive(Debug)]
pub(super) enum Answer {
    Ack(AckKind, u16, Reason),
    Bytes(Vec<u8>),
}

/// The progress of sending retained messages to a new subscription.
pub(super) struct Replay {
    pub(super) subscriber: Subscriber,
    /// The topic to continue from.
    pub(super) from: Bound<Arc<str>>,
}

/// The session of a client.
pub(super) struct Session {
    pub(super) client: Arc<str>,
    pub(super) connection: Option<ConnectionId>,
    /// How long it persists after its connection, in seconds.
    pub(super) expiry_s: u32,
    /// When the client was disconnected.
    pub(super) away: Option<Instant>,
    /// Whether it is stored on disk.
    pub(super) is_persistent: bool,
    pub(super) filters: HashSet<Box<str>>,
    pub(super) queue: Queue,
    /// The packet identifiers of messages at QoS 2 that the client has published and not released.
    pub(super) received: HashSet<u16>,
    pub(super) will: Option<Will>,
    /// When the will is published, unless the client reconnects.
    pub(super) will_due: Option<Instant>,
}

impl Answer {
    /// Checks whether it ends a message from the client. PUBREC does not.
    pub(super) fn ends_message(&self) -> bool {
        matches!(self, Self::Ack(AckKind::Puback | AckKind::Pubcomp, ..))
    }
}

impl Connection {
    /// The number of bytes that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.out.len() + self.taken
    }

    /// Updates the totals of all clients.
    pub(super) fn count(&mut self, totals: &mut Totals) {
        let pending = self.pending();
        totals.output_bytes = totals.output_bytes - self.counted + pending;
        self.counted = pending;
    }

    /// Removes all topic aliases.
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
