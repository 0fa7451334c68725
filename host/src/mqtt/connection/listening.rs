//! Listening to devices' reports on a connection.

use std::sync::Arc;

use roost_scheduler::{
    event::{Event, WatchId},
    model::Confirm,
};
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::time::Instant;

use super::{Connection, WARNINGS};
use crate::{
    config::grant::{Access, how_broker_allows},
    mqtt::{
        failure::Failure,
        reason::Reason,
        suspects::Subject,
        wire::{self, Arrived, Version},
    },
    report::Report,
};

impl<S> Connection<S> {
    /// Subscribes, even if that was done before for another watch: what the broker has kept is wanted again.
    pub(super) fn listen(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> Result<(), Failure> {
        let topic = confirm.topic.as_str();
        let subscribe = wire::subscribe(topic);
        if let Some(reason) = self.limits.refusal_of_subscription(&subscribe) {
            let report = Report::new(format!("the reports on `{topic}` cannot be listened to")).cause(&reason);
            self.is_deaf(watch, topic, &report, reason);
            return Ok(());
        }
        if self.holds_back_watch(watch, confirm) {
            return Ok(());
        }
        self.subscribe(watch, confirm)
    }

    pub(super) fn subscribe(&mut self, watch: WatchId, confirm: &Arc<Confirm>) -> Result<(), Failure> {
        // In case there is one under that number.
        self.stop_listening(watch)?;
        if self.unsubscribing.holds_back(watch, confirm) {
            return Ok(());
        }
        self.watches.add(watch, confirm);
        let mut subscribe = wire::subscribe(confirm.topic.as_str());
        subscribe.pkid = self.ledger.subscribe(watch);
        self.recent.other(Subject::Subscribe(confirm.topic.as_str().into()), Some(subscribe.pkid), Instant::now());
        self.outgoing.push(&Packet::Subscribe(subscribe))
    }

    /// Unsubscribes, if no other watch listens to the same topic. The broker need not have answered to the subscription.
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
        let id = self.ledger.unsubscribe(topic.clone());
        self.outgoing.push(&wire::unsubscribe(topic, id))
    }

    /// The broker has ended the subscription to a topic: the watches that wait for that subscribe anew.
    pub(super) fn unsubscribed(&mut self, topic: &str) -> Result<(), Failure> {
        let waiting = self.unsubscribing.end(topic);
        waiting.iter().try_for_each(|(watch, confirm)| self.subscribe(*watch, confirm))
    }

    /// The broker has said yes.
    pub(super) fn granted(&mut self, watch: WatchId) {
        if self.watches.contains(watch) {
            self.untold.push(Event::Watching { link: self.link, watch, refused: None });
            self.watches.granted(watch, &mut self.untold);
        }
    }

    /// The broker has said no. An earlier subscription to the topic may be there all the same.
    pub(super) fn not_granted(&mut self, watch: WatchId, reason: &Reason) -> Result<(), Failure> {
        let Some((topic, is_last)) = self.watches.remove(watch) else { return Ok(()) };
        let report = Report::new(format!("the broker refused the subscription to `{topic}`"))
            .cause(reason)
            .hint(how_broker_allows(&topic, Access::Read));
        self.is_deaf(watch, &topic, &report, format!("the broker refused the subscription to `{topic}`: {reason}"));
        if is_last { self.unsubscribe(&topic) } else { Ok(()) }
    }

    fn is_deaf(&mut self, watch: WatchId, topic: &str, report: &Report, reason: String) {
        if self.warned.len() < WARNINGS && self.warned.insert(topic.into()) {
            tracing::warn!("{report}");
        } else {
            tracing::debug!("{report}");
        }
        self.untold.push(Event::Watching { link: self.link, watch, refused: Some(reason) });
    }

    /// A message has come. It is acknowledged even where no watch listens: the broker waits for that.
    pub(super) fn arrived(&mut self, mut arrived: Arrived) -> Result<(), Failure> {
        if self.limits.version == Version::Three {
            arrived.is_ours = self.echoes.takes(&arrived);
        }
        if let Some(id) = arrived.id {
            self.outgoing.push_receipt(id)?;
        }
        self.watches.take(arrived, &mut self.untold);
        Ok(())
    }
}
