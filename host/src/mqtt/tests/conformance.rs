//! What the link expects of every broker, tried on those that we know.

use std::collections::BTreeSet;

use roost_scheduler::model::Qos;

use super::{
    Probe, attempt,
    brokers::{Broker, Reader, Version},
    settings,
};

#[tokio::test]
async fn the_built_in_broker_conforms() {
    conforms(&Broker::built_in().await).await;
}

#[tokio::test]
async fn mosquitto_conforms() {
    conforms(&Broker::mosquitto().await).await;
}

async fn conforms(broker: &Broker) {
    let mut probe = Probe::connect(settings(broker.roost));
    let (link, credit) = probe.up().await;
    assert_eq!(credit, 1_000);
    let mut readers = [broker.reader(Version::Three).await, broker.reader(Version::Five).await];
    for reader in &mut readers {
        assert!(reader.next().await.starts_with("roost/status|0|1|online|"));
    }

    every_qos_is_acknowledged_and_delivered(&mut probe, link, &mut readers).await;
    a_message_of_another_link_is_dropped(&mut probe, link, &mut readers).await;
    a_payload_at_its_limit_passes(&mut probe, link).await;
    drop(readers);
    for (first, qos) in [(1_000, Qos::AtMostOnce), (10_000, Qos::AtLeastOnce), (20_000, Qos::ExactlyOnce)] {
        thousands_are_each_acknowledged_once(&mut probe, link, first, qos).await;
    }

    let mut reader = broker.reader(Version::Three).await;
    assert!(reader.next().await.starts_with("roost/status|0|1|online|"));
    let number = 40_000;
    probe.link.publish(attempt(link, number, "coop/last", b"words", Qos::AtLeastOnce));
    probe.link.stop().await;
    assert_eq!(reader.next().await, "coop/last|1|0|words|||", "what was published before is sent");
    assert!(reader.next().await.starts_with("roost/status|0|0|offline|"));
    let mut late = broker.reader(Version::Three).await;
    assert!(late.next().await.starts_with("roost/status|0|1|offline|"), "it is retained");

    the_last_will_says_offline(broker, &mut reader).await;
}

async fn every_qos_is_acknowledged_and_delivered(probe: &mut Probe, link: u64, readers: &mut [Reader; 2]) {
    for (number, qos) in [(1, Qos::AtMostOnce), (2, Qos::AtLeastOnce), (3, Qos::ExactlyOnce)] {
        let mut publish = attempt(link, number, "coop/north/door/open", b"now", qos);
        publish.expiry_ms = Some(299_500);
        probe.link.publish(publish);
        assert_eq!(probe.acked().await, number);
        let [three, five] = &mut *readers;
        let qos = qos as u8;
        assert_eq!(three.next().await, format!("coop/north/door/open|{qos}|0|now|||"));
        let run = "roost-run:coop-door/north/open/2027-03-01T06:30:00Z";
        let due = "roost-due:2027-03-01T06:30:00.250Z";
        let line = five.next().await;
        let (start, properties) = line.split_once("||").expect("no payload format");
        assert!(start.starts_with(&format!("coop/north/door/open|{qos}|0|now|")), "{line}");
        assert!(start.ends_with("|300") || start.ends_with("|299"), "{line}");
        for expected in [run, due, "roost-attempt:2"] {
            assert!(properties.contains(expected), "{line}");
        }
    }
}

async fn a_message_of_another_link_is_dropped(probe: &mut Probe, link: u64, readers: &mut [Reader; 2]) {
    probe.link.publish(attempt(link + 1, 4, "coop/north/door/open", b"too early", Qos::AtLeastOnce));
    probe.link.publish(attempt(link, 5, "coop/north/door/open", b"in time", Qos::AtLeastOnce));
    assert_eq!(probe.acked().await, 5);
    for reader in readers {
        assert!(reader.next().await.contains("|in time|"));
    }
}

async fn a_payload_at_its_limit_passes(probe: &mut Probe, link: u64) {
    let payload = vec![b'x'; roost_scheduler::limits::PAYLOAD_BYTES];
    for (number, qos) in [(6, Qos::AtMostOnce), (7, Qos::AtLeastOnce), (8, Qos::ExactlyOnce)] {
        probe.link.publish(attempt(link, number, "coop/photo", &payload, qos));
        assert_eq!(probe.acked().await, number);
    }
}

/// More than the credit, all at once: the link itself keeps to the broker's receive maximum.
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

async fn the_last_will_says_offline(broker: &Broker, reader: &mut Reader) {
    let mut probe = Probe::connect(settings(broker.roost));
    probe.up().await;
    assert!(reader.next().await.starts_with("roost/status|0|0|online|"));
    // As if the process had been killed.
    probe.link.task.abort();
    assert!(reader.next().await.starts_with("roost/status|0|0|offline|"));
}
