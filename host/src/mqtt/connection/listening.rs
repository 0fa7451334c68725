//! Subscriptions to devices' reports on a connection.

use std::sync::Arc;

use roost_scheduler::{
    event::{Event, WatchId},
    model::Confirm,
};
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::time::Instant;

use super::Connection;
use crate::{
    config::grant::{Access, how_broker_allows},
    mqtt::{
        failure::Failure,
        limits,
        reason::Reason,
        suspects::Subject,
        wire::{self, Arrived, Version},
    },
    report::Report,
};

impl<S> Connection<S> {
    /// Subscribes for a watch, even if another watch has subscribed to the same topic: the broker then sends its
    /// retained message again.
    pub(super) fn listen(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> Result<(), Failure> {
        let topic = confirm.topic.as_str();
        let subscribe = wire::subscribe(topic);
        if let Some(reason) = self.limits.refusal_of_subscription(&subscribe) {
            let report = Report::new(format!("Roost cannot subscribe to the reports on `{topic}`")).cause(&reason);
            self.subscribe_failed(watch, topic, &report, reason);
            return Ok(());
        }
        if self.hold_back_watch(watch, confirm) {
            return Ok(());
        }
        self.subscribe(watch, confirm)
    }

    pub(super) fn subscribe(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> Result<(), Failure> {
        // In case the id is in use.
        self.stop_listening(watch)?;
        if self.unsubscribing.hold_back(watch, confirm) {
            return Ok(());
        }
        self.watches.add(watch, confirm);
        let mut subscribe = wire::subscribe(confirm.topic.as_str());
        subscribe.pkid = self.in_flight.subscribe(watch);
        self.recent.other(Subject::Subscribe(confirm.topic.as_str().into()), Some(subscribe.pkid), Instant::now());
        self.outgoing.push(&Packet::Subscribe(subscribe))
    }

    /// Ends a watch, and unsubscribes if it is the last one of its topic. The broker need not have answered the
    /// subscription.
    pub(super) fn stop_listening(&mut self, watch: WatchId) -> Result<(), Failure> {
        self.forget_watch(watch);
        self.unsubscribing.forget(watch);
        match self.watches.remove(watch) {
            Some((topic, true)) => self.unsubscribe(&topic),
            _ => Ok(()),
        }
    }

    fn unsubscribe(&mut self, topic: &Arc<str>) -> Result<(), Failure> {
        self.unsubscribing.begin(topic.clone());
        let id = self.in_flight.unsubscribe(topic.clone());
        self.outgoing.push(&wire::unsubscribe(topic, id))
    }

    /// Handles the broker's answer to an unsubscription: watches of the topic that waited for it subscribe now.
    pub(super) fn unsubscribed(&mut self, topic: &str) -> Result<(), Failure> {
        let waiting = self.unsubscribing.end(topic);
        waiting.iter().try_for_each(|(watch, confirm)| self.subscribe(*watch, confirm))
    }

    /// Handles a granted subscription.
    pub(super) fn granted(&mut self, watch: WatchId) {
        if self.watches.contains(watch) {
            self.pending.push(Event::Watching { link: self.link, watch, refused: None });
            self.watches.replay_retained(watch, &mut self.pending);
        }
    }

    /// Handles a refused subscription. An earlier subscription to the topic may still exist.
    pub(super) fn not_granted(&mut self, watch: WatchId, reason: &Reason) -> Result<(), Failure> {
        let Some((topic, is_last)) = self.watches.remove(watch) else { return Ok(()) };
        let report = Report::new(format!("the broker refused the subscription to `{topic}`"))
            .cause(reason)
            .hint(how_broker_allows(&topic, Access::Read));
        self.subscribe_failed(
            watch,
            &topic,
            &report,
            format!("the broker refused the subscription to `{topic}`: {reason}"),
        );
        if is_last { self.unsubscribe(&topic) } else { Ok(()) }
    }

    /// Reports to the core that a watch does not listen, and logs why.
    fn subscribe_failed(&mut self, watch: WatchId, topic: &str, report: &Report, reason: String) {
        if self.warned.len() < limits::WARNINGS && self.warned.insert(topic.into()) {
            tracing::warn!("{report}");
        } else {
            tracing::debug!("{report}");
        }
        self.pending.push(Event::Watching { link: self.link, watch, refused: Some(reason) });
    }

    /// Handles a message. It is acknowledged even if no watch listens to its topic, because the broker waits for that.
    pub(super) fn arrived(&mut self, mut arrived: Arrived) -> Result<(), Failure> {
        if self.limits.version == Version::Three {
            arrived.is_own = self.echoes.consume(&arrived);
        }
        if let Some(id) = arrived.id {
            self.outgoing.push_receipt(id)?;
        }
        self.watches.receive(arrived, &mut self.pending);
        Ok(())
    }
}
