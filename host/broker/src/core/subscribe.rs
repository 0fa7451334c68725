//! SUBSCRIBE and UNSUBSCRIBE.

use super::{Answer, ConnectionId, Core, SessionId};
use crate::{
    clock::Now,
    codec::{self, Reason, Subscribe, Unsubscribe, Version},
    disk::Op,
    limits, topic,
    tree::{self, Subscriber},
};

/// The only refusal code of 3.1.1.
const FAILURE: u8 = 0x80;

/// The number of levels in all filters, which is the number of nodes that are visited.
fn levels<'a>(filters: impl Iterator<Item = &'a str>) -> usize {
    filters.map(|filter| filter.split('/').count()).sum()
}

impl Core {
    pub(super) fn subscribe(&mut self, id: ConnectionId, subscribe: &Subscribe<'_>, now: Now) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (Some(version), Some(session)) = (connection.version, connection.session) else { return };
        let before = self.ops.len();
        self.work += levels(subscribe.filters.iter().map(|(filter, _)| *filter));
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        for (filter, options) in &subscribe.filters {
            let subscriber = Subscriber { session, options: *options, id: subscribe.subscription_id };
            codes.push(match self.subscribe_to(filter, subscriber) {
                Ok(is_new) => {
                    if options.retain_handling == 0 || options.retain_handling == 1 && is_new {
                        self.schedule_replay(session, filter, subscriber);
                    }
                    options.qos as u8
                }
                Err(_) if version == Version::Three => FAILURE,
                Err(reason) => reason as u8,
            });
        }
        let mut bytes = Vec::new();
        codec::suback(&mut bytes, version, subscribe.packet_id, &codes);
        self.answer(id, self.token_since(before), Answer::Bytes(bytes), now);
        self.replay(session, now);
        self.pump(session, now);
    }

    fn subscribe_to(&mut self, filter: &str, subscriber: Subscriber) -> Result<bool, Reason> {
        if topic::is_shared(filter) {
            return Err(Reason::SharedSubscriptionsNotSupported);
        }
        if !topic::is_filter(filter) {
            return Err(Reason::TopicFilterInvalid);
        }
        let session = subscriber.session;
        let found = self.sessions.get_mut(&session).ok_or(Reason::QuotaExceeded)?;
        let is_new = !found.filters.contains(filter);
        let is_full = found.filters.len() >= limits::SUBSCRIPTIONS_PER_CLIENT
            || self.totals.filter_bytes + tree::cost(filter) > limits::SUBSCRIPTIONS_BYTES;
        if is_new && is_full {
            return Err(Reason::QuotaExceeded);
        }
        found.filters.insert(filter.into());
        if found.is_persistent {
            let Subscriber { options, id, .. } = subscriber;
            self.ops.push(Op::Subscribe { session, filter: filter.into(), options, id });
        }
        if self.tree.insert(filter, subscriber) {
            self.totals.filter_bytes += tree::cost(filter);
        }
        Ok(is_new)
    }

    pub(super) fn unsubscribe(&mut self, id: ConnectionId, unsubscribe: &Unsubscribe<'_>, now: Now) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (Some(version), Some(session)) = (connection.version, connection.session) else { return };
        let before = self.ops.len();
        self.work += levels(unsubscribe.filters.iter().copied());
        let codes: Vec<_> =
            unsubscribe.filters.iter().map(|filter| self.unsubscribe_from(session, filter) as u8).collect();
        let mut bytes = Vec::new();
        codec::unsuback(&mut bytes, version, unsubscribe.packet_id, &codes);
        self.answer(id, self.token_since(before), Answer::Bytes(bytes), now);
    }

    fn unsubscribe_from(&mut self, session: SessionId, filter: &str) -> Reason {
        let Some(found) = self.sessions.get_mut(&session) else { return Reason::NoSubscriptionExisted };
        if let Some(connection) = found.connection.and_then(|id| self.connections.get_mut(&id)) {
            connection.replays.remove(filter);
        }
        if !found.filters.remove(filter) {
            return Reason::NoSubscriptionExisted;
        }
        if found.is_persistent {
            self.ops.push(Op::Unsubscribe { session, filter: filter.into() });
        }
        self.tree.remove(filter, session);
        self.totals.filter_bytes -= tree::cost(filter);
        Reason::Success
    }
}
