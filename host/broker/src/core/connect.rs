//! CONNECT: accepts or refuses clients, and resumes their sessions.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::Arc,
    time::Instant,
};

use super::{Admission, ConnectionId, Core, Session, SessionId, Totals};
use crate::{
    clock::Now,
    codec::{self, Acceptance, Connect, Fault, Reason, Version},
    disk::{Op, Will},
    limits,
    message::Message,
};

impl Core {
    pub(super) fn connect(&mut self, id: ConnectionId, connect: &Connect<'_>, now: Now) -> Result<(), Fault> {
        let will = connect.will.as_ref().map(to_will);
        let assigned = connect.client_id.is_empty().then(|| self.assigned_id());
        let expiry_s = connect.session_expiry_s.min(limits::SESSION_EXPIRY_S);
        let mut acceptance = Acceptance {
            session_present: false,
            session_expiry_s: (expiry_s != connect.session_expiry_s).then_some(expiry_s),
            assigned_id: assigned.as_deref(),
        };
        let mut connack = Vec::new();
        codec::connack(&mut connack, connect.version, &acceptance);
        let is_too_large = (connack.len() > connect.packet_bytes as usize).then_some(Reason::PacketTooLarge);
        if let Some(reason) = self.refusal(connect, will.as_ref(), now).or(is_too_large) {
            let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
            codec::refusal(&mut connection.out, connect.version, reason);
            self.close(id);
            return Ok(());
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        self.silent.remove(&id);
        connection.version = Some(connect.version);
        connection.is_privileged = self.admission.is_privileged(connect.client_id);
        connection.keep_alive_s = connect.keep_alive_s;
        connection.packet_bytes = limits::PACKET_BYTES.min(connect.packet_bytes as usize);
        connection.window = limits::IN_FLIGHT.min(connect.receive_maximum).into();
        let client = assigned.as_deref().unwrap_or(connect.client_id);
        let (session, session_present) = self.session_for(client, connect.clean_start, now);
        self.attach(id, session, expiry_s, will);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        acceptance.session_present = session_present;
        codec::connack(&mut connection.out, connect.version, &acceptance);
        connection.count(&mut self.totals);
        connection.wake.notify_one();
        self.resume(session, now);
        Ok(())
    }

    /// Returns why a client is refused, if so.
    fn refusal(&mut self, connect: &Connect<'_>, will: Option<&Will>, now: Now) -> Option<Reason> {
        let client = connect.client_id;
        if connect.has_authentication {
            return Some(Reason::BadAuthenticationMethod);
        }
        let is_nameless = client.is_empty() && connect.version == Version::Three && !connect.clean_start;
        if client.len() > limits::CLIENT_ID_BYTES || is_nameless {
            return Some(Reason::ClientIdentifierNotValid);
        }
        let Totals { will_bytes, .. } = self.totals;
        if will.is_some_and(|will| will_bytes + will.message.size() > limits::WILL_BYTES) {
            return Some(Reason::QuotaExceeded);
        }
        let is_remembered = will.is_some() || connect.session_expiry_s > 0;
        if is_remembered && self.disk.is_behind() {
            return Some(Reason::ServerBusy);
        }
        let connected = self.connections.values().filter(|connection| connection.session.is_some()).count();
        if connected >= self.admission.most && !self.admission.is_privileged(client) {
            let most = self.admission.most;
            self.warnings.admission.warn(now, |more| {
                tracing::warn!(
                    "built-in broker: a client is refused: {most} clients are connected, which is the limit{more}"
                );
            });
            return Some(Reason::ServerBusy);
        }
        None
    }

    /// Returns a client identifier that is not in use.
    fn assigned_id(&self) -> String {
        loop {
            let number = RandomState::new().build_hasher().finish();
            let id = format!("auto-{number:016x}");
            if !self.clients.contains_key(id.as_str()) {
                return id;
            }
        }
    }

    /// Returns the session of a client, and whether it existed. An existing connection of the client is ended first.
    fn session_for(&mut self, client: &str, clean_start: bool, now: Now) -> (SessionId, bool) {
        let found = self.clients.get(client).copied();
        if let Some(old) = found.and_then(|session| self.sessions.get(&session)?.connection) {
            self.take_over(old, clean_start, now);
        }
        // It may have ended with its connection.
        let found = self.clients.get(client).copied();
        match found {
            Some(session) if !clean_start => (session, true),
            Some(session) => {
                self.end_session(session, now);
                (self.new_session(client), false)
            }
            None => (self.new_session(client), false),
        }
    }

    fn take_over(&mut self, old: ConnectionId, clean_start: bool, now: Now) {
        if let Some(connection) = self.connections.get_mut(&old)
            && connection.version == Some(Version::Five)
            && !connection.is_closing
        {
            codec::disconnect(&mut connection.out, Reason::SessionTakenOver);
        }
        // With `clean_start` the old session ends now, and a will that was to be delayed is published now.
        if clean_start && let Some(session) = self.session_of(old) {
            session.expiry_s = 0;
        }
        self.detach(old, true, now);
        self.close(old);
    }

    fn new_session(&mut self, client: &str) -> SessionId {
        self.last_session += 1;
        let client: Arc<str> = client.into();
        self.clients.insert(Arc::clone(&client), self.last_session);
        self.sessions.insert(self.last_session, Session::new(client));
        self.last_session
    }

    fn attach(&mut self, id: ConnectionId, session: SessionId, expiry_s: u32, will: Option<Will>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(found) = self.sessions.get_mut(&session) else { return };
        connection.session = Some(session);
        found.connection = Some(id);
        found.away = None;
        found.expiry_s = expiry_s;
        found.is_persistent |= expiry_s > 0;
        if found.is_persistent {
            let client = Arc::clone(&found.client);
            self.ops.push(Op::Session { id: session, client, expiry_s, away_ms: None });
        }
        let client = Arc::clone(&found.client);
        // The client has reconnected in time, so that its will is not published.
        self.forget_will(session);
        if let Some((will, _)) = self.orphaned_wills.remove(&client) {
            self.totals.will_bytes -= will.message.size();
            self.ops.push(Op::NoWill(Arc::clone(&client)));
        }
        if let Some(will) = will {
            self.totals.will_bytes += will.message.size();
            self.ops.push(Op::Will { client, will: will.clone() });
            if let Some(found) = self.sessions.get_mut(&session) {
                found.will = Some(will);
            }
        }
    }

    /// Sends unacknowledged packets again.
    fn resume(&mut self, session: SessionId, now: Now) {
        let Some(found) = self.sessions.get_mut(&session) else { return };
        let Some(connection) = found.connection else { return };
        // Their release may not be on disk yet.
        let after = Some(self.token - 1);
        for packet_id in found.queue.released() {
            self.answer(connection, after, super::Answer::Ack(codec::AckKind::Pubrel, packet_id, Reason::Success), now);
        }
        self.pump(session, now);
    }
}

impl Admission {
    fn is_privileged(&self, client: &str) -> bool {
        self.privileged.iter().any(|one| one == client)
    }
}

fn to_will(will: &codec::Will<'_>) -> Will {
    let message = Message {
        topic: will.topic.into(),
        payload: will.payload.into(),
        properties: will.properties.as_ref().into(),
        expires: None,
        counted: Default::default(),
    };
    let (qos, retain, delay_s, expiry_s) = (will.qos, will.retain, will.delay_s, will.expiry_s);
    Will { message: message.into(), qos, retain, delay_s, expiry_s }
}

impl Session {
    pub(super) fn new(client: Arc<str>) -> Self {
        Self {
            client,
            connection: None,
            expiry_s: 0,
            away: None::<Instant>,
            is_persistent: false,
            filters: Default::default(),
            queue: Default::default(),
            received: Default::default(),
            will: None,
            will_due: None,
        }
    }
}
