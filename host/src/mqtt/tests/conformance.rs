//! Tests what the link expects of every broker.

use std::{collections::BTreeSet, sync::Arc};

use roost_scheduler::{
    event::Publish,
    limits,
    model::{MessageProperties, Qos},
    topic::Topic,
};

use super::{
    Probe, attempt,
    brokers::{Broker, Reader, Version},
    edit, settings,
};
use crate::mqtt::wire;

#[tokio::test]
async fn the_built_in_broker_conforms() {
    conforms(&Broker::built_in()).await;
}

#[tokio::test]
async fn another_broker_conforms() {
    conforms(&Broker::another().await).await;
}

#[tokio::test]
async fn a_broker_that_speaks_3_1_1_conforms() {
    conforms(&Broker::old().await).await;
}

pub(super) async fn conforms(broker: &Broker) {
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, credit) = probe.up().await;
    assert_eq!(credit, 1_000);
    assert_eq!(probe.info.get().protocol, Some(broker.version.as_str()));
    // `online` is the first message on the connection, so that it has arrived when this one is acknowledged.
    probe.link.publish(attempt(link, 0, "coop/first", b"words", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 0);
    let mut readers = [broker.reader(Version::Three).await, broker.reader(Version::Five).await];
    for reader in readers.iter_mut().filter(|_| broker.abilities.retained_for_wildcards) {
        assert_eq!(reader.status().await, ("online".to_owned(), true));
    }
    assert_eq!(broker.status_reader().await.status().await, ("online".to_owned(), true));

    every_qos_is_acknowledged_and_delivered(broker, &mut probe, link, &mut readers).await;
    a_message_for_another_link_is_dropped(&mut probe, link, &mut readers).await;
    every_valid_text_is_accepted(&mut probe, link).await;
    a_message_at_its_limits_is_accepted(&mut probe, link).await;
    drop(readers);
    messages_arrive_in_order(broker, &mut probe, link).await;
    for (first, qos) in [(1_000, Qos::AtMostOnce), (10_000, Qos::AtLeastOnce), (20_000, Qos::ExactlyOnce)] {
        thousands_are_each_acknowledged_once(&mut probe, link, first, qos).await;
    }

    let mut reader = broker.reader(Version::Three).await;
    if broker.abilities.retained_for_wildcards {
        assert_eq!(reader.status().await, ("online".to_owned(), true));
    }
    let number = 40_000;
    probe.link.publish(attempt(link, number, "coop/last", b"words", Qos::AtLeastOnce));
    probe.link.stop().await;
    // In any order: they differ in QoS.
    let received = BTreeSet::from([reader.next().await, reader.next().await]);
    let last = format!("coop/last|{}|0|words|||", broker.abilities.delivered(Qos::AtLeastOnce));
    let offline = format!("roost/status|{}|0|offline|||", broker.abilities.delivered(Qos::AtMostOnce));
    assert_eq!(received, BTreeSet::from([last, offline]), "messages published before the stop are sent");
    assert_eq!(broker.status_reader().await.status().await, ("offline".to_owned(), true));

    the_last_will_is_offline(broker, &mut reader).await;
}

async fn every_qos_is_acknowledged_and_delivered(
    broker: &Broker,
    probe: &mut Probe,
    link: u64,
    readers: &mut [Reader; 2],
) {
    for (number, qos) in [(1, Qos::AtMostOnce), (2, Qos::AtLeastOnce), (3, Qos::ExactlyOnce)] {
        let mut publish = attempt(link, number, "coop/north/door/open", b"now", qos);
        publish.expiry_ms = Some(299_500);
        probe.link.publish(publish);
        assert_eq!(probe.acked().await, number);
        let [three, five] = &mut *readers;
        let qos = broker.abilities.delivered(qos);
        assert_eq!(three.next().await, format!("coop/north/door/open|{qos}|0|now|||"));
        let run = "roost-run:coop-door/north/open/2027-03-01T06:30:00Z";
        let due = "roost-due:2027-03-01T06:30:00.250Z";
        let line = five.next().await;
        if broker.version == wire::Version::Three {
            assert_eq!(line, format!("coop/north/door/open|{qos}|0|now|||"), "3.1.1 has no properties");
            continue;
        }
        let (start, properties) = line.split_once("||").expect("no payload format");
        assert!(start.starts_with(&format!("coop/north/door/open|{qos}|0|now|")), "{line}");
        assert!(start.ends_with("|300") || start.ends_with("|299"), "{line}");
        for expected in [run, due, "roost-attempt:2"] {
            assert!(properties.contains(expected), "{line}");
        }
    }
}

async fn a_message_for_another_link_is_dropped(probe: &mut Probe, link: u64, readers: &mut [Reader; 2]) {
    probe.link.publish(attempt(link + 1, 4, "coop/north/door/open", b"too early", Qos::AtLeastOnce));
    probe.link.publish(attempt(link, 5, "coop/north/door/open", b"in time", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 5);
    for reader in readers {
        assert!(reader.next().await.contains("|in time|"));
    }
}

/// A message that `fault` accepts must not end the connection.
async fn every_valid_text_is_accepted(probe: &mut Probe, link: u64) {
    let texts = ["grüße 🐓", " ", "\u{E000}", "\u{FEFF}", "\u{FFFD}", "\u{AD}"];
    for (number, text) in (100..).zip(texts) {
        let publish = attempt(link, number, &format!("coop/{text}"), b"on", Qos::AtLeastOnce);
        let properties = MessageProperties {
            expiry_ms: Some(1),
            content_type: Some(text.to_owned()),
            response_topic: Some(Topic::parse(text).expect("valid")),
            user: vec![(text.to_owned(), text.to_owned()), (String::new(), String::new())],
        };
        probe.link.publish(with_properties(publish, properties));
        assert_eq!(probe.acked().await, number, "{text:?}");
    }
    let levels = "/".repeat(limits::TOPIC_SEPARATORS);
    probe.link.publish(attempt(link, 110, &levels, b"on", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 110);
    let user = |text: &str| MessageProperties { user: vec![("colour".to_owned(), text.to_owned())], ..NO_PROPERTIES };
    probe.link.publish(with_properties(attempt(link, 111, "coop/door", b"on", Qos::AtLeastOnce), user("\u{7}")));
    assert_eq!(probe.refused().await.0, 111);
}

const NO_PROPERTIES: MessageProperties =
    MessageProperties { expiry_ms: None, content_type: None, response_topic: None, user: Vec::new() };

fn with_properties(mut publish: Publish, properties: MessageProperties) -> Publish {
    edit(&mut publish, |message| message.properties = Some(Arc::new(properties)));
    publish
}

/// The largest message that a plan can have must not end the connection.
async fn a_message_at_its_limits_is_accepted(probe: &mut Probe, link: u64) {
    let payload = vec![b'x'; limits::PAYLOAD_BYTES];
    let topic = "x".repeat(limits::TOPIC_BYTES);
    for (number, qos) in [(6, Qos::AtMostOnce), (7, Qos::AtLeastOnce), (8, Qos::ExactlyOnce)] {
        let properties = MessageProperties {
            content_type: Some("x".repeat(limits::PROPERTIES_BYTES)),
            response_topic: Some(Topic::parse(&topic).expect("valid")),
            ..NO_PROPERTIES
        };
        probe.link.publish(with_properties(attempt(link, number, &topic, &payload, qos), properties));
        assert_eq!(probe.acked().await, number);
    }
}

async fn messages_arrive_in_order(broker: &Broker, probe: &mut Probe, link: u64) {
    let mut reader = broker.reader(Version::Three).await;
    if broker.abilities.retained_for_wildcards {
        assert_eq!(reader.status().await, ("online".to_owned(), true));
    }
    let numbers = 500..1_000;
    for number in numbers.clone() {
        probe.link.publish(attempt(link, number, "coop/light", number.to_string().as_bytes(), Qos::AtLeastOnce));
    }
    let qos = broker.abilities.delivered(Qos::AtLeastOnce);
    for number in numbers.clone() {
        assert_eq!(reader.next().await, format!("coop/light|{qos}|0|{number}|||"));
    }
    let mut acked = BTreeSet::new();
    for _ in numbers.clone() {
        acked.insert(probe.acked().await);
    }
    assert!(acked.into_iter().eq(numbers));
}

/// Sends more than the credit at once: the link itself enforces the broker's receive maximum.
async fn thousands_are_each_acknowledged_once(probe: &mut Probe, link: u64, first: u64, qos: Qos) {
    let numbers = first..first + 3_000;
    for number in numbers.clone() {
        probe.link.publish(attempt(link, number, "coop/north/light", b"on", qos));
    }
    let mut acked = BTreeSet::new();
    for _ in numbers.clone() {
        assert!(acked.insert(probe.acked().await), "acknowledged twice");
    }
    assert!(acked.into_iter().eq(numbers));
}

async fn the_last_will_is_offline(broker: &Broker, reader: &mut Reader) {
    let mut probe = Probe::connect(settings(broker.roost));
    probe.up().await;
    assert_eq!(reader.status().await, ("online".to_owned(), false));
    // As if the process had been killed.
    probe.link.task.abort();
    assert_eq!(reader.status().await, ("offline".to_owned(), false));
}
