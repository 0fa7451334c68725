//! Ends connections and sessions, and publishes last wills.

use std::{sync::Arc, time::Duration};

use super::{ConnectionId, Core, SessionId};
use crate::{
    clock::Now,
    codec::{Fault, Reason},
    disk::{Op, Will},
    limits, tree,
};

impl Core {
    /// Detaches the session of a connection that ends.
    pub(super) fn detach(&mut self, id: ConnectionId, with_will: bool, now: Now) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.replays.clear();
        connection.held.clear();
        connection.held_acks = 0;
        connection.forget_aliases(&mut self.totals);
        let Some(session) = connection.session.take() else { return };
        let Some(found) = self.sessions.get_mut(&session) else { return };
        found.connection = None;
        found.away = Some(now.monotonic);
        let (expiry_s, delay_s) = (found.expiry_s, found.will.as_ref().map_or(0, |will| will.delay_s));
        found.will_due = Some(now.after(Duration::from_secs(delay_s.min(expiry_s).into())));
        if !with_will {
            self.forget_will(session);
        } else if delay_s.min(expiry_s) == 0 {
            self.publish_will(session, now);
        }
        if expiry_s == 0 {
            self.end_session(session, now);
            return;
        }
        let Some(found) = self.sessions.get_mut(&session) else { return };
        found.queue.interrupt();
        let client = Arc::clone(&found.client);
        self.ops.push(Op::Session { id: session, client, expiry_s, away_ms: Some(now.wall_ms) });
        self.bound_sessions(now);
    }

    /// Deletes a session and its queue. A delayed will is published now.
    pub(super) fn end_session(&mut self, session: SessionId, now: Now) {
        self.publish_will(session, now);
        let Some(ended) = self.sessions.remove(&session) else { return };
        self.clients.remove(&ended.client);
        for filter in &ended.filters {
            self.tree.remove(filter, session);
            self.totals.filter_bytes -= tree::cost(filter);
        }
        self.totals.received_ids -= ended.received.len();
        self.totals.load.remove_all(ended.queue.load());
        self.starving.remove(&session);
        if ended.is_persistent {
            self.ops.push(Op::EndSession(session));
        }
    }

    /// Handles everything that is due: wills, sessions and retained messages that expire.
    pub(crate) fn tick(&mut self, now: Now) {
        let is_due = |due: Option<std::time::Instant>| due.is_some_and(|due| due <= now.monotonic);
        let away = self.sessions.iter().filter(|(_, session)| session.connection.is_none());
        let (mut wills, mut ended) = (Vec::new(), Vec::new());
        for (id, session) in away {
            if session.will.is_some() && is_due(session.will_due) {
                wills.push(*id);
            }
            let lasts = Duration::from_secs(session.expiry_s.into());
            if session.away.is_some_and(|away| now.monotonic.saturating_duration_since(away) >= lasts) {
                ended.push(*id);
            }
        }
        for session in wills {
            self.publish_will(session, now);
        }
        for session in ended {
            self.end_session(session, now);
        }
        let orphaned = self.orphaned_wills.iter().filter(|(_, (_, due))| *due <= now.monotonic);
        let orphaned: Vec<_> = orphaned.map(|(client, _)| Arc::clone(client)).collect();
        for client in orphaned {
            if let Some((will, _)) = self.orphaned_wills.remove(&client) {
                self.totals.will_bytes -= will.message.size();
                self.ops.push(Op::NoWill(client));
                self.send_will(&will, now);
            }
        }
        for topic in self.retained.expired(now) {
            self.retained.remove(&topic);
            self.ops.push(Op::Unretain(topic));
        }
        self.end_slowest(now);
        self.feed_starving(now);
        self.finish(now);
    }

    /// Disconnects the client with the most output, if the output of all clients is near its limit.
    fn end_slowest(&mut self, now: Now) {
        if self.totals.output_bytes <= limits::OUTPUTS_BYTES * 3 / 4 {
            return;
        }
        let slowest = self.connections.iter().filter(|(_, connection)| !connection.is_closing);
        if let Some(slowest) = slowest.max_by_key(|(_, connection)| connection.pending()).map(|(id, _)| *id) {
            let fault = Fault::new(
                Reason::QuotaExceeded,
                "it reads too slowly, and the output of all clients is near its limit",
            );
            self.fail(slowest, fault, now);
        }
    }

    /// Removes the will of a session.
    pub(super) fn forget_will(&mut self, session: SessionId) -> Option<Will> {
        let found = self.sessions.get_mut(&session)?;
        found.will_due = None;
        let will = found.will.take()?;
        self.totals.will_bytes -= will.message.size();
        self.ops.push(Op::NoWill(Arc::clone(&found.client)));
        Some(will)
    }

    fn publish_will(&mut self, session: SessionId, now: Now) {
        if let Some(will) = self.forget_will(session) {
            self.send_will(&will, now);
        }
    }

    fn send_will(&mut self, will: &Will, now: Now) {
        let expires = will.expiry_s.map(|expiry_s| now.after(Duration::from_secs(expiry_s.into())));
        let publication = super::publish::Publication {
            from: None,
            topic: &will.message.topic,
            payload: &will.message.payload,
            properties: &will.message.properties,
            qos: will.qos,
            retain: will.retain,
            expires,
        };
        self.route(&publication, now);
    }

    /// Deletes the session that was disconnected first, if there are too many disconnected ones.
    fn bound_sessions(&mut self, now: Now) {
        let away = || self.sessions.iter().filter(|(_, session)| session.connection.is_none());
        if away().count() <= limits::SESSIONS_AWAY {
            return;
        }
        let Some((oldest, session)) = away().min_by_key(|(_, session)| session.away) else { return };
        let (oldest, client) = (*oldest, Arc::clone(&session.client));
        self.warnings.session.warn(now, |more| {
            tracing::warn!(
                "built-in broker: the session of client {client:?} is deleted: {} sessions of disconnected clients is \
                 the limit{more}",
                limits::SESSIONS_AWAY
            );
        });
        self.end_session(oldest, now);
    }
}
