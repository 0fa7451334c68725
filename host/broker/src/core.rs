//! The broker's logic, without sockets, disk and clock. Connections pass in packets, and take out bytes.

mod acks;
mod commit;
mod connect;
mod deliver;
mod leave;
mod publish;
mod replay;
mod restore;
mod state;
mod subscribe;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    mem,
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use tokio::sync::Notify;

use crate::{
    clock::Now,
    codec::{self, Disconnect, Fault, Packet, Reason, Version},
    disk::{CommitToken, Disk, MessageId, Op, Will},
    limits,
    retained::RetainedMessages,
    tree::{Subscriber, Tree},
};

pub use self::state::Totals;
use self::state::{Answer, Connection, Replay, Session, Warnings};

/// The number of a connection.
pub(crate) type ConnectionId = u64;
/// The number of a session, in memory and on disk.
pub(crate) type SessionId = u64;

/// The state of the broker.
pub(crate) struct Core {
    connections: HashMap<ConnectionId, Connection>,
    /// The connections that have not sent CONNECT, and when they were opened.
    silent: BTreeMap<ConnectionId, Instant>,
    sessions: HashMap<SessionId, Session>,
    clients: HashMap<Arc<str>, SessionId>,
    tree: Tree,
    retained: RetainedMessages,
    /// The wills of clients without a persistent session that were connected when the broker ended: they may reconnect.
    orphaned_wills: HashMap<Arc<str>, (Will, Instant)>,
    admission: Admission,
    /// The operations of the next transaction.
    ops: Vec<Op>,
    /// Messages in `ops` that were dropped meanwhile.
    cancelled: HashSet<MessageId>,
    /// The token of the next transaction.
    token: CommitToken,
    /// The token of the last durable transaction.
    durable: CommitToken,
    /// Connections with answers that wait for a transaction.
    holding: HashSet<ConnectionId>,
    /// A client that acknowledges nothing while the queues are full. It is disconnected after the current packet.
    unresponsive: Option<ConnectionId>,
    disk: Disk,
    totals: Totals,
    /// Bytes of all messages in queues, each counted once.
    queued_bytes: Arc<AtomicUsize>,
    /// Sessions whose clients could receive more if there were room.
    starving: BTreeSet<SessionId>,
    last_connection: ConnectionId,
    last_session: SessionId,
    last_message: MessageId,
    /// The work of this turn.
    work: usize,
    /// The work of this round.
    round_work: usize,
    /// A buffer for subscribers, reused for its allocation.
    found: Vec<Subscriber>,
    warnings: Warnings,
}

/// The limits of connections.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// The most connected clients.
    pub(crate) most: usize,
    /// The most connections that have not sent CONNECT.
    pub(crate) most_silent: usize,
    /// The host's own client identifiers, which are accepted beyond these limits.
    pub(crate) privileged: Vec<String>,
}

/// What a connection does after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It yields to other connections, because the packet was much work.
    Yield,
    Continue,
    /// It reads nothing more.
    Close,
}

impl Core {
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            clients: self.connections.values().filter(|connection| connection.session.is_some()).count(),
            sessions: self.sessions.len(),
            subscriptions: self.tree.len(),
            retained: self.retained.len(),
            queue_bytes: self.totals.load.bytes,
            ..self.totals
        }
    }

    /// Checks whether there is a connection.
    pub(crate) fn has_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Adds a connection. `wake` is notified when it has something to do.
    pub(crate) fn open(&mut self, wake: Arc<Notify>, now: Now) -> ConnectionId {
        self.last_connection += 1;
        let connection = Connection {
            version: None,
            session: None,
            out: Vec::new(),
            taken: 0,
            counted: 0,
            wake,
            held: VecDeque::new(),
            held_acks: 0,
            replays: BTreeMap::new(),
            window: 0,
            packet_bytes: limits::PACKET_BYTES,
            aliases: HashMap::new(),
            keep_alive_s: 0,
            caused: 0,
            is_privileged: false,
            is_closing: false,
        };
        self.connections.insert(self.last_connection, connection);
        self.silent.insert(self.last_connection, now.monotonic);
        while self.silent.len() > self.admission.most_silent
            && self.silent.first_key_value().is_some_and(|(_, opened)| now.monotonic >= *opened + limits::TIME_TO_SPEAK)
            && self.end_oldest_silent()
        {}
        self.last_connection
    }

    /// Ends the oldest connection that has not sent CONNECT. Returns whether there was one.
    pub(crate) fn end_oldest_silent(&mut self) -> bool {
        let Some((oldest, _)) = self.silent.pop_first() else { return false };
        self.close(oldest);
        true
    }

    /// Handles the next packet of a connection.
    pub(crate) fn receive(&mut self, id: ConnectionId, first: u8, body: &[u8], now: Now) -> Next {
        let Some(connection) = self.connections.get(&id).filter(|connection| !connection.is_closing) else {
            return Next::Close;
        };
        let took = codec::packet(first, body, connection.version).and_then(|packet| self.take(id, packet, now));
        let next = took.unwrap_or_else(|fault| {
            self.fail(id, fault, now);
            Next::Close
        });
        if !self.ops.is_empty()
            && let Some(connection) = self.connections.get_mut(&id)
        {
            connection.caused = self.token;
            self.holding.insert(id);
        }
        self.finish(now);
        if next == Next::Continue && self.work > limits::WORK { Next::Yield } else { next }
    }

    fn take(&mut self, id: ConnectionId, packet: Packet<'_>, now: Now) -> Result<Next, Fault> {
        match packet {
            Packet::Connect(connect) => {
                self.connect(id, &connect, now)?;
                return Ok(Next::Yield);
            }
            Packet::Publish(publish) => self.publish(id, &publish, now)?,
            Packet::Ack(ack) => self.on_ack(id, ack, now),
            Packet::Subscribe(subscribe) => {
                self.subscribe(id, &subscribe, now);
                return Ok(Next::Yield);
            }
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(id, &unsubscribe, now),
            Packet::Pingreq => self.pong(id),
            Packet::Disconnect(disconnect) => {
                self.on_disconnect(id, disconnect, now)?;
                return Ok(Next::Close);
            }
        }
        Ok(Next::Continue)
    }

    fn on_disconnect(&mut self, id: ConnectionId, disconnect: Disconnect, now: Now) -> Result<(), Fault> {
        if let Some(session) = self.session_of(id) {
            match disconnect.session_expiry_s {
                Some(1..) if session.expiry_s == 0 => {
                    return Err(Fault::protocol("DISCONNECT sets an expiry for a session without one"));
                }
                Some(expiry_s) => session.expiry_s = expiry_s.min(limits::SESSION_EXPIRY_S),
                None => {}
            }
        }
        self.detach(id, disconnect.with_will, now);
        self.close(id);
        Ok(())
    }

    /// Ends a connection because of a fault.
    pub(crate) fn fail(&mut self, id: ConnectionId, fault: Fault, now: Now) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.is_closing) else {
            return;
        };
        match connection.version {
            Some(Version::Five) => codec::disconnect(&mut connection.out, fault.reason),
            None if fault.reason == Reason::UnsupportedProtocolVersion => {
                codec::refusal(&mut connection.out, Version::Three, fault.reason);
            }
            Some(Version::Three) | None => {}
        }
        let client = connection.session.and_then(|session| self.sessions.get(&session));
        let client = client.map_or_else(|| "without CONNECT".to_owned(), |session| format!("{:?}", session.client));
        self.warnings
            .fault
            .warn(now, |more| tracing::warn!("built-in broker: disconnected client {client}: {fault}{more}"));
        self.detach(id, true, now);
        self.close(id);
        self.commit();
    }

    /// Removes a connection that has ended.
    pub(crate) fn remove(&mut self, id: ConnectionId, now: Now) {
        self.detach(id, true, now);
        if let Some(connection) = self.connections.remove(&id) {
            self.totals.output_bytes -= connection.counted;
        }
        self.silent.remove(&id);
        self.holding.remove(&id);
        self.finish(now);
    }

    /// Takes the output to write next, after the previous output has been written. It may be empty.
    pub(crate) fn take_output(&mut self, id: ConnectionId, now: Now) -> Vec<u8> {
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        connection.taken = 0;
        connection.count(&mut self.totals);
        let session = connection.session;
        if let Some(session) = session.filter(|_| connection.out.len() < limits::OUTPUT_BYTES / 2) {
            self.replay(session, now);
            self.pump_queue(session, now);
            self.finish(now);
        }
        self.feed_starving(now);
        let Some(connection) = self.connections.get_mut(&id) else { return Vec::new() };
        connection.taken = connection.out.len();
        mem::take(&mut connection.out)
    }

    /// Checks whether a connection ends when its output is written.
    pub(crate) fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.is_closing)
    }

    /// Checks whether a connection's packets may be read now.
    pub(crate) fn may_read(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let waits_for_disk = connection.caused > self.durable && self.disk.is_behind();
            !connection.is_closing
                && !waits_for_disk
                && connection.pending() <= limits::OUTPUT_STOPS_INPUT_BYTES
                && connection.held.len() < usize::from(limits::RECEIVE_MAXIMUM)
        })
    }

    /// Returns a client's keep-alive in seconds, or 0 if it has none. `None` before CONNECT.
    pub(crate) fn keep_alive_s(&self, id: ConnectionId) -> Option<u16> {
        self.connections.get(&id).filter(|connection| connection.version.is_some()).map(|one| one.keep_alive_s)
    }

    /// Handles that a transaction and those before it are durable: sends the answers that wait for them.
    pub(crate) fn set_durable(&mut self, token: CommitToken, now: Now) {
        self.durable = token;
        for id in mem::take(&mut self.holding) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            while connection.held.front().is_some_and(|(token, _)| *token <= self.durable) {
                let Some((_, answer)) = connection.held.pop_front() else { break };
                connection.held_acks -= usize::from(answer.ends_message());
                connection.write(answer, &mut self.totals);
            }
            connection.wake.notify_one();
            if !connection.held.is_empty() || connection.caused > self.durable {
                self.holding.insert(id);
            }
            if let Some(session) = connection.session {
                self.pump(session, now);
            }
        }
        self.finish(now);
    }

    /// Disconnects all clients because the host stops. Their wills stay on disk.
    pub(crate) fn shut_down(&mut self, now: Now) {
        for connection in self.connections.values_mut() {
            if connection.version == Some(Version::Five) && !connection.is_closing {
                codec::disconnect(&mut connection.out, Reason::ServerShuttingDown);
            }
            connection.is_closing = true;
            connection.wake.notify_one();
        }
        for (id, session) in &mut self.sessions {
            if session.connection.take().is_some() && session.is_persistent {
                let (client, expiry_s) = (Arc::clone(&session.client), session.expiry_s);
                self.ops.push(Op::Session { id: *id, client, expiry_s, away_ms: Some(now.wall_ms) });
            }
        }
        for connection in self.connections.values_mut() {
            connection.session = None;
        }
        self.commit();
    }

    fn session_of(&mut self, id: ConnectionId) -> Option<&mut Session> {
        let session = self.connections.get(&id)?.session?;
        self.sessions.get_mut(&session)
    }

    /// Answers a packet, after the transaction that the answer depends on, if any.
    fn answer(&mut self, id: ConnectionId, after: Option<CommitToken>, answer: Answer, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Answer::Bytes(bytes) = &answer
            && bytes.len() > connection.packet_bytes
        {
            let fault = Fault::new(Reason::PacketTooLarge, "its maximum packet size is too small for an answer");
            return self.fail(id, fault, now);
        }
        let after = after.filter(|token| *token > self.durable);
        if let Some(token) = after {
            connection.caused = token;
        }
        if after.is_none() && connection.held.is_empty() {
            connection.write(answer, &mut self.totals);
            connection.wake.notify_one();
        } else {
            connection.held_acks += usize::from(answer.ends_message());
            connection.held.push_back((after.unwrap_or(0), answer));
            self.holding.insert(id);
        }
    }

    /// Sends PINGRESP. Unlike other answers it does not wait for the disk: without it, a client would disconnect.
    fn pong(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        codec::pingresp(&mut connection.out);
        connection.count(&mut self.totals);
        connection.wake.notify_one();
    }

    /// Returns the token of the next transaction if operations were added since there were `ops`.
    fn token_since(&self, ops: usize) -> Option<CommitToken> {
        (self.ops.len() > ops).then_some(self.token)
    }

    /// Ends a connection when its output is written.
    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_closing = true;
            connection.wake.notify_one();
        }
    }
}
