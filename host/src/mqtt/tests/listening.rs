//! Devices' reports, as every broker must deliver them.

use std::{collections::BTreeSet, path::PathBuf};

use bytes::BytesMut;
use roost_scheduler::{
    event::{Event, LinkId, WatchId},
    model::Qos,
};
use rumqttc::v5::mqttbytes::v5::{Packet, PubRel};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Probe, attempt,
    brokers::{Broker, Version, free_port},
    confirm, edit, settings,
};
use crate::mqtt::{
    connection::handshake,
    message::message,
    wire::{self, AckKind, Incoming},
};

const STATE: &str = "coop/north/door/state";

/// A device's client, whose messages carry no run id.
struct Device {
    stream: TcpStream,
    read: BytesMut,
    version: wire::Version,
    has_qos_2: bool,
    /// The packet id of its last message. Ids are not reused at once: a broker may still process an acknowledged
    /// message.
    packet_id: u16,
}

impl Device {
    async fn connect(broker: &Broker) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", broker.roost)).await.expect("it listens");
        stream.set_nodelay(true).expect("it is TCP");
        let connect = wire::connect("device", None, 600, None);
        let version = broker.version;
        let (_, read) = handshake(&mut stream, connect, version).await.expect("anonymous access");
        Self { stream, read, version, has_qos_2: broker.abilities.qos_2, packet_id: 0 }
    }

    async fn report(&mut self, topic: &str, report: &str, qos: Qos, retain: bool) {
        let mut report = attempt(1, 1, topic, report.as_bytes(), qos);
        edit(&mut report, |message| message.retain = retain);
        let mut publish = message(&report);
        publish.properties = None;
        self.packet_id = self.packet_id % 1_000 + 1;
        publish.pkid = if qos == Qos::AtMostOnce { 0 } else { self.packet_id };
        self.send(Packet::Publish(publish)).await;
        match qos {
            Qos::AtMostOnce => {}
            Qos::ExactlyOnce if self.has_qos_2 => {
                self.acked(AckKind::Pubrec).await;
                self.send(Packet::PubRel(PubRel::new(self.packet_id, None))).await;
                self.acked(AckKind::Pubcomp).await;
            }
            Qos::AtLeastOnce | Qos::ExactlyOnce => self.acked(AckKind::Puback).await,
        }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        self.version.write(&packet, &mut bytes).expect("encodable");
        self.stream.write_all(&bytes).await.expect("it is still there");
    }

    async fn acked(&mut self, kind: AckKind) {
        loop {
            match wire::next_packet(&mut self.read, self.version).expect("readable") {
                Some(Incoming::Ack(ack)) => return assert_eq!((ack.kind, ack.id), (kind, self.packet_id)),
                Some(other) => panic!("unexpected {other:?}"),
                None => assert_ne!(self.stream.read_buf(&mut self.read).await.expect("it is still there"), 0),
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) watch: WatchId,
    pub(super) matches: bool,
    pub(super) retained: bool,
    pub(super) excerpt: String,
}

impl Received {
    pub(super) fn new(watch: WatchId, matches: bool, retained: bool, excerpt: &str) -> Self {
        Self { watch, matches, retained, excerpt: excerpt.to_owned() }
    }
}

impl Probe {
    pub(super) fn watch(&self, link: LinkId, watch: WatchId, topic: &str, report: &str) {
        self.link.watch(link, watch, confirm(topic, report).into());
    }

    /// Waits until all orders so far have been carried out.
    async fn flush(&mut self, link: LinkId) {
        self.link.publish(attempt(link, 0, "coop/light", b"on", Qos::AtLeastOnce));
        assert_eq!(self.acked().await, 0);
    }

    pub(super) async fn received(&mut self) -> Received {
        match self.next().await {
            Event::Reported { watch, matches, retained, excerpt, .. } => Received { watch, matches, retained, excerpt },
            other => panic!("expected Reported, got {other:?}"),
        }
    }

    /// Waits for both the granted subscription and the expected retained message, which may arrive twice.
    async fn watching_and_received(&mut self, expected: &Received) {
        let (mut watching, mut received) = (false, false);
        while !(watching && received) {
            match self.next().await {
                Event::Watching { watch, refused: None, .. } if watch == expected.watch => watching = true,
                Event::Reported { watch, matches, retained, excerpt, .. } => {
                    received |= *expected == Received { watch, matches, retained, excerpt };
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// Returns the next report that is not a retained message.
    async fn received_live(&mut self) -> Received {
        loop {
            let received = self.received().await;
            if !received.retained {
                return received;
            }
        }
    }

    pub(super) async fn watching(&mut self) -> (WatchId, Option<String>) {
        match self.next().await {
            Event::Watching { watch, refused, .. } => (watch, refused),
            other => panic!("expected Watching, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_built_in_broker_brings_reports() {
    brings_reports(&Broker::built_in()).await;
}

#[tokio::test]
async fn another_broker_brings_reports() {
    brings_reports(&Broker::another().await).await;
}

#[tokio::test]
async fn a_broker_that_speaks_3_1_1_brings_reports() {
    brings_reports(&Broker::old().await).await;
}

pub(super) async fn brings_reports(broker: &Broker) {
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, _) = probe.up().await;
    let mut device = Device::connect(broker).await;
    reports_arrive_until_the_watch_ends(&mut probe, link, &mut device).await;
    a_retained_message_is_reported_to_each_watch(&mut probe, link, &mut device).await;
    a_watch_can_end_before_the_broker_has_answered(&mut probe, link, &mut device).await;
    own_messages_are_not_reports(&mut probe, link, &mut device).await;
    a_flood_does_not_delay_messages(&mut probe, link, &mut device).await;
    thousands_of_topics_can_be_watched(&mut probe, link, &mut device).await;
    probe.link.stop().await;
}

async fn reports_arrive_until_the_watch_ends(probe: &mut Probe, link: LinkId, device: &mut Device) {
    probe.watch(link + 1, 90, STATE, "open");
    probe.watch(link, 1, STATE, "open");
    assert_eq!(probe.watching().await, (1, None), "an order for another link is ignored");
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        device.report("coop/north/door", "open", qos, false).await;
        device.report(STATE, "opening", qos, false).await;
        assert_eq!(probe.received().await, Received::new(1, false, false, "opening"));
        device.report(STATE, "open", qos, false).await;
        assert_eq!(probe.received().await, Received::new(1, true, false, "open"));
    }
    probe.watch(link, 2, STATE, "shut");
    assert_eq!(probe.watching().await, (2, None));
    device.report(STATE, "shut", Qos::AtLeastOnce, false).await;
    let received = [probe.received().await, probe.received().await];
    assert_eq!(received, [Received::new(1, false, false, "shut"), Received::new(2, true, false, "shut")]);

    probe.link.unwatch(link + 1, 2);
    probe.link.unwatch(link, 1);
    probe.link.unwatch(link, 1);
    probe.flush(link).await;
    device.report(STATE, "open", Qos::AtLeastOnce, false).await;
    assert_eq!(probe.received().await, Received::new(2, false, false, "open"));
    probe.link.unwatch(link, 2);
    probe.flush(link).await;
    device.report(STATE, "unheard", Qos::AtLeastOnce, false).await;
    probe.watch(link, 3, "coop/south/door/state", "open");
    assert_eq!(probe.watching().await, (3, None));
    device.report("coop/south/door/state", "open", Qos::AtLeastOnce, false).await;
    assert_eq!(probe.received().await, Received::new(3, true, false, "open"));
    probe.link.unwatch(link, 3);
}

async fn a_retained_message_is_reported_to_each_watch(probe: &mut Probe, link: LinkId, device: &mut Device) {
    device.report(STATE, "open", Qos::AtLeastOnce, true).await;
    probe.watch(link, 11, STATE, "open");
    probe.watching_and_received(&Received::new(11, true, true, "open")).await;
    probe.watch(link, 12, STATE, "shut");
    probe.watching_and_received(&Received::new(12, false, true, "open")).await;
    device.report(STATE, "shut", Qos::AtLeastOnce, true).await;
    assert_eq!(probe.received_live().await, Received::new(11, false, false, "shut"));
    assert_eq!(probe.received_live().await, Received::new(12, true, false, "shut"));
    for watch in [11, 12] {
        probe.link.unwatch(link, watch);
    }
    probe.watch(link, 13, STATE, "shut");
    probe.watching_and_received(&Received::new(13, true, true, "shut")).await;
    probe.link.unwatch(link, 13);
    probe.flush(link).await;
    device.report(STATE, "", Qos::AtLeastOnce, true).await;
}

async fn a_watch_can_end_before_the_broker_has_answered(probe: &mut Probe, link: LinkId, device: &mut Device) {
    for watch in 21..=40 {
        probe.watch(link, watch, STATE, "open");
        probe.link.unwatch(link, watch);
    }
    probe.watch(link, 41, STATE, "open");
    assert_eq!(probe.watching().await, (41, None));
    device.report(STATE, "open", Qos::AtLeastOnce, false).await;
    assert_eq!(probe.received().await, Received::new(41, true, false, "open"));
    probe.link.unwatch(link, 41);
}

/// Neither live nor as the retained message.
async fn own_messages_are_not_reports(probe: &mut Probe, link: LinkId, device: &mut Device) {
    let sent = |number, qos| {
        let mut publish = attempt(link, number, STATE, b"open", qos);
        edit(&mut publish, |message| message.retain = true);
        publish
    };
    device.report(STATE, "shut", Qos::AtLeastOnce, true).await;
    probe.watch(link, 31, STATE, "open");
    probe.watching_and_received(&Received::new(31, false, true, "shut")).await;
    for (number, qos) in [(1, Qos::AtMostOnce), (2, Qos::AtLeastOnce), (3, Qos::ExactlyOnce)] {
        probe.link.publish(sent(number, qos));
        assert_eq!(probe.acked().await, number);
        device.report(STATE, "opening", Qos::AtLeastOnce, false).await;
        assert_eq!(probe.received_live().await, Received::new(31, false, false, "opening"));
    }
    for watch in 32..=33 {
        probe.watch(link, watch, STATE, "open");
        assert_eq!(probe.watching().await, (watch, None));
        device.report(STATE, "open", Qos::AtLeastOnce, false).await;
        for watch in 31..=watch {
            assert_eq!(probe.received().await, Received::new(watch, true, false, "open"));
        }
    }
    for watch in 31..=33 {
        probe.link.unwatch(link, watch);
    }
    probe.flush(link).await;
    device.report(STATE, "", Qos::AtLeastOnce, true).await;
}

/// Subscribes more often than may be under way at the same time, and publishes in between.
async fn thousands_of_topics_can_be_watched(probe: &mut Probe, link: LinkId, device: &mut Device) {
    let numbers = 1_000..2_500;
    for number in numbers.clone() {
        probe.watch(link, number, &format!("coop/{number}/state"), "open");
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtLeastOnce));
    }
    let (mut watching, mut acked) = (BTreeSet::new(), BTreeSet::new());
    while watching.len() + acked.len() < 2 * numbers.clone().count() {
        assert!(match probe.next().await {
            Event::Watching { watch, refused: None, .. } => watching.insert(watch),
            Event::Acked { attempt, .. } => acked.insert(attempt),
            other => panic!("unexpected {other:?}"),
        });
    }
    assert!(watching.into_iter().eq(numbers.clone()));
    assert!(acked.into_iter().eq(numbers.clone()));
    device.report("coop/2499/state", "open", Qos::AtLeastOnce, false).await;
    assert_eq!(probe.received().await, Received::new(2_499, true, false, "open"));
    for number in numbers {
        probe.link.unwatch(link, number);
    }
}

async fn a_flood_does_not_delay_messages(probe: &mut Probe, link: LinkId, device: &mut Device) {
    for watch in 51..=60 {
        probe.watch(link, watch, STATE, "last");
        assert_eq!(probe.watching().await, (watch, None));
    }
    for number in 5_000..8_000 {
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtLeastOnce));
    }
    let flood = async {
        for number in 1..=20_000 {
            let qos = if number % 20 == 0 { Qos::AtLeastOnce } else { Qos::AtMostOnce };
            device.report(STATE, r#"{"state":"moving"}"#, qos, false).await;
        }
        device.report(STATE, "last", Qos::AtLeastOnce, false).await;
    };
    let received = async {
        let (mut acked, mut matched) = (BTreeSet::new(), BTreeSet::new());
        while acked.len() < 3_000 || matched.len() < 10 {
            match probe.next().await {
                Event::Acked { attempt, .. } => assert!(acked.insert(attempt), "acknowledged twice"),
                Event::Reported { watch, matches: true, .. } => drop(matched.insert(watch)),
                Event::Reported { matches: false, .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    };
    tokio::join!(flood, received);
    for watch in 51..=60 {
        probe.link.unwatch(link, watch);
    }
}

#[tokio::test]
async fn the_built_in_broker_supports_topics_beyond_ascii() {
    let broker = Broker::built_in();
    let mut readers = [broker.reader(Version::Three).await, broker.reader(Version::Five).await];
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, _) = probe.up().await;
    for reader in &mut readers {
        reader.status().await;
    }
    let mut device = Device::connect(&broker).await;
    for (watch, topic) in (1..).zip(["über/tür", "日本/ドア", "🐓", "\u{AD}", "a/ü"]) {
        device.report(topic, "open", Qos::AtLeastOnce, true).await;
        probe.watch(link, watch, topic, "open");
        probe.watching_and_received(&Received::new(watch, true, true, "open")).await;
        device.report(topic, "shut", Qos::AtLeastOnce, false).await;
        assert_eq!(probe.received_live().await, Received::new(watch, false, false, "shut"));
        probe.link.unwatch(link, watch);
        for reader in &mut readers {
            for report in ["open", "shut"] {
                let mut line = reader.next().await;
                while line.starts_with("roost/status") {
                    line = reader.next().await;
                }
                assert!(line.starts_with(&format!("{topic}|")) && line.contains(report), "{line}");
            }
        }
    }
    probe.link.publish(attempt(link, 1, "über/licht", b"on", Qos::ExactlyOnce));
    assert_eq!(probe.acked().await, 1);
}

#[tokio::test]
async fn a_subscription_that_the_broker_forbids_is_refused_with_its_reason() {
    let rules = r#"{"defaultACLAccess":{"publishClientSend":true,"subscribe":false,"unsubscribe":false}}"#;
    let lines = format!(
        "allow_anonymous true\nplugin {}\nplugin_opt_config_file DIR/rules",
        dynamic_security().expect("Mosquitto's packages contain it").display()
    );
    let broker = Broker::mosquitto_with(free_port(), &lines, &[("rules", rules)]).await;
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, _) = probe.up().await;
    let reason = format!("the broker refused the subscription to `{STATE}`: the user is not authorized (0x87)");
    for watch in 1..=3 {
        probe.watch(link, watch, STATE, "open");
        assert_eq!(probe.watching().await, (watch, Some(reason.clone())));
    }
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 1, "the link is not affected");
}

/// Finds the plugin of Mosquitto that refuses subscriptions. With an `acl_file`, Mosquitto grants every subscription
/// and then delivers nothing.
fn dynamic_security() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
    let mut folders = folders.chain(["/usr/lib".into(), "/usr/local/lib".into()]);
    folders.find_map(|folder| Some(folder.join("mosquitto_dynamic_security.so")).filter(|path| path.exists()))
}
