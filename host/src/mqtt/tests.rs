//! Tests the link against real brokers and against a false one.

mod background;
mod brokers;
mod conformance;
mod ends;
mod false_broker;
mod identity;
mod listening;
mod outages;
mod suspects;
mod versions;

use std::time::Duration;

use roost_scheduler::{
    body::Body,
    event::{AttemptId, Event, LinkId, Publish},
    model::{Confirm, Matches, Message, Policy, Qos, Step},
    names::{DeviceName, JobId, Origin, PluginName, RunId},
    time::Instant,
    topic::Topic,
};
use tokio::{sync::mpsc, time::timeout};

use super::{Link, LinkInfo, Settings, Timeouts, connect};
use crate::lease::SendPermit;

/// Returns the second attempt at the only step of a run.
pub(super) fn attempt(link: LinkId, attempt: AttemptId, topic: &str, payload: &[u8], qos: Qos) -> Publish {
    let occurrence = Instant::from_millis(1_803_882_600_000).expect("in range");
    let message = Message {
        topic: Topic::parse(topic).expect("valid"),
        payload: payload.into(),
        qos,
        retain: false,
        properties: None,
    };
    Publish {
        link,
        attempt,
        run: RunId {
            plugin: PluginName::parse("coop-door").expect("valid"),
            device: DeviceName::parse("north").expect("valid"),
            job: JobId::parse("open").expect("valid"),
            occurrence,
            origin: Origin::Trigger,
        },
        due: occurrence.plus_ms(250),
        number: 2,
        expiry_ms: None,
        body: body(message),
        step: 0,
    }
}

fn body(message: Message) -> Body {
    let id = JobId::parse("open").expect("valid");
    Body::new(&id, None, &Policy::default(), &[Step { after_ms: 0, message, once: false, confirm: None }])
}

/// Changes the message of an attempt.
pub(super) fn edit(attempt: &mut Publish, change: impl FnOnce(&mut Message)) {
    let mut message = attempt.message().to_step().message;
    change(&mut message);
    attempt.body = body(message);
}

/// Returns a confirmation by an exact report on a topic.
pub(super) fn confirm(topic: &str, report: &str) -> Confirm {
    let matches = Matches::Bytes(report.as_bytes().into());
    Confirm { topic: Topic::parse(topic).expect("valid"), matches, within_ms: 1_000, already: false }
}

/// Returns settings for a broker on this machine, with short pauses.
pub(super) fn settings(port: u16) -> Settings {
    Settings {
        urls: vec![format!("mqtt://127.0.0.1:{port}").parse().expect("a good URL")],
        user: None,
        password: None,
        ca_file: None,
        identity: None,
        status_topic: Some(Topic::parse("roost/status").expect("valid")),
        client_id: "roost-test".to_owned(),
        permit: SendPermit::default(),
        timeouts: Timeouts {
            keep_alive: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_millis(500),
        },
    }
}

/// A link and its events.
struct Probe {
    link: Link,
    info: LinkInfo,
    events: mpsc::Receiver<Event>,
}

impl Probe {
    fn connect(settings: Settings) -> Self {
        let (sender, events) = mpsc::channel(64);
        let info = LinkInfo::default();
        Self { link: connect(settings, sender, info.clone()).expect("good settings"), info, events }
    }

    async fn next(&mut self) -> Event {
        // A long limit, which only ends a test that would otherwise hang.
        let event = timeout(Duration::from_secs(60), self.events.recv()).await;
        event.expect("an event within a minute").expect("the link is still there")
    }

    /// Waits for `LinkUp` and returns its number and credit.
    async fn up(&mut self) -> (LinkId, u32) {
        match self.next().await {
            Event::LinkUp { link, credit } => (link, credit),
            other => panic!("expected LinkUp, got {other:?}"),
        }
    }

    async fn acked(&mut self) -> AttemptId {
        match self.next().await {
            Event::Acked { attempt, .. } => attempt,
            other => panic!("expected Acked, got {other:?}"),
        }
    }

    async fn refused(&mut self) -> (AttemptId, String) {
        match self.next().await {
            Event::Refused { attempt, reason, .. } => (attempt, reason),
            other => panic!("expected Refused, got {other:?}"),
        }
    }

    async fn down(&mut self) -> LinkId {
        match self.next().await {
            Event::LinkDown { link } => link,
            other => panic!("expected LinkDown, got {other:?}"),
        }
    }
}
