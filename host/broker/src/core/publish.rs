//! PUBLISH: retains and delivers messages.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Answer, Connection, ConnectionId, Core, SessionId, Totals};
use crate::{
    clock::Now,
    codec::{AckKind, Fault, Publish, Qos, Reason, SubscribeOptions, Version},
    disk::Op,
    limits,
    message::Message,
};

/// A published message or will.
pub(super) struct Publication<'a> {
    pub(super) from: Option<SessionId>,
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) properties: &'a [u8],
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) expires: Option<Instant>,
}

impl Publication<'_> {
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    pub(super) fn to_message(&self) -> Message {
        Message {
            topic: self.topic.into(),
            payload: self.payload.into(),
            properties: self.properties.into(),
            expires: self.expires,
            counted: Default::default(),
        }
    }
}

impl Core {
    pub(super) fn publish(&mut self, id: ConnectionId, publish: &Publish<'_>, now: Now) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let (Some(version), Some(from)) = (connection.version, connection.session) else { return Ok(()) };
        let topic = connection.topic_of(publish, &mut self.totals)?;
        let topic = topic.as_ref();
        let Some(session) = self.sessions.get_mut(&from) else { return Ok(()) };
        let (kind, packet_id) = match publish.qos {
            Qos::AtMostOnce => (None, 0),
            Qos::AtLeastOnce => (Some(AckKind::Puback), publish.packet_id),
            Qos::ExactlyOnce => (Some(AckKind::Pubrec), publish.packet_id),
        };
        if publish.qos == Qos::ExactlyOnce && session.received.contains(&packet_id) {
            self.answer(id, Some(self.token - 1), Answer::Ack(AckKind::Pubrec, packet_id, Reason::Success), now);
            return Ok(());
        }
        let unacknowledged = connection.held_acks + session.received.len();
        if kind.is_some() && version == Version::Five && unacknowledged >= limits::RECEIVE_MAXIMUM.into() {
            return Err(Fault::new(Reason::ReceiveMaximumExceeded, "it exceeds the receive maximum"));
        }
        let is_full = self.totals.received_ids >= limits::RECEIVED_IDS;
        if publish.qos == Qos::ExactlyOnce && is_full && session.received.len() >= limits::RECEIVED_IDS_ALWAYS {
            return Err(Fault::new(
                Reason::QuotaExceeded,
                "it does not release messages of QoS 2, and too many are unreleased",
            ));
        }
        let publication = Publication {
            from: Some(from),
            topic,
            payload: publish.payload,
            properties: &publish.properties,
            qos: publish.qos,
            retain: publish.retain,
            expires: publish.expiry_s.map(|expiry_s| now.after(Duration::from_secs(expiry_s.into()))),
        };
        let before = self.ops.len();
        let reason = if kind.is_some() && version == Version::Five && !self.has_room(&publication) {
            self.warn_not_retained(topic, now);
            Reason::QuotaExceeded
        } else if self.route(&publication, now) {
            Reason::Success
        } else {
            Reason::NoMatchingSubscribers
        };
        let Some(kind) = kind else { return Ok(()) };
        if kind == AckKind::Pubrec
            && reason != Reason::QuotaExceeded
            && let Some(session) = self.sessions.get_mut(&from)
        {
            session.received.insert(packet_id);
            self.totals.received_ids += 1;
            if session.is_persistent {
                self.ops.push(Op::Receive { session: from, packet_id });
            }
        }
        self.answer(id, self.token_since(before), Answer::Ack(kind, packet_id, reason), now);
        Ok(())
    }

    fn has_room(&self, publication: &Publication<'_>) -> bool {
        let is_persistent = publication.retain && !publication.payload.is_empty();
        !is_persistent || self.retained.has_room(publication.topic, publication.size() + limits::QUEUED_MESSAGE_BYTES)
    }

    fn warn_not_retained(&mut self, topic: &str, now: Now) {
        let (messages, mib) = (self.retained.len(), self.retained.bytes() >> 20);
        self.warnings.retained.warn(now, |more| {
            tracing::warn!(
                "built-in broker: the message on topic {topic:?} is not retained: there are {messages} retained \
                 messages of {mib} MiB, and the limit is {} of {} MiB{more}",
                limits::RETAINED_MESSAGES,
                limits::RETAINED_BYTES >> 20
            );
        });
    }

    /// Retains a message if it requests that, and delivers it. Returns whether a subscription matches.
    pub(super) fn route(&mut self, publication: &Publication<'_>, now: Now) -> bool {
        #[cfg(test)]
        crate::tests::break_at(publication.topic);
        let mut message = None;
        if publication.retain {
            self.retain(publication, &mut message, now);
        }
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        self.work += self.tree.find(publication.topic, &mut found);
        self.work += found.len();
        if let Some(from) = publication.from {
            found.retain(|subscriber| !(subscriber.options.no_local && subscriber.session == from));
        }
        if found.len() > 1 {
            found.sort_by_key(|subscriber| subscriber.session);
        }
        // A session with several matching subscriptions receives it once, at the highest QoS of them.
        for same in found.chunk_by(|one, other| one.session == other.session) {
            let Some(first) = same.first() else { continue };
            let best = same.iter().map(|subscriber| subscriber.options.qos).max().unwrap_or(Qos::AtMostOnce);
            let retain_as_published = same.iter().any(|subscriber| subscriber.options.retain_as_published);
            let options = SubscribeOptions { qos: best, retain_as_published, ..first.options };
            self.deliver(
                publication,
                first.session,
                options,
                same.iter().filter_map(|subscriber| subscriber.id),
                &mut message,
                now,
            );
        }
        let is_matched = !found.is_empty();
        self.found = found;
        is_matched
    }

    fn retain(&mut self, publication: &Publication<'_>, message: &mut Option<Arc<Message>>, now: Now) {
        let is_forgotten = publication.payload.is_empty() || !self.has_room(publication);
        if is_forgotten {
            if !publication.payload.is_empty() {
                self.warn_not_retained(publication.topic, now);
            }
            // A message that does not fit removes the older one as well, so that new subscriptions do not receive an
            // outdated one.
            if self.retained.remove(publication.topic) {
                self.ops.push(Op::Unretain(publication.topic.into()));
            }
            return;
        }
        let message = message.get_or_insert_with(|| Arc::new(publication.to_message()));
        self.retained.insert(Arc::clone(message), publication.qos);
        let expires_ms = publication.expires.map(|expires| now.to_wall(expires));
        self.ops.push(Op::Retain { message: Arc::clone(message), qos: publication.qos, expires_ms });
    }
}

impl Connection {
    /// Returns the topic of a message: its own, or its alias's.
    fn topic_of<'a>(&mut self, publish: &Publish<'a>, totals: &mut Totals) -> Result<Cow<'a, str>, Fault> {
        let Some(alias) = publish.topic_alias else { return Ok(publish.topic.into()) };
        let old = self.aliases.get(&alias);
        if publish.topic.is_empty() {
            let unknown = Fault::new(Reason::TopicAliasInvalid, "a topic alias that was not set");
            return Ok(old.ok_or(unknown)?.to_string().into());
        }
        let bytes = totals.alias_bytes - old.map_or(0, |old| old.len()) + publish.topic.len();
        if bytes > limits::ALIASES_BYTES {
            return Err(Fault::new(Reason::QuotaExceeded, "the topics of all clients' aliases are too large"));
        }
        totals.alias_bytes = bytes;
        self.aliases.insert(alias, publish.topic.into());
        Ok(publish.topic.into())
    }
}
