//! A scripted broker that violates the protocol.

use std::time::Duration;

use bytes::BytesMut;
use expect_test::expect;
use roost_scheduler::{event::Event, model::Qos};
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Packet, PubAck, Publish},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    Probe, attempt, edit,
    ends::{end_of_first, failure, in_full},
    listening::Received,
    settings,
};
use crate::mqtt::{End, Settings, Timeouts, failure::Failure};

pub(super) const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
pub(super) const PINGRESP: &[u8] = &[0xD0, 0];

pub(super) struct FalseBroker {
    listener: TcpListener,
}

/// A client's connection to the broker.
pub(super) struct Client {
    stream: TcpStream,
    pub(super) read: BytesMut,
}

impl FalseBroker {
    pub(super) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub(super) fn settings(&self) -> Settings {
        settings(self.listener.local_addr().expect("bound").port())
    }

    /// Accepts a connection and reads CONNECT.
    async fn accept(&self) -> Client {
        let (client, packet) = self.connect_packet().await;
        let Packet::Connect(connect, Some(will), _) = packet else { panic!("expected CONNECT, with a will") };
        assert!(connect.clean_start);
        assert_eq!(connect.client_id, "roost-test");
        assert_eq!(connect.properties.expect("limits").session_expiry_interval, Some(0));
        assert_eq!((&will.topic[..], &will.message[..], will.retain), (&b"roost/status"[..], &b"offline"[..], true));
        client
    }

    /// Accepts a connection and reads some of its first bytes.
    pub(super) async fn accept_any(&self) -> Client {
        let (mut stream, _) = self.listener.accept().await.expect("a client");
        let mut read = BytesMut::new();
        stream.read_buf(&mut read).await.expect("the client is there");
        Client { stream, read }
    }

    /// Accepts a connection and reads its first packet.
    pub(super) async fn connect_packet(&self) -> (Client, Packet) {
        let (stream, _) = self.listener.accept().await.expect("a client");
        let mut client = Client { stream, read: BytesMut::new() };
        let packet = client.next().await;
        (client, packet)
    }

    /// Accepts a connection of a client without a status topic.
    pub(super) async fn accept_and_connack(&self) -> Client {
        let (mut client, packet) = self.connect_packet().await;
        assert!(matches!(packet, Packet::Connect(_, None, _)), "without a status topic there is no will");
        client.send(CONNACK).await;
        client
    }

    /// Accepts a connection, answers with a CONNACK and reads `online`.
    async fn welcome(&self, connack: &[u8]) -> Client {
        let mut client = self.accept().await;
        client.send(connack).await;
        assert_eq!(&client.publish().await.payload[..], b"online");
        client
    }
}

impl Client {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the client is there");
    }

    pub(super) async fn next(&mut self) -> Packet {
        loop {
            // The codec itself, without the link's own framing.
            if let Ok(packet) = Packet::read(&mut self.read, None) {
                return packet;
            }
            let read = self.stream.read_buf(&mut self.read).await.expect("the client is there");
            assert!(read > 0, "the client has gone");
        }
    }

    pub(super) async fn publish(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    pub(super) async fn subscribe(&mut self) -> (u16, String) {
        match self.next().await {
            Packet::Subscribe(subscribe) => (subscribe.pkid, subscribe.filters[0].path.clone()),
            other => panic!("expected SUBSCRIBE, got {other:?}"),
        }
    }

    pub(super) async fn unsubscribe(&mut self) -> (u16, String) {
        match self.next().await {
            Packet::Unsubscribe(unsubscribe) => (unsubscribe.pkid, unsubscribe.filters[0].clone()),
            other => panic!("expected UNSUBSCRIBE, got {other:?}"),
        }
    }

    pub(super) async fn suback(&mut self, id: u16, code: u8) {
        let [high, low] = id.to_be_bytes();
        self.send(&[0x90, 4, high, low, 0, code]).await;
    }

    pub(super) async fn message(&mut self, topic: &str, payload: &[u8], id: Option<u16>, retain: bool) {
        let qos = if id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let mut publish = Publish::new(topic, qos, payload.to_vec(), None);
        (publish.pkid, publish.retain) = (id.unwrap_or(0), retain);
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).expect("encodable");
        self.send(&bytes).await;
    }

    pub(super) async fn puback(&mut self, id: u16) {
        let [high, low] = id.to_be_bytes();
        self.send(&[0x40, 2, high, low]).await;
    }

    /// Answers PINGREQs until the client closes.
    pub(super) async fn answer_pings(mut self) {
        while self.stream.read_buf(&mut self.read).await.is_ok_and(|read| read > 0) {
            while Packet::read(&mut self.read, None).is_ok() {
                let _ = self.stream.write_all(PINGRESP).await;
            }
        }
    }

    /// Reads until the client closes.
    pub(super) async fn read_to_end(mut self) {
        while self.stream.read_buf(&mut self.read).await.is_ok_and(|read| read > 0) {
            self.read.clear();
        }
    }
}

#[tokio::test]
async fn each_unexpected_answer_to_connect_has_its_own_failure() {
    let answers: [(&[u8], bool); 5] = [
        (&[0x20, 2, 0, 1], true),
        (&[0x20, 3, 0, 0x84, 0], true),
        (b"", false),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", true),
        (&[0x20, 3, 0, 0x86, 0], false),
    ];
    let mut failures = Vec::new();
    for (answer, is_tried_in_3_1_1) in answers {
        let broker = FalseBroker::new().await;
        let (failure, ()) = tokio::join!(failure(broker.settings()), async {
            broker.accept().await.send(answer).await;
            if is_tried_in_3_1_1 {
                broker.accept_any().await.send(answer).await;
            }
        });
        failures.push(in_full(&failure, false));
    }
    expect![[r#"
        the broker speaks neither MQTT 5 nor 3.1.1
        hint: Roost needs a broker that speaks MQTT 5 or 3.1.1, such as Mosquitto; or leave `url` out of `[mqtt]` to use the built-in broker
        the broker speaks neither MQTT 5 nor 3.1.1
        hint: Roost needs a broker that speaks MQTT 5 or 3.1.1, such as Mosquitto; or leave `url` out of `[mqtt]` to use the built-in broker
        the broker closed the connection instead of answering
        hint: Roost tries MQTT 3.1.1 next, in case the broker does not support MQTT 5; if the broker closes that connection as well, it may require TLS: then the address starts with `mqtts://`
        the broker sent data that is not valid MQTT: an answer to CONNECT other than CONNACK
        hint: check that a broker without TLS listens at this port; an address with TLS starts with `mqtts://`
        the broker rejected the login: wrong user or password (0x86)
        hint: set `user` and `password` in `[mqtt]`, and allow that user to publish to `status_topic` and the plugins' topics, and to read the topics on which devices report"#]].assert_eq(&failures.join("\n"));
}

#[tokio::test]
async fn a_broker_that_never_answers_causes_a_timeout() {
    let broker = FalseBroker::new().await;
    let settings = broker.settings();
    let settings =
        Settings { timeouts: Timeouts { connect: Duration::from_millis(50), ..settings.timeouts }, ..settings };
    let (failure, _held) = tokio::join!(failure(settings), broker.accept());
    assert!(matches!(failure, Failure::NoAnswer { what: "CONNECT", .. }), "{failure}");
}

#[tokio::test]
async fn each_new_connection_has_a_new_number() {
    let endings: [&[u8]; 9] = [
        b"",
        &[0xE0, 1, 0x8B],
        &[0xE0, 0],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        // PUBCOMP for a message at QoS 1.
        &[0x70, 2, 0, 1],
        // SUBACK for it, and an invalid one.
        &[0x90, 4, 0, 1, 0, 1],
        &[0x90, 4, 0, 9, 0, 3],
        // A message at QoS 2, and one with a topic alias.
        &[0x34, 6, 0, 1, b'a', 0, 1, 0],
        &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1],
    ];
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    for (number, ending) in (1..).zip(endings) {
        let (mut client, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
        assert_eq!(link, number);
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtLeastOnce));
        assert_eq!(client.publish().await.pkid, 1, "each connection counts from the start");
        client.send(ending).await;
        drop(client);
        assert_eq!(probe.down().await, link);
        if ending.is_empty() {
            // A failed try in between shows that the broker was away, so that the topic does not become a suspect.
            drop(broker.accept().await);
        }
    }
}

#[tokio::test]
async fn the_limits_in_connack_are_respected() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    // Receive maximum 2, QoS 1 at most, nothing retained, packets of 1,024 bytes.
    let connack = [0x20, 15, 0, 0, 12, 0x21, 0, 2, 0x24, 1, 0x25, 0, 0x27, 0, 0, 4, 0];
    let (mut client, (link, credit)) = tokio::join!(broker.welcome(&connack), probe.up());
    assert_eq!(credit, 2);

    let mut retained = attempt(link, 3, "coop/light", b"on", Qos::AtLeastOnce);
    edit(&mut retained, |message| message.retain = true);
    let mut reasons = Vec::new();
    for publish in [
        attempt(link, 1, "coop/light", &[0; 1_024], Qos::AtLeastOnce),
        attempt(link, 2, "coop/light", b"on", Qos::ExactlyOnce),
        retained,
    ] {
        let number = publish.attempt;
        probe.link.publish(publish);
        let (attempt, reason) = probe.refused().await;
        assert_eq!(attempt, number);
        reasons.push(reason);
    }

    probe.watch(link, 4, &"x".repeat(1_024), "open");
    let (watch, refused) = probe.watching().await;
    assert_eq!(watch, 4);
    reasons.extend(refused);
    expect![[r#"
        the broker accepts packets of 1024 bytes at most, and this one has 1154
        the broker accepts QoS 1 at most, and the message has QoS 2
        the broker does not support retained messages
        the broker accepts packets of 1024 bytes at most, and the subscription has 1033"#]]
    .assert_eq(&reasons.join("\n"));

    for number in 11..=14 {
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtLeastOnce));
    }
    // At most two of them are under way, and an answer makes room for one more.
    let first = client.publish().await.pkid;
    let second = client.publish().await.pkid;
    assert!(client.read.is_empty());
    client.puback(second).await;
    assert_eq!(probe.acked().await, 12);
    let third = client.publish().await.pkid;
    assert!(client.read.is_empty());
    for id in [first, third] {
        client.puback(id).await;
    }
    assert_eq!(probe.acked().await, 11);
    assert_eq!(probe.acked().await, 13);
    let fourth = client.publish().await.pkid;
    client.puback(fourth).await;
    client.puback(fourth).await;
    assert_eq!(probe.acked().await, 14);
    tokio::join!(client.read_to_end(), probe.link.stop());
}

#[tokio::test]
async fn subscriptions_are_counted_and_share_the_packet_ids() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    let (mut client, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    probe.watch(link, 1, "a", "on");
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    probe.watch(link, 2, "a", "on");
    probe.link.unwatch(link, 1);
    probe.watch(link, 3, "b", "on");
    probe.link.unwatch(link, 2);
    assert_eq!(client.subscribe().await, (1, "a".to_owned()));
    assert_eq!(client.publish().await.pkid, 2);
    assert_eq!(client.subscribe().await, (3, "a".to_owned()));
    assert_eq!(client.subscribe().await, (4, "b".to_owned()));
    assert_eq!(client.unsubscribe().await, (5, "a".to_owned()));
    for id in [1, 3] {
        client.suback(id, 1).await;
    }
    client.suback(4, 0x87).await;
    let refused = "the broker refused the subscription to `b`: the user is not authorized (0x87)";
    assert_eq!(probe.watching().await, (3, Some(refused.to_owned())), "the other watches have ended");
    assert_eq!(client.unsubscribe().await, (6, "b".to_owned()));
    client.message("a", b"on", Some(7), false).await;
    assert_eq!(client.next().await, Packet::PubAck(PubAck::new(7, None)), "a message without a watch is acknowledged");
    client.puback(2).await;
    assert_eq!(probe.acked().await, 1);
    client.suback(1, 1).await;

    // A subscription waits until the unsubscription before it is answered.
    probe.watch(link, 4, "a", "on");
    probe.watch(link, 5, "c", "on");
    assert_eq!(client.subscribe().await.1, "c");
    client.send(&[0xB0, 4, 0, 5, 0, 0]).await;
    let (id, topic) = client.subscribe().await;
    assert_eq!(topic, "a");

    // A retained message may arrive before the answer, and be large.
    client.message("a", &[b'x'; 1_000_000], None, true).await;
    client.suback(id, 0).await;
    let excerpt = format!("{}…", "x".repeat(77));
    let mut events = [format!("{:?}", probe.next().await), format!("{:?}", probe.next().await)];
    events.sort();
    assert!(events[0].contains(&excerpt) && events[1].starts_with("Watching"), "{events:?}");
    tokio::join!(client.read_to_end(), probe.link.stop());
}

#[tokio::test]
async fn an_unanswered_subscription_ends_the_connection() {
    let broker = FalseBroker::new().await;
    let settings = broker.settings();
    let settings =
        Settings { timeouts: Timeouts { keep_alive: Duration::from_millis(200), ..settings.timeouts }, ..settings };
    let mut probe = Probe::connect(settings);
    let (mut client, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    probe.watch(link, 1, "a", "on");
    client.subscribe().await;
    let ((), down) = tokio::join!(client.answer_pings(), probe.down());
    assert_eq!(down, link);
}

#[tokio::test]
async fn queued_reports_are_bounded_while_the_core_is_slow() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    let (mut client, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    probe.watch(link, 1, "a", "on");
    let (id, _) = client.subscribe().await;
    client.suback(id, 1).await;
    assert_eq!(probe.watching().await, (1, None));
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    let id = client.publish().await.pkid;
    for number in 0..50_000 {
        client.message("a", format!("{number}").as_bytes(), None, number % 2 == 0).await;
    }
    client.message("a", b"on", Some(1), false).await;
    // Everything before it has arrived as well.
    assert_eq!(client.next().await, Packet::PubAck(PubAck::new(1, None)));
    client.puback(id).await;
    drop(client);
    let mut reports = Vec::new();
    let mut is_acked = false;
    loop {
        match probe.next().await {
            Event::Reported { watch, matches, retained, excerpt, .. } => {
                reports.push(Received { watch, matches, retained, excerpt });
            }
            Event::Acked { attempt: 1, .. } => is_acked = true,
            Event::LinkDown { .. } => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(is_acked);
    // As many as the capacity of the channel to the core, and one of each kind.
    assert!(reports.len() <= 64 + 4, "{}", reports.len());
    // Of a flood, only the newest report is certain to arrive.
    assert!(reports.contains(&Received::new(1, true, false, "on")), "{reports:?}");
}

#[tokio::test]
async fn acknowledgements_are_read_while_the_broker_does_not_read() {
    let broker = FalseBroker::new().await;
    let settings = broker.settings();
    let settings =
        Settings { timeouts: Timeouts { keep_alive: Duration::from_secs(2), ..settings.timeouts }, ..settings };
    let mut probe = Probe::connect(settings);
    let (mut client, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    // Far more than the buffers of both sockets hold.
    let payload = vec![0; 256 * 1024];
    for number in 1..=200 {
        probe.link.publish(attempt(link, number, "coop/photo", &payload, Qos::AtLeastOnce));
    }
    for number in 1..=3 {
        assert_eq!(client.publish().await.pkid, number);
    }
    for number in 1..=3 {
        client.puback(number).await;
        assert_eq!(probe.acked().await, u64::from(number));
    }
    // Nothing is read from here on, and no PINGREQ is answered.
    assert_eq!(probe.down().await, link);
    let (_second, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    assert_eq!(link, 2);
}

#[tokio::test]
async fn a_silent_broker_ends_the_connection() {
    let broker = FalseBroker::new().await;
    let settings = broker.settings();
    let settings =
        Settings { timeouts: Timeouts { keep_alive: Duration::from_millis(200), ..settings.timeouts }, ..settings };
    let (end, _held) = tokio::join!(end_of_first(settings), async {
        let mut client = broker.welcome(CONNACK).await;
        assert_eq!(client.next().await, Packet::PingReq(rumqttc::v5::mqttbytes::v5::PingReq));
        client
    });
    assert!(matches!(end, End::Lost(Failure::Silent(_), _)));
}

#[tokio::test]
async fn a_missing_acknowledgement_ends_the_connection() {
    let broker = FalseBroker::new().await;
    let settings = broker.settings();
    let settings =
        Settings { timeouts: Timeouts { keep_alive: Duration::from_millis(200), ..settings.timeouts }, ..settings };
    let mut probe = Probe::connect(settings);
    let (mut client, (link, _)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    probe.link.publish(attempt(link, 1, "coop/light", b"on", Qos::AtLeastOnce));
    client.publish().await;
    let ((), down) = tokio::join!(client.answer_pings(), probe.down());
    assert_eq!(down, link);
}

#[tokio::test]
async fn a_slow_core_loses_no_event() {
    let broker = FalseBroker::new().await;
    let mut probe = Probe::connect(broker.settings());
    let (mut client, (link, credit)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    for number in 1..=u64::from(credit) {
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtLeastOnce));
    }
    for number in 1..=credit {
        assert_eq!(u32::from(client.publish().await.pkid), number);
        client.puback(number as u16).await;
    }
    drop(client);
    // Far more events than the capacity of the channel to the core.
    for number in 1..=u64::from(credit) {
        assert_eq!(probe.acked().await, number);
    }
    assert!(matches!(probe.next().await, Event::LinkDown { .. }));
}

#[tokio::test]
async fn the_link_stops_at_once_in_every_state() {
    // While there is no broker.
    let absent = settings(super::brokers::free_port());
    let timeouts = Timeouts {
        first_pause: Duration::from_secs(3_600),
        longest_pause: Duration::from_secs(3_600),
        ..absent.timeouts
    };
    Probe::connect(Settings { timeouts, ..absent }).link.stop().await;
    // While a broker does not answer.
    let broker = FalseBroker::new().await;
    let settings = broker.settings();
    let timeouts = Timeouts { connect: Duration::from_secs(3_600), ..settings.timeouts };
    let probe = Probe::connect(Settings { timeouts, ..settings });
    let _held = broker.accept().await;
    probe.link.stop().await;
    // While its events are not received.
    let mut probe = Probe::connect(broker.settings());
    let (client, (link, credit)) = tokio::join!(broker.welcome(CONNACK), probe.up());
    for number in 1..=u64::from(credit) {
        probe.link.publish(attempt(link, number, "coop/light", b"on", Qos::AtMostOnce));
    }
    tokio::join!(client.read_to_end(), probe.link.stop());
}
