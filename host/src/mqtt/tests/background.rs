//! The connection for messages that may wait, with a scripted broker.

use std::time::Duration;

use bytes::Bytes;
use expect_test::expect;
use rumqttc::v5::mqttbytes::v5::{Packet, PingReq};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::false_broker::{CONNACK, Client, FalseBroker};
use crate::mqtt::{
    LinkInfo, Settings, Timeouts,
    background::{Background, Connector, Event, Order, Refused},
    limits,
};

const UP: Event = Event::Up { ended_at: None, keeps_retained: true };

/// The user of a connection.
struct User {
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<Event>,
    _running: JoinHandle<()>,
}

impl User {
    async fn new(settings: Settings) -> Self {
        let info = LinkInfo::default();
        info.set_broker(Some(("mqtt://127.0.0.1".to_owned(), "5")));
        let mut connector = Connector::new(settings, "a test", info).expect("no certificates");
        let (ends_in, ends) = oneshot::channel();
        let running = async move {
            let (ends, connections) = connector.connect();
            let _ = ends_in.send(ends);
            connections.await;
        };
        let running = tokio::spawn(running);
        let Background { orders, events } = ends.await.expect("it runs");
        Self { orders, events, _running: running }
    }

    async fn publish(&self, topic: impl Into<String>, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.order(Order::Publish { topic: topic.into(), payload, retain: true }).await;
    }

    async fn order(&self, order: Order) {
        self.orders.send(order).await.expect("the connection runs");
    }

    async fn next(&mut self) -> Event {
        timeout(Duration::from_secs(30), self.events.recv()).await.expect("an event in time").expect("it runs")
    }
}

/// Makes a connection with this answer to CONNECT.
async fn connected(settings: impl Fn(Settings) -> Settings, connack: &[u8]) -> (FalseBroker, Client, User) {
    let broker = FalseBroker::new().await;
    let mut user = User::new(settings(broker.settings())).await;
    let client = welcome(&broker, connack).await;
    assert!(matches!(user.next().await, Event::Up { .. }));
    (broker, client, user)
}

async fn welcome(broker: &FalseBroker, connack: &[u8]) -> Client {
    let (mut client, packet) = broker.connect_packet().await;
    let Packet::Connect(connect, None, _) = packet else { panic!("expected CONNECT without a will") };
    assert_eq!(connect.client_id, "roost-test-background");
    client.send(connack).await;
    client
}

fn often_checked(settings: Settings) -> Settings {
    Settings { timeouts: Timeouts { keep_alive: Duration::from_millis(200), ..settings.timeouts }, ..settings }
}

#[tokio::test]
async fn only_so_many_messages_are_under_way() {
    // Of each broker, and of one that takes one at a time.
    for (connack, most) in [(CONNACK, limits::BACKGROUND_WINDOW), (&[0x20, 6, 0, 0, 3, 0x21, 0, 1], 1)] {
        let (_broker, mut client, mut user) = connected(|settings| settings, connack).await;
        let all = most + 3;
        let read = async {
            let mut ids = Vec::new();
            for _ in 0..most {
                ids.push(client.publish().await.pkid);
            }
            assert!(client.read.is_empty());
            for number in most..all {
                client.puback(ids[number - most]).await;
                ids.push(client.publish().await.pkid);
                assert!(client.read.is_empty());
            }
            for id in &ids[all - most..] {
                client.puback(*id).await;
            }
        };
        let orders = async {
            for number in 0..all {
                user.publish(format!("a/{number}"), b"on").await;
            }
        };
        tokio::join!(read, orders);
        // With a window of one, it is idle after each.
        for _ in 0..if most == 1 { all } else { 1 } {
            assert_eq!(user.next().await, Event::Idle);
        }
    }
}

#[tokio::test]
async fn what_the_broker_refuses_ends_no_connection() {
    // Packets of 64 bytes, nothing retained.
    let connack = [0x20, 10, 0, 0, 7, 0x25, 0, 0x27, 0, 0, 0, 64];
    let (_broker, mut client, mut user) = connected(|settings| settings, &connack).await;
    let mut refused = Vec::new();
    user.publish("a", &[b'x'; 64]).await;
    refused.push(user.next().await);
    user.publish("a", b"on").await;
    refused.push(user.next().await);
    user.order(Order::Publish { topic: "a".into(), payload: "on".into(), retain: false }).await;
    let publish = client.publish().await;
    let [high, low] = publish.pkid.to_be_bytes();
    client.send(&[0x40, 3, high, low, 0x87]).await;
    refused.push(user.next().await);
    assert_eq!(user.next().await, Event::Idle);
    user.order(Order::Subscribe { filter: "b/#".into(), with_retained: true }).await;
    let (id, filter) = client.subscribe().await;
    assert_eq!(filter, "b/#");
    client.suback(id, 0x87).await;
    refused.push(user.next().await);
    assert_eq!(user.next().await, Event::Idle);
    user.order(Order::Subscribe { filter: "c/#".into(), with_retained: true }).await;
    let (id, _) = client.subscribe().await;
    client.suback(id, 1).await;
    assert_eq!([user.next().await, user.next().await], [Event::Subscribed("c/#".into()), Event::Idle]);
    user.order(Order::Unsubscribe("b/#".into())).await;
    assert_eq!(client.unsubscribe().await.1, "b/#");
    let reasons = refused.iter().map(|event| match event {
        Event::Refused { topic, what, reason } => format!("{topic} {what:?}: {reason}"),
        other => format!("{other:?}"),
    });
    expect![[r#"
        a LargeMessage: the broker accepts packets of 64 bytes at most, and this one has 72
        a Message: the broker does not support retained messages
        a Message: the user is not authorized (0x87)
        b/# Subscription: the user is not authorized (0x87)"#]]
    .assert_eq(&reasons.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn messages_of_other_clients_arrive_in_their_order() {
    let (_broker, mut client, mut user) = connected(|settings| settings, CONNACK).await;
    client.message("a", b"1", None, true).await;
    client.message("b", b"2", Some(7), false).await;
    assert!(matches!(client.next().await, Packet::PubAck(ack) if ack.pkid == 7));
    for (topic, payload, retained) in [("a", "1", true), ("b", "2", false)] {
        let Event::Arrived(message) = user.next().await else { panic!("expected a message") };
        assert_eq!((&*message.topic, &message.payload[..], message.retained), (topic, payload.as_bytes(), retained));
        assert!(!message.has_run);
    }
}

#[tokio::test]
async fn a_broker_that_sends_nothing_or_acknowledges_nothing_loses_the_connection() {
    let (broker, mut client, mut user) = connected(often_checked, CONNACK).await;
    assert_eq!(client.next().await, Packet::PingReq(PingReq));
    assert_eq!(user.next().await, Event::Down);
    // What is ordered without a connection is dropped.
    user.publish("a", b"lost").await;
    let mut client = welcome(&broker, CONNACK).await;
    assert_eq!(user.next().await, UP);
    user.publish("a", b"on").await;
    assert_eq!(&client.publish().await.payload[..], b"on");
    let ((), down) = tokio::join!(client.answer_pings(), user.next());
    assert_eq!(down, Event::Down);
}

#[tokio::test]
async fn a_user_that_is_slow_loses_no_message_and_no_connection() {
    let (_broker, mut client, mut user) = connected(often_checked, CONNACK).await;
    let all = 4 * limits::BACKGROUND_EVENTS;
    for number in 0..all {
        client.message("a", number.to_string().as_bytes(), None, false).await;
    }
    // The broker answers, and its answers are not read yet.
    for _ in 0..4 {
        assert_eq!(client.next().await, Packet::PingReq(PingReq));
        client.send(super::false_broker::PINGRESP).await;
    }
    for number in 0..all {
        let Event::Arrived(message) = user.next().await else { panic!("the connection has ended at {number}") };
        assert_eq!(&message.payload[..], number.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_broker_that_ends_the_connection_at_a_message_names_it() {
    let (broker, mut client, mut user) = connected(|settings| settings, CONNACK).await;
    // It says why, and ends the connection nevertheless.
    user.publish("a", b"on").await;
    user.publish("b", b"on").await;
    let [high, low] = client.publish().await.pkid.to_be_bytes();
    client.publish().await;
    client.send(&[0x40, 3, high, low, 0x95]).await;
    drop(client);
    let Event::Refused { topic, what, .. } = user.next().await else { panic!("expected a refusal") };
    assert_eq!((topic.as_str(), what), ("a", Refused::LargeMessage));
    assert_eq!(user.next().await, Event::Down);
    let mut client = welcome(&broker, CONNACK).await;
    assert_eq!(user.next().await, Event::Up { ended_at: Some("a".to_owned()), keeps_retained: true });
    // It says nothing.
    for topic in ["b", "c", "d"] {
        user.publish(topic, b"on").await;
    }
    let accepted = client.publish().await.pkid;
    client.puback(accepted).await;
    client.publish().await;
    client.publish().await;
    drop(client);
    assert_eq!(user.next().await, Event::Down);
    let client = welcome(&broker, CONNACK).await;
    assert_eq!(user.next().await, Event::Up { ended_at: Some("c".to_owned()), keeps_retained: true });
    // It ends for another reason.
    drop(client);
    assert_eq!(user.next().await, Event::Down);
    let _client = welcome(&broker, CONNACK).await;
    assert_eq!(user.next().await, UP);
}
