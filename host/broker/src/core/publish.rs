//! PUBLISH: what becomes of a message.

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

/// A message that has been published.
pub(super) struct News<'a> {
    pub(super) from: Option<SessionId>,
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) properties: &'a [u8],
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) expires: Option<Instant>,
}

impl News<'_> {
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
            self.answer(id, Some(self.ticket - 1), Answer::Ack(AckKind::Pubrec, packet_id, Reason::Success), now);
            return Ok(());
        }
        let unacknowledged = connection.held_acks + session.received.len();
        if kind.is_some() && version == Version::Five && unacknowledged >= limits::RECEIVE_MAXIMUM.into() {
            return Err(Fault::new(Reason::ReceiveMaximumExceeded, "more messages at once than the broker allows"));
        }
        let is_full = self.totals.received_ids >= limits::RECEIVED_IDS;
        if publish.qos == Qos::ExactlyOnce && is_full && session.received.len() >= limits::RECEIVED_IDS_ALWAYS {
            return Err(Fault::new(
                Reason::QuotaExceeded,
                "it does not release messages of QoS 2, and others do not either",
            ));
        }
        let news = News {
            from: Some(from),
            topic,
            payload: publish.payload,
            properties: &publish.properties,
            qos: publish.qos,
            retain: publish.retain,
            expires: publish.expiry_s.map(|expiry_s| now.after(Duration::from_secs(expiry_s.into()))),
        };
        let before = self.ops.len();
        let reason = if kind.is_some() && version == Version::Five && !self.has_room(&news) {
            self.complain_of_retained(topic, now);
            Reason::QuotaExceeded
        } else if self.route(&news, now) {
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
            if session.is_kept {
                self.ops.push(Op::Receive { session: from, packet_id });
            }
        }
        self.answer(id, self.ticket_since(before), Answer::Ack(kind, packet_id, reason), now);
        Ok(())
    }

    fn has_room(&self, news: &News<'_>) -> bool {
        let is_kept = news.retain && !news.payload.is_empty();
        !is_kept || self.retained.has_room(news.topic, news.size() + limits::QUEUED_MESSAGE_BYTES)
    }

    fn complain_of_retained(&mut self, topic: &str, now: Now) {
        let (messages, mib) = (self.retained.len(), self.retained.bytes() >> 20);
        self.complaints.retained.warn(now, |more| {
            tracing::warn!(
                "built-in broker: the message on topic {topic:?} is not retained: there is no room beside {messages} \
                 messages of {mib} MiB, and at most {} of {} MiB are kept{more}",
                limits::RETAINED_MESSAGES,
                limits::RETAINED_BYTES >> 20
            );
        });
    }

    /// Retains a message and delivers it; says whether there is a subscription that matches.
    pub(super) fn route(&mut self, news: &News<'_>, now: Now) -> bool {
        #[cfg(test)]
        crate::tests::break_at(news.topic);
        let mut message = None;
        if news.retain {
            self.retain(news, &mut message, now);
        }
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        self.work += self.tree.find(news.topic, &mut found);
        self.work += found.len();
        if let Some(from) = news.from {
            found.retain(|subscriber| !(subscriber.options.no_local && subscriber.session == from));
        }
        if found.len() > 1 {
            found.sort_by_key(|subscriber| subscriber.session);
        }
        // A session that has several subscriptions gets it once, as the best of them says.
        for same in found.chunk_by(|one, other| one.session == other.session) {
            let Some(first) = same.first() else { continue };
            let best = same.iter().map(|subscriber| subscriber.options.qos).max().unwrap_or(Qos::AtMostOnce);
            let retain_as_published = same.iter().any(|subscriber| subscriber.options.retain_as_published);
            let options = SubscribeOptions { qos: best, retain_as_published, ..first.options };
            self.deliver(
                news,
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

    fn retain(&mut self, news: &News<'_>, message: &mut Option<Arc<Message>>, now: Now) {
        let is_forgotten = news.payload.is_empty() || !self.has_room(news);
        if is_forgotten {
            if !news.payload.is_empty() {
                self.complain_of_retained(news.topic, now);
            }
            // A message that does not fit takes away the older one all the same: what a new subscription gets is not
            // what was.
            if self.retained.forget(news.topic) {
                self.ops.push(Op::Unretain(news.topic.into()));
            }
            return;
        }
        let message = message.get_or_insert_with(|| Arc::new(news.to_message()));
        self.retained.keep(Arc::clone(message), news.qos);
        let expires_ms = news.expires.map(|expires| now.to_wall(expires));
        self.ops.push(Op::Retain { message: Arc::clone(message), qos: news.qos, expires_ms });
    }
}

impl Connection {
    /// The topic of a message: its own, or the one that its alias stands for.
    fn topic_of<'a>(&mut self, publish: &Publish<'a>, totals: &mut Totals) -> Result<Cow<'a, str>, Fault> {
        let Some(alias) = publish.topic_alias else { return Ok(publish.topic.into()) };
        let old = self.aliases.get(&alias);
        if publish.topic.is_empty() {
            let unknown = Fault::new(Reason::TopicAliasInvalid, "a topic alias that was not set");
            return Ok(old.ok_or(unknown)?.to_string().into());
        }
        let bytes = totals.alias_bytes - old.map_or(0, |old| old.len()) + publish.topic.len();
        if bytes > limits::ALIASES_BYTES {
            return Err(Fault::new(Reason::QuotaExceeded, "there is no room for more topic aliases"));
        }
        totals.alias_bytes = bytes;
        self.aliases.insert(alias, publish.topic.into());
        Ok(publish.topic.into())
    }
}
