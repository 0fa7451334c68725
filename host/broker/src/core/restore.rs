//! Restores the state from the database.

use std::{sync::Arc, time::Duration};

use super::{Admission, Core, Session, Totals, Warnings};
use crate::{
    clock::Now,
    disk::{Disk, Op, Saved, SavedMessage},
    limits,
    message::Message,
    queue::Queued,
    tree::{self, Subscriber},
};

impl Core {
    /// Creates a broker with the stored state.
    pub(crate) fn new(saved: Saved, disk: Disk, admission: Admission, now: Now) -> Self {
        let mut core = Self {
            connections: Default::default(),
            silent: Default::default(),
            sessions: Default::default(),
            clients: Default::default(),
            tree: Default::default(),
            retained: Default::default(),
            orphaned_wills: Default::default(),
            admission,
            ops: Vec::new(),
            cancelled: Default::default(),
            token: 1,
            durable: 0,
            holding: Default::default(),
            unresponsive: None,
            disk,
            totals: Totals::default(),
            queued_bytes: Default::default(),
            starving: Default::default(),
            last_connection: 0,
            last_session: 0,
            last_message: 0,
            work: 0,
            round_work: 0,
            found: Vec::new(),
            warnings: Warnings::default(),
        };
        core.restore(saved, now);
        core.tick(now);
        core
    }

    fn restore(&mut self, saved: Saved, now: Now) {
        for session in saved.sessions {
            self.last_session = self.last_session.max(session.id);
            if session.expiry_s == 0 {
                // The session ended with its connection, which ended with the broker. Its will is restored below.
                self.ops.push(Op::EndSession(session.id));
                continue;
            }
            let client: Arc<str> = session.client.into();
            self.clients.insert(Arc::clone(&client), session.id);
            let mut restored = Session::new(client);
            restored.is_persistent = true;
            restored.expiry_s = session.expiry_s;
            // If the clock was set back, the client counts as just disconnected.
            let away_ms = session.away_ms.map_or(0, |away_ms| now.wall_ms.saturating_sub(away_ms).max(0));
            let away = Duration::from_millis(away_ms.unsigned_abs());
            restored.away = Some(now.monotonic.checked_sub(away).unwrap_or(now.monotonic));
            if away >= Duration::from_secs(session.expiry_s.into()) {
                restored.expiry_s = 0;
            }
            self.sessions.insert(session.id, restored);
        }
        for subscription in saved.subscriptions {
            let (session, options, id) = (subscription.session, subscription.options, subscription.id);
            let Some(found) = self.sessions.get_mut(&session) else { continue };
            self.tree.insert(&subscription.filter, Subscriber { session, options, id });
            self.totals.filter_bytes += tree::cost(&subscription.filter);
            found.filters.insert(subscription.filter.into());
        }
        for message in saved.messages {
            self.restore_message(message, now);
        }
        for (session, packet_id) in saved.received {
            if let Some(found) = self.sessions.get_mut(&session) {
                found.received.insert(packet_id);
                self.totals.received_ids += 1;
            }
        }
        for (message, qos, expires_ms) in saved.retained {
            let expires = expires_ms.map(|expires_ms| now.at_wall(expires_ms));
            self.retained.insert(Message { expires, ..message }.into(), qos);
        }
        for (client, will) in saved.wills {
            self.totals.will_bytes += will.message.size();
            let due = now.after(limits::WILL_AFTER_RESTART.max(Duration::from_secs(will.delay_s.into())));
            let session = self.clients.get(client.as_str()).and_then(|session| self.sessions.get_mut(session));
            match session {
                Some(session) => (session.will, session.will_due) = (Some(will), Some(due)),
                None => {
                    self.orphaned_wills.insert(client.into(), (will, due));
                }
            }
        }
    }

    fn restore_message(&mut self, saved: SavedMessage, now: Now) {
        self.last_message = self.last_message.max(saved.id);
        let Some(session) = self.sessions.get_mut(&saved.session) else {
            self.ops.push(Op::Unqueue(saved.id));
            return;
        };
        let Some(message) = saved.message else {
            session.queue.restore_released(saved.packet_id, saved.id);
            return;
        };
        let expires = saved.expires_ms.map(|expires_ms| now.at_wall(expires_ms));
        let queued = Queued {
            id: saved.id,
            packet_id: saved.packet_id,
            message: Message { expires, ..message }.into(),
            qos: saved.qos,
            retain: saved.retain,
            subscription_ids: saved.subscription_ids,
            // It may have been sent just before the broker ended.
            repeated: true,
            persisted: Some(0),
        };
        queued.message.count(&self.queued_bytes);
        self.totals.load.add(&queued);
        session.queue.restore(queued);
    }
}
