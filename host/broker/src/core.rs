//! What the broker decides: no sockets, no disk, no clock. Connections bring packets, and take away bytes.

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
    disk::{Disk, MessageId, Op, Ticket, Will},
    limits,
    retained::RetainedMessages,
    tree::{Subscriber, Tree},
};

pub use self::state::Totals;
use self::state::{Answer, Complaints, Connection, Replay, Session};

/// The number of a connection.
pub(crate) type ConnectionId = u64;
/// The number of a session, also on disk.
pub(crate) type SessionId = u64;

/// See the module.
pub(crate) struct Core {
    connections: HashMap<ConnectionId, Connection>,
    /// Those that have not sent CONNECT.
    silent: BTreeMap<ConnectionId, Instant>,
    sessions: HashMap<SessionId, Session>,
    clients: HashMap<Arc<str>, SessionId>,
    tree: Tree,
    retained: RetainedMessages,
    /// Of clients that were connected, without a lasting session, when the broker was ended: they may come back.
    orphaned_wills: HashMap<Arc<str>, (Will, Instant)>,
    admission: Admission,
    /// What belongs to the next transaction.
    ops: Vec<Op>,
    /// Messages in it that are not to be kept after all.
    cancelled: HashSet<MessageId>,
    /// Its number.
    ticket: Ticket,
    durable: Ticket,
    /// Connections for which something is held until it is durable.
    holding: HashSet<ConnectionId>,
    /// A client that acknowledges nothing while there is no room for others: it is ended after the packet at hand.
    unresponsive: Option<ConnectionId>,
    disk: Disk,
    totals: Totals,
    /// Bytes of all messages in queues, each counted once.
    queued_bytes: Arc<AtomicUsize>,
    /// Sessions whose clients would take more, if there were room for it.
    starving: BTreeSet<SessionId>,
    last_connection: ConnectionId,
    last_session: SessionId,
    last_message: MessageId,
    /// How much has been looked at in this turn.
    work: usize,
    /// The same since all connections had their turns.
    round_work: usize,
    /// Kept for its memory.
    found: Vec<Subscriber>,
    complaints: Complaints,
}

/// Which clients are let in.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// Clients at once.
    pub(crate) most: usize,
    /// Connections that have not sent CONNECT.
    pub(crate) most_silent: usize,
    /// Client identifiers that are let in even then: the host's own.
    pub(crate) privileged: Vec<String>,
}

/// What a connection does after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Others have their turn: that was a lot of work.
    Yield,
    Continue,
    /// Nothing more is read.
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

    /// Whether there is a connection.
    pub(crate) fn has_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// A connection begins. `wake` is notified when it has something to do.
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

    /// Ends the oldest connection that has not sent CONNECT; says whether there was one.
    pub(crate) fn end_oldest_silent(&mut self) -> bool {
        let Some((oldest, _)) = self.silent.pop_first() else { return false };
        self.close(oldest);
        true
    }

    /// The next packet of a connection.
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
            connection.caused = self.ticket;
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
            Packet::Ack(ack) => self.acknowledged(id, ack, now),
            Packet::Subscribe(subscribe) => {
                self.subscribe(id, &subscribe, now);
                return Ok(Next::Yield);
            }
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(id, &unsubscribe, now),
            Packet::Pingreq => self.pong(id),
            Packet::Disconnect(disconnect) => {
                self.disconnected(id, disconnect, now)?;
                return Ok(Next::Close);
            }
        }
        Ok(Next::Continue)
    }

    fn disconnected(&mut self, id: ConnectionId, disconnect: Disconnect, now: Now) -> Result<(), Fault> {
        if let Some(session) = self.session_of(id) {
            match disconnect.session_expiry_s {
                Some(1..) if session.expiry_s == 0 => {
                    return Err(Fault::protocol("a session that was to end with its connection gets an expiry"));
                }
                Some(expiry_s) => session.expiry_s = expiry_s.min(limits::SESSION_EXPIRY_S),
                None => {}
            }
        }
        self.detach(id, disconnect.with_will, now);
        self.close(id);
        Ok(())
    }

    /// A connection has to end, because of what it brought or did not bring.
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
        let client =
            client.map_or_else(|| "that has not connected".to_owned(), |session| format!("{:?}", session.client));
        self.complaints.fault.warn(now, |more| tracing::warn!("built-in broker: client {client} ended: {fault}{more}"));
        self.detach(id, true, now);
        self.close(id);
        self.commit();
    }

    /// A connection is gone.
    pub(crate) fn closed(&mut self, id: ConnectionId, now: Now) {
        self.detach(id, true, now);
        if let Some(connection) = self.connections.remove(&id) {
            self.totals.output_bytes -= connection.counted;
        }
        self.silent.remove(&id);
        self.holding.remove(&id);
        self.finish(now);
    }

    /// What is to be written next, in the place of what has been written. Empty: nothing is.
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

    /// Whether it ends when everything is written.
    pub(crate) fn is_closing(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.is_closing)
    }

    /// Whether its packets are read at the moment.
    pub(crate) fn may_read(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            let waits_for_disk = connection.caused > self.durable && self.disk.is_behind();
            !connection.is_closing
                && !waits_for_disk
                && connection.pending() <= limits::OUTPUT_STOPS_INPUT_BYTES
                && connection.held.len() < usize::from(limits::RECEIVE_MAXIMUM)
        })
    }

    /// After how many seconds of silence a client counts as lost, if it has said so; `None` before CONNECT.
    pub(crate) fn keep_alive_s(&self, id: ConnectionId) -> Option<u16> {
        self.connections.get(&id).filter(|connection| connection.version.is_some()).map(|one| one.keep_alive_s)
    }

    /// A transaction is durable, and those before it.
    pub(crate) fn durable(&mut self, ticket: Ticket, now: Now) {
        self.durable = ticket;
        for id in mem::take(&mut self.holding) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            while connection.held.front().is_some_and(|(ticket, _)| *ticket <= self.durable) {
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

    /// The host stops: clients are disconnected, and their wills stay on disk.
    pub(crate) fn shut_down(&mut self, now: Now) {
        for connection in self.connections.values_mut() {
            if connection.version == Some(Version::Five) && !connection.is_closing {
                codec::disconnect(&mut connection.out, Reason::ServerShuttingDown);
            }
            connection.is_closing = true;
            connection.wake.notify_one();
        }
        for (id, session) in &mut self.sessions {
            if session.connection.take().is_some() && session.is_kept {
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

    /// Answers a packet, after the transaction that the answer depends on, if it depends on one.
    fn answer(&mut self, id: ConnectionId, after: Option<Ticket>, answer: Answer, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Answer::Bytes(bytes) = &answer
            && bytes.len() > connection.packet_bytes
        {
            let fault = Fault::new(Reason::PacketTooLarge, "it takes no packets as large as an answer has to be");
            return self.fail(id, fault, now);
        }
        let after = after.filter(|ticket| *ticket > self.durable);
        if let Some(ticket) = after {
            connection.caused = ticket;
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

    /// PINGRESP waits for no disk, unlike other answers: a client that gets none believes that the broker is gone.
    fn pong(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        codec::pingresp(&mut connection.out);
        connection.count(&mut self.totals);
        connection.wake.notify_one();
    }

    /// The transaction that has what was added since there were so many.
    fn ticket_since(&self, ops: usize) -> Option<Ticket> {
        (self.ops.len() > ops).then_some(self.ticket)
    }

    /// Ends a connection when everything is written.
    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.is_closing = true;
            connection.wake.notify_one();
        }
    }
}
